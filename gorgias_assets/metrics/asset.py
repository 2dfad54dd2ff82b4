"""The asset `<account>/ticket_metrics`: a run computes the rows that are outdated, whatever its days are."""

import warnings
from collections.abc import Collection, Sequence

import dagster as dg

from gorgias_assets.account import WAREHOUSE_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.days import read_before
from gorgias_assets.declared import GORGIAS, column_schema
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.slices import MergedRows, labels_for
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.metrics.ticket_metrics import GRAIN, TicketMetrics, columns_of
from gorgias_assets.partitions import days_recorded

DESCRIPTION = (
    f"{GRAIN}\n\n"
    "Each run computes the rows of all tickets of which anything was read since, no matter on which day, and merges "
    "them by `id`. A partition is the tickets created on that day (UTC)."
)


def build_ticket_metrics(
    account: Account,
    *,
    holidays: Collection[str] = (),
    fields: Sequence[str] = (),
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.AssetsDefinition:
    """Return the asset `<account>/ticket_metrics`, downstream of the entities that it is made of."""
    read = [entity for entity in account.entities if entity.name in TICKET_METRICS.reads]
    needed = [account.key_of(entity) for entity in read if entity.name in TICKET_METRICS.needs]
    columns = columns_of(fields)
    spec = account.spec_of(
        TICKET_METRICS.name,
        description=DESCRIPTION,
        kinds={GORGIAS, account.place.storage} if account.place else {GORGIAS},
        metadata={"partition_expr": "created_datetime", "dagster/column_schema": column_schema(columns)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            deps=needed,  # one that the account lacks would skip this one; what is used alone is read as it is
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=account.io_manager_key,
            required_resource_keys={account.io_manager_key},
            retry_policy=retry_policy,
            pool=account.named(WAREHOUSE_POOL),
        )
        def ticket_metrics(context: dg.AssetExecutionContext) -> MergedRows:
            days = days_recorded(account.partitions, context.partition_keys, context.run.tags)
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            labels = labels_for(context.asset_key.to_user_string(), days)
            warehouse = io_manager.billed_to(context.run.run_id, context.get_step_execution_context().step.key, labels)
            tables = {entity.name: account.table_of(entity.name, io_manager) for entity in read}
            own = account.table_of(TICKET_METRICS.name, io_manager)
            outdated = TicketMetrics(warehouse, tables, own, holidays, fields)
            began = read_before(context.instance, needed, days)
            return MergedRows(outdated.batches(), columns, GRAIN, began)

    return ticket_metrics
