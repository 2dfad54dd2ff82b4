"""The edges of a partition and of a value: midnight, ties, empty days, odd datetimes, and letters of every kind."""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.api.page_size import PAGE_BYTES
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sweeps.batches import BATCH_BYTES
from gorgias_assets_tests.conftest import Project, touched
from gorgias_assets_tests.engines import on_each_warehouse_in_time

DAY = "2025-03-10"
START = datetime(2025, 3, 10, tzinfo=UTC)
END = START + timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
LETTER = "Dear shop, my private letter"

TOUCHES = [(entity, field) for entity in CORE for field in entity.read.touch_fields]
ON_THE_EDGES = {1: START - MICROSECOND, 2: START, 3: END - MICROSECOND, 4: END}
ODD_TEXTS = {
    "emoji": "👩🏽‍🚀 großartig — 谢谢 🇪🇺",
    "quotes": """it's "quoted"; DROP TABLE tickets; -- \\ ' '' \\' {} %s $1""",
    "NUL": "before\x00after",
    "controls": "\x01\x1f\x7f\r\n\t\u2028\ufeff\ufffe",
    "brackets": '{"not": "json"',
    "empty": "",
    "blank": " \n ",
}


def kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return entity.path.removeprefix("/").replace("-", "_")


def insert(account: Account, entity: Entity, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows as they are given, over Gorgias's values for fields that are not known."""
    account.insert_many(kind(entity), ({**KINDS[kind(entity)].blank, **row} for row in rows))


def touched_at(entity: Entity, field: str, moment: datetime) -> dict[str, Any]:
    """Return a row that was touched on no day near `DAY`, except at `moment` in `field`."""
    far = {"created_datetime": moment - timedelta(days=2)}
    if "updated_datetime" in entity.read.touch_fields:
        far["updated_datetime"] = moment + timedelta(days=2)
    return far | {field: moment}


def ids(project: Project, entity: Entity) -> list[int]:
    return [row_id for (row_id,) in project.query(f"SELECT id FROM gorgias.{entity.name} ORDER BY id")]


@pytest.mark.parametrize(("entity", "field"), TOUCHES, ids=[f"{entity.name}-{field}" for entity, field in TOUCHES])
def test_a_touch_at_the_start_of_a_day_is_in_it_and_one_at_the_end_is_not(project, account, entity, field):
    insert(account, entity, ({"id": i, **touched_at(entity, field, at)} for i, at in ON_THE_EDGES.items()))
    result = project.materialize(DAY, select=[entity.name])
    assert ids(project, entity) == [2, 3]
    assert project.metadata(result, entity)["dagster/partition_row_count"] == 2


def test_the_edges_of_a_day_hold_without_a_fraction_and_without_an_offset(project, account):
    texts = {
        1: "2025-03-09T23:59:59",
        2: "2025-03-10T00:00:00",
        3: "2025-03-10T00:00:00+00:00",
        4: "2025-03-10T02:00:00+02:00",
        5: "2025-03-10T23:59:59.999999",
        6: "2025-03-09T23:59:59-00:30",
        7: "2025-03-11T00:00:00Z",
        8: "2025-03-11T00:59:59+01:00",
        9: "2025-03-11T00:00:00",
    }
    insert(account, SATISFACTION_SURVEYS, ({"id": i, "created_datetime": text} for i, text in texts.items()))
    project.materialize(DAY, select=["satisfaction_surveys"])
    assert ids(project, SATISFACTION_SURVEYS) == [2, 3, 4, 5, 6, 8]
    assert project.query("SELECT created_datetime FROM gorgias.satisfaction_surveys WHERE id IN (2, 3, 4)") == 3 * [
        (START,)
    ]


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
@pytest.mark.parametrize("moment", [START, END - MICROSECOND], ids=["first moment", "last moment"])
def test_250_rows_of_one_moment_are_all_read_across_pages(project, account, entity, moment):
    rows = (
        {"created_datetime": moment, "updated_datetime": moment}
        if kind(entity) in ("tickets", "customers")
        else {"created_datetime": moment}
    )
    insert(account, entity, ({"id": i, **rows} for i in range(1, 251)))
    result = project.materialize(DAY, select=[entity.name])
    assert ids(project, entity) == list(range(1, 251))
    assert project.metadata(result, entity)["dagster/partition_row_count"] == 250


@on_each_warehouse_in_time
def test_an_account_without_a_row_makes_empty_tables_with_every_column(project):
    result = project.materialize(DAY)
    for entity in CORE:
        assert project.table(entity) == {}
        assert project.metadata(result, entity)["dagster/partition_row_count"] == 0
        assert project.metadata(result, entity)["dagster/row_count"] == 0
        described = project.engine.descriptions("gorgias", entity.name)
        assert len(described) == len(entity.columns) + 4
        assert all(described.values())


def test_an_empty_day_between_full_ones_counts_zero_and_costs_no_row(project, account):
    insert(account, SATISFACTION_SURVEYS, ({"id": i, "created_datetime": START + timedelta(days=i)} for i in (1, 3)))
    result = project.materialize("2025-03-11", "2025-03-13", select=["satisfaction_surveys"])
    counts = {
        made.partition: made.metadata["dagster/partition_row_count"].value
        for made in result.asset_materializations_for_node("gorgias__satisfaction_surveys")
    }
    assert counts == {"2025-03-11": 1, "2025-03-12": 0, "2025-03-13": 1}
    assert ids(project, SATISFACTION_SURVEYS) == [1, 3]


def test_a_day_whose_only_row_moved_to_a_later_day_keeps_the_row_and_refreshes_it_on_the_way(project, account):
    insert(account, TICKETS, [{"id": 7, "created_datetime": START - timedelta(days=5), "updated_datetime": START}])
    project.materialize(DAY, select=["tickets"])
    account.update("tickets", 7, status="closed")  # at the end of March
    result = project.materialize(DAY, select=["tickets"])
    assert project.metadata(result, TICKETS)["dagster/partition_row_count"] == 0
    assert project.query("SELECT id, status FROM gorgias.tickets") == [(7, "closed")]


def test_a_day_whose_only_row_was_deleted_keeps_the_row_in_the_table(project, account):
    insert(account, TICKETS, [{"id": 7, "created_datetime": START, "updated_datetime": START}])
    project.materialize(DAY, select=["tickets"])
    account.delete("tickets", 7)
    result = project.materialize(DAY, select=["tickets"])
    assert project.metadata(result, TICKETS)["dagster/partition_row_count"] == 0
    assert project.metadata(result, TICKETS)["dagster/row_count"] == 1
    assert ids(project, TICKETS) == [7]


def test_datetimes_of_every_form_are_stored_as_one_moment(project, account):
    forms = {
        "created_datetime": "2025-03-10T12:00:00",
        "opened_datetime": "2025-03-10T12:00:00.000001",
        "closed_datetime": "2025-03-10T12:00:00.018000+00:00",
        "snooze_datetime": "2025-03-10T14:00:00+02:00",
        "trashed_datetime": "2025-03-10 12:00:00+00:00",
        "updated_datetime": "2025-03-10T12:00:00Z",
    }
    insert(account, TICKETS, [{"id": 7, **forms}])
    project.materialize(DAY, select=["tickets"])
    noon = START + timedelta(hours=12)
    expected = (noon, noon + MICROSECOND, noon + timedelta(milliseconds=18), noon, noon, noon)
    assert project.query(f"SELECT {', '.join(forms)} FROM gorgias.tickets") == [expected]


@on_each_warehouse_in_time
def test_unknown_fields_and_misfits_are_kept_in_extra_and_only_their_names_are_logged(project, account, caplog):
    odd = {
        "id": 7,
        "created_datetime": START,
        "sent_datetime": "soon after " + LETTER,
        "public": LETTER,
        "ticket_id": 12.5,
        "subject": {"re": LETTER},
        "mood": LETTER,
        "labels": [{"text": LETTER}],
    }
    plain = {"id": 8, "created_datetime": START, "subject": "plain", "mood": None}
    insert(account, TICKET_MESSAGES, [odd, plain])
    with caplog.at_level(logging.DEBUG):
        result = project.materialize(DAY, select=["ticket_messages"])
    ((extra, *columns),) = project.query(
        "SELECT _extra, sent_datetime, public, ticket_id, subject FROM gorgias.ticket_messages WHERE id = 7"
    )
    assert columns == [None, None, None, None]
    assert project.engine.json(extra) == {name: odd[name] for name in odd if name not in ("id", "created_datetime")}
    ((subject, extra),) = project.query("SELECT subject, _extra FROM gorgias.ticket_messages WHERE id = 8")
    assert (subject, project.engine.json(extra)) == ("plain", {"mood": None})
    counts = {"labels": 1, "mood": 2, "public": 1, "sent_datetime": 1, "subject": 1, "ticket_id": 1}
    assert project.metadata(result, TICKET_MESSAGES)["fields_in_extra"] == counts
    warnings = [entry.message for entry in project.log(result) if entry.level == logging.WARNING]
    (of_fields,) = [warning for warning in warnings if "_extra" in warning]
    assert all(name in of_fields for name in counts)
    logged = "\n".join(map(serialize_value, project.log(result))) + caplog.text
    assert "labels" in logged
    assert "private letter" not in logged


def test_what_comes_from_outside_is_shown_on_one_line_and_short_in_log_and_metadata(project, account, caplog):
    """Names of fields, and short texts such as a channel's, may hold what a terminal or a log would obey."""
    hostile, lengthy = "\x1b[31m\r\nERROR forged \u202e\0", "x" * 5_000
    seen, cut = r"\x1b[31m\r\nERROR forged \u202e\x00", "x" * 60 + "…"
    names = {hostile.replace("\0", ""): 1, lengthy: 2}
    row = {"id": 7, "created_datetime": START, "updated_datetime": START}
    insert(account, TICKETS, [{**row, "channel": hostile, "via": lengthy, **names}])
    with caplog.at_level(logging.DEBUG):
        result = project.materialize(DAY, select=["tickets"])
    metadata = project.metadata(result, TICKETS)
    assert metadata["fields_in_extra"] == {seen.removesuffix(r"\x00"): 1, cut: 1}
    (record,) = metadata["preview"].records
    assert (record.data["channel"], record.data["via"]) == (seen, cut)
    logged = [entry.message for entry in project.log(result)] + [entry.getMessage() for entry in caplog.records]
    assert any(seen.removesuffix(r"\x00") in text for text in logged)
    assert not any(letter in text for text in logged for letter in ("\x1b", "\u202e", "\0", "\r", "x" * 100))


def test_a_run_without_oddities_reports_nothing_of_extra(project, account):
    account.create("tickets", created_datetime=START, updated_datetime=START)
    assert "fields_in_extra" not in project.metadata(project.materialize(DAY, select=["tickets"]), TICKETS)


def test_a_row_with_an_unreadable_touch_is_kept_rather_than_lost(project, account):
    far = START - timedelta(days=1)
    insert(account, TICKET_MESSAGES, [{"id": 7, "created_datetime": far, "sent_datetime": "yesterday"}])
    result = project.materialize(DAY, select=["ticket_messages"])
    assert project.query("SELECT id, _extra->>'sent_datetime' FROM gorgias.ticket_messages") == [(7, "yesterday")]
    metadata = project.metadata(result, TICKET_MESSAGES)
    assert (metadata["rows_merged"], metadata["dagster/partition_row_count"]) == (1, 0)  # in the table, on no day


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_null_in_every_field_but_id_and_creation_is_null_in_every_column(project, account, entity):
    nulls = dict.fromkeys(column.name for column in entity.columns)
    needed = {"id": 7, "created_datetime": START} | (
        {"updated_datetime": START} if entity.read.order == "updated_datetime" else {}
    )
    account.insert_many(kind(entity), [nulls | needed])
    result = project.materialize(DAY, select=[entity.name])
    assert project.table(entity) == {7: nulls | needed}
    assert "fields_in_extra" not in project.metadata(result, entity)


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_a_row_with_hardly_a_field_is_stored_with_null_in_the_others(project, account, entity):
    needed = {"id": 7, "created_datetime": START} | (
        {"updated_datetime": START} if entity.read.order == "updated_datetime" else {}
    )
    account.insert_many(kind(entity), [needed])
    project.materialize(DAY, select=[entity.name])
    assert project.table(entity) == {7: dict.fromkeys(column.name for column in entity.columns) | needed}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=list(ODD_TEXTS))
