"""`make bench`: the time and memory of the backlog, of one day and of a year, in a DuckDB file of a year.

10,000 tickets a month with five messages and twelve events each; a third is reopened once, most are closed within days,
and one in fifty is never closed. The first weeks are older than the stored events.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pyarrow as pa

from gorgias_assets.entities import EVENTS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.metrics.ticket_backlog import backlog_rows
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window
from gorgias_assets_tests.engines import DuckDBFile

START, DAYS, DAY = datetime(2025, 1, 1, tzinfo=UTC), 365, timedelta(days=1)
TICKETS_OF_A_YEAR, MESSAGES_OF_A_TICKET, BATCH_ROWS = 120_000, 5, 100_000
EVENTS_FROM = START + 20 * DAY
TABLES = {entity.name: Table("gorgias", entity.name) for entity in (TICKETS, TICKET_MESSAGES, EVENTS)}

# In SQL, of the number of a `ticket`, when it was `created`, and the number of the row among its rows, `part`.
_PERSON = """'{{"id":' || (50 + {0}) || ',"name":"Agent ' || {0} || '","email":"agent{0}@example.com"}}'"""
_TAGS = """'[' || array_to_string(list_transform(range(1 + ticket % 3), lambda k:
    '{"id":' || (700 + (ticket * 7 + k) % 150) || ',"name":"tag ' || (ticket * 7 + k) % 150 || '"}'), ',') || ']'"""
_LASTS = "to_seconds(600 + (ticket * 7919) % 400000)"  # until the last closing
_EVENTS = {  # by its number of twelve: type, data, and the part of the ticket's time after which it happens
    0: ("ticket-created", "NULL", 0),
    1: ("ticket-message-created", "NULL", 0.01),
    2: ("ticket-team-assigned", """'{"assignee_team_id":' || (40 + ticket % 9) || '}'""", 0.02),
    3: ("ticket-tags-added", """'{"tags_added":[' || (700 + ticket * 7 % 150) || ']}'""", 0.05),
    4: ("ticket-assigned", """'{"assignee_user_id":' || (50 + ticket % 60) || '}'""", 0.1),
    5: ("ticket-updated", "NULL", 0.15),
    6: ("ticket-message-created", "NULL", 0.2),
    7: ("CASE WHEN ticket % 3 = 0 THEN 'ticket-closed' ELSE 'ticket-updated' END", "NULL", 0.3),
    8: ("CASE WHEN ticket % 3 = 0 THEN 'ticket-reopened' ELSE 'ticket-updated' END", "NULL", 0.6),
    9: ("ticket-tags-added", """'{"tags_added":[' || (700 + (ticket * 7 + 1) % 150) || ']}'""", 0.7),
    10: ("ticket-assigned", """'{"assignee_user_id":' || (50 + (ticket * 3) % 60) || '}'""", 0.8),
    11: ("CASE WHEN ticket % 50 = 1 THEN 'ticket-updated' ELSE 'ticket-closed' END", "NULL", 1),
}
_KINDS = " ".join(
    f"WHEN {number} THEN {kind if kind.startswith('CASE') else repr(kind)}" for number, (kind, _, _) in _EVENTS.items()
)
_DATA = " ".join(f"WHEN {number} THEN {data}" for number, (_, data, _) in _EVENTS.items())
_PARTS = " ".join(f"WHEN {number} THEN {part}" for number, (_, _, part) in _EVENTS.items())

VALUES: Mapping[str, Mapping[str, str]] = {
    "tickets": {
        "created_datetime": "created",
        "updated_datetime": f"created + {_LASTS}",
        "closed_datetime": f"CASE WHEN ticket % 50 <> 1 THEN created + {_LASTS} END",
        "status": "CASE WHEN ticket % 50 <> 1 THEN 'closed' ELSE 'open' END",
        "channel": "['email', 'chat', 'phone', 'sms'][1 + ticket % 4]",
        "assignee_user": _PERSON.format("(ticket * 3) % 60"),
        "assignee_team": """'{"id":' || (40 + ticket % 9) || ',"name":"Team ' || ticket % 9 || '"}'""",
        "customer": _PERSON.format("ticket // 3"),
        "tags": _TAGS,
    },
    "ticket_messages": {
        "ticket_id": "ticket",
        "created_datetime": f"created + {_LASTS} * (part / 5.0)",
        "public": "TRUE",
        "from_agent": "part % 2 = 1",
        "body_text": "repeat('All is well. ', 40)",
    },
    "events": {
        "type": f"CASE part {_KINDS} END",
        "object_type": "'Ticket'",
        "object_id": "ticket",
        "data": f"CASE part {_DATA} END",
        "created_datetime": f"created + {_LASTS} * CASE part {_PARTS} END",
    },
}
PARTS = {"tickets": 1, "ticket_messages": MESSAGES_OF_A_TICKET, "events": len(_EVENTS)}


def batches(entity: Entity, tickets: int) -> Iterator[pa.Table]:
    """Yield rows of a year, in the order of their tickets' creation."""
    parts, values = PARTS[entity.name], {column.name: "NULL" for column in entity.columns} | {"id": "number"}
    values |= VALUES[entity.name] | {"_extracted_at": "TIMESTAMPTZ '2026-01-02'", IS_TOUCHED: "TRUE"}
    selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for begin in range(0, tickets * parts, BATCH_ROWS):
            numbers = f"range({begin}, {min(tickets * parts, begin + BATCH_ROWS)}) AS numbers(number)"
            created = f"TIMESTAMPTZ '2025-01-01' + to_seconds(number // {parts} * 31536000 // {tickets}) AS created"
            rows = f"SELECT number, number // {parts} AS ticket, number % {parts} AS part, {created} FROM {numbers}"
            yield connection.sql(f"SELECT {selected} FROM ({rows})").to_arrow_table()


def fill(warehouse: Warehouse, tickets: int) -> None:
    for entity in (TICKETS, TICKET_MESSAGES, EVENTS):
        for batch in batches(entity, tickets):
            warehouse.merge(TABLES[entity.name], entity.columns, batch)
    warehouse.save_readings(TABLES["events"], [Window(EVENTS_FROM, START + DAYS * DAY)])


def measure(file: Path, days: Sequence[Window]) -> tuple[int, float, int]:
    """Return the rows, the seconds that they took, and the most megabytes that this process has had."""
    started = time.perf_counter()
    rows = backlog_rows(DuckDBFile(file).warehouse(), TABLES, days).num_rows
    seconds = time.perf_counter() - started
    (most,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return rows, seconds, int(most) // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickets", type=int, default=TICKETS_OF_A_YEAR)
    tickets = parser.parse_args().tickets
    days = [Window(START + number * DAY, START + (number + 1) * DAY) for number in range(DAYS)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.duckdb"
        fill(DuckDBFile(file).warehouse(), tickets)
        print(f"{'days':>6}{'rows':>10}{'seconds':>9}{'MB':>7}")
        for asked in (days[-1:], days[-28:], days):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:  # whose memory is its own
                rows, seconds, megabytes = process.submit(measure, file, asked).result()
            print(f"{len(asked):>6}{rows:>10,}{seconds:>9.2f}{megabytes:>7,}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
