"""Deletions: events name some of the rows that are gone, and a request for a single row makes sure.

Lists have no tombstones. A row counts as gone only if its own path says so, never because a list lacks it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from gorgias_assets.api.client import HELP_PATIENCE_SECONDS, Found, GorgiasClient, GorgiasError, Page, Presence
from gorgias_assets.api.events import Held, events, ids_in, ids_of
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
    - `survivors`: how often another row, which no event names, was merged into each of these.
    """

    ids: set[int] = field(default_factory=set)
    survivors: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Look:
    """The result of a look for one row.

    - `stone`: its tombstone if it is gone.
    - `refusal`: the status of an answer that does not say if it is gone; 0 if there was no answer.
    """

    stone: Tombstone | None = None
    refusal: int | None = None


def named_gone(
    client: GorgiasClient, entity: Entity[Any], window: Window, progress: Progress, held: Held | None = None
) -> Named:
    """Return the rows that the window's events of deletion and merging name. Those `held` are not requested.

    An event of a merge names the survivor, and in its data the row that is gone. Recorded for customers is
    `{"source_customer_id": …}`; no recording shows the data of `ticket-merged`, so ids are read from any form.
    """
    named = Named()
    if not entity.gone_events:
        return named

    def count(page: Page) -> None:
        progress.pages += 1
        progress.count(page)

    for event in chain.from_iterable(events(client, entity.gone_events, window, held, count)):
        kind, data, objects = str(event.get("type")), event.get("data"), ids_in(event.get("object_id"))
        named.ids |= objects | ids_in(data)
        if kind.endswith(_MERGED) and not ids_of(kind.removesuffix(_MERGED), data) - objects:
            named.survivors.update(objects)
    return named


def look_up(client: GorgiasClient, entity: Entity[Any], row: Mapping[str, Any], progress: Progress) -> Look:
    """Request a row by its `id` and the fields that its path takes.

    A row below its parent, such as a message, moves when that is merged, and is followed. A redirect to itself, or
    to no object of Gorgias's, says nothing of the row.
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
        place = _place(found, path)
        moved = _fields_of(entity, place)
        owner = entity.parent.name if entity.parent and entity.parent.owns else None
        if place and not moved and (owner is None or f"/{owner}/" not in place):
            break  # a redirect to no object of Gorgias's: to a page to log in, for example
        if not moved and owner:
            return Look()  # its parent was merged, and it moved, to a place that the answer does not name
        if moved.get("id") != row["id"]:
            return Look(Tombstone(row["id"], found.requested_at, moved.get("id"), is_merged=True))
        if path == (path := entity.object_path.format_map(moved)):
            break  # a redirect to the same object
    return Look(refusal=found.status)


def _fields_of(entity: Entity[Any], place: str) -> dict[str, int]:
    """Return the fields of the entity's path at the end of this one; none if that is no such path."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d{1,18})", re.escape(entity.object_path))
    match = re.search(rf"{pattern}/*$", place)
    return {name: int(value) for name, value in match.groupdict().items()} if match else {}


def _place(found: Found, path: str) -> str:
    """Return the path of the answer's location, as seen from the requested one; empty if it gives none."""
    location = (found.location or "").strip()
    try:
        return unquote(urlsplit(urljoin(path, location)).path) if location else ""
    except ValueError:
        return "/"
