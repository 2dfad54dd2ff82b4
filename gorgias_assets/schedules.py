"""The schedules of an account: daily for the day before, daily for freshness, monthly for everything."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.checks.build import HOURS_TO_READ
from gorgias_assets.days import Day, days_of
from gorgias_assets.jobs import request_of
from gorgias_assets.partitions import ROWS_FROM, ended, window_of
from gorgias_assets.resources import GorgiasResource

MOST_DAYS_CAUGHT_UP = 31
LONGEST_SKIP = timedelta(hours=6)  # since the day's end, for an outage
NO_DAY_HAS_ENDED = "No day has ended since the start date."


def daily_schedule(
    account: Account, at: time, zone: ZoneInfo, summaries: Sequence[dg.AssetKey] = ()
) -> dg.ScheduleDefinition:
    """Request, every day `at` this time of the zone, the UTC day that has ended last. The schedule is on by default.

    A tick during an outage requests nothing, if no earlier day is missing and the last one has ended lately; otherwise
    the run fails, and is seen to.

    The request includes the days missing since an asset's newest complete one: ticks have skipped them, while Gorgias
    or Dagster was down, or their runs have failed. Assets that lack different days get runs of their own, so that an
    asset that always fails does not make the others' runs longer. Each run includes `summaries`, which are made of the
    entities' days; one of them includes the lists that are read whole.

    A list that the account lacks is asked for in each run all the same: once a day, in one call.
    """

    @dg.schedule(
        name=account.named("daily"),
        job_name=account.name,
        cron_schedule=f"{at.minute} {at.hour} * * *",
        execution_timezone=zone.key,
        required_resource_keys={account.name},
        description=f"Read the day before, every day at {at:%H:%M} {zone.key}, and the days missing since each asset's "
        "newest complete one. If Gorgias is down, the tick is skipped once and noted on each asset's page; the next "
        "tick picks the day up, also if Gorgias is still down.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        keys = ended(account.partitions, context.scheduled_execution_time)
        if not keys:
            return dg.SkipReason(NO_DAY_HAS_ENDED)
        lacking = _lacking(context.instance, account, keys[-MOST_DAYS_CAUGHT_UP:])
        ended_at = window_of(account.partitions, keys[-1]).end
        if min(lacking) == keys[-1] and context.scheduled_execution_time - ended_at < LONGEST_SKIP:
            gorgias: GorgiasResource = getattr(context.resources, account.name)
            if outage := gorgias.outage():
                _observe(context.instance, account, keys[-1], outage)
                return dg.SkipReason(f"{outage} The next tick picks up {keys[-1]}.")
        if len(lacking) == 1:
            return [request_of(account, min(lacking), keys[-1])]
        return [
            request_of(account, first, keys[-1], run_key=first, asset_selection=[*lacking[first], *summaries])
            for first in sorted(lacking, reverse=True)
        ]

    return daily


def late_after(at: time, zone: ZoneInfo) -> timedelta:
    """Return how long after its end a day is late, if the daily schedule has these settings.

    It holds all year: summer time can move the tick from after midnight UTC to before it, and so to the end of the
    next day.
    """
    ends = [datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)]
    ticks = [datetime.combine(end.astimezone(zone), at, zone) for end in ends]
    return max((tick - end) % timedelta(days=1) for tick, end in zip(ticks, ends, strict=True)) + HOURS_TO_READ


def freshness_schedule(account: Account, late: timedelta) -> dg.ScheduleDefinition:
    """Check freshness daily, `late` after a day's end: a run that was never started evaluates no check."""
    hour, minute = divmod(late // timedelta(minutes=1) % (24 * 60), 60)
    return dg.ScheduleDefinition(
        name=account.named("freshness"),
        job_name=account.named("freshness"),
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone="UTC",
        description=f"Check that the newest day that is due was read, every day at {hour:02}:{minute:02} UTC.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def full_sweep_schedule(account: Account) -> dg.ScheduleDefinition:
    """Request a run that reads the whole account, monthly. The schedule is off by default.

    It adds the rows of all days, as a range of them would, and records the newest day that has ended alone: the others
    were read before, or are requested by others.
    """

    @dg.schedule(
        name=account.named("full_sweep"),
        job_name=account.named("full_sweep"),
        cron_schedule="0 3 1 * *",
        execution_timezone="UTC",
        description="Read the whole account, with the rows of all days, in a run of the day before, on the first of "
        "each month at 03:00 UTC.",
    )
    def full_sweep(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        keys = ended(account.partitions, context.scheduled_execution_time)
        return request_of(account, keys[0], keys[-1], ROWS_FROM) if keys else dg.SkipReason(NO_DAY_HAS_ENDED)

    return full_sweep


def _lacking(instance: dg.DagsterInstance, account: Account, keys: Sequence[str]) -> dict[str, list[dg.AssetKey]]:
    """Return the assets by the first day that they lack: the day after their newest one that is read or being read.

    An asset without any lacks the last day alone. A list that is read whole joins the assets that lack least.
    """
    lacking = defaultdict(list)
    for entity in account.daily:
        days = days_of(instance, account.partitions, account.key_of(entity), keys)
        there = [number for number, key in enumerate(keys) if days[key] in (Day.COMPLETE, Day.RUNNING)]
        lacking[keys[min(max(there, default=len(keys)) + 1, len(keys) - 1)]].append(account.key_of(entity))
    lacking[max(lacking, default=keys[-1])] += map(account.key_of, account.whole)
    return lacking


def _observe(instance: dg.DagsterInstance, account: Account, day: str, outage: str) -> None:
    """Leave a trace on the assets' own pages: an observation, since nothing was read and nothing failed."""
    for entity in account.entities:
        partition = day if entity in account.daily else None
        observation = dg.AssetObservation(account.key_of(entity), partition=partition, description=outage)
        instance.report_runless_asset_event(observation)
