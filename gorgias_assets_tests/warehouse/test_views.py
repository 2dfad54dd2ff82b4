"""The views of what is nested in rows, and of what events mean, on each engine."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from gorgias_assets.columns import Kind
from gorgias_assets.entities import CUSTOM_FIELDS, ENTITIES, EVENTS, TICKETS, VIEWS
from gorgias_assets.entities.customers import CUSTOMER_CUSTOM_FIELDS
from gorgias_assets.entities.model import Entity, Whole, string
from gorgias_assets.entities.tickets import TICKET_CUSTOM_FIELDS, TICKET_TAGS
from gorgias_assets.entities.view import NamedView, Nested, View
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.views import view_specs
from gorgias_assets.warehouse.tables import Table, Tombstone
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import Engine, on_each_warehouse_in_time

CREATED = datetime(2025, 3, 10, 12, tzinfo=UTC)
READ = datetime(2025, 3, 11, tzinfo=UTC)
DELAY = "Shipping::Delay::Customs::Brexit"
BY_NAME = {entity.name: entity for entity in ENTITIES}

ROWS: dict[str, list[Row]] = {
    "custom_fields": [
        {
            "id": 7,
            "label": "Contact reason",
            "managed_type": "contact_reason",
            "definition": {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["A::B"]}},
        },
        {"id": 8, "label": "Order", "definition": {"data_type": "text", "input_settings": {"input_type": "input"}}},
        {"id": 9, "label": "Items", "definition": {"data_type": "number", "input_settings": {}}},
        {"id": 10, "label": "Refund", "definition": {"data_type": "boolean"}},
        {"id": 11, "label": "Odd", "definition": None},
    ],
    "customers": [{"id": 1, "custom_fields": {"8": {"id": 8, "value": "VIP"}, "9": {"id": 9, "value": "many"}}}],
    "users": [{"id": 31, "role": {"name": "basic-agent"}}],
    "tickets": [
        {
            "id": 1,
            "customer": {"id": 61, "email": "jane@example.com"},
            "assignee_user": {"id": 31, "name": "Ann"},
            "assignee_team": None,
            "tags": [{"id": 5, "name": "late", "decoration": {"color": "#ff0000"}}, {"id": 6, "name": "refund"}],
            "custom_fields": {
                "7": {"id": 7, "value": DELAY},
                "8": {"id": 8, "value": "A::B"},
                "9": {"id": 9, "value": 3},
                "10": {"id": 10, "value": False},
                "11": {"id": 11, "value": 1.5},
                "12": {"id": 12, "value": ["of", "no field"]},
            },
        },
        {"id": 2, "tags": [], "custom_fields": {"7": {"id": 7, "value": "Return"}, "8": {"id": 8, "value": None}}},
    ],
    "ticket_messages": [
        {
            "id": 1,
            "ticket_id": 2,
            "from_agent": False,
            "sender": {"id": 61, "name": "Jane"},
            "source": {
                "type": "email",
                "from": {"name": "Jane", "address": "jane@example.com"},
                "to": [{"name": "Help", "address": "help@shop.com"}, {"name": None, "address": "two@shop.com"}],
                "cc": None,
                "bcc": [{"address": "boss@shop.com"}],
            },
            "attachments": [
                {"url": "https://a/1", "name": "a.png", "size": 5, "content_type": "image/png", "public": True},
                {"url": "https://a/2", "name": "b.pdf", "size": 6, "public": False, "extra": {"pages": [1]}},
            ],
            "intents": [
                {"name": "shipping/status", "rejected": None, "is_user_feedback": False},
                {"name": "order/cancel", "rejected": True, "is_user_feedback": True},
            ],
            "macros": [{"id": 4}],
        },
        {"id": 2, "ticket_id": 2, "source": {"type": "chat", "from": {"name": "Joe"}}},
    ],
    "teams": [
        {"id": 3, "name": "Night", "members": [{"id": 31, "name": "Ann", "email": "ann@shop.com", "meta": {}}]},
        {"id": 4, "name": "Day", "members": []},
    ],
    "voice_calls": [
        {
            "id": 1,
            "ticket_id": 2,
            "summaries": [
                {"id": 5, "recording_id": 6, "summary": "A parcel.", "created_datetime": "2025-03-10T12:00:00.5"},
                {"id": 6, "recording_id": 7, "summary": "Another.", "created_datetime": "2025-03-10T14:00:00+02:00"},
            ],
        }
    ],
    "events": [
        {"id": 1, "type": "ticket-tags-added", "data": {"tags_added": [5, 6]}, "user_id": 31, "context": "c"},
        {"id": 2, "type": "ticket-tags-removed", "data": {"tags_removed": [5]}},
        {"id": 3, "type": "ticket-assigned", "data": {"assignee_user_id": 31, "auto_assigned": True}},
        {"id": 4, "type": "ticket-team-assigned", "data": {"assignee_team_id": 3}},
        {"id": 5, "type": "ticket-unassigned", "data": None},
        {"id": 6, "type": "ticket-closed", "data": None, "user_id": 31},
        {"id": 7, "type": "ticket-self-unsnoozed", "data": None},
        {
            "id": 8,
            "type": "rule-executed",
            "data": {
                "id": 2,
                "name": "Tag chats",
                "type": "user",
                "triggering_event_type": "ticket-created",
                "failed_actions": [{"action_name": "addTags", "failure_reason": "no such tag"}],
            },
        },
        {"id": 9, "type": "rule-executed", "object_type": "TicketMessage", "data": {"id": 3, "failed_actions": None}},
        {"id": 10, "type": "ticket-message-created", "data": None},
    ],
}
OF_TICKET = {"object_type": "Ticket", "object_id": 77}

# Without the moments at which parents were created and read.
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "agents": [(31, None, None, "basic-agent", False, None)],
    "ticket_people": [(1, 61, None, "jane@example.com", 31, "Ann", None, None), (2, *[None] * 7)],
    "ticket_message_people": [(1, 2, False, 61, "Jane", None), (2, 2, None, None, None, None)],
    "ticket_tags": [(1, 5, "late"), (1, 6, "refund")],
    "ticket_custom_fields": [
        (1, 7, "Contact reason", "contact_reason", DELAY, None, None, "Shipping", "Delay", "Customs"),
        (1, 8, "Order", None, "A::B", None, None, None, None, None),
        (1, 9, "Items", None, None, 3.0, None, None, None, None),
        (1, 10, "Refund", None, None, None, False, None, None, None),
        (1, 11, "Odd", None, "1.5", None, None, None, None, None),
        (1, 12, None, None, '["of","no field"]', None, None, None, None, None),
        (2, 7, "Contact reason", "contact_reason", "Return", None, None, "Return", None, None),
    ],
    "customer_custom_fields": [
        (1, 8, "Order", None, "VIP", None, None, None, None, None),
        (1, 9, "Items", None, "many", None, None, None, None, None),
    ],
    "ticket_message_recipients": [
        (1, 2, "from", 1, "Jane", "jane@example.com"),
        (1, 2, "to", 1, "Help", "help@shop.com"),
        (1, 2, "to", 2, None, "two@shop.com"),
        (1, 2, "bcc", 1, None, "boss@shop.com"),
        (2, 2, "from", 1, "Joe", None),
    ],
    "ticket_message_attachments": [
        (1, 2, 1, "a.png", "https://a/1", "image/png", 5, True, None),
        (1, 2, 2, "b.pdf", "https://a/2", None, 6, False, {"pages": [1]}),
    ],
    "ticket_message_intents": [(1, 2, "shipping/status", None, False), (1, 2, "order/cancel", True, True)],
    "ticket_message_macros": [(1, 2, 4)],
    "team_members": [(3, "Night", 31, "Ann", "ann@shop.com")],
    "voice_call_summaries": [
        (1, 2, 5, 6, "A parcel.", datetime(2025, 3, 10, 12, 0, 0, 500_000, UTC)),
        (1, 2, 6, 7, "Another.", datetime(2025, 3, 10, 12, tzinfo=UTC)),
    ],
    "ticket_tag_changes": [
        (1, 77, 5, "added", 31, "c"),
        (1, 77, 6, "added", 31, "c"),
        (2, 77, 5, "removed", None, None),
    ],
    "ticket_assignments": [
        (3, 77, "user", 31, None, True, None, None),
        (4, 77, "team", None, 3, None, None, None),
        (5, 77, "user", None, None, None, None, None),
    ],
    "ticket_status_changes": [(6, 77, "closed", 31, None), (7, 77, "self-unsnoozed", None, None)],
    "rule_executions": [
        (8, 2, "Tag chats", "user", 77, "ticket-created", 1, None, None),
        (9, 3, None, None, None, None, None, None, None),
    ],
}
MOMENTS = {"_extracted_at": READ} | dict.fromkeys(
    ("ticket_created_datetime", "message_created_datetime", "customer_created_datetime", "call_created_datetime"),
    CREATED,
)


def typed(entity: Entity, rows: Sequence[Row]) -> pa.Table:
    always = {"created_datetime": CREATED.isoformat(), **(OF_TICKET if entity is EVENTS else {})}
    table = type_rows([{**always, **row} for row in rows], entity.columns, READ).table
    return table.append_column("_is_touched", pa.array([True] * len(rows)))


def merge(engine: Engine, entity: Entity, rows: Sequence[Row], table: str = "") -> None:
    engine.warehouse().merge(Table("shop", table or entity.name), entity.columns, typed(entity, rows))


def keep(engine: Engine, *views: View, names: Mapping[str, str] | None = None) -> list[Table]:
    stored = [NamedView(view, names or {}).stored_in("shop") for view in views]
    return engine.warehouse().keep_views("shop", stored)


def shown(engine: Engine, view: View, name: str = "") -> list[tuple[Any, ...]]:
    """Return the view's rows without moments of their parents, once these are what they should be."""
    moments = {"created_datetime": CREATED, **MOMENTS} if view.parent == EVENTS.name else MOMENTS
    columns = [column for column in view.columns if column.name not in moments]
    rows = []
    for row in engine.query(f"SELECT * FROM shop.{name or view.name} ORDER BY 1, 2, 3"):
        values = dict(zip(view.columns, row, strict=True))
        assert all(value == moments.get(column.name, value) for column, value in values.items())
        is_json = [column.kind is Kind.JSON and values[column] is not None for column in columns]
        found = [engine.json(values[c]) if json else values[c] for c, json in zip(columns, is_json, strict=True)]
        rows.append(tuple(found))
    return rows


