"""Rows that are gone from Gorgias: how they are noticed, looked for, and marked, and what is never marked."""

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.account import Account as DagsterAccount
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.jobs import full_sweep_job
from gorgias_assets.partitions import ROWS_FROM
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.schedules import full_sweep_schedule
from gorgias_assets.sweeps.deletions import Look, look_up
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.api.test_client import client_of
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time

DAY, DELETED_ON = "2025-03-10", "2025-04-01"  # rows are created on DAY; the account's clock stands at DELETED_ON
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
MARKER = "my-private-letter"


def create(account: Account, entity: Entity, rows: int = 1, moment: datetime = NOON, **fields: Any) -> list[int]:
    """Create rows a second apart, without an event; return their ids, oldest first."""
    kind = entity.path.removeprefix("/").replace("-", "_")
    moments = (
        ("created_datetime", "updated_datetime") if "updated_datetime" in KINDS[kind].blank else ("created_datetime",)
    )
    first = max((row["id"] for row in account.rows(kind)), default=KINDS[kind].first_id - 1) + 1
    made = [
        KINDS[kind].blank | {"id": i} | dict.fromkeys(moments, moment + timedelta(seconds=i - first)) | fields
        for i in range(first, first + rows)
    ]
    account.insert_many(kind, made)
    return [row["id"] for row in made]


def newer_page(account: Account, entity: Entity, **fields: Any) -> None:
    """Create so many newer rows that the next day's sweep does not reach the older ones."""
    create(account, entity, 100, NOON + timedelta(days=12), **fields)


def remove(account: Account, entity: Entity, ids: Iterable[int]) -> None:
    for row_id in ids:
        account.delete(entity.path.removeprefix("/").replace("-", "_"), row_id)


def configure(project: Project, **settings: Any) -> None:
    project.resources["gorgias"] = GorgiasResource(
        **{"uri": project.sandbox.uri, "api_url": project.sandbox.api_url, "patience_minutes": 0.02} | settings
    )


def gone(project: Project, entity: Entity) -> dict[int, int | None]:
    """Return the marked ids, each with the id it was merged into, if any."""
    return dict(project.query(f"SELECT id, _merged_into FROM gorgias.{entity.name} WHERE _deleted_at IS NOT NULL"))


def living(project: Project, entity: Entity) -> set[int]:
    return {row_id for (row_id,) in project.query(f"SELECT id FROM gorgias.{entity.name}_live")}


def noted(project: Project, entity: Entity = TICKETS) -> list[int]:
    return [row_id for (row_id,) in project.query(f"SELECT id FROM gorgias._gone_candidates_{entity.name} ORDER BY id")]


def lookups(sandbox: Sandbox) -> list[int]:
    """Return the ids that were looked for, one by one, in order."""
    return [int(found[1]) for request in sandbox.requests if (found := re.search(r"/(\d+)$", request.path))]


def events_calls(sandbox: Sandbox) -> int:
    return sum(request.path == "/api/events" for request in sandbox.requests)


def counts(result: dg.ExecuteInProcessResult, entity: Entity) -> tuple[int, ...]:
    """Return deletions_checked, rows_gone, rows_cascaded, deletions_pending."""
    metadata = result.asset_materializations_for_node(f"gorgias__{entity.name}")[-1].metadata
    names = ("deletions_checked", "rows_gone", "rows_cascaded", "deletions_pending")
    return tuple(metadata[name].value for name in names)


# When nothing can be gone


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_a_first_backfill_and_its_replay_look_for_nothing_and_request_no_event(project, account, sandbox, entity):
    create(account, entity, 250)
    for _ in range(2):
        result = project.materialize(DAY, "2025-03-12", select=[entity.name])
        assert counts(result, entity) == (0, 0, 0, 0)
    assert {request.path for request in sandbox.requests} == {f"/api{entity.path}"}


def test_a_later_day_requests_events_of_tickets_and_customers_once_and_none_of_other_rows(project, account, sandbox):
    for entity in CORE:
        create(account, entity)
        newer_page(account, entity)
    project.materialize(DAY)
    project.materialize("2025-03-31")
    sent = [request.params for request in sandbox.requests if request.path == "/api/events"]
    assert sorted(params["types"] for params in sent) == [
        "customer-deleted,customer-merged",
        "ticket-deleted,ticket-merged",
    ]
    assert {params["created_datetime[gte]"] for params in sent} == {"2025-03-31T00:00:00+00:00"}
    assert {params["created_datetime[lt]"] for params in sent} == {"2025-04-01T00:00:00+00:00"}


def test_rows_older_or_newer_than_the_interval_are_not_looked_for(project, account, sandbox):
    """Neither if the list is paged to the window, nor if the window is sought."""
    for days in (0, 2, 4):
        create(account, TICKETS, 20, NOON + timedelta(days=days))
    create(account, TICKETS, 1500, NOON + timedelta(days=8))
    project.materialize(DAY, "2025-03-31", select=["tickets"])
    result = project.materialize("2025-03-12", select=["tickets"])
    assert project.metadata(result, TICKETS)["seek"] == "used"
    assert counts(result, TICKETS) == (0, 0, 0, 0)
    result = project.materialize("2025-03-18", select=["tickets"])
    assert project.metadata(result, TICKETS)["seek"] == "not needed"
    assert counts(result, TICKETS) == (0, 0, 0, 0)
    assert lookups(sandbox) == []


