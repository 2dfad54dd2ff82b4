"""Every kind of object in an account: its default fields, how its list is ordered and filtered.

The fields are those of the list endpoints, which are not always those of a single object (see `endpoints`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gorgias_assets.sandbox.moments import microseconds

BY_CREATION = {"created_datetime": "created"}
BY_CHANGE = {**BY_CREATION, "updated_datetime": "updated"}
BY_NAME = {**BY_CREATION, "name": "coalesce(json_extract(body, '$.name'), '')"}
VIEW_CONDITIONS = {
    "Inbox": "json_extract(body, '$.status') = 'open'",
    "Unassigned": "json_extract(body, '$.status') = 'open' AND assignee_user IS NULL",
    "All": "1",
    "Snoozed": "json_extract(body, '$.snooze_datetime') IS NOT NULL",
    "Closed": "json_extract(body, '$.status') = 'closed'",
    "Trash": "json_extract(body, '$.trashed_datetime') IS NOT NULL",
    "Spam": "json_extract(body, '$.spam')",
}
"""The system views of every account, by name."""

FIRST_VIEW = 9001


@dataclass(frozen=True)
class Filter:
    """A query parameter of a list: a condition on the one value that `read` makes of the texts sent (or ValueError)."""

    condition: str
    read: Callable[[Sequence[str]], object] = lambda sent: sent[-1]


def whole(sent: Sequence[str]) -> int:
    number = int(sent[-1])
    if abs(number) >= 2**63:
        raise ValueError("Not a valid integer.")
    return number


def truth(sent: Sequence[str]) -> bool:
    if sent[-1].lower() not in ("true", "false"):
        raise ValueError("not a boolean")
    return sent[-1].lower() == "true"


def several(sent: Sequence[str]) -> str:
    return json.dumps([whole([value]) if value.isdigit() else value for value in sent])


def equal(name: str, read: Callable[[Sequence[str]], object] = lambda sent: sent[-1]) -> dict[str, Filter]:
    return {name: Filter(f"json_extract(body, '$.{name}') = ?", read)}


def among(parameter: str, value: str) -> dict[str, Filter]:
    return {parameter: Filter(f"{value} IN (SELECT value FROM json_each(?))", several)}


def view_condition() -> str:
    cases = (f"WHEN {number} THEN {sql}" for number, sql in enumerate(VIEW_CONDITIONS.values(), FIRST_VIEW))
    return f"CASE ? {' '.join(cases)} ELSE 0 END"


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    `uri` is empty if the list shows none; `joins` are the fields that show another object as it is now (see
    `rows.JOINS`); `columns` are integers worth an index; a change of only `silent` fields leaves `updated_datetime`
    as it was; `noun` is its name in events, if it has any.
    """

    name: str
    uri: str
    first_id: int
    blank: Mapping[str, object]
    joins: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    orders: Mapping[str, str] = field(default_factory=lambda: BY_CREATION)
    order: str = "created_datetime:desc"
    filters: Mapping[str, Filter] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    noun: str | None = None
    counts_rows: bool = False

    @property
    def object_type(self) -> str | None:
        return self.noun and self.noun.title().replace("-", "")

    @property
    def has_updates(self) -> bool:
        return "updated_datetime" in self.blank


def _nulls(names: str) -> dict[str, object]:
    return dict.fromkeys(names.split())


CUSTOMERS = Kind(
    name="customers",
    uri="",
    first_id=501_200_001,
    blank=_nulls("external_id email name language timezone created_datetime updated_datetime meta data note")
    | {"active": True, "firstname": "", "lastname": "", "custom_fields": {}},
    orders=BY_CHANGE,
    filters={
        **equal("email"),
        **equal("external_id"),
        **equal("name"),
        **equal("language"),
        **equal("timezone"),
    },
    silent=frozenset({"custom_fields"}),
    noun="customer",
)

TICKETS = Kind(
    name="tickets",
    uri="/api/tickets/{id}/",
    first_id=80_550_001,
    blank=_nulls(
        "external_id language customer assignee_user assignee_team subject summary meta created_datetime "
        "opened_datetime last_received_message_datetime last_message_datetime updated_datetime "
        "closed_datetime snooze_datetime trashed_datetime"
    )
    | {
        "status": "open",
        "priority": "normal",
        "channel": "email",
        "via": "email",
        "from_agent": False,
        "excerpt": "",
        "integrations": [],
        "tags": [],
        "messages_count": 0,
        "is_unread": True,
        "spam": False,
        "last_sent_message_not_delivered": False,
        "custom_fields": {},
    },
    joins={"customer": "person", "assignee_user": "agent", "assignee_team": "team", "tags": "tag"},
    orders=BY_CHANGE,
    filters={
        "customer_id": Filter("customer = ?", whole),
        **equal("external_id"),
        **among("ticket_ids", "id"),
        "trashed": Filter("(? OR json_extract(body, '$.trashed_datetime') IS NULL)", truth),
        "view_id": Filter(view_condition(), whole),
    },
    silent=frozenset({"custom_fields", "messages_count", "excerpt"}),
    noun="ticket",
    counts_rows=True,
)

