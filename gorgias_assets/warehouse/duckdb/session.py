"""DuckDB's dialect, and statements on a connection to a file."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import Any, ClassVar

import duckdb
import pyarrow as pa

from gorgias_assets.columns import DELETED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.display import shown
from gorgias_assets.warehouse.dialect import ITEM, KEY, POSITION, Dialect, types_of_kinds
from gorgias_assets.warehouse.duckdb.types import storable
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import Merged, Table, WarehouseError

CATALOG = "_attached_file"  # a schema of the same name would make two-part names ambiguous
_RESERVED_SCHEMAS = ("memory", "temp", "system", "information_schema", "pg_catalog", CATALOG)
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_ROWS = "_staged_rows"  # the view under which a connection sees the rows to write
# DuckDB's own wording of the view that `ensure_view_of_living` creates.
_VIEW_OF_LIVING = re.compile(
    rf" AS SELECT \* EXCLUDE \(({DELETED_AT}, {MERGED_INTO}|{MERGED_INTO}, {DELETED_AT})\) FROM .+ "
    rf"WHERE \({DELETED_AT} IS NULL\);?$"
)
_TEXT = "VARCHAR"
_ITEMS, _ENTRY = "_items", "_entry"  # columns within a relation that JSON is unnested to
_TYPES = {
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def check_name(kind: str, name: str) -> None:
    """Raise `WarehouseError` if no schema or table can have the name, or DuckDB would take it for another's."""
    if kind == "schema" and name.lower() in _RESERVED_SCHEMAS:
        raise WarehouseError(f"DuckDB has something of its own named {name!r}; choose another schema.")
    if not is_text(name):
        raise WarehouseError(f"A {kind} of DuckDB cannot be named '{shown(name)}'; choose another {kind}.")


