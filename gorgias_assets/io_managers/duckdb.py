"""Merging in DuckDB: one file, one writing process at a time, opened late and closed at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import tenacity
from dagster_duckdb import DuckDBIOManager
from pydantic import Field

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT
from gorgias_assets.entities import Column, Kind
from gorgias_assets.io_managers.frames import cast_columns
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.warehouse import (
    Dimension,
    Merged,
    Slice,
    Table,
    Warehouse,
    WarehouseError,
)
from gorgias_assets.sweeps import Window

# A batch is one row group, which DuckDB then writes once and leaves alone. In row groups of its default size, 122,880,
# every batch would be merged with the ones before and compressed again, in several times the memory.
ROW_GROUP_ROWS = 4_096

_TYPES = {
    Kind.INTEGER: "BIGINT",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.STRING: "VARCHAR",
    Kind.DATETIME: "TIMESTAMP WITH TIME ZONE",
    Kind.JSON: "JSON",
}
_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_MOTHERDUCK = "md:"
_ATTEMPTS_BEFORE_TELLING = 20  # about three seconds
_CATALOG = "_gorgias_file"  # the attached file; a schema of the same name would make two-part names ambiguous
_ROWS = "_gorgias_rows"  # the view under which a connection sees the rows to write


class GorgiasDuckDBIOManager(DuckDBIOManager):
    """Merges sweeps, pandas DataFrames and Arrow tables into a DuckDB file, or into MotherDuck (`md:`).

    Takes the settings of dagster-duckdb's IO managers.
    """

    lock_timeout_seconds: float = Field(
        default=300, gt=0, description="How long to wait while another process has the file open."
    )

    @staticmethod
    def type_handlers() -> list[Any]:
        return []

    def create_io_manager(  # type: ignore[override]  # an IO manager, but none that deletes first
        self,
        context: dg.InitResourceContext,  # noqa: ARG002
    ) -> MergingIOManager:
        warehouse = DuckDBWarehouse(self.database, self.connection_config, self.lock_timeout_seconds)
        return MergingIOManager(warehouse, self.schema_)


class DuckDBWarehouse(Warehouse):
    """Tables in a DuckDB file. Other processes find the file free between two calls."""

    batch_rows = ROW_GROUP_ROWS

    def __init__(self, database: str, connection_config: Mapping[str, Any], lock_timeout_seconds: float) -> None:
        if database == ":memory:":
            raise WarehouseError("A DuckDB in memory is gone when the step ends; name a file.")
        self._database = database if database.startswith(_MOTHERDUCK) else str(Path(database).expanduser())
        # Rows come one batch at a time: more threads would only contend.
        self._connection_config = {"threads": 1, **connection_config}
        self._lock_timeout_seconds = lock_timeout_seconds

    def merge(self, table: Table, columns: Sequence[Column], rows: pa.Table) -> Merged:
        with self._transaction(rows) as connection:
            _ensure_table(connection, table, (*columns, *ADDED_COLUMNS))
            before = _count(connection, table)
            assignments = ", ".join(f"{_quoted(name)} = source.{_quoted(name)}" for name in rows.column_names)
            merged = _scalar(
                connection,
                f"MERGE INTO {_name(table)} AS target USING {_ROWS} AS source ON target.id = source.id "
                f"WHEN MATCHED AND source.{EXTRACTED_AT} >= target.{EXTRACTED_AT} THEN UPDATE SET {assignments} "
                "WHEN NOT MATCHED THEN INSERT BY NAME",
            )
            total = _count(connection, table)
        return Merged(rows=merged, new=total - before, total=total)

    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        condition = _condition(where)
        with self._transaction(rows) as connection, _values_kept_out_of_errors(table):
            existing = _columns(connection, table)
            if EXTRACTED_AT in existing and EXTRACTED_AT not in rows.column_names:
                raise WarehouseError(
                    f"{table} holds rows merged from Gorgias, which this asset would replace; give the asset another "
                    "name, or another schema by its 'schema' metadata."
                )
            if not rows.column_names:  # an empty frame that does not even say which columns it would have
                if existing:
                    connection.execute(f"DELETE FROM {_name(table)} WHERE {condition}")
                return _count(connection, table) if existing else 0
            _fit(connection, table, rows, existing)
            if outside := _scalar(connection, f"SELECT count(*) FROM {_ROWS} WHERE ({condition}) IS NOT TRUE"):
                raise WarehouseError(
                    f"{outside:,} of {rows.num_rows:,} rows for {table} lie outside the partition being written, so a "
                    "later run would add them again. Return rows of the partition alone, or correct 'partition_expr'."
                )
            connection.execute(f"DELETE FROM {_name(table)} WHERE {condition}")
            connection.execute(f"INSERT INTO {_name(table)} BY NAME SELECT * FROM {_ROWS}")
            return _count(connection, table)

    def read(self, table: Table, where: Slice, columns: Sequence[str] | None = None) -> pa.Table:
        selected = ", ".join(map(_quoted, columns)) if columns else "*"
        missing = WarehouseError(f"There is no table {table} in {self._database}; materialise its asset first.")
        if not self._database.startswith(_MOTHERDUCK) and not Path(self._database).exists():
            raise missing
        with self._connection(read_only=True) as connection:
            if not _columns(connection, table):
                raise missing
            query = f"SELECT {selected} FROM {_name(table)} WHERE {_condition(where)}"
            return connection.sql(query).to_arrow_table()

    @contextmanager
    def _transaction(self, rows: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which `rows` can be selected from; committed unless the block raises."""
        with self._connection(read_only=False) as connection:
            if rows.column_names:
                connection.register(_ROWS, rows)
            connection.begin()
            yield connection
            connection.commit()

    @contextmanager
    def _connection(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in UTC; a transaction left open is rolled back by closing it."""
        opening = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_in_use),
            wait=tenacity.wait_random(0.02, 0.3),
            stop=tenacity.stop_after_delay(self._lock_timeout_seconds),
            before_sleep=self._tell_of_waiting,
        )
        try:
            connection = opening(self._open, read_only)
        except tenacity.RetryError as error:
            raise WarehouseError(self._in_use_message(str(error.last_attempt.exception()))) from None
        except duckdb.IOException as error:
            raise WarehouseError(f"{self._database} cannot be opened; correct the warehouse URI. {error}") from None
        try:
            yield connection
        finally:
            connection.close()

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Attach the file to an instance of its own: only ATTACH takes the size of row groups."""
        if self._database.startswith(_MOTHERDUCK):
            connection = duckdb.connect(self._database, config=self._connection_config)
        else:
            connection = duckdb.connect(":memory:", config=self._connection_config)
            options = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
            try:
                connection.execute(f"ATTACH {_literal(self._database)} AS {_CATALOG} ({options})")
            except duckdb.Error:
                connection.close()
                raise
            connection.execute(f"USE {_CATALOG}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        return connection

    def _tell_of_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == _ATTEMPTS_BEFORE_TELLING:
            dg.get_dagster_logger().info(
                f"{self._database} is open elsewhere; waiting up to {self._lock_timeout_seconds:,.0f} s for it"
            )

    def _in_use_message(self, reason: str) -> str:
        holder = _HOLDER.search(reason)
        who = f"{holder['program']}, process {holder['pid']}" if holder else "a connection of this process"
        return (
            f"{self._database} has been open in {who} for {self._lock_timeout_seconds:,.0f} s, and DuckDB lets one "
            "process write at a time. Close it there, then run this again."
        )


def _is_in_use(error: BaseException) -> bool:
    """Another process holds the file's lock, or another connection of this process has it attached."""
    conflicts = ("Could not set lock on file", "Unique file handle conflict")
    return isinstance(error, duckdb.Error) and any(conflict in str(error) for conflict in conflicts)


def _ensure_table(connection: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[Column]) -> None:
    """Create the table, or add the columns that it lacks; raise `WarehouseError` where a type differs."""
    existing = _columns(connection, table)
    if not existing:
        declared = ", ".join(f"{_quoted(column.name)} {_TYPES[column.kind]}" for column in columns)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(table.schema)}")
        connection.execute(f"CREATE TABLE {_name(table)} ({declared})")
    for column in columns:
        wanted, found = _TYPES[column.kind], existing.get(column.name)
        if found is None:
            if existing:
                connection.execute(f"ALTER TABLE {_name(table)} ADD COLUMN {_quoted(column.name)} {wanted}")
            comment = _literal(column.description)
            connection.execute(f"COMMENT ON COLUMN {_name(table)}.{_quoted(column.name)} IS {comment}")
        elif found != wanted:
            raise WarehouseError(
                f"Column {column.name!r} of {table} is {found}, not {wanted}: this table was made by something else. "
                "Rename it, or choose another schema."
            )


def _fit(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table, existing: Mapping[str, str]) -> None:
    """Give the table the columns of `rows`, and let `_ROWS` be `rows` in the spelling and types of its columns."""
    spelling = {name.lower(): name for name in existing}
    rows = rows.rename_columns([spelling.get(name.lower(), name) for name in rows.column_names])
    connection.register(_ROWS, rows)
    _ensure_columns_of_rows(connection, table, existing)
    schema = connection.sql(f"SELECT * FROM {_name(table)} LIMIT 0").to_arrow_table().schema
    connection.register(_ROWS, cast_columns(rows, schema, table))


def _ensure_columns_of_rows(connection: duckdb.DuckDBPyConnection, table: Table, existing: Mapping[str, str]) -> None:
    """Create the table after the rows to write, or add the columns that it lacks."""
    typed = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {_ROWS}").fetchall()}
    if not existing:
        declared = ", ".join(f"{_quoted(name)} {kind}" for name, kind in typed.items())
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(table.schema)}")
        connection.execute(f"CREATE TABLE {_name(table)} ({declared})")
    for name in typed.keys() - existing.keys() if existing else ():
        connection.execute(f"ALTER TABLE {_name(table)} ADD COLUMN {_quoted(name)} {typed[name]}")


