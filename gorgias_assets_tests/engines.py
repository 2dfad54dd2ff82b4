"""The warehouses that a test can run on, and access to each past this project."""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from gorgias_assets.io_managers.bigquery import JOB_ID_PREFIX, GorgiasBigQueryIOManager
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.warehouse.bigquery.types import type_of
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.googlesql import refusals, sent, tables_of

OF_EMULATOR = "bq.main."  # before functions in the query of a view that was made by a statement

on_each_warehouse = pytest.mark.parametrize("engine", ["duckdb", "bigquery"], indirect=True)

# On BigQuery with `make soak` only: its emulator takes about a second for a write.
on_each_warehouse_in_time = pytest.mark.parametrize(
    "engine", ["duckdb", pytest.param("bigquery", marks=pytest.mark.soak)], indirect=True
)


def cases_on_each_warehouse(name: str, cases: dict[str, Any], *, bigquery: Collection[str]) -> pytest.MarkDecorator:
    """Parametrize by named cases: all on DuckDB, some on BigQuery; `make soak` runs the others there, too."""
    params = [pytest.param("duckdb", value, id=f"{case}-duckdb") for case, value in cases.items()]
    params += [
        pytest.param("bigquery", value, id=f"{case}-bigquery", marks=() if case in bigquery else pytest.mark.soak)
        for case, value in cases.items()
    ]
    return pytest.mark.parametrize(("engine", name), params, indirect=["engine"])


class Engine(ABC):
    """A warehouse with nothing in it yet."""

    integer: str  # its type for them

    @abstractmethod
    def io_manager(self, schema: str | None = None, **settings: Any) -> dg.ConfigurableIOManagerFactory: ...

    @abstractmethod
    def warehouse(self) -> Warehouse: ...

    @abstractmethod
    def query(self, sql: str) -> list[tuple[Any, ...]]: ...

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """Change the tables as a user does by hand."""

    @abstractmethod
    def json(self, value: Any) -> Any:
        """Return a JSON value of `query` as Python's."""

    @abstractmethod
    def types(self, schema: str, table: str) -> dict[str, str]:
        """Return the types of a table's columns, in the engine's dialect."""

    @abstractmethod
    def descriptions(self, schema: str, table: str) -> dict[str, str]: ...


class DuckDBFile(Engine):
    integer = "BIGINT"

    def __init__(self, file: Path, lock_timeout_seconds: float = 20) -> None:
        self.file = file
        self.lock_timeout_seconds = lock_timeout_seconds

    def io_manager(self, schema: str | None = None, **settings: Any) -> GorgiasDuckDBIOManager:
        waiting = {"lock_timeout_seconds": self.lock_timeout_seconds}
        return GorgiasDuckDBIOManager(database=str(self.file), schema=schema, **waiting | settings)

    def warehouse(self) -> DuckDBWarehouse:
        return self.io_manager().warehouse()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def execute(self, *statements: str) -> None:
        with duckdb.connect(str(self.file)) as connection:
            for statement in statements:
                connection.execute(statement)

    def json(self, value: Any) -> Any:
        return json.loads(value)

    def types(self, schema: str, table: str) -> dict[str, str]:
        return self._of_columns("data_type", schema, table)

    def descriptions(self, schema: str, table: str) -> dict[str, str]:
        return self._of_columns("comment", schema, table)

    def _of_columns(self, what: str, schema: str, table: str) -> dict[str, str]:
        where = f"schema_name = '{schema}' AND table_name = '{table}'"
        return dict(self.query(f"SELECT column_name, {what} FROM duckdb_columns() WHERE {where} ORDER BY column_index"))


class BigQueryProject(Engine):
    """The emulator's project; what is in it is removed by `clear`."""

    integer = "INT64"

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.project = emulator.project
        self._entered_at = datetime.now(UTC)

    def io_manager(self, schema: str | None = None, **settings: Any) -> GorgiasBigQueryIOManager:
        endpoints = {
            "api_endpoint": self.emulator.api_endpoint,
            "storage_endpoint": self.emulator.storage_endpoint,
        }
        return GorgiasBigQueryIOManager(project=self.project, dataset=schema, **endpoints | settings)

    def warehouse(self) -> BigQueryWarehouse:
        return self.io_manager().warehouse()

    def client(self) -> "closing[bigquery.Client]":
        options = {"api_endpoint": self.emulator.api_endpoint}
        return closing(bigquery.Client(self.project, AnonymousCredentials(), client_options=options))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.client() as client:
            return [row.values() for row in client.query(sql, location="US").result()]

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self.query(statement)

    def json(self, value: Any) -> Any:
        return value

    def types(self, schema: str, table: str) -> dict[str, str]:
        return {column.name: type_of(column) for column in self.table(schema, table).schema}

    def descriptions(self, schema: str, table: str) -> dict[str, str]:
        return {column.name: column.description for column in self.table(schema, table).schema}

    def table(self, schema: str, table: str) -> bigquery.Table:
        with self.client() as client:
            return client.get_table(f"{self.project}.{schema}.{table}")

    def clear(self) -> None:
        with self.client() as client:
            for dataset in client.list_datasets():
                client.delete_dataset(dataset.reference, delete_contents=True)

    def jobs(self) -> list[Any]:
        """Return all jobs of the test, the oldest first."""
        with self.client() as client:
            return sorted(client.list_jobs(min_creation_time=self._entered_at), key=lambda job: job.created)

    def refused(self) -> list[str]:
        """Return the refusals of Google's analyzer, of the statements that the emulator has accepted."""
        jobs = [job for job in self.jobs() if job.job_id.startswith(JOB_ID_PREFIX)]
        with self.client() as client:
            tables = tables_of(client, jobs)
            listed = [item for dataset in client.list_datasets() for item in client.list_tables(dataset.reference)]
            views = [
                client.get_table(item).view_query.replace(OF_EMULATOR, "")
                for item in listed
                if item.table_type == "VIEW"
            ]
        return refusals([*sent(jobs), *views], tables)

    def statements(self) -> list[str]:
        return [job.query for job in self.jobs() if job.job_type == "query"]
