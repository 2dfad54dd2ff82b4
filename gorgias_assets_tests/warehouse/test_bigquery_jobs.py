"""BigQuery when it, or the network, misbehaves: a passing fault is waited for, a lasting one is reported.

No row is lost, stored twice or quoted, and jobs show their costs and their run.
"""

import base64
import json
import os
import re
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from dagster._serdes import serialize_value
from google.cloud import bigquery

from gorgias_assets.columns import Column, Kind
from gorgias_assets.entities import SATISFACTION_SURVEYS
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.warehouse.bigquery.jobs import Patience
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import Saved, Table, WarehouseError
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.faulty import (
    Answer,
    Fault,
    FaultyBigQuery,
    altered,
    cut_off,
    ended,
    hung,
    lost,
    refused,
)
from gorgias_assets_tests.bigquery.tokens import new_key
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import BigQueryProject
from gorgias_assets_tests.warehouse.test_frames import IN_ONE_RUN

LETTERS = Table("shop", "letters")
COLUMNS = [
    Column("id", Kind.INTEGER, "The letter."),
    Column("text", Kind.STRING, "What a customer wrote."),
    Column("created_datetime", Kind.DATETIME, "When."),
]
PRIVATE = "Dear shop"
START = datetime(2025, 3, 1, tzinfo=UTC)
POSITION = "half way"

JOB = (
    r" Job (gorgias_[0-9a-f-]+): "
    r"https://console\.cloud\.google\.com/bigquery\?project=local&j=bq:US:\1&page=queryresults$"
)

# Requests, by method, path and body.
GET_DATASET = "GET .*/datasets/shop[?]"
CREATE_DATASET = "POST .*/datasets[?]"
GET_TABLE = "GET .*/tables/letters"
CREATE_TABLE = 'POST .*/tables[?].*"letters"'
CREATE_VIEW = 'POST .*/tables[?].*"letters_live"'
CREATE_STAGING = 'POST .*/tables[?].*"_staging_'
LOAD = "POST /upload/"
MERGE = r"POST .*/jobs[?].*MERGE INTO `local\.shop\.letters`"
SAVE_POSITION = r"POST .*/jobs[?].*MERGE INTO `local\.\w+\._sweep_positions_\w+`"
QUERY = "POST /bigquery/v2/projects/local/jobs[?]"
GET_JOB = "GET .*/jobs/gorgias_"
GET_RESULTS = "GET .*/queries/gorgias_"
DELETE_STAGING = "DELETE .*/tables/_staging_"
EACH = [
    GET_DATASET,
    CREATE_DATASET,
    GET_TABLE,
    CREATE_TABLE,
    CREATE_VIEW,
    CREATE_STAGING,
    LOAD,
    MERGE,
    DELETE_STAGING,
    SAVE_POSITION,
    GET_RESULTS,
]


class FaultyProject(BigQueryProject):
    """The emulator's project as it is seen through the faults; a test's own queries go past them."""

    def __init__(self, emulator: Emulator, faulty: FaultyBigQuery) -> None:
        super().__init__(emulator)
        self._faulty = faulty

    def io_manager(self, schema: str | None = None, **settings: Any) -> GorgiasBigQueryIOManager:
        return super().io_manager(schema, **{"api_endpoint": self._faulty.api_endpoint} | settings)

    def warehouse(self) -> BigQueryWarehouse:
        return replace(super().warehouse(), patience=Patience(20))


@pytest.fixture
def faulty(emulator: Emulator) -> Iterator[FaultyBigQuery]:
    with FaultyBigQuery(emulator.api_endpoint) as faulty:
        yield faulty
        assert faulty.unused == [], "faults that befell nothing"


@pytest.fixture
def engine(emulator: Emulator, faulty: FaultyBigQuery) -> Iterator[FaultyProject]:
    project = FaultyProject(emulator, faulty)
    yield project
    project.clear()


