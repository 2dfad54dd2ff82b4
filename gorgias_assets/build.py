"""The wiring: from settings and entities to definitions, for any number of accounts.

No module below has a list of entities of its own.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.assets import build_assets
from gorgias_assets.checks.build import build_checks, freshness_keys
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.executors import executor_named
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.jobs import freshness_job, full_sweep_job, gorgias_job
from gorgias_assets.overview.asset import NEEDS, build_overview
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import daily_schedule, freshness_schedule, full_sweep_schedule, late_after
from gorgias_assets.sensors import changes_sensor, gaps_sensor
from gorgias_assets.settings import Settings

# For outages and crashed step processes. The next attempt of a step resumes where the last one stopped.
RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def build_definitions(
    settings: Settings,
    *,
    entities: Sequence[Entity[Any]] = ENTITIES,
    account: str = "gorgias",
    io_manager_key: str = "io_manager",
) -> dg.Definitions:
    """Return the assets, checks, jobs, schedules, sensors and resources of one account.

    All names are made of `account`, so that definitions of several accounts can be merged; each then needs an
    `io_manager_key` of its own. The overview is made if the entities that it needs are given. Raises `InvalidUri`.
    """
    made_of = build_account(settings, entities, account, io_manager_key)
    late = late_after(settings.daily_at, settings.timezone)
    overviews = _overviews(made_of, settings)
    summaries = [made_of.overview_key for _ in overviews]
    return dg.Definitions(
        assets=[*build_assets(made_of, retry_policy=RETRIES), *overviews],
        asset_checks=build_checks(made_of, late_after=late),
        jobs=[gorgias_job(made_of), full_sweep_job(made_of), freshness_job(made_of, freshness_keys(made_of))],
        schedules=[
            daily_schedule(made_of, settings.daily_at, settings.timezone, summaries),
            full_sweep_schedule(made_of),
            freshness_schedule(made_of, late),
        ],
        sensors=[
            changes_sensor(made_of, settings.changes_every),
            gaps_sensor(made_of, settings.gaps_days, late, summaries),
            *_alerts(made_of, settings),
        ],
        executor=executor_named(settings.executor),
        resources={
            account: GorgiasResource(
                uri=settings.gorgias_uri,
                api_url=settings.api_url or None,
                max_share=settings.max_share,
                seek=settings.seek,
            ),
            io_manager_key: io_manager_from_uri(settings.warehouse_uri, settings.table_schema or None),
        },
    )


def build_account(
    settings: Settings,
    entities: Sequence[Entity[Any]] = ENTITIES,
    account: str = "gorgias",
    io_manager_key: str = "io_manager",
) -> Account:
    """Return the account that all definitions of these arguments are made of."""
    return Account(entities, account, settings.start_date.isoformat(), io_manager_key)


def _overviews(account: Account, settings: Settings) -> list[dg.AssetsDefinition]:
    if not {entity.name for entity in account.entities}.issuperset(NEEDS):
        return []
    return [build_overview(account, reports=settings.reports, retry_policy=RETRIES)]


def _alerts(account: Account, settings: Settings) -> list[dg.SensorDefinition]:
    url = settings.alert_webhook_url
    return [alert(account, url, settings.alert_dagster_url) for alert in (failure_alert, check_alert) if url]