def test_a_letter_comes_through_as_it_is(project, account, text):
    row = {"id": 7, "created_datetime": START, "subject": text, "body_text": text, "meta": {text: [text, {"a": text}]}}
    insert(account, TICKET_MESSAGES, [row | {"new_field": text}])
    project.materialize(DAY, select=["ticket_messages"])
    ((subject, body, meta, extra),) = project.query(
        "SELECT subject, body_text, meta, _extra FROM gorgias.ticket_messages"
    )
    assert (subject, body) == (text, text)
    assert json.loads(meta) == row["meta"]
    assert json.loads(extra) == {"new_field": text}


def test_bodies_of_a_megabyte_come_through_in_batches_bounded_by_bytes(project, account):
    body = "ä" * 2**19
    insert(
        account,
        TICKET_MESSAGES,
        ({"id": i, "created_datetime": START, "body_text": body if i > 200 else "short"} for i in range(1, 251)),
    )
    resource: GorgiasResource = project.resources["gorgias"]
    batches = list(resource.sweep(TICKET_MESSAGES, START, END).batches())
    assert sum(touched(batch).num_rows for batch in batches) == 250
    assert max(batch.rows.nbytes for batch in batches) < BATCH_BYTES + PAGE_BYTES + 2**20
    project.materialize(DAY, select=["ticket_messages"])
    assert project.query("SELECT count(*), count(DISTINCT id) FROM gorgias.ticket_messages") == [(250, 250)]
    assert project.query(
        "SELECT DISTINCT body_text = repeat('ä', 524288) FROM gorgias.ticket_messages WHERE id > 200"
    ) == [(True,)]


