"""The contract, for every entity: days in any order, some of them twice, amid failures, end in the account's rows.

The views on them answer the questions of `docs/questions.md` as the account knows it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE, ENTITIES, MACROS, TAGS, TICKETS, VIEWS
from gorgias_assets.entities.model import ByDate, Entity, Whole, read_by
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import PLANTED
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import BigQueryProject, DuckDBFile, Engine
from gorgias_assets_tests.questions import ANSWERS, QUESTIONS, Knowledge, Rows

OPENED, DAYS = date(2025, 3, 3), 8
HOUR = timedelta(hours=1)

each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
on_each_warehouse = pytest.mark.parametrize(
    "read", ["duckdb", pytest.param("bigquery", marks=pytest.mark.soak)], indirect=True, scope="module"
)


def day(number: int) -> str:
    return str(OPENED + timedelta(days=number))


def end_of(number: int) -> datetime:
    return datetime.combine(OPENED, datetime.min.time(), UTC) + timedelta(days=number + 1)


@pytest.fixture(scope="module")
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Live for some days, and read them as nobody would plan it; the last run refreshes all that moves no date."""
    engine: Engine = DuckDBFile(tmp_path_factory.mktemp("contract") / "warehouse.duckdb")
    if request.param == "bigquery":
        engine = BigQueryProject(request.getfixturevalue("emulator"))
    account = Account(now=end_of(-1))
    brand = Brand(account, seed=5, tickets_per_day=5)
    with Sandbox(account) as sandbox:
        project = Project(sandbox, engine, ENTITIES)
        project.deployed = replace(project.deployed, views=VIEWS)
        project.assets = build_assets(project.deployed)
        brand.live(end_of(4))
        project.materialize(day(4), select=[entity.name for entity in CORE])
        sandbox.faults.extend(Fault(400, path=f"/api{entity.path}") for entity in ENTITIES)
        assert not project.materialize(day(1), day(3), raise_on_error=False).success
        sandbox.faults.clear()
        brand.live(end_of(DAYS - 1))
        deleted, source, survivor, *_ = sorted(
            project.table(TICKETS).keys() & {t["id"] for t in account.rows("tickets")}
        )
        account.delete("tickets", deleted)
        account.merge("tickets", source, survivor)
        account.advance(HOUR)
        sandbox.faults.append(Fault(503, skip=5, times=3))
        project.materialize(day(1), day(DAYS - 1))
        project.materialize(day(0), day(6))
        swept = [entity.name for entity in read_by(ByDate, ENTITIES)]
        project.materialize(day(0), day(DAYS - 1), select=swept, full=True)
        yield project
        if isinstance(engine, BigQueryProject):
            refused = engine.refused()
            engine.clear()
            assert not refused, "\n\n".join(refused)


def of_the_days(project: Project, entity: Entity) -> dict[int, dict]:
    """Return the account's rows that something happened to on the days, in the form of the table."""
    rows, read = project.live_rows(entity), entity.read
    if isinstance(read, Whole):
        return rows
    start, end = end_of(-1), end_of(DAYS - 1)
    return {
        row_id: row
        for row_id, row in rows.items()
        if any(row[name] and start <= row[name] < end for name in read.touch_fields)
    }


def by_key(entity: Entity, rows: Iterable[dict]) -> dict[object, dict]:
    """Return rows by id, or by what that is made of where Gorgias gives none."""
    key = entity.read.id_from if isinstance(entity.read, Whole) and entity.read.id_from else "id"
    return {row[key]: {name: value for name, value in row.items() if key == "id" or name != "id"} for row in rows}


@on_each_warehouse
@each_entity
def test_each_table_has_the_rows_of_the_days_in_their_newest_state(read: Project, entity: Entity) -> None:
    wanted = by_key(entity, of_the_days(read, entity).values())
    table = by_key(entity, read.table(entity).values())
    withheld = {column.name for column in entity.columns if column.keeps}
    assert wanted
    for key, row in wanted.items():
        found = table[key]
        assert {name: found[name] for name in row.keys() - withheld} == {
            name: row[name] for name in row.keys() - withheld
        }


@on_each_warehouse
@each_entity
def test_what_is_gone_from_each_list_is_marked_and_nothing_else(read: Project, entity: Entity) -> None:
    marked = {row_id for (row_id,) in read.query(f"SELECT id FROM gorgias.{entity.name} WHERE _deleted_at IS NOT NULL")}
    looks = isinstance(entity.read, ByDate) or (isinstance(entity.read, Whole) and entity.read.has_pages)
    assert marked == {row_id for row_id in read.table(entity) if looks and read.is_gone(entity, row_id)}


@on_each_warehouse
def test_no_secret_of_the_account_is_in_any_table(read: Project) -> None:
    for entity in ENTITIES:
        assert PLANTED not in str(read.query(f"SELECT * FROM gorgias.{entity.name}")), entity.name


def ordered(rows: Rows) -> list[tuple[Any, ...]]:
    """Return the rows in an order that no average decides."""
    return sorted(rows, key=lambda row: [str(value) for value in row if not isinstance(value, float)])


def alike(row: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    """Return if a row is the right one, with averages as far as they are rounded."""
    return len(row) == len(right) and all(
        value == pytest.approx(wanted, abs=0.051) if isinstance(wanted, float) else value == wanted
        for value, wanted in zip(row, right, strict=True)
    )


@on_each_warehouse
@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_is_answered_as_the_account_knows_it(read: Project, question: str) -> None:
    stored = {
        "tickets": dict.fromkeys(read.table(TICKETS), ""),
        **{one.name: {row_id: row["name"] for row_id, row in read.table(one).items()} for one in (TAGS, MACROS)},
    }
    today = OPENED + timedelta(days=DAYS)
    known = ordered(ANSWERS[question](Knowledge(read.account, OPENED, today, stored)))
    found = ordered(read.query(QUESTIONS[question].replace("CURRENT_DATE", f"DATE '{today}'")))
    assert known
    assert len(found) == len(known)
    assert [pair for pair in zip(found, known, strict=True) if not alike(*pair)] == []


def test_no_question_needs_a_function_of_json() -> None:
    assert QUESTIONS.keys() == ANSWERS.keys()
    assert len(QUESTIONS) >= 15
    assert not [title for title, sql in QUESTIONS.items() if re.search(r"json|->|\$|struct", sql, re.IGNORECASE)]
