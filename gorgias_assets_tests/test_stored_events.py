"""Events that are stored are not requested again, by what looks for deleted rows and by what compares tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CUSTOMERS, EVENTS, TICKETS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.stored_events import StoredEvents
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time

CREATED_ON, DELETED_ON, DAY_AFTER = "2025-03-10", "2025-03-12", datetime(2025, 3, 13, tzinfo=UTC)
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
GONE = ("ticket-deleted", "ticket-merged")


@pytest.fixture
def account() -> Account:
    return Account(now=NOON)


@pytest.fixture
def project(sandbox, engine) -> Project:
    return Project(sandbox, engine, [TICKETS, CUSTOMERS, EVENTS])


def delete_one_of_two_hundred(project) -> int:
    """Create tickets on one day and read it, delete one of them two days later, and let that day end."""
    account = project.sandbox.account
    ids = [account.create("tickets")["id"] for _ in range(200)]
    account.now = NOON + timedelta(days=2)
    project.materialize(CREATED_ON, select=["tickets"])
    account.delete("tickets", ids[0])
    account.now = DAY_AFTER + timedelta(hours=1)
    return ids[0]


def calls_of_events(project) -> list[str]:
    return [request.params["types"] for request in project.sandbox.requests if request.path == "/api/events"]


@on_each_warehouse_in_time
def test_a_deletion_is_found_by_the_stored_events_of_its_day_without_a_call_for_them(project):
    gone = delete_one_of_two_hundred(project)
    project.materialize(DELETED_ON, select=["events"])
    project.sandbox.requests.clear()
    project.materialize(DELETED_ON, select=["tickets"])
    assert calls_of_events(project) == []
    assert project.query("SELECT id FROM gorgias.tickets WHERE _deleted_at IS NOT NULL") == [(gone,)]


def test_a_run_of_all_reads_events_first_and_requests_no_other_ones(project):
    delete_one_of_two_hundred(project)
    project.sandbox.requests.clear()
    project.materialize(DELETED_ON)
    events = [request for request in project.sandbox.requests if request.path == "/api/events"]
    assert [request.params.get("types") for request in events] == [None]


def test_events_of_some_types_alone_are_no_help_for_others(project):
    delete_one_of_two_hundred(project)
    project.assets = build_assets(replace(project.deployed, event_types=("ticket-created",)))
    project.materialize(DELETED_ON, select=["events"])
    table = StoredEvents(project.engine.warehouse(), Table("gorgias", "events"))
    day = Window(DAY_AFTER - timedelta(days=1), DAY_AFTER)
    assert table(["ticket-created"], day) == []
    assert table(GONE, day) is None
    assert table(["ticket-created"], Window(day.start, day.end + timedelta(hours=2))) is None, "today is not over"
