"""Stopping a run: after any interruption it ends as canceled within seconds, and no day of it counts as failed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gorgias_assets.days import Day, days_of
from gorgias_assets.executors import IN_PROCESS, PROCESSES
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.deployment import BIN, REPOSITORY, SETTINGS, Deployment, wait_until

FIRST, LAST = "2025-03-02", "2025-03-05"
KEY = dg.AssetKey(["gorgias", "satisfaction_surveys"])
RANGE = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
LAUNCHED = ["--partition-range", f"{FIRST}...{LAST}"]
MODULE = ["-m", "gorgias_assets.definitions"]
SECONDS_TO_END = 30
SLOW = 45  # seconds that an answer takes, longer than a run may take to end
COMMANDS = {
    "backfill": [sys.executable, "-m", "gorgias_assets", "backfill", FIRST, LAST],
    "job": [BIN / "dagster", "job", "execute", *MODULE, "-j", "gorgias", "--tags", json.dumps(RANGE)],
    "asset": [BIN / "dagster", "asset", "materialize", *MODULE, "--select", KEY.to_user_string(), *LAUNCHED],
    "launch": [BIN / "dg", "launch", "--assets", KEY.to_user_string(), *LAUNCHED],
}
ALWAYS = ("backfill", "SIGINT", "in_process")
CASES = [
    pytest.param(*case, id="-".join(case), marks=[] if case == ALWAYS else pytest.mark.soak)
    for case in product(COMMANDS, ("SIGINT", "SIGTERM", "SIGHUP"), ("in_process", "processes"))
]
TERMINATE = """mutation ($runId: String!) {
  terminateRun(runId: $runId, terminatePolicy: SAFE_TERMINATE) { __typename }
}"""


@pytest.fixture
def sandbox(account: Account) -> Iterator[Sandbox]:
    """Serve an account that takes minutes to read, once more than a batch of rows was answered."""
    blank, created = KINDS["satisfaction_surveys"].blank, datetime(2025, 3, 3, tzinfo=UTC)
    account.insert_many(
        "satisfaction_surveys", ({**blank, "id": number, "created_datetime": created} for number in range(15_000))
    )
    with Sandbox(account) as sandbox:
        sandbox.faults.append(Fault("slow", "/api/satisfaction-surveys", skip=110, times=None, seconds=SLOW))
        yield sandbox


@contextmanager
def started(command: list[str | Path], folder: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process in its own session, as from a terminal, with `folder` as its instance. It prints to `out`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    instance = {"DAGSTER_HOME": str(folder), "DAGSTER_DISABLE_TELEMETRY": "yes", "VIRTUAL_ENV": sys.prefix}
    with (
        (folder / "out").open("w") as output,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**kept, **instance, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def interrupt(process: "subprocess.Popen[bytes]", number: int, after: Callable[[], object]) -> None:
    """Send a signal, `after` something, to a process and its children, as a terminal does, and wait for its end."""
    wait_until(lambda: process.poll() is not None or after())
    assert process.poll() is None
    os.killpg(process.pid, number)
    process.wait(SECONDS_TO_END)


@pytest.mark.parametrize(("command", "name", "executor"), CASES)
def test_an_interrupted_run_ends_as_canceled_whatever_it_waits_for(sandbox, tmp_path, command, name, executor):
    shutil.copy(REPOSITORY / "deploy" / "dagster.yaml", tmp_path)
    settings = {
        "GORGIAS_URI": sandbox.uri,
        "GORGIAS_API_URL": sandbox.api_url,
        "GORGIAS_START_DATE": "2025-03-01",
        "GORGIAS_EXECUTOR": executor,
        "GORGIAS_ENTITIES": "core",
        "WAREHOUSE_URI": f"duckdb:///{tmp_path}/shop.duckdb",
    }
    database = tmp_path / "shop.duckdb"
    with started(COMMANDS[command], tmp_path, **settings) as process:
        interrupt(process, signal.Signals[name], lambda: rows_in(database))
    output = (tmp_path / "out").read_text()
    if command == "backfill":
        assert process.returncode == 130
        assert "\nStopped.\n" in output
        assert "DagsterExecutionInterruptedError" not in output
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED], output
        days = days_of(instance, daily_partitions("2025-03-01"), KEY, [FIRST, "2025-03-03", LAST])
    assert set(days.values()) == {Day.MISSING}
    assert rows_in(database), "rows that were read are lost"


def rows_in(database: Path) -> int:
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            ((rows,),) = connection.execute("SELECT count(*) FROM gorgias.satisfaction_surveys").fetchall()
            return rows
    except duckdb.Error:  # it is being written, or has no table yet
        return 0


@pytest.mark.soak
@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_run_that_is_terminated_in_the_web_app_ends_as_canceled(sandbox, tmp_path, executor):
    settings = {"GORGIAS_START_DATE": "2025-03-01", "GORGIAS_EXECUTOR": executor, "GORGIAS_ENTITIES": "core"}
    with Deployment(tmp_path, sandbox, **settings) as deployment:
        sandbox.latency = 0.5
        run_id = deployment.launch("2025-03-03")
        wait_until(lambda: len(sandbox.requests) > 20)
        answer = deployment.graphql(TERMINATE, runId=run_id)
        assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
        wait_until(lambda: deployment.ended(run_id)["status"] == "CANCELED", SECONDS_TO_END)
        stats = deployment.partitions("satisfaction_surveys")["partitionStats"]
        assert stats["numFailed"] == 0


@pytest.mark.parametrize(
    ("job", "sign", "name"),
    [
        pytest.param("retried", "STEP_UP_FOR_RETRY", "SIGTERM", marks=pytest.mark.soak),
        pytest.param("queued", "blocked by limit for pool full", "SIGTERM", marks=pytest.mark.soak),
        ("querying", "it begins", "SIGINT"),
        ("separate", "it begins", "SIGHUP"),
    ],
)
def test_a_run_is_canceled_while_it_waits_for_a_retry_or_a_pool_or_a_query_or_another_process(
    tmp_path, job, sign, name
):
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("full", 0)
    command = [BIN / "dagster", "job", "execute", "-f", __file__, "-j", job]
    with started(command, tmp_path) as process:
        interrupt(process, signal.Signals[name], lambda: sign in (tmp_path / "out").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.CANCELED, (tmp_path / "out").read_text()
        begun = [entry.step_key for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)]
    assert "unbegun" not in begun


@dg.asset(retry_policy=dg.RetryPolicy(delay=600))
def retried() -> None:
    raise dg.Failure("Try again in ten minutes.")


@dg.asset(pool="full")
def queued() -> None:
    """Wait for a place in a pool that nobody gives back."""


@dg.asset
def querying(context: dg.AssetExecutionContext) -> None:
    """End as DuckDB does, which raises an error of its own from the interrupt."""
    context.log.info("it begins")
    try:
        time.sleep(600)
    except BaseException as interrupt:
        raise RuntimeError("Query interrupted") from interrupt


@dg.asset
def asleep(context: dg.AssetExecutionContext) -> None:
    context.log.info("it begins")
    time.sleep(600)


@dg.asset
def unbegun() -> None:
    """Never begin after an interruption."""


defs = dg.Definitions(
    assets=[retried, queued, querying, asleep, unbegun],
    jobs=[
        dg.define_asset_job("retried", [retried]),
        dg.define_asset_job("queued", [queued]),
        dg.define_asset_job("querying", [querying, unbegun]),
        dg.define_asset_job("separate", [asleep], executor_def=PROCESSES),
    ],
    executor=IN_PROCESS,
)
