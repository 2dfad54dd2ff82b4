"""The source file for dbt: what is in it, and what dbt and dagster-dbt make of it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml

from gorgias_assets.__main__ import main
from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.columns import ADDED_COLUMNS
from gorgias_assets.commands.dbt_sources import dbt_sources
from gorgias_assets.entities import CORE, ENTITIES, TICKETS, VIEWS
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.resources import GorgiasResource
from gorgias_assets_tests.dbt import DBT, PYTHON, REPOSITORY, missing

EU = Account(CORE, "gorgias_eu", table_names={"tickets": "helpdesk_tickets"})
BIGQUERY = "bigquery://shop?dataset=support"
MODELS = {
    "tickets_per_channel": "select channel, count(*) as tickets from {{ source('gorgias_eu', 'tickets_live') }} "
    "group by all",
    "customers_by_language": "select language, count(*) as n from {{ source('gorgias_eu', 'customers') }} group by all",
    "busiest_channel": "select * from {{ ref('tickets_per_channel') }} order by tickets desc limit 1",
}


def sources(account: Account, uri: str) -> dict[str, Any]:
    """Return the account's source, as dbt reads it."""
    place = io_manager_from_uri(uri, default_schema=account.name).place()
    (source,) = yaml.safe_load(dbt_sources([(account, place)]))["sources"]
    return source


def tables(account: Account, uri: str) -> dict[str, Any]:
    return {table["name"]: table for table in sources(account, uri)["tables"]}


def columns(account: Account, uri: str, table: str) -> dict[str, Any]:
    return {column["name"]: column for column in tables(account, uri)[table]["columns"]}


def test_a_source_is_an_account_and_its_tables_are_entities_and_their_views_with_the_asset_s_key():
    source = sources(EU, "duckdb:///shops.duckdb")
    assert (source["name"], source["schema"], "database" in source) == ("gorgias_eu", "gorgias_eu", False)
    assert [(table["name"], table.get("identifier")) for table in source["tables"]][2:5] == [
        ("tickets", "helpdesk_tickets"),
        ("tickets_live", "helpdesk_tickets_live"),
        ("ticket_messages", None),
    ]
    keys = [table["config"]["meta"]["dagster"]["asset_key"] for table in source["tables"]]
    assert keys == [["gorgias_eu", entity.name] for entity in CORE for _ in ("table", "view")]


def test_in_bigquery_the_source_is_a_dataset_of_the_project_and_no_credentials_are_needed():
    source = sources(EU, BIGQUERY)
    assert (source["database"], source["schema"]) == ("shop", "support")


@pytest.mark.parametrize(
    ("uri", "types"),
    [
        ("duckdb:///shops.duckdb", ("BIGINT", "TIMESTAMP WITH TIME ZONE", "JSON")),
        (BIGQUERY, ("INT64", "TIMESTAMP", "JSON")),
    ],
)
def test_columns_are_those_of_the_table_or_the_view_with_types_descriptions_and_tags(uri, types):
    of_table, of_view = columns(EU, uri, "tickets"), columns(EU, uri, "tickets_live")
    assert list(of_table) == [column.name for column in (*TICKETS.columns, *ADDED_COLUMNS)]
    assert of_table.keys() - of_view.keys() == {"_deleted_at", "_merged_into"}
    assert tuple(of_table[name]["data_type"] for name in ("id", "created_datetime", "customer")) == types
    assert of_table["subject"]["description"] == "Subject of the conversation."
    assert [of_table[name].get("config") for name in ("subject", "status")] == [
        {"tags": ["pii"], "meta": {"holds": {"body": True}}},
        None,
    ]
    assert of_table["integrations"]["config"] == {"tags": ["pii"], "meta": {"holds": {"email": ["[].address"]}}}


@pytest.mark.parametrize(
    ("uri", "tests"),
    [
        ("duckdb:///shops.duckdb", ["not_null", "unique"]),
        (BIGQUERY, ["not_null", {"unique": {"config": {"severity": "warn"}}}]),
    ],
)
def test_only_what_is_true_is_tested_and_only_of_the_table(uri, tests):
    found = {
        name: column["data_tests"] for name, column in columns(EU, uri, "tickets").items() if "data_tests" in column
    }
    assert found == {"id": tests, "_extracted_at": ["not_null"]}
    assert not [column for column in columns(EU, uri, "tickets_live").values() if "data_tests" in column]


