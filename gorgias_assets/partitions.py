"""The partitions: UTC days."""

import dagster as dg


def daily_partitions(start_date: str) -> dg.DailyPartitionsDefinition:
    """Days in UTC from `start_date` (`YYYY-MM-DD`) to yesterday; a day becomes a partition when it has ended."""
    return dg.DailyPartitionsDefinition(start_date=start_date, timezone="UTC")
