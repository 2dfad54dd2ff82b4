"""A DuckDB shell on the warehouse that keeps no run from writing."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import duckdb

from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.warehouse.duckdb.session import DuckDBDialect
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import WarehouseError


def shell(io_manager: dg.ConfigurableIOManagerFactory[Any], arguments: Sequence[str] = ()) -> int:
    """Open DuckDB's shell in the tables' schema; `arguments` are its own. Return its exit status.

    A process that has a file open, even to read, keeps all others from writing. So the shell is on a copy of the file,
    taken when the shell is opened. Raises `WarehouseError`.
    """
    if not isinstance(io_manager, GorgiasDuckDBIOManager):
        raise WarehouseError("The warehouse is BigQuery; query it with `bq query --use_legacy_sql=false 'SELECT …'`.")
    if find_spec("duckdb_cli") is None:
        raise WarehouseError("DuckDB's shell is not installed; `pip install duckdb-cli`.")
    warehouse, schema = io_manager.warehouse(), io_manager.schema_ or "main"
    if not warehouse.is_file:
        return _run(str(warehouse), str(warehouse).removeprefix("md:").partition("?")[0], schema, arguments)
    with TemporaryDirectory(prefix="gorgias-") as folder:
        copy = warehouse.copy_into(Path(folder))
        print(f"A copy of {warehouse} of now, so that runs can write on; .quit ends it.", file=sys.stderr, flush=True)
        return _run(str(copy), _name_of(copy, schema, warehouse), schema, arguments)


def _name_of(copy: Path, schema: str, warehouse: DuckDBWarehouse) -> str:
    """Return DuckDB's name of the database in the file."""
    with duckdb.connect(copy) as connection:
        question = "SELECT current_database(), count(*) FROM duckdb_schemas() WHERE schema_name = ?"
        ((name, schemas),) = connection.execute(question, [schema]).fetchall()
    if not schemas:
        raise WarehouseError(f"There is no schema {schema} in {warehouse} yet; materialize an asset first.")
    return str(name)


def _run(database: str, name: str, schema: str, arguments: Sequence[str]) -> int:
    quoted = DuckDBDialect().quoted
    place = ".".join(quoted(part) for part in (name, schema) if part)
    settings = f"SET TimeZone = 'UTC'; USE {place};"
    command = [sys.executable, "-m", "duckdb_cli", database, "-cmd", settings, *arguments]
    return subprocess.call(command)  # noqa: S603, the user's own shell
