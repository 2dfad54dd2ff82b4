"""The check `statistics_agree`: numbers of this project's tables, and Gorgias's own ones, by measure and day.

Some differ by definition. The check says which, and why; it fails, as a warning, if they differ by more than that
should amount to. It calls no API: it reads what the asset `statistics` stored.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import dagster as dg
import pandas as pd

from gorgias_assets.account import WAREHOUSE_POOL, Account
from gorgias_assets.checks.audits import tolerated
from gorgias_assets.columns import DELETED_AT
from gorgias_assets.days import DAY, newest_materializations
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.metadata import began_at
from gorgias_assets.overview.facts import Facts, read_facts
from gorgias_assets.partitions import days_recorded, window_of_days
from gorgias_assets.statistics.daily import with_day_before
from gorgias_assets.statistics.scopes import (
    ALL,
    CLOSED,
    CREATED,
    FIRST_RESPONSES,
    NEEDS,
    RECEIVED,
    RESOLUTIONS,
    SENT,
    STATISTICS,
    SURVEYS,
)
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

NAME = "statistics_agree"
MOST_DAYS = 7  # that one run compares, the newest
NEAR = timedelta(days=28)  # the newest of them, since all that lies between is read as well
SETTLED_AFTER = timedelta(hours=1)  # the end of a day; statistics were seen to be 3 to 6 minutes behind
TOLERATED_SECONDS, TOLERATED_SHARE = 60.0, 0.1  # of a duration; the larger counts
TOLERATED_SCORE = 0.25  # of 5

Numbers = Mapping[str, float]
"""A number by day; a day that has none is left out."""


@dataclass(frozen=True)
class Ours:
    """This project's facts of some days, and its public messages by day: those of agents, and those of customers."""

    facts: Facts
    sent: Numbers
    received: Numbers


@dataclass(frozen=True)
class Compared:
    """One measure, as Gorgias names it.

    - `ours`: the same number by day, from the tables.
    - `allowed`: by how much the two may differ, by the larger of them.
    - `why`: the reasons why they may differ at all.
    - `is_count`: True if no number means zero.
    """

    scope: str
    measure: str
    ours: Callable[[Ours], Numbers]
    why: str
    allowed: Callable[[float], float]
    is_count: bool = False

    @property
    def name(self) -> str:
        return f"{self.scope}: {self.measure}"


@dataclass(frozen=True)
class Difference:
    day: str
    ours: float
    theirs: float
    allowed: float

    @property
    def is_tolerated(self) -> bool:
        return abs(self.ours - self.theirs) <= self.allowed

    @property
    def weight(self) -> float:
        return abs(self.ours - self.theirs) / (self.allowed or 1.0)


def _rows(number: float) -> float:
    return tolerated(int(number))


def _seconds(number: float) -> float:
    return max(TOLERATED_SECONDS, TOLERATED_SHARE * number)


def _by_day(frame: pd.DataFrame) -> Any:
    return frame.groupby(frame["day"].dt.strftime("%Y-%m-%d"))


def _sizes(frame: pd.DataFrame) -> Numbers:
    return {str(day): float(number) for day, number in _by_day(frame).size().items()}


def _of(frame: pd.DataFrame, column: str, how: str) -> Numbers:
    values = _by_day(frame)[column].agg(how).dropna()
    return {str(day): float(number) for day, number in values.items()}


_POPULATION = (
    "Ours leave out spam, trashed and deleted tickets; Gorgias does not document if its own do. A merged ticket is one "
    "ticket in ours."
)
_CLOSED = (
    "Ours count a ticket on the day of its last closing, and not while it is open again; Gorgias counted it on each "
    f"day when it was asked. {_POPULATION}"
)
_MESSAGES = (
    "Ours are public messages in the state of the newest reading, by the time of sending; deleted messages are left "
    "out. Gorgias does not document if its own include imported messages, and those of rules and integrations."
)
_ANSWERED = (
    "Both run from the customer's first message to the first agent's answer, nights included, on the day of the "
    "answer, without answers by rules and from outside the helpdesk and without tickets that an agent began. Ours "
    f"also leave out answers that never left, and tickets whose beginning is not stored. {_POPULATION}"
)
_RESOLVED = f"Both run from the customer's first message to the closing, nights included. {_CLOSED}"
_SURVEYED = (
    "Both are of the surveys sent on the day. Customers answer days later: ours know of all answers that were read "
    "since, Gorgias's of those until it was asked."
)

