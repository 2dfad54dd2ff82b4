"""Small tables about a table, in its schema: positions of interrupted sweeps, rows that may be gone, the account and
privacy policy of its rows, and the time of which all was read. Each table has its own, so that runs of different tables
never change the same one.

On an engine without a transaction around these statements, a crash between two of them costs calls, and no row or mark.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import POSITION_KEPT, Listed, Saved, Table, Tombstone
from gorgias_assets.windows import Window

Item = TypeVar("Item")

POSITIONS = "_sweep_positions"
CANDIDATES = "_gone_candidates"
ACCOUNTS = "_accounts"
READINGS = "_readings"
BODIES = "_bodies"
FORGOTTEN = "_forgotten"
"""The list of forgotten people, which all tables of a schema share."""
_COLUMNS = {
    POSITIONS: (
        Column("sweep", Kind.STRING, "What sweeps have in common that may go on from each other's positions."),
        Column("position", Kind.STRING, "What is left of the sweep to read, as JSON."),
        Column("saved_at", Kind.DATETIME, "When a batch was last merged."),
    ),
    CANDIDATES: (
        Column("id", Kind.INTEGER, "The row that may be gone."),
        Column("noted_at", Kind.DATETIME, "When a sweep did not find it."),
        Column("looks", Kind.INTEGER, "How often its own path did not say if it is gone."),
        Column("next_look_at", Kind.DATETIME, "When to look again after that."),
    ),
    ACCOUNTS: (
        Column("account", Kind.STRING, "The domain of the account whose rows the table holds."),
        Column("policy", Kind.STRING, "The mark of the privacy policy that its rows were stored under; null for none."),
    ),
    READINGS: (
        Column("starts_at", Kind.DATETIME, "From then on, all that was touched has been read."),
        Column("ends_at", Kind.DATETIME, "Until then, and not at that moment."),
        Column("kinds", Kind.STRING, "The kinds of rows that were read, as a JSON list; null for all."),
    ),
    BODIES: (
        Column("names", Kind.STRING, "The columns whose bodies were dropped, as a JSON list."),
        Column("dropped_until", Kind.DATETIME, "Rows created before have no bodies."),
    ),
    FORGOTTEN: (
        Column(
            "kind", Kind.STRING, "What it is the hash of: an id of a customer, ticket …, an email, a phone, the key."
        ),
        Column("keyed_hash", Kind.STRING, "Its HMAC-SHA256 by the privacy key."),
        Column("action", Kind.STRING, "erase, or hash for names and addresses that are replaced by their hash."),
        Column("noted_at", Kind.DATETIME, "When the person was put on the list."),
        Column("erased_at", Kind.DATETIME, "When all that was stored of the person had been erased; null before."),
    ),
}


def own(table: Table, name: str) -> Table:
    """Return the small table of this name that is about `table`."""
    return Table(table.schema, f"{name}_{table.name}")


def stored(session: Session, table: Table, name: str) -> str:
    """Return a relation of what is noted of the table; empty if there is none.

    Until something is noted in a small table of its own, it is the table's part of the one that all tables shared.
    """
    kept, shared = own(table, name), Table(table.schema, name)
    if session.columns_of(kept):
        return session.dialect.name_of(kept)
    return _part_of(session, table, name) if "table_name" in session.columns_of(shared) else ""


def ensured(session: Session, table: Table, name: str) -> str:
    """Create a small table of `table`, or add its new columns; return its quoted name."""
    kept = own(table, name)
    if not session.columns_of(kept):
        session.create_filled(kept, _COLUMNS[name], stored(session, table, name))
    return _as_declared(session, kept, name)


def _as_declared(session: Session, kept: Table, name: str) -> str:
    """Give a small table that exists the columns that it lacks; return its quoted name."""
    existing = session.columns_of(kept)
    if lacking := [column for column in _COLUMNS[name] if column.name not in existing]:
        session.add(kept, lacking)
    session.keep_as_declared(kept, _COLUMNS[name], "")
    return session.dialect.name_of(kept)


def common(session: Session, schema: str, name: str) -> str:
    """Create the small table that all tables of a schema share, if it is missing; return its quoted name."""
    kept = Table(schema, name)
    if not session.columns_of(kept):
        session.create(kept, _COLUMNS[name])
    return _as_declared(session, kept, name)


def listed(session: Session, schema: str) -> list[Listed]:
    """Return the list of forgotten people; empty if there is none."""
    kept = Table(schema, FORGOTTEN)
    if not session.columns_of(kept):
        return []
    return [Listed(*row) for row in session.execute(f"SELECT kind, keyed_hash, action FROM {session.rows_of(kept)}")]


def put_on_list(session: Session, schema: str, entries: Sequence[Listed], now: datetime) -> None:
    """Put people on the list, or again: until they are noted as erased, they count as not erased."""
    dialect = session.dialect
    name = common(session, schema, FORGOTTEN)
    for part in _parts(entries, session.most_rows):
        rows = [tuple(map(dialect.literal, entry)) for entry in part]
        session.execute(
            f"MERGE INTO {name} AS target USING (SELECT * FROM {dialect.inline('listed', Listed._fields, rows)}) AS "
            "source ON target.kind = source.kind AND target.keyed_hash = source.keyed_hash "
            f"WHEN MATCHED THEN UPDATE SET action = source.action, erased_at = {dialect.null(Kind.DATETIME)} "
            "WHEN NOT MATCHED THEN INSERT (kind, keyed_hash, action, noted_at) "
            f"VALUES (source.kind, source.keyed_hash, source.action, {dialect.moment(now)})"
        )


def _part_of(session: Session, table: Table, name: str) -> str:
    """Return the table's rows of a small table that all tables shared, which may lack a column."""
    dialect, shared = session.dialect, Table(table.schema, name)
    existing = session.columns_of(shared)
    columns = [
        column.name if column.name in existing else f"{dialect.null(column.kind)} AS {column.name}"
        for column in _COLUMNS[name]
    ]
    return (
        f"(SELECT {', '.join(columns)} FROM {dialect.name_of(shared)} WHERE table_name = {dialect.literal(table.name)})"
    )


