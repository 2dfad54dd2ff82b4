"""The state of one Gorgias account, and the effects of each change to it.

Bumps of `updated_datetime`, cascades and events follow recordings of real accounts. Every change
happens at `Account.now`, and that clock moves only when a caller moves it.
"""

import heapq
import itertools
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from gorgias_assets.sandbox.happenings import THROUGH_API, Cause, Happening, event, happened, ids_of, usual_doer
from gorgias_assets.sandbox.kinds import Kind
from gorgias_assets.sandbox.moments import microseconds, printed
from gorgias_assets.sandbox.objects import (
    ACCOUNT_ID,
    CUSTOMERS,
    EVENTS,
    JOBS,
    KINDS,
    MACROS,
    MESSAGES,
    RULES,
    SURVEYS,
    TAGS,
    TICKETS,
    USERS,
    VIEW_CONDITIONS,
    VOICE_CALL_RECORDINGS,
    Habits,
)
from gorgias_assets.sandbox.rows import Listing, Page, Row, Rows, dumped

EVENTS_KEPT = timedelta(days=365)
UPDATED_AFTER = {CUSTOMERS.name: timedelta(microseconds=10), RULES.name: timedelta(microseconds=4)}
JOB_STARTS_AFTER, JOB_ENDS_AFTER = timedelta(milliseconds=106), timedelta(seconds=2)
EXCERPT = 200
LAST_MESSAGE = ("last_received_message_datetime", "last_message_datetime")


