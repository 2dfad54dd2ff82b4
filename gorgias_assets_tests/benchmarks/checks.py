"""`make bench`: the time of the checks on a warehouse of a million messages, in a DuckDB file as the project keeps it.

The checks of each asset look at it in turn, as their step of a run does, but for Dagster's own part. Their requests of
Gorgias are left out: that is a call per 100 events.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa

from gorgias_assets.account import Account
from gorgias_assets.checks.audits import Stored
from gorgias_assets.checks.verdicts import CheckContext, table_checks
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.partitions import window_of
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets_tests.engines import DuckDBFile

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
MESSAGES_PER_TICKET = 4
BATCH_ROWS = 100_000
BODY = "repeat('All is well. ', 40)"  # in each of three bodies
VALUES = {
    "id": "number",
    "ticket_id": "number * {tickets} // {rows}",
    "messages_count": str(MESSAGES_PER_TICKET),
    "created_datetime": "created",
    "updated_datetime": "created + INTERVAL 3 HOUR",
    "sent_datetime": "created + INTERVAL 3 SECOND",
    "body_text": BODY,
    "body_html": BODY,
    "stripped_text": BODY,
}


def rows_of(messages: int) -> dict[str, int]:
    tickets = messages // MESSAGES_PER_TICKET
    return {
        CUSTOMERS.name: tickets // 2,
        TICKETS.name: tickets,
        TICKET_MESSAGES.name: messages,
        SATISFACTION_SURVEYS.name: tickets // 3,
    }


def batches(entity: Entity, rows: int, tickets: int) -> Iterator[pa.Table]:
    """Yield rows spread evenly over the days, read the day after."""
    values = {column.name: VALUES.get(column.name, "NULL") for column in entity.columns}
    values |= {"_extracted_at": f"TIMESTAMPTZ '{START + timedelta(days=DAYS + 1)}'", IS_TOUCHED: "TRUE"}
    selected = ", ".join(f"{value.format(rows=rows, tickets=tickets)} AS {name}" for name, value in values.items())
    seconds = f"INTERVAL 1 SECOND * (number * {DAYS * 86_400} // {rows})"
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for begin in range(0, rows, BATCH_ROWS):
            numbers = f"range({begin}, {min(rows, begin + BATCH_ROWS)}) AS numbers(number)"
            yield connection.sql(
                f"SELECT {selected} FROM (SELECT number, TIMESTAMPTZ '{START}' + {seconds} AS created FROM {numbers})"
            ).to_arrow_table()


def fill(engine: DuckDBFile, instance: dg.DagsterInstance, entity: Entity, rows: int, tickets: int) -> None:
    """Merge the rows, and record all of their days as materialized."""
    warehouse = engine.warehouse()
    for batch in batches(entity, rows, tickets):
        warehouse.merge(Table("gorgias", entity.name), entity.columns, batch)
    for day in range(DAYS):
        key = (START + timedelta(days=day)).date().isoformat()
        instance.report_runless_asset_event(dg.AssetMaterialization(["gorgias", entity.name], partition=key))


def context_of(engine: DuckDBFile, instance: dg.DagsterInstance, entity: Entity) -> CheckContext:
    def connect() -> None:
        raise AssertionError("these checks request nothing from Gorgias")

    warehouse = engine.warehouse()
    return CheckContext(
        account=(account := Account(CORE, start_date=START.date().isoformat())),
        entity=entity,
        tables={other.name: Stored(warehouse, Table("gorgias", other.name), other) for other in CORE},
        connect=connect,
        instance=instance,
        days={
            key: window_of(account.partitions, key)
            for key in account.partitions.get_partition_keys(current_time=START + timedelta(days=DAYS))
        },
        now=datetime.now(UTC),
        late_after=timedelta(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    chosen = parser.parse_args()
    rows = rows_of(chosen.messages)
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        engine = DuckDBFile(Path(folder) / "benchmark.duckdb")
        for entity in CORE:
            fill(engine, instance, entity, rows[entity.name], rows[TICKETS.name])
        print(f"{'table':>22}{'rows':>14}{'checks':>9}{'seconds':>10}{'slowest':>40}")
        total = 0.0
        for entity in CORE:
            context, seconds = context_of(engine, instance, entity), {}
            for check in table_checks(entity, CORE):
                started = time.perf_counter()
                check.judge(context)
                seconds[check.name] = time.perf_counter() - started
            total += sum(seconds.values())
            slowest = max(seconds, key=seconds.__getitem__)
            print(
                f"{entity.name:>22}{rows[entity.name]:>14,}{len(seconds):>9}{sum(seconds.values()):>10.2f}"
                f"{f'{slowest}, {seconds[slowest]:.2f}':>40}"
            )
        print(f"{'all':>22}{sum(rows.values()):>14,}{'':>9}{total:>10.2f}")


if __name__ == "__main__":
    main()
