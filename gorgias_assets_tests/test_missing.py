"""Absence is believed within measure, and only of the account whose rows a table holds; help is no condition."""

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import time_machine

from gorgias_assets.entities import TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.missing import looks_at
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.deletions import Look
from gorgias_assets.warehouse.tables import Candidates
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time

NOON = datetime(2025, 3, 30, 12, tzinfo=UTC)
DAY, MERGED_ON = "2025-03-30", "2025-03-31"
FORMS = {
    "id": lambda source: {"source_ticket_id": source},
    "ids": lambda source: {"source_ticket_ids": [source]},
    "object": lambda source: {"source_ticket": {"id": source}},
    "digits": lambda source: {"sources": [{"ticket": {"id": str(source)}}]},
    "null": lambda _: None,
    "nothing": lambda _: {},
    "somebody": lambda _: {"user_id": 5, "tickets_count": 2},
}


def tickets(account: Account, number: int, **fields) -> list[int]:
    ids = [80_000_000 + n for n in range(number)]
    moments = {"created_datetime": NOON, "updated_datetime": NOON}
    account.insert_many("tickets", [KINDS["tickets"].blank | {"id": i} | moments | fields for i in ids])
    return ids


def warnings(project: Project, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.message for entry in project.log(result) if entry.level == logging.WARNING)


def gone(project: Project) -> set[int]:
    return {row_id for (row_id,) in project.query("SELECT id FROM gorgias.tickets WHERE _deleted_at IS NOT NULL")}


def run(project: Project, day: str = DAY, **config) -> dg.ExecuteInProcessResult:
    return project.materialize(day, select=["tickets"], raise_on_error=False, **config)


# Whose rows a table holds


@on_each_warehouse_in_time
def test_rows_of_another_account_are_refused_before_anything_is_read_unless_it_was_renamed(project, account):
    tickets(account, 3)
    assert run(project).success
    other = Account(now=account.now, domain="other")
    with Sandbox(other) as sandbox:
        project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
        refused = run(project)
        assert (refused.success, sandbox.requests) == (False, [])
        assert "holds rows of the Gorgias account 'sandbox', and the Gorgias URI names 'other'" in str(
            refused.failure_data_for_node("gorgias__tickets").error
        )
        assert run(project, account_changed=True).success
        assert run(project).success, "it is remembered"


# How much absence is believed


@pytest.mark.parametrize("left", [0, 40])
def test_if_most_of_what_should_be_there_is_missing_nothing_is_marked_until_somebody_says_so(
    project, account, sandbox, left
):
    ids = tickets(account, 100)
    run(project)
    account.advance(timedelta(days=3))
    for row_id in ids[left:]:
        account.delete("tickets", row_id)
    result = run(project)
    assert result.success
    assert gone(project) == set()
    missing = 100 - left
    assert f"{missing} of 100 stored rows that this run should have found are missing" in warnings(project, result)
    assert project.metadata(result, TICKETS)["absences_doubted"] == {
        "unread": missing,
        "expected": 100,
        "missing": missing,
    }
    assert not [request for request in sandbox.requests if request.path.startswith("/api/tickets/")]
    run(project, believe_absence=True)
    assert gone(project) == {*ids[left:]}


@pytest.mark.parametrize("rows", [5, 6])
def test_a_list_that_shows_no_row_at_all_is_believed_for_a_handful_alone(project, account, rows):
    ids = tickets(account, rows)
    run(project)
    account.advance(timedelta(days=3))
    for row_id in ids:
        account.delete("tickets", row_id)
    result = run(project, "2025-03-31")  # a day on which nothing happened to them
    doubted = project.metadata(result, TICKETS).get("absences_doubted")
    assert doubted == (None if rows == 5 else {"unread": 6, "expected": 6, "missing": 6})
    assert ("6 of 6 stored rows that this run should have found are missing" in warnings(project, result)) == bool(
        doubted
    )
    run(project, DAY)
    assert gone(project) == (set() if doubted else {*ids})


