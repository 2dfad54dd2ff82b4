"""The personal data of each column: all that the simulated account has is declared, and shown where people look."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gorgias_assets.columns import EXTRA, Column, Kind, Personal
from gorgias_assets.entities import ENTITIES, EVENTS, TICKET_MESSAGES, TICKETS, VIEWS
from gorgias_assets.entities.model import Entity, json, string
from gorgias_assets.entities.view import At, Items, Name, Nested, One, Part, Sql, Stored, View
from gorgias_assets.metrics.ticket_metrics import COLUMNS as OF_METRICS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.objects import Kind as Objects
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time

LONGEST_DESCRIPTION = 1_024  # of a column in BigQuery
each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


@pytest.fixture(scope="module")
def brand() -> Account:
    """Return an account with everything that there may be, after two days."""
    account = Account(now=datetime(2026, 2, 1, tzinfo=UTC))
    Brand(account).live(until=datetime(2026, 2, 3, tzinfo=UTC))
    return account


def kind_of(entity: Entity) -> Objects:
    return next(kind for kind in KINDS.values() if f"/{kind.list_path}" == entity.path)


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each text, number and boolean in a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{path}[]")
    elif value is not None:
        yield path


def is_declared(column: Column, path: str) -> bool:
    """Return if a path of the declaration reaches this one, as words go."""
    holding = {"**": column.holds} if isinstance(column.holds, Personal) else column.holds or {}
    patterns = (
        re.escape(one).replace(r"\.\*\*", r"([.\[].*)?").replace(r"\*\*", ".*").replace(r"\*", r"\d+")
        for one in holding
    )
    return any(re.fullmatch(pattern, path) for pattern in patterns)


def test_every_path_of_json_that_an_account_has_is_declared(brand: Account) -> None:
    lacking = {
        f"{entity.name}.{column.name}: {path}"
        for entity in ENTITIES
        for kind in [kind_of(entity)]
        for row in [*brand.rows(kind.name), kind.odd]
        for column in entity.columns
        if column.kind is Kind.JSON
        for path in paths(row.get(column.name))
        if not is_declared(column, path)
    }
    assert sorted(lacking) == []


@pytest.mark.parametrize(
    ("column", "path", "holds"),
    [
        (TICKET_MESSAGES, "source.to[].address", Personal.EMAIL),
        (TICKET_MESSAGES, "source.to.address", Personal.UNDECLARED),
        (TICKET_MESSAGES, "source.to[].nickname", Personal.UNDECLARED),
        (TICKET_MESSAGES, "source.type", None),
        (TICKET_MESSAGES, "source", Personal.UNDECLARED),
        (TICKET_MESSAGES, "headers.From", Personal.UNDECLARED),
        (TICKET_MESSAGES, "body_text", Personal.BODY),
        (TICKETS, "custom_fields.300201.value", Personal.BODY),
        (TICKETS, "custom_fields.300201.id", None),
        (TICKETS, "custom_fields.mara@example.com.id", Personal.UNDECLARED),
        (TICKETS, "assignee_team.decoration.emoji.name", None),
        (TICKETS, "assignee_team.decoration.owner", Personal.UNDECLARED),
        (EVENTS, "data.remote_addr", Personal.IP),
        (EVENTS, "data.old_customer.name", Personal.NAME),
        (EVENTS, "data.call.recording_url", Personal.UNDECLARED),
    ],
)
def test_a_value_holds_what_its_path_says_and_is_undeclared_without_one(
    column: Entity, path: str, holds: Personal | None
) -> None:
    name, _, within = path.partition(".")
    (found,) = (one for one in column.columns if one.name == name)
    assert found.held_at(within) is holds


def test_nothing_is_declared_as_harmless_with_all_that_may_come_to_be_in_it() -> None:
    holdings = [(column.name, column.holds) for entity in ENTITIES for column in entity.columns]
    paths_of = [(name, path, of) for name, held in holdings if isinstance(held, dict) for path, of in held.items()]
    assert [(name, path) for name, path, of in paths_of if path.endswith("**") and of is None] == []


def test_a_path_of_its_own_goes_before_that_of_all_the_rest() -> None:
    column = json("data", "Data.", {"a.**": Personal.NAME, "a.b.c": None, "**": Personal.IP})
    found = [column.held_at(path) for path in ("a", "a.x[].y", "a.b.c", "a.b.d", "x", "")]
    assert found == [Personal.NAME, Personal.NAME, None, Personal.NAME, Personal.IP, Personal.IP]
    assert json("data", "Data.", Personal.IP).held_at("a[].b") is Personal.IP


def test_all_json_and_all_that_holds_something_is_private() -> None:
    private = [column.private for column in (string("a", "A."), string("a", "A.", Personal.NAME), json("a", "A.", {}))]
    assert private == [False, True, True]


def held(view: View, kinds: dict[str, Column], source: object, nested: object) -> set[Personal | None]:
    """Return what the source of a view's column holds, by the declaration of its parent."""
    match source:
        case Stored(name):
            return {None if name.startswith("_") else kinds[name].held_at("")}
        case At(column, path):
            return {kinds[column].held_at(path)}
        case Nested(name) if isinstance(nested, One):
            return {kinds[nested.column].held_at(".".join(filter(None, (nested.path, name))))}
        case Nested(name) if isinstance(nested, Items):
            return {kinds[nested.column].held_at(f"{nested.path}[]{'.' if name else ''}{name}")}
        case Nested(name):
            return {kinds["custom_fields"].held_at(f"1.{name}")}
        case Part(whole):
            return held(view, kinds, whole, nested)
        case Sql():
            return {kind for one in source._values.values() for kind in held(view, kinds, one, nested)}
        case Name():
            return {None}
    return set()


@each_view
def test_a_column_of_a_view_holds_what_its_source_holds(view: View) -> None:
    (parent,) = (entity for entity in ENTITIES if entity.name == view.parent)
    kinds = {column.name: column for column in parent.columns}
    places = view.nested.values() if isinstance(view.nested, dict) else [view.nested]
    for column, source in view.values.items():
        if column.kind is not Kind.JSON:
            found = {kind for place in places for kind in held(view, kinds, source, place)}
            assert found <= {column.holds}, column.name


def test_a_description_with_all_that_a_column_holds_is_short_enough_for_each_engine() -> None:
    of_all = (*(one.columns for one in (*ENTITIES, *VIEWS)), OF_METRICS)
    assert max(len(column.comment) for columns in of_all for column in columns) < LONGEST_DESCRIPTION


@on_each_warehouse_in_time
def test_a_table_is_stored_with_what_its_columns_hold(project: Project, account: Account) -> None:
    account.create("tickets", subject="Where is it?")
    project.materialize("2025-03-31", select=["tickets"])
    stored = project.engine.descriptions("gorgias", "tickets")
    assert stored["subject"] == "Subject of the conversation. Holds: body."
    assert stored["integrations"].endswith(" Holds: email in [].address.")
    assert stored["status"].endswith("snooze_datetime.")
    assert stored[EXTRA].endswith(" Holds: undeclared.")