@pytest.fixture
def warehouse(engine: FaultyProject) -> BigQueryWarehouse:
    return engine.warehouse()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """Yield one for all tests of this file: making one takes as long as a run."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def merge(
    warehouse: BigQueryWarehouse, ids: Collection[int] = (1, 2, 3), version: int = 0, position: str = POSITION
) -> None:
    """Merge letters of the day that their id gives, read in `version`, and the position."""
    rows = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "text": [f"{PRIVATE}, {version}" for _ in ids],
            "created_datetime": [START + timedelta(days=i % 7) for i in ids],
            "_extracted_at": [START + timedelta(hours=version)] * len(ids),
            "_is_touched": [True] * len(ids),
        }
    )
    warehouse.merge(LETTERS, COLUMNS, rows, Saved("sweep", position))


def letters(engine: BigQueryProject) -> dict[int, int]:
    """Return the version of each letter by id."""
    rows = engine.query("SELECT id, text FROM shop.letters ORDER BY id")
    assert len(rows) == len({row[0] for row in rows}), "an id is in the table twice"
    return {row[0]: int(row[1].removeprefix(f"{PRIVATE}, ")) for row in rows}


def position(engine: BigQueryProject) -> str:
    ((position,),) = engine.query("SELECT position FROM shop._sweep_positions_letters")
    return position


def jobs(engine: BigQueryProject, beginning: str) -> list[Any]:
    """Return the query jobs whose statement begins so."""
    return [job for job in engine.jobs() if job.job_type == "query" and job.query.startswith(beginning)]


def loads(engine: BigQueryProject) -> list[Any]:
    return [job for job in engine.jobs() if job.job_type == "load"]


def staging(engine: BigQueryProject) -> list[bigquery.Table]:
    with engine.client() as client:
        return [
            client.get_table(table.reference)
            for dataset in client.list_datasets()
            for table in client.list_tables(dataset.reference)
            if table.table_id.startswith("_staging")
        ]


def failure(action: Callable[..., Any], *arguments: Any) -> str:
    """Return the message of a `WarehouseError`. A log would show its traceback."""
    with pytest.raises(WarehouseError) as caught:
        action(*arguments)
    assert PRIVATE not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


GATEWAY = Answer(502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>")
FAULTS: dict[str, list[Fault]] = {
    "unavailable": [refused(503, "backendError"), refused(500, "internalError"), lambda _: GATEWAY],
    "rate limit": [refused(403, "rateLimitExceeded"), refused(429, "rateLimitExceeded")],
    "cut off": [cut_off],
    "answer lost": [lost],
}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(faults, id=name, marks=() if name in ("unavailable", "answer lost") else pytest.mark.soak)
        for name, faults in FAULTS.items()
    ],
)
def test_a_fault_of_each_request_passes_and_each_job_has_run_once(engine, faulty, warehouse, faults):
    for request, fault in zip(EACH, cycle(faults), strict=False):
        faulty.befall(request, fault)
    merge(warehouse)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert warehouse.before(LETTERS, "sweep").position == POSITION
    assert len(loads(engine)) == len(jobs(engine, "MERGE INTO `local.shop.letters`")) == 1
    assert staging(engine) == []
    assert warehouse.costs.jobs == [job.job_id for job in engine.jobs() if "gorgias_" in job.job_id]


@pytest.mark.parametrize("request_", [MERGE, LOAD], ids=["query", "load"])
def test_a_job_that_was_started_unseen_is_found_by_its_id_even_if_not_at_once(engine, faulty, warehouse, request_):
    faulty.befall(request_, lost)
    faulty.befall(GET_JOB, refused(404, "notFound", "Not found: Job local:US.gorgias"))
    merge(warehouse)
    (job,) = loads(engine) if request_ is LOAD else jobs(engine, "MERGE INTO `local.shop.letters`")
    assert len(faulty.received(f"GET .*/jobs/{job.job_id}")) == 2
    assert letters(engine) == {1: 0, 2: 0, 3: 0}


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("backendError", ""),
        ("jobRateLimitExceeded", ""),
        ("invalidQuery", "Could not serialize access to table local:shop.letters due to concurrent update"),
        (
            "resourcesExceeded",
            "Resources exceeded during query execution: Too many DML statements outstanding against table "
            "local:shop.letters, limit is 20.",
        ),
    ],
    ids=["backend", "rate", "concurrent update", "outstanding"],
)
def test_a_job_that_has_failed_for_now_is_run_again_under_another_id(engine, faulty, warehouse, reason, message):
    faulty.befall(MERGE, ended(reason, message))
    merge(warehouse)
    first, second = [request.json["jobReference"]["jobId"] for request in faulty.received(MERGE)]
    assert first != second
    assert {first, second} < set(warehouse.costs.jobs)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}


def has_failed(reason: str, message: str = "It failed.") -> Fault:
    """Report a job as failed, though it has done its work."""
    error = {"reason": reason, "message": message}
    return altered(lambda job: job["status"].update(state="DONE", errorResult=error, errors=[error]))


def is_running(job: Any) -> None:
    job["status"] = {"state": "RUNNING"}


def test_a_merge_and_a_load_that_worked_but_report_a_failure_do_no_harm_twice(engine, faulty, warehouse):
    faulty.befall(LOAD, has_failed("internalError"))
    faulty.befall(MERGE, has_failed("jobInternalError"))
    merge(warehouse)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert len(loads(engine)) == len(jobs(engine, "MERGE INTO `local.shop.letters`")) == 2


def test_a_running_job_is_looked_at_until_it_has_ended(engine, faulty, warehouse):
    faulty.befall(f"{MERGE}|{LOAD}", altered(is_running), times=2)
    faulty.befall(GET_JOB, altered(is_running), times=4)
    faulty.befall(GET_JOB, refused(503, "backendError"))
    merge(warehouse)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert len(faulty.received(GET_JOB)) == 7
    assert len(loads(engine)) == len(jobs(engine, "MERGE INTO `local.shop.letters`")) == 1


def test_a_running_job_that_fails_for_now_is_run_again_at_once(engine, faulty, warehouse):
    """A request of a failed job's results would be answered with an error, as if the request itself had failed."""
    faulty.befall(MERGE, altered(is_running))
    faulty.befall(GET_JOB, has_failed("backendError"))
    faulty.befall(GET_RESULTS, refused(500, "backendError"), times=None)
    merge(warehouse)
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert len(faulty.received(MERGE)) == 2


