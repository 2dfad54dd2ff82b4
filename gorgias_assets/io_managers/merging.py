"""The IO manager: sweeps are merged batch by batch, frames replace their partition, metadata says what happened."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from time import monotonic
from typing import Any, cast

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.client import Rejected
from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT
from gorgias_assets.entities import Column, Entity, Kind
from gorgias_assets.io_managers.warehouse import Dimension, Merged, Slice, Table, Warehouse, WarehouseError
from gorgias_assets.sweeps import Sweep, Window

PREVIEW_ROWS = 5
PROGRESS_SECONDS = 5.0


class MergingIOManager(dg.IOManager):
    """Stores sweeps, pandas DataFrames and Arrow tables in a warehouse, and loads them as pandas or Arrow.

    The table is named as the asset is, in the schema of the asset's `schema` metadata, else of `schema`, else of the
    last part of its key's prefix. A partitioned asset's `partition_expr` metadata is the SQL expression, or several
    of which any counts, that lies in the partition; for assets with several dimensions a mapping of them.
    """

    def __init__(self, warehouse: Warehouse, schema: str | None) -> None:
        self._warehouse = warehouse
        self._schema = schema

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        match obj:
            case Sweep():
                self._merge(context, obj)
            case pa.Table() | pd.DataFrame():
                self._replace(context, _frame(obj, _name(context)))
            case _:
                raise WarehouseError(
                    f"{_name(context)} returned a {type(obj).__name__}; return a pandas DataFrame or an Arrow table."
                )

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | None:
        upstream = context.upstream_output
        if upstream is None:
            raise WarehouseError(f"{_name(context)} has no upstream asset to load.")
        if context.has_asset_partitions and not context.asset_partition_keys:
            return None  # as for the first day of an asset that is built on its own day before
        wanted = context.dagster_type.typing_type
        table = self._table(upstream)
        columns = (context.definition_metadata or {}).get("columns")
        rows = self._warehouse.read(table, _slice(context, upstream.definition_metadata), columns)
        if wanted is pa.Table:
            return rows
        if wanted in (Any, pd.DataFrame):
            return rows.to_pandas(types_mapper=_NULLABLE_TYPES.get)
        raise WarehouseError(f"{table} can be loaded as a pandas DataFrame or an Arrow table, not as {wanted}.")

    def _merge(self, context: dg.OutputContext, sweep: Sweep) -> None:
        table, entity, started = self._table(context), sweep.entity, monotonic()
        report = _ProgressLog(context, sweep)
        merged, preview = Merged(0, 0, 0), None
        try:
            for batch in sweep.batches(self._warehouse.batch_rows, on_page=report):
                result = self._warehouse.merge(table, entity.columns, newest_by_id(batch))
                merged = Merged(merged.rows + result.rows, merged.new + result.new, result.total)
                preview = preview if preview is not None and preview.num_rows else batch.slice(0, PREVIEW_ROWS)
        except Rejected as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        _warn_of_extra_fields(context, sweep)
        context.add_output_metadata(
            {**_table_metadata(table, merged.total), **_sweep_metadata(sweep, merged, monotonic() - started)}
        )
        keys = context.asset_partition_keys if context.has_asset_partitions else []
        for key, rows in _rows_per_partition(sweep, keys, context).items():
            context.step_context.add_asset_metadata({"dagster/partition_row_count": rows}, partition_key=key)
        context.step_context.add_asset_metadata(  # once for a range: a year of them would be megabytes of events
            {"dagster/column_schema": column_schema(entity.columns), **_preview(entity, preview)},
            partition_key=max(keys, default=None),
        )

    def _replace(self, context: dg.OutputContext, rows: pa.Table) -> None:
        table = self._table(context)
        total = self._warehouse.replace(table, rows, _slice(context, context.definition_metadata))
        context.add_output_metadata({**_table_metadata(table, total), "rows_written": rows.num_rows})
        if context.has_asset_partitions and len(context.asset_partition_keys) == 1:
            context.add_output_metadata({"dagster/partition_row_count": rows.num_rows})

    def _table(self, output: dg.OutputContext) -> Table:
        metadata = output.definition_metadata or {}
        if output.has_asset_key:
            *prefix, name = output.asset_key.path
        else:
            prefix, name = [], metadata.get("table", output.name)
        return Table(metadata.get("schema") or self._schema or (prefix[-1] if prefix else "public"), name)


class _ProgressLog:
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


def newest_by_id(rows: pa.Table) -> pa.Table:
    """`rows`, which stand in the order they were read, with only the last of each id."""
    last = {row_id: position for position, row_id in enumerate(rows["id"].to_pylist())}
    return rows if len(last) == rows.num_rows else rows.take(sorted(last.values()))


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The table's columns with their descriptions, as Dagster shows them."""
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.kind.value, column.description) for column in (*columns, *ADDED_COLUMNS)]
    )


