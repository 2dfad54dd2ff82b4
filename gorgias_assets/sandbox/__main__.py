"""`python -m gorgias_assets.sandbox`: a shop with a past, on loopback, that lives on in real time until Ctrl-C."""

import argparse
import time
from datetime import UTC, datetime, timedelta

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets.sandbox", description=__doc__)
    parser.add_argument("--days", type=float, default=30, help="how long the shop has been open")
    parser.add_argument("--tickets-per-day", type=float, default=40)
    parser.add_argument("--port", type=int, default=8765, help="0: any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=40, help="calls that the bucket holds")
    parser.add_argument("--period", type=float, default=20.0, help="seconds in which a full bucket drains")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    now = datetime.now(UTC)
    account = Account(now=now - timedelta(days=chosen.days))
    shop = Shop(account, seed=chosen.seed, tickets_per_day=chosen.tickets_per_day)
    shop.live(until=now)
    with Sandbox(account, bucket=Bucket(chosen.limit, chosen.period), shop=shop, port=chosen.port) as sandbox:
        kinds = ("customers", "tickets", "messages", "satisfaction_surveys", "events")
        print(f"A shop that opened {chosen.days:g} days ago: " + ", ".join(f"{account.count(k)} {k}" for k in kinds))
        print(f"\n  curl -u '{account.email}:{account.api_key}' '{sandbox.api_url}/tickets?limit=1'\n")
        print(f"export GORGIAS_URI='{sandbox.uri}'\nexport GORGIAS_API_URL='{sandbox.api_url}'", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
