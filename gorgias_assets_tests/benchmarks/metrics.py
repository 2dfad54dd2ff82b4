"""`make bench`: the time and the memory of `ticket_metrics` with a million messages of a year in a DuckDB file.

First all rows are computed, then those of a day on which one ticket in 365 was read again. Each is a process of its
own, whose peak of memory is measured.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.io_managers.slices import MergedRows
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.metrics.ticket_metrics import EVENT_TYPES, TicketMetrics
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window
from gorgias_assets_tests.benchmarks.views import batches
from gorgias_assets_tests.engines import DuckDBFile

MESSAGES, MESSAGES_PER_TICKET, EVENTS_PER_TICKET = 1_000_000, 4, 8
DAYS = 365
LIMITS = {"year": (15.0, None), "day": (3.0, 400)}  # seconds, and megabytes
TABLES = {entity.name: Table("gorgias", entity.name) for entity in ENTITIES if entity.name in TICKET_METRICS.reads}
OWN = Table("gorgias", TICKET_METRICS.name)
READ = Window(datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def fill(warehouse: Warehouse, messages: int) -> None:
    tickets = messages // MESSAGES_PER_TICKET
    rows = {"tickets": tickets, "ticket_messages": messages, "events": tickets * EVENTS_PER_TICKET}
    for entity in ENTITIES:
        if entity.name in ("tickets", "ticket_messages", "events", "users"):
            for batch in batches(entity, rows.get(entity.name, 100)):
                store(warehouse, entity, batch)
        elif entity.name == "satisfaction_surveys":
            warehouse.merge(TABLES[entity.name], entity.columns, _nothing(entity))
    warehouse.save_readings(TABLES["events"], [READ], EVENT_TYPES)


def store(warehouse: Warehouse, entity: Entity, batch: pa.Table) -> None:
    """Merge rows; those of tickets and messages with what metrics need and the benchmark of views does not."""
    if entity.name == "ticket_messages":
        batch = _with(batch, public=pa.repeat(True, len(batch)), via=pa.repeat("helpdesk", len(batch)))
    if entity.name == "tickets":
        batch = _with(
            batch,
            status=pa.repeat("closed", len(batch)),
            closed_datetime=batch["created_datetime"],
            updated_datetime=batch["created_datetime"],
        )
    warehouse.merge(TABLES[entity.name], entity.columns, batch)


def _with(batch: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, values in columns.items():
        batch = batch.set_column(batch.column_names.index(name), name, values)
    return batch


def _nothing(entity: Entity) -> pa.Table:
    columns = (*entity.columns, *ADDED_COLUMNS)
    empty = {column.name: pa.array([], column.kind.arrow_type) for column in columns}
    return pa.table({**empty, IS_TOUCHED: pa.array([], pa.bool_())})


def read_again(file: Path) -> None:
    """Let one ticket in 365 have been read again."""
    DuckDBFile(file).execute(
        f"UPDATE gorgias.tickets SET _extracted_at = _extracted_at + INTERVAL 1 DAY WHERE id % {DAYS} = 0"
    )


def compute(file: Path) -> None:
    """Compute what is outdated, and print the rows, the seconds and the megabytes."""
    warehouse, began = DuckDBFile(file).warehouse(), time.perf_counter()
    outdated = TicketMetrics(warehouse, TABLES, OWN)
    merged = MergedRows(outdated.batches(), outdated.columns, TICKET_METRICS.grain, {}).merge(warehouse, OWN)
    seconds = time.perf_counter() - began
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # of this program alone
    print(merged.rows, f"{seconds:.2f}", int(peak) // 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--compute", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.compute:
        compute(chosen.compute)
        return 0
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.duckdb"
        fill(DuckDBFile(file).warehouse(), chosen.messages)
        print(f"{'of':>6}{'rows':>10}{'seconds':>9}{'MB':>7}")
        for name, (most_seconds, most_megabytes) in LIMITS.items():
            if name == "day":
                read_again(file)
            command = [sys.executable, "-m", "gorgias_assets_tests.benchmarks.metrics", "--compute", str(file)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows, seconds, megabytes = printed.split()
            print(f"{name:>6}{int(rows):>10,}{seconds:>9}{megabytes:>7}")
            if float(seconds) > most_seconds or (most_megabytes and int(megabytes) > most_megabytes):
                missed.append(name)
    return print(f"more than allowed: {', '.join(missed)}") or 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
