"""The statements of a run: how many there are, what they name, and whose tables they change."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import time_machine

from gorgias_assets.entities import CORE, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.warehouse.bigquery import limits
from gorgias_assets.warehouse.tables import (
    Absences,
    After,
    Before,
    Counts,
    Dimension,
    Merged,
    Saved,
    Table,
    Tombstone,
    WarehouseError,
)
from gorgias_assets.warehouse.warehouse import MOST_WINDOWS
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import BigQueryProject, DuckDBFile, on_each_warehouse_in_time
from gorgias_assets_tests.sweeps.test_deletions import configure, create, gone, remove
from gorgias_assets_tests.warehouse.test_warehouse import (
    DAY,
    EVERYTHING,
    FIRST,
    HOUR,
    LETTERS,
    NOON,
    SECOND,
    THIRD,
    letter,
    merge,
    read_at,
)

FIRST_RUN, LATER_RUN = "2025-03-10", "2025-03-22"
CREATED = datetime(2025, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def project_on_bigquery(sandbox: Sandbox, bigquery: BigQueryProject) -> tuple[Project, BigQueryProject]:
    return Project(sandbox, bigquery), bigquery


def sent_during(bigquery: BigQueryProject, project: Project, *days: str, **options) -> list[str]:
    """Return the statements of a run of some days, in order."""
    before = len(bigquery.statements())
    project.materialize(*days, **options)
    return bigquery.statements()[before:]


def partition_rows(project: Project, result: Any) -> int:
    found = [
        entry.asset_materialization.metadata["dagster/partition_row_count"].value
        for entry in project.log(result)
        if entry.asset_materialization and "dagster/partition_row_count" in entry.asset_materialization.metadata
    ]
    return found[-1]


def verbs(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


def test_a_daily_run_of_an_asset_from_which_nothing_is_gone_sends_five_statements(project_on_bigquery, account):
    project, bigquery = project_on_bigquery
    create(account, TICKETS, 30)
    project.materialize(FIRST_RUN, select=["tickets"])
    create(account, TICKETS, 30, CREATED + 12 * DAY)
    sent = sent_during(bigquery, project, LATER_RUN, select=["tickets"])
    assert verbs(sent) == ["SELECT", "MERGE", "MERGE", "SELECT", "DELETE"]
    assert len(project.table(TICKETS)) == 60


@on_each_warehouse_in_time
def test_what_is_known_before_a_reading_is_asked_for_at_once(engine):
    warehouse = engine.warehouse()
    assert warehouse.before(LETTERS, "march") == Before()
    merge(engine, read_at(FIRST, letter(1)))
    assert warehouse.before(LETTERS, "march") == Before(newest=FIRST, exists=True)
    warehouse.save_account(LETTERS, "acme")
    warehouse.save_policy(LETTERS, "strict")
    merge(engine, read_at(SECOND, letter(2)), Saved("march", "{}"))
    assert warehouse.before(LETTERS, "march") == Before("acme", "{}", SECOND, "strict", exists=True)
    assert warehouse.before(LETTERS, "april") == Before("acme", None, SECOND, "strict", exists=True)


@on_each_warehouse_in_time
def test_the_state_after_a_reading_is_that_of_each_question_by_itself(engine):
    warehouse, fields = engine.warehouse(), ("created_datetime", "opened_datetime")
    windows = [Window(NOON - DAY, NOON), Window(NOON, NOON + DAY), Window(NOON + 9 * DAY, NOON + 10 * DAY)]
    nothing = After(0, 0, Absences(0, 0, 0), Counts(0, [0, 0, 0]))
    assert warehouse.after(LETTERS, EVERYTHING, SECOND, fields, windows) == nothing
    rows = [letter(1), letter(2, NOON - HOUR), letter(3, None), letter(4), letter(5, opened_datetime=NOON.isoformat())]
    merge(engine, read_at(FIRST, *rows))
    merge(engine, read_at(SECOND, letter(1)))
    warehouse.settle_candidates(LETTERS, [4], [Tombstone(4, SECOND)], {})
    for since in (FIRST, SECOND):
        for covered in (EVERYTHING, ("created_datetime", NOON, None), ("created_datetime", None, NOON)):
            counts = warehouse.counts(LETTERS, fields, windows)
            asked = After(0, 0, warehouse.absences(LETTERS, covered, since), counts)
            assert warehouse.after(LETTERS, covered, since, fields, windows) == asked
            assert counts == Counts(5, [1, 2, 0])
    assert warehouse.after(LETTERS, EVERYTHING, None).absences == Absences(0, 3, 0)


def test_in_bigquery_copies_are_found_by_the_same_query_and_rows_without_an_id_are_none(bigquery):
    merge(bigquery, read_at(FIRST, letter(1), letter(2), letter(3)))
    bigquery.execute(
        "INSERT INTO post.letters SELECT * FROM post.letters WHERE id < 3",
        "INSERT INTO post.letters (id) VALUES (NULL), (NULL)",
    )
    assert bigquery.warehouse().after(LETTERS, EVERYTHING, SECOND).copies == 2


@pytest.mark.soak
def test_in_bigquery_a_run_that_finds_copies_removes_them_before_it_looks_for_rows_that_are_gone(
    project_on_bigquery, account
):
    project, bigquery = project_on_bigquery
    create(account, TICKETS, 3)
    project.materialize(FIRST_RUN, select=["tickets"])
    bigquery.execute("INSERT INTO gorgias.tickets SELECT * FROM gorgias.tickets")
    result = project.materialize(LATER_RUN, select=["tickets"])
    assert project.metadata(result, TICKETS)["dagster/row_count"] == len(project.table(TICKETS)) == 3


def test_counts_of_a_run_that_has_marked_rows_are_those_after_it(project, account):
    first, second, _ = create(account, TICKETS, 3)
    project.materialize(FIRST_RUN, select=["tickets"])
    account.delete("tickets", first)
    account.delete("tickets", second)
    result = project.materialize(FIRST_RUN, select=["tickets"])
    metadata = project.metadata(result, TICKETS)
    assert (metadata["rows_gone"], metadata["dagster/row_count"]) == (2, 3)
    assert partition_rows(project, result) == 1


# Many ids, windows, keys and days


MANY = 105_000  # ids that events of a purge name; one by one, each with 10 digits, they are more than a statement takes


@on_each_warehouse_in_time
def test_more_ids_than_a_statement_takes_are_named_all_the_same(engine):
    warehouse, ids = engine.warehouse(), [10**9 + number for number in range(MANY)]
    stored_ids = [7, ids[0], ids[-1]]
    merge(engine, read_at(FIRST, *(letter(i, NOON - 9 * DAY) for i in stored_ids)))
    late = ("created_datetime", NOON, None)
    assert warehouse.absences(LETTERS, EVERYTHING, SECOND, ids) == Absences(1, 3, 1)
    warehouse.note_candidates(LETTERS, late, ids, SECOND, THIRD)
    assert {row["id"] for row in warehouse.candidates(LETTERS, ["id"], 10).rows} == set(ids) & set(stored_ids)
    assert warehouse.kin(LETTERS, "data", ids, SECOND, 5) == []
    stones = [Tombstone(i, SECOND, 7, is_merged=True) for i in ids[: limits.ROWS_OF_A_STATEMENT + 10]]
    assert warehouse.settle_candidates(LETTERS, ids, stones, {LETTERS: "letter_id"}) == 0
    assert warehouse.merges(LETTERS, ids, FIRST) == [ids[0], 7]
    assert warehouse.candidates(LETTERS, ["id"], 10).rows == []


@pytest.mark.soak
def test_in_bigquery_no_statement_that_names_many_ids_is_longer_than_google_allows(bigquery):
    ids = [10**9 + number for number in range(MANY)]
    merge(bigquery, read_at(FIRST, letter(ids[0])))
    warehouse, far = bigquery.warehouse(), 2**62
    warehouse.note_candidates(LETTERS, EVERYTHING, ids, SECOND, THIRD)
    warehouse.merges(LETTERS, range(far, far + limits.IDS_OF_A_STATEMENT), FIRST)
    lengths = [len(statement) for statement in bigquery.statements()]
    assert limits.STATEMENT_BYTES / 3 < max(lengths) < limits.STATEMENT_BYTES
    with bigquery.client() as client:
        assert not [table for table in client.list_tables("post") if table.table_id.startswith("_staging")]


def test_in_bigquery_a_statement_that_is_too_long_all_the_same_is_refused_before_it_is_sent(bigquery):
    merge(bigquery, read_at(FIRST, letter(1)))
    sent = len(bigquery.statements())
    keys = tuple(f"key number {number}" for number in range(60_000))
    with pytest.raises(WarehouseError, match="materialize or load fewer partitions at once") as refusal:
        bigquery.warehouse().read(LETTERS, (Dimension(("text",), keys),))
    assert "key number" not in str(refusal.value)
    assert len(bigquery.statements()) == sent


def test_in_bigquery_a_batch_of_more_days_than_a_job_may_change_is_merged_in_parts(bigquery):
    days = limits.PARTITIONS_OF_A_JOB + 3
    rows = [letter(i, NOON - i * DAY) for i in range(days)] + [letter(days + i, None) for i in range(2)]
    assert merge(bigquery, read_at(FIRST, *rows)) == Merged(days + 2, new=days + 2)
    merges = [statement for statement in bigquery.statements() if "INTO `local.post.letters`" in statement]
    assert len(merges) == 2
    assert merge(bigquery, read_at(SECOND, *rows)) == Merged(days + 2, new=0)


@on_each_warehouse_in_time
def test_rows_are_counted_exactly_in_windows_of_any_length_that_may_overlap(engine):
    random = Random(4)

    def moment() -> datetime:
        whole = random.random() < 0.3
        minutes = random.randrange(0, 20 * 24 * 60, 1440 if whole else 1)
        return NOON.replace(hour=0) + timedelta(minutes=minutes)

    windows = [Window(*sorted((moment(), moment()))) for _ in range(40)]
    rows = [letter(i, moment(), opened_datetime=random.choice([None, moment().isoformat()])) for i in range(300)]
    merge(engine, read_at(FIRST, *rows))
    touches = [
        {datetime.fromisoformat(row[name]) for name in ("created_datetime", "opened_datetime") if row.get(name)}
        for row in rows
    ]
    expected = [
        sum(any(window.start <= touch < window.end for touch in moments) for moments in touches) for window in windows
    ]
    fields = ("created_datetime", "opened_datetime")
    assert engine.warehouse().counts(LETTERS, fields, windows) == Counts(300, expected)
    many = [windows[number % 40] for number in range(MOST_WINDOWS + 1)]
    counted = engine.warehouse().after(LETTERS, EVERYTHING, FIRST, fields, many).counts
    assert counted == Counts(300, [expected[number % 40] for number in range(len(many))])


def test_a_year_of_days_is_counted_by_a_join_on_the_day(tmp_path):
    """Compared with all 365 windows, 200,000 touches took seconds."""
    engine = DuckDBFile(tmp_path / "warehouse.duckdb")
    merge(engine, read_at(FIRST, letter(1)))
    engine.execute(
        "INSERT INTO post.letters (id, created_datetime) SELECT range, TIMESTAMPTZ '2025-01-01' + "
        "INTERVAL 150 SECONDS * range FROM range(2, 200_002)"
    )
    start = datetime(2025, 1, 1, tzinfo=UTC)
    windows = [Window(start + n * DAY, start + (n + 1) * DAY) for n in range(365)]
    plan = engine.query(f"EXPLAIN {engine.warehouse()._touched('post.letters', ('created_datetime',), windows)}")[0][1]
    assert "HASH_JOIN" in plan
    assert not re.search("NESTED_LOOP|CROSS_PRODUCT|IE_JOIN|PIECEWISE", plan)
    assert sum(engine.warehouse().counts(LETTERS, ("created_datetime",), windows).touched) == 200_001


# A day of a table that is partitioned by another day


def touched_on(day: datetime, *, extra: tuple[Dimension, ...] = ()) -> tuple[Dimension, ...]:
    return (Dimension(("created_datetime", "opened_datetime"), (Window(day, day + DAY),)), *extra)


MIDNIGHT = NOON.replace(hour=0)


def test_in_bigquery_a_day_of_touches_is_read_from_the_days_on_which_its_rows_were_created(bigquery):
    opened = (NOON + HOUR).isoformat()
    rows = [letter(1), letter(2, NOON - 40 * DAY, opened_datetime=opened), letter(3, NOON - 40 * DAY)]
    rows += [letter(4, NOON + DAY), letter(5, None, opened_datetime=opened), letter(6, NOON - 5 * DAY)]
    merge(bigquery, read_at(FIRST, *rows))
    sent = len(bigquery.statements())
    found = bigquery.warehouse().read(LETTERS, touched_on(MIDNIGHT))
    assert sorted(found["id"].to_pylist()) == [1, 2, 5]
    days, wanted = bigquery.statements()[sent:]
    assert days.startswith("SELECT DISTINCT TIMESTAMP_TRUNC(created_datetime, DAY) FROM `local.post.letters` WHERE")
    touches = days.partition(" WHERE ")[2]
    assert wanted == (
        f"SELECT * FROM `local.post.letters` WHERE ({touches}) AND (created_datetime IS NULL"
        " OR created_datetime >= TIMESTAMP '2025-01-29 00:00:00+00:00'"
        " AND created_datetime < TIMESTAMP '2025-01-30 00:00:00+00:00'"
        " OR created_datetime >= TIMESTAMP '2025-03-10 00:00:00+00:00'"
        " AND created_datetime < TIMESTAMP '2025-03-11 00:00:00+00:00')"
    )
    with_key = touched_on(MIDNIGHT, extra=(Dimension(("id",), ("2", "3")),))
    assert bigquery.warehouse().read(LETTERS, with_key, ["id"])["id"].to_pylist() == [2]
    assert bigquery.warehouse().read(LETTERS, touched_on(MIDNIGHT + 9 * DAY)).num_rows == 0


def test_in_bigquery_a_slice_by_the_partition_column_itself_or_a_whole_table_is_read_at_once(bigquery):
    merge(bigquery, read_at(FIRST, letter(1)))
    by_creation = (Dimension(("created_datetime",), (Window(MIDNIGHT, MIDNIGHT + DAY),)),)
    for where in ((), by_creation):
        sent = len(bigquery.statements())
        assert bigquery.warehouse().read(LETTERS, where)["id"].to_pylist() == [1]
        assert len(bigquery.statements()) == sent + 1


def test_in_bigquery_a_frame_that_is_partitioned_by_a_column_of_its_own_is_read_at_once(bigquery):
    rows = pa.table({"day": [date(2025, 3, 10), date(2025, 3, 11)], "n": [1, 2]})
    window = (Dimension(("day",), (Window(MIDNIGHT, MIDNIGHT + 2 * DAY),)),)
    table = Table("post", "sums")
    bigquery.warehouse().replace(table, rows, window)
    sent = len(bigquery.statements())
    assert bigquery.warehouse().read(table, (Dimension(("day",), (Window(MIDNIGHT, MIDNIGHT + DAY),)),)).num_rows == 1
    (statement,) = bigquery.statements()[sent:]
    assert statement.endswith(" WHERE (day >= DATE '2025-03-10' AND day < DATE '2025-03-11')")


# Small tables about each table


CHANGES = re.compile(
    r"(?:MERGE INTO|DELETE FROM|INSERT INTO|UPDATE|CREATE TABLE IF NOT EXISTS|ALTER TABLE) `local\.gorgias\.(\w+)`"
)


def changed_by(bigquery: BigQueryProject, project: Project, entity: Entity, day: str) -> set[str]:
    """Return the tables that the statements of a run of one asset change."""
    sent = sent_during(bigquery, project, day, select=[entity.name])
    changing = [statement for statement in sent if not statement.startswith("SELECT")]
    found = [CHANGES.match(statement) for statement in changing]
    assert all(found), "an unknown verb"
    return {match[1] for match in found if match}


@pytest.mark.soak
def test_in_bigquery_no_two_assets_change_the_same_table_even_if_rows_are_gone(project_on_bigquery, account):
    project, bigquery = project_on_bigquery
    for entity in CORE:
        create(account, entity, 3)
    project.materialize(FIRST_RUN)
    for entity in CORE:
        remove(account, entity, [create(account, entity, 1)[0] - 1])
    changed = {entity.name: changed_by(bigquery, project, entity, FIRST_RUN) for entity in CORE}
    for name, tables in changed.items():
        assert {name, f"_sweep_positions_{name}", f"_gone_candidates_{name}"} <= tables
    cascaded = {"tickets": {"ticket_messages"}}  # a deleted ticket's messages are gone with it
    own = [tables - cascaded.get(name, set()) for name, tables in changed.items()]
    assert sum(map(len, own)) == len(set().union(*own))


TICKETS_TABLE = Table("gorgias", "tickets")
SHARED = (
    "CREATE TABLE gorgias._sweep_positions (table_name {text}, sweep {text}, position {text}, saved_at {moment})",
    "CREATE TABLE gorgias._gone_candidates (table_name {text}, id {integer}, noted_at {moment})",
    "CREATE TABLE gorgias._accounts (table_name {text}, account {text})",
    "INSERT INTO gorgias._sweep_positions "
    "SELECT '{table}', sweep, position, saved_at FROM gorgias._sweep_positions_{table}",
    "INSERT INTO gorgias._sweep_positions VALUES ('another', 'march', 'no', {moment} '2025-03-01 00:00:00+00')",
    "INSERT INTO gorgias._gone_candidates VALUES ('{table}', {noted}, {moment} '2100-01-01 00:00:00+00')",
    "INSERT INTO gorgias._gone_candidates VALUES ('another', 77, {moment} '2100-01-01 00:00:00+00')",
    "INSERT INTO gorgias._accounts SELECT '{table}', account FROM gorgias._accounts_{table}",
    "INSERT INTO gorgias._accounts VALUES ('another', 'nobody')",
    "DROP TABLE gorgias._sweep_positions_{table}",
    "DROP TABLE gorgias._accounts_{table}",
)


@on_each_warehouse_in_time
def test_what_all_tables_noted_together_before_is_carried_over(project, account, sandbox, engine):
    """A version before had one table of positions, of candidates and of accounts for all tables."""
    (noted,), table, warehouse = create(account, TICKETS, moment=CREATED - DAY), TICKETS_TABLE, engine.warehouse()
    project.materialize("2025-03-09", select=["tickets"])
    create(account, TICKETS, 400)
    configure(project)
    sandbox.faults.append(Fault(503, skip=2, times=None))
    assert not project.materialize(FIRST_RUN, select=["tickets"], raise_on_error=False).success
    types = {
        "text": warehouse.dialect.text_type,
        "moment": warehouse.dialect.moment_type,
        "integer": engine.integer,
    }
    engine.execute(*(statement.format(table="tickets", noted=noted, **types) for statement in SHARED))
    known = warehouse.before(table, window_key(FIRST_RUN))
    assert (known.account, known.position is None) == ("sandbox", False)
    assert [row["id"] for row in warehouse.candidates(table, ["id"], 9).rows] == [noted]
    account.delete("tickets", noted)
    sandbox.faults.clear()
    result = project.materialize(FIRST_RUN, select=["tickets"])
    assert "resumed_from" in project.metadata(result, TICKETS)
    assert gone(project, TICKETS) == {noted: None}
    assert engine.query("SELECT * FROM gorgias._gone_candidates_tickets") == []
    assert engine.query("SELECT * FROM gorgias._sweep_positions_tickets") == []
    described = engine.descriptions("gorgias", "_gone_candidates_tickets")
    assert described["looks"] == "How often its own path did not say if it is gone."
    warehouse.save_account(table, "renamed")
    assert warehouse.before(table, "any").account == "renamed"
    assert engine.query("SELECT COUNT(*) FROM gorgias._accounts_tickets") == [(1,)]


def window_key(day: str) -> str:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return f"{Window(start, start + DAY)}, looking back {timedelta()}"


# Runs that keep today fresh


NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
TODAY = f"{NOW:%Y-%m-%d}"


@pytest.fixture
def account_of_today() -> Iterator[Sandbox]:
    """Serve an account at `NOW`: midnight may have gone by. BigQuery's fixture comes first, its time is the present."""
    with time_machine.travel(NOW), Sandbox(SandboxAccount(now=NOW)) as sandbox:
        yield sandbox


