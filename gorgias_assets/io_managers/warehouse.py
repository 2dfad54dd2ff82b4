"""What a warehouse does for this project, and what its parts are called; each engine's module says only how."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from gorgias_assets.entities import Column
from gorgias_assets.sweeps import Window


class WarehouseError(Exception):
    """The warehouse cannot take or give rows; the message says why and what to do."""


@dataclass(frozen=True)
class Table:
    """A table's place in the warehouse."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Dimension:
    """One condition on a table's rows: any of `expressions` is in any window of, or equals any key of, `within`."""

    expressions: tuple[str, ...]
    within: tuple[Window, ...] | tuple[str, ...]


# The rows of a table that fulfil every dimension; no dimension, all rows.
Slice = tuple[Dimension, ...]


@dataclass(frozen=True)
class Merged:
    """What a merge did: rows inserted or updated, those inserted, and rows in the table afterwards."""

    rows: int
    new: int
    total: int


class Warehouse(ABC):
    """A database that holds tables. Each method is one transaction: done whole, or not at all.

    `batch_rows` is how many rows to merge at once.
    """

    batch_rows: int

    @abstractmethod
    def merge(self, table: Table, columns: Sequence[Column], rows: pa.Table) -> Merged:
        """Merge `rows`, unique by `id`, into the table by `id`: the one with the newer `_extracted_at` stays.

        The table is created with `columns` and the added ones, or gets those that it lacks; columns of a user's own
        are left alone.
        """

    @abstractmethod
    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        """Put `rows` in the place of the table's slice, and return how many rows the table has then.

        The table is created after `rows`, or gets the columns that it lacks. Values are cast to the columns they go
        to. Raises `WarehouseError` when a cast would change a value, when a row lies outside the slice, and when the
        table is one that sweeps are merged into.
        """

    @abstractmethod
    def read(self, table: Table, where: Slice, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a slice of the table, in no particular order."""
