"""The report's page: the first choice as HTML, and everything as JSON for `page.js`, in one file that loads nothing.

Names are data. The template escapes them, in the JSON too, and the page runs and obeys nothing but the scripts and the
style that it was made with: their hashes are in its policy.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from gorgias_assets.overview.measures import DIMENSIONS, MEASURES, Measure
from gorgias_assets.overview.period import written
from gorgias_assets.overview.weeks import Numbers, Weeks, kind_of

HERE = Path(__file__).parent
CHARTS = HERE / "vendor" / "chart.umd.min.js"

# The measures above the charts, and which of them had better rise (1) or fall (-1).
HEADLINE = {
    "tickets_created": ("Tickets created", 0),
    "tickets_closed": ("Tickets closed", 0),
    "tickets_reopened": ("Reopened", -1),
    "open_tickets": ("Open at the end", -1),
    "waiting_for_agent": ("Waiting for an agent", -1),
    "first_response_median_seconds": ("Median first response", -1),
    "resolution_median_seconds": ("Median resolution", -1),
    "messages_per_ticket": ("Messages per ticket", 0),
    "satisfaction_score": ("Satisfied", 1),
    "answer_rate": ("Surveys answered", 1),
}
SIZES = {measure.name: place for place, measure in enumerate(MEASURES)}
MINUS = "−"  # noqa: RUF001, the sign of a negative number


@dataclass(frozen=True)
class Row:
    label: str
    numbers: list[str]


@dataclass(frozen=True)
class Grid:
    """A table of the page; `name` is `day`, or a dimension."""

    name: str
    rows: list[Row]
    total: Row | None = None

    @property
    def heading(self) -> str:
        return self.name.capitalize()


@dataclass(frozen=True)
class Figure:
    label: str
    number: str
    change: str
    verdict: str


def page_of(weeks: Weeks) -> str:
    """Return the page, as HTML."""
    week = weeks.first_choice
    scripts = [_without_map(CHARTS.read_text("utf-8")), (HERE / "page.js").read_text("utf-8")]
    style = (HERE / "page.css").read_text("utf-8")
    return _template().render(
        charts=Markup(scripts[0]),  # noqa: S704, a file of this package
        script=Markup(scripts[1]),  # noqa: S704, a file of this package
        style=Markup(style),  # noqa: S704, a file of this package
        policy=_policy(scripts, style),
        title=weeks.title(week),
        state=weeks.state(week),
        last=f"{weeks.days[weeks.known][-1]:%-d %B %Y}",
        choices=[
            (place, _option(weeks, place))
            for place in reversed(range(len(weeks.known_days)))
            if weeks.known_days[place]
        ],
        week=week,
        slices=weeks.slices,
        dimensions=DIMENSIONS[1:],
        headline=list(_headline(weeks, week)),
        grids=[_days(weeks, week), *(_slices(weeks, week, dimension) for dimension in DIMENSIONS[1:])],
        measures=MEASURES,
        empty=_empty(weeks),
        data=_data(weeks),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Without `ensure_ascii=False`, so that no letter of a name can end a line or a script.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html")


def _without_map(script: str) -> str:
    """Leave out the line that names a file for debugging, which a browser's tools would look for."""
    return "\n".join(line for line in script.splitlines() if not line.startswith("//# sourceMappingURL="))


