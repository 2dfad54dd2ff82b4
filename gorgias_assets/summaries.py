"""The assets of metrics, and the overview that is made of these."""

from collections.abc import Callable, Collection, Mapping, Sequence

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.columns import ADDED_COLUMNS, Column
from gorgias_assets.declared import plain_schema
from gorgias_assets.io_managers.slices import DayRows, MergedRows
from gorgias_assets.metrics import ticket_backlog, ticket_metrics
from gorgias_assets.metrics.asset import Work, metric_asset
from gorgias_assets.metrics.declared import OVERVIEW, TICKET_BACKLOG, TICKET_METRICS
from gorgias_assets.metrics.model import Metric
from gorgias_assets.overview import measures
from gorgias_assets.overview.overview import measured_days
from gorgias_assets.overview.report import report_metadata


def build_summaries(
    account: Account,
    *,
    holidays: Collection[str] = (),
    fields: Sequence[str] = (),
    retry_policy: dg.RetryPolicy | None = None,
) -> list[dg.AssetsDefinition]:
    """Return an asset for each of the account's `metrics`, downstream of what it is made of.

    - `holidays`: days without business hours: dates, or `MM-DD` for a day of every year.
    - `fields`: ids or labels of custom fields of tickets; each has a column in `ticket_metrics`.

    The assets read through the IO manager under `account.io_manager_key`, which has to be one of this project's.
    """

    def of_tickets(work: Work) -> MergedRows:
        outdated = ticket_metrics.TicketMetrics(work.warehouse, work.tables, work.own, holidays, fields)
        return MergedRows(outdated.batches(), outdated.columns, TICKET_METRICS.grain, work.began)

    def of_backlog(work: Work) -> DayRows:
        rows = ticket_backlog.backlog_rows(work.warehouse, work.tables, work.windows)
        return DayRows(rows, work.days, work.began, {})

    def of_overview(work: Work) -> DayRows:
        rows, period, weeks = measured_days(work.warehouse, work.tables, work.own, work.window)
        return DayRows(rows, work.days, work.began, report_metadata(period, weeks, account.reports))

    rows: Mapping[Metric, Callable[[Work], DayRows | MergedRows]] = {
        TICKET_METRICS: of_tickets,
        TICKET_BACKLOG: of_backlog,
        OVERVIEW: of_overview,
    }
    return [
        metric_asset(account, metric, rows[metric], plain_schema(columns_of(metric, fields)), retry_policy)
        for metric in account.metrics
    ]


def columns_of(metric: Metric, fields: Sequence[str] = ()) -> Sequence[Column]:
    """Return the columns of a table of metrics, with those of the chosen custom fields."""
    if metric == TICKET_METRICS:
        return (*ticket_metrics.columns_of(fields), *ADDED_COLUMNS)
    return {TICKET_BACKLOG: ticket_backlog.COLUMNS, OVERVIEW: measures.COLUMNS}[metric]
