"""Seeking: an old moment of a list is reached in two calls, however long the list is.

Recorded cursors are base64 of `["next", "<naive UTC microseconds>", <id>]`, the sort key and the id of the last row
before the position (events and tags, NangoHQ/integration-templates, 2026-08-26; the documentation's survey example).
It is an inference that the lists of this project accept a cursor that was made here. So two facts that need no
inference are verified, and on any doubt there is no seek:

- every row of the answer is older than the moment, and no row of the page before it is;
- if the answer has no row, the oldest row of the list is not older than the moment.

Rows may be in the wrong order by `DISORDER`, so it is aimed that much later, and verified with as much room. A seek is
only a help: an answer that cannot be used, and none at all, are doubts like any other.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gorgias_assets.api.client import GorgiasError, Page
from gorgias_assets.sweeps.position import DISORDER
from gorgias_assets.sweeps.rows import moments

# A page of a list ordered by a datetime field: (<field>:asc or <field>:desc, cursor) -> page.
RequestPage = Callable[[str, str | None], Page]


@dataclass(frozen=True)
class Sought:
    """A page that begins above the rows older than the moment, or with them; without rows, the list has none so old.

    `oldest`: the order field of the list's last row, if it was requested.
    """

    page: Page
    oldest: datetime | None = None


def seek(request: RequestPage, order: str, moment: datetime) -> Sought | None:
    """Reach the rows of the list by `order`, newest first, that are older than `moment`; return None on any doubt.

    The list must have newer rows as well.
    """
    aim = moment + DISORDER
    try:
        page = request(f"{order}:desc", cursor_before(aim))
        if not page.rows:
            return _sought_nothing(request, page, order, moment)
        if page.prev_cursor is None:
            return None
        newer = moments(request(f"{order}:desc", page.prev_cursor).rows, order)
    except GorgiasError:
        return None
    older = moments(page.rows, order)
    if not older or not newer:
        return None
    is_verified = max(older) < aim + DISORDER and max(newer) >= aim and min(newer) >= moment
    return Sought(page) if is_verified else None


def cursor_before(moment: datetime) -> str:
    """Return the cursor at which, newest first, the rows older than `moment` begin: no id is below 0."""
    return base64.b64encode(json.dumps(["next", moment.replace(tzinfo=None).isoformat(), 0]).encode()).decode()


def _sought_nothing(request: RequestPage, page: Page, order: str, moment: datetime) -> Sought | None:
    """Verify a page without rows: it is right if the list's oldest row is not older than the moment."""
    first = request(f"{order}:asc", None)
    oldest = min(moments(first.rows, order), default=None)
    is_empty = not first.rows and first.next_cursor is None
    if page.next_cursor is not None or (oldest < moment if oldest else not is_empty):
        return None
    return Sought(page, oldest)
