"""`make bench`: messages from HTTP to a table, with an account that has no limit on calls.

The simulated account serves from a process of its own, uncompressed, so that only this project is measured: one
materialization through Dagster in a fresh process, from the first request to the last commit; at last, one of rows of
4 MB each. With `--bigquery`, into the emulator, whose own time is then in the rows per second.
"""

import argparse
import json
import math
import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

from gorgias_assets.entities import TICKET_MESSAGES
from gorgias_assets_tests.bigquery.emulator import Emulator

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 100
LOOK_BACK_DAYS = TICKET_MESSAGES.read.look_back.days
BODY_BYTES = 540  # in each of three bodies: rows of about 2.5 KB
HEAVY_ROWS, HEAVY_BODY_BYTES = 100, 1_400_000  # rows of about 4 MB


def messages(rows: int, body_bytes: int) -> Iterator[dict[str, Any]]:
    """Return messages spread evenly over the days, their bodies cut from one long random text."""
    chance = random.Random(1)
    text = " ".join("".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(100_000))
    text *= 1 + body_bytes // 100_000
    for number in range(rows):
        at = START + timedelta(days=DAYS) * (number / rows)
        body = text[(begin := chance.randrange(len(text) - body_bytes)) : begin + body_bytes]
        yield {
            "id": 210_000_000 + number,
            "ticket_id": 80_000_000 + number // 4,
            "created_datetime": at,
            "sent_datetime": at + timedelta(seconds=3),
            "body_text": body,
            "body_html": f"<p>{body}</p>",
            "stripped_text": body,
            "source": {"type": "email", "to": [{"name": "", "address": f"{number}@example.com"}]},
        }


def serve(rows: int, body_bytes: int, pipe: Connection) -> None:
    """Serve the account until the pipe sends a signal, then send the number of requests."""
    from gorgias_assets.sandbox.account import Account
    from gorgias_assets.sandbox.objects import KINDS
    from gorgias_assets.sandbox.server import Sandbox

    account = Account(now=START + timedelta(days=DAYS))
    account.insert_many("messages", ({**KINDS["messages"].blank, **row} for row in messages(rows, body_bytes)))
    size = len(json.dumps(account.row("messages", 210_000_000)))
    with Sandbox(account, gzip=False) as sandbox:
        pipe.send((sandbox.uri, sandbox.api_url, size))
        pipe.recv()
        pipe.send(len(sandbox.requests))


def materialize(uri: str, api_url: str, warehouse_uri: str, first_day: int) -> None:
    """Materialize the days from `first_day` on and print the cost as JSON."""
    import dagster as dg

    from gorgias_assets.account import Account
    from gorgias_assets.assets import build_assets
    from gorgias_assets.io_managers.from_uri import io_manager_from_uri
    from gorgias_assets.resources import GorgiasResource

    assets = build_assets(Account([TICKET_MESSAGES], start_date=START.date().isoformat()))
    days = [(START + timedelta(days=day)).date().isoformat() for day in (first_day, DAYS - 1)]
    with dg.DagsterInstance.ephemeral() as instance:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        result = dg.materialize(
            assets,
            instance=instance,
            resources={
                "gorgias": GorgiasResource(uri=uri, api_url=api_url),
                "io_manager": io_manager_from_uri(warehouse_uri),
            },
            tags={"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[1]},
        )
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    metadata = result.get_asset_materialization_events()[-1].materialization.metadata
    print(
        json.dumps(
            {
                "rows": metadata["rows_merged"].value,
                "seconds": seconds,
                "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "peak_mib": after.ru_maxrss / 1024,
            }
        )
    )


@contextmanager
def warehouse(is_bigquery: bool) -> Iterator[str]:
    """Yield the URI of an empty one."""
    if is_bigquery:
        with Emulator() as emulator:
            yield emulator.uri("gorgias")
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"duckdb:///{folder}/benchmark.duckdb"


def measure(rows: int, first_day: int, is_bigquery: bool = False, body_bytes: int = BODY_BYTES) -> dict[str, Any]:
    """Materialize the days from `first_day` on once, of an account with this many messages."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(rows, body_bytes, theirs), daemon=True)
    server.start()
    uri, api_url, row_bytes = ours.recv()
    with warehouse(is_bigquery) as warehouse_uri:
        command = [sys.executable, __file__, "--child", uri, api_url, warehouse_uri, str(first_day)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    ours.send("stop")
    calls = ours.recv()
    server.join()
    return json.loads(printed.stdout) | {"calls": calls, "row_bytes": row_bytes}


HEADINGS = ("window", "rows", "bytes/row", "rows/s", "CPU s/100k rows", "peak MiB", "calls", "least")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--bigquery", action="store_true", help="into the emulator instead of a DuckDB file")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        uri, api_url, warehouse_uri, first_day = chosen.child
        materialize(uri, api_url, warehouse_uri, int(first_day))
        return
    print("".join(f"{heading:>17}" for heading in HEADINGS))
    runs = [(chosen.rows, DAYS * 3 // 4, BODY_BYTES), (chosen.rows, 0, BODY_BYTES), (HEAVY_ROWS, 0, HEAVY_BODY_BYTES)]
    for stored, first_day, body_bytes in runs:
        got = measure(stored, first_day, chosen.bigquery, body_bytes)
        rows = got["rows"]
        least = math.ceil(min(stored, stored * (DAYS - first_day + LOOK_BACK_DAYS) / DAYS) / 100)
        figures = (
            f"{DAYS - first_day} days",
            f"{rows:,}",
            f"{got['row_bytes']:,}",
            f"{rows / got['seconds']:,.0f}",
            f"{got['cpu_seconds'] / rows * 100_000:.1f}",
            f"{got['peak_mib']:.0f}",
            f"{got['calls']:,}",
            f"{least:,}",
        )
        print("".join(f"{figure:>17}" for figure in figures))


if __name__ == "__main__":
    main()
