"""What a run tells: its progress in the log, and what a materialisation's metadata says. No row of a customer's."""

from collections.abc import Iterable, Sequence
from datetime import date
from time import monotonic
from typing import Any

import dagster as dg
import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT
from gorgias_assets.entities import Column, Entity, Kind
from gorgias_assets.io_managers.warehouse import Merged, Table
from gorgias_assets.sweeps import Sweep

PROGRESS_SECONDS = 5.0


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
        "rows_merged": merged.rows,
        "rows_new": merged.new,
        "pages": progress.pages,
        "api_calls": progress.calls,
        "retries": progress.retries,
        "budget_waited_seconds": round(progress.waited_seconds, 1),
        "rows_per_second": round(progress.rows_read / seconds, 1),
    }


def rows_per_partition(sweep: Sweep, keys: Sequence[str], context: dg.OutputContext) -> dict[str, int]:
    """How many rows were touched in each partition: of one alone, or of a range of days."""
    if len(keys) == 1:
        return {keys[0]: sweep.progress.rows_touched}
    if keys and isinstance(context.asset_partitions_def, dg.DailyPartitionsDefinition):
        return {day: sweep.progress.rows_per_day[date.fromisoformat(day)] for day in keys}
    return {}


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
