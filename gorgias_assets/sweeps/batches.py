"""Batches: rows that are merged together, with the position behind them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from gorgias_assets.api.client import PAGE_ROWS, GorgiasError
from gorgias_assets.columns import Column
from gorgias_assets.sweeps.rows import newest_by_id, type_rows
from gorgias_assets.warehouse.tables import IS_TOUCHED

BATCH_ROWS = 10_000
BATCH_BYTES = 24 * 2**20  # of bodies; bounds memory if bodies are long

Pages = Generator[tuple[pa.Table, int], Any, None]


@dataclass(frozen=True)
class Batch:
    """Rows to merge, each id once in the state that was read last, in the order they were read.

    - `rows`: typed columns, the added ones and `_is_touched`: a row that was not touched in the window refreshes a
      stored row, and is never added.
    - `position`: where the reading stands once these are merged, for `resume`; empty if it cannot resume.
    """

    rows: pa.Table
    position: str


def batched(
    pages: Pages, columns: Sequence[Column], position: Callable[[], str], rows: int, size: int
) -> Iterator[Batch]:
    """Yield the pages' rows in batches of whole pages, of at most `rows` rows or about `size` bytes of bodies.

    There is at least one batch; the last is short or empty. After a `GorgiasError` of `pages`, which is raised again,
    the rows read before it are a batch as well.
    """
    held, weight = [_none(columns)], 0
    with closing(pages):
        try:
            for table, bytes_read in pages:
                held.append(table)
                weight += bytes_read
                if weight >= size or sum(part.num_rows for part in held) + PAGE_ROWS > rows:
                    yield Batch(newest_by_id(pa.concat_tables(held)), position())
                    held, weight = [_none(columns)], 0
        except GorgiasError:
            yield Batch(newest_by_id(pa.concat_tables(held)), position())
            raise
        yield Batch(newest_by_id(pa.concat_tables(held)), position())


def _none(columns: Sequence[Column]) -> pa.Table:
    return type_rows([], columns, datetime.now(UTC)).table.append_column(IS_TOUCHED, pa.array([], pa.bool_()))
