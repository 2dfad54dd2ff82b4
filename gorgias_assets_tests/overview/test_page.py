"""The report's weeks and changes, and the library that draws its charts."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from gorgias_assets.overview.facts import Facts
from gorgias_assets.overview.measures import MEASURES
from gorgias_assets.overview.page import CHARTS, change_of, page_of
from gorgias_assets.overview.weeks import Weeks, weeks_until
from gorgias_assets_tests.deployment import REPOSITORY

SUNDAY = datetime(2025, 3, 30, tzinfo=UTC)
DAY = timedelta(days=1)
Days = dict[datetime, tuple[int, float, float]]
"""The tickets of each day, the seconds until each event of theirs, and the share of good scores."""
Backlog = Mapping[datetime, tuple[int, int, int]]
"""The tickets of each day that were reopened, and at its end those that were open and that waited for an agent."""


def weeks_of(
    happened: Days,
    *,
    end: datetime = SUNDAY + DAY,
    unknown: int = 0,
    agent: str = "Ann",
    channel: str = "email",
    backlog: Backlog = MappingProxyType({}),
) -> Weeks:
    """Return the weeks up to the day before `end`, if all its days are known but the first ones."""
    rows = [
        (pd.Timestamp(day), seconds, place < good * tickets)
        for day, (tickets, seconds, good) in happened.items()
        for place in range(tickets)
    ]
    frame = pd.DataFrame(rows, columns=["day", "seconds", "is_satisfied"]).assign(
        channel=channel, team=None, agent="7", business_seconds=np.nan, messages=2, score=4
    )
    left = pd.DataFrame(
        [(pd.Timestamp(day), "all", "all", *numbers) for day, numbers in backlog.items()],
        columns=["day", "dimension", "slice", "tickets_reopened", "open_tickets", "waiting_for_agent"],
    ).astype({"day": "datetime64[us, UTC]"})
    window = weeks_until(end)
    days = pd.date_range(window.start, window.end, freq="D", inclusive="left", unit="us")
    facts = Facts(**{field.name: frame for field in fields(Facts)})
    return Weeks.of(replace(facts, backlog=left), {"agent": {"7": agent}}, days, days[unknown:])


def changes(weeks: Weeks, name: str) -> str:
    """Return the newest change of the whole helpdesk."""
    return change_of(weeks, len(weeks.known_days) - 1, name)[0]


@pytest.mark.parametrize("days_ago", range(7))
def test_there_are_thirteen_weeks_from_monday_to_sunday_whatever_the_last_day_is(days_ago):
    end = SUNDAY + DAY - days_ago * DAY
    weeks = weeks_of({SUNDAY - 7 * DAY: (1, 1, 1)}, end=end)
    assert len(weeks.known_days) == 13
    assert {day.weekday() for day in weeks.days[::7]} == {0}
    assert weeks.known_days == [*[7] * 12, 7 - days_ago]
    assert weeks.first_choice == (12 if days_ago == 0 else 11)


def test_weeks_before_the_first_known_day_are_left_out_and_a_week_of_too_few_days_is_marked():
    weeks = weeks_of({SUNDAY: (1, 1, 1)}, unknown=10 * 7 + 2, end=SUNDAY - 3 * DAY)
    assert [weeks.title(week) for week in range(3)] == [
        "10 to 16 March 2025",
        "17 to 23 March 2025",
        "24 to 30 March 2025",
    ]
    assert [weeks.state(week) for week in range(3)] == ["5 of 7 days", "", "unfinished, 3 of 7 days"]


@pytest.mark.parametrize(
    ("end", "title"),
    [
        (datetime(2025, 4, 7, tzinfo=UTC), "31 March to 6 April 2025"),
        (datetime(2026, 1, 5, tzinfo=UTC), "29 December 2025 to 4 January 2026"),
    ],
)
def test_a_week_s_title_repeats_neither_month_nor_year(end, title):
    assert weeks_of({end - DAY: (1, 1, 1)}, end=end).title(12) == title


def test_a_change_is_one_of_per_cent_of_points_or_of_the_number_itself():
    weeks = weeks_of({SUNDAY - 7 * DAY: (10, 4_000, 0.5), SUNDAY: (12, 3_000, 0.75)})
    assert changes(weeks, "tickets_created") == "+20 %"
    assert changes(weeks, "first_response_median_seconds") == "−25 %"  # noqa: RUF001, the sign of a negative number
    assert changes(weeks, "satisfaction_score") == "+25 points"
    assert changes(weeks, "messages_per_ticket") == "±0"


def test_an_unfinished_week_is_compared_with_the_same_days_of_the_week_before():
    monday = SUNDAY - 6 * DAY
    weeks = weeks_of({monday - 7 * DAY: (10, 1, 1), SUNDAY - 7 * DAY: (90, 1, 1), monday: (11, 1, 1)}, end=monday + DAY)
    assert changes(weeks, "tickets_created") == "+10 %"


def test_without_a_week_before_or_anything_in_it_there_is_no_change():
    assert changes(weeks_of({SUNDAY: (1, 1, 1)}), "tickets_created") == ""
    assert changes(weeks_of({SUNDAY: (1, 1, 1)}, unknown=12 * 7), "tickets_created") == ""


def test_a_week_has_the_reopenings_of_its_days_and_what_the_last_day_left():
    backlog = {SUNDAY - 7 * DAY: (4, 9, 2), SUNDAY - 2 * DAY: (1, 8, 3), SUNDAY - DAY: (2, 5, 1)}
    weeks = weeks_of({SUNDAY - 9 * DAY: (1, 1, 1)}, backlog=backlog)
    places = [place for place, measure in enumerate(MEASURES) if measure.is_backlog]
    assert weeks.weekly[0, -2:, places].T.tolist() == [[4, 9, 2], [3, 5, 1]]
    assert np.isnan(weeks.weekly[0, :-2, places]).all(), "of weeks that the backlog lacks nothing is known"


def test_a_measure_without_a_value_in_any_week_has_no_column():
    page = page_of(weeks_of({SUNDAY: (1, 1, 1)}))
    headings = re.findall(r'<th( hidden)? scope="col" title="[^"]*">([^<]+)<', page)
    without = {one.title for one in MEASURES if one.is_backlog or "business" in one.name}
    assert {title for hidden, title in headings if hidden} == without
    assert without.isdisjoint(title for hidden, title in headings if not hidden)


def test_the_charts_are_drawn_by_the_release_of_chart_js_that_the_documents_name():
    library = CHARTS.read_bytes()
    assert b"Chart.js v4.6.1\n" in library[:100]
    assert "Chart.js 4.6.1" in (REPOSITORY / "docs" / "overview.md").read_text()
    assert b"Released under the MIT License" in library[:200]
    assert hashlib.sha256(library).hexdigest() == "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2"
    licences = {name: CHARTS.with_name(f"{name}.LICENSE.md").read_text() for name in ("chart", "color")}
    assert "Chart.js Contributors" in licences["chart"]
    assert "Jukka Kurkela" in licences["color"], "of @kurkle/color, a part of the file"
