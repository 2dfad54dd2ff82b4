"""A sweep: one reading of a window of one entity, newest first, as typed batches.

The cost of reading is API calls. A sweep begins at the newest row, since a row of the window may have been touched
again after it, and stops at the first page that shows that nothing older can belong. That is right only while the list
keeps its order, which is verified on every page.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Self

import pyarrow as pa

from gorgias_assets.client import GorgiasClient, GorgiasError, Page, Untrusted
from gorgias_assets.columns import Row, TypedRows, parse_datetime, type_rows
from gorgias_assets.entities import Entity
from gorgias_assets.read_ahead import read_ahead

BATCH_ROWS = 10_000
BATCH_BYTES = 24 * 2**20  # of bodies; bounds memory where bodies are long
READ_AHEAD_BYTES = 6 * 2**20


@dataclass(frozen=True)
class Window:
    """A half-open interval `[start, end)` of aware UTC datetimes."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start.utcoffset() == self.end.utcoffset() == timedelta(0):
            raise ValueError("A window's start and end must be aware datetimes in UTC.")
        if self.start >= self.end:
            raise ValueError(f"A window must end after it starts; got {self}.")

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Self:
        """The window between two aware datetimes of any time zone."""
        return cls(start.astimezone(UTC), end.astimezone(UTC))

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


@dataclass
class Progress:
    """What a sweep has read so far, which runs a little ahead of what it has yielded.

    - `pages`, `calls`: list answers read, and requests made for them, failed attempts included.
    - `rows_read`, `rows_touched`: rows in those answers, and those of them that belong to the window.
    - `waited_seconds`: time spent waiting for the budget.
    - `newest`, `reached`: the order field of the first and of the last row read.
    - `rows_per_day`: rows touched on each day of the window; a row touched on two days counts on both.
    - `extra_fields`: how often each field went to `_extra`.
    - `complete`: the stop was reached, so every row of the window has been read.
    """

    pages: int = 0
    calls: int = 0
    rows_read: int = 0
    rows_touched: int = 0
    waited_seconds: float = 0.0
    newest: datetime | None = None
    reached: datetime | None = None
    rows_per_day: Counter[date] = field(default_factory=Counter)
    extra_fields: Counter[str] = field(default_factory=Counter)
    complete: bool = False

    @property
    def retries(self) -> int:
        return self.calls - self.pages


@dataclass(frozen=True)
class _TouchedPage:
    """The rows of a page that belong to the window, and the bytes that they weigh at most."""

    rows: pa.Table
    size: int


class Sweep:
    """The rows of `entity` that something happened to in `window`, each in its newest state.

    Lazy: nothing is requested before `batches()` is iterated. Rows are read by the entity's order field, newest first,
    down to the window's start less `look_back`.
    """

    def __init__(self, entity: Entity, window: Window, client: GorgiasClient, look_back: timedelta) -> None:
        self.entity = entity
        self.window = window
        self.progress = Progress()
        self._client = client
        self._oldest = window.start - look_back

    @property
    def share_done(self) -> float:
        """How far the sweep has come between the newest row and its stop, from 0 to 1, by time."""
        newest, reached = self.progress.newest, self.progress.reached
        if self.progress.complete:
            return 1.0
        if newest is None or reached is None or newest <= self._oldest:
            return 0.0
        return min(1.0, (newest - reached) / (newest - self._oldest))

    def batches(self, rows: int = BATCH_ROWS, on_page: Callable[[], object] = lambda: None) -> Iterator[pa.Table]:
        """Typed rows in the order they were read, so many at a time; at least one batch, the last short or empty.

        A batch is shorter, too, where bodies are long: it ends with the page that brings it to `BATCH_BYTES` of them.
        `on_page` is called after each page, with `progress` up to date. Raises the client's `GorgiasError` after it has
        yielded what was read before.
        """
        with read_ahead(self._touched_pages(), READ_AHEAD_BYTES) as pages, closing(self._client):
            tables, count, size = [type_rows([], self.entity.columns, datetime.now(UTC)).table], 0, 0
            try:
                for page in pages:
                    tables.append(page.rows)
                    count += page.rows.num_rows
                    size += page.size
                    on_page()
                    if count >= rows or size >= BATCH_BYTES:
                        batch = pa.concat_tables(tables)
                        yield batch.slice(0, rows)
                        tables, count, size = [batch.slice(rows)], max(0, count - rows), 0
            except GorgiasError:
                yield pa.concat_tables(tables)
                raise
            self.progress.complete = True
            yield pa.concat_tables(tables)

    def _touched_pages(self) -> Iterator[_TouchedPage]:
        """The window's rows of each page, typed; this is what runs ahead, so it is also where rows are counted."""
        for page, keys in self._pages():
            days = [self._days_touched(row) for row in page.rows]
            touched = [row for row, on in zip(page.rows, days, strict=True) if on is None or on]
            typed = type_rows(touched, self.entity.columns, page.requested_at)
            self._count(page, keys, typed)
            for on in days:
                self.progress.rows_per_day.update(on or ())
            yield _TouchedPage(typed.table, page.size if touched else 0)

    def _pages(self) -> Iterator[tuple[Page, list[datetime]]]:
        """The list's pages and their rows' order field, verified, down to the first that reaches behind the window."""
        reached = None
        for page in self._client.pages(self.entity.path, order_by=f"{self.entity.order}:desc"):
            moments = (_moment(row, self.entity.order) for row in page.rows)
            keys = [moment for moment in moments if moment is not None]
            path = [reached, *keys] if reached else keys
            if any(older < newer for older, newer in pairwise(path)):
                raise Untrusted(
                    f"GET {self.entity.path}: rows are not in the order of {self.entity.order}, newest first, so rows "
                    "could be missed. Nothing was lost; try again, and report it if it stays."
                )
            yield page, keys
            if keys:
                reached = keys[-1]
                if reached < self._oldest:
                    return

    def _days_touched(self, row: Row) -> set[date] | None:
        """The window's days on which something happened to the row; None, to keep it, where a touch is unreadable."""
        touches = [_moment(row, name) for name in self.entity.touch_fields if row.get(name) is not None]
        if None in touches or not touches:
            return None
        return {touch.date() for touch in touches if touch is not None and touch in self.window}

    def _count(self, page: Page, keys: list[datetime], typed: TypedRows) -> None:
        progress = self.progress
        progress.pages += 1
        progress.calls += page.calls
        progress.rows_read += len(page.rows)
        progress.rows_touched += typed.table.num_rows
        progress.waited_seconds += page.waited
        progress.extra_fields += typed.extra_fields
        if keys:
            progress.newest = progress.newest or keys[0]
            progress.reached = keys[-1]


def _moment(row: Row, name: str) -> datetime | None:
    """A datetime field of a row; None where it is missing or no datetime."""
    try:
        return parse_datetime(row[name])
    except (KeyError, TypeError, ValueError):
        return None
