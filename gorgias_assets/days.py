"""What Dagster's instance knows of an asset's days: which are complete, on the way, failed or missing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum

import dagster as dg

_RECORDS_AT_ONCE = 500


class Day(Enum):
    """How a partition stands.

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
    """How each of the asset's partitions `keys` stands, in their order.

    A run that was asked for counts as running before it has begun, and a partition that was read, and then failed, as
    failed.
    """
    statuses = instance.get_status_by_partition(asset, keys, partitions) or {}
    names = {key: status.name if (status := statuses.get(key)) else None for key in keys}
    read = last_read(instance, asset, [key for key in keys if names[key] == "MATERIALIZED"])
    found = {"IN_PROGRESS": Day.RUNNING, "FAILED": Day.FAILED}
    return {key: found.get(names[key] or "") or _by_reading(partitions, key, read.get(key)) for key in keys}


def _by_reading(partitions: dg.DailyPartitionsDefinition, key: str, read: datetime | None) -> Day:
    if read is None:  # never, or the run that did was deleted
        return Day.MISSING
    return Day.COMPLETE if read >= partitions.time_window_for_partition_key(key).end else Day.BEGUN


def last_read(instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Sequence[str]) -> Mapping[str, datetime]:
    """When the latest reading of each partition began; of those that were never materialised, nothing.

    Of an asset that does not say when its reading began, when it was materialised.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    latest = list(instance.get_latest_storage_id_by_partition(asset, kind, set(keys)).values()) if keys else []
    read: dict[str, datetime] = {}
    for begin in range(0, len(latest), _RECORDS_AT_ONCE):
        some = latest[begin : begin + _RECORDS_AT_ONCE]
        these = dg.AssetRecordsFilter(asset_key=asset, storage_ids=some)
        for record in instance.fetch_materializations(these, limit=len(some)).records:
            materialization = record.asset_materialization
            began = materialization.metadata.get("began_at") if materialization else None
            moment = began.value if isinstance(began, dg.TimestampMetadataValue) else record.timestamp
            read[str(record.partition_key)] = datetime.fromtimestamp(moment, UTC)
    return read
