"""The asset `<account>/overview`: the measures of each day as rows, and the last weeks as a picture and a report."""

import warnings
from collections.abc import Mapping
from datetime import timedelta

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.account import OVERVIEW, WAREHOUSE_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.days import read_before
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.io_managers.merging import MergingIOManager, without_vain_retries
from gorgias_assets.io_managers.slices import DayRows, labels_for
from gorgias_assets.metrics.declared import TICKET_BACKLOG, TICKET_METRICS
from gorgias_assets.overview.facts import NEEDS, read_facts
from gorgias_assets.overview.measures import COLUMNS, overview_rows
from gorgias_assets.overview.period import Period
from gorgias_assets.overview.report import report_metadata
from gorgias_assets.overview.weeks import MOST, WEEK, Weeks, weeks_until
from gorgias_assets.partitions import days_read, days_recorded, window_of_days
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

PICTURED = timedelta(days=28)  # whole weeks, so that no weekday counts more than another
READ_AT_ONCE = MOST * WEEK  # 300,000 tickets, if there are 100,000 a month


def build_overview(
    account: Account,
    *,
    reports: str = "reports",
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.AssetsDefinition:
    """Return the asset `<account>/overview`, downstream of the metrics and the surveys, and partitioned as they are.

    `reports` is a folder, or a URL that fsspec can write to. The asset reads through the IO manager under
    `account.io_manager_key`, which has to be one of this project's.
    """
    keys = [account.key_of(made) for made in (TICKET_METRICS, TICKET_BACKLOG, SATISFACTION_SURVEYS)]
    spec = account.spec_of(
        OVERVIEW,
        description=DESCRIPTION,
        kinds={"pandas", "matplotlib"},
        metadata={"partition_expr": "day", "dagster/column_schema": COLUMNS},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            deps=keys,
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=account.io_manager_key,
            required_resource_keys={account.io_manager_key},
            retry_policy=retry_policy,
            pool=account.named(WAREHOUSE_POOL),
        )
        def overview(context: dg.AssetExecutionContext) -> DayRows:
            partitions, tags = account.partitions, context.run.tags
            days = days_read(partitions, context.partition_keys, tags)
            began = read_before(context.instance, keys, days_recorded(partitions, context.partition_keys, tags))
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            tables = {name: account.table_of(name, io_manager) for name in NEEDS}
            window, own = window_of_days(partitions, days), account.table_of(OVERVIEW, io_manager)
            labels = labels_for(context.asset_key.to_user_string(), days)
            warehouse = io_manager.billed_to(context.run.run_id, context.get_step_execution_context().step.key, labels)
            with without_vain_retries():
                rows, period, weeks = _measured(warehouse, tables, own, window)
            return DayRows(rows, days, began, report_metadata(period, weeks, reports))

    return overview


DESCRIPTION = (
    "One row per day and slice: the whole helpdesk, one channel, team or agent.\n\n"
    "The work of support on that day (UTC). Each measure counts on the day of its own event, and follows the state of "
    "the tables when the day was materialized. The newest day of a run has a picture of the four weeks that end with "
    "it, and a report of thirteen."
)


def _measured(
    warehouse: Warehouse, tables: Mapping[str, Table], own: Table, window: Window
) -> tuple[pa.Table, Period, Weeks]:
    """Return the window's rows, and the period and the weeks to show: days in the window or in the asset's `own` table.

    The other tables may hold only a part of any other day.
    """
    pictured, shown = Window(window.end - PICTURED, window.end), weeks_until(window.end)
    run_days, rows = _days(window), []
    for part in _parts(Window(min(window.start, shown.start), window.end)):
        facts, names = read_facts(warehouse, tables, part)
        rows.append(overview_rows(facts, names, run_days[run_days.isin(_days(part))]))
    known = run_days.append(_stored_days(warehouse, own, shown))
    period = Period.of(facts, names, _days(pictured), known)
    return pa.concat_tables(rows), period, Weeks.of(facts, names, _days(shown), known)


def _days(window: Window) -> pd.DatetimeIndex:
    return pd.date_range(window.start, window.end, freq="D", inclusive="left", unit="us")


def _parts(window: Window) -> list[Window]:
    """Cut the window into parts that fit into memory. The last part holds the days to show."""
    if window.end - window.start <= READ_AT_ONCE:
        return [window]
    cut = window.end - READ_AT_ONCE
    return [*_parts(Window(window.start, cut)), Window(cut, window.end)]


def _stored_days(warehouse: Warehouse, table: Table, window: Window) -> pd.DatetimeIndex:
    where = (Dimension(("day",), (window,)),)
    stored = warehouse.read(table, where, ["day"])["day"].to_pylist() if warehouse.counts(table, (), ()).rows else []
    return pd.DatetimeIndex(stored, tz="UTC").as_unit("us")
