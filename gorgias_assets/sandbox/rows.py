"""The rows of one account, stored as the JSON that is served, and pages of them.

A field that shows another object (a ticket's customer, a message's sender) is a *join*: the row keeps only an id, and
the other object is spliced in, as bytes, whenever the row is read. A join to an object that the account does not have
is kept as it was given.
"""

import base64
import binascii
import functools
import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from gorgias_assets.sandbox.kinds import Kind
from gorgias_assets.sandbox.moments import microseconds, naive, printed
from gorgias_assets.sandbox.objects import KINDS

Row = dict[str, Any]
Stored = tuple[Any, ...]


class Join(NamedTuple):
    """The part of another object that a row shows: its possible kinds, and its fields with their values for null."""

    kinds: tuple[str, ...]
    fields: Mapping[str, object]


PERSON = dict.fromkeys(("id", "email", "name", "firstname", "lastname", "meta"))
LABEL: dict[str, object] = {"id": None, "name": None, "decoration": {}}
JOINS = {
    "person": Join(("customers", "users"), PERSON),
    "agent": Join(("users",), PERSON | {"bio": None}),
    "member": Join(("users",), dict.fromkeys(("id", "name", "email", "meta"))),
    "team": Join(("teams",), LABEL),
    "tag": Join(("tags",), LABEL),
}
SHOWN_IN_LISTS = ("member", "tag")
SHOWN_AS = {name: [join for join, (kinds, _) in JOINS.items() if name in kinds] for name in KINDS}
_parsed = functools.lru_cache(4096)(json.loads)
WAITING = 5000
"""How many rows of one kind, at most."""


def _printed(value: object) -> str:
    if isinstance(value, datetime):
        return printed(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_printed).encode


def dumped(value: object) -> bytes:
    """Return JSON as it is served; an aware datetime is printed as Gorgias does."""
    return _ENCODE(value).encode()


def id_of(shown: object) -> int | None:
    """Return the id of an object shown in a row."""
    return shown["id"] if isinstance(shown, dict) else None


@dataclass(frozen=True)
class Cursor:
    """A position just before or after a row: base64 of `["next", <its sort key>, <its id>]`; times are naive UTC."""

    direction: str
    key: int | str
    id: int

    def __str__(self) -> str:
        key = naive(self.key) if isinstance(self.key, int) else self.key
        return base64.b64encode(json.dumps([self.direction, key, self.id]).encode()).decode()

    @staticmethod
    def parse(text: str, by_time: bool) -> "Cursor":
        """Parse any position, not only one that was handed out. ValueError if the text is none."""
        try:
            direction, key, row_id = json.loads(base64.b64decode(text, validate=True))
            if direction not in ("next", "prev") or not isinstance(key, str) or not 0 <= row_id < 2**63:
                raise ValueError
            return Cursor(direction, microseconds(key) if by_time else key, row_id)
        except (ValueError, TypeError, binascii.Error):
            raise ValueError("Invalid cursor.") from None

    @staticmethod
    def beside(stored: Stored, direction: str) -> "Cursor":
        row_id, key = stored[:2]
        return Cursor(direction, key.decode() if isinstance(key, bytes) else key, row_id)


Condition = tuple[str, tuple[object, ...]]
"""SQL with question marks, and their values."""


@dataclass(frozen=True)
class Listing:
    """A request of a list: the order, the conditions on rows, the position, the size of a page."""

    order: str
    descending: bool
    cursor: Cursor | None = None
    limit: int = 30
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Page:
    rows: Sequence[bytes]
    prev_cursor: str | None = None
    next_cursor: str | None = None


