"""Accounts declared in YAML: several in one project, each with names, days and tables of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from gorgias_assets.component import GorgiasComponent
from gorgias_assets.definitions import accounts
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.settings import Given, Settings

DAY, OVER = "2025-03-10", datetime(2025, 3, 11, 6, tzinfo=UTC)
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def shop(domain: str, subjects: list[str]) -> Iterator[Sandbox]:
    """Serve an account with tickets of one day, each with a message."""
    account = SandboxAccount(now=NOON, domain=domain)
    for subject in subjects:
        ticket = account.create("tickets", subject=subject, customer=account.create("customers", name="Ana"))
        account.create("messages", ticket_id=ticket["id"], body_text=subject)
    account.now = OVER
    with Sandbox(account) as sandbox:
        yield sandbox


@contextmanager
def project(declarations: dict[str, dict[str, Any]]) -> Iterator[dg.Definitions]:
    """Yield the definitions of a project that has a folder for each of these components."""
    with create_defs_folder_sandbox() as folder:
        for name, attributes in declarations.items():
            path = folder.defs_folder_path / name
            path.mkdir()
            folder.scaffold_component(
                component_cls=GorgiasComponent,
                defs_path=path,
                defs_yaml_contents={"type": "gorgias_assets.component.GorgiasComponent", "attributes": attributes},
            )
        with folder.build_all_defs() as defs:
            yield defs


def declared(name: str, sandbox: Sandbox, folder: Path, **others: Any) -> dict[str, Any]:
    return {
        "name": name,
        "uri_env": f"{name.upper()}_URI",
        "api_url": sandbox.api_url,
        "warehouse": f"duckdb:///{folder}/shops.duckdb",
        "start_date": "2025-03-01",
        "reports": f"{folder}/reports",
        **others,
    }


def run(defs: dg.Definitions, job: str, instance: dg.DagsterInstance, **arguments: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=DAY, run_config=QUIET, raise_on_error=False, **arguments
    )


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "shops.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_two_accounts_of_one_project_share_a_file_and_neither_a_name_nor_a_row(tmp_path, instance, monkeypatch):
    with shop("eu", ["Hola", "Salut"]) as eu, shop("us", ["Howdy"]) as us:
        names = {"gorgias_eu": eu, "gorgias_us": us}
        for name, sandbox in names.items():
            monkeypatch.setenv(f"{name.upper()}_URI", sandbox.uri)
        with project({name: declared(name, sandbox, tmp_path) for name, sandbox in names.items()}) as defs:
            assert all(run(defs, name, instance).success for name in names)
            repository = defs.get_repository_def()
            assert {key.path[0] for key in defs.resolve_asset_graph().get_all_asset_keys()} == names.keys()
            assert {op.pool for job in repository.get_all_jobs() for op in job.all_node_defs if op.pool} == {
                f"{name}_{pool}" for name in names for pool in ("api", "warehouse")
            }
            made = [*repository.get_all_jobs(), *repository.schedule_defs, *repository.sensor_defs]
            assert all(one.name.startswith((*names, "__ASSET_JOB")) for one in made)
            assert defs.resources.keys() == {*names, *(f"{name}_io_manager" for name in names)}
    subjects = {name: query(tmp_path, f"SELECT subject FROM {name}.tickets ORDER BY id") for name in names}
    assert subjects == {"gorgias_eu": [("Hola",), ("Salut",)], "gorgias_us": [("Howdy",)]}
    assert {file.parent.name for file in (tmp_path / "reports").rglob("*.html")} == names.keys()


def test_two_accounts_that_share_a_schema_are_refused_with_a_sentence(tmp_path, instance, monkeypatch):
    with shop("eu", ["Hola"]) as eu, shop("us", ["Howdy"]) as us:
        for name, sandbox in {"EU": eu, "US": us}.items():
            monkeypatch.setenv(f"{name}_URI", sandbox.uri)
        both = {
            name: declared(name, sandbox, tmp_path, table_schema="shops", entities=["tickets"])
            for name, sandbox in {"eu": eu, "us": us}.items()
        }
        with project(both) as defs:
            assert run(defs, "eu", instance).success
            refused = run(defs, "us", instance)
        error = str(refused.failure_data_for_node("us__tickets").error)
        assert "holds rows of the Gorgias account 'eu', and the Gorgias URI names 'us'; nothing was read" in error
        assert us.requests == []


def test_tables_may_have_other_names_than_their_assets_and_deletions_find_them(tmp_path, instance, monkeypatch):
    with shop("eu", ["Hola", "Salut"]) as eu:
        monkeypatch.setenv("EU_URI", eu.uri)
        renamed = {"tickets": "helpdesk_tickets", "ticket_messages": "helpdesk_messages"}
        with project({"eu": declared("eu", eu, tmp_path, table_names=renamed, entities=[*renamed])}) as defs:
            assert run(defs, "eu", instance).success
            eu.account.delete("tickets", eu.account.rows("tickets")[0]["id"])
            result = run(defs, "eu", instance)
            assert result.success
    tables = {name for (name,) in query(tmp_path, "SELECT table_name FROM duckdb_tables()") if name[0] != "_"}
    assert tables == {*renamed.values()}
    for table in ("helpdesk_tickets", "helpdesk_messages"):
        assert query(tmp_path, f"SELECT count(*), count(_deleted_at) FROM eu.{table}") == [(2, 1)]


def test_a_part_of_the_entities_has_jobs_checks_and_gaps_of_its_own(tmp_path, instance, monkeypatch):
    with shop("eu", ["Hola"]) as eu:
        monkeypatch.setenv("EU_URI", eu.uri)
        only = ["tickets", "ticket_messages"]
        with project({"eu": declared("eu", eu, tmp_path, entities=only)}) as defs:
            assert {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()} == set(only)
            assert run(defs, "eu", instance).success
            assert defs.resolve_job_def("eu_freshness").execute_in_process(instance=instance, run_config=QUIET).success
            gaps = defs.resolve_sensor_def("eu_gaps")
            with dg.build_sensor_context(
                instance, repository_def=defs.get_repository_def(), resources={"eu": defs.resources["eu"]}
            ) as context:
                requests = gaps.evaluate_tick(context).run_requests
            assert requests
            asked = {key for request in requests for key in request.asset_selection}
            assert asked == {dg.AssetKey(["eu", name]) for name in only}


def test_the_translation_of_assets_changes_keys_groups_owners_tags_and_conditions(tmp_path, instance, monkeypatch):
    with shop("eu", ["Hola"]) as eu:
        monkeypatch.setenv("EU_URI", eu.uri)
        translation = {
            "key": "raw/{{ entity }}_of_eu",
            "group_name": "support",
            "owners": ["team:support"],
            "tags": {"tier": "bronze"},
            "kinds": ["helpdesk"],
        }
        with project({"eu": declared("eu", eu, tmp_path, translation=translation)}) as defs:
            (tickets,) = [s for s in defs.resolve_all_asset_specs() if s.key == dg.AssetKey(["raw", "tickets_of_eu"])]
            assert (tickets.group_name, tickets.owners, tickets.kinds) == ("support", ["team:support"], {"helpdesk"})
            assert tickets.tags["tier"] == "bronze"
            result = run(defs, "eu", instance)
            assert result.success
            checked = {one.asset_key for one in result.get_asset_check_evaluations()}
            assert dg.AssetKey(["raw", "tickets_of_eu"]) in checked
    assert query(tmp_path, "SELECT subject FROM eu.tickets") == [("Hola",)]


def test_without_today_the_last_partition_is_yesterday_and_nothing_looks_for_changes(tmp_path, sandbox):
    with project({"eu": declared("eu", sandbox, tmp_path, today=False)}) as defs:
        days = defs.get_assets_def(["eu", "tickets"]).partitions_def.get_partition_keys()
        assert days[-1] == str((datetime.now(UTC) - timedelta(days=1)).date())
        assert {sensor.name for sensor in defs.sensors} == {"eu_gaps"}


def test_conditions_take_the_place_of_the_daily_schedule_and_of_the_sensor_for_gaps(tmp_path, sandbox):
    own = {"automation_condition": "{{ dg.AutomationCondition.eager() if entity == 'tickets' else none }}"}
    chosen = {"entities": ["core", "events", "tags"], "automation": "conditions", "translation": own}
    with project({"eu": declared("eu", sandbox, tmp_path, **chosen)}) as defs:
        assert {sensor.name for sensor in defs.sensors} == {"eu_changes", "eu_conditions"}
        assert {schedule.name for schedule in defs.schedules} == {"eu_freshness", "eu_full_sweep"}
        conditions = {
            spec.key.path[-1]: spec.automation_condition.get_label() for spec in defs.resolve_all_asset_specs()
        }
    assert conditions.pop("tickets") == "eager"
    assert set(conditions.values()) == {"day_is_over(30 0 * * *, UTC)"}


def test_assets_show_their_tables_warehouse_and_columns_before_any_run(tmp_path, sandbox):
    with project({"eu": declared("eu", sandbox, tmp_path, table_names={"tickets": "helpdesk_tickets"})}) as defs:
        (tickets,) = [spec for spec in defs.resolve_all_asset_specs() if spec.key.path[-1] == "tickets"]
    assert tickets.metadata["dagster/table_name"] == "eu.helpdesk_tickets"
    assert tickets.metadata["dagster/storage_kind"] == "duckdb"
    assert tickets.kinds == {"gorgias", "duckdb"}
    assert tickets.code_version
    columns = {column.name: column for column in tickets.metadata["dagster/column_schema"].columns}
    assert (columns["id"].constraints.nullable, columns["id"].constraints.unique) == (False, True)
    assert ("pii" in columns["subject"].tags, "pii" in columns["id"].tags) == (True, False)


def test_no_automation_leaves_the_jobs(tmp_path, sandbox):
    with project({"eu": declared("eu", sandbox, tmp_path, automation="none")}) as defs:
        assert (list(defs.schedules or ()), list(defs.sensors or ())) == ([], [])
        assert {job.name for job in defs.jobs} == {"eu", "eu_full_sweep", "eu_freshness"}


REFUSED = {
    "start_date: soon": "start_date must be a date, YYYY-MM-DD.",
    "max_share: 8": "max_share must be a number above 0, at most 1.",
    "timezone: Berlin": "timezone must be a time zone such as Europe/Berlin.",
    "entities: [letters]": "There is no entity or view letters; there are all, core, customers, tickets,",
    "translation: {metadata: {table: t}}": "The translation of customers sets the metadata table or schema;",
    "warehouse: sqlite:///x": "The warehouse URI names no known warehouse;",
}


@pytest.mark.parametrize("attribute", REFUSED)
def test_an_attribute_that_cannot_be_used_is_refused_with_a_sentence(attribute):
    component = GorgiasComponent.resolve_from_yaml(attribute)
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED[attribute])}"):
        component.build_defs(dg.ComponentTree.for_test().load_context)


def test_dates_and_times_need_no_quotes_in_yaml():
    settings = GorgiasComponent.resolve_from_yaml("start_date: 2025-01-31\ndaily_at: 12:30").settings
    assert (str(settings.start_date), f"{settings.daily_at:%H:%M}") == ("2025-01-31", "12:30")


def test_an_attribute_that_is_left_out_is_read_from_its_variable(monkeypatch):
    monkeypatch.setenv("GORGIAS_START_DATE", "2025-02-03")
    assert GorgiasComponent().account.start_date == "2025-02-03"
    assert GorgiasComponent(start_date="2025-02-04").account.start_date == "2025-02-04"


def test_each_attribute_says_what_it_is_for():
    attributes = GorgiasComponent.get_model_cls().model_json_schema()["properties"]
    assert [name for name, of in attributes.items() if not of.get("description")] == ["translation"]  # Dagster's own


def test_the_settings_are_the_arguments_of_build_definitions():
    assert Given.__annotations__.keys() == Settings.model_fields.keys()


def test_the_project_s_own_account_is_a_component():
    assert list(accounts) == ["gorgias"]
