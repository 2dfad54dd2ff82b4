"""DuckDB's words, and what a connection to a file does with tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import duckdb
import pyarrow as pa

from gorgias_assets.columns import DELETED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import Merged, Table, WarehouseError

_ROWS = "_gorgias_rows"  # the view under which a connection sees the rows to write


class DuckDBDialect(Dialect):
    types: ClassVar = {
        Kind.INTEGER: "BIGINT",
        Kind.BOOLEAN: "BOOLEAN",
        Kind.STRING: "VARCHAR",
        Kind.DATETIME: "TIMESTAMP WITH TIME ZONE",
        Kind.JSON: "JSON",
    }
    text_type = "VARCHAR"
    moment_type = "TIMESTAMPTZ"

    def quoted(self, identifier: str) -> str:
        return '"' + identifier.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def name_of(self, table: Table) -> str:
        if table.schema.lower() in ("memory", "temp", "system"):
            raise WarehouseError(f"DuckDB has a database of its own named {table.schema!r}; choose another schema.")
        return f"{self.quoted(table.schema)}.{self.quoted(table.name)}"

    def json_text(self, expression: str, field: str) -> str:
        return f"({expression} ->> {self.literal(field)})"

    def json_keys(self, expression: str, name: str) -> str:
        return f"UNNEST(json_keys({expression})) AS fields({name})"

    def inline(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """Lists rather than VALUES, which DuckDB 1.5 joins by a range in three times the time."""
        lists = zip(columns, zip(*rows, strict=True), strict=True)
        unnested = ", ".join(f"unnest([{', '.join(values)}]) AS {column}" for column, values in lists)
        return f"(SELECT {unnested}) AS {name}"


class DuckDBSession(Session):
    """A connection on which a transaction may be open."""

    dialect = DuckDBDialect()

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def arrow(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()

    def columns_of(self, table: Table) -> dict[str, str]:
        return dict(
            self._connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() "
                "WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
                [table.schema, table.name],
            ).fetchall()
        )

    def schema_of(self, table: Table) -> pa.Schema:
        return self.arrow(f"SELECT * FROM {self.dialect.name_of(table)} LIMIT 0").schema

    def create(self, table: Table, columns: Sequence[Column]) -> None:
        words = self.dialect
        declared = ", ".join(f"{words.quoted(column.name)} {words.types[column.kind]}" for column in columns)
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {words.quoted(table.schema)}")
        self.execute(f"CREATE TABLE IF NOT EXISTS {words.name_of(table)} ({declared})")
        self._describe(table, columns)

    def add(self, table: Table, columns: Sequence[Column]) -> None:
        words = self.dialect
        for column in columns:
            declared = f"{words.quoted(column.name)} {words.types[column.kind]}"
            self.execute(f"ALTER TABLE {words.name_of(table)} ADD COLUMN {declared}")
        self._describe(table, columns)

    def _describe(self, table: Table, columns: Sequence[Column]) -> None:
        words = self.dialect
        for column in columns:
            name = f"{words.name_of(table)}.{words.quoted(column.name)}"
            self.execute(f"COMMENT ON COLUMN {name} IS {words.literal(column.description)}")

    def ensure_view_of_living(self, table: Table) -> None:
        """It names the table without the schema, and DuckDB looks for it in the view's own.

        In a file that is named as the schema is, the schema's name would be ambiguous.
        """
        words = self.dialect
        ((database,),) = self.execute("SELECT current_database()")
        self.execute(f"USE {words.quoted(database)}.{words.quoted(table.schema)}")
        self.execute(
            f"CREATE VIEW IF NOT EXISTS {words.quoted(f'{table.name}_live')} AS "
            f"SELECT * EXCLUDE ({DELETED_AT}, {MERGED_INTO}) FROM {words.quoted(table.name)} "
            f"WHERE {DELETED_AT} IS NULL"
        )
        self.execute(f"USE {words.quoted(database)}")

    def merge(self, table: Table, rows: pa.Table) -> Merged:
        before = self.count(table)
        with self.staged(rows) as source:
            ((changed,),) = self.execute(self.dialect.merge(table, source, rows.column_names))
        return Merged(changed, new=self.count(table) - before)

    @contextmanager
    def staged(self, rows: pa.Table) -> Iterator[str]:
        self._connection.register(_ROWS, rows)
        yield _ROWS

    def widen(self, table: Table, rows: pa.Table, existing: Mapping[str, str], partitioned_by: str | None) -> None:  # noqa: ARG002
        words = self.dialect
        typed = {name: kind for name, kind, *_ in self.execute(f"DESCRIBE SELECT * FROM {_ROWS}")}
        if not existing:
            declared = ", ".join(f"{words.quoted(name)} {kind}" for name, kind in typed.items())
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {words.quoted(table.schema)}")
            self.execute(f"CREATE TABLE {words.name_of(table)} ({declared})")
        for name in typed.keys() - existing.keys() if existing else ():
            self.execute(f"ALTER TABLE {words.name_of(table)} ADD COLUMN {words.quoted(name)} {typed[name]}")

    def overwrite(self, table: Table, source: str, names: Sequence[str], condition: str) -> None:  # noqa: ARG002
        self.execute(f"DELETE FROM {self.dialect.name_of(table)} WHERE {condition}")
        self.execute(f"INSERT INTO {self.dialect.name_of(table)} BY NAME SELECT * FROM {source}")
