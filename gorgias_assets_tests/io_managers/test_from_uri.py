"""The IO manager of a warehouse's URI, and the errors of one that cannot be used."""

from contextlib import suppress

import dagster as dg
import pytest
from dagster._serdes import serialize_value
from hypothesis import given, settings
from hypothesis import strategies as st

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.warehouse.tables import WarehouseError


def bigquery(uri: str, schema: str | None = None) -> dict[str, object]:
    io_manager = io_manager_from_uri(uri, schema)
    assert isinstance(io_manager, GorgiasBigQueryIOManager)
    fields = GorgiasBigQueryIOManager.model_fields
    return {
        name: value for name in fields if (value := getattr(io_manager, name)) not in (None, fields[name].get_default())
    }


def test_a_project_alone_is_enough():
    assert bigquery("bigquery://my-project") == {"project": "my-project", "dataset": "gorgias"}


def test_every_setting_can_be_in_the_uri_percent_encoded_or_not():
    uri = (
        "bigquery://my-project?location=EU&dataset=support&credentials_path=%2Fkeys%2Fa+b.json&gcp_credentials=e30%3D"
        "&partition_by=month&partition_expiration_days=0400&require_partition_filter=true"
        "&maximum_bytes_billed=1000000000&api_endpoint=https://bigquery-x.p.googleapis.com"
        "&storage_endpoint=bigquerystorage-x.p.googleapis.com&billing_project=payer&staging_dataset=staging"
        "&labels=team:support,tier:bronze&loader_file_format=jsonl"
        "&impersonate=loader%40my-project.iam.gserviceaccount.com"
    )
    assert bigquery(uri) == {
        "project": "my-project",
        "location": "EU",
        "dataset": "support",
        "credentials_path": "/keys/a+b.json",
        "gcp_credentials": "e30=",
        "partition_by": "month",
        "partition_expiration_days": 400,
        "require_partition_filter": True,
        "maximum_bytes_billed": 1_000_000_000,
        "api_endpoint": "https://bigquery-x.p.googleapis.com",
        "storage_endpoint": "bigquerystorage-x.p.googleapis.com",
        "billing_project": "payer",
        "staging_dataset": "staging",
        "labels": {"team": "support", "tier": "bronze"},
        "loader_file_format": "jsonl",
        "impersonate": "loader@my-project.iam.gserviceaccount.com",
    }


def test_a_key_may_have_the_name_that_users_of_ingestr_know():
    named = bigquery("bigquery://my-project?credentials_base64=e30%3D&location=EU")
    assert named == {"project": "my-project", "dataset": "gorgias", "location": "EU", "gcp_credentials": "e30="}
    with pytest.raises(InvalidUri, match="repeated"):
        io_manager_from_uri("bigquery://my-project?credentials_base64=e30%3D&gcp_credentials=e30%3D")


