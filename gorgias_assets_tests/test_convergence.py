"""The table converges: materialized in any order, any number of times, it ends as the account is."""

import tempfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gorgias_assets.entities import CORE, TICKETS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import (
    BigQueryProject,
    DuckDBFile,
    Engine,
    on_each_warehouse_in_time,
)

FIRST = date.fromisoformat(FIRST_DAY)
OPENED = datetime(2025, 3, 3, tzinfo=UTC)
DAYS = 8  # from FIRST; the shop has closed for good by then

days = st.integers(0, DAYS - 1)
ranges = st.tuples(days, days).map(sorted)
hours_between = st.integers(0, 30)


def day(offset: int) -> str:
    return (FIRST + timedelta(days=offset)).isoformat()


def assert_table_is_account(project: Project) -> None:
    """Assert one row per id, equal in every field to the account's, for all created since the first partition."""
    for entity in CORE:
        table = project.table(entity)
        live = {i: row for i, row in project.live_rows(entity).items() if row["created_datetime"].date() >= FIRST}
        assert {row_id: table.get(row_id) for row_id in live} == live, entity.name
        assert all(project.is_gone(entity, row_id) for row_id in table.keys() - project.live_rows(entity).keys())


histories = given(
    seed=st.integers(0, 1000),
    runs=st.lists(st.tuples(hours_between, ranges), max_size=6),
    minutes_per_page=st.integers(0, 90),
    cuts=st.sets(st.integers(1, DAYS - 1), max_size=3),
    last_pass=st.randoms(use_true_random=False),
)


def so_many(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )


@so_many(2)
@histories
def test_any_order_repetition_and_overlap_of_partitions_of_a_living_account_ends_in_the_account_s_rows(**history):
    with tempfile.TemporaryDirectory() as folder:
        live_and_materialize(DuckDBFile(Path(folder) / "warehouse.duckdb"), **history)


@pytest.mark.soak
@so_many(20)
@histories
def test_no_history_among_many_ends_in_other_rows(**history):
    with tempfile.TemporaryDirectory() as folder:
        lives = Brand if history["seed"] % 2 else Shop
        live_and_materialize(DuckDBFile(Path(folder) / "warehouse.duckdb"), **history, lives=lives)


@pytest.mark.soak
@so_many(3)
@histories
def test_any_order_repetition_and_overlap_of_partitions_ends_in_the_account_s_rows_in_bigquery_too(emulator, **history):
    project = BigQueryProject(emulator)
    live_and_materialize(project, **history)
    project.clear()


def live_and_materialize(
    engine: Engine,
    seed: int,
    runs: list[tuple[int, list[int]]],
    minutes_per_page: int,
    cuts: set[int],
    last_pass: Random,
    lives: type[Brand | Shop] = Shop,
) -> None:
    """Materialize ranges of days while a shop lives on, then every day once more, and compare."""
    account = Account(now=OPENED)
    shop = lives(account, seed=seed, tickets_per_day=25)
    with Sandbox(account) as sandbox:
        project = Project(sandbox, engine)
        closing = datetime.combine(FIRST + timedelta(days=DAYS), datetime.min.time(), UTC) - timedelta(hours=1)
        sandbox.after_page = lambda _: shop.live(until=min(account.now + timedelta(minutes=minutes_per_page), closing))
        for hours, (first, last) in runs:
            shop.live(until=min(account.now + timedelta(hours=hours), closing))
            project.materialize(day(first), day(last))
        sandbox.after_page = None
        edges = [0, *sorted(cuts), DAYS]
        pieces = list(pairwise(edges))
        last_pass.shuffle(pieces)
        for first, end in pieces:
            project.materialize(day(first), day(end - 1))
        assert_table_is_account(project)


@pytest.mark.soak
def test_days_one_by_one_end_as_one_range_does(tmp_path):
    account = Account(now=OPENED)
    Shop(account, seed=3, tickets_per_day=25).live(until=OPENED + timedelta(days=4))
    with Sandbox(account) as sandbox:
        one_by_one, at_once = Project(sandbox, tmp_path / "days.duckdb"), Project(sandbox, tmp_path / "range.duckdb")
        for offset in range(DAYS):
            one_by_one.materialize(day(offset))
        at_once.materialize(day(0), day(DAYS - 1))
        assert_table_is_account(one_by_one)
        assert_table_is_account(at_once)


@on_each_warehouse_in_time
def test_a_replayed_day_still_holds_a_row_that_was_edited_on_a_later_day(project, account):
    account.now = datetime(2025, 4, 2, tzinfo=UTC)
    ticket = account.create("tickets", subject="late parcel")
    account.advance(timedelta(days=5))
    account.update("tickets", ticket["id"], status="closed")
    result = project.materialize("2025-04-02", select=["tickets"])
    (materialization,) = result.asset_materializations_for_node("gorgias__tickets")
    assert materialization.metadata["dagster/partition_row_count"].value == 1
    assert project.query("SELECT id, status FROM gorgias.tickets") == [(ticket["id"], "closed")]


@on_each_warehouse_in_time
def test_a_survey_scored_days_after_it_was_created_is_in_both_partitions_with_its_score(project, account):
    account.now = datetime(2025, 4, 2, tzinfo=UTC)
    survey = account.create("satisfaction_surveys", ticket_id=1, customer_id=2)
    project.materialize("2025-04-02", select=["satisfaction_surveys"])
    account.advance(timedelta(days=9))
    account.update("satisfaction_surveys", survey["id"], score=4, scored_datetime=account.now)
    project.materialize("2025-04-11", select=["satisfaction_surveys"])
    assert project.query("SELECT id, score FROM gorgias.satisfaction_surveys") == [(survey["id"], 4)]
    result = project.materialize("2025-04-02", select=["satisfaction_surveys"])
    (materialization,) = result.asset_materializations_for_node("gorgias__satisfaction_surveys")
    assert materialization.metadata["dagster/partition_row_count"].value == 1


@on_each_warehouse_in_time
def test_a_row_read_earlier_never_replaces_one_read_later(project, account):
    """Two sweeps side by side: the one that read first commits last."""
    ticket = account.create("tickets", created_datetime=datetime(2025, 3, 31, 12, tzinfo=UTC), status="open")
    resource = project.resources["gorgias"]
    window = (datetime(2025, 3, 31, tzinfo=UTC), datetime(2025, 4, 2, tzinfo=UTC))
    (earlier,) = resource.sweep(TICKETS, *window).batches()
    account.update("tickets", ticket["id"], status="closed")
    project.materialize("2025-03-31", "2025-04-01", select=["tickets"])
    merged = project.engine.warehouse().merge(Table("gorgias", "tickets"), TICKETS.columns, earlier.rows)
    assert (merged.rows, merged.new) == (0, 0)
    assert project.query("SELECT status FROM gorgias.tickets") == [("closed",)]
