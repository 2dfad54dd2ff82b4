"""Readings of any way from a simulated account into a DuckDB file, without Dagster."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gorgias_assets.entities.model import Entity
from gorgias_assets.loading import Loaded, load
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.batches import BATCH_ROWS, Reader
from gorgias_assets.sweeps.rows import Row
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.sweeps.test_resume import AT_ONCE, Killed, MortalWarehouse

LOG = logging.getLogger("reading")
FIRST = datetime(2025, 3, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass
class Room:
    """A sandbox and a file, in which tables of any entities are."""

    sandbox: Sandbox
    file: Path
    project: Project = field(init=False)

    def __post_init__(self) -> None:
        self.project = Project(self.sandbox, self.file, [])

    @property
    def account(self) -> Account:
        return self.sandbox.account

    @property
    def gorgias(self) -> GorgiasResource:
        patience = AT_ONCE if self.sandbox.faults else 1
        return GorgiasResource(uri=self.sandbox.uri, api_url=self.sandbox.api_url, patience_minutes=patience)

    def load(self, reader: Reader[Any], dies_after: int | None = None) -> Loaded:
        """Load everything, or in batches of a page and die after so many."""
        loaded = Loaded()
        with suppress(Killed):
            warehouse = MortalWarehouse(self.file, 100 if dies_after else BATCH_ROWS, dies_after)
            loaded = load(reader, warehouse, Table("gorgias", reader.entity.name), LOG)
        return loaded

    def calls(self, entity: Entity[Any]) -> int:
        return sum(request.path == f"/api{entity.path}" for request in self.sandbox.requests)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.project.query(sql)

    def stored(self, entity: Entity[Any]) -> dict[int, Row]:
        return self.project.table(entity)

    def live(self, entity: Entity[Any], days: Sequence[int]) -> dict[int, Row]:
        """Return the account's rows that were created in days of the month of `FIRST`."""
        rows = self.project.live_rows(entity)
        return {row_id: row for row_id, row in rows.items() if row["created_datetime"].day in days}


def insert(account: Account, kind: str, moments: Sequence[datetime], first_id: int = 1, **fields: Any) -> None:
    """Insert rows that were created then, with ascending ids."""
    rows = ({**KINDS[kind].blank, "id": i, "created_datetime": at, **fields} for i, at in enumerate(moments, first_id))
    account.insert_many(kind, rows)
