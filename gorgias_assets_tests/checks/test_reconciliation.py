"""Reconciliation: a table is compared with the events of its days; if that is impossible, a sentence reports why."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gorgias_assets.account import Account
from gorgias_assets.checks.audits import TOLERATED_ROWS, Stored
from gorgias_assets.checks.reconciliation import MOST_DAYS, events_agree
from gorgias_assets.checks.verdicts import WARN, CheckContext, NothingToCheck, Verdict
from gorgias_assets.entities import CORE, EVENTS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import Engine, on_each_warehouse_in_time

NOW = datetime.now(UTC)
TODAY = datetime.combine(NOW.date(), time(), UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
A_DAY = 12  # rows
KINDS = {"tickets": TICKETS, "messages": TICKET_MESSAGES}


def key(days_ago: int) -> str:
    return (TODAY - days_ago * DAY).date().isoformat()


def living(until: datetime = TODAY + MINUTE) -> SandboxAccount:
    """Serve a dozen tickets of one message each on each of three days, the last of which has just ended."""
    account = SandboxAccount(now=TODAY - 3 * DAY)
    for days_ago in (3, 2, 1):
        account.now = TODAY - days_ago * DAY + timedelta(hours=12)
        for _ in range(A_DAY):
            account.create("messages", ticket_id=account.create("tickets")["id"])
            account.advance(MINUTE)
    account.now = until
    return account


def materialized(project: Project) -> Project:
    project.materialize(key(3), key(1), select=["tickets", "ticket_messages"])
    return project


@pytest.fixture
def account() -> SandboxAccount:
    return living()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Sandbox(living()) as sandbox:
        yield materialized(Project(sandbox, tmp_path_factory.mktemp("kept") / "warehouse.duckdb"))


@pytest.fixture
def stored(kept: Project, tmp_path: Path) -> Project:
    """Materialize the three days, in a file that can be spoilt, and with a history that ends with them."""
    copy = Project(kept.sandbox, Path(shutil.copy(kept.database, tmp_path / "warehouse.duckdb")))
    copy.instance = dg.DagsterInstance.ephemeral()
    for entity in KINDS.values():
        for ago in (3, 2, 1):
            copy.instance.report_runless_asset_event(materialization(ago, NOW, entity))
    kept.sandbox.requests.clear()
    kept.sandbox.faults.clear()
    return copy


def materialization(days_ago: int, began: datetime, entity: Entity = TICKETS) -> dg.AssetMaterialization:
    read = {"began_at": dg.MetadataValue.timestamp(began)}
    return dg.AssetMaterialization(["gorgias", entity.name], partition=key(days_ago), metadata=read)


def compare(project: Project, entity: Entity, *days_ago: int, **about: Any) -> Verdict:
    days = {key(ago): Window(TODAY - ago * DAY, TODAY - (ago - 1) * DAY) for ago in days_ago or (3, 2, 1)}
    fields: dict[str, Any] = {
        "account": Account(CORE, start_date=FIRST_DAY),
        "tables": {entity.name: Stored(project.engine.warehouse(), Table("gorgias", entity.name), entity)},
        "connect": project.resources["gorgias"].client,
        "instance": project.instance,
        "days": days,
        "now": NOW,
        "late_after": timedelta(),
    }
    return events_agree.judge(CheckContext(entity=entity, **fields | about))


def by_day(verdict: Verdict) -> Mapping[str, Mapping[str, int]]:
    """Return the numbers of each day, without those that are zero."""
    rows = [dict(record.data) for record in verdict.metadata["days"].records]
    return {row.pop("day"): {name: number for name, number in row.items() if number} for row in rows}


def counts(verdict: Verdict) -> Mapping[str, tuple[int, int]]:
    return {day: (numbers.get("events", 0), numbers.get("stored", 0)) for day, numbers in by_day(verdict).items()}


def ids(verdict: Verdict, name: str) -> list[int]:
    return [int(row_id) for row_id in verdict.metadata.get(f"{name}_ids", "").split(", ") if row_id]


@pytest.mark.parametrize("entity", KINDS.values(), ids=KINDS)
def test_days_whose_rows_are_those_that_events_name_agree(stored: Project, entity: Entity) -> None:
    verdict = compare(stored, entity)
    assert verdict.description == "3 days with 36 events and 36 rows; no notable difference."
    assert verdict.passed
    assert counts(verdict) == {key(ago): (A_DAY, A_DAY) for ago in (3, 2, 1)}


@on_each_warehouse_in_time
def test_events_that_are_stored_are_not_requested_again_and_tell_the_same(engine: Engine) -> None:
    account = SandboxAccount(now=TODAY - DAY)
    rows = [account.create("tickets")["id"] for _ in range(5)]
    account.merge("tickets", rows[1], rows[2])
    account.delete("tickets", rows[3])
    account.now = TODAY + MINUTE
    with Sandbox(account) as sandbox:
        project = Project(sandbox, engine, [TICKETS, EVENTS])
        project.materialize(key(1))
        warehouse = project.engine.warehouse()
        tables = {
            entity.name: Stored(warehouse, Table("gorgias", entity.name), entity)
            for entity in project.deployed.entities
        }
        sandbox.requests.clear()
        by_table = compare(project, TICKETS, 1, account=project.deployed, tables=tables)
        assert (by_day(by_table), sandbox.requests) == ({key(1): {"events": 5, "stored": 3, "deleted": 2}}, [])
        assert compare(project, TICKETS, 1) == by_table
        assert sandbox.requests


@on_each_warehouse_in_time
@pytest.mark.parametrize("entity", KINDS.values(), ids=KINDS)
def test_rows_that_are_not_stored_at_all_are_named_by_day(project: Project, entity: Entity) -> None:
    stored = materialized(project)
    lost = sorted(row_id for row_id, row in stored.table(entity).items() if row["created_datetime"] > TODAY - DAY)[:6]
    stored.engine.execute(f"DELETE FROM gorgias.{entity.name} WHERE id IN ({', '.join(map(str, lost))})")
    verdict = compare(stored, entity)
    assert not verdict.passed
    assert events_agree.severity is WARN
    assert verdict.description == (
        f"3 days with 36 events and 30 rows; different: {key(1)} (6 rows missing, 0 without an event)."
    )
    assert by_day(verdict)[key(1)] == {"events": A_DAY, "stored": 6, "missing": 6}
    assert ids(verdict, "missing") == lost


@pytest.mark.parametrize("entity", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("on_the_day", [True, False], ids=["on_the_day", "after_it"])
def test_rows_that_events_name_as_deleted_are_not_missing(tmp_path: Path, entity: Entity, on_the_day: bool) -> None:
    """Eight tickets are deleted before they are read, with their messages, whose events name no ticket."""
    account = living(until=TODAY - 30 * MINUTE if on_the_day else TODAY + MINUTE)
    for row in account.rows("tickets")[-8:]:
        account.delete("tickets", row["id"])
    account.now = TODAY + 5 * MINUTE
    with Sandbox(account) as sandbox:
        project = materialized(Project(sandbox, tmp_path / "warehouse.duckdb"))
        verdict = compare(project, entity, 1)
        assert (verdict.passed, counts(verdict)) == (True, {key(1): (A_DAY, A_DAY - 8)})
        assert by_day(verdict)[key(1)].get("deleted") == (8 if entity is TICKETS else None)
        project.engine.execute(f"DELETE FROM gorgias.{entity.name}")
        assert compare(project, entity, 1).passed, "four more are few"
        assert not compare(project, entity, 2).passed


def test_messages_of_one_cause_with_a_ticket_that_is_deleted_are_not_missing(project: Project) -> None:
    cause, at = "5f1c2d3e-0b6a-4c7d-9e8f-112233445566", TODAY - DAY + MINUTE
    names = [("ticket-created", 9_000), ("ticket-deleted", 9_000), *(("ticket-message-created", n) for n in range(20))]
    events = [
        {"id": 10**6 + n, "type": kind, "object_id": row_id, "created_datetime": at, "context": cause}
        for n, (kind, row_id) in enumerate(names)
    ]
    project.account.insert_many("events", events)
    verdict = compare(materialized(project), TICKET_MESSAGES, 1)
    assert verdict.passed
    assert by_day(verdict) == {key(1): {"events": A_DAY + 20, "stored": A_DAY, "deleted": 20}}


@pytest.mark.parametrize("share_a_cause", [True, False])
def test_messages_below_an_older_ticket_that_was_deleted_later_are_not_missing(
    tmp_path: Path, share_a_cause: bool
) -> None:
    """On its second day a ticket gets ten messages, each of which updates it; on the third it is deleted."""
    account = SandboxAccount(now=TODAY - 2 * DAY)
    ticket = account.create("tickets")["id"]
    account.now = TODAY - DAY + timedelta(hours=1)
    for _ in range(A_DAY):
        account.create("messages", ticket_id=account.create("tickets")["id"])
    for _ in range(10):
        account.advance(MINUTE)
        account.create("messages", ticket_id=ticket)
    if share_a_cause:
        for event in account.rows("events"):
            if event["object_id"] == ticket or event["type"] == "ticket-message-created":
                account.insert_many("events", [{**event, "context": event["created_datetime"][:16]}])
    account.now = TODAY + MINUTE
    account.delete("tickets", ticket)
    account.advance(MINUTE)
    with Sandbox(account) as sandbox:
        project = materialized(Project(sandbox, tmp_path / "warehouse.duckdb"))
        verdict = compare(project, TICKET_MESSAGES, 1)
        assert (verdict.passed, counts(verdict)) == (True, {key(1): (A_DAY + 10, A_DAY)})
        project.engine.execute("DELETE FROM gorgias.ticket_messages")
        assert not compare(project, TICKET_MESSAGES, 1).passed


def test_rows_without_an_event_are_named_by_day(stored: Project) -> None:
    moved = f"TIMESTAMPTZ '{TODAY - DAY}'"
    stored.engine.execute(f"UPDATE gorgias.tickets SET created_datetime = {moved} WHERE created_datetime < {moved}")
    verdict = compare(stored, TICKETS, 1)
    assert verdict.description == (
        f"1 day with 12 events and 36 rows; different: {key(1)} (0 rows missing, 24 without an event)."
    )
    assert by_day(verdict)[key(1)]["without_event"] == 24
    assert len(ids(verdict, "without_event")) == 20


def test_rows_without_an_id_are_left_to_the_check_of_ids(stored: Project) -> None:
    stored.engine.execute("UPDATE gorgias.tickets SET id = NULL WHERE id IN (SELECT MIN(id) FROM gorgias.tickets)")
    stored.engine.execute("UPDATE gorgias.tickets SET id = -id WHERE id IN (SELECT MIN(id) FROM gorgias.tickets)")
    assert by_day(compare(stored, TICKETS))[key(3)]["stored"] == A_DAY - 1


def test_a_few_rows_may_be_missing_as_they_were_deleted_before_they_were_read(stored: Project) -> None:
    delete = (
        "DELETE FROM gorgias.ticket_messages WHERE id IN (SELECT id FROM gorgias.ticket_messages ORDER BY id LIMIT {})"
    )
    stored.engine.execute(delete.format(TOLERATED_ROWS))
    verdict = compare(stored, TICKET_MESSAGES)
    assert verdict.passed
    assert by_day(verdict)[key(3)]["missing"] == len(ids(verdict, "missing")) == TOLERATED_ROWS
    stored.engine.execute(delete.format(1))
    assert not compare(stored, TICKET_MESSAGES).passed


def test_rows_that_are_stored_as_gone_or_on_another_day_are_stored(stored: Project) -> None:
    stored.engine.execute(
        f"UPDATE gorgias.tickets SET created_datetime = created_datetime - INTERVAL 200 DAY "
        f"WHERE created_datetime >= TIMESTAMPTZ '{TODAY - DAY}'",
        "UPDATE gorgias.tickets SET _deleted_at = now()",
    )
    verdict = compare(stored, TICKETS)
    assert verdict.passed
    assert by_day(verdict)[key(1)] == {"events": A_DAY}


def test_it_costs_a_call_a_day_and_only_the_newest_days_are_compared(stored: Project) -> None:
    for ago in range(4, 15):
        stored.instance.report_runless_asset_event(materialization(ago, TODAY))
    verdict = compare(stored, TICKETS, *range(14, 0, -1))
    assert sorted(by_day(verdict)) == sorted(key(ago) for ago in range(MOST_DAYS, 0, -1))
    assert [request.path for request in stored.sandbox.requests] == ["/api/events"] * MOST_DAYS


def test_a_day_that_goes_on_is_compared_up_to_shortly_before_it_was_read(stored: Project) -> None:
    noon = TODAY - DAY + timedelta(hours=12)
    stored.instance.report_runless_asset_event(materialization(1, noon + 14.5 * MINUTE))
    verdict = compare(stored, TICKETS, 1)
    assert counts(verdict) == {key(1): (5, 5)}


def test_a_day_that_has_just_begun_is_not_compared(stored: Project) -> None:
    stored.instance.report_runless_asset_event(materialization(1, TODAY - DAY + 5 * MINUTE))
    verdict = compare(stored, TICKETS, 1)
    assert (verdict.passed, verdict.description) == (True, "No day can be compared: today has just begun.")


def test_days_whose_events_are_kept_no_more_are_not_compared(stored: Project) -> None:
    verdict = compare(stored, TICKETS, now=NOW + 365 * DAY)
    assert verdict.description == "No day can be compared: Gorgias keeps events for 12 months."
    assert stored.sandbox.requests == []


def test_days_that_were_not_materialized_are_not_compared(stored: Project) -> None:
    with pytest.raises(NothingToCheck, match="before gorgias/tickets is materialized"):
        compare(stored, TICKETS, 9, 8)


OUTAGES = {
    "refused": (403, "Events cannot be read, so nothing was compared. GET /events of account 'sandbox': status 403; "),
    "down": (503, "Nothing was compared. GET /events: status 503; gave up after 1 s."),
}


@pytest.mark.parametrize(("status", "sentence"), OUTAGES.values(), ids=OUTAGES)
def test_an_api_that_does_not_answer_is_a_sentence_and_no_failure(stored: Project, status: int, sentence: str) -> None:
    stored.sandbox.faults.append(Fault(status, path="*/events", times=None))
    impatient = GorgiasResource(uri=stored.sandbox.uri, api_url=stored.sandbox.api_url, patience_minutes=1 / 60)
    verdict = compare(stored, TICKETS, 1, connect=impatient.client)
    assert not verdict.passed
    assert verdict.description.startswith(sentence)


def test_a_uri_that_cannot_be_used_is_a_sentence_without_its_key(stored: Project) -> None:
    wrong = GorgiasResource(uri="gorgias://shop?api_key=s3cret", api_url=stored.sandbox.api_url)
    verdict = compare(stored, TICKETS, 1, connect=wrong.client)
    assert verdict.description.startswith("Nothing was compared. The Gorgias URI has no email")
    assert "s3cret" not in verdict.description