def test_the_format_of_files_may_be_given_besides_the_uri_and_duckdb_loads_none():
    assert io_manager_from_uri("bigquery://my-project", loader_file_format="jsonl").loader_file_format == "jsonl"
    assert io_manager_from_uri("duckdb:///a.duckdb", loader_file_format="jsonl").database == "a.duckdb"
    with pytest.raises(InvalidUri, match="repeated"):
        io_manager_from_uri("bigquery://my-project?loader_file_format=parquet", loader_file_format="jsonl")


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
        "duckdb:///a\u2028b.duckdb",
        "duckdb:///a%ED%B3%BF.duckdb",
        "duckdb:///%20",
        "duckdb:///s3://bucket/a.duckdb",
        "duckdb:///file:a.duckdb",
        "\ufeffduckdb:///a.duckdb",
        "md://shop",
        "md:shop\0",
        "md:shop?attach_mode=single",
        "md:shop;drop",
        "md:my\u2028shop",
        "bigquery://[x",
        "bigquery://my\u2100project",
        "bigquery://\u212bproject",
        "bigquery://projekt-ü",
        "bigquery://my-project:99999",
        "bigquery://my-project:x",
        "bigquery://example.com:443",
        "bigquery://my-project:",
        "bigquery://my\nproject",
        "bigquery://my-project?",
        f"bigquery://{'p' * 5000}",
        "bigquery://my%ffproject",
        "bigquery://my-project?dataset=%ff",
        "bigquery://my-project?dataset=a-b",
        "bigquery://my-project?location=EU%0A",
        "bigquery://my-project?maximum_bytes_billed=\u0661",
        f"bigquery://my-project?maximum_bytes_billed={'9' * 5000}",
        "bigquery://my-project?api_endpoint=https://[x",
        "bigquery://my-project?api_endpoint=http://127.0.0.1:99999",
        "bigquery://my-project?storage_endpoint=host/path",
        "bigquery://my-project?billing_project=my project",
        "bigquery://my-project?staging_dataset=my-staging",
        "bigquery://my-project?loader_file_format=csv",
        "bigquery://my-project?labels=team",
        "bigquery://my-project?labels=Team:support",
        "bigquery://my-project?labels=team:support,",
        "bigquery://my-project?labels=team:support,team:sales",
        "bigquery://my-project?impersonate=somebody",
        "",
    ],
    ids=ascii,
)
def test_what_cannot_be_used_is_refused_with_a_sentence(uri):
    with pytest.raises(InvalidUri, match="The warehouse URI") as raised:
        io_manager_from_uri(uri)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "uri",
    [
        "md:shop?motherduck_token=s3cret",
        "MD:shop?MotherDuck_Token=s3cret",
        "md:shop?saas_mode=true&motherduck%5Ftoken=s3cret",
        "md:shop%3Fmotherduck_token%3Ds3cret",
        "md:shop%253Fmotherduck_token%253Ds3cret",
        "md:shop&token=s3cret",
        "md:motherduck_token=s3cret",
        "md:user:s3cret@shop",
        "md:eyJhbGciOiJIUzI1NiJ9.s3cret.c2lnbmF0dXJl",
        "motherduck:shop?motherduck_token=s3cret",
        "duckdb:///\uff4dd\uff1ashop\uff1fmotherduck_token=s3cret",
        "duckdb:///./md:shop%3Fmotherduck_token=s3cret",
        "duckdb:///shop.duckdb%26pass%77ord=s3cret",
        "duckdb:///shop.duckdb#s3cret",
        "duckdb:///shop.duckdb%3Fb=s3cret",
        "duckdb:///shop.duckdb,token=s3cret",
        "duckdb:///shop.duckdb token:s3cret",
        "duckdb:////shop/motherd%2575ck_token=s3cret",
        "duckdb:////user:s3cret%40host/shop.duckdb",
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
        "bigquery://my-project?impersonate=user:s3cret@host",
        "bigquery://my-project?labels=token=s3cret",
        "bigquery://s3cret@my-project",
        "bigquery://my-project:s3cret",
        "bigquery://my-project/s3cret",
        'bigquery://my-project?credentials_path={"private_key":"s3cret"}',
        "bigquery://my-project?credentials_path=https://user:s3cret@host/key.json",
        "bigquery://my-project?credentials_path=//user:s3cret@host/key.json",
        "bigquery://my-project?credentials_path=//user:s3cret%2540host/key.json",
        f"bigquery://my-project?credentials_path=eyJ0{'a' * 300}s3cret",
    ],
    ids=ascii,
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
        {"database": "md:motherduck_token=s3cret"},
        {"database": "md:user:s3cret@shop"},
        {"database": "shop.duckdb", "connection_config": {"motherduck_token": "s3cret"}},
        {"database": "shop.duckdb", "connection_config": {"s3_secret_access_key": "s3cret"}},
    ],
    ids=["database", "encoded", "alone", "user", "token", "key"],
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
        ("\u00a0duckdb:///a.duckdb\u2028", "a.duckdb"),
        ("duckdb:///./a:b.duckdb", "./a:b.duckdb"),
        ("duckdb:///~/shop@home.duckdb", "~/shop@home.duckdb"),
        ("duckdb:///R%26D/token=1.duckdb", "R&D/token=1.duckdb"),
        ("md:", "md:"),
        ("md:_share/shop/0a1b-2c", "md:_share/shop/0a1b-2c"),
    ],
)
def test_white_space_around_does_not_count_and_what_is_encoded_is_decoded(uri, database):
    assert io_manager_from_uri(uri).database == database


@pytest.mark.parametrize("schema", ["information_schema", "PG_Catalog", "Temp", "_attached_file", "a\0b", "a\udcff"])
def test_a_schema_that_duckdb_cannot_have_is_refused_with_a_sentence(schema):
    with pytest.raises(InvalidUri, match="choose another schema"):
        io_manager_from_uri("duckdb:///a.duckdb", schema)


