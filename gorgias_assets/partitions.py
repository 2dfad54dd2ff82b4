"""The partitions: UTC days, of which the last is today."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise

import dagster as dg

_DAY = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def daily_partitions(start_date: str) -> dg.DailyPartitionsDefinition:
    """Days in UTC from `start_date` (`YYYY-MM-DD`) to today, which is a partition before it has ended."""
    return dg.DailyPartitionsDefinition(start_date=start_date, timezone="UTC", end_offset=1)


def ended(partitions: dg.DailyPartitionsDefinition, at: datetime) -> list[str]:
    """The keys of the days that have ended by then, oldest first."""
    keys = list(partitions.get_partition_keys(current_time=at))
    while keys and partitions.time_window_for_partition_key(keys[-1]).end > at:
        keys.pop()
    return keys


def ranges(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Days as ranges without a day between that is not among them: the first and the last of each, oldest first."""
    days = sorted(set(map(date.fromisoformat, keys)))
    breaks = [0, *(n for n, (day, after) in enumerate(pairwise(days), 1) if after - day > timedelta(days=1)), len(days)]
    return [(str(days[begin]), str(days[end - 1])) for begin, end in pairwise(breaks) if end > begin]


def tags_of_days(first: str, last: str) -> dict[str, str]:
    """The tags of one run of the partitions from `first` to `last`."""
    return {_DAY: first} if first == last else {_FIRST: first, _LAST: last}


def days_of_run(tags: Mapping[str, str]) -> tuple[str, str] | tuple[()]:
    """The first and the last partition of a run by its tags; nothing where it has none."""
    if _FIRST in tags:
        return tags[_FIRST], tags[_LAST]
    return (tags[_DAY], tags[_DAY]) if _DAY in tags else ()
