"""The asset `<account>/ticket_statistics`: Gorgias's own times of each ticket, and how it kept its promises.

Gorgias shows a ticket's times on the day of its first answer and of its closing, and the others by day of creation. So
a run knows a part of a ticket, and keeps what the table has of the rest.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from gorgias_assets.account import API_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.availability import note_lack
from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column, Kind
from gorgias_assets.declared import column_schema
from gorgias_assets.io_managers.merging import MergingIOManager, without_vain_retries
from gorgias_assets.io_managers.slices import labels_for
from gorgias_assets.metadata import of_table
from gorgias_assets.partitions import days_read, days_recorded, window_of_days
from gorgias_assets.recording import record_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.statistics.daily import with_day_before
from gorgias_assets.statistics.reading import Answers, Row, note_left_out, read_statistics
from gorgias_assets.statistics.scopes import (
    FIRST_RESPONSES,
    HANDLE_TIMES,
    RESOLUTIONS,
    SCOPES_OF_TICKETS,
    SLA,
    TICKET_STATISTICS,
)
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse

_IDS_AT_ONCE = 20_000  # in a statement: BigQuery takes a megabyte

SLA_STATUS = "sla_status"
SECONDS = {
    FIRST_RESPONSES: "first_response_seconds",
    RESOLUTIONS: "resolution_seconds",
    HANDLE_TIMES: "handle_seconds",
}
COLUMNS = (
    Column("id", Kind.INTEGER, "The ticket's id."),
    Column(SECONDS[FIRST_RESPONSES], Kind.NUMBER, "Gorgias's first response time, nights and weekends included."),
    Column(SECONDS[RESOLUTIONS], Kind.NUMBER, "Gorgias's resolution time, nights and weekends included."),
    Column(SECONDS[HANDLE_TIMES], Kind.NUMBER, "Gorgias's handle time: how long agents had the ticket open."),
    Column(SLA_STATUS, Kind.STRING, "Gorgias's status of the ticket's SLA; several of them have commas between."),
)
GRAIN = "One row per ticket of which Gorgias's statistics show anything."
DESCRIPTION = (
    f"{GRAIN}\n\nGorgias's own times of single tickets (`POST /reporting/stats` by `ticketId`). A measure that Gorgias "
    "does not show is null. A partition is what Gorgias dates on that day (UTC): a first answer, a closing, or a "
    "creation. A run keeps what is stored of the other measures of its tickets."
)


def build_ticket_statistics(account: Account, *, retry_policy: dg.RetryPolicy | None = None) -> dg.AssetsDefinition:
    """Return the asset `<account>/ticket_statistics`, partitioned by UTC day. It needs those of `build_assets`."""
    spec = account.spec_of(
        TICKET_STATISTICS,
        description=DESCRIPTION,
        kinds={"gorgias"},
        metadata={"dagster/column_schema": column_schema(COLUMNS)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            required_resource_keys={account.name, account.io_manager_key},
            output_required=False,
            retry_policy=retry_policy,
            pool=account.named(API_POOL),
        )
        def ticket_statistics(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            partitions, tags = account.partitions, context.run.tags
            days = with_day_before(partitions, days_read(partitions, context.partition_keys, tags))
            gorgias: GorgiasResource = getattr(context.resources, account.name)
            answers = read_statistics(gorgias, SCOPES_OF_TICKETS, window_of_days(partitions, days))
            if answers.lack:
                note_lack(context, context.asset_key, answers.lack)
                return
            note_left_out(context, answers)
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            labels = labels_for(context.asset_key.to_user_string(), days) | {"dagster_run_id": context.run.run_id}
            warehouse, table = io_manager.warehouse.billed_to(labels), account.table_of(TICKET_STATISTICS, io_manager)
            with without_vain_retries():
                merged = _merge(warehouse, table, answers)
            began = {"began_at": dg.MetadataValue.timestamp(answers.began_at)}
            recorded = days_recorded(partitions, context.partition_keys, tags)
            earlier = {day: began for day in recorded if day not in context.partition_keys}
            record_days(context.get_step_execution_context(), context.asset_key, earlier)
            of_run = {"rows_merged": merged, **of_table(table, None), **answers.metadata(), **warehouse.bill()}
            context.add_asset_metadata(of_run, partition_key=max(context.partition_keys))
            yield dg.MaterializeResult(metadata=began)

    return ticket_statistics


def _merge(warehouse: Warehouse, table: Table, answers: Answers) -> int:
    """Merge the tickets of the answers, with what is stored of their other measures; return how many there are.

    A row counts as read no earlier than what it keeps: the warehouse would refuse it otherwise.
    """
    found = tickets_of(answers.rows)
    rows = []
    for begin in range(0, max(len(found), 1), _IDS_AT_ONCE):
        ids = [*found][begin : begin + _IDS_AT_ONCE]
        stored = _stored(warehouse, table, ids)
        for id_ in ids:
            known = stored.get(id_, {})
            read_at = max(answers.began_at, known.get(EXTRACTED_AT, answers.began_at))
            rows.append(known | found[id_] | {"id": id_, EXTRACTED_AT: read_at, IS_TOUCHED: True})
    declared = [(column.name, column.kind.arrow_type) for column in (*COLUMNS, *ADDED_COLUMNS)]
    schema = pa.schema([*declared, (IS_TOUCHED, pa.bool_())])
    warehouse.merge(table, COLUMNS, pa.Table.from_pylist(rows, schema), description=GRAIN)
    return len(rows)


def tickets_of(rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """Return the values of each ticket that has any, by its id."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        id_, *statuses = row.places
        if id_ is None or not id_.isdecimal():
            continue
        ticket, (number,) = found[int(id_)], row.numbers
        if row.scope is SLA:
            known = ticket[SLA_STATUS].split(", ") if SLA_STATUS in ticket else []
            if named := {*filter(None, statuses), *known}:
                ticket[SLA_STATUS] = ", ".join(sorted(named))
        elif number is not None:
            ticket[SECONDS[row.scope.name]] = number
    return {id_: values for id_, values in found.items() if values}


def _stored(warehouse: Warehouse, table: Table, ids: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    if not ids or not warehouse.has_table(table):
        return {}
    names = ", ".join([*(column.name for column in COLUMNS), EXTRACTED_AT])
    among = warehouse.dialect.among("id", ids)
    rows = warehouse.query(table.schema, f"SELECT {names} FROM {warehouse.rows_of(table)} WHERE {among}")
    return {row["id"]: row for row in rows.to_pylist()}
