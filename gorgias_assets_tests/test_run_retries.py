"""The instance's settings: Dagster's daemon runs a run again if its processes were killed, and that resumes."""

import os
import re
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg
import duckdb
import pytest

from gorgias_assets.account import API_POOL
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.deployment import Deployment, wait_until

PAGES = 300


@pytest.mark.soak
@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_run_that_is_killed_is_run_again_and_resumes_where_it_stopped(tmp_path, executor):
    account, start = Account(now=datetime(2025, 4, 1, tzinfo=UTC)), datetime(2025, 3, 3, tzinfo=UTC)
    blank, ids = KINDS["satisfaction_surveys"].blank, range(PAGES * 100)
    account.insert_many(
        "satisfaction_surveys",
        ({**blank, "id": number, "created_datetime": start + timedelta(seconds=number)} for number in ids),
    )
    with (
        Sandbox(account, latency=0.1) as sandbox,
        Deployment(
            tmp_path, sandbox, GORGIAS_START_DATE="2025-03-01", GORGIAS_SEEK="off", GORGIAS_EXECUTOR=executor
        ) as deployment,
        dg.DagsterInstance.from_config(str(deployment.home)) as instance,
    ):
        run_id = deployment.launch("2025-03-03")
        wait_until(lambda: len(sandbox.requests) > 0.4 * PAGES)
        kill_processes_of(instance, run_id)
        wait_until(lambda: deployment.runs(statuses=["SUCCESS"]))
        assert [run["status"] for run in deployment.runs()] == ["SUCCESS", "FAILURE"]
        places = partial(instance.event_log_storage.get_concurrency_info, f"gorgias_{API_POOL}")
        assert places().active_slot_count > 0, "nothing was left to the run that was killed"
        wait_until(lambda: places().active_slot_count == 0)
        messages = [entry.message for entry in instance.all_logs(deployment.runs()[0]["id"])]
    assert any("this one resumes there" in line for line in messages)
    with duckdb.connect(str(deployment.database), read_only=True) as connection:
        counted = connection.execute("SELECT count(*), count(DISTINCT id) FROM warehouse.gorgias.satisfaction_surveys")
        assert counted.fetchall() == [(len(ids), len(ids))]


def kill_processes_of(instance: dg.DagsterInstance, run_id: str) -> None:
    messages = [entry.message for entry in instance.all_logs(run_id)]
    for pid in {int(pid) for message in messages for pid in re.findall(r"pid: (\d+)", message)}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
