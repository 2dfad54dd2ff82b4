"""A reading of a window of a list that has dates, and no documented order.

The order is observed. While the list has been newest first on every page, reading stops a day below the window; a list
in any other order is read to its end.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.client import CursorRefused, GorgiasClient, Page
from gorgias_assets.entities.model import Entity, Unordered
from gorgias_assets.sweeps.batches import Expects, Pages, Reader
from gorgias_assets.sweeps.order import is_newest_first
from gorgias_assets.sweeps.position import DISORDER, Position, Span
from gorgias_assets.sweeps.rows import is_touched
from gorgias_assets.warehouse.tables import Covered
from gorgias_assets.windows import Window

MARGIN = timedelta(days=1)  # below the window, by which an order that is not documented may be wrong


class UnorderedSweep(Reader[Unordered]):
    """The rows of `entity` that were created in `window`, each in its newest state.

    Other rows that come along refresh those that are stored, and are not added: the table holds the days that were
    read, in whatever order they were. A full sweep reads to the list's end in any case.
    """

    window: Window

    def __init__(
        self,
        entity: Entity[Unordered],
        window: Window,
        connect: Callable[[], GorgiasClient],
        *,
        is_full: bool = False,
        owned: Mapping[str, str] = MappingProxyType({}),
        expects: Expects | None = None,
    ) -> None:
        super().__init__(entity, connect, owned=owned, expects=expects)
        self.window = window
        self.is_full = is_full
        self.key = f"{window}{', full' * is_full}"
        self.position = self._beginning()

    @property
    def finds_gone(self) -> bool:
        return False

    @property
    def began_at(self) -> datetime | None:
        """The second before which a complete reading has read all that happened: that of the first attempt.

        An attempt that resumes does not read again what has changed meanwhile in the pages before.
        """
        began, started = super().began_at, self.position.started_at
        return min(began, started.replace(microsecond=0)) if began and started and self.resumed_from else began

    @property
    def started_at(self) -> datetime | None:
        return self.position.started_at

    @property
    def share_done(self) -> float:
        """0 until all is read: the length of the list is unknown."""
        return float(self.progress.complete)

    def resume(self, position: str) -> bool:
        """Continue from a position of an earlier attempt."""
        earlier = Position.of_earlier(position)
        if earlier is None or not earlier.furthest or not earlier.spans:
            return False
        self.position, self.resumed_from = earlier, earlier.furthest
        return True

    def covered(self) -> Covered:
        return Covered(self.entity.read.field, None if self.is_full else self.window.start)

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        field, stops = self.entity.read.field, self.position.stops
        required = {"required": None if self.is_full else self.window.start}
        return {field: required | ({"read_to": stops[field]} if field in stops else {})}

    def _beginning(self) -> Position:
        return Position([Span(self.entity.read.field, None, None if self.is_full else self.window.start - MARGIN)])

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        """Read the list. A cursor that is rejected, or leads nowhere, costs calls, and no rows: reading begins anew."""
        refused_after: int | None = None  # pages
        with closing(self.connect()) as client:
            while self.position.spans:
                pages = 0
                try:
                    for page in self._chain(client, self.position.spans[0], on_page):
                        pages += 1
                        yield page
                except CursorRefused as refused:
                    self.progress.count_refusal(refused)
                    if refused_after is not None and pages <= refused_after:
                        raise
                    refused_after = pages
                    self._begin_anew()
        self.progress.complete = True

    def _chain(self, client: GorgiasClient, span: Span, on_page: Callable[[], object]) -> Pages:
        """Read what is left of the list by one chain of cursors, until nothing older can be of the window."""
        old = cursor = span.cursor
        first = self._take_peeked() if old is None else None
        for page in client.pages(self.entity.path, order_by="", cursor=cursor, first=first):
            if cursor == old and old is not None and not page.rows and page.next_cursor is None:
                self.progress.count(page)
                self._begin_anew()
                return
            self.position.answered(page)
            cursor = page.next_cursor
            rows = self._typed(page)
            is_last = self._observe(span, rows.table[span.order]) or cursor is None
            self.position.advance(span, cursor, self.progress.reached, is_last)
            on_page()
            yield self._flagged(rows, is_touched(rows, self.entity.read.touch_fields, self.window)), page.size
            if is_last:
                return

    def _begin_anew(self) -> None:
        self.position, self.resumed_from = self._beginning(), None

    def _first_page(self, client: GorgiasClient) -> Page:
        return client.page(self.entity.path, order_by="")

    def _saved_position(self) -> str:
        return self.position.dump()

    def _observe(self, span: Span, moments: pa.ChunkedArray) -> bool:
        """Observe the order; return True if everything that follows is too old.

        That is never so in a list out of order, nor as long as all rows are of one moment: they show no order.
        """
        progress = self.progress
        ends: dict[str, datetime | None] = pc.min_max(moments).as_py()
        if is_newest_first(moments, span.reached):
            progress.rows_in_order += len(moments) - moments.null_count
        elif not self.is_full:
            span.bottom = None
            self.remark = "The list is not newest first, so it was read to its end."
        progress.rows_without_order += moments.null_count
        progress.newest = max(filter(None, (progress.newest, span.reached, ends["max"])), default=None)
        progress.reached = min(filter(None, (span.reached, ends["min"])), default=None)
        if progress.newest is None or progress.reached is None or span.bottom is None:
            return False
        return progress.reached < span.bottom and progress.newest - progress.reached > DISORDER
