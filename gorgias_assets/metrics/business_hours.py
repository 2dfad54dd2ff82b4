"""Business hours: the seconds between two moments in which the shop was open, by its own clock.

The hours are those of the account's setting `business-hours`: a time zone, and for days of the week, 1 being Monday,
when they begin and end. Hours that end at or before their begin end on the next day. They belong to the day on which
they begin, and are dropped if that is a holiday. An hour that daylight saving skips is no time, and one that it repeats
is two.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

DAY = timedelta(days=1)
_HOLIDAY = re.compile(r"(\d{4}-)?(\d{2}-\d{2})")
_LEAP_YEAR = "2024-"  # in which each day of the calendar exists

Moments = npt.NDArray[np.datetime64]


class Hours(NamedTuple):
    """Hours that begin on some days of the week, 1 being Monday."""

    weekdays: frozenset[int]
    begin: time
    end: time

    @property
    def days(self) -> timedelta:
        """Return how many days after its begin the day of the end is."""
        return DAY if self.end <= self.begin else timedelta(0)


@dataclass(frozen=True)
class BusinessHours:
    """When a shop is open. `holidays` are dates, `YYYY-MM-DD`, or `MM-DD` of every year, by the clock of the zone."""

    zone: ZoneInfo
    hours: Sequence[Hours]
    holidays: Collection[str] = ()

    @classmethod
    def of(cls, setting: Any, holidays: Collection[str] = ()) -> Self | None:
        """Return the hours of the setting's data; None if it has another shape than expected, or names no hours."""
        try:
            hours = [
                Hours(
                    frozenset(map(int, str(one["days"]).split(","))),
                    time.fromisoformat(one["from_time"]),
                    time.fromisoformat(one["to_time"]),
                )
                for one in setting["business_hours"]
            ]
            return cls(ZoneInfo(setting["timezone"]), hours, holidays) if hours else None
        except (KeyError, TypeError, ValueError, OSError):  # a zone that is unknown, or no name of one
            return None

    def seconds(self, begins: Moments, ends: Moments) -> npt.NDArray[np.float64]:
        """Return the open seconds between moments, in UTC and microseconds; NaN where one is missing."""
        begins, ends = (moments.astype("datetime64[us]") for moments in (begins, ends))
        known = ~(np.isnat(begins) | np.isnat(ends))
        found = np.full(len(begins), np.nan)
        if known.any():
            first, last = (int(moment.astype(np.int64)) for moment in (begins[known].min(), ends[known].max()))
            opened = self._opened(first, max(first, last))
            between = opened(ends[known]) - opened(begins[known])
            found[known] = between / 1_000_000
        return found

    def _opened(self, first: int, last: int) -> "_Opened":
        """Return the function of open microseconds up to a moment, for moments between these two."""
        windows: list[list[int]] = []
        for begin, end in sorted(self._windows(_day_of(first), _day_of(last))):
            if windows and begin <= windows[-1][1]:
                windows[-1][1] = max(windows[-1][1], end)
            else:
                windows.append([begin, end])
        bounds = np.array(windows, np.int64).reshape(-1, 2)
        return _Opened(bounds[:, 0], bounds[:, 1])

    def _windows(self, first: date, last: date) -> Iterator[tuple[int, int]]:
        """Yield the windows of the days from the one before `first` to the one after `last`, in microseconds of UTC."""
        for number in range(-2, (last - first).days + 2):
            day = first + number * DAY
            if self._is_holiday(day):
                continue
            for hours in self.hours:
                if day.isoweekday() in hours.weekdays:
                    begin = _instant(day, hours.begin, self.zone)
                    end = _instant(day + hours.days, hours.end, self.zone)
                    if begin < end:  # not so if daylight saving skips them
                        yield begin, end

    def _is_holiday(self, day: date) -> bool:
        return str(day) in self.holidays or f"{day:%m-%d}" in self.holidays


class _Opened:
    """The open microseconds up to a moment, given the windows that are open, in their order."""

    def __init__(self, begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
        self._begins, self._ends = begins, ends
        self._before = np.concatenate([[0], np.cumsum(ends - begins)])

    def __call__(self, moments: Moments) -> npt.NDArray[np.int64]:
        instants = moments.astype(np.int64)
        if not len(self._begins):
            return np.zeros(len(instants), np.int64)
        number = np.searchsorted(self._begins, instants, side="right")
        within = np.minimum(instants, self._ends[number - 1]) - self._begins[number - 1]
        return np.where(number > 0, self._before[number - 1] + within, 0)


def is_holiday(text: str) -> bool:
    """Return True for a date, `YYYY-MM-DD`, or a day of every year, `MM-DD`."""
    found = _HOLIDAY.fullmatch(text)
    try:
        return bool(found and date.fromisoformat(text if found[1] else f"{_LEAP_YEAR}{text}"))
    except ValueError:
        return False


def _instant(day: date, clock: time, zone: ZoneInfo) -> int:
    moment = datetime.combine(day, clock, zone).astimezone(UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _day_of(instant: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)).date()