def is_text(name: str) -> bool:
    """Return True if DuckDB can be given the name."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as Python reads bytes that are not UTF-8
        return False
    return name != "" and "\0" not in name


def _path(names: str) -> str:
    return f"$.{names}" if names else "$"


def _object(fields: Mapping[str, Kind]) -> dict[str, str]:
    return {name: "JSON" if kind is Kind.JSON else _TEXT for name, kind in fields.items()}


class DuckDBDialect(Dialect):
    types: ClassVar = types_of_kinds(_TYPES, json="JSON")
    text_type = "VARCHAR"
    moment_type = "TIMESTAMPTZ"
    unix_micros = "epoch_us"

    def quoted(self, identifier: str) -> str:
        return '"' + identifier.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def name_of(self, table: Table) -> str:
        check_name("schema", table.schema)
        check_name("table", table.name)
        return f"{self.quoted(table.schema)}.{self.quoted(table.name)}"

    def json_text(self, expression: str, field: str) -> str:
        return f"({expression} ->> {self.literal(field)})"

    def json_keys(self, expression: str, name: str) -> str:
        return f"UNNEST(json_keys({expression})) AS fields({name})"

    def text_at(self, expression: str, path: str) -> str:
        return f"({expression} ->> {self.literal(_path(path))})"

    def length_of(self, expression: str) -> str:
        length = f"CAST(json_array_length({expression}) AS {self.types[Kind.INTEGER]})"
        return f"CASE WHEN json_type({expression}) = 'ARRAY' THEN {length} END"

    # The list is unnested in SELECT: beside FROM, DuckDB 1.5 joins what was unnested to the rows again, which takes ten
    # times as long. All fields are read from JSON at once, which is faster than one after the other.

    def with_object(self, rows: str, column: str, path: str, fields: Mapping[str, Kind]) -> str:
        return f"(SELECT *, {self._read(column, path, _object(fields))} AS {ITEM} FROM {rows} AS parents)"

    def with_items(self, rows: str, column: str, path: str, fields: Mapping[str, Kind], counted: bool = False) -> str:
        items = self._read(column, path, [_object(fields) if fields else _TEXT])
        if not counted:
            return f"(SELECT *, unnest({items}) AS {ITEM} FROM {rows} AS parents)"
        return (
            f"(SELECT *, unnest({_ITEMS}) AS {ITEM}, unnest(range(1, len({_ITEMS}) + 1)) AS {POSITION} "
            f"FROM (SELECT *, {items} AS {_ITEMS} FROM {rows} AS parents) AS listed)"
        )

    def with_entries(self, rows: str, column: str, fields: Mapping[str, Kind]) -> str:
        struct = ", ".join(f"{self.quoted(name)} {shape}" for name, shape in _object(fields).items())
        entries = self._read(column, "", f"MAP(VARCHAR, STRUCT({struct}))")
        return (
            f"(SELECT *, {_ENTRY}.key AS {KEY}, {_ENTRY}.value AS {ITEM} "
            f"FROM (SELECT *, unnest(map_entries({entries})) AS {_ENTRY} FROM {rows} AS parents) AS listed)"
        )

    def tried(self, text: str, kind: Kind) -> str:
        if kind is not Kind.DATETIME:
            return f"TRY_CAST({text} AS {self.types[kind]})"
        # Without an offset DuckDB would take it for the reader's local time.
        moments = ", ".join(f"TRY_CAST({part} AS {self.moment_type})" for part in (f"{text} || '+00:00'", text))
        return f"COALESCE({moments})"

    def matches(self, text: str, pattern: str) -> str:
        return f"regexp_matches({text}, {pattern})"

    def part_of(self, text: str, separator: str, number: int) -> str:
        return f"NULLIF(split_part({text}, {self.literal(separator)}, {number}), '')"

    def _read(self, column: str, path: str, shape: Any) -> str:
        """Return what is at a path of a JSON column in DuckDB's types; null where it has another shape."""
        names = path.split(".") if path else []
        for name in reversed(names):
            shape = {name: shape}
        found = f"from_json(parents.{self.quoted(column)}, {self.literal(json.dumps(shape))})"
        return "".join([found, *(f".{self.quoted(name)}" for name in names)])

    def days_between(self, begins: str, ends: str, name: str) -> str:
        series = f"generate_series(CAST({begins} AS DATE), CAST({ends} AS DATE), INTERVAL 1 DAY)"
        return f"UNNEST(CAST({series} AS DATE[])) AS days({name})"

    def inline(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """Return lists rather than VALUES, which DuckDB 1.5 joins by a range in three times the time."""
        lists = zip(columns, zip(*rows, strict=True), strict=True)
        unnested = ", ".join(f"unnest([{', '.join(values)}]) AS {column}" for column, values in lists)
        return f"(SELECT {unnested}) AS {name}"


class DuckDBSession(Session):
    """A connection on which a transaction may be open."""

    dialect = DuckDBDialect()

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._staged = 0

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def arrow(self, query: str) -> pa.Table:
        return self._connection.sql(query).to_arrow_table()

    def columns_of(self, table: Table) -> dict[str, str]:
        """Return the type of each column.

        For names of schemas and tables, A to Z are the same as a to z, and no other letters are. DuckDB describes one
        table in a thirtieth of the time that its catalog takes, which looks at the columns of all views first.
        """
        name = f"{self.dialect.quoted(self._database)}.{self.dialect.name_of(table)}"
        try:
            described = self.execute(f"DESCRIBE {name}")
        except (duckdb.CatalogException, duckdb.BinderException):  # none, or a view of what is no longer there
            return {} if self.query_of(table) is None else self._columns(table, "data_type")
        return {column: column_type for column, column_type, *_ in described}

    @cached_property
    def _database(self) -> str:
        ((name,),) = self.execute("SELECT current_database()")
        return str(name)

    def schema_of(self, table: Table) -> pa.Schema:
        return self.arrow(f"SELECT * FROM {self.dialect.name_of(table)} LIMIT 0").schema

    def create(self, table: Table, columns: Sequence[Column]) -> None:
        self._create(table, {column.name: self.dialect.types[column.kind] for column in columns})

    def create_filled(self, table: Table, columns: Sequence[Column], source: str) -> None:
        self.create(table, columns)
        if source:
            self.execute(f"INSERT INTO {self.dialect.name_of(table)} BY NAME SELECT * FROM {source}")

    def add(self, table: Table, columns: Sequence[Column]) -> None:
        self._add(table, {column.name: self.dialect.types[column.kind] for column in columns})

    def keep_as_declared(self, table: Table, columns: Sequence[Column], description: str) -> None:
        self._describe("TABLE", table, columns, description)

    def ensure_view_of_living(self, table: Table, columns: Sequence[Column], description: str) -> None:
        """Replace the view if a column was added, since the file lists the columns of the moment it was created at."""
        view, types = Table(table.schema, f"{table.name}_live"), self.columns_of(table)
        found, listed = self._property("VIEW", view, "sql"), self.columns_of(view)
        query = (
            f"SELECT * EXCLUDE ({DELETED_AT}, {MERGED_INTO}) FROM {self.rows_in_view(table)} WHERE {DELETED_AT} IS NULL"
        )
        if not listed:
            self._create_view(view, query)
        elif not _VIEW_OF_LIVING.search(found or ""):
            return
        elif listed != {name: types[name] for name in types if name not in (DELETED_AT, MERGED_INTO)}:
            self._create_view(view, query)
        self._describe("VIEW", view, columns, description)

    def query_of(self, view: Table) -> str | None:
        return self._property("VIEW", view, "sql")

    def replace_view(self, view: Table, columns: Sequence[Column], description: str, query: str) -> None:
        self._create_view(view, query)
        self._describe("VIEW", view, columns, description)

    def rows_in_view(self, table: Table) -> str:
        """Return the table's plain name: in a file named like the schema, the schema's name would be ambiguous."""
        check_name("table", table.name)
        return self.dialect.quoted(table.name)

    def tables_in(self, schema: str) -> list[Table]:
        check_name("schema", schema)
        found = self._connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() "
            f"AND translate(schema_name, '{ascii_uppercase}', '{ascii_lowercase}') = ? ORDER BY table_name",
            [schema.translate(_SMALL)],
        ).fetchall()
        return [Table(*names) for names in found]

    def _create_view(self, view: Table, query: str) -> None:
        """Create or replace the view from inside the schema, so that its query finds tables by their plain names."""
        quoted = self.dialect.quoted
        self.execute(f"USE {quoted(self._database)}.{quoted(view.schema)}")
        self.execute(f"CREATE OR REPLACE VIEW {quoted(view.name)} AS {query}")
        self.execute(f"USE {quoted(self._database)}")

    def merge(self, table: Table, rows: pa.Table) -> Merged:
        before = self.count(table)
        with self.staged(rows) as source:
            ((changed,),) = self.execute(self.dialect.merge(table, source, rows.column_names))
        return Merged(changed, new=self.count(table) - before)

    @contextmanager
    def staged(self, rows: pa.Table) -> Iterator[str]:
        name = f"{_ROWS}_{self._staged}" if self._staged else _ROWS
        self._connection.register(name, rows)
        self._staged += 1
        try:
            yield name
        finally:
            self._staged -= 1

    def storable(self, rows: pa.Table) -> pa.Table:
        return storable(rows)

    def types_of(self, rows: pa.Table) -> dict[str, str]:
        with self.staged(rows) as source:
            return {name: column_type for name, column_type, *_ in self.execute(f"DESCRIBE SELECT * FROM {source}")}

    def widen(self, table: Table, rows: pa.Table, existing: Mapping[str, str], partitioned_by: str | None) -> None:  # noqa: ARG002
        types = self.types_of(rows)
        if existing:
            self._add(table, {name: types[name] for name in types if name not in existing})
        else:
            self._create(table, types)

    def overwrite(self, table: Table, source: str, names: Sequence[str], condition: str) -> None:  # noqa: ARG002
        self.execute(f"DELETE FROM {self.dialect.name_of(table)} WHERE {condition}")
        self.execute(f"INSERT INTO {self.dialect.name_of(table)} BY NAME SELECT * FROM {source}")

    def _create(self, table: Table, types: Mapping[str, str]) -> None:
        declared = ", ".join(f"{self.dialect.quoted(name)} {types[name]}" for name in types)
        name = self.dialect.name_of(table)
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {self.dialect.quoted(table.schema)}")
        self.execute(f"CREATE TABLE IF NOT EXISTS {name} ({declared})")

    def _add(self, table: Table, types: Mapping[str, str]) -> None:
        for name in types:
            column = f"{self.dialect.quoted(name)} {types[name]}"
            self.execute(f"ALTER TABLE {self.dialect.name_of(table)} ADD COLUMN {column}")

    def _describe(self, kind: str, table: Table, columns: Sequence[Column], description: str) -> None:
        """Comment on the table or view and its columns where the comment differs."""
        name, comments = self.dialect.name_of(table), self._columns(table, "comment")
        if description and self._property(kind, table, "comment") != description:
            self.execute(f"COMMENT ON {kind} {name} IS {self.dialect.literal(description)}")
        for column in columns:
            if comments.get(column.name, column.comment) != column.comment:
                described = f"{name}.{self.dialect.quoted(column.name)}"
                self.execute(f"COMMENT ON COLUMN {described} IS {self.dialect.literal(column.comment)}")

    def _columns(self, table: Table, what: str) -> dict[str, Any]:
        """Return a property of each column, in order; nothing if there is no such table or view."""
        found = self._listed("duckdb_columns()", "table_name", table, f"column_name, {what}", "column_index")
        return dict(found)

    def _property(self, kind: str, table: Table, what: str) -> str | None:
        """Return a property of a table or view; None if there is none of this kind and name."""
        kind = kind.lower()
        found = self._listed(f"duckdb_{kind}s()", f"{kind}_name", table, what, what)
        return found[0][0] if found else None

    def _listed(self, catalog: str, column: str, table: Table, selected: str, order: str) -> list[tuple[Any, ...]]:
        check_name("schema", table.schema)
        check_name("table", table.name)
        named = [f"translate({name}, '{ascii_uppercase}', '{ascii_lowercase}')" for name in ("schema_name", column)]
        return self._connection.execute(
            f"SELECT {selected} FROM {catalog} WHERE database_name = current_database() "
            f"AND {named[0]} = ? AND {named[1]} = ? ORDER BY {order}",
            [name.translate(_SMALL) for name in (table.schema, table.name)],
        ).fetchall()
