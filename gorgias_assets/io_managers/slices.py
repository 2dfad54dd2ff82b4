"""The rows of a table that a run's partitions are, the days that it records, and the labels of its work."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import dagster as dg
import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, Column
from gorgias_assets.metadata import TOUCH_FIELDS
from gorgias_assets.partitions import days_recorded, window_of
from gorgias_assets.warehouse.tables import IS_TOUCHED, Dimension, Merged, Slice, Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window


@dataclass(frozen=True)
class DayRows:
    """Rows that replace those of `days`, oldest first: more days than the run's partition if its tags name more.

    `metadata` holds of some of these days, by key, and `newest` of the last one.
    """

    rows: pa.Table
    days: Sequence[str]
    metadata: Mapping[str, Mapping[str, Any]]
    newest: Mapping[str, Any]


@dataclass(frozen=True)
class MergedRows:
    """Batches of rows to merge into a table by `id`, each read once the one before is merged.

    Rows have `columns` and those of the added columns that they know. `metadata` holds of the days that the run
    records, by key.
    """

    batches: Iterable[pa.Table]
    columns: Sequence[Column]
    description: str
    metadata: Mapping[str, Mapping[str, Any]]

    def merge(self, warehouse: Warehouse, table: Table) -> Merged:
        """Merge all batches, and return how many rows that were. The table is created, also if there is no row."""
        merged = Merged()
        for rows in chain(self.batches, [self._no_rows]):
            merged += warehouse.merge(table, self.columns, _as_touched(rows), description=self.description)
        warehouse.leave_one_of_each_id(table)
        return merged

    @property
    def _no_rows(self) -> pa.Table:
        return pa.table({column.name: pa.array([], column.kind.arrow_type) for column in self.columns})


def _as_touched(rows: pa.Table) -> pa.Table:
    """Return rows as `Warehouse.merge` takes them: with nulls in the added columns that they lack."""
    lacking = [column for column in ADDED_COLUMNS if column.name not in rows.column_names]
    for column in lacking:
        rows = rows.append_column(column.name, pa.nulls(rows.num_rows, column.kind.arrow_type))
    return rows.append_column(IS_TOUCHED, pa.repeat(True, rows.num_rows))


def slice_of(context: dg.OutputContext | dg.InputContext, metadata: Any, days: Sequence[str] | None = None) -> Slice:
    """Return the rows of the table that the context's partitions are, or the partitions `days`."""
    if not context.has_asset_partitions:
        return ()
    metadata = metadata or {}
    expression = metadata.get(TOUCH_FIELDS) or metadata.get("partition_expr")
    if expression is None:
        raise WarehouseError(
            f"{asset_name(context)} has partitions, but no 'partition_expr' metadata that names their column; add "
            "metadata={'partition_expr': '<column>'} to the asset."
        )
    partitions, keys = context.asset_partitions_def, days or context.asset_partition_keys
    if not isinstance(partitions, dg.MultiPartitionsDefinition):
        return (_dimension(expression, partitions, keys),)
    names = [dimension.name for dimension in partitions.partitions_defs]
    if not isinstance(expression, Mapping) or not expression.keys() >= set(names):
        raise WarehouseError(
            f"{asset_name(context)} has several dimensions; its 'partition_expr' must give the column of each: "
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
        window = window_of(partitions, key)
        if windows and windows[-1].end == window.start:
            window = Window(windows.pop().start, window.end)
        windows.append(window)
    return Dimension(expressions, tuple(windows))


def windows_of(context: dg.OutputContext, read: Window | None) -> dict[str, Window]:
    """Return the window of each partition that is recorded by key, oldest first; none if they are no windows.

    They are the context's, and those before them that the run's tags name, as far as the window `read` includes them.
    """
    if not context.has_asset_partitions:
        return {}
    partitions, keys = context.asset_partitions_def, context.asset_partition_keys
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return {}
    if read and read.start < window_of(partitions, min(keys)).start:
        keys = days_recorded(partitions, keys, context.step_context.dagster_run.tags)
    windows = {key: window_of(partitions, key) for key in sorted(keys)}
    return {key: window for key, window in windows.items() if not read or window.start >= read.start}


def asset_name(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.to_user_string() if context.has_asset_key else str(context.name)


def labels_of(context: dg.OutputContext) -> dict[str, str]:
    """Return the labels by which the costs of this output can be traced in its run: asset and partition."""
    return labels_for(asset_name(context), context.asset_partition_keys if context.has_asset_partitions else ())


def labels_for(asset: str, keys: Sequence[str]) -> dict[str, str]:
    partition = {"partition": "_".join(dict.fromkeys((keys[0], keys[-1])))} if keys else {}
    return {"asset": asset} | partition
