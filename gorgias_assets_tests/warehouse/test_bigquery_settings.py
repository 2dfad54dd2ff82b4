"""The settings of jobs: who pays, labels, where staging tables are, the format of loads, and who is impersonated."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from google.auth.exceptions import RefreshError
from google.cloud import bigquery
from google.oauth2.credentials import Credentials

from gorgias_assets.account import Account
from gorgias_assets.columns import Column, Kind
from gorgias_assets.commands.status import print_status
from gorgias_assets.entities import SATISFACTION_SURVEYS
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.warehouse.bigquery.credentials import impersonated
from gorgias_assets.warehouse.bigquery.jobs import fault
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.faulty import FaultyBigQuery
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.warehouse.test_bigquery_jobs import (
    CREATE_STAGING,
    LETTERS,
    FaultyProject,
    failure,
    in_base64,
    key,
    letters,
    loads,
    merge,
    run,
    staging,
)
from gorgias_assets_tests.warehouse.test_frames import IN_ONE_RUN

LOADER = "loader@shop.iam.gserviceaccount.com"
START = datetime(2025, 3, 1, 1, 2, 3, 4, tzinfo=UTC)
ROWS = pa.table(
    {
        "id": pa.array([1, None, 2**60], pa.int64()),
        "text": ['Grüße\n\u2028"', "", None],
        "number": [0.1, float("inf"), None],
        "exact": pa.array([Decimal("1.5"), None, Decimal("-0.000000001")], pa.decimal128(38, 9)),
        "flag": [True, False, None],
        "blob": [b"\x00\xff", b"", None],
        "moment": pa.array([START, None, START], pa.timestamp("us", "UTC")),
        "local": pa.array([START.replace(tzinfo=None), None, None], pa.timestamp("us")),
        "day": [date(2025, 3, 1), None, None],
        "at": pa.array([time(1, 2, 3, 4), None, None], pa.time64("us")),
        "tags": [["a", "b"], [], None],
        "sender": [{"name": "Ada", "ids": [1]}, {"name": None, "ids": []}, {"name": "", "ids": []}],
    }
)


@pytest.fixture
def faulty(emulator: Emulator) -> Iterator[FaultyBigQuery]:
    with FaultyBigQuery(emulator.api_endpoint) as faulty:
        yield faulty


@pytest.fixture
def engine(emulator: Emulator, faulty: FaultyBigQuery) -> Iterator[FaultyProject]:
    project = FaultyProject(emulator, faulty)
    yield project
    project.clear()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_another_project_pays_for_jobs_and_holds_no_table(engine, faulty):
    warehouse = engine.io_manager(billing_project="payer").warehouse()
    merge(warehouse)
    warehouse.replace(Table("shop", "orders"), pa.table({"id": [1]}), ())
    assert warehouse.read(Table("shop", "orders"), ()).num_rows == 1
    jobs = faulty.received("POST .*/jobs|POST /upload/|GET .*/(jobs|queries)/")
    assert jobs
    assert all("/projects/payer/" in request.path for request in jobs)
    others = [request for request in faulty.requests if request not in jobs]
    assert not any("/projects/payer/" in request.path for request in others)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}


def test_own_labels_are_on_each_job_besides_those_of_the_run(engine, instance):
    @dg.asset(key=["shop", "orders"])
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    result = run(orders, engine.io_manager(labels={"team": "support", "tier": "bronze"}), instance)
    labels = [job.labels for job in engine.jobs()]
    assert len(labels) > 3
    own = {"team": "support", "tier": "bronze", "asset": "shop_orders", "dagster_run_id": result.run_id}
    assert all(each == own for each in labels)


def test_the_status_labels_its_jobs_with_its_command(engine, sandbox, monkeypatch, tmp_path):
    account = Account([SATISFACTION_SURVEYS], start_date="2025-03-01")
    project = Project(sandbox, engine, [SATISFACTION_SURVEYS])
    sandbox.account.create("satisfaction_surveys", created_datetime=START)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    project.materialize("2025-03-01")
    before = {job.job_id for job in engine.jobs()}
    assert print_status(account, project.resources) == 0
    labels = [job.labels for job in engine.jobs() if job.job_id not in before]
    assert labels
    assert all(each == {"command": "status"} for each in labels)


def test_staging_tables_are_in_their_own_dataset_in_the_same_location(engine, faulty):
    merge(engine.io_manager(staging_dataset="scratch", location="EU").warehouse())
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert [request.path.split("?")[0] for request in faulty.received(CREATE_STAGING)] == [
        "/bigquery/v2/projects/local/datasets/scratch/tables"
    ]
    assert staging(engine) == []
    with engine.client() as client:
        assert client.get_dataset("scratch").location == "EU"
        assert {table.table_id for table in client.list_tables("scratch")} == set()


def test_a_staging_dataset_in_another_location_is_refused_before_anything_is_loaded(engine, faulty):
    with engine.client() as client:
        for name, location in (("shop", "EU"), ("scratch", "US")):
            dataset = bigquery.Dataset(f"local.{name}")
            dataset.location = location
            client.create_dataset(dataset)
    message = failure(merge, engine.io_manager(staging_dataset="scratch").warehouse())
    assert message.startswith("The dataset scratch of local is in US, not in EU; ")
    assert faulty.received("POST /upload/") == []


def test_a_table_that_is_loaded_by_hand_is_labelled_with_its_asset(engine, instance):
    @dg.asset(key=["shop", "orders"])
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    io_manager = engine.io_manager()
    run(orders, io_manager, instance)
    before = {job.job_id for job in engine.jobs()}
    loaded = dg.Definitions([orders], resources={"io_manager": io_manager}).load_asset_value(
        ["shop", "orders"], instance=instance
    )
    assert loaded["id"].tolist() == [1]
    assert [job.labels for job in engine.jobs() if job.job_id not in before] == [{"asset": "shop_orders"}]


@pytest.mark.parametrize("loader_file_format", ["parquet", "jsonl"])
def test_each_loader_file_format_stores_the_same_values(engine, loader_file_format):
    warehouse = engine.io_manager(loader_file_format=loader_file_format).warehouse()
    orders = Table("shop", "orders")
    is_json = loader_file_format == "jsonl"
    rows = ROWS if is_json else ROWS.drop_columns("blob")  # which the emulator reads from JSON only
    warehouse.replace(orders, rows, ())
    (load,) = loads(engine)
    assert load.source_format == {"parquet": "PARQUET", "jsonl": "NEWLINE_DELIMITED_JSON"}[loader_file_format]
    stored = sorted(warehouse.read(orders, ()).to_pylist(), key=lambda row: (row["id"] is None, row["id"]))
    expected = sorted(rows.to_pylist(), key=lambda row: (row["id"] is None, row["id"]))
    for row in expected:
        row["tags"] = row["tags"] or []  # BigQuery has no list that is null
    assert stored == expected


@pytest.mark.parametrize("loader_file_format", ["parquet", "jsonl"])
def test_each_loader_file_format_merges_json_and_long_texts(engine, loader_file_format):
    columns = [
        Column("id", Kind.INTEGER, "The letter."),
        Column("sender", Kind.JSON, "Who."),
        Column("text", Kind.STRING, "What."),
        Column("created_datetime", Kind.DATETIME, "When."),
    ]
    rows = pa.table(
        {
            "id": [1, 2, 3],
            "sender": [json.dumps({"name": 'Ada "L"', "n": [1.5, None]}), "null", None],
            "text": ["line\nline", "x" * 100_000, None],
            "created_datetime": [START, START + timedelta(days=1), None],
            "_extracted_at": [START] * 3,
            "_is_touched": [True] * 3,
        }
    )
    warehouse = engine.io_manager(loader_file_format=loader_file_format).warehouse()
    assert warehouse.merge(LETTERS, columns, rows).new == 3
    found = engine.query("SELECT id, JSON_VALUE(sender.name), text, created_datetime FROM shop.letters ORDER BY id")
    assert found == [
        (1, 'Ada "L"', "line\nline", START),
        (2, None, "x" * 100_000, START + timedelta(days=1)),
        (3, None, None, None),
    ]


def test_a_range_of_days_has_its_bill_and_the_ids_of_its_jobs_on_the_newest_day_alone(engine, instance):
    days = [f"2025-03-{day:02}" for day in range(1, 31)]

    @dg.asset(
        key=["shop", "orders"],
        partitions_def=dg.DailyPartitionsDefinition("2025-03-01"),
        metadata={"partition_expr": "day"},
        backfill_policy=IN_ONE_RUN,
    )
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"day": pd.to_datetime(days, utc=True)})

    tags = {"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]}
    result = run(orders, engine.io_manager(), instance, tags=tags)
    events = [event.materialization for event in result.get_asset_materialization_events()]
    assert [event.partition for event in events] == days
    jobs = {job.job_id for job in engine.jobs()}
    for name in ("bigquery_jobs", "bigquery_bytes_billed", "bigquery_job_ids", "rows_written"):
        assert [event.partition for event in events if name in event.metadata] == [days[-1]], name
    assert events[-1].metadata["bigquery_jobs"].value == len(jobs)
    assert set(events[-1].metadata["bigquery_job_ids"].value) == jobs


def test_the_ids_in_an_event_are_bounded(engine):
    warehouse = engine.warehouse()
    warehouse.costs.jobs.extend(f"gorgias_{number}" for number in range(1000))
    assert warehouse.bill()["bigquery_jobs"] == 1000
    assert len(warehouse.jobs_billed()["bigquery_job_ids"]) == 100


def test_a_service_account_is_impersonated_with_the_credentials():
    io_manager = GorgiasBigQueryIOManager(
        project="local", gcp_credentials=in_base64(json.dumps(key())), impersonate=LOADER
    )
    credentials = io_manager.warehouse().credentials
    assert credentials.service_account_email == LOADER
    assert credentials._source_credentials.service_account_email == key()["client_email"]


class Refusal:
    """Google's answer to whoever may not act as a service account."""

    status = 403
    headers: Mapping[str, str] = MappingProxyType({})
    data = b'{"error": {"code": 403, "message": "Permission iam.serviceAccounts.getAccessToken denied"}}'


def test_a_refused_impersonation_is_reported_with_what_to_grant():
    credentials = impersonated(Credentials("token"), LOADER)
    with pytest.raises(RefreshError) as raised:
        credentials.refresh(lambda *_, **__: Refusal())
    error = fault(raised.value)
    assert str(error) == (
        "Google refused to impersonate the service account; grant the role Service Account Token Creator on it to "
        "these credentials, and correct impersonate in the warehouse URI."
    )
    assert not error.passes
