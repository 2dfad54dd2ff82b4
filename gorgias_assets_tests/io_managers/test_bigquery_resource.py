"""A `BigQueryResource` of dagster-gcp as the connection of the IO manager."""

import dagster as dg
import pandas as pd
import pytest
from dagster._serdes import serialize_value
from dagster_gcp import BigQueryResource

from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.warehouse.tables import WarehouseError
from gorgias_assets_tests.bigquery.tokens import key_of_anybody
from gorgias_assets_tests.engines import BigQueryProject

# Dagster itself calls it, for a resource within another.
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated")

# An emulator's endpoint needs no credentials, and nothing is sent to it here.
LOOPBACK = {"api_endpoint": "http://127.0.0.1:1"}


def test_it_gives_its_project_and_location_unless_the_io_manager_has_its_own():
    resource = BigQueryResource(project="theirs", location="EU")
    assert GorgiasBigQueryIOManager(bigquery=resource, **LOOPBACK).warehouse().project == "theirs"
    own = GorgiasBigQueryIOManager(bigquery=resource, project="ours", **LOOPBACK)
    assert own.warehouse().project == "ours"
    assert (own.place().database, own.place().storage) == ("ours", "bigquery")


def test_a_key_of_it_is_used_but_shown_nowhere():
    io_manager = GorgiasBigQueryIOManager(bigquery=BigQueryResource(project="theirs", gcp_credentials="c2VjcmV0"))
    with pytest.raises(WarehouseError, match="The content of gcp_credentials is no Google credential"):
        io_manager.warehouse()

    @dg.asset
    def orders() -> None: ...

    defs = dg.Definitions([orders], resources={"io_manager": io_manager})
    snapshot = serialize_value(defs.resolve_implicit_global_asset_job_def().get_job_snapshot())
    assert "c2VjcmV0" not in snapshot + repr(io_manager)


def test_its_variables_are_read_when_a_run_starts(monkeypatch):
    resource = BigQueryResource(project=dg.EnvVar("GCP_PROJECT"), location=dg.EnvVar("GCP_LOCATION"))
    io_manager = GorgiasBigQueryIOManager(bigquery=resource, **LOOPBACK)
    monkeypatch.setenv("GCP_PROJECT", "theirs")
    monkeypatch.setenv("GCP_LOCATION", "EU")
    seen = []

    @dg.asset(required_resource_keys={"io_manager"})
    def orders(context: dg.AssetExecutionContext) -> None:
        seen.append(str(context.resources.io_manager.warehouse))

    assert dg.materialize([orders], resources={"io_manager": io_manager, "bigquery": resource}).success
    assert seen == ["the project theirs"]


@pytest.mark.parametrize("settings", [{}, {"bigquery": BigQueryResource()}], ids=["nothing", "resource"])
def test_without_a_project_anywhere_a_sentence_says_where_to_set_it(settings):
    with pytest.raises(WarehouseError, match="need a project; set it in the IO manager, or in its BigQueryResource"):
        GorgiasBigQueryIOManager(**settings, **LOOPBACK).warehouse()


def test_a_resource_that_is_configured_at_launch_is_refused_with_a_sentence():
    resource = BigQueryResource.configure_at_launch()

    @dg.asset
    def orders() -> int:
        return 1

    with pytest.raises(dg.DagsterError) as raised:
        dg.materialize(
            [orders],
            resources={"io_manager": GorgiasBigQueryIOManager(bigquery=resource, **LOOPBACK), "bigquery": resource},
            run_config={"resources": {"bigquery": {"config": {"project": "theirs"}}}},
        )
    assert "must be a BigQueryResource of dagster-gcp with its settings" in str(raised.value.__cause__)


@pytest.mark.soak
def test_one_resource_serves_the_io_manager_and_the_queries_of_assets(bigquery: BigQueryProject, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.emulator.api_endpoint)
    found = []

    @dg.asset(key_prefix="shop")
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"id": [1, 2]})

    @dg.asset(deps=[orders])
    def counted(bigquery: BigQueryResource) -> None:
        with bigquery.get_client() as client:
            found.extend(tuple(row) for row in client.query_and_wait("SELECT COUNT(*), MAX(id) FROM shop.orders"))

    with key_of_anybody() as key:
        resource = BigQueryResource(project=bigquery.project, gcp_credentials=key)
        io_manager = GorgiasBigQueryIOManager(bigquery=resource)
        assert dg.materialize([orders, counted], resources={"io_manager": io_manager, "bigquery": resource}).success
    assert found == [(2, 2)]
