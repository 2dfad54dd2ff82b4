"""The Gorgias account as a Dagster resource."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field, field_validator

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient, GorgiasError, Unavailable
from gorgias_assets.api.uri import EXPECTED_FORM, GorgiasUri, InvalidUri
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.rows import moment_of
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets.windows import Window

_TEN_YEARS = 3_650  # days
_TICK_PATIENCE_SECONDS = 10  # Dagster gives a tick a minute


class GorgiasResource(dg.ConfigurableResource[Any]):
    """One Gorgias account.

    `uri` is a string or an `EnvVar`. It is a resource dependency and no config field, so that the key it holds is in no
    snapshot, page or event of Dagster's, in whichever form it is given.
    """

    uri: dg.ResourceDependency[str]
    api_url: str | None = Field(
        default=None,
        description="Base URL of the API, instead of https://<domain>.gorgias.com/api; for a simulated account.",
    )
    max_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the account's API calls to use; the rest is left to everything else on the account.",
    )
    patience_minutes: float = Field(
        default=10, gt=0, description="How long Gorgias may give no usable answer to a request before the run fails."
    )
    seek: bool = Field(
        default=True,
        description="Reach the days of an old partition without reading what is newer. Every seek is verified, and "
        "where Gorgias does not take it the list is walked; this switches it off altogether.",
    )
    max_lookups: int = Field(
        default=500,
        ge=0,
        description="How many rows missing from a list a run looks for one by one: so many, or as many as its reading "
        "took calls if that is more; the others wait for the next run.",
    )
    look_back_days: dict[str, int] = Field(
        default_factory=dict,
        description="Days before a partition in which rows touched in it may have been created, by entity, where it "
        "shall differ from the default of "
        + ", ".join(f"{entity.name}: {entity.look_back.days}" for entity in ENTITIES),
    )

    @field_validator("look_back_days")
    @classmethod
    def _check_look_back_days(cls, days: dict[str, int]) -> dict[str, int]:
        names = {entity.name for entity in ENTITIES}
        if not names.issuperset(days) or not all(0 <= number <= _TEN_YEARS for number in days.values()):
            raise ValueError(f"look_back_days holds 0 to {_TEN_YEARS} days for any of {', '.join(sorted(names))}.")
        return days

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if name != "uri")

    def account(self) -> GorgiasUri:
        """The account's parsed URI. Raises `InvalidUri`."""
        if isinstance(self.uri, dg.EnvVar):
            uri = self.uri.get_value()
            if not uri:
                raise InvalidUri(f"The environment variable {self.uri.env_var_name} is not set; set {EXPECTED_FORM}.")
            return GorgiasUri.parse(uri)
        return GorgiasUri.parse(self.uri)

    def client(self, patience_seconds: float | None = None, budget: Budget | None = None) -> GorgiasClient:
        """A client to be closed after use, with a budget of its own unless it shares one. Raises `InvalidUri`."""
        return GorgiasClient(
            self.account(),
            api_url=self.api_url,
            budget=budget or Budget(self.max_share),
            patience=patience_seconds or self.patience_minutes * 60,
        )

    def newest(self, entity: Entity) -> tuple[datetime, int] | None:
        """The order field and the id of the row that heads the entity's list, for one call; None where there is none.

        Raises `GorgiasError` and `InvalidUri`.
        """
        with closing(self.client(min(_TICK_PATIENCE_SECONDS, self.patience_minutes * 60))) as client:
            rows = client.page(entity.path, order_by=f"{entity.order}:desc", limit=1).rows
        moment = moment_of(rows[0], entity.order) if rows else None
        return (moment, rows[0]["id"]) if moment else None

    def outage(self) -> str | None:
        """Why Gorgias cannot be reached now, in a sentence; None where it answers, be it with a no."""
        try:
            self.newest(ENTITIES[0])
        except Unavailable as error:
            return error.reason
        except (GorgiasError, InvalidUri):
            pass  # a run says what to do
        return None

    def sweep(
        self, entity: Entity, start: datetime, end: datetime, *, full: bool = False, look_back: bool = True
    ) -> Sweep:
        """The rows of `entity` touched in `[start, end)`, two aware datetimes; nothing is read yet.

        A full sweep reads the whole list, and so refreshes every row that is stored already, too. One that does not
        look back leaves out rows that were touched in the window, and were created before it; a window that is over is
        looked back from all the same, since it counts as complete once it is read.
        """
        try:
            connect = partial(self.client, budget=Budget(self.max_share))
            connect().close()  # a wrong URI or URL fails here, and not in a reader's thread
        except InvalidUri as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        is_over = end <= datetime.now(UTC)
        days = self.look_back_days.get(entity.name) if look_back or is_over else 0
        return Sweep(
            entity,
            Window.of(start, end),
            connect,
            look_back=entity.look_back if days is None else timedelta(days=days),
            can_seek=self.seek,
            is_full=full,
            max_lookups=self.max_lookups,
        )
