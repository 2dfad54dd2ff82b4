"""The documents are true: generated parts are up to date, the program runs, queries answer, links lead somewhere."""

import re
from datetime import UTC, datetime

import dagster as dg
import duckdb
import pytest

from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.documents import REPOSITORY, documents, rendered

README = (REPOSITORY / "README.md").read_text()
LIBRARY = (REPOSITORY / "docs" / "library.md").read_text()
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
TEXTS = {file.relative_to(REPOSITORY).as_posix(): file.read_text() for file in documents()}
MOST_LINES, MOST_WORDS = 160, 1_600


def block(text: str, language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return code


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_generated_parts_are_those_that_make_docs_writes():
    outdated = [file.name for file, text in rendered() if file.read_text() != text]
    assert outdated == []


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len(README.splitlines()) <= MOST_LINES
    assert len(README.split()) <= MOST_WORDS


def test_the_tests_that_the_design_names_exist():
    tests = "".join(file.read_text() for file in (REPOSITORY / "gorgias_assets_tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", TEXTS["docs/design.md"])
    assert len(named) > 40
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings_that_exist(name):
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", TEXTS[name]):
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / name).parent / path if path else REPOSITORY / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_screenshots_are_used_and_commands_exist():
    everything = "".join(TEXTS.values())
    unused = [image.name for image in (REPOSITORY / "docs").rglob("*.png") if image.name not in everything]
    assert unused == []
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ |[a-z]=\S* )make ([a-z-]+)", everything, re.MULTILINE))
    assert named <= targets


@pytest.fixture(scope="module")
def shop():
    account = Account(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=2, tickets_per_day=40).live(until=datetime(2025, 3, 6, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def project(shop: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(shop, tmp_path_factory.mktemp("project") / "warehouse.duckdb")


def test_the_library_s_program_materializes_the_assets_and_one_downstream(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GORGIAS_URI", shop.uri)
    program: dict = {}
    exec(block(LIBRARY, "python"), program)  # noqa: S102, the document's own program
    defs = program["defs"]
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [asset for asset in defs.assets if isinstance(asset, dg.AssetsDefinition)],
            selection="+tickets_per_day",
            resources=defs.resources | {"gorgias": GorgiasResource(uri=dg.EnvVar("GORGIAS_URI"), api_url=shop.api_url)},
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "2025-03-01",
                "dagster/asset_partition_range_end": "2025-03-05",
            },
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    with duckdb.connect(str(tmp_path / "shop.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        counted = connection.execute("SELECT day::DATE::VARCHAR, sum(tickets) FROM support.tickets_per_day GROUP BY 1")
        per_day = {day: int(tickets) for day, tickets in counted.fetchall()}
    created = [row["created_datetime"][:10] for row in shop.account.rows("tickets")]
    assert per_day == {day: created.count(day) for day in created if "2025-03-01" <= day <= "2025-03-05"}


def test_the_query_answers_and_the_keys_of_metadata_are_those_of_a_run(shop, project):
    result = project.materialize("2025-03-01", "2025-03-05")
    scored = [row for row in shop.account.rows("satisfaction_surveys") if row["score"] is not None]
    answered = sum(count for _, count, _ in project.query(block(README, "sql")))
    assert 0 < answered <= len(scored)
    ((emails,),) = project.query("SELECT count(customer ->> 'email') FROM gorgias.tickets")
    assert emails > 0

    *others, newest = result.asset_materializations_for_node("gorgias__tickets")
    of_days, of_run = (
        {key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`([\w/]+)`", row)}
        for table in OPERATIONS.split("| key | meaning |")[1:3]
    )
    assert [day.metadata.keys() for day in others] == [of_days] * 4
    keys = newest.metadata.keys() - {"dagster/table_name", "dagster/column_schema"}
    at_times = {"deletions_unanswered", "absences_doubted", "rows_from_the_future"}
    assert of_run - keys <= {"resumed_from", "fields_in_extra", "fields_withheld", "preview", *at_times}
    assert not of_days & of_run
    assert keys <= of_days | of_run


def test_a_person_is_removed_by_the_statements_for_it(shop, project):
    project.materialize("2025-03-01", "2025-03-05")
    tickets = shop.account.rows("tickets")
    person, email = tickets[0]["customer"]["id"], tickets[0]["customer"]["email"]
    erase = block(OPERATIONS, "sql").replace("123", str(person))
    with duckdb.connect(str(project.database)) as connection:
        connection.execute(erase)
        for table in ("customers", "tickets", "ticket_messages", "satisfaction_surveys"):
            named = "contains(CAST(stored AS VARCHAR), ?)"
            counted = f"SELECT count(*), count(*) FILTER ({named}) FROM gorgias.{table} AS stored"
            ((rows, left),) = connection.execute(counted, [email]).fetchall()
            assert rows > 0
            assert left == 0