@pytest.mark.parametrize(
    ("request_", "fault", "sentence"),
    [
        (
            MERGE,
            ended("invalidQuery", f"Bad int64 value: {PRIVATE}"),
            r"correct the columns or the partition_expr in it\. Google's reason: invalidQuery\." + JOB,
        ),
        (
            MERGE,
            ended("invalidQuery", "Unrecognized name: colour at [1:8]"),
            r"correct the columns .* Google's message: Unrecognized name: colour at \[1:8\]" + JOB,
        ),
        (
            QUERY,
            refused(403, "accessDenied", "Access Denied: Project local: User does not have bigquery.jobs.create"),
            r"grant these credentials the role BigQuery Job User on the project that pays\. Google's reason: "
            r"accessDenied\. Google's message: Access Denied: Project local: User does not have bigquery.jobs.create$",
        ),
        (
            LOAD,
            refused(403, "quotaExceeded", "Quota exceeded: Your table exceeded quota for imports"),
            "A quota of BigQuery is used up; wait until it is free again",
        ),
        (
            "/datasets",
            refused(404, "notFound", "Not found: Project local"),
            r"correct the project and the dataset in the warehouse URI\. Google's reason: notFound\. "
            r"Google's message: Not found: Project local$",
        ),
        (
            MERGE,
            ended(
                "bytesBilledLimitExceeded",
                "Query exceeded limit for bytes billed: 1000000. 10485760 or higher required.",
            ),
            r"raise that in the warehouse URI, or materialize fewer .* limit for bytes billed: 1000000\. 10485760 or",
        ),
        (
            LOAD,
            has_failed("invalid", f"Could not parse '{PRIVATE}' as INT64 for field id"),
            r"compare their types with the table's\. Google's reason: invalid\." + JOB,
        ),
        (
            MERGE,
            ended("somethingNew", f"{PRIVATE}!"),
            r"BigQuery rejected a request\. Google's reason: somethingNew\." + JOB,
        ),
        (
            GET_TABLE,
            refused(403, "accessDenied", f"{PRIVATE}!"),
            r"and BigQuery Data Editor on the dataset\. Google's reason: accessDenied\.$",
        ),
        (GET_TABLE, refused(401, "authError", "Login Required."), "Google rejected the credentials; renew them"),
    ],
    ids=["value", "name", "access", "quota", "project", "limit", "load", "unknown", "role", "login"],
)
def test_an_error_that_stays_is_reported_at_once_without_a_value(faulty, warehouse, request_, fault, sentence):
    faulty.befall(request_, fault, times=None)
    message = failure(merge, warehouse)
    assert re.search(sentence, message), message
    assert len(faulty.received(request_)) == (2 if request_ == "/datasets" else 1)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (
            "Access Denied: Table local:shop.letters: User does not have full access for table local:shop.letters due "
            "to row access policies.",
            "grant these credentials a row access policy with FILTER USING (TRUE).",
        ),
        (
            'Access Denied: BigQuery BigQuery: User does not have permission to access policy tag "PII : text" on '
            "column local.shop.letters.text.",
            "grant these credentials the role Fine-Grained Reader for it.",
        ),
        (
            "Access Denied: Table local:shop.letters: User does not have permission to query table "
            "local:shop.letters, or perhaps it does not exist.",
            "grant these credentials the role BigQuery Data Editor on the dataset.",
        ),
        (
            "VPC Service Controls: Request is prohibited by organization's policy. "
            "vpcServiceControlsUniqueIdentifier: x",
            "let this project in, or set api_endpoint and storage_endpoint to restricted endpoints.",
        ),
    ],
    ids=["row-level security", "policy tag", "query table", "perimeter"],
)
def test_refused_access_is_reported_with_what_to_grant(faulty, warehouse, message, advice):
    faulty.befall(MERGE, ended("accessDenied", message))
    told = failure(merge, warehouse)
    assert f"{advice} Google's reason: accessDenied. Google's message: {message} Job " in told
    assert re.search(JOB, told)


