"""A reading of a window of a list with a filter for time: exactly its rows, without a walk to them.

The list is requested newest first. Another attempt asks for the rest of the window by time, so that a cursor never has
to outlive the attempt that got it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from types import MappingProxyType

import pyarrow.compute as pc

from gorgias_assets.api.client import CursorRefused, GorgiasClient, Page
from gorgias_assets.api.filtered import Wanted, filtered_pages
from gorgias_assets.entities.model import ByFilter, Entity
from gorgias_assets.sweeps.batches import Expects, Pages, Reader
from gorgias_assets.sweeps.order import is_newest_first, just_after, out_of_order
from gorgias_assets.sweeps.position import OVERLAP, Position, Span
from gorgias_assets.sweeps.rows import is_touched
from gorgias_assets.warehouse.tables import Covered
from gorgias_assets.windows import Window

DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


class Filtered(Reader[ByFilter]):
    """The rows of `entity` that were created in `window`, of some `types` or of all.

    Gorgias keeps them for a time. Whole days of the window that are older than that are left alone: `window` begins
    behind them once an answer has shown Gorgias's time, and `remark` says so.
    """

    window: Window

    def __init__(
        self,
        entity: Entity[ByFilter],
        window: Window,
        connect: Callable[[], GorgiasClient],
        *,
        types: Sequence[str] = (),
        owned: Mapping[str, str] = MappingProxyType({}),
        expects: Expects | None = None,
    ) -> None:
        super().__init__(entity, connect, owned=owned, expects=expects)
        self.window = window
        self.types = frozenset(types) or None
        self.key = ", ".join([str(window), *sorted(self.types or ())])
        self.position = Position([Span(entity.read.field, window.end, window.start)])

    @property
    def finds_gone(self) -> bool:
        return False

    @property
    def started_at(self) -> datetime | None:
        return self.position.started_at

    @property
    def share_done(self) -> float:
        if self.progress.complete or not self.progress.reached:
            return float(self.progress.complete)
        left = max(timedelta(0), self.progress.reached - self.window.start)
        return 1 - min(1.0, left / (self.window.end - self.window.start))

    def peek(self) -> str | None:
        """Request the first page now, and keep it. Return None, or in a sentence why there is nothing to read.

        That is so, too, if Gorgias keeps nothing of the window any more.
        """
        refused = super().peek()
        if refused is None and self._peeked and self._is_purged(self._peeked):
            return self.remark
        return refused

    def resume(self, position: str) -> bool:
        """Continue from a position of an earlier attempt, and read what may have come since that began."""
        earlier = Position.of_earlier(position)
        if earlier is None or earlier.first_answer_at is None:
            return False
        since = max(earlier.first_answer_at - OVERLAP, self.window.start)
        if since < self.window.end:
            earlier.spans.append(Span(self.entity.read.field, self.window.end, since, is_again=True))
        if not earlier.spans:
            return False
        self.resumed_from = earlier.furthest or self.window.start
        self.position = earlier
        return True

    def covered(self) -> Covered:
        return Covered(self.entity.read.field, self.window.start, self.window.end)

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        required: dict[str, datetime | None] = {"required": self.window.start}
        return {self.entity.read.field: required | ({"read_to": None} if self.progress.complete else {})}

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        with closing(self.connect()) as client:
            while self.position.spans:
                yield from self._span(client, self.position.spans[0], on_page)
        self.progress.complete = True

    def _span(self, client: GorgiasClient, span: Span, on_page: Callable[[], object]) -> Pages:
        """Read a span to its end. A rejected cursor costs calls, and no rows."""
        most_pages = 0  # before a refusal
        while True:
            before, pages = span.reached, 0
            try:
                for page in self._chain(client, span, on_page):
                    pages += 1
                    yield page
            except CursorRefused as refused:
                self.progress.count_refusal(refused)
                if span.reached == before and pages <= most_pages:
                    raise
                most_pages = max(most_pages, pages)
            else:
                self.position.advance(span, None, None, is_last=True)
                return

    def _chain(self, client: GorgiasClient, span: Span, on_page: Callable[[], object]) -> Pages:
        """Read what is left of a span by one chain of cursors."""
        field, lowest = self.entity.read.field, None
        for page in self._wanted_pages(client, span):
            self._is_purged(page)
            self.position.answered(page)
            rows = self._typed(page)
            moments = rows.table[field]
            if not is_newest_first(moments, lowest):
                raise out_of_order(self.entity.path, field)
            self.progress.rows_in_order += len(moments) - moments.null_count
            self.progress.rows_without_order += moments.null_count
            lowest = min(filter(None, (lowest, pc.min(moments).as_py())), default=None)
            self.progress.reached = lowest or self.progress.reached
            self.position.advance(span, page.next_cursor, lowest, is_last=False)
            on_page()
            yield self._flagged(rows, is_touched(rows, self.entity.read.touch_fields, self.window)), page.size

    def _wanted_pages(self, client: GorgiasClient, span: Span) -> Iterator[Page]:
        is_first = span.reached is None and not span.is_again
        first = self._take_peeked() if is_first else None
        return filtered_pages(client, self._wanted(span), first=first)

    def _wanted(self, span: Span) -> Wanted:
        bottom, top = span.bottom or self.window.start, span.top or self.window.end
        if span.reached:
            top = max(min(top, just_after(span.reached)), bottom + MICROSECOND)
        return Wanted(self.entity.path, self.entity.read.field, Window(bottom, top), self.types)

    def _first_page(self, client: GorgiasClient) -> Page:
        wanted = self._wanted(self.position.spans[0])
        return client.page(wanted.path, order_by=wanted.order_by, filters=wanted.filters)

    def _saved_position(self) -> str:
        return self.position.dump()

    def _is_purged(self, page: Page) -> bool:
        """Let the window begin at the first day of which Gorgias keeps anything; return True if there is none."""
        window, kept_from = self.window, page.answered_at - self.entity.read.kept
        days = max(0, (kept_from - window.start) // DAY)
        if not days:
            return False
        start = window.start + days * DAY
        is_purged = start >= window.end
        left = Window(window.start, window.end if is_purged else start)
        self.remark = (
            f"Gorgias keeps these for {self.entity.read.kept.days} days, and none of {left} any more; what the table "
            "holds of that stays as it is."
        )
        if not is_purged:
            self.window = Window(start, window.end)
        return is_purged
