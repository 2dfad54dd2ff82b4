"""The assets: one per entity. Each reads its list through the Gorgias resource, days of it or the whole.

A daily entity has a step of its own. The lists that are read whole are one step: each takes a call or two.
"""

import warnings
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from gorgias_assets.account import API_POOL, Account
from gorgias_assets.api.client import GorgiasError, Rejected, Unavailable
from gorgias_assets.api.events import EVENTS_PATH
from gorgias_assets.availability import note_lack
from gorgias_assets.checks.build import evaluations
from gorgias_assets.checks.verdicts import checks_of
from gorgias_assets.declared import GORGIAS, code_version, column_schema, kinds, of_definition
from gorgias_assets.entities.model import ByDate, ByFilter, Entity, Whole
from gorgias_assets.metadata import NOT_READ, of_days
from gorgias_assets.partitions import days_read, days_recorded, window_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.filtered import Filtered
from gorgias_assets.sweeps.snapshot import Snapshot

_PRIORITY = "dagster/priority"  # of a step among those that are ready: events first, since others use them
_KIND = "dagster/kind/"  # before the kinds that a specification keeps among its tags


class LoadConfig(dg.Config):
    """Exceptions that a run may make for its table, on purpose."""

    account_changed: bool = Field(
        default=False,
        description="Go on with tables that hold the rows of a Gorgias account of another name, once it was renamed.",
    )
    believe_absence: bool = Field(
        default=False,
        description="Look up, and mark as deleted, the rows that the run does not find, even if they are unusually "
        "many.",
    )
    rewrite: bool = Field(
        default=False,
        description="Once all is read, let what was stored under another privacy policy pass this one. The full sweep "
        "does.",
    )


class SweepConfig(LoadConfig):
    """The way a run reads."""

    full: bool = Field(
        default=False,
        description="Read the whole list: refresh every row of the table, and find every row that is gone. It repairs "
        "what Gorgias does not show as a change, and costs a call per 100 rows of the account.",
    )
    look_back: bool = Field(
        default=True,
        description="Also read the messages and surveys created so long before the days that they may have changed in "
        "them, and look for rows that are gone. Without it, a run of a day that is not over finds what is new in fewer "
        "calls and statements, counts no rows, and leaves the rest to another run.",
    )