@pytest.mark.parametrize(
    ("message", "is_shown"),
    [
        ("Cannot query over table 'local.shop.letters' without a filter over column(s) 'created_datetime'", True),
        ("Query column 1 has type INT64 which cannot be inserted into column text, which has type STRING", True),
        ("UPDATE/MERGE must match at most one source row for each target row", True),
        ("Resources exceeded during query execution: Not enough resources for query planning", True),
        (f"Bad int64 value: {PRIVATE}", False),
        (f"Invalid timestamp: '{PRIVATE}'", False),
        (f"Failed to parse input string '{PRIVATE}'", False),
        (f"syntax error while parsing value - invalid literal; last read: '{PRIVATE}'", False),
        (f"Could not cast literal '{PRIVATE}' to type DATE", False),
        (f"Error: {PRIVATE}", False),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_message_is_shown_if_no_value_can_be_in_it(faulty, warehouse, message, is_shown):
    faulty.befall(MERGE, ended("invalidQuery", message))
    assert (message in failure(merge, warehouse)) == is_shown


def test_a_long_message_is_cut_and_only_its_first_line_is_shown(faulty, warehouse):
    faulty.befall(MERGE, ended("invalidQuery", f"Unrecognized name: {'x' * 2000}\n{PRIVATE}"))
    assert len(failure(merge, warehouse)) < 1000


def test_a_value_that_bigquery_quotes_is_nowhere_in_the_run_s_log(engine, faulty, instance):
    faulty.befall(LOAD, has_failed("invalid", f"Could not parse '{PRIVATE}' as INT64 for field id"))

    @dg.asset(key=["shop", "orders"])
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"text": [PRIVATE]})

    result = run(orders, engine.io_manager(), instance, raise_on_error=False)
    log = "".join(map(serialize_value, instance.all_logs(result.run_id)))
    assert "BigQuery rejected a column or a value" in log
    assert PRIVATE not in log


@pytest.mark.parametrize(
    ("request_", "fault"),
    [("", refused(503, "backendError")), (LOAD, cut_off), (MERGE, refused(403, "rateLimitExceeded"))],
    ids=["all", "load", "merge"],
)
def test_an_outage_that_stays_ends_when_patience_does_and_what_was_merged_is_kept(
    engine, faulty, warehouse, request_, fault
):
    warehouse = replace(warehouse, patience=Patience(1))
    merge(warehouse)
    faulty.befall(request_, fault, times=None)
    begun = time.monotonic()
    message = failure(merge, warehouse, [3, 4], 1, "further")
    assert time.monotonic() - begun < 60  # patience is 1 s here, and ten minutes by default
    assert "could not be reached, or failed each time" in message
    assert letters(engine) == {1: 0, 2: 0, 3: 0}
    assert position(engine) == POSITION


