"""The declaration of an entity in Dagster's words."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from gorgias_assets.columns import Column, Kind
from gorgias_assets.declared import code_version, column_schema, kinds, of_definition
from gorgias_assets.entities import CORE, CUSTOMERS, TICKETS


@pytest.fixture
def columns() -> dict[str, dg.TableColumn]:
    return {column.name: column for column in column_schema(CUSTOMERS.columns).columns}


def test_a_schema_names_each_column_of_the_table_and_what_is_in_it(columns):
    assert list(columns) == [
        *(column.name for column in CUSTOMERS.columns),
        "_extracted_at",
        "_deleted_at",
        "_merged_into",
        "_extra",
    ]
    assert (columns["id"].type, columns["email"].description) == (
        "integer, 64 bits",
        "Primary e-mail address; one customer per address.",
    )


def test_what_people_wrote_or_are_known_by_is_tagged_as_personal_data(columns):
    tagged = {name for name, column in columns.items() if column.tags}
    assert {"email", "name", "note", "custom_fields", "_extra"} <= tagged
    assert not {"id", "active", "created_datetime", "_extracted_at"} & tagged
    assert columns["email"].tags == {"pii": "", "gorgias/holds": "email"}
    assert columns["meta"].tags == {"pii": "", "gorgias/holds": "secret, undeclared"}


def test_only_the_id_and_the_moment_of_reading_are_never_null_and_the_id_is_unique(columns):
    assert {name for name, column in columns.items() if not column.constraints.nullable} == {"id", "_extracted_at"}
    assert {name for name, column in columns.items() if column.constraints.unique} == {"id"}


def test_an_asset_says_before_its_first_run_where_its_table_is_and_what_it_has():
    @dg.asset(kinds=kinds("duckdb"), metadata=of_definition(TICKETS, "gorgias.tickets", "duckdb"))
    def tickets() -> None: ...

    (spec,) = tickets.specs
    assert spec.kinds == {"gorgias", "duckdb"}
    assert spec.metadata["dagster/table_name"] == "gorgias.tickets"
    assert spec.metadata["dagster/storage_kind"] == "duckdb"
    assert spec.metadata["dagster/column_schema"] == column_schema(TICKETS.columns)


def test_each_declaration_has_a_version_of_its_own_that_no_restart_changes():
    assert len({code_version(entity) for entity in CORE}) == len(CORE)
    assert code_version(TICKETS) == "d62d66f57811"


@pytest.mark.parametrize(
    "changed",
    [
        replace(TICKETS, path="/v2/tickets"),
        replace(TICKETS, columns=(*TICKETS.columns, Column("sla", Kind.STRING, "Service level."))),
        replace(TICKETS, columns=(replace(TICKETS.columns[0], kind=Kind.STRING), *TICKETS.columns[1:])),
        replace(TICKETS, read=replace(TICKETS.read, order="created_datetime")),
        replace(TICKETS, read=replace(TICKETS.read, touch_fields=("created_datetime",))),
    ],
    ids=["path", "column", "type", "order", "touch fields"],
)
def test_the_version_changes_with_the_rows_or_the_columns(changed):
    assert code_version(changed) != code_version(TICKETS)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TICKETS, grain="One row per conversation."),
        replace(TICKETS, columns=(replace(TICKETS.columns[0], description="The id."), *TICKETS.columns[1:])),
        replace(TICKETS, read=replace(TICKETS.read, look_back=timedelta(days=1))),
    ],
    ids=["grain", "description", "look-back"],
)
def test_the_version_stays_while_only_words_or_ways_of_looking_change(changed):
    assert code_version(changed) == code_version(TICKETS)
