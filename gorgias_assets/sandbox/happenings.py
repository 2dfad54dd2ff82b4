"""The events that a change of a field leaves besides the plain `updated`, by kind and field.

A field that is not here, as a ticket's priority, leaves `updated` alone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gorgias_assets.sandbox.rows import Row, id_of

Happening = tuple[str, object]
"""The end of an event's type, and its data."""

Tells = Callable[[Any, Any], Iterator[Happening]]
"""Yields happenings, of the field's value before and after."""


def happened(kind: str, before: Row, after: Row, changed: Mapping[str, object]) -> Iterator[Happening]:
    for name, tells in HAPPENINGS.get(kind, {}).items():
        if name in changed:
            yield from tells(before.get(name), after[name])


def ids_of(shown: object) -> list[int | None]:
    return [id_of(one) for one in (shown if isinstance(shown, list) else [shown])]


def _closed(_: object, after: str) -> Iterator[Happening]:
    yield "closed" if after == "closed" else "reopened", None


def _assigned(_: object, after: object) -> Iterator[Happening]:
    yield ("assigned", {"assignee_user_id": id_of(after)}) if after else ("unassigned", None)


def _team_assigned(_: object, after: object) -> Iterator[Happening]:
    yield ("team-assigned", {"assignee_team_id": id_of(after)}) if after else ("team-unassigned", None)


def _subject(_: object, after: object) -> Iterator[Happening]:
    yield "subject-updated", {"new_subject": after}


def _customer(before: Row | None, after: Row | None) -> Iterator[Happening]:
    old, new = ({name: (shown or {}).get(name) for name in ("id", "name")} for shown in (before, after))
    yield "customer-updated", {"old_customer": old, "new_customer": new}


def _tags(before: object, after: object) -> Iterator[Happening]:
    old, new = ids_of(before), ids_of(after)
    if added := [tag for tag in new if tag not in old]:
        yield "tags-added", {"tags_added": added}
    if removed := [tag for tag in old if tag not in new]:
        yield "tags-removed", {"tags_removed": removed}


def _one_of(if_set: str, if_not: str = "") -> Tells:
    def tell(_: object, after: object) -> Iterator[Happening]:
        if what := if_set if after else if_not:
            yield what, None

    return tell


HAPPENINGS: Mapping[str, Mapping[str, Tells]] = {
    "tickets": {
        "status": _closed,
        "assignee_user": _assigned,
        "assignee_team": _team_assigned,
        "customer": _customer,
        "subject": _subject,
        "snooze_datetime": _one_of("snoozed"),
        "spam": _one_of("marked-spam", "unmarked-spam"),
        "trashed_datetime": _one_of("trashed", "untrashed"),
        "tags": _tags,
    },
    "tags": {"name": _one_of("renamed", "renamed")},
    "rules": {"priority": _one_of("priority-updated", "priority-updated")},
    "integrations": {"deactivated_datetime": _one_of("deactivated", "reactivated")},
    "views": {"deactivated_datetime": _one_of("deactivated")},
    "account": {"deactivated_datetime": _one_of("deactivated")},
    "users": {"has_2fa_enabled": _one_of("2fa-changed", "2fa-changed")},
}
