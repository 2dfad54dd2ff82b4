"""The asset `gorgias/overview`: the measures of each day as rows, and the last weeks as a picture and a report."""

import warnings
from datetime import UTC, datetime, timedelta
from typing import cast

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.account import Account
from gorgias_assets.assets import WAREHOUSE_POOL
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.overview.facts import read_facts
from gorgias_assets.overview.measures import COLUMNS, overview_rows
from gorgias_assets.overview.period import Period
from gorgias_assets.overview.report import report_metadata
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

NEEDS = ("tickets", "ticket_messages", "satisfaction_surveys")
PICTURED = timedelta(days=28)  # whole weeks, so that no weekday counts more than another
READ_AT_ONCE = 3 * PICTURED  # 300,000 tickets, where there are 100,000 a month


def build_overview(
    account: Account,
    *,
    reports: str = "reports",
    retry_policy: dg.RetryPolicy | None = None,
    pool: str | None = WAREHOUSE_POOL,
) -> dg.AssetsDefinition:
    """The asset `gorgias/overview`, downstream of all entities and partitioned as they are.

    `reports` is where its reports go: a folder, or a URL of one that fsspec can write to. Under `io_manager_key` it
    needs one of this project's IO managers, which it also reads through.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it
        return _build_overview(account, reports, retry_policy, pool)


def _build_overview(
    account: Account,
    reports: str,
    retry_policy: dg.RetryPolicy | None,
    pool: str | None,
) -> dg.AssetsDefinition:
    @dg.asset(
        key=account.overview_key,
        group_name=account.name,
        description=DESCRIPTION,
        kinds={"pandas", "matplotlib"},
        deps=[account.key_of(entity) for entity in account.by_date],
        partitions_def=account.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key=account.io_manager_key,
        required_resource_keys={account.io_manager_key},
        retry_policy=retry_policy,
        pool=pool,
        metadata={"partition_expr": "day", "dagster/column_schema": COLUMNS},
    )
    def overview(context: dg.AssetExecutionContext) -> pa.Table:
        context.add_output_metadata({"began_at": dg.MetadataValue.timestamp(datetime.now(UTC))})
        io_manager = cast(MergingIOManager, getattr(context.resources, account.io_manager_key))
        warehouse, window = io_manager.warehouse, Window.of(*context.partition_time_window)
        pictured = Window(window.end - PICTURED, window.end)
        run_days, rows = _days(window), []
        for part in _parts(Window(min(window.start, pictured.start), window.end)):
            facts, names = read_facts(warehouse, lambda entity: io_manager.table_of(account.key_of(entity)), part)
            rows.append(overview_rows(facts, names, run_days[run_days.isin(_days(part))]))
        stored = _stored_days(warehouse, io_manager.table_of(context.asset_key), pictured)
        period = Period.of(facts, names, _days(pictured), known=stored.append(run_days))
        context.add_asset_metadata(report_metadata(period, reports), partition_key=max(context.partition_keys))
        return pa.concat_tables(rows)

    return overview


DESCRIPTION = (
    "One row per day and slice: all of the helpdesk, one channel, or one agent.\n\n"
    "What support did on that day (UTC), each measure on the day of its own event, and by the state of the tables when "
    "the day was materialised. With the newest day of a run comes a picture of the four weeks up to it, and a report."
)


def _days(window: Window) -> pd.DatetimeIndex:
    return pd.date_range(window.start, window.end, freq="D", inclusive="left", unit="us")


def _parts(window: Window) -> list[Window]:
    """The window in pieces that fit into memory, of which the last one holds what is pictured."""
    if window.end - window.start <= READ_AT_ONCE:
        return [window]
    cut = window.end - READ_AT_ONCE
    return [*_parts(Window(window.start, cut)), Window(cut, window.end)]


def _stored_days(warehouse: Warehouse, table: Table, window: Window) -> pd.DatetimeIndex:
    """The days of which the overview has rows: of others, what the tables hold may be a part."""
    where = (Dimension(("day",), (window,)),)
    stored = warehouse.read(table, where, ["day"])["day"].to_pylist() if warehouse.counts(table, (), ()).rows else []
    return pd.DatetimeIndex(stored, tz="UTC").as_unit("us")
