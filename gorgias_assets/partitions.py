"""The partitions: UTC days, of which the last is today, or yesterday.

A run of many days has the newest one as its partition, and a tag that names the first one. Dagster writes an event for
each partition of a run before the run begins, and ten years of days of five assets would take it minutes. The other
days are recorded at the end (`recording.py`). Runs of a range of partitions, which Dagster's own backfills request,
work as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

import dagster as dg

from gorgias_assets.windows import Window

_DAY = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

FIRST_DAY = "gorgias/first_day"
"""The tag of a run that reads all days from this one to its partition, and records them as materialized."""

ROWS_FROM = "gorgias/rows_from"
"""The tag of a run that reads all days from this one to its partition, and records its partition alone."""


def daily_partitions(start_date: str, today: bool = True) -> dg.DailyPartitionsDefinition:
    """Return the UTC days from `start_date` (`YYYY-MM-DD`), with `today`, before it has ended, or without."""
    return dg.DailyPartitionsDefinition(start_date=start_date, timezone="UTC", end_offset=int(today))


def window_of(partitions: dg.TimeWindowPartitionsDefinition, key: str) -> Window:
    return Window.of(*partitions.time_window_for_partition_key(key))


def window_of_days(partitions: dg.TimeWindowPartitionsDefinition, keys: Sequence[str]) -> Window:
    """Return the window of consecutive partitions, oldest first."""
    return Window(window_of(partitions, keys[0]).start, window_of(partitions, keys[-1]).end)


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
    return {_DAY: last} | tags_of_older_days(first, last)


def tags_of_older_days(first: str, last: str, tag: str = FIRST_DAY) -> dict[str, str]:
    """Return the tag of a run of the partition `last` that reads from `first` on; none if that is the same day."""
    return {tag: first} if first != last else {}


def days_of_run(tags: Mapping[str, str]) -> tuple[str, str] | tuple[()]:
    """Return the first and the last day that a run records, by its tags; nothing if it has none."""
    if _FIRST in tags:
        return tags[_FIRST], tags[_LAST]
    return (tags.get(FIRST_DAY, tags[_DAY]), tags[_DAY]) if _DAY in tags else ()


def days_read(partitions: dg.TimeWindowPartitionsDefinition, keys: Sequence[str], tags: Mapping[str, str]) -> list[str]:
    """Return the days that a run reads, oldest first, by its partitions `keys` and its tags. Raises `dg.Failure`."""
    return _days_from(partitions, keys, [tags[tag] for tag in (FIRST_DAY, ROWS_FROM) if tag in tags])


def days_recorded(
    partitions: dg.TimeWindowPartitionsDefinition, keys: Sequence[str], tags: Mapping[str, str]
) -> list[str]:
    """Return the days that a run records, oldest first, by its partitions `keys` and its tags. Raises `dg.Failure`."""
    return _days_from(partitions, keys, [tags[tag] for tag in (FIRST_DAY,) if tag in tags])


def _days_from(partitions: dg.TimeWindowPartitionsDefinition, keys: Sequence[str], firsts: Sequence[str]) -> list[str]:
    if not firsts:
        return list(keys)
    first, last = min(firsts), max(keys)
    if not partitions.has_partition_key(first) or first > last:
        raise dg.Failure(
            f"The run's tag names {first!r} as its first day; name one from {partitions.get_first_partition_key()} to "
            f"{last}, its partition.",
            allow_retries=False,
        )
    return list(partitions.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
