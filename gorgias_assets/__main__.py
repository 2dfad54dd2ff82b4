"""`python -m gorgias_assets`: a backfill with its progress in the terminal, and how things stand.

Settings come from the environment and `.env`, as for Dagster's own commands; the history is that of `DAGSTER_HOME`.
"""

import argparse
import sys
from datetime import UTC, date, datetime, timedelta

import dotenv


def day(text: str) -> date:
    return date.fromisoformat(text)


def arguments() -> argparse.Namespace:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    backfill = commands.add_parser("backfill", help="materialise a range of days of all assets, in one run")
    backfill.add_argument("first", type=day, help="YYYY-MM-DD")
    backfill.add_argument("last", type=day, nargs="?", default=yesterday, help="YYYY-MM-DD; by default yesterday")
    commands.add_parser("status", help="rows, days that are missing, and calls in use")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    dotenv.load_dotenv(".env")
    from gorgias_assets.commands.backfill import backfill  # what they import reads the settings
    from gorgias_assets.commands.status import print_status

    if chosen.command == "backfill":
        return backfill(chosen.first, chosen.last)
    print_status()
    return 0


if __name__ == "__main__":
    sys.exit(main())
