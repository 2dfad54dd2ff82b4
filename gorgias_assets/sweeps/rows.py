"""Rows: JSON objects become typed Arrow columns, and nothing is dropped.

A value that its declared column cannot hold, and a field that is not declared, are kept as JSON in `_extra`; the column
is then null. A value that JSON cannot hold is kept as text: in `_extra`, or inside its own column if that is JSON. A
string with bytes that are no text stays in its column, with escapes for these. Datetimes are parsed here: behind this
door they are aware, UTC and in microseconds.

The exception are secrets. Of a column that may hold some only the harmless part passes this door; and of an entity with
such a column, nothing passes that would be kept in `_extra`, where a secret may come under another name or in another
form. What is withheld is counted by the name of its field.

A privacy policy has rows pass its `Screen` here, on their way to columns and to `_extra`.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.parsing import Repaired, dumps, repaired
from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column, Harmless, Kind
from gorgias_assets.privacy.policy import Screen, Written
from gorgias_assets.warehouse.tables import IS_TOUCHED
from gorgias_assets.windows import Window

Row = dict[str, Any]

_LONGEST = 100  # letters of a datetime with a fraction of many digits
_SPELLINGS = (  # that Python's parser lacks
    (re.compile(r"\s*(?:UTC|GMT)$"), "Z"),
    (re.compile(r"\u2212"), "-"),
    (re.compile(r"([.,]\d{6})\d+"), r"\1"),
)
_END_OF_DAY = re.compile(r"(?<=[T ])24(?=(?::?00){0,2}(?:[.,]0+)?(?:Z|\s?[-+]|$))")


@dataclass(frozen=True)
class TypedRows:
    """Rows in the order they were read.

    - `unfit`: the fields of each row that its columns do not hold, by the row's position.
    - `extra_fields`: how often each field went to `_extra`, or is in its own column with text for something that this
      cannot hold.
    - `withheld`: how often each field, or a part of it, was withheld because it may hold a secret, or is undeclared
      under a privacy policy.
    """

    table: pa.Table
    unfit: dict[int, set[str]]
    extra_fields: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)


def parse_datetime(text: str) -> datetime:
    """Read an ISO 8601 datetime as aware UTC; a datetime without an offset is UTC already.

    Gorgias returns `2026-08-26T18:36:51.461517+00:00` and drops the fraction when it is zero; its documentation shows
    values without an offset. A fraction of more than six digits is cut. Raises ValueError for anything else, such as
    the second 60, which Python's datetimes lack.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _spelled_otherwise(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the datetime lies outside the years 1 to 9999") from None


def _spelled_otherwise(text: str) -> datetime:
    """Read a datetime in small letters, between blanks, of the zone `UTC`, or at 24:00, the end of its day."""
    text = text.strip().upper()
    if len(text) > _LONGEST:
        raise ValueError("the text is longer than a datetime")
    for spelling, usual in _SPELLINGS:
        text = spelling.sub(usual, text)
    text, days = _END_OF_DAY.subn("00", text)
    try:
        return datetime.fromisoformat(text) + timedelta(days=days)
    except OverflowError:
        raise ValueError("the datetime lies outside the years 1 to 9999") from None


def moment_of(row: Row, name: str) -> datetime | None:
    """Return a datetime field of a row; None if it is missing or no datetime."""
    try:
        return parse_datetime(row[name])
    except (KeyError, TypeError, ValueError):
        return None


def moments(rows: Sequence[Row], name: str) -> list[datetime]:
    """Return a datetime field of rows in their order, without the rows that have none."""
    return [moment for row in rows if (moment := moment_of(row, name)) is not None]


def type_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    extracted_at: datetime,
    left_out: Collection[str] = (),
    screen: Screen | None = None,
) -> TypedRows:
    """Type `rows`, all read by the request that was sent at `extracted_at`, without the fields `left_out`.

    They pass the `screen` of a privacy policy, if there is one.
    """
    withheld: Counter[str] = Counter()
    rows = _without_secrets(rows, columns, withheld)
    if screen:
        rows = screen.apply(columns, rows, withheld)
    extras = _unknown_fields(rows, {*left_out, *(column.name for column in columns)})
    counted: Counter[str] = Counter()
    arrays = [_column_array(column, rows, extras, counted) for column in columns]
    unfit = {position: set(extra) for position, extra in extras.items()}
    kept = _kept_extras(extras, columns, screen)
    names_unfit = Counter(repaired(name) for names in unfit.values() for name in names)
    names_kept = Counter(repaired(name) for extra in kept.values() for name in extra)
    counted += names_kept
    withheld += names_unfit - names_kept
    added = [
        pa.repeat(pa.scalar(extracted_at, Kind.DATETIME.arrow_type), len(rows)),
        pa.nulls(len(rows), Kind.DATETIME.arrow_type),
        pa.nulls(len(rows), Kind.INTEGER.arrow_type),
        pa.array([_extra_text(kept[i]) if kept.get(i) else None for i in range(len(rows))], pa.string()),
    ]
    names = [column.name for column in (*columns, *ADDED_COLUMNS)]
    return TypedRows(pa.Table.from_arrays([*arrays, *added], names=names), unfit, counted, withheld)


def is_touched(rows: TypedRows, touch_fields: Sequence[str], window: Window) -> pa.Array:
    """Return for each row if something happened to it in the window, or if a touch is unreadable or all are missing."""
    touches = [rows.table[name] for name in touch_fields]
    unreadable = [not rows.unfit.get(i, set()).isdisjoint(touch_fields) for i in range(rows.table.num_rows)]
    missing = reduce(pc.and_, map(pc.is_null, touches))
    touched = reduce(pc.or_, (is_within(touch, window) for touch in touches))
    return pc.or_(pc.or_(touched, missing), pa.array(unreadable, pa.bool_()))