def is_good(dialect: Dialect) -> str:
    """Return the condition that a position is neither too old nor from the far future."""
    now = datetime.now(UTC)
    return f"saved_at BETWEEN {dialect.moment(now - POSITION_KEPT)} AND {dialect.moment(now + POSITION_KEPT)}"


def save_position(session: Session, table: Table, saved: Saved) -> None:
    dialect = session.dialect
    source = (
        f"SELECT {dialect.literal(saved.key)} AS sweep, {dialect.literal(saved.position)} AS position, "
        f"{dialect.moment(datetime.now(UTC))} AS saved_at"
    )
    session.execute(
        f"MERGE INTO {ensured(session, table, POSITIONS)} AS target USING ({source}) AS source "
        "ON target.sweep = source.sweep "
        "WHEN MATCHED THEN UPDATE SET position = source.position, saved_at = source.saved_at "
        "WHEN NOT MATCHED THEN INSERT (sweep, position, saved_at) "
        "VALUES (source.sweep, source.position, source.saved_at)"
    )


def save_account(session: Session, table: Table, account: str) -> None:
    source = f"(SELECT {session.dialect.literal(account)} AS account)"
    session.execute(
        f"MERGE INTO {ensured(session, table, ACCOUNTS)} AS target USING {source} AS source ON TRUE "
        "WHEN MATCHED THEN UPDATE SET account = source.account "
        "WHEN NOT MATCHED THEN INSERT (account) VALUES (source.account)"
    )


def save_policy(session: Session, table: Table, mark: str) -> None:
    source = f"(SELECT {session.dialect.literal(mark)} AS policy)"
    session.execute(
        f"MERGE INTO {ensured(session, table, ACCOUNTS)} AS target USING {source} AS source ON TRUE "
        "WHEN MATCHED THEN UPDATE SET policy = source.policy "
        "WHEN NOT MATCHED THEN INSERT (policy) VALUES (source.policy)"
    )


def readings(session: Session, table: Table, kinds: Collection[str]) -> list[Window]:
    """Return the windows of which rows of all these kinds have been read, or of all kinds if none is given."""
    if not (noted := stored(session, table, READINGS)):
        return []
    is_older = "kinds" not in session.columns_of(own(table, READINGS))
    found = session.execute(
        f"SELECT starts_at, ends_at, {'NULL' if is_older else 'kinds'} FROM {noted} ORDER BY starts_at"
    )
    wanted = set(kinds)
    return [
        Window.of(start, end)
        for start, end, read in found
        if read is None or (wanted and wanted.issubset(json.loads(read)))
    ]


