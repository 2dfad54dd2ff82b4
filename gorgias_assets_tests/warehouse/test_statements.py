"""The statements of a run: how many there are, what they name, and whose tables they change."""

from datetime import UTC, datetime

import pytest

from gorgias_assets.entities import TICKETS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.warehouse.tables import Absences, After, Before, Counts, Saved, Tombstone
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import BigQueryProject, on_each_warehouse
from gorgias_assets_tests.sweeps.test_deletions import create
from gorgias_assets_tests.warehouse.test_warehouse import (
    DAY,
    EVERYTHING,
    FIRST,
    HOUR,
    LETTERS,
    NOON,
    SECOND,
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


@on_each_warehouse
def test_what_is_known_before_a_reading_is_asked_for_at_once(engine):
    warehouse = engine.warehouse()
    assert warehouse.before(LETTERS, "march") == Before()
    merge(engine, read_at(FIRST, letter(1)))
    assert warehouse.before(LETTERS, "march") == Before(newest=FIRST)
    warehouse.save_account(LETTERS, "acme")
    merge(engine, read_at(SECOND, letter(2)), Saved("march", "{}"))
    assert warehouse.before(LETTERS, "march") == Before("acme", "{}", SECOND)
    assert warehouse.before(LETTERS, "april") == Before("acme", None, SECOND)


@on_each_warehouse
def test_the_state_after_a_reading_is_that_of_each_question_by_itself(engine):
    warehouse, fields = engine.warehouse(), ("created_datetime", "opened_datetime")
    windows = [Window(NOON - DAY, NOON), Window(NOON, NOON + DAY), Window(NOON + 9 * DAY, NOON + 10 * DAY)]
    nothing = After(0, Absences(0, 0, 0), Counts(0, [0, 0, 0]))
    assert warehouse.after(LETTERS, EVERYTHING, SECOND, fields, windows) == nothing
    rows = [letter(1), letter(2, NOON - HOUR), letter(3, None), letter(4), letter(5, opened_datetime=NOON.isoformat())]
    merge(engine, read_at(FIRST, *rows))
    merge(engine, read_at(SECOND, letter(1)))
    warehouse.settle_candidates(LETTERS, [4], [Tombstone(4, SECOND)], {})
    for since in (FIRST, SECOND):
        for covered in (EVERYTHING, ("created_datetime", NOON, None), ("created_datetime", None, NOON)):
            counts = warehouse.counts(LETTERS, fields, windows)
            asked = After(0, warehouse.absences(LETTERS, covered, since), counts)
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


def partition_rows(project: Project, result) -> int:
    found = [
        entry.asset_materialization.metadata["dagster/partition_row_count"].value
        for entry in project.log(result)
        if entry.asset_materialization and "dagster/partition_row_count" in entry.asset_materialization.metadata
    ]
    return found[-1]
