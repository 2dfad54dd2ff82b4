"""The list of an entity, page by page and in order, from wherever a span stands, even if its cursor is rejected.

Reading a span stops at the first page that shows that nothing older can belong to it. That is right only while the
list keeps its order, so the order is verified on every page and from one page to the next. Rows may be in the wrong
order by `DISORDER`, and so it is read that much further.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from types import MappingProxyType

import pyarrow as pa

from gorgias_assets.api.client import CursorRefused, GorgiasClient, GorgiasError, Page, Unavailable, Untrusted
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.privacy.policy import Screen
from gorgias_assets.sweeps.order import LATEST, is_newest_first, just_after, out_of_order
from gorgias_assets.sweeps.position import DISORDER, Position, Span
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.rows import TypedRows, moments, type_rows
from gorgias_assets.sweeps.seek import seek

SEEK_PATIENCE_SECONDS = 30.0  # a passing fault must not cost a walk through the list, and a lasting one not minutes


@dataclass(frozen=True)
class OrderedPage:
    """A page whose order was verified, and its typed rows; `answer` has lost the parsed ones, to free memory.

    - `first`: the newest order field of the page; `newest`: the same among rows that are not in the answer's future.
    - `last`: the oldest order field of the page and those before it in the list.
    """

    answer: Page
    rows: TypedRows
    first: datetime | None
    newest: datetime | None
    last: datetime | None

    @property
    def is_empty(self) -> bool:
        return not self.rows.table.num_rows


class Pager:
    """The pages of one list, for the readers of one sweep; each reader brings a client of its own.

    `can_seek` is False once a seek was rejected. `oldest` is the order field of the list's last row by order, if known.
    `peeked` is the first page by order, if that was requested already. Rows pass the `screen`.
    """

    def __init__(
        self,
        entity: Entity[ByDate],
        position: Position,
        progress: Progress,
        can_seek: bool,
        peeked: Mapping[str, Page] = MappingProxyType({}),
        screen: Screen | None = None,
    ) -> None:
        self.entity = entity
        self.position = position
        self.progress = progress
        self.can_seek = can_seek
        self.oldest: dict[str, datetime] = {}
        self._peeked = dict(peeked)
        self._screen = screen

    def pages(self, client: GorgiasClient, span: Span, first: OrderedPage | None = None) -> Iterator[OrderedPage]:
        """Yield pages from where the span stands, or from `first`, to the list's end.

        A rejected cursor costs calls, and no rows. Raises `Untrusted` if the list is not in order or has no end, and
        the client's errors.
        """
        page, reached = first or self._first(client, span), None
        refused_at: datetime | None = None
        while True:
            last: datetime | None = None  # of the pages of this chain of cursors
            try:
                for ordered in chain([page], self._following(client, span.order, page.answer.next_cursor)):
                    last = self._continue(ordered, last, span.order)
                    reached = last or reached
                    yield replace(ordered, last=last)
                return
            except CursorRefused:
                if reached is None or (refused_at is not None and reached >= refused_at):
                    raise
                refused_at = reached
            page, from_newest = self._reach(client, span, just_after(reached))
            reached = None if from_newest else reached

    def seek(self, client: GorgiasClient, order: str, moment: datetime) -> OrderedPage | None:
        """Reach the rows older than `moment`; return None on any doubt, and never seek again."""
        if not self.can_seek or moment > LATEST:
            return None
        sought = seek(partial(self._request, client, patience=SEEK_PATIENCE_SECONDS), order, moment)
        with self.position.lock:
            if sought is None:
                self.can_seek = False
                self.progress.seek = "rejected (paged instead)"
                return None
            self.progress.seek = "used"
            if sought.oldest:
                self.oldest[order] = sought.oldest
        return self._ordered(sought.page, order)

    def find_oldest(self, client: GorgiasClient, order: str) -> datetime:
        """Return the order field of the list's last row; the end of time for an empty list, its beginning in doubt."""
        try:
            page = self._request(client, f"{order}:asc", None, SEEK_PATIENCE_SECONDS)
        except GorgiasError:
            return datetime.min.replace(tzinfo=UTC)
        keys = moments(page.rows, order)
        if not keys and (page.rows or page.next_cursor is not None):
            return datetime.min.replace(tzinfo=UTC)
        with self.position.lock:
            return self.oldest.setdefault(order, min(keys, default=datetime.max.replace(tzinfo=UTC)))

    def _ordered(self, page: Page, order: str) -> OrderedPage:
        """Type the page's rows, and verify their order. The parsed rows are freed."""
        rows = type_rows(page.rows, self.entity.columns, page.requested_at, self.entity.left_out, self._screen)
        page.rows.clear()
        if not is_newest_first(rows.table[order]):
            raise self._out_of_order(order)
        keys = rows.table[order].combine_chunks().drop_null()
        times = keys.cast(pa.int64()).to_pylist()  # microseconds
        until = round((page.answered_at + DISORDER).timestamp() * 1e6)
        ends = max(times, default=None), max(filter(until.__ge__, times), default=None), min(times, default=None)
        first, newest, last = (None if time is None else keys[times.index(time)].as_py() for time in ends)
        return OrderedPage(page, rows, first, newest, last)

    def _continue(self, page: OrderedPage, last: datetime | None, order: str) -> datetime | None:
        """Count the page's rows, verify that they are no newer than `last`, and return the oldest of both."""
        if page.first is not None and last is not None and page.first - last > DISORDER:
            raise self._out_of_order(order)
        without_order = page.rows.table[order].null_count
        with self.position.lock:
            self.progress.rows_in_order += page.rows.table.num_rows - without_order
            self.progress.rows_without_order += without_order
            self.progress.count_fields(page.rows)
        return min(filter(None, (page.last, last)), default=None)

    def _out_of_order(self, order: str) -> Untrusted:
        return out_of_order(self.entity.path, order)

    def _first(self, client: GorgiasClient, span: Span) -> OrderedPage:
        """Return the page at which the span's reading begins or resumes."""
        if span.cursor is not None:
            try:
                page = self._ordered(self._request(client, f"{span.order}:desc", span.cursor), span.order)
            except (CursorRefused, Unavailable):
                pass
            else:
                if self._continues(client, span, page):
                    return page
        moment = just_after(span.reached) if span.reached else span.top
        return self._reach(client, span, moment)[0] if moment else self._newest(client, span)

    def _continues(self, client: GorgiasClient, span: Span, page: OrderedPage) -> bool:
        """Return if the answer to an old cursor begins where that stood."""
        if span.reached is None:
            return False
        if not page.is_empty:
            return page.first is None or page.first - span.reached <= DISORDER
        return page.answer.next_cursor is not None or self.find_oldest(client, span.order) >= span.reached

    def _reach(self, client: GorgiasClient, span: Span, moment: datetime) -> tuple[OrderedPage, bool]:
        """Return the first page of rows older than `moment`, or else the newest page and True."""
        sought = self.seek(client, span.order, moment)
        return (sought, False) if sought else (self._newest(client, span), True)

    def _newest(self, client: GorgiasClient, span: Span) -> OrderedPage:
        if span.bottom is None:
            self.find_oldest(client, span.order)
        answer = self._peeked.pop(span.order, None)
        if answer:
            self._count(answer)
        page = self._ordered(answer or self._request(client, f"{span.order}:desc", None), span.order)
        with self.position.lock:
            span.top = None
            self.progress.newest = self.progress.newest or page.first
        return page

    def _following(self, client: GorgiasClient, order: str, cursor: str | None) -> Iterator[OrderedPage]:
        """Yield the pages from a cursor to the list's end."""
        if cursor is None:
            return
        try:
            for page in client.pages(self.entity.path, order_by=f"{order}:desc", cursor=cursor):
                self._count(page)
                yield self._ordered(page, order)
        except CursorRefused as refused:
            self._count_refusal(refused)
            raise

    def _request(self, client: GorgiasClient, order_by: str, cursor: str | None, patience: float = math.inf) -> Page:
        try:
            page = client.page(self.entity.path, order_by=order_by, cursor=cursor, patience=patience)
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
            self.progress.count_refusal(refused)
