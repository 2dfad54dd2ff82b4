"""The wiring, and the only module that names environment variables. Loading it needs none of them and does no I/O."""

import os
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import TypeVar

import dagster as dg

from gorgias_assets.assets import build_assets
from gorgias_assets.checks import HOURS_TO_READ, build_checks
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import (
    daily_schedule,
    freshness_job,
    freshness_schedule,
    full_sweep_job,
    full_sweep_schedule,
    gorgias_job,
)
from gorgias_assets.sensors import failure_alert

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


def time_of_day(text: str) -> time:
    return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007, a time has no zone here; it is in UTC


start_date = setting("GORGIAS_START_DATE", "2024-01-01", date.fromisoformat, "a date; set it to YYYY-MM-DD")
daily_at = setting("GORGIAS_DAILY_AT", "00:30", time_of_day, "a time of day; set it to HH:MM, in UTC")
max_share = setting("GORGIAS_MAX_SHARE", "0.8", share, "a share; set it to a number above 0 and up to 1")
seek = setting("GORGIAS_SEEK", "on", switch, "a switch; set it to on or off")
warehouse_uri = setting("WAREHOUSE_URI", "duckdb:///gorgias.duckdb", str, "text")
schema = setting("GORGIAS_SCHEMA", "", str, "text")
api_url = setting("GORGIAS_API_URL", "", str, "text")
alert_webhook_url = setting("ALERT_WEBHOOK_URL", "", str, "text")
alert_dagster_url = setting("ALERT_DAGSTER_URL", "http://localhost:3000", str, "text")

# For outages and crashed step processes. A retried run's step goes on where the last one stopped.
retry_policy = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
late_after = timedelta(hours=daily_at.hour, minutes=daily_at.minute) + HOURS_TO_READ

defs = dg.Definitions(
    assets=build_assets(start_date.isoformat(), retry_policy=retry_policy),
    asset_checks=build_checks(start_date.isoformat(), late_after=late_after),
    jobs=[gorgias_job, full_sweep_job, freshness_job],
    schedules=[
        daily_schedule(daily_at),
        full_sweep_schedule(daily_partitions(start_date.isoformat())),
        freshness_schedule(late_after),
    ],
    sensors=[failure_alert(alert_webhook_url, alert_dagster_url)] if alert_webhook_url else [],
    resources={
        "gorgias": GorgiasResource(
            uri=dg.EnvVar("GORGIAS_URI"), api_url=api_url or None, max_share=max_share, seek=seek
        ),
        "io_manager": io_manager_from_uri(warehouse_uri, schema or None),
    },
)
