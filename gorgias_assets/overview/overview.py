"""The measures of days as rows, and the last weeks to picture and to report."""

from collections.abc import Mapping
from datetime import timedelta

import pandas as pd
import pyarrow as pa

from gorgias_assets.overview.facts import read_facts
from gorgias_assets.overview.measures import overview_rows
from gorgias_assets.overview.period import Period
from gorgias_assets.overview.weeks import MOST, WEEK, Weeks, weeks_until
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

PICTURED = timedelta(days=28)  # whole weeks, so that no weekday counts more than another
READ_AT_ONCE = MOST * WEEK  # 300,000 tickets, if there are 100,000 a month


def measured_days(
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
