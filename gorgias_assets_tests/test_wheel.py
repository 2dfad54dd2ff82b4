"""The wheel in an empty environment: on each Python that there is, with the pinned and with the newest packages."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.deployment import REPOSITORY, SETTINGS

pytestmark = pytest.mark.soak

PYTHONS = [os.environ["PYTHON"]] if "PYTHON" in os.environ else ["python3.11", "python3.12", "python3.13"]
PACKAGES = [os.environ["PACKAGES"]] if "PACKAGES" in os.environ else ["pinned", "newest"]
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
RUN = """
import sys
import dagster as dg
import gorgias_assets
defs = gorgias_assets.build_definitions(
    warehouse="duckdb:///shop.duckdb", start_date="2025-03-01", api_url=sys.argv[1], reports="reports"
)
with dg.DagsterInstance.ephemeral() as instance:
    job = defs.resolve_job_def("gorgias")
    assert job.execute_in_process(instance=instance, partition_key="2025-03-10").success
"""


def interpreter_named(python: str) -> Path | None:
    """Return the first that runs; a pyenv shim can be on the PATH and not run."""
    found = [*Path.home().glob(f".pyenv/versions/{python.removeprefix('python')}.*/bin/python"), shutil.which(python)]
    for one in filter(None, found):
        if subprocess.run([one, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return Path(one)
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, REPOSITORY], check=True)
    (found,) = folder.glob("gorgias_assets-*.whl")
    return found


@pytest.mark.parametrize("packages", PACKAGES)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_day_is_read_into_duckdb_and_what_is_missing_is_named(wheel, tmp_path, python, packages):
    interpreter = interpreter_named(python)
    if interpreter is None:
        pytest.skip(f"there is no {python} here")
    account = Account(now=NOON)
    ticket = account.create("tickets", subject="Hello", customer=account.create("customers", name="Ana"))
    account.create("messages", ticket_id=ticket["id"], body_text="Hello")
    account.now = datetime(2025, 3, 11, 6, tzinfo=UTC)
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "PYTHON"))}
    bin = tmp_path / "venv" / "bin"  # noqa: A001, the folder's name

    def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=kept | variables, capture_output=True, text=True, check=False)

    constraints = ["-c", REPOSITORY / "constraints.txt"] if packages == "pinned" else []
    assert run(interpreter, "-m", "venv", tmp_path / "venv").returncode == 0
    installed = run(bin / "pip", "install", "-q", *constraints, wheel)
    assert installed.returncode == 0, installed.stderr
    assert run(bin / "pip", "check").returncode == 0
    with Sandbox(account) as sandbox:
        done = run(bin / "python", "-c", RUN, sandbox.api_url, GORGIAS_URI=sandbox.uri)
        assert done.returncode == 0, done.stderr
        assert "pip install 'gorgias-assets[overview]'" in done.stderr
        assert [file.name for file in (tmp_path / "reports").rglob("*.html")] == ["overview-2025-03-10.html"]
        ingest = ["ingest", "--source-table", "tickets", "--dest-table", "support.tickets"]
        variables = {"GORGIAS_URI": sandbox.uri, "GORGIAS_API_URL": sandbox.api_url}
        read = run(bin / "gorgias-assets", *ingest, "--dest-uri", "duckdb:///shop.duckdb", **variables)
        assert read.returncode == 0, read.stderr
        refused = run(bin / "gorgias-assets", *ingest, "--dest-uri", "bigquery://shop", **variables)
    assert refused.returncode == 1
    assert "pip install 'gorgias-assets[bigquery]'" in refused.stderr
    query = "import duckdb; print(duckdb.connect('shop.duckdb').sql('{}').fetchall())"
    for table in ("gorgias.tickets", "support.tickets"):
        stored = run(bin / "python", "-c", query.format(f"SELECT id, subject FROM {table}"))
        assert stored.stdout == f"[({ticket['id']}, 'Hello')]\n", stored.stderr
