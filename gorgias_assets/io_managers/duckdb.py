"""Merging in DuckDB: one file, one writing process at a time, opened late and closed at once."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import dagster as dg
import duckdb
import pyarrow as pa
import tenacity
from dagster_duckdb import DuckDBIOManager
from pydantic import Field

from gorgias_assets.columns import ADDED_COLUMNS, DELETED_AT, EXTRACTED_AT, MERGED_INTO
from gorgias_assets.entities import Column
from gorgias_assets.gone import Tombstone
from gorgias_assets.io_managers import duckdb_sweeps as sweeps
from gorgias_assets.io_managers.duckdb_faults import has_damaged_log, is_fault, is_missing, meaning
from gorgias_assets.io_managers.duckdb_sql import TYPES, columns_of, count, literal, name_of, quoted, scalar
from gorgias_assets.io_managers.frames import cast_columns
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.warehouse import (
    Candidates,
    Dimension,
    Merged,
    Saved,
    Slice,
    Table,
    Warehouse,
    WarehouseError,
)
from gorgias_assets.windows import Window

T = TypeVar("T")

# A batch is one row group, which DuckDB then writes once and leaves alone. In row groups of its default size, 122,880,
# every batch would be merged with the ones before and compressed again, in several times the memory.
ROW_GROUP_ROWS = 4_096

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

    def merge(
        self, table: Table, columns: Sequence[Column], rows: pa.Table, passed: pa.Table, saved: Saved | None = None
    ) -> Merged:
        with self._transaction(rows) as connection:
            _ensure_table(connection, table, (*columns, *ADDED_COLUMNS))
            before = count(connection, table)
            merged = _merge(connection, table, rows.column_names, "WHEN NOT MATCHED THEN INSERT BY NAME")
            total = count(connection, table)
            refreshed = 0
            if passed.num_rows:
                connection.register(_ROWS, passed)
                refreshed = _merge(connection, table, passed.column_names)
            if saved:
                sweeps.save(connection, table, saved)
        return Merged(rows=merged, new=total - before, refreshed=refreshed, total=total)

    def saved_position(self, table: Table, key: str) -> str | None:
        return self._ask(table, lambda connection: sweeps.saved_position(connection, table, key), None)

    def forget_position(self, table: Table, key: str) -> None:
        with self._transaction() as connection:
            sweeps.forget_position(connection, table, key)

    def has_unread(self, table: Table, since: datetime) -> bool:
        return self._ask(table, lambda connection: sweeps.has_unread(connection, table, since), False)

    def note_candidates(
        self, table: Table, covered: tuple[str, datetime | None, datetime | None], ids: Collection[int], since: datetime
    ) -> None:
        with self._transaction() as connection:
            sweeps.note_candidates(connection, table, covered, ids, since)

    def candidates(self, table: Table, fields: Sequence[str], limit: int) -> Candidates:
        return self._ask(
            table, lambda connection: sweeps.candidates(connection, table, fields, limit), Candidates([], 0)
        )

    def settle_candidates(
        self, table: Table, looked_at: Collection[int], gone: Sequence[Tombstone], along: Mapping[Table, str]
    ) -> int:
        with self._transaction() as connection:
            return sweeps.settle_candidates(connection, table, looked_at, gone, along)

    def rows_touched(self, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]) -> list[int]:
        return self._ask(
            table, lambda connection: sweeps.rows_touched(connection, table, touch_fields, windows), [0] * len(windows)
        )

    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        condition = _condition(where)
        with self._transaction(rows) as connection, _values_kept_out_of_errors(table):
            existing = columns_of(connection, table)
            if EXTRACTED_AT in existing and EXTRACTED_AT not in rows.column_names:
                raise WarehouseError(
                    f"{table} holds rows merged from Gorgias, which this asset would replace; give the asset another "
                    "name, or another schema by its 'schema' metadata."
                )
            if not rows.column_names:  # an empty frame that does not even say which columns it would have
                if existing:
                    connection.execute(f"DELETE FROM {name_of(table)} WHERE {condition}")
                return count(connection, table) if existing else 0
            _fit(connection, table, rows, existing)
            if outside := scalar(connection, f"SELECT count(*) FROM {_ROWS} WHERE ({condition}) IS NOT TRUE"):
                raise WarehouseError(
                    f"{outside:,} of {rows.num_rows:,} rows for {table} lie outside the partition being written, so a "
                    "later run would add them again. Return rows of the partition alone, or correct 'partition_expr'."
                )
            connection.execute(f"DELETE FROM {name_of(table)} WHERE {condition}")
            connection.execute(f"INSERT INTO {name_of(table)} BY NAME SELECT * FROM {_ROWS}")
            return count(connection, table)

    def read(self, table: Table, where: Slice, columns: Sequence[str] | None = None) -> pa.Table:
        selected = ", ".join(map(quoted, columns)) if columns else "*"
        missing = WarehouseError(f"There is no table {table} in {self._database}; materialise its asset first.")
        if not self._exists():
            raise missing
        with self._connection(read_only=True) as connection:
            if not columns_of(connection, table):
                raise missing
            query = f"SELECT {selected} FROM {name_of(table)} WHERE {_condition(where)}"
            return connection.sql(query).to_arrow_table()

    def _ask(self, table: Table, question: Callable[[duckdb.DuckDBPyConnection], T], without_table: T) -> T:
        """The answer from the table, or what holds where there is none yet."""
        if not self._exists():
            return without_table
        with self._connection(read_only=True) as connection:
            return question(connection) if columns_of(connection, table) else without_table

    def _exists(self) -> bool:
        return self._database.startswith(_MOTHERDUCK) or not is_missing(self._database)

    @contextmanager
    def _transaction(self, rows: pa.Table | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which `rows` can be selected from; committed unless the block raises."""
        with self._connection(read_only=False) as connection:
            if rows is not None and rows.column_names:
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
        except duckdb.IOException as error:  # MotherDuck's
            raise WarehouseError(f"{self._database} cannot be opened; correct the warehouse URI. {error}") from None
        try:
            yield connection
        except duckdb.Error as error:
            if self._database.startswith(_MOTHERDUCK) or not is_fault(error):
                raise
            raise WarehouseError(meaning(error, self._database)) from None
        finally:
            connection.close()

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Attach the file to an instance of its own: only ATTACH takes the size of row groups."""
        if self._database.startswith(_MOTHERDUCK):
            connection = duckdb.connect(self._database, config=self._connection_config)
        else:
            connection = duckdb.connect(":memory:", config=self._connection_config)
            try:
                self._attach(connection, read_only)
            except (duckdb.Error, OSError) as error:
                connection.close()
                if _is_in_use(error):
                    raise
                raise WarehouseError(meaning(error, self._database)) from None
            connection.execute(f"USE {_CATALOG}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        return connection

    def _attach(self, connection: duckdb.DuckDBPyConnection, read_only: bool) -> None:
        if is_missing(self._database):
            if not read_only:
                self._create(connection)
        elif has_damaged_log(self._database):
            raise duckdb.IOException("Corrupt WAL file")  # as DuckDB says of damage further on
        options = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
        connection.execute(f"ATTACH {literal(self._database)} AS {_CATALOG} (TYPE duckdb, {options})")

    def _create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put a whole empty file in place at once, unless another process is first.

        DuckDB writes a new file piece by piece: what a kill or a full disk leaves of it can never be opened, nor can
        another process open it meanwhile.
        """
        if not is_missing(f"{self._database}.wal"):
            return  # a log that has lost its file: DuckDB removes it when it creates the file itself
        with TemporaryDirectory(prefix=".duckdb-", dir=Path(self._database).parent) as folder:
            new = Path(folder) / "new"
            connection.execute(f"ATTACH {literal(str(new))} AS new")
            connection.execute("DETACH new")
            with suppress(OSError):  # there is a file by now, or there are no links here, and DuckDB creates it
                Path(self._database).hardlink_to(new)

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