def test_a_job_that_fails_for_now_on_and_on_ends_when_patience_does(faulty, warehouse):
    faulty.befall(MERGE, ended("invalidQuery", "Could not serialize access due to concurrent update"), times=None)
    message = failure(merge, replace(warehouse, patience=Patience(1)))
    assert "run fewer at once" in message
    assert len(faulty.received(MERGE)) > 1


def test_a_request_that_is_never_answered_is_given_up_and_made_again(engine, faulty, warehouse):
    for request in (CREATE_TABLE, LOAD, MERGE, DELETE_STAGING):
        faulty.befall(request, hung)
    merge(replace(warehouse, patience=Patience(20, answer_seconds=0.8)))
    assert letters(engine) == {1: 0, 2: 0, 3: 0}


@pytest.mark.parametrize(
    ("request_", "is_left"),
    [
        (r"POST .*MERGE INTO `local\.\w+\.satisfaction_surveys`", False),
        pytest.param(DELETE_STAGING, True, marks=pytest.mark.soak),
        (SAVE_POSITION, False),
    ],
    ids=["before the merge", "before the staging table is deleted", "before the position"],
)
def test_after_a_crash_at_any_step_another_attempt_ends_in_the_same_table(
    sandbox, engine, faulty, instance, request_, is_left
):
    project = Project(sandbox, engine, [SATISFACTION_SURVEYS])
    project.instance = instance
    for second in range(3):
        sandbox.account.create("satisfaction_surveys", created_datetime=START + timedelta(days=2, seconds=second))
    faulty.befall(request_, refused(403, "accessDenied"), times=None)
    assert not project.materialize("2025-03-03", raise_on_error=False).success
    left = staging(engine)
    assert bool(left) == is_left
    assert all(table.expires < datetime.now(UTC) + timedelta(days=1) for table in left)
    faulty.recover()
    assert project.materialize("2025-03-03").success
    assert project.table(SATISFACTION_SURVEYS) == project.live_rows(SATISFACTION_SURVEYS)
    assert len(staging(engine)) == len(left)


def test_a_file_that_is_uploaded_in_parts_survives_their_loss(engine, faulty, warehouse):
    size = bigquery.client._MAX_MULTIPART_SIZE
    rows = pa.table({"id": [1, 2], "blob": [os.urandom(size).hex(), ""]})
    faulty.befall("POST /upload/.*resumable", cut_off)
    faulty.befall("PUT /upload/", cut_off)
    faulty.befall("PUT /upload/", lost)
    warehouse.replace(LETTERS, rows, ())
    assert engine.query("SELECT id, LENGTH(blob) FROM shop.letters ORDER BY id") == [(1, 2 * size), (2, 0)]
    assert len(loads(engine)) == 1


def run(
    asset: dg.AssetsDefinition, io_manager: Any, instance: dg.DagsterInstance, **arguments: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset],
        instance=instance,
        resources={"io_manager": io_manager},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **arguments,
    )


@pytest.mark.parametrize(
    ("partitions", "expression", "chosen", "label"),
    [
        (
            dg.DailyPartitionsDefinition("2025-03-01"),
            "day",
            {
                "tags": {
                    "dagster/asset_partition_range_start": "2025-03-01",
                    "dagster/asset_partition_range_end": "2025-03-02",
                }
            },
            "2025-03-01_2025-03-02",
        ),
        (dg.StaticPartitionsDefinition(["Büro №1/a"]), "shop", {"partition_key": "Büro №1/a"}, "b_ro__1_a"),
    ],
    ids=["a range of days", "a name"],
)
def test_each_job_is_labelled_with_its_run_asset_and_partition(engine, instance, partitions, expression, chosen, label):
    @dg.asset(
        key=["Shop", "Orders_" + "x" * 60],
        partitions_def=partitions,
        metadata={"partition_expr": expression, "schema": "shop"},
        backfill_policy=IN_ONE_RUN,
    )
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"day": [START, START + timedelta(days=1)], "shop": ["Büro №1/a"] * 2})

    result = run(orders, engine.io_manager(), instance, **chosen)
    labels = [job.labels for job in engine.jobs()]
    assert len(labels) > 3
    for each in labels:
        assert each == {
            "dagster_run_id": result.run_id,
            "asset": ("shop_orders_" + "x" * 60)[:63],
            "partition": label,
        }