def in_any_order(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


@on_each_warehouse_in_time
def test_each_view_shows_what_is_nested_in_rows_with_the_types_and_descriptions_declared(engine):
    for name, rows in ROWS.items():
        merge(engine, BY_NAME[name], rows)
    assert keep(engine, *VIEWS) == []
    types = engine.warehouse().dialect.types
    for view in VIEWS:
        assert in_any_order(shown(engine, view)) == in_any_order(EXPECTED[view.name]), view.name
        assert engine.types("shop", view.name) == {column.name: types[column.kind] for column in view.columns}
        assert engine.descriptions("shop", view.name) == {column.name: column.comment for column in view.columns}


ODD: list[Any] = [None, {}, [], "text", 5, True, [None], [[]], ["text"], [5], [{}], {"id": 5}, {"id": {"id": 5}}]
ODD += [{"id": [5]}, [{"id": {}, "name": None}], [{"id": 2**70}], {"to": "text", "from": ["text"], "cc": {}}]
ODD += [{"tags_added": {"a": 1}, "tags_removed": ["x", None, {}, [1]]}, {"21": {"value": {}}, "x.y": {"value": None}}]
ODD += [{"failed_actions": "all", "id": "x", "assignee_user_id": 1.5e300, "auto_assigned": "yes"}]


@on_each_warehouse_in_time
def test_json_of_another_shape_is_null_or_no_row_and_fails_no_query(engine):
    for name in ROWS:
        entity = BY_NAME[name]
        nested = [column.name for column in entity.columns if column.kind is Kind.JSON]
        rows = [{"id": i, **dict.fromkeys(nested, value)} for i, value in enumerate(ODD)]
        types = ("ticket-tags-removed", "ticket-assigned", "rule-executed")
        merge(engine, entity, [{**row, "id": row["id"] * 3 + n, "type": types[n]} for row in rows for n in range(3)])
    keep(engine, *VIEWS)
    found = {view.name: shown(engine, view) for view in VIEWS}
    values = {row[:2] + row[4:5] for row in found["ticket_custom_fields"]}
    assert {row[1:] for row in values} == {(21, "{}")}
    rows = {
        "ticket_assignments": 1,
        "rule_executions": 1,
        "agents": 3,
        "ticket_people": 3,
        "ticket_message_people": 3,
    }
    assert {name: len(found.pop(name)) for name in rows} == {name: times * len(ODD) for name, times in rows.items()}
    assert {name: rows for name, rows in found.items() if rows and "custom_fields" not in name} == {}


@on_each_warehouse_in_time
def test_rows_of_a_parent_that_is_gone_are_not_shown_and_a_gone_field_still_has_its_label(engine):
    for entity in (TICKETS, CUSTOM_FIELDS):
        merge(engine, entity, ROWS[entity.name])
    keep(engine, TICKET_TAGS, TICKET_CUSTOM_FIELDS)
    for entity, row_id in ((TICKETS, 1), (CUSTOM_FIELDS, 7)):
        engine.warehouse().settle_candidates(Table("shop", entity.name), [row_id], [Tombstone(row_id, READ)], {})
    assert shown(engine, TICKET_TAGS) == []
    assert [row[:3] for row in shown(engine, TICKET_CUSTOM_FIELDS)] == [(2, 7, "Contact reason")]


@on_each_warehouse_in_time
def test_a_view_waits_for_all_of_its_tables_and_reads_those_of_the_account_s_names(engine):
    names = {"tickets": "inbox", "custom_fields": "fields", "ticket_custom_fields": "field_values"}
    assert keep(engine, TICKET_CUSTOM_FIELDS, names=names) == []
    merge(engine, TICKETS, ROWS["tickets"], "inbox")
    assert keep(engine, TICKET_CUSTOM_FIELDS, names=names) == []
    assert engine.warehouse().columns_of(Table("shop", "field_values")) == []
    merge(engine, CUSTOM_FIELDS, ROWS["custom_fields"], "fields")
    keep(engine, TICKET_CUSTOM_FIELDS, names=names)
    assert len(shown(engine, TICKET_CUSTOM_FIELDS, "field_values")) == len(EXPECTED["ticket_custom_fields"])


def more(view: View) -> View:
    """Return a later version of the view: with one column more, and another in other words."""
    words = {replace(column, description=f"{column.description} Indeed."): of for column, of in view.values.items()}
    return replace(view, grain="One row per tag.", values={**words, string("color", "Its color."): Nested("name")})


@on_each_warehouse_in_time
def test_a_view_follows_its_declaration(engine):
    merge(engine, TICKETS, ROWS["tickets"])
    keep(engine, TICKET_TAGS)
    later = more(TICKET_TAGS)
    keep(engine, later)
    assert engine.descriptions("shop", "ticket_tags") == {column.name: column.comment for column in later.columns}
    assert [row[-1] for row in shown(engine, later)] == ["late", "refund"]
    reworded = replace(later, values={replace(column, description="-"): of for column, of in later.values.items()})
    keep(engine, reworded)
    assert set(engine.descriptions("shop", "ticket_tags").values()) == {"-"}


@on_each_warehouse_in_time
@pytest.mark.parametrize("kind", ["VIEW", "TABLE"])
def test_a_view_or_table_of_somebody_s_own_under_the_name_is_left_alone_and_named(engine, kind):
    merge(engine, TICKETS, ROWS["tickets"])
    engine.execute(f"CREATE {kind} shop.ticket_tags AS SELECT 7 AS mine")
    for version in (TICKET_TAGS, more(TICKET_TAGS)):
        assert keep(engine, version) == [Table("shop", "ticket_tags")]
    assert engine.query("SELECT * FROM shop.ticket_tags") == [(7,)]


def test_in_duckdb_a_view_of_somebody_s_own_is_left_alone_also_if_its_table_is_gone(engine):
    merge(engine, TICKETS, ROWS["tickets"])
    engine.execute("CREATE TABLE shop.mine AS SELECT 7 AS mine", "CREATE VIEW shop.ticket_tags AS FROM shop.mine")
    engine.execute("DROP TABLE shop.mine")
    assert keep(engine, TICKET_TAGS) == [Table("shop", "ticket_tags")]
    assert list(engine.types("shop", "ticket_tags")) == ["mine"]


def test_in_duckdb_a_view_whose_table_is_dropped_is_whole_again_with_it(engine):
    merge(engine, TICKETS, ROWS["tickets"])
    keep(engine, TICKET_TAGS)
    engine.execute("DROP VIEW shop.tickets_live", "DROP TABLE shop.tickets")
    assert keep(engine, TICKET_TAGS) == []
    merge(engine, TICKETS, ROWS["tickets"])
    assert len(shown(engine, TICKET_TAGS)) == 2


@pytest.mark.soak
def test_in_bigquery_a_view_is_made_by_one_statement_and_one_that_is_as_declared_costs_none(bigquery):
    merge(bigquery, TICKETS, ROWS["tickets"])
    before = len(bigquery.statements())
    for version in (TICKET_TAGS, TICKET_TAGS, more(TICKET_TAGS), more(TICKET_TAGS)):
        keep(bigquery, version)
    made = bigquery.statements()[before:]
    assert [statement.partition(" (")[0] for statement in made] == [
        "CREATE OR REPLACE VIEW `local.shop.ticket_tags`"
    ] * 2
    assert bigquery.table("shop", "ticket_tags").description == "One row per tag."


@pytest.mark.soak
def test_in_bigquery_a_view_of_tables_that_ask_for_a_filter_has_one(bigquery):
    warehouse = bigquery.warehouse()
    asking = replace(warehouse, layout=replace(warehouse.layout, require_partition_filter=True))
    for entity in (TICKETS, CUSTOM_FIELDS):
        merge(bigquery, entity, ROWS[entity.name])
        asking.merge(Table("shop", entity.name), entity.columns, typed(entity, []))
    keep(bigquery, TICKET_CUSTOM_FIELDS)
    (made,) = [
        statement for statement in bigquery.statements() if "VIEW `local.shop.ticket_custom_fields`" in statement
    ]
    assert made.count("created_datetime IS NULL OR created_datetime IS NOT NULL") == 2
    assert len(shown(bigquery, TICKET_CUSTOM_FIELDS)) == len(EXPECTED["ticket_custom_fields"])


# The way that rows come: through the assets


@pytest.fixture
def project(sandbox, engine) -> Project:
    return Project(
        sandbox, engine, [TICKETS, CUSTOM_FIELDS], [CUSTOMER_CUSTOM_FIELDS, TICKET_TAGS, TICKET_CUSTOM_FIELDS]
    )


def materialize(project: Project, entity: Entity) -> dg.ExecuteInProcessResult:
    day = {} if isinstance(entity.read, Whole) else {"partition_key": "2025-03-10"}
    selected = [project.deployed.key_of(entity)]
    return dg.materialize(
        project.assets, selection=selected, instance=project.instance, resources=project.resources, **day
    )


@on_each_warehouse_in_time
def test_loading_a_table_keeps_the_views_that_read_it(project, account):
    field = account.create("custom_fields", label="Reason", object_type="Ticket", definition={"data_type": "text"})
    values = {str(field["id"]): {"id": field["id"], "value": "Late"}}
    account.create("tickets", created_datetime=CREATED, updated_datetime=CREATED, custom_fields=values)
    kept = {"tickets": {"ticket_tags"}, "custom_fields": {"ticket_tags", "ticket_custom_fields"}}
    for entity in (TICKETS, CUSTOM_FIELDS):
        materialize(project, entity)
        columns_of = project.engine.warehouse().columns_of
        assert {view.name for view in VIEWS if columns_of(Table("gorgias", view.name))} == kept[entity.name]
    assert project.query("SELECT label, value_text FROM gorgias.ticket_custom_fields") == [("Reason", "Late")]


def test_a_view_can_be_read_in_a_file_named_as_the_schema_is_and_by_another_asset(sandbox, account, tmp_path):
    account.create("tickets", created_datetime=CREATED, updated_datetime=CREATED, tags=[{"id": 5, "name": "late"}])
    project = Project(sandbox, tmp_path / "gorgias.duckdb", [TICKETS], [TICKET_TAGS])
    materialize(project, TICKETS)
    assert project.query("SELECT tag_name FROM gorgias.gorgias.ticket_tags") == [("late",)]

    @dg.asset(ins={"tags": dg.AssetIn(["gorgias", "ticket_tags"])}, io_manager_key="memory")
    def names(tags: pd.DataFrame) -> list[str]:
        return list(tags["tag_name"])

    resources = {**project.resources, "memory": dg.mem_io_manager}
    result = dg.materialize([*view_specs(project.deployed), names], resources=resources)
    assert result.output_for_node("names") == ["late"]


def test_a_run_says_that_something_else_has_the_name_of_a_view(project, engine):
    engine.execute("CREATE SCHEMA gorgias", "CREATE TABLE gorgias.ticket_tags AS SELECT 7 AS mine")
    result = materialize(project, TICKETS)
    assert result.success
    warned = [entry.user_message for entry in project.log(result) if entry.level == logging.WARNING]
    assert warned[:1] == [
        "gorgias.ticket_tags was made by something else, so there is no view of that name; rename one of them: a view "
        "by `table_names`."
    ]
