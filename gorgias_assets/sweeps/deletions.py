"""Deletions: events name some of the rows that are gone, and a request for a single row makes sure.

Lists have no tombstones. A row counts as gone only if its own path says so, never because a list lacks it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from gorgias_assets.api.client import HELP_PATIENCE_SECONDS, Found, GorgiasClient, GorgiasError, Presence
from gorgias_assets.api.events import event_pages, ids_in, is_id
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.warehouse.tables import Tombstone
from gorgias_assets.windows import Window

_MAX_MOVES = 20
_MERGED = "-merged"  # the end of a type of events


@dataclass
class Named:
    """The rows that events name.

    - `ids`: every id that an event of deletion or merging names, ids of survivors included.
    - `survivors`: the rows that another one was merged into, which no event names.
    """

    ids: set[int] = field(default_factory=set)
    survivors: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Look:
    """The result of a look for one row.

    - `stone`: its tombstone if it is gone.
    - `refusal`: the status of an answer that does not say if it is gone; 0 if there was no answer.
    """

    stone: Tombstone | None = None
    refusal: int | None = None


def named_gone(client: GorgiasClient, entity: Entity[Any], window: Window, progress: Progress) -> Named:
    """Return the rows that the window's events of deletion and merging name.

    An event of a merge names the survivor, and in its data the row that is gone. Recorded for customers is
    `{"source_customer_id": …}`; no recording shows the data of `ticket-merged`, so ids are read from any form.
    """
    named = Named()
    if not entity.gone_events:
        return named
    for page in event_pages(client, entity.gone_events, window, HELP_PATIENCE_SECONDS):
        progress.pages += 1
        progress.count(page)
        for event in page.rows:
            survivor = event.get("object_id")
            others = {row_id for row_id in ids_in(event.get("data")) if row_id != survivor}
            named.ids |= others | ({survivor} if is_id(survivor) else set())
            if str(event.get("type")).endswith(_MERGED) and is_id(survivor) and not others:
                named.survivors.add(survivor)
    return named


def look_up(client: GorgiasClient, entity: Entity[Any], row: Mapping[str, Any], progress: Progress) -> Look:
    """Request a row by its `id` and the fields that its path takes.

    A row below its parent, such as a message, moves when that is merged, and is followed.
    """
    path = entity.object_path.format_map(row)
    for _ in range(_MAX_MOVES):
        try:
            found = client.find(path, HELP_PATIENCE_SECONDS)
        except GorgiasError:
            return Look(refusal=0)
        progress.count(found)
        if found.presence is Presence.UNKNOWN:
            return Look(refusal=found.status)
        if found.presence is Presence.ALIVE:
            return Look()
        if found.presence is Presence.GONE:
            return Look(Tombstone(row["id"], found.requested_at))
        moved = _fields_of(entity, found)
        if _leads_elsewhere(entity, found) or (moved and entity.object_path.format_map(moved) == path):
            return Look(refusal=found.status)
        if not moved and entity.parent and entity.parent.owns:
            return Look()  # its parent was merged, and it moved, to a place that the answer does not name
        if moved.get("id") != row["id"]:
            return Look(Tombstone(row["id"], found.requested_at, moved.get("id"), is_merged=True))
        path = entity.object_path.format_map(moved)
    return Look()


def _fields_of(entity: Entity[Any], found: Found) -> dict[str, int]:
    """Return the fields of the entity's path in the answer's location; none if that is no such path."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d{1,18})", re.escape(entity.object_path))
    match = re.search(rf"{pattern}/*$", _path_of(found.location or ""))
    return {name: int(value) for name, value in match.groupdict().items()} if match else {}


def _leads_elsewhere(entity: Entity[Any], found: Found) -> bool:
    """Return if the answer redirects, but to no object of Gorgias's: to a page to log in, for example."""
    location, family = (found.location or "").strip(), entity.object_path.split("/")[1]
    return location != "" and f"/{family}/" not in _path_of(location)


def _path_of(location: str) -> str:
    try:
        return "/" + unquote(urlsplit(location.strip()).path).lstrip("/")
    except ValueError:
        return ""
