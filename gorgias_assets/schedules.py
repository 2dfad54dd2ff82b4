"""The jobs that materialise the assets, and their schedules: daily for the day before, monthly for everything.

And the one that looks whether they have: every day, when the day before becomes late.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from gorgias_assets.assets import GROUP, SweepConfig, key_of, op_of
from gorgias_assets.checks.build import HOURS_TO_READ, freshness_keys
from gorgias_assets.days import Day, days_of
from gorgias_assets.entities import ENTITIES
from gorgias_assets.partitions import ended, tags_of_days
from gorgias_assets.resources import GorgiasResource

MOST_DAYS_CAUGHT_UP = 31

gorgias_job = dg.define_asset_job(
    "gorgias", selection=dg.AssetSelection.groups(GROUP), description="Reads days of all entities from Gorgias."
)

full_sweep_job = dg.define_asset_job(
    "gorgias_full_sweep",
    selection=dg.AssetSelection.groups(GROUP),
    config=dg.RunConfig(ops={op_of(entity): SweepConfig(full=True) for entity in ENTITIES}),
    description="Reads all of the account: repairs what Gorgias does not show as a change, and finds what is gone.",
)


freshness_job = dg.define_asset_job(
    "gorgias_freshness",
    selection=dg.AssetSelection.checks(*freshness_keys()),
    executor_def=dg.in_process_executor,  # a look at events is not worth a process each
    description="Looks whether the newest day that has to be there is, where no run has: it asks nothing of Gorgias.",
)


def request_of(first: str, last: str, **fields: Any) -> dg.RunRequest:
    """One run of the partitions from `first` to `last`."""
    if first == last:
        return dg.RunRequest(partition_key=first, **fields)
    return dg.RunRequest(tags=fields.pop("tags", {}) | tags_of_days(first, last), **fields)


def daily_schedule(
    at: time, zone: ZoneInfo, partitions: dg.DailyPartitionsDefinition, summaries: Sequence[dg.AssetKey] = ()
) -> dg.ScheduleDefinition:
    """Every day `at` this time of the zone, the partition of the day that has ended last, a day in UTC.

    Days that are missing since an asset's newest complete one come along: ticks before have left them out, while
    Gorgias or Dagster was down, or they have failed. Assets that lack different days have runs of their own, so that
    one that always fails does not make the others' longer; `summaries`, which are made of the entities' days, come
    along with each. It runs as soon as it is deployed.
    """

    @dg.schedule(
        name="gorgias_daily",
        job=gorgias_job,
        cron_schedule=f"{at.minute} {at.hour} * * *",
        execution_timezone=zone.key,
        description=f"Every day at {at:%H:%M} {zone.key}, the day before, and the days since each asset's newest "
        "complete one. A tick while Gorgias cannot be reached leaves its day to the next one.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def gorgias_daily(
        context: dg.ScheduleEvaluationContext, gorgias: GorgiasResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        keys = ended(partitions, context.scheduled_execution_time)
        if not keys:
            return dg.SkipReason("No day has ended since the start date.")
        outage = gorgias.outage()
        if outage:
            _observe(context.instance, keys[-1], outage)
            return dg.SkipReason(f"{outage} The next tick asks for {keys[-1]} as well.")
        lacking = _lacking(context.instance, partitions, keys[-MOST_DAYS_CAUGHT_UP:])
        if len(lacking) == 1:
            return [request_of(min(lacking), keys[-1])]
        return [
            request_of(first, keys[-1], run_key=first, asset_selection=[*lacking[first], *summaries])
            for first in sorted(lacking, reverse=True)
        ]

    return gorgias_daily


def late_after(at: time, zone: ZoneInfo) -> timedelta:
    """How long after its end a day can be expected to have been read, by the daily schedule of these settings.

    At any time of the year: summer time can bring the tick from after midnight UTC to before it, and so to the end of
    the next day.
    """
    ends = [datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)]
    ticks = [datetime.combine(end.astimezone(zone), at, zone) for end in ends]
    return max((tick - end) % timedelta(days=1) for tick, end in zip(ticks, ends, strict=True)) + HOURS_TO_READ


def freshness_schedule(late: timedelta) -> dg.ScheduleDefinition:
    """Every day when another day becomes late, that long after its end: a run that is missing evaluates no check."""
    hour, minute = divmod(late // timedelta(minutes=1) % (24 * 60), 60)
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
        keys = ended(partitions, context.scheduled_execution_time)
        if not keys:
            return dg.SkipReason("No day has ended since the start date.")
        return request_of(keys[0], keys[-1])

    return gorgias_full_sweep


def _lacking(
    instance: dg.DagsterInstance, partitions: dg.DailyPartitionsDefinition, keys: Sequence[str]
) -> dict[str, list[dg.AssetKey]]:
    """The assets by the first of the days since their newest one that is there or on the way.

    That is the last day, where there is none.
    """
    lacking = defaultdict(list)
    for entity in ENTITIES:
        days = days_of(instance, partitions, key_of(entity), keys)
        there = [number for number, key in enumerate(keys) if days[key] in (Day.COMPLETE, Day.RUNNING)]
        lacking[keys[min(max(there, default=len(keys)) + 1, len(keys) - 1)]].append(key_of(entity))
    return lacking


def _observe(instance: dg.DagsterInstance, day: str, outage: str) -> None:
    """Leave a trace on the assets' own pages: an observation, since nothing was read and nothing failed."""
    for entity in ENTITIES:
        instance.report_runless_asset_event(dg.AssetObservation(key_of(entity), partition=day, description=outage))
