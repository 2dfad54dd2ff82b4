"""What a warehouse does for this project, and what its parts are called; each engine's module says only how."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import pyarrow as pa

from gorgias_assets.columns import Column
from gorgias_assets.windows import Window


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

    @property
    def has_windows(self) -> bool:
        return any(isinstance(item, Window) for item in self.within)


# The rows of a table that fulfil every dimension; no dimension, all rows.
Slice = tuple[Dimension, ...]


@dataclass(frozen=True)
class Merged:
    """What a merge did: rows inserted or updated, and those of them that were inserted."""

    rows: int = 0
    new: int = 0

    def __add__(self, other: "Merged") -> "Merged":
        return Merged(self.rows + other.rows, self.new + other.new)


@dataclass(frozen=True)
class Counts:
    """How many rows a table has, and how many living ones were touched in each window that was asked for."""

    rows: int
    touched: list[int]


@dataclass(frozen=True)
class Saved:
    """A sweep's position, and the key under which another attempt finds it beside the table."""

    key: str
    position: str


class Covered(NamedTuple):
    """The part of a table of which every living row was read: `field` in `[start, end)`; None is unbounded."""

    field: str
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Candidates:
    """Rows that may be gone: some of them, with the fields that were asked for, and how many more there are."""

    rows: list[dict[str, Any]]
    waiting: int


@dataclass(frozen=True)
class Tombstone:
    """A row that is gone: when it was found to be, and the id that took its place, where one did."""

    id: int
    found_at: datetime
    merged_into: int | None = None
    is_merged: bool = False


IS_TOUCHED = "_is_touched"
"""A column of rows to be merged, and of no table: whether the row was touched in the window that is read."""

POSITION_KEPT = timedelta(days=1)
"""For how long a position is good. Later a sweep had better begin anew: half of what it would hold is old by then."""


class Warehouse(ABC):
    """A database that holds tables. A method that fails midway leaves the table as before, or costs calls at most.

    `batch_rows` is how many rows to merge at once, `batch_bytes` how many bytes of bodies.
    """

    batch_rows: int
    batch_bytes: int

    def billed_to(self, labels: Mapping[str, str]) -> Self:  # noqa: ARG002
        """The same warehouse with a bill of its own, whose work is labelled, where the engine bills at all."""
        return self

    def bill(self) -> Mapping[str, Any]:
        """What the work has cost so far, as metadata of a materialisation."""
        return {}

    @abstractmethod
    def merge(self, table: Table, columns: Sequence[Column], rows: pa.Table, saved: Saved | None = None) -> Merged:
        """Merge `rows`, unique by `id`, into the table by `id`: the one with the newer `_extracted_at` stays.

        `rows` have the column `_is_touched`; of those where it is false only those are merged that the table has. The
        position is `saved` once the rows are merged. The table and a view of its living rows are created with `columns`
        and the added ones, or the table gets those that it lacks; columns of a user's own are left alone.
        """

    def leave_one_of_each_id(self, table: Table) -> None:  # noqa: B027, most engines have nothing to do
        """After the last batch, where the engine lets two runs add one row at the same time: it is there once then."""

    @abstractmethod
    def saved_position(self, table: Table, key: str) -> str | None:
        """The position that a sweep of this key has saved with its last batch, if that is not too old."""

    @abstractmethod
    def forget_position(self, table: Table, key: str) -> None:
        """The sweep is complete. Positions that are too old are forgotten as well."""

    @abstractmethod
    def has_unread(self, table: Table, since: datetime) -> bool:
        """Whether the table has living rows that no request since then has read."""

    @abstractmethod
    def note_candidates(self, table: Table, covered: Covered, ids: Collection[int], since: datetime) -> None:
        """Note the living rows that no request since then has read, and that should have been: they may be gone.

        That is the rows whose field `covered[0]` lies in `[covered[1], covered[2])`, and those of `ids`.
        """

    @abstractmethod
    def candidates(self, table: Table, fields: Sequence[str], limit: int) -> Candidates:
        """The rows noted longest ago, at least one, that have neither been read since nor found to be gone."""

    @abstractmethod
    def settle_candidates(
        self, table: Table, looked_at: Collection[int], gone: Sequence[Tombstone], along: Mapping[Table, str]
    ) -> int:
        """Mark the rows that are `gone`, unless they were read later, and note those looked at no more.

        A row of another table that belongs to one that is gone and was not merged, by the field that `along` gives, is
        marked as well. Returns how many of those there were.
        """

    @abstractmethod
    def counts(self, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]) -> Counts:
        """A row touched in two windows counts in both."""

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