def test_an_attempt_that_resumes_does_not_look_for_what_the_first_one_has_read(project, account, sandbox):
    """Batches are of 4,096 rows."""
    ids = create(account, TICKET_MESSAGES, 5000, ticket_id=7)
    newer_page(account, TICKET_MESSAGES)
    project.materialize(DAY, select=["ticket_messages"])
    configure(project, seek=False)
    sandbox.faults.append(Fault(500, skip=45, times=None))
    assert not project.materialize(DAY, select=["ticket_messages"], raise_on_error=False).success
    sandbox.faults.clear()
    remove(account, TICKET_MESSAGES, ids[:3])
    result = project.materialize(DAY, select=["ticket_messages"])
    assert "resumed_from" in project.metadata(result, TICKET_MESSAGES)
    assert counts(result, TICKET_MESSAGES) == (3, 3, 0, 0)


# Rows that are noticed


@pytest.mark.parametrize("entity", [TICKET_MESSAGES, SATISFACTION_SURVEYS, TICKETS], ids=lambda entity: entity.name)
def test_a_row_that_a_replay_of_its_day_does_not_read_is_looked_for_and_marked(project, account, sandbox, entity):
    ids = create(account, entity, 5)
    project.materialize(DAY, select=[entity.name])
    remove(account, entity, ids[1:3])
    result = project.materialize(DAY, select=[entity.name])
    assert gone(project, entity) == dict.fromkeys(ids[1:3])
    assert living(project, entity) == {ids[0], *ids[3:]}
    assert counts(result, entity) == (2, 2, 0, 0)
    assert lookups(sandbox) == ids[1:3]
    metadata = project.metadata(result, entity)
    assert (metadata["dagster/row_count"], metadata["dagster/partition_row_count"]) == (5, 3)
    ((deleted_at, extracted_at),) = project.query(
        f"SELECT DISTINCT max(_deleted_at), max(_extracted_at) FROM gorgias.{entity.name} WHERE id = {ids[1]}"
    )
    assert account.now < deleted_at == extracted_at < account.now + timedelta(seconds=1), "by Gorgias's clock"
    assert noted(project, entity) == []
    assert counts(project.materialize(DAY, select=[entity.name]), entity) == (0, 0, 0, 0)


def test_a_deleted_message_is_noticed_as_long_as_the_look_back_reaches_it(project, account):
    beyond, within = (
        create(account, TICKET_MESSAGES, 2, datetime(2025, 3, day, 23, tzinfo=UTC), ticket_id=7) for day in (9, 10)
    )
    create(account, TICKET_MESSAGES, 100, datetime(2025, 3, 12, tzinfo=UTC), ticket_id=7)
    project.materialize("2025-03-09", DAY, select=["ticket_messages"])
    remove(account, TICKET_MESSAGES, [beyond[0], within[0]])
    project.materialize("2025-03-13", select=["ticket_messages"])
    assert gone(project, TICKET_MESSAGES) == {within[0]: None}
    project.materialize("2025-03-12", select=["ticket_messages"])
    assert gone(project, TICKET_MESSAGES) == {beyond[0]: None, within[0]: None}


@on_each_warehouse_in_time
@pytest.mark.parametrize("entity", [TICKETS, CUSTOMERS], ids=lambda entity: entity.name)
def test_a_row_whose_deletion_is_an_event_of_the_day_is_marked_however_old_it_is(project, account, entity):
    ids = create(account, entity, 3)
    project.materialize(DAY, select=[entity.name])
    remove(account, entity, ids[:1])
    result = project.materialize(DELETED_ON, select=[entity.name])
    assert gone(project, entity) == {ids[0]: None}
    assert counts(result, entity) == (1, 1, 0, 0)


def test_events_of_many_deletions_are_read_to_the_end(project, account):
    ids = create(account, CUSTOMERS, 250)
    project.materialize(DAY, select=["customers"])
    remove(account, CUSTOMERS, ids)
    result = project.materialize(DELETED_ON, select=["customers"])
    assert gone(project, CUSTOMERS) == dict.fromkeys(ids)
    assert project.metadata(result, CUSTOMERS)["pages"] == 1 + 3
    assert project.metadata(result, CUSTOMERS)["api_calls"] == 1 + 3 + 250


@pytest.mark.parametrize("entity", [TICKETS, CUSTOMERS], ids=lambda entity: entity.name)
def test_a_merged_row_names_the_row_it_was_merged_into(project, account, entity):
    ids = create(account, entity, 3)
    project.materialize(DAY, select=[entity.name])
    account.merge(entity.name, ids[0], ids[1])
    result = project.materialize(DELETED_ON, select=[entity.name])
    assert gone(project, entity) == {ids[0]: ids[1]}
    assert living(project, entity) == set(ids[1:])
    assert counts(result, entity)[1:] == (1, 0, 0)


