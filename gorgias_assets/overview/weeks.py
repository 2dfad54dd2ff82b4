"""The numbers of the report: weeks from Monday to Sunday (UTC) and their days, of the whole helpdesk and each slice.

A median of a week is that of its facts, not one of daily medians. Facts of days that are not known do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from gorgias_assets.display import shown
from gorgias_assets.overview.facts import Facts
from gorgias_assets.overview.measures import COUNTS, DIMENSIONS, MEASURES, Measure, measured
from gorgias_assets.windows import Window

MOST = 13  # a quarter of a year
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
EVERYTHING = "Whole helpdesk"

# Counted at the day's end. A week has what its last known day has, and slices within slices are not counted.
STATES = ("open_tickets", "waiting_for_agent", "waiting_for_customer")
PLACES = {"count": 0, "duration": 0, "share": 4, "average": 4}

Numbers = npt.NDArray[np.float64]


def kind_of(measure: Measure) -> str:
    if measure.is_duration:
        return "duration"
    return "share" if measure.is_share else "count" if measure.name in COUNTS else "average"


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
    def of(cls, facts: Facts, names: dict[str, str], days: pd.DatetimeIndex, known: pd.Index) -> "Weeks":
        """Return the weeks of `days`, a window of `weeks_until`. Only those in `known`, one at least, count."""
        known = days[days.isin(known)]
        first = known[0] - timedelta(days=known[0].weekday())
        number = (known[-1] - first).days // 7 + 1
        every_day = pd.date_range(first, periods=7 * number, freq="D", unit="us")
        facts = _numbered(facts.on(known), first)
        by_day = {name: measured(facts, ["place", name]) for name in DIMENSIONS}
        by_week = {name: measured(facts, ["week", name]) for name in DIMENSIONS}
        slices = [Slice("all", "all", EVERYTHING)]
        for dimension in DIMENSIONS[1:]:
            keys = by_week[dimension].index.unique(dimension)
            labels = {key: shown(names.get(key, key) if dimension == "agent" else key) for key in keys}
            in_order = sorted(labels.items(), key=lambda one: (one[1].casefold(), one[0]))
            slices += [Slice(dimension, key, label) for key, label in in_order]
        places = {(one.dimension, one.key): place for place, one in enumerate(slices)}
        is_known = np.array(every_day.isin(known))
        daily = _spread(by_day, places, is_known)
        weekly = _spread(by_week, places, np.array(is_known.reshape(number, 7).any(axis=1)))
        for state in (place for place, measure in enumerate(MEASURES) if measure.name in STATES):
            for week in range(number):
                inside = np.flatnonzero(is_known[7 * week : 7 * week + 7])
                weekly[:, week, state] = daily[:, 7 * week + inside[-1], state] if len(inside) else np.nan
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
        if kind_of(MEASURES[measure]) != "count" or MEASURES[measure].name in STATES:
            return self.weekly[:, week, measure], self.weekly[:, week - 1, measure]
        counted = self.daily[:, :, measure].reshape(len(self.slices), -1, 7)[:, :, both].sum(axis=2)
        return counted[:, week], counted[:, week - 1]


def _numbered(facts: Facts, first: datetime) -> Facts:
    """Add the places of the day and of its week among those from the first day on."""

    def numbered(frame: pd.DataFrame) -> pd.DataFrame:
        place = (frame["day"] - first).dt.days
        return frame.assign(place=place, week=place // 7)

    return replace(facts, **{field.name: numbered(getattr(facts, field.name)) for field in fields(facts)})


def _spread(rows: dict[str, pd.DataFrame], places: dict[tuple[str, str], int], known: npt.NDArray[np.bool_]) -> Numbers:
    """Return the measures by slice and time. If nothing happened in a known time, counts are zero."""
    spread = np.full((len(places), len(known), len(MEASURES)), np.nan)
    for place, measure in enumerate(MEASURES):
        if measure.name in COUNTS:
            spread[:, known, place] = 0
    for dimension, frame in rows.items():
        times, keys = frame.index.get_level_values(0), frame.index.get_level_values(1)
        spread[[places[dimension, key] for key in keys], times.astype(int)] = _rounded(frame)
    return spread


def _shared(facts: Facts, places: dict[tuple[str, str], int]) -> Numbers:
    parts = [np.empty((0, 3 + len(MEASURES)))]
    states = [measure.name in STATES for measure in MEASURES]
    for pair in combinations(DIMENSIONS[1:], 2):
        frame = measured(facts, ["week", *pair])
        values = np.where(states, np.nan, _rounded(frame))
        index = [(week, places[pair[0], one], places[pair[1], other]) for week, one, other in frame.index]
        if index:
            parts.append(np.hstack([np.array(index, float), values]))
    return np.vstack(parts)


def _rounded(frame: pd.DataFrame) -> Numbers:
    rounded = [frame[measure.name].astype(float).round(PLACES[kind_of(measure)]) for measure in MEASURES]
    return np.column_stack(rounded)