@pytest.mark.parametrize("row_id", [0, 2**53 + 1, 2**63 - 1])
def test_an_id_of_64_bits_keeps_every_digit(project, account, row_id):
    rows = [
        {"id": row_id, "ticket_id": row_id, "created_datetime": START},
        {"id": row_id - 1, "created_datetime": START},
    ]
    insert(account, SATISFACTION_SURVEYS, rows[: 2 if row_id else 1])
    project.materialize(DAY, select=["satisfaction_surveys"])
    assert project.query(f"SELECT id, ticket_id FROM gorgias.satisfaction_surveys WHERE id = {row_id}") == [
        (row_id, row_id)
    ]


def test_the_plan_to_send_a_survey_is_no_touch(project, account):
    plan = {"id": 7, "created_datetime": START - timedelta(days=1), "should_send_datetime": START + timedelta(hours=1)}
    insert(account, SATISFACTION_SURVEYS, [plan])
    result = project.materialize(DAY, select=["satisfaction_surveys"])
    assert ids(project, SATISFACTION_SURVEYS) == []
    assert project.metadata(result, SATISFACTION_SURVEYS)["pages"] == 1


def test_a_message_opened_two_days_after_it_was_created_is_in_both_partitions(project, account):
    insert(
        account,
        TICKET_MESSAGES,
        [{"id": 7, "created_datetime": START - timedelta(days=2), "opened_datetime": START + timedelta(hours=9)}],
    )
    for day, rows in (("2025-03-08", 1), (DAY, 1), ("2025-03-09", 0)):
        result = project.materialize(day, select=["ticket_messages"])
        assert project.metadata(result, TICKET_MESSAGES)["dagster/partition_row_count"] == rows, day


