"""The sensors: one keeps today's partition fresh, one finds days that are missing. Both are off by default."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from gorgias_assets.api.client import GorgiasError, Unavailable
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.assets import SweepConfig, key_of, op_of
from gorgias_assets.days import Day, days_of, lacking
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.partitions import days_of_run, ended, ranges
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import gorgias_job, request_of

CHANGES_TAG, GAPS_TAG = "gorgias/changes", "gorgias/gaps"
REFRESH_SECONDS = 3600  # within which today is read, or its run is dead, and keeps the next one away
SECONDS_BETWEEN_LOOKS_FOR_GAPS = 15 * 60
MOST_RANGES_A_TICK = 4
MOST_FORGOTTEN_A_TICK = 50
FIRST_WAIT, LONGEST_WAIT = timedelta(hours=1), timedelta(days=1)  # of a range that was asked for and is still missing


def changes_sensor(
    every: timedelta, partitions: dg.DailyPartitionsDefinition, kept: timedelta = timedelta(days=3)
) -> dg.SensorDefinition:
    """Asks for today's partition of the entities whose list has a new head, for one call each per tick.

    Its runs read today alone, without the look-back, and evaluate no check; the daily run does both. The cursor holds
    the heads, by entity, for which a run was asked. Nothing is asked while one is reading today; what is new by then is
    found by a later tick. Its runs are deleted when they are older than `kept`: they would be most of the history.
    """

    @dg.sensor(
        name="gorgias_changes",
        job=gorgias_job,
        minimum_interval_seconds=round(every.total_seconds()),
        description=f"Keeps today's partition fresh: looks every {every.total_seconds() / 60:g} minutes for something "
        "new, at one call per entity, and asks for today of just those that have it.",
    )
    def gorgias_changes(context: dg.SensorEvaluationContext, gorgias: GorgiasResource) -> dg.SensorResult:
        _forget_refreshes(context.instance, kept)
        today = partitions.get_last_partition_key()
        if today is None:
            return dg.SensorResult(skip_reason="The first day has not begun.")
        start = partitions.time_window_for_partition_key(today).start
        heads: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        asked: list[Entity] = []
        reasons: list[str] = []  # why others are not
        for entity in ENTITIES:
            try:
                head = _head(context, gorgias, entity)
            except Unavailable as error:
                reasons.append(error.reason)
                continue
            if head is None or head[0] < start or heads.get(entity.name) == _dumped(head):
                continue
            if days_of(context.instance, partitions, key_of(entity), [today])[today] is Day.RUNNING:
                reasons.append(f"{entity.name}: a run is reading today.")
                continue
            heads[entity.name] = _dumped(head)
            asked.append(entity)
        if not asked:
            return dg.SensorResult(skip_reason=" ".join(reasons) or "Nothing is new.")
        request = dg.RunRequest(
            partition_key=today,
            asset_selection=[key_of(entity) for entity in asked],
            asset_check_keys=[],
            run_config=dg.RunConfig(ops={op_of(entity): SweepConfig(look_back=False) for entity in asked}),
            tags={CHANGES_TAG: "today", dg.MAX_RUNTIME_SECONDS_TAG: str(REFRESH_SECONDS)},
        )
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(heads))

    return gorgias_changes


def gaps_sensor(
    horizon_days: int,
    late_after: timedelta,
    partitions: dg.DailyPartitionsDefinition,
    summaries: Sequence[dg.AssetKey] = (),
) -> dg.SensorDefinition:
    """Asks for days that are missing, failed, or read last before they had ended, one run for each range of them.

    Of the last `horizon_days` days those count that ended `late_after` ago or earlier. The newest ranges come first,
    a few per tick; one that is still missing after it was asked for waits an hour, then two, and so on up to a day.
    `summaries` are assets that are made of the entities' days: they come along with each range, and are asked for alone
    where nothing but they is missing.
    """

    @dg.sensor(
        name="gorgias_gaps",
        job=gorgias_job,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS_FOR_GAPS,
        description=f"Finds days of the last {horizon_days} that are missing or failed, and asks for them, one run "
        "for each range; what keeps failing is asked for at ever longer intervals.",
    )
    def gorgias_gaps(context: dg.SensorEvaluationContext, gorgias: GorgiasResource) -> Iterator[Any]:
        now = datetime.now(UTC)
        keys = ended(partitions, now - late_after)[-horizon_days:]
        gaps = _gaps(context.instance, partitions, keys, summaries)
        if not gaps:
            yield dg.SkipReason("No day is missing.")
            return
        outage = gorgias.outage()
        if outage:
            yield dg.SkipReason(outage)
            return
        attempts, asked = _attempts(context.instance), 0
        for (first, last), assets in gaps.items():
            earlier = [attempt for attempt in attempts if attempt.overlaps(first, last, assets)]
            if asked < MOST_RANGES_A_TICK and all(attempt.next_at <= now for attempt in earlier):
                asked += 1
                number = max((attempt.number for attempt in earlier), default=0) + 1
                selected = list(dict.fromkeys([*assets, *summaries]))
                yield request_of(first, last, asset_selection=selected, tags={GAPS_TAG: str(number)})
        if not asked:
            yield dg.SkipReason("What is missing was asked for lately, and waits: " + _listed(gaps))

    return gorgias_gaps


def _head(context: dg.SensorEvaluationContext, gorgias: GorgiasResource, entity: Entity) -> tuple[datetime, int] | None:
    """What heads the entity's list; None where that is nothing, or Gorgias says no."""
    try:
        return gorgias.newest(entity)
    except Unavailable:
        raise
    except (GorgiasError, InvalidUri) as error:
        context.log.warning(f"{entity.name}: {error}")
        return None


