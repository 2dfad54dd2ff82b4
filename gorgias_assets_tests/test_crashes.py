"""A process killed while it reads and writes: the file opens, the next run goes on, and hardly a call is wasted."""

import base64
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from math import ceil
from random import Random

import dagster as dg
import pytest

from gorgias_assets.entities import SATISFACTION_SURVEYS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets_tests.conftest import Project

ROWS = 25_000
PAGES = ceil(ROWS / 100)
KILLS = 4
START = datetime(2025, 3, 3, tzinfo=UTC)
POSITIONS = "_sweep_positions_satisfaction_surveys"
POSITION = f"SELECT position FROM gorgias.{POSITIONS}"
TABLE = "gorgias.satisfaction_surveys"
NOT_YET = datetime.max.replace(tzinfo=UTC)


@pytest.mark.soak
@pytest.mark.parametrize("days", [1, 20], ids=["a day", "a range of days"])
def test_after_kills_at_random_moments_the_table_is_whole_and_at_most_two_calls_a_kill_were_made_twice(tmp_path, days):
    account = Account(now=datetime(2025, 4, 1, tzinfo=UTC))
    blank, step = KINDS["satisfaction_surveys"].blank, timedelta(days=days) / ROWS
    account.insert_many(
        "satisfaction_surveys",
        ({**blank, "id": number, "created_datetime": START + step * number} for number in range(ROWS)),
    )
    random, kills, committed = Random(days), 0, 0
    with Sandbox(account, latency=0.014, gzip=False) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        while kills < KILLS:
            sandbox.requests.clear()
            if finishes_before_it_is_killed(project, days, random):
                break
            kills += 1
            requests, before = list(sandbox.requests), committed
            committed, reached = position(project)
            in_vain = sum(begins_at_or_below(request, reached) for request in requests)
            assert len(requests) - (committed - before) - in_vain <= 2
        assert kills >= 3, "the account is read too fast to be interrupted"
        sandbox.requests.clear()
        assert run(project, days).wait() == 0
        assert len(sandbox.requests) <= PAGES - committed + 2
    assert project.table(SATISFACTION_SURVEYS) == project.live_rows(SATISFACTION_SURVEYS)
    assert project.query(POSITION) == []


def run(project: Project, days: int) -> "subprocess.Popen[bytes]":
    last = (START + timedelta(days=days - 1)).date().isoformat()
    command = [sys.executable, "-W", "ignore", __file__, project.sandbox.uri, project.sandbox.api_url]
    command += [str(project.database), START.date().isoformat(), last]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finishes_before_it_is_killed(project: Project, days: int, random: Random) -> bool:
    with run(project, days) as process:
        while not project.sandbox.requests and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0.1, 1.4))
        process.send_signal(signal.SIGKILL)
        return process.wait() == 0


def position(project: Project) -> tuple[int, datetime]:
    """Return how many pages are committed, and the moment down to which they are; the file opens."""
    is_saved = f"FROM duckdb_tables() WHERE table_name = '{POSITIONS}'"
    if not project.database.exists() or not project.query(is_saved):
        return 0, NOT_YET
    spans = [span for (text,) in project.query(POSITION) for span in json.loads(text)["spans"]]
    reached = datetime.fromisoformat(spans[0]["reached"]) if spans else START  # without a span, all has been read
    ((rows, ids),) = project.query(f"SELECT count(*), count(DISTINCT id) FROM {TABLE}")
    ((above,),) = project.query(
        f"SELECT count(*) FROM gorgias.satisfaction_surveys WHERE created_datetime >= '{reached}'"
    )
    assert rows == ids >= above, "a row is in the table twice"
    assert above % 100 == 0, "the position lies within a page"
    return above // 100, reached


def begins_at_or_below(request: Request, reached: datetime) -> bool:
    """Return True if the requested page lies behind the committed ones."""
    cursor = request.params.get("cursor")
    if cursor is None:
        return reached is NOT_YET
    return datetime.fromisoformat(json.loads(base64.b64decode(cursor))[1]).replace(tzinfo=UTC) <= reached


def main(uri: str, api_url: str, database: str, first: str, last: str) -> None:
    """Run once, in the process that will be killed."""
    from gorgias_assets.account import Account
    from gorgias_assets.assets import build_assets
    from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
    from gorgias_assets.resources import GorgiasResource

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            build_assets(Account([SATISFACTION_SURVEYS], start_date="2025-03-01")),
            instance=instance,
            resources={
                "gorgias": GorgiasResource(uri=uri, api_url=api_url, look_back_days={"satisfaction_surveys": 0}),
                "io_manager": GorgiasDuckDBIOManager(database=database, schema="gorgias"),
            },
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