def test_a_chain_of_merges_is_stored_link_by_link(project, account):
    first, second, third = create(account, CUSTOMERS, 3)
    project.materialize(DAY, select=["customers"])
    account.merge("customers", first, second)
    account.merge("customers", second, third)
    project.materialize(DELETED_ON, select=["customers"])
    assert gone(project, CUSTOMERS) == {first: second, second: third}


def test_the_survivor_that_an_event_names_is_looked_for_and_lives(project, account, sandbox):
    source, survivor = create(account, CUSTOMERS, 2)
    newer_page(account, CUSTOMERS)
    project.materialize(DAY, select=["customers"])
    account.merge("customers", source, survivor)
    result = project.materialize(DELETED_ON, select=["customers"])
    assert counts(result, CUSTOMERS) == (2, 1, 0, 0)
    assert sorted(lookups(sandbox)) == [source, survivor]
    assert living(project, CUSTOMERS) == {survivor}


def test_a_row_that_events_name_and_the_table_never_had_costs_no_look_up(project, account, sandbox):
    create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    newer_page(account, TICKETS)
    remove(account, TICKETS, create(account, TICKETS, 5, NOON + timedelta(days=2)))
    assert counts(project.materialize(DELETED_ON, select=["tickets"]), TICKETS) == (0, 0, 0, 0)
    assert events_calls(sandbox) == 1


# Rows that are never marked


def test_a_ticket_that_is_edited_during_the_sweep_and_so_not_read_is_looked_for_and_lives(project, account, sandbox):
    ids = create(account, TICKETS, 150)
    project.materialize(DAY, select=["tickets"])

    def edit_the_oldest(_):
        sandbox.after_page = None
        account.update("tickets", ids[0], status="closed")

    sandbox.after_page = edit_the_oldest
    result = project.materialize(DAY, select=["tickets"])
    assert counts(result, TICKETS) == (1, 0, 0, 0)
    assert lookups(sandbox) == ids[:1]
    assert living(project, TICKETS) == set(ids)
    assert noted(project) == []


@pytest.mark.parametrize("status", [500, 429, 400, 401, 403])
def test_a_row_whose_own_path_does_not_say_if_it_is_gone_stays_and_the_others_are_looked_for(
    project, account, sandbox, status
):
    configure(project)
    ids = create(account, TICKETS, 5)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, ids[:3])
    sandbox.faults.append(Fault(status, path=f"/api/tickets/{ids[0]}", times=None))
    result = project.materialize(DELETED_ON, select=["tickets"])
    assert gone(project, TICKETS) == dict.fromkeys(ids[1:3])
    assert noted(project) == ids[:1]
    assert counts(result, TICKETS) == (2, 2, 0, 1)
    told = [entry.message for entry in project.log(result) if entry.level == logging.WARNING]
    (warning,) = [message for message in told if "could not be looked up" in message]
    answer = "no answer" if status in (429, 500) else f"status {status}"
    assert f"1 missing rows could not be looked up (1 with {answer})" in warning


def test_a_row_that_cannot_be_looked_up_is_looked_for_at_ever_longer_intervals_until_it_is_found_gone(
    project, account, sandbox
):
    (ticket, _) = create(account, TICKETS, 2)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, [ticket])
    sandbox.faults.append(Fault(403, path="/api/tickets/*", times=None))
    hours_of_looks = []
    for hours in range(9):
        before = len(lookups(sandbox))
        project.materialize(DAY, select=["tickets"])
        hours_of_looks += [hours] * (len(lookups(sandbox)) - before)
        account.advance(timedelta(hours=1, minutes=1))
    assert hours_of_looks == [0, 1, 3, 7]
    sandbox.faults.clear()
    project.materialize(DAY, "2025-04-01", select=["tickets"], full=True)
    assert gone(project, TICKETS) == {ticket: None}, "a full sweep looks for all"


def test_after_three_look_ups_without_an_answer_the_others_wait(project, account, sandbox):
    configure(project)
    ids = create(account, TICKETS, 20)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, ids[:8])
    sandbox.faults.append(Fault(500, path="/api/tickets/*", times=None))
    assert counts(project.materialize(DAY, select=["tickets"]), TICKETS) == (0, 0, 0, 8)
    assert len({*lookups(sandbox)}) == 3


def test_a_404_that_is_not_gorgias_s_own_marks_nothing(project, account, sandbox):
    configure(project)
    (ticket,) = create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, [ticket])

    def nobody_knows_the_domain_any_more(request):
        sandbox.unknown_domain = request.path == "/api/events"

    sandbox.after_page = nobody_knows_the_domain_any_more
    project.materialize(DELETED_ON, select=["tickets"])
    assert noted(project) == [ticket]
    assert gone(project, TICKETS) == {}


