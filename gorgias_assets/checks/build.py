"""Which checks each asset has, what they mean, and how Dagster runs them: one step an asset, and one for its events.

They follow from the declarations of the entities. What they conclude is in `verdicts` and `reconciliation`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from gorgias_assets.assets import key_of, op_of
from gorgias_assets.checks import verdicts
from gorgias_assets.checks.reconciliation import MOST_DAYS, events_agree
from gorgias_assets.checks.verdicts import NotThere, Subject, Verdict
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.pools import API_POOL, WAREHOUSE_POOL
from gorgias_assets.windows import Window

HOURS_TO_READ = timedelta(hours=6)  # a daily run, its retries, and its wait behind a backfill; an hour of summer time
LATE_AFTER = timedelta(minutes=30) + HOURS_TO_READ


@dataclass(frozen=True)
class Check:
    """What a check says when it passes, what to do when it fails, and which other entities' tables it looks at."""

    name: str
    says: str
    advice: str
    judge: Callable[[Subject], Verdict]
    beside: Sequence[Entity] = ()

    @property
    def description(self) -> str:
        return f"{self.says}\n\nWhen it fails: {self.advice}"


IDS_UNIQUE = Check(
    "ids_unique",
    "Every row has an id, and no two rows have the same.",
    "Something else writes to the table. In BigQuery, two runs at the same time may have added a row each: materialise "
    "any day again, which leaves one row of each id.",
    verdicts.ids_unique,
)
TOUCHES_IN_ORDER = Check(
    "touches_in_order",
    "No row was touched before it was created, by more than its entity declares, or after it was read.",
    "Rows that are touched earlier can be missing from the partition of that day: raise `look_ahead` in the entity's "
    "declaration, and run a full sweep. A touch in the future is that of a wrong clock, here or where it was imported "
    "from.",
    verdicts.touches_in_order,
)
SWEEP_COMPLETE = Check(
    "sweep_complete",
    "The newest materialisation of each of the run's days shows that the list was in order, and was read as far down "
    "as it had to be.",
    "Materialise the days that it names again.",
    verdicts.sweep_complete,
)
FIELDS_KNOWN = Check(
    "fields_known",
    "Gorgias sends no field that is not declared, and no value that does not fit its column.",
    "Nothing is lost, for it is kept in `_extra`. Declare the field, or correct its column, in entities.py; a full "
    "sweep fills it for all rows.",
    verdicts.fields_known,
)
IS_FRESH = Check(
    "fresh",
    "The newest day that has to be there was read after it had ended, however new other days are.",
    "See why the daily run has failed, or has not started, and materialise the day.",
    verdicts.fresh,
)
EVENTS_AGREE = Check(
    "events_agree",
    f"On each of the run's days, the newest {MOST_DAYS} at most, the rows that Gorgias's events say were created are "
    "those in the table, but for a few.",
    "Materialise the days that it names again. What still differs was deleted before it was read, or was imported: its "
    "event is of the day of the import, and its creation lies before; a full sweep reads such rows.",
    events_agree,
)


def build_checks(
    start_date: str = "2024-01-01",
    *,
    entities: Sequence[Entity] = ENTITIES,
    io_manager_key: str = "io_manager",
    late_after: timedelta = LATE_AFTER,
) -> list[dg.AssetChecksDefinition]:
    """The checks of the assets that `build_assets` makes of the same arguments; they need the same resources.

    A day is late if it has not been materialised when it has been over for `late_after`.
    """
    partitions = daily_partitions(start_date)

    def subject(entity: Entity, context: dg.AssetCheckExecutionContext) -> Subject:
        io_manager: MergingIOManager = getattr(context.resources, io_manager_key)
        assets = {other.name: key_of(other) for other in entities}
        return Subject(
            entity=entity,
            tables={name: io_manager.table_of(asset) for name, asset in assets.items()},
            assets=assets,
            warehouse=io_manager.warehouse.billed_to(
                {"asset": key_of(entity).to_user_string(), "check": context.op_def.name}
                | {"dagster_run_id": context.run.run_id}
            ),
            connect=context.resources.gorgias.client,
            instance=context.instance,
            partitions=partitions,
            days=_days(context, partitions, key_of(entity)),
            now=datetime.now(UTC),
            late_after=late_after,
        )

    resources = {io_manager_key, "gorgias"}
    steps = [
        _step("checks", entity, table_checks(entity, entities), subject, resources, WAREHOUSE_POOL)
        for entity in entities
    ]
    return steps + [
        _step("events", entity, [EVENTS_AGREE], subject, resources, API_POOL)
        for entity in entities
        if entity.creation_event
    ]


