"""SQL that every engine here understands, and the words in which their dialects differ."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from gorgias_assets.columns import EXTRACTED_AT, Kind
from gorgias_assets.warehouse.tables import IS_TOUCHED, Dimension, Slice, Table
from gorgias_assets.windows import Window


class Dialect(ABC):
    """An engine's words. Values are written into statements as literals; none of them is a customer's."""

    types: ClassVar[Mapping[Kind, str]]
    text_type: ClassVar[str]
    moment_type: ClassVar[str]

    @abstractmethod
    def quoted(self, identifier: str) -> str: ...

    @abstractmethod
    def literal(self, text: str) -> str: ...

    @abstractmethod
    def name_of(self, table: Table) -> str: ...

    @abstractmethod
    def inline(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """A relation of literals, at least one row of them."""

    @abstractmethod
    def json_text(self, expression: str, field: str) -> str:
        """A field of a JSON object as text; null where there is none."""

    @abstractmethod
    def json_keys(self, expression: str, name: str) -> str:
        """A relation with a row for each field of a JSON object, and the field in its column `name`."""

    def moment(self, at: datetime) -> str:
        return f"{self.moment_type} '{at.isoformat(sep=' ')}'"

    def null(self, kind: Kind) -> str:
        return f"CAST(NULL AS {self.types[kind]})"

    def among(self, expression: str, ids: Iterable[int]) -> str:
        listed = ", ".join(map(str, ids))
        return f"{expression} IN ({listed})" if listed else "FALSE"

    def within(self, expression: str, windows: Iterable[Window]) -> str:
        terms = [
            f"{expression} >= {self.moment(window.start)} AND {expression} < {self.moment(window.end)}"
            for window in windows
        ]
        return " OR ".join(terms) or "FALSE"

    def condition(self, where: Slice, types: Mapping[str, str] = MappingProxyType({})) -> str:
        """`types` are those of columns by name, where they matter for how fast the rows are found."""
        return " AND ".join(f"({self._any_of(dimension, types)})" for dimension in where) or "TRUE"

    def merge(self, table: Table, source: str, names: Iterable[str], on: str = "") -> str:
        """The row of an id that was read later stays; a row that is not touched refreshes another, and adds none."""
        columns = [self.quoted(name) for name in names if name != IS_TOUCHED]
        return (
            f"MERGE INTO {self.name_of(table)} AS target USING {source} AS source ON target.id = source.id{on} "
            f"WHEN MATCHED AND source.{EXTRACTED_AT} >= target.{EXTRACTED_AT} "
            f"THEN UPDATE SET {', '.join(f'{column} = source.{column}' for column in columns)} "
            f"WHEN NOT MATCHED AND source.{IS_TOUCHED} "
            f"THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(f'source.{column}' for column in columns)})"
        )

    def _any_of(self, dimension: Dimension, types: Mapping[str, str]) -> str:
        terms = [
            f"CAST({expression} AS {self.text_type}) = {self.literal(item)}"
            if isinstance(item, str)
            else self.in_window(expression, item, types.get(expression, ""))
            for expression in dimension.expressions
            for item in dimension.within
        ]
        return " OR ".join(terms) or "FALSE"

    def in_window(self, expression: str, window: Window, kind: str) -> str:  # noqa: ARG002
        """Whether an expression, which is a column of this type if one is given, lies in a window."""
        return self.within(f"CAST({expression} AS {self.moment_type})", [window])
