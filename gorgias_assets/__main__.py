"""`python -m gorgias_assets`: a backfill with its progress, the status, and a shell on the tables.

Settings come from the environment and `.env`, as for Dagster's own commands; the history is that of `DAGSTER_HOME`.
"""

import argparse
import sys
from datetime import UTC, date, datetime, timedelta

import dotenv

from gorgias_assets.warehouse.tables import WarehouseError


def day(text: str) -> date:
    return date.fromisoformat(text)


def arguments() -> argparse.Namespace:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    backfill = commands.add_parser("backfill", help="materialize a range of days of all assets, in one run")
    backfill.add_argument("first", type=day, help="YYYY-MM-DD")
    backfill.add_argument("last", type=day, nargs="?", default=yesterday, help="YYYY-MM-DD; by default yesterday")
    commands.add_parser("status", help="rows, days that are missing, and calls in use")
    sql = commands.add_parser("sql", help="DuckDB's shell on a copy of the tables")
    sql.add_argument("arguments", nargs=argparse.REMAINDER, help="that shell's own")
    return parser.parse_args()


def read_dotenv() -> None:
    try:
        dotenv.load_dotenv(".env")
    except ValueError:
        raise ValueError("The file .env must be text in UTF-8.") from None


def main() -> int:
    chosen = arguments()
    from gorgias_assets.commands import backfill, shell, status  # slow to import, after a wrong argument

    try:
        read_dotenv()
        from gorgias_assets.definitions import account, defs  # which reads the settings
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    resources = dict(defs.resources or {})
    try:
        match chosen.command:
            case "backfill":
                return backfill.backfill(account, chosen.first, chosen.last)
            case "status":
                return status.print_status(account, resources)
            case _:
                return shell.shell(resources[account.io_manager_key], chosen.arguments)
    except WarehouseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
