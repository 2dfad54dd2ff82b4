"""`python -m gorgias_assets`, as a terminal sees it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import duckdb
import pytest

from gorgias_assets.__main__ import main, one_account
from gorgias_assets.account import Account as DagsterAccount
from gorgias_assets.entities import CORE
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox

REPOSITORY = Path(__file__).parents[2]
LETTER = "Dear shop, my private letter"


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Yield an environment with an account, a warehouse and a history of its own; some of it from `.env`."""
    (tmp_path / ".env").write_text("GORGIAS_START_DATE=2025-03-01\nWAREHOUSE_URI=duckdb:///shop.duckdb\n")
    shutil.copy(REPOSITORY / "deploy" / "dagster.yaml", tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GORGIAS_", "WAREHOUSE_"))}
    return {
        **kept,
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "GORGIAS_URI": sandbox.uri,
        "GORGIAS_API_URL": sandbox.api_url,
    }


def start(settings: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gorgias_assets", *words],
        env=settings,
        cwd=settings["DAGSTER_HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(settings: dict[str, str], *words: str) -> tuple[int, str]:
    with start(settings, *words) as command:
        output = end_of(command)
    return command.returncode, output


def end_of(command: subprocess.Popen[str]) -> str:
    """Wait for its end, and return what it printed; kill it if that takes minutes."""
    try:
        return command.communicate(timeout=150)[0]
    finally:
        command.kill()


def columns(output: str) -> dict[str, Sequence[str]]:
    """Return the words of each line that begins with a table's name."""
    found = [line.split() for line in output.splitlines() if re.match(r"gorgias\.\w+ +[\d,]+ ", line)]
    return {table: words for table, *words in found}


def test_a_backfill_prints_its_progress_and_then_status_shows_what_is_there_and_missing(settings, account, sandbox):
    settings["GORGIAS_ENTITIES"] = "core, tags, voice_calls"
    sandbox.faults.append(Fault(403, path="*/voice-calls", times=None))
    account.create("tags", name="refund")
    for day in (3, 4, 20):
        moment = datetime(2025, 3, day, 12, tzinfo=UTC)
        ticket = account.create("tickets", created_datetime=moment, updated_datetime=moment, subject=LETTER)
        account.create("messages", ticket_id=ticket["id"], created_datetime=moment, body_text=LETTER)
    code, output = run(settings, "backfill", "2025-03-02", "2025-03-10")
    assert code == 0, output
    assert "Materializing 2025-03-02 to 2025-03-10 in one run." in output
    assert re.search(
        r"\d\d:\d\d:\d\d  gorgias.tickets: merged [2-3] rows, [2-3] of them new, in \d+ API calls\n", output
    )
    assert columns(output)["gorgias.ticket_messages"][:3] == ["2", "2", "2"]
    assert columns(output)["gorgias.tags"] == ["1", "1", "1", "1"]
    assert LETTER not in output
    code, output = run(settings, "status")
    assert code == 0, output
    assert re.search(r"account    sandbox: \d+ of [\d,]+ calls in use, of which this project uses up to 80%", output)
    assert re.search(r"\nclock      this machine's is [\d,]+ hours ahead of Gorgias's; set it by NTP\n", output)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    tickets = " ".join(columns(output)["gorgias.ticket_messages"])
    assert tickets.startswith("2 0 2025-03-04 12:00 2025-03-02 to 2025-03-10 not read 2025-03-11 to ")
    assert today not in tickets
    assert columns(output)["gorgias.tags"][:2] == ["1", "0"]
    assert " ".join(columns(output)["gorgias.voice_calls"]) == "0 0 - - - not available to this account or key"
    metrics = " ".join(columns(output)["gorgias.ticket_metrics"])
    assert metrics.startswith("2 - - 2025-03-02 to 2025-03-10 not read 2025-03-11 to ")
    names = ", ".join(entity.name for entity in CORE)
    assert output.endswith(f"\n\nNot read yet of {names}: 2025-03-01. The command backfill reads them.\n")


@pytest.mark.soak
def test_a_backfill_that_fails_prints_why_in_a_sentence(settings, account):
    settings["GORGIAS_URI"] = settings["GORGIAS_URI"].replace(account.api_key, "wr0ng")
    code, output = run(settings, "backfill", "2025-03-02", "2025-03-10")
    assert code == 1
    assert "gorgias/tickets: GET /tickets of account 'sandbox': status 401; check the e-mail and the API key" in output
    assert "Traceback" not in output
    assert "wr0ng" not in output


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (b"GORGIAS_MAX_SHARE=8\n", "GORGIAS_MAX_SHARE must be a number above 0, at most 1.\n"),
        (b"GORGIAS_REPORTS=\xfc\n", "The file .env must be text in UTF-8.\n"),
    ],
    ids=["value", "bytes"],
)
def test_settings_that_cannot_be_used_end_a_command_in_one_sentence(settings, variables, sentence):
    Path(settings["DAGSTER_HOME"], ".env").write_bytes(variables)
    assert run(settings, "status") == (1, sentence)


@pytest.mark.parametrize(
    ("names", "named", "sentence"),
    [
        ([], None, "There is no account in gorgias_assets/defs; add one by `dg scaffold defs"),
        (["eu", "us"], None, "There are several accounts; name one by --account: eu, us."),
        (["eu", "us"], LETTER, "There is no account of that name; there is eu, us."),
    ],
    ids=["none", "several", "another"],
)
def test_without_one_account_that_is_meant_a_command_ends_in_a_sentence(names, named, sentence):
    with pytest.raises(click.UsageError, match=re.escape(sentence)) as refused:
        one_account(dict.fromkeys(names), named)
    assert LETTER not in str(refused.value)


def test_an_account_is_meant_by_its_name_or_if_it_is_the_only_one(capsys):
    deployed = {name: DagsterAccount([], name) for name in ("eu", "us")}
    assert one_account(deployed, "us") is deployed["us"]
    assert one_account({"eu": deployed["eu"]}, None) is deployed["eu"]
    assert main(["status", "--account", "nobody"]) == 2
    assert capsys.readouterr().err == (
        "There is no account of that name; there is gorgias.\nSee gorgias-assets status --help.\n"
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    "days", [("2025-02-28", "2025-03-10"), ("2025-03-10", "2025-03-02"), ("2025-03-02", "2999-01-01")]
)
def test_days_that_there_are_not_are_refused_in_a_sentence(settings, days):
    code, output = run(settings, "backfill", *days)
    assert code == 2
    assert re.fullmatch(r"There are days from 2025-03-01 to \S+; name two of them, the earlier one first\.\n", output)


@pytest.mark.soak
def test_before_the_first_day_has_begun_there_is_nothing_to_backfill(settings):
    settings["GORGIAS_START_DATE"] = "2999-01-01"
    assert run(settings, "backfill", "2999-01-01") == (2, "The first day, 2999-01-01, has not begun.\n")


@pytest.mark.soak
def test_a_backfill_that_is_interrupted_goes_on_where_it_stopped(settings, account: Account, sandbox):
    blank, start_of = KINDS["satisfaction_surveys"].blank, datetime(2025, 3, 3, tzinfo=UTC)
    account.insert_many(
        "satisfaction_surveys", ({**blank, "id": n, "created_datetime": start_of} for n in range(30_000))
    )
    with start(settings, "backfill", "2025-03-02", "2025-03-10") as command:
        while len(sandbox.requests) < 150 and command.poll() is None:
            time.sleep(0.05)
        command.send_signal(signal.SIGINT)
        output = end_of(command)
    assert command.returncode == 130, output
    assert output.endswith("Stopped.\n")
    assert "Traceback" not in output
    before = len(sandbox.requests)
    code, output = run(settings, "backfill", "2025-03-02", "2025-03-10")
    assert code == 0, output
    assert "this one resumes there" in output
    assert len(sandbox.requests) - before < 250
    with duckdb.connect(str(Path(settings["DAGSTER_HOME"]) / "shop.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM gorgias.satisfaction_surveys").fetchall() == [(30_000,)]
