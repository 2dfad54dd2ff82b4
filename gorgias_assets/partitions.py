"""The partitions: UTC days, of which the last is today, or yesterday.

A range of partitions is named by its first and its last key, as in Dagster's tags.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise

import dagster as dg

from gorgias_assets.windows import Window

_DAY = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def daily_partitions(start_date: str, today: bool = True) -> dg.DailyPartitionsDefinition:
    """Return the UTC days from `start_date` (`YYYY-MM-DD`), with `today`, before it has ended, or without."""
    return dg.DailyPartitionsDefinition(start_date=start_date, timezone="UTC", end_offset=int(today))


def window_of(partitions: dg.TimeWindowPartitionsDefinition, key: str) -> Window:
    return Window.of(*partitions.time_window_for_partition_key(key))


def ended(partitions: dg.DailyPartitionsDefinition, at: datetime) -> list[str]:
    """Return the keys of the days that have ended by then, oldest first."""
    keys = list(partitions.get_partition_keys(current_time=at))
    while keys and window_of(partitions, keys[-1]).end > at:
        keys.pop()
    return keys


def ranges(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Join consecutive days to ranges; return the first and the last day of each, oldest first."""
    days = sorted(set(map(date.fromisoformat, keys)))
    breaks = [0, *(n for n, (day, after) in enumerate(pairwise(days), 1) if after - day > timedelta(days=1)), len(days)]
    return [(str(days[begin]), str(days[end - 1])) for begin, end in pairwise(breaks) if end > begin]


def tags_of_days(first: str, last: str) -> dict[str, str]:
    """Return the tags of one run of the partitions from `first` to `last`."""
    return {_DAY: first} if first == last else {_FIRST: first, _LAST: last}


def days_of_run(tags: Mapping[str, str]) -> tuple[str, str] | tuple[()]:
    """Return the first and the last partition of a run by its tags; nothing if it has none."""
    if _FIRST in tags:
        return tags[_FIRST], tags[_LAST]
    return (tags[_DAY], tags[_DAY]) if _DAY in tags else ()
