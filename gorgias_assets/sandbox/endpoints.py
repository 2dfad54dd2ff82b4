"""The paths of the API, answered as the account is now. GET only: the account is changed from Python."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.kinds import Filter, Kind, whole
from gorgias_assets.sandbox.moments import microseconds
from gorgias_assets.sandbox.objects import CUSTOM_FIELDS, CUSTOMERS, KINDS, TAGS, TICKETS, VIEWS
from gorgias_assets.sandbox.rows import Condition, Cursor, Listing, Row, dumped, id_of

PAGE_SIZE, PAGE_LIMIT = 30, 100
NOT_IN_VIEW_ITEMS = ("summary", "custom_fields")
NOT_IN_ONE_TICKET = ("excerpt", "messages_count", "integrations", "last_sent_message_not_delivered")


@dataclass(frozen=True)
class Answer:
    """An answer: `sent` of its body arrive before the connection breaks, and nothing at all if the status is 0.

    A header of None is left out. An `interim` status is sent first; of a `bare` answer only the body is.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    sent: float = 1.0
    interim: int | None = None
    bare: bool = False

    @property
    def is_page(self) -> bool:
        return self.status == 200 and self.body.startswith((b'{"object":"list"', b'{"data":['))


class ApiError(Exception):
    """An error that is answered in Gorgias's error envelope."""

    def __init__(self, status: int, msg: str, data: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(msg)
        error = {"msg": msg, "data": data} if data else {"msg": msg}
        self.answer = Answer(status, dumped({"error": error}))


@dataclass(frozen=True)
class Asked:
    """A path and a query, whose parameters are checked as they are read."""

    account: Account
    path: str
    query: str

    @property
    def uri(self) -> str:
        """Return it as a list echoes it."""
        return f"{self.path}?{urlencode(parse_qsl(self.query, keep_blank_values=True))}"

    @property
    def parameters(self) -> dict[str, list[str]]:
        return parse_qs(self.query, keep_blank_values=True)

    def only(self, *names: str) -> None:
        unknown = {name: ["Unknown field."] for name in self.parameters if name not in names}
        if unknown:
            raise ApiError(400, "Invalid parameters.", unknown)

    def read(self, name: str, read: Callable[[Sequence[str]], Any], default: Any = None) -> Any:
        try:
            return read(self.parameters[name]) if name in self.parameters else default
        except ValueError as error:
            raise ApiError(400, "Invalid parameters.", {name: [str(error)]}) from None


def answer(account: Account, path: str, query: str) -> Answer:
    """Answer from one state of the account. A merged ticket or customer redirects, with everything under it."""
    asked = Asked(account, path.rstrip("/"), query)
    with account.lock:
        for pattern, answers in ROUTES:
            if match := re.fullmatch(pattern, asked.path):
                try:
                    return answers(asked, *(int(part) if part.isdigit() else part for part in match.groups()))
                except ApiError as refused:
                    return refused.answer
    return NOT_FOUND.answer


def one_list(asked: Asked, path: str) -> Answer:
    kind = kind_at(path)
    if not kind.has_pages:
        return whole_list(asked, kind)
    page = asked.account.page(kind.name, listing(asked, kind))
    cursors = {"prev_cursor": page.prev_cursor, "next_cursor": page.next_cursor}
    return listed(asked, page.rows, cursors | dict.fromkeys(["total_resources"] if kind.counts_rows else []))


def whole_list(asked: Asked, kind: Kind) -> Answer:
    """Answer all rows at once, without an envelope but `data`."""
    asked.only(*kind.filters)
    page = asked.account.page(kind.name, Listing("id", False, None, EVERYTHING, conditions(asked, kind)))
    hidden = () if kind.has_id else ("id",)
    return Answer(200, dumped({"data": [without(json.loads(row), hidden) for row in page.rows]}))


def one_object(asked: Asked, path: str, row_id: int) -> Answer:
    kind = kind_at(path)
    asked.only("relationships")
    row = asked.account.row(kind.name, row_id) if kind.has_id else None
    if row is None:
        return gone(asked, kind, row_id)
    return Answer(200, dumped(DETAILS[kind.name](asked.account, row) if kind.name in DETAILS else row))


def one_card(asked: Asked, slug: str) -> Answer:
    card = next((card for card in asked.account.rows("metric_cards") if card["slug"] == slug), None)
    return NOT_FOUND.answer if card is None else Answer(200, dumped(without(card, ("id",))))


def calling_user(asked: Asked) -> Answer:
    users = asked.account.rows("users")
    return Answer(200, dumped(next(user for user in users if user["email"] == asked.account.email)))


def account_itself(asked: Asked) -> Answer:
    asked.only()
    settings = {"settings": asked.account.rows("account_settings")}
    return Answer(200, dumped(without(asked.account.rows("account")[0], ("id",)) | settings))


def tags_of_ticket(asked: Asked, ticket_id: int) -> Answer:
    ticket = asked.account.row("tickets", ticket_id)
    if ticket is None:
        return gone(asked, TICKETS, ticket_id)
    tags = (asked.account.row(TAGS.name, tag["id"]) for tag in ticket["tags"])
    return Answer(200, dumped({"data": [tag for tag in tags if tag]}))


def values_of_ticket(asked: Asked, ticket_id: int) -> Answer:
    ticket = asked.account.row("tickets", ticket_id)
    if ticket is None:
        return gone(asked, TICKETS, ticket_id)
    rows = [
        {"field": field, "prediction": None, "value": value} for field, value in values(asked, ticket["custom_fields"])
    ]
    return Answer(200, dumped({"data": rows}))


def values_of_customer(asked: Asked, customer_id: int) -> Answer:
    customer = asked.account.row("customers", customer_id)
    if customer is None:
        return gone(asked, CUSTOMERS, customer_id)
    rows = [
        {"field": without(field, ("requirement_type",)), "value": value}
        for field, value in values(asked, customer["custom_fields"])
    ]
    return Answer(200, dumped({"data": rows}))


def values(asked: Asked, custom_fields: Mapping[str, Row]) -> list[tuple[Row, object]]:
    """Return definitions, archived ones too, and values."""
    asked.only()
    found = ((asked.account.row(CUSTOM_FIELDS.name, one["id"]), one["value"]) for one in custom_fields.values())
    return [(field, value) for field, value in found if field]


def message_of_ticket(asked: Asked, ticket_id: int, row_id: int) -> Answer:
    row = asked.account.row("messages", row_id)
    return Answer(200, dumped(row)) if row and row["ticket_id"] == ticket_id else gone(asked, TICKETS, ticket_id)


def messages_of_ticket(asked: Asked, ticket_id: int) -> Answer:
    """Answer the deprecated list: pages by number, oldest first."""
    if asked.account.row("tickets", ticket_id) is None:
        return gone(asked, TICKETS, ticket_id)
    asked.only("page", "limit")
    page, size = asked.read("page", whole, 1), asked.read("limit", page_size, PAGE_SIZE)
    messages = by_creation(asked.account.where("messages", "ticket_id", ticket_id))
    shown = messages[(page - 1) * size : page * size]
    meta = {"page": page, "per_page": size, "current_page": f"{asked.path}/?page={page}"}
    meta |= {"item_count": len(messages), "nb_pages": max(1, -(-len(messages) // size))}
    return listed(asked, [dumped(message) for message in shown], meta)


def view_items(asked: Asked, view_id: int) -> Answer:
    """Answer a view's tickets, newest change first. A cursor includes its own row, hence `ignored_item`."""
    if asked.account.row("views", view_id) is None:
        return gone(asked, VIEWS, view_id)
    asked.only("cursor", "direction", "ignored_item", "limit")
    limit = asked.read("limit", page_size, PAGE_SIZE)
    start = asked.read("cursor", lambda sent: whole([sent[-1].removesuffix("-false")]))
    view = TICKETS.filters["view_id"].condition, (view_id,)
    position = "updated <= ? AND id <> ?", (start or FOREVER, asked.read("ignored_item", whole, 0))
    page = asked.account.page("tickets", Listing("updated_datetime", True, None, limit, (view, position)))
    tickets = [json.loads(row) for row in page.rows]
    meta = {"prev_items": None, "current_cursor": start and f"{start}-false", "next_items": None}
    if page.next_cursor:
        last = tickets[-1]
        following = {"cursor": f"{microseconds(last['updated_datetime'])}-false", "direction": "next"}
        meta["next_items"] = f"{asked.path}?{urlencode(following | {'ignored_item': last['id'], 'limit': limit})}"
    return listed(asked, [dumped(without(ticket, NOT_IN_VIEW_ITEMS)) for ticket in tickets], meta)


def listing(asked: Asked, kind: Kind) -> Listing:
    asked.only("cursor", "limit", *(["order_by"] if kind.takes_order else []), *kind.filters)
    order, descending = ordering(asked, kind)
    return Listing(
        order,
        descending,
        cursor=asked.read("cursor", lambda sent: Cursor.parse(sent[-1], by_time=order.endswith("_datetime"))),
        limit=asked.read("limit", page_size, PAGE_SIZE),
        conditions=conditions(asked, kind),
    )


def ordering(asked: Asked, kind: Kind) -> tuple[str, bool]:
    """Return the name of an order, and True if it is descending. Several fields need one direction."""
    habits = asked.account.habits
    usual = habits.assumes[kind.name].get("order_by", kind.order)
    parts = [part.partition(":") for part in asked.read("order_by", lambda sent: sent[-1], usual).split(",")]
    order, directions = ",".join(field for field, _, _ in parts), {direction for _, _, direction in parts}
    bare = {""} if kind.name in habits.bare_orders else set()
    if order not in kind.orders or len(directions) > 1 or not directions <= {"asc", "desc"} | bare:
        raise ApiError(400, "Invalid parameters.", {"order_by": ["Not a valid choice."]})
    return order, directions == {"desc"}


def conditions(asked: Asked, kind: Kind) -> tuple[Condition, ...]:
    assumed = asked.account.habits.assumes[kind.name]
    for name, other in asked.account.habits.needs.get(kind.name, {}).items():
        if name in asked.parameters and other not in asked.parameters:
            raise ApiError(400, "Invalid parameters.", {other: [REQUIRED]})
    return tuple(
        (wanted.condition, (condition_value(asked, name, wanted, assumed),))
        for name, wanted in kind.filters.items()
        if wanted.is_required or name in asked.parameters or name in assumed
    )


def condition_value(asked: Asked, name: str, wanted: Filter, assumed: Mapping[str, str]) -> Any:
    if name in asked.parameters:
        return asked.read(name, wanted.read)
    if name in assumed:
        return wanted.read([assumed[name]])
    raise ApiError(400, "Invalid parameters.", {name: [REQUIRED]})


def page_size(sent: Sequence[str]) -> int:
    size = whole(sent)
    if not 1 <= size <= PAGE_LIMIT:
        raise ValueError(f"Must be between 1 and {PAGE_LIMIT}.")
    return size


def kind_at(path: str) -> Kind:
    if path not in LISTS:
        raise NOT_FOUND
    return LISTS[path]


def listed(asked: Asked, rows: Sequence[bytes], meta: Mapping[str, object]) -> Answer:
    """Answer in the order of keys of one of two serializers: only one of them has `total_resources`."""
    about, data = b'"object":"list","uri":%b' % dumped(asked.uri), b'"data":[%b]' % b",".join(rows)
    parts = (about, data) if "total_resources" in meta else (data, about)
    return Answer(200, b'{%b,%b,"meta":%b}' % (*parts, dumped(meta)))


def gone(asked: Asked, kind: Kind, row_id: int) -> Answer:
    into = asked.account.merged_into(kind.name, row_id)
    if into is None:
        return NOT_FOUND.answer
    return Answer(301, headers={"Location": asked.uri.replace(f"/{row_id}", f"/{into}", 1).removesuffix("?")})


def without(row: Row, names: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def by_creation(messages: list[Row]) -> list[Row]:
    return sorted(messages, key=lambda message: microseconds(message["created_datetime"]))


def one_customer(_: Account, row: Row) -> Row:
    who = {"id": row["id"], "name": row["name"]}
    moments = {name: row.get(name) for name in ("created_datetime", "updated_datetime", "deleted_datetime")}
    channel = {
        "id": row["id"],
        "type": "email",
        "address": row["email"],
        "preferred": True,
        "user": who,
        "customer": who,
    }
    channels = [channel | moments] if row["email"] else []
    return row | {"customer": None, "channels": channels, "integrations": {}, "external_data": {}, "ecommerce_data": {}}


def one_rule(_: Account, row: Row) -> Row:
    return without(row, ("settings", "type"))


def one_ticket(account: Account, row: Row) -> Row:
    surveys = account.where("satisfaction_surveys", "ticket_id", row["id"])
    messages = [
        without(message, ("headers", "macros", "deleted_datetime"))
        for message in by_creation(account.where("messages", "ticket_id", row["id"]))
    ]
    return without(row, NOT_IN_ONE_TICKET) | {
        "messages": messages,
        "satisfaction_survey": surveys[0] if surveys else None,
        "reply_options": {},
        "processed_datetime": row["updated_datetime"],
        "assignee_user_id": id_of(row["assignee_user"]),
        "assignee_team_id": id_of(row["assignee_team"]),
        "imported": False,
        "requester": row["customer"],
        "events": [],
    }


FOREVER, EVERYTHING = 2**62, -1
REQUIRED = "Missing data for required field."
NOT_FOUND = ApiError(404, "Resource not found.")
LISTS = {kind.list_path: kind for kind in KINDS.values()}
"""The kinds, by the path of their lists."""

DETAILS = {"customers": one_customer, "rules": one_rule, "tickets": one_ticket}
"""By kind, the function that makes the single object of its row in a list."""

ROUTES: Sequence[tuple[str, Callable[..., Answer]]] = (
    (r"/api/account", account_itself),
    (r"/api/users/0", calling_user),
    (r"/api/views/(\d{1,18})/items", view_items),
    (r"/api/tickets/(\d{1,18})/messages", messages_of_ticket),
    (r"/api/tickets/(\d{1,18})/messages/(\d{1,18})", message_of_ticket),
    (r"/api/tickets/(\d{1,18})/tags", tags_of_ticket),
    (r"/api/tickets/(\d{1,18})/custom-fields", values_of_ticket),
    (r"/api/customers/(\d{1,18})/custom-fields", values_of_customer),
    (r"/api/metric-cards/([a-z-]+)", one_card),
    (r"/api/([a-z/-]+)", one_list),
    (r"/api/([a-z/-]+)/(\d{1,18})", one_object),
)
