"""The job that materialises the assets, and the schedule that does so every day for the day before."""

from datetime import time
from typing import Any

import dagster as dg

from gorgias_assets.assets import GROUP

gorgias_job = dg.define_asset_job(
    "gorgias", selection=dg.AssetSelection.groups(GROUP), description="Reads days of all entities from Gorgias."
)


def daily_schedule(at: time) -> Any:
    """Every day `at` this time (UTC), the partition of the day before. It runs as soon as it is deployed."""
    return dg.build_schedule_from_partitioned_job(
        gorgias_job,
        name="gorgias_daily",
        description=f"Every day at {at:%H:%M} UTC, the day before.",
        hour_of_day=at.hour,
        minute_of_hour=at.minute,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
