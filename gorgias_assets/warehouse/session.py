"""Talking to an engine: what is asked of a session with it, be that one transaction or a row of jobs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from gorgias_assets.columns import Column
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Merged, Slice, Table


class Session(ABC):
    """Statements to one engine. What it does not know by itself of a table, it asks the engine each time."""

    dialect: Dialect

    @abstractmethod
    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """A query's rows, or one row with how many rows a statement has changed."""

    @abstractmethod
    def arrow(self, query: str) -> pa.Table:
        """A query's rows as Arrow."""

    @abstractmethod
    def columns_of(self, table: Table) -> dict[str, str]:
        """The table's columns and their types in order; empty where there is no such table."""

    @abstractmethod
    def schema_of(self, table: Table) -> pa.Schema:
        """The types of the table's columns in Arrow."""

    @abstractmethod
    def create(self, table: Table, columns: Sequence[Column]) -> None:
        """Create the table, and its schema where that is missing, unless there is one by now."""

    @abstractmethod
    def add(self, table: Table, columns: Sequence[Column]) -> None:
        """Add columns to the table."""

    @abstractmethod
    def ensure_view_of_living(self, table: Table) -> None:
        """Put a view of the rows that are not gone beside the table, unless there is something of that name."""

    @abstractmethod
    def merge(self, table: Table, rows: pa.Table) -> Merged:
        """Merge rows, unique by id, as `Dialect.merge` says."""

    @abstractmethod
    def staged(self, rows: pa.Table) -> AbstractContextManager[str]:
        """A relation to select `rows` from, by its quoted name."""

    @abstractmethod
    def widen(self, table: Table, rows: pa.Table, existing: Mapping[str, str], partitioned_by: str | None) -> None:
        """Create the table after `rows`, by day of a column where that can be, or add the columns that it lacks."""

    @abstractmethod
    def overwrite(self, table: Table, source: str, names: Sequence[str], condition: str) -> None:
        """Put the rows of `source` in the place of the table's rows that meet the condition, all at once."""

    def condition(self, table: Table, where: Slice) -> str:  # noqa: ARG002
        """What the rows of a slice of the table meet, in SQL."""
        return self.dialect.condition(where)

    def count(self, table: Table) -> int:
        """How many rows the table has; without a price, since an engine need not read it for that."""
        ((rows,),) = self.execute(f"SELECT COUNT(*) FROM {self.dialect.name_of(table)}")
        return int(rows)

    def pruning_of(self, table: Table, field: str, ids: Collection[int]) -> str:  # noqa: ARG002
        """What a condition on `field` can be narrowed by, beginning with AND, so that less of the table is read."""
        return ""