def _merge(connection: duckdb.DuckDBPyConnection, table: Table, names: Sequence[str], otherwise: str = "") -> int:
    """Merge `_ROWS` by id, and return how many rows that changed or added."""
    assignments = ", ".join(f"{quoted(name)} = source.{quoted(name)}" for name in names)
    return scalar(
        connection,
        f"MERGE INTO {name_of(table)} AS target USING {_ROWS} AS source ON target.id = source.id "
        f"WHEN MATCHED AND source.{EXTRACTED_AT} >= target.{EXTRACTED_AT} THEN UPDATE SET {assignments} {otherwise}",
    )


def _ensure_table(connection: duckdb.DuckDBPyConnection, table: Table, columns: Sequence[Column]) -> None:
    """Create the table, or add the columns that it lacks; raise `WarehouseError` where a type differs."""
    existing = columns_of(connection, table)
    if not existing:
        declared = ", ".join(f"{quoted(column.name)} {TYPES[column.kind]}" for column in columns)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        connection.execute(f"CREATE TABLE {name_of(table)} ({declared})")
    for column in columns:
        wanted, found = TYPES[column.kind], existing.get(column.name)
        if found is None:
            if existing:
                connection.execute(f"ALTER TABLE {name_of(table)} ADD COLUMN {quoted(column.name)} {wanted}")
            comment = literal(column.description)
            connection.execute(f"COMMENT ON COLUMN {name_of(table)}.{quoted(column.name)} IS {comment}")
        elif found != wanted:
            raise WarehouseError(
                f"Column {column.name!r} of {table} is {found}, not {wanted}: this table was made by something else. "
                "Rename it, or choose another schema."
            )
    _ensure_view_of_living(connection, table)


