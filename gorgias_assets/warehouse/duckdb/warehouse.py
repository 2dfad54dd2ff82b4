"""A DuckDB file: one writing process at a time, opened late and closed at once."""

import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import tenacity

from gorgias_assets.warehouse.duckdb.faults import fault, has_damaged_log, is_fault, is_in_use, is_missing
from gorgias_assets.warehouse.duckdb.modes import as_closed_as, like
from gorgias_assets.warehouse.duckdb.session import CATALOG, DuckDBDialect, DuckDBSession, check_name, is_text
from gorgias_assets.warehouse.tables import Slice, Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse

# A batch is one row group, which DuckDB then writes once and leaves alone. In row groups of its default size, 122,880,
# every batch would be merged with the ones before and compressed again, in several times the memory.
ROW_GROUP_ROWS = 4_096
# Of a new file. DuckDB since 1.2 reads it; it compresses long texts, and needs less memory to write them again.
STORAGE = "STORAGE_VERSION 'v1.2.0'"

_log = logging.getLogger(__name__)

_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_MOTHERDUCK = "md:"
_ATTEMPTS_BEFORE_REPORT = 20  # about three seconds
_REWRITTEN = ".rewritten"  # after the file's name: what is to replace it
# After it is replaced: a process that has opened the old file, and not locked it yet, is refused and opens the new one.
_LOCK_HELD_SECONDS = 0.2
_SPILL = ".spill-"  # after the file's name: a folder for what a query does not hold in memory


