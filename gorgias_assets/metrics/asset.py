"""Assets that are made of an account's tables alone. They call no API."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from gorgias_assets.account import WAREHOUSE_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.days import read_before
from gorgias_assets.declared import GORGIAS
from gorgias_assets.io_managers.merging import MergingIOManager, without_vain_retries
from gorgias_assets.io_managers.slices import DayRows, MergedRows, labels_for
from gorgias_assets.metrics.model import Metric
from gorgias_assets.partitions import days_read, days_recorded, window_of
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window


@dataclass(frozen=True)
class Work:
    """The means by which a run computes rows.

    - `tables`: those that the account has among the tables that the metric reads, by name.
    - `own`: the metric's table, which need not exist.
    - `days`, `windows`: the days to compute, oldest first; `window`: from the first to the last of them.
    - `began`: the metadata of each day that the run records.
    """

    warehouse: Warehouse
    tables: Mapping[str, Table]
    own: Table
    days: Sequence[str]
    windows: Sequence[Window]
    began: Mapping[str, Mapping[str, Any]]

    @property
    def window(self) -> Window:
        return Window(self.windows[0].start, self.windows[-1].end)


def metric_asset(
    account: Account,
    metric: Metric,
    rows: Callable[[Work], DayRows | MergedRows],
    columns: dg.TableSchema,
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.AssetsDefinition:
    """Return the asset `<account>/<metric>`, downstream of the tables that it needs, of the rows that `rows` returns.

    It reads through the IO manager under `account.io_manager_key`, which has to be one of this project's.
    """
    read = [one for one in account.declarations if one.name in metric.reads]
    # Not of what it only uses: an asset that the account lacks would skip this one.
    needed = [account.key_of(one) for one in read if one.name in metric.needs]
    spec = account.spec_of(
        metric.name,
        description=metric.grain,
        kinds={GORGIAS, account.place.storage} if account.place else {GORGIAS},
        metadata={"partition_expr": metric.day, "dagster/column_schema": columns},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            deps=needed,
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=account.io_manager_key,
            required_resource_keys={account.io_manager_key},
            retry_policy=retry_policy,
            pool=account.named(WAREHOUSE_POOL),
        )
        def compute(context: dg.AssetExecutionContext) -> Any:
            partitions, tags = account.partitions, context.run.tags
            days = days_read(partitions, context.partition_keys, tags)
            recorded = days_recorded(partitions, context.partition_keys, tags)
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            labels = labels_for(context.asset_key.to_user_string(), days)
            work = Work(
                io_manager.billed_to(context.run.run_id, context.get_step_execution_context().step.key, labels),
                {one.name: account.table_of(one.name, io_manager) for one in read},
                account.table_of(metric.name, io_manager),
                days,
                [window_of(partitions, day) for day in days],
                read_before(context.instance, needed, recorded),
            )
            with without_vain_retries():
                return rows(work)

    return compute
