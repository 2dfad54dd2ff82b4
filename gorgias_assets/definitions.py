"""The wiring, and the only module that names environment variables. Loading it needs none of them and does no I/O."""

import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

import dagster as dg

from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.assets import build_assets
from gorgias_assets.checks.build import build_checks
from gorgias_assets.executors import executor_named
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.overview.asset import KEY as OVERVIEW
from gorgias_assets.overview.asset import build_overview
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import (
    daily_schedule,
    freshness_job,
    freshness_schedule,
    full_sweep_job,
    full_sweep_schedule,
    gorgias_job,
    late_after,
)
from gorgias_assets.sensors import changes_sensor, gaps_sensor

T = TypeVar("T")


def setting(name: str, default: str, read: Callable[[str], T], form: str) -> T:
    """An environment variable; set but empty, as in a copied `.env.example`, it counts as not set."""
    try:
        return read(os.environ.get(name) or default)
    except (ValueError, KeyError):
        raise ValueError(f"{name} is not {form}.") from None


def share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise ValueError
    return float(text)


def switch(text: str) -> bool:
    return {"on": True, "off": False}[text.lower()]


def days(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def minutes(text: str) -> timedelta:
    if not 1 <= float(text) <= 24 * 60:
        raise ValueError
    return timedelta(minutes=float(text))


def time_of_day(text: str) -> time:
    return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007, its zone is another setting


start_date = setting("GORGIAS_START_DATE", "2024-01-01", date.fromisoformat, "a date; set it to YYYY-MM-DD")
daily_at = setting("GORGIAS_DAILY_AT", "00:30", time_of_day, "a time of day; set it to HH:MM")
timezone = setting("GORGIAS_TIMEZONE", "UTC", ZoneInfo, "a time zone; set it to one such as Europe/Berlin")
changes_every = setting("GORGIAS_CHANGES_EVERY", "5", minutes, "a number of minutes; set it to 1 or more")
gaps_days = setting("GORGIAS_GAPS_DAYS", "30", days, "a number of days; set it to 1 or more")
max_share = setting("GORGIAS_MAX_SHARE", "0.8", share, "a share; set it to a number above 0 and up to 1")
seek = setting("GORGIAS_SEEK", "on", switch, "a switch; set it to on or off")
warehouse_uri = setting("WAREHOUSE_URI", "duckdb:///gorgias.duckdb", str, "text")
schema = setting("GORGIAS_SCHEMA", "", str, "text")
executor = setting(
    "GORGIAS_EXECUTOR", "processes", executor_named, "an executor; set it to processes, in_process or kubernetes"
)
reports = setting("GORGIAS_REPORTS", "reports", str, "text")
api_url = setting("GORGIAS_API_URL", "", str, "text")
alert_webhook_url = setting("ALERT_WEBHOOK_URL", "", str, "text")
alert_dagster_url = setting("ALERT_DAGSTER_URL", "http://localhost:3000", str, "text")

# For outages and crashed step processes. A retried run's step goes on where the last one stopped.
retry_policy = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
late = late_after(daily_at, timezone)

partitions = daily_partitions(start_date.isoformat())
alerts = [alert(alert_webhook_url, alert_dagster_url) for alert in (failure_alert, check_alert) if alert_webhook_url]

defs = dg.Definitions(
    assets=[
        *build_assets(start_date.isoformat(), retry_policy=retry_policy),
        build_overview(start_date.isoformat(), reports=reports, retry_policy=retry_policy),
    ],
    asset_checks=build_checks(start_date.isoformat(), late_after=late),
    jobs=[gorgias_job, full_sweep_job, freshness_job],
    schedules=[
        daily_schedule(daily_at, timezone, partitions, [OVERVIEW]),
        full_sweep_schedule(partitions),
        freshness_schedule(late),
    ],
    sensors=[changes_sensor(changes_every, partitions), gaps_sensor(gaps_days, late, partitions, [OVERVIEW]), *alerts],
    executor=executor,
    resources={
        "gorgias": GorgiasResource(
            uri=dg.EnvVar("GORGIAS_URI"), api_url=api_url or None, max_share=max_share, seek=seek
        ),
        "io_manager": io_manager_from_uri(warehouse_uri, schema or None),
    },
)
