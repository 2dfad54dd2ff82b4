"""The events of a change: those of each field besides the plain `updated`, whose doing they are, and their rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gorgias_assets.sandbox.kinds import Kind
from gorgias_assets.sandbox.objects import CORE, EVENTS, MESSAGES, TICKETS
from gorgias_assets.sandbox.rows import Row, id_of

Happening = tuple[str, object]
"""The end of an event's type, and its data."""

Tells = Callable[[Row, Row], Iterator[Happening]]
"""Yields happenings of a row before and after a change of one of its fields."""

DONE_BY_NOBODY = ("ticket-tags-removed",)
"""Types of events that name nobody if a change comes through the API."""


@dataclass(frozen=True)
class Cause:
    """The reason of what happens: whose doing it is, and the context that all of it shares if it does."""

    user_id: int | None
    context: str | None = None
    is_silent: bool = False

    def doer(self, _event: str, _usual: int | None) -> int | None:
        return self.user_id


class Api(Cause):
    """A change through the API, if no other cause is given."""

    def doer(self, event: str, usual: int | None) -> int | None:
        return None if event in DONE_BY_NOBODY else usual


THROUGH_API = Api(None)


def usual_doer(kind: Kind, row: Row, owner_id: int) -> int | None:
    """Return the user that the events of a row name if nothing else is known."""
    if kind is TICKETS:
        return id_of(row["assignee_user"])
    if kind is MESSAGES and row.get("from_agent"):
        return id_of(row["sender"])
    return None if kind in CORE else owner_id


def event(event_id: int, type_: str, data: object, **about: Any) -> Row:
    return {"id": event_id, "type": type_, "data": data, "uri": EVENTS.uri.format(id=event_id), **about}


def happened(kind: Kind, before: Row, after: Row, changed: Mapping[str, object]) -> Iterator[Happening]:
    for name, tells in HAPPENINGS.get(kind.name, {}).items():
        if name in changed:
            yield from tells(before, after)


def ids_of(shown: object) -> list[int | None]:
    return [id_of(one) for one in (shown if isinstance(shown, list) else [shown])]


def _closed(_: Row, after: Row) -> Iterator[Happening]:
    yield "closed" if after["status"] == "closed" else "reopened", None


def _assigned(_: Row, after: Row) -> Iterator[Happening]:
    user = after["assignee_user"]
    yield ("assigned", {"assignee_user_id": id_of(user)}) if user else ("unassigned", None)


def _team_assigned(_: Row, after: Row) -> Iterator[Happening]:
    team = after["assignee_team"]
    yield ("team-assigned", {"assignee_team_id": id_of(team)}) if team else ("team-unassigned", None)


def _subject(_: Row, after: Row) -> Iterator[Happening]:
    yield "subject-updated", {"new_subject": after["subject"]}


def _customer(before: Row, after: Row) -> Iterator[Happening]:
    old, new = ({name: (row["customer"] or {}).get(name) for name in ("id", "name")} for row in (before, after))
    yield "customer-updated", {"old_customer": old, "new_customer": new}


def _tags(before: Row, after: Row) -> Iterator[Happening]:
    old, new = ids_of(before["tags"]), ids_of(after["tags"])
    if added := [tag for tag in new if tag not in old]:
        yield "tags-added", {"tags_added": added}
    if removed := [tag for tag in old if tag not in new]:
        yield "tags-removed", {"tags_removed": removed}


def _scored(_: Row, after: Row) -> Iterator[Happening]:
    yield "responded", {name: after[name] for name in ("score", "body_text")}


def _plain(name: str, if_set: str, if_not: str = "") -> dict[str, Tells]:
    def tell(_: Row, after: Row) -> Iterator[Happening]:
        if what := if_set if after[name] else if_not:
            yield what, None

    return {name: tell}


HAPPENINGS: Mapping[str, Mapping[str, Tells]] = {
    "tickets": {
        "status": _closed,
        "assignee_user": _assigned,
        "assignee_team": _team_assigned,
        "customer": _customer,
        "subject": _subject,
        **_plain("snooze_datetime", "snoozed"),
        **_plain("spam", "marked-spam", "unmarked-spam"),
        **_plain("trashed_datetime", "trashed", "untrashed"),
        "tags": _tags,
    },
    "satisfaction_surveys": {**_plain("sent_datetime", "sent"), "scored_datetime": _scored},
    "tags": _plain("name", "renamed"),
    "rules": _plain("priority", "priority-updated", "priority-updated"),
    "integrations": _plain("deactivated_datetime", "deactivated", "reactivated"),
    "views": _plain("deactivated_datetime", "deactivated"),
    "account": _plain("deactivated_datetime", "deactivated"),
    "users": _plain("has_2fa_enabled", "2fa-changed", "2fa-changed"),
}
"""By kind and field. A field that is not here, as a ticket's priority, leaves `updated` alone."""
