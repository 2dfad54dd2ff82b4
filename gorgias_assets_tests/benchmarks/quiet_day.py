"""`make bench`: a quiet day of an account, of the core alone and of everything: its steps, time, memory and calls.

The account has been set up for years, and gets 20 tickets a day. The day before is in the tables. The run is that of
the daily schedule, with the overview and all checks, with the default executor, in a fresh process and with its history
in SQLite. The simulated account serves from a process of its own, and has no limit on calls.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

TICKETS_A_DAY = 20
DAYS = 8
WORDS = ("core", "all")  # the choice of entities
HEADINGS = ("entities", "tables", "steps", "seconds", "CPU s", "peak MiB", "calls", "pages of rows", "other calls")


def serve(pipe: Connection) -> None:
    """Serve the account; send the number of requests whenever something comes, until that is nothing."""
    from gorgias_assets.sandbox.account import Account
    from gorgias_assets.sandbox.reference import seed_reference
    from gorgias_assets.sandbox.server import Sandbox
    from gorgias_assets.sandbox.shop import Shop

    now = datetime.now(UTC)
    account = Account(now=now - timedelta(days=DAYS))
    seed_reference(account)
    Shop(account, seed=1, tickets_per_day=TICKETS_A_DAY).live(until=now)
    with Sandbox(account) as sandbox:
        pipe.send((sandbox.uri, sandbox.api_url))
        while pipe.recv():
            pipe.send(len(sandbox.requests))


def materialize(word: str, api_url: str, folder: str, day: str) -> None:
    """Run the daily job for the day, and print its cost as JSON."""
    import dagster as dg

    from gorgias_assets.build import build_definitions

    defs = build_definitions(
        entities=word,
        api_url=api_url,
        warehouse=f"duckdb:///{folder}/warehouse.duckdb",
        reports=f"{folder}/reports",
        start_date=str(datetime.now(UTC).date() - timedelta(days=DAYS)),
    )
    job = defs.resolve_job_def("gorgias")
    with dg.DagsterInstance.local_temp(folder) as instance:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        result = job.execute_in_process(instance=instance, partition_key=day, run_config=quiet)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    made = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    cost = {
        "tables": len(made),
        "steps": len(job.nodes),
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
        "pages": sum(metadata["pages"].value for metadata in made if "pages" in metadata),
        "failed": [one.check_name for one in result.get_asset_check_evaluations() if not one.passed],
    }
    print(json.dumps(cost))


def measure(word: str) -> dict[str, Any]:
    """Run the daily job for two days, one after the other; return the cost of the second."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    uri, api_url = ours.recv()
    today, calls = datetime.now(UTC).date(), [0]
    with tempfile.TemporaryDirectory() as folder:
        for ago in (2, 1):
            command = [sys.executable, __file__, "--child", word, api_url, folder, str(today - timedelta(days=ago))]
            environment = os.environ | {"GORGIAS_URI": uri}
            printed = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
            ours.send("count")
            calls.append(ours.recv())
    ours.send("")
    server.join()
    return json.loads(printed.stdout) | {"calls": calls[2] - calls[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        materialize(*chosen.child)
        return
    print("".join(f"{heading:>15}" for heading in HEADINGS))
    for word in WORDS:
        got = measure(word)
        figures = (
            word,
            got["tables"],
            got["steps"],
            f"{got['seconds']:.1f}",
            f"{got['cpu_seconds']:.1f}",
            f"{got['peak_mib']:.0f}",
            got["calls"],
            got["pages"],
            got["calls"] - got["pages"],
        )
        print("".join(f"{figure:>15}" for figure in figures))
        if got["failed"]:
            print(f"failed checks: {', '.join(got['failed'])}")


if __name__ == "__main__":
    main()