def build_assets(
    account: Account, *, retry_policy: dg.RetryPolicy | None = None, late_after: timedelta | None = None
) -> list[dg.AssetsDefinition]:
    """Return the assets `<account>/<entity>`: by UTC day for daily entities, unpartitioned for whole lists.

    They need a `GorgiasResource` under the account's name, and one of this project's IO managers under
    `account.io_manager_key`. `retry_policy` is for outages and for step processes that crash: another attempt resumes.

    With `late_after`, whole lists have their checks, which their step evaluates once a list is stored. `build_checks`
    returns those of the other assets.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it
        made = [_build_asset(account, entity, retry_policy) for entity in account.daily]
    return [*made, _build_lists(account, retry_policy, late_after)] if account.whole else made


def attributes_of(spec: dg.AssetSpec) -> dict[str, Any]:
    """Return a specification as the arguments of `dg.asset`."""
    return {
        "key": spec.key,
        "group_name": spec.group_name,
        "description": spec.description,
        "owners": spec.owners,
        "tags": {name: value for name, value in spec.tags.items() if not name.startswith(_KIND)},
        "kinds": spec.kinds,
        "metadata": spec.metadata,
        "code_version": spec.code_version,
        "automation_condition": spec.automation_condition,
        "freshness_policy": spec.freshness_policy,
    }


def _build_asset(account: Account, entity: Entity[Any], retry_policy: dg.RetryPolicy | None) -> dg.AssetsDefinition:
    """Return the asset of a daily entity."""
    options: dict[str, Any] = {
        **attributes_of(_spec(account, entity)),
        **_of_step(account, retry_policy),
        "required_resource_keys": {account.name},
        "io_manager_key": account.io_manager_key,
        "output_required": not (entity.is_optional or isinstance(entity.read, ByFilter)),
        "partitions_def": account.partitions,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "op_tags": {_PRIORITY: "1"} if entity.path == EVENTS_PATH else {},
    }
    owned, views = account.owned_by(entity), account.views_of(entity)

    if isinstance(entity.read, ByDate):

        @dg.asset(**options)
        def swept(context: dg.AssetExecutionContext, config: SweepConfig) -> Iterator[dg.Output[Reader[Any]]]:
            gorgias = _resource(context, account)
            window = window_of_days(
                account.partitions, days_read(account.partitions, context.partition_keys, context.run.tags)
            )
            gorgias.check_names(account.by_date)
            sweep = gorgias.sweep(
                entity,
                window.start,
                window.end,
                full=config.full,
                look_back=config.look_back,
                owned=owned,
                events=account.events_table,
                account_changed=config.account_changed,
                believe_absence=config.believe_absence,
                rewrite=config.rewrite,
            )
            yield from _output(context, sweep.keeping(views))

        return swept

    @dg.asset(**options)
    def created(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[dg.Output[Reader[Any]]]:
        gorgias = _resource(context, account)
        exceptions: dict[str, Any] = {
            "account_changed": config.account_changed,
            "believe_absence": config.believe_absence,
            "rewrite": config.rewrite,
        }
        if isinstance(entity.read, ByFilter):  # its rows never change: days that the run does not record are left out
            days = days_recorded(account.partitions, context.partition_keys, context.run.tags)
            window = window_of_days(account.partitions, days)
            reader: Reader[Any] = gorgias.filtered(
                entity, window.start, window.end, types=account.event_types, owned=owned, **exceptions
            )
        else:
            days = days_read(account.partitions, context.partition_keys, context.run.tags)
            window = window_of_days(account.partitions, days)
            reader = gorgias.unordered(entity, window.start, window.end, owned=owned, **exceptions)
        yield from _output(context, reader.keeping(views))

    return created


def _output(context: dg.AssetExecutionContext, reader: Reader[Any]) -> Iterator[dg.Output[Reader[Any]]]:
    """Yield the reader; nothing if the account lacks its list, or Gorgias keeps nothing of its window."""
    asset = context.asset_key
    try:
        why = reader.peek() if reader.entity.is_optional or isinstance(reader, Filtered) else None
    except Rejected as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    if why and why == reader.remark:
        context.log.warning(f"{asset.to_user_string()}: {why}")
        context.log_event(dg.AssetObservation(asset, description=why, partition=max(context.partition_keys)))
    elif why:
        note_lack(context, asset, why, max(context.partition_keys))
    else:
        if reader.remark and reader.window:
            first = str(reader.window.start.date())
            for key in [key for key in context.partition_keys if key < first]:  # Dagster records them with the others
                context.add_asset_metadata({NOT_READ: reader.remark}, partition_key=key)
        yield dg.Output(reader)


def _build_lists(
    account: Account, retry_policy: dg.RetryPolicy | None, late_after: timedelta | None
) -> dg.AssetsDefinition:
    """Return the lists that are read whole: one step, which reads those that a run selects.

    Each list is in memory before it is stored. One that cannot be read leaves the others alone.
    """
    has_checks = late_after is not None
    checks = {entity.name: checks_of(account, entity) if has_checks else [] for entity in account.whole}

    @dg.multi_asset(
        name=account.named("reference"),
        outs={
            account.output_of(entity): dg.AssetOut.from_spec(
                _spec(account, entity), is_required=False, io_manager_key=account.io_manager_key
            )
            for entity in account.whole
        },
        check_specs=[check.spec(account, entity) for entity in account.whole for check in checks[entity.name]],
        can_subset=True,
        required_resource_keys={account.name, account.io_manager_key},
        **_of_step(account, retry_policy),
    )
    def lists(
        context: dg.AssetExecutionContext, config: LoadConfig
    ) -> Iterator[dg.Output[Snapshot] | dg.AssetCheckResult]:
        gorgias, failed = _resource(context, account), dict[str, GorgiasError]()
        stored = _stored_before(context)
        for entity in [one for one in account.whole if account.key_of(one) not in stored]:
            asset = account.key_of(entity)
            if asset in context.selected_asset_keys:
                snapshot = gorgias.snapshot(
                    entity,
                    owned=account.owned_by(entity),
                    account_changed=config.account_changed,
                    believe_absence=config.believe_absence,
                    rewrite=config.rewrite,
                )
                try:
                    is_there = _fetch(context, asset, snapshot)
                except GorgiasError as error:
                    failed[entity.name] = error
                    if isinstance(error, Unavailable) and gorgias.outage():
                        break
                    continue
                if not is_there:
                    continue
                yield dg.Output(snapshot.keeping(account.views_of(entity)), account.output_of(entity))
            yield from evaluations(context, account, entity, checks[entity.name], late_after or timedelta())
        if failed:
            raise _failure(failed)

    return lists


def _fetch(context: dg.AssetExecutionContext, asset: dg.AssetKey, snapshot: Snapshot) -> bool:
    """Read a list into memory; return False if the account lacks it. Raises the client's errors."""
    why = snapshot.peek() if snapshot.entity.is_optional else None
    if why:
        note_lack(context, asset, why)
        return False
    snapshot.fetch()
    return True


