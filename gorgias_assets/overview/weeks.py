"""The numbers of the report: weeks from Monday to Sunday (UTC) and their days, of the whole helpdesk and each slice.

A median of a week is that of its facts, not one of daily medians. Facts of days that are not known do not count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from gorgias_assets.display import shown
from gorgias_assets.overview.facts import Facts, Names
from gorgias_assets.overview.measures import DIMENSIONS, MEASURES, Measure, measured
from gorgias_assets.windows import Window

MOST = 13  # a quarter of a year
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
EVERYTHING = "Whole helpdesk"

PLACES = {"count": 0, "duration": 0, "share": 4, "average": 4}

Numbers = npt.NDArray[np.float64]


def kind_of(measure: Measure) -> str:
    if measure.is_duration:
        return "duration"
    return "share" if measure.is_share else "count" if measure.is_count else "average"


def weeks_until(end: datetime) -> Window:
    """Return the window of the report's weeks. It ends where the last day does, which need not be a Sunday."""
    last = end - DAY
    return Window(last - timedelta(days=last.weekday()) - (MOST - 1) * WEEK, end)


@dataclass(frozen=True)
class Slice:
    dimension: str
    key: str
    label: str


@dataclass(frozen=True)
class Weeks:
    """Consecutive weeks, the first and the last with known days.

    - `days`: all of them, of whole weeks; `known`: for each, if it is known.
    - `slices`: the whole helpdesk, then those of each dimension by their labels.
    - `daily`, `weekly`: by slice, day or week, and measure; NaN for no value. Numbers are rounded to what is shown.
    - `shared`: a row for each week and two slices, of two dimensions, that have a fact in common: the week, the places
      of the two, and each measure.
    """

    days: pd.DatetimeIndex
    known: npt.NDArray[np.bool_]
    slices: Sequence[Slice]
    daily: Numbers
    weekly: Numbers
    shared: Numbers

    @classmethod
    def of(cls, facts: Facts, names: Names, days: pd.DatetimeIndex, known: pd.Index) -> "Weeks":
        """Return the weeks of `days`, a window of `weeks_until`. Only those in `known`, one at least, count."""
        known = days[days.isin(known)]
        first = known[0] - timedelta(days=known[0].weekday())
        number = (known[-1] - first).days // 7 + 1
        every_day = pd.date_range(first, periods=7 * number, freq="D", unit="us")
        is_known = np.array(every_day.isin(known))

        def place_of(day: pd.Timestamp) -> int:
            return (day - first).days

        facts = _changed(facts.on(known), lambda frame: frame.assign(week=(frame["day"] - first).dt.days // 7))
        by_day = {name: measured(facts, ["day", name]).rename(index=place_of, level=0) for name in DIMENSIONS}
        by_week = {name: measured(facts, ["week", name]) for name in DIMENSIONS}
        slices = [Slice("all", "all", EVERYTHING)]
        for dimension in DIMENSIONS[1:]:
            keys = {*by_week[dimension].index.unique(dimension), *by_day[dimension].index.unique(dimension)}
            labels = {key: shown(names.get(dimension, {}).get(key, key)) for key in keys}
            in_order = sorted(labels.items(), key=lambda one: (one[1].casefold(), one[0]))
            slices += [Slice(dimension, key, label) for key, label in in_order]
        places = {(one.dimension, one.key): place for place, one in enumerate(slices)}
        daily = _spread(by_day, places, is_known)
        weekly = _spread(by_week, places, np.array(is_known.reshape(number, 7).any(axis=1)))
        return cls(every_day, is_known, slices, daily, weekly, _shared(facts, places))

    @property
    def known_days(self) -> list[int]:
        """The number of known days of each week."""
        return [int(number) for number in self.known.reshape(-1, 7).sum(axis=1)]

    @property
    def first_choice(self) -> int:
        """The newest complete week; without any, the newest."""
        return max((week for week, days in enumerate(self.known_days) if days == 7), default=len(self.known_days) - 1)

    def title(self, week: int) -> str:
        first, last = self.days[7 * week], self.days[7 * week + 6]
        if first.year != last.year:
            return f"{first:%-d %B %Y} to {last:%-d %B %Y}"
        return f"{first:{'%-d' if first.month == last.month else '%-d %B'}} to {last:%-d %B %Y}"

    def state(self, week: int) -> str:
        """Return a word on the week's days if some of them are not known."""
        known = self.known_days[week]
        is_over = self.known[7 * week + 6 :].any()
        return "" if known == 7 else f"{'' if is_over else 'unfinished, '}{known} of 7 days"

    def of_week(self, week: int, dimension: str) -> list[tuple[int, Numbers]]:
        """Return the places and measures of the slices of a dimension that have something to show in the week."""
        places = [place for place, one in enumerate(self.slices) if one.dimension == dimension]
        return [(place, self.weekly[place, week]) for place in places if np.nansum(self.weekly[place, week])]

    def before(self, week: int, measure: int) -> tuple[Numbers, Numbers] | None:
        """Return for each slice a measure of the week, and of the week before; None if that is not known.

        Counts are those of the days of the week that are known in both weeks.
        """
        if not week:
            return None
        known = self.known.reshape(-1, 7)
        both = known[week] & known[week - 1]
        if not both.any():
            return None
        if kind_of(MEASURES[measure]) != "count" or MEASURES[measure].is_end:
            return self.weekly[:, week, measure], self.weekly[:, week - 1, measure]
        counted = self.daily[:, :, measure].reshape(len(self.slices), -1, 7)[:, :, both].sum(axis=2)
        return counted[:, week], counted[:, week - 1]


def _changed(facts: Facts, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Facts:
    return replace(facts, **{field.name: change(getattr(facts, field.name)) for field in fields(facts)})


def _spread(rows: dict[str, pd.DataFrame], places: dict[tuple[str, str], int], known: npt.NDArray[np.bool_]) -> Numbers:
    """Return the measures by slice and time. If nothing happened in a known time, counts are zero."""
    spread = np.full((len(places), len(known), len(MEASURES)), np.nan)
    for dimension in DIMENSIONS:  # the whole helpdesk is the first
        frame = rows[dimension]
        slices = [place for (of, _), place in places.items() if of == dimension]
        for place, measure in enumerate(MEASURES):
            if measure.is_count:
                is_told = ~np.isnan(spread[0, :, place]) if measure.is_backlog else known
                spread[np.ix_(np.array(slices, int), np.flatnonzero(is_told), np.array([place]))] = 0
        times, keys = frame.index.get_level_values(0), frame.index.get_level_values(1)
        spread[[places[dimension, key] for key in keys], times.astype(int)] = _rounded(frame)
    return spread


def _shared(facts: Facts, places: dict[tuple[str, str], int]) -> Numbers:
    """Return what two slices have in common. The backlog does not tell it."""
    parts = [np.empty((0, 3 + len(MEASURES)))]
    is_backlog = [measure.is_backlog for measure in MEASURES]
    for one, other in combinations(DIMENSIONS[1:], 2):

        def paired(frame: pd.DataFrame, one: str = one, other: str = other) -> pd.DataFrame:
            if not {one, other} <= {*frame.columns}:
                return frame.assign(pair=np.nan)
            first, second = (
                frame[name].map({key: place for (of, key), place in places.items() if of == name}).astype(float)
                for name in (one, other)
            )
            return frame.assign(pair=first * len(places) + second)

        frame = measured(_changed(facts, paired), ["week", "pair"])
        weeks, pairs = (frame.index.get_level_values(level).to_numpy(float) for level in (0, 1))
        values = np.where(is_backlog, np.nan, _rounded(frame))
        parts.append(np.column_stack([weeks, pairs // len(places), pairs % len(places), values]))
    return np.vstack(parts)


def _rounded(frame: pd.DataFrame) -> Numbers:
    rounded = [frame[measure.name].astype(float).round(PLACES[kind_of(measure)]) for measure in MEASURES]
    return np.column_stack(rounded)
