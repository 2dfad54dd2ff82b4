"""`make test-bigquery PROJECT=…`: tests that need Google's own BigQuery, in a scratch dataset that it removes.

Permissions, bytes that are billed, pruning, queues, Storage API. It merges some megabytes of made-up rows; the queries
are billed for a few hundred megabytes, within the free tier of a month.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import pyarrow as pa
from google.cloud import bigquery

from gorgias_assets.entities import TICKETS
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import Covered, Dimension, Saved, Table, Tombstone, WarehouseError
from gorgias_assets.windows import Window

FIRST = datetime(2025, 3, 1, tzinfo=UTC)
DAYS, ROWS_A_DAY = 60, 200
DAY = timedelta(days=1)
MEBIBYTE = 2**20


class Account:
    """A project, and a dataset in it that did not exist before."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.dataset = f"gorgias_assets_scratch_{uuid4().hex[:12]}"
        self.settings = settings
        self.tickets = Table(self.dataset, "tickets")
        self.orders = Table(self.dataset, "orders")

    def warehouse(self, **settings: Any) -> BigQueryWarehouse:
        warehouse = GorgiasBigQueryIOManager(**self.settings | settings).warehouse()
        return warehouse.billed_to({"asset": "gorgias/tickets", "dagster_run_id": self.dataset})

    def client(self) -> "closing[bigquery.Client]":
        warehouse = self.warehouse()
        endpoint = {"api_endpoint": warehouse.api_endpoint} if warehouse.api_endpoint else None
        return closing(bigquery.Client(warehouse.project, warehouse.credentials, client_options=endpoint))

    def remove(self) -> None:
        with self.client() as client:
            client.delete_dataset(self.dataset, delete_contents=True, not_found_ok=True)


def tickets(days: range, read_at: datetime, subject: str = "Where is my parcel?") -> pa.Table:
    rows: list[Row] = [
        KINDS["tickets"].blank
        | {"id": day * ROWS_A_DAY + n, "subject": subject, "excerpt": "made up " * 200, "tags": [{"id": n}]}
        | dict.fromkeys(("created_datetime", "updated_datetime"), (FIRST + day * DAY).isoformat())
        for day in days
        for n in range(ROWS_A_DAY)
    ]
    table = type_rows(rows, TICKETS.columns, read_at).table
    return table.append_column("_is_touched", pa.array([True] * len(rows)))


def merges_many_days(account: Account) -> str:
    warehouse = account.warehouse()
    merged = warehouse.merge(account.tickets, TICKETS.columns, tickets(range(DAYS), FIRST), Saved("all", "{}"))
    assert (merged.rows, merged.new) == (DAYS * ROWS_A_DAY, DAYS * ROWS_A_DAY)
    assert warehouse.before(account.tickets, "all").position == "{}"
    return f"{merged.rows:,} rows, billed {billed(warehouse)}"


def reads_only_the_days_it_merges(account: Account) -> str:
    warehouse = account.warehouse()
    merged = warehouse.merge(account.tickets, TICKETS.columns, tickets(range(7, 8), FIRST + DAY, "Thank you"))
    assert (merged.rows, merged.new) == (ROWS_A_DAY, 0)
    with account.client() as client:
        size = client.get_table(f"{client.project}.{account.tickets}").num_bytes or 0
        jobs = [client.get_job(job_id) for job_id in warehouse.costs.jobs]
        (merge,) = [job for job in jobs if getattr(job, "statement_type", "") == "MERGE"]
    processed = merge.total_bytes_processed or 0
    if not processed:
        return "no bytes are reported here: this is an emulator"
    assert processed < size / 4, f"merging one day of {DAYS} read {processed:,} of {size:,} bytes: nothing was pruned"
    return f"one day of {DAYS}: {processed:,} of {size:,} bytes, billed {billed(warehouse)}"


def marks_what_is_gone(account: Account) -> str:
    warehouse = account.warehouse()
    warehouse.note_candidates(
        account.tickets, ("updated_datetime", FIRST, FIRST + DAY), [], FIRST + 2 * DAY, FIRST + 2 * DAY
    )
    found = warehouse.candidates(account.tickets, ["id"], 10)
    assert (len(found.rows), found.waiting) == (10, ROWS_A_DAY - 10)
    gone = [Tombstone(row["id"], FIRST + 3 * DAY) for row in found.rows]
    warehouse.settle_candidates(account.tickets, [row["id"] for row in found.rows], gone, {})
    windows = [Window(FIRST + day * DAY, FIRST + (day + 1) * DAY) for day in range(DAYS)]
    counts = warehouse.counts(account.tickets, TICKETS.read.touch_fields, windows)
    assert counts.touched == [ROWS_A_DAY - 10] + [ROWS_A_DAY] * (DAYS - 1)
    return f"10 of {ROWS_A_DAY}, {len(warehouse.costs.jobs)} jobs, billed {billed(warehouse)}"