MESSAGES = Kind(
    name="messages",
    uri="/api/tickets/{ticket_id}/messages/{id}/",
    first_id=210_900_001,
    blank=_nulls(
        "message_id ticket_id external_id source sender receiver auth_customer_identity integration_id rule_id "
        "subject body_text body_html stripped_text stripped_html stripped_signature headers actions meta "
        "created_datetime processed_datetime sent_datetime failed_datetime deleted_datetime opened_datetime "
        "last_sending_error replied_by replied_to"
    )
    | {
        "public": True,
        "channel": "email",
        "via": "email",
        "from_agent": False,
        "imported": False,
        "intents": [],
        "attachments": [],
        "macros": [],
        "is_retriable": True,
    },
    joins={"sender": "person", "receiver": "person"},
    columns=("ticket_id",),
    filters={"ticket_id": Filter("ticket_id = ?", whole)},
    noun="ticket-message",
)

SURVEYS = Kind(
    name="satisfaction_surveys",
    uri="/api/satisfaction-surveys/{id}/",
    first_id=6_650_001,
    blank=_nulls(
        "body_text created_datetime customer_id meta score scored_datetime sent_datetime should_send_datetime ticket_id"
    ),
    columns=("ticket_id",),
    filters={"ticket_id": Filter("ticket_id = ?", whole)},
)

EVENTS = Kind(
    name="events",
    uri="/api/events/{id}/",
    first_id=2_100_400_001,
    blank=_nulls("context created_datetime data object_id object_type type user_id"),
    filters={
        **equal("object_type"),
        **equal("object_id", whole),
        **among("types", "json_extract(body, '$.type')"),
        **among("user_ids", "json_extract(body, '$.user_id')"),
        **{
            f"created_datetime[{name}]": Filter(f"created {sign} ?", lambda sent: microseconds(sent[-1]))
            for name, sign in {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}.items()
        },
    },
)

USERS = Kind(
    name="users",
    uri="https://{domain}.gorgias.com/api/users/{id}/",
    first_id=501_100_001,
    blank=_nulls("bio created_datetime country deactivated_datetime email external_id name timezone updated_datetime")
    | {
        "active": True,
        "firstname": "",
        "lastname": "",
        "has_password": True,
        "has_2fa_enabled": False,
        "language": "en",
        "meta": {},
        "role": {"name": "agent"},
        "client_id": None,
    },
    orders={
        **BY_NAME,
        "email": "coalesce(json_extract(body, '$.email'), '')",
        "role": "coalesce(json_extract(body, '$.role.name'), '')",
    },
    order="name:asc",
    filters={**equal("email"), **equal("external_id"), **among("roles", "json_extract(body, '$.role.name')")},
    counts_rows=True,
)

TEAMS = Kind(
    name="teams",
    uri="/api/teams/{id}/",
    first_id=4101,
    blank={"name": None, "description": None, "decoration": {}, "members": [], "created_datetime": None},
    orders=BY_NAME,
)

TAGS = Kind(
    name="tags",
    uri="/api/tags/{id}/",
    first_id=1_700_301,
    blank={**_nulls("decoration description name created_datetime deleted_datetime"), "usage": 0},
    orders=BY_NAME,
    filters={"search": Filter("json_extract(body, '$.name') LIKE '%' || ? || '%'")},
)

VIEWS = Kind(
    name="views",
    uri="/api/views/{id}/",
    first_id=FIRST_VIEW,
    blank=_nulls("created_datetime deactivated_datetime decoration filters filters_ast name search section_id slug")
    | {
        "category": "system",
        "type": "ticket-list",
        "visibility": "public",
        "fields": [],
        "order_by": "updated_datetime",
        "order_dir": "desc",
        "shared_with_teams": [],
        "shared_with_users": [],
    },
    order="created_datetime:asc",
)

KINDS = {kind.name: kind for kind in (CUSTOMERS, TICKETS, MESSAGES, SURVEYS, EVENTS, USERS, TEAMS, TAGS, VIEWS)}
