"""The place of tables, as far as an IO manager's settings tell it, without a connection to the warehouse."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from gorgias_assets.columns import Kind
from gorgias_assets.warehouse.tables import Table


@dataclass(frozen=True)
class Place:
    """The schema that an IO manager stores tables in, and the engine that has it.

    - `storage`: Dagster's name of the engine, which is also a kind with an icon.
    - `types`: the engine's type for each kind of column.
    - `schema`: None if the last part of an asset's prefix is the schema.
    - `database`: the database that has the schema, if the engine has several; None for the only one.
    - `needs_filter`: True if the engine refuses a query of a table without a condition on `created_datetime`.
    """

    storage: str
    types: Mapping[Kind, str]
    schema: str | None
    database: str | None = None
    needs_filter: bool = False

    def table_of(self, asset: dg.AssetKey, schema: str | None = None, name: str | None = None) -> Table:
        """Return the table of an asset; `schema` and `name` are those of its own metadata, and go first."""
        *prefix, last = asset.path
        return Table(schema or self.schema or (prefix[-1] if prefix else "public"), name or last)
