"""What Gorgias says of rows that are gone: its events name some, and a look for a single row tells for sure.

Lists have no tombstones. A row is called gone only when its own path says so, never because it is absent from a list.
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

_MOST_MOVES = 20


def named_gone(client: GorgiasClient, entity: Entity, window: Window, progress: Progress) -> set[int]:
    """Ids that the window's events of deletion and merging name, those of survivors among them.

    An event of a merge names the row that is gone in its data, recorded as `{"source_customer_id": …}`, after one of
    that row's deletion.
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


def tombstone(client: GorgiasClient, entity: Entity, row: Mapping[str, Any], progress: Progress) -> Tombstone | None:
    """Look for a row by its `id` and the fields that its path takes; None while it lives.

    A row below another one, as a message is below its ticket, moves with it when that is merged, and is followed.
    """
    path = entity.object_path.format_map(row)
    for _ in range(_MOST_MOVES):
        found = client.find(path)
        progress.count(found)
        if found.presence is Presence.ALIVE:
            return None
        if found.presence is Presence.GONE:
            return Tombstone(row["id"], found.requested_at)
        moved = _fields_of(entity, found)
        if not moved and entity.below:
            return None  # what it is below was merged, and it went with it; where to is not said
        if moved.get("id") != row["id"]:
            return Tombstone(row["id"], found.requested_at, moved.get("id"), is_merged=True)
        path = entity.object_path.format_map(moved)
    return None


def _fields_of(entity: Entity, found: Found) -> dict[str, int]:
    """The fields of the entity's path in the location that an answer gives; none where it gives no such path."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d{1,18})", re.escape(entity.object_path))
    match = re.search(rf"{pattern}/?$", found.location or "")
    return {name: int(value) for name, value in match.groupdict().items()} if match else {}