COMPARED = (
    Compared(CREATED, "ticketCount", lambda ours: _sizes(ours.facts.created), _POPULATION, _rows, is_count=True),
    Compared(CLOSED, "ticketCount", lambda ours: _sizes(ours.facts.closed), _CLOSED, _rows, is_count=True),
    Compared(SENT, "messagesCount", lambda ours: ours.sent, _MESSAGES, _rows, is_count=True),
    Compared(RECEIVED, "messagesCount", lambda ours: ours.received, _MESSAGES, _rows, is_count=True),
    Compared(
        FIRST_RESPONSES,
        "medianFirstResponseTime",
        lambda ours: _of(ours.facts.answered, "seconds", "median"),
        _ANSWERED,
        _seconds,
    ),
    Compared(
        FIRST_RESPONSES,
        "averageFirstResponseTime",
        lambda ours: _of(ours.facts.answered, "seconds", "mean"),
        _ANSWERED,
        _seconds,
    ),
    Compared(
        RESOLUTIONS,
        "medianResolutionTime",
        lambda ours: _of(ours.facts.closed, "seconds", "median"),
        _RESOLVED,
        _seconds,
    ),
    Compared(
        RESOLUTIONS,
        "averageResolutionTime",
        lambda ours: _of(ours.facts.closed, "seconds", "mean"),
        _RESOLVED,
        _seconds,
    ),
    Compared(SURVEYS, "sentSurveysCount", lambda ours: _sizes(ours.facts.sent), _SURVEYED, _rows, is_count=True),
    Compared(
        SURVEYS,
        "scoredSurveysCount",
        lambda ours: _sizes(ours.facts.sent.dropna(subset="score")),
        _SURVEYED,
        _rows,
        is_count=True,
    ),
    Compared(
        SURVEYS,
        "averageSurveyScore",
        lambda ours: _of(ours.facts.sent, "score", "mean"),
        _SURVEYED,
        lambda _: TOLERATED_SCORE,
    ),
)