def _ensure_view_of_living(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Put a view beside the table, unless there is something of that name.

    It names the table without the schema, and DuckDB looks for it in the view's own: in a file that is named as the
    schema is, the schema's name would be ambiguous.
    """
    ((database,),) = connection.execute("SELECT current_database()").fetchall()
    connection.execute(f"USE {quoted(database)}.{quoted(table.schema)}")
    connection.execute(
        f"CREATE VIEW IF NOT EXISTS {quoted(f'{table.name}_live')} AS "
        f"SELECT * EXCLUDE ({DELETED_AT}, {MERGED_INTO}) FROM {quoted(table.name)} WHERE {DELETED_AT} IS NULL"
    )
    connection.execute(f"USE {quoted(database)}")


def _fit(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table, existing: Mapping[str, str]) -> None:
    """Give the table the columns of `rows`, and let `_ROWS` be `rows` in the spelling and types of its columns."""
    spelling = {name.lower(): name for name in existing}
    rows = rows.rename_columns([spelling.get(name.lower(), name) for name in rows.column_names])
    connection.register(_ROWS, rows)
    _ensure_columns_of_rows(connection, table, existing)
    schema = connection.sql(f"SELECT * FROM {name_of(table)} LIMIT 0").to_arrow_table().schema
    connection.register(_ROWS, cast_columns(rows, schema, table))


def _ensure_columns_of_rows(connection: duckdb.DuckDBPyConnection, table: Table, existing: Mapping[str, str]) -> None:
    """Create the table after the rows to write, or add the columns that it lacks."""
    typed = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {_ROWS}").fetchall()}
    if not existing:
        declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in typed.items())
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table.schema)}")
        connection.execute(f"CREATE TABLE {name_of(table)} ({declared})")
    for name in typed.keys() - existing.keys() if existing else ():
        connection.execute(f"ALTER TABLE {name_of(table)} ADD COLUMN {quoted(name)} {typed[name]}")


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


def _condition(where: Slice) -> str:
    return " AND ".join(f"({_any_of(dimension)})" for dimension in where) or "true"


def _any_of(dimension: Dimension) -> str:
    terms = [_term(expression, item) for expression in dimension.expressions for item in dimension.within]
    return " OR ".join(terms) or "false"


def _term(expression: str, item: Window | str) -> str:
    if isinstance(item, str):
        return f"CAST({expression} AS VARCHAR) = {literal(item)}"
    moment = f"CAST({expression} AS TIMESTAMPTZ)"
    return f"{moment} >= '{item.start.isoformat()}' AND {moment} < '{item.end.isoformat()}'"
