"""The readers of a sweep: spans in sequence, or in parallel if answers are slow, and from a seek if that saves calls.

Each span is read by one chain of cursors, in one of the threads that read ahead of the merge.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.sweeps.pager import OrderedPage, Pager
from gorgias_assets.sweeps.position import DISORDER, Span
from gorgias_assets.sweeps.read_ahead import Ahead
from gorgias_assets.sweeps.rows import is_touched, is_within
from gorgias_assets.warehouse.tables import IS_TOUCHED
from gorgias_assets.windows import Window

READERS = 4  # of one sweep, at most
SLOW_ANSWERS = 3  # in a row, before another reader starts; a single one may have been held up
SLOW_SECONDS = 0.15  # an answer that takes longer leaves room in the budget, which is at most four calls a second
PAGES_WORTH_SHARING = 12


@dataclass(frozen=True)
class TypedPage:
    """A page of a span: its rows with their flag `_is_touched`, and where the span stands behind it.

    `size` is the largest weight of the rows, in bytes.
    """

    span: Span
    rows: pa.Table
    cursor: str | None
    reached: datetime | None
    is_last: bool
    size: int


@dataclass
class _Course:
    """The course of reading a span: the order field of its first and last row so far, and the pages between.

    Rows that are dated in the future of their answer do not count as first: they show nothing of how rows lie in time.
    """

    first: datetime | None = None
    last: datetime | None = None
    pages: int = 0
    slow_answers: int = 0  # in a row
    is_over: bool = False

    def pages_until(self, moment: datetime) -> float:
        """Return how many more pages it takes to get there, if they hold as much time each as those so far."""
        if self.first is None or self.last is None or self.first <= self.last:
            return 0.0
        return self.pages * max(timedelta(0), self.last - moment) / (self.first - self.last)


class Readers:
    """The threads of a sweep. They share its position and progress, under the position's lock."""

    def __init__(self, pager: Pager, window: Window, connect: Callable[[], GorgiasClient]) -> None:
        self.ahead: Ahead[TypedPage] | None = None
        self._pager = pager
        self._lock = pager.position.lock
        self._position = pager.position
        self._window = window
        self._connect = connect
        self._courses: dict[Span, _Course] = {}
        self._sought: dict[Span, OrderedPage] = {}  # first pages that a seek has read
        self._is_helping = False
        self._is_shared = False
        self._clients: list[GorgiasClient] = []
        self._is_closed = False

    def close(self) -> None:
        """End the threads' waiting; nothing more is requested."""
        with self._lock:
            self._is_closed = True
            for client in self._clients:
                client.close()

    def pages(self) -> Iterator[TypedPage]:
        """Read the spans that no other reader has taken, one after the other."""
        with closing(self._client()) as client:
            while (span := self._take()) is not None:
                yield from self._span(client, span)

    @property
    def share_done(self) -> float:
        """The share of the spans that has been read, from 0 to 1, by time."""
        with self._lock:
            done = left = timedelta(0)
            for span, course in self._courses.items():
                if course.first is not None and course.last is not None:
                    bottom = self._bottom(span) or course.last
                    done += max(timedelta(0), course.first - max(bottom, course.last))
                    left += timedelta(0) if course.is_over else max(timedelta(0), course.last - bottom)
            for span in self._position.spans:
                if span.bottom and span not in self._courses and (begin := span.reached or span.top):
                    left += max(timedelta(0), begin - span.bottom)
            return done / (done + left) if done + left else 0.0

    def _client(self) -> GorgiasClient:
        client = self._connect()
        with self._lock:
            self._clients.append(client)
            if self._is_closed:
                client.close()
        return client

    def _take(self) -> Span | None:
        with self._lock:
            for span in self._position.spans:
                if span not in self._courses:
                    self._courses[span] = _Course()
                    return span
        return None

    def _span(self, client: GorgiasClient, span: Span) -> Iterator[TypedPage]:
        """Yield the span's pages, down to the first that reaches below its bottom."""
        course = self._courses[span]
        for ordered in self._pager.pages(client, span, self._sought.pop(span, None)):
            page = ordered.answer
            with self._lock:
                course.pages += 1
                course.slow_answers = course.slow_answers + 1 if page.seconds >= SLOW_SECONDS else 0
                course.first, course.last = course.first or ordered.newest, ordered.last or course.last
                is_below = bool(ordered.last and span.bottom and ordered.last < span.bottom - DISORDER)
                course.is_over = is_below or page.next_cursor is None
            yield self._typed(span, ordered, course)
            if course.is_over or self._seek_window(client, span, course):
                return
            self._get_help(span, page, course)

    def _typed(self, span: Span, ordered: OrderedPage, course: _Course) -> TypedPage:
        touched, page = self._is_touched(span, ordered), ordered.answer
        with self._lock:
            self._pager.progress.rows_touched += pc.sum(touched).as_py() or 0
            self._pager.progress.reached = course.last or self._pager.progress.reached
        rows = ordered.rows.table.append_column(IS_TOUCHED, touched)
        return TypedPage(span, rows, page.next_cursor, course.last, course.is_over, page.size)

    def _is_touched(self, span: Span, ordered: OrderedPage) -> pa.Array:
        """Return for each row if it belongs to the window.

        In a window that was sought in two orders, rows created in it are read, and so counted, by creation. Rows that
        are read again have come after that.
        """
        read = self._pager.entity.read
        touched = is_touched(ordered.rows, read.touch_fields, self._window)
        if self._position.was_sought and not span.is_again and span.order != read.creation_order:
            created = is_within(ordered.rows.table[read.creation_order], self._window)
            touched = pc.and_(touched, pc.invert(created))
        return touched

    def _seek_window(self, client: GorgiasClient, span: Span, course: _Course) -> bool:
        """Replace a span from the newest row by sought ones if that saves calls. Return True if it did."""
        read, window = self._pager.entity.read, self._window
        is_from_newest = span.top is None and not span.is_again and span.order == read.order
        if not is_from_newest or span.bottom is None or self._is_shared or not self._pager.can_seek:
            return False
        orders = list(dict.fromkeys([read.creation_order, read.order]))
        top = window.end + (read.look_ahead if len(orders) == 1 else timedelta(0))
        saved, window_pages = course.pages_until(top), course.pages_until(span.bottom) - course.pages_until(top)
        if saved <= 2 * len(orders) + (len(orders) - 1) * window_pages + 1:
            return False
        found: dict[Span, OrderedPage] = {}
        for order in orders:
            sought = self._pager.seek(client, order, top)
            if sought is None:
                return False
            found[Span(order, top, span.bottom)] = sought
        with self._lock:
            course.is_over = True
            self._sought |= found
            self._position.replace(span, found)
        return True

    def _get_help(self, span: Span, page: Page, course: _Course) -> None:
        """Start another reader if answers are so slow that one chain of cursors leaves the budget unused."""
        with self._lock:
            bottom = self._bottom(span)
            if (
                self.ahead is None
                or self._is_helping
                or self.ahead.readers >= READERS
                or page.waited
                or course.slow_answers < SLOW_ANSWERS
                or not self._pager.can_seek
                or bottom is None
                or course.pages_until(bottom) < PAGES_WORTH_SHARING
            ):
                return
            self._is_helping = True
            self.ahead.also(self._help(span, course))

    def _help(self, span: Span, course: _Course) -> Iterator[TypedPage]:
        """Read a span that waits, or the older half of the one whose reader needs help; then the spans left."""
        with closing(self._client()) as client:
            try:
                part = self._take() or self._half_of(client, span, course)
            finally:
                self._is_helping = False
            while part is not None:
                yield from self._span(client, part)
                part = self._take()

    def _half_of(self, client: GorgiasClient, span: Span, course: _Course) -> Span | None:
        """Cut the span in two and return the older part, unless its reader has already arrived there."""
        with self._lock:
            bottom = self._bottom(span)
            if bottom is None or course.last is None or course.is_over or course.last <= bottom:
                return None
            middle = course.last - (course.last - bottom) / 2
        sought = self._pager.seek(client, span.order, middle)
        if sought is None:
            return None
        with self._lock:
            if sought.is_empty or course.is_over or course.last <= middle:
                return None
            half = self._position.cut(span, middle)
            self._is_shared = True
            self._courses[half] = _Course()
            self._sought[half] = sought
            return half

    def _bottom(self, span: Span) -> datetime | None:
        """Return the moment at which the span's rows end, if known."""
        bounds = filter(None, (span.bottom, self._pager.oldest.get(span.order)))
        return max(bounds, default=None)