@pytest.mark.parametrize("what", ["html", "broken_json", "truncated", "reset"])
def test_an_unusable_answer_to_a_look_up_is_requested_again(project, account, sandbox, what):
    (ticket,) = create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, [ticket])
    sandbox.faults.append(Fault(what, path="/api/tickets/*"))
    result = project.materialize(DELETED_ON, select=["tickets"])
    assert gone(project, TICKETS) == {ticket: None}
    assert project.metadata(result, TICKETS)["retries"] == 1


@pytest.mark.parametrize("status", [403, 500])
def test_events_that_cannot_be_read_are_a_warning_and_absence_is_noticed_all_the_same(
    project, account, sandbox, status
):
    configure(project)
    old, recent = create(account, TICKETS), create(account, TICKETS, 1, NOON + timedelta(days=20))
    project.materialize(DAY, "2025-03-31", select=["tickets"])
    remove(account, TICKETS, [*old, *recent])
    sandbox.faults.append(Fault(status, path="/api/events", times=None))
    (new,) = create(account, TICKETS, 1, NOON + timedelta(days=20))
    result = project.materialize("2025-03-30", select=["tickets"])
    assert living(project, TICKETS) == {*old, new}
    assert gone(project, TICKETS) == dict.fromkeys(recent)
    warning, _of_the_clock = [entry.message for entry in project.log(result) if entry.level == logging.WARNING]
    assert "events cannot be read, so rows deleted long after their last change wait for a full sweep" in warning
    assert f"status {status}" in warning


def test_a_message_that_moved_with_its_merged_ticket_is_not_gone(project, account):
    source, survivor = create(account, TICKETS, 2)
    ids = create(account, TICKET_MESSAGES, 150, ticket_id=source)
    project.materialize(DAY)
    account.merge("tickets", source, survivor)
    project.materialize(DELETED_ON)
    assert gone(project, TICKETS) == {source: survivor}
    assert living(project, TICKET_MESSAGES) == set(ids)
    project.materialize(DAY, select=["ticket_messages"])
    assert project.query("SELECT DISTINCT ticket_id FROM gorgias.ticket_messages") == [(survivor,)]
    assert living(project, TICKET_MESSAGES) == set(ids)


def looked_for_where_they_were(project: Project, account: Account, merges: int) -> list[int]:
    """Store two messages whose ticket has since been merged, into one that was merged, …; note them as candidates.

    They are noted by hand: the messages' list hides none that lives.
    """
    tickets = create(account, TICKETS, merges + 1)
    messages = create(account, TICKET_MESSAGES, 2, ticket_id=tickets[0])
    newer_page(account, TICKET_MESSAGES)
    project.materialize(DAY, select=["ticket_messages"])
    for source, survivor in pairwise(tickets):
        account.merge("tickets", source, survivor)
    warehouse, later = DuckDBWarehouse(str(project.database), {}, 10), account.now + timedelta(minutes=1)
    warehouse.note_candidates(
        Table("gorgias", "ticket_messages"), ("created_datetime", NOON, NOON), messages, later, later
    )
    return messages


@pytest.mark.parametrize("merges", [1, 2, 5])
def test_a_message_is_followed_through_the_merges_of_its_ticket(project, account, merges):
    lives, deleted = looked_for_where_they_were(project, account, merges)
    remove(account, TICKET_MESSAGES, [deleted])
    result = project.materialize("2025-03-31", select=["ticket_messages"])
    assert counts(result, TICKET_MESSAGES) == (2, 1, 0, 0)
    assert gone(project, TICKET_MESSAGES) == {deleted: None}
    assert lives in living(project, TICKET_MESSAGES)


def test_a_message_is_not_marked_where_its_merged_ticket_does_not_say_where_it_went(project, account, sandbox):
    looked_for_where_they_were(project, account, merges=1)
    sandbox.faults.append(Fault("no_location", path="/api/tickets/*", times=None))
    result = project.materialize("2025-03-31", select=["ticket_messages"])
    assert counts(result, TICKET_MESSAGES) == (2, 0, 0, 0)


def test_a_merged_ticket_is_gone_also_where_it_does_not_say_where_it_went(project, account, sandbox):
    source, survivor = create(account, TICKETS, 2)
    project.materialize(DAY, select=["tickets"])
    account.merge("tickets", source, survivor)
    sandbox.faults.append(Fault("no_location", path="/api/tickets/*", times=None))
    project.materialize(DELETED_ON, select=["tickets"])
    assert gone(project, TICKETS) == {source: None}


