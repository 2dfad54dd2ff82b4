"""`make test-bigquery PROJECT=…`: tests that need Google's own BigQuery, in a scratch dataset that it removes.

Permissions, bytes that are billed, pruning, queues, expirations, Storage API. It merges some megabytes of made-up rows;
the queries are billed for a few hundred megabytes, within the free tier of a month.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import grpc
import pyarrow as pa
from google.api_core.exceptions import BadRequest, GoogleAPICallError
from google.cloud import bigquery

from gorgias_assets.entities import CUSTOM_FIELDS, TICKETS
from gorgias_assets.entities.tickets import TICKET_CUSTOM_FIELDS, TICKET_TAGS
from gorgias_assets.entities.view import NamedView
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import Covered, Dimension, Saved, Table, Tombstone, WarehouseError
from gorgias_assets.windows import Window

FIRST = datetime(2025, 3, 1, tzinfo=UTC)
DAYS, ROWS_A_DAY = 60, 200
DAY = timedelta(days=1)
MOST_RANGES = 200  # that a statement of this project names
CREATED = "created_datetime"
MEBIBYTE = 2**20


class Account:
    """A project, and a dataset in it that did not exist before."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.dataset = f"gorgias_assets_scratch_{uuid4().hex[:12]}"
        self.expiring = f"{self.dataset}_expiring"
        self.settings = settings
        self.tickets = Table(self.dataset, "tickets")
        self.orders = Table(self.dataset, "orders")

    @property
    def is_emulator(self) -> bool:
        return str(self.settings.get("api_endpoint", "")).startswith("http:")

    def warehouse(self, **settings: Any) -> BigQueryWarehouse:
        warehouse = GorgiasBigQueryIOManager(**self.settings | settings).warehouse()
        return warehouse.billed_to({"asset": "gorgias/tickets", "dagster_run_id": self.dataset})

    def client(self) -> "closing[bigquery.Client]":
        warehouse = self.warehouse()
        endpoint = {"api_endpoint": warehouse.api_endpoint} if warehouse.api_endpoint else None
        return closing(bigquery.Client(warehouse.project, warehouse.credentials, client_options=endpoint))

    def remove(self) -> None:
        with self.client() as client:
            for dataset in (self.dataset, self.expiring):
                client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


