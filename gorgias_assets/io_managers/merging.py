"""The IO manager: sweeps are merged batch by batch, frames replace their partition."""

import re
from contextlib import closing
from time import monotonic
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.api.client import Rejected
from gorgias_assets.columns import EXTRACTED_AT
from gorgias_assets.entities import ENTITIES
from gorgias_assets.io_managers.slices import asset_name, labels_of, slice_of, windows_of
from gorgias_assets.metadata import (
    GoneRows,
    ProgressLog,
    column_schema,
    gone_metadata,
    preview_metadata,
    resumption,
    sweep_metadata,
    table_metadata,
    warn_of_extra_fields,
)
from gorgias_assets.sweeps.deletions import named_gone, tombstone
from gorgias_assets.sweeps.sweep import Batch, Sweep
from gorgias_assets.warehouse.frames import NULLABLE_TYPES, arrow_frame
from gorgias_assets.warehouse.tables import IS_TOUCHED, Merged, Saved, Table, Warehouse, WarehouseError
from gorgias_assets.warehouse.warehouse import SqlWarehouse

PREVIEW_ROWS = 5
LOOKUPS_SETTLED_TOGETHER = 100


class MergingIOManager(dg.IOManager):
    """Stores sweeps, pandas DataFrames and Arrow tables in a warehouse, and loads them as pandas or Arrow.

    The table is named as the asset is, in the schema of the asset's `schema` metadata, else of `schema`, else of the
    last part of its key's prefix. A partitioned asset's `partition_expr` metadata is the SQL expression, or several
    of which any counts, that lies in the partition; for assets with several dimensions a mapping of them.
    """

    def __init__(self, warehouse: SqlWarehouse, schema: str | None) -> None:
        self.warehouse = warehouse
        self._schema = schema

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        warehouse = self.warehouse.billed_to(labels_of(context))
        match obj:
            case Sweep():
                self._merge(context, obj, warehouse)
            case pa.Table() | pd.DataFrame():
                self._replace(context, arrow_frame(obj, asset_name(context)), warehouse)
            case _:
                kind = type(obj).__name__
                raise WarehouseError(
                    f"{asset_name(context)} returned a {kind}; return a pandas DataFrame or an Arrow table."
                )
        context.add_output_metadata(warehouse.bill())

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | None:
        upstream = context.upstream_output
        if upstream is None:
            raise WarehouseError(f"{asset_name(context)} has no upstream asset to load.")
        if context.has_asset_partitions and not context.asset_partition_keys:
            return None  # as for the first day of an asset that is built on its own day before
        wanted = context.dagster_type.typing_type
        table = self._table(upstream)
        columns = (context.definition_metadata or {}).get("columns")
        rows = self.warehouse.read(table, slice_of(context, upstream.definition_metadata), columns)
        if wanted is pa.Table:
            return rows
        if wanted in (Any, pd.DataFrame):
            return rows.to_pandas(types_mapper=NULLABLE_TYPES.get)
        raise WarehouseError(f"{table} can be loaded as a pandas DataFrame or an Arrow table, not as {wanted}.")

    def table_of(self, asset: dg.AssetKey, schema: str | None = None) -> Table:
        """The table of an asset, whose own `schema` metadata goes first."""
        *prefix, name = asset.path
        return Table(schema or self._schema or (prefix[-1] if prefix else "public"), name)

    def _merge(self, context: dg.OutputContext, sweep: Sweep, warehouse: Warehouse) -> None:
        table, started = self._table(context), monotonic()
        try:
            merged, preview = _read(context, sweep, table, warehouse)
            warehouse.leave_one_of_each_id(table)
            gone = _find_gone(context, sweep, table, warehouse)
        except Rejected as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        warehouse.forget_position(table, sweep.key)
        windows = windows_of(context)
        counts = warehouse.counts(table, sweep.entity.touch_fields, list(windows.values()))
        context.log.info(
            f"{table}: {merged.rows:,} rows merged, {merged.new:,} of them new, with {sweep.progress.calls:,} calls"
        )
        warn_of_extra_fields(context, sweep)
        context.add_output_metadata(
            {
                **table_metadata(table, counts.rows),
                **sweep_metadata(sweep, merged, monotonic() - started),
                **gone_metadata(gone),
            }
        )
        for key, rows in zip(windows, counts.touched, strict=True):
            context.step_context.add_asset_metadata({"dagster/partition_row_count": rows}, partition_key=key)
        context.step_context.add_asset_metadata(  # once for a range: a year of them would be megabytes of events
            {"dagster/column_schema": column_schema(sweep.entity.columns), **preview_metadata(sweep.entity, preview)},
            partition_key=max(windows, default=None),
        )

    def _replace(self, context: dg.OutputContext, rows: pa.Table, warehouse: Warehouse) -> None:
        table = self._table(context)
        total = warehouse.replace(table, rows, slice_of(context, context.definition_metadata))
        context.add_output_metadata({**table_metadata(table, total), "rows_written": rows.num_rows})
        if context.has_asset_partitions and len(context.asset_partition_keys) == 1:
            context.add_output_metadata({"dagster/partition_row_count": rows.num_rows})

    def _table(self, output: dg.OutputContext) -> Table:
        metadata = output.definition_metadata or {}
        key = output.asset_key if output.has_asset_key else dg.AssetKey(metadata.get("table", output.name))
        return self.table_of(key, metadata.get("schema"))


