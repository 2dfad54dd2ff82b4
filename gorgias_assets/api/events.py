"""Gorgias's events, which name the rows that something happened to.

`/events` is the one list with a filter for time, and is kept for 12 months
(developers.gorgias.com/reference/list-events).
"""

import math
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeGuard

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.api.filtered import Wanted, filtered_pages
from gorgias_assets.windows import Window

EVENTS_KEPT = timedelta(days=365)
_MOST_DIGITS = 18  # that any 64 bits hold
_NO_NAME, _COUNT = re.compile(r"( (ids?|data))*"), re.compile(r"(?<![a-z])(count|number|total)")
MOST_PAGES_AFTER = 20  # the window, if the filters are ignored


def event_pages(
    client: GorgiasClient, types: Iterable[str], window: Window, patience: float = math.inf
) -> Iterator[Page]:
    """Yield the window's events of some types, newest first, also if the filters are ignored.

    Raise the client's errors, and `Untrusted` if the filters are ignored and too much has happened since the window.
    """
    wanted = Wanted("/events", "created_datetime", window, frozenset(types))
    return filtered_pages(client, wanted, patience=patience, most_after=MOST_PAGES_AFTER)


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