def _policy(scripts: list[str], style: str) -> str:
    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    rules = {
        "default-src": "'none'",
        "script-src": hashes(scripts),
        "style-src": hashes([style]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {allowed}" for name, allowed in rules.items())


def _option(weeks: Weeks, week: int) -> str:
    state = weeks.state(week)
    return weeks.title(week) + (f" ({state})" if state else "")


def _headline(weeks: Weeks, week: int) -> Iterator[Figure]:
    for name, (label, better) in _shown_headline().items():
        change = change_of(weeks, week, name)[0]
        number = written(MEASURES[SIZES[name]], weeks.weekly[0, week, SIZES[name]])
        yield Figure(label, number, change, _verdict(change, better))


def _shown_headline() -> dict[str, tuple[str, int]]:
    return {name: found for name, found in HEADLINE.items() if name in SIZES}


def _verdict(change: str, better: int) -> str:
    if not better or change[:1] not in ("+", MINUS):
        return ""
    return "better" if (change[0] == "+") == (better > 0) else "worse"


def change_of(weeks: Weeks, week: int, name: str) -> list[str]:
    """Return for each slice the change of a measure against the week before; empty if there is nothing to compare."""
    pair = weeks.before(week, SIZES[name])
    if pair is None:
        return [""] * len(weeks.slices)
    return [_change(MEASURES[SIZES[name]], after, before) for after, before in zip(*pair, strict=True)]


def _change(measure: Measure, after: float, before: float) -> str:
    kind = kind_of(measure)
    if isnan(after) or isnan(before):
        return ""
    if kind == "share":
        return _signed(f"{100 * (after - before):+.0f}", " points")
    if kind == "average":
        return _signed(f"{after - before:+.1f}", "")
    return _signed(f"{100 * (after / before - 1):+,.0f}", " %") if before else ""


def _signed(number: str, unit: str) -> str:
    is_nothing = not number.strip("+-0.")
    return f"±0{unit}" if is_nothing else number.replace("-", MINUS) + unit


def _days(weeks: Weeks, week: int) -> Grid:
    inside = [day for day in range(7 * week, 7 * week + 7) if weeks.known[day]]
    rows = [Row(f"{weeks.days[day]:%a %-d %b}", _written(weeks.daily[0, day])) for day in inside]
    return Grid("day", rows, Row("Week", _written(weeks.weekly[0, week])))


def _slices(weeks: Weeks, week: int, dimension: str) -> Grid:
    """Return the slices of a dimension, those with the most closed tickets first."""
    found = weeks.of_week(week, dimension)
    found.sort(key=lambda one: -one[1][SIZES["tickets_closed"]])
    return Grid(dimension, [Row(weeks.slices[place].label, _written(numbers)) for place, numbers in found])


def _written(numbers: Numbers) -> list[str]:
    return [written(measure, number) for measure, number in zip(MEASURES, numbers, strict=True)]


def _empty(weeks: Weeks) -> list[bool]:
    """Return for each measure if it has no value at all, as business hours of an account without any."""
    return [bool(np.isnan(weeks.weekly[:, :, place]).all()) for place in range(len(MEASURES))]


def _data(weeks: Weeks) -> dict[str, Any]:
    """Return all that `page.js` needs: numbers in lists, by slice, measure, and day or week."""
    chosen = range(len(weeks.known_days))
    headline = _shown_headline()
    changes = {name: [change_of(weeks, week, name) for week in chosen] for name in headline}
    return {
        "first": weeks.first_choice,
        "weeks": [
            {
                "start": f"{weeks.days[7 * week]:%Y-%m-%d}",
                "title": weeks.title(week),
                "state": weeks.state(week),
                "days": weeks.known_days[week],
            }
            for week in chosen
        ],
        "days": [f"{day:%a %-d %b}" for day in weeks.days],
        "known": [int(known) for known in weeks.known],
        "measures": [
            {"name": measure.name, "title": measure.title, "kind": kind_of(measure), "empty": is_empty}
            for measure, is_empty in zip(MEASURES, _empty(weeks), strict=True)
        ],
        "slices": [[one.dimension, one.key, one.label] for one in weeks.slices],
        "headline": [
            {"measure": SIZES[name], "label": label, "better": better, "changes": changes[name]}
            for name, (label, better) in headline.items()
        ],
        "daily": _listed(weeks.daily.swapaxes(1, 2)),
        "weekly": _listed(weeks.weekly.swapaxes(1, 2)),
        "shared": _listed(weeks.shared),
    }


def _listed(numbers: Any) -> Any:
    """Return the numbers as lists, whole ones without a fraction, and None for no value."""
    if isinstance(numbers, float):
        return None if isnan(numbers) else int(numbers) if numbers.is_integer() else numbers
    return [_listed(one) for one in (numbers if isinstance(numbers, list) else numbers.tolist())]
