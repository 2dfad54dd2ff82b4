"""A sweep: one reading of a window of one entity, newest first, as typed batches.

The cost of reading is API calls. A sweep begins at the newest row, since a row of the window may have been touched
again after it, or seeks the window if that is old. It stops where nothing older can belong to the window. Each batch
has the position from which another attempt resumes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from types import MappingProxyType

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.api.events import Held
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.sweeps.batches import Expects, Pages, Reader
from gorgias_assets.sweeps.deletions import Named, named_gone
from gorgias_assets.sweeps.pager import Pager
from gorgias_assets.sweeps.position import OVERLAP, Position, Span
from gorgias_assets.sweeps.read_ahead import read_ahead
from gorgias_assets.sweeps.readers import Readers
from gorgias_assets.warehouse.tables import Covered
from gorgias_assets.windows import Window

SECOND = timedelta(seconds=1)
READ_AHEAD_BYTES = 6 * 2**20


class Sweep(Reader[ByDate]):
    """The rows of `entity` that something happened to in `window`, each in its newest state.

    Rows are read by the entity's order field, newest first, down to the window's start less `look_back`. A full sweep
    reads them by creation, to the list's end. A sweep that `is_part` does not look back, nor for what is gone: it
    began before the window's end, whenever that was, since the window is not complete with it.
    """

    window: Window

    def __init__(
        self,
        entity: Entity[ByDate],
        window: Window,
        connect: Callable[[], GorgiasClient],
        look_back: timedelta,
        *,
        can_seek: bool = True,
        is_full: bool = False,
        is_part: bool = False,
        max_lookups: int = 500,
        owned: Mapping[str, str] = MappingProxyType({}),
        events: str = "",
        expects: Expects | None = None,
    ) -> None:
        super().__init__(entity, connect, max_lookups=max_lookups, owned=owned, events=events, expects=expects)
        self.window = window
        self.is_full = is_full
        self.is_part = is_part and not is_full
        self.key = f"{window}, looking back {look_back}{', full' * is_full}"
        self.progress.seek = "not needed" if can_seek else "off"
        read = entity.read
        order, bottom = (read.creation_order, None) if is_full else (read.order, window.start - look_back)
        self.position = Position([Span(order, None, bottom)])
        self._first_order = order
        self._look_back = look_back
        self._can_seek = can_seek
        self._readers: Readers | None = None

    @property
    def began_at(self) -> datetime | None:
        began = super().began_at
        return min(began, self.window.end - SECOND) if began and self.is_part else began

    @property
    def started_at(self) -> datetime | None:
        return self.position.started_at

    @property
    def share_done(self) -> float:
        if self.progress.complete:
            return 1.0
        return self._readers.share_done if self._readers else 0.0

    def resume(self, position: str) -> bool:
        """Continue from a position of an earlier attempt. After that, read again what has changed since it began.

        Return False, and begin anew, if the position cannot be read, or nothing shows what has changed since then.
        """
        earlier = Position.of_earlier(position)
        if earlier is None or earlier.first_answer_at is None:
            return False
        self.resumed_from = earlier.furthest or self.window.start
        if again := self._changed_since(earlier.first_answer_at - OVERLAP, earlier.spans):
            earlier.spans.append(again)
        if earlier.was_sought:
            self.progress.seek = "used"
        self.position = earlier
        return True

    def covered(self) -> Covered:
        read, bottom = self.entity.read, self.window.start - self._look_back
        if self.is_full:
            return Covered(read.creation_order)
        if self.position.was_sought:
            return Covered(read.creation_order, bottom, self.window.end)
        return Covered(read.order, bottom)

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        read, stops = self.entity.read, self.position.stops
        if self.is_full:
            required: dict[str, datetime | None] = {read.creation_order: None}
        else:
            orders = {read.order, read.creation_order} if self.position.was_sought else {read.order}
            required = dict.fromkeys(sorted(orders), self.window.start - self._look_back)
        return {
            order: {"required": bottom} | ({"read_to": stops[order]} if order in stops else {})
            for order, bottom in required.items()
        }

    def named_gone(self, client: GorgiasClient, held: Held | None = None) -> Named:
        if self.is_full:
            return Named()  # it reads every living row
        return named_gone(client, self.entity, self.window, self.progress, held)

    def looks_due_by(self, now: datetime) -> datetime | None:
        return None if self.is_full else now

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        peeked = self._take_peeked()
        pages = {self._first_order: peeked} if peeked else {}
        pager = Pager(self.entity, self.position, self.progress, self._can_seek, pages, self.screen)
        readers = self._readers = Readers(pager, self.window, self.connect)
        with read_ahead(readers.pages(), READ_AHEAD_BYTES) as ahead, closing(readers):
            readers.ahead = ahead
            for page in ahead:
                self.position.advance(page.span, page.cursor, page.reached, page.is_last)
                on_page()
                yield page.rows, page.size
        self.progress.complete = True

    def _first_page(self, client: GorgiasClient) -> Page:
        return client.page(self.entity.path, order_by=f"{self._first_order}:desc")

    def _saved_position(self) -> str:
        return self.position.dump()

    def _changed_since(self, since: datetime, left: Sequence[Span]) -> Span | None:
        """Return what may have changed since then in the part of the window that an earlier attempt had read.

        A list by change shows a touched row at its head. In a list by creation, something can only have happened in the
        window if that had not ended yet. The spans `left` are read anyway.
        """
        read = self.entity.read
        if read.order == read.creation_order:
            if since >= self.window.end:
                return None
            since = max(since, self.window.start) - self._look_back
            for span in left:
                begin = span.reached or span.top
                if begin and (span.bottom is None or span.bottom <= since):
                    since = max(since, begin)
        return Span(read.order, None, since, is_again=True)