def _table_metadata(table: Table, total: int) -> dict[str, Any]:
    return {"dagster/table_name": str(table), "dagster/row_count": total}


def _sweep_metadata(sweep: Sweep, merged: Merged, seconds: float) -> dict[str, Any]:
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


def _rows_per_partition(sweep: Sweep, keys: Sequence[str], context: dg.OutputContext) -> dict[str, int]:
    """How many rows were touched in each partition: of one alone, or of a range of days."""
    if len(keys) == 1:
        return {keys[0]: sweep.progress.rows_touched}
    if keys and isinstance(context.asset_partitions_def, dg.DailyPartitionsDefinition):
        return {day: sweep.progress.rows_per_day[date.fromisoformat(day)] for day in keys}
    return {}


def _warn_of_extra_fields(context: dg.OutputContext, sweep: Sweep) -> None:
    fields = sweep.progress.extra_fields
    if fields:
        context.log.warning(
            f"{sweep.entity.name}: Gorgias sent fields that are not declared, or values that do not fit; they are kept "
            f"in _extra: {', '.join(f'{name} ({count:,} rows)' for name, count in sorted(fields.items()))}."
        )
        context.add_output_metadata({"fields_in_extra": dict(sorted(fields.items()))})


def _preview(entity: Entity, rows: pa.Table | None) -> dict[str, Any]:
    """A few rows without anything that a customer or an agent wrote or is known by."""
    shown = [column.name for column in entity.columns if not column.private and column.kind is not Kind.JSON]
    if rows is None or not rows.num_rows:
        return {}
    records = [
        dg.TableRecord({name: str(value) if hasattr(value, "isoformat") else value for name, value in row.items()})
        for row in rows.select([*shown, EXTRACTED_AT]).to_pylist()
    ]
    return {"preview": dg.MetadataValue.table(records, column_schema(entity.columns))}


def _slice(context: dg.OutputContext | dg.InputContext, metadata: Any) -> Slice:
    """The rows of the table that the context's partitions are."""
    if not context.has_asset_partitions:
        return ()
    expression = (metadata or {}).get("partition_expr")
    if expression is None:
        raise WarehouseError(
            f"{_name(context)} has partitions, but no 'partition_expr' metadata to say which column they are of; "
            "add metadata={'partition_expr': '<column>'} to the asset."
        )
    partitions, keys = context.asset_partitions_def, context.asset_partition_keys
    if not isinstance(partitions, dg.MultiPartitionsDefinition):
        return (_dimension(expression, partitions, keys),)
    names = [dimension.name for dimension in partitions.partitions_defs]
    if not isinstance(expression, Mapping) or not expression.keys() >= set(names):
        raise WarehouseError(
            f"{_name(context)} has several dimensions; its 'partition_expr' must give the column of each: "
            f"{', '.join(names)}."
        )
    by_dimension = {
        dimension.name: sorted({cast("dg.MultiPartitionKey", key).keys_by_dimension[dimension.name] for key in keys})
        for dimension in partitions.partitions_defs
    }
    return tuple(
        _dimension(expression[dimension.name], dimension.partitions_def, by_dimension[dimension.name])
        for dimension in partitions.partitions_defs
    )


def _dimension(expression: str | Sequence[str], partitions: dg.PartitionsDefinition, keys: Sequence[str]) -> Dimension:
    expressions = (expression,) if isinstance(expression, str) else tuple(expression)
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return Dimension(expressions, tuple(keys))
    windows: list[Window] = []
    for key in sorted(keys):
        window = Window.of(*partitions.time_window_for_partition_key(key))
        if windows and windows[-1].end == window.start:
            window = Window(windows.pop().start, window.end)
        windows.append(window)
    return Dimension(expressions, tuple(windows))


def _name(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.to_user_string() if context.has_asset_key else str(context.name)


def _frame(frame: pa.Table | pd.DataFrame, asset: str) -> pa.Table:
    """The frame without its index, and without columns of nulls alone, which have no type yet."""
    names = [str(name) for name in (frame.column_names if isinstance(frame, pa.Table) else frame.columns)]
    if len({name.lower() for name in names}) < len(names):
        raise WarehouseError(f"{asset} returned two columns of one name, capitals aside; rename one.")
    columns = frame.columns if isinstance(frame, pa.Table) else [_column(frame[name]) for name in frame.columns]
    typed = {name: column for name, column in zip(names, columns, strict=True) if not pa.types.is_null(column.type)}
    if len(frame) and not typed:
        raise WarehouseError(f"{asset} returned rows without a single value; return no rows, or at least their keys.")
    return pa.table(typed)


def _column(values: pd.Series) -> pa.Array:
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise WarehouseError(f"Column {values.name!r} holds values of several types; give it one.") from None


_NULLABLE_TYPES = {
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