def survey_scored_after(account: Account, days: int) -> None:
    """Insert survey 7, scored on `DAY`, with 250 newer surveys above it so that a page does not show it by chance."""
    created = START - timedelta(days=days)
    fill = ({"id": i, "created_datetime": created + timedelta(minutes=i)} for i in range(100, 350))
    scored = {"id": 7, "created_datetime": created, "score": 5, "scored_datetime": START + timedelta(hours=9)}
    insert(account, SATISFACTION_SURVEYS, [scored, *fill])


def test_a_survey_scored_44_days_later_is_seen_on_the_day_it_was_scored(project, account):
    survey_scored_after(account, days=44)
    project.materialize(DAY, select=["satisfaction_surveys"])
    assert project.query("SELECT id, score FROM gorgias.satisfaction_surveys") == [(7, 5)]


def test_a_survey_scored_46_days_later_is_not_seen_until_look_back_days_says_so(project, account, sandbox):
    survey_scored_after(account, days=46)
    project.materialize(DAY, select=["satisfaction_surveys"])
    assert ids(project, SATISFACTION_SURVEYS) == []
    project.resources["gorgias"] = GorgiasResource(
        uri=sandbox.uri, api_url=sandbox.api_url, look_back_days={"satisfaction_surveys": 47}
    )
    project.materialize(DAY, select=["satisfaction_surveys"])
    assert ids(project, SATISFACTION_SURVEYS) == [7]