class Account:
    """Rows by kind, and the clock. Safe to change from one thread while another one reads.

    `create` and `update` take the fields of the list endpoints; those that show another object need only its id:
    `account.create("messages", ticket_id=7, sender={"id": 3})`. Fields that Gorgias does not have are kept and served.

    Events name as their doer a ticket's assignee, a message's sender, for the account's own objects the key's owner,
    and nobody for the rest. Inside `acting`, `executing` and `unnoticed` it is otherwise.
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
        self.habits = Habits()
        self._now = now
        self._rows = Rows()
        self._next_ids: dict[str, int] = {}
        self._due: list[tuple[datetime, int, Callable[..., None], tuple[Any, ...]]] = []
        self._turn = itertools.count()
        self._excerpts: dict[int, str] = {}
        self._merged: dict[tuple[str, int], int] = {}
        self._uses: Counter[tuple[str, int]] = Counter()
        self._cause: Cause = THROUGH_API
        self.owner_id = USERS.first_id
        with self.unnoticed():
            owner = {"name": "Ines Vale", "firstname": "Ines", "lastname": "Vale", "role": {"name": "admin"}}
            self.create("users", id=self.owner_id, email=email, **owner)
            self.create("account", id=ACCOUNT_ID, domain=domain)
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
                self._count_uses()
            while self._due and self._due[0][0] <= later:
                self._now, _, happening, about = heapq.heappop(self._due)
                happening(*about)
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
        """Put rows as they are given: no default, no bump, no event. Each needs an id."""
        with self.lock:
            self._rows.put_many(KINDS[kind], (self._numbered(KINDS[kind], dict(row)) for row in rows))

    def create(self, kind: str, **fields: Any) -> Row:
        """Create with a default for every documented field; datetimes may lie in the past, as those of an import do.

        A new ticket is processed 0.2 to 2 s later, which bumps it again, unless it comes with an `updated_datetime`.
        """
        with self.lock:
            of = KINDS[kind]
            row = self._numbered(of, {**of.blank_of(self._next_id(of)), **_plain(self._moments(of) | fields)})
            if of.uri:
                row.setdefault("uri", of.uri.format_map({**row, "domain": self.domain}))
            self._rows.put(of, row)
            self._tell(of, row, ("created", None))
            if of is TICKETS:
                self._uses.update(("tags", tag) for tag in ids_of(row["tags"]) if tag)
                if "updated_datetime" not in fields:
                    self._settle_soon(row["id"])
            if of is MESSAGES:
                self._arrived(row)
            if of is JOBS and row["status"] in ("pending", "scheduled"):
                self._start_soon(row)
            return _plain(self._found(of, row["id"]))

    def _moments(self, kind: Kind) -> dict[str, datetime]:
        """Return the datetimes of a row that is created now. A macro has no `updated_datetime` until its first edit."""
        later = {"updated_datetime": self._now + UPDATED_AFTER.get(kind.name, timedelta())}
        moments = {"created_datetime": self._now} | ({} if kind is MACROS else later)
        return {name: moment for name, moment in moments.items() if name in kind.blank}

    def update(self, kind: str, row_id: int, **fields: Any) -> None:
        """Update, and bump `updated_datetime` as Gorgias does. An update that changes nothing bumps nothing."""
        with self.lock:
            of, row = KINDS[kind], self._found(KINDS[kind], row_id)
            changes = {
                name: value for name, value in _plain(fields).items() if _differs(of, name, row.get(name, ...), value)
            }
            if of is TICKETS and "status" in changes:
                changes.setdefault("closed_datetime", printed(self._now) if changes["status"] == "closed" else None)
            is_heard = not changes.keys() <= of.silent
            if is_heard and of.has_updates and "updated_datetime" not in fields:
                changes["updated_datetime"] = printed(self._now)
            after = row | changes
            self._rows.put(of, after)
            if of is TICKETS and "tags" in changes:
                self._uses.update(("tags", tag) for tag in ids_of(after["tags"]) if tag)
                self._uses.subtract(("tags", tag) for tag in ids_of(row["tags"]) if tag)
            if is_heard:
                self._tell(of, after, *happened(of, row, after, changes), ("updated", None))

    def delete(self, kind: str, row_id: int) -> None:
        """Delete, with a ticket its messages too, but not its survey. A message leaves no event, and no bump.

        A recording of a call stays, with the time of its deletion.
        """
        with self.lock:
            of, row = KINDS[kind], self._found(KINDS[kind], row_id)
            if of is VOICE_CALL_RECORDINGS:
                by = self._cause.doer("", self.owner_id)
                self._rows.put(of, row | {"deleted_datetime": printed(self._now), "deleted_by_user_id": by})
                return
            self._rows.remove(of, row_id)
            if of is TICKETS:
                for message in self.where("messages", "ticket_id", row_id):
                    self._rows.remove(MESSAGES, message["id"])
            if of is MESSAGES:
                self._count_messages(row["ticket_id"], -1)
            self._tell(of, row, ("deleted", None))

    @contextmanager
    def acting(self, user_id: int | None) -> Iterator[None]:
        """Have everything inside done by a user, or by nobody. What a rule does stays in the context of the rule."""
        with self._caused_by(Cause(user_id, self._cause.context, self._cause.is_silent)):
            yield

    @contextmanager
    def unnoticed(self) -> Iterator[None]:
        """Have nothing inside leave an event, as what is older than the events that are kept."""
        with self._caused_by(Cause(None, is_silent=True)):
            yield

    @contextmanager
    def executing(
        self, rule_id: int, ticket_id: int, trigger: str = "ticket-created", failed: Sequence[Mapping[str, str]] = ()
    ) -> Iterator[None]:
        """Have a rule do everything inside on a ticket: nobody's doing, in one context that `rule-executed` ends.

        `failed` are actions that failed: `{"action_name": …, "failure_reason": …}`.
        """
        with self._caused_by(Cause(None, self._new_context())):
            yield
            rule = self._found(RULES, rule_id)
            about = {name: rule[name] for name in ("id", "name", "code", "type")}
            outcome = {"triggering_event_type": trigger, "failed_actions": list(failed)}
            slug = "-".join((rule["name"] or "").lower().split())
            self._log(TICKETS, ticket_id, None, [("rule-executed", {**about, "slug": slug, **outcome})])

    @contextmanager
    def _caused_by(self, cause: Cause) -> Iterator[None]:
        with self.lock:
            before, self._cause = self._cause, cause
            try:
                yield
            finally:
                self._cause = before

    def tell(self, kind: str, row_id: int, what: str, data: object = None, user_id: int | None = None) -> None:
        """Leave an event that goes with no change of a row: `tell("users", 3, "logged-in", {"remote_addr": …})`."""
        with self.lock:
            of = KINDS[kind]
            self._log(of, row_id, user_id, [(f"{of.noun}-{what}", data)])

    def merge(self, kind: str, source_id: int, into_id: int) -> Row:
        """Merge: the source vanishes and redirects to the survivor, which takes its messages, or a customer's tickets.

        A surviving ticket is bumped, a surviving customer is not. Customers were seen to leave these events, with the
        deletion of the source first; that tickets do so too is an inference. A merged tag redirects nowhere, bumps no
        ticket, and its event does not name the survivor.
        """
        with self.lock:
            of = KINDS[kind]
            if of not in (CUSTOMERS, TICKETS, TAGS) or source_id == into_id:
                raise ValueError(f"{kind} {source_id} cannot be merged into {into_id}")
            source, survivor = self._found(of, source_id), self._found(of, into_id)
            if of is TICKETS:
                self._take_messages(source, survivor)
            else:
                self._rows.repoint("person" if of is CUSTOMERS else "tag", source_id, into_id)
            self._rows.remove(of, source_id)
            if of is TAGS:
                self._uses[kind, into_id] += source["usage"] + self._uses.pop((kind, source_id), 0)
                self._tell(of, source, ("merged", None))
            else:
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
        self._uses.update(("macros", macro) for macro in ids_of(message["macros"]) if macro)
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
            self._later(self._now + after, self._settle, ticket_id)
        self._excerpts[ticket_id] = excerpt

    def _settle(self, ticket_id: int) -> None:
        """Do as Gorgias does after the fact: recognise the language, make the excerpt, bump the ticket."""
        excerpt, ticket = self._excerpts.pop(ticket_id), self._rows.get(TICKETS, ticket_id)
        if ticket is not None:
            moment = {"updated_datetime": printed(self._now)}
            ticket = {**ticket, "language": ticket["language"] or "en", "excerpt": excerpt, **moment}
            self._rows.put(TICKETS, ticket)
            self._log(TICKETS, ticket_id, None, [("ticket-updated", None)])

    def _later(self, moment: datetime, happening: Callable[..., None], *about: Any) -> None:
        heapq.heappush(self._due, (moment, next(self._turn), happening, about))

    def _start_soon(self, job: Row) -> None:
        planned = job["scheduled_datetime"]
        moment = datetime.fromisoformat(planned) if planned else self._now + JOB_STARTS_AFTER
        self._later(moment, self._step, job["id"], {"status": "running"}, "started_datetime")
        self._later(moment + JOB_ENDS_AFTER, self._step, job["id"], {"status": "done"}, "ended_datetime")

    def _step(self, job_id: int, changes: Row, moment: str) -> None:
        """Let a job go on, unless its cancelling was requested, or it has ended otherwise."""
        job = self._rows.get(JOBS, job_id)
        if job and job["status"] == "cancel_requested":
            changes, moment = {"status": "canceled"}, "cancelled_datetime"
        elif not job or job["status"] not in ("scheduled", "pending", "running"):
            return
        self._rows.put(JOBS, {**job, **changes, moment: printed(self._now)})

    def _count_uses(self) -> None:
        """Make the numbers of uses right, which Gorgias does now and then."""
        for (kind, row_id), uses in self._uses.items():
            row = self._rows.get(KINDS[kind], row_id)
            if row and uses:
                self._rows.put(KINDS[kind], row | {"usage": row["usage"] + uses})
        self._uses.clear()

    def _excerpt(self, ticket_id: int) -> str | None:
        newest = Listing("created_datetime", True, limit=1, conditions=(("ticket_id = ?", (ticket_id,)),))
        return next((_excerpt(json.loads(row)) for row in self._rows.page(MESSAGES, newest).rows), None)

    def _count_messages(self, ticket_id: int, change: int) -> None:
        ticket = self._rows.get(TICKETS, ticket_id or 0)
        if ticket is not None:
            counted = {"messages_count": ticket["messages_count"] + change, "excerpt": self._excerpt(ticket_id)}
            self._rows.put(TICKETS, {**ticket, **counted})

    def _tell(self, kind: Kind, row: Row, *happened: Happening) -> None:
        """Add events of one cause, which share a context."""
        if kind.noun is not None:
            told = [(f"{kind.noun}-{what}", data) for what, data in happened if what not in kind.untold]
            about = (TICKETS, row["ticket_id"]) if kind is SURVEYS else (kind, row["id"])
            self._log(*about, usual_doer(kind, row, self.owner_id), told)

    def _log(self, kind: Kind, object_id: int, user_id: int | None, types: Sequence[Happening]) -> None:
        if self._cause.is_silent or not types:
            return
        about = {
            "created_datetime": printed(self._now),
            "context": self._cause.context or self._new_context(),
            "object_type": kind.object_type,
            "object_id": object_id,
        }
        for event_id, (type_, data) in enumerate(types, self._next_id(EVENTS)):
            doer = self._cause.doer(type_, user_id)
            self._rows.put(EVENTS, self._numbered(EVENTS, event(event_id, type_, data, **about, user_id=doer)))

    def _new_context(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, str(self._next_id(EVENTS))))

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
    return ids_of(before) != ids_of(after) if name in kind.joins else before != after


def _latest(*printed_moments: str | None) -> str | None:
    return max(filter(None, printed_moments), key=microseconds, default=None)
