"""The events that the warehouse holds: where it has all of a window, nobody requests them again."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from gorgias_assets.api.events import Event
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window


@dataclass(frozen=True)
class StoredEvents:
    """The table of an account's events."""

    warehouse: Warehouse
    table: Table

    def __call__(self, types: Collection[str], window: Window) -> list[Event] | None:
        """Return the window's events of some types, newest first; None if the table may lack one."""
        readings = self.warehouse.readings(self.table, types)
        if not any(read.start <= window.start and window.end <= read.end for read in readings):
            return None
        dialect = self.warehouse.dialect
        created = dialect.quoted("created_datetime")
        wanted = ", ".join(dialect.literal(kind) for kind in sorted(types))
        found = self.warehouse.query(
            self.table.schema,
            f"SELECT type, object_id, context, data FROM {self.warehouse.rows_of(self.table)} WHERE id IS NOT NULL "
            f"AND type IN ({wanted}) AND ({dialect.within(created, [window])}) ORDER BY {created} DESC, id DESC",
        )
        return [event | {"data": event["data"] and json.loads(event["data"])} for event in found.to_pylist()]