def test_the_bill_sums_what_all_jobs_have_cost_failed_ones_too(engine, faulty, instance):
    def cost(job: Any) -> None:
        job["statistics"].setdefault("query", {}).update(totalBytesBilled="10485760", totalSlotMs="1500")

    faulty.befall("POST .*/jobs[?].*MERGE INTO", ended("backendError"))
    faulty.befall(QUERY, altered(cost), times=None)

    @dg.asset(key=["shop", "orders"])
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    (event,) = run(orders, engine.io_manager(), instance).get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    failed, *_ = [request.json["jobReference"]["jobId"] for request in faulty.received("POST .*/jobs[?].*MERGE INTO")]
    done = [job for job in engine.jobs() if job.job_id.startswith("gorgias_")]
    queries = [job for job in done if job.job_type == "query"]
    assert sorted(metadata["bigquery_job_ids"]) == sorted([failed, *(job.job_id for job in done)])
    assert metadata["bigquery_jobs"] == len(done) + 1
    assert metadata["bigquery_bytes_billed"] == 10485760 * len(queries)
    assert metadata["bigquery_slot_seconds"] == 1.5 * len(queries)


def test_the_most_bytes_that_may_be_billed_are_in_every_statement_or_in_none(faulty, warehouse):
    merge(replace(warehouse, maximum_bytes_billed=5_000_000))
    with_limit = len(faulty.received(QUERY))
    assert warehouse.before(LETTERS, "sweep").position == POSITION
    limits = [query.json["configuration"]["query"].get("maximumBytesBilled") for query in faulty.received(QUERY)]
    assert limits == ["5000000"] * with_limit + [None]


def test_runs_that_merge_into_one_new_table_at_once_all_succeed(engine, warehouse):
    batches = [(range(10 * n, 10 * n + 10), n) for n in (0, 1, 2)] + [(range(10), 3)]
    with ThreadPoolExecutor(len(batches)) as threads:
        done = [threads.submit(merge, warehouse.billed_to({}), ids, version) for ids, version in batches]
    for each in done:
        each.result()
    assert letters(engine) == {i: i // 10 or 3 for i in range(30)}


@cache
def key() -> dict[str, str]:
    return new_key()


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def create(**settings: Any) -> MergingIOManager:
    with dg.build_init_resource_context() as context:
        return GorgiasBigQueryIOManager(project="local", **settings).create_io_manager(context)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"credentials_path": "nowhere.json"},
            r"nowhere\.json cannot be read \(No such file or directory\); correct it",
        ),
        ({"credentials_path": "text.json"}, r"The file text\.json is no Google credential; download a key"),
        ({"credentials_path": "other.json"}, r"The file other\.json is no Google credential; download a key"),
        (
            {"gcp_credentials": "s3cret!"},
            "gcp_credentials is no base64; set it to what 'base64 -w 0 <key file>' prints",
        ),
        ({"gcp_credentials": in_base64("s3cret")}, "The content of gcp_credentials is no Google credential; download"),
        (
            {"gcp_credentials": in_base64('["s3cret"]')},
            "The content of gcp_credentials is no Google credential; download",
        ),
        (
            {"gcp_credentials": in_base64(json.dumps({"type": "service_account", "private_key": "s3cret"}))},
            "The content of gcp_credentials is no Google credential; download",
        ),
        (
            {"gcp_credentials": in_base64(json.dumps(key() | {"private_key": "s3cret"}))},
            "The content of gcp_credentials is no Google credential; download",
        ),
        ({}, "There are no Google credentials here; run 'gcloud auth application-default login', or name"),
    ],
    ids=["missing", "text", "other JSON", "no base64", "no JSON", "a list", "half a key", "a broken key", "none"],
)
def test_unusable_credentials_are_reported_without_their_content(tmp_path, monkeypatch, settings, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    Path("text.json").write_text("s3cret")
    Path("other.json").write_text('{"type": "s3cret"}')
    with pytest.raises(WarehouseError) as caught:
        create(**settings)
    assert re.search(sentence, str(caught.value))
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_key_is_taken_from_a_file_or_from_base64_and_left_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key()))
    before = dict(os.environ)
    by_path = create(credentials_path="~/key.json")
    in_text = create(gcp_credentials=in_base64(json.dumps(key())))
    for manager in (by_path, in_text):
        assert manager.warehouse.credentials.service_account_email == key()["client_email"]
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("given_as", ["string", "EnvVar"])
@pytest.mark.usefixtures("engine")
def test_a_key_is_in_no_representation_log_or_request_to_an_emulator(faulty, instance, monkeypatch, given_as):
    secret = in_base64(json.dumps(key()))
    monkeypatch.setenv("GCP_CREDENTIALS_OF_THIS_TEST", secret)
    given = secret if given_as == "string" else dg.EnvVar("GCP_CREDENTIALS_OF_THIS_TEST")
    manager = GorgiasBigQueryIOManager(project="local", gcp_credentials=given, api_endpoint=faulty.api_endpoint)

    @dg.asset(key=["shop", "orders"])
    def orders() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    result = run(orders, manager, instance)
    shown = [repr(manager), str(manager), repr(create(credentials_path=None, gcp_credentials=secret))]
    shown += map(serialize_value, instance.all_logs(result.run_id))
    shown.append(serialize_value(instance.get_run_by_id(result.run_id)))
    shown.append(serialize_value(instance.get_job_snapshot(instance.get_run_by_id(result.run_id).job_snapshot_id)))
    assert secret[:40] not in "".join(shown)
    assert faulty.requests
    assert not any(name.lower() == "authorization" for request in faulty.requests for name in request.headers)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://bigquery.example",
        "HTTP://bigquery.example",
        " http://bigquery.example",
        "http://127.0.0.1.example",
        "http://localhost:80@bigquery.example",
        "bigquery.example",
    ],
)
def test_an_endpoint_without_tls_that_is_not_on_loopback_is_refused(endpoint):
    with pytest.raises(WarehouseError, match="must use https; http is for an emulator on loopback only"):
        create(api_endpoint=endpoint, gcp_credentials=in_base64(json.dumps(key())))


