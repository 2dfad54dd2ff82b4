"""The sensors of an account: one keeps today's partition fresh, one requests missing days. Both are off by default."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.api.client import GorgiasError, Unavailable
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.assets import SweepConfig
from gorgias_assets.availability import is_lacked, lack_of
from gorgias_assets.days import Day, days_of, kept_days, lacking
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.jobs import request_of
from gorgias_assets.partitions import days_of_run, ended, ranges, window_of
from gorgias_assets.resources import GorgiasResource

KnownHead = list[str | int | None]  # of a list: its order field and its id, and a fingerprint of what is ahead of it
Gaps = Mapping[tuple[str, str], Sequence[dg.AssetKey]]  # assets by the first and the last day of what they lack

_DOWN_SINCE = "down since"  # in the cursor, next to names of entities

REFRESH_SECONDS = 3600  # a run that reads today for longer has died, and must not keep the next one away
SECONDS_BETWEEN_LOOKS_FOR_GAPS = 15 * 60
MOST_GAPS_A_TICK = 4
MOST_FORGOTTEN_A_TICK = 50
LONGEST_SKIP = timedelta(hours=3)  # for an outage
FIRST_WAIT, LONGEST_WAIT = timedelta(hours=1), timedelta(days=1)  # before a gap is requested again


class Down(str):
    """The reason why a list does not answer."""


def changes_sensor(account: Account, every: timedelta, kept: timedelta = timedelta(days=3)) -> dg.SensorDefinition:
    """Request today's partition of the entities whose list has a new head. A tick costs one call per entity.

    They are the entities read by date; the others are left to the daily run, and so is a list that the account lacks.
    The runs read today alone, without the look-back, look for no deleted row, count none, and evaluate no check; the
    daily run does all that. The cursor holds the heads for which a run was requested, by entity. An entity that a run
    is reading today is left to a later tick. One whose list has not answered for `LONGEST_SKIP` is requested all the
    same: its run fails, and is seen to.

    Runs older than `kept` are deleted: they would be most of the history.
    """

    @dg.sensor(
        name=account.named("changes"),
        job_name=account.name,
        minimum_interval_seconds=round(every.total_seconds()),
        required_resource_keys={account.name},
        description=f"Keep today fresh: look for changes every {every.total_seconds() / 60:g} minutes, with one API "
        "call per entity, and read today of the entities that changed.",
    )
    def changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        _forget_refreshes(context.instance, account, kept)
        today = account.partitions.get_last_partition_key()
        if today is None:
            return dg.SensorResult(skip_reason="The first day has not begun.")
        heads: dict[str, KnownHead] = json.loads(context.cursor) if context.cursor else {}
        known = [entity for entity in account.by_date if not is_lacked(context.instance, account, entity)]
        looks = {entity: _look(context, account, entity, today, heads.get(entity.name)) for entity in known}
        new = {entity: look for entity, look in looks.items() if isinstance(look, list)}
        waits, overdue = _down(heads, {entity.name: why for entity, why in looks.items() if isinstance(why, Down)})
        wanted = [entity for entity in account.by_date if entity in new or entity.name in overdue]
        heads |= {entity.name: head for entity, head in new.items()}
        if not wanted:
            reasons = [*waits, *(look for look in looks.values() if isinstance(look, str))]
            return dg.SensorResult(skip_reason=" ".join(reasons) or "Nothing is new.", cursor=json.dumps(heads))
        request = dg.RunRequest(
            partition_key=today,
            asset_selection=[account.key_of(entity) for entity in wanted],
            asset_check_keys=[],
            run_config=dg.RunConfig(ops={account.op_of(entity): SweepConfig(look_back=False) for entity in wanted}),
            tags={account.tag("changes"): "today", dg.MAX_RUNTIME_SECONDS_TAG: str(REFRESH_SECONDS)},
        )
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(heads))

    return changes


def gaps_sensor(
    account: Account, horizon_days: int, late_after: timedelta, summaries: Sequence[dg.AssetKey] = ()
) -> dg.SensorDefinition:
    """Request days that are missing, failed, or last read before they had ended: one run for each gap.

    It looks at the last `horizon_days` days that ended at least `late_after` ago, and not at days whose rows Gorgias no
    longer keeps. The newest gaps come first, a few per tick. A gap that is still there after it was requested waits an
    hour, then two, and so on up to a day. A list that the account lacks is left to the daily run, until that reads it.
    `summaries` are assets made of the days of the core: they join each run, and are requested alone if they alone lack
    days.

    During an outage it requests nothing for `LONGEST_SKIP`, and then goes on as ever: the runs fail, and are seen to.
    The cursor holds when the outage began.
    """

    @dg.sensor(
        name=account.named("gaps"),
        job_name=account.name,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS_FOR_GAPS,
        required_resource_keys={account.name},
        description=f"Find days of the last {horizon_days} that are missing or failed, and read them, one run for each "
        "gap. A gap that cannot be filled is tried again at ever longer intervals.",
    )
    def gaps(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        now = datetime.now(UTC)
        keys = ended(account.partitions, now - late_after)[-horizon_days:]
        found = _gaps(context.instance, account, keys, summaries, now)
        gorgias: GorgiasResource = getattr(context.resources, account.name)
        outage = gorgias.outage() if found else None
        since = (_moment(context.cursor) or now) if outage else None
        context.update_cursor(since.isoformat() if since else "")
        if not found:
            return dg.SkipReason("No day is missing.")
        if outage and since and now - since < LONGEST_SKIP:
            return dg.SkipReason(f"{outage} {_from_then(since)}")
        attempts = _attempts(context.instance, account, now)
        requests = [
            request_of(
                account,
                first,
                last,
                asset_selection=list(dict.fromkeys([*assets, *summaries])),
                tags={account.tag("gaps"): str(number)},
            )
            for (first, last), assets in found.items()
            if (number := _next_number([one for one in attempts if one.overlaps(first, last, assets)], now))
        ]
        return requests[:MOST_GAPS_A_TICK] or dg.SkipReason(f"Requested lately, and still missing: {_listed(found)}")

    return gaps


def _forget_refreshes(instance: dg.DagsterInstance, account: Account, kept: timedelta) -> None:
    over = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    tags = {account.tag("changes"): "today"}
    old = dg.RunsFilter(tags=tags, statuses=over, created_before=datetime.now(UTC) - kept)
    for run in instance.get_runs(old, limit=MOST_FORGOTTEN_A_TICK):
        instance.delete_run(run.run_id)


def _look(
    context: dg.SensorEvaluationContext, account: Account, entity: Entity[ByDate], today: str, known: KnownHead | None
) -> KnownHead | Down | str | None:
    """Return the head of the entity's list if it is new today, else a reason to wait, or None if there is no need to.

    A row that comes before the head is new whenever it was not there before. A list that Gorgias refuses to show is
    logged and left out.
    """
    gorgias: GorgiasResource = getattr(context.resources, account.name)
    try:
        newest = gorgias.newest(entity)
    except Unavailable as error:
        return Down(error.reason)
    except (GorgiasError, InvalidUri) as error:
        context.log.warning(f"{entity.name}: {error}")
        return None
    if newest is None:
        return None
    moment = newest.moment.isoformat() if newest.moment else None
    head: KnownHead = [moment, newest.id, *filter(None, [newest.ahead])]
    is_of_today = newest.moment and newest.moment >= window_of(account.partitions, today).start
    if head == known or not (is_of_today or newest.ahead not in ("", *(known or [])[2:])):
        return None
    days = days_of(context.instance, account.partitions, account.key_of(entity), [today])
    return f"{entity.name}: a run is reading today." if days[today] is Day.RUNNING else head


def _down(heads: dict[str, Any], down: Mapping[str, "Down"]) -> tuple[list[str], set[str]]:
    """Note in the cursor since when lists do not answer; return reasons to wait, and the lists that waited enough.

    The time of these begins anew.
    """
    now = datetime.now(UTC)
    noted = heads.pop(_DOWN_SINCE, {})
    since = {name: _moment(noted.get(name)) or now for name in down}
    overdue = {name for name, moment in since.items() if now - moment >= LONGEST_SKIP}
    if down:
        heads[_DOWN_SINCE] = {name: str(now if name in overdue else moment) for name, moment in since.items()}
    return [f"{why} {_from_then(since[name])}" for name, why in down.items()], overdue


def _moment(text: object) -> datetime | None:
    """Return an aware moment of a cursor; None if there is none, or none that can be read."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def _from_then(since: datetime) -> str:
    return f"A run is requested from {since + LONGEST_SKIP:%F %H:%M} UTC on, if that lasts."


