"""The IO manager of a warehouse's URI, and the errors of one that cannot be used."""

import dagster as dg
import pytest
from dagster_gcp import BigQueryResource

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.io_managers.from_uri import io_manager_from_uri


def bigquery(uri: str, schema: str | None = None) -> dict[str, object]:
    io_manager = io_manager_from_uri(uri, schema)
    assert isinstance(io_manager, GorgiasBigQueryIOManager)
    names = [*GorgiasBigQueryIOManager.model_fields]
    return {name: value for name in names if (value := getattr(io_manager, name)) is not None}


def test_a_project_alone_is_enough():
    assert bigquery("bigquery://my-project") == {"project": "my-project", "dataset": "gorgias"}


def test_every_setting_can_be_in_the_uri_percent_encoded_or_not():
    uri = (
        "bigquery://my-project?location=EU&dataset=support&credentials_path=%2Fkeys%2Fa+b.json&gcp_credentials=e30%3D"
        "&maximum_bytes_billed=1000000000&api_endpoint=https://bigquery-x.p.googleapis.com"
        "&storage_endpoint=bigquerystorage-x.p.googleapis.com"
    )
    assert bigquery(uri) == {
        "project": "my-project",
        "location": "EU",
        "dataset": "support",
        "credentials_path": "/keys/a+b.json",
        "gcp_credentials": "e30=",
        "maximum_bytes_billed": 1_000_000_000,
        "api_endpoint": "https://bigquery-x.p.googleapis.com",
        "storage_endpoint": "bigquerystorage-x.p.googleapis.com",
    }


def test_a_schema_that_is_set_goes_before_the_dataset_of_the_uri():
    """A demo's made-up rows then never go to the dataset of a real account."""
    assert bigquery("bigquery://my-project?dataset=gorgias", "gorgias_demo")["dataset"] == "gorgias_demo"
    assert io_manager_from_uri("duckdb:///a.duckdb").schema_ == "gorgias"
    assert io_manager_from_uri("duckdb:///a.duckdb", "demo").schema_ == "demo"


@pytest.mark.parametrize(
    "uri",
    [
        "bigquery://",
        "bigquery:///my-project",
        "bigquery://my-project/gorgias",
        "bigquery://my-project#gorgias",
        "bigquery://my-project?data_set=gorgias",
        "bigquery://my-project?dataset=",
        "bigquery://my-project?dataset=a&dataset=b",
        "bigquery://my-project?maximum_bytes_billed=lots",
        "bigquery://my-project?maximum_bytes_billed=0",
        "bigquery:my-project",
        "duckdb:///",
        "duckdb://warehouse.duckdb",
        "md:shop?motherduck_token=s3cret",
        "warehouse.duckdb",
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(uri):
    with pytest.raises(InvalidUri, match="The warehouse URI") as raised:
        io_manager_from_uri(uri)
    assert "s3cret" not in str(raised.value)


def test_a_key_in_the_uri_is_in_no_representation_of_the_io_manager_and_no_sentence():
    uri = "bigquery://my-project?gcp_credentials=c2VjcmV0"
    assert "c2VjcmV0" not in repr(io_manager_from_uri(uri))
    with pytest.raises(InvalidUri) as raised:
        io_manager_from_uri(f"{uri}&nonsense=1")
    assert "c2VjcmV0" not in str(raised.value)


def test_a_bigquery_resource_of_dagster_gcp_gives_its_project_location_and_key():
    resource = BigQueryResource(project="my-project", location="EU", gcp_credentials="c2VjcmV0")
    io_manager = GorgiasBigQueryIOManager.from_resource(resource, dataset="support")
    assert (io_manager.project, io_manager.location, io_manager.dataset) == ("my-project", "EU", "support")
    assert io_manager.gcp_credentials == "c2VjcmV0"
    assert "c2VjcmV0" not in repr(io_manager)
    by_name = BigQueryResource(project=dg.EnvVar("GCP_PROJECT"), gcp_credentials=dg.EnvVar("GCP_KEY"))
    assert GorgiasBigQueryIOManager.from_resource(by_name).gcp_credentials == dg.EnvVar("GCP_KEY")
