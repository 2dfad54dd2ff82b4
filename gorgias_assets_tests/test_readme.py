"""The README is true: its tables are those of the code, its program runs, its queries answer."""

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gorgias_assets.checks.build import EVENTS_AGREE, table_checks
from gorgias_assets.entities import ENTITIES
from gorgias_assets.overview.measures import MEASURES
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import Project

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()


def section(name: str) -> list[str]:
    """The rows of the table between two comments, without its heading."""
    (table,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    return table.splitlines()[2:]


def block(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return code


def test_its_table_of_entities_is_what_they_declare():
    expected = [
        f"| `gorgias/{entity.name}` | {entity.grain.removeprefix('One row ').removesuffix('.')} "
        f"| {', '.join(name.removesuffix('_datetime') for name in entity.touch_fields)} "
        f"| {entity.look_back.days} days | {len(entity.columns)} |"
        for entity in ENTITIES
    ]
    assert section("entities") == expected


def test_its_table_of_checks_is_what_they_say():
    judged: dict[tuple[str, str], list[str]] = {}
    for entity in ENTITIES:
        for check in [*table_checks(entity), *([EVENTS_AGREE] if entity.creation_event else [])]:
            judged.setdefault((check.name, check.says), []).append(entity.name)
    assert section("checks") == [
        f"| `{name}` | {'all' if len(of) == len(ENTITIES) else ', '.join(of)} | {says} |"
        for (name, says), of in judged.items()
    ]


def test_its_table_of_measures_is_what_they_are_defined_as():
    assert section("measures") == [f"| `{measure.name}` | {measure.definition} |" for measure in MEASURES]


def test_its_settings_are_those_that_the_definitions_read_and_the_example_file_names():
    named = dict(re.findall(r"^\| `(\w+)` \|(?: `(.*?)`)? \|", "\n".join(section("settings")), re.MULTILINE))
    definitions = (REPOSITORY / "gorgias_assets" / "definitions.py").read_text()
    read = re.findall(r'"((?:GORGIAS|WAREHOUSE|ALERT)_[A-Z_]+)"(?:, "(.*?)")?', definitions)
    assert named == dict(read)
    example = re.findall(r"^#?([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert named == dict(example)


@pytest.fixture(scope="module")
def shop():
    account = Account(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=2, tickets_per_day=40).live(until=datetime(2025, 3, 6, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        yield sandbox


def test_its_program_materialises_the_assets_and_one_downstream(shop, tmp_path):
    program: dict = {}
    exec(block("python"), program)  # noqa: S102, the README's own program
    database = str(tmp_path / "shop.duckdb")
    defs = program["definitions"](shop.uri, database, shop.api_url)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            list(defs.assets),
            selection="+tickets_per_day",
            resources=defs.resources,
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "2025-03-01",
                "dagster/asset_partition_range_end": "2025-03-05",
            },
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        counted = connection.execute("SELECT day::DATE::VARCHAR, sum(tickets) FROM support.tickets_per_day GROUP BY 1")
        per_day = {day: int(tickets) for day, tickets in counted.fetchall()}
    created = [row["created_datetime"][:10] for row in shop.account.rows("tickets")]
    assert per_day == {day: created.count(day) for day in created if "2025-03-01" <= day <= "2025-03-05"}


def test_its_query_answers_on_a_file_and_schema_of_the_default_names(shop, tmp_path):
    project = Project(shop, tmp_path / "gorgias.duckdb")
    project.materialize("2025-03-01", "2025-03-05", select=["tickets", "satisfaction_surveys"])
    scored = [row for row in shop.account.rows("satisfaction_surveys") if row["score"] is not None]
    answered = sum(count for _, count, _ in project.query(block("sql")))
    assert 0 < answered <= len(scored)
    ((emails,),) = project.query("SELECT count(customer ->> 'email') FROM gorgias.gorgias.tickets")
    assert emails > 0