class Rows:
    """A table for each kind of object. Not for several threads at a time.

    A row that is put waits, unencoded, until more than its id is requested: a row that changes often is written once.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, Stored]] = {name: {} for name in KINDS}
        self._shown: dict[tuple[str, int], bytes] = {}
        self._sql = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._sql.text_factory = bytes
        self._sql.execute("PRAGMA page_size = 32768")
        for kind in KINDS.values():
            columns = ", ".join(["created", "updated", *kind.columns, *kind.joins, "body"])
            self._sql.execute(f"CREATE TABLE {kind.name} (id INTEGER PRIMARY KEY, {columns})")
            for name in ("created", *(["updated"] if kind.has_updates else []), *kind.columns):
                self._sql.execute(f"CREATE INDEX {kind.name}_by_{name} ON {kind.name} ({name}, id)")

    def put(self, kind: Kind, row: Row) -> None:
        """Insert a row, or replace the one of the same id. Its values are JSON, not datetimes."""
        waiting = self._waiting[kind.name]
        waiting[row["id"]] = self._stored(kind, row)
        if len(waiting) > WAITING:
            self._write(kind)

    def put_many(self, kind: Kind, rows: Iterable[Row]) -> None:
        self._write(kind, (self._stored(kind, row) for row in rows))

    def remove(self, kind: Kind, row_id: int) -> None:
        self._write(kind)
        self._sql.execute(f"DELETE FROM {kind.name} WHERE id = ?", (row_id,))
        self._forget(kind, row_id)

    def remove_before(self, kind: Kind, created: int) -> None:
        self._write(kind)
        self._sql.execute(f"DELETE FROM {kind.name} WHERE created < ?", (created,))

    def repoint(self, join: str, old: int, new: int) -> None:
        """Make every row that showed one object show another, once if it showed both."""
        for kind in KINDS.values():
            for name in (name for name, joined in kind.joins.items() if joined == join):
                self._write(kind)
                self._sql.execute(f"UPDATE {kind.name} SET {name} = ? WHERE {name} = ?", (new, old))
                if join in SHOWN_IN_LISTS:
                    self._repoint_in_lists(kind, name, old, new)

    def _repoint_in_lists(self, kind: Kind, name: str, old: int, new: int) -> None:
        containing = f"SELECT id, {name} FROM {kind.name} WHERE {name} LIKE ?"
        for row_id, ids in self._sql.execute(containing, [f"%{old}%"]).fetchall():
            changed = dict.fromkeys(new if one == old else one for one in json.loads(ids))
            self._sql.execute(f"UPDATE {kind.name} SET {name} = ? WHERE id = ?", (json.dumps([*changed]), row_id))

    def get(self, kind: Kind, row_id: int) -> Row | None:
        """Return a row, which callers must not change: its values may be the stored ones."""
        if stored := self._waiting[kind.name].get(row_id):
            joins = zip(kind.joins.items(), stored[-1 - len(kind.joins) : -1], strict=True)
            shown = {name: _parsed(self._joined(join, ids)) for (name, join), ids in joins if ids is not None}
            return {**stored[-1], **shown}
        found = self._read(kind, "id", False, [("id = ?", (row_id,))])
        return json.loads(self._rendered(kind, found[0]).decode()) if found else None

    def has(self, kind: Kind, row_id: int) -> bool:
        return row_id in self._waiting[kind.name] or bool(self._read(kind, "id", False, [("id = ?", (row_id,))]))

    def select(self, kind: Kind, *conditions: Condition) -> list[Row]:
        """Return rows as the list endpoint shows them, in order of id."""
        self._write(kind)
        return [
            json.loads(self._rendered(kind, stored).decode()) for stored in self._read(kind, "id", False, conditions)
        ]

    def count(self, kind: Kind) -> int:
        self._write(kind)
        return int(self._sql.execute(f"SELECT count(*) FROM {kind.name}").fetchone()[0])

    def page(self, kind: Kind, listing: Listing) -> Page:
        """Read among the rows as they are now: a cursor is a position, not a snapshot."""
        self._write(kind)
        stored = self._read_from(listing.cursor, kind, listing, listing.limit)
        if not stored:
            return Page([])
        before, after = Cursor.beside(stored[0], "prev"), Cursor.beside(stored[-1], "next")
        return Page(
            [self._rendered(kind, row) for row in stored],
            prev_cursor=str(before) if self._read_from(before, kind, listing, 1) else None,
            next_cursor=str(after) if self._read_from(after, kind, listing, 1) else None,
        )

    def _read_from(self, cursor: Cursor | None, kind: Kind, listing: Listing, limit: int) -> list[Stored]:
        key = kind.orders[listing.order]
        if cursor is None:
            return self._read(kind, key, listing.descending, listing.conditions, limit)
        backwards = cursor.direction == "prev"
        descending = listing.descending is not backwards
        position = f"({key}, id) {'<' if descending else '>'} (?, ?)", (cursor.key, cursor.id)
        stored = self._read(kind, key, descending, (*listing.conditions, position), limit)
        return stored[::-1] if backwards else stored

    def _read(
        self, kind: Kind, key: str, descending: bool, conditions: Iterable[Condition], limit: int = -1
    ) -> list[Stored]:
        """Return each row as id, sort key, an id for each join, JSON."""
        wanted = ", ".join(["id", key, *kind.joins, "body"])
        where = " AND ".join(["1", *(sql for sql, _ in conditions)])
        direction = "DESC" if descending else "ASC"
        return self._sql.execute(
            f"SELECT {wanted} FROM {kind.name} WHERE {where} ORDER BY {key} {direction}, id {direction} LIMIT ?",
            [*(value for _, values in conditions for value in values), limit],
        ).fetchall()

    def _write(self, kind: Kind, more: Iterable[Stored] = ()) -> None:
        waiting = self._waiting[kind.name]
        if not waiting and not more:
            return
        marks = ", ".join("?" * (4 + len(kind.columns) + len(kind.joins)))
        encoded = ((*row[:-1], _ENCODE(row[-1])) for row in itertools.chain(waiting.values(), more))
        self._sql.executemany(f"REPLACE INTO {kind.name} VALUES ({marks})", encoded)
        waiting.clear()

    def _stored(self, kind: Kind, row: Row) -> Stored:
        """Return the values of its table's columns, the last one still to be encoded."""
        self._forget(kind, row["id"])
        joins = {name: self._join(join, row.get(name)) for name, join in kind.joins.items()}
        body = dict(row)
        for name in (name for name, ids in joins.items() if ids is not None):
            del body[name]
        created, updated = row.get("created_datetime"), row.get("updated_datetime")
        moments = created and microseconds(created), updated and microseconds(updated)
        columns = (row.get(name) for name in kind.columns)
        return row["id"], *moments, *columns, *joins.values(), body

    def _join(self, join: str, shown: object) -> int | str | None:
        """Return the id or ids to store for a field that shows one object, or several; None if any is unknown here."""
        ids = [id_of(one) for one in shown] if isinstance(shown, list) else [id_of(shown)]
        if not ids or any(one is None or self._show(join, one) is None for one in ids):
            return None
        return json.dumps(ids) if isinstance(shown, list) else ids[0]

    def _rendered(self, kind: Kind, stored: Stored) -> bytes:
        body: bytes = stored[-1]
        for (name, join), ids in zip(kind.joins.items(), stored[2:-1], strict=True):
            if ids is not None:
                body = b'%b,"%b":%b}' % (body[:-1], name.encode(), self._joined(join, ids))
        return body

    def _joined(self, join: str, ids: int | str | bytes) -> bytes:
        """Return a field as it is shown now; objects that are gone are null, or left out of a list."""
        if isinstance(ids, int):
            return self._show(join, ids) or b"null"
        return b"[%b]" % b",".join(shown for one in json.loads(ids) if (shown := self._show(join, one)))

    def _show(self, join: str, row_id: int) -> bytes | None:
        shown = self._shown.get((join, row_id))
        if shown is None:
            kinds, fields = JOINS[join]
            row = next((row for kind in kinds if (row := self.get(KINDS[kind], row_id))), None)
            if row is not None:
                shown = self._shown[join, row_id] = dumped(
                    {k: fields[k] if row.get(k) is None else row[k] for k in fields}
                )
        return shown

    def _forget(self, kind: Kind, row_id: int) -> None:
        for join in SHOWN_AS.get(kind.name, ()):
            self._shown.pop((join, row_id), None)