def test_a_table_that_needs_a_filter_is_tested_with_one():
    (not_null, unique) = columns(EU, f"{BIGQUERY}&require_partition_filter=true", "tickets")["id"]["data_tests"]
    where = "created_datetime IS NULL OR created_datetime IS NOT NULL"
    assert not_null == {"not_null": {"config": {"where": where}}}
    assert unique == {"unique": {"config": {"severity": "warn", "where": where}}}


def test_the_command_writes_the_sources_of_the_deployment_to_a_file_or_prints_them(tmp_path, capsys):
    assert main(["dbt-sources", "--output", str(tmp_path / "gorgias.yml")]) == 0
    assert main(["dbt-sources"]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "gorgias.yml").read_text()
    (source,) = yaml.safe_load(printed)["sources"]
    assert (source["name"], len(source["tables"])) == ("gorgias", 2 * len(ENTITIES) + len(VIEWS) + len(METRICS))


@pytest.fixture
def dbt_project(sandbox, account, tmp_path: Path) -> Path:
    """Return the folder of a dbt project on the tables of an account with three tickets."""
    if reason := missing():
        pytest.skip(reason)
    for channel in ("email", "chat", "email"):
        account.create("tickets", channel=channel)
    io_manager = io_manager_from_uri(f"duckdb:///{tmp_path}/shops.duckdb", default_schema=EU.name)
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
    resources = {EU.name: gorgias, EU.io_manager_key: io_manager}
    assert dg.materialize(build_assets(EU), resources=resources, partition_key="2025-04-01").success
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gorgias.yml").write_text(dbt_sources([(EU, io_manager.place())]))
    for name, query in MODELS.items():
        (tmp_path / "models" / f"{name}.sql").write_text(query)
    (tmp_path / "dbt_project.yml").write_text(
        "{name: support, version: '1.0', profile: support, models: {support: {+materialized: table}}, "
        "sources: {support: {gorgias_eu: {+freshness: {error_after: {count: 1, period: day}}}}}}"
    )
    (tmp_path / "profiles.yml").write_text(
        "support: {target: dev, outputs: {dev: {type: duckdb, path: shops.duckdb, schema: marts}}}"
    )
    return tmp_path


def dbt(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run([DBT, "--no-use-colors", *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "shops.duckdb")) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.soak
def test_dbt_builds_models_on_the_sources_and_dagster_sees_them_downstream_of_the_assets(dbt_project):
    code, output = dbt(dbt_project, "build", "--show-all-deprecations", "--warn-error")
    assert code == 0, output
    assert "PASS=15 WARN=0 ERROR=0" in output  # three models, and three tests of each table
    assert query(dbt_project, "FROM shops.marts.busiest_channel") == [("email", 2)]
    assert dbt(dbt_project, "source", "freshness")[0] == 1  # the account's clock stands in 2025

    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-m", "gorgias_assets_tests.dbt.lineage", dbt_project],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "DAGSTER_HOME": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["upstream"] == {
        "tickets_per_channel": ["gorgias_eu/tickets"],
        "customers_by_language": ["gorgias_eu/customers"],
        "busiest_channel": ["tickets_per_channel"],
    }
    assert {"gorgias_eu/tickets", "gorgias_eu/customers"} <= set(seen["ours"])
    assert seen["materialized"] == sorted(MODELS)


@pytest.mark.soak
def test_dbt_finds_a_row_that_is_there_twice_and_one_without_an_id(dbt_project):
    query(dbt_project, "INSERT INTO shops.gorgias_eu.helpdesk_tickets FROM shops.gorgias_eu.helpdesk_tickets LIMIT 1")
    query(dbt_project, "INSERT INTO shops.gorgias_eu.customers (email) VALUES ('a@b.example')")
    code, output = dbt(dbt_project, "test")
    assert code == 1, output
    failed = {line.split("FAIL 1 ")[1].split(" ")[0] for line in output.splitlines() if "FAIL 1 " in line}
    assert failed == {
        "source_unique_gorgias_eu_tickets_id",
        "source_not_null_gorgias_eu_customers_id",
        "source_not_null_gorgias_eu_customers__extracted_at",
    }