def test_in_bigquery_a_run_that_keeps_today_fresh_sends_two_statements_or_three_if_rows_are_new(
    bigquery, account_of_today
):
    project, account = Project(account_of_today, bigquery), account_of_today.account
    create(account, TICKETS, 3, NOW - 5 * DAY)
    (ticket,) = create(account, TICKETS, moment=NOW - MINUTE)
    project.materialize(TODAY, select=["tickets"])
    create(account, TICKETS, moment=NOW - MINUTE)
    assert verbs(sent_during(bigquery, project, TODAY, select=["tickets"], look_back=False)) == [
        "SELECT",
        "MERGE",
        "SELECT",
    ]
    account.update("tickets", ticket, subject="changed")
    account_of_today.requests.clear()
    sent = sent_during(bigquery, project, TODAY, select=["tickets"], look_back=False)
    assert verbs(sent) == ["SELECT", "MERGE"]
    assert set(re.findall(r"`local\.gorgias\.(\w+)`", sent[0])) == {"_accounts_tickets", "_sweep_positions_tickets"}
    assert {request.path for request in account_of_today.requests} == {"/api/tickets"}
    assert project.table(TICKETS)[ticket]["subject"] == "changed"


@pytest.mark.soak
def test_in_bigquery_a_run_that_keeps_today_fresh_removes_copies_of_new_rows(bigquery, account_of_today):
    project, account = Project(account_of_today, bigquery), account_of_today.account
    create(account, TICKETS, 2, NOW - 3 * MINUTE)
    project.materialize(TODAY, select=["tickets"])
    bigquery.execute("INSERT INTO gorgias.tickets SELECT * FROM gorgias.tickets")
    create(account, TICKETS, moment=NOW - MINUTE)
    project.materialize(TODAY, select=["tickets"], look_back=False)
    assert len(project.table(TICKETS)) == 3


