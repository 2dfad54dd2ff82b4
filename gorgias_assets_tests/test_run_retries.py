"""The instance's settings: a run whose processes are killed is run again by Dagster's daemon, and goes on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from gorgias_assets.pools import API_POOL
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox

REPOSITORY = Path(__file__).parent.parent
DAGSTER = [sys.executable, "-W", "ignore", "-m", "dagster"]
DEFINITIONS = ["-m", "gorgias_assets.definitions"]
PAGES = 300


@pytest.mark.soak
def test_a_run_that_is_killed_is_run_again_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    shutil.copy(REPOSITORY / "deploy" / "dagster.yaml", tmp_path)
    account, start = Account(now=datetime(2025, 4, 1, tzinfo=UTC)), datetime(2025, 3, 3, tzinfo=UTC)
    blank, ids = KINDS["satisfaction_surveys"].blank, range(PAGES * 100)
    account.insert_many(
        "satisfaction_surveys",
        ({**blank, "id": number, "created_datetime": start + timedelta(seconds=number)} for number in ids),
    )
    with Sandbox(account, latency=0.1) as sandbox:
        for name, value in {
            "DAGSTER_HOME": str(tmp_path),
            "GORGIAS_URI": sandbox.uri,
            "GORGIAS_API_URL": sandbox.api_url,
            "GORGIAS_START_DATE": "2025-03-01",
            "GORGIAS_SEEK": "off",
            "WAREHOUSE_URI": f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        }.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.get() as instance, daemon_and_code_location(tmp_path):
            partition = '{"dagster/partition": "2025-03-03"}'
            subprocess.run(
                [*DAGSTER, "job", "launch", *DEFINITIONS, "-j", "gorgias", "--tags", partition],
                check=True,
                capture_output=True,
            )
            wait_until(lambda: len(sandbox.requests) > 0.4 * PAGES)
            (run,) = instance.get_runs()
            kill_processes_of(instance, run.run_id)
            wait_until(lambda: any(run.status is dg.DagsterRunStatus.SUCCESS for run in instance.get_runs()))
            assert [run.status for run in instance.get_runs()] == [
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
            ]
            places = partial(instance.event_log_storage.get_concurrency_info, API_POOL)
            assert places().active_slot_count > 0, "nothing was left to the run that was killed"
            wait_until(lambda: places().active_slot_count == 0)
            told = [entry.message for entry in instance.all_logs(instance.get_runs()[0].run_id)]
    assert any("this one goes on from there" in line for line in told)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        counted = connection.execute("SELECT count(*), count(DISTINCT id) FROM warehouse.gorgias.satisfaction_surveys")
        assert counted.fetchall() == [(len(ids), len(ids))]


@contextmanager
def daemon_and_code_location(home: Path) -> Iterator[None]:
    """What `make dev` runs, in a group of its own."""
    with (home / "dagster.log").open("w") as log:
        dev = subprocess.Popen(
            [*DAGSTER, "dev", "-p", "0", *DEFINITIONS], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(dev.pid, signal.SIGKILL)
            dev.wait()


def kill_processes_of(instance: dg.DagsterInstance, run_id: str) -> None:
    messages = [entry.message for entry in instance.all_logs(run_id)]
    for pid in {int(pid) for message in messages for pid in re.findall(r"pid: (\d+)", message)}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(is_so: Callable[[], bool], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)
