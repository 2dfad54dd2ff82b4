"""`python -m gorgias_assets.sandbox`: a shop with a past, on loopback, that lives on in real time until Ctrl-C.

With `--run COMMAND …` it lives as long as the command, whose environment names the account.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, time, timedelta

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.server import Sandbox

SCHEMA = "gorgias_demo"  # keeps made-up rows out of the tables of real ones


def last_month() -> date:
    """Return its first day. An account that opened then stays the same from one start to the next, for a month."""
    return (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets.sandbox", description=__doc__)
    parser.add_argument(
        "--opened", type=date.fromisoformat, default=last_month(), help="the shop's first day; by default last month's"
    )
    parser.add_argument("--tickets-per-day", type=float, default=40)
    parser.add_argument("--port", type=int, default=8765, help="0: any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=40, help="calls that the bucket holds")
    parser.add_argument("--period", type=float, default=20.0, help="seconds in which a full bucket drains")
    parser.add_argument("--run", nargs=argparse.REMAINDER, metavar="COMMAND", help="run this on the account, then stop")
    return parser.parse_args()


def main() -> int:
    """Return the exit status. Ctrl-C is how a shop ends, at whatever moment it comes."""
    chosen = arguments()
    try:
        return serve(chosen)
    except KeyboardInterrupt:
        print()
        return 0


def serve(chosen: argparse.Namespace) -> int:
    account = Account(now=datetime.combine(chosen.opened, time(), UTC))
    brand = Brand(account, seed=chosen.seed, tickets_per_day=chosen.tickets_per_day)
    brand.live(until=datetime.now(UTC))
    with Sandbox(account, bucket=Bucket(chosen.limit, chosen.period), shop=brand, port=chosen.port) as sandbox:
        kinds = ("customers", "tickets", "messages", "satisfaction_surveys", "voice_calls", "events")
        sizes = ", ".join(f"{account.count(kind):,} {kind.replace('_', ' ')}" for kind in kinds)
        print(f"A shop that opened on {chosen.opened}: {sizes}")
        environment = {
            "GORGIAS_URI": sandbox.uri,
            "GORGIAS_API_URL": sandbox.api_url,
            "GORGIAS_SCHEMA": SCHEMA,
            "GORGIAS_START_DATE": chosen.opened.isoformat(),
        }
        if chosen.run:
            return run(chosen.run, environment)
        print(f"\n  curl -u '{account.email}:{account.api_key}' '{sandbox.api_url}/tickets?limit=1'\n")
        print("\n".join(f"export {name}='{value}'" for name, value in environment.items()), flush=True)
        threading.Event().wait()
        return 0


def run(command: list[str], environment: dict[str, str]) -> int:
    """Return the command's exit status. Ctrl-C reaches the command itself, and ends this only through it."""
    sys.stdout.flush()
    with subprocess.Popen(command, env=os.environ | environment) as process:  # noqa: S603, the caller's own command
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
