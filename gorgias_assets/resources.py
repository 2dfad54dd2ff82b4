"""The Gorgias account as a Dagster resource."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import dagster as dg
from pydantic import Field, field_validator

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient, GorgiasError, Unavailable
from gorgias_assets.api.uri import EXPECTED_FORM, GorgiasUri, InvalidUri
from gorgias_assets.entities.model import ByDate, ByFilter, Entity, Unordered, Whole
from gorgias_assets.privacy.door import Door
from gorgias_assets.privacy.policy import VARIABLE, Policy, PrivacyError, PrivacyKey, Screen, key_of
from gorgias_assets.settings import Settings
from gorgias_assets.sweeps.batches import Expects
from gorgias_assets.sweeps.filtered import Filtered
from gorgias_assets.sweeps.heads import Head, head_of
from gorgias_assets.sweeps.snapshot import Snapshot
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets.sweeps.unordered import UnorderedSweep
from gorgias_assets.windows import Window

_TEN_YEARS = 3_650  # days
_TICK_PATIENCE_SECONDS = 10  # Dagster gives a tick a minute


class GorgiasResource(dg.ConfigurableResource[Any]):
    """One Gorgias account.

    `uri` and `privacy_key` are strings or `EnvVar`s. They are resource dependencies and no config fields: no snapshot,
    page or event of Dagster's has their keys, in either form.
    """

    uri: dg.ResourceDependency[str]
    privacy_key: dg.ResourceDependency[str] = None  # type: ignore[assignment]  # Dagster types no default
    api_url: str | None = Field(
        default=None,
        description="Base URL of the API, instead of https://<domain>.gorgias.com/api; for a simulated account.",
    )
    max_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the account's API calls to use; the rest is left to other integrations.",
    )
    patience_minutes: float = Field(
        default=10, gt=0, description="Minutes without a usable answer to a request after which the run fails."
    )
    seek: bool = Field(
        default=True,
        description="Reach old days without reading what is newer. Every seek is verified, and if Gorgias rejects it "
        "the list is paged from its newest row. Off: never seek.",
    )
    bodies_kept_days: int | None = Field(
        default=None,
        ge=1,
        description="Age of a row in days from which on its texts are dropped, and not stored again; by default never.",
    )
    max_lookups: int = Field(
        default=500,
        ge=0,
        description="Number of rows missing from a list that a run requests one by one, or the number of calls that "
        "its reading took if that is more. The others wait for the next run.",
    )
    look_back_days: dict[str, int] = Field(
        default_factory=dict,
        description="Days before a partition in which rows touched in it may have been created, by entity, if that "
        "differs from the default that the entity declares.",
    )

    privacy: dict[str, str] = Field(
        default_factory=dict,
        description="What becomes of each kind of personal data before it is stored: keep, drop, hash or last4.",
    )

    @field_validator("privacy")
    @classmethod
    def _check_privacy(cls, privacy: dict[str, str]) -> dict[str, str]:
        try:
            Policy.of(privacy)
        except (KeyError, ValueError):
            raise ValueError("privacy must be kinds of personal data, each with keep, drop, hash or last4.") from None
        return privacy

    @field_validator("look_back_days")
    @classmethod
    def _check_look_back_days(cls, days: dict[str, int]) -> dict[str, int]:
        if not all(0 <= number <= _TEN_YEARS for number in days.values()):
            raise ValueError(f"look_back_days must be 0 to {_TEN_YEARS} days for each entity.")
        return days

    def check_names(self, entities: Sequence[Entity[ByDate]]) -> None:
        """Raise `dg.Failure` if a look-back is set for none of these entities, as by a slip of the pen."""
        names = sorted(entity.name for entity in entities)
        if unknown := sorted(self.look_back_days.keys() - names):
            raise dg.Failure(
                f"look_back_days names {', '.join(unknown)}; the entities are {', '.join(names)}.", allow_retries=False
            )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if name not in ("uri", "privacy_key"))

    def account(self) -> GorgiasUri:
        """Return the account's parsed URI. Raises `InvalidUri`."""
        if isinstance(self.uri, dg.EnvVar):
            uri = self.uri.get_value()
            if not uri:
                raise InvalidUri(f"The environment variable {self.uri.env_var_name} is not set; set {EXPECTED_FORM}.")
            return GorgiasUri.parse(uri)
        return GorgiasUri.parse(self.uri)

    def client(self, patience_seconds: float | None = None, budget: Budget | None = None) -> GorgiasClient:
        """Return a client, to be closed after use; it shares `budget`, or has its own. Raises `InvalidUri`."""
        return GorgiasClient(
            self.account(),
            api_url=self.api_url,
            budget=budget or Budget(self.max_share),
            patience=patience_seconds or self.patience_minutes * 60,
        )

    def newest(self, entity: Entity[ByDate]) -> Head | None:
        """Return the head of the entity's list, in one call if it is an ordinary row; None without a row.

        Raises `GorgiasError` and `InvalidUri`.
        """
        with closing(self._impatient_client()) as client:
            return head_of(client, entity, self.seek)

    def probe(self, budget: Budget | None = None) -> timedelta:
        """Learn if Gorgias answers, and how full its bucket is; return how far this machine's clock is ahead of its.

        Raises `GorgiasError` and `InvalidUri`. A refusal is an answer.
        """
        with closing(self._impatient_client(budget)) as client:
            client.ping()
            return client.gorgias_clock.machine_ahead

    def outage(self) -> str | None:
        """Return why Gorgias cannot be reached now, in a sentence; None if it answers anything below status 500."""
        try:
            self.probe()
        except Unavailable as error:
            return error.reason
        except (GorgiasError, InvalidUri):
            pass  # a run reports what to do
        return None

    def sweep(
        self,
        entity: Entity[ByDate],
        start: datetime,
        end: datetime,
        *,
        full: bool = False,
        look_back: bool = True,
        owned: Mapping[str, str] = MappingProxyType({}),
        events: str = "",
        account_changed: bool = False,
        believe_absence: bool = False,
        rewrite: bool = False,
    ) -> Sweep:
        """Return a sweep of the rows touched in `[start, end)`, two aware datetimes; nothing is read yet.

        `account_changed`, `believe_absence` and `rewrite` are those of `Expects`. A full sweep reads the whole list,
        and so refreshes every stored row. A sweep that does not look back leaves out rows that were touched in the
        window and created before it, and rows that are gone, and so never counts as complete. If this machine's clock
        shows that the window is over, it is looked back from all the same, to be complete.
        """
        connect, door = self._connect(), self._door()
        days = self.look_back_days.get(entity.name)
        whole = entity.read.look_back if days is None else timedelta(days=days)
        looks_back = look_back or end <= datetime.now(UTC)
        return Sweep(
            entity,
            Window.of(start, end),
            connect,
            look_back=whole if looks_back else timedelta(0),
            can_seek=self.seek,
            is_full=full,
            is_part=not looks_back,
            max_lookups=self.max_lookups,
            owned=owned,
            events=events,
            expects=Expects(self.account().domain, account_changed, believe_absence, rewrite),
        ).behind(door)

    def snapshot(
        self,
        entity: Entity[Whole],
        *,
        owned: Mapping[str, str] = MappingProxyType({}),
        account_changed: bool = False,
        believe_absence: bool = False,
        rewrite: bool = False,
    ) -> Snapshot:
        """Return a snapshot of the entity's whole list; nothing is read yet."""
        connect, door = self._connect(), self._door()
        expects = Expects(self.account().domain, account_changed, believe_absence, rewrite)
        snapshot = Snapshot(entity, connect, max_lookups=self.max_lookups, owned=owned, expects=expects)
        return snapshot.behind(door)

    def filtered(
        self,
        entity: Entity[ByFilter],
        start: datetime,
        end: datetime,
        *,
        types: Sequence[str] = (),
        owned: Mapping[str, str] = MappingProxyType({}),
        account_changed: bool = False,
        believe_absence: bool = False,
        rewrite: bool = False,
    ) -> Filtered:
        """Return a reading of the rows created in `[start, end)`, of some types or of all; nothing is read yet."""
        connect, door = self._connect(), self._door()
        expects = Expects(self.account().domain, account_changed, believe_absence, rewrite)
        reading = Filtered(entity, Window.of(start, end), connect, types=types, owned=owned, expects=expects)
        return reading.behind(door)

    def unordered(
        self,
        entity: Entity[Unordered],
        start: datetime,
        end: datetime,
        *,
        full: bool = False,
        owned: Mapping[str, str] = MappingProxyType({}),
        account_changed: bool = False,
        believe_absence: bool = False,
        rewrite: bool = False,
    ) -> UnorderedSweep:
        """Return a sweep of the rows created in `[start, end)`; nothing is read yet.

        A full sweep reads the whole list, and so refreshes every stored row.
        """
        connect, door = self._connect(), self._door()
        expects = Expects(self.account().domain, account_changed, believe_absence, rewrite)
        sweep = UnorderedSweep(entity, Window.of(start, end), connect, is_full=full, owned=owned, expects=expects)
        return sweep.behind(door)

    def door(self) -> Door:
        """Return the rules that rows pass before they are stored. Raises `PrivacyError` without a key they need."""
        policy, key = Policy.of(self.privacy), self.privacy_key
        variable = key.env_var_name if isinstance(key, dg.EnvVar) else VARIABLE
        secret = (key.get_value() if isinstance(key, dg.EnvVar) else key) or ""
        screen = Screen(policy, key_of(policy, secret, variable)) if policy else None
        try:
            of_list = PrivacyKey(secret.strip(), variable) if secret.strip() else None
        except ValueError as error:
            raise PrivacyError(str(error)) from None
        return Door(screen, of_list, self.bodies_kept_days)

    def _door(self) -> Door:
        try:
            return self.door()
        except PrivacyError as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    def _impatient_client(self, budget: Budget | None = None) -> GorgiasClient:
        return self.client(min(_TICK_PATIENCE_SECONDS, self.patience_minutes * 60), budget)

    def _connect(self) -> Callable[[], GorgiasClient]:
        """Return a maker of clients that share a budget. A wrong URI or URL fails here, not in a reader's thread."""
        try:
            connect = partial(self.client, budget=Budget(self.max_share))
            connect().close()
        except InvalidUri as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return connect


def resource_of(settings: Settings, uri: str = "") -> GorgiasResource:
    """Return the resource of the settings, of their URI or another one."""
    return GorgiasResource(
        uri=uri or settings.uri,
        privacy_key=settings.privacy_key,
        api_url=settings.api_url or None,
        max_share=settings.max_share,
        seek=settings.seek,
        privacy=settings.privacy,
        bodies_kept_days=settings.bodies_kept_days,
    )
