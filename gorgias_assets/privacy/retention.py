"""Retention: letters older than an age are dropped, by the day of their row's creation, and never stored again.

The door drops the bodies of rows that were created before the day that is so many days before their reading. A run then
drops those that were stored before and have become too old since: of each day once. All by Gorgias's clock, so that a
table ends in the same rows in whatever order its days are read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.columns import EXTRA, EXTRACTED_AT, Column, Kind, Personal, Place
from gorgias_assets.entities.model import ByDate, Entity, Whole
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

# Texts that are not as old as their row: a field may be set, and a note written, years after a customer was created.
LASTING = frozenset({"custom_fields", "note"})
OVERLAP = timedelta(days=2)  # in which a batch may be stored that was read before the last run dropped what was too old
AT_ONCE = timedelta(days=31)  # of which rows with bodies inside JSON are in memory


@dataclass(frozen=True)
class Letters:
    """The columns of an entity with bodies in them.

    - `texts`: those that are a body as a whole.
    - `objects`: JSON columns with bodies in them.
    - `created`: the column of a row's creation.
    """

    texts: Sequence[Column]
    objects: Sequence[Column]
    created: str

    @property
    def names(self) -> list[str]:
        return [column.name for column in (*self.texts, *self.objects)]


def letters_of(entity: Entity[Any]) -> Letters | None:
    """Return the columns with bodies of an entity whose rows have a day; None if it has no body."""
    read = entity.read
    if isinstance(read, Whole):
        return None
    holding = [one for one in entity.columns if one.name not in LASTING and Personal.BODY in one.paths]
    texts = [column for column in holding if column.kind is not Kind.JSON]
    objects = [column for column in holding if column.kind is Kind.JSON]
    if texts:  # of the wrong type
        objects.append(Column(EXTRA, Kind.JSON, "", {"**": None} | {one.name: Personal.BODY for one in texts}))
    return Letters(texts, objects, read.creation_order if isinstance(read, ByDate) else read.field) if holding else None


def first_day_kept(now: datetime, days: int) -> datetime:
    """Return the beginning of the first day whose bodies are kept at this moment."""
    return datetime.combine(now.astimezone(UTC).date() - timedelta(days=days), time(), UTC)


def without_old_bodies(entity: Entity[Any], rows: pa.Table, days: int) -> pa.Table:
    """Return typed rows without the bodies of those that are too old at their reading, or have no day of creation."""
    letters = letters_of(entity)
    if letters is None or not rows.num_rows:
        return rows
    read_on = pc.floor_temporal(rows[EXTRACTED_AT], unit="day")
    first = pc.subtract(read_on, pa.scalar(timedelta(days=days), pa.duration("us")))
    is_old = pc.fill_null(pc.less(rows[letters.created], first), True)
    return _without_bodies(letters, rows, is_old) if pc.any(is_old).as_py() else rows


def drop_old_bodies(warehouse: Warehouse, table: Table, entity: Entity[Any], days: int, now: datetime) -> int:
    """Drop the stored bodies of rows that have become too old, and return the number of rows that had some."""
    letters = letters_of(entity)
    if letters is None:
        return 0
    until = first_day_kept(now, days)
    done = warehouse.bodies_dropped_until(table, letters.names)
    if done and done >= until:
        return 0
    since = done - OVERLAP if done else None
    dropped = warehouse.clear(table, [column.name for column in letters.texts], letters.created, since, until)
    dropped += _clear_objects(warehouse, table, letters, since, until) if letters.objects else 0
    warehouse.note_bodies_dropped(table, letters.names, until)
    return dropped


def _clear_objects(
    warehouse: Warehouse, table: Table, letters: Letters, since: datetime | None, until: datetime
) -> int:
    """Drop bodies inside JSON, by reading the rows of a month at a time and merging what is left of them."""
    names = [column.name for column in letters.objects]
    found, changed = warehouse.oldest_with(table, names, letters.created, since, until), 0
    begin = found
    while begin and begin < until:
        end = min(begin + AT_ONCE, until)
        rows = warehouse.rows_with(table, names, letters.created, Window(begin, end))
        cleared = _without_bodies(letters, rows, pa.array([True] * rows.num_rows, pa.bool_()))
        differ = [
            position
            for position, (before, after) in enumerate(
                zip(rows.select(names).to_pylist(), cleared.select(names).to_pylist(), strict=True)
            )
            if before != after
        ]
        if differ:
            part = cleared.take(differ)
            changed += warehouse.update(table, part.append_column(IS_TOUCHED, pa.array([False] * part.num_rows))).rows
        begin = end
    return changed


def _without_bodies(letters: Letters, rows: pa.Table, is_old: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return rows in which those that are old have no bodies."""
    for column in (*letters.texts, *letters.objects):
        if column.name not in rows.column_names:
            continue
        values = rows[column.name]
        if column in letters.texts:
            emptied = pc.if_else(is_old, pa.scalar(None, values.type), values)
        else:
            pairs = zip(values.to_pylist(), is_old.to_pylist(), strict=True)
            emptied = pa.array([_without_body(text, column.place) if old else text for text, old in pairs], values.type)
        rows = rows.set_column(rows.column_names.index(column.name), column.name, emptied)
    return rows


def _without_body(text: str | None, place: Place) -> str | None:
    if text is None:
        return None
    value = json.loads(text)
    left = _emptied(value, place)
    return text if left == value else json.dumps(left, ensure_ascii=False, separators=(",", ":"))


def _emptied(value: Any, place: Place) -> Any:
    """Return JSON with null in the place of each body."""
    if place.holds is Personal.BODY and not (place.fields or place.ids or place.items):
        return None
    if isinstance(value, dict):
        return {name: _emptied(inner, place.below(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_emptied(inner, place.item) for inner in value]
    return None if place.holds is Personal.BODY else value