def save_readings(session: Session, table: Table, windows: Sequence[Window], kinds: Collection[str]) -> None:
    """Replace what is noted of readings of these kinds, in one statement."""
    dialect = session.dialect
    read = dialect.literal(json.dumps(sorted(kinds))) if kinds else dialect.null(Kind.STRING)
    bounds = [(dialect.moment(window.start), dialect.moment(window.end)) for window in windows]
    session.execute(
        f"MERGE INTO {ensured(session, table, READINGS)} AS target "
        f"USING (SELECT * FROM {dialect.inline('known', ('starts_at', 'ends_at'), bounds)}) AS source ON FALSE "
        f"WHEN NOT MATCHED THEN INSERT (starts_at, ends_at, kinds) VALUES (source.starts_at, source.ends_at, {read}) "
        f"WHEN NOT MATCHED BY SOURCE AND {f'target.kinds = {read}' if kinds else 'target.kinds IS NULL'} THEN DELETE"
    )


def put_off(session: Session, table: Table, looks: Mapping[int, datetime]) -> None:
    """Count a look at each of these candidates that was not answered, and note when to look again."""
    dialect = session.dialect
    for part in _parts(list(looks.items()), session.most_rows):
        rows = [(str(row_id), dialect.moment(at)) for row_id, at in part]
        session.execute(
            f"UPDATE {ensured(session, table, CANDIDATES)} AS target SET looks = COALESCE(looks, 0) + 1, "
            f"next_look_at = later.next_at FROM {dialect.inline('later', ('id', 'next_at'), rows)} "
            "WHERE target.id = later.id"
        )


def mark(session: Session, table: Table, gone: Sequence[Tombstone]) -> None:
    dialect = session.dialect
    for part in _parts(gone, session.most_rows):
        rows = [
            (
                str(stone.id),
                dialect.moment(stone.found_at),
                dialect.null(Kind.INTEGER) if stone.merged_into is None else str(stone.merged_into),
            )
            for stone in part
        ]
        session.execute(
            f"UPDATE {dialect.name_of(table)} AS target SET {DELETED_AT} = gone.found_at, "
            f"{EXTRACTED_AT} = gone.found_at, {MERGED_INTO} = gone.successor "
            f"FROM {dialect.inline('gone', ('id', 'found_at', 'successor'), rows)} "
            f"WHERE target.id = gone.id AND target.{EXTRACTED_AT} <= gone.found_at"
            f"{session.pruning_of(table, 'id', [stone.id for stone in part])}"
        )


def cascade_marks(session: Session, table: Table, field: str, deleted: Mapping[int, datetime]) -> int:
    """Mark the rows that belong to the deleted ones by `field`, and return how many there were."""
    if not deleted or DELETED_AT not in session.columns_of(table):
        return 0
    dialect = session.dialect
    at, pruning = dialect.moment(max(deleted.values())), session.pruning_of(table, field, deleted)
    with session.naming(deleted) as among:
        ((marked,),) = session.execute(
            f"UPDATE {dialect.name_of(table)} AS target SET {DELETED_AT} = {at}, {EXTRACTED_AT} = {at} "
            f"WHERE {among(dialect.quoted(field))} AND {DELETED_AT} IS NULL AND {EXTRACTED_AT} <= {at}{pruning}"
        )
    return int(marked)


def drop_candidates(session: Session, table: Table, looked_at: Collection[int]) -> None:
    """Drop the notes of rows that were looked at, read since they were noted, or found to be gone."""
    candidates = ensured(session, table, CANDIDATES)
    with session.naming(looked_at) as among:
        session.execute(
            f"DELETE FROM {candidates} WHERE {among('id')} OR id IN "
            f"(SELECT stored.id FROM {session.rows_of(table)} AS stored JOIN {candidates} AS noted "
            f"ON stored.id = noted.id WHERE stored.{EXTRACTED_AT} >= noted.noted_at "
            f"OR stored.{DELETED_AT} IS NOT NULL)"
        )


def _parts(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    return [items[start : start + most] for start in range(0, len(items), most)]