def test_rows_that_the_run_has_added_do_not_make_the_missing_ones_fewer(project, account):
    ids = tickets(account, 40)
    run(project)
    account.advance(timedelta(days=3))
    for row_id in ids:
        account.delete("tickets", row_id)
    moments = {"created_datetime": NOON, "updated_datetime": NOON}
    account.insert_many("tickets", [KINDS["tickets"].blank | {"id": 81_000_000 + n} | moments for n in range(60)])
    result = run(project)
    assert project.metadata(result, TICKETS)["absences_doubted"] == {"unread": 40, "expected": 40, "missing": 40}
    assert gone(project) == set()


def test_a_purge_of_spam_is_usual(project, account):
    ids = tickets(account, 100)
    run(project)
    account.advance(timedelta(days=3))
    for row_id in ids[:45]:
        account.delete("tickets", row_id)
    result = run(project)
    assert gone(project) == {*ids[:45]}
    assert "missing" not in warnings(project, result)


def test_rows_that_events_name_as_deleted_are_never_unusual(project, account):
    ids = tickets(account, 100)
    run(project)
    for row_id in ids:
        account.delete("tickets", row_id)
    run(project, "2025-04-01")
    assert gone(project) == {*ids}


# Looks for single rows


@pytest.mark.parametrize(
    ("location", "survivor"),
    [
        ("/api/tickets/7?from=1#top", 7),
        ("//sandbox.gorgias.com/api/tickets/7/", 7),
        (" 7?from=1", 7),
        ("../tickets/7", 7),
        ("/api%2Ftickets/%37", 7),
        (None, None),
    ],
)
def test_a_merged_row_names_its_survivor_in_any_form_of_a_location(sandbox, location, survivor):
    sandbox.faults.append(Fault(301, headers={"Location": location}, times=None))
    (look,) = looks(sandbox, TICKETS, [{"id": 1}])
    assert (look.stone.is_merged, look.stone.merged_into) == (True, survivor)


@pytest.mark.parametrize("location", [None, "login", "https://login.example.com/", "/api/tickets/3"])
def test_a_redirect_that_names_no_object_of_the_kind_marks_nothing_unless_it_names_nothing(sandbox, location):
    sandbox.faults.append(Fault(301, headers={"Location": location}, times=None))
    assert looks(sandbox, TICKET_MESSAGES, [{"id": 1, "ticket_id": 2}])[0].stone is None
    (look,) = looks(sandbox, TICKETS, [{"id": 3}])
    assert look == Look(refusal=301) if location else look.stone.is_merged


@pytest.mark.parametrize("status", [204, 302, 307, 308, 400, 401, 402, 403, 405, 406, 409, 410, 418, 422, 451, 501])
def test_any_status_that_does_not_say_if_a_row_is_gone_leaves_it_at_once(sandbox, status):
    sandbox.faults.append(Fault(status, times=None))
    assert looks(sandbox, TICKETS, [{"id": 1}])[0].stone is None
    assert len(sandbox.requests) == 1


def test_look_ups_without_an_answer_end_after_ten_of_a_run(sandbox, account):
    ids = tickets(account, 30)
    sandbox.faults += [Fault(500, path=f"/api/tickets/{row_id}", times=None) for row_id in ids[::2]]
    found = looks(sandbox, TICKETS, [{"id": row_id} for row_id in ids], patience_minutes=0.01)
    assert [look.refusal for look in found] == [0, None] * 9 + [0]


def looks(sandbox: Sandbox, entity: Entity, rows: list[dict], patience_minutes: float = 0.1) -> list[Look]:
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=patience_minutes)
    reader = gorgias.sweep(entity, NOON, NOON + timedelta(hours=1))
    with closing(reader.connect()) as client:
        return [look for _, look in looks_at(reader, client, Candidates(rows, {}, 0))]


# Stamps in the future