def tickets(
    days: range, read_at: datetime, subject: str = "Where is my parcel?", rows_a_day: int = ROWS_A_DAY
) -> pa.Table:
    rows: list[Row] = [
        KINDS["tickets"].blank
        | {"id": day * ROWS_A_DAY + n, "subject": subject, "excerpt": "made up " * 200, "tags": [{"id": n}]}
        | dict.fromkeys(("created_datetime", "updated_datetime"), (FIRST + day * DAY).isoformat())
        for day in days
        for n in range(rows_a_day)
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
        replace(account.warehouse(), maximum_bytes_billed=1).counts(account.tickets, TICKETS.read.touch_fields, [])
        replace(account.warehouse(), maximum_bytes_billed=1).absences(account.tickets, Covered("id"), FIRST)
    except WarehouseError as error:
        return str(error)
    return "not stopped: this is an emulator" if account.is_emulator else fail()


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


def prunes_as_many_ranges_as_a_statement_names(account: Account) -> str:
    """Dry-run a query and a MERGE of every second day of a table."""
    warehouse, table = account.warehouse(), Table(account.dataset, "tickets_of_a_year")
    warehouse.merge(table, TICKETS.columns, tickets(range(2 * MOST_RANGES), FIRST, rows_a_day=2))
    name = warehouse.dialect.name_of(table)
    days = (FIRST + 2 * number * DAY for number in range(MOST_RANGES))
    ranges = warehouse.dialect.within(f"target.{CREATED}", [Window(day, day + DAY) for day in days])
    condition = f"(target.{CREATED} IS NULL OR {ranges})"
    merge = (
        f"MERGE INTO {name} AS target USING (SELECT 1 AS id) AS source ON target.id = source.id AND {{}} "
        "WHEN MATCHED THEN UPDATE SET subject = 'Thank you'"
    )
    shown = []
    for kind, sql in (("query", f"SELECT * FROM {name} AS target WHERE {{}}"), ("MERGE", merge)):
        whole, half = (would_process(account, sql.format(part)) for part in ("TRUE", condition))
        if not whole and account.is_emulator:
            return "no bytes are reported here: this is an emulator"
        assert 0 < half < 0.6 * whole, f"a {kind} of half the days would read {half:,} of {whole:,} bytes"
        shown.append(f"a {kind} of half the days would read {half:,} of {whole:,} bytes")
    return "; ".join(shown)


def would_process(account: Account, sql: str) -> int:
    config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    with account.client() as client:
        return client.query(sql, job_config=config).total_bytes_processed or 0


def shows_a_new_column_in_a_view(account: Account) -> str:
    """Read a column through a view that is older, before and after the view is written again."""
    with account.client() as client:
        place = f"{client.project}.{account.dataset}"
        client.query_and_wait(f"CREATE TABLE `{place}.letters` AS SELECT 1 AS id, TRUE AS is_gone")
        view = bigquery.Table(f"{place}.letters_live")
        view.view_query = f"SELECT * EXCEPT (is_gone) FROM `{place}.letters`"
        client.create_table(view)
        client.query_and_wait(f"ALTER TABLE `{place}.letters` ADD COLUMN subject STRING")
        read = f"SELECT subject FROM `{place}.letters_live`"
        try:
            client.query_and_wait(read)
            before = "can be read"
        except BadRequest:
            before = "cannot be read"
        listed = [column.name for column in client.get_table(view.reference).schema]
        client.query_and_wait(f"CREATE OR REPLACE VIEW `{place}.letters_live` AS {view.view_query}")
        assert [tuple(row) for row in client.query_and_wait(read)] == [(None,)]
        assert "subject" in [column.name for column in client.get_table(view.reference).schema]
    is_listed = "is listed" if "subject" in listed else "is not listed"
    return f"before the view is written again, its new column {before} and {is_listed}"


def shows_what_is_nested_in_views(account: Account) -> str:
    """Unnest lists, and objects whose fields have digits for names; odd JSON fails no query."""
    warehouse, names = account.warehouse(), {"tickets": "nested"}
    odd: list[Any] = [None, {}, [], "text", 5, [None, "text"], {"8": 5}, [{"id": {}}]]
    values = {"7": {"id": 7, "value": "Late::Customs"}, "8": {"id": 8, "value": 1.5}, "9": {"id": 9, "value": None}}
    rows = [{"id": 1, "tags": [{"id": 5, "name": "late"}, {"id": 6}], "custom_fields": values}]
    rows += [{"id": 2 + n, "tags": value, "custom_fields": value} for n, value in enumerate(odd)]
    kinds = {7: {"data_type": "text", "input_settings": {"input_type": "dropdown"}}, 8: {"data_type": "number"}}
    fields = [{"id": field_id, "label": "Field", "definition": kind} for field_id, kind in kinds.items()]
    for entity, given in ((TICKETS, rows), (CUSTOM_FIELDS, fields)):
        typed = type_rows([{CREATED: FIRST.isoformat(), **row} for row in given], entity.columns, FIRST).table
        touched = typed.append_column("_is_touched", pa.array([True] * len(given)))
        warehouse.merge(Table(account.dataset, names.get(entity.name, entity.name)), entity.columns, touched)
    views = [NamedView(view, names).stored_in(account.dataset) for view in (TICKET_TAGS, TICKET_CUSTOM_FIELDS)]
    before = len(warehouse.costs.jobs)
    for _ in range(2):
        assert warehouse.keep_views(account.dataset, views) == []
    assert len(warehouse.costs.jobs) - before == len(views)
    tags, found = (sorted(warehouse.read(view.place, ()).to_pylist(), key=str) for view in views)
    assert [(row["ticket_id"], row["tag_id"], row["tag_name"]) for row in tags] == [(1, 5, "late"), (1, 6, None)]
    shown = [[row[name] for name in ("value_text", "value_number", "level_1", "level_2")] for row in found]
    assert shown == [["Late::Customs", None, "Late", "Customs"], [None, 1.5, None, None]]
    return f"{len(tags) + len(found)} rows of {len(rows)} tickets, billed {billed(warehouse)}"


def removes_the_ends_that_a_dataset_gives_to_tables(account: Account) -> str:
    """Take both ends from a table of a dataset whose tables and partitions expire after a day by default."""
    with account.client() as client:
        dataset = bigquery.Dataset(f"{client.project}.{account.expiring}")
        dataset.location = client.get_dataset(account.dataset).location
        dataset.default_table_expiration_ms = dataset.default_partition_expiration_ms = DAY // timedelta(milliseconds=1)
        client.create_dataset(dataset)
        table = bigquery.Table(dataset.table("expiring"), [bigquery.SchemaField(CREATED, "TIMESTAMP")])
        table.time_partitioning = bigquery.TimePartitioning(field=CREATED)
        given = client.get_table(client.create_table(table))
        assert any(ends_of(given)) or account.is_emulator, "the table has no end from its dataset"
        given.expires, partitioning = None, given.time_partitioning
        partitioning.expiration_ms = None  # is sent as null, which removes it
        given.time_partitioning = partitioning
        changed = client.update_table(given, ["expires", "time_partitioning"])
        assert ends_of(client.get_table(changed)) == (None, None)
        client.query_and_wait(f"INSERT INTO `{given.reference}` ({CREATED}) VALUES (TIMESTAMP '{FIRST.isoformat()}')")
        ((rows,),) = client.query_and_wait(f"SELECT COUNT(*) FROM `{given.reference}`")
        assert rows == 1, "a row of an old day is gone"
        stored = Table(account.expiring, "tickets")
        account.warehouse().merge(stored, TICKETS.columns, tickets(range(2), FIRST))
        assert not any(ends_of(client.get_table(f"{client.project}.{stored}")))
    return "removed, from a merged table, too"


def ends_of(table: bigquery.Table) -> tuple[datetime | None, int | None]:
    return table.expires, table.time_partitioning.expiration_ms if table.time_partitioning else None


def reads_small_answers_without_a_read_session(account: Account) -> str:
    """Read through a Storage API that refuses: an answer in the job itself needs none of it, a frame does."""
    with refusing_storage(account) as endpoint:
        warehouse = account.warehouse(storage_endpoint=endpoint)
        assert warehouse.counts(account.tickets, (), ()).rows > 0
        with account.client() as client:
            rows = client.query_and_wait(f"SELECT COUNT(*) AS n FROM {warehouse.dialect.name_of(account.tickets)}")
            assert rows.to_arrow(create_bqstorage_client=False).num_rows == 1
        counted = warehouse.query(account.dataset, f"SELECT COUNT(*) AS n FROM {warehouse.rows_of(account.tickets)}")
        assert counted.num_rows == 1
        frame = warehouse.read(account.tickets, ())
    return f"counted; a frame of {frame.num_rows:,} rows came by the REST API"


@contextmanager
def refusing_storage(account: Account) -> Iterator[str]:
    """Yield an endpoint that opens no read session: on an account, Google's own one of another API."""
    if not account.is_emulator:
        yield "bigquery.googleapis.com"
        return

    def refuse(_: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "bigquery.readsessions.create denied")

    class Refusing(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(refuse)

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[Refusing()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None)


def merges_where_a_partition_filter_is_required(account: Account) -> str:
    """Merge and update by statements that name a day in this project's way; a query without one is refused."""
    with account.client() as client:
        name = f"`{client.project}.{account.dataset}.filtered`"
        client.query_and_wait(
            f"CREATE TABLE {name} (id INT64, {CREATED} TIMESTAMP, subject STRING) PARTITION BY DATE({CREATED}) "
            "OPTIONS (require_partition_filter = TRUE)"
        )
        day, after = (f"TIMESTAMP '{(FIRST + number * DAY).isoformat(sep=' ')}'" for number in range(2))
        of_day = f"({{0}}{CREATED} IS NULL OR {{0}}{CREATED} >= {day} AND {{0}}{CREATED} < {after})"
        insert = f"INSERT (id, {CREATED}, subject) VALUES (1, {day}, '')"
        try:
            client.query_and_wait(
                f"MERGE INTO {name} AS target USING (SELECT 1 AS id) AS source "
                f"ON target.id = source.id AND {of_day.format('target.')} "
                f"WHEN MATCHED THEN UPDATE SET subject = '' WHEN NOT MATCHED THEN {insert}"
            )
        except BadRequest:  # the emulator wants the filter in a WHERE
            if not account.is_emulator:
                raise
            client.query_and_wait(insert.replace("INSERT", f"INSERT INTO {name}"))
        client.query_and_wait(f"UPDATE {name} SET subject = 'Thank you' WHERE id = 1 AND {of_day.format('')}")
        read = client.query_and_wait(f"SELECT subject FROM {name} WHERE {CREATED} >= {day}")
        assert [tuple(row) for row in read] == [("Thank you",)]
        try:
            client.query_and_wait(f"SELECT COUNT(*) FROM {name}")
        except BadRequest:
            return "one without a filter is refused"
    return fail()


def keeps_the_end_of_a_table_that_a_load_truncates(account: Account) -> str:
    """Load rows by WRITE_TRUNCATE into tables with an end of their own, also where tables have another by default."""
    ends = datetime.now(UTC).replace(microsecond=0) + 3 * DAY
    config = bigquery.LoadJobConfig(write_disposition="WRITE_TRUNCATE", schema=[bigquery.SchemaField("n", "INT64")])
    found = []
    with account.client() as client:
        for dataset in (account.dataset, account.expiring):
            table = bigquery.Table(f"{client.project}.{dataset}.truncated", config.schema)
            table.expires = ends
            client.create_table(table)
            client.load_table_from_json([{"n": 1}], table.reference, job_config=config).result()
            found.append(client.get_table(table).expires)
    assert found[0] == ends, f"it was {ends}, and is {found[0]}"
    return f"{ends:%F %H:%M} UTC; where tables expire by default, {found[1] or 'no end'}"


def stores_rows_of_dates_without_a_partition(account: Account) -> str:
    """Merge rows created before 1960 and after 2159, which have no partition of their own, and once more."""
    table, dates = Table(account.dataset, "tickets_of_odd_dates"), ["1950-01-01", "2025-03-01", "2200-01-01"]
    for read_at in (FIRST, FIRST + DAY):
        rows: list[Row] = [
            KINDS["tickets"].blank
            | {"id": n, "created_datetime": f"{date}T00:00:00+00:00", "subject": read_at.isoformat()}
            for n, date in enumerate(dates)
        ]
        typed = type_rows(rows, TICKETS.columns, read_at).table.append_column(
            "_is_touched", pa.array([True] * len(rows))
        )
        merged = account.warehouse().merge(table, TICKETS.columns, typed)
        assert (merged.rows, merged.new) == (3, 3 if read_at == FIRST else 0)
    with account.client() as client:
        place = f"{client.project}.{table}"
        read = client.query_and_wait(f"SELECT id, subject FROM `{place}` ORDER BY id")
        assert [tuple(row) for row in read] == [(n, (FIRST + DAY).isoformat()) for n in range(3)]
        if account.is_emulator:
            return "3 rows; partitions are not listed here: this is an emulator"
        partitions = client.list_partitions(place)
    return f"3 rows in the partitions {', '.join(sorted(partitions))}"


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
    prunes_as_many_ranges_as_a_statement_names,
    shows_a_new_column_in_a_view,
    shows_what_is_nested_in_views,
    removes_the_ends_that_a_dataset_gives_to_tables,
    reads_small_answers_without_a_read_session,
    merges_where_a_partition_filter_is_required,
    keeps_the_end_of_a_table_that_a_load_truncates,
    stores_rows_of_dates_without_a_partition,
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
            except (AssertionError, WarehouseError, GoogleAPICallError) as error:
                failed += 1
                print(f"FAILED  {name}: {error}", flush=True)
    finally:
        account.remove()
        print(f"removed the dataset {account.dataset}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
