"""The asset `<account>/statistics`: Gorgias's own numbers of each day, in long form."""

import warnings
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import dagster as dg
import pyarrow as pa

from gorgias_assets.account import API_POOL, Account
from gorgias_assets.assets import attributes_of
from gorgias_assets.availability import note_lack
from gorgias_assets.columns import Column, Kind, arrow_schema
from gorgias_assets.declared import plain_schema
from gorgias_assets.entities.model import moment, number, string
from gorgias_assets.io_managers.merging import MergingIOManager, without_vain_retries
from gorgias_assets.io_managers.slices import DayRows, labels_for
from gorgias_assets.partitions import days_read, days_recorded, window_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.statistics.reading import Answers, note_left_out, read_statistics
from gorgias_assets.statistics.scopes import ALL, SCOPES, STATISTICS
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

COLUMNS = (
    Column("day", Kind.DATE, "The day (UTC), by the scope's own time: of creation, closing, sending or first answer."),
    string("scope", "Gorgias's name of the kind of statistics, such as `tickets-created`."),
    string("measure", "Gorgias's name of the measure, such as `ticketCount`."),
    string("dimension", "The kind of slice: all, channel or agent."),
    string("slice", "The channel, or the agent's id; all for the whole helpdesk; null for no agent."),
    number(
        "value",
        "The number that Gorgias gives, durations in seconds; null if it gives none, as for an agent who did nothing.",
    ),
    moment(
        "read_at",
        "When Gorgias was asked, by its clock. Its statistics are minutes behind the account.",
    ),
)
SCHEMA = arrow_schema(COLUMNS)

DESCRIPTION = (
    "One row per day, scope, measure and slice: the whole helpdesk, one channel, or one agent.\n\n"
    "Gorgias's own statistics (`POST /reporting/stats`), to compare with the tables. A run replaces its days and the "
    "day before them, which costs no further call, and of which the statistics are complete by then."
)


def build_statistics(account: Account, *, retry_policy: dg.RetryPolicy | None = None) -> dg.AssetsDefinition:
    """Return the asset `<account>/statistics`, partitioned by UTC day. It needs the resources of `build_assets`."""
    spec = account.spec_of(
        STATISTICS,
        description=DESCRIPTION,
        kinds={"gorgias"},
        metadata={"partition_expr": "day", "dagster/column_schema": plain_schema(COLUMNS)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # `backfill_policy` is in beta; one run per backfill needs it

        @dg.asset(
            **attributes_of(spec),
            partitions_def=account.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=account.io_manager_key,
            required_resource_keys={account.name, account.io_manager_key},
            output_required=False,
            retry_policy=retry_policy,
            pool=account.named(API_POOL),
        )
        def statistics(context: dg.AssetExecutionContext) -> Iterator[dg.Output[DayRows]]:
            partitions, tags = account.partitions, context.run.tags
            days = with_day_before(partitions, days_read(partitions, context.partition_keys, tags))
            gorgias: GorgiasResource = getattr(context.resources, account.name)
            window = window_of_days(partitions, days)
            answers = read_statistics(gorgias, SCOPES, window)
            if answers.lack:
                note_lack(context, context.asset_key, answers.lack)
                return
            note_left_out(context, answers)
            io_manager: MergingIOManager = getattr(context.resources, account.io_manager_key)
            labels = labels_for(context.asset_key.to_user_string(), days)
            warehouse = io_manager.billed_to(context.run.run_id, context.get_step_execution_context().step.key, labels)
            with without_vain_retries():
                kept = _stored(warehouse, account.table_of(STATISTICS, io_manager), answers, window)
            began = {"began_at": dg.MetadataValue.timestamp(answers.began_at)}
            recorded = days_recorded(partitions, context.partition_keys, tags)
            rows = pa.concat_tables([statistics_rows(answers, days), kept])
            yield dg.Output(DayRows(rows, days, dict.fromkeys(recorded, began), answers.metadata()))

    return statistics


def statistics_rows(answers: Answers, days: Sequence[str]) -> pa.Table:
    """Return the rows of the scopes that were read. Each day and measure has its row of all."""
    values: dict[tuple[str, str, str, str, str | None], float | None] = {
        (day, scope.name, measure, ALL, ALL): None
        for scope in SCOPES
        if scope.name in answers.read
        for day in days
        for measure in scope.measures
    }
    for row in answers.rows:
        slice_ = row.places[0] if row.places else ALL
        for measure, value in zip(row.scope.measures, row.numbers, strict=True):
            values[row.day, row.scope.name, measure, row.dimension, slice_] = value
    return pa.Table.from_pylist(
        [
            {
                "day": date.fromisoformat(day),
                "scope": scope,
                "measure": measure,
                "dimension": dimension,
                "slice": slice_,
                "value": value,
                "read_at": answers.read[scope],
            }
            for (day, scope, measure, dimension, slice_), value in values.items()
        ],
        SCHEMA,
    )


def _stored(warehouse: Warehouse, table: Table, answers: Answers, window: Window) -> pa.Table:
    """Return what the table has of these days and of the scopes that were left out."""
    if not answers.left_out or not warehouse.has_table(table):
        return SCHEMA.empty_table()
    where = (Dimension(("day",), (window,)), Dimension(("scope",), tuple(answers.left_out)))
    return warehouse.read(table, where, SCHEMA.names).cast(SCHEMA)


def with_day_before(partitions: dg.DailyPartitionsDefinition, days: Sequence[str]) -> list[str]:
    """Return the days, and before them the day of which the statistics were minutes behind in its own run."""
    before = str(date.fromisoformat(days[0]) - timedelta(days=1))
    return [*([before] if partitions.has_partition_key(before) else []), *days]
