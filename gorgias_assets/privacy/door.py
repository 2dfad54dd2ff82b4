"""The door: what may be stored of rows, right before they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gorgias_assets.entities.model import Entity
from gorgias_assets.privacy.forgetting import Forgotten
from gorgias_assets.privacy.policy import PrivacyKey, Screen
from gorgias_assets.privacy.retention import without_old_bodies
from gorgias_assets.warehouse.tables import Listed


@dataclass(frozen=True)
class Door:
    """The rules that all rows of an account pass before they are stored.

    - `screen`: the privacy policy, which rows pass as they are typed; None without one.
    - `key`: the key of the list of forgotten people; None if none is set.
    - `bodies_kept_days`: the age of a row in days from which on it has no bodies; None for never.
    """

    screen: Screen | None = None
    key: PrivacyKey | None = None
    bodies_kept_days: int | None = None

    @property
    def mark(self) -> str:
        """The mark of the privacy policy, by which rows that were stored under another one are noticed."""
        return self.screen.mark if self.screen else ""

    def admitted(self, entity: Entity[Any], listed: Sequence[Listed], rows: pa.Table) -> pa.Table:
        """Return what may be stored of typed rows, given the warehouse's list of forgotten people.

        Raises `WarehouseError` if people are on the list and their key is missing, or another one.
        """
        if self.bodies_kept_days is not None:
            rows = without_old_bodies(entity, rows, self.bodies_kept_days)
        forgotten = Forgotten.of(listed, self.key)
        return forgotten.without(entity.name, entity.columns, rows)[0] if forgotten else rows
