"""The list of an entity, page by page and in order, from wherever a span stands, even if its cursor is rejected.

Reading a span stops at the first page that shows that nothing older can belong to it. That is right only while the
list keeps its order, so the order is verified on every page and from one page to the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.client import CursorRefused, GorgiasClient, Page, Untrusted
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.rows import TypedRows, moments, type_rows
from gorgias_assets.sweeps.seek import Sought, seek

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class OrderedPage:
    """A page whose order was verified, its typed rows, and the order field of its first and last row."""

    page: Page
    rows: TypedRows
    first: datetime | None
    last: datetime | None


class Pager:
    """The pages of one list, for the readers of one sweep; each reader brings a client of its own.

    `can_seek` is False once a seek was rejected. `oldest` is the order field of the list's last row by order, if known.
    """

    def __init__(self, entity: Entity[ByDate], position: Position, progress: Progress, can_seek: bool) -> None:
        self.entity = entity
        self.position = position
        self.progress = progress
        self.can_seek = can_seek
        self.oldest: dict[str, datetime] = {}

    def pages(self, client: GorgiasClient, span: Span, first: Page | None = None) -> Iterator[OrderedPage]:
        """Yield pages from where the span stands, or from `first`, to the list's end.

        A rejected cursor costs calls, and no rows. Raises `Untrusted` if the list is not in order or has no end, and
        the client's errors.
        """
        page, reached = first or self._first(client, span), None
        refused_at: datetime | None = None
        while True:
            try:
                for answer in chain([page], self._following(client, span.order, page.next_cursor)):
                    ordered = self._ordered(answer, span.order, reached)
                    reached = ordered.last or reached
                    yield ordered
                return
            except CursorRefused:
                if reached is None or (refused_at is not None and reached >= refused_at):
                    raise
                refused_at = reached
            page, from_newest = self._reach(client, span, reached + MICROSECOND)
            reached = None if from_newest else reached

    def seek(self, client: GorgiasClient, order: str, moment: datetime) -> Sought | None:
        """Reach the rows older than `moment`; return None on any doubt, and never seek again."""
        if not self.can_seek:
            return None
        sought = seek(partial(self._request, client), order, moment)
        with self.position.lock:
            if sought is None:
                self.can_seek = False
                self.progress.seek = "rejected (paged instead)"
                return None
            self.progress.seek = "used"
            if sought.oldest:
                self.oldest[order] = sought.oldest
        return sought

    def find_oldest(self, client: GorgiasClient, order: str) -> datetime:
        """Return the order field of the list's last row; the end of time for an empty list, its beginning in doubt."""
        page = self._request(client, f"{order}:asc", None)
        keys = moments(page.rows, order)
        if not keys and (page.rows or page.next_cursor is not None):
            return datetime.min.replace(tzinfo=UTC)
        with self.position.lock:
            return self.oldest.setdefault(order, min(keys, default=datetime.max.replace(tzinfo=UTC)))

    def _ordered(self, page: Page, order: str, reached: datetime | None) -> OrderedPage:
        """Type the page's rows, and verify that they continue the order below `reached`."""
        rows = type_rows(page.rows, self.entity.columns, page.requested_at)
        keys = rows.table[order].combine_chunks().drop_null()
        first, last = (keys[0].as_py(), keys[-1].as_py()) if len(keys) else (None, None)
        if not _is_descending(keys) or (reached and first and first > reached):
            raise Untrusted(
                f"GET {self.entity.path}: rows are not in the order of {order}, newest first, so rows could be missed."
                " Nothing was lost; try again, and report it if it stays."
            )
        with self.position.lock:
            self.progress.rows_in_order += len(keys)
            self.progress.rows_without_order += len(page.rows) - len(keys)
            self.progress.extra_fields += rows.extra_fields
        return OrderedPage(page, rows, first, last)

    def _first(self, client: GorgiasClient, span: Span) -> Page:
        """Return the page at which the span's reading begins or resumes."""
        if span.cursor is not None:
            try:
                page = self._request(client, f"{span.order}:desc", span.cursor)
            except CursorRefused:
                pass
            else:
                if self._continues(client, span, page):
                    return page
        moment = span.reached + MICROSECOND if span.reached else span.top
        return self._reach(client, span, moment)[0] if moment else self._newest(client, span)

    def _continues(self, client: GorgiasClient, span: Span, page: Page) -> bool:
        """Return if the answer to an old cursor begins where that stood."""
        if span.reached is None:
            return False
        if page.rows:
            return max(moments(page.rows, span.order), default=span.reached) <= span.reached
        return page.next_cursor is not None or self.find_oldest(client, span.order) >= span.reached

    def _reach(self, client: GorgiasClient, span: Span, moment: datetime) -> tuple[Page, bool]:
        """Return the first page of rows older than `moment`, or else the newest page and True."""
        sought = self.seek(client, span.order, moment)
        return (sought.page, False) if sought else (self._newest(client, span), True)

    def _newest(self, client: GorgiasClient, span: Span) -> Page:
        if span.bottom is None:
            self.find_oldest(client, span.order)
        page = self._request(client, f"{span.order}:desc", None)
        with self.position.lock:
            span.top = None
            self.progress.newest = self.progress.newest or next(iter(moments(page.rows, span.order)), None)
        return page

    def _following(self, client: GorgiasClient, order: str, cursor: str | None) -> Iterator[Page]:
        """Yield the pages from a cursor to the list's end."""
        if cursor is None:
            return
        try:
            for page in client.pages(self.entity.path, order_by=f"{order}:desc", cursor=cursor):
                self._count(page)
                yield page
        except CursorRefused as refused:
            self._count_refusal(refused)
            raise

    def _request(self, client: GorgiasClient, order_by: str, cursor: str | None) -> Page:
        try:
            page = client.page(self.entity.path, order_by=order_by, cursor=cursor)
        except CursorRefused as refused:
            self._count_refusal(refused)
            raise
        self._count(page)
        return page

    def _count(self, page: Page) -> None:
        with self.position.lock:
            self.position.answered(page)
            self.progress.count_page(page, len(page.rows))

    def _count_refusal(self, refused: CursorRefused) -> None:
        with self.position.lock:
            self.progress.calls += refused.calls
            self.progress.retries += refused.calls - 1


def _is_descending(keys: pa.Array) -> bool:
    return bool(pc.all(pc.greater_equal(keys[:-1], keys[1:])).as_py()) if len(keys) > 1 else True
