"""The days in Dagster's history: how each partition of an asset stands, and which were read."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from gorgias_assets.entities.model import ByFilter, Daily, Entity
from gorgias_assets.metadata import Metadata, began_at
from gorgias_assets.partitions import FIRST_DAY, days_of_run, window_of
from gorgias_assets.windows import Window

DAY = timedelta(days=1)
_RECORDS_AT_ONCE = 500


class Day(Enum):
    """The state of a partition.

    A day that was last read before it had ended is `BEGUN`: what happened after that is missing.
    """

    COMPLETE = "complete"
    BEGUN = "begun"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


def days_of(
    instance: dg.DagsterInstance, partitions: dg.DailyPartitionsDefinition, asset: dg.AssetKey, keys: Sequence[str]
) -> dict[str, Day]:
    """Return the state of each of the asset's partitions `keys`, in their order.

    A requested run counts as running before it has begun. A partition that was read and then failed counts as failed.
    A run of many days is planned for its last one; the others are running as long as that is.
    """
    runs = _runs_of_many_days(instance)
    statuses = instance.get_status_by_partition(asset, [*keys, *(last for _, last in runs)], partitions) or {}
    names = {key: status.name if (status := statuses.get(key)) else "" for key in statuses}
    for first, last in runs:
        if names.get(last) == "IN_PROGRESS":
            names |= dict.fromkeys((key for key in keys if first <= key <= last), "IN_PROGRESS")
    read = newest_materializations(instance, asset, [key for key in keys if names.get(key) == "MATERIALIZED"])
    unread = {"IN_PROGRESS": Day.RUNNING, "FAILED": Day.FAILED}
    return {
        key: unread.get(names.get(key, "")) or _by_reading(partitions, key, began_at(read.get(key, {}))) for key in keys
    }


def lacking(days: Mapping[str, Day]) -> list[str]:
    """Return the keys of the days that are neither complete nor being read."""
    return [key for key, day in days.items() if day not in (Day.COMPLETE, Day.RUNNING)]


def kept_days(
    entity: Entity[Daily], partitions: dg.DailyPartitionsDefinition, keys: Sequence[str], now: datetime
) -> list[str]:
    """Return the days whose rows Gorgias keeps: it may have purged some of an older one."""
    if not isinstance(entity.read, ByFilter):
        return list(keys)
    return [key for key in keys if window_of(partitions, key).start >= now - entity.read.kept]


def newest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Collection[str]
) -> dict[str, Metadata]:
    """Return the metadata of the newest materialization of each of these partitions that has one."""
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


def read_before(
    instance: dg.DagsterInstance, entities: Collection[dg.AssetKey], days: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return, as metadata of each day, the moment before which it was read: its measures know of nothing later.

    It is left out if the day was not read of each entity.
    """
    read = [newest_materializations(instance, entity, days) for entity in entities]
    moments = {day: [began_at(metadata.get(day, {})) for metadata in read] for day in days}
    return {
        day: {"began_at": dg.MetadataValue.timestamp(min(filter(None, found)))} if found and all(found) else {}
        for day, found in moments.items()
    }


def unbroken_days(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Window | None:
    """Return the window of the consecutive days up to the newest materialized one; None if no day was materialized.

    If the newest day was read before it had ended, the window ends when that reading began.
    """
    keys = instance.get_materialized_partitions(asset)
    if not keys:
        return None
    newest = max(keys)
    start = datetime.fromisoformat(newest).replace(tzinfo=UTC)
    end = start + DAY
    while (start - DAY).date().isoformat() in keys:
        start -= DAY
    began = began_at(newest_materializations(instance, asset, [newest]).get(newest, {}))
    end = min(end, began or end)
    return Window(start, end) if start < end else None


def _runs_of_many_days(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """Return the first and the last day of each run that has not ended and is planned for the last one."""
    runs = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [days for run in runs if FIRST_DAY in run.tags and (days := days_of_run(run.tags))]


def _by_reading(partitions: dg.DailyPartitionsDefinition, key: str, began: datetime | None) -> Day:
    if began is None:  # never read, or its run was deleted, or somebody reported it without reading
        return Day.MISSING
    return Day.COMPLETE if began >= window_of(partitions, key).end else Day.BEGUN
