"""What a check concludes of one asset: from its table, from the tables beside it, and from its materialisations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from gorgias_assets.api.client import GorgiasClient
from gorgias_assets.checks import audits
from gorgias_assets.entities.model import Entity
from gorgias_assets.evidence import DAY, Metadata, began_at, doubt, newest_materializations, unbroken_days
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
MOST_NAMED = 20


@dataclass(frozen=True)
class Verdict:
    """What a check says: numbers, ids and days, nothing of a customer's."""

    passed: bool
    description: str
    severity: dg.AssetCheckSeverity = WARN
    metadata: Mapping[str, Any] = field(default_factory=dict)


class NotThere(Exception):
    """There is nothing to judge yet; the message says what to materialise first."""


@dataclass
class Subject:
    """The asset that is judged, as it stands at `now`.

    - `tables`, `assets`: the table and the asset of every entity, by its name.
    - `connect`: makes a client of the account.
    - `days`: the windows of the partitions that the run is about, by key, oldest first.
    - `late_after`: how long after its end a day has to be there.
    """

    entity: Entity
    tables: Mapping[str, Table]
    assets: Mapping[str, dg.AssetKey]
    warehouse: Warehouse
    connect: Callable[[], GorgiasClient]
    instance: dg.DagsterInstance
    partitions: dg.DailyPartitionsDefinition
    days: Mapping[str, Window]
    now: datetime
    late_after: timedelta

    @property
    def asset(self) -> dg.AssetKey:
        return self.assets[self.entity.name]

    @cached_property
    def table(self) -> Table:
        return self.table_of(self.entity)

    @cached_property
    def materializations(self) -> Mapping[str, Metadata]:
        """The metadata of the newest materialisation of each of the days."""
        return newest_materializations(self.instance, self.asset, self.days)

    @cached_property
    def figures(self) -> audits.Figures:
        return audits.figures(self.warehouse, self.table, self.entity)

    def table_of(self, entity: Entity) -> Table:
        """Raises `NotThere`."""
        table = self.tables[entity.name]
        if not self.warehouse.has_table(table):
            raise NotThere(
                f"There is no table {table} yet; materialise {self.assets[entity.name].to_user_string()} first."
            )
        return table

    def unbroken_days(self, entity: Entity) -> Window:
        """Raises `NotThere`."""
        asset = self.assets[entity.name]
        days = unbroken_days(self.instance, asset)
        if days is None:
            raise NotThere(f"No day of {asset.to_user_string()} has been materialised yet, so nothing can be judged.")
        return days


def ids_unique(subject: Subject) -> Verdict:
    found = subject.figures
    numbers = {"rows": found.rows, "rows_without_id": found.without_id, "rows_repeated": found.repeated}
    if not found.without_id and not found.repeated:
        return Verdict(True, f"Each of {found.rows:,} rows has an id of its own.", ERROR, numbers)
    ids = audits.repeated_ids(subject.warehouse, subject.table)
    return Verdict(
        False,
        f"{found.rows:,} rows: {found.repeated:,} with the id of another, {found.without_id:,} without one.",
        ERROR,
        numbers | {"ids": ids},
    )


def touches_in_order(subject: Subject) -> Verdict:
    entity, found = subject.entity, subject.figures
    allowed = f" by more than {entity.look_ahead}" if entity.look_ahead else ""
    faults = [f"{rows:,} rows have {name} before their creation{allowed}" for name, rows in found.early.items()]
    faults += [f"{rows:,} rows have {name} after they were read" for name, rows in found.ahead.items()]
    numbers = {"rows": found.rows, "before_creation": found.early, "in_the_future": found.ahead}
    if not faults:
        said = f"Of {found.rows:,} rows none was touched before its creation{allowed}, or after it was read."
        return Verdict(True, said, metadata=numbers)
    ids = audits.ids_with_touches_amiss(subject.warehouse, subject.table, entity)
    return Verdict(False, f"{'; '.join(faults)}.", metadata=numbers | {"ids": ids})


def fields_known(subject: Subject) -> Verdict:
    found = subject.figures
    if not found.extra:
        return Verdict(True, f"None of {found.rows:,} rows has anything in _extra.")
    fields = audits.extra_fields(subject.warehouse, subject.table)
    declared = {column.name for column in subject.entity.columns}
    unknown = {name: rows for name, rows in fields.items() if name not in declared}
    unfit = {name: rows for name, rows in fields.items() if name in declared}
    said = [
        f"{what}: {', '.join(f'{name} ({rows:,} rows)' for name, rows in named.items())}."
        for what, named in (("Fields that are not declared", unknown), ("Values that do not fit their column", unfit))
        if named
    ]
    numbers = {"rows": found.extra, "not_declared": unknown, "not_fitting": unfit}
    return Verdict(False, " ".join(said), metadata=numbers)