@contextmanager
def _values_kept_out_of_errors(table: Table) -> Iterator[None]:
    """DuckDB quotes the value that it cannot convert, which may be from a customer's letter."""
    try:
        yield
    except duckdb.DataError as error:
        raise WarehouseError(
            f"DuckDB refused to convert a value for {table} ({type(error).__name__}); compare the types of the frame's "
            "columns, and 'partition_expr', with those of the table."
        ) from None


def _columns(connection: duckdb.DuckDBPyConnection, table: Table) -> dict[str, str]:
    """The table's columns and their types in order; empty where there is no such table."""
    return dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [table.schema, table.name],
        ).fetchall()
    )


def _count(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    return _scalar(connection, f"SELECT count(*) FROM {_name(table)}")


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((value,),) = connection.execute(query).fetchall()
    return int(value)


def _condition(where: Slice) -> str:
    return " AND ".join(f"({_any_of(dimension)})" for dimension in where) or "true"


def _any_of(dimension: Dimension) -> str:
    terms = [_term(expression, item) for expression in dimension.expressions for item in dimension.within]
    return " OR ".join(terms) or "false"


def _term(expression: str, item: Window | str) -> str:
    if isinstance(item, str):
        return f"CAST({expression} AS VARCHAR) = {_literal(item)}"
    moment = f"CAST({expression} AS TIMESTAMPTZ)"
    return f"{moment} >= '{item.start.isoformat()}' AND {moment} < '{item.end.isoformat()}'"


def _name(table: Table) -> str:
    if table.schema.lower() in ("memory", "temp", "system"):
        raise WarehouseError(f"DuckDB has a database of its own named {table.schema!r}; choose another schema.")
    return f"{_quoted(table.schema)}.{_quoted(table.name)}"


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
