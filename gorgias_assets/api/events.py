"""Gorgias's events, which name the rows that something happened to.

`/events` is the one list with a filter for time, and is kept for 12 months
(developers.gorgias.com/reference/list-events).
"""

import math
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeGuard

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.windows import Window

EVENTS_KEPT = timedelta(days=365)


def event_pages(
    client: GorgiasClient, types: Iterable[str], window: Window, patience: float = math.inf
) -> Iterator[Page]:
    """Yield the window's events of some types, newest first."""
    filters = [("types", kind) for kind in types]
    filters += [
        ("created_datetime[gte]", window.start.isoformat()),
        ("created_datetime[lt]", window.end.isoformat()),
    ]
    return client.pages("/events", order_by="created_datetime:desc", filters=filters, patience=patience)


def is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and abs(value) < 2**63
