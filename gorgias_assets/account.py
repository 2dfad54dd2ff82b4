"""An account in Dagster: its entities, its days, and the name that all its definitions are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from gorgias_assets.entities.model import ByDate, Entity, read_by
from gorgias_assets.partitions import daily_partitions


@dataclass(frozen=True)
class Account:
    """One Gorgias helpdesk. Definitions of accounts with different names do not collide.

    - `name`: the prefix of asset keys, and of the names of jobs, schedules and sensors; the group; the resource's key.
    - `start_date`: the first partition, `YYYY-MM-DD`.
    - `io_manager_key`: the resource key of one of this project's IO managers.
    """

    entities: Sequence[Entity[Any]]
    name: str = "gorgias"
    start_date: str = "2024-01-01"
    io_manager_key: str = "io_manager"

    @cached_property
    def partitions(self) -> dg.DailyPartitionsDefinition:
        return daily_partitions(self.start_date)

    @cached_property
    def by_date(self) -> list[Entity[ByDate]]:
        """The entities with daily partitions."""
        return read_by(ByDate, self.entities)

    @property
    def overview_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.name, "overview"])

    def key_of(self, entity: Entity[Any]) -> dg.AssetKey:
        return dg.AssetKey([self.name, entity.name])

    def owned_by(self, entity: Entity[Any]) -> list[Entity[Any]]:
        """Return the entities whose rows are gone with a deleted row of this one."""
        parents = [(other, other.parent) for other in self.entities if other.parent]
        return [other for other, parent in parents if parent.owns and parent.name == entity.name]

    def op_of(self, entity: Entity[Any]) -> str:
        """Return the name of the entity's step, as in a run's configuration."""
        return f"{self.name}__{entity.name}"

    def named(self, what: str) -> str:
        """Return the name of a job, a schedule or a sensor of the account."""
        return f"{self.name}_{what}"

    def tag(self, what: str) -> str:
        """Return the key of a tag that runs of the account carry."""
        return f"{self.name}/{what}"
