"""The cost of old days and interruptions in API calls, each against the least that is possible.

An account of 1,100 days with 150 tickets and 150 messages a day; a ticket is changed last two days after its creation.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from gorgias_assets.entities import TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox

DAYS, ROWS_A_DAY = 1_100, 150
OPENED = datetime(2023, 1, 1, tzinfo=UTC)
NOW = OPENED + timedelta(days=DAYS)
CHANGED_AFTER = timedelta(days=2)
BACKFILL_DAYS = 200


def rows(kind: str) -> Iterator[dict[str, Any]]:
    for number in range(DAYS * ROWS_A_DAY):
        created = OPENED + timedelta(days=1) / ROWS_A_DAY * number
        moments = {"created_datetime": created}
        if kind == "tickets":
            moments["updated_datetime"] = created + CHANGED_AFTER
        yield {**KINDS[kind].blank, "id": number + 1, **moments}


def pages_of(days: float) -> int:
    return ceil(days * ROWS_A_DAY / 100)


def calls_of_a_day(sandbox: Sandbox, entity: Entity, age: int, seek: bool) -> tuple[int, int, str]:
    """Return the calls for the day that ended `age` days ago, the least possible, and the seek's outcome."""
    sandbox.requests.clear()
    resource = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, seek=seek)
    start = NOW - timedelta(days=age + 1)
    sweep = resource.sweep(entity, start, start + timedelta(days=1))
    for _ in sweep.batches():
        pass
    least = 2 * pages_of(1) if entity is TICKETS else pages_of(1 + entity.read.look_back.days)
    return len(sandbox.requests), least, sweep.progress.seek


def calls_of_an_interrupted_backfill(sandbox: Sandbox, share: float) -> tuple[int, int]:
    """Return the calls of a backfill killed after that share of its pages and of the next run, and the least."""
    least = pages_of(BACKFILL_DAYS + TICKET_MESSAGES.read.look_back.days)
    first = (NOW - timedelta(days=BACKFILL_DAYS)).date().isoformat()
    sandbox.requests.clear()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            sandbox.uri,
            sandbox.api_url,
            str(Path(folder) / "calls.duckdb"),
        ]
        child = subprocess.Popen([*command, first], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sandbox.after_page = lambda _: child.kill() if len(sandbox.requests) >= share * least else None
        child.wait()
        sandbox.after_page = None
        subprocess.run([*command, first], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return len(sandbox.requests), least


def backfill(uri: str, api_url: str, database: str, first: str) -> None:
    """Load the days from `first` on, in the process that is killed."""
    import dagster as dg

    from gorgias_assets.account import Account
    from gorgias_assets.assets import build_assets
    from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            build_assets(Account([TICKET_MESSAGES], start_date=OPENED.date().isoformat())),
            instance=instance,
            resources={
                "gorgias": GorgiasResource(uri=uri, api_url=api_url),
                "io_manager": GorgiasDuckDBIOManager(database=database, schema="gorgias"),
            },
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": (NOW - timedelta(days=1)).date().isoformat(),
            },
        )


def main() -> None:
    account = Account(now=NOW)
    for kind in ("tickets", "messages"):
        account.insert_many(kind, rows(kind))
    with Sandbox(account, gzip=False) as sandbox:
        print(f"{'one day of':<18}{'days ago':>10}{'seek':>12}{'calls':>8}{'least':>8}{'paged':>8}")
        for entity in (TICKETS, TICKET_MESSAGES):
            for age in (10, 100, 1_000):
                calls, least, seek = calls_of_a_day(sandbox, entity, age, seek=True)
                paged, _, _ = calls_of_a_day(sandbox, entity, age, seek=False)
                print(f"{entity.name:<18}{age:>10,}{seek:>12}{calls:>8,}{least:>8,}{paged:>8,}")
        calls, least = calls_of_an_interrupted_backfill(sandbox, share=0.5)
        print(f"\nbackfill of {BACKFILL_DAYS} days, killed at half: {calls:,} calls, {least:,} at least")


if __name__ == "__main__":
    if sys.argv[1:]:
        backfill(*sys.argv[1:])
    else:
        main()
