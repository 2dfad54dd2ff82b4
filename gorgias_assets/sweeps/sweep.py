"""A sweep: one reading of a window of one entity, newest first, as typed batches.

The cost of reading is API calls. A sweep begins at the newest row, since a row of the window may have been touched
again after it, or, where the window is old, seeks it; it stops where nothing older can belong. With every batch comes
the position from which another attempt goes on.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from gorgias_assets.api.client import GorgiasClient, GorgiasError
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.read_ahead import read_ahead
from gorgias_assets.sweeps.readers import Reading
from gorgias_assets.sweeps.rows import type_rows
from gorgias_assets.windows import Window

BATCH_ROWS = 10_000
OVERLAP = timedelta(minutes=10)  # in which what has happened may not be in a list yet
BATCH_BYTES = 24 * 2**20  # of bodies; bounds memory where bodies are long
READ_AHEAD_BYTES = 6 * 2**20


@dataclass(frozen=True)
class Batch:
    """Rows to be merged together, in the order they were read.

    - `rows`: those that belong to the window.
    - `passed`: others that were read on the way; they refresh what the table has of them already, and add nothing.
    - `position`: where the sweep stands once these are merged, as text for `Sweep.resume`.
    """

    rows: pa.Table
    passed: pa.Table
    position: str


class Sweep:
    """The rows of `entity` that something happened to in `window`, each in its newest state.

    Lazy: nothing is requested before `batches()` is iterated. Rows are read by the entity's order field, newest first,
    down to the window's start less `look_back`. A full sweep reads them by creation, to the list's end.

    `connect` makes a client of the account; each reader has one of its own. When it is complete, it has read what
    happened before `began_at`, also where an earlier attempt began before that.
    """

    def __init__(
        self,
        entity: Entity,
        window: Window,
        connect: Callable[[], GorgiasClient],
        look_back: timedelta,
        *,
        can_seek: bool = True,
        is_full: bool = False,
        max_lookups: int = 500,
    ) -> None:
        self.entity = entity
        self.window = window
        self.connect = connect
        self.is_full = is_full
        self.max_lookups = max_lookups
        self.progress = Progress(seek="not needed" if can_seek else "off")
        self.began_at = datetime.now(UTC)
        self.resumed_from: datetime | None = None
        order, bottom = (entity.creation_order, None) if is_full else (entity.order, window.start - look_back)
        self.position = Position(self.began_at, [Span(order, None, bottom)])
        self._look_back = look_back
        self._can_seek = can_seek
        self._reading: Reading | None = None

    @property
    def key(self) -> str:
        """What sweeps have in common that may go on from each other's positions."""
        return f"{self.window}, looking back {self._look_back}{', full' * self.is_full}"

    @property
    def share_done(self) -> float:
        """How much of the sweep has been read, from 0 to 1, by time."""
        if self.progress.complete:
            return 1.0
        return self._reading.share_done if self._reading else 0.0

    def resume(self, position: str) -> bool:
        """Go on from a position of an earlier attempt, instead of from the beginning.

        False, and the sweep begins anew, if the position cannot be read, or nothing tells what has changed since then.
        After what that one had left, what has changed since it began is read again.
        """
        earlier = Position.load(position)
        if earlier is None or earlier.first_answer_at is None:
            return False
        earlier.spans = [span for span in earlier.spans if not span.is_again]
        self.resumed_from = max((span.reached for span in earlier.spans if span.reached), default=self.window.start)
        if again := self._changed_since(earlier.first_answer_at - OVERLAP, earlier.spans):
            earlier.spans.append(again)
        if earlier.was_sought:
            self.progress.seek = "used"
        self.position = earlier
        return True

    def batches(
        self, rows: int = BATCH_ROWS, size: int = BATCH_BYTES, on_page: Callable[[], object] = lambda: None
    ) -> Iterator[Batch]:
        """Typed rows, so many of the window at a time; at least one batch, the last short or empty.

        A batch is shorter, too, where bodies are long: it ends with the page that brings it to `size` bytes of them.
        `on_page` is called after each page, with `progress` up to date. Raises the client's `GorgiasError` after it has
        yielded what was read before.
        """
        reading = self._reading = Reading(
            self.entity, self.window, self.position, self.progress, self.connect, self._can_seek
        )
        none = type_rows([], self.entity.columns, datetime.now(UTC)).table
        touched, passed, read = [none], [none], 0
        with read_ahead(reading.pages(), READ_AHEAD_BYTES) as ahead, closing(reading):
            reading.ahead = ahead
            try:
                for page in ahead:
                    before = reading.position_text()
                    reading.advance(page)
                    touched.append(page.touched)
                    passed.append(page.passed)
                    read += page.size
                    on_page()
                    while read >= size or max(_count(touched), _count(passed)) >= rows:
                        batch = pa.concat_tables(touched)
                        rest = batch.slice(rows)
                        position = before if rest.num_rows else reading.position_text()
                        yield Batch(batch.slice(0, rows), pa.concat_tables(passed), position)
                        touched, passed, read = [rest], [none], 0
            except GorgiasError:
                yield Batch(pa.concat_tables(touched), pa.concat_tables(passed), reading.position_text())
                raise
            self.progress.complete = True
            yield Batch(pa.concat_tables(touched), pa.concat_tables(passed), reading.position_text())

    def covered(self) -> tuple[str, datetime | None, datetime | None]:
        """What a complete sweep has shown: a field, and from when to when; every living row with it there was read.

        A row whose field moves may have left the interval meanwhile.
        """
        if self.is_full:
            return self.entity.creation_order, None, None
        bottom = self.window.start - self._look_back
        if self.position.was_sought:
            return self.entity.creation_order, bottom, self.window.end
        return self.entity.order, bottom, None

    @property
    def bottoms(self) -> dict[str, datetime | None]:
        """Below which moment the list has to be read in each order that the sweep takes; None: to its end."""
        entity = self.entity
        if self.is_full:
            return {entity.creation_order: None}
        orders = {entity.order, entity.creation_order} if self.position.was_sought else {entity.order}
        return dict.fromkeys(sorted(orders), self.window.start - self._look_back)

    def _changed_since(self, since: datetime, left: list[Span]) -> Span | None:
        """What may have changed since then in the part of the window that an earlier attempt had read, but for `left`.

        In a list that is read by change, what was touched has jumped ahead of it. In one that is read by creation,
        something can only have happened in the window if that had not ended yet.
        """
        if self.entity.order == self.entity.creation_order:
            if since >= self.window.end:
                return None
            since = max(since, self.window.start) - self._look_back
            for span in left:  # which is read from now on anyway
                begin = span.reached or span.top
                if begin and (span.bottom is None or span.bottom <= since):
                    since = max(since, begin)
        return Span(self.entity.order, None, since, is_again=True)


def _count(tables: list[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)
