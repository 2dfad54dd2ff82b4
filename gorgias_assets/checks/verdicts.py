"""The checks: what each means, what to do if it fails, and how it judges.

A new check is a decorated function here, and its name in `table_checks`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.api.client import GorgiasClient
from gorgias_assets.api.events import EVENTS_PATH, Held
from gorgias_assets.availability import Lack, lack_of
from gorgias_assets.checks import audits
from gorgias_assets.checks.audits import Stored, outlived, tolerated
from gorgias_assets.days import DAY, Day, days_of, kept_days, newest_materializations, unbroken_days
from gorgias_assets.display import shown_counts
from gorgias_assets.entities.model import ByDate, Daily, Entity, Parent, Whole, read_by
from gorgias_assets.metadata import Metadata, absences_doubted, began_at, doubt, is_outdated
from gorgias_assets.partitions import window_of
from gorgias_assets.stored_events import StoredEvents
from gorgias_assets.windows import Window

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
MOST_DAYS_NAMED = 20
_DAYS_AT_ONCE = 100


@dataclass(frozen=True)
class Verdict:
    """The result of a check: numbers, ids and days, no value of a row. Its metadata has numbers, text and tables."""

    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class NothingToCheck(Exception):
    """There is nothing to check yet; the message names what to materialize first."""


@dataclass
class CheckContext:
    """An asset to check, as it stands at `now`. Its parts raise `NothingToCheck` if they do not exist yet.

    - `tables`: the table of each entity of the account, by the entity's name.
    - `connect`: makes a client of the account.
    - `days`: the windows of the run's partitions, by key, oldest first; none for a list that is read whole.
    - `late_after`: how long after its end a day is late.
    """

    account: Account
    entity: Entity[Any]
    tables: Mapping[str, Stored]
    connect: Callable[[], GorgiasClient]
    instance: dg.DagsterInstance
    days: Mapping[str, Window]
    now: datetime
    late_after: timedelta

    @property
    def asset(self) -> dg.AssetKey:
        return self.account.key_of(self.entity)

    @cached_property
    def lack(self) -> Lack | None:
        """How the account was found to lack the asset's list; None if it was read since."""
        return lack_of(self.instance, self.asset) if self.entity.is_optional else None

    @cached_property
    def stored(self) -> Stored:
        return self.stored_of(self.entity)

    @cached_property
    def figures(self) -> audits.Figures:
        return audits.figures(self.stored)

    @cached_property
    def materializations(self) -> Mapping[str, Metadata]:
        """The metadata of the newest materialization of each of the days."""
        if not self.days:
            raise self.nothing_of(self.entity)
        return newest_materializations(self.instance, self.asset, self.days)

    @cached_property
    def newest_reading(self) -> Metadata:
        """The metadata of the asset's newest materialization."""
        event = self.instance.get_latest_materialization_event(self.asset)
        if not event or not event.asset_materialization:
            raise self.nothing_of(self.entity)
        return event.asset_materialization.metadata

    @property
    def held_events(self) -> Held | None:
        """The events that the account's own table of them holds."""
        stored = next((stored for stored in self.tables.values() if stored.entity.path == EVENTS_PATH), None)
        return StoredEvents(stored.warehouse, stored.table) if stored else None

    def stored_of(self, entity: Entity[Any]) -> Stored:
        stored = self.tables[entity.name]
        if not stored.warehouse.has_table(stored.table):
            raise self.nothing_of(entity)
        return stored

    def loaded_days(self, entity: Entity[Daily]) -> Window:
        """Return the window of the consecutive days that end with the entity's newest."""
        days = unbroken_days(self.instance, self.account.key_of(entity))
        if days is None:
            raise self.nothing_of(entity)
        return days

    def nothing_of(self, entity: Entity[Any]) -> NothingToCheck:
        asset = self.account.key_of(entity).to_user_string()
        return NothingToCheck(f"There is nothing to check before {asset} is materialized.")