@on_each_warehouse_in_time
def test_rows_that_a_wrong_clock_has_stamped_in_the_future_are_told_and_replaced(project, account):
    ids = tickets(account, 3)
    run(project)
    project.engine.execute("UPDATE gorgias.tickets SET _extracted_at = TIMESTAMP '2025-04-01 00:40:00+00' WHERE TRUE")
    account.update("tickets", ids[0], priority="high", updated_datetime=NOON)
    account.delete("tickets", ids[1])
    result = run(project)
    assert "3 rows were stamped later than Gorgias's time" in warnings(project, result)
    assert project.metadata(result, TICKETS)["rows_from_the_future"] == 3
    assert project.table(TICKETS)[ids[0]]["priority"] == "high"
    assert gone(project) == {ids[1]}
    assert "rows_from_the_future" not in project.metadata(run(project), TICKETS)


def test_messages_from_the_future_are_gone_with_their_ticket(project, account):
    (ticket,) = tickets(account, 1)
    account.create("messages", ticket_id=ticket, created_datetime=NOON)
    project.materialize(DAY, select=["tickets", "ticket_messages"])
    project.engine.execute("UPDATE gorgias.ticket_messages SET _extracted_at = TIMESTAMP '2025-04-01 00:40:00+00'")
    account.delete("tickets", ticket)
    assert project.metadata(run(project), TICKETS)["rows_cascaded"] == 1


@pytest.mark.parametrize(("ahead", "says"), [(40, "40 minutes ahead of"), (-20, "20 minutes behind"), (0.4, "")])
def test_a_clock_that_differs_by_more_than_a_minute_is_a_warning(project, account, ahead, says):
    with time_machine.travel(account.now + timedelta(minutes=ahead)):
        result = run(project)
    assert (f"This machine's clock is {says} Gorgias's" in warnings(project, result)) == bool(says)


# Events of merging


@pytest.mark.parametrize("form", FORMS)
def test_a_merged_ticket_is_found_however_its_event_names_it(project, account, sandbox, form):
    source, survivor, other = tickets(account, 3, customer={"id": 7})
    run(project, DAY)
    account.merge("tickets", source, survivor)
    about = {"object_id": survivor, "object_type": "Ticket", "type": "ticket-merged", "data": FORMS[form](source)}
    account.insert_many(
        "events", [KINDS["events"].blank | about | {"id": 9, "created_datetime": NOON + timedelta(days=1)}]
    )
    before = len(sandbox.requests)
    run(project, MERGED_ON)
    assert project.query("SELECT id, _merged_into FROM gorgias.tickets WHERE _deleted_at IS NOT NULL") == [
        (source, survivor)
    ]
    assert len(sandbox.requests) - before <= 4, "the list, the events, and look-ups of the two that may be gone"
    assert project.table(TICKETS).keys() >= {other}


def test_a_merge_whose_event_names_only_the_survivor_is_looked_for_once(project, account, sandbox):
    source, survivor, other = tickets(account, 3, customer={"id": 7})
    run(project, DAY)
    newer = dict.fromkeys(("created_datetime", "updated_datetime"), NOON + timedelta(hours=1))
    account.insert_many("tickets", [KINDS["tickets"].blank | {"id": 81_000_000 + n} | newer for n in range(100)])
    account.merge("tickets", source, survivor)
    about = {"object_id": str(survivor), "type": "ticket-merged", "created_datetime": NOON + timedelta(days=1)}
    account.insert_many("events", [KINDS["events"].blank | about | {"id": 9}])
    run(project, MERGED_ON)
    assert gone(project) == {source}
    assert f"/api/tickets/{other}" in {request.path for request in sandbox.requests}
    sandbox.requests.clear()
    assert "merged" not in warnings(project, run(project, MERGED_ON))
    assert {request.path for request in sandbox.requests} == {"/api/tickets", "/api/events"}


def test_a_merged_ticket_that_nothing_names_waits_for_a_full_sweep_and_that_is_told(project, account):
    (source,) = tickets(account, 1, customer={"id": 7})
    run(project, DAY)
    account.merge("tickets", source, account.create("tickets", customer={"id": 8})["id"])
    account.insert_many(
        "events",
        [
            KINDS["events"].blank
            | {"id": 9, "object_id": 81_000_000, "type": "ticket-merged", "created_datetime": NOON + timedelta(days=1)}
        ],
    )
    assert "1 rows were merged into others that alone are named" in warnings(project, run(project, MERGED_ON))
