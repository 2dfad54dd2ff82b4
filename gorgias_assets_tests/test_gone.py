"""Gone rows: what Gorgias has deleted or merged is marked, what is merely absent is not, and nothing is dropped."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb
import pytest

from gorgias_assets.definitions import defs
from gorgias_assets.entities import CUSTOMERS, TICKET_MESSAGES, TICKETS
from gorgias_assets.io_managers.duckdb import DuckDBWarehouse
from gorgias_assets.io_managers.warehouse import Table
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.schedules import full_sweep_job
from gorgias_assets_tests.conftest import Project

MIDNIGHT = datetime(2025, 4, 1, tzinfo=UTC)
FIRST, SECOND = "2025-04-01", "2025-04-02"


class Shop:
    """A ticket with two messages and a survey, of a customer, and another of each; read on the evening of `FIRST`."""

    def __init__(self, project: Project) -> None:
        account = self.account = project.account
        account.now = MIDNIGHT + timedelta(hours=9)
        self.customers = [account.create("customers", name=name)["id"] for name in ("Ada", "Bo")]
        self.tickets = [account.create("tickets", customer={"id": customer})["id"] for customer in self.customers]
        self.messages = [account.create("messages", ticket_id=self.tickets[n // 2])["id"] for n in range(4)]
        self.surveys = [account.create("satisfaction_surveys", ticket_id=ticket)["id"] for ticket in self.tickets]
        account.now = MIDNIGHT + timedelta(hours=23)
        project.materialize(FIRST)
        account.now = MIDNIGHT + timedelta(hours=33)


@pytest.fixture
def shop(project: Project) -> Shop:
    return Shop(project)


def gone(project: Project, table: str) -> list[int]:
    return [row_id for (row_id,) in project.query(f"SELECT id FROM gorgias.{table} WHERE _deleted_at IS NOT NULL")]


def living(project: Project, table: str) -> list[int]:
    return sorted(row_id for (row_id,) in project.query(f"SELECT id FROM gorgias.{table}_live"))


def lookups(sandbox: Sandbox) -> int:
    return sum(request.path.rsplit("/", 1)[-1].isdigit() for request in sandbox.requests)


def full_sweep(project: Project, **settings: Any) -> dg.ExecuteInProcessResult:
    names = [asset.key.path[-1] for asset in project.assets]
    return dg.materialize(
        project.assets,
        instance=project.instance,
        resources=project.resources,
        run_config={"ops": {f"gorgias__{name}": {"config": {"full": True}} for name in names}},
        tags={"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": SECOND},
        **settings,
    )


def test_a_deleted_ticket_is_marked_the_next_day_with_its_messages_and_not_its_survey(project, shop):
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    metadata = project.metadata(project.materialize(SECOND, select=["tickets"]), TICKETS)
    assert gone(project, "tickets") == [shop.tickets[0]]
    assert sorted(gone(project, "ticket_messages")) == shop.messages[:2]
    assert gone(project, "satisfaction_surveys") == []
    assert living(project, "tickets") == [shop.tickets[1]]
    assert living(project, "ticket_messages") == shop.messages[2:]
    told = ("rows_looked_for", "rows_gone", "rows_gone_along", "rows_to_look_for", "dagster/row_count")
    assert [metadata[name] for name in told] == [1, 1, 2, 0, 2]


@pytest.mark.parametrize("kind", ["customers", "tickets"])
def test_a_merged_row_says_into_which_id(project, shop, kind):
    source, into = getattr(shop, kind)
    shop.account.merge(kind, source, into)
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND)
    assert project.query(f"SELECT id, _merged_into FROM gorgias.{kind} WHERE _deleted_at IS NOT NULL") == [
        (source, into)
    ]
    assert living(project, kind) == [into]


def test_a_message_of_a_merged_ticket_has_moved_and_lives_on(project, shop):
    shop.account.merge("tickets", *shop.tickets)
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND)
    assert living(project, "ticket_messages") == shop.messages
    assert project.table(TICKET_MESSAGES) == project.live_rows(TICKET_MESSAGES)


def test_a_deleted_message_is_marked_within_the_look_back_and_later_by_a_full_sweep(project, shop):
    shop.account.delete("messages", shop.messages[0])
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND)
    assert gone(project, "ticket_messages") == [shop.messages[0]]
    shop.account.advance(timedelta(days=9))
    shop.account.delete("messages", shop.messages[1])
    shop.account.advance(timedelta(days=1))
    project.materialize("2025-04-11", "2025-04-12")
    assert gone(project, "ticket_messages") == [shop.messages[0]]
    full_sweep(project)
    assert sorted(gone(project, "ticket_messages")) == shop.messages[:2]


@pytest.mark.usefixtures("shop")
def test_a_first_backfill_looks_for_nothing_and_asks_for_no_events(sandbox):
    assert lookups(sandbox) == 0
    assert not [request for request in sandbox.requests if request.path == "/api/events"]


def test_an_old_deletion_is_found_through_the_events_of_its_day(project, shop, sandbox):
    """The ticket was last touched on another day than the one that is read, so no list shows its absence."""
    shop.account.advance(timedelta(days=3))
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.update("tickets", shop.tickets[1], status="closed")
    shop.account.advance(timedelta(days=1))
    sandbox.requests.clear()
    project.materialize("2025-04-05", select=["tickets"])
    assert gone(project, "tickets") == [shop.tickets[0]]
    assert lookups(sandbox) == 1


def test_absence_alone_marks_nothing(project, account, sandbox):
    """An agent edits a ticket on the page that is to come, which jumps ahead of the sweep and is not read."""
    blank = KINDS["tickets"].blank
    account.insert_many(
        "tickets",
        (
            {**blank, "id": n, "created_datetime": at, "updated_datetime": at}
            for n in range(1, 251)
            for at in [datetime(2025, 3, 10, tzinfo=UTC) + timedelta(minutes=n)]
        ),
    )
    project.materialize("2025-03-10", select=["tickets"])
    sandbox.after_page = lambda _: account.update("tickets", 3, priority="high")
    result = project.materialize("2025-03-10", select=["tickets"])
    assert project.metadata(result, TICKETS)["rows_looked_for"] == 1
    assert gone(project, "tickets") == []
    assert project.query("SELECT count(*) FROM gorgias._gone_candidates") == [(0,)]


@pytest.mark.parametrize("what", [500, "html", "reset", "truncated"])
def test_a_fault_at_the_look_for_a_row_marks_nothing_that_lives(project, shop, sandbox, what):
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    sandbox.faults.append(Fault(what, path="/api/tickets/*", times=2))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
    project.materialize(SECOND, select=["tickets"])
    assert gone(project, "tickets") == [shop.tickets[0]]


def test_an_outage_at_the_look_for_a_row_leaves_it_to_the_next_run(project, shop, sandbox):
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    sandbox.faults.append(Fault(503, path="/api/tickets/*", times=None))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.002)
    assert not project.materialize(SECOND, select=["tickets"], raise_on_error=False).success
    assert gone(project, "tickets") == []
    sandbox.faults.clear()
    project.materialize(SECOND, select=["tickets"])
    assert gone(project, "tickets") == [shop.tickets[0]]


def test_without_permission_for_events_the_run_says_so_and_does_the_rest(project, shop, sandbox):
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    sandbox.faults.append(Fault(403, path="/api/events", times=None))
    result = project.materialize(SECOND, select=["tickets"])
    warnings = [entry.message for entry in project.log(result) if entry.level == logging.WARNING]
    assert ["events cannot be read" in line for line in warnings] == [True]
    full_sweep(project)
    assert gone(project, "tickets") == [shop.tickets[0]]


def test_looks_for_rows_are_bounded_and_the_others_wait_for_the_next_run_of_any_day(project, shop, sandbox):
    blank = KINDS["tickets"].blank
    shop.account.insert_many(
        "tickets",
        (
            {**blank, "id": n, "created_datetime": MIDNIGHT, "updated_datetime": MIDNIGHT + timedelta(hours=1)}
            for n in range(1, 41)
        ),
    )
    project.materialize(FIRST, select=["tickets"])
    for n in range(1, 31):
        shop.account.delete("tickets", n)
    shop.account.advance(timedelta(days=1))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, max_lookups=12)
    left = []
    for day in (SECOND, FIRST, SECOND):
        sandbox.requests.clear()
        metadata = project.metadata(project.materialize(day, select=["tickets"]), TICKETS)
        assert lookups(sandbox) == metadata["rows_looked_for"] <= 12
        left.append(metadata["rows_to_look_for"])
    assert left == [18, 6, 0]
    assert sorted(gone(project, "tickets")) == list(range(1, 31))


def test_a_row_that_reappears_is_alive_again(project, shop):
    row = shop.account.row("tickets", shop.tickets[0])
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND, select=["tickets"])
    assert gone(project, "tickets") == [shop.tickets[0]]
    shop.account.insert_many("tickets", [row])
    project.materialize(FIRST, select=["tickets"])
    assert gone(project, "tickets") == []
    assert project.table(TICKETS) == project.live_rows(TICKETS)


def test_a_row_read_before_it_was_found_to_be_gone_does_not_come_alive_when_it_is_merged_late(project, shop):
    resource, io_manager = project.resources["gorgias"], project.resources["io_manager"]
    (early,) = resource.sweep(TICKETS, MIDNIGHT, MIDNIGHT + timedelta(days=1)).batches()
    shop.account.delete("tickets", shop.tickets[0])
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND, select=["tickets"])
    warehouse = DuckDBWarehouse(io_manager.database, {}, 10)
    warehouse.merge(Table("gorgias", "tickets"), TICKETS.columns, early.rows, early.passed)
    assert gone(project, "tickets") == [shop.tickets[0]]


def test_a_full_sweep_repairs_what_gorgias_does_not_show_as_a_change(project, shop):
    shop.account.advance(timedelta(days=9))
    shop.account.update("tickets", shop.tickets[0], custom_fields={"7": {"id": 7, "value": "VIP"}})
    shop.account.update("customers", shop.customers[0], custom_fields={"8": {"id": 8, "value": 1}})
    shop.account.update("messages", shop.messages[0], body_text="(removed)")
    for day in (SECOND, FIRST):
        project.materialize(day, select=["satisfaction_surveys"])
    assert project.table(TICKETS) != project.live_rows(TICKETS)
    full_sweep(project)
    for entity in (CUSTOMERS, TICKETS, TICKET_MESSAGES):
        assert project.table(entity) == project.live_rows(entity), entity.name


def test_a_table_of_the_project_s_first_version_is_migrated_and_keeps_its_rows(project, shop):
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("USE warehouse.gorgias")
        for table in ("_gone_candidates", "_sweep_positions"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for table in ("customers", "tickets", "ticket_messages", "satisfaction_surveys"):
            connection.execute(f"DROP VIEW {table}_live")
            connection.execute(f"ALTER TABLE {table} DROP COLUMN _merged_into")
    shop.account.merge("tickets", *shop.tickets)
    shop.account.advance(timedelta(days=1))
    project.materialize(SECOND)
    assert gone(project, "tickets") == [shop.tickets[0]]
    assert len(project.table(TICKETS)) == 2
    assert living(project, "ticket_messages") == shop.messages


@pytest.mark.usefixtures("shop")
def test_an_object_of_a_user_s_own_with_the_view_s_name_is_left_alone(project):
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("USE warehouse.gorgias")
        connection.execute("DROP VIEW tickets_live")
        connection.execute("CREATE TABLE tickets_live AS SELECT 1 AS mine")
    project.materialize(FIRST, select=["tickets"])
    assert project.query("SELECT mine FROM gorgias.tickets_live") == [(1,)]


def test_the_full_sweep_is_a_monthly_schedule_of_all_partitions_in_one_run_and_off_by_default():
    schedule = defs.resolve_schedule_def("gorgias_full_sweep")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "0 3 1 * *"
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2025, 6, 1, 3, tzinfo=UTC),
            repository_def=defs.get_repository_def(),
        )
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.tags["dagster/asset_partition_range_start"] == "2024-01-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-05-31"


def test_the_job_of_the_full_sweep_reads_all_of_the_account(project, shop):
    shop.account.delete("messages", shop.messages[3])
    definitions = dg.Definitions(assets=project.assets, jobs=[full_sweep_job], resources=project.resources)
    result = definitions.resolve_job_def("gorgias_full_sweep").execute_in_process(
        instance=project.instance,
        tags={"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": FIRST},
    )
    assert result.success
    assert gone(project, "ticket_messages") == [shop.messages[3]]