@dataclass(frozen=True)
class Check:
    """A check of one asset.

    - `says`: what is true if it passes; `advice`: what to do if it fails.
    - `severity`: of a failure; if there is nothing to check yet, that is a warning.
    - `reads`: the other entities whose tables it reads.
    """

    name: str
    says: str
    advice: str
    judge: Callable[[CheckContext], Verdict]
    severity: dg.AssetCheckSeverity
    reads: Sequence[Entity[Any]]

    def spec(self, account: Account, entity: Entity[Any]) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(
            self.name,
            asset=account.key_of(entity),
            description=f"{self.says}\n\nIf it fails: {self.advice}",
            additional_deps=[account.key_of(other) for other in self.reads],
        )


def check(
    name: str, says: str, advice: str, severity: dg.AssetCheckSeverity = WARN, reads: Sequence[Entity[Any]] = ()
) -> Callable[[Callable[[CheckContext], Verdict]], Check]:
    """Make a check of the function that judges."""
    return lambda judge: Check(name, says, advice, judge, severity, reads)


def count_of(number: int, noun: str) -> str:
    """Return "1 row", or "2 rows"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def table(rows: Iterable[Mapping[str, str | int]]) -> dg.TableMetadataValue:
    """Return metadata of a few rows, which have the same columns."""
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])


def listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


@check(
    "ids_unique",
    "Every row has an id, and no two rows have the same id.",
    "Something else writes to the table. In BigQuery, two runs at the same time may have added the same row: "
    "materialize any day again, which leaves one row per id.",
    ERROR,
)
def ids_unique(context: CheckContext) -> Verdict:
    found = context.figures
    numbers = {"rows": found.rows, "without_id": found.without_id, "repeated": found.repeated}
    if not found.without_id and not found.repeated:
        return Verdict(True, f"{count_of(found.rows, 'row')}, each with an id of its own.", numbers)
    text = f"{count_of(found.rows, 'row')}: {found.repeated:,} with a repeated id, {found.without_id:,} without an id."
    return Verdict(False, text, numbers | {"ids": listed(audits.repeated_ids(context.stored))})


@check(
    "touches_in_order",
    "No row was touched after it was read, or further before its creation than its entity declares.",
    "Rows that are touched earlier may be missing from the partition of that day: raise `look_ahead` in the entity's "
    "declaration, and run a full sweep. A touch in the future comes from a wrong clock, of this machine or of the "
    "system that the row was imported from.",
)
def touches_in_order(context: CheckContext) -> Verdict:
    read, found = context.entity.read, context.figures
    allowed = f" by more than {_duration(read.look_ahead)}" if read.look_ahead else ""
    faults = [f"{name} precedes the creation{allowed} in {count_of(n, 'row')}" for name, n in found.early.items()]
    faults += [f"{name} lies after the reading in {count_of(n, 'row')}" for name, n in found.ahead.items()]
    numbers = {
        "rows": found.rows,
        "before_creation": sum(found.early.values()),
        "after_reading": sum(found.ahead.values()),
    }
    if not faults:
        rows = count_of(found.rows, "row")
        return Verdict(True, f"{rows}, none touched before its creation{allowed} or after its reading.", numbers)
    ids = listed(audits.ids_touched_out_of_order(context.stored))
    return Verdict(False, f"{'; '.join(faults)}.", numbers | {"ids": ids})


@check(
    "sweep_complete",
    "The newest materialization of each of the run's days shows that the list was in order, and was read far enough.",
    "Materialize the days that it names again.",
    ERROR,
)
def sweep_complete(context: CheckContext) -> Verdict:
    read, days = context.materializations, _days_with_rows(context)
    if not days:
        return Verdict(True, f"Gorgias no longer keeps {context.entity.name} of these days; they were left alone.")
    reasons = {key: doubt(read[key]) if key in read else "it was not materialized" for key in days}
    doubts = {key: why for key, why in reasons.items() if why}
    begun = {key: began for key, metadata in read.items() if (began := began_at(metadata))}
    partly = {key: began for key, began in begun.items() if began < days[key].end}
    numbers: dict[str, Any] = {"days": len(days), "days_in_doubt": len(doubts)}
    if partly:
        numbers["complete_up_to"] = dg.MetadataValue.timestamp(max(partly.values()))
    if doubts:
        numbers["doubts"] = table({"day": key, "doubt": why} for key, why in list(doubts.items())[:MOST_DAYS_NAMED])
        first, why = next(iter(doubts.items()))
        more = f" and {len(doubts) - 1:,} more of {len(days):,} days" if len(doubts) > 1 else ""
        return Verdict(False, f"{first}{more} may be incomplete: {why}.", numbers)
    text = f"{' to '.join(sorted({min(days), max(days)}))}: the list was in order and was read far enough."
    if unordered := context.figures.unordered:
        numbers["rows_without_order"] = unordered
        without = f"{count_of(unordered, 'living row')} without {context.entity.read.order}"
        text += f" The table has {without}; only a full sweep is sure to refresh {'it' if unordered == 1 else 'them'}."
    if partly:
        day, moment = max(partly.items())
        text += f" {day} had not ended; it is complete up to {_minute(moment)}, when its reading began."
    return Verdict(True, text, numbers)


def _days_with_rows(context: CheckContext) -> Mapping[str, Window]:
    """Return the days without those that were left alone because Gorgias no longer keeps their rows."""
    kept = kept_days(context.entity, context.account.partitions, [*context.days], context.now)
    read = context.materializations
    return {key: day for key, day in context.days.items() if key in kept or began_at(read.get(key, {}))}


@check(
    "sweep_complete",
    "The newest materialization shows that the list was read to its end.",
    "Materialize the asset again.",
    ERROR,
)
def list_complete(context: CheckContext) -> Verdict:
    why = doubt(context.newest_reading)
    return Verdict(not why, f"The newest reading may be incomplete: {why}." if why else "The list was read to its end.")


@check(
    "absences_plausible",
    "The newest materialization found most of the stored rows that it should have found.",
    "No row was marked as deleted. Check that the key's user may read all of the account, and that the Gorgias URI "
    "names the right one. If the rows were deleted, run the days again with `believe_absence: true` in the run's "
    "configuration.",
)
def absences_plausible(context: CheckContext) -> Verdict:
    found = absences_doubted(context.newest_reading)
    if not found:
        return Verdict(True, "No unusual number of rows was missing.")
    missing, expected = found["missing"], found["expected"]
    text = f"{missing:,} of {expected:,} stored rows that should have been found were missing, and none was looked for."
    return Verdict(False, text, {"missing": missing, "expected": expected})


@check(
    "fields_known",
    "Every field that Gorgias sends is declared, and every value fits its column.",
    "Nothing is lost: it is kept in `_extra`. Declare the field or correct its column in the entity's declaration; a "
    "full sweep fills it for all rows.",
)
def fields_known(context: CheckContext) -> Verdict:
    found = context.figures
    if not found.extra:
        return Verdict(True, f"{count_of(found.rows, 'row')}, none with anything in _extra.")
    declared = {column.name for column in context.entity.columns}
    fields = audits.extra_fields(context.stored)
    undeclared = shown_counts({name: rows for name, rows in fields.items() if name not in declared})
    misfit = {name: rows for name, rows in fields.items() if name in declared}
    text = _fields("Undeclared fields", undeclared) + _fields("Values that do not fit their column", misfit)
    shown = [(name, "undeclared", rows) for name, rows in undeclared.items()]
    shown += [(name, "does not fit its column", rows) for name, rows in misfit.items()]
    columns = table({"field": name, "value": why, "rows": rows} for name, why, rows in shown)
    return Verdict(False, text.strip(), {"rows": found.extra, "fields": columns})


@check(
    "fresh",
    "The newest day that is due was read after it had ended.",
    "Find out why the daily run failed or did not start, and materialize the day.",
    ERROR,
)
def fresh(context: CheckContext) -> Verdict:
    """Judge the newest day that is due, or a newer one: a materialization of an older day may be newer than theirs.

    Days are due from the first one that was read on time, as a daily run reads them. So who has only read old days is
    late with none, and who stops reading new ones is. A list that the account lacks is never late.
    """
    if context.lack:
        return Verdict(True, str(context.lack))
    partitions, instance = context.account.partitions, context.instance
    day = (context.now - context.late_after - DAY).date().isoformat()
    start = partitions.get_first_partition_key()
    if start is None or day < start:
        return Verdict(True, "No day is due yet.")
    there = sorted(key for key in instance.get_materialized_partitions(context.asset) if key >= start)
    read = newest_materializations(instance, context.asset, [key for key in there if key >= day])
    begun = {key: began for key, metadata in read.items() if (began := began_at(metadata))}
    late_since = window_of(partitions, day).end + context.late_after
    if complete := [key for key, began in begun.items() if began >= window_of(partitions, key).end]:
        newest = max(complete)
        next_late = window_of(partitions, newest).end + DAY + context.late_after
        moments = _moments(began_at=begun[newest], next_late_since=next_late)
        text = f"{newest} was read after it had ended, at {_minute(begun[newest])}."
        return Verdict(True, text, {"day": newest} | moments)
    failed = days_of(instance, partitions, context.asset, [day])[day] is Day.FAILED
    if not failed and (why := _why_none_is_due(context, there, day)):
        return Verdict(True, f"No day is due yet; {why}")
    began = begun.get(day)
    was = f"was last read at {_minute(began)}, before it had ended" if began else "was not materialized"
    then = ", and its last run failed" if failed else ""
    moments = _moments(late_since=late_since, began_at=began)
    return Verdict(False, f"{day} {was}{then}; it has been late since {_minute(late_since)}.", {"day": day} | moments)


def _why_none_is_due(context: CheckContext, there: Sequence[str], day: str) -> str:
    """Return why `day` is not due though it has ended; nothing if it is. Raises `NothingToCheck`."""
    if not there:
        raise context.nothing_of(context.entity)
    if day < there[0]:  # as on the first days of a deployment
        return f"the first one is {there[0]}."
    if not _one_was_on_time(context, there[::-1]):
        return f"only old days were read, up to {there[-1]}. Days are due from the first one that is read on time."
    return ""


def _one_was_on_time(context: CheckContext, keys: Sequence[str]) -> bool:
    """Return if the newest reading of one of the days began before the day after it was late."""
    for first in range(0, len(keys), _DAYS_AT_ONCE):
        read = newest_materializations(context.instance, context.asset, keys[first : first + _DAYS_AT_ONCE])
        begun = {key: began for key, metadata in read.items() if (began := began_at(metadata))}
        grace = DAY + context.late_after
        if any(began < window_of(context.account.partitions, key).end + grace for key, began in begun.items()):
            return True
    return False


@check(
    "fresh",
    "The whole list was read within a day and the time that a daily run may take.",
    "Find out why the daily run failed or did not start, and materialize the asset.",
    ERROR,
)
def list_fresh(context: CheckContext) -> Verdict:
    if context.lack:
        return Verdict(True, str(context.lack))
    began = began_at(context.newest_reading)
    if began is None:
        return Verdict(False, "The newest materialization does not show when its reading began.")
    late_since = began + DAY + context.late_after
    passed = context.now < late_since
    due = "the next is late from" if passed else "the next has been late since"
    text = f"The newest reading began at {_minute(began)}; {due} {_minute(late_since)}."
    return Verdict(passed, text, _moments(late_since=late_since, began_at=began))


def parents_exist(parent: Entity[Any], link: Parent) -> Check:
    @check(
        f"{parent.name}_exist",
        f"Every living row's `{link.field}` is stored in {parent.name}, or is older or newer than the rows there.",
        f"Materialize {parent.name} again. If rows have outlived the deleted row that owns them, run a full sweep. A "
        "few rows that nothing owns may reference one that was deleted before it was read.",
        reads=[parent],
    )
    def judge(context: CheckContext) -> Verdict:
        days = None if isinstance(parent.read, Whole) else context.loaded_days(parent)
        found = audits.orphans(context.stored, context.stored_of(parent), link.field, days)
        missing, gone, beyond = found["missing"], found["gone"], found["beyond"]
        lost = count_of(missing.parents, parent.name.removesuffix("s"))
        text = (
            f"{count_of(missing.rows, 'row')} {_refer(missing)} {lost} that {'is' if missing.parents == 1 else 'are'} "
            f"missing; {gone.rows:,} {_refer(gone)} deleted {parent.name}; {beyond.rows:,} {_refer(beyond)} "
            f"{parent.name} outside the loaded {'days' if days else 'list'}."
        )
        numbers = {name: lost.rows for name, lost in found.items()}
        ids = {f"{name}_ids": listed(found[name].ids) for name in ("missing", "gone") if found[name].ids}
        # Rows that may outlive their parent may lack a few: deleted or merged away before they were ever read.
        passed = missing.rows + gone.rows == 0 if link.owns else missing.rows <= outlived(context.figures.rows)
        return Verdict(passed, text, numbers | ids | {"days": str(days or "all")})

    return judge


def counts_agree(children: Entity[ByDate], link: Parent) -> Check:
    @check(
        f"{link.counted_by}_agrees",
        f"Every row's `{link.counted_by}` is the number of its living {children.name}, if all of them should be "
        "stored, but for a few rows.",
        f"Materialize the days of {children.name} again on which the rows that it names were created and changed. "
        "Gorgias lists no deletion of a single one: if many were deleted, a full sweep repairs the counts.",
        reads=[children],
    )
    def judge(context: CheckContext) -> Verdict:
        days = context.loaded_days(children)
        compared = context.stored, context.stored_of(children), link, days
        found = audits.miscounted(*compared)
        checked, differing = sum(day.checked for day in found.values()), sum(day.differing for day in found.values())
        amiss = [day for day, counted in found.items() if counted.differing > tolerated(counted.checked)]
        # A few may differ: a row counts the children of an older one that was merged into it and is not stored.
        passed = not amiss and differing <= tolerated(checked)
        numbers: dict[str, Any] = {"checked": checked, "differing": differing, "days": str(days)}
        if amiss:
            numbers["differing_days"] = listed(amiss[-MOST_DAYS_NAMED:])
        if not passed:
            numbers["examples"] = table(audits.miscounted_parents(*compared))
        rows = count_of(checked, "row")
        return Verdict(
            passed, f"{link.counted_by} differs from the stored {children.name} in {differing:,} of {rows}.", numbers
        )

    return judge


def table_checks(entity: Entity[Any], entities: Sequence[Entity[Any]]) -> list[Check]:
    """Return the checks of an entity that need no call to Gorgias. `entities` are all of the account."""
    parents = [parents_exist(other, link) for other in entities if (link := entity.parent) and link.name == other.name]
    if isinstance(entity.read, Whole):
        return [ids_unique, list_complete, absences_plausible, fields_known, list_fresh, *parents]
    if not isinstance(entity.read, ByDate):  # absence shows nothing there
        return [ids_unique, sweep_complete, fields_known, fresh, *parents]
    counts = [
        counts_agree(other, link)
        for other in read_by(ByDate, entities)
        if (link := other.parent) and link.name == entity.name and link.counted_by
    ]
    return [ids_unique, touches_in_order, sweep_complete, absences_plausible, fields_known, fresh, *parents, *counts]


@check(
    "policy_kept",
    "All rows were stored under the privacy policy of the settings.",
    "Run the full sweep job, which reads the account again and rewrites what it does not reach.",
    ERROR,
)
def policy_kept(context: CheckContext) -> Verdict:
    if not is_outdated(context.newest_reading):
        return Verdict(True, "All rows were stored under the privacy policy of the settings.")
    return Verdict(False, "Rows are stored under another privacy policy; run the full sweep job, which rewrites them.")


def checks_of(account: Account, entity: Entity[Any]) -> list[Check]:
    """Return the checks of an entity of the account that need no call to Gorgias."""
    return [*table_checks(entity, account.entities), *([policy_kept] if account.has_policy else [])]


def _fields(fault: str, fields: Mapping[str, int]) -> str:
    named = ", ".join(f"{name} ({count_of(rows, 'row')})" for name, rows in fields.items())
    return f" {fault}: {named}." if fields else ""


def _refer(lost: audits.Lost) -> str:
    return "references" if lost.rows == 1 else "reference"


def _moments(**moments: datetime | None) -> dict[str, Any]:
    return {name: dg.MetadataValue.timestamp(moment) for name, moment in moments.items() if moment}


def _duration(time: timedelta) -> str:
    return count_of(time.days, "day") if time and time == time.days * DAY else str(time)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
