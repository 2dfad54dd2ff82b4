"""The head of a list: a look at it shows if there is anything new, mostly in one call."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from gorgias_assets.api.client import GorgiasClient, GorgiasError, Page
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.sweeps.rows import moment_of
from gorgias_assets.sweeps.seek import cursor_before

_TO_THE_SECOND = timedelta(seconds=1)  # is when an answer came


@dataclass(frozen=True)
class Head:
    """The newest row that is not in the future of its answer: its order field and its id, or None for both.

    `ahead` is a fingerprint of the rows that come before it: those of the future, and those without an order field. It
    is empty if there are none.
    """

    moment: datetime | None
    id: int | None
    ahead: str


def head_of(client: GorgiasClient, entity: Entity[ByDate], can_seek: bool) -> Head | None:
    """Return the list's head; None without a row. It takes up to three calls. Raises `GorgiasError`."""
    order, order_by = entity.read.order, f"{entity.read.order}:desc"
    page = client.page(entity.path, order_by=order_by, limit=1)
    if not page.rows:
        return None
    if usual := _newest(page, order, []):
        return usual
    ahead: list[tuple[int, str]] = []
    page = client.page(entity.path, order_by=order_by)
    if found := _newest(page, order, ahead):
        return found
    if can_seek:
        try:
            now = cursor_before(page.answered_at + 2 * _TO_THE_SECOND)
            found = _newest(client.page(entity.path, order_by=order_by, cursor=now), order, list(ahead))
        except GorgiasError:
            pass
    return Head(found.moment if found else None, found.id if found else None, _fingerprint(ahead))


def _newest(page: Page, order: str, ahead: list[tuple[int, str]]) -> Head | None:
    """Return the newest row that is not in the future of the page, and add the rows before it to `ahead`."""
    for row in page.rows:
        moment = moment_of(row, order)
        if moment is not None and moment <= page.answered_at + _TO_THE_SECOND:
            return Head(moment, row["id"], _fingerprint(ahead))
        ahead.append((row["id"], str(moment)))
    return None


def _fingerprint(rows: list[tuple[int, str]]) -> str:
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:16] if rows else ""
