"""Views in Dagster and in dbt: what hangs from what, and what is in it, before any run."""

import dagster as dg
import pytest
import yaml

from gorgias_assets.account import Account
from gorgias_assets.commands.dbt_sources import dbt_sources
from gorgias_assets.entities import CUSTOM_FIELDS, ENTITIES, TICKETS, VIEWS
from gorgias_assets.entities.tickets import TICKET_CUSTOM_FIELDS, TICKET_TAGS
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.views import view_specs

PLACE = io_manager_from_uri("duckdb:///shops.duckdb", default_schema="eu").place()


def under_support(spec: dg.AssetSpec, what: str) -> dg.AssetSpec:
    return spec.replace_attributes(key=["support", what], owners=["team:support"])


@pytest.fixture
def account() -> Account:
    names = {"tickets": "inbox", "ticket_tags": "labels"}
    return Account(ENTITIES, "eu", table_names=names, place=PLACE, views=VIEWS)


def test_a_view_is_an_asset_that_hangs_from_its_tables_and_has_nothing_to_run(account):
    assert [spec.key.path for spec in view_specs(account)] == [["eu", view.name] for view in VIEWS]
    (spec,) = [spec for spec in view_specs(account) if spec.key.path[-1] == "ticket_custom_fields"]
    assert [dep.asset_key.path for dep in spec.deps] == [["eu", "tickets"], ["eu", "custom_fields"]]
    assert (spec.group_name, spec.tags["gorgias/account"]) == ("eu_views", "eu")
    assert spec.kinds == {"gorgias", "duckdb", "view"}
    assert spec.metadata["dagster/table_name"] == "eu.ticket_custom_fields"
    assert not dg.Definitions([spec]).resolve_asset_graph().get(spec.key).is_executable


def test_its_columns_are_shown_with_their_types_and_what_is_personal(account):
    (spec,) = [spec for spec in view_specs(account) if spec.key.path[-1] == "ticket_custom_fields"]
    columns = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    assert list(columns) == [column.name for column in TICKET_CUSTOM_FIELDS.columns]
    assert columns["value_number"].type == "number, 64 bits"
    of_customer = {"value_text", "value_number", "value_boolean", "level_1", "level_2", "level_3"}
    assert {name for name, column in columns.items() if column.tags} == of_customer
    assert columns["level_1"].description == "Level 1 of a choice; levels are split at '::'."


def test_a_view_follows_the_translation_and_the_names_of_its_account():
    account = Account(
        [TICKETS], "eu", table_names={"ticket_tags": "labels"}, translation=under_support, views=[TICKET_TAGS]
    )
    (spec,) = view_specs(account)
    assert (spec.key.path, spec.owners) == (["support", "ticket_tags"], ["team:support"])
    assert [dep.asset_key.path for dep in spec.deps] == [["support", "tickets"]]
    assert spec.metadata["table"] == "labels"
    assert spec.metadata["dagster/io_manager_key"] == account.io_manager_key


def test_loading_an_entity_keeps_the_views_that_read_it(account):
    assert [named.view.name for named in account.views_of(CUSTOM_FIELDS)] == [
        "customer_custom_fields",
        "ticket_custom_fields",
    ]
    (tags,) = [named.stored_in("other") for named in account.views_of(TICKETS) if named.view is TICKET_TAGS]
    assert (str(tags.place), [str(table) for table in tags.reads.values()]) == ("other.labels", ["other.inbox"])


def test_dbt_has_the_views_with_the_keys_of_their_assets(account):
    (source,) = yaml.safe_load(dbt_sources([(account, PLACE)]))["sources"]
    (tags,) = [table for table in source["tables"] if table["name"] == "ticket_tags"]
    assert (tags["identifier"], tags["description"]) == ("labels", TICKET_TAGS.grain)
    assert tags["config"]["meta"]["dagster"]["asset_key"] == ["eu", "ticket_tags"]
    assert [(column["name"], column["data_type"]) for column in tags["columns"]][:3] == [
        ("ticket_id", "BIGINT"),
        ("tag_id", "BIGINT"),
        ("tag_name", "VARCHAR"),
    ]
    assert len(source["tables"]) == 2 * len(ENTITIES) + len(VIEWS)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_is_named_unlike_any_table_and_each_of_its_columns_is_described(view):
    assert view.name not in {entity.name for entity in ENTITIES}
    assert view.grain.startswith("One row per ")
    assert all(column.description.endswith(".") for column in view.columns)
    assert [column.name for column in view.columns][-1] == "_extracted_at"
