"""Use from another Dagster project, with its own definitions and without any environment variable of this one."""

import importlib.util
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import dagster as dg
import duckdb
import pandas as pd
import pytest

from gorgias_assets.build import build_definitions
from gorgias_assets.columns import Column, Kind
from gorgias_assets.entities import TICKETS
from gorgias_assets.entities.model import ByDate, ByFilter, Entity, Unordered, Whole
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets_tests.conftest import Project

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
ANOTHER_PROJECT = """
import dagster as dg
import pandas as pd

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.resources import GorgiasResource

gorgias_assets = build_assets(Account(CORE, start_date="2025-03-01", io_manager_key="warehouse"))
days = gorgias_assets[0].partitions_def


@dg.asset(
    partitions_def=days,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"tickets": dg.AssetIn(key=["gorgias", "tickets"])},
    key_prefix="support",
    metadata={"partition_expr": "day"},
    io_manager_key="warehouse",
)
def tickets_per_day(context: dg.AssetExecutionContext, tickets: pd.DataFrame) -> pd.DataFrame:
    window = context.partition_time_window
    created = tickets[tickets["created_datetime"].between(window.start, window.end, inclusive="left")]
    day = created["created_datetime"].dt.floor("D").rename("day")
    return created.groupby([day, "channel"]).size().reset_index(name="tickets")


@dg.asset(
    ins={"per_day": dg.AssetIn(key=["support", "tickets_per_day"])}, key_prefix="support", io_manager_key="warehouse"
)
def busiest_day(per_day: pd.DataFrame) -> pd.DataFrame:
    return per_day.nlargest(1, "tickets")


@dg.asset(ins={"rows": dg.AssetIn(key=["gorgias", "tickets"])}, key=["marts", "tickets"], io_manager_key="warehouse")
def tickets(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["id", "status"]]


def definitions(uri, api_url, database, **settings):
    return dg.Definitions(
        assets=[*gorgias_assets, tickets_per_day, busiest_day, tickets],
        resources={
            "gorgias": GorgiasResource(uri=uri, api_url=api_url),
            "warehouse": GorgiasDuckDBIOManager(database=database, **settings),
        },
    )
"""
CHAIN = [["gorgias", "tickets"], ["support", "tickets_per_day"]]


@pytest.fixture
def another_project(tmp_path: Path) -> ModuleType:
    file = tmp_path / "another_project.py"
    file.write_text(ANOTHER_PROJECT)
    spec = importlib.util.spec_from_file_location("another_project", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "another.duckdb")


@pytest.fixture
def account(account: Account) -> Account:
    """Return an account with tickets: five on the 10th, four on the 11th, three on the 12th; channels take turns."""
    for day, count in enumerate((5, 4, 3)):
        account.insert_many(
            "tickets",
            (
                {
                    **KINDS["tickets"].blank,
                    "id": 100 * (day + 1) + i,
                    "channel": ("email", "chat")[i % 2],
                    "created_datetime": NOON + timedelta(days=day, minutes=i),
                    "updated_datetime": NOON + timedelta(days=day + (i == 0), minutes=i),
                }
                for i in range(count)
            ),
        )
    return account


def run(definitions: dg.Definitions, keys: list[list[str]], first: str | None, last: str | None = None) -> None:
    job = dg.define_asset_job("job", selection=dg.AssetSelection.assets(*keys))
    resolved = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def("job")
    range_tags = {"dagster/asset_partition_range_start": first or "", "dagster/asset_partition_range_end": last or ""}
    assert resolved.execute_in_process(
        **({"tags": range_tags} if last else {"partition_key": first}), instance=dg.DagsterInstance.ephemeral()
    ).success


def query(database: str, sql: str) -> list[tuple]:
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def test_another_project_puts_an_asset_of_its_own_downstream_for_a_day(another_project, sandbox, database):
    definitions = another_project.definitions(sandbox.uri, sandbox.api_url, database)
    for _ in range(2):
        run(definitions, CHAIN, "2025-03-10")
    assert query(database, "SELECT day::DATE::VARCHAR, channel, tickets FROM support.tickets_per_day ORDER BY ALL") == [
        ("2025-03-10", "chat", 2),
        ("2025-03-10", "email", 3),
    ]
    assert query(database, "SELECT count(*) FROM gorgias.tickets") == [(5,)]


def test_another_project_puts_an_asset_of_its_own_downstream_for_a_range(another_project, sandbox, database):
    definitions = another_project.definitions(sandbox.uri, sandbox.api_url, database)
    run(definitions, CHAIN, "2025-03-11")
    run(definitions, CHAIN, "2025-03-10", "2025-03-12")
    assert query(
        database, "SELECT day::DATE::VARCHAR, sum(tickets)::INT FROM support.tickets_per_day GROUP BY 1 ORDER BY 1"
    ) == [
        ("2025-03-10", 5),
        ("2025-03-11", 4),
        ("2025-03-12", 3),
    ]
    run(definitions, [["support", "busiest_day"]], None)
    assert query(database, "SELECT day::DATE::VARCHAR, tickets FROM support.busiest_day") == [("2025-03-10", 3)]


def test_what_is_loaded_is_typed_as_it_is_declared(another_project, sandbox, database):
    definitions = another_project.definitions(sandbox.uri, sandbox.api_url, database)
    run(definitions, CHAIN, "2025-03-10", "2025-03-12")
    loaded = definitions.load_asset_value(
        ["gorgias", "tickets"],
        python_type=pd.DataFrame,
        partition_key="2025-03-11",
        instance=dg.DagsterInstance.ephemeral(),
    )
    types = {name: str(kind) for name, kind in loaded.dtypes.items()}
    assert types["id"] == types["messages_count"] == "Int64"
    assert types["spam"] == "boolean"
    assert types["created_datetime"] == types["trashed_datetime"] == "datetime64[us, UTC]"
    assert list(loaded.columns) == [
        *(column.name for column in TICKETS.columns),
        "_extracted_at",
        "_deleted_at",
        "_merged_into",
        "_extra",
    ]
    assert sorted(loaded["id"]) == [100, 200, 201, 202, 203]  # 100 was updated on the 11th