def is_within(moments: pa.ChunkedArray, window: Window) -> pa.ChunkedArray:
    """Return for each moment if it lies in the window; a null does not."""
    start, end = (pa.scalar(bound, Kind.DATETIME.arrow_type) for bound in (window.start, window.end))
    return pc.fill_null(pc.and_(pc.greater_equal(moments, start), pc.less(moments, end)), False)


def newest_by_id(rows: pa.Table) -> pa.Table:
    """Return each id once, in the state that was read last, in the order they came; of equals, the last one.

    Readers in parallel may deliver an older state after a newer one. A row that was touched in any of its states counts
    as touched.
    """
    ids = rows["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return rows
    read_at = rows[EXTRACTED_AT].to_pylist()
    touched = set(rows.filter(rows[IS_TOUCHED])["id"].to_pylist())
    newest = {ids[position]: position for position in sorted(range(len(ids)), key=read_at.__getitem__)}
    rows = rows.take(sorted(newest.values()))
    flags = pa.array([row_id in touched for row_id in rows["id"].to_pylist()])
    return rows.set_column(rows.column_names.index(IS_TOUCHED), IS_TOUCHED, flags)


def _without_secrets(rows: Sequence[Row], columns: Sequence[Column], withheld: Counter[str]) -> Sequence[Row]:
    """Return the rows with the harmless part of each column that may hold secrets, and count what that lacks."""
    for column in columns:
        if column.keeps is None:
            continue
        parts = [_harmless(column.keeps, row, row.get(column.name)) for row in rows]
        withheld[column.name] += sum(part != row.get(column.name) for part, row in zip(parts, rows, strict=True))
        rows = [{**row, column.name: part} for part, row in zip(parts, rows, strict=True)]
    withheld += Counter()  # drops those that lack nothing
    return rows


def _harmless(keeps: Harmless, row: Row, value: Any) -> Any:
    """Return the part of a column's value that is kept; None if it is no object."""
    kind = row.get(keeps.by)
    if isinstance(kind, str) and kind in keeps.whole:
        return value
    if not isinstance(value, dict):
        return None
    return {name: inner for name, inner in value.items() if name in keeps.fields and _is_flat(inner)}


def _is_flat(value: Any) -> bool:
    """Return if it is neither an object nor a list of more than text, numbers and booleans."""
    return not any(isinstance(inner, dict | list) for inner in (value if isinstance(value, list) else [value]))


def _unknown_fields(rows: Sequence[Row], known: set[str]) -> dict[int, Row]:
    """Return the undeclared fields of each row by its position; rows without any are left out."""
    return {
        position: {name: row[name] for name in sorted(unknown)}
        for position, row in enumerate(rows)
        if (unknown := row.keys() - known)
    }


def _kept_extras(extras: dict[int, Row], columns: Sequence[Column], screen: Screen | None) -> dict[int, Row]:
    """Return what is kept of the fields that the columns do not hold, by the row's position."""
    if any(column.keeps for column in columns):
        return {}
    if screen is None or not extras:
        return extras
    by_name = {column.name: column for column in columns}
    return {position: screen.beyond(by_name, extra) for position, extra in extras.items()}


def _column_array(column: Column, rows: Sequence[Row], extras: dict[int, Row], as_text: Counter[str]) -> pa.Array:
    """Return one column; values that do not fit become text if the column holds it, or are moved to `extras`."""
    values = [row.get(column.name) for row in rows]
    convert = _CONVERTERS[column.kind]
    arrow_type = column.kind.arrow_type
    try:
        return pa.array(convert(values), arrow_type)
    except (ValueError, TypeError, OverflowError):  # pa.ArrowInvalid is a ValueError
        pass
    fitting: list[Any] = []
    for position, value in enumerate(values):
        try:
            fitting.append(pa.array(convert([value]), arrow_type)[0])
        except (ValueError, TypeError, OverflowError):
            text = _text_instead(column.kind, value)
            fitting.append(text)
            if text is None:
                extras.setdefault(position, {})[column.name] = value
            else:
                as_text[column.name] += 1
    return pa.array(fitting, arrow_type)


def _text_instead(kind: Kind, value: Any) -> str | None:
    """Return the text that a column holds for a value that does not fit; None if it holds no text for it."""
    if kind is Kind.JSON:
        return dumps(value)[0]
    if kind is Kind.STRING and type(value) in (str, Repaired):
        return repaired(value)
    return None


def _only(kind: type) -> Callable[[list[Any]], list[Any]]:
    """Return a converter that accepts values of exactly this type: True is no integer, 1 is no string."""

    def convert(values: list[Any]) -> list[Any]:
        if not {kind, type(None)}.issuperset(map(type, values)):
            raise TypeError
        return values

    return convert


def _each(convert: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [None if value is None else convert(value) for value in values]


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _json_text(value: Any) -> str:
    if type(value) is Written:
        return value
    text, is_same = dumps(value)
    if not is_same:
        raise ValueError
    return text


def _extra_text(extra: Row) -> str:
    """Return the fields as a JSON object; only what is odd in one of them becomes text."""
    return f"{{{','.join(f'{dumps(name)[0]}:{dumps(value)[0]}' for name, value in extra.items())}}}"


_CONVERTERS: dict[Kind, Callable[[list[Any]], list[Any]]] = {
    Kind.INTEGER: _only(int),
    Kind.NUMBER: _each(_number),
    Kind.BOOLEAN: _only(bool),
    Kind.STRING: _only(str),
    Kind.DATETIME: _each(parse_datetime),
    Kind.DATE: _each(date.fromisoformat),
    Kind.JSON: _each(_json_text),
}

assert _CONVERTERS.keys() == set(Kind), "a kind of column lacks its converter"
