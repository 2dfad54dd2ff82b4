"""Views of tables: their place, what they read, and the query that an engine keeps."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gorgias_assets.columns import Column
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Table

_MARK = re.compile(r"\bkept_[0-9a-f]{16}\b")


@dataclass(frozen=True)
class StoredView:
    """A view that the warehouse keeps as declared.

    - `reads`: the tables that it reads, by the names that `query` takes. All are in the schema of `place`.
    - `query`: returns the query, given the relation of each table.
    """

    place: Table
    reads: Mapping[str, Table]
    columns: Sequence[Column]
    description: str
    query: Callable[[Dialect, Mapping[str, str]], str]

    def marked_query(self, dialect: Dialect, rows: Mapping[str, str]) -> str:
        """Return the query with an alias that changes with it, with the columns and with what describes them.

        Engines store a view's query in their own words. All of them keep an alias.
        """
        query = self.query(dialect, rows)
        declared = [query, self.description, *(repr((column.name, column.comment)) for column in self.columns)]
        return f"SELECT * FROM ({query}) AS kept_{sha256('|'.join(declared).encode()).hexdigest()[:16]}"


def mark_of(query: str | None) -> str | None:
    """Return the alias of `marked_query` in an engine's words; None if this project did not make the query."""
    found = _MARK.findall(query or "")
    return found[-1] if found else None
