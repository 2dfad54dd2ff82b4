"""`gorgias-assets`, which is `python -m gorgias_assets` as well: the commands, their flags and their help.

What a command needs is imported once it is called: help and wrong flags are answered at once.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import dotenv

from gorgias_assets.entities import ENTITIES
from gorgias_assets.warehouse.tables import Table, WarehouseError

if TYPE_CHECKING:
    from gorgias_assets.account import Account

NAMES = [entity.name for entity in ENTITIES]
INTERRUPTED = 130  # the exit code that shells know
MOST_WORDS = 4  # with "or" between them
EXIT_CODES = "Exit codes: 0 done, 1 failed for the reason printed, 2 wrong usage, 130 stopped (Ctrl-C, SIGTERM)."
SETTINGS = "Settings come from the environment and from a file .env: GORGIAS_URI, WAREHOUSE_URI, GORGIAS_START_DATE …"
OF_DEPLOYMENTS = f"{SETTINGS}\n\n{EXIT_CODES}"

# Flags of ingestr that would change what is stored, each with the way it is done here.
ELSEWHERE = {
    "--columns": "columns and their types are declared; rename or cast them in a view",
    "--mask": "columns are not masked here; leave them out in a view",
    "--sql-limit": "rows are not limited here; choose a shorter interval",
    "--sql-exclude-columns": "all columns are stored; leave some out in a view",
    "--yield-limit": "rows are not limited here; choose a shorter interval",
    "--partition-by": "tables are partitioned by created_datetime; --dest-uri takes partition_by=day or month",
    "--cluster-by": "tables are clustered by id",
    "--staging-bucket": "no bucket is needed; staging_dataset in --dest-uri names the dataset of staging tables",
}
# Those that only say how fast, or what is done in any case.
WITHOUT_EFFECT = (
    "--extract-parallelism",
    "--incremental-key",
    "--loader-file-size",
    "--page-size",
    "--pipelines-dir",
    "--schema-naming",
    "--sql-backend",
)


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """Read a date or a moment, in UTC if it names no zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "it must be a date or a moment, such as 2024-06-19 or 2024-06-19T12:00:00+02:00."
        ) from None
    if not 1970 <= moment.year < 2100:
        raise click.BadParameter("its year must be one from 1970 to 2099.")
    return moment


