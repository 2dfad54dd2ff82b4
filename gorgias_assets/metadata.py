"""What a run tells: its progress in the log, and what a materialisation's metadata says. No row of a customer's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import dagster as dg
import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column, Kind
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets.warehouse.tables import Merged, Table, Tombstone

PROGRESS_SECONDS = 5.0
LIST_END, NOT_READ = "the list's end", "not read"


class ProgressLog:
    """Tells the run's log every few seconds how far a sweep has come."""

    def __init__(self, context: dg.OutputContext, sweep: Sweep) -> None:
        self._log = context.log
        self._sweep = sweep
        self._started = self._last = monotonic()

    def __call__(self) -> None:
        now = monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        progress, share = self._sweep.progress, self._sweep.share_done
        left = f"about {(now - self._started) * (1 - share) / share:,.0f} s left" if share else "time left unknown"
        reached = f", back to {progress.reached:%Y-%m-%d %H:%M} UTC" if progress.reached else ""
        self._log.info(
            f"{self._sweep.entity.name}: {progress.rows_touched:,} of {progress.rows_read:,} rows touched in the "
            f"window, {progress.calls:,} calls{reached}, {share:.0%} of the way, {left}"
        )


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The table's columns with their descriptions, as Dagster shows them."""
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.kind.value, column.description) for column in (*columns, *ADDED_COLUMNS)]
    )


def table_metadata(table: Table, total: int) -> dict[str, Any]:
    return {"dagster/table_name": str(table), "dagster/row_count": total}


def sweep_metadata(sweep: Sweep, merged: Merged, seconds: float) -> dict[str, Any]:
    progress = sweep.progress
    return {
        "window": str(sweep.window),
        "began_at": dg.MetadataValue.timestamp(sweep.began_at),
        "rows_merged": merged.rows,
        "rows_new": merged.new,
        "seek": progress.seek,
        **({"resumed_from": sweep.resumed_from.isoformat()} if sweep.resumed_from else {}),
        "pages": progress.pages,
        "api_calls": progress.calls,
        "retries": progress.retries,
        "budget_waited_seconds": round(progress.waited_seconds, 1),
        "rows_per_second": round(progress.rows_read / seconds, 1),
        "rows_in_order": progress.rows_in_order,
        "rows_without_order": progress.rows_without_order,
        "stopped": stops(sweep),
    }


def stops(sweep: Sweep) -> dict[str, dict[str, str]]:
    """How far down the list was read in each order that it took, and below which moment that had to be."""
    reached = sweep.position.stops
    return {
        order: {
            "read_down_to": _stop(reached[order]) if order in reached else NOT_READ,
            "had_to_get_below": _stop(bottom),
        }
        for order, bottom in sweep.bottoms.items()
    }


def _stop(moment: datetime | None) -> str:
    return moment.isoformat() if moment else LIST_END


def resumption(sweep: Sweep) -> str:
    begun = f"an attempt that began at {sweep.position.started_at:%Y-%m-%d %H:%M:%S} UTC was interrupted"
    if not sweep.resumed_from:
        return begun
    return f"{begun}; it had read back to {sweep.resumed_from:%Y-%m-%d %H:%M:%S} UTC, and this one goes on from there"


@dataclass
class GoneRows:
    """What came of looking for rows that a sweep has not read.

    `looked_for` one by one, of which `deleted` and `merged` into another are gone; `along` are rows of other tables
    that went with them, and `waiting` those that the next run looks for.
    """

    looked_for: int = 0
    deleted: int = 0
    merged: int = 0
    along: int = 0
    waiting: int = 0

    def add(self, gone: Sequence[Tombstone], along: int, looked_for: int) -> None:
        merged = sum(tombstone.is_merged for tombstone in gone)
        self.looked_for += looked_for
        self.deleted += len(gone) - merged
        self.merged += merged
        self.along += along


def gone_metadata(gone: GoneRows) -> dict[str, int]:
    return {
        "rows_looked_for": gone.looked_for,
        "rows_gone": gone.deleted + gone.merged,
        "rows_gone_along": gone.along,
        "rows_to_look_for": gone.waiting,
    }


def warn_of_extra_fields(context: dg.OutputContext, sweep: Sweep) -> None:
    fields = sweep.progress.extra_fields
    if fields:
        context.log.warning(
            f"{sweep.entity.name}: Gorgias sent fields that are not declared, or values that do not fit; they are kept "
            f"in _extra: {', '.join(f'{name} ({count:,} rows)' for name, count in sorted(fields.items()))}."
        )
        context.add_output_metadata({"fields_in_extra": dict(sorted(fields.items()))})


def preview_metadata(entity: Entity, rows: pa.Table | None) -> dict[str, Any]:
    """A few rows without anything that a customer or an agent wrote or is known by."""
    shown = [column.name for column in entity.columns if not column.private and column.kind is not Kind.JSON]
    if rows is None or not rows.num_rows:
        return {}
    records = [
        dg.TableRecord({name: str(value) if hasattr(value, "isoformat") else value for name, value in row.items()})
        for row in rows.select([*shown, EXTRACTED_AT]).to_pylist()
    ]
    return {"preview": dg.MetadataValue.table(records, column_schema(entity.columns))}
