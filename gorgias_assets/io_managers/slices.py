"""The rows of a table that a run's partitions are, and the labels of its work."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

from gorgias_assets.metadata import TOUCH_FIELDS
from gorgias_assets.partitions import window_of
from gorgias_assets.warehouse.tables import Dimension, Slice, WarehouseError
from gorgias_assets.windows import Window


def slice_of(context: dg.OutputContext | dg.InputContext, metadata: Any) -> Slice:
    """Return the rows of the table that the context's partitions are."""
    if not context.has_asset_partitions:
        return ()
    metadata = metadata or {}
    expression = metadata.get(TOUCH_FIELDS) or metadata.get("partition_expr")
    if expression is None:
        raise WarehouseError(
            f"{asset_name(context)} has partitions, but no 'partition_expr' metadata that names their column; add "
            "metadata={'partition_expr': '<column>'} to the asset."
        )
    partitions, keys = context.asset_partitions_def, context.asset_partition_keys
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


def windows_of(context: dg.OutputContext) -> dict[str, Window]:
    """Return the window of each of the context's partitions by key; none if they are no windows."""
    if not context.has_asset_partitions:
        return {}
    partitions = context.asset_partitions_def
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return {}
    return {key: window_of(partitions, key) for key in context.asset_partition_keys}


def asset_name(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.to_user_string() if context.has_asset_key else str(context.name)


def labels_of(context: dg.OutputContext) -> dict[str, str]:
    """Return the labels by which the costs of this output can be traced in its run: asset and partition."""
    return labels_for(asset_name(context), context.asset_partition_keys if context.has_asset_partitions else ())


def labels_for(asset: str, keys: Sequence[str]) -> dict[str, str]:
    partition = {"partition": "_".join(dict.fromkeys((keys[0], keys[-1])))} if keys else {}
    return {"asset": asset} | partition
