"""What materialisations say of days: which were read, from when on, and whether their sweep was complete.

A materialisation is Dagster's event that a sweep has ended. Its metadata is the evidence of what was read.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, cast

import dagster as dg

from gorgias_assets.metadata import LIST_END, NOT_READ
from gorgias_assets.windows import Window

Metadata = Mapping[str, dg.MetadataValue[Any]]

DAY = timedelta(days=1)
_RECORDS_AT_ONCE = 500


def newest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Collection[str]
) -> dict[str, Metadata]:
    """The metadata of the newest materialisation of each of these partitions that has one."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    numbers = list(instance.get_latest_storage_id_by_partition(asset, kind, set(keys)).values()) if keys else []
    newest: dict[str, Metadata] = {}
    for begin in range(0, len(numbers), _RECORDS_AT_ONCE):
        some = numbers[begin : begin + _RECORDS_AT_ONCE]
        these = dg.AssetRecordsFilter(asset_key=asset, storage_ids=some)
        for record in instance.fetch_materializations(these, limit=len(some)).records:
            if record.partition_key and record.asset_materialization:
                newest[record.partition_key] = record.asset_materialization.metadata
    return newest


def began_at(metadata: Metadata) -> datetime | None:
    """When the sweep began to read, or went on after an interruption; what happened before that was read."""
    value = metadata.get("began_at")
    return datetime.fromtimestamp(value.value, UTC) if isinstance(value, dg.TimestampMetadataValue) else None


def doubt(metadata: Metadata) -> str | None:
    """Why a materialisation does not show that its sweep was complete; None where it does."""
    stopped, without_order = metadata.get("stopped"), metadata.get("rows_without_order")
    if began_at(metadata) is None or without_order is None or not isinstance(stopped, dg.JsonMetadataValue):
        return "it does not say when it began, in which order it read, and where it stopped"
    if without_order.value:
        return f"{without_order.value:,} rows had no place in the list's order"
    for order, stop in cast("dict[str, dict[str, str]]", stopped.value).items():
        reached, bottom = stop["read_down_to"], stop["had_to_get_below"]
        if not _has_reached(reached, bottom):
            return f"in the order of {order}, it had to get below {bottom}, and its last row was {reached}"
    return None


def unbroken_days(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Window | None:
    """The days up to the newest that was materialised, without a gap, as far as the newest had passed when it was read.

    None where no day was.
    """
    keys = instance.get_materialized_partitions(asset)
    if not keys:
        return None
    newest = max(keys)
    start = _midnight(newest)
    end = start + DAY
    while (start - DAY).date().isoformat() in keys:
        start -= DAY
    began = began_at(newest_materializations(instance, asset, [newest]).get(newest, {}))
    end = min(end, began or end)
    return Window(start, end) if start < end else None


def _midnight(key: str) -> datetime:
    return datetime.combine(datetime.fromisoformat(key).date(), time(), UTC)


def _has_reached(reached: str, bottom: str) -> bool:
    if LIST_END in (reached, bottom):
        return reached == LIST_END
    return reached != NOT_READ and datetime.fromisoformat(reached) < datetime.fromisoformat(bottom)