def table_checks(entity: Entity, entities: Sequence[Entity] = ENTITIES) -> list[Check]:
    """Those that look at tables and materialisations, and ask nothing of Gorgias."""
    checks = [IDS_UNIQUE, TOUCHES_IN_ORDER, SWEEP_COMPLETE, FIELDS_KNOWN, IS_FRESH]
    parent_name, field = entity.goes_with or entity.outlives or ("", "")
    checks += [_parents_exist(parent, field) for parent in entities if parent.name == parent_name]
    return checks + [
        _counts_agree(other)
        for other in entities
        if other.counted_by and other.goes_with and other.goes_with[0] == entity.name
    ]


def freshness_keys(entities: Sequence[Entity] = ENTITIES) -> list[dg.AssetCheckKey]:
    return [dg.AssetCheckKey(key_of(entity), IS_FRESH.name) for entity in entities]


def _parents_exist(parent: Entity, field: str) -> Check:
    return Check(
        f"{parent.name}_exist",
        f"Every living row's `{field}` is stored in {parent.name}, if it is of the days that are stored there.",
        f"Materialise the days of {parent.name} again. Living messages of a deleted ticket have not been seen to go "
        "with it: run a full sweep. A survey may outlive its ticket, and a few may be of one that was never read.",
        partial(verdicts.parents_exist, parent=parent, field=field),
        beside=[parent],
    )


def _counts_agree(children: Entity) -> Check:
    return Check(
        f"{children.counted_by}_agrees",
        f"Every row's `{children.counted_by}` is the number of its living {children.name}, if all of them should be "
        "stored, but for a few.",
        f"Materialise the days of {children.name} again on which the rows that it names were created and changed. "
        "Where many were deleted by themselves, Gorgias shows that in no list: a full sweep repairs the counts.",
        partial(verdicts.counts_agree, children=children),
        beside=[children],
    )


def _step(
    what: str,
    entity: Entity,
    checks: Sequence[Check],
    subject_of: Callable[[Entity, dg.AssetCheckExecutionContext], Subject],
    resources: set[str],
    pool: str,
) -> dg.AssetChecksDefinition:
    asset = key_of(entity)
    by_key = {dg.AssetCheckKey(asset, check.name): check for check in checks}

    @dg.multi_asset_check(
        name=f"{op_of(entity)}_{what}",
        specs=[
            dg.AssetCheckSpec(
                check.name, asset=asset, description=check.description, additional_deps=map(key_of, check.beside)
            )
            for check in checks
        ],
        can_subset=True,
        required_resource_keys=resources,
        pool=pool,
    )
    def gorgias_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        subject = subject_of(entity, context)
        selected = [check for key, check in by_key.items() if key in context.selected_asset_check_keys]
        judged = [(check.name, _judged(check, subject)) for check in selected]
        for name, verdict in judged:
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=name,
                passed=verdict.passed,
                severity=verdict.severity,
                description=verdict.description,
                metadata={**verdict.metadata, **subject.warehouse.bill()},
            )

    return gorgias_checks


def _judged(check: Check, subject: Subject) -> Verdict:
    try:
        return check.judge(subject)
    except NotThere as reason:
        return Verdict(False, str(reason))


def _days(
    context: dg.AssetCheckExecutionContext, partitions: dg.DailyPartitionsDefinition, asset: dg.AssetKey
) -> dict[str, Window]:
    """The run's partitions; where it has none, as when checks are executed by themselves, the newest that are there."""
    if context.has_partition_key or context.has_partition_key_range:
        keys = context.partition_keys
    else:
        keys = sorted(context.instance.get_materialized_partitions(asset))[-MOST_DAYS:]
    return {key: Window.of(*partitions.time_window_for_partition_key(key)) for key in keys}
