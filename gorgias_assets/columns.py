"""The columns of a table: what each holds, and those that this project adds to every table."""

from dataclasses import dataclass
from enum import Enum
from typing import Self

import pyarrow as pa


class Kind(Enum):
    """The kind of a column's values. Each warehouse derives its own type from `arrow_type`, the type in Arrow."""

    INTEGER = "integer, 64 bits", pa.int64()
    NUMBER = "number, 64 bits", pa.float64()
    BOOLEAN = "boolean", pa.bool_()
    STRING = "string", pa.string()
    DATETIME = "datetime, UTC, microseconds", pa.timestamp("us", tz="UTC")
    JSON = "JSON text", pa.string()

    arrow_type: pa.DataType

    def __new__(cls, description: str, arrow_type: pa.DataType) -> Self:
        kind = object.__new__(cls)
        kind._value_ = description
        kind.arrow_type = arrow_type
        return kind


@dataclass(frozen=True)
class Harmless:
    """The part that is kept of a JSON column whose values may hold secrets. All else of it lands nowhere.

    - `fields`: the fields of an object that are kept, if they are text, numbers, booleans, or lists of these.
    - `by`, `whole`: a text field of the row, and those of its values for which the column's value is kept as it is.
    """

    fields: frozenset[str] = frozenset()
    by: str = ""
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Column:
    """One column of a table.

    - `private` marks what a customer or an agent wrote or is known by; it is kept out of logs and previews. JSON
      columns are treated as private throughout.
    - `keeps`: the part that is kept, if values may hold secrets; None for a column without any.
    """

    name: str
    kind: Kind
    description: str
    private: bool = False
    keeps: Harmless | None = None


EXTRACTED_AT = "_extracted_at"
DELETED_AT = "_deleted_at"
MERGED_INTO = "_merged_into"
EXTRA = "_extra"

# The columns that this project adds to every table.
ADDED_COLUMNS = (
    Column(EXTRACTED_AT, Kind.DATETIME, "When the request that read this state of the row was sent."),
    Column(DELETED_AT, Kind.DATETIME, "When the row was found to be gone from Gorgias; null while it lives."),
    Column(MERGED_INTO, Kind.INTEGER, "The id that took this row's place, where it is gone because it was merged."),
    Column(
        EXTRA, Kind.JSON, "Fields that are not declared, or whose value does not fit the declaration.", private=True
    ),
)
