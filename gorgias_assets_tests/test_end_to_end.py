"""The product in use: Dagster's webserver and daemon on a simulated account, queried through GraphQL.

The account's clock stands still, and only tests change the account, so the tables are those of one state.
"""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gorgias_assets.account import Account
from gorgias_assets.entities import CORE, TICKETS
from gorgias_assets.partitions import FIRST_DAY
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.deployment import BIN, REPOSITORY, Deployment, wait_until

pytestmark = pytest.mark.soak

NOW = datetime.now(UTC)
TODAY = NOW.date()
OPENED = TODAY - timedelta(days=34)
TICK = (NOW + timedelta(seconds=115)).replace(second=0)  # when everything has started, and a backfill is running


def day(ago: int) -> str:
    return str(TODAY - timedelta(days=ago))


BACKFILLED = [day(ago) for ago in range(31, 1, -1)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    account = SandboxAccount(now=datetime.combine(OPENED, datetime.min.time(), UTC))
    Shop(account, seed=5, tickets_per_day=20).live(until=NOW)
    with Sandbox(account, shop=Life(account, seed=0)) as sandbox:  # nothing happens any more, and time goes on
        yield sandbox


@pytest.fixture(scope="module")
def deployment(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {
        "GORGIAS_ENTITIES": "core",
        "GORGIAS_START_DATE": str(OPENED),
        "GORGIAS_DAILY_AT": f"{TICK:%H:%M}",
        "GORGIAS_CHANGES_EVERY": "1",
        "GORGIAS_GAPS_DAYS": "40",
    }
    with Deployment(tmp_path_factory.mktemp("deployment"), sandbox, **settings) as deployment:
        yield deployment


def test_a_backfill_of_thirty_partitions_is_one_run_that_materializes_each_of_them(deployment):
    backfill = deployment.backfill(BACKFILLED)
    run = deployment.run_of(tags={"dagster/backfill": backfill})
    assert run["status"] == "SUCCESS"
    for entity in CORE:
        partitions = deployment.partitions(entity.name)
        (materialized,) = partitions["assetPartitionStatuses"]["ranges"]
        assert (materialized["status"], materialized["startKey"]) == ("MATERIALIZED", BACKFILLED[0])
        assert materialized["endKey"] in (day(2), day(1))  # the daily run may have been as fast
        assert partitions["partitionStats"]["numMaterialized"] >= 30


def test_the_daily_schedule_ticks_by_itself_and_materializes_the_day_before(deployment):
    run = deployment.run_of(tags={"dagster/schedule_name": "gorgias_daily"})
    assert (run["status"], run["tags"]["dagster/partition"]) == ("SUCCESS", day(1))


def test_a_run_that_failed_is_retried_from_its_failure_and_is_green(deployment, sandbox):
    forbidden = Fault(403, path="/api/messages", times=None)
    sandbox.faults.append(forbidden)
    failed = deployment.ended(deployment.launch(day(34)))
    sandbox.faults.remove(forbidden)
    assert failed["status"] == "FAILURE"
    assert deployment.partitions("ticket_messages")["partitionStats"]["numFailed"] == 1
    retried = deployment.ended(deployment.retry(failed["id"]))
    assert retried["status"] == "SUCCESS"
    steps = {*map(Account(CORE).op_of, CORE)}
    assert steps & {*retried["stepKeysToExecute"]} == {"gorgias__ticket_messages"}
    assert deployment.partitions("ticket_messages")["partitionStats"]["numFailed"] == 0


def test_the_sensor_of_gaps_requests_the_days_that_nobody_has_requested_in_one_run(deployment):
    deployment.turn_on("gorgias_gaps")
    run = deployment.run_of(tags={"dagster/sensor_name": "gorgias_gaps"})
    assert run["status"] == "SUCCESS"
    assert (run["tags"]["dagster/partition"], run["tags"][FIRST_DAY]) == (day(32), day(33))
    for entity in CORE:
        assert deployment.partitions(entity.name)["partitionStats"]["numMaterialized"] >= 33


def test_the_sensor_of_changes_requests_today_of_the_entities_that_changed(deployment, sandbox):
    sandbox.account.now = datetime.now(UTC)
    ticket = sandbox.account.create("tickets", subject="Where is my order?")
    deployment.turn_on("gorgias_changes")
    run = deployment.run_of(tags={"dagster/sensor_name": "gorgias_changes"})
    assert (run["status"], run["tags"]["dagster/partition"]) == ("SUCCESS", day(0))
    assert {"path": ["gorgias", "tickets"]} in run["assetSelection"]
    assert ticket["id"] in Project(sandbox, deployment.database).table(TICKETS)


def test_in_the_end_the_tables_are_as_the_account_is(deployment, sandbox):
    """Rows that were imported, and created before the first partition, are left out."""
    wait_until(lambda: not deployment.runs(statuses=["QUEUED", "STARTING", "STARTED"]))
    project = Project(sandbox, deployment.database)
    for entity in CORE:
        live = {row_id for (row_id,) in project.query(f"SELECT id FROM gorgias.{entity.name}_live")}
        table = {row_id: row for row_id, row in project.table(entity).items() if row_id in live}
        account = {
            row_id: row
            for row_id, row in project.live_rows(entity).items()
            if row["created_datetime"].date() >= OPENED or row_id in table
        }
        assert table == account, entity.name


def test_nobody_logs_a_warning(deployment):
    assert deployment.warnings() == []
    assert deployment.warnings_of_steps() == []


def test_the_definitions_are_checked_without_a_warning(deployment):
    checked = subprocess.run(
        [BIN / "dg", "check", "defs"], cwd=REPOSITORY, env=deployment.environment, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines() == [
        "All component YAML validated successfully.",
        "All definitions loaded successfully.",
    ]
