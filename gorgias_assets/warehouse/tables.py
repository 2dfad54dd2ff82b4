"""Values that a warehouse takes and returns."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from gorgias_assets.display import shown
from gorgias_assets.windows import Window

_MOST_LETTERS = 1_000


class WarehouseError(Exception):
    """The warehouse cannot take or return rows; the message gives the reason and what to do, on one line.

    `passes` is True if another attempt may succeed, though nobody does anything.
    """

    def __init__(self, message: str, passes: bool = False) -> None:
        super().__init__(shown(message, _MOST_LETTERS))
        self.passes = passes


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


# The rows of a table that meet every dimension; all rows if there is no dimension.
Slice = tuple[Dimension, ...]


@dataclass(frozen=True)
class Merged:
    """The number of rows that a merge inserted or updated, and of those that it inserted."""

    rows: int = 0
    new: int = 0

    def __add__(self, other: "Merged") -> "Merged":
        return Merged(self.rows + other.rows, self.new + other.new)


@dataclass(frozen=True)
class Counts:
    """The number of all rows, and for each requested window the number of living rows touched in it."""

    rows: int
    touched: list[int]


@dataclass(frozen=True)
class Saved:
    """A sweep's position, and the key under which another attempt finds it."""

    key: str
    position: str


@dataclass(frozen=True)
class Before:
    """The state of a table before a reading.

    - `account`: the account whose rows it holds; None if that was never noted.
    - `position`: the position that a sweep of the same key saved with its last batch, unless it is too old.
    - `newest`: the latest moment at which a row counts as read; None if there is no row.
    - `mark`: the mark of the privacy policy that its rows were stored under; None if that was never noted.
    - `exists`: False if there is no table yet.
    """

    account: str | None = None
    position: str | None = None
    newest: datetime | None = None
    mark: str | None = None
    exists: bool = False


@dataclass(frozen=True)
class Absences:
    """The rows that a complete reading has not read.

    - `unread`: living rows anywhere in the table that were not read.
    - `expected`, `missing`: living rows in the covered part of the table, and those of them that were not read.
    """

    unread: int
    expected: int
    missing: int


class Covered(NamedTuple):
    """The part of a table of which every living row was read: `field` in `[start, end)`; None is unbounded."""

    field: str
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class After:
    """The state of a table after a reading.

    `copies` are rows whose id another row has, too; rows `without_id` were put in by somebody, and are left alone.
    """

    copies: int
    without_id: int
    absences: Absences
    counts: Counts


@dataclass(frozen=True)
class Candidates:
    """Rows that may be gone, with the requested fields, how often each was looked at in vain, and how many wait."""

    rows: list[dict[str, Any]]
    looks: dict[int, int]
    waiting: int


@dataclass(frozen=True)
class Tombstone:
    """A row that is gone: when that was found, and the id that took its place if it was merged into another."""

    id: int
    found_at: datetime
    merged_into: int | None = None
    is_merged: bool = False


class Listed(NamedTuple):
    """An entry of the list of people whose rows are stored without them: what it is the hash of, and what is done."""

    kind: str
    keyed_hash: str
    action: str


IS_TOUCHED = "_is_touched"
"""A column of rows to be merged, and of no table: true if the row was touched in the window that is read."""

POSITION_KEPT = timedelta(days=1)
"""For how long a position is good. A later sweep begins anew, since half of what it would hold is old by then.

The clock of the machine that saved it decides, since that costs calls at most; one from the far future is not good.
"""

CLOCKS_DIFFER = timedelta(minutes=1)
"""By how much a stamp may be later than the present, for a row that another machine reads at the same time."""
