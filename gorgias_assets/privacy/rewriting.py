"""Rows that were stored under another privacy policy pass the present one where they are, a few days at a time.

A full sweep reads what Gorgias still has. This reaches the rest: events that it no longer keeps, and rows that are
gone. What an earlier policy has dropped or hashed cannot come back, and a hash by another key stays as it is.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.parsing import dumps
from gorgias_assets.columns import EXTRA, EXTRACTED_AT, Kind
from gorgias_assets.entities.model import Entity, Whole
from gorgias_assets.privacy.policy import Row, Screen
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

CREATED = "created_datetime"
DAY = timedelta(days=1)
MICROSECOND = pa.scalar(timedelta(microseconds=1), pa.duration("us"))


def rewrite(warehouse: Warehouse, table: Table, entity: Entity[Any], screen: Screen) -> int:
    """Let all rows of the table pass the screen, and return the number of those that changed.

    They count as read a microsecond later, so that what was made of them is made anew; a later reading replaces them.
    """
    screen = screen.of(entity.name, stored=True)
    names = [name for name in [*screen.names(entity.columns), EXTRA] if name in warehouse.columns_of(table)]
    created = [CREATED] if CREATED in (column.name for column in entity.columns) else []
    selected = ", ".join(map(warehouse.dialect.quoted, dict.fromkeys(("id", EXTRACTED_AT, *created, *names))))
    changed = 0
    for condition in _parts(warehouse, table, bool(created) and not isinstance(entity.read, Whole)):
        rows = warehouse.query(
            table.schema,
            f"SELECT {selected} FROM {warehouse.rows_of(table)} WHERE id IS NOT NULL AND {condition}",
        )
        left = _left(screen, entity, rows, names)
        if left.num_rows:
            changed += left.num_rows
            warehouse.merge(table, entity.columns, left)
    return changed


def _parts(warehouse: Warehouse, table: Table, has_days: bool) -> Iterator[str]:
    """Yield conditions that part the table's rows by their day, so that a part is in memory."""
    if not has_days:
        yield "TRUE"
        return
    created = warehouse.dialect.quoted(CREATED)
    counted = warehouse.query(
        table.schema,
        f"SELECT CAST({created} AS DATE) AS day, COUNT(*) AS there_are FROM {warehouse.rows_of(table)} GROUP BY 1",
    ).to_pylist()
    days: list[date] = []
    held = 0
    for day, there_are in sorted((row["day"], row["there_are"]) for row in counted if row["day"]):
        if days and held + there_are > warehouse.batch_rows:
            yield _between(warehouse, days)
            days, held = [], 0
        days.append(day)
        held += there_are
    if days:
        yield _between(warehouse, days)
    if any(row["day"] is None for row in counted):
        yield f"{created} IS NULL"


def _between(warehouse: Warehouse, days: list[date]) -> str:
    start, end = (datetime.combine(day, time(), UTC) for day in (days[0], days[-1]))
    return f"({warehouse.dialect.within(warehouse.dialect.quoted(CREATED), [Window(start, end + DAY)])})"


def _left(screen: Screen, entity: Entity[Any], rows: pa.Table, names: list[str]) -> pa.Table:
    """Return those of the rows that change, as they are from now on."""
    columns = {column.name: column for column in entity.columns}
    is_json = {name: name not in columns or columns[name].kind is Kind.JSON for name in names}
    stored = rows.select(names).to_pylist()
    read = [{name: _parsed(value) if is_json[name] else value for name, value in row.items()} for row in stored]
    passed = screen.apply(entity.columns, read)
    new: list[Row] = []
    for before, row in zip(read, passed, strict=True):
        extra = before.get(EXTRA)
        new.append({**row, EXTRA: (screen.beyond(columns, extra) or None) if isinstance(extra, dict) else None})
    differ = [position for position, row in enumerate(new) if any(row[name] != read[position][name] for name in names)]
    left = rows.take(differ)
    for name in names:
        values = [_written(new[position][name], is_json[name]) for position in differ]
        left = left.set_column(left.column_names.index(name), name, pa.array(values, pa.string()))
    later = pc.add(left[EXTRACTED_AT], MICROSECOND)
    left = left.set_column(left.column_names.index(EXTRACTED_AT), EXTRACTED_AT, later)
    return left.append_column(IS_TOUCHED, pa.array([False] * left.num_rows, pa.bool_()))


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _written(value: Any, is_json: bool) -> str | None:
    return dumps(value)[0] if is_json and value is not None else value
