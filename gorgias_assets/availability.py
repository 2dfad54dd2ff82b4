"""Lists that an account lacks, by its plan or its key's role: noted as observations of their assets, and read there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.entities.model import Entity

UNAVAILABLE_SINCE = "unavailable_since"  # in the metadata of an observation
_NEWEST = 10  # observations, among which some are of outages


@dataclass(frozen=True)
class Lack:
    """A list that Gorgias does not show: the first and the last moment at which it was asked for, and its answer."""

    since: datetime
    asked_at: datetime
    why: str

    def __str__(self) -> str:
        return f"It has been unavailable since {self.since:%Y-%m-%d %H:%M} UTC. {self.why}"


def lack_of(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Lack | None:
    """Return how an asset's list was found to be unavailable, if it was not materialized since."""
    for record in instance.fetch_observations(asset, limit=_NEWEST).records:
        observed = record.asset_observation
        since = observed.metadata.get(UNAVAILABLE_SINCE) if observed else None
        if observed and isinstance(since, dg.TimestampMetadataValue):
            newest = instance.get_latest_materialization_event(asset)
            if newest and newest.timestamp > record.timestamp:
                return None
            first, last = (datetime.fromtimestamp(moment, UTC) for moment in (since.value, record.timestamp))
            return Lack(first, last, observed.description or "")
    return None


def is_lacked(instance: dg.DagsterInstance, account: Account, entity: Entity[Any]) -> bool:
    return entity.is_optional and lack_of(instance, account.key_of(entity)) is not None


def note_lack(context: dg.AssetExecutionContext, asset: dg.AssetKey, why: str, partition: str | None = None) -> None:
    """Log why a list is unavailable, and leave it on the asset's page as an observation, of a day if it has days."""
    context.log.info(f"{asset.to_user_string()}: {why}")
    earlier = lack_of(context.instance, asset)
    since: Any = dg.MetadataValue.timestamp(earlier.since if earlier else datetime.now(UTC))
    context.log_event(
        dg.AssetObservation(asset, description=why, partition=partition, metadata={UNAVAILABLE_SINCE: since})
    )
