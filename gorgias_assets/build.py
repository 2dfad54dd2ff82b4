"""The wiring: from settings and entities to definitions, for any number of accounts.

No module below has a list of entities of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, Unpack

import dagster as dg

from gorgias_assets.account import Account, Translation
from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.assets import build_assets
from gorgias_assets.automation import conditions_sensor, day_is_over
from gorgias_assets.checks.build import build_checks, freshness_keys
from gorgias_assets.entities.model import ByFilter, read_by
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.jobs import freshness_job, full_sweep_job, gorgias_job
from gorgias_assets.resources import resource_of
from gorgias_assets.schedules import daily_schedule, freshness_schedule, full_sweep_schedule, late_after
from gorgias_assets.selection import check_exceptions, chosen, chosen_statistics
from gorgias_assets.sensors import changes_sensor, gaps_sensor
from gorgias_assets.settings import Given, Settings
from gorgias_assets.statistics.build import statistics_assets, statistics_checks
from gorgias_assets.summaries import build_summaries
from gorgias_assets.views import view_specs

# For outages and crashed step processes. The next attempt of a step resumes where the last one stopped.
RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

Automation = Literal["schedule", "conditions", "none"]


def build_definitions(
    account: str = "gorgias",
    *,
    today: bool = True,
    automation: Automation = "schedule",
    table_names: Mapping[str, str] | None = None,
    translation: Translation | None = None,
    io_manager_key: str | None = None,
    **settings: Unpack[Given],
) -> dg.Definitions:
    """Return the assets, checks, jobs, schedules, sensors and resources of one account.

    All names are made of `account`, so that definitions of several accounts can be merged. Accounts of one warehouse
    have schemas of their own names, unless `table_schema` is set; rows of one account in the tables of another are
    refused before anything is read.

    - `today`: whether today is a partition, before it has ended.
    - `automation`: who requests the days that are over: a schedule and a sensor (`schedule`), an automation condition
      of each asset (`conditions`), or nobody (`none`).
    - `table_names`: names of tables that differ from those of their assets, by the name of the entity, view or metrics.
    - `translation`: changes the specification of an asset, given ours and the name of the entity, view or metrics.
    - `io_manager_key`: the IO manager's resource key, by default `<account>_io_manager`.
    - `settings`: fields of `Settings`, such as `uri`, `warehouse`, `start_date` and `entities`. No environment variable
      is read but `GORGIAS_URI`, or the one that `uri` names, when a run starts.

    `entities` takes declarations of your own as well as names.

    Raises ValueError, with one sentence, on an argument that cannot be used.
    """
    given = Settings.of(**settings)
    made_of = account_of(account, given, today, table_names, translation, io_manager_key)
    return definitions_of(made_of, given, automation)


def account_of(
    name: str,
    settings: Settings,
    today: bool,
    table_names: Mapping[str, str] | None,
    translation: Translation | None,
    io_manager_key: str | None,
) -> Account:
    """Return the account that the arguments of `build_definitions` are about. Raises ValueError."""
    entities, views, metrics = chosen(settings.entities)
    check_exceptions(settings.privacy, entities)
    return Account(
        entities,
        name,
        settings.start_date.isoformat(),
        io_manager_key or f"{name}_io_manager",
        today,
        table_names or {},
        translation or (lambda spec, _: spec),
        views=views,
        event_types=settings.event_types,
        statistics=chosen_statistics(settings.entities, [*entities, *metrics]),
        metrics=metrics,
        has_policy=bool(settings.privacy),
        reports=f"{settings.reports.rstrip('/')}/{name}",
    )


def definitions_of(account: Account, settings: Settings, automation: Automation = "schedule") -> dg.Definitions:
    """Return the definitions of an account. Raises `InvalidUri`."""
    io_manager: Any = io_manager_from_uri(
        settings.warehouse, settings.table_schema or None, default_schema=account.name
    )
    account = replace(account, place=io_manager.place())
    late = late_after(settings.daily_at, settings.timezone)
    summarized = [*_summaries(account, settings), *statistics_assets(account, RETRIES)]
    assets = [*build_assets(account, retry_policy=RETRIES, late_after=late), *summarized]
    if automation == "conditions":
        assets = [_with_condition(asset, account, settings) for asset in assets]
    made = dg.Definitions(
        assets=[*assets, *view_specs(account)],
        asset_checks=[*build_checks(account, late_after=late), *statistics_checks(account)],
        jobs=[gorgias_job(account), full_sweep_job(account), freshness_job(account, freshness_keys(account))],
        sensors=_alerts(account, settings),
        resources={account.name: resource_of(settings), account.io_manager_key: io_manager},
    )
    if automation == "none":
        return made
    summaries = [key for asset in summarized for key in asset.keys]
    return dg.Definitions.merge(
        made,
        _always(account, settings, late),
        _on_conditions(account, summaries)
        if automation == "conditions"
        else _on_schedule(account, settings, late, summaries),
    )


def _with_condition(asset: dg.AssetsDefinition, account: Account, settings: Settings) -> dg.AssetsDefinition:
    """Have days requested once they are over, unless the asset was given a condition of its own."""
    kept = {account.key_of(entity): entity.read.kept.days - 1 for entity in read_by(ByFilter, account.entities)}

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        condition = day_is_over(
            f"{settings.daily_at.minute} {settings.daily_at.hour} * * *",
            settings.timezone.key,
            horizon_days=min(settings.gaps_days, kept.get(spec.key, settings.gaps_days)),
        )
        return spec if spec.automation_condition else spec.replace_attributes(automation_condition=condition)

    return asset.map_asset_specs(with_condition)


def _always(account: Account, settings: Settings, late: timedelta) -> dg.Definitions:
    """Return what goes with either way of requesting the days that are over."""
    return dg.Definitions(
        schedules=[full_sweep_schedule(account), freshness_schedule(account, late)],
        sensors=[changes_sensor(account, settings.changes_every)] if account.today else [],
    )


def _on_schedule(
    account: Account, settings: Settings, late: timedelta, summaries: Sequence[dg.AssetKey]
) -> dg.Definitions:
    return dg.Definitions(
        schedules=[daily_schedule(account, settings.daily_at, settings.timezone, summaries)],
        sensors=[gaps_sensor(account, settings.gaps_days, late, summaries)],
    )


def _on_conditions(account: Account, summaries: Sequence[dg.AssetKey]) -> dg.Definitions:
    return dg.Definitions(sensors=[conditions_sensor(account, summaries)])


def _summaries(account: Account, settings: Settings) -> list[dg.AssetsDefinition]:
    return build_summaries(
        account,
        holidays=settings.holidays,
        fields=settings.metric_fields,
        retry_policy=RETRIES,
    )


def _alerts(account: Account, settings: Settings) -> list[dg.SensorDefinition]:
    url = settings.alert_webhook_url
    return [alert(account, url, settings.alert_dagster_url) for alert in (failure_alert, check_alert) if url]
