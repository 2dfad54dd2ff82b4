"""Gorgias's events, which name the rows that something happened to.

`/events` is the one list with a filter for time, and is kept for 12 months
(developers.gorgias.com/reference/list-events).
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from gorgias_assets.api.client import HELP_PATIENCE_SECONDS, GorgiasClient, Page
from gorgias_assets.api.filtered import Wanted, filtered_pages
from gorgias_assets.windows import Window

Event = Mapping[str, Any]
Held = Callable[[Collection[str], Window], Sequence[Event] | None]
"""Returns a window's events of some types, newest first, as they were read before; None if one may be missing."""

EVENTS_PATH = "/events"
_MOST_DIGITS = 18  # that any 64 bits hold
_NO_NAME, _COUNT = re.compile(r"( (ids?|data))*"), re.compile(r"(?<![a-z])(count|number|total)")
MOST_PAGES_AFTER = 20  # the window, if the filters are ignored


def event_pages(
    client: GorgiasClient, types: Iterable[str], window: Window, patience: float = math.inf
) -> Iterator[Page]:
    """Yield the window's events of some types, newest first, also if the filters are ignored.

    Raise the client's errors, and `Untrusted` if the filters are ignored and too much has happened since the window.
    """
    wanted = Wanted(EVENTS_PATH, "created_datetime", window, frozenset(types))
    return filtered_pages(client, wanted, patience=patience, most_after=MOST_PAGES_AFTER)


def events(
    client: GorgiasClient,
    types: Collection[str],
    window: Window,
    held: Held | None = None,
    on_page: Callable[[Page], object] = lambda _: None,
) -> Iterator[Sequence[Event]]:
    """Yield the window's events of some types, newest first, in parts; nothing that is held is requested.

    `on_page` is called with each page that was requested. Raises as `event_pages`, without its patience: these events
    only help.
    """
    if held and (known := held(types, window)) is not None:
        yield known
        return
    for page in event_pages(client, types, window, HELP_PATIENCE_SECONDS):
        on_page(page)
        yield page.rows


def ids_in(data: object) -> set[int]:
    """Return the ids anywhere in an event's data: whole numbers, and their digits as text."""
    return {row_id for _, row_id in _ids_with_names(data)}


def ids_of(noun: str, data: object) -> set[int]:
    """Return the ids in an event's data that are, by the names of their fields, of such a row or of a source.

    An id without a name is one of them, and a count is none.
    """
    return {
        row_id
        for name, row_id in _ids_with_names(data)
        if (noun in name or "source" in name or _NO_NAME.fullmatch(name)) and not _COUNT.search(name)
    }


def _ids_with_names(data: object) -> Iterator[tuple[str, int]]:
    """Yield each id with the names of the fields that lead to it, in small letters."""
    waiting = [("", data)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((f"{name} {key}".lower(), inner) for key, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((name, inner) for inner in value)
        elif is_id(value):
            yield name, value
        elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
            yield name, int(value)


def is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and abs(value) < 2**63
