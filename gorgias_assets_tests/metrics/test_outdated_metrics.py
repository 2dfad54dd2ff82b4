"""The table of metrics converges: a row is computed anew if, and only if, something that it is made of has changed."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.entities import ENTITIES
from gorgias_assets.io_managers.slices import MergedRows
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.metrics.ticket_metrics import EVENT_TYPES, TicketMetrics
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window
from gorgias_assets_tests.engines import DuckDBFile

DECLARED = {entity.name: entity for entity in ENTITIES if entity.name in TICKET_METRICS.reads}
TABLES = {name: Table("gorgias", name) for name in DECLARED}
OWN = Table("gorgias", TICKET_METRICS.name)
BEGIN = datetime(2025, 3, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
PERSON, BOT, CUSTOMER = 1, 2, 3
HOURS = {"timezone": "UTC", "business_hours": [{"days": "1,2,3,4,5", "from_time": "09:00", "to_time": "17:00"}]}

Row = dict[str, Any]


def store(warehouse: Warehouse, name: str, *rows: Row) -> None:
    """Merge rows, of which columns that are not given are null."""
    added = [Column(column, Kind.DATETIME, "") for column in (EXTRACTED_AT, DELETED_AT)]
    columns = [*DECLARED[name].columns, *added, Column(MERGED_INTO, Kind.INTEGER, ""), Column("_extra", Kind.JSON, "")]
    arrays = {
        column.name: pa.array([row.get(column.name) for row in rows], column.kind.arrow_type) for column in columns
    }
    warehouse.merge(TABLES[name], DECLARED[name].columns, pa.table({**arrays, IS_TOUCHED: pa.repeat(True, len(rows))}))


def compute(warehouse: Warehouse, **settings: Any) -> int:
    """Compute what is outdated; return how many rows that were."""
    outdated = TicketMetrics(warehouse, TABLES, OWN, **settings)
    return MergedRows(outdated.batches(), outdated.columns, TICKET_METRICS.grain, {}).merge(warehouse, OWN).rows


def table(warehouse: Warehouse) -> list[Row]:
    return sorted(warehouse.read(OWN, ()).to_pylist(), key=lambda row: row["id"])


def ticket(ticket_id: int, hour: float, **about: Any) -> Row:
    created = BEGIN + ticket_id * HOUR
    return {
        "id": ticket_id,
        "created_datetime": created,
        "updated_datetime": created,
        "status": "open",
        EXTRACTED_AT: BEGIN + hour * HOUR,
        **about,
    }


def message(message_id: int, ticket_id: int, hour: float, minutes: float, sender: int, **about: Any) -> Row:
    return {
        "id": message_id,
        "ticket_id": ticket_id,
        "created_datetime": BEGIN + ticket_id * HOUR + timedelta(minutes=minutes),
        "public": True,
        "from_agent": sender != CUSTOMER,
        "via": "helpdesk",
        "sender": json.dumps({"id": sender, "name": f"Person {sender}"}),
        EXTRACTED_AT: BEGIN + hour * HOUR,
        **about,
    }


def event(event_id: int, ticket_id: int, kind: str, minutes: float, data: Row | None = None, hour: float = 90) -> Row:
    return {
        "id": event_id,
        "object_type": "Ticket",
        "object_id": ticket_id,
        "type": kind,
        "created_datetime": BEGIN + ticket_id * HOUR + timedelta(minutes=minutes),
        "data": data and json.dumps(data),
        EXTRACTED_AT: BEGIN + hour * HOUR,
    }


def user(user_id: int, role: str, hour: float) -> Row:
    return {"id": user_id, "role": json.dumps({"name": role}), EXTRACTED_AT: BEGIN + hour * HOUR}


def history(random: Random) -> list[tuple[str, list[Row]]]:
    """Return what is read of an account, in several states of each row, as batches of one table each."""
    batches = list[tuple[str, list[Row]]]()
    for ticket_id in range(1, 7):
        letters = [message(ticket_id * 10, ticket_id, 80, 0, CUSTOMER)]
        letters += [
            message(ticket_id * 10 + number, ticket_id, random.randint(80, 90), random.randint(1, 300), writer)
            for number, writer in enumerate(random.choices((PERSON, BOT, CUSTOMER), k=4), 1)
        ]
        closed = BEGIN + ticket_id * HOUR + timedelta(minutes=random.randint(100, 900))
        states = [ticket(ticket_id, 81), ticket(ticket_id, 85, status="closed", closed_datetime=closed)]
        survey = {"id": ticket_id, "ticket_id": ticket_id, "score": 5, "scored_datetime": closed}
        happened = [
            event(ticket_id * 10 + number, ticket_id, kind, random.randint(0, 400), data)
            for number, (kind, data) in enumerate(
                [
                    ("ticket-assigned", {"assignee_user_id": PERSON}),
                    ("ticket-tags-added", {"tags_added": [8, 9]}),
                    ("ticket-tags-removed", {"tags_removed": [9]}),
                    ("ticket-closed", None),
                    ("ticket-reopened", None),
                ]
            )
        ]
        batches += [
            *(("tickets", [state]) for state in states),
            ("ticket_messages", letters[:3]),
            ("ticket_messages", letters[3:]),
            ("satisfaction_surveys", [survey | {EXTRACTED_AT: BEGIN + 82 * HOUR}]),
            ("events", happened),
        ]
    gone = {DELETED_AT: BEGIN + 95 * HOUR}
    batches += [
        ("tickets", [ticket(2, 95, **gone)]),
        ("ticket_messages", [message(31, 4, 96, 5, PERSON)]),  # it has moved from ticket 3
        ("ticket_messages", [message(51, 5, 95, 5, PERSON, **gone)]),
        ("users", [user(PERSON, "agent", 80), user(BOT, "agent", 80)]),
        ("users", [user(BOT, "bot", 95)]),
        ("account_settings", [{"id": 1, "type": "business-hours", "data": json.dumps(HOURS), EXTRACTED_AT: BEGIN}]),
    ]
    return batches


def live(warehouse: Warehouse, batches: Iterable[tuple[str, Sequence[Row]]], random: Random | None = None) -> None:
    """Store the batches; compute now and then if it is random, and note at some time that events were read."""
    batches = list(batches)
    for name in DECLARED:
        store(warehouse, name)
    noted = random.randrange(len(batches)) if random else 0
    for number, (name, rows) in enumerate(batches):
        store(warehouse, name, *rows)
        if number == noted:
            warehouse.save_readings(TABLES["events"], [Window(BEGIN + 2 * HOUR, BEGIN + 99 * HOUR)], EVENT_TYPES)
        if random and random.random() < 0.15:
            compute(warehouse)
    compute(warehouse)


def assert_converges(tmp_path, seed: int) -> None:
    random, batches = Random(seed), history(Random(seed))
    once, often = (DuckDBFile(tmp_path / f"{name}-{seed}.duckdb").warehouse() for name in ("once", "often"))
    live(once, batches)
    live(often, random.sample([*batches, *random.sample(batches, 9)], len(batches) + 9), random)
    assert table(often) == table(once)
    assert len(table(once)) == 6
    assert compute(often) == 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_rows_stored_in_any_order_and_again_end_in_the_same_metrics(tmp_path, seed):
    assert_converges(tmp_path, seed)


@pytest.mark.soak
def test_no_order_among_many_ends_in_other_metrics(tmp_path):
    for seed in range(2, 60):
        assert_converges(tmp_path, seed)


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    warehouse = DuckDBFile(tmp_path / "warehouse.duckdb").warehouse()
    live(warehouse, history(Random(1)))
    return warehouse


def test_only_tickets_of_which_something_was_read_are_computed_anew(warehouse):
    before = {row["id"]: row for row in table(warehouse)}
    assert compute(warehouse) == 0
    store(warehouse, "ticket_messages", message(39, 3, 97, 400, PERSON))
    store(warehouse, "events", event(99, 5, "ticket-reopened", 450))
    store(warehouse, "tickets", ticket(6, 70))  # an older state, which changes nothing
    assert compute(warehouse) == 2
    after = {row["id"]: row for row in table(warehouse)}
    assert [one for one in after if after[one] != before[one]] == [3, 5]
    assert after[5]["reopens"] == before[5]["reopens"] + 1
    assert after[3][EXTRACTED_AT] == BEGIN + 97 * HOUR


def test_a_row_that_is_late_is_not_lost_though_others_of_its_ticket_were_read_after_it(warehouse):
    store(warehouse, "ticket_messages", message(38, 3, 99, 400, PERSON))
    compute(warehouse)
    ((before,),) = [[row["messages"]] for row in table(warehouse) if row["id"] == 3]
    store(warehouse, "ticket_messages", message(37, 3, 98, 390, PERSON))  # it was read first, and is stored last
    assert compute(warehouse) == 1
    assert [row["messages"] for row in table(warehouse) if row["id"] == 3] == [before + 1]


def test_new_settings_let_all_rows_be_computed_anew(warehouse):
    assert compute(warehouse, holidays=["2025-03-03"]) == 6
    assert compute(warehouse, holidays=["2025-03-03"]) == 0
    assert compute(warehouse, holidays=["2025-03-03"], fields=["7"]) == 6
    store(warehouse, "users", user(PERSON, "bot", 99))
    assert compute(warehouse) == 6
    assert {row["agent_replies"] for row in table(warehouse)} == {0}


def test_a_ticket_of_which_not_all_events_are_stored_has_null_in_what_is_made_of_them(warehouse):
    rows = {row["id"]: row for row in table(warehouse)}
    assert [row["has_events"] for row in rows.values()] == [False, *[True] * 5]
    of_events = ("first_closed_datetime", "reopens", "assignments", "last_assignee_user_id", "tags_at_close")
    assert [rows[1][name] for name in of_events] == [None] * 5
    assert None not in [rows[3][name] for name in of_events]
    store(warehouse, "tickets", ticket(3, 97, updated_datetime=BEGIN + 99 * HOUR))
    assert compute(warehouse) == 1
    assert [row["reopens"] for row in table(warehouse) if row["id"] == 3] == [None]


def test_without_users_events_and_hours_what_depends_on_them_is_null_and_all_else_is_there(tmp_path):
    warehouse = DuckDBFile(tmp_path / "core.duckdb").warehouse()
    core = [batch for batch in history(Random(1)) if batch[0] in TICKET_METRICS.needs]
    for name, rows in core:
        store(warehouse, name, *rows)
    assert compute(warehouse, fields=["Contact reason"]) == 6
    rows = table(warehouse)
    lacking = ("agent_replies", "bot_replies", "is_one_touch", "is_handover", "reopens", "tags_at_creation")
    lacking += ("first_response_business_seconds", "field_contact_reason", "integration_name")
    assert {row[name] for row in rows for name in lacking} == {None}
    assert not any(row["has_events"] for row in rows)
    assert all(row["messages"] and row["rule_replies"] == 0 and row["satisfaction_score"] == 5 for row in rows)


def test_an_account_without_rows_has_an_empty_table(tmp_path):
    warehouse = DuckDBFile(tmp_path / "empty.duckdb").warehouse()
    for name in TICKET_METRICS.needs:
        store(warehouse, name)
    assert compute(warehouse) == 0
    assert table(warehouse) == []