def _read(context: dg.OutputContext, sweep: Sweep, table: Table, warehouse: Warehouse) -> tuple[Merged, pa.Table]:
    """Merge the sweep batch by batch, from where an earlier attempt was interrupted."""
    position = warehouse.saved_position(table, sweep.key)
    if position and sweep.resume(position):
        context.log.info(f"{table}: {resumption(sweep)}")
    report, merged, preview = ProgressLog(context, sweep), Merged(), None
    for batch in sweep.batches(warehouse.batch_rows, warehouse.batch_bytes, on_page=report):
        saved = Saved(sweep.key, batch.position)
        merged += warehouse.merge(table, sweep.entity.columns, newest_by_id(batch), saved)
        preview = preview if preview is not None and preview.num_rows else batch.rows.slice(0, PREVIEW_ROWS)
    return merged, preview


def _find_gone(context: dg.OutputContext, sweep: Sweep, table: Table, warehouse: Warehouse) -> GoneRows:
    """Mark the rows that the complete sweep has not read, and that Gorgias says are gone."""
    since, entity, progress = sweep.position.started_at, sweep.entity, sweep.progress
    if not warehouse.has_unread(table, since):
        return GoneRows()
    found = GoneRows()
    along = {
        Table(table.schema, other.name): other.goes_with[1]
        for other in ENTITIES
        if other.goes_with and other.goes_with[0] == entity.name
    }
    with closing(sweep.connect()) as client:
        try:
            named = set() if sweep.is_full else named_gone(client, entity, sweep.window, progress)
        except Rejected as error:
            named = set()
            context.log.warning(
                f"{table}: events cannot be read, so rows deleted long after their last change wait for a full "
                f"sweep. {error}"
            )
        warehouse.note_candidates(table, sweep.covered(), named, since)
        most = max(sweep.max_lookups, progress.calls)
        fields = ["id", *re.findall(r"{(\w+)}", entity.below)]
        candidates = warehouse.candidates(table, fields, most)
        for begin in range(0, len(candidates.rows), LOOKUPS_SETTLED_TOGETHER):
            rows = candidates.rows[begin : begin + LOOKUPS_SETTLED_TOGETHER]
            looked = {row["id"]: tombstone(client, entity, row, progress) for row in rows}
            gone = [stone for stone in looked.values() if stone is not None]
            found.add(gone, warehouse.settle_candidates(table, looked, gone, along), len(looked))
    found.waiting = candidates.waiting
    return found


def newest_by_id(batch: Batch) -> pa.Table:
    """All rows of a batch, each id once in the state that was read last, as they came; of equals, the last one.

    Readers side by side may hand over a row as it was after the same row as it is. A row that was touched in the window
    in any of its states counts as touched.
    """
    rows = pa.concat_tables(
        part.append_column(IS_TOUCHED, pa.repeat(is_touched, part.num_rows))
        for part, is_touched in ((batch.passed, False), (batch.rows, True))
    )
    ids = rows["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return rows
    read_at, touched = rows[EXTRACTED_AT].to_pylist(), set(batch.rows["id"].to_pylist())
    newest = {ids[position]: position for position in sorted(range(len(ids)), key=read_at.__getitem__)}
    rows = rows.take(sorted(newest.values()))
    is_touched = pa.array([row_id in touched for row_id in rows["id"].to_pylist()])
    return rows.set_column(rows.num_columns - 1, IS_TOUCHED, is_touched)
