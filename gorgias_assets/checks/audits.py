"""The queries of checks, in SQL that every engine understands. They return numbers, ids and names of fields."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.columns import DELETED_AT, EXTRA, EXTRACTED_AT, MERGED_INTO
from gorgias_assets.entities.model import ByDate, Entity, Parent
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

MOST_IDS = 20  # that a query returns
_IDS_AT_ONCE = 20_000  # in a statement: BigQuery takes a megabyte
CLOCKS_DIFFER = timedelta(minutes=5)  # touches are by the clocks of Gorgias's many machines, readings by one of them
SETTLING = timedelta(minutes=10)  # within which Gorgias has counted a change
TOLERATED_ROWS, TOLERATED_SHARE = 5, 0.02  # that may differ in the ordinary life of a shop; the larger counts
OUTLIVED_SHARE = 0.1  # of rows may have outlived what they belong to


def tolerated(rows: int) -> float:
    """Return how many of so many rows may differ without a fault."""
    return max(TOLERATED_ROWS, TOLERATED_SHARE * rows)


def outlived(rows: int) -> float:
    """Return how many of so many rows may belong to one that was deleted or merged away before it was ever read.

    They add up over the years. A parent that was left out shows in the rows that are gone with their parents.
    """
    return max(TOLERATED_ROWS, OUTLIVED_SHARE * rows)


@dataclass(frozen=True)
class Stored:
    """The table of an entity in a warehouse."""

    warehouse: Warehouse
    table: Table
    entity: Entity[Any]

    @property
    def name(self) -> str:
        """The table's rows in SQL, to write after FROM or JOIN."""
        return self.warehouse.rows_of(self.table)

    @property
    def dialect(self) -> Dialect:
        return self.warehouse.dialect

    @property
    def touch_fields(self) -> Sequence[str]:
        return self.entity.read.touch_fields if isinstance(self.entity.read, ByDate) else ()

    @property
    def creation_field(self) -> str:
        """The datetime of a daily entity that never moves."""
        read = self.entity.read
        return read.creation_order if isinstance(read, ByDate) else read.field

    def rows(self, query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.warehouse.query(self.table.schema, query).to_pylist()
        return rows

    def some_ids(self, condition: str) -> list[int]:
        """Return the lowest ids of the rows that a `WHERE` and what follows it leave."""
        return [row["id"] for row in self.rows(f"SELECT id FROM {self.name} {condition} ORDER BY id LIMIT {MOST_IDS}")]


@dataclass(frozen=True)
class Figures:
    """The numbers of one pass over a table.

    - `rows`, `without_id`: all rows, and those whose id is null; `repeated`: rows that repeat the id of another.
    - `early`, `ahead`: numbers of rows by touch field, if it lies further before the creation than the entity declares,
      or after the reading of the row. Fields without such rows are left out.
    - `extra`: living rows with something in `_extra`; `unordered`: those without the field that the list is read by.
    """

    rows: int
    without_id: int
    repeated: int
    early: dict[str, int]
    ahead: dict[str, int]
    extra: int
    unordered: int


def figures(stored: Stored) -> Figures:
    fields = stored.touch_fields
    conditions = {"extra": f"{EXTRA} IS NOT NULL AND {DELETED_AT} IS NULL"}
    if isinstance(stored.entity.read, ByDate):
        order = stored.dialect.quoted(stored.entity.read.order)
        conditions["unordered"] = f"{order} IS NULL AND {DELETED_AT} IS NULL"
    conditions |= {f"early_{field}": _is_early(stored, field) for field in fields}
    conditions |= {f"ahead_{field}": _is_ahead(stored, field) for field in fields}
    counts = ", ".join(f"COUNT(CASE WHEN {condition} THEN 1 END) AS {name}" for name, condition in conditions.items())
    (found,) = stored.rows(
        f"SELECT COUNT(*) AS there_are, COUNT(id) AS with_id, COUNT(DISTINCT id) AS ids, {counts} FROM {stored.name}"
    )
    return Figures(
        rows=found["there_are"],
        without_id=found["there_are"] - found["with_id"],
        repeated=found["with_id"] - found["ids"],
        early={field: rows for field in fields if (rows := found[f"early_{field}"])},
        ahead={field: rows for field in fields if (rows := found[f"ahead_{field}"])},
        extra=found["extra"],
        unordered=found.get("unordered", 0),
    )


def repeated_ids(stored: Stored) -> list[int]:
    return stored.some_ids("WHERE id IS NOT NULL GROUP BY id HAVING COUNT(*) > 1")


def ids_touched_out_of_order(stored: Stored) -> list[int]:
    """Return ids of the rows that `Figures.early` and `Figures.ahead` count."""
    conditions = [test(stored, field) for field in stored.touch_fields for test in (_is_early, _is_ahead)]
    return stored.some_ids(f"WHERE {' OR '.join(conditions)}")


def extra_fields(stored: Stored) -> dict[str, int]:
    """Return the number of living rows that have each field in `_extra`."""
    found = stored.rows(
        f"SELECT field, COUNT(*) AS there_are FROM {stored.name} AS stored "
        f"CROSS JOIN {stored.dialect.json_keys(f'stored.{EXTRA}', 'field')} "
        f"WHERE stored.{EXTRA} IS NOT NULL AND stored.{DELETED_AT} IS NULL GROUP BY field ORDER BY field"
    )
    return {row["field"]: row["there_are"] for row in found}


@dataclass(frozen=True)
class Lost:
    """Living rows whose parent is lost: the numbers of rows and of parents, and some ids of parents."""

    rows: int = 0
    parents: int = 0
    ids: Sequence[int] = ()


def orphans(child: Stored, parent: Stored, field: str, days: Window | None) -> dict[str, Lost]:
    """Return the rows of `child` whose parent, by its id in `field`, is lost, by the state of the parent.

    - `missing`: not stored, although it was created in `days`, which are stored; None if the whole list is.
    - `gone`: deleted.
    - `beyond`: not stored, and older or newer than the days that are.

    Only the id of a parent that is not stored is known; ids ascend, so it is of the days if it lies between their ids.
    """
    dialect = child.dialect
    found = child.rows(
        "SELECT state, parent_id, SUM(COUNT(*)) OVER (PARTITION BY state) AS children, "
        "COUNT(*) OVER (PARTITION BY state) AS parents FROM ("
        "SELECT child.parent_id, CASE WHEN parent.id IS NOT NULL THEN 'gone' "
        "WHEN child.parent_id BETWEEN stored.lowest AND stored.highest THEN 'missing' ELSE 'beyond' END AS state "
        f"FROM (SELECT {dialect.quoted(field)} AS parent_id FROM {child.name} "
        f"WHERE {DELETED_AT} IS NULL AND {dialect.quoted(field)} IS NOT NULL) AS child "
        f"CROSS JOIN ({_ids_of_days(parent, days)}) AS stored "
        f"LEFT JOIN {parent.name} AS parent ON parent.id = child.parent_id "
        f"WHERE parent.id IS NULL OR (parent.{DELETED_AT} IS NOT NULL AND parent.{MERGED_INTO} IS NULL)"
        ") AS lost GROUP BY state, parent_id "
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY state ORDER BY parent_id) <= {MOST_IDS} ORDER BY state, parent_id"
    )
    lost = {state: [row for row in found if row["state"] == state] for state in ("missing", "gone", "beyond")}
    return {
        state: Lost(int(rows[0]["children"]), rows[0]["parents"], [row["parent_id"] for row in rows])
        if rows
        else Lost()
        for state, rows in lost.items()
    }