def build_agreement(account: Account) -> dg.AssetChecksDefinition:
    """Return the check `statistics_agree`, which needs the IO manager of the assets."""
    (asset,) = [
        key for name, key in zip(account.statistics, account.statistics_keys, strict=True) if name == STATISTICS
    ]
    needs = {one.name: account.key_of(one) for one in account.declarations if one.name in NEEDS[STATISTICS]}

    @dg.multi_asset_check(
        name=account.named(NAME),
        specs=[
            dg.AssetCheckSpec(
                NAME,
                asset=asset,
                description="The numbers of the tables are close to Gorgias's own statistics, on the days of which "
                f"these were read {SETTLED_AFTER // timedelta(hours=1)} hour after their end or later.\n\nIf it fails: "
                "compare the reasons in its table with what the account does, such as merging or reopening many "
                "tickets. Materialize the days that it names again, of the entities and of the statistics.",
                additional_deps=list(needs.values()),
            )
        ],
        required_resource_keys={account.io_manager_key},
        pool=account.named(WAREHOUSE_POOL),
    )
    def statistics_agree(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
        labels = {"asset": asset.to_user_string(), "check": NAME, "dagster_run_id": context.run.run_id}
        warehouse, table = io_manager.warehouse.billed_to(labels), account.table_of(STATISTICS, io_manager)
        theirs = _theirs(warehouse, table, _days(context, account, asset))
        days = _newest_read(context.instance, needs, {day for day, _, _ in theirs})
        found: list[tuple[Compared, list[Difference]]] = []
        if days:
            tables = {name: account.table_of(name, io_manager) for name in NEEDS[STATISTICS]}
            ours = _ours(warehouse, tables, window_of_days(account.partitions, _all_between(days)))
            found = differences(ours, theirs, days)
        passed, text, numbers = judged(found, days)
        return dg.AssetCheckResult(
            passed=passed,
            asset_key=asset,
            check_name=NAME,
            severity=dg.AssetCheckSeverity.WARN,
            description=text,
            metadata={**numbers, **warehouse.bill(), **warehouse.jobs_billed()},
        )

    return statistics_agree


def differences(
    ours: Ours, theirs: Mapping[tuple[str, str, str], float | None], days: Sequence[str]
) -> list[tuple[Compared, list[Difference]]]:
    """Return each measure with its difference on each day on which both have a number."""
    found = []
    for compared in COMPARED:
        numbers, differing = compared.ours(ours), []
        for day in days:
            key = (day, compared.scope, compared.measure)
            if key not in theirs:  # the scope was left out
                continue
            without = 0.0 if compared.is_count else None
            one, other = numbers.get(day, without), without if theirs[key] is None else theirs[key]
            if one is not None and other is not None:
                differing.append(Difference(day, one, other, compared.allowed(max(one, other))))
        found.append((compared, differing))
    return found


def judged(
    found: Sequence[tuple[Compared, Sequence[Difference]]], days: Sequence[str]
) -> tuple[bool, str, dict[str, Any]]:
    """Return if no measure differs too much, the sentence on it, and a table with the worst day of each measure."""
    if not days:
        return True, "There is no day to compare yet whose statistics and tables were read after its end.", {}
    worst = [(one, len(differing), max(differing, key=lambda day: day.weight)) for one, differing in found if differing]
    amiss = [f"{one.name} on {day.day}" for one, _, day in worst if not day.is_tolerated]
    records = [
        dg.TableRecord(
            {
                "measure": one.name,
                "days": number,
                "worst_day": day.day,
                "ours": round(day.ours, 3),
                "theirs": round(day.theirs, 3),
                "difference": round(day.ours - day.theirs, 3),
                "tolerated": round(day.allowed, 3),
                "why": one.why,
            }
        )
        for one, number, day in worst
    ]
    numbers: dict[str, Any] = {"days": len(days), "measures": len(worst), "measures_differing": len(amiss)}
    compared = f"{days[0]} to {days[-1]}, {len(worst)} measures"
    text = f"{compared}: too far apart are {', '.join(amiss)}." if amiss else f"{compared}: all are close."
    return not amiss, text, {**numbers, **({"compared": dg.MetadataValue.table(records)} if records else {})}


def _days(context: dg.AssetCheckExecutionContext, account: Account, asset: dg.AssetKey) -> list[str]:
    """Return the run's days and the one before them, or the newest days of the asset if the run has none."""
    if context.has_partition_key or context.has_partition_key_range:
        recorded = days_recorded(account.partitions, context.partition_keys, context.run.tags)
        return with_day_before(account.partitions, recorded)
    return sorted(context.instance.get_materialized_partitions(asset))


def _theirs(warehouse: Warehouse, table: Table, days: Sequence[str]) -> dict[tuple[str, str, str], float | None]:
    """Return Gorgias's numbers of the whole helpdesk, by day, scope and measure, of days that were settled."""
    if not days or not warehouse.has_table(table):
        return {}
    rows = warehouse.query(
        table.schema,
        f"SELECT day, scope, measure, value, read_at FROM {warehouse.rows_of(table)} "
        f"WHERE dimension = {warehouse.dialect.literal(ALL)} AND day >= DATE '{days[0]}' AND day <= DATE '{days[-1]}'",
    )
    return {
        (str(row["day"]), row["scope"], row["measure"]): row["value"]
        for row in rows.to_pylist()
        if row["read_at"] >= _end_of(str(row["day"])) + SETTLED_AFTER
    }


def _newest_read(instance: dg.DagsterInstance, needs: Mapping[str, dg.AssetKey], days: Collection[str]) -> list[str]:
    """Return the newest of the days that can be compared, oldest first, all of them within a few weeks."""
    read = list(islice((day for day in sorted(days, reverse=True) if _is_read(instance, needs, day)), MOST_DAYS))
    return [day for day in read[::-1] if _end_of(read[0]) - _end_of(day) < NEAR]


def _is_read(instance: dg.DagsterInstance, needs: Mapping[str, dg.AssetKey], day: str) -> bool:
    """Return if the day was read of each entity after it had ended."""
    read = [newest_materializations(instance, key, [day]).get(day, {}) for key in needs.values()]
    return all((began := began_at(metadata)) is not None and began >= _end_of(day) for metadata in read)


def _ours(warehouse: Warehouse, tables: Mapping[str, Table], window: Window) -> Ours:
    facts, _ = read_facts(warehouse, tables, window)
    messages = tables["ticket_messages"]
    sent_at = "COALESCE(sent_datetime, created_datetime)"
    rows = warehouse.query(
        messages.schema,
        f"SELECT CAST({sent_at} AS DATE) AS day, from_agent, COUNT(*) AS messages FROM {warehouse.rows_of(messages)} "
        f"WHERE {DELETED_AT} IS NULL AND public AND {warehouse.dialect.within(sent_at, [window])} "
        f"GROUP BY CAST({sent_at} AS DATE), from_agent",
    ).to_pylist()
    sent, received = (
        {str(row["day"]): float(row["messages"]) for row in rows if row["from_agent"] is by_agents}
        for by_agents in (True, False)
    )
    return Ours(facts, sent, received)


def _end_of(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + DAY


def _all_between(days: Sequence[str]) -> list[str]:
    return [str(day.date()) for day in pd.date_range(days[0], days[-1])]