@pytest.mark.parametrize(
    "location",
    [
        "https://login.example/?next=/api/tickets/7",
        "/login",
        "http://[x",
        "https://sandbox.example/api/tickets/7",
        "/api/tickets/7/?",
    ],
)
def test_a_row_is_not_gone_if_its_path_redirects_to_a_log_in_or_to_itself(sandbox, location):
    sandbox.faults.append(Fault(301, headers={"Location": location}, times=None))
    with client_of(sandbox) as client:
        assert look_up(client, TICKETS, {"id": 7}, Progress()) == Look(refusal=301)
        assert look_up(client, TICKET_MESSAGES, {"id": 5, "ticket_id": 7}, Progress()).stone is None
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize("location", ["/api/tickets/8", "https://sandbox.gorgias.com/api/tickets/8/?x=1", "tickets/8"])
def test_a_row_was_merged_into_the_one_that_its_path_redirects_to(sandbox, location):
    sandbox.faults.append(Fault(301, headers={"Location": location}, times=None))
    with client_of(sandbox) as client:
        stone = look_up(client, TICKETS, {"id": 7}, Progress()).stone
    assert (stone.merged_into, stone.is_merged) == (8, True)


# How many at a time


def test_look_ups_are_bounded_and_runs_of_other_windows_go_on_with_the_rest(project, account, sandbox):
    ids = create(account, TICKETS, 25)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, ids)
    configure(project, max_lookups=10)
    made = [
        counts(project.materialize(day, select=["tickets"]), TICKETS)
        for day in (DELETED_ON, "2025-03-31", "2025-03-20", "2025-03-15")
    ]
    assert made == [(10, 10, 0, 15), (10, 10, 0, 5), (5, 5, 0, 0), (0, 0, 0, 0)]
    assert lookups(sandbox) == ids
    assert gone(project, TICKETS) == dict.fromkeys(ids)


def test_a_sweep_of_many_calls_may_look_for_as_many_rows(project, account):
    ids = create(account, TICKET_MESSAGES, 1200, ticket_id=7)
    project.materialize(DAY, select=["ticket_messages"])
    remove(account, TICKET_MESSAGES, ids[:20])
    configure(project, max_lookups=3)
    assert counts(project.materialize(DAY, select=["ticket_messages"]), TICKET_MESSAGES) == (12, 12, 0, 8)


