"""Reading the spans of a sweep: one after the other, or side by side where answers are slow, and where a seek pays.

Each span is read by one chain of cursors, in one of the threads that fill what is ahead of the merge.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress

import pyarrow as pa

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.pager import EntityList
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.read_ahead import Ahead
from gorgias_assets.sweeps.rows import Row, moment_of, type_rows
from gorgias_assets.windows import Window

READERS = 4  # of one sweep, at most
SLOW_ANSWERS = 3  # in a row, before another reader is asked for; a single one may have been held up
SLOW_SECONDS = 0.15  # an answer that takes longer leaves room in the budget, which is at most four calls a second
PAGES_WORTH_SHARING = 12


@dataclass(frozen=True)
class TypedPage:
    """A page of a span: the rows that belong to the window, the others, and where the span stands behind it.

    `size` is what the rows weigh at most, in bytes.
    """

    span: Span
    touched: pa.Table
    passed: pa.Table
    cursor: str | None
    reached: datetime | None
    is_last: bool
    size: int


@dataclass
class _Course:
    """How the reading of a span goes: the order field of its first and its last row so far, and the pages between."""

    first: datetime | None = None
    last: datetime | None = None
    pages: int = 0
    slow_answers: int = 0  # in a row
    is_over: bool = False

    def pages_until(self, moment: datetime) -> float:
        """How many more pages it takes to get there, if they hold as much time each as those so far."""
        if self.first is None or self.last is None or self.first == self.last:
            return 0.0
        return self.pages * max(timedelta(0), self.last - moment) / (self.first - self.last)


class Reading:
    """The threads' side of a sweep. The position is changed and looked at under its lock."""

    def __init__(
        self,
        entity: Entity,
        window: Window,
        position: Position,
        progress: Progress,
        connect: Callable[[], GorgiasClient],
        can_seek: bool,
    ) -> None:
        self._list = EntityList(entity, position, progress, can_seek)
        self._lock = self._list.lock
        self._entity = entity
        self._window = window
        self._position = position
        self._progress = progress
        self._connect = connect
        self._courses: dict[Span, _Course] = {}
        self._sought: dict[Span, Page] = {}  # first pages that a seek has read
        self._is_helping = False
        self._is_shared = False
        self._clients: list[GorgiasClient] = []
        self._is_closed = False
        self.ahead: Ahead[TypedPage] | None = None

    def close(self) -> None:
        """End what the threads are waiting for; nothing more is requested."""
        with self._lock:
            self._is_closed = True
            for client in self._clients:
                client.close()

    def pages(self) -> Iterator[TypedPage]:
        """Read the spans that no other reader has taken, one after the other."""
        with closing(self._client()) as client:
            while (span := self._take()) is not None:
                yield from self._span(client, span)

    def advance(self, page: TypedPage) -> None:
        """Take `page` for merged in the position."""
        with self._lock:
            page.span.cursor, page.span.reached = page.cursor, page.reached or page.span.reached
            if page.is_last:
                self._position.leave(page.span, at_end=page.cursor is None)

    def position_text(self) -> str:
        with self._lock:
            return self._position.dump()

    @property
    def share_done(self) -> float:
        """How much of the spans has been read, from 0 to 1, by time."""
        with self._lock:
            done = left = timedelta(0)
            for span, course in self._courses.items():
                if course.first is not None and course.last is not None:
                    bottom = span.bottom or self._list.oldest.get(span.order) or course.last
                    done += course.first - max(bottom, course.last)
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
        """The span's pages, down to the first that reaches below its bottom."""
        course = self._courses[span]
        for page, keys in self._list.pages(client, span, self._sought.pop(span, None)):
            with self._lock:
                course.pages += 1
                course.slow_answers = course.slow_answers + 1 if page.seconds >= SLOW_SECONDS else 0
                if keys:
                    course.first, course.last = course.first or keys[0], keys[-1]
                is_below = bool(keys and span.bottom and keys[-1] < span.bottom)
                course.is_over = is_below or page.next_cursor is None
            yield self._typed(span, page, course)
            if course.is_over or self._seek_window(client, span, course):
                return
            self._ask_for_help(span, page, course)

    def _seek_window(self, client: GorgiasClient, span: Span, course: _Course) -> bool:
        """Put spans that begin at the window's end in the place of one from the newest row, if that saves calls.

        Whether it has.
        """
        entity, window = self._entity, self._window
        if (
            span.top is not None
            or span.is_again
            or span.order != entity.order
            or span.bottom is None
            or self._is_shared
        ):
            return False
        orders = list(dict.fromkeys([entity.creation_order, entity.order]))
        top = window.end + (entity.look_ahead if len(orders) == 1 else timedelta(0))
        saved, window_pages = course.pages_until(top), course.pages_until(span.bottom) - course.pages_until(top)
        if not self._list.can_seek or saved <= 2 * len(orders) + (len(orders) - 1) * window_pages + 1:
            return False
        found: dict[Span, Page] = {}
        for order in orders:
            sought = self._list.seek(client, order, top)
            if sought is None:
                return False
            found[Span(order, top, span.bottom)] = sought.page
        with self._lock:
            course.is_over = True
            self._sought |= found
            self._position.spans[:] = [*(other for other in self._position.spans if other is not span), *found]
            self._position.was_sought = True
        return True

    def _ask_for_help(self, span: Span, page: Page, course: _Course) -> None:
        """Start another reader where answers are so slow that one chain of cursors leaves the budget unused."""
        with self._lock:
            bottom = span.bottom or self._list.oldest.get(span.order)
            if (
                self.ahead is None
                or self._is_helping
                or self.ahead.readers >= READERS
                or page.waited
                or course.slow_answers < SLOW_ANSWERS
                or not self._list.can_seek
                or bottom is None
                or course.pages_until(max(bottom, self._list.oldest.get(span.order, bottom))) < PAGES_WORTH_SHARING
            ):
                return
            self._is_helping = True
            self.ahead.also(self._help(span, course))

    def _help(self, span: Span, course: _Course) -> Iterator[TypedPage]:
        """Read a span that waits, or the older half of the one whose reader asked; then what else there is."""
        with closing(self._client()) as client:
            try:
                part = self._take() or self._half_of(client, span, course)
            finally:
                self._is_helping = False
            while part is not None:
                yield from self._span(client, part)
                part = self._take()

    def _half_of(self, client: GorgiasClient, span: Span, course: _Course) -> Span | None:
        """Cut the span in two, and give the older part, unless its reader has come there meanwhile."""
        with self._lock:
            bottom = max(filter(None, (span.bottom, self._list.oldest.get(span.order))))
            if course.last is None or course.is_over or course.last <= bottom:
                return None
            middle = course.last - (course.last - bottom) / 2
        sought = self._list.seek(client, span.order, middle)
        if sought is None:
            return None
        with self._lock:
            if not sought.page.rows or course.is_over or course.last <= middle:
                return None
            half = Span(span.order, middle, span.bottom, is_again=span.is_again)
            span.bottom = middle
            self._position.spans.append(half)
            self._is_shared = True
            self._courses[half] = _Course()
            self._sought[half] = sought.page
            return half

    def _typed(self, span: Span, page: Page, course: _Course) -> TypedPage:
        is_touched = [self._is_touched(row, span) for row in page.rows]
        touched, passed = (
            type_rows(list(compress(page.rows, chosen)), self._entity.columns, page.requested_at)
            for chosen in (is_touched, [not yes for yes in is_touched])
        )
        with self._lock:
            self._progress.rows_touched += touched.table.num_rows
            self._progress.extra_fields += touched.extra_fields
            self._progress.reached = course.last or self._progress.reached
        return TypedPage(span, touched.table, passed.table, page.next_cursor, course.last, course.is_over, page.size)

    def _is_touched(self, row: Row, span: Span) -> bool:
        """Whether something happened to the row in the window, or nobody can tell as a touch is unreadable.

        In a window that was sought in two orders, what was created in it is read, and so counted, in that order, unless
        it came after that.
        """
        touches = {name: moment_of(row, name) for name in self._entity.touch_fields if row.get(name) is not None}
        created = touches.get(self._entity.creation_order)
        if (
            created
            and self._position.was_sought
            and not span.is_again
            and span.order != self._entity.creation_order
            and created in self._window
        ):
            return False
        return not touches or any(touch is None or touch in self._window for touch in touches.values())
