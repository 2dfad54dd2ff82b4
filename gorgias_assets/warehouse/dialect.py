"""SQL that every engine here understands, and the points on which their dialects differ."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

import pyarrow as pa

from gorgias_assets.columns import EXTRACTED_AT, Kind
from gorgias_assets.warehouse.tables import IS_TOUCHED, Dimension, Slice, Table
from gorgias_assets.windows import Window

# Columns of the relations that JSON is unnested to.
ITEM, KEY, POSITION = "_item", "_key", "_position"


def types_of_kinds(names: Mapping[pa.DataType, str], json: str) -> dict[Kind, str]:
    """Return an engine's type for every kind, from its names of Arrow types. Raises KeyError if one is missing."""
    return {kind: json if kind is Kind.JSON else names[kind.arrow_type] for kind in Kind}


class Dialect(ABC):
    """An engine's SQL. Values are written into statements as literals; none of them is a customer's."""

    types: ClassVar[Mapping[Kind, str]]
    text_type: ClassVar[str]
    moment_type: ClassVar[str]
    unix_micros: ClassVar[str]
    """The function that returns a moment as microseconds since 1970."""

    @abstractmethod
    def quoted(self, identifier: str) -> str: ...

    @abstractmethod
    def literal(self, text: str) -> str: ...

    @abstractmethod
    def name_of(self, table: Table) -> str: ...

    @abstractmethod
    def inline(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """Return a relation of literals. There must be at least one row."""

    @abstractmethod
    def json_text(self, expression: str, field: str) -> str:
        """Return a field of a JSON object as text; null if it is missing."""

    @abstractmethod
    def json_keys(self, expression: str, name: str) -> str:
        """Return a relation with a row for each field of a JSON object, and the field in its column `name`."""

    @abstractmethod
    def text_at(self, expression: str, path: str) -> str:
        """Return the value at a path of a JSON value as text; null if it is missing or JSON's null.

        A path is names of fields with dots between them, or empty for the value itself. An object or a list is its
        JSON.
        """

    @abstractmethod
    def length_of(self, expression: str) -> str:
        """Return the number of items of a JSON list; null for anything else."""

    @abstractmethod
    def with_object(self, rows: str, column: str, path: str, fields: Mapping[str, Kind]) -> str:
        """Return a relation of `rows` with these fields of the JSON object at a path of a column, for `field_of`.

        A field is JSON if that is its kind, or else text. A row without such an object has null in them.
        """

    @abstractmethod
    def with_items(self, rows: str, column: str, path: str, fields: Mapping[str, Kind], counted: bool = False) -> str:
        """Return a relation in which each row of `rows` is there once per item of the JSON list at a path of a column.

        It has these fields of the items for `field_of`, or without any the items themselves. If they are `counted`, the
        column `POSITION` is 1 for the first. A row without a list there is left out.
        """

    @abstractmethod
    def with_entries(self, rows: str, column: str, fields: Mapping[str, Kind]) -> str:
        """Return a relation in which each row of `rows` is there once per field of the JSON object in a column.

        The column `KEY` is the field's name, and `field_of` returns these fields of its value. A row without an object
        there is left out.
        """

    @abstractmethod
    def tried(self, text: str, kind: Kind) -> str:
        """Return a text as another kind; null if it does not fit."""

    @abstractmethod
    def matches(self, text: str, pattern: str) -> str:
        """Return the condition that an expression of RE2 is found in a text."""

    @abstractmethod
    def part_of(self, text: str, separator: str, number: int) -> str:
        """Return a part of a text between separators, the first of which is 1; null if it is missing or empty."""

    @abstractmethod
    def days_between(self, begins: str, ends: str, name: str) -> str:
        """Return a relation with a row for each UTC day from one moment to another, in its column `name`."""

    def field_of(self, relation: str, name: str) -> str:
        """Return a field of `with_object` and its like; without a name the item itself. `relation` is their alias."""
        return f"{relation}.{ITEM}" + (f".{self.quoted(name)}" if name else "")

    def typed(self, text: str, kind: Kind) -> str:
        """Return the text of a JSON value as the kind; null if it does not fit."""
        if kind is Kind.STRING:
            return text
        if kind is Kind.BOOLEAN:
            return f"CASE {text} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
        return self.tried(text, kind)

    def moment(self, at: datetime) -> str:
        return f"{self.moment_type} '{at.isoformat(sep=' ')}'"

    def null(self, kind: Kind) -> str:
        return f"CAST(NULL AS {self.types[kind]})"

    def nothing(self, columns: Mapping[str, Kind]) -> str:
        """Return a relation of these columns without rows."""
        nulls = ", ".join(f"{self.null(kind)} AS {self.quoted(name)}" for name, kind in columns.items())
        return f"(SELECT {nulls} FROM (SELECT 1 AS one) AS nothing WHERE FALSE)"

    def among(self, expression: str, ids: Iterable[int]) -> str:
        listed = ", ".join(map(str, ids))
        return f"{expression} IN ({listed})" if listed else "FALSE"

    def within(self, expression: str, windows: Iterable[Window]) -> str:
        terms = [
            f"{expression} >= {self.moment(window.start)} AND {expression} < {self.moment(window.end)}"
            for window in windows
        ]
        return " OR ".join(terms) or "FALSE"

    def in_window(self, expression: str, window: Window, column_type: str) -> str:  # noqa: ARG002, for engines that prune
        """Return the condition that an expression lies in a window. `column_type` is empty if it is no column."""
        return self.within(f"CAST({expression} AS {self.moment_type})", [window])

    def condition(self, where: Slice, types: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the condition that a row is in the slice. `types` of columns let some engines find it faster."""
        return " AND ".join(f"({self._any_of(dimension, types)})" for dimension in where) or "TRUE"

    def _any_of(self, dimension: Dimension, types: Mapping[str, str]) -> str:
        keys = ", ".join(self.literal(item) for item in dimension.within if isinstance(item, str))
        terms = [
            self.in_window(expression, item, types.get(expression, ""))
            for expression in dimension.expressions
            for item in dimension.within
            if isinstance(item, Window)
        ]
        terms += [f"CAST({expression} AS {self.text_type}) IN ({keys})" for expression in dimension.expressions if keys]
        return " OR ".join(terms) or "FALSE"

    def merge(self, table: Table, source: str, names: Iterable[str], on: str = "") -> str:
        """Return a statement that keeps the state of a row that was read last.

        A row of the source that is not touched updates the stored row of its id, and is never inserted.
        """
        columns = [self.quoted(name) for name in names if name != IS_TOUCHED]
        return (
            f"MERGE INTO {self.name_of(table)} AS target USING {source} AS source ON target.id = source.id{on} "
            f"WHEN MATCHED AND source.{EXTRACTED_AT} >= target.{EXTRACTED_AT} "
            f"THEN UPDATE SET {', '.join(f'{column} = source.{column}' for column in columns)} "
            f"WHEN NOT MATCHED AND source.{IS_TOUCHED} "
            f"THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(f'source.{column}' for column in columns)})"
        )