def test_assets_of_one_name_under_two_prefixes_do_not_share_a_table(another_project, sandbox, database):
    definitions = another_project.definitions(sandbox.uri, sandbox.api_url, database)
    run(definitions, CHAIN, "2025-03-10", "2025-03-12")
    run(definitions, [["marts", "tickets"]], None)
    assert query(database, "SELECT count(*) FROM marts.tickets") == [(12,)]
    assert query(database, "SELECT count(*), count(created_datetime) FROM gorgias.tickets") == [(12, 12)]


def test_a_frame_never_replaces_a_table_that_sweeps_are_merged_into(another_project, sandbox, database):
    """One schema for everything makes `gorgias/tickets` and `marts/tickets` the same table."""
    definitions = another_project.definitions(sandbox.uri, sandbox.api_url, database, schema="everything")
    run(definitions, CHAIN, "2025-03-10", "2025-03-12")
    with pytest.raises(Exception, match="tickets"):
        run(definitions, [["marts", "tickets"]], None)
    assert query(database, "SELECT count(*), count(created_datetime) FROM everything.tickets") == [(12, 12)]


def test_importing_needs_no_environment_variable_and_does_no_input_or_output(tmp_path):
    (tmp_path / "another_project.py").write_text(ANOTHER_PROJECT)
    bare = {
        name: value for name, value in os.environ.items() if not name.startswith(("GORGIAS", "WAREHOUSE", "DAGSTER"))
    }
    code = (
        "import sys, another_project; "
        "another_project.definitions('gorgias://shop?api_key=k&email=a@b.example', None, 'w.duckdb')"
        ".resolve_all_job_defs(); print('gorgias_assets.definitions' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, env=bare, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["another_project.py"]


def test_a_fifth_entity_is_one_declaration(sandbox, account, tmp_path):
    events = Entity(
        name="events",
        path="/events",
        grain="One row per event.",
        read=ByDate("created_datetime", touch_fields=("created_datetime",), look_back=timedelta(0)),
        columns=(
            Column("id", Kind.INTEGER, "Gorgias's id of the event."),
            Column("type", Kind.STRING, "What happened."),
            Column("data", Kind.JSON, "More about it."),
            Column("created_datetime", Kind.DATETIME, "When it happened."),
        ),
    )
    account.create("tickets")
    account.advance(timedelta(days=1))
    account.create("customers")
    project = Project(sandbox, tmp_path / "warehouse.duckdb", entities=[events])
    project.materialize("2025-04-01", "2025-04-02")
    assert project.table(events) == project.live_rows(events)
    assert [kind for (kind,) in project.query("SELECT type FROM gorgias.events ORDER BY created_datetime")] == [
        "ticket-created",
        "ticket-updated",  # processed a moment after its creation
        "customer-created",
    ]
    ((extra,),) = project.query("SELECT DISTINCT list_sort(json_keys(_extra)) FROM gorgias.events")
    assert extra == ["context", "object_id", "object_type", "uri", "user_id"]


COLUMNS = (
    Column("id", Kind.INTEGER, "Gorgias's id."),
    Column("created_datetime", Kind.DATETIME, "When it was created."),
)
ONE_OF_EACH_WAY = {
    "letters": Entity(
        "letters",
        "/messages",
        "One row per letter.",
        ByDate("created_datetime", ("created_datetime",), timedelta(0)),
        COLUMNS,
    ),
    "happenings": Entity("happenings", "/events", "One row per happening.", ByFilter(timedelta(days=365)), COLUMNS),
    "calls": Entity("calls", "/phone/voice-calls", "One row per call.", Unordered(), COLUMNS),
    "labels": Entity("labels", "/tags", "One row per label.", Whole(), COLUMNS, group="sorting"),
}
OF_DAYS = {"ids_unique", "sweep_complete", "fields_known", "fresh"}
OF_LISTS = OF_DAYS | {"absences_plausible"}


def test_one_more_entity_of_each_way_is_one_declaration_with_a_table_an_asset_checks_and_a_place_in_the_job(
    sandbox, account, database, monkeypatch
):
    for kind in ("messages", "voice_calls", "tags"):
        account.create(kind, name="new")
    monkeypatch.setenv("GORGIAS_URI", sandbox.uri)
    defs = build_definitions(
        entities=ONE_OF_EACH_WAY.values(),
        start_date="2025-03-01",
        warehouse=f"duckdb:///{database}",
        api_url=sandbox.api_url,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("gorgias").execute_in_process(instance=instance, partition_key="2025-04-01")
    found = {entity: query(database, f"SELECT count(*) FROM gorgias.{entity}")[0][0] for entity in ONE_OF_EACH_WAY}
    assert found == {"letters": 1, "happenings": account.count("events"), "calls": 1, "labels": 1}
    checked = {name: set() for name in ONE_OF_EACH_WAY}
    for one in result.get_asset_check_evaluations():
        checked[one.asset_key.path[-1]].add(one.check_name)
    swept = OF_LISTS | {"touches_in_order"}
    assert checked == {"letters": swept, "happenings": OF_DAYS, "calls": OF_DAYS, "labels": OF_LISTS}
    groups = {spec.key.path[-1]: spec.group_name for spec in defs.resolve_all_asset_specs()}
    assert groups == dict.fromkeys(ONE_OF_EACH_WAY, "gorgias") | {"labels": "gorgias_sorting"}