def lets_runs_merge_at_once(account: Account) -> str:
    """Merge in eight runs, two into each of four days: more than BigQuery runs at once on a table, so some wait."""
    started = monotonic()

    def run(number: int) -> int:
        day = range(10 + number % 4, 11 + number % 4)
        rows = tickets(day, FIRST + (10 + number) * DAY, f"run {number}")
        return account.warehouse().merge(account.tickets, TICKETS.columns, rows).new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(run, range(8))) == 0
    table = account.warehouse().query(
        account.dataset, f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM {account.tickets}"
    )
    assert table.to_pylist() == [{"n": DAYS * ROWS_A_DAY, "ids": DAYS * ROWS_A_DAY}]
    return f"8 in {monotonic() - started:.0f} s"


def leaves_once_what_runs_add_at_once(account: Account) -> str:
    """Insert the same rows in four runs, which do not wait for each other."""
    added = tickets(range(DAYS, DAYS + 1), FIRST + DAYS * DAY)

    def run(_: int) -> int:
        warehouse = account.warehouse()
        new = warehouse.merge(account.tickets, TICKETS.columns, added).new
        warehouse.leave_one_of_each_id(account.tickets)
        return new

    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(run, range(4)))
    query = f"SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM {account.tickets}"
    there_are = (DAYS + 1) * ROWS_A_DAY
    assert account.warehouse().query(account.dataset, query).to_pylist() == [{"n": there_are, "ids": there_are}]
    return f"{ROWS_A_DAY} rows, which were added {new / ROWS_A_DAY:g} times"


def replaces_and_reads_frames(account: Account) -> str:
    warehouse = account.warehouse()
    days = [date(2025, 3, 1), date(2025, 3, 2)]
    for n in range(2):
        for day in days:
            start = datetime.combine(day, datetime.min.time(), UTC)
            rows = pa.table({"day": [day] * 3, "n": [n, 2**60, None], "tags": [["a"], [], ["b", "c"]], "x": [0.1] * 3})
            where = (Dimension(("day",), (Window(start, start + DAY),)),)
            warehouse.replace(account.orders, rows, where)
    read = warehouse.read(account.orders, ())
    assert sorted(value for value in read["n"].to_pylist() if value is not None) == [1, 1, 2**60, 2**60]
    assert read.schema.field("day").type == pa.date32()
    return f"{read.num_rows} rows, billed {billed(warehouse)}"


def stops_at_the_bytes_it_may_bill(account: Account) -> str:
    try:
        account.warehouse(maximum_bytes_billed=1).counts(account.tickets, TICKETS.read.touch_fields, [])
        account.warehouse(maximum_bytes_billed=1).absences(account.tickets, Covered("id"), FIRST)
    except WarehouseError as error:
        return str(error)
    return "not stopped: this is an emulator" if account.settings.get("api_endpoint") else fail()


def gives_staging_tables_an_end(account: Account) -> str:
    """Give a staging table an expiration in case a crash leaves it behind; the load must not remove it."""
    rows = pa.table({"n": [1]})
    with (
        account.warehouse()._writing(account.dataset) as session,
        session.staged(rows) as name,
        account.client() as client,
    ):
        expires = client.get_table(name.strip("`")).expires
    assert expires is not None
    assert expires < datetime.now(UTC) + 2 * DAY
    return f"{expires:%Y-%m-%d %H:%M} UTC"


def leaves_no_staging_table(account: Account) -> str:
    with account.client() as client:
        names = [table.table_id for table in client.list_tables(account.dataset)]
    assert not [name for name in names if name.startswith("_staging_")], names
    return ", ".join(names)


def labels_its_jobs(account: Account) -> str:
    with account.client() as client:
        since = datetime.now(UTC) - timedelta(hours=1)
        jobs = [job for job in client.list_jobs(min_creation_time=since) if job.job_id.startswith("gorgias_")]
        mine = [job for job in jobs if job.labels.get("dagster_run_id") == account.dataset]
    assert mine
    assert all(job.labels["asset"] == "gorgias_tickets" for job in mine)
    return f"{len(mine)} jobs"


CHECKS: list[Callable[[Account], str]] = [
    merges_many_days,
    reads_only_the_days_it_merges,
    marks_what_is_gone,
    lets_runs_merge_at_once,
    leaves_once_what_runs_add_at_once,
    replaces_and_reads_frames,
    stops_at_the_bytes_it_may_bill,
    gives_staging_tables_an_end,
    leaves_no_staging_table,
    labels_its_jobs,
]


def billed(warehouse: BigQueryWarehouse) -> str:
    return f"{warehouse.costs.bytes_billed / MEBIBYTE:,.0f} MiB"


def fail() -> str:
    raise AssertionError("a statement ran that should have been refused")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets_tests.bigquery.account", description=__doc__)
    parser.add_argument("--project", required=True)
    for name in ("location", "credentials-path", "api-endpoint", "storage-endpoint"):
        parser.add_argument(f"--{name}")
    settings = {name: value for name, value in vars(parser.parse_args()).items() if value}
    account, failed = Account(settings), 0
    try:
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            try:
                print(f"ok      {name}: {check(account)}", flush=True)
            except (AssertionError, WarehouseError) as error:
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
    finally:
        account.remove()
        print(f"removed the dataset {account.dataset}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
