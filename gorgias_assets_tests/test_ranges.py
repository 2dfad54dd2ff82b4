"""Runs of many days: planned for the newest one, recorded for all, and each call of the API counted once."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.days import Day, days_of, lacking
from gorgias_assets.entities import ENTITIES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.jobs import full_sweep_job, gorgias_job, request_of
from gorgias_assets.metadata import doubt
from gorgias_assets.overview.asset import build_overview
from gorgias_assets.partitions import FIRST_DAY, ROWS_FROM, days_of_run, tags_of_days
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import Project

START = "2025-03-01"
OF_EACH_DAY = {"window", "began_at", "coverage", "dagster/partition_row_count"}
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


@pytest.fixture
def account() -> SandboxAccount:
    """Return an account that has lived for three weeks."""
    account = SandboxAccount(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=3, tickets_per_day=12).live(until=datetime(2025, 3, 22, 6, tzinfo=UTC))
    return account


@pytest.fixture
def project(sandbox: Sandbox, tmp_path: Path) -> Iterator[Project]:
    """Yield one whose history is kept in SQLite, as that of `make dev`, with the overview."""
    project = Project(sandbox, tmp_path / "warehouse.duckdb")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as project.instance:
        yield project


GORGIAS = Account(ENTITIES, start_date=START)


def run(project: Project, first: str, last: str, job: str = "gorgias", **tags: str) -> dg.ExecuteInProcessResult:
    reports = str(project.database.parent / "reports")
    definitions = dg.Definitions(
        assets=[*build_assets(GORGIAS), build_overview(GORGIAS, reports=reports)],
        jobs=[gorgias_job(GORGIAS), full_sweep_job(GORGIAS)],
        resources=project.resources,
    )
    return definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance, tags=tags or tags_of_days(first, last), raise_on_error=False
    )
