"""The steps in which Dagster runs the checks: one per daily asset, and one for its events.

Those of whole lists are run by the step that reads them. A step of theirs would be skipped as soon as one list is.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from gorgias_assets.account import API_POOL, WAREHOUSE_POOL, Account
from gorgias_assets.checks.audits import Stored
from gorgias_assets.checks.reconciliation import MOST_DAYS, events_agree
from gorgias_assets.checks.verdicts import WARN, Check, CheckContext, NothingToCheck, Verdict, checks_of, fresh
from gorgias_assets.entities.model import Daily, Entity, Whole
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.partitions import days_recorded, window_of
from gorgias_assets.windows import Window

HOURS_TO_READ = timedelta(hours=6)  # a daily run, its retries, and its wait behind a backfill; an hour of summer time


def build_checks(account: Account, *, late_after: timedelta) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the daily assets that `build_assets` makes of the account; they need the same resources.

    A day is late if it was not read `late_after` its end.
    """
    return [
        _step(account, entity, "checks", checks_of(account, entity), WAREHOUSE_POOL, late_after)
        for entity in account.daily
    ] + [
        _step(account, entity, "events", [events_agree], API_POOL, late_after)
        for entity in account.by_date
        if entity.creation_event
    ]


def freshness_keys(account: Account) -> list[dg.AssetCheckKey]:
    return [dg.AssetCheckKey(account.key_of(entity), fresh.name) for entity in account.entities]


def evaluations(
    context: dg.AssetCheckExecutionContext | dg.AssetExecutionContext,
    account: Account,
    entity: Entity[Any],
    checks: Sequence[Check],
    late_after: timedelta,
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of an asset's checks that the run selects."""
    asset = account.key_of(entity)
    chosen = [check for check in checks if dg.AssetCheckKey(asset, check.name) in context.selected_asset_check_keys]
    if not chosen:
        return
    tables = _tables(context, account, asset)
    checked = CheckContext(
        account=account,
        entity=entity,
        tables=tables,
        connect=getattr(context.resources, account.name).client,
        instance=context.instance,
        days={} if isinstance(entity.read, Whole) else _days(context, account, entity),
        now=datetime.now(UTC),
        late_after=late_after,
    )
    judged = [(check, *_judged(check, checked)) for check in chosen]
    warehouse = tables[entity.name].warehouse
    for check, verdict, severity in judged:
        is_last = check is judged[-1][0]
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check.name,
            passed=verdict.passed,
            severity=severity,
            description=verdict.description,
            metadata={**verdict.metadata, **warehouse.bill(), **(warehouse.jobs_billed() if is_last else {})},
        )


def _step(
    account: Account, entity: Entity[Daily], step: str, checks: Sequence[Check], pool: str, late_after: timedelta
) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{account.op_of(entity)}_{step}",
        specs=[check.spec(account, entity) for check in checks],
        can_subset=True,
        required_resource_keys={account.io_manager_key, account.name},
        pool=account.named(pool),
    )
    def gorgias_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        yield from evaluations(context, account, entity, checks, late_after)

    return gorgias_checks


def _tables(
    context: dg.AssetCheckExecutionContext | dg.AssetExecutionContext, account: Account, asset: dg.AssetKey
) -> dict[str, Stored]:
    """Return the tables of the account by entity, in a warehouse with one bill for the step."""
    io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
    labels = {
        "asset": asset.to_user_string(),
        "check": context.op_execution_context.op_def.name,
        "dagster_run_id": context.run.run_id,
    }
    warehouse = io_manager.warehouse.billed_to(labels)
    return {one.name: Stored(warehouse, account.table_of(one.name, io_manager), one) for one in account.entities}


def _judged(check: Check, context: CheckContext) -> tuple[Verdict, dg.AssetCheckSeverity]:
    try:
        return check.judge(context), check.severity
    except NothingToCheck as reason:
        lack = context.lack
        return (Verdict(True, f"There is nothing to check. {lack}") if lack else Verdict(False, str(reason))), WARN


def _days(
    context: dg.AssetCheckExecutionContext | dg.AssetExecutionContext, account: Account, entity: Entity[Daily]
) -> dict[str, Window]:
    """Return the days that the run records, or the newest of the asset if checks are executed by themselves."""
    if context.has_partition_key or context.has_partition_key_range:
        keys = days_recorded(account.partitions, context.partition_keys, context.run.tags)
    else:
        keys = sorted(context.instance.get_materialized_partitions(account.key_of(entity)))[-MOST_DAYS:]
    return {key: window_of(account.partitions, key) for key in keys}
