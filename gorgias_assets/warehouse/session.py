"""An engine's side of the warehouse's statements."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pyarrow as pa

from gorgias_assets.columns import Column
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Merged, Slice, Table


class Session(ABC):
    """Statements to one engine, in one transaction or as single jobs."""

    dialect: Dialect
    most_ids: ClassVar[int] = 10_000
    """The number of ids, at most, that a statement names one by one."""
    most_rows: ClassVar[int] = 4_000
    """The number of rows, at most, that a statement has as literals."""

    @abstractmethod
    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Return a query's rows, or for another statement one row with the number of rows that it changed."""

    @abstractmethod
    def arrow(self, query: str) -> pa.Table:
        """Return a query's rows as Arrow."""

    @abstractmethod
    def columns_of(self, table: Table) -> dict[str, str]:
        """Return the types of the table's columns by name, in order; empty if there is no such table."""

    @abstractmethod
    def schema_of(self, table: Table) -> pa.Schema:
        """Return the types of the table's columns in Arrow."""

    @abstractmethod
    def create(self, table: Table, columns: Sequence[Column]) -> None:
        """Create the table, and its schema if that is missing, unless another run has."""

    @abstractmethod
    def create_filled(self, table: Table, columns: Sequence[Column], source: str) -> None:
        """Create the table with the rows of a relation, all at once, unless another run has; empty without one."""

    @abstractmethod
    def add(self, table: Table, columns: Sequence[Column]) -> None:
        """Add columns to the table."""

    @abstractmethod
    def keep_as_declared(self, table: Table, columns: Sequence[Column], description: str) -> None:
        """Correct the descriptions of the table and of these columns, and all else that makes rows vanish.

        An empty description leaves the table's as it is. Nothing is sent if nothing differs.
        """

    @abstractmethod
    def ensure_view_of_living(self, table: Table, columns: Sequence[Column], description: str) -> None:
        """Create the view `<table>_live` of the rows that are not gone, or let it follow the table's columns.

        It is described as declared. Something else of that name is left alone.
        """

    @abstractmethod
    def query_of(self, view: Table) -> str | None:
        """Return a view's query, in the engine's own words; None if there is no view of this name."""

    @abstractmethod
    def replace_view(self, view: Table, columns: Sequence[Column], description: str, query: str) -> None:
        """Create the view, or replace it, with descriptions of it and of all its columns."""

    @abstractmethod
    def merge(self, table: Table, rows: pa.Table) -> Merged:
        """Merge rows, unique by id, by the statement of `Dialect.merge`."""

    @abstractmethod
    def staged(self, rows: pa.Table) -> AbstractContextManager[str]:
        """Yield the quoted name of a relation that holds `rows`."""

    @contextmanager
    def naming(self, ids: Collection[int]) -> Iterator[Callable[[str], str]]:
        """Yield a function that returns the condition that an expression is among `ids`, for any number of these."""
        if len(ids) <= self.most_ids:
            yield lambda expression: self.dialect.among(expression, ids)
            return
        with self.staged(pa.table({"id": pa.array(ids, pa.int64())})) as source:
            yield lambda expression: f"{expression} IN (SELECT id FROM {source})"

    @contextmanager
    def confidential(self, text: str) -> Iterator[str]:
        """Yield an expression of a text that no history of statements keeps."""
        yield self.dialect.literal(text)

    @abstractmethod
    def tables_in(self, schema: str) -> list[Table]:
        """Return the tables of a schema, without views."""

    def parts(self, rows: pa.Table) -> list[pa.Table]:
        """Return `rows` in as few parts as the engine merges one at a time."""
        return [rows]

    @abstractmethod
    def storable(self, rows: pa.Table) -> pa.Table:
        """Return `rows` in the nearest types that the engine has. Raise `WarehouseError` if a value would change."""

    @abstractmethod
    def types_of(self, rows: pa.Table) -> dict[str, str]:
        """Return the types of the columns that storable `rows` become in a new table, as `columns_of` does."""

    @abstractmethod
    def widen(self, table: Table, rows: pa.Table, existing: Mapping[str, str], partitioned_by: str | None) -> None:
        """Create the table for the staged `rows`, or add the columns that it lacks.

        A new table is partitioned by day of the column `partitioned_by` if the engine can do that.
        """

    @abstractmethod
    def overwrite(self, table: Table, source: str, names: Sequence[str], condition: str) -> None:
        """Replace the table's rows that meet the condition by the rows of `source`, all at once."""

    def condition(self, table: Table, where: Slice) -> str:  # noqa: ARG002
        return self.dialect.condition(where)

    def narrowed(self, table: Table, where: Slice) -> str:
        """Return the condition of a slice for a query of many columns, so that the engine reads less of them."""
        return self.condition(table, where)

    def rows_of(self, table: Table) -> str:
        """Return a relation of the table's rows, for FROM and JOIN: its name, unless the engine asks for a filter."""
        return self.dialect.name_of(table)

    def rows_in_view(self, table: Table) -> str:
        """Return a relation of the table's rows, for the query of a view in the same schema."""
        return self.rows_of(table)

    def everything(self, table: Table, alias: str) -> str:  # noqa: ARG002, for engines that ask for a filter
        """Return a further condition that all rows meet, for the target of a statement: the engine may ask for one.

        It begins with AND, or is empty.
        """
        return ""

    def count(self, table: Table) -> int:
        ((rows,),) = self.execute(f"SELECT COUNT(*) FROM {self.rows_of(table)}")
        return int(rows)

    def pruning_of(self, table: Table, field: str, ids: Collection[int]) -> str:  # noqa: ARG002
        """Return a further condition for rows whose `field` is among `ids`, so that the engine reads less.

        It begins with AND, or is empty if it would not help.
        """
        return ""
