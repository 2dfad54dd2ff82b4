"""Deletions: events name some of the rows that are gone, and a request for a single row makes sure.

Lists have no tombstones. A row counts as gone only if its own path says so, never because a list lacks it.
"""

import re
from collections.abc import Mapping
from typing import Any

from gorgias_assets.api.client import Found, GorgiasClient, Presence
from gorgias_assets.api.events import event_pages, is_id
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.warehouse.tables import Tombstone
from gorgias_assets.windows import Window

_MAX_MOVES = 20


def named_gone(client: GorgiasClient, entity: Entity[Any], window: Window, progress: Progress) -> set[int]:
    """Return the ids that the window's events of deletion and merging name, ids of survivors included.

    An event of a merge names the row that is gone in its data, recorded as `{"source_customer_id": …}`. It follows an
    event of that row's deletion.
    """
    if not entity.gone_events:
        return set()
    ids: set[int] = set()
    for page in event_pages(client, entity.gone_events, window):
        progress.pages += 1
        progress.count(page)
        for event in page.rows:
            data = event.get("data")
            named = [event.get("object_id"), *(data.values() if isinstance(data, dict) else ())]
            ids.update(filter(is_id, named))
    return ids


def tombstone(
    client: GorgiasClient, entity: Entity[Any], row: Mapping[str, Any], progress: Progress
) -> Tombstone | None:
    """Request a row by its `id` and the fields that its path takes; return None while it lives.

    A row below its parent, such as a message, moves when that is merged, and is followed.
    """
    path = entity.object_path.format_map(row)
    for _ in range(_MAX_MOVES):
        found = client.find(path)
        progress.count(found)
        if found.presence is Presence.ALIVE:
            return None
        if found.presence is Presence.GONE:
            return Tombstone(row["id"], found.requested_at)
        moved = _fields_of(entity, found)
        if not moved and entity.parent and entity.parent.owns:
            return None  # its parent was merged, and it moved, to a place that the answer does not name
        if moved.get("id") != row["id"]:
            return Tombstone(row["id"], found.requested_at, moved.get("id"), is_merged=True)
        path = entity.object_path.format_map(moved)
    return None


def _fields_of(entity: Entity[Any], found: Found) -> dict[str, int]:
    """Return the fields of the entity's path in the answer's location; none if that is no such path."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d{1,18})", re.escape(entity.object_path))
    match = re.search(rf"{pattern}/?$", found.location or "")
    return {name: int(value) for name, value in match.groupdict().items()} if match else {}