def _forget_refreshes(instance: dg.DagsterInstance, kept: timedelta) -> None:
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    old = dg.RunsFilter(tags={CHANGES_TAG: "today"}, statuses=ended, created_before=datetime.now(UTC) - kept)
    for run in instance.get_runs(old, limit=MOST_FORGOTTEN_A_TICK):
        instance.delete_run(run.run_id)


def _dumped(head: tuple[datetime, int]) -> list[Any]:
    moment, row_id = head
    return [moment.isoformat(), row_id]


def _gaps(
    instance: dg.DagsterInstance,
    partitions: dg.DailyPartitionsDefinition,
    keys: Sequence[str],
    summaries: Sequence[dg.AssetKey],
) -> dict[tuple[str, str], list[dg.AssetKey]]:
    """The assets by the range of days that they lack, the newest last day first."""
    gaps, whole = defaultdict(list), list(keys)
    for entity in ENTITIES:
        days = days_of(instance, partitions, key_of(entity), keys)
        whole = [key for key in whole if days[key] is Day.COMPLETE]
        for bounds in ranges(lacking(days)):
            gaps[bounds].append(key_of(entity))
    for summary in summaries:
        for bounds in ranges(lacking(days_of(instance, partitions, summary, whole))):
            gaps[bounds].append(summary)
    return dict(sorted(gaps.items(), key=lambda gap: gap[0][::-1], reverse=True))


@dataclass(frozen=True)
class _Attempt:
    """A run that this sensor has asked for before, the `number`th for its range."""

    first: str
    last: str
    assets: Set[dg.AssetKey]
    number: int
    ended_at: datetime

    @property
    def next_at(self) -> datetime:
        return self.ended_at + min(LONGEST_WAIT, FIRST_WAIT * (1 << min(self.number, 10) >> 1))

    def overlaps(self, first: str, last: str, assets: Sequence[dg.AssetKey]) -> bool:
        return self.first <= last and first <= self.last and not self.assets.isdisjoint(assets)


def _attempts(instance: dg.DagsterInstance) -> list[_Attempt]:
    """The runs of the last days that this sensor has asked for; those that wait or run count as ending now."""
    now = datetime.now(UTC)
    mine = dg.RunsFilter(tags={"dagster/sensor_name": "gorgias_gaps"}, created_after=now - 2 * LONGEST_WAIT)
    return [
        _Attempt(
            *days,
            record.dagster_run.asset_selection or frozenset(map(key_of, ENTITIES)),
            int(record.dagster_run.tags[GAPS_TAG]),
            datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now,
        )
        for record in instance.get_run_records(mine)
        if (days := days_of_run(record.dagster_run.tags)) and GAPS_TAG in record.dagster_run.tags
    ]


def _listed(gaps: Mapping[tuple[str, str], Sequence[dg.AssetKey]]) -> str:
    return "; ".join(
        f"{first} to {last} of {', '.join(asset.path[-1] for asset in assets)}"
        for (first, last), assets in gaps.items()
    )