def sweep_complete(subject: Subject) -> Verdict:
    days, made = subject.days, subject.materializations
    if not days:
        raise NotThere(f"No day of {subject.asset.to_user_string()} has been materialised yet.")
    doubts = {key: doubt(made[key]) if key in made else "it has not been materialised" for key in days}
    doubts = {key: why for key, why in doubts.items() if why}
    begun = {key: began for key, metadata in made.items() if (began := began_at(metadata))}
    partly = {key: began.isoformat() for key, began in begun.items() if began < days[key].end}
    numbers = {"days": len(days), "complete_up_to": partly, "in_doubt": dict(list(doubts.items())[:MOST_NAMED])}
    if doubts:
        first, why = next(iter(doubts.items()))
        more = f", and {len(doubts) - 1:,} more of {len(days):,} days" if len(doubts) > 1 else ""
        return Verdict(False, f"{first} is not known to be complete{more}: {why}.", ERROR, numbers)
    ends = sorted({*list(days)[:1], *list(days)[-1:]})
    said = f"{' to '.join(ends)}: the order was verified, and the list read as far down as it had to be."
    if partly:
        said += f" It is complete up to {max(partly.values())}, when it was read, for the day had not ended."
    return Verdict(True, said, ERROR, numbers)


def fresh(subject: Subject) -> Verdict:
    """By partition: that a day of long ago has just been materialised is no freshness."""
    day = (subject.now - subject.late_after - DAY).date().isoformat()
    first = subject.partitions.get_first_partition_key()
    if first is None or day < first:
        return Verdict(True, "No day has to be there yet.", ERROR)
    there = subject.instance.get_materialized_partitions(subject.asset)
    if there and day < min(there):  # as on the first days of a deployment
        return Verdict(True, f"No day has to be there yet; the first one is {min(there)}.", ERROR)
    window = Window.of(*subject.partitions.time_window_for_partition_key(day))
    made = newest_materializations(subject.instance, subject.asset, [day])
    began = began_at(made[day]) if day in made else None
    late_since = window.end + subject.late_after
    told = {"day": day, "late_since": str(late_since), "began_at": str(began) if began else "never"}
    if began and began >= window.end:
        return Verdict(True, f"{day} was read after it had ended, at {began:%Y-%m-%d %H:%M} UTC.", ERROR, told)
    was = f"was last read at {began:%Y-%m-%d %H:%M} UTC, before it had ended" if began else "has not been materialised"
    return Verdict(False, f"{day} {was}; it is late since {late_since:%Y-%m-%d %H:%M} UTC.", ERROR, told)


def parents_exist(subject: Subject, parent: Entity, field: str) -> Verdict:
    """Living rows of a parent that was deleted are amiss, too, where they go with it.

    Of rows that may outlive their parent a few may lack it: it was deleted or merged away before it was ever read.
    """
    child, table, days = subject.table, subject.table_of(parent), subject.unbroken_days(parent)
    found = audits.orphans(subject.warehouse, child, field, table, parent, days)
    said = (
        f"{found.missing.rows:,} living rows are of {found.missing.parents:,} {parent.name} that should be stored and "
        f"are not; {found.gone.rows:,} of {found.gone.parents:,} that were deleted; {found.beyond.rows:,} of "
        f"{found.beyond.parents:,} that are older or newer than the days of {parent.name} in the table."
    )
    numbers = {
        "rows_of_missing": found.missing.rows,
        "missing": list(found.missing.ids),
        "rows_of_deleted": found.gone.rows,
        "deleted": list(found.gone.ids),
        "rows_not_judged": found.beyond.rows,
        "judged_days": str(days),
    }
    if subject.entity.goes_with:
        return Verdict(not found.missing.rows + found.gone.rows, said, metadata=numbers)
    return Verdict(found.missing.rows <= audits.tolerated(subject.figures.rows), said, metadata=numbers)


def counts_agree(subject: Subject, children: Entity) -> Verdict:
    """A few may differ: a row that an older one was merged into counts what that had, which is not stored."""
    table, child, days = subject.table, subject.table_of(children), subject.unbroken_days(children)
    asked = (subject.warehouse, table, subject.entity, child, children, days)
    found = audits.miscounted(*asked)
    judged, differing = (sum(getattr(day, of) for day in found.values()) for of in ("judged", "differing"))
    amiss = [day for day, counted in found.items() if counted.differing > audits.tolerated(counted.judged)]
    passed = not amiss and differing <= audits.tolerated(judged)
    said = (
        f"Of {judged:,} {subject.entity.name} whose {children.name} should all be stored, "
        f"{differing:,} have another {children.counted_by} than there are."
    )
    numbers = {
        "judged": judged,
        "differing": differing,
        "notable_days": amiss[-MOST_NAMED:],
        "examples": [] if passed else audits.miscounted_parents(*asked),
        "judged_days": str(days),
    }
    return Verdict(passed, said, metadata=numbers)