def test_a_run_that_keeps_today_fresh_leaves_rows_that_events_name_as_deleted_to_the_daily_run(
    account_of_today, engine
):
    project, account = Project(account_of_today, engine), account_of_today.account
    (deleted,) = create(account, TICKETS, moment=NOW - 5 * DAY)
    project.materialize(f"{NOW - 5 * DAY:%Y-%m-%d}", select=["tickets"])
    create(account, TICKETS, 100, NOW - 3 * MINUTE)
    account.delete("tickets", deleted)
    fresh = project.materialize(TODAY, select=["tickets"], look_back=False)
    assert gone(project, TICKETS) == {}
    metadata = project.metadata(fresh, TICKETS)
    assert metadata["rows_new"] == 100
    assert "dagster/row_count" not in metadata
    assert metadata["began_at"] < (NOW.replace(hour=0, minute=0, second=0, microsecond=0) + DAY).timestamp()
    daily = project.materialize(TODAY, select=["tickets"])
    assert gone(project, TICKETS) == {deleted: None}
    assert project.metadata(daily, TICKETS)["dagster/row_count"] == 101


def test_a_run_that_keeps_today_fresh_resumes_if_it_is_interrupted_after_a_batch(account_of_today, tmp_path):
    project, account = Project(account_of_today, tmp_path / "warehouse.duckdb"), account_of_today.account
    configure(project)
    create(account, TICKETS, 300, NOW - timedelta(seconds=400))
    account_of_today.faults.append(Fault(503, skip=1, times=None))
    assert not project.materialize(TODAY, select=["tickets"], raise_on_error=False, look_back=False).success
    account_of_today.faults.clear()
    result = project.materialize(TODAY, select=["tickets"], look_back=False)
    assert "resumed_from" in project.metadata(result, TICKETS)
    assert len(project.table(TICKETS)) == 300
    assert project.query("SELECT * FROM gorgias._sweep_positions_tickets") == []