def test_a_dataset_in_another_location_is_refused(engine, warehouse):
    with engine.client() as client:
        dataset = bigquery.Dataset("local.shop")
        dataset.location = "EU"
        client.create_dataset(dataset)
    message = failure(merge, replace(warehouse, location="US"))
    assert message == (
        "The dataset shop of local is in EU, not in US; correct the location in the warehouse URI, or name another "
        "dataset."
    )


def test_a_dataset_with_a_dash_is_refused(warehouse):
    message = failure(warehouse.before, Table("my-shop", "letters"), "sweep")
    assert message == "BigQuery has no dataset named 'my-shop': only letters, digits and _ are allowed."


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ("Information_Schema", "views of its own"),
        ("", "no dataset named ''"),
        ("a\0b", "no dataset named"),
        ("a\udcff", "no dataset named"),
    ],
    ids=ascii,
)
def test_a_dataset_that_bigquery_cannot_have_is_refused(warehouse, dataset, sentence):
    message = failure(warehouse.before, Table(dataset, "letters"), "sweep")
    assert sentence in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ([[["a"], []]], "Column 'tags' holds lists of lists, which BigQuery has no type for; return lists of structs."),
        (
            [["a"], ["b", None]],
            "Column 'tags' has nulls in its lists, which BigQuery does not hold; leave them out, or return lists of "
            "structs.",
        ),
    ],
    ids=["lists of lists", "nulls in lists"],
)
def test_lists_that_bigquery_cannot_hold_are_refused_with_the_column_s_name(warehouse, tags, sentence):
    assert failure(warehouse.replace, LETTERS, pa.table({"tags": tags}), ()) == sentence


def test_lists_of_any_length_and_lists_that_are_missing_are_taken(warehouse):
    warehouse.replace(LETTERS, pa.table({"id": [1, 2, 3], "tags": [["a", "b"], [], None]}), ())
    read = warehouse.read(LETTERS, ())
    assert dict(zip(*read.to_pydict().values(), strict=True)) == {1: ["a", "b"], 2: [], 3: []}
