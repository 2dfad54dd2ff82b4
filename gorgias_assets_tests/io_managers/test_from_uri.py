"""The IO manager of a warehouse's URI, and the errors of one that cannot be used."""

import dagster as dg
import pytest
from dagster_gcp import BigQueryResource

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
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
        "warehouse.duckdb",
        "duckdb:////",
        "duckdb:///:memory:",
        "duckdb:///a.duckdb?threads=2",
        "duckdb:///a.duckdb?",
        "duckdb:///a.duckdb#b",
        "duckdb:///a\nb.duckdb",
        "duckdb:///a%0Ab.duckdb",
        "duckdb:///a%00b.duckdb",
        "duckdb:///a\x1bb.duckdb",
        "duckdb:///a%ffb.duckdb",
        "duckdb:///a\udcffb.duckdb",
        "duckdb:///100%.duckdb",
        "md:shop?attach_mode=single",
        "md:shop;drop",
        "md:my\u2028shop",
        "bigquery://[x",
        "bigquery://my\u2100project",
        "bigquery://\u212bproject",
        "bigquery://projekt-ü",
        "bigquery://my-project:99999",
        "bigquery://my-project:x",
        "bigquery://my%ffproject",
        "bigquery://my-project?dataset=%ff",
        "bigquery://my-project?dataset=a-b",
        "bigquery://my-project?location=EU%0A",
        "bigquery://my-project?maximum_bytes_billed=\u0661",
        f"bigquery://my-project?maximum_bytes_billed={'9' * 5000}",
        "bigquery://my-project?api_endpoint=https://[x",
        "bigquery://my-project?api_endpoint=http://127.0.0.1:99999",
        "bigquery://my-project?storage_endpoint=host/path",
        "",
    ],
    ids=ascii,
)
def test_what_cannot_be_used_is_refused_with_a_sentence(uri):
    with pytest.raises(InvalidUri, match="The warehouse URI") as raised:
        io_manager_from_uri(uri)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    "uri",
    [
        "md:shop?motherduck_token=s3cret",
        "MD:shop?MotherDuck_Token=s3cret",
        "md:shop?saas_mode=true&motherduck%5Ftoken=s3cret",
        "md:shop%3Fmotherduck_token%3Ds3cret",
        "md:user:s3cret@shop",
        "duckdb:///md:shop?motherduck_token=s3cret",
        "duckdb:///MD:shop%3fmotherduck_token%3ds3cret",
        "duckdb:///shop%253Fmotherduck_token%253Ds3cret",
        "duckdb:///md:s3cret",
        "duckdb:///duckdb:///md:shop?token=s3cret",
        "duckdb:///postgres:host=h password=s3cret",
        "duckdb:///%2F/user:s3cret@host/shop.duckdb",
        "duckdb://user:s3cret@host/shop.duckdb",
        "bigquery://user:s3cret@my-project",
        "bigquery://user%3As3cret%40my-project",
        "bigquery://my-project?password=s3cret",
        "bigquery://my-project?dataset=a&api_endpoint=https://user:s3cret@host",
        "bigquery://my-project?api_endpoint=https://host/?key=s3cret",
        "bigquery://my-project?storage_endpoint=user:s3cret@host",
        "bigquery://my-project?location=EU%26key%3Ds3cret",
    ],
)
def test_a_secret_in_the_uri_is_refused_before_dagster_could_show_it(uri):
    with pytest.raises(InvalidUri, match="The warehouse URI") as raised:
        io_manager_from_uri(uri)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"database": "md:shop?motherduck_token=s3cret"},
        {"database": "md:shop?%6dotherduck_TOKEN=s3cret"},
        {"database": "shop.duckdb", "connection_config": {"motherduck_token": "s3cret"}},
        {"database": "shop.duckdb", "connection_config": {"s3_secret_access_key": "s3cret"}},
    ],
    ids=["database", "encoded", "token", "key"],
)
def test_a_secret_among_the_io_manager_s_own_settings_is_refused_too(settings):
    with pytest.raises(InvalidUri, match="motherduck_token") as raised:
        GorgiasDuckDBIOManager(**settings)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("duckdb:///a.duckdb\n", "a.duckdb"),
        ("\t duckdb:///a.duckdb ", "a.duckdb"),
        ("duckdb:///a%20b.duckdb", "a b.duckdb"),
        ("duckdb:////data/b%C3%BCro/100%25%3F%23.duckdb", "/data/büro/100%?#.duckdb"),
        ("duckdb:///a+b.duckdb", "a+b.duckdb"),
        ("DuckDB:///C:/a.duckdb", "C:/a.duckdb"),
        ("MD:shop", "md:shop"),
        ("md:my%20shop\r\n", "md:my shop"),
    ],
)
def test_white_space_around_does_not_count_and_what_is_encoded_is_decoded(uri, database):
    assert io_manager_from_uri(uri).database == database


@pytest.mark.parametrize("schema", ["information_schema", "PG_Catalog", "Temp", "_attached_file", "a\0b", "a\udcff"])
def test_a_schema_that_duckdb_cannot_have_is_refused_with_a_sentence(schema):
    with pytest.raises(InvalidUri, match="choose another schema"):
        io_manager_from_uri("duckdb:///a.duckdb", schema)


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
