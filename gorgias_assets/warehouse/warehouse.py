"""What a warehouse does, in SQL that every engine understands; an engine's own module says how it is sent."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column
from gorgias_assets.warehouse import bookkeeping
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.frames import cast_columns
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import (
    Candidates,
    Counts,
    Merged,
    Saved,
    Slice,
    Table,
    Tombstone,
    Warehouse,
    WarehouseError,
)
from gorgias_assets.windows import Window

T = TypeVar("T")


class SqlWarehouse(Warehouse):
    """Tables behind an engine that speaks SQL."""

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """The words for `query`."""

    @abstractmethod
    def _writing(self, schema: str) -> AbstractContextManager[Session]:
        """A session whose statements are one transaction, where the engine's price for that is right."""

    @abstractmethod
    def _reading(self, schema: str) -> AbstractContextManager[Session | None]:
        """A session that writes nothing; None where there is nothing to read yet."""

    def merge(self, table: Table, columns: Sequence[Column], rows: pa.Table, saved: Saved | None = None) -> Merged:
        with self._writing(table.schema) as session:
            _ensure_table(session, table, (*columns, *ADDED_COLUMNS))
            merged = session.merge(table, rows) if rows.num_rows else Merged()
            if saved:
                bookkeeping.save(session, table, saved)
        return merged

    def saved_position(self, table: Table, key: str) -> str | None:
        return self._ask(table, lambda session: bookkeeping.saved_position(session, table, key), None)

    def forget_position(self, table: Table, key: str) -> None:
        with self._writing(table.schema) as session:
            bookkeeping.forget_position(session, table, key)

    def has_unread(self, table: Table, since: datetime) -> bool:
        return self._ask(table, lambda session: bookkeeping.has_unread(session, table, since), False)

    def note_candidates(
        self, table: Table, covered: tuple[str, datetime | None, datetime | None], ids: Collection[int], since: datetime
    ) -> None:
        with self._writing(table.schema) as session:
            bookkeeping.note_candidates(session, table, covered, ids, since)

    def candidates(self, table: Table, fields: Sequence[str], limit: int) -> Candidates:
        return self._ask(
            table, lambda session: bookkeeping.candidates(session, table, fields, limit), Candidates([], 0)
        )

    def settle_candidates(
        self, table: Table, looked_at: Collection[int], gone: Sequence[Tombstone], along: Mapping[Table, str]
    ) -> int:
        with self._writing(table.schema) as session:
            return bookkeeping.settle_candidates(session, table, looked_at, gone, along)

    def counts(self, table: Table, touch_fields: Sequence[str], windows: Sequence[Window]) -> Counts:
        return self._ask(
            table,
            lambda session: bookkeeping.counts(session, table, touch_fields, windows),
            Counts(0, [0] * len(windows)),
        )

    def replace(self, table: Table, rows: pa.Table, where: Slice) -> int:
        with self._writing(table.schema) as session:
            condition = session.condition(table, where)
            existing = session.columns_of(table)
            if EXTRACTED_AT in existing and EXTRACTED_AT not in rows.column_names:
                raise WarehouseError(
                    f"{table} holds rows merged from Gorgias, which this asset would replace; give the asset another "
                    "name, or another schema by its 'schema' metadata."
                )
            if not rows.column_names:  # an empty frame that does not even say which columns it would have
                if existing:
                    session.execute(f"DELETE FROM {session.dialect.name_of(table)} WHERE {condition}")
                return session.count(table) if existing else 0
            rows = _respelled(rows, existing)
            if existing:
                rows = cast_columns(rows, session.schema_of(table), table)
            with session.staged(rows) as source:
                _check_inside(session, table, source, condition, rows.num_rows)
                session.widen(table, rows, existing, _column_of(where, rows))
                session.overwrite(table, source, rows.column_names, condition)
            return session.count(table)

    def read(self, table: Table, where: Slice, columns: Sequence[str] | None = None) -> pa.Table:
        with self._reading(table.schema) as session:
            if session is None or not session.columns_of(table):
                raise WarehouseError(f"There is no table {table} in {self}; materialise its asset first.")
            words = session.dialect
            selected = ", ".join(map(words.quoted, columns)) if columns else "*"
            return session.arrow(
                f"SELECT {selected} FROM {words.name_of(table)} WHERE {session.condition(table, where)}"
            )

    def has_table(self, table: Table) -> bool:
        return self._ask(table, lambda session: True, False)  # noqa: ARG005

    def query(self, schema: str, query: str) -> pa.Table:
        """The rows of a query, in the engine's dialect, of tables of the schema."""
        with self._reading(schema) as session:
            if session is None:
                raise WarehouseError(f"There is nothing in {self} yet; materialise an asset first.")
            return session.arrow(query)

    def _ask(self, table: Table, question: Callable[[Session], T], without_table: T) -> T:
        """The answer from the table, or what holds where there is none yet."""
        with self._reading(table.schema) as session:
            return question(session) if session is not None and session.columns_of(table) else without_table


def _ensure_table(session: Session, table: Table, columns: Sequence[Column]) -> None:
    """Create the table, or add the columns that it lacks; raise `WarehouseError` where a type differs."""
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
    session.ensure_view_of_living(table)


def _respelled(rows: pa.Table, existing: Mapping[str, str]) -> pa.Table:
    """`rows` with names in the capitals of the table's columns."""
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
    """The column of `rows` that says in which window a row is, where it is one and nothing but a column."""
    for dimension in where:
        if dimension.has_windows and len(dimension.expressions) == 1 and dimension.expressions[0] in rows.column_names:
            return dimension.expressions[0]
    return None