def _stored_before(context: dg.AssetExecutionContext) -> set[dg.AssetKey]:
    """Return the lists that an earlier attempt of the step has stored."""
    if not context.op_execution_context.retry_number:
        return set()
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    events = [entry.get_dagster_event() for entry in context.instance.all_logs(context.run.run_id, of_type=kind)]
    return {event.asset_key for event in events if event.asset_key}


def _failure(failed: Mapping[str, GorgiasError]) -> dg.Failure:
    """Return the failure of a step that could not read these lists. Another attempt is worth it unless all refused."""
    reasons = {name: error.reason if isinstance(error, Unavailable) else str(error) for name, error in failed.items()}
    named = "; ".join(f"{name} ({reason.rstrip('.')})" for name, reason in reasons.items())
    return dg.Failure(
        f"Not read: {named}.", allow_retries=not all(isinstance(error, Rejected) for error in failed.values())
    )


def _of_step(account: Account, retry_policy: dg.RetryPolicy | None) -> dict[str, Any]:
    return {"retry_policy": retry_policy, "pool": account.named(API_POOL)}


def _spec(account: Account, entity: Entity[Any]) -> dg.AssetSpec:
    return account.spec_of(
        entity.name,
        description=_description(entity),
        kinds=kinds(account.place.storage) if account.place else {GORGIAS},
        metadata=_metadata(account, entity),
        code_version=code_version(entity),
    )


def _metadata(account: Account, entity: Entity[Any]) -> dict[str, Any]:
    days = {} if isinstance(entity.read, Whole) else of_days(entity.read)
    if account.place is None:
        return days | {"dagster/column_schema": column_schema(entity.columns)}
    table = account.table_of(entity.name, account.place)
    return days | of_definition(entity, str(table), account.place.storage)


def _resource(context: dg.AssetExecutionContext, account: Account) -> GorgiasResource:
    gorgias: GorgiasResource = getattr(context.resources, account.name)
    return gorgias


def _description(entity: Entity[Any]) -> str:
    match entity.read:
        case Whole():
            way = "The table holds one row per `id`. Each run reads the whole list."
        case ByDate(touch_fields=fields):
            touches = ", ".join(f"`{name}`" for name in fields)
            way = (
                "A partition is every row that something happened to on that day (UTC), in its newest state: any of "
                f"{touches} lies in the day. The table holds one row per `id`, the newest state ever read."
            )
        case read:
            way = (
                f"A partition is every row whose `{read.field}` lies in that day (UTC). The table holds one row per "
                "`id`, and keeps those that Gorgias no longer lists."
            )
    return f"{entity.grain}\n\n{way}"
