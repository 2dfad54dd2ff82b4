"""The IO manager: readers of Gorgias are loaded batch by batch, frames replace their partition."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets import metadata
from gorgias_assets.api.client import Rejected
from gorgias_assets.declared import column_schema
from gorgias_assets.io_managers.place import Place
from gorgias_assets.io_managers.slices import DayRows, MergedRows, asset_name, labels_of, slice_of, windows_of
from gorgias_assets.loading import load
from gorgias_assets.recording import record_days
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.warehouse.frames import arrow_frame, pandas_frame
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse


@contextmanager
def without_vain_retries() -> Iterator[None]:
    """Fail for good if another attempt would meet the same error of the warehouse."""
    try:
        yield
    except WarehouseError as error:
        if error.passes:
            raise
        raise dg.Failure(str(error), allow_retries=False) from None


class MergingIOManager(dg.IOManager):
    """Stores readers of Gorgias, pandas DataFrames and Arrow tables in a warehouse, and loads pandas or Arrow.

    The table has the name in the asset's `table` metadata, else the asset's own. It is in the schema of the `schema`
    metadata, else that of the place, else of the last part of the key's prefix. The `partition_expr` metadata of a
    partitioned asset is the SQL expression that lies in the partition, or several of which any counts; an asset with
    several dimensions gives a mapping of them.
    """

    def __init__(self, warehouse: Warehouse, place: Place) -> None:
        self.warehouse = warehouse
        self.table_of = place.table_of
        self._billed: dict[tuple[str, str], Warehouse] = {}

    def billed_to(self, run_id: str, step_key: str, labels: Mapping[str, str]) -> Warehouse:
        """Return the warehouse with the step's bill, to which the next output of the step adds its own costs."""
        if (run_id, step_key) not in self._billed:
            self._billed[run_id, step_key] = self.warehouse.billed_to({"dagster_run_id": run_id})
        return self._billed[run_id, step_key].labelled(labels)

    @without_vain_retries()
    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        warehouse = self.billed_to(context.run_id, context.step_key, labels_of(context))
        del self._billed[context.run_id, context.step_key]
        days: Mapping[str, Mapping[str, Any]] = {}
        match obj:
            case Reader():
                newest, days = self._load(context, obj, warehouse)
            case DayRows():
                newest, days = self._replace(context, obj.rows, warehouse, obj.days), obj.metadata
                newest |= obj.newest
            case MergedRows():
                newest, days = self._merge(context, obj, warehouse), obj.metadata
            case pa.Table() | pd.DataFrame():
                newest = self._replace(context, arrow_frame(obj, asset_name(context)), warehouse)
            case _:
                kind = type(obj).__name__
                raise WarehouseError(
                    f"{asset_name(context)} returned a {kind}; return a pandas DataFrame or an Arrow table."
                )
        _describe(context, {**newest, **warehouse.bill(), **warehouse.jobs_billed()}, days)

    @without_vain_retries()
    def load_input(self, context: dg.InputContext) -> pd.DataFrame | pa.Table | None:
        upstream = context.upstream_output
        if upstream is None:
            raise WarehouseError(f"{asset_name(context)} has no upstream asset to load.")
        if context.has_asset_partitions and not context.asset_partition_keys:
            return None  # for the first day of an asset that depends on its own day before
        wanted = context.dagster_type.typing_type
        table = self._table(upstream)
        columns = (context.definition_metadata or {}).get("columns")
        rows = self._reader(context).read(table, slice_of(context, upstream.definition_metadata), columns)
        if wanted is pa.Table:
            return rows
        if wanted in (Any, pd.DataFrame):
            return pandas_frame(rows)
        raise WarehouseError(f"{table} can be loaded as a pandas DataFrame or an Arrow table, not as {wanted}.")

    def _reader(self, context: dg.InputContext) -> Warehouse:
        labels = {"asset": asset_name(context)}
        try:
            step = context.step_context
        except dg.DagsterInvariantViolationError:  # loaded by hand, in no run
            return self.warehouse.billed_to(labels)
        return self.billed_to(step.run_id, step.step.key, labels | {"loaded_by": step.step.key})

    def _load(
        self, context: dg.OutputContext, reader: Reader[Any], warehouse: Warehouse
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Load everything of the reader; return the metadata of the newest day, and of each day."""
        table, entity = self._table(context), reader.entity
        windows = windows_of(context, reader.window)
        try:
            loaded = load(reader, warehouse, table, context.log, list(windows.values()))
        except Rejected as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        counts = loaded.counts
        schema = {"dagster/column_schema": column_schema(entity.columns)}
        context.step_context.add_asset_metadata(  # not to the output, whose event would repeat it
            schema | metadata.preview(entity, loaded.first_rows),
            asset_key=context.asset_key,  # the step may have others
            partition_key=max(windows, default=None),
        )
        newest = metadata.of_table(table, counts.rows if counts else None) | metadata.of_run(reader, loaded)
        if not windows:
            return newest | metadata.of_day(reader), {}
        touched = counts.touched if counts else [None] * len(windows)
        return newest, {key: metadata.of_day(reader, rows) for key, rows in zip(windows, touched, strict=True)}

    def _merge(self, context: dg.OutputContext, merged: MergedRows, warehouse: Warehouse) -> dict[str, Any]:
        """Merge all batches; return the metadata of the newest day."""
        table = self._table(context)
        counted = merged.merge(warehouse, table)
        total = warehouse.counts(table, (), ()).rows
        return metadata.of_table(table, total) | {"rows_merged": counted.rows, "rows_new": counted.new}

    def _replace(
        self, context: dg.OutputContext, rows: pa.Table, warehouse: Warehouse, days: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Replace the rows of the context's partitions, or of `days`; return the metadata of the newest one."""
        table = self._table(context)
        total = warehouse.replace(table, rows, slice_of(context, context.definition_metadata, days))
        is_one = context.has_asset_partitions and len(days or context.asset_partition_keys) == 1
        counted = {"dagster/partition_row_count": rows.num_rows} if is_one else {}
        return metadata.of_table(table, total) | {"rows_written": rows.num_rows} | counted

    def _table(self, output: dg.OutputContext) -> Table:
        definition = output.definition_metadata or {}
        key = output.asset_key if output.has_asset_key else dg.AssetKey(output.name)
        return self.table_of(key, definition.get("schema"), definition.get("table"))


def _describe(context: dg.OutputContext, newest: Mapping[str, Any], days: Mapping[str, Mapping[str, Any]]) -> None:
    """Attach to each day what holds of it, and to the newest one what holds of the run as a whole.

    Days before the context's partitions are recorded here; Dagster records its partitions after this.
    """
    keys = context.asset_partition_keys if context.has_asset_partitions else ()
    if earlier := {key: days[key] for key in days if key not in keys}:
        record_days(context.step_context, context.asset_key, earlier)
    if len(keys) <= 1:
        context.add_output_metadata({**newest, **days.get(max(keys, default=""), {})})
        return
    for key in keys:
        if key in days:
            context.step_context.add_asset_metadata(days[key], asset_key=context.asset_key, partition_key=key)
    context.step_context.add_asset_metadata(newest, asset_key=context.asset_key, partition_key=max(keys))
