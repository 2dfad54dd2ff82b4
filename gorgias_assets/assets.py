"""The assets: one per entity, each reading a window of days through the Gorgias resource."""

import warnings
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.metadata import column_schema
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.pools import API_POOL
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sweeps.sweep import Sweep

GROUP = "gorgias"


class SweepConfig(dg.Config):
    """How a run reads."""

    full: bool = Field(
        default=False,
        description="Read the whole list: refresh every row of the table, and find every one that is gone. It repairs "
        "what Gorgias does not show as a change, and costs a call per 100 rows of the account.",
    )
    look_back: bool = Field(
        default=True,
        description="Also read the messages and surveys that were created so long before the days that they may have "
        "changed in them. Without it a run of a day that is not over finds what is new, in fewer calls, and leaves "
        "late changes to another one.",
    )


def key_of(entity: Entity) -> dg.AssetKey:
    """The key of the entity's asset."""
    return dg.AssetKey([GROUP, entity.name])


def op_of(entity: Entity) -> str:
    """The name of the entity's step, as in a run's configuration."""
    return "__".join(key_of(entity).path)


def build_assets(
    start_date: str = "2024-01-01",
    *,
    entities: Sequence[Entity] = ENTITIES,
    io_manager_key: str = "io_manager",
    retry_policy: dg.RetryPolicy | None = None,
    pool: str | None = API_POOL,
) -> list[dg.AssetsDefinition]:
    """The assets `gorgias/<entity>`, partitioned by UTC day from `start_date` (`YYYY-MM-DD`).

    `retry_policy` is for outages and for step processes that crash: another attempt goes on where the last one stopped.
    `pool` bounds how many of them run at once where the instance sets a limit; reading needs none, it paces itself.
    They need a `GorgiasResource` under the key `gorgias`, and under `io_manager_key` one of this project's IO managers.
    """
    partitions = daily_partitions(start_date)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it
        return [_build_asset(entity, partitions, io_manager_key, retry_policy, pool) for entity in entities]


def _build_asset(
    entity: Entity,
    partitions: dg.DailyPartitionsDefinition,
    io_manager_key: str,
    retry_policy: dg.RetryPolicy | None,
    pool: str | None,
) -> dg.AssetsDefinition:
    @dg.asset(
        key=key_of(entity),
        group_name=GROUP,
        description=_description(entity),
        kinds={"gorgias"},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key=io_manager_key,
        retry_policy=retry_policy,
        pool=pool,
        metadata={
            "partition_expr": list(entity.touch_fields),
            "dagster/column_schema": column_schema(entity.columns),
        },
    )
    def gorgias_asset(context: dg.AssetExecutionContext, config: SweepConfig, gorgias: GorgiasResource) -> Sweep:
        window = context.partition_time_window
        return gorgias.sweep(entity, window.start, window.end, full=config.full, look_back=config.look_back)

    return gorgias_asset


def _description(entity: Entity) -> str:
    touches = ", ".join(f"`{name}`" for name in entity.touch_fields)
    return (
        f"{entity.grain}\n\n"
        "A partition is every row that something happened to on that day (UTC), in its newest state: any of "
        f"{touches} lies in the day. The table holds one row per `id`, the newest state ever read."
    )
