"""Conditions in place of the daily schedule: days are requested once they are over, and again until they are complete.

Dagster's own `on_cron`, `eager` and `on_missing` request the newest partition alone. Here that is today, which is read
before it has ended; no later tick would read the rest of it.
"""

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg
from dagster import AutomationCondition, AutomationContext

from gorgias_assets.account import Account
from gorgias_assets.availability import lack_of
from gorgias_assets.days import Day, days_of, lacking
from gorgias_assets.partitions import ended, ranges

# A little less than an hour and a day: an evaluation follows its tick by seconds, and summer time takes an hour away.
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=50), timedelta(hours=20)
SECONDS_BETWEEN_EVALUATIONS = 60


def day_is_over(
    cron: str = "30 0 * * *", timezone: str = "UTC", *, horizon_days: int = 30
) -> AutomationCondition[dg.AssetKey]:
    """Return a condition that requests, at ticks of `cron` in `timezone`, the days that are over and not complete.

    They are the days among the last `horizon_days` that are missing, have failed, or were last read before they had
    ended. Today is never one of them. Days that are being read, or are part of a backfill, are left alone. Ticks that
    were lost while Dagster was down count as one.

    A day that stays incomplete is requested again at the first tick after an hour, then two, and so on up to a day.
    Of a list that the account lacks, the newest day alone is requested, once a day.

    An asset downstream of others with the same partitions, such as the overview, follows them: its days are requested
    together with theirs, and alone only if they are complete upstream. An asset without partitions is requested at
    each tick.

    It is for assets of this project: the metadata of a day shows if it is complete. The sensor that evaluates it must
    run in the code location (`conditions_sensor`).
    """
    due = AutomationCondition.cron_tick_passed(cron, ZoneInfo(timezone).key)
    idle = ~AutomationCondition.in_progress()
    return (due & idle & LacksEndedDays(horizon_days)).with_label(f"day_is_over({cron}, {timezone})")


def conditions_sensor(account: Account, summaries: Sequence[dg.AssetKey] = ()) -> dg.SensorDefinition:
    """Evaluate the automation conditions of the account's assets, and of `summaries`. The sensor is on by default.

    Consecutive days are one run, of the assets that lack the same days. If others lack more days, it may be two: one of
    the assets that are connected with those, in a backfill, and one of the rest.
    """
    keys = [*map(account.key_of, account.entities), *summaries]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of `use_user_code_server`, which conditions of one's own need
        return dg.AutomationConditionSensorDefinition(
            name=account.named("conditions"),
            target=dg.AssetSelection.assets(*keys).without_checks(),
            use_user_code_server=True,
            emit_backfills=True,  # without, each day of a range would be a run
            minimum_interval_seconds=SECONDS_BETWEEN_EVALUATIONS,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="Request days once they are over, and again until they are complete, one run for each gap.",
        )


class _Asked(NamedTuple):
    """Earlier requests of a day: their number, and when the last one was made."""

    times: int
    at: datetime

    @property
    def next_at(self) -> datetime:
        return self.at + min(LONGEST_WAIT, FIRST_WAIT * (1 << min(self.times, 10) >> 1))


@dataclass(frozen=True)
class LacksEndedDays(AutomationCondition[dg.AssetKey]):
    """Be true for ended days that an asset lacks, once they are due again; always for an asset without partitions.

    The cursor holds the earlier requests of days that are not complete yet.
    """

    horizon_days: int = 30

    def __post_init__(self) -> None:
        if self.horizon_days < 1:
            raise ValueError("horizon_days must be at least 1.")

    @property
    def name(self) -> str:
        return f"lacks_ended_days({self.horizon_days})"

    @property
    def description(self) -> str:
        return f"One of the last {self.horizon_days} days is over and not complete, and due to be requested"

    def evaluate(self, context: AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        candidates, partitions = context.candidate_subset, context.partitions_def
        if partitions is None:
            return dg.AutomationResult(context, candidates)
        if not isinstance(partitions, dg.DailyPartitionsDefinition):
            raise TypeError(f"day_is_over takes assets with daily partitions, or without; {context.key} has others.")
        asked = _asked(context)
        if candidates.is_empty:
            return dg.AutomationResult(context, candidates, cursor=_written(asked))
        keys = ended(partitions, context.evaluation_time)[-self.horizon_days :]
        days = days_of(context.asset_graph_view.instance, partitions, context.key, keys)
        asked = {key: asked[key] for key in keys if key in asked and days[key] is not Day.COMPLETE}
        waiting = {key for key, last in asked.items() if last.next_at > context.evaluation_time}
        upstream = _upstream(context, partitions, keys)
        wanted = (set(lacking(days)) - waiting).union(*(asset.requested for asset in upstream))
        wanted = wanted.intersection(*(asset.requested | asset.complete for asset in upstream))
        if wanted and (lack := lack_of(context.asset_graph_view.instance, context.key)):
            wanted &= set(keys[-1:]) if lack.asked_at + LONGEST_WAIT <= context.evaluation_time else set()
        return dg.AutomationResult(
            context, candidates.compute_intersection_with_partition_keys(wanted), cursor=_written(asked)
        )


class _Upstream(NamedTuple):
    """The days of an asset upstream that are complete, and those that this evaluation requests."""

    complete: set[str]
    requested: set[str]


def _upstream(
    context: AutomationContext[dg.AssetKey], partitions: dg.DailyPartitionsDefinition, keys: Sequence[str]
) -> list[_Upstream]:
    """Return how the days `keys` stand in each asset upstream that has the same partitions."""
    graph, instance = context.asset_graph, context.asset_graph_view.instance
    parents = [key for key in graph.get(context.key).parent_keys if graph.get(key).partitions_def == partitions]
    requests = [context.request_subsets_by_key.get(key) for key in parents]
    return [
        _Upstream(
            {day for day, state in days_of(instance, partitions, key, keys).items() if state is Day.COMPLETE},
            set(request.expensively_compute_partition_keys()) if request else set(),
        )
        for key, request in zip(parents, requests, strict=True)
    ]


def _days(first: str, last: str) -> list[str]:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [str(begin + timedelta(days=number)) for number in range((end - begin).days + 1)]


def _asked(context: AutomationContext[dg.AssetKey]) -> dict[str, _Asked]:
    """Return the earlier requests by day: those in the cursor, and those of the last evaluation."""
    asked = {
        day: _Asked(times, datetime.fromisoformat(at))
        for first, last, times, at in json.loads(context.cursor or "[]")
        for day in _days(first, last)
    }
    requested, at = context.get_previous_requested_subset(context.key), context.previous_evaluation_time
    if requested and at:
        for day in requested.expensively_compute_partition_keys():
            asked[day] = _Asked(asked[day].times + 1 if day in asked else 1, at)
    return asked


def _written(asked: Mapping[str, _Asked]) -> str:
    """Return a cursor, short even if thousands of days were requested together."""
    days = defaultdict(list)
    for day, last in asked.items():
        days[last].append(day)
    return json.dumps([[*gap, last.times, last.at.isoformat()] for last in days for gap in ranges(days[last])])
