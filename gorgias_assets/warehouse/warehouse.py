"""The operations of a warehouse, in SQL that every engine understands; an engine's own folder adds how it is sent."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.warehouse import bookkeeping
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.frames import cast_columns, plain_rows
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import (
    CLOCKS_DIFFER,
    IS_TOUCHED,
    Absences,
    After,
    Before,
    Candidates,
    Counts,
    Covered,
    Listed,
    Merged,
    Saved,
    Slice,
    Table,
    Tombstone,
    WarehouseError,
)
from gorgias_assets.warehouse.views import StoredView, mark_of
from gorgias_assets.windows import Window

MOST_WINDOWS = 4_000  # that one statement counts


class Warehouse(ABC):
    """A database that holds tables. A method that fails midway leaves the table as before, or costs calls at most.

    `batch_rows` is how many rows to merge at once, `batch_bytes` how many bytes of bodies. `may_store_copies` is True
    if runs that insert a row at the same time store it twice, `reads_parts` if rows of a range of ids are read without
    the others.
    """

    batch_rows: int
    batch_bytes: int
    may_store_copies = False
    reads_parts = False

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """The SQL for `query`."""

    @abstractmethod
    def command_for(self, table: Table) -> str:
        """Return a command line that shows some rows of the table."""

    @abstractmethod
    def _writing(self, schema: str) -> AbstractContextManager[Session]:
        """Yield a session whose statements are one transaction, unless that costs too much on the engine."""

    @abstractmethod
    def _reading(self, schema: str) -> AbstractContextManager[Session | None]:
        """Yield a session that writes nothing; None if there is nothing to read yet."""

    def billed_to(self, labels: Mapping[str, str]) -> Self:  # noqa: ARG002, for engines that bill
        """Return the same warehouse with a bill of its own, and with labels on its work, if the engine bills."""
        return self

    def labelled(self, labels: Mapping[str, str]) -> Self:  # noqa: ARG002, for engines that bill
        """Return the same warehouse with further labels on its work, and the same bill."""
        return self

    def bill(self) -> Mapping[str, Any]:
        """Return the costs so far, as metadata of a materialization."""
        return {}

    def jobs_billed(self) -> Mapping[str, Any]:
        """Return metadata that names the jobs of the bill, for one of several partitions: it may be long."""
        return {}

    def merge(
        self,
        table: Table,
        columns: Sequence[Column],
        rows: pa.Table,
        saved: Saved | None = None,
        description: str = "",
        admitted: Callable[[Sequence[Listed], pa.Table], pa.Table] | None = None,
    ) -> Merged:
        """Merge `rows`, unique by `id`, into the table by `id`: the one with the newer `_extracted_at` stays.

        `rows` have the column `_is_touched`; rows with False update stored rows and are never inserted. The
        position is `saved` once the rows are merged. The table and a view of its living rows are created with `columns`
        and the added ones, or the table gets those that it lacks; columns of a user's own are left alone. Both are
        described as declared. `admitted` returns what may be stored of rows, given the list of forgotten people.
        """
        with self._writing(table.schema) as session:
            _ensure_table(session, table, (*columns, *ADDED_COLUMNS), description)
            if admitted and rows.num_rows:
                rows = admitted(bookkeeping.listed(session, table.schema), rows)
            merged = Merged()
            for part in session.parts(rows) if rows.num_rows else ():
                merged += session.merge(table, part)
            if saved:
                bookkeeping.save_position(session, table, saved)
        return merged

    def keep_views(self, schema: str, views: Sequence[StoredView]) -> list[Table]:
        """Create or replace those of a schema's views that differ from their declaration.

        A view of which a table is missing waits for it. A table or view of somebody's own under a view's name is left
        alone; these are returned.
        """
        with self._reading(schema) as session:
            lacking = [view for view in views if session and _query_lacking(session, view)]
            taken = [view.place for view in lacking if session and _is_taken(session, view)]
        if len(lacking) > len(taken):
            with self._writing(schema) as session:
                for view in lacking:
                    query = _query_lacking(session, view)
                    if query and not _is_taken(session, view):
                        session.replace_view(view.place, view.columns, view.description, query)
        return taken

    def save_account(self, table: Table, account: str) -> None:
        """Remember whose rows the table holds."""
        with self._writing(table.schema) as session:
            bookkeeping.save_account(session, table, account)

    def save_policy(self, table: Table, mark: str) -> None:
        """Remember the privacy policy that the table's rows were stored under, by its mark."""
        with self._writing(table.schema) as session:
            bookkeeping.save_policy(session, table, mark)

    def readings(self, table: Table, kinds: Collection[str] = ()) -> list[Window]:
        """Return the windows of which the table holds all that was touched, as far as it was noted, in their order.

        `kinds` are the kinds of rows that must have been read in them, by default all.
        """
        with self._reading_table(table) as session:
            return bookkeeping.readings(session, table, kinds) if session else []

    def save_readings(self, table: Table, windows: Sequence[Window], kinds: Collection[str] = ()) -> None:
        """Note these windows instead of those noted before of the same kinds of rows. There must be at least one."""
        with self._writing(table.schema) as session:
            bookkeeping.save_readings(session, table, windows, kinds)

    def forget_readings(self, table: Table) -> None:
        """Delete the windows noted, as those of a table that was dropped."""
        with self._reading(table.schema) as session:
            if session is None or not session.columns_of(bookkeeping.own(table, bookkeeping.READINGS)):
                return
        with self._writing(table.schema) as session:
            session.execute(f"DELETE FROM {bookkeeping.ensured(session, table, bookkeeping.READINGS)} WHERE TRUE")

    def update(self, table: Table, rows: pa.Table) -> Merged:
        """Update the stored rows of these ids, with some of their columns, unless a later reading is stored by now."""
        merged = Merged()
        with self._writing(table.schema) as session:
            for part in session.parts(rows) if rows.num_rows else ():
                merged += session.merge(table, part)
        return merged

    @contextmanager
    def reading(self, schema: str) -> Iterator[Session]:
        """Yield a session for queries of a schema. Raises `WarehouseError` if nothing is there yet."""
        with self._reading(schema) as session:
            if session is None:
                raise WarehouseError(f"There is nothing in {self} yet; materialize an asset first.")
            yield session

    def rows_by_id(self, table: Table, names: Sequence[str], ids: Collection[int], session: Session) -> pa.Table:
        """Return the columns, as far as the table has them, of the rows of these ids, with what `update` needs."""
        with session.naming(ids) as among:
            there = session.columns_of(table)
            pruned = session.pruning_of(table, "id", ids)
            selected = ", ".join(self.dialect.quoted(name) for name in names if name in there)
            rows = plain_rows(
                session.arrow(f"SELECT {selected} FROM {session.rows_of(table)} AS target WHERE {among('id')}{pruned}")
            )
        return rows.append_column(IS_TOUCHED, pa.array([False] * rows.num_rows, pa.bool_()))

    def search_others(self, schema: str, pattern: str, ours: Collection[str]) -> dict[Table, int]:
        """Return the number of rows in which a text matches, of the schema's tables that are not among `ours`."""
        found: dict[Table, int] = {}
        dialect = self.dialect
        with self.reading(schema) as session:
            others = [table for table in session.tables_in(schema) if table.name not in ours]
            with session.confidential(pattern) as text:
                for table in others:
                    types = session.columns_of(table)
                    named = [dialect.quoted(name) for name, kind in types.items() if kind == dialect.text_type]
                    named += [
                        dialect.text_at(dialect.quoted(name), "")
                        for name, kind in types.items()
                        if kind == dialect.types[Kind.JSON]
                    ]
                    if named:
                        condition = " OR ".join(dialect.matches(one, text) for one in named)
                        rows = session.rows_of(table)
                        ((number,),) = session.execute(f"SELECT COUNT(*) FROM {rows} AS stored WHERE {condition}")
                        found |= {table: int(number)} if number else {}
        return found

    @abstractmethod
    def expunge(self, schema: str) -> str:
        """Remove the bytes of what was erased, as far as the engine does. Return in sentences what is still held."""

    def listed(self, schema: str) -> list[Listed]:
        """Return the list of forgotten people of a schema."""
        with self._reading(schema) as session:
            return bookkeeping.listed(session, schema) if session else []

    def put_on_list(self, schema: str, entries: Sequence[Listed], now: datetime) -> None:
        """Put people on the list of a schema: from then on, `merge` gives it to all that is stored there."""
        with self._writing(schema) as session:
            bookkeeping.put_on_list(session, schema, entries, now)

    def is_erased(self, schema: str) -> bool:
        """Return False while something may be stored of a person on the list."""
        with self._reading_table(Table(schema, bookkeeping.FORGOTTEN)) as session:
            rows = session and session.rows_of(Table(schema, bookkeeping.FORGOTTEN))
            return not (session and session.execute(f"SELECT 1 FROM {rows} WHERE erased_at IS NULL LIMIT 1"))

    def note_erased(self, schema: str, now: datetime) -> None:
        """Note that nothing is stored any more of the people on the list."""
        with self._writing(schema) as session:
            session.execute(
                f"UPDATE {bookkeeping.common(session, schema, bookkeeping.FORGOTTEN)} AS target "
                f"SET erased_at = {self.dialect.moment(now)} WHERE erased_at IS NULL"
            )

    def bodies_dropped_until(self, table: Table, names: Sequence[str]) -> datetime | None:
        """Return the creation before which rows have no bodies in these columns; None if that was never noted."""
        with self._reading_table(table) as session:
            noted = session and bookkeeping.stored(session, table, bookkeeping.BODIES)
            if session is None or not noted:
                return None
            wanted = self.dialect.literal(json.dumps(sorted(names)))
            ((until,),) = session.execute(f"SELECT MAX(dropped_until) FROM {noted} WHERE names = {wanted}")
        found: datetime | None = until
        return found

    def note_bodies_dropped(self, table: Table, names: Sequence[str], until: datetime) -> None:
        """Note that rows created before have no bodies in these columns, instead of what was noted before."""
        row = (self.dialect.literal(json.dumps(sorted(names))), self.dialect.moment(until))
        with self._writing(table.schema) as session:
            session.execute(
                f"MERGE INTO {bookkeeping.ensured(session, table, bookkeeping.BODIES)} AS target "
                f"USING (SELECT * FROM {self.dialect.inline('known', ('names', 'dropped_until'), [row])}) AS source "
                "ON FALSE WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN NOT MATCHED BY TARGET "
                "THEN INSERT (names, dropped_until) VALUES (source.names, source.dropped_until)"
            )

    def clear(self, table: Table, names: Sequence[str], created: str, since: datetime | None, until: datetime) -> int:
        """Let these columns be null in rows created from `since` until then, or nobody knows when; count the rows."""
        with self._writing(table.schema) as session:
            there = [self.dialect.quoted(name) for name in names if name in session.columns_of(table)]
            if not there:
                return 0
            ((rows,),) = session.execute(
                f"UPDATE {self.dialect.name_of(table)} AS target SET {', '.join(f'{name} = NULL' for name in there)} "
                f"WHERE {self._is_between(created, since, until)} "
                f"AND ({' OR '.join(f'{name} IS NOT NULL' for name in there)})"
            )
        return int(rows)

    def oldest_with(
        self, table: Table, names: Sequence[str], created: str, since: datetime | None, until: datetime
    ) -> datetime | None:
        """Return the first creation of the rows created in between with a value in any of the columns."""
        with self._reading_table(table) as session:
            if session is None:
                return None
            has_any = " OR ".join(f"{self.dialect.quoted(name)} IS NOT NULL" for name in names)
            ((oldest,),) = session.execute(
                f"SELECT MIN({self.dialect.quoted(created)}) FROM {session.rows_of(table)} "
                f"WHERE {self._is_between(created, since, until)} AND ({has_any})"
            )
        found: datetime | None = oldest
        return found

    def rows_with(self, table: Table, names: Sequence[str], created: str, window: Window) -> pa.Table:
        """Return the columns, and those that `update` needs, of rows created in the window, or nobody knows when."""
        with self._reading_table(table) as session:
            assert session is not None, "it had rows"
            selected = ", ".join(map(self.dialect.quoted, dict.fromkeys(("id", EXTRACTED_AT, created, *names))))
            has_any = " OR ".join(f"{self.dialect.quoted(name)} IS NOT NULL" for name in names)
            return plain_rows(
                session.arrow(
                    f"SELECT {selected} FROM {session.rows_of(table)} WHERE id IS NOT NULL "
                    f"AND {self._is_between(created, window.start, window.end)} AND ({has_any})"
                )
            )

    def _is_between(self, created: str, since: datetime | None, until: datetime) -> str:
        name = self.dialect.quoted(created)
        from_then = f"{name} >= {self.dialect.moment(since)} AND " if since else ""
        return f"(({from_then}{name} < {self.dialect.moment(until)}) OR {name} IS NULL)"

    def before(self, table: Table, key: str, with_newest: bool = True) -> Before:
        """Return what is known of the table before a reading whose positions are saved under `key`."""
        dialect, good = self.dialect, bookkeeping.is_good(self.dialect)
        with self._reading_table(table) as session:
            if session is None:
                return Before()
            accounts = bookkeeping.stored(session, table, bookkeeping.ACCOUNTS)
            positions = bookkeeping.stored(session, table, bookkeeping.POSITIONS)
            has_policy = "policy" in session.columns_of(bookkeeping.own(table, bookkeeping.ACCOUNTS))
            is_read = with_newest and EXTRACTED_AT in session.columns_of(table)
            queries = (
                f"SELECT MIN(account) FROM {accounts}" if accounts else "",
                f"SELECT MIN(position) FROM {positions} WHERE sweep = {dialect.literal(key)} AND {good}"
                if positions
                else "",
                f"SELECT MAX({EXTRACTED_AT}) FROM {session.rows_of(table)}" if is_read else "",
                f"SELECT MIN(policy) FROM {accounts}" if has_policy else "",
            )
            found = session.execute(f"SELECT {', '.join(f'({query})' if query else 'NULL' for query in queries)}")
        account, position, newest, mark = found[0]
        return Before(account, position, newest, mark, exists=True)

    def pull_back(self, table: Table, now: Callable[[], datetime], to: datetime) -> int:
        """Let rows that count as read in the future count as read at `to`; return how many there were.

        A wrong clock had stamped them; they would win over everything that is read until then.
        """

        def ahead() -> str:
            return f"{EXTRACTED_AT} > {self.dialect.moment(now() + CLOCKS_DIFFER)}"

        with self._reading_table(table) as session:
            if session is None or EXTRACTED_AT not in session.columns_of(table):
                return 0
            if not session.execute(f"SELECT 1 FROM {session.rows_of(table)} WHERE {ahead()} LIMIT 1"):
                return 0
        with self._writing(table.schema) as session:  # others may have written while this waited: ask for the time anew
            ((rows,),) = session.execute(
                f"UPDATE {self.dialect.name_of(table)} AS target SET {EXTRACTED_AT} = {self.dialect.moment(to)} "
                f"WHERE {ahead()}{session.everything(table, 'target')}"
            )
        return int(rows)

    def leave_one_of_each_id(self, table: Table) -> None:  # noqa: B027, most engines have nothing to do
        """Remove the copies of rows that runs inserted at the same time, if the engine allows that.

        Called after a sweep's last batch. Rows without an id are left alone.
        """

    def forget_position(self, table: Table, key: str) -> None:
        """Delete the position of a sweep that is complete, and all that are too old."""
        dialect = self.dialect
        with self._writing(table.schema) as session:
            positions = bookkeeping.ensured(session, table, bookkeeping.POSITIONS)
            session.execute(
                f"DELETE FROM {positions} WHERE sweep = {dialect.literal(key)} OR NOT ({bookkeeping.is_good(dialect)})"
            )

    def after(
        self,
        table: Table,
        covered: Covered,
        since: datetime | None,
        touch_fields: Sequence[str] = (),
        windows: Sequence[Window] = (),
    ) -> After:
        """Return the state of the table after a reading that began at `since`, in one query of all of it."""
        if len(windows) > MOST_WINDOWS:
            return replace(self.after(table, covered, since), counts=self.counts(table, touch_fields, windows))
        copies = "COUNT(id) - COUNT(DISTINCT id)" if self.may_store_copies else "0"
        state = f"COUNT(*) AS there_are, {copies} AS copies, COUNT(*) - COUNT(id) AS without_id"
        with self._reading_table(table) as session:
            if session is None:
                return After(0, 0, Absences(0, 0, 0), Counts(0, [0] * len(windows)))
            rows = session.rows_of(table)
            query = f"SELECT -1 AS number, {state}, {self._absences(covered, since)} FROM {rows}"
            if windows:
                touched = self._touched(rows, touch_fields, windows)
                query += f" UNION ALL SELECT number, there_are, 0, 0, 0, 0, 0 FROM ({touched}) AS in_windows"
            found = {number: counted for number, *counted in session.execute(query)}
        there_are, copies_found, without_id, *absences = (int(count or 0) for count in found[-1])
        touched_rows = [found.get(number, [0])[0] for number in range(len(windows))]
        return After(copies_found, without_id, Absences(*absences), Counts(there_are, touched_rows))

    def absences(self, table: Table, covered: Covered, since: datetime, named: Collection[int] = ()) -> Absences:
        """Count the living rows that no request since then has read, without those `named`."""
        with self._reading_table(table) as session:
            if session is None:
                return Absences(0, 0, 0)
            with session.naming(named) as among:
                sums = self._absences(covered, since, f"NOT {among('id')}")
                (counted,) = session.execute(f"SELECT {sums} FROM {session.rows_of(table)}")
        return Absences(*(int(rows or 0) for rows in counted))

    def _absences(self, covered: Covered, since: datetime | None, condition: str = "TRUE") -> str:
        """Return the sums of `Absences` over a table's rows; rows count as unread only if they meet the condition."""
        living = f"{DELETED_AT} IS NULL AND id IS NOT NULL"
        unread = f"{EXTRACTED_AT} < {self.dialect.moment(since)} AND {condition}" if since else "FALSE"
        inside = f"{living} AND {self._is_covered(covered)}"
        return ", ".join(
            f"SUM(CASE WHEN {counted} THEN 1 ELSE 0 END) AS {name}"
            for name, counted in (
                ("unread", f"{living} AND {unread}"),
                ("expected", inside),
                ("missing", f"{inside} AND {unread}"),
            )
        )

    def kin(self, table: Table, field: str, ids: Collection[int], since: datetime, limit: int) -> list[int]:
        """Return the ids of living rows whose JSON `field` names the same `id` as that of one of the rows `ids`.

        They are rows that no request since then has read, the newest first, at most `limit` for each of `ids`.
        """
        dialect = self.dialect
        near, far = (dialect.json_text(f"{side}.{dialect.quoted(field)}", "id") for side in ("one", "other"))
        with self._reading_table(table) as session:
            if session is None:
                return []
            with session.naming(ids) as among:
                found = session.execute(
                    "SELECT id FROM (SELECT other.id AS id, "
                    "ROW_NUMBER() OVER (PARTITION BY one.id ORDER BY other.id DESC) AS number "
                    f"FROM {session.rows_of(table)} AS one JOIN {session.rows_of(table)} AS other ON {near} = {far} "
                    f"WHERE {among('one.id')} AND other.id <> one.id AND other.{DELETED_AT} IS NULL "
                    f"AND other.{EXTRACTED_AT} < {dialect.moment(since)}) AS ranked WHERE number <= {limit}"
                )
        return [int(row_id) for (row_id,) in found]

    def merges(self, table: Table, ids: Collection[int], since: datetime) -> list[int]:
        """Return the ids at both ends of each merge of one of these rows that was found since then."""
        dialect = self.dialect
        with self._reading_table(table) as session:
            if session is None:
                return []
            with session.naming(ids) as among:
                found = session.execute(
                    f"SELECT id, {MERGED_INTO} FROM {session.rows_of(table)} "
                    f"WHERE {DELETED_AT} >= {dialect.moment(since)} AND {MERGED_INTO} IS NOT NULL "
                    f"AND id IS NOT NULL AND ({among('id')} OR {among(MERGED_INTO)})"
                )
        return [int(row_id) for ends in found for row_id in ends]

    def note_candidates(
        self, table: Table, covered: Covered, ids: Collection[int], since: datetime, now: datetime
    ) -> None:
        """Note the living rows that no request since then has read although one should have: they may be gone.

        A request should have read the rows of `covered`, and the rows of `ids`.
        """
        dialect = self.dialect
        noted_at = dialect.moment(now)
        unread = f"{DELETED_AT} IS NULL AND {EXTRACTED_AT} < {dialect.moment(since)}"
        with self._writing(table.schema) as session, session.naming(ids) as among:
            missing = f"{unread} AND (({self._is_covered(covered)}) OR {among('id')})"
            session.execute(
                f"MERGE INTO {bookkeeping.ensured(session, table, bookkeeping.CANDIDATES)} AS target "
                f"USING (SELECT id, {EXTRACTED_AT} AS read_at, {DELETED_AT} IS NOT NULL AS is_gone, "
                f"({missing}) IS TRUE AS is_missing FROM {session.rows_of(table)} WHERE id IS NOT NULL) AS source "
                "ON target.id = source.id "
                "WHEN MATCHED AND source.is_missing AND source.read_at >= target.noted_at "
                f"THEN UPDATE SET noted_at = {noted_at} "
                "WHEN MATCHED AND NOT source.is_missing AND (source.is_gone OR source.read_at >= target.noted_at) "
                "THEN DELETE WHEN NOT MATCHED AND source.is_missing "
                f"THEN INSERT (id, noted_at) VALUES (source.id, {noted_at})"
            )

    def candidates(self, table: Table, fields: Sequence[str], limit: int, now: datetime | None = None) -> Candidates:
        """Return the rows noted longest ago that have neither been read since nor found to be gone.

        Rows that were looked at in vain come last, so that they never hold up the others. `limit` is at least 1. A row
        whose next look is due after `now` waits; without `now`, none does.
        """
        dialect = self.dialect
        due = f"COALESCE(noted.next_look_at <= {dialect.moment(now)}, TRUE)" if now else "TRUE"
        with self._reading_table(table) as session:
            noted = session and bookkeeping.stored(session, table, bookkeeping.CANDIDATES)
            if session is None or not noted:
                return Candidates([], {}, 0)
            selected = ", ".join(f"stored.{dialect.quoted(field)}" for field in fields)
            found = session.execute(
                f"SELECT {selected}, COALESCE(noted.looks, 0) AS looks, {due} AS is_due, COUNT(*) OVER () AS there_are "
                f"FROM {noted} AS noted "
                f"JOIN {session.rows_of(table)} AS stored ON stored.id = noted.id "
                f"WHERE stored.{DELETED_AT} IS NULL AND stored.{EXTRACTED_AT} < noted.noted_at "
                f"ORDER BY is_due DESC, looks, noted.noted_at, stored.id LIMIT {limit}"
            )
        due_now = [row for row in found if row[-2]]
        rows = [dict(zip(fields, row[:-3], strict=True)) for row in due_now]
        looks = {row["id"]: int(known[-3]) for row, known in zip(rows, due_now, strict=True)}
        return Candidates(rows, looks, found[0][-1] - len(rows) if found else 0)

    def _is_covered(self, covered: Covered) -> str:
        field, start, end = self.dialect.quoted(covered[0]), *covered[1:]
        bounds = [f"{field} >= {self.dialect.moment(start)}" if start else f"{field} IS NOT NULL"]
        if end:
            bounds.append(f"{field} < {self.dialect.moment(end)}")
        return " AND ".join(bounds)

    def settle_candidates(
        self,
        table: Table,
        looked_at: Collection[int],
        gone: Sequence[Tombstone],
        cascade: Mapping[Table, str],
        put_off: Mapping[int, datetime] = MappingProxyType({}),
    ) -> int:
        """Mark the rows that are `gone`, unless they were read later, and drop the notes of the rows looked at.

        Candidates that are `put_off` are looked at again at these moments.

        `cascade` gives the field by which rows of another table belong to these: if a row is gone and was not merged,
        they are marked as well. Returns how many of those there were.
        """
        deleted = {tombstone.id: tombstone.found_at for tombstone in gone if not tombstone.is_merged}
        with self._writing(table.schema) as session:
            # These first: once the row itself is marked, nothing looks for them again.
            cascaded = sum(
                bookkeeping.cascade_marks(session, other, field, deleted) for other, field in cascade.items()
            )
            if gone:
                bookkeeping.mark(session, table, gone)
            if put_off:
                bookkeeping.put_off(session, table, put_off)
            bookkeeping.drop_candidates(session, table, looked_at)
        return cascaded

    def counts(self, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]) -> Counts:
        """Count the rows. A row touched in two windows counts in both."""
        if len(windows) > MOST_WINDOWS:
            first, rest = (
                self.counts(table, touch_fields, part) for part in (windows[:MOST_WINDOWS], windows[MOST_WINDOWS:])
            )
            return Counts(rest.rows, [*first.touched, *rest.touched])
        with self._reading_table(table) as session:
            if session is None:
                return Counts(0, [0] * len(windows))
            rows = session.rows_of(table)
            query = f"SELECT -1 AS number, COUNT(*) AS there_are FROM {rows}"
            if windows:
                query += f" UNION ALL {self._touched(rows, touch_fields, windows)}"
            counted = dict(session.execute(query))
        return Counts(counted[-1], [counted.get(number, 0) for number in range(len(windows))])

    def _touched(self, rows: str, touch_fields: Sequence[str], windows: Sequence[Window]) -> str:
        """Return a query for the number of each window, and of the living rows touched in it if there are any.

        Touches meet windows by their day: an engine compares each with the few windows of that day, not with all.
        """
        dialect = self.dialect
        bounds = [
            (str(number), dialect.moment(window.start), dialect.moment(window.end))
            for number, window in enumerate(windows)
        ]
        touches = " UNION ALL ".join(
            f"SELECT id, {dialect.quoted(field)} AS touch FROM {rows} WHERE {DELETED_AT} IS NULL"
            for field in touch_fields
        )
        days = (
            f"SELECT number, begins, ends, day FROM {dialect.inline('asked', ('number', 'begins', 'ends'), bounds)}, "
            f"{dialect.days_between('begins', 'ends', 'day')}"
        )
        return (
            f"SELECT number, COUNT(DISTINCT id) AS there_are FROM ({touches}) AS touched JOIN ({days}) AS of_windows "
            "ON CAST(touch AS DATE) = day AND touch >= begins AND touch < ends GROUP BY number"
        )

    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        """Replace the table's slice by `rows`, and return how many rows the table has then.

        The table is created for `rows`, or gets the columns that it lacks. Values are cast to the types of the table's
        columns. Raises `WarehouseError` if a cast would change a value, if a row lies outside the slice, or if sweeps
        are merged into the table.
        """
        with self._writing(table.schema) as session:
            condition = session.condition(table, where)
            existing = session.columns_of(table)
            if EXTRACTED_AT in existing and EXTRACTED_AT not in rows.column_names:
                raise WarehouseError(
                    f"{table} holds merged rows, which this asset would replace; give the asset another name, or "
                    "another schema by its 'schema' metadata."
                )
            if not rows.column_names:  # an empty frame that lacks even its columns
                if existing:
                    session.execute(f"DELETE FROM {self.dialect.name_of(table)} WHERE {condition}")
                return session.count(table) if existing else 0
            rows = session.storable(_respelled(rows, existing))
            if existing:
                becomes = session.types_of(rows)
                fitting = [name for name in becomes if becomes[name] == existing.get(name)]
                rows = cast_columns(rows, session.schema_of(table), table, fitting)
            with session.staged(rows) as source:
                _check_inside(session, table, source, condition, rows.num_rows)
                session.widen(table, rows, existing, _column_of(where, rows))
                session.overwrite(table, source, rows.column_names, condition)
            return session.count(table)

    def read(self, table: Table, where: Slice, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of a slice of the table, in no particular order."""
        with self._reading_table(table) as session:
            if session is None:
                raise self._missing(table)
            selected = ", ".join(map(self.dialect.quoted, columns)) if columns else "*"
            return session.arrow(
                f"SELECT {selected} FROM {session.rows_of(table)} WHERE {session.narrowed(table, where)}"
            )

    def columns_of(self, table: Table) -> list[str]:
        """Return the names of the table's columns; none if there is no such table."""
        with self._reading_table(table) as session:
            return list(session.columns_of(table)) if session else []

    def has_table(self, table: Table) -> bool:
        with self._reading_table(table) as session:
            return session is not None

    def require(self, tables: Iterable[Table]) -> None:
        """Raise `WarehouseError` if one of the tables does not exist."""
        if missing := next((table for table in tables if not self.has_table(table)), None):
            raise self._missing(missing)

    def _missing(self, table: Table) -> WarehouseError:
        return WarehouseError(f"There is no table {table} in {self}; materialize its asset first.")

    def rows_of(self, table: Table) -> str:
        """Return a relation of the table's rows for `query`, to write after FROM or JOIN."""
        return self.dialect.name_of(table)

    def query(self, schema: str, query: str) -> pa.Table:
        """Return the rows of a query, in the engine's dialect, of tables of the schema."""
        with self._reading(schema) as session:
            if session is None:
                raise WarehouseError(f"There is nothing in {self} yet; materialize an asset first.")
            return session.arrow(query)

    @contextmanager
    def _reading_table(self, table: Table) -> Iterator[Session | None]:
        """Yield a session that writes nothing; None if there is no such table yet."""
        with self._reading(table.schema) as session:
            yield session if session is not None and session.columns_of(table) else None


def _ensure_table(session: Session, table: Table, columns: Sequence[Column], description: str) -> None:
    """Create the table, or let it be as declared; raise `WarehouseError` if a type differs."""
    existing = session.columns_of(table)
    if not existing:
        session.create(table, columns)
    for column in columns if existing else ():
        wanted, found = session.dialect.types[column.kind], existing.get(column.name)
        if found not in (None, wanted):
            raise WarehouseError(
                f"Column {column.name!r} of {table} is {found}, not {wanted}: this table was made by something else. "
                "Rename it, or choose another schema."
            )
    if existing and (lacking := [column for column in columns if column.name not in existing]):
        session.add(table, lacking)
    session.keep_as_declared(table, columns, description)
    session.ensure_view_of_living(table, columns, f"Rows of {table.name} that are not gone. {description}".strip())


def _query_lacking(session: Session, view: StoredView) -> str | None:
    """Return the query that the view should have; None if it has that, or if a table is missing."""
    if not all(session.columns_of(table) for table in view.reads.values()):
        return None
    query = view.marked_query(
        session.dialect, {name: session.rows_in_view(table) for name, table in view.reads.items()}
    )
    return None if mark_of(session.query_of(view.place)) == mark_of(query) else query


def _is_taken(session: Session, view: StoredView) -> bool:
    """Return True if a table, or a view of somebody's own, has the view's name."""
    return bool(session.columns_of(view.place)) and mark_of(session.query_of(view.place)) is None


def _respelled(rows: pa.Table, existing: Mapping[str, str]) -> pa.Table:
    """Return `rows` with names in the capitals of the table's columns."""
    spelling = {name.lower(): name for name in existing}
    return rows.rename_columns([spelling.get(name.lower(), name) for name in rows.column_names])


def _check_inside(session: Session, table: Table, source: str, condition: str, rows: int) -> None:
    ((outside,),) = session.execute(f"SELECT COUNT(*) FROM {source} WHERE ({condition}) IS NOT TRUE")
    if outside:
        raise WarehouseError(
            f"{outside:,} of {rows:,} rows for {table} lie outside the partition being written, so a later run would "
            "add them again. Return rows of the partition alone, or correct 'partition_expr'."
        )


def _column_of(where: Slice, rows: pa.Table) -> str | None:
    """Return the column of `rows` that alone decides in which window a row is, if there is one."""
    for dimension in where:
        if dimension.has_windows and len(dimension.expressions) == 1 and dimension.expressions[0] in rows.column_names:
            return dimension.expressions[0]
    return None