def test_a_row_that_waits_to_be_looked_for_is_forgotten_when_it_is_read_and_found_when_it_is_gone_later(
    project, account
):
    ids = create(account, TICKETS, 3)
    newer_page(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    waiting = account.row("tickets", ids[2])
    remove(account, TICKETS, ids)
    configure(project, max_lookups=0)  # leaves as many as there were calls: one of tickets, one of events
    assert counts(project.materialize(DELETED_ON, select=["tickets"]), TICKETS) == (2, 2, 0, 1)
    account.insert_many("tickets", [waiting])
    assert counts(project.materialize(DAY, select=["tickets"]), TICKETS) == (0, 0, 0, 0)
    assert living(project, TICKETS) & {*ids} == {ids[2]}
    account.advance(timedelta(days=1))
    remove(account, TICKETS, ids[2:])
    assert counts(project.materialize("2025-04-02", select=["tickets"]), TICKETS) == (1, 1, 0, 0)
    assert gone(project, TICKETS) == dict.fromkeys(ids)


def test_look_ups_that_end_in_an_outage_keep_what_they_found_and_the_next_run_looks_for_the_rest(
    project, account, sandbox
):
    ids = create(account, TICKET_MESSAGES, 150, ticket_id=7)
    create(account, TICKET_MESSAGES, 150, ticket_id=8)
    project.materialize(DAY, select=["ticket_messages"])
    remove(account, TICKET_MESSAGES, ids)
    configure(project)
    sandbox.faults.append(Fault(500, path="/api/tickets/*", skip=120, times=None))
    assert counts(project.materialize(DAY, select=["ticket_messages"]), TICKET_MESSAGES) == (120, 120, 0, 30)
    assert gone(project, TICKET_MESSAGES) == dict.fromkeys(ids[:120])
    sandbox.faults.clear()
    account.advance(timedelta(hours=2))
    assert counts(project.materialize(DAY, select=["ticket_messages"]), TICKET_MESSAGES) == (30, 30, 0, 0)
    assert gone(project, TICKET_MESSAGES) == dict.fromkeys(ids)


# Which reading wins


def test_a_row_read_before_it_was_found_to_be_gone_does_not_bring_it_back(project, account):
    ids = create(account, TICKETS, 2)
    window = (datetime(2025, 3, 10, tzinfo=UTC), datetime(2025, 3, 11, tzinfo=UTC))
    project.materialize(DAY, select=["tickets"])
    (earlier,) = project.resources["gorgias"].sweep(TICKETS, *window).batches()
    remove(account, TICKETS, ids[:1])
    project.materialize(DAY, select=["tickets"])
    project.engine.warehouse().merge(Table("gorgias", "tickets"), TICKETS.columns, earlier.rows)
    assert gone(project, TICKETS) == {ids[0]: None}


@pytest.mark.parametrize("day", [DAY, "2025-03-31"], ids=["touched in the window", "read on the way"])
def test_a_row_that_reappears_is_alive_again(project, account, day):
    source, survivor = create(account, CUSTOMERS, 2)
    row = account.row("customers", source)
    project.materialize(DAY, select=["customers"])
    account.merge("customers", source, survivor)
    project.materialize(DAY, select=["customers"])
    assert gone(project, CUSTOMERS) == {source: survivor}
    account.insert_many("customers", [row])
    project.materialize(day, select=["customers"])
    assert gone(project, CUSTOMERS) == {}
    assert living(project, CUSTOMERS) == {source, survivor}


# Cascades


def test_a_deleted_ticket_takes_its_stored_messages_with_it_and_leaves_its_survey(project, account, sandbox):
    deleted, other = create(account, TICKETS, 2)
    its, others = (create(account, TICKET_MESSAGES, 3, ticket_id=ticket) for ticket in (deleted, other))
    (survey,) = create(account, SATISFACTION_SURVEYS, ticket_id=deleted)
    project.materialize(DAY)
    remove(account, TICKETS, [deleted])
    result = project.materialize(DELETED_ON)
    assert counts(result, TICKETS) == (1, 1, 3, 0)
    assert counts(result, TICKET_MESSAGES) == (0, 0, 0, 0)
    assert gone(project, TICKET_MESSAGES) == dict.fromkeys(its)
    assert living(project, TICKET_MESSAGES) == set(others)
    assert living(project, SATISFACTION_SURVEYS) == {survey}
    assert lookups(sandbox) == [deleted]
    assert project.query(
        "SELECT DISTINCT m._deleted_at = t._deleted_at FROM gorgias.ticket_messages AS m "
        "JOIN gorgias.tickets AS t ON t.id = m.ticket_id WHERE m._deleted_at IS NOT NULL"
    ) == [(True,)]


def test_a_deleted_ticket_is_marked_where_no_message_is_stored(project, account):
    (ticket,) = create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    remove(account, TICKETS, [ticket])
    assert counts(project.materialize(DAY, select=["tickets"]), TICKETS) == (1, 1, 0, 0)
    assert gone(project, TICKETS) == {ticket: None}


def test_a_table_of_messages_that_is_not_this_project_s_own_is_left_alone(project, account):
    (ticket,) = create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    with duckdb.connect(str(project.database)) as connection:
        connection.execute(f"CREATE TABLE gorgias.ticket_messages AS SELECT {ticket} AS ticket_id")
    remove(account, TICKETS, [ticket])
    project.materialize(DAY, select=["tickets"])
    assert gone(project, TICKETS) == {ticket: None}
    assert project.query("SELECT * FROM gorgias.ticket_messages") == [(ticket,)]


def test_messages_in_another_schema_are_found_to_be_gone_by_their_own_sweep(project, account):
    (ticket,) = create(account, TICKETS)
    messages = create(account, TICKET_MESSAGES, 2, ticket_id=ticket)
    project.materialize(DAY, select=["tickets"])
    project.resources["io_manager"] = GorgiasDuckDBIOManager(database=str(project.database), schema="letters")
    project.materialize(DAY, select=["ticket_messages"])
    remove(account, TICKETS, [ticket])
    result = project.materialize(DAY, select=["ticket_messages"])
    assert counts(result, TICKET_MESSAGES) == (2, 2, 0, 0)
    assert project.query("SELECT id FROM letters.ticket_messages WHERE _deleted_at IS NOT NULL ORDER BY id") == [
        (message,) for message in messages
    ]
    project.resources["io_manager"] = GorgiasDuckDBIOManager(database=str(project.database), schema="gorgias")
    assert counts(project.materialize(DAY, select=["tickets"]), TICKETS) == (1, 1, 0, 0)


# The view of living rows


def test_the_view_of_living_rows_can_be_read_in_a_file_named_as_the_schema_is(sandbox, account, tmp_path):
    """Both have this name by default."""
    ids = create(account, TICKETS, 2)
    project = Project(sandbox, tmp_path / "gorgias.duckdb")
    project.materialize(DAY, select=["tickets"])
    assert set(project.query("SELECT id FROM gorgias.gorgias.tickets_live")) == {(i,) for i in ids}
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{project.database}' AS shop (READ_ONLY)")
        assert len(connection.execute("SELECT * FROM shop.gorgias.tickets_live").fetchall()) == 2


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_the_view_of_living_rows_has_the_table_s_columns_but_those_of_gone_rows(project, account, entity):
    create(account, entity)
    project.materialize(DAY, select=[entity.name])
    columns = [name for name, *_ in project.query(f"DESCRIBE gorgias.{entity.name}_live")]
    assert columns == [*(column.name for column in entity.columns), "_extracted_at", "_extra"]


def test_the_view_of_living_rows_follows_a_new_column(project, account):
    create(account, TICKETS)
    project.materialize(DAY, select=["tickets"])
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("ALTER TABLE gorgias.tickets ADD COLUMN mood VARCHAR DEFAULT 'sunny'")
    project.materialize(DAY, select=["tickets"])
    assert project.query("SELECT mood FROM gorgias.tickets_live") == [("sunny",)]


@pytest.mark.parametrize("name", ["tickets_live", "Tickets_LIVE"])
@pytest.mark.parametrize("what", ["TABLE", "VIEW"])
def test_something_of_a_user_s_own_in_the_place_of_the_view_is_left_alone(project, account, name, what):
    create(account, TICKETS, 2)
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("CREATE SCHEMA gorgias")
        connection.execute(f'CREATE {what} gorgias."{name}" AS SELECT 7 AS mine')
    project.materialize(DAY, select=["tickets"])
    assert project.query("SELECT * FROM gorgias.tickets_live") == [(7,)]
    assert project.query("SELECT count(*) FROM gorgias.tickets") == [(2,)]


# A table of an older version


def test_a_table_from_before_gone_rows_were_found_keeps_its_rows_and_is_brought_up_to_date(project, account):
    ids = create(account, TICKETS, 3)
    messages = create(account, TICKET_MESSAGES, 2, ticket_id=ids[0])
    project.materialize(DAY, select=["tickets", "ticket_messages"])
    with duckdb.connect(str(project.database)) as connection:
        for table in ("tickets", "ticket_messages"):
            connection.execute(f"DROP VIEW gorgias.{table}_live")
            connection.execute(f"ALTER TABLE gorgias.{table} DROP COLUMN _merged_into")
        for table in ("_sweep_positions_tickets", "_gone_candidates_tickets"):
            connection.execute(f"DROP TABLE IF EXISTS gorgias.{table}")
        connection.execute("ALTER TABLE gorgias.tickets ADD COLUMN mine INTEGER DEFAULT 4")
    remove(account, TICKETS, ids[:1])
    account.merge("tickets", ids[1], ids[2])
    result = project.materialize(DELETED_ON, select=["tickets"])
    assert gone(project, TICKETS) == {ids[0]: None, ids[1]: ids[2]}
    assert living(project, TICKETS) == {ids[2]}
    assert counts(result, TICKETS)[2] == len(messages)
    assert project.query("SELECT DISTINCT mine FROM gorgias.tickets") == [(4,)]
    project.materialize(DAY, select=["ticket_messages"])
    assert gone(project, TICKET_MESSAGES) == dict.fromkeys(messages)


# The full sweep


def shop(start_date: str) -> DagsterAccount:
    return DagsterAccount(CORE, start_date=start_date)


def run_full_sweep(project: Project, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(project.assets, jobs=[full_sweep_job(shop(FIRST_DAY))], resources=project.resources)
    return definitions.resolve_job_def("gorgias_full_sweep").execute_in_process(tags=tags, instance=project.instance)


def tick(start_date: str, at: datetime) -> Any:
    account = shop(start_date)
    definitions = dg.Definitions(
        build_assets(account),
        jobs=[full_sweep_job(account)],
        resources={"gorgias": GorgiasResource(uri=""), "io_manager": dg.mem_io_manager},
    )
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=definitions.get_repository_def())
    return full_sweep_schedule(account).evaluate_tick(context)


def test_the_schedule_of_the_full_sweep_is_off_and_requests_one_day_with_the_rows_of_all_once_a_month():
    schedule = full_sweep_schedule(shop(FIRST_DAY))
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 1 * *", "UTC")
    (request,) = tick(FIRST_DAY, datetime(2025, 4, 1, 3, tzinfo=UTC)).run_requests
    assert (request.partition_key, request.tags[ROWS_FROM]) == ("2025-03-31", FIRST_DAY)


def test_the_schedule_of_the_full_sweep_skips_while_no_day_has_ended():
    assert not tick("2025-04-01", datetime(2025, 4, 1, 3, tzinfo=UTC)).run_requests
    assert "No day has ended" in tick("2025-04-01", datetime(2025, 4, 1, 3, tzinfo=UTC)).skip_message


def test_a_full_sweep_repairs_what_gorgias_does_not_show_as_a_change_and_marks_all_that_is_gone(project, account):
    customer, renamed, source, survivor = create(account, CUSTOMERS, 4)
    tag = account.create("tags", name="refund")["id"]
    shown = {"customer": {"id": renamed}, "tags": [{"id": tag}]}
    kept, deleted, merged = (
        account.create("tickets", **shown, created_datetime=NOON, updated_datetime=NOON)["id"] for _ in range(3)
    )
    at = {"created_datetime": NOON}
    messages = [
        account.create("messages", ticket_id=ticket, sender={"id": renamed}, **at)["id"]
        for ticket in (kept, kept, kept, deleted, merged)
    ]
    survey = account.create("satisfaction_surveys", ticket_id=kept, created_datetime=NOON)["id"]
    lost_survey = account.create("satisfaction_surveys", ticket_id=deleted, created_datetime=NOON)["id"]
    project.materialize(FIRST_DAY, "2025-04-01")
    account.advance(timedelta(days=80))
    account.update("customers", customer, custom_fields={"1": {"id": 1, "value": "VIP"}})
    account.update("customers", renamed, name="Somebody Else")
    account.merge("customers", source, survivor)
    account.update("tickets", kept, custom_fields={"2": {"id": 2, "value": "late"}})
    account.update("tags", tag, name="money back")
    account.update("messages", messages[0], body_text="rewritten", opened_datetime=account.now)
    account.delete("messages", messages[1])
    account.delete("tickets", deleted)
    account.merge("tickets", merged, kept)
    account.update("satisfaction_surveys", survey, score=5, scored_datetime=account.now)
    account.delete("satisfaction_surveys", lost_survey)
    imported = account.create("messages", ticket_id=kept, created_datetime=NOON + timedelta(days=1))["id"]
    account.advance(timedelta(days=1))
    (request,) = tick(FIRST_DAY, account.now).run_requests
    result = run_full_sweep(project, dict(request.tags))
    for entity in CORE:
        rows = project.table(entity)
        assert {row_id: rows[row_id] for row_id in project.live_rows(entity)} == project.live_rows(entity), entity.name
        assert living(project, entity) == project.live_rows(entity).keys(), entity.name
    assert imported in living(project, TICKET_MESSAGES)
    assert gone(project, TICKETS) == {deleted: None, merged: kept}
    assert gone(project, CUSTOMERS) == {source: survivor}
    assert gone(project, TICKET_MESSAGES) == dict.fromkeys([messages[1], messages[3]])
    assert gone(project, SATISFACTION_SURVEYS) == {lost_survey: None}
    assert counts(result, TICKETS)[:2] == (2, 2)


def test_a_full_sweep_requests_no_event_and_reads_each_list_once(project, account, sandbox):
    for entity in CORE:
        create(account, entity, 250)
    project.materialize(DAY)
    sandbox.requests.clear()
    project.materialize("2025-03-31", full=True)
    first_pages = [request for request in sandbox.requests if "cursor" not in request.params]
    assert events_calls(sandbox) == 0
    assert {request.params["order_by"] for request in first_pages} <= {"created_datetime:desc", "created_datetime:asc"}
    assert len(sandbox.requests) == len(CORE) * 4  # three pages, and a look at the list's end


def test_a_full_sweep_refreshes_rows_outside_of_its_window_and_adds_none(project, account):
    stored, moved = create(account, TICKETS, 2)
    project.materialize(DAY, select=["tickets"])
    other = create(account, TICKETS, 3, NOON - timedelta(days=2))
    inside = create(account, TICKETS, 1, NOON + timedelta(days=21))
    account.update("tickets", stored, custom_fields={"2": {"id": 2, "value": "late"}})
    result = project.materialize("2025-03-31", select=["tickets"], full=True)
    assert living(project, TICKETS) == {stored, moved, *inside}
    assert not living(project, TICKETS) & {*other}
    assert project.table(TICKETS)[stored]["custom_fields"] == {"2": {"id": 2, "value": "late"}}
    metadata = project.metadata(result, TICKETS)
    assert (metadata["rows_merged"], metadata["rows_new"]) == (3, 1)


def test_rows_read_on_the_way_refresh_stored_rows_and_add_none(project, account):
    stored, *_ = create(account, TICKET_MESSAGES, 3, ticket_id=7)
    project.materialize(DAY, select=["ticket_messages"])
    create(account, TICKET_MESSAGES, 2, NOON + timedelta(days=1), ticket_id=7)
    account.update("messages", stored, body_text="rewritten")
    result = project.materialize("2025-03-09", select=["ticket_messages"])
    metadata = project.metadata(result, TICKET_MESSAGES)
    assert (metadata["rows_merged"], metadata["rows_new"], metadata["dagster/row_count"]) == (3, 0, 3)
    assert project.table(TICKET_MESSAGES)[stored]["body_text"] == "rewritten"


# Logs and metadata


def test_nothing_private_of_a_row_that_is_looked_for_is_in_a_log_or_an_event(project, account, sandbox, caplog):
    letter = {"subject": MARKER, "excerpt": MARKER, "meta": {MARKER: MARKER}}
    ids = create(account, TICKETS, 4, **letter)
    create(account, TICKET_MESSAGES, 2, ticket_id=ids[0], body_text=MARKER)
    project.materialize(DAY)
    remove(account, TICKETS, ids[:2])
    account.merge("tickets", ids[2], ids[3])
    configure(project)
    sandbox.faults.extend([Fault(500, path="/api/tickets/*"), Fault("broken_json", path="/api/events")])
    with caplog.at_level(logging.DEBUG):
        results = [project.materialize(DELETED_ON)]
        sandbox.faults.append(Fault(403, path="/api/events", times=None))
        results.append(project.materialize(DAY))
    logged = "\n".join(serialize_value(entry) for result in results for entry in project.log(result)) + caplog.text
    assert gone(project, TICKETS) == {ids[0]: None, ids[1]: None, ids[2]: ids[3]}
    assert "rows_cascaded" in logged
    assert [secret for secret in (MARKER, account.api_key, account.email) if secret in logged] == []
