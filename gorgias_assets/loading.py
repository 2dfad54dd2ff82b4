"""The main loop: resume, read and merge, find deleted rows. It knows no Dagster.

    reader (a sweep or a snapshot)  ->  batches  ->  warehouse  ->  Loaded

A load that is interrupted at any point leaves a state that a shorter one could have left. Another load of the same
reader resumes from the position that was saved with the last batch.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from logging import Logger
from time import monotonic
from typing import Any

import pyarrow as pa

from gorgias_assets.api.client import Rejected
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.deletions import tombstone
from gorgias_assets.warehouse.tables import IS_TOUCHED, Merged, Saved, Table, Tombstone
from gorgias_assets.warehouse.warehouse import Warehouse

PREVIEW_ROWS = 5
LOOKUPS_SETTLED_TOGETHER = 100
PROGRESS_SECONDS = 5.0


@dataclass
class Deletions:
    """Counts of the rows that a reading has missed.

    `checked` by their own paths, of which `deleted` and `merged` into another are gone; `cascaded` are rows of other
    tables that are gone with them; `pending` are left to the next load.
    """

    checked: int = 0
    deleted: int = 0
    merged: int = 0
    cascaded: int = 0
    pending: int = 0

    def add(self, gone: Sequence[Tombstone], checked: int, cascaded: int) -> None:
        merged = sum(stone.is_merged for stone in gone)
        self.checked += checked
        self.deleted += len(gone) - merged
        self.merged += merged
        self.cascaded += cascaded


@dataclass
class Loaded:
    """The result of a complete load: rows merged, deletions found, the first rows of the window, and seconds taken."""

    merged: Merged = field(default_factory=Merged)
    gone: Deletions = field(default_factory=Deletions)
    first_rows: pa.Table | None = None
    seconds: float = 0.0


def load(reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger) -> Loaded:
    """Read everything of `reader` into the table. Raises the client's `GorgiasError`, and `WarehouseError`."""
    loaded, started = Loaded(), monotonic()
    position = warehouse.saved_position(table, reader.key)
    if position and reader.resume(position):
        log.info(f"{table}: {_resumption(reader)}")
    for batch in reader.batches(warehouse.batch_rows, warehouse.batch_bytes, _ProgressLog(reader, log)):
        saved = Saved(reader.key, batch.position) if batch.position else None
        loaded.merged += warehouse.merge(table, reader.entity.columns, batch.rows, saved)
        if not loaded.first_rows:
            loaded.first_rows = batch.rows.filter(batch.rows[IS_TOUCHED]).slice(0, PREVIEW_ROWS)
    warehouse.leave_one_of_each_id(table)
    _find_gone(reader, warehouse, table, log, loaded.gone)
    warehouse.forget_position(table, reader.key)
    loaded.seconds = monotonic() - started
    log.info(
        f"{table}: merged {loaded.merged.rows:,} rows, {loaded.merged.new:,} of them new, in {reader.progress.calls:,} "
        "API calls"
    )
    _warn_of_extra_fields(reader, log)
    return loaded


def _find_gone(reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger, found: Deletions) -> None:
    """Mark the rows that a complete reading should have read and has not, if Gorgias says that they are gone."""
    since, entity, progress = reader.started_at, reader.entity, reader.progress
    if since is None or not warehouse.has_unread(table, since):
        return
    cascade = {Table(table.schema, other.name): other.parent.field for other in reader.owned if other.parent}
    with closing(reader.connect()) as client:
        try:
            named = reader.named_gone(client)
        except Rejected as error:
            named = set()
            log.warning(
                f"{table}: events cannot be read, so rows deleted long after their last change wait for a full sweep. "
                f"{error}"
            )
        warehouse.note_candidates(table, reader.covered(), named, since)
        candidates = warehouse.candidates(table, entity.object_fields, max(reader.max_lookups, progress.calls))
        for begin in range(0, len(candidates.rows), LOOKUPS_SETTLED_TOGETHER):
            rows = candidates.rows[begin : begin + LOOKUPS_SETTLED_TOGETHER]
            checked = {row["id"]: tombstone(client, entity, row, progress) for row in rows}
            gone = [stone for stone in checked.values() if stone is not None]
            found.add(gone, len(checked), warehouse.settle_candidates(table, checked, gone, cascade))
    found.pending = candidates.waiting


class _ProgressLog:
    """A line in the log every few seconds on how far a reading has come."""

    def __init__(self, reader: Reader[Any], log: Logger) -> None:
        self._reader = reader
        self._log = log
        self._started = self._last = monotonic()

    def __call__(self) -> None:
        now = monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        progress, share = self._reader.progress, self._reader.share_done
        left = f"about {(now - self._started) * (1 - share) / share:,.0f} s left" if share else "time left unknown"
        reached = f", back to {progress.reached:%Y-%m-%d %H:%M} UTC" if progress.reached else ""
        self._log.info(
            f"{self._reader.entity.name}: {share * 100:.0f} %, {left}: kept {progress.rows_touched:,} of "
            f"{progress.rows_read:,} rows in {progress.calls:,} API calls{reached}"
        )


def _resumption(reader: Reader[Any]) -> str:
    begun = f"an attempt that began at {reader.started_at:%Y-%m-%d %H:%M:%S} UTC was interrupted"
    if not reader.resumed_from:
        return begun
    return f"{begun}; it had read back to {reader.resumed_from:%Y-%m-%d %H:%M:%S} UTC, and this one resumes there"


def _warn_of_extra_fields(reader: Reader[Any], log: Logger) -> None:
    fields = reader.progress.extra_fields
    if fields:
        log.warning(
            f"{reader.entity.name}: Gorgias sent undeclared fields, or values that do not fit their column; they are "
            f"kept in _extra: {', '.join(f'{name} ({count:,} rows)' for name, count in sorted(fields.items()))}."
        )
