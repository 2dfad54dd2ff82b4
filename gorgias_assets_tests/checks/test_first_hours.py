"""The first hours of a newcomer: whatever is materialized first, no check fails or warns without a fault.

The account is like that of `make demo`: a shop with a past of two months, with deletions, merges and imports.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest

from gorgias_assets.build import build_definitions
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop

REPOSITORY = Path(__file__).parents[2]
PAST = 57  # days
DAY = timedelta(days=1)
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
FIRST_HOURS = {
    "the demo": [(7, 1)],
    "one old day": [(30, 30)],
    "seven old days": [(20, 14)],
    "seven days long ago": [(50, 44)],
    "today": [(0, 0)],
    "a day ten days ago, and then yesterday": [(10, 10), (1, 1)],
    "everything": [(PAST, 0)],
}
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", params=range(1, 6))
def shop(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    now = datetime.now(UTC)
    account = Account(now=datetime.combine(now.date() - PAST * DAY, time(), UTC))
    Shop(account, seed=request.param, tickets_per_day=40).live(until=now)
    with Sandbox(account, bucket=Bucket(4_000, 20.0)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("runs", FIRST_HOURS.values(), ids=FIRST_HOURS)
def test_no_check_fails_or_warns(shop: Sandbox, tmp_path: Path, runs: Sequence[tuple[int, int]]) -> None:
    today = shop.account.now.date()
    definitions = build_definitions(
        uri=shop.uri,
        api_url=shop.api_url,
        warehouse=f"duckdb:///{tmp_path / 'warehouse.duckdb'}",
        start_date=today - PAST * DAY,
        reports=str(tmp_path),
    )
    job = definitions.resolve_job_def("gorgias")
    with dg.DagsterInstance.ephemeral() as instance:
        for first, last in runs:
            tags = tags_of_days(str(today - first * DAY), str(today - last * DAY))
            result = job.execute_in_process(instance=instance, run_config=QUIET, tags=tags)
            made = result.get_asset_check_evaluations()
            assert len(made) == 29
            assert [(str(one.asset_check_key), one.description) for one in made if not one.passed] == []


def test_the_demo_is_in_the_history_that_status_shows(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GORGIAS_", "WAREHOUSE_"))}

    def on_simulated_account(module: str, *words: str) -> str:
        sandbox = [sys.executable, "-m", "gorgias_assets.sandbox", "--port", "0", "--limit", "4000", "--run"]
        return subprocess.run(
            [*sandbox, sys.executable, "-m", module, *words],
            env=environment | {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    demo = on_simulated_account("gorgias_assets.sandbox.demo")
    found = re.search(r"Materializing (\S+) to (\S+) in one run", demo)
    assert found, demo
    first, last = found.groups()
    assert f"overview-{last}.html" in demo
    status = on_simulated_account("gorgias_assets", "status")
    lines = re.findall(r"gorgias_demo\.\w+ +[1-9][\d,]* .*", status)
    assert len(lines) == 4, status
    assert all(f" {first} to {last} " in line for line in lines)
    before = datetime.fromisoformat(first).date() - DAY
    assert re.search(rf"\nNot read yet: \d{{4}}-\d\d-01 to {before}\. The command backfill reads them\.\n$", status)
