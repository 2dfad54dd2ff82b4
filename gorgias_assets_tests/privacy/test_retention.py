"""Letters that are older than an age: gone from every table, and never stored again."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gorgias_assets.entities import EVENTS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS, VOICE_CALLS
from gorgias_assets.entities.model import Entity
from gorgias_assets.loading import load
from gorgias_assets.privacy.retention import without_old_bodies
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.rows import type_rows
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.engines import Engine, on_each_warehouse_in_time

BODY = "Dear shop, this is private"
DAYS = 10
BEGIN, NOW = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
OLD, YOUNG = datetime(2025, 3, 12, 9, tzinfo=UTC), datetime(2025, 3, 25, 9, tzinfo=UTC)
COLUMNS = {
    TICKETS: "subject",
    TICKET_MESSAGES: "body_text",
    SATISFACTION_SURVEYS: "body_text",
    VOICE_CALLS: "summaries",
}


@pytest.fixture
def account() -> Account:
    """Return an account with letters of two days, three weeks and one week ago."""
    account = Account(now=NOW)
    for number, day in enumerate((OLD, YOUNG), start=1):
        when = {"created_datetime": day}
        summary = {"content": BODY, "triggered_by": 7}
        account.create("tickets", id=number, subject=BODY, summary=summary, updated_datetime=day, **when)
        account.create("messages", id=number, ticket_id=number, body_text=BODY, sent_datetime=day, **when)
        account.create("satisfaction_surveys", id=number, ticket_id=number, body_text=BODY, sent_datetime=day, **when)
        account.create("voice_calls", id=number, summaries=[{"id": 3, "summary": BODY}], **when)
        account.tell("tickets", number, "subject-updated", {"new_subject": BODY, "user_id": 7})
    return account


@dataclass
class Desk:
    """An account and a warehouse."""

    sandbox: Sandbox
    engine: Engine

    def read(self, entity: Entity[Any], days: int | None, start: datetime = BEGIN, full: bool = False) -> None:
        """Read what happened from a moment on, keeping bodies for so many days."""
        sandbox = self.sandbox
        gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, bodies_kept_days=days)
        window = (start, sandbox.account.now)
        if entity is VOICE_CALLS:
            reader: Any = gorgias.unordered(entity, *window, full=full)
        else:
            reader = (
                gorgias.filtered(entity, *window) if entity is EVENTS else gorgias.sweep(entity, *window, full=full)
            )
        load(reader, self.engine.warehouse(), Table("gorgias", entity.name), logging.getLogger("retention"))

    def with_letters(self, entity: Entity[Any]) -> list[int]:
        """Return the ids of the rows that hold a letter."""
        rows = self.engine.query(f"SELECT id, {COLUMNS[entity]} FROM gorgias.{entity.name} ORDER BY id")
        assert len(rows) == 2, "the rows stay"
        return [number for number, value in rows if BODY in str(value)]


def test_a_letter_of_the_wrong_type_goes_with_its_age_like_any_other() -> None:
    row = {"id": 1, "created_datetime": OLD.isoformat(), "body_text": {BODY: [BODY]}, "new_field": 7}
    rows = type_rows([row], SATISFACTION_SURVEYS.columns, NOW).table
    assert BODY in rows["_extra"][0].as_py()
    assert without_old_bodies(SATISFACTION_SURVEYS, rows, 60)["_extra"] == rows["_extra"]
    (left,) = without_old_bodies(SATISFACTION_SURVEYS, rows, DAYS)["_extra"].to_pylist()
    assert json.loads(left) == {"body_text": None, "new_field": 7}


@pytest.fixture
def desk(sandbox: Sandbox, engine: Engine) -> Desk:
    return Desk(sandbox, engine)


@pytest.mark.parametrize(
    "entity",
    [TICKETS, *(pytest.param(entity, marks=pytest.mark.soak) for entity in list(COLUMNS)[1:])],
    ids=lambda entity: entity.name,
)
def test_no_body_older_than_the_age_is_stored_and_a_full_sweep_brings_none_back(desk: Desk, entity: Entity) -> None:
    desk.read(entity, DAYS)
    assert desk.with_letters(entity) == [2]
    desk.read(entity, DAYS, full=True)
    assert desk.with_letters(entity) == [2]


@on_each_warehouse_in_time
def test_bodies_that_were_stored_before_are_dropped_and_the_rest_of_the_row_stays(desk: Desk) -> None:
    for entity in (TICKETS, VOICE_CALLS):
        desk.read(entity, None)
        assert desk.with_letters(entity) == [1, 2]
        desk.read(entity, DAYS, start=NOW - timedelta(days=1))
        assert desk.with_letters(entity) == [2]
    ((subject, summary, status),) = desk.engine.query(
        "SELECT subject, summary, status FROM gorgias.tickets WHERE id = 1"
    )
    assert (subject, desk.engine.json(summary), status) == (None, {"content": None, "triggered_by": 7}, "open")
    ((summaries,),) = desk.engine.query("SELECT summaries FROM gorgias.voice_calls WHERE id = 1")
    assert desk.engine.json(summaries) == [{"id": 3, "summary": None}]


@on_each_warehouse_in_time
def test_a_body_is_dropped_by_the_first_run_after_the_day_on_which_it_becomes_too_old(desk: Desk) -> None:
    desk.read(TICKET_MESSAGES, DAYS)
    desk.sandbox.account.now = YOUNG.replace(hour=23) + timedelta(days=DAYS)
    desk.read(TICKET_MESSAGES, DAYS, start=NOW)
    assert desk.with_letters(TICKET_MESSAGES) == [2]
    desk.sandbox.account.advance(timedelta(hours=2))
    desk.read(TICKET_MESSAGES, DAYS, start=NOW)
    assert desk.with_letters(TICKET_MESSAGES) == []


def test_events_lose_their_letters_and_keep_what_they_are_about(desk: Desk) -> None:
    query = "SELECT data FROM gorgias.events WHERE type = 'ticket-subject-updated' ORDER BY id"
    desk.sandbox.account.advance(timedelta(minutes=1))
    desk.read(EVENTS, DAYS)
    assert BODY in str(desk.engine.query(query))
    desk.sandbox.account.advance(timedelta(days=DAYS + 1))
    desk.read(EVENTS, DAYS, start=desk.sandbox.account.now - timedelta(hours=1))
    found = [json.loads(data) for (data,) in desk.engine.query(query)]
    assert found == [{"new_subject": None, "user_id": 7}] * 2


def test_the_days_of_a_run_that_was_killed_before_it_noted_them_are_done_again(desk: Desk) -> None:
    desk.read(TICKETS, None)
    desk.read(TICKETS, DAYS)
    desk.engine.execute("DELETE FROM gorgias._bodies_tickets", f"UPDATE gorgias.tickets SET subject = '{BODY}'")
    desk.read(TICKETS, DAYS, start=NOW - timedelta(days=1))
    assert desk.with_letters(TICKETS) == [2]
