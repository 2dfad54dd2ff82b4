"""The shares of several processes in one account's API calls, in real time.

Each process reads a list over and over with a budget that its threads share; the processes do not know each other.
The simulated account serves from a process of its own. Counting begins when the first burst has brought the level up to
the share and 2 s have passed, or after 22 s if answers are too slow for that.
"""

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

ACCOUNTS = ((40, 20.0), (80, 20.0), (40, 10.0))
MAX_SHARE = 0.8
BURST_SECONDS = 20.0
SETTLING_SECONDS = 2.0


@dataclass(frozen=True)
class Shares:
    """`of_refill` counts calls while counting; `highest` and `refused` (429) are of the whole time."""

    of_refill: float
    highest: int
    refused: int


def serve(limit: int, period: float, latency: float, seconds: float, pipe: Connection) -> None:
    """Serve until the shares are known, and send them."""
    from gorgias_assets.sandbox.account import Account
    from gorgias_assets.sandbox.bucket import Bucket
    from gorgias_assets.sandbox.server import Sandbox

    account = Account(now=datetime(2026, 3, 1, tzinfo=UTC))
    row = {"created_datetime": "2026-02-01T00:00:00+00:00", "name": "tag"}
    account.insert_many("tags", ({"id": number, **row} for number in range(1, 1001)))
    bucket, levels = Bucket(limit, period), [0]
    with Sandbox(account, bucket=bucket, latency=latency, gzip=False) as sandbox:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        pipe.send((sandbox.uri, sandbox.api_url))
        while not sandbox.requests:
            time.sleep(0.01)
        started = time.monotonic()
        while max(levels) < MAX_SHARE * limit - 4 and time.monotonic() < started + BURST_SECONDS:
            time.sleep(0.01)
        time.sleep(SETTLING_SECONDS)
        calls, started = len(levels), time.monotonic()
        time.sleep(seconds)
        calls, seconds = len(levels) - calls, time.monotonic() - started
        refused = sum(request.status == 429 for request in sandbox.requests)
        pipe.send(Shares(calls / (seconds * limit / period), max(levels), refused))
        pipe.recv()


def read(uri: str, api_url: str, threads: int, everybody: Barrier) -> None:
    """Read for ever, from the moment when all processes are ready."""
    from gorgias_assets.api.budget import Budget
    from gorgias_assets.api.client import GorgiasClient
    from gorgias_assets.api.uri import GorgiasUri

    budget = Budget(MAX_SHARE)

    def one_thread() -> None:
        with closing(GorgiasClient(GorgiasUri.parse(uri), api_url=api_url, budget=budget, patience=600)) as client:
            while True:
                for _ in client.pages("/tags", order_by="created_datetime:desc"):
                    pass

    everybody.wait()
    for _ in range(threads):
        threading.Thread(target=one_thread, daemon=True).start()
    threading.Event().wait()


def shares(limit: int, period: float, latency: float, processes: int, threads: int, seconds: float) -> Shares:
    """Return the shares of so many processes that begin together on an empty bucket of `limit` calls per `period`."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(limit, period, latency, seconds, theirs), daemon=True)
    server.start()
    uri, api_url = ours.recv()
    everybody = spawn.Barrier(processes)
    readers = [
        spawn.Process(target=read, args=(uri, api_url, threads, everybody), daemon=True) for _ in range(processes)
    ]
    for reader in readers:
        reader.start()
    got: Shares = ours.recv()
    for reader in readers:
        reader.terminate()
        reader.join()
    ours.send("stop")
    server.join()
    return got


def share_of_one_sweep(limit: int, period: float, latency: float, seconds: float) -> Shares:
    """Return the share of one sweep of one entity, which splits its list among readers if answers are slow."""
    from gorgias_assets.entities import TICKETS
    from gorgias_assets.resources import GorgiasResource
    from gorgias_assets.sandbox.account import Account
    from gorgias_assets.sandbox.bucket import Bucket
    from gorgias_assets.sandbox.objects import KINDS
    from gorgias_assets.sandbox.server import Sandbox

    now = datetime(2026, 3, 1, tzinfo=UTC)
    account, bucket, levels = Account(now=now), Bucket(limit, period), [0]
    moments = (now - timedelta(minutes=number) for number in range(40_000))
    rows = ({"created_datetime": at, "updated_datetime": at, "id": n} for n, at in enumerate(moments, 1))
    account.insert_many("tickets", ({**KINDS["tickets"].blank, **row} for row in rows))
    with Sandbox(account, bucket=bucket, latency=latency, gzip=False) as sandbox:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        resource = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, max_share=MAX_SHARE)
        batches = resource.sweep(TICKETS, now - timedelta(days=365), now).batches(rows=100)
        reading = threading.Thread(target=lambda: [None for _ in batches], daemon=True)
        reading.start()
        time.sleep(BURST_SECONDS + SETTLING_SECONDS)
        calls, started = len(levels), time.monotonic()
        time.sleep(seconds)
        calls, seconds = len(levels) - calls, time.monotonic() - started
        refused = sum(request.status == 429 for request in sandbox.requests)
        assert reading.is_alive(), "the list is too short"
        return Shares(calls / (seconds * limit / period), max(levels), refused)


HEADINGS = ("account", "latency ms", "processes", "% of refill", "highest", "share", "429s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=20)
    chosen = parser.parse_args()
    print("".join(f"{heading:>12}" for heading in HEADINGS))
    for latency in (0.05, 0.5):
        measurements: dict[str, Callable[[int, float], Shares]] = {
            f"{processes}": partial(
                shares, latency=latency, processes=processes, threads=chosen.threads, seconds=chosen.seconds
            )
            for processes in chosen.processes
        }
        measurements["one sweep"] = partial(share_of_one_sweep, latency=latency, seconds=chosen.seconds)
        for what, measure in measurements.items():
            with ThreadPoolExecutor(len(ACCOUNTS)) as accounts:
                measured = accounts.map(lambda account, measure=measure: measure(*account), ACCOUNTS)
                for (limit, period), got in zip(ACCOUNTS, measured, strict=True):
                    figures = (
                        f"{limit}/{period:.0f} s",
                        f"{latency * 1000:.0f}",
                        what,
                        f"{got.of_refill:.1%}",
                        f"{got.highest}",
                        f"{limit * MAX_SHARE:.0f}",
                        f"{got.refused}",
                    )
                    print("".join(f"{figure:>12}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
