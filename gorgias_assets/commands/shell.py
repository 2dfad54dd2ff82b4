"""A DuckDB shell on the warehouse that keeps no run from writing."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from time import time
from typing import Any

import dagster as dg
import duckdb

from gorgias_assets.commands.terminal import stoppable
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.warehouse.duckdb.session import DuckDBDialect
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import WarehouseError

_COPIES = "gorgias-sql-"
_LOCKED_WITHIN = 60  # seconds from the making of a folder


def shell(
    io_manager: dg.ConfigurableIOManagerFactory[Any], arguments: Sequence[str] = (), temporary: str | None = None
) -> int:
    """Open DuckDB's shell in the tables' schema; `arguments` are its own. Return its exit status.

    A process that has a file open, even to read, keeps all others from writing. So the shell is on a copy of the file,
    taken when the shell is opened, in a folder below `temporary`, or the system's. Raises `WarehouseError`.
    """
    if not isinstance(io_manager, GorgiasDuckDBIOManager):
        raise WarehouseError("The warehouse is BigQuery; query it with `bq query --use_legacy_sql=false 'SELECT …'`.")
    if find_spec("duckdb_cli") is None:
        raise WarehouseError("DuckDB's shell is not installed; `pip install duckdb-cli`.")
    warehouse, schema = io_manager.warehouse(), io_manager.schema_ or "main"
    if not warehouse.is_file:
        return _run(str(warehouse), str(warehouse).removeprefix("md:").partition("?")[0], schema, arguments)
    with stoppable(), _folder_of_copy(temporary or gettempdir()) as (folder, lock):
        copy = warehouse.copy_into(folder)
        print(f"A copy of {warehouse} of now, so that runs can write on; .quit ends it.", file=sys.stderr, flush=True)
        return _run(str(copy), _name_of(copy, schema, warehouse), schema, arguments, lock)


@contextmanager
def _folder_of_copy(within: str) -> Iterator[tuple[Path, int]]:
    """Yield a folder that is the owner's alone, and its lock, which lasts as long as a process has it.

    The folder is removed at the end. After a kill the next one removes it, once the shell in it has ended, too.
    """
    for left in Path(within).glob(f"{_COPIES}*"):
        _remove_if_left_over(left)
    folder = mkdtemp(prefix=_COPIES, dir=within)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(folder), lock
    finally:
        rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_if_left_over(folder: Path) -> None:
    with suppress(OSError):  # somebody else's, locked, or gone by now
        if time() - folder.stat().st_mtime < _LOCKED_WITHIN and not any(folder.iterdir()):
            return  # another process is about to lock it
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _name_of(copy: Path, schema: str, warehouse: DuckDBWarehouse) -> str:
    """Return DuckDB's name of the database in the file."""
    with duckdb.connect(copy) as connection:
        question = "SELECT current_database(), count(*) FROM duckdb_schemas() WHERE schema_name = ?"
        ((name, schemas),) = connection.execute(question, [schema]).fetchall()
    if not schemas:
        raise WarehouseError(f"There is no schema {schema} in {warehouse} yet; materialize an asset first.")
    return str(name)


def _run(database: str, name: str, schema: str, arguments: Sequence[str], *kept_open: int) -> int:
    quoted = DuckDBDialect().quoted
    place = ".".join(quoted(part) for part in (name, schema) if part)
    settings = f"SET TimeZone = 'UTC'; USE {place};"
    command = [sys.executable, "-m", "duckdb_cli", database, "-cmd", settings, *arguments]
    return subprocess.call(command, pass_fds=kept_open)  # noqa: S603, the user's own shell
