"""The wiring, and the only module that names environment variables. Loading it needs none of them and does no I/O."""

import os
from datetime import date, time

import dagster as dg

from gorgias_assets.assets import build_assets
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import daily_schedule, gorgias_job


def _setting(name: str, default: str) -> str:
    """An environment variable; set but empty, as in a copied `.env.example`, it counts as not set."""
    return os.environ.get(name) or default


def _start_date() -> str:
    value = _setting("GORGIAS_START_DATE", "2024-01-01")
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("GORGIAS_START_DATE is not a date; set it to YYYY-MM-DD.") from None


def _daily_at() -> time:
    value = _setting("GORGIAS_DAILY_AT", "00:30")
    try:
        return time.fromisoformat(value)
    except ValueError:
        raise ValueError("GORGIAS_DAILY_AT is not a time of day; set it to HH:MM, in UTC.") from None


def _max_share() -> float:
    value = _setting("GORGIAS_MAX_SHARE", "0.8")
    try:
        return float(value)
    except ValueError:
        raise ValueError("GORGIAS_MAX_SHARE is not a number; set it to a share above 0 and up to 1.") from None


defs = dg.Definitions(
    assets=build_assets(_start_date()),
    jobs=[gorgias_job],
    schedules=[daily_schedule(_daily_at())],
    resources={
        "gorgias": GorgiasResource(
            uri=dg.EnvVar("GORGIAS_URI"), api_url=os.environ.get("GORGIAS_API_URL") or None, max_share=_max_share()
        ),
        "io_manager": io_manager_from_uri(
            _setting("WAREHOUSE_URI", "duckdb:///gorgias.duckdb"), _setting("GORGIAS_SCHEMA", "gorgias")
        ),
    },
)
