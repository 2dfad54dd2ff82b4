"""Serve local-bigquery on loopback, from the environment that `requirements.txt` describes.

It prints its two ports, REST and gRPC, once it can be reached. SIGTERM ends it, and so does the end of its standard
input, so that it does not outlive the process that started it.
"""

import argparse
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import duckdb_extension_ducklake
import duckdb_extension_icu

HOST = "127.0.0.1"
ROUND = re.compile(r", wide_number_mode\s*=>\s*'round'")


def install(extension: ModuleType, home: Path) -> None:
    """Link a package's own file into DuckDB's folder of downloads; DuckDB still checks the signature."""
    (file,) = Path(extension.__file__ or "").parent.glob("extensions/*/*.duckdb_extension")
    with duckdb.connect() as connection:
        version, platform = connection.execute(
            "SELECT library_version, platform FROM pragma_version(), pragma_platform()"
        ).fetchone()
    folder = home / ".duckdb" / "extensions" / version / platform
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / file.name
    link.unlink(missing_ok=True)
    link.symlink_to(file)


class Cursor:
    """A cursor that refuses a transaction within a transaction by itself.

    The emulator's MERGE begins a transaction to find out if one is open. DuckDB's refusal aborts the open one, and
    with it every script that merges between BEGIN and COMMIT.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._in_transaction = False

    def execute(self, sql: Any, *args: Any) -> Any:
        verb = sql.split(None, 1)[0].rstrip(";").upper() if isinstance(sql, str) and sql.strip() else ""
        if verb == "BEGIN" and self._in_transaction:
            raise duckdb.TransactionException("cannot start a transaction within a transaction")
        if verb in ("COMMIT", "ROLLBACK"):
            self._in_transaction = False
        result = self._cursor.execute(sql, *args)
        if verb == "BEGIN":
            self._in_transaction = True
        return self if result is self._cursor else result

    def cursor(self) -> "Cursor":
        return Cursor(self._cursor.cursor())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def correct(database: ModuleType, merge: ModuleType) -> None:
    connect: Callable[[], Any] = database.connection
    database.connection = lambda: Cursor(connect())
    # Geography would need DuckDB's spatial extension, the largest of all, for functions that no table here calls for.
    database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]
    # A MERGE is parsed, written in BigQuery's dialect and parsed again, and by then PARSE_JSON is bq.main.parse_json,
    # which knows no argument by name; and what it rounds are integers of 64 bits, too.
    write: Callable[[Any], str] = merge._sql
    merge._sql = lambda node: ROUND.sub("", write(node).replace("SAFE.bq.main.", "SAFE."))


def stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder, whose tables are served if it has any")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--storage-port", type=int, default=0, help="0: any free one")
    chosen = parser.parse_args()
    home = chosen.data / "home"
    os.environ["HOME"] = str(home)
    for extension in (duckdb_extension_icu, duckdb_extension_ducklake):
        install(extension, home)

    # Imported late: DuckDB takes its home from the environment, and the emulator its settings.
    import uvicorn
    from local_bigquery.app import app
    from local_bigquery.engine import database
    from local_bigquery.grpc import server as storage
    from local_bigquery.jobs import merge
    from local_bigquery.settings import settings

    settings.data_dir = chosen.data
    correct(database, merge)
    database.connection()
    _, storage_port = storage.start(HOST, chosen.storage_port)
    with socket.create_server((HOST, chosen.port)) as listener:
        threading.Thread(target=stop_with_parent, daemon=True).start()
        print(listener.getsockname()[1], storage_port, flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