def _gaps(
    instance: dg.DagsterInstance,
    account: Account,
    keys: Sequence[str],
    summaries: Sequence[dg.AssetKey],
    now: datetime,
) -> Gaps:
    """Return the gaps among the days `keys`, the newest last day first."""
    gaps, complete = defaultdict(list), list(keys)

    def find(asset: dg.AssetKey, among: Sequence[str]) -> dict[str, Day]:
        days = days_of(instance, account.partitions, asset, among)
        for gap in ranges(lacking(days)):
            gaps[gap].append(asset)
        return days

    for entity in account.daily:
        if is_lacked(instance, account, entity):
            continue
        days = find(account.key_of(entity), kept_days(entity, account.partitions, keys, now))
        if not entity.group:  # summaries are made of the core
            complete = [key for key in complete if days[key] is Day.COMPLETE]
    for summary in summaries:
        if lack_of(instance, summary) is None:
            find(summary, complete)
    return dict(sorted(gaps.items(), key=lambda gap: gap[0][::-1], reverse=True))


@dataclass(frozen=True)
class _Attempt:
    """An earlier run that the sensor requested: the `number`th for its gap."""

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


def _attempts(instance: dg.DagsterInstance, account: Account, now: datetime) -> list[_Attempt]:
    """Return the runs of the last days that the sensor requested; queued and running ones count as ending now."""
    tag, all_assets = account.tag("gaps"), frozenset(map(account.key_of, account.daily))
    mine = dg.RunsFilter(tags={"dagster/sensor_name": account.named("gaps")}, created_after=now - 2 * LONGEST_WAIT)
    return [
        _Attempt(
            *days,
            record.dagster_run.asset_selection or all_assets,
            int(record.dagster_run.tags[tag]),
            datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now,
        )
        for record in instance.get_run_records(mine)
        if (days := days_of_run(record.dagster_run.tags)) and tag in record.dagster_run.tags
    ]


def _next_number(earlier: Sequence[_Attempt], now: datetime) -> int | None:
    """Return the number of the next attempt; None while it waits."""
    if any(attempt.next_at > now for attempt in earlier):
        return None
    return max((attempt.number for attempt in earlier), default=0) + 1


def _listed(gaps: Gaps) -> str:
    return "; ".join(
        f"{first} to {last} of {', '.join(asset.path[-1] for asset in assets)}"
        for (first, last), assets in gaps.items()
    )
