"""The assets on a simulated account and in a warehouse: what most tests are about."""

import os
import signal
import weakref
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from gorgias_assets.account import Account
from gorgias_assets.api.clock import clock_of
from gorgias_assets.assets import build_assets
from gorgias_assets.columns import Kind
from gorgias_assets.entities import CORE
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.view import View
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.batches import Batch
from gorgias_assets.sweeps.rows import Row, parse_datetime
from gorgias_assets.warehouse.tables import IS_TOUCHED
from gorgias_assets_tests.bigquery.emulator import Emulator, missing
from gorgias_assets_tests.engines import BigQueryProject, DuckDBFile, Engine

FIRST_DAY = "2025-03-01"
LONG_FILES = {
    "test_bigquery_jobs.py",
    "test_duckdb_faults.py",
    "test_frames.py",
    "test_layout.py",
    "test_resume.py",
    "test_statements.py",
    "test_stopping.py",
    "test_warehouse.py",
}


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores: many tests wait, for a slow answer, a budget, a lock or an emulator."""
    return (os.cpu_count() or 1) + 1


def pytest_configure() -> None:
    """Let processes that tests start be interrupted, also where the shell that runs the tests ignores signals."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with long files, so that no worker is alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


class Project:
    """Four assets from `FIRST_DAY` on, run by Dagster in this process against a sandbox and into a warehouse."""

    def __init__(
        self,
        sandbox: Sandbox,
        engine: Path | Engine,
        entities: Sequence[Entity] = CORE,
        views: Sequence[View] = (),
    ) -> None:
        self.sandbox = sandbox
        self.account = sandbox.account
        self.engine = DuckDBFile(engine) if isinstance(engine, Path) else engine
        self.deployed = Account(entities, start_date=FIRST_DAY, views=views)
        self.assets, self.partitions = build_assets(self.deployed), self.deployed.partitions
        self.resources = {
            "gorgias": GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.1),
            "io_manager": self.engine.io_manager("gorgias"),
        }

    @property
    def database(self) -> Path:
        assert isinstance(self.engine, DuckDBFile)
        return self.engine.file

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        instance = dg.DagsterInstance.ephemeral()
        weakref.finalize(self, instance.dispose)  # its folder would be removed with a warning
        return instance

    def materialize(
        self,
        first: str,
        last: str | None = None,
        select: Sequence[str] = (),
        raise_on_error: bool = True,
        **config: bool,
    ) -> dg.ExecuteInProcessResult:
        """Materialize the day `first`, or the days to `last` in one run, of the named entities or all.

        `config` is the assets' configuration.
        """
        chosen = [entity for entity in self.deployed.entities if entity.name in select or not select]
        days = (
            {"partition_key": first}
            if last is None
            else {"tags": {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}}
        )
        return dg.materialize(
            self.assets,
            selection=[dg.AssetKey(["gorgias", name]) for name in select] or None,
            instance=self.instance,
            resources=self.resources,
            run_config={
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
                "ops": {self.deployed.op_of(entity): {"config": config} for entity in chosen} if config else {},
            },
            raise_on_error=raise_on_error,
            **days,
        )

    def metadata(self, result: dg.ExecuteInProcessResult, entity: Entity) -> dict[str, Any]:
        """Return the metadata of the materialization of one day, or of a whole list."""
        made = result.asset_materializations_for_node(self.deployed.op_of(entity))
        (materialization,) = [one for one in made if one.asset_key == self.deployed.key_of(entity)]
        return {name: value.value for name, value in materialization.metadata.items()}

    def log(self, result: dg.ExecuteInProcessResult) -> list[dg.EventLogEntry]:
        """Return everything that Dagster has recorded of a run: log lines and events, with metadata and errors."""
        return list(self.instance.all_logs(result.run_id))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.query(sql)

    def table(self, entity: Entity) -> dict[int, Row]:
        """Return an entity's stored rows by id, as the API would show them: JSON decoded, added columns left out."""
        names = [column.name for column in entity.columns]
        json_names = {column.name for column in entity.columns if column.kind is Kind.JSON}
        quoted = ", ".join(map(self.engine.warehouse().dialect.quoted, names))
        rows = self.query(f"SELECT {quoted} FROM gorgias.{entity.name}")
        assert len(rows) == len({row[0] for row in rows}), "an id is in the table twice"
        return {
            row[0]: {
                name: self.engine.json(value) if name in json_names and value is not None else value
                for name, value in zip(names, row, strict=True)
            }
            for row in rows
        }

    def live_rows(self, entity: Entity) -> dict[int, Row]:
        """Return the account's rows by id, in the form of `table`."""
        datetimes = {column.name for column in entity.columns if column.kind is Kind.DATETIME}
        return {
            row["id"]: {
                column.name: parse_datetime(value) if column.name in datetimes and value is not None else value
                for column in entity.columns
                for value in [row.get(column.name)]
            }
            for row in self.account.rows(_kind(entity))
        }

    def is_gone(self, entity: Entity, row_id: int) -> bool:
        return not self.account.has(_kind(entity), row_id)


def touched(batch: Batch) -> pa.Table:
    """Return the rows of a batch that belong to the window."""
    return batch.rows.filter(batch.rows[IS_TOUCHED])


def _kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return next(kind.name for kind in KINDS.values() if kind.list_path == entity.path.removeprefix("/"))


@pytest.fixture(autouse=True)
def _clocks() -> None:
    """Forget the clocks of earlier tests' accounts: a new one may listen on the port of an old one."""
    clock_of.cache_clear()


@pytest.fixture
def account() -> SandboxAccount:
    """Return an empty account whose clock stands at the end of March 2025."""
    return SandboxAccount(now=datetime(2025, 4, 1, tzinfo=UTC))


@pytest.fixture
def sandbox(account: SandboxAccount) -> Iterator[Sandbox]:
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def bigquery(emulator: Emulator) -> Iterator[BigQueryProject]:
    """Yield the emulator, empty; at the end, Google's analyzer judges the statements sent to it."""
    project = BigQueryProject(emulator)
    yield project
    refused = project.refused()
    project.clear()
    assert not refused, "\n\n".join(["what was sent is not BigQuery's SQL:", *refused])


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A DuckDB file, or the warehouse of `on_each_warehouse`."""
    if getattr(request, "param", "duckdb") == "bigquery":
        return request.getfixturevalue("bigquery")
    return DuckDBFile(tmp_path / "warehouse.duckdb")


@pytest.fixture
def project(sandbox: Sandbox, engine: Engine) -> Project:
    return Project(sandbox, engine)
