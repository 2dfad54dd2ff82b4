"""The asset `<account>/ticket_backlog`: rows of each day, which replace those of an earlier run."""

import warnings

import dagster as dg

from gorgias_assets.account import WAREHOUSE_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.days import read_before
from gorgias_assets.declared import GORGIAS
from gorgias_assets.io_managers.merging import MergingIOManager, without_vain_retries
from gorgias_assets.io_managers.slices import DayRows, labels_for
from gorgias_assets.metrics.declared import TICKET_BACKLOG
from gorgias_assets.metrics.ticket_backlog import COLUMNS, backlog_rows
from gorgias_assets.partitions import days_read, days_recorded, window_of

DESCRIPTION = (
    "One row per day and slice: the whole helpdesk, one channel, team, agent or tag.\n\n"
    "The work that came in on that day (UTC), and what was left at its end, exactly as far as the stored events reach. "
    "A ticket counts in the slices that it was in at the end of the day. Spam, trashed and deleted tickets count on no "
    "day that is materialized after that is known."
)


def build_ticket_backlog(account: Account, *, retry_policy: dg.RetryPolicy | None = None) -> dg.AssetsDefinition:
    """Return the asset `<account>/ticket_backlog`, downstream of the entities that it is made of."""
    entities = [entity for entity in account.entities if entity.name in TICKET_BACKLOG.reads]
    needed = [account.key_of(entity) for entity in entities if entity.name in TICKET_BACKLOG.needs]
    shown = dg.TableSchema([dg.TableColumn(name, str(kind), meaning) for name, (kind, meaning) in COLUMNS.items()])
    spec = account.spec_of(
        TICKET_BACKLOG.name,
        description=DESCRIPTION,
        kinds={GORGIAS, account.place.storage} if account.place else {GORGIAS},
        metadata={"partition_expr": "day", "dagster/column_schema": shown},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            deps=needed,  # an asset of events that the account lacks would skip this one
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=account.io_manager_key,
            required_resource_keys={account.io_manager_key},
            retry_policy=retry_policy,
            pool=account.named(WAREHOUSE_POOL),
        )
        def ticket_backlog(context: dg.AssetExecutionContext) -> DayRows:
            partitions, tags = account.partitions, context.run.tags
            days = days_read(partitions, context.partition_keys, tags)
            began = read_before(context.instance, needed, days_recorded(partitions, context.partition_keys, tags))
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            tables = {entity.name: account.table_of(entity.name, io_manager) for entity in entities}
            labels = labels_for(context.asset_key.to_user_string(), days)
            warehouse = io_manager.billed_to(context.run.run_id, context.get_step_execution_context().step.key, labels)
            with without_vain_retries():
                rows = backlog_rows(warehouse, tables, [window_of(partitions, day) for day in days])
            return DayRows(rows, days, began, {})

    return ticket_backlog
