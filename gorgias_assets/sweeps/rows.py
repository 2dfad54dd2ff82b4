"""From JSON objects to typed Arrow columns, with nothing dropped.

A value that its declared column cannot hold, and a field that the declaration does not know, are kept as JSON in
`_extra`; the column is then null. This is the door at which datetimes are parsed: behind it they are aware, UTC and in
microseconds.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, Column, Kind

Row = dict[str, Any]

_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{7}")

_ARROW_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.STRING: pa.string(),
    Kind.DATETIME: pa.timestamp("us", tz="UTC"),
    Kind.JSON: pa.string(),
}


@dataclass(frozen=True)
class TypedRows:
    """Rows as an Arrow table in the order they were read, and how often each field had to go to `_extra`."""

    table: pa.Table
    extra_fields: Counter[str]


def parse_datetime(text: str) -> datetime:
    """Read an ISO 8601 datetime as aware UTC; without an offset it is UTC already.

    Gorgias returns `2026-08-26T18:36:51.461517+00:00` and drops the fraction when it is zero; its documentation shows
    values without an offset. Raises ValueError for anything else.
    """
    if _FINER_THAN_MICROSECONDS.search(text):
        raise ValueError("the datetime is finer than microseconds")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the datetime lies outside the years 1 to 9999") from None


def moment_of(row: Row, name: str) -> datetime | None:
    """A datetime field of a row; None where it is missing or no datetime."""
    try:
        return parse_datetime(row[name])
    except (KeyError, TypeError, ValueError):
        return None


def moments(rows: Sequence[Row], name: str) -> list[datetime]:
    """A datetime field of rows, in their order, without those that have none."""
    return [moment for row in rows if (moment := moment_of(row, name)) is not None]


def type_rows(rows: Sequence[Row], columns: Sequence[Column], extracted_at: datetime) -> TypedRows:
    """Type `rows`, all read by the request that was sent at `extracted_at`."""
    extras = _unknown_fields(rows, {column.name for column in columns})
    arrays = [_column_array(column, rows, extras) for column in columns]
    added = [
        pa.repeat(pa.scalar(extracted_at, _ARROW_TYPES[Kind.DATETIME]), len(rows)),
        pa.nulls(len(rows), _ARROW_TYPES[Kind.DATETIME]),
        pa.nulls(len(rows), _ARROW_TYPES[Kind.INTEGER]),
        pa.array([_json_text(extras[i]) if i in extras else None for i in range(len(rows))], pa.string()),
    ]
    names = [column.name for column in (*columns, *ADDED_COLUMNS)]
    fields = Counter(name for extra in extras.values() for name in extra)
    return TypedRows(pa.Table.from_arrays([*arrays, *added], names=names), fields)


def _unknown_fields(rows: Sequence[Row], known: set[str]) -> dict[int, Row]:
    """The fields of each row that no column declares, by the row's position; rows without any are left out."""
    return {
        position: {name: row[name] for name in sorted(unknown)}
        for position, row in enumerate(rows)
        if (unknown := row.keys() - known)
    }


def _column_array(column: Column, rows: Sequence[Row], extras: dict[int, Row]) -> pa.Array:
    """One column; values that do not fit are moved to `extras`."""
    values = [row.get(column.name) for row in rows]
    convert = _CONVERTERS[column.kind]
    arrow_type = _ARROW_TYPES[column.kind]
    try:
        return pa.array(convert(values), arrow_type)
    except (ValueError, TypeError, OverflowError):  # pa.ArrowInvalid is a ValueError
        pass
    fitting: list[Any] = []
    for position, value in enumerate(values):
        try:
            fitting.append(pa.array(convert([value]), arrow_type)[0])
        except (ValueError, TypeError, OverflowError):
            fitting.append(None)
            extras.setdefault(position, {})[column.name] = value
    return pa.array(fitting, arrow_type)


def _only(kind: type) -> Callable[[list[Any]], list[Any]]:
    """A converter that lets values of exactly this type through: True is no integer, 1 is no string."""

    def convert(values: list[Any]) -> list[Any]:
        if not {kind, type(None)}.issuperset(map(type, values)):
            raise TypeError
        return values

    return convert


def _datetimes(values: list[Any]) -> list[datetime | None]:
    return [None if value is None else parse_datetime(value) for value in values]


def _json_texts(values: list[Any]) -> list[str | None]:
    return [None if value is None else _json_text(value) for value in values]


def _json_text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, an integer beyond 64 bits, or nested deeper than orjson writes
        return json.dumps(value, separators=(",", ":"))


_CONVERTERS: dict[Kind, Callable[[list[Any]], list[Any]]] = {
    Kind.INTEGER: _only(int),
    Kind.BOOLEAN: _only(bool),
    Kind.STRING: _only(str),
    Kind.DATETIME: _datetimes,
    Kind.JSON: _json_texts,
}
