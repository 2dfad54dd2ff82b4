"""What Dagster's instance knows of an asset's days: which are complete, on the way, failed or missing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum

import dagster as dg

from gorgias_assets.evidence import began_at, newest_materializations


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
    made = newest_materializations(instance, asset, [key for key in keys if names[key] == "MATERIALIZED"])
    found = {"IN_PROGRESS": Day.RUNNING, "FAILED": Day.FAILED}
    return {
        key: found.get(names[key] or "") or _by_reading(partitions, key, began_at(made.get(key, {}))) for key in keys
    }


def lacking(days: Mapping[str, Day]) -> list[str]:
    """The keys of the days that are neither complete nor on the way."""
    return [key for key, day in days.items() if day not in (Day.COMPLETE, Day.RUNNING)]


def _by_reading(partitions: dg.DailyPartitionsDefinition, key: str, began: datetime | None) -> Day:
    if began is None:  # never, or its run was deleted, or somebody reported it who had not read
        return Day.MISSING
    return Day.COMPLETE if began >= partitions.time_window_for_partition_key(key).end else Day.BEGUN
