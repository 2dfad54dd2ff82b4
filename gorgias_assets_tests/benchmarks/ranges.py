"""`make bench`: the time and the history of a run of many days, apart from its reading: the account is nearly empty.

Each range is requested as a range of partitions, as Dagster's own backfills request it, and as this project does: as a
run of the newest day, with a tag that names the first one. The history is in SQLite. All assets are in the run, with
the overview and without checks.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.jobs import gorgias_job
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.summaries import build_summaries

LAST = datetime(2025, 12, 31, tzinfo=UTC)
LINE = "{:>22}{:>9}{:>12}{:>9}{:>12}{:>9}{:>9}"


def of_partitions(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


REQUESTS: Mapping[str, Callable[[str, str], dict[str, str]]] = {
    "range of partitions": of_partitions,
    "newest day and tag": tags_of_days,
}


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


@contextmanager
def job_of(first: datetime) -> Iterator[dg.JobDefinition]:
    """Yield the job of an account that has its first day then, and in which something happens on the last days."""
    account, sandboxed = (
        Account(CORE, start_date=f"{first:%F}", metrics=METRICS),
        SandboxAccount(now=LAST - timedelta(days=5)),
    )
    Shop(sandboxed, seed=1, tickets_per_day=20).live(until=LAST + timedelta(days=1))
    with Sandbox(sandboxed) as sandbox, tempfile.TemporaryDirectory() as folder:
        resources: dict[str, Any] = {
            account.name: GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url),
            account.io_manager_key: GorgiasDuckDBIOManager(database=f"{folder}/warehouse.duckdb", schema="gorgias"),
        }
        assets = [*build_assets(account), *build_summaries(replace(account, reports=f"{folder}/reports"))]
        defs = dg.Definitions(assets=assets, jobs=[gorgias_job(account)], resources=resources)
        yield defs.resolve_job_def(account.name)


def measure(name: str, days: int) -> None:
    first = LAST - timedelta(days=days - 1)
    tags = REQUESTS[name](f"{first:%F}", f"{LAST:%F}")
    with (
        job_of(first) as job,
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        empty, begun = megabytes(Path(folder)), time.perf_counter()
        created = instance.create_run_for_job(job, tags=tags)
        seconds, planned = time.perf_counter() - begun, megabytes(Path(folder)) - empty
        instance.delete_run(created.run_id)
        before, begun = megabytes(Path(folder)), time.perf_counter()
        quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        result = job.execute_in_process(instance=instance, tags=tags, run_config=quiet)
        ran, kept = time.perf_counter() - begun, megabytes(Path(folder)) - before
        (rows,) = {len(instance.get_materialized_partitions(asset)) for asset in job.asset_layer.executable_asset_keys}
        assert result.success
        assert rows == days
    print(LINE.format(name, f"{days:,}", f"{seconds:.1f}", f"{planned:.1f}", f"{ran:.1f}", f"{kept:.1f}", f"{rows:,}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, nargs="*", default=[31, 365])
    parser.add_argument("--more-days", type=int, nargs="*", default=[3_650], help="only as this project requests them")
    chosen = parser.parse_args()
    print(LINE.format("requested as", "days", "created s", "MB", "whole run s", "MB", "recorded"))
    for days in chosen.days:
        for name in REQUESTS:
            measure(name, days)
    for days in chosen.more_days:
        measure("newest day and tag", days)


if __name__ == "__main__":
    main()