def _ids_of_days(stored: Stored, days: Window | None) -> str:
    """Return a query of the lowest and the highest id of the rows that were created in the days.

    An imported row has a later id than those that were created with it, so the newest row has the highest one.
    """
    if days is None:
        return f"SELECT MIN(id) AS lowest, MAX(id) AS highest FROM {stored.name}"
    created = stored.dialect.quoted(stored.creation_field)
    return (
        "SELECT MIN(id) AS lowest, MAX(CASE WHEN created = newest THEN id END) AS highest FROM ("
        f"SELECT id, {created} AS created, MAX({created}) OVER () AS newest FROM {stored.name} "
        f"WHERE {stored.dialect.within(created, [days])}) AS of_days"
    )


@dataclass(frozen=True)
class Miscounted:
    """The number of parents that were checked, and of those whose count differs from their stored children."""

    checked: int
    differing: int


def miscounted(parent: Stored, child: Stored, link: Parent, days: Window) -> dict[str, Miscounted]:
    """Compare `link.counted_by` of parents with the numbers of their living children, by the parents' day of creation.

    `days` are the days of children that are stored. A parent is checked if it was created in them, and has not changed
    after them or shortly before it was read, since Gorgias counts with a delay. A child that was found to be gone after
    the parent was read may have been counted. A child that came after that, or shortly before, may not.
    """
    found = parent.rows(
        f"{_checked_parents(parent, child, link, days)} "
        "SELECT day, COUNT(*) AS there_are, COUNT(CASE WHEN differs THEN 1 END) AS differing "
        "FROM checked GROUP BY day ORDER BY day"
    )
    return {str(row["day"]): Miscounted(row["there_are"], row["differing"]) for row in found}


