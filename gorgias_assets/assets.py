"""The assets: one per entity. Each reads its list through the Gorgias resource, a window of days or the whole."""

import warnings
from typing import Any

import dagster as dg
from pydantic import Field

from gorgias_assets.account import Account
from gorgias_assets.declared import GORGIAS, code_version, column_schema, kinds, of_definition
from gorgias_assets.entities.model import ByDate, Entity, Whole
from gorgias_assets.metadata import of_days
from gorgias_assets.partitions import days_read, window_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sweeps.snapshot import Snapshot
from gorgias_assets.sweeps.sweep import Sweep

# Pools, after the account's name: an instance may limit how many of their steps run at once (deploy/dagster.yaml).
API_POOL = "api"  # steps that call Gorgias, which paces itself
WAREHOUSE_POOL = "warehouse"  # steps that only work on the database

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


def build_assets(account: Account, *, retry_policy: dg.RetryPolicy | None = None) -> list[dg.AssetsDefinition]:
    """Return the assets `<account>/<entity>`: by UTC day for entities read by date, unpartitioned for whole lists.

    They need a `GorgiasResource` under the account's name, and one of this project's IO managers under
    `account.io_manager_key`. `retry_policy` is for outages and for step processes that crash: another attempt resumes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it
        return [_build_asset(account, entity, retry_policy) for entity in account.entities]


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
    owned = account.owned_by(entity)
    spec = account.spec_of(
        entity.name,
        description=_description(entity),
        kinds=kinds(account.place.storage) if account.place else {GORGIAS},
        metadata=_metadata(account, entity),
        code_version=code_version(entity),
    )
    options: dict[str, Any] = {
        **attributes_of(spec),
        "io_manager_key": account.io_manager_key,
        "required_resource_keys": {account.name},
        "retry_policy": retry_policy,
        "pool": account.named(API_POOL),
    }

    if isinstance(entity.read, Whole):

        @dg.asset(**options)
        def whole_list(context: dg.AssetExecutionContext, config: LoadConfig) -> Snapshot:
            return _resource(context, account).snapshot(
                entity,
                owned=owned,
                account_changed=config.account_changed,
                believe_absence=config.believe_absence,
            )

        return whole_list

    @dg.asset(
        **options,
        partitions_def=account.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def days(context: dg.AssetExecutionContext, config: SweepConfig) -> Sweep:
        gorgias = _resource(context, account)
        window = window_of_days(
            account.partitions, days_read(account.partitions, context.partition_keys, context.run.tags)
        )
        gorgias.check_names(account.by_date)
        return gorgias.sweep(
            entity,
            window.start,
            window.end,
            full=config.full,
            look_back=config.look_back,
            owned=owned,
            account_changed=config.account_changed,
            believe_absence=config.believe_absence,
        )

    return days


def _metadata(account: Account, entity: Entity[Any]) -> dict[str, Any]:
    days = of_days(entity.read) if isinstance(entity.read, ByDate) else {}
    if account.place is None:
        return days | {"dagster/column_schema": column_schema(entity.columns)}
    table = account.table_of(entity.name, account.place)
    return days | of_definition(entity, str(table), account.place.storage)


def _resource(context: dg.AssetExecutionContext, account: Account) -> GorgiasResource:
    gorgias: GorgiasResource = getattr(context.resources, account.name)
    return gorgias


def _description(entity: Entity[Any]) -> str:
    if not isinstance(entity.read, ByDate):
        return f"{entity.grain}\n\nThe table holds one row per `id`. Each run reads the whole list."
    touches = ", ".join(f"`{name}`" for name in entity.read.touch_fields)
    return (
        f"{entity.grain}\n\n"
        "A partition is every row that something happened to on that day (UTC), in its newest state: any of "
        f"{touches} lies in the day. The table holds one row per `id`, the newest state ever read."
    )
