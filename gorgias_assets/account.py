"""An account in Dagster: its entities, its days, and the name that all its definitions are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg

from gorgias_assets.api.events import EVENTS_PATH
from gorgias_assets.entities.model import ByDate, ByFilter, Daily, Entity, Unordered, Whole, read_by
from gorgias_assets.entities.view import NamedView, View
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.place import Place
from gorgias_assets.metrics.model import Metric
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.warehouse.tables import Table

METRICS_GROUP = "metrics"
ACCOUNT_TAG = "gorgias/account"  # of all assets, with the account's name

# Pools, after the account's name: an instance may limit how many of their steps run at once (deploy/dagster.yaml).
API_POOL = "api"  # steps that call Gorgias, which paces itself
WAREHOUSE_POOL = "warehouse"  # steps that only work on the database

Translation = Callable[[dg.AssetSpec, str], dg.AssetSpec]


@dataclass(frozen=True)
class Account:
    """One Gorgias helpdesk. Definitions of accounts with different names do not collide.

    - `name`: the prefix of asset keys, and of the names of groups, jobs, schedules, sensors and pools; the resource's
      key.
    - `start_date`: the first partition, `YYYY-MM-DD`. The last one is today if there is a partition of `today`.
    - `io_manager_key`: the resource key of one of this project's IO managers.
    - `table_names`: names of tables and views that differ from those of their assets, by the name of the entity, view
      or metrics.
    - `translation`: returns the specification of an asset, given ours and the name of the entity, view or
      metrics.
    - `place`: the IO manager's, if it is known; assets then show their tables and their warehouse before any run.
    - `views`: the chosen views; what they read is among the entities.
    - `event_types`: the types of events to read; all if none is named.
    - `statistics`: the chosen assets of Gorgias's own statistics, by name.
    - `metrics`: the chosen tables of metrics; what they need is among the entities and these.
    - `has_policy`: there is a privacy policy, so that checks ask if all rows were stored under it.
    - `reports`: the folder of its reports, or its URL.
    """

    entities: Sequence[Entity[Any]]
    name: str = "gorgias"
    start_date: str = "2024-01-01"
    io_manager_key: str = "io_manager"
    today: bool = True
    table_names: Mapping[str, str] = field(default_factory=dict)
    translation: Translation = lambda spec, _: spec
    place: Place | None = None
    views: Sequence[View] = ()
    event_types: Sequence[str] = ()
    statistics: Sequence[str] = ()
    metrics: Sequence[Metric] = ()
    has_policy: bool = False
    reports: str = "reports"

    @cached_property
    def partitions(self) -> dg.DailyPartitionsDefinition:
        return daily_partitions(self.start_date, self.today)

    @cached_property
    def daily(self) -> list[Entity[Daily]]:
        """The entities with daily partitions."""
        return [entity for entity in self.entities if isinstance(entity.read, ByDate | ByFilter | Unordered)]

    @cached_property
    def by_date(self) -> list[Entity[ByDate]]:
        """The daily entities whose list has a head that shows if something is new, and can be swept in full."""
        return read_by(ByDate, self.entities)

    @cached_property
    def whole(self) -> list[Entity[Whole]]:
        """The entities without partitions, which one step reads."""
        return read_by(Whole, self.entities)

    @property
    def asset_keys(self) -> list[dg.AssetKey]:
        """The keys of the assets of entities, metrics and statistics."""
        return [*map(self.key_of, self.entities), *map(self.key_of, self.metrics), *self.statistics_keys]

    @cached_property
    def statistics_keys(self) -> list[dg.AssetKey]:
        return [self._key(name) for name in self.statistics]

    @property
    def selection(self) -> dg.AssetSelection:
        """The assets of the account that there are in a code location."""
        return dg.AssetSelection.tag(ACCOUNT_TAG, self.name)

    def key_of(self, what: Entity[Any] | View | Metric) -> dg.AssetKey:
        return self._keys[what.name]

    def spec_of(self, what: str, **attributes: Any) -> dg.AssetSpec:
        """Return the translated specification of an asset: of an entity, a view, metrics or statistics."""
        spec = dg.AssetSpec([self.name, what], group_name=self._group(what), **attributes)
        spec = self.translation(spec, what)
        if {"table", "schema"} & spec.metadata.keys():
            raise ValueError(
                f"The translation of {what} sets the metadata table or schema; set table_names or table_schema instead."
            )
        table = self._table_name(what)
        renamed = {} if spec.key.path[-1] == table else {"table": table}
        return spec.merge_attributes(tags={ACCOUNT_TAG: self.name}, metadata=renamed)

    def table_of(self, what: str, io_manager: MergingIOManager | Place) -> Table:
        """Return the table of an entity, a view, metrics or statistics."""
        return io_manager.table_of(self._key(what), name=self._table_name(what))

    @cached_property
    def events_table(self) -> str:
        """The name of the table of events; empty if the account has none."""
        return next((self._table_name(entity.name) for entity in self.entities if entity.path == EVENTS_PATH), "")

    def owned_by(self, entity: Entity[Any]) -> dict[str, str]:
        """Return the tables whose rows are gone with a deleted row of this entity, with their field of its id."""
        parents = [(other, other.parent) for other in self.entities if other.parent]
        return {
            self._table_name(other.name): parent.field
            for other, parent in parents
            if parent.owns and parent.name == entity.name
        }

    def views_of(self, entity: Entity[Any]) -> list[NamedView]:
        """Return the views that read the table of this entity."""
        return [NamedView(view, self.table_names) for view in self.views if entity.name in view.reads]

    def op_of(self, entity: Entity[Any]) -> str:
        """Return the name of the entity's step, as in a run's configuration."""
        return self.named("reference") if isinstance(entity.read, Whole) else self.output_of(entity)

    def output_of(self, entity: Entity[Any]) -> str:
        """Return the name of the entity's output among those of its step."""
        return self.key_of(entity).to_python_identifier()

    def named(self, what: str) -> str:
        """Return the name of a job, a schedule, a sensor or a pool of the account."""
        return f"{self.name}_{what}"

    def tag(self, what: str) -> str:
        """Return the key of a tag that runs of the account carry."""
        return f"{self.name}/{what}"

    @cached_property
    def _keys(self) -> dict[str, dg.AssetKey]:
        return {one.name: self._key(one.name) for one in self.declarations}

    @property
    def declarations(self) -> list[Entity[Any] | View | Metric]:
        """The entities, views and metrics."""
        return [*self.entities, *self.views, *self.metrics]

    def _group(self, what: str) -> str:
        """Return the group of an asset: that of the account for its core and the overview."""
        usual = METRICS_GROUP if what in self.statistics else ""
        group = next((one.group for one in self.declarations if one.name == what), usual)
        return self.named(group) if group else self.name

    def _table_name(self, what: str) -> str:
        return self.table_names.get(what, what)

    def _key(self, what: str) -> dg.AssetKey:
        return self.spec_of(what).key
