"""The state of one Gorgias account, and the effects of each change to it.

Bumps of `updated_datetime`, cascades and events follow recordings of real accounts. Every change
happens at `Account.now`, and that clock moves only when a caller moves it.
"""

import heapq
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from gorgias_assets.sandbox.moments import microseconds, printed
from gorgias_assets.sandbox.objects import CUSTOMERS, EVENTS, KINDS, MESSAGES, TICKETS, VIEW_CONDITIONS, Kind
from gorgias_assets.sandbox.rows import Listing, Page, Row, Rows, dumped, id_of

EVENTS_KEPT = timedelta(days=365)
CUSTOMER_UPDATED_AFTER = timedelta(microseconds=10)
EXCERPT = 200
LAST_MESSAGE = ("last_received_message_datetime", "last_message_datetime")


class Account:
    """Rows by kind, and the clock. Safe to change from one thread while another one reads.

    `create` and `update` take the fields of the list endpoints; those that show another object need only its id:
    `account.create("messages", ticket_id=7, sender={"id": 3})`. Fields that Gorgias does not have are kept and served.
    """

    def __init__(
        self,
        now: datetime,
        domain: str = "sandbox",
        email: str = "ines.vale@shop.example",
        api_key: str = "sandbox-key",
    ) -> None:
        self.domain, self.email, self.api_key = domain, email, api_key
        self.lock = threading.RLock()
        self.opened = now
        self._now = now
        self._rows = Rows()
        self._next_ids: dict[str, int] = {}
        self._unsettled: list[tuple[datetime, int]] = []
        self._excerpts: dict[int, str] = {}
        self._merged: dict[tuple[str, int], int] = {}
        self.create("users", email=email, name="Ines Vale", firstname="Ines", lastname="Vale", role={"name": "admin"})
        for name in VIEW_CONDITIONS:
            self.create("views", name=name, slug=name.lower())

    @property
    def now(self) -> datetime:
        return self._now

    @now.setter
    def now(self, later: datetime) -> None:
        """Move the clock. Everything due until then happens at its own time; old events go at midnight."""
        with self.lock:
            if later < self._now:
                raise ValueError(f"an account's clock does not go back, from {self._now} to {later}")
            if later.date() > self._now.date():
                midnight = later.replace(hour=0, minute=0, second=0, microsecond=0)
                self._rows.remove_before(EVENTS, microseconds(midnight - EVENTS_KEPT))
            while self._unsettled and self._unsettled[0][0] <= later:
                self._now, ticket_id = heapq.heappop(self._unsettled)
                self._settle(ticket_id)
            self._now = later

    def advance(self, by: timedelta) -> None:
        self.now = self._now + by

    def rows(self, kind: str) -> list[Row]:
        """Return every row as the list endpoint shows it now, in order of id."""
        with self.lock:
            return self._rows.select(KINDS[kind])

    def row(self, kind: str, row_id: int) -> Row | None:
        with self.lock:
            row = self._rows.get(KINDS[kind], row_id)
            return None if row is None else _plain(row)

    def has(self, kind: str, row_id: int) -> bool:
        with self.lock:
            return self._rows.has(KINDS[kind], row_id)

    def count(self, kind: str) -> int:
        with self.lock:
            return self._rows.count(KINDS[kind])

    def page(self, kind: str, listing: Listing) -> Page:
        with self.lock:
            return self._rows.page(KINDS[kind], listing)

    def where(self, kind: str, field: str, value: int) -> list[Row]:
        """Return rows by a field that has an index (`objects.Kind.columns`)."""
        with self.lock:
            return self._rows.select(KINDS[kind], (f"{field} = ?", (value,)))

    def merged_into(self, kind: str, row_id: int) -> int | None:
        return self._merged.get((kind, row_id))

    def insert_many(self, kind: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows as they are given: no default, no bump, no event. Each needs an id and a created_datetime."""
        with self.lock:
            self._rows.put_many(KINDS[kind], (self._numbered(KINDS[kind], dict(row)) for row in rows))

    def create(self, kind: str, **fields: Any) -> Row:
        """Create with a default for every documented field; datetimes may lie in the past, as those of an import do.

        A new ticket is processed 0.2 to 2 s later, which bumps it again, unless it comes with an `updated_datetime`.
        """
        with self.lock:
            of = KINDS[kind]
            moments = {"created_datetime": self._now}
            if of.has_updates:
                moments["updated_datetime"] = self._now + (CUSTOMER_UPDATED_AFTER if of is CUSTOMERS else timedelta())
            row = self._numbered(of, {"id": self._next_id(of), **of.blank, **_plain(moments | fields)})
            if of.uri:
                row.setdefault("uri", of.uri.format_map({**row, "domain": self.domain}))
            self._rows.put(of, row)
            self._tell(of, row, ("created", None))
            if of is TICKETS and "updated_datetime" not in fields:
                self._settle_soon(row["id"])
            if of is MESSAGES:
                self._arrived(row)
            return _plain(self._found(of, row["id"]))

    def update(self, kind: str, row_id: int, **fields: Any) -> None:
        """Update, and bump `updated_datetime` as Gorgias does. An update that changes nothing bumps nothing."""
        with self.lock:
            of, row = KINDS[kind], self._found(KINDS[kind], row_id)
            changes = {
                name: value for name, value in _plain(fields).items() if _differs(of, name, row.get(name, ...), value)
            }
            if of is TICKETS and "status" in changes:
                changes.setdefault("closed_datetime", printed(self._now) if changes["status"] == "closed" else None)
            bumps = of.has_updates and not changes.keys() <= of.silent
            if bumps and "updated_datetime" not in fields:
                changes["updated_datetime"] = printed(self._now)
            after = row | changes
            self._rows.put(of, after)
            if bumps:
                self._tell(of, after, *_happened(of, row, after, changes), ("updated", None))

    def delete(self, kind: str, row_id: int) -> None:
        """Delete, with a ticket its messages too, but not its survey. A message leaves no event, and no bump."""
        with self.lock:
            of, row = KINDS[kind], self._found(KINDS[kind], row_id)
            self._rows.remove(of, row_id)
            if of is TICKETS:
                for message in self.where("messages", "ticket_id", row_id):
                    self._rows.remove(MESSAGES, message["id"])
            if of is MESSAGES:
                self._count_messages(row["ticket_id"], -1)
            else:
                self._tell(of, row, ("deleted", None))

    def merge(self, kind: str, source_id: int, into_id: int) -> Row:
        """Merge: the source vanishes and redirects to the survivor, which takes its messages, or a customer's tickets.

        A surviving ticket is bumped, a surviving customer is not. Customers were seen to leave these events, with the
        deletion of the source first; that tickets do so too is an inference.
        """
        with self.lock:
            of = KINDS[kind]
            if of not in (CUSTOMERS, TICKETS) or source_id == into_id:
                raise ValueError(f"{kind} {source_id} cannot be merged into {into_id}")
            source, survivor = self._found(of, source_id), self._found(of, into_id)
            if of is TICKETS:
                self._take_messages(source, survivor)
            else:
                self._rows.repoint("person", source_id, into_id)
            self._rows.remove(of, source_id)
            self._merged[kind, source_id] = into_id
            self._tell(of, source, ("deleted", None))
            self._tell(of, survivor, ("merged", {f"source_{of.noun}_id": source_id}))
            return _plain(self._found(of, into_id))

    def _take_messages(self, source: Row, survivor: Row) -> None:
        messages = self.where("messages", "ticket_id", source["id"])
        moved = {"ticket_id": survivor["id"]}
        for message in messages:
            self._rows.put(MESSAGES, {**message, **moved, "uri": MESSAGES.uri.format_map({**message, **moved})})
        changes: Row = {name: _latest(source[name], survivor[name]) for name in LAST_MESSAGE}
        changes["messages_count"] = survivor["messages_count"] + len(messages)
        self._rows.put(TICKETS, {**survivor, **changes, "updated_datetime": printed(self._now)})

    def _arrived(self, message: Row) -> None:
        """Change the new message's ticket at once, and have it processed again soon."""
        ticket = self._rows.get(TICKETS, message["ticket_id"] or 0)
        if ticket is None:
            return
        changes: Row = {"messages_count": ticket["messages_count"] + 1, "updated_datetime": printed(self._now)}
        if message["public"]:
            fields = LAST_MESSAGE[1:] if message["from_agent"] else LAST_MESSAGE
            changes |= {name: _latest(ticket[name], message["created_datetime"]) for name in fields}
        self._rows.put(TICKETS, {**ticket, **changes})
        self._settle_soon(ticket["id"], _excerpt(message))

    def _settle_soon(self, ticket_id: int, excerpt: str = "") -> None:
        if ticket_id not in self._excerpts:
            after = timedelta(microseconds=200_000 + ticket_id * 7919 % 1_800_000)
            heapq.heappush(self._unsettled, (self._now + after, ticket_id))
        self._excerpts[ticket_id] = excerpt

    def _settle(self, ticket_id: int) -> None:
        """Do as Gorgias does after the fact: recognise the language, make the excerpt, bump the ticket."""
        excerpt, ticket = self._excerpts.pop(ticket_id), self._rows.get(TICKETS, ticket_id)
        if ticket is not None:
            moment = {"updated_datetime": printed(self._now)}
            ticket = {**ticket, "language": ticket["language"] or "en", "excerpt": excerpt, **moment}
            self._rows.put(TICKETS, ticket)
            self._tell(TICKETS, ticket, ("updated", None))

    def _excerpt(self, ticket_id: int) -> str | None:
        newest = Listing("created_datetime", True, limit=1, conditions=(("ticket_id = ?", (ticket_id,)),))
        return next((_excerpt(json.loads(row)) for row in self._rows.page(MESSAGES, newest).rows), None)

    def _count_messages(self, ticket_id: int, change: int) -> None:
        ticket = self._rows.get(TICKETS, ticket_id or 0)
        if ticket is not None:
            counted = {"messages_count": ticket["messages_count"] + change, "excerpt": self._excerpt(ticket_id)}
            self._rows.put(TICKETS, {**ticket, **counted})

    def _tell(self, kind: Kind, row: Row, *happened: tuple[str, object]) -> None:
        """Add events of one cause, which share a context."""
        if kind.noun is None:
            return
        first = self._next_id(EVENTS)
        by = id_of(row["assignee_user"]) if kind is TICKETS else id_of(row["sender"]) if row.get("from_agent") else None
        about = {
            "created_datetime": printed(self._now),
            "context": str(uuid.uuid5(uuid.NAMESPACE_URL, str(first))),
            "object_type": kind.object_type,
            "object_id": row["id"],
            "user_id": by,
        }
        events = [
            {
                "id": event_id,
                "type": f"{kind.noun}-{what}",
                "data": data,
                "uri": EVENTS.uri.format(id=event_id),
                **about,
            }
            for event_id, (what, data) in enumerate(happened, first)
        ]
        for event in events:
            self._rows.put(EVENTS, self._numbered(EVENTS, event))

    def _found(self, kind: Kind, row_id: int) -> Row:
        row = self._rows.get(kind, row_id)
        if row is None:
            raise LookupError(f"the account has no {kind.name} {row_id}")
        return row

    def _next_id(self, kind: Kind) -> int:
        return self._next_ids.get(kind.name, kind.first_id)

    def _numbered(self, kind: Kind, row: Row) -> Row:
        self._next_ids[kind.name] = max(self._next_id(kind), row["id"] + 1)
        return row


def _excerpt(message: Row) -> str:
    return (message["stripped_text"] or message["body_text"] or "")[:EXCERPT]


def _plain(fields: Mapping[str, Any]) -> Row:
    """Return fields as they are once stored: datetimes printed."""
    plain: Row = json.loads(dumped(fields))
    return plain


def _differs(kind: Kind, name: str, before: object, after: object) -> bool:
    return _ids(before) != _ids(after) if name in kind.joins else before != after


def _ids(shown: object) -> list[int | None]:
    return [id_of(one) for one in (shown if isinstance(shown, list) else [shown])]


def _latest(*printed_moments: str | None) -> str | None:
    return max(filter(None, printed_moments), key=microseconds, default=None)


def _happened(kind: Kind, before: Row, after: Row, changes: Row) -> Iterator[tuple[str, object]]:
    """Yield the events of an update, except the plain `updated` that always ends them."""
    if kind is not TICKETS:
        return
    if "status" in changes:
        yield "closed" if after["status"] == "closed" else "reopened", None
    if "assignee_user" in changes:
        yield "assigned", {"assignee_user_id": id_of(after["assignee_user"])}
    if "subject" in changes:
        yield "subject-updated", {"new_subject": after["subject"]}
    if changes.get("trashed_datetime"):
        yield "trashed", None
    old, new = _ids(before["tags"]), _ids(after["tags"])
    if added := [tag for tag in new if tag not in old]:
        yield "tags-added", {"tags_added": added}
    if removed := [tag for tag in old if tag not in new]:
        yield "tags-removed", {"tags_removed": removed}
