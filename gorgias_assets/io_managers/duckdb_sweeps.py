"""What a DuckDB file keeps beside the tables: positions of interrupted sweeps, and rows that may be gone.

Two small tables in the schema of the tables that they are about. Each function is called inside a transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import duckdb

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO
from gorgias_assets.gone import Tombstone
from gorgias_assets.io_managers.duckdb_sql import columns_of, name_of, quoted, scalar
from gorgias_assets.io_managers.warehouse import POSITION_KEPT, Candidates, Saved, Table
from gorgias_assets.windows import Window

Connection = duckdb.DuckDBPyConnection

POSITIONS = "_sweep_positions"
CANDIDATES = "_gone_candidates"
_COLUMNS = {
    POSITIONS: "table_name VARCHAR, sweep VARCHAR, position VARCHAR, saved_at TIMESTAMPTZ",
    CANDIDATES: "table_name VARCHAR, id BIGINT, noted_at TIMESTAMPTZ",
}


def save(connection: Connection, table: Table, saved: Saved) -> None:
    positions = _ensured(connection, table, POSITIONS)
    connection.execute(f"DELETE FROM {positions} WHERE table_name = ? AND sweep = ?", [table.name, saved.key])
    values = [table.name, saved.key, saved.position, datetime.now(UTC)]
    connection.execute(f"INSERT INTO {positions} VALUES (?, ?, ?, ?)", values)


def saved_position(connection: Connection, table: Table, key: str) -> str | None:
    positions = Table(table.schema, POSITIONS)
    if not columns_of(connection, positions):
        return None
    found = connection.execute(
        f"SELECT position FROM {name_of(positions)} WHERE table_name = ? AND sweep = ? AND saved_at >= ?",
        [table.name, key, datetime.now(UTC) - POSITION_KEPT],
    ).fetchone()
    return None if found is None else str(found[0])


def forget_position(connection: Connection, table: Table, key: str) -> None:
    connection.execute(
        f"DELETE FROM {_ensured(connection, table, POSITIONS)} WHERE (table_name = ? AND sweep = ?) OR saved_at < ?",
        [table.name, key, datetime.now(UTC) - POSITION_KEPT],
    )


def has_unread(connection: Connection, table: Table, since: datetime) -> bool:
    return bool(
        connection.execute(
            f"SELECT 1 FROM {name_of(table)} WHERE {DELETED_AT} IS NULL AND {EXTRACTED_AT} < ? LIMIT 1", [since]
        ).fetchone()
    )


def note_candidates(
    connection: Connection,
    table: Table,
    covered: tuple[str, datetime | None, datetime | None],
    ids: Collection[int],
    since: datetime,
) -> None:
    field, start, end = covered
    _drop_candidates(connection, table)
    candidates = _ensured(connection, table, CANDIDATES)
    connection.execute(
        f"INSERT INTO {candidates} SELECT ?, id, ? FROM {name_of(table)} "
        f"WHERE {DELETED_AT} IS NULL AND {EXTRACTED_AT} < ? "
        f"AND (({quoted(field)} >= coalesce(?, '-infinity'::TIMESTAMPTZ) "
        f"AND {quoted(field)} < coalesce(?, 'infinity'::TIMESTAMPTZ)) OR id IN (SELECT unnest(?))) "
        f"AND id NOT IN (SELECT id FROM {candidates} WHERE table_name = ?)",
        [table.name, datetime.now(UTC), since, start, end, list(ids), table.name],
    )


def candidates(connection: Connection, table: Table, fields: Sequence[str], limit: int) -> Candidates:
    noted = Table(table.schema, CANDIDATES)
    if not columns_of(connection, noted):
        return Candidates([], 0)
    source = (
        f"FROM {name_of(noted)} AS noted JOIN {name_of(table)} AS stored USING (id) WHERE noted.table_name = ? "
        f"AND stored.{DELETED_AT} IS NULL AND stored.{EXTRACTED_AT} < noted.noted_at"
    )
    selected = ", ".join(f"stored.{quoted(field)}" for field in fields)
    query = f"SELECT {selected} {source} ORDER BY noted.noted_at, id LIMIT {limit}"
    found = connection.execute(query, [table.name]).fetchall()
    ((there_are,),) = connection.execute(f"SELECT count(*) {source}", [table.name]).fetchall()
    return Candidates([dict(zip(fields, row, strict=True)) for row in found], there_are - len(found))


def settle_candidates(
    connection: Connection,
    table: Table,
    looked_at: Collection[int],
    gone: Sequence[Tombstone],
    along: Mapping[Table, str],
) -> int:
    for tombstone in gone:
        connection.execute(
            f"UPDATE {name_of(table)} SET {DELETED_AT} = $at, {EXTRACTED_AT} = $at, {MERGED_INTO} = $into "
            f"WHERE id = $id AND {EXTRACTED_AT} < $at",
            {"at": tombstone.found_at, "into": tombstone.merged_into, "id": tombstone.id},
        )
    _drop_candidates(connection, table, looked_at)
    deleted = {tombstone.id: tombstone.found_at for tombstone in gone if not tombstone.is_merged}
    return sum(_mark_along(connection, other, field, deleted) for other, field in along.items())


def _drop_candidates(connection: Connection, table: Table, looked_at: Collection[int] = ()) -> None:
    """Those that were looked at, that were read since they were noted, and that are gone."""
    candidates = _ensured(connection, table, CANDIDATES)
    connection.execute(
        f"DELETE FROM {candidates} WHERE table_name = ? AND (id IN (SELECT unnest(?)) OR id IN "
        f"(SELECT stored.id FROM {name_of(table)} AS stored JOIN {candidates} AS noted USING (id) "
        f"WHERE noted.table_name = ? AND (stored.{EXTRACTED_AT} >= noted.noted_at OR {DELETED_AT} IS NOT NULL)))",
        [table.name, list(looked_at), table.name],
    )


def _mark_along(connection: Connection, table: Table, field: str, deleted: Mapping[int, datetime]) -> int:
    if not deleted or DELETED_AT not in columns_of(connection, table):
        return 0
    at = max(deleted.values())
    return scalar(
        connection,
        f"UPDATE {name_of(table)} SET {DELETED_AT} = ?, {EXTRACTED_AT} = ? "
        f"WHERE {quoted(field)} IN (SELECT unnest(?)) AND {DELETED_AT} IS NULL AND {EXTRACTED_AT} < ?",
        [at, at, list(deleted), at],
    )


def rows_touched(
    connection: Connection, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]
) -> list[int]:
    touches = ", ".join(quoted(name) for name in touch_fields)
    counts = dict(
        connection.execute(
            "SELECT number, count(DISTINCT id) FROM (SELECT unnest($starts) AS begins, unnest($ends) AS ends, "
            "unnest(range(len($starts))) AS number) JOIN "
            f"(SELECT id, unnest([{touches}]) AS touch FROM {name_of(table)} WHERE {DELETED_AT} IS NULL) "
            "ON touch >= begins AND touch < ends GROUP BY number",
            {"starts": [window.start for window in windows], "ends": [window.end for window in windows]},
        ).fetchall()
    )
    return [counts.get(number, 0) for number in range(len(windows))]


def _ensured(connection: Connection, table: Table, name: str) -> str:
    """One of the two tables, by its quoted name."""
    beside = name_of(Table(table.schema, name))
    connection.execute(f"CREATE TABLE IF NOT EXISTS {beside} ({_COLUMNS[name]})")
    return beside