def miscounted_parents(parent: Stored, child: Stored, link: Parent, days: Window) -> list[dict[str, int]]:
    """Return the newest of the parents that differ: the id, its count, and the least and the most it should be."""
    return parent.rows(
        f"{_checked_parents(parent, child, link, days)} "
        f"SELECT id, counted, least, most FROM checked WHERE differs ORDER BY id DESC LIMIT {MOST_IDS}"
    )


def _checked_parents(parent: Stored, child: Stored, link: Parent, days: Window) -> str:
    dialect = parent.dialect
    field, counted = dialect.quoted(link.field), dialect.quoted(link.counted_by)
    created = f"parent.{dialect.quoted(parent.entity.read.creation_order)}"
    changed = f"parent.{dialect.quoted(parent.entity.read.order)}"
    settled = f"parent.{EXTRACTED_AT} - {_interval(SETTLING)}"
    return (
        f"WITH merged AS (SELECT id, {MERGED_INTO} AS successor FROM {parent.name} WHERE {MERGED_INTO} IS NOT NULL), "
        f"child AS (SELECT COALESCE(merged.successor, stored.{field}) AS parent_id, "
        f"stored.{dialect.quoted(child.entity.read.creation_order)} AS created, stored.{DELETED_AT} AS gone_at "
        f"FROM {child.name} AS stored LEFT JOIN merged ON merged.id = stored.{field}), "
        f"parents AS (SELECT parent.id, {created} AS created, parent.{counted} AS counted, "
        f"COUNT(CASE WHEN child.gone_at IS NULL AND child.created < {settled} THEN 1 END) AS least, "
        "COUNT(CASE WHEN child.parent_id IS NOT NULL "
        f"AND (child.gone_at IS NULL OR child.gone_at >= parent.{EXTRACTED_AT}) THEN 1 END) AS most "
        f"FROM {parent.name} AS parent LEFT JOIN child ON child.parent_id = parent.id "
        f"WHERE parent.id IS NOT NULL AND parent.{DELETED_AT} IS NULL AND parent.{counted} IS NOT NULL "
        f"AND {created} >= {dialect.moment(days.start)} AND {changed} < {dialect.moment(days.end)} "
        f"AND {changed} < {settled} GROUP BY parent.id, {created}, parent.{counted}), "
        "checked AS (SELECT id, CAST(created AS DATE) AS day, counted, least, most, "
        "counted < least OR counted > most AS differs FROM parents)"
    )


def created_in(stored: Stored, windows: Mapping[str, Window]) -> dict[str, frozenset[int]]:
    """Return the ids of the rows that were created in each of the windows, living or gone."""
    created = stored.dialect.quoted(stored.entity.read.creation_order)
    within = stored.dialect.within(created, windows.values())
    found = stored.rows(f"SELECT id, {created} AS created FROM {stored.name} WHERE id IS NOT NULL AND ({within})")
    return {name: frozenset(row["id"] for row in found if row["created"] in window) for name, window in windows.items()}


def stored_among(stored: Stored, ids: Collection[int]) -> frozenset[int]:
    """Return the ids that the table has, out of `ids`."""
    wanted, found = list(ids), set[int]()
    for begin in range(0, len(wanted), _IDS_AT_ONCE):
        among = stored.dialect.among("id", wanted[begin : begin + _IDS_AT_ONCE])
        found.update(row["id"] for row in stored.rows(f"SELECT id FROM {stored.name} WHERE {among}"))
    return frozenset(found)


def _is_early(stored: Stored, field: str) -> str:
    read, quoted = stored.entity.read, stored.dialect.quoted
    return f"{quoted(field)} < {quoted(read.creation_order)} - {_interval(read.look_ahead)}"


def _is_ahead(stored: Stored, field: str) -> str:
    return f"{stored.dialect.quoted(field)} > {EXTRACTED_AT} + {_interval(CLOCKS_DIFFER)}"


def _interval(duration: timedelta) -> str:
    return f"INTERVAL {duration // timedelta(seconds=1)} SECOND"
