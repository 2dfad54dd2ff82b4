"""What checks ask of tables, in SQL for every engine. Answers are numbers, ids and names of fields, and no value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.columns import DELETED_AT, EXTRA, EXTRACTED_AT, MERGED_INTO
from gorgias_assets.entities.model import Entity
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

MOST_IDS = 20  # that a question names
_IDS_AT_ONCE = 20_000  # in a statement, of which BigQuery takes a megabyte
CLOCKS_DIFFER = timedelta(minutes=5)  # Gorgias's clock, which touches are by, and the one that a reading is by
SETTLING = timedelta(minutes=10)  # within which Gorgias has counted what has happened
TOLERATED_ROWS, TOLERATED_SHARE = 5, 0.02  # that may differ in the ordinary life of a shop, whichever is more


def tolerated(rows: int) -> float:
    """How many of so many rows may differ without a fault."""
    return max(TOLERATED_ROWS, TOLERATED_SHARE * rows)


@dataclass(frozen=True)
class Figures:
    """What one pass over a table tells.

    - `rows`, `without_id`: all of them, and those whose id is null; `repeated`: those whose id another row has before.
    - `early`, `ahead`: rows by touch field, where that lies further before the creation than the entity says, and where
      it lies after the reading of the row. Only fields where there are such rows.
    - `extra`: living rows with something in `_extra`.
    """

    rows: int
    without_id: int
    repeated: int
    early: dict[str, int]
    ahead: dict[str, int]
    extra: int


def figures(warehouse: Warehouse, table: Table, entity: Entity) -> Figures:
    words = warehouse.dialect
    early = {f"early_{field}": _is_early(warehouse, entity, field) for field in entity.touch_fields}
    ahead = {f"ahead_{field}": _is_ahead(warehouse, field) for field in entity.touch_fields}
    numbers = {"extra": f"{EXTRA} IS NOT NULL AND {DELETED_AT} IS NULL"} | early | ahead
    counted = ", ".join(f"COUNT(CASE WHEN {condition} THEN 1 END) AS {name}" for name, condition in numbers.items())
    (found,) = _rows(
        warehouse,
        table,
        "SELECT COUNT(*) AS there_are, COUNT(id) AS with_id, COUNT(DISTINCT id) AS ids, "
        f"{counted} FROM {words.name_of(table)}",
    )
    return Figures(
        rows=found["there_are"],
        without_id=found["there_are"] - found["with_id"],
        repeated=found["with_id"] - found["ids"],
        early={field: rows for field in entity.touch_fields if (rows := found[f"early_{field}"])},
        ahead={field: rows for field in entity.touch_fields if (rows := found[f"ahead_{field}"])},
        extra=found["extra"],
    )


def repeated_ids(warehouse: Warehouse, table: Table) -> list[int]:
    return _ids(
        warehouse,
        table,
        f"SELECT id FROM {warehouse.dialect.name_of(table)} WHERE id IS NOT NULL GROUP BY id HAVING COUNT(*) > 1",
    )


def ids_with_touches_amiss(warehouse: Warehouse, table: Table, entity: Entity) -> list[int]:
    """Rows that are among those of `Figures.early` or `Figures.ahead`."""
    amiss = [
        condition
        for field in entity.touch_fields
        for condition in (_is_early(warehouse, entity, field), _is_ahead(warehouse, field))
    ]
    return _ids(warehouse, table, f"SELECT id FROM {warehouse.dialect.name_of(table)} WHERE {' OR '.join(amiss)}")


def extra_fields(warehouse: Warehouse, table: Table) -> dict[str, int]:
    """How many living rows have each field in `_extra`."""
    words = warehouse.dialect
    found = _rows(
        warehouse,
        table,
        f"SELECT field, COUNT(*) AS there_are FROM {words.name_of(table)} AS stored "
        f"CROSS JOIN {words.json_keys(f'stored.{EXTRA}', 'field')} "
        f"WHERE stored.{EXTRA} IS NOT NULL AND stored.{DELETED_AT} IS NULL GROUP BY field ORDER BY field",
    )
    return {row["field"]: row["there_are"] for row in found}


@dataclass(frozen=True)
class Lost:
    """Living rows whose parent is not there as it should be: how many rows and parents, and some ids of parents."""

    rows: int = 0
    parents: int = 0
    ids: Sequence[int] = ()


@dataclass(frozen=True)
class Orphans:
    """Living rows by what became of their parent.

    - `missing`: it is not stored, though it was created in days that are.
    - `gone`: it was deleted; `beyond`: it is not stored, as it is older or newer than the days that are.
    """

    missing: Lost
    gone: Lost
    beyond: Lost


def orphans(warehouse: Warehouse, child: Table, field: str, parent: Table, entity: Entity, days: Window) -> Orphans:
    """`entity` is the parents', and `days` are those of them that are stored.

    Of a parent that is not stored only the id is known; ids ascend, so it is of the days if its id is between theirs.
    """
    words = warehouse.dialect
    parents = words.name_of(parent)
    is_of_days = words.within(words.quoted(entity.creation_order), [days])
    found = _rows(
        warehouse,
        child,
        "SELECT state, parent_id, SUM(COUNT(*)) OVER (PARTITION BY state) AS children, "
        "COUNT(*) OVER (PARTITION BY state) AS parents FROM ("
        "SELECT child.parent_id, CASE WHEN parent.id IS NOT NULL THEN 'gone' "
        "WHEN child.parent_id BETWEEN stored.lowest AND stored.highest THEN 'missing' ELSE 'beyond' END AS state "
        f"FROM (SELECT {words.quoted(field)} AS parent_id FROM {words.name_of(child)} "
        f"WHERE {DELETED_AT} IS NULL AND {words.quoted(field)} IS NOT NULL) AS child "
        f"CROSS JOIN (SELECT MIN(id) AS lowest, MAX(id) AS highest FROM {parents} WHERE {is_of_days}) AS stored "
        f"LEFT JOIN {parents} AS parent ON parent.id = child.parent_id "
        f"WHERE parent.id IS NULL OR (parent.{DELETED_AT} IS NOT NULL AND parent.{MERGED_INTO} IS NULL)"
        ") AS lost GROUP BY state, parent_id "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY state ORDER BY parent_id) <= {MOST_IDS} ORDER BY state, parent_id",
    )
    return Orphans(**{state: _lost(found, state) for state in ("missing", "gone", "beyond")})


def _lost(found: Sequence[dict[str, Any]], state: str) -> Lost:
    rows = [row for row in found if row["state"] == state]
    if not rows:
        return Lost()
    return Lost(int(rows[0]["children"]), rows[0]["parents"], [row["parent_id"] for row in rows])


@dataclass(frozen=True)
class Miscounted:
    """How many parents were judged, and how many of them count other children than are stored."""

    judged: int
    differing: int


def miscounted(
    warehouse: Warehouse, parent: Table, entity: Entity, child: Table, children: Entity, days: Window
) -> dict[str, Miscounted]:
    """By day of creation, the parents whose `children.counted_by` is not the number of their living children.

    `days` are those of the children that are stored, so that a parent is judged if it was created in them and has not
    changed after them, or shortly before it was read, since it counts with a delay. A child that was found to be gone
    later than the parent was read may have been counted, and one that came after that, or shortly before, may not.
    """
    found = _rows(
        warehouse,
        parent,
        f"{_judged_parents(warehouse, parent, entity, child, children, days)} "
        "SELECT day, COUNT(*) AS there_are, COUNT(CASE WHEN differs THEN 1 END) AS differing "
        "FROM judged GROUP BY day ORDER BY day",
    )
    return {str(row["day"]): Miscounted(row["there_are"], row["differing"]) for row in found}


def miscounted_parents(
    warehouse: Warehouse, parent: Table, entity: Entity, child: Table, children: Entity, days: Window
) -> list[dict[str, int]]:
    """Some of those of `miscounted`, the newest: the id, what it counts, and what it should at least and at most."""
    return _rows(
        warehouse,
        parent,
        f"{_judged_parents(warehouse, parent, entity, child, children, days)} "
        f"SELECT id, told, least, most FROM judged WHERE differs ORDER BY id DESC LIMIT {MOST_IDS}",
    )


def _judged_parents(
    warehouse: Warehouse, parent: Table, entity: Entity, child: Table, children: Entity, days: Window
) -> str:
    words = warehouse.dialect
    field = words.quoted(children.goes_with[1] if children.goes_with else "")
    told, created = words.quoted(children.counted_by), words.quoted(children.creation_order)
    parent_created = f"parent.{words.quoted(entity.creation_order)}"
    settled = f"parent.{EXTRACTED_AT} - {_interval(SETTLING)}"
    parents = words.name_of(parent)
    return (
        f"WITH merged AS (SELECT id, {MERGED_INTO} AS successor FROM {parents} WHERE {MERGED_INTO} IS NOT NULL), "
        f"child AS (SELECT COALESCE(merged.successor, stored.{field}) AS parent_id, stored.{created} AS created, "
        f"stored.{DELETED_AT} AS gone_at FROM {words.name_of(child)} AS stored "
        f"LEFT JOIN merged ON merged.id = stored.{field}), "
        f"counted AS (SELECT parent.id, {parent_created} AS created, parent.{told} AS told, "
        f"COUNT(CASE WHEN child.gone_at IS NULL AND child.created < {settled} THEN 1 END) AS least, "
        "COUNT(CASE WHEN child.parent_id IS NOT NULL "
        f"AND (child.gone_at IS NULL OR child.gone_at >= parent.{EXTRACTED_AT}) THEN 1 END) AS most "
        f"FROM {parents} AS parent LEFT JOIN child ON child.parent_id = parent.id "
        f"WHERE parent.{DELETED_AT} IS NULL AND parent.{told} IS NOT NULL "
        f"AND {parent_created} >= {words.moment(days.start)} "
        f"AND parent.{words.quoted(entity.order)} < {words.moment(days.end)} "
        f"AND parent.{words.quoted(entity.order)} < {settled} GROUP BY parent.id, {parent_created}, parent.{told}), "
        "judged AS (SELECT id, CAST(created AS DATE) AS day, told, least, most, "
        "told < least OR told > most AS differs FROM counted)"
    )


def created_in(
    warehouse: Warehouse, table: Table, entity: Entity, windows: Mapping[str, Window]
) -> dict[str, frozenset[int]]:
    """Ids of the rows that were created in each of the windows, gone or not."""
    words = warehouse.dialect
    created = words.quoted(entity.creation_order)
    within = words.within(created, windows.values())
    query = f"SELECT id, {created} AS created FROM {words.name_of(table)} WHERE id IS NOT NULL AND ({within})"
    found = _rows(warehouse, table, query)
    return {name: frozenset(row["id"] for row in found if row["created"] in window) for name, window in windows.items()}


def stored_among(warehouse: Warehouse, table: Table, ids: Collection[int]) -> frozenset[int]:
    """Those of the ids that the table has."""
    words, wanted = warehouse.dialect, list(ids)
    stored: set[int] = set()
    for begin in range(0, len(wanted), _IDS_AT_ONCE):
        among = words.among("id", wanted[begin : begin + _IDS_AT_ONCE])
        found = _rows(warehouse, table, f"SELECT id FROM {words.name_of(table)} WHERE {among}")
        stored.update(row["id"] for row in found)
    return frozenset(stored)


def _is_early(warehouse: Warehouse, entity: Entity, field: str) -> str:
    words = warehouse.dialect
    return f"{words.quoted(field)} < {words.quoted(entity.creation_order)} - {_interval(entity.look_ahead)}"


def _is_ahead(warehouse: Warehouse, field: str) -> str:
    return f"{warehouse.dialect.quoted(field)} > {EXTRACTED_AT} + {_interval(CLOCKS_DIFFER)}"


def _interval(span: timedelta) -> str:
    return f"INTERVAL {span // timedelta(seconds=1)} SECOND"


def _ids(warehouse: Warehouse, table: Table, query: str) -> list[int]:
    return [row["id"] for row in _rows(warehouse, table, f"{query} ORDER BY id LIMIT {MOST_IDS}")]


def _rows(warehouse: Warehouse, table: Table, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = warehouse.query(table.schema, query).to_pylist()
    return rows
