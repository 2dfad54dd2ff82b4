"""The jobs that materialise the assets, and their schedules: daily for the day before, monthly for everything.

And the one that looks whether they have: every day, when the day before becomes late.
"""

from datetime import time, timedelta
from typing import Any

import dagster as dg

from gorgias_assets.assets import GROUP, SweepConfig
from gorgias_assets.checks import freshness_keys
from gorgias_assets.entities import ENTITIES

gorgias_job = dg.define_asset_job(
    "gorgias", selection=dg.AssetSelection.groups(GROUP), description="Reads days of all entities from Gorgias."
)

full_sweep_job = dg.define_asset_job(
    "gorgias_full_sweep",
    selection=dg.AssetSelection.groups(GROUP),
    config=dg.RunConfig(ops={f"{GROUP}__{entity.name}": SweepConfig(full=True) for entity in ENTITIES}),
    description="Reads all of the account: repairs what Gorgias does not show as a change, and finds what is gone.",
)


freshness_job = dg.define_asset_job(
    "gorgias_freshness",
    selection=dg.AssetSelection.checks(*freshness_keys()),
    executor_def=dg.in_process_executor,  # a look at events is not worth a process each
    description="Looks whether the newest day that has to be there is, where no run has: it asks nothing of Gorgias.",
)


def daily_schedule(at: time) -> Any:
    """Every day `at` this time (UTC), the partition of the day before. It runs as soon as it is deployed."""
    return dg.build_schedule_from_partitioned_job(
        gorgias_job,
        name="gorgias_daily",
        description=f"Every day at {at:%H:%M} UTC, the day before.",
        hour_of_day=at.hour,
        minute_of_hour=at.minute,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def freshness_schedule(late_after: timedelta) -> dg.ScheduleDefinition:
    """Every day when another day becomes late, since checks are otherwise part of runs, and a missing run has none."""
    hour, minute = divmod(late_after // timedelta(minutes=1) % (24 * 60), 60)
    return dg.ScheduleDefinition(
        name="gorgias_freshness",
        job=freshness_job,
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone="UTC",
        description=f"Every day at {hour:02}:{minute:02} UTC, whether the newest day that has to be there is.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def full_sweep_schedule(partitions: dg.DailyPartitionsDefinition) -> dg.ScheduleDefinition:
    """On the first of each month, all partitions in one run that reads all of the account. It is off by default."""

    @dg.schedule(
        name="gorgias_full_sweep",
        job=full_sweep_job,
        cron_schedule="0 3 1 * *",
        execution_timezone="UTC",
        description="On the first of each month at 03:00 UTC, all days in one run that reads all of the account.",
    )
    def gorgias_full_sweep(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        keys = partitions.get_partition_keys(current_time=context.scheduled_execution_time)
        if not keys:
            return dg.SkipReason("No day has ended since the start date.")
        return dg.RunRequest(
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            }
        )

    return gorgias_full_sweep