def test_a_day_that_is_over_is_read_with_its_look_back_whatever_is_requested(project):
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    resource = project.resources["gorgias"]
    for days_ago, days in ((0, 0), (1, 45)):  # a refresh of today that begins after midnight then completes the day
        window = start - timedelta(days=days_ago), start - timedelta(days=days_ago - 1)
        sweep = resource.sweep(SATISFACTION_SURVEYS, *window, look_back=False)
        assert sweep.coverage == {"created_datetime": {"required": window[0] - timedelta(days=days)}}


def test_a_look_back_of_zero_days_is_no_look_back(project, account, sandbox):
    survey_scored_after(account, days=1)
    project.resources["gorgias"] = GorgiasResource(
        uri=sandbox.uri, api_url=sandbox.api_url, look_back_days={"satisfaction_surveys": 0}
    )
    result = project.materialize(DAY, select=["satisfaction_surveys"])
    assert project.metadata(result, SATISFACTION_SURVEYS)["pages"] == 1


def test_a_run_refuses_look_back_days_of_an_entity_that_does_not_exist(project, sandbox):
    """A misspelt name would otherwise leave the default in force, and late scores behind."""
    wrong = {"satisfaction_survey": 90}
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, look_back_days=wrong)
    with pytest.raises(dg.Failure, match="names satisfaction_survey; the entities are customers, satisfaction_surveys"):
        project.materialize(DAY)
    assert sandbox.requests == []


def test_a_customer_imported_with_an_old_update_is_in_the_partition_of_that_day(project, account):
    insert(account, CUSTOMERS, [{"id": 7, "created_datetime": START, "updated_datetime": START}])
    insert(account, CUSTOMERS, ({"id": i, "created_datetime": END, "updated_datetime": END} for i in range(100, 350)))
    result = project.materialize(DAY, select=["customers"])
    assert ids(project, CUSTOMERS) == [7]
    assert project.metadata(result, CUSTOMERS)["pages"] == 3
