"""`make bench`: the cost of a privacy policy, in messages from HTTP to a DuckDB file.

The simulated account serves from a process of its own. Each policy is a materialization in a fresh process. Figures
are medians of several rounds, and a policy is compared with none within its round: a machine is not always as fast.
With all that is personal hashed, loading takes at most a fifth more CPU time, which is nearly all of its time here;
against Gorgias it waits for answers most of the time.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from gorgias_assets.columns import Personal
from gorgias_assets.entities import TICKET_MESSAGES
from gorgias_assets_tests.benchmarks.backfill import BODY_BYTES, DAYS, START, messages

MOST_MORE = 0.2
KEY = "a secret of this benchmark"
POLICIES = {
    "none": {},
    "bodies dropped": {"body": "drop"},
    "all hashed": {kind.value: "hash" for kind in Personal},
}


def rows(number: int) -> Iterator[dict[str, Any]]:
    """Return messages with their people, each of whom writes a few."""
    for row in messages(number, BODY_BYTES):
        name = f"Person {row['ticket_id'] % 5_000}"
        person = {"id": row["ticket_id"], "email": f"{name[7:]}@example.com", "name": name, "firstname": "Person"}
        agent = {"id": 7, "email": "ana@shop.example", "name": "Ana Shop", "firstname": "Ana", "lastname": "Shop"}
        yield row | {
            "sender": {**person, "lastname": name[7:], "meta": {"name_set_via": "email"}},
            "receiver": {**agent, "meta": {}},
            "subject": "Where is my parcel?",
            "source": {
                "type": "email",
                "to": [{"name": "Shop", "address": "support@shop.example"}],
                "from": {"name": name, "address": person["email"]},
            },
            "intents": [{"name": "shipping/status", "rejected": None, "is_user_feedback": False}],
        }


def serve(number: int, pipe: Connection) -> None:
    """Serve the account until the pipe sends a signal."""
    from datetime import timedelta

    from gorgias_assets.sandbox.account import Account
    from gorgias_assets.sandbox.objects import KINDS
    from gorgias_assets.sandbox.server import Sandbox

    account = Account(now=START + timedelta(days=DAYS))
    account.insert_many("messages", ({**KINDS["messages"].blank, **row} for row in rows(number)))
    with Sandbox(account, gzip=False) as sandbox:
        pipe.send((sandbox.uri, sandbox.api_url))
        pipe.recv()


def materialize(uri: str, api_url: str, policy: str) -> None:
    """Materialize all days into an empty file, and print the rows per second and the CPU seconds as JSON."""
    import dagster as dg

    from gorgias_assets.account import Account
    from gorgias_assets.assets import build_assets
    from gorgias_assets.io_managers.from_uri import io_manager_from_uri
    from gorgias_assets.partitions import tags_of_days
    from gorgias_assets.resources import GorgiasResource

    account = Account([TICKET_MESSAGES], start_date=START.date().isoformat())
    keys = account.partitions.get_partition_keys()[:DAYS]
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        gorgias = GorgiasResource(uri=uri, api_url=api_url, privacy=POLICIES[policy], privacy_key=KEY)
        cpu, started = sum(os.times()[:2]), time.perf_counter()
        result = dg.materialize(
            build_assets(account),
            instance=instance,
            resources={"gorgias": gorgias, "io_manager": io_manager_from_uri(f"duckdb:///{folder}/benchmark.duckdb")},
            tags=tags_of_days(keys[0], keys[-1]),
        )
        seconds, cpu = time.perf_counter() - started, sum(os.times()[:2]) - cpu
    merged = result.get_asset_materialization_events()[-1].materialization.metadata["rows_merged"].value
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rows": merged}))


def measure(number: int, times: int) -> Iterator[dict[str, dict[str, float]]]:
    """Yield several rounds of a run under each policy."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(number, theirs), daemon=True)
    server.start()
    account = ours.recv()
    for number_of_round in range(times):
        got = {}
        for policy in list(POLICIES)[:: (-1) ** number_of_round]:
            command = [sys.executable, __file__, "--child", *account, policy]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            got[policy] = json.loads(printed.stdout)
            assert got[policy]["rows"] == number, got
        yield got
    ours.send("stop")
    server.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        materialize(*chosen.child)
        return
    rounds = list(measure(chosen.rows, chosen.times))
    print(f"{'policy':>16}{'rows/s':>10}{'CPU s/100k rows':>18}{'more':>7}")
    for policy in POLICIES:
        rate = median(chosen.rows / got[policy]["seconds"] for got in rounds)
        cpu = median(got[policy]["cpu"] / chosen.rows * 100_000 for got in rounds)
        more = median(got[policy]["cpu"] / got["none"]["cpu"] for got in rounds) - 1
        print(f"{policy:>16}{rate:>10,.0f}{cpu:>18.1f}{more:>7.0%}")
    if more > MOST_MORE:
        sys.exit(f"A policy that hashes all makes loading take over {MOST_MORE:.0%} more time.")


if __name__ == "__main__":
    main()