class DuckDBWarehouse(Warehouse):
    """Tables in a DuckDB file. Other processes find the file free between two calls."""

    batch_rows = ROW_GROUP_ROWS
    batch_bytes = 24 * 2**20
    reads_parts = True

    def __init__(
        self,
        database: str,
        connection_config: Mapping[str, Any],
        lock_timeout_seconds: float,
        report: Callable[[str], object] = _log.info,
    ) -> None:
        if database == ":memory:":
            raise WarehouseError("A DuckDB in memory is gone when the step ends; name a file.")
        if not is_text(database):
            raise WarehouseError("The warehouse URI names no file; expected duckdb:///<file>.")
        self._database = database if database.startswith(_MOTHERDUCK) else _file(database)
        # Rows come one batch at a time: more threads would only contend.
        self._connection_config = {"threads": 1, **connection_config}
        self._lock_timeout_seconds = lock_timeout_seconds
        self._report = report

    def __str__(self) -> str:
        return self._database

    @property
    def is_file(self) -> bool:
        """True for a file of this machine, False for a database of MotherDuck."""
        return not self._database.startswith(_MOTHERDUCK)

    @property
    def dialect(self) -> DuckDBDialect:
        return DuckDBSession.dialect

    def command_for(self, table: Table) -> str:
        catalog = Path(self._database).stem if self.is_file else ""
        is_both = catalog.lower() == table.schema.lower()  # of the file and of the schema: DuckDB asks which is meant
        name = f"{self.dialect.quoted(catalog)}." * is_both + self.dialect.name_of(table)
        return shlex.join(["duckdb", self._database, "-c", f"FROM {name} LIMIT 10"])

    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        try:
            return super().replace(table, rows, where)
        except (duckdb.DataError, duckdb.InvalidInputException, duckdb.NotSupportedError) as error:
            # The error's text quotes the value, which may be from a customer's letter.
            raise WarehouseError(
                f"DuckDB refused to convert a value for {table} ({type(error).__name__}); compare the types of the "
                "frame's columns, and 'partition_expr', with those of the table."
            ) from None

    def copy_into(self, folder: Path) -> Path:
        """Copy the file, under its own name, at a moment when nobody writes; afterwards the file itself is free."""
        if not self._exists():
            raise WarehouseError(f"There is nothing in {self} yet; materialize an asset first.")
        file = Path(self._database)
        with self._connection(read_only=True):
            # The file last: its lock is this process's, and is lost with the first descriptor that is closed.
            for part in (file.with_name(f"{file.name}.wal"), file):
                if part.exists():
                    (folder / part.name).touch(0o600)  # whatever the mode of the file
                    copyfile(part, folder / part.name)
        return folder / file.name

    def expunge(self, schema: str) -> str:  # noqa: ARG002, the file is one
        """Write the file anew, since DuckDB leaves the bytes of what was deleted in free blocks, and replace it.

        Other processes wait meanwhile. After a kill the file is the old one or the new one.
        """
        if not self.is_file:
            return "MotherDuck keeps snapshots of a database; its retention ends them, and DROP SNAPSHOT does at once."
        file = Path(self._database).resolve()
        new = Path(f"{file}{_REWRITTEN}")
        quoted, quote = DuckDBDialect().quoted, DuckDBDialect().literal
        with self._connection(read_only=False) as connection:
            connection.execute(f"CHECKPOINT {quoted(CATALOG)}")  # whatever is in the log would be lost with the file
            try:
                options = f"TYPE duckdb, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, {STORAGE}"
                connection.execute(f"ATTACH {quote(str(new))} AS rewritten ({options})")
                connection.execute(f"COPY FROM DATABASE {quoted(CATALOG)} TO rewritten")
                connection.execute("DETACH rewritten")
                like(file, new)
                new.replace(file)
            finally:
                new.unlink(missing_ok=True)
            sleep(_LOCK_HELD_SECONDS)
        return ""

    @contextmanager
    def _writing(self, schema: str) -> Iterator[DuckDBSession]:
        """Yield a session in a transaction, which is committed unless the block raises."""
        check_name("schema", schema)
        with self._connection(read_only=False) as connection:
            connection.begin()
            yield DuckDBSession(connection)
            connection.commit()

    @contextmanager
    def _reading(self, schema: str) -> Iterator[DuckDBSession | None]:
        check_name("schema", schema)
        if self._exists():
            with self._connection(read_only=True) as connection:
                yield DuckDBSession(connection)
        else:
            yield None

    def _exists(self) -> bool:
        return not self.is_file or not is_missing(self._database)

    @contextmanager
    def _connection(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection in UTC, and close it, which rolls back an open transaction."""
        opening = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._is_in_use),
            wait=tenacity.wait_random(0.02, 0.3),
            stop=tenacity.stop_after_delay(self._lock_timeout_seconds),
            before_sleep=self._report_waiting,
        )
        try:
            connection = opening(self._open, read_only)
        except tenacity.RetryError as error:
            reason = str(error.last_attempt.exception())
            raise WarehouseError(self._in_use_message(reason), passes=True) from None
        except duckdb.IOException as error:  # MotherDuck's
            sentence = f"{self._database} cannot be opened; correct the warehouse URI. {error}"
            raise WarehouseError(sentence, passes=True) from None
        with as_closed_as(self._database):
            try:
                yield connection
            except duckdb.Error as error:
                if not self.is_file or not is_fault(error):
                    raise
                raise fault(error, self._database) from None
            finally:
                connection.close()

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Attach the file to an instance of its own, since only ATTACH takes the size of row groups."""
        if not self.is_file:
            connection = duckdb.connect(self._database, config=self._connection_config)
        else:
            connection = duckdb.connect(":memory:", config=self._connection_config)
            try:
                with as_closed_as(self._database):
                    self._attach(connection, read_only)
            except (duckdb.Error, OSError) as error:
                connection.close()
                if self._is_in_use(error):
                    raise
                raise fault(error, self._database) from None
            connection.execute(f"USE {CATALOG}")
            if "temp_directory" not in self._connection_config:
                spill = DuckDBDialect().literal(f"{self._database}{_SPILL}{uuid4().hex}")
                connection.execute(f"SET temp_directory = {spill}")
            if not read_only:
                self._remove_left_over()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        return connection

    def _attach(self, connection: duckdb.DuckDBPyConnection, read_only: bool) -> None:
        options = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
        if is_missing(self._database):
            if not read_only:
                self._create(connection)
                options += f", {STORAGE}"
        elif has_damaged_log(self._database):
            raise duckdb.IOException("Corrupt WAL file")  # DuckDB's error for damage further on
        connection.execute(f"ATTACH {DuckDBDialect().literal(self._database)} AS {CATALOG} (TYPE duckdb, {options})")

    def _create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put a whole empty file in place at once, unless another process is first.

        DuckDB writes a new file piece by piece. Another process cannot open an incomplete file, and nobody can open
        one that a kill or a full disk left.
        """
        if not is_missing(f"{self._database}.wal"):
            return  # the log has lost its file; DuckDB removes it when it creates the file itself
        with TemporaryDirectory(prefix=".duckdb-", dir=Path(self._database).parent) as folder:
            new = Path(folder) / "new"
            connection.execute(f"ATTACH {DuckDBDialect().literal(str(new))} AS new ({STORAGE})")
            connection.execute("DETACH new")
            with suppress(OSError):  # there is a file by now; or the disk has no links, and DuckDB creates it
                Path(self._database).hardlink_to(new)

    def _remove_left_over(self) -> None:
        """Remove what killed processes have spilled: nobody else has the file open while this one may write."""
        file = Path(self._database)
        for left in file.parent.glob(f"{escape(file.name)}{_SPILL}*"):
            rmtree(left, ignore_errors=True)
        for ending in ("", ".wal"):
            Path(f"{file.resolve()}{_REWRITTEN}{ending}").unlink(missing_ok=True)

    def _is_in_use(self, error: BaseException) -> bool:
        return is_in_use(error, self._database)

    def _report_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == _ATTEMPTS_BEFORE_REPORT:
            self._report(
                f"{self._database} is open elsewhere; waiting up to {self._lock_timeout_seconds:,.0f} s for it"
            )

    def _in_use_message(self, reason: str) -> str:
        holder = _HOLDER.search(reason)
        who = f"{holder['program']}, process {holder['pid']}" if holder else "a connection of this process"
        return (
            f"{self._database} has been open in {who} for {self._lock_timeout_seconds:,.0f} s, and DuckDB lets one "
            "process write at a time. Close it there, then run this again."
        )


def _file(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise WarehouseError(
            "The home folder that ~ in the warehouse URI stands for is unknown; name the folder itself."
        ) from None
