"""`gorgias-assets ingest`: one list into one table, as a terminal sees it."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gorgias_assets.__main__ import main
from gorgias_assets.commands.ingest import FIRST_MOMENT, Request, begin_of
from gorgias_assets.entities import TICKETS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.documents import REPOSITORY
from gorgias_assets_tests.engines import BigQueryProject, DuckDBFile

BIGQUERY_LINE, DUCKDB_LINE = re.findall(
    r"^\$ gorgias-assets (.*)$", (REPOSITORY / "docs" / "ingest.md").read_text(), re.MULTILINE
)
LETTER = "Dear shop, my private letter"
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTES = timedelta(minutes=10)  # that are read again

Ingest = Callable[..., tuple[int, str]]


@pytest.fixture
def environment(sandbox: Sandbox) -> dict[str, str]:
    """Return an environment without any setting but the account and where it is simulated."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GORGIAS_", "WAREHOUSE_", "DAGS"))
    }
    return kept | {"GORGIAS_URI": sandbox.uri, "GORGIAS_API_URL": sandbox.api_url, "TERM": "xterm"}


@pytest.fixture
def ingest(sandbox, tmp_path, monkeypatch, capfd) -> Ingest:
    """Return the command in this process, into `shop.duckdb`; it returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GORGIAS_URI", sandbox.uri)
    monkeypatch.setenv("GORGIAS_API_URL", sandbox.api_url)
    monkeypatch.setenv("WAREHOUSE_URI", "duckdb:///shop.duckdb")

    def run(source: str, table: str, *flags: str) -> tuple[int, str]:
        code = main(["ingest", "--source-table", source, "--dest-table", table, *flags])
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def file(tmp_path) -> DuckDBFile:
    return DuckDBFile(tmp_path / "shop.duckdb")


def insert_tickets(account: Account, days: Sequence[int]) -> list[int]:
    """Create a ticket at noon of each of these days of March 2025; return their ids."""
    ids = []
    for day in days:
        moment = NOON.replace(day=day)
        ticket = account.create("tickets", created_datetime=moment, updated_datetime=moment, subject=LETTER)
        ids.append(ticket["id"])
    return ids


def insert_customers(account: Account, number: int) -> None:
    """Create customers, one a minute until the account's present."""
    blank, moments = KINDS["customers"].blank, [account.now - timedelta(minutes=n) for n in range(number)]
    rows = ({**blank, "id": n, "created_datetime": at, "updated_datetime": at} for n, at in enumerate(moments))
    account.insert_many("customers", rows)


