"""DuckDB's words: names, literals, types, and small questions to a connection."""

from collections.abc import Sequence
from typing import Any

import duckdb

from gorgias_assets.entities import Kind
from gorgias_assets.io_managers.warehouse import Table, WarehouseError

TYPES = {
    Kind.INTEGER: "BIGINT",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.STRING: "VARCHAR",
    Kind.DATETIME: "TIMESTAMP WITH TIME ZONE",
    Kind.JSON: "JSON",
}


def columns_of(connection: duckdb.DuckDBPyConnection, table: Table) -> dict[str, str]:
    """The table's columns and their types in order; empty where there is no such table."""
    return dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [table.schema, table.name],
        ).fetchall()
    )


def count(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    return scalar(connection, f"SELECT count(*) FROM {name_of(table)}")


def scalar(connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> int:
    """The one number that a query returns, or that a statement has changed rows."""
    ((value,),) = connection.execute(query, values).fetchall()
    return int(value)


def name_of(table: Table) -> str:
    if table.schema.lower() in ("memory", "temp", "system"):
        raise WarehouseError(f"DuckDB has a database of its own named {table.schema!r}; choose another schema.")
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
