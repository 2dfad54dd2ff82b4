"""The picture: a period's measures drawn as small multiples, as a PNG for Dagster.

Text is drawn as it is: a name may hold signs that mean something to the drawing library. Blue and
orange differ for any colour vision, on light and on dark.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from gorgias_assets.overview.period import Period, average, count, duration, duration_unit, percent, weekly_share

if TYPE_CHECKING:  # the import takes a second, which loading the project need not
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2f7fc1", "#d9782d"
COLOURS = {"ink": "#1f2a35", "muted": "#66737f", "rule": "#dfe4e8", "paper": "#fdfdfd"}
FONT = "DejaVu Sans"  # part of matplotlib, so the picture is the same everywhere
MOST_LABELS = 8  # of days; if there are more, only Mondays have one
SHOWN = 8  # channels, and agents
LONGEST = 22  # letters of a name

DOTS_PER_INCH = 100  # Dagster shows the picture as wide as it is, in a dialog that has room for 984 pixels

# In inches
WIDTH, MARGIN, GAP = 9.6, 0.45, 1.2
COLUMN = (WIDTH - 2 * MARGIN - GAP) / 2 - 0.3
CHART, BAR = 1.3, 0.24
NAMES = 1.55

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}

SETTINGS: Any = {
    "font.family": FONT,
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
}

Line = tuple[str, pd.Series, str, float]
"""Name, values by day, colour, opacity."""


def png_of(period: Period) -> bytes:
    from PIL import Image

    raw, small = io.BytesIO(), io.BytesIO()
    with _drawn(period) as figure:
        figure.savefig(raw, format="png", dpi=DOTS_PER_INCH, facecolor=COLOURS["paper"])
    Image.open(raw).convert("RGB").quantize(64).save(small, "png", optimize=True)
    return small.getvalue()


@contextmanager
def _drawn(period: Period) -> "Iterator[Figure]":
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks
        yield _draw(period)


def _draw(period: Period) -> "Figure":
    channels, agents = period.channels.head(SHOWN), period.agents.head(SHOWN)
    charts = 1.8
    first_bars = charts + 2 * (CHART + 0.8)
    second_bars = first_bars + BAR * max(len(channels), 1) + 0.5
    sheet = _Sheet(second_bars + BAR * max(len(agents), 1) + 0.5)
    sheet.text(MARGIN, 0.5, f"Support, {period.title}", size=15, weight="bold")
    sheet.text(MARGIN, 0.74, _subtitle(period), color=COLOURS["muted"])
    _headline(sheet, period, top=1.2)
    _charts(sheet, period, charts)
    _bars(sheet, "By channel", channels, ("tickets_created", "Tickets created"), first_bars)
    _bars(sheet, "By agent", agents, ("tickets_closed", "Tickets closed"), second_bars)
    return sheet.figure


def _subtitle(period: Period) -> str:
    missing = f"; {period.missing} of these days not materialized" if period.missing else ""
    return f"{len(period.days)} days in UTC, times are medians, weekends are shaded{missing}"


class _Sheet:
    """A figure whose parts are placed in inches from its upper left corner."""

    def __init__(self, height: float) -> None:
        from matplotlib.figure import Figure

        self.height = height
        self.figure = Figure(figsize=(WIDTH, height))

    def text(self, left: float, top: float, text: str, **settings: Any) -> None:
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **settings)

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        below = 1 - (top + height) / self.height
        axes = self.figure.add_axes((left / WIDTH, below, width / WIDTH, height / self.height))
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return axes


def _headline(sheet: _Sheet, period: Period, top: float) -> None:
    total = period.total
    figures = [
        (count(total["tickets_created"]), "tickets created"),
        (count(total["tickets_closed"]), "tickets closed"),
        (duration(total["first_response_median_seconds"]), "to first response"),
        (duration(total["resolution_median_seconds"]), "to resolution"),
        (average(total["messages_per_ticket"]), "messages per ticket"),
        (percent(total["satisfaction_score"]), "satisfied"),
        (percent(total["answer_rate"]), "surveys answered"),
    ]
    for place, (figure, label) in enumerate(figures):
        left = MARGIN + place * (WIDTH - MARGIN) / len(figures)
        sheet.text(left, top, figure, size=16)
        sheet.text(left, top + 0.2, label, color=COLOURS["muted"], size=8)


def _charts(sheet: _Sheet, period: Period, top: float) -> None:
    daily, below, right = period.daily, top + CHART + 0.8, MARGIN + COLUMN + GAP
    created: Line = ("created", daily["tickets_created"], BLUE, 1)
    closed: Line = ("closed", daily["tickets_closed"], ORANGE, 1)
    _chart(sheet, "Tickets a day", period, [created, closed], MARGIN, top)
    satisfied = daily["satisfaction_score"] * daily["surveys_scored"]
    scores = weekly_share(satisfied.fillna(0).where(daily["surveys_scored"].notna()), daily["surveys_scored"])
    answers = weekly_share(daily["surveys_scored"], daily["surveys_sent"])
    lines: list[Line] = [("scored 4 or 5", scores, BLUE, 1), ("answered", answers, ORANGE, 1)]
    _chart(sheet, "Surveys, share over seven days", period, lines, right, top, written=percent)
    for left, name, title in ((MARGIN, "first_response", "First response"), (right, "resolution", "Resolution")):
        lines = [
            ("90th percentile", daily[f"{name}_p90_seconds"], BLUE, 0.55),
            ("median", daily[f"{name}_median_seconds"], BLUE, 1),
        ]
        _time_chart(sheet, title, period, lines, left, below)


def _time_chart(sheet: _Sheet, title: str, period: Period, lines: Sequence[Line], left: float, top: float) -> None:
    unit, size = duration_unit(_highest([values for _, values, _, _ in lines]))
    scaled = [(name, values / size, colour, strength) for name, values, colour, strength in lines]
    axes = _chart(sheet, f"{title} time, {UNITS[unit]}", period, scaled, left, top, lambda value: f"{value:.1f} {unit}")
    axes.fill_between(range(len(period.days)), scaled[0][1], scaled[1][1], color=BLUE, alpha=0.1, linewidth=0)


def _chart(
    sheet: _Sheet,
    title: str,
    period: Period,
    lines: Sequence[Line],
    left: float,
    top: float,
    written: Callable[[float], str] = count,
) -> "Axes":
    """Draw lines over the days, each with its name and last value at its end."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = sheet.axes(left, top + 0.3, COLUMN, CHART)
    sheet.text(left, top + 0.1, title, weight="bold", size=9.5)
    for place, day in enumerate(period.days):
        if day.weekday() >= 5:
            axes.axvspan(place - 0.5, place + 0.5, color=COLOURS["rule"], alpha=0.35, linewidth=0)
    for _, values, colour, strength in lines:
        lonely = values.where(values.shift(1).isna() & values.shift(-1).isna())
        axes.plot(range(len(values)), values, color=colour, alpha=strength, linewidth=1.7, solid_capstyle="round")
        axes.plot(range(len(values)), lonely, ".", color=colour, alpha=strength, markersize=5)
    axes.set_ylim(0, _highest([values for _, values, _, _ in lines]) * 1.08 or 1)
    axes.set_xlim(-0.5, len(period.days) - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: percent(value) if written is percent else f"{value:g}")
    )
    axes.grid(axis="y", color=COLOURS["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    is_short = len(period.days) <= MOST_LABELS
    named = {place: f"{day:%-d %b}" for place, day in enumerate(period.days) if is_short or day.weekday() == 0}
    axes.set_xticks(list(named), list(named.values()))
    axes.tick_params(axis="x", pad=6)  # clear of the axis's zero
    _name_at_the_end(axes, lines, written)
    return axes


def _highest(values: Sequence[pd.Series]) -> float:
    """Return the highest value; zero without any."""
    return max((one.max() for one in values if one.notna().any()), default=0.0)


def _name_at_the_end(axes: "Axes", lines: Sequence[Line], written: Callable[[float], str]) -> None:
    ends = [(values.dropna().iloc[-1], name, colour) for name, values, colour, _ in lines if values.notna().any()]
    least = axes.get_ylim()[1] * 0.24  # for two lines of text
    floor = -least
    for value, name, colour in sorted(ends):
        floor = max(value, floor + least)
        place = (axes.get_xlim()[1], floor)
        axes.annotate(
            f"{written(value)}\n{name}", place, (5, 0), textcoords="offset points", color=colour, va="center", size=8
        )


def _bars(sheet: _Sheet, title: str, slices: pd.DataFrame, counted: tuple[str, str], top: float) -> None:
    """Draw a row per slice, with three measures side by side."""
    sheet.text(MARGIN, top + 0.1, title, weight="bold", size=9.5)
    columns = [
        (*counted, count),
        ("first_response_median_seconds", "Median first response", duration),
        ("satisfaction_score", "Satisfied", percent),
    ]
    width = (WIDTH - 2 * MARGIN - NAMES) / len(columns)
    height = BAR * max(len(slices), 1)
    for place, (name, heading, written) in enumerate(columns):
        left = MARGIN + NAMES + place * width
        sheet.text(left, top + 0.1, heading, color=COLOURS["muted"])
        axes = sheet.axes(left, top + 0.2, width - 0.75, height)
        values, rows = slices[name].astype(float), range(len(slices))
        axes.barh(rows, values.fillna(0), height=0.55, color=BLUE, alpha=0.85)
        axes.set_xlim(0, 1 if written is percent else _highest([values]) or 1)
        axes.set_ylim(max(len(slices), 1) - 0.5, -0.5)
        axes.set_xticks([])
        axes.set_yticks([])
        for row, value in enumerate(values):
            at = (0 if pd.isna(value) else value, row)
            axes.annotate(written(value), at, (4, 0), textcoords="offset points", va="center", size=8)
    for row, label in enumerate(slices["label"]):
        name = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
        sheet.text(MARGIN, top + 0.2 + BAR * (row + 0.5), name, va="center")