def test_the_name_of_a_database_can_come_from_a_variable_which_brings_no_token_either(monkeypatch):
    by_name = GorgiasDuckDBIOManager(database=dg.EnvVar("DATABASE"))
    monkeypatch.setenv("DATABASE", "/data/token=1.duckdb")
    assert str(by_name.process_config_and_initialize().warehouse) == "/data/token=1.duckdb"
    monkeypatch.setenv("DATABASE", "md:shop?motherduck_token=s3cret")
    with pytest.raises(InvalidUri, match="motherduck_token") as raised:
        by_name.process_config_and_initialize()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["md:shop?attach_mode=single", "a b?.duckdb", "/10:30/key=1,2.duckdb", "R&D.duckdb"])
def test_a_name_without_a_secret_is_left_as_it_is(name):
    assert GorgiasDuckDBIOManager(database=name).database == name


@pytest.mark.parametrize("name", ["", "a\0b.duckdb", "a\udcff.duckdb"], ids=ascii)
def test_a_name_that_no_file_can_have_is_refused_before_duckdb_is_given_it(name):
    with pytest.raises(WarehouseError, match="names no file"):
        GorgiasDuckDBIOManager(database=name).warehouse()


@settings(deadline=None)
@given(st.text(st.sampled_from("dmuckbigqery:/?#[]%&=;@.\\ 04a\n\x00\udcff\uff1f\u2100"), max_size=20))
def test_whatever_is_in_a_uri_it_names_a_warehouse_or_is_refused(text):
    for beginning in ("", "duckdb:///", "md:", "bigquery://p", "bigquery://p?dataset="):
        with suppress(InvalidUri):
            io_manager_from_uri(beginning + text)


def test_a_key_in_the_uri_is_in_no_snapshot_of_a_job():
    @dg.asset
    def orders() -> None: ...

    io_manager = io_manager_from_uri("bigquery://my-project?gcp_credentials=c2VjcmV0")
    defs = dg.Definitions([orders], resources={"io_manager": io_manager})
    snapshot = serialize_value(defs.resolve_implicit_global_asset_job_def().get_job_snapshot())
    assert "my-project" in snapshot
    assert "c2VjcmV0" not in snapshot


def test_a_key_in_the_uri_is_in_no_representation_of_the_io_manager_and_no_sentence():
    uri = "bigquery://my-project?gcp_credentials=c2VjcmV0"
    assert "c2VjcmV0" not in repr(io_manager_from_uri(uri))
    with pytest.raises(InvalidUri) as raised:
        io_manager_from_uri(f"{uri}&nonsense=1")
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize("most", [1, 1_000_000, 10 * 2**20 - 1])
def test_less_than_the_least_that_google_bills_is_refused_at_once(most):
    sentence = r"Google bills at least 10,485,760 \(10 MB\) for each statement and table, so all would fail; set it to"
    with pytest.raises(InvalidUri, match=sentence):
        io_manager_from_uri(f"bigquery://my-project?maximum_bytes_billed={most}")
    with pytest.raises(WarehouseError, match=sentence):
        GorgiasBigQueryIOManager(project="my-project", maximum_bytes_billed=most)
    at_least = GorgiasBigQueryIOManager(project="my-project", maximum_bytes_billed=10 * 2**20)
    assert at_least.maximum_bytes_billed == 10 * 2**20


def test_a_limit_from_a_variable_is_checked_when_it_is_read(monkeypatch):
    io_manager = GorgiasBigQueryIOManager(project="my-project", maximum_bytes_billed=dg.EnvVar.int("MOST_BYTES"))
    monkeypatch.setenv("MOST_BYTES", "1000000")
    with (
        pytest.raises(WarehouseError, match="Google bills at least"),
        io_manager.process_config_and_initialize_cm(),
    ):
        pass


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("billing_project", "my project"),
        ("impersonate", "somebody"),
        ("loader_file_format", "csv"),
        ("staging_dataset", "a-b"),
        ("labels", {"Team": "support"}),
        ("labels", {"team": "Müller"}),
        ("labels", {"a,b": "c"}),
    ],
)
def test_a_setting_that_bigquery_would_refuse_in_each_job_is_refused_before(setting, value):
    with pytest.raises(WarehouseError, match=f"BigQuery's {setting} must be "):
        GorgiasBigQueryIOManager(project="my-project", **{setting: value})
