"""An empty Dagster project, as `create-dagster` makes it, with this package's wheel and two accounts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gorgias_assets.entities import CORE
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import Project as Rows
from gorgias_assets_tests.deployment import REPOSITORY, SETTINGS
from gorgias_assets_tests.engines import DuckDBFile

pytestmark = pytest.mark.soak

OPENED, DAYS = datetime(2025, 3, 1, tzinfo=UTC), 4
NAMES = ("gorgias_eu", "gorgias_us")
LAST = str((OPENED + timedelta(days=DAYS - 1)).date())


class SomebodysProject:
    """A folder with an environment and a project of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "shops"
        self.bin = folder / "venv" / "bin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "PYTHON"))}
        own = {"DAGSTER_HOME": str(folder), "DAGSTER_DISABLE_TELEMETRY": "yes", "VIRTUAL_ENV": str(folder / "venv")}
        self.environment = {**kept, **own, "PATH": f"{self.bin}:{kept['PATH']}"}
        self.run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, REPOSITORY, within=folder)
        self.run(sys.executable, "-m", "venv", folder / "venv", within=folder)
        (wheel,) = folder.glob("gorgias_assets-*.whl")
        tools = ("dagster-dg-cli", "typer<0.26", "create-dagster")
        constraints = REPOSITORY / "constraints.txt"
        self.run("pip", "install", "-c", constraints, f"{wheel}[overview]", *tools, within=folder)
        self.run("create-dagster", "project", "shops", "--no-uv-sync", within=folder)
        self.run("pip", "install", "--no-deps", "-e", self.root, within=folder)

    def run(self, command: str | Path, *arguments: str | Path, within: Path | None = None, **variables: str) -> str:
        name = self.bin / command if (self.bin / command).exists() else command
        done = subprocess.run(
            [name, *arguments],
            cwd=within or self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} {arguments}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def declare(self, name: str, api_url: str) -> None:
        """Scaffold an account, and have it read from a simulated one."""
        warehouse = f"duckdb:///{self.folder}/shops.duckdb"
        given = ("--warehouse", warehouse, "--start-date", str(OPENED.date()))
        self.run("dg", "scaffold", "defs", "gorgias_assets.GorgiasComponent", name, *given)
        file = self.root / "src" / "shops" / "defs" / name / "defs.yaml"
        file.write_text(file.read_text().replace("attributes:\n", f"attributes:\n  api_url: {api_url}\n"))


@pytest.fixture
def shops() -> Iterator[dict[str, Sandbox]]:
    """Serve two shops of some days; they have no ids in common but by chance."""
    accounts = {name: Account(now=OPENED, domain=name.replace("_", "-")) for name in NAMES}
    for seed, account in enumerate(accounts.values()):
        Shop(account, seed=seed, tickets_per_day=10).live(OPENED + timedelta(days=DAYS))
        account.advance(timedelta(hours=2))
    with Sandbox(accounts[NAMES[0]]) as first, Sandbox(accounts[NAMES[1]]) as second:
        yield dict(zip(NAMES, (first, second), strict=True))


def tables(project: SomebodysProject, name: str, sandbox: Sandbox) -> dict[str, Any]:
    """Return the account's stored rows by entity and id."""
    with duckdb.connect(str(project.folder / "shops.duckdb")) as connection:
        connection.execute("DROP SCHEMA IF EXISTS gorgias CASCADE; CREATE SCHEMA gorgias")
        for entity in CORE:
            connection.execute(f"CREATE VIEW gorgias.{entity.name} AS FROM {name}.{entity.name}")
    rows = Rows(sandbox, DuckDBFile(project.folder / "shops.duckdb"))
    return {entity.name: (rows.table(entity), rows.live_rows(entity)) for entity in CORE}


def test_two_accounts_are_scaffolded_launched_and_equal_to_their_shops(tmp_path, shops):
    project = SomebodysProject(tmp_path)
    variables = {f"{name.upper()}_URI": sandbox.uri for name, sandbox in shops.items()}
    for name, sandbox in shops.items():
        project.declare(name, sandbox.api_url)
    project.run("dg", "check", "yaml")
    project.run("dg", "check", "defs", **variables)
    listed = project.run("dg", "list", "components")
    assert "gorgias_assets.GorgiasComponent" in listed.replace("\n", "")
    for name in NAMES:
        days = f"{OPENED:%Y-%m-%d}...{LAST}"
        project.run("dg", "launch", "--assets", f'group:"{name}"', "--partition-range", days, **variables)
    for name, sandbox in shops.items():
        for entity, (stored, living) in tables(project, name, sandbox).items():
            assert stored == living, f"{name}/{entity}"
            assert stored