def shell(line: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the documents in a shell, as a user does."""
    command = f"{sys.executable} -m gorgias_assets {line}"
    return subprocess.run(["/bin/bash", "-c", command], env=environment, cwd=folder, capture_output=True, text=True)


def test_the_documented_line_for_duckdb_reads_customers_and_again_it_reads_what_is_new(
    environment, account, sandbox, tmp_path, monkeypatch, capfd
):
    for day in range(1, 8):
        moment = NOON.replace(day=day)
        account.create("customers", name=LETTER, created_datetime=moment, updated_datetime=moment)
    done = shell(DUCKDB_LINE, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "Reading customers of sandbox into dest.customers of gorgias.duckdb: rows touched since 2024-01-01"
        in done.stdout
    )
    assert "7 rows merged, 7 of them new, 0 found deleted" in done.stdout
    assert "complete  from 2024-01-01 00:00 UTC to 2025-04-01 00:00 UTC" in done.stdout
    assert LETTER not in done.stdout + done.stderr
    assert account.api_key not in done.stdout + done.stderr
    file, before = DuckDBFile(tmp_path / "gorgias.duckdb"), len(sandbox.requests)
    assert file.query("SELECT count(*) FROM dest.customers") == [(7,)]

    account.create("customers", name="new")
    words = shlex.split(DUCKDB_LINE.replace("$GORGIAS_URI", sandbox.uri))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GORGIAS_API_URL", sandbox.api_url)
    assert main(words) == 0
    assert "1 of them new" in capfd.readouterr().out
    assert len(sandbox.requests) - before <= 3
    assert file.query("SELECT count(*) FROM dest.customers") == [(8,)]


def test_without_an_interval_the_whole_list_is_read_first_and_then_what_has_changed(ingest, account, sandbox, file):
    insert_tickets(account, range(1, 28))
    code, printed = ingest("tickets", "support.inbox")
    assert code == 0, printed
    assert "the whole list" in printed
    assert "complete  from the first row to 2025-04-01 00:00 UTC" in printed

    changed, deleted, *_ = stored_first = [id_ for (id_,) in file.query("SELECT id FROM support.inbox ORDER BY id")]
    assert len(stored_first) == 27
    account.advance(DAY)
    account.update("tickets", changed, status="closed")
    account.delete("tickets", deleted)
    before = len(sandbox.requests)
    code, printed = ingest("tickets", "support.inbox")
    assert code == 0, printed
    assert "1 found deleted" in printed
    stored = file.query("SELECT id, status, _deleted_at IS NULL FROM support.inbox ORDER BY id LIMIT 2")
    assert stored == [(changed, "closed", True), (deleted, "open", False)]
    assert len(sandbox.requests) - before <= 4  # a page, the events, and a look for the deleted one


@pytest.mark.soak
def test_a_message_that_changes_within_the_look_back_is_read_again(ingest, account, file):
    ticket = account.create("tickets")
    message = account.create("messages", ticket_id=ticket["id"], body_text=LETTER)
    ingest("ticket_messages", "support.letters")
    account.advance(2 * DAY)
    account.update("messages", message["id"], opened_datetime=account.now.isoformat())
    ingest("ticket_messages", "support.letters")
    assert file.query("SELECT count(opened_datetime) FROM support.letters") == [(1,)]


def test_a_table_of_something_else_is_refused_before_anything_is_read(ingest, account, sandbox, file):
    insert_tickets(account, [3])
    assert ingest("tickets", "support.inbox")[0] == 0
    file.execute("CREATE TABLE support.by_hand (id BIGINT)", "UPDATE support._accounts_inbox SET account = 'othershop'")
    before = len(sandbox.requests)
    for source, table, sentence in [
        ("customers", "support.inbox", "support.inbox holds tickets, not customers; nothing was read."),
        ("tickets", "support.by_hand", "support.by_hand was made by something else, or is a view; nothing was read."),
        ("tickets", "support.inbox_live", "support.inbox_live was made by something else, or is a view; nothing"),
        ("tickets", "support.inbox", "support.inbox holds rows of the Gorgias account 'othershop'"),
    ]:
        code, printed = ingest(source, table)
        assert (code, sentence in printed) == (1, True), printed
    assert len(sandbox.requests) == before
    assert ingest("tickets", "support.inbox", "--account-changed")[0] == 0


@pytest.mark.soak
def test_a_table_that_was_dropped_is_read_anew(ingest, account, file):
    insert_tickets(account, [3, 4])
    ingest("tickets", "support.inbox")
    file.execute("DROP VIEW support.inbox_live", "DROP TABLE support.inbox")
    assert "2 of them new" in ingest("tickets", "support.inbox")[1]
    assert file.query("SELECT count(*) FROM support._readings_inbox") == [(1,)]


@pytest.mark.soak
def test_an_interval_with_both_bounds_is_read_again_and_a_hole_is_filled_later(ingest, account, file):
    insert_tickets(account, [3, 10, 17])
    for day in ("03", "17"):
        _, printed = ingest(
            "tickets", "support.inbox", "--interval-start", f"2025-03-{day}", "--interval-end", f"2025-03-{day}T23:00"
        )
    assert "from 2025-03-03 00:00 UTC to 2025-03-03 23:00 UTC, 2025-03-17 00:00 UTC to 2025-03-17 23:00 UTC" in printed
    again = ingest("tickets", "support.inbox", "--interval-start", "2025-03-17", "--interval-end", "2025-03-18")[1]
    assert " 0 of them new" in again
    assert file.query("SELECT count(*) FROM support.inbox") == [(2,)]
    _, printed = ingest("tickets", "support.inbox")
    assert "complete  from 2025-03-03 00:00 UTC to 2025-04-01 00:00 UTC" in printed
    assert file.query("SELECT count(*) FROM support.inbox") == [(3,)]
    assert "nothing to read" in ingest("tickets", "support.inbox", "--interval-end", "2025-03-20")[1]


@pytest.mark.soak
def test_a_full_refresh_sees_what_does_not_show_as_a_change(ingest, account, file):
    (ticket,) = insert_tickets(account, [3])
    ingest("tickets", "support.inbox")
    file.execute(f"UPDATE support.inbox SET subject = 'edited here' WHERE id = {ticket}")
    ingest("tickets", "support.inbox")
    _, printed = ingest("tickets", "support.inbox", "--full-refresh")
    assert "1 rows merged, 0 of them new" in printed
    assert file.query("SELECT subject FROM support.inbox") == [(LETTER,)]


HELD = [Window(NOON, NOON + DAY), Window(NOON + 3 * DAY, NOON + 4 * DAY)]


@pytest.mark.parametrize(
    ("start", "end", "begins"),
    [
        (None, None, NOON + DAY - MINUTES),
        (None, NOON + 9 * DAY, NOON + DAY - MINUTES),
        (NOON, None, NOON + DAY - MINUTES),
        (NOON + DAY, None, NOON + DAY - MINUTES),
        (NOON - DAY, None, NOON - DAY),
        (NOON + 2 * DAY, None, NOON + 2 * DAY),
        (NOON + 3 * DAY, None, NOON + 4 * DAY - MINUTES),
        (NOON, NOON + DAY, NOON),
    ],
)
def test_no_hole_is_left_and_little_is_read_twice(start, end, begins):
    assert begin_of(Request(TICKETS, Table("a", "b"), start, end), HELD) == begins


def test_windows_that_meet_are_one():
    assert Window(NOON + DAY, NOON + 2 * DAY).joined(HELD) == [Window(NOON, NOON + 2 * DAY), HELD[1]]
    assert Window(NOON, NOON + 3 * DAY).joined(HELD) == [Window(NOON, NOON + 4 * DAY)]
    assert Window(FIRST_MOMENT, NOON + DAY).joined([]) == [Window(FIRST_MOMENT, NOON + DAY)]


URI = "gorgias://shop?api_key=s3cret&email=ana@shop.example"
NEEDED = ("--source-table", "tickets", "--dest-table", "a.b")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((URI,), 2, "There is no such command; there are backfill, dbt-sources, forget, ingest, sql, status."),
        (
            ("ingest", *NEEDED, "--source-uri", URI, "--dest-uri", "x", URI),
            2,
            "There is a word too many. A URI must be in quotes",
        ),
        (("ingest", "--source-table", URI), 2, "it must be one of customers, tickets, ticket_messages,"),
        (("ingest", *NEEDED, "--dest-table", URI), 2, "it must be <schema>.<table>"),
        (("ingest", *NEEDED, "--interval-start", URI), 2, "it must be a date or a moment, such as 2024-06-19"),
        (("ingest", *NEEDED, "--interval-start", "1066-10-14"), 2, "its year must be one from 1970 to 2099."),
        (("ingest", *NEEDED, "--incremental-strategy", "replace"), 2, "it must be merge: the newest state"),
        (("ingest", *NEEDED, "--mask", "email:hash"), 2, "--mask is not taken: columns are not masked here"),
        (("ingest", *NEEDED, f"--source-uri={URI}", "--loader-file-format", "csv"), 2, "it must be parquet or jsonl"),
        (("ingest", *NEEDED, "--source-url", URI), 2, "No such option"),
        (("ingest", *NEEDED, "--source-uri", URI), 2, "Missing option '--dest-uri'"),
        (("ingest", *NEEDED, "--source-uri", URI, "--dest-uri", f"postgresql://{URI}"), 1, "no known warehouse"),
        (("ingest", *NEEDED, "--source-uri", f"{URI}#", "--dest-uri", "duckdb:///a.duckdb"), 1, "has a # in it"),
        (("backfill", URI), 2, "it must be a day, YYYY-MM-DD."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_without_what_was_typed(
    words, code, sentence, tmp_path, monkeypatch, capfd
):
    for name in [name for name in os.environ if name.startswith(("GORGIAS_", "WAREHOUSE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == code
    printed = "".join(capfd.readouterr())
    assert sentence in printed
    assert "s3cret" not in printed
    assert "Traceback" not in printed


def test_flags_of_ingestr_that_change_nothing_are_accepted(ingest, account, file):
    insert_tickets(account, [3])
    code, printed = ingest(
        "tickets", "a.b", "--yes", "--progress", "log", "--page-size", "50", "--incremental-key", "updated_datetime",
        "--incremental-strategy", "merge", "--primary-key", "id", "--loader-file-format", "jsonl",
    )  # fmt: skip
    assert code == 0, printed
    assert file.query("SELECT count(*) FROM a.b") == [(1,)]


def test_each_help_teaches_by_an_example_and_the_exit_codes(capfd):
    for command in ("ingest", "backfill", "status", "sql"):
        assert main([command, "--help"]) == 0
        page = capfd.readouterr().out
        assert (
            f"gorgias-assets {command}" in page.partition("Options:")[0].partition("xample")[2] or command == "ingest"
        )
        assert "Exit codes: 0 done" in page


def test_a_key_that_gorgias_refuses_ends_in_a_sentence(ingest, monkeypatch):
    monkeypatch.setenv("GORGIAS_URI", "gorgias://sandbox?api_key=wr0ng&email=a@b.example")
    code, printed = ingest("tickets", "a.b")
    assert code == 1
    assert "status 401; check the e-mail and the API key" in printed
    assert "wr0ng" not in printed


@pytest.mark.soak
def test_into_bigquery_rows_go_by_files_of_the_format_that_is_named(ingest, account, bigquery: BigQueryProject):
    insert_tickets(account, [3, 4])
    uri = bigquery.emulator.uri("ignored")
    flags = ("--dest-uri", uri, "--loader-file-format", "jsonl")
    code, printed = ingest("tickets", "gorgias.ticket_messages", *flags)
    assert code == 0, printed
    assert (
        "look      bq query --use_legacy_sql=false 'SELECT * FROM `local.gorgias.ticket_messages` LIMIT 10'" in printed
    )
    loads = [job.source_format for job in bigquery.jobs() if job.job_type == "load"]
    assert set(loads) == {"NEWLINE_DELIMITED_JSON"}
    assert bigquery.query("SELECT COUNT(*) FROM gorgias.ticket_messages") == [(2,)]


@pytest.mark.soak
def test_the_documented_line_for_bigquery_works_and_a_dropped_table_is_read_anew(
    environment, account, sandbox, tmp_path, bigquery: BigQueryProject
):
    insert_tickets(account, [3, 4, 5])
    environment["BIGQUERY_URI"] = bigquery.emulator.uri("ignored").replace("dataset=ignored&", "")
    for new in (3, 0):
        before = len(sandbox.requests)
        done = shell(BIGQUERY_LINE, environment, tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"3 rows merged, {new} of them new" in done.stdout
        assert len(sandbox.requests) - before <= 3
    bigquery.execute("DROP VIEW gorgias.ticket_messages_live", "DROP TABLE gorgias.ticket_messages")
    assert "3 of them new" in shell(BIGQUERY_LINE, environment, tmp_path).stdout
    assert bigquery.query("SELECT COUNT(*) FROM gorgias._readings_ticket_messages") == [(1,)]


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_resumes_by_the_same_command(number, environment, account, sandbox, tmp_path):
    insert_customers(account, 100_000)
    line = "ingest --source-table customers --dest-uri duckdb:///s.duckdb --dest-table a.b --interval-start 2024-06-01"
    command = [sys.executable, "-m", "gorgias_assets", *line.split()]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as stopped:
        while len(sandbox.requests) < 800 and stopped.poll() is None:
            time.sleep(0.05)
        stopped.send_signal(number)
        printed = stopped.communicate(timeout=60)[0]
    if number != signal.SIGKILL:
        assert stopped.returncode == 130, printed
        assert printed.endswith("Stopped; the same command resumes it.\n")
    assert "Traceback" not in printed
    before = len(sandbox.requests)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "this one resumes there" in done.stdout
    assert len(sandbox.requests) - before < 700  # of 1,000: those left, and those read ahead of the last batch
    stored = DuckDBFile(tmp_path / "s.duckdb").query("SELECT count(*), count(DISTINCT id) FROM a.b")
    assert stored == [(100_000, 100_000)]


@pytest.mark.soak
def test_a_terminal_shows_a_line_that_moves(environment, account, sandbox, tmp_path):
    insert_customers(account, 2_000)
    sandbox.latency = 0.1
    line = "ingest --source-table customers --dest-uri duckdb:///s.duckdb --dest-table a.b"
    process_id, terminal = pty.fork()
    if not process_id:
        os.chdir(tmp_path)
        command = [sys.executable, "-m", "gorgias_assets", *line.split()]
        os.execve(sys.executable, command, environment)  # noqa: S606, this project's own command
    printed = b""
    while part := _read(terminal):
        printed += part
    assert os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]) == 0
    assert len(re.findall(rb"\r\x1b\[2K.{1,6} customers: \d+ %", printed)) > 5
    assert b"2,000 rows merged, 2,000 of them new" in printed


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4_096)
    except OSError:  # its process has ended
        return b""


def test_lists_of_every_way_are_read_and_again_what_is_new_or_the_whole_of_a_small_one(ingest, account, file):
    insert_tickets(account, [30])
    account.create("tags", name="refund")
    account.create("voice_calls", status="missed")
    for again in (False, True):
        for source in ("events", "voice_calls", "tags"):
            code, printed = ingest(source, f"support.{source}")
            assert code == 0, printed
            wanted = "the whole list" if source == "tags" or not again else "rows created since 2025-03-31 23:50 UTC"
            assert f"into support.{source} of shop.duckdb: {wanted}" in printed
            rows = account.count(source)
            assert file.query(f"SELECT count(*) FROM support.{source}") == [(rows,)]
            assert ("complete  from the first row" in printed) is (source != "tags")


def test_a_list_that_the_account_lacks_ends_in_a_sentence(ingest, sandbox):
    sandbox.faults.append(Fault(403, times=None))
    code, printed = ingest("voice_calls", "support.calls")
    assert (code, printed.count("\n")) == (1, 1)
    assert printed.startswith("Gorgias refuses GET /phone/voice-calls of this account with status 403")


def test_a_small_table_is_not_taken_for_one_whose_columns_include_its_own(ingest, account):
    insert_tickets(account, [30])
    assert ingest("events", "support.events")[0] == 0
    code, printed = ingest("account_settings", "support.events")
    assert code == 1
    assert "support.events holds events, not account_settings; nothing was read." in printed
