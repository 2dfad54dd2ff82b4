"""The metadata of a materialization, written and read side by side: the protocol between runs and checks.

It is machine-readable: numbers, and moments or null. Nothing in it was written by a customer or an agent.

A run of a range of days has a materialization for each day. Each name is of one of two kinds:

- It holds of each day (`of_day`), and is on each: the evidence that the day was read, and its own number of rows. The
  evidence is that of the whole run, and is read day by day: nothing may add it up.
- It holds of the run as a whole (`of_run`, `of_table`), and is on the newest day alone: calls, rows, deletions, costs,
  the size of the table. So a sum over days and runs counts each call once.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import dagster as dg
import pyarrow as pa

from gorgias_assets.columns import EXTRACTED_AT, Kind
from gorgias_assets.declared import column_schema
from gorgias_assets.display import shown, shown_counts
from gorgias_assets.entities.model import ByDate, Daily, Entity
from gorgias_assets.loading import Loaded
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.filtered import Filtered
from gorgias_assets.sweeps.rows import parse_datetime
from gorgias_assets.warehouse.tables import Table

Metadata = Mapping[str, dg.MetadataValue[Any]]

TOUCH_FIELDS = "gorgias/touch_fields"
OUTDATED = "has_rows_of_another_policy"
NOT_READ = "not_read"  # of a day that Dagster records with others, and of which Gorgias keeps no rows: why


def of_days(read: Daily) -> dict[str, Any]:
    """Return which rows a day is: those touched in it, and to IO managers that know one column, those created in it."""
    if isinstance(read, ByDate):
        return {"partition_expr": read.creation_order, TOUCH_FIELDS: list(read.touch_fields)}
    return {"partition_expr": read.field}


def of_table(table: Table, rows: int | None) -> dict[str, Any]:
    """Return a table's name, and how many rows it has if they were counted."""
    return {"dagster/table_name": str(table)} | ({} if rows is None else {"dagster/row_count": rows})


def of_day(reader: Reader[Any], rows: int | None = None) -> dict[str, Any]:
    """Return the evidence that a day was read: when, in which window, how far; and how many rows it has if counted."""
    return {
        **({"window": str(reader.window)} if reader.window else {}),
        **({"began_at": dg.MetadataValue.timestamp(reader.began_at)} if reader.began_at else {}),
        "coverage": _coverage(reader),
        **({"event_types": sorted(reader.types)} if isinstance(reader, Filtered) and reader.types else {}),
        **({} if rows is None else {"dagster/partition_row_count": rows}),
    }


def of_run(reader: Reader[Any], loaded: Loaded) -> dict[str, Any]:
    """Return what a complete reading has done as a whole, and what it has cost."""
    progress, gone = reader.progress, loaded.gone
    extra = shown_counts(dict(sorted(progress.extra_fields.items())))
    return {
        "rows_merged": loaded.merged.rows,
        "rows_new": loaded.merged.new,
        "seek": progress.seek,
        **({"resumed_from": reader.resumed_from.isoformat()} if reader.resumed_from else {}),
        "pages": progress.pages,
        "api_calls": progress.calls,
        "retries": progress.retries,
        "rate_limit_wait_seconds": round(progress.waited_seconds, 1),
        "rows_per_second": round(progress.rows_read / loaded.seconds, 1),
        "rows_in_order": progress.rows_in_order,
        "rows_without_order": progress.rows_without_order,
        "deletions_checked": gone.checked,
        "rows_gone": gone.marked,
        "rows_cascaded": gone.cascaded,
        "deletions_pending": gone.pending,
        **({"deletions_unanswered": gone.unanswered.total()} if gone.unanswered else {}),
        **({"absences_doubted": vars(gone.doubted)} if gone.doubted else {}),
        **({"rows_from_the_future": loaded.from_the_future} if loaded.from_the_future else {}),
        **({"fields_in_extra": extra} if extra else {}),
        **({OUTDATED: True} if loaded.is_outdated else {}),
        **({"fields_withheld": dict(sorted(progress.withheld.items()))} if progress.withheld else {}),
    }


def preview(entity: Entity[Any], rows: pa.Table | None) -> dict[str, Any]:
    """Return a few rows without the columns that a customer or an agent wrote or is known by."""
    columns = [column.name for column in entity.columns if not column.private and column.kind is not Kind.JSON]
    if rows is None or not rows.num_rows:
        return {}
    records = [
        dg.TableRecord({name: _previewed(value) for name, value in row.items()})
        for row in rows.select([*columns, EXTRACTED_AT]).to_pylist()
    ]
    return {"preview": dg.MetadataValue.table(records, column_schema(entity.columns))}


def _previewed(value: Any) -> Any:
    return shown(value) if isinstance(value, str) or hasattr(value, "isoformat") else value


def began_at(metadata: Metadata) -> datetime | None:
    """Return the second before which everything was read, by Gorgias's clock: when the sweep began, or resumed."""
    value = metadata.get("began_at")
    return datetime.fromtimestamp(value.value, UTC) if isinstance(value, dg.TimestampMetadataValue) else None


def doubt(metadata: Metadata) -> str | None:
    """Return why a materialization does not show that its reading was complete; None if it does."""
    coverage = metadata.get("coverage")
    if began_at(metadata) is None or not isinstance(coverage, dg.JsonMetadataValue):
        return "its metadata lacks began_at or coverage"
    for order, covered in cast("dict[str, dict[str, str | None]]", coverage.value).items():
        if "read_to" not in covered:
            return f"the list was not read by {order}"
        read_to, required = covered["read_to"], covered["required"]
        if read_to is not None and (required is None or parse_datetime(read_to) >= parse_datetime(required)):
            return f"the list was read by {order} down to {read_to}, not below {required or 'its last row'}"
    return None


def is_outdated(metadata: Metadata) -> bool:
    """Return if a reading left rows that were stored under another privacy policy."""
    return OUTDATED in metadata


def absences_doubted(metadata: Metadata) -> dict[str, int] | None:
    """Return how many rows were `missing` of those `expected`, if they were too many to be looked for."""
    value = metadata.get("absences_doubted")
    return cast("dict[str, int]", value.value) if isinstance(value, dg.JsonMetadataValue) else None


def _coverage(reader: Reader[Any]) -> dict[str, dict[str, str | None]]:
    """Return, for each order that was needed, below which moment to read and which one was reached.

    Null stands for the list's end. Without `read_to` the list was not read in that order.
    """
    return {
        order: {bound: moment.isoformat() if moment else None for bound, moment in covered.items()}
        for order, covered in reader.coverage.items()
    }
