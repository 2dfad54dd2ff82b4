"""The period that a picture and a report show, and the form of its numbers."""

from dataclasses import dataclass
from math import isnan

import pandas as pd

from gorgias_assets.display import shown
from gorgias_assets.overview.facts import Facts, Names
from gorgias_assets.overview.measures import COUNTS, Measure, measured

NOTHING = "–"  # noqa: RUF001, the sign of tables for no value


@dataclass(frozen=True)
class Period:
    """Consecutive days, the first of them known; only the known ones count.

    - `days`: all of them; `daily`: the measures of each, null if the day is not known.
    - `total`: the measures of the known days together.
    - `channels`, `agents`: the same by slice, with a `label`, busiest first.
    """

    days: pd.DatetimeIndex
    daily: pd.DataFrame
    total: pd.Series
    channels: pd.DataFrame
    agents: pd.DataFrame

    @classmethod
    def of(cls, facts: Facts, names: Names, days: pd.DatetimeIndex, known: pd.Index) -> "Period":
        known = days[days.isin(known)]
        days = days[days >= known.min()]
        facts = facts.on(known)
        agents = measured(facts, ["agent"])
        channels = measured(facts, ["channel"])
        return cls(
            days,
            measured(facts, ["day"], known).reindex(days),
            measured(facts, ["all"], pd.Index(["all"])).iloc[0],
            channels.assign(label=[shown(channel) for channel in channels.index]).sort_values(
                "tickets_created", ascending=False
            ),
            agents.assign(label=[shown(names["agent"].get(agent, agent)) for agent in agents.index]).sort_values(
                "tickets_closed", ascending=False
            ),
        )

    @property
    def title(self) -> str:
        first, last = self.days[0], self.days[-1]
        return f"{first:%-d %B}{f' {first:%Y}' if first.year != last.year else ''} to {last:%-d %B %Y}"

    @property
    def missing(self) -> int:
        """The number of days that are not known."""
        return int(self.daily["tickets_created"].isna().sum())


def weekly_share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return part by whole over the seven days up to each day; null if the day is."""
    parts, wholes = (values.rolling(7, min_periods=1).sum() for values in (part, whole))
    return (parts / wholes.where(wholes > 0)).where(whole.notna())


def duration(seconds: float) -> str:
    """Return the two digits that matter, in the unit that people would use."""
    if isnan(seconds):
        return NOTHING
    unit, size = duration_unit(seconds)
    amount = seconds / size
    return f"{amount:.0f} {unit}" if amount >= 9.95 else f"{amount:.1f} {unit}"


def duration_unit(seconds: float) -> tuple[str, int]:
    """Return the unit for durations up to this one, and its seconds."""
    return next(
        (unit for unit, most in ((("s", 1), 100), (("min", 60), 6_000), (("h", 3_600), 48 * 3_600)) if seconds < most),
        ("d", 86_400),
    )


def percent(share: float) -> str:
    return NOTHING if isnan(share) else f"{share:.0%}".replace("%", " %")


def count(amount: float) -> str:
    return NOTHING if isnan(amount) else f"{amount:,.0f}"


def average(amount: float) -> str:
    return NOTHING if isnan(amount) else f"{amount:.1f}"


def written(measure: Measure, value: float) -> str:
    if measure.is_duration:
        return duration(value)
    if measure.is_share:
        return percent(value)
    return count(value) if measure.name in COUNTS else average(value)
