"""What a warehouse keeps beside the tables: positions of interrupted sweeps, and rows that may be gone.

Two small tables in the schema of the tables that they are about. Where an engine has no transaction around these
statements, they are in such an order that a crash between two of them costs calls, and no row or mark.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import POSITION_KEPT, Candidates, Counts, Saved, Table, Tombstone
from gorgias_assets.windows import Window

POSITIONS = "_sweep_positions"
CANDIDATES = "_gone_candidates"
_COLUMNS = {
    POSITIONS: (
        Column("table_name", Kind.STRING, "The table that the sweep is merged into."),
        Column("sweep", Kind.STRING, "What sweeps have in common that may go on from each other's positions."),
        Column("position", Kind.STRING, "What is left of the sweep to read, as JSON."),
        Column("saved_at", Kind.DATETIME, "When a batch was last merged."),
    ),
    CANDIDATES: (
        Column("table_name", Kind.STRING, "The table that the row is in."),
        Column("id", Kind.INTEGER, "The row that may be gone."),
        Column("noted_at", Kind.DATETIME, "When a sweep did not find it."),
    ),
}


def save(session: Session, table: Table, saved: Saved) -> None:
    words = session.dialect
    source = (
        f"SELECT {words.literal(table.name)} AS table_name, {words.literal(saved.key)} AS sweep, "
        f"{words.literal(saved.position)} AS position, {_now(session)} AS saved_at"
    )
    session.execute(
        f"MERGE INTO {_ensured(session, table, POSITIONS)} AS target USING ({source}) AS source "
        "ON target.table_name = source.table_name AND target.sweep = source.sweep "
        "WHEN MATCHED THEN UPDATE SET position = source.position, saved_at = source.saved_at "
        "WHEN NOT MATCHED THEN INSERT (table_name, sweep, position, saved_at) "
        "VALUES (source.table_name, source.sweep, source.position, source.saved_at)"
    )


def saved_position(session: Session, table: Table, key: str) -> str | None:
    positions, words = Table(table.schema, POSITIONS), session.dialect
    if not session.columns_of(positions):
        return None
    found = session.execute(
        f"SELECT position FROM {words.name_of(positions)} WHERE table_name = {words.literal(table.name)} "
        f"AND sweep = {words.literal(key)} AND saved_at >= {words.moment(datetime.now(UTC) - POSITION_KEPT)}"
    )
    return str(found[0][0]) if found else None


def forget_position(session: Session, table: Table, key: str) -> None:
    words = session.dialect
    session.execute(
        f"DELETE FROM {_ensured(session, table, POSITIONS)} WHERE (table_name = {words.literal(table.name)} "
        f"AND sweep = {words.literal(key)}) OR saved_at < {words.moment(datetime.now(UTC) - POSITION_KEPT)}"
    )


def has_unread(session: Session, table: Table, since: datetime) -> bool:
    words = session.dialect
    unread = f"{DELETED_AT} IS NULL AND {EXTRACTED_AT} < {words.moment(since)}"
    return bool(session.execute(f"SELECT 1 FROM {words.name_of(table)} WHERE {unread} LIMIT 1"))


def note_candidates(
    session: Session,
    table: Table,
    covered: tuple[str, datetime | None, datetime | None],
    ids: Collection[int],
    since: datetime,
) -> None:
    words = session.dialect
    field, start, end = covered
    bounds = [f"{words.quoted(field)} >= {words.moment(start)}" if start else f"{words.quoted(field)} IS NOT NULL"]
    if end:
        bounds.append(f"{words.quoted(field)} < {words.moment(end)}")
    missing = (
        f"{DELETED_AT} IS NULL AND {EXTRACTED_AT} < {words.moment(since)} "
        f"AND (({' AND '.join(bounds)}) OR {words.among('id', ids)})"
    )
    name, now = words.literal(table.name), _now(session)
    session.execute(
        f"MERGE INTO {_ensured(session, table, CANDIDATES)} AS target "
        f"USING (SELECT id, {EXTRACTED_AT} AS read_at, {DELETED_AT} IS NOT NULL AS is_gone, "
        f"({missing}) IS TRUE AS is_missing "
        f"FROM {words.name_of(table)}) AS source ON target.id = source.id AND target.table_name = {name} "
        f"WHEN MATCHED AND source.is_missing AND source.read_at >= target.noted_at THEN UPDATE SET noted_at = {now} "
        "WHEN MATCHED AND NOT source.is_missing AND (source.is_gone OR source.read_at >= target.noted_at) THEN DELETE "
        "WHEN NOT MATCHED AND source.is_missing "
        f"THEN INSERT (table_name, id, noted_at) VALUES ({name}, source.id, {now})"
    )


def candidates(session: Session, table: Table, fields: Sequence[str], limit: int) -> Candidates:
    noted, words = Table(table.schema, CANDIDATES), session.dialect
    if not session.columns_of(noted):
        return Candidates([], 0)
    selected = ", ".join(f"stored.{words.quoted(field)}" for field in fields)
    found = session.execute(
        f"SELECT {selected}, COUNT(*) OVER () AS there_are "
        f"FROM {words.name_of(noted)} AS noted JOIN {words.name_of(table)} AS stored ON stored.id = noted.id "
        f"WHERE noted.table_name = {words.literal(table.name)} AND stored.{DELETED_AT} IS NULL "
        f"AND stored.{EXTRACTED_AT} < noted.noted_at ORDER BY noted.noted_at, stored.id LIMIT {limit}"
    )
    rows = [dict(zip(fields, row[:-1], strict=True)) for row in found]
    return Candidates(rows, found[0][-1] - len(found) if found else 0)


def settle_candidates(
    session: Session,
    table: Table,
    looked_at: Collection[int],
    gone: Sequence[Tombstone],
    along: Mapping[Table, str],
) -> int:
    """What went along is marked first: once the row itself is marked, nothing would look for it again."""
    deleted = {tombstone.id: tombstone.found_at for tombstone in gone if not tombstone.is_merged}
    marked = sum(_mark_along(session, other, field, deleted) for other, field in along.items())
    if gone:
        _mark(session, table, gone)
    _drop_candidates(session, table, looked_at)
    return marked


def counts(session: Session, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]) -> Counts:
    words = session.dialect
    query = f"SELECT -1 AS number, COUNT(*) AS there_are FROM {words.name_of(table)}"
    if windows:
        asked = [(str(n), words.moment(window.start), words.moment(window.end)) for n, window in enumerate(windows)]
        touches = " UNION ALL ".join(
            f"SELECT id, {words.quoted(field)} AS touch FROM {words.name_of(table)} WHERE {DELETED_AT} IS NULL"
            for field in touch_fields
        )
        query += (
            f" UNION ALL SELECT number, COUNT(DISTINCT id) AS there_are FROM ({touches}) AS touched "
            f"JOIN {words.inline('asked', ('number', 'begins', 'ends'), asked)} "
            "ON touch >= begins AND touch < ends GROUP BY number"
        )
    counted = dict(session.execute(query))
    return Counts(counted[-1], [counted.get(number, 0) for number in range(len(windows))])


def _now(session: Session) -> str:
    return session.dialect.moment(datetime.now(UTC))


def _mark(session: Session, table: Table, gone: Sequence[Tombstone]) -> None:
    words = session.dialect
    rows = [
        (
            str(stone.id),
            words.moment(stone.found_at),
            words.null(Kind.INTEGER) if stone.merged_into is None else str(stone.merged_into),
        )
        for stone in gone
    ]
    session.execute(
        f"UPDATE {words.name_of(table)} AS target SET {DELETED_AT} = gone.found_at, {EXTRACTED_AT} = gone.found_at, "
        f"{MERGED_INTO} = gone.successor FROM {words.inline('gone', ('id', 'found_at', 'successor'), rows)} "
        f"WHERE target.id = gone.id AND target.{EXTRACTED_AT} < gone.found_at"
        f"{session.pruning_of(table, 'id', [stone.id for stone in gone])}"
    )


def _mark_along(session: Session, table: Table, field: str, deleted: Mapping[int, datetime]) -> int:
    if not deleted or DELETED_AT not in session.columns_of(table):
        return 0
    words = session.dialect
    at = words.moment(max(deleted.values()))
    ((marked,),) = session.execute(
        f"UPDATE {words.name_of(table)} AS target SET {DELETED_AT} = {at}, {EXTRACTED_AT} = {at} "
        f"WHERE {words.among(words.quoted(field), deleted)} AND {DELETED_AT} IS NULL AND {EXTRACTED_AT} < {at}"
        f"{session.pruning_of(table, field, deleted)}"
    )
    return int(marked)


def _drop_candidates(session: Session, table: Table, looked_at: Collection[int]) -> None:
    """Those that were looked at, that were read since they were noted, and that are gone."""
    words = session.dialect
    candidates, name = _ensured(session, table, CANDIDATES), words.literal(table.name)
    session.execute(
        f"DELETE FROM {candidates} WHERE table_name = {name} AND ({words.among('id', looked_at)} OR id IN "
        f"(SELECT stored.id FROM {words.name_of(table)} AS stored JOIN {candidates} AS noted ON stored.id = noted.id "
        f"WHERE noted.table_name = {name} AND (stored.{EXTRACTED_AT} >= noted.noted_at "
        f"OR stored.{DELETED_AT} IS NOT NULL)))"
    )


def _ensured(session: Session, table: Table, name: str) -> str:
    """One of the two tables, by its quoted name."""
    beside = Table(table.schema, name)
    if not session.columns_of(beside):
        session.create(beside, _COLUMNS[name])
    return session.dialect.name_of(beside)