def _day(_: click.Context, __: click.Parameter, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise click.BadParameter("it must be a day, YYYY-MM-DD.") from None


def _person(_: click.Context, __: click.Parameter, text: str) -> str:
    if text == "-":
        text = sys.stdin.read()
    text = text.strip()
    if not re.fullmatch(r"\d{1,18}|[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise click.BadParameter("it must be an e-mail address, or the id of a customer.")
    return text


def _table(_: click.Context, __: click.Parameter, text: str) -> Table:
    if not re.fullmatch(r"\w+\.\w+", text):
        raise click.BadParameter("it must be <schema>.<table> of letters, digits and _, such as gorgias.tickets.")
    return Table(*text.split("."))


def _one_of(*words: str, why: str = "") -> dict[str, Any]:
    """Return the arguments of an option that takes one of a few words.

    Unlike `click.Choice`, it never prints another: that may be a URI in the wrong place.
    """

    def check(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
        if given is not None and given not in words:
            some = " or ".join(words) if len(words) <= MOST_WORDS else f"one of {', '.join(words)}"
            raise click.BadParameter(f"it must be {some}{why}.")
        return given

    return {"metavar": "|".join(words), "callback": check}


def _said_elsewhere(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value:
        raise click.UsageError(f"{param.opts[0]} is not taken: {ELSEWHERE[param.opts[0]]}.", ctx)


def _flags_of_ingestr(command: Callable[..., Any]) -> Callable[..., Any]:
    for flag in ELSEWHERE:
        command = click.option(flag, hidden=True, multiple=True, expose_value=False, callback=_said_elsewhere)(command)
    for flag in WITHOUT_EFFECT:
        command = click.option(flag, hidden=True, multiple=True, expose_value=False)(command)
    return command


def _of_account(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--account", "account_name", metavar="NAME", help="The account, if the deployment has several."
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Bring a Gorgias helpdesk into DuckDB or BigQuery.

    \b
    Without a project, one table at a time:
      gorgias-assets ingest --source-table tickets \\
          --dest-uri duckdb:///gorgias.duckdb --dest-table support.tickets
    With this project's Dagster deployment, in the folder of its .env:
      gorgias-assets backfill 2025-01-01 2025-06-30
      gorgias-assets status

    `gorgias-assets COMMAND --help` teaches each command.
    """
    try:
        dotenv.load_dotenv(".env")
    except ValueError:
        raise click.ClickException("The file .env must be text in UTF-8.") from None


@cli.command(epilog=EXIT_CODES)
@click.option(
    "--source-table",
    **(_one_of(*NAMES) | {"metavar": "ENTITY"}),
    required=True,
    help=f"What to read: {', '.join(NAMES)}.",
)
@click.option(
    "--source-uri",
    metavar="URI",
    envvar="GORGIAS_URI",
    required=True,
    help="The account: 'gorgias://<domain>?api_key=<api-key>&email=<email>', in quotes. By default $GORGIAS_URI, which "
    "keeps the key out of the list of processes.",
)
@click.option(
    "--dest-uri",
    metavar="URI",
    envvar="WAREHOUSE_URI",
    required=True,
    help="The warehouse: duckdb:///<file>, md:<MotherDuck database>, or 'bigquery://<project>?location=EU', with "
    "credentials_path=<file> or credentials_base64=<key> unless gcloud has logged in. By default $WAREHOUSE_URI.",
)
@click.option(
    "--dest-table",
    callback=_table,
    metavar="SCHEMA.TABLE",
    required=True,
    help="The table, in a schema of DuckDB or a dataset of BigQuery; each is made if it is missing.",
)
@click.option(
    "--interval-start",
    callback=_moment,
    metavar="DATE",
    help="Read what something happened to from then on (UTC): created, updated, sent or scored. By default from where "
    "the table is; a new table begins with the account's first row.",
)
@click.option(
    "--interval-end",
    callback=_moment,
    metavar="DATE",
    help="Read until then, not included. Without it, all until now, but nothing that the table already holds. With "
    "both bounds, the interval is read again.",
)
@click.option(
    "--full-refresh",
    is_flag=True,
    help="Read the whole list, at a call per 100 rows: update every stored row, and find every deleted one. Nothing is "
    "dropped.",
)
@click.option(
    "--loader-file-format",
    **_one_of("parquet", "jsonl"),
    help="Format of the files that BigQuery loads; parquet by default. DuckDB takes rows without files.",
)
@click.option(
    "--progress",
    **_one_of("interactive", "log"),
    help="A line that moves, or a line every few seconds. By default the first in a terminal, the second in a pipe.",
)
@click.option("--account-changed", is_flag=True, help="Go on with a table of an account that was renamed.")
@click.option(
    "--believe-absence", is_flag=True, help="Mark missing rows as deleted, though there are unusually many of them."
)
@click.option("--yes", is_flag=True, expose_value=False, help="Accepted, as in ingestr; nothing is asked.")
@click.option(
    "--incremental-strategy",
    **_one_of("merge", why=": the newest state of each row is kept"),
    expose_value=False,
    hidden=True,
)
@click.option("--primary-key", **_one_of("id", why=", which each list of Gorgias has"), expose_value=False, hidden=True)
@_flags_of_ingestr
def ingest(
    source_table: str,
    source_uri: str,
    dest_uri: str,
    dest_table: Table,
    interval_start: datetime | None,
    interval_end: datetime | None,
    full_refresh: bool,
    loader_file_format: str | None,
    progress: str | None,
    account_changed: bool,
    believe_absence: bool,
) -> int:
    """Read one list of an account into one table. No project, no Dagster, the flags of ingestr.

    \b
    Tickets into BigQuery:
      gorgias-assets ingest --source-table tickets \\
          --source-uri "$GORGIAS_URI" --dest-uri "$BIGQUERY_URI" \\
          --interval-start 2024-06-19 --dest-table gorgias.tickets
    Customers into a file:
      gorgias-assets ingest --source-table customers \\
          --source-uri "$GORGIAS_URI" --dest-uri duckdb:///gorgias.duckdb \\
          --dest-table support.customers

    Run it again: within a day, a stopped run resumes; after a complete one, what is new is read, in a few API calls.
    The table has one row per id, the newest state that was read. A deleted row gets _deleted_at, and the view
    <table>_live lacks it. Other integrations keep their share of the account's API calls (GORGIAS_MAX_SHARE).
    """
    if interval_start and interval_end and interval_start >= interval_end:
        raise click.UsageError("--interval-start must lie before --interval-end.")
    from gorgias_assets.commands.ingest import Request
    from gorgias_assets.commands.ingest import ingest as run
    from gorgias_assets.settings import Settings

    with _settings_read():
        settings = Settings.from_environment()
    (entity,) = (entity for entity in ENTITIES if entity.name == source_table)
    request = Request(
        entity,
        dest_table,
        start=interval_start,
        end=interval_end,
        full=full_refresh,
        event_types=settings.event_types,
        account_changed=account_changed,
        believe_absence=believe_absence,
    )
    try:
        return run(
            request,
            source_uri,
            dest_uri,
            settings,
            ENTITIES,
            loader_file_format=loader_file_format,
            is_interactive={"interactive": True, "log": False, None: None}[progress],
        )
    except KeyboardInterrupt:
        click.echo("Stopped; the same command resumes it.", err=True)
        return INTERRUPTED


@cli.command(epilog=OF_DEPLOYMENTS)
@_of_account
@click.argument("first", callback=_day)
@click.argument("last", callback=_day, required=False)
def backfill(account_name: str | None, first: date, last: date | None) -> int:
    """Materialize the days from FIRST to LAST of all assets in one run; LAST is yesterday by default.

    \b
    Example:
      gorgias-assets backfill 2025-01-01 2025-06-30

    It prints its progress, and the changes to each table. Ctrl-C stops it, and the same command resumes it. The history
    is that of the Dagster UI if both have the same DAGSTER_HOME; `make backfill` sees to that.
    """
    from gorgias_assets.commands.backfill import backfill as run

    account, _ = _deployment(account_name)
    return run(account, first, last or datetime.now(UTC).date() - timedelta(days=1))


@cli.command(epilog=OF_DEPLOYMENTS)
@_of_account
def status(account_name: str | None) -> int:
    """Print the API calls in use and, for each table, its rows and the days that are missing.

    \b
    Example:
      gorgias-assets status

    For each asset: rows, deleted rows, when something last happened, the newest complete day, today, and the days that
    are missing or have failed. Days are those of the history in DAGSTER_HOME. It costs two API calls.
    """
    from gorgias_assets.commands.status import print_status

    return print_status(*_deployment(account_name))


@cli.command(epilog=OF_DEPLOYMENTS, context_settings={"ignore_unknown_options": True})
@_of_account
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sql(account_name: str | None, arguments: tuple[str, ...]) -> int:
    """Open DuckDB's shell on a copy of the tables, so that no run has to wait; ARGUMENTS are that shell's own.

    \b
    Examples:
      gorgias-assets sql
      gorgias-assets sql -c 'SELECT channel, count(*) FROM tickets GROUP BY 1'
      WAREHOUSE_URI=duckdb:///gorgias.duckdb gorgias-assets sql

    The tables are those of WAREHOUSE_URI, in the schema GORGIAS_SCHEMA. BigQuery has a shell of its own, `bq query`.
    """
    from gorgias_assets.commands.shell import shell

    account, resources = _deployment(account_name)
    return shell(resources[account.io_manager_key], arguments)


@cli.command(epilog=OF_DEPLOYMENTS)
@_of_account
@click.argument("person", callback=_person)
@click.option(
    "--hash", "is_hashed", is_flag=True, help="Replace names and addresses by keyed hashes, which still join."
)
@click.option("--dry-run", is_flag=True, help="Show what is stored of the person, and change nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def forget(account_name: str | None, person: str, is_hashed: bool, dry_run: bool, yes: bool) -> int:
    """Erase a person from all tables and reports, for good; PERSON is an e-mail address, a customer's id, or -.

    
    Examples:
      gorgias-assets forget --dry-run jane@example.com
      gorgias-assets forget --yes 248361705
      gorgias-assets forget - < request.txt

    It finds the customer, all addresses that they were seen with, and every row that has something of them: it shows
    how many, and asks. Rows stay, since they count; names, addresses and letters in them become null. The person is put
    on a list of keyed hashes that every run respects: neither a replay nor a full sweep stores them again. Delete the
    customer in Gorgias as well. With - the person is read from the standard input, and is in no list of processes.

    It needs GORGIAS_PRIVACY_KEY, no API call, and no run in progress. After a kill, the same command completes it.
    """
    from gorgias_assets.commands.forget import Request
    from gorgias_assets.commands.forget import forget as run
    from gorgias_assets.commands.terminal import stoppable
    from gorgias_assets.privacy.forgetting import ERASE, HASH

    def agreed() -> bool:
        return yes or click.confirm("\nForget this person? What is erased cannot be had back.")

    with stoppable():
        return run(Request(person, HASH if is_hashed else ERASE, dry_run, agreed), *_deployment(account_name))


@cli.command("dbt-sources", epilog=OF_DEPLOYMENTS)
@click.option("--output", metavar="FILE", help="Write there; without it, print.")
def dbt_sources(output: str | None) -> int:
    """Write a source file for dbt: tables, views of living rows, columns, types, tests and Dagster's asset keys.

    \b
    Example:
      gorgias-assets dbt-sources --output models/gorgias.yml

    In a model, {{ source('gorgias', 'tickets_live') }} is the view of the tickets that are not deleted. It reads the
    settings, and neither Gorgias nor the warehouse.
    """
    from gorgias_assets.commands.dbt_sources import dbt_sources as written

    with _settings_read():
        from gorgias_assets.definitions import accounts, defs
    resources = dict(defs.resources or {})
    text = written([(one, resources[one.io_manager_key].place()) for one in accounts.values()])
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
    return 0


def _deployment(name: str | None) -> tuple["Account", dict[str, Any]]:
    """Return the account of that name, or the only one, and the resources of all definitions."""
    with _settings_read():
        from gorgias_assets.definitions import accounts, defs  # which reads the settings
    return one_account(accounts, name), dict(defs.resources or {})


def one_account(accounts: Mapping[str, "Account"], name: str | None) -> "Account":
    """Return the account of that name, or the only one. Raises `click.UsageError`, without what was typed."""
    if not accounts:
        raise click.UsageError(
            "There is no account in gorgias_assets/defs; add one by `dg scaffold defs gorgias_assets.GorgiasComponent`."
        )
    if name is None and len(accounts) > 1:
        raise click.UsageError(f"There are several accounts; name one by --account: {', '.join(accounts)}.")
    if name is not None and name not in accounts:
        raise click.UsageError(f"There is no account of that name; there is {', '.join(accounts)}.")
    return accounts[name or next(iter(accounts))]


@contextmanager
def _settings_read() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _without_values(error: click.ClickException) -> str:
    """Return the error without what was typed: a URI, which holds a key, may stand in any place.

    The types of this module name no value; two sentences of click's own do.
    """
    message = error.format_message()
    if message.startswith("Got unexpected extra argument"):
        return "There is a word too many. A URI must be in quotes, since a shell ends it at &."
    if message.startswith("No such command"):
        return f"There is no such command; there are {', '.join(sorted(cli.commands))}."
    return message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of `arguments`, by default those of the process; return the exit status."""
    try:
        status: int | None = cli.main(arguments, prog_name="gorgias-assets", standalone_mode=False)
        return status or 0
    except click.UsageError as error:
        page = f"{error.ctx.command_path if error.ctx else 'gorgias-assets'} --help"
        print(f"{_without_values(error)}\nSee {page}.", file=sys.stderr)
        return error.exit_code
    except (WarehouseError, click.ClickException) as error:
        print(error, file=sys.stderr)
        return 1
    except (click.Abort, KeyboardInterrupt):
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
