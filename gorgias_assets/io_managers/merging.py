"""The IO manager: sweeps are merged batch by batch, frames replace their partition."""

from time import monotonic
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.client import Rejected
from gorgias_assets.io_managers.frames import NULLABLE_TYPES, arrow_frame
from gorgias_assets.io_managers.reporting import (
    ProgressLog,
    column_schema,
    preview_metadata,
    rows_per_partition,
    sweep_metadata,
    table_metadata,
    warn_of_extra_fields,
)
from gorgias_assets.io_managers.slices import asset_name, slice_of
from gorgias_assets.io_managers.warehouse import Merged, Table, Warehouse, WarehouseError
from gorgias_assets.sweeps import Sweep

PREVIEW_ROWS = 5


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
                self._replace(context, arrow_frame(obj, asset_name(context)))
            case _:
                kind = type(obj).__name__
                raise WarehouseError(
                    f"{asset_name(context)} returned a {kind}; return a pandas DataFrame or an Arrow table."
                )

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | None:
        upstream = context.upstream_output
        if upstream is None:
            raise WarehouseError(f"{asset_name(context)} has no upstream asset to load.")
        if context.has_asset_partitions and not context.asset_partition_keys:
            return None  # as for the first day of an asset that is built on its own day before
        wanted = context.dagster_type.typing_type
        table = self._table(upstream)
        columns = (context.definition_metadata or {}).get("columns")
        rows = self._warehouse.read(table, slice_of(context, upstream.definition_metadata), columns)
        if wanted is pa.Table:
            return rows
        if wanted in (Any, pd.DataFrame):
            return rows.to_pandas(types_mapper=NULLABLE_TYPES.get)
        raise WarehouseError(f"{table} can be loaded as a pandas DataFrame or an Arrow table, not as {wanted}.")

    def _merge(self, context: dg.OutputContext, sweep: Sweep) -> None:
        table, entity, started = self._table(context), sweep.entity, monotonic()
        report = ProgressLog(context, sweep)
        merged, preview = Merged(0, 0, 0), None
        try:
            for batch in sweep.batches(self._warehouse.batch_rows, on_page=report):
                result = self._warehouse.merge(table, entity.columns, newest_by_id(batch))
                merged = Merged(merged.rows + result.rows, merged.new + result.new, result.total)
                preview = preview if preview is not None and preview.num_rows else batch.slice(0, PREVIEW_ROWS)
        except Rejected as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info(
            f"{table}: {merged.rows:,} rows merged, {merged.new:,} of them new, with {sweep.progress.calls:,} calls"
        )
        warn_of_extra_fields(context, sweep)
        context.add_output_metadata(
            {**table_metadata(table, merged.total), **sweep_metadata(sweep, merged, monotonic() - started)}
        )
        keys = context.asset_partition_keys if context.has_asset_partitions else []
        for key, rows in rows_per_partition(sweep, keys, context).items():
            context.step_context.add_asset_metadata({"dagster/partition_row_count": rows}, partition_key=key)
        context.step_context.add_asset_metadata(  # once for a range: a year of them would be megabytes of events
            {"dagster/column_schema": column_schema(entity.columns), **preview_metadata(entity, preview)},
            partition_key=max(keys, default=None),
        )

    def _replace(self, context: dg.OutputContext, rows: pa.Table) -> None:
        table = self._table(context)
        total = self._warehouse.replace(table, rows, slice_of(context, context.definition_metadata))
        context.add_output_metadata({**table_metadata(table, total), "rows_written": rows.num_rows})
        if context.has_asset_partitions and len(context.asset_partition_keys) == 1:
            context.add_output_metadata({"dagster/partition_row_count": rows.num_rows})

    def _table(self, output: dg.OutputContext) -> Table:
        metadata = output.definition_metadata or {}
        if output.has_asset_key:
            *prefix, name = output.asset_key.path
        else:
            prefix, name = [], metadata.get("table", output.name)
        return Table(metadata.get("schema") or self._schema or (prefix[-1] if prefix else "public"), name)


def newest_by_id(rows: pa.Table) -> pa.Table:
    """`rows`, which stand in the order they were read, with only the last of each id."""
    last = {row_id: position for position, row_id in enumerate(rows["id"].to_pylist())}
    return rows if len(last) == rows.num_rows else rows.take(sorted(last.values()))
