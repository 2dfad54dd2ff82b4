"""The DuckDB shell on the warehouse."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from gorgias_assets.commands.shell import shell
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.warehouse.tables import WarehouseError

CSV = ("-csv", "-noheader")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a warehouse of the default names: schema and file have the same."""
    path = tmp_path / "gorgias.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA gorgias")
        connection.execute(
            "CREATE TABLE gorgias.gorgias.tickets AS SELECT TIMESTAMPTZ '2025-03-01 12:00:00+02' AS moment"
        )
    return path


def test_a_table_is_found_by_its_name_alone_and_times_are_in_utc(file, capfd, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    assert shell(io_manager_from_uri(f"duckdb:///{file}"), [*CSV, "-c", "FROM tickets"]) == 0
    assert capfd.readouterr().out == "2025-03-01 10:00:00+00\n"


def test_while_it_is_open_another_process_can_write(file, tmp_path):
    program = tmp_path / "run.py"
    program.write_text(
        f"import duckdb; duckdb.connect('{file}').execute('CREATE TABLE gorgias.gorgias.written (id INT)')"
    )
    io_manager = io_manager_from_uri(f"duckdb:///{file}")
    assert shell(io_manager, ["-c", "FROM tickets", "-c", f".shell {sys.executable} {program}"]) == 0
    with duckdb.connect(file, read_only=True) as connection:
        assert connection.execute("FROM gorgias.gorgias.written").fetchall() == []


def test_what_is_changed_in_it_stays_there(file):
    assert shell(io_manager_from_uri(f"duckdb:///{file}"), ["-c", "DROP TABLE tickets"]) == 0
    with duckdb.connect(file, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM gorgias.gorgias.tickets").fetchall() == [(1,)]


def test_what_a_crash_left_in_the_log_is_there_too(tmp_path, capfd):
    """A process that is killed leaves its committed rows in a file next to the warehouse's."""
    file = tmp_path / "gorgias.duckdb"
    program = f"""
import duckdb, os
connection = duckdb.connect('{file}')
connection.execute("CREATE SCHEMA gorgias; CREATE TABLE gorgias.gorgias.tickets AS SELECT 7")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert Path(f"{file}.wal").exists()
    assert shell(io_manager_from_uri(f"duckdb:///{file}"), [*CSV, "-c", "FROM tickets"]) == 0
    assert capfd.readouterr().out == "7\n"


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("bigquery://my-project", "bq query --use_legacy_sql=false"),
        ("duckdb:///{folder}/none.duckdb", "There is nothing in .*/none.duckdb yet; materialize an asset first"),
        ("duckdb:///{folder}/gorgias.duckdb", "There is no schema other in .*/gorgias.duckdb yet; materialize"),
    ],
)
def test_if_there_is_nothing_to_open_the_reason_is_printed(file, uri, sentence):
    with pytest.raises(WarehouseError, match=sentence):
        shell(io_manager_from_uri(uri.format(folder=file.parent), "other"))


@pytest.fixture
def copies(tmp_path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_the_copy_is_its_owners_alone_whatever_the_file_s_mode_and_gone_afterwards(file, copies, tmp_path):
    file.chmod(0o664)
    program, modes = tmp_path / "look.sh", tmp_path / "modes"
    program.write_text(f"stat -c %a {copies}/* {copies}/*/gorgias.duckdb > {modes}")
    assert shell(io_manager_from_uri(f"duckdb:///{file}"), ["-c", f".shell sh {program}"], str(copies)) == 0
    assert modes.read_text().split() == ["700", "600"]
    assert list(copies.iterdir()) == []


HOLD = "import sys\nfrom pathlib import Path\nfrom gorgias_assets.commands.shell import shell\n"
HOLD += "from gorgias_assets.io_managers.from_uri import io_manager_from_uri\n"
HOLD += "arguments = ['-c', f'.shell touch {sys.argv[2]}', '-c', '.shell sleep 60']\n"
HOLD += "shell(io_manager_from_uri(f'duckdb:///{sys.argv[1]}'), arguments, sys.argv[3])\n"


def kill_a_shell(file: Path, copies: Path, number: signal.Signals) -> None:
    """Open a shell in a process, and kill that once it is there; the whole group of the process ends with it."""
    is_open = file.with_name("is_open")
    command = [sys.executable, "-c", HOLD, str(file), str(is_open), str(copies)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **output, start_new_session=True) as held:
        while not is_open.exists():
            assert held.poll() is None
            time.sleep(0.01)
        held.send_signal(number)
        held.wait()
        with suppress(ProcessLookupError):
            os.killpg(held.pid, signal.SIGKILL)
        held.stdout.read()  # until all of them have ended


@pytest.mark.soak
def test_the_copy_of_a_stopped_shell_is_removed(file, copies):
    kill_a_shell(file, copies, signal.SIGTERM)
    assert list(copies.iterdir()) == []


@pytest.mark.soak
def test_the_copy_of_a_killed_shell_is_removed_by_the_next_one(file, copies):
    kill_a_shell(file, copies, signal.SIGKILL)
    assert len(list(copies.glob("*/gorgias.duckdb"))) == 1
    assert shell(io_manager_from_uri(f"duckdb:///{file}"), ["-c", "FROM tickets"], str(copies)) == 0
    assert list(copies.iterdir()) == []
