"""Business hours: nights, weekends, holidays and daylight saving, in seconds."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gorgias_assets.metrics.business_hours import BusinessHours, is_holiday

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0
WEEK = {"days": "1,2,3,4,5", "from_time": "09:00", "to_time": "17:00"}
SATURDAY = {"days": "6", "from_time": "10:00", "to_time": "14:00"}


def hours(*week, zone="Europe/Berlin", holidays=()):
    return BusinessHours.of({"timezone": zone, "business_hours": list(week)}, holidays)


def instants(*moments):
    naive = [moment and moment.astimezone(UTC).replace(tzinfo=None) for moment in moments]
    return np.array(naive, "datetime64[us]")


def seconds(opened, begin, end):
    (found,) = opened.seconds(instants(begin), instants(end))
    return found


def berlin(month, day, hour=0, minute=0, year=2025, fold=0):
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN, fold=fold)


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        ((3, 4, 10), (3, 4, 12, 30), 2.5),
        ((3, 4, 16), (3, 5, 10), 2),  # over a night
        ((3, 7, 16), (3, 10, 10), 6),  # over a weekend with a short Saturday
        ((3, 9, 1), (3, 9, 23), 0),  # on a Sunday
        ((3, 4, 17), (3, 5, 9), 0),
        ((3, 4, 12), (3, 4, 12), 0),
        ((3, 3, 0), (3, 10, 0), 44),
    ],
)
def test_nights_and_weekends_do_not_count(begin, end, wanted):
    assert seconds(hours(WEEK, SATURDAY), berlin(*begin), berlin(*end)) == wanted * HOUR


def test_a_holiday_of_one_year_or_of_all_counts_nothing():
    opened = hours(WEEK, holidays=["2025-04-18", "05-01"])
    assert seconds(opened, berlin(4, 17, 16), berlin(4, 21, 10)) == 2 * HOUR
    assert seconds(opened, berlin(4, 30, 16), berlin(5, 2, 10)) == 2 * HOUR
    assert seconds(opened, berlin(4, 30, 16, year=2026), berlin(5, 2, 10, year=2026)) == HOUR
    assert seconds(opened, berlin(4, 17, 16, year=2024), berlin(4, 18, 10, year=2024)) == 2 * HOUR


@pytest.mark.parametrize(("month", "day", "wanted"), [(3, 30, 7), (10, 26, 9)], ids=["skipped", "repeated"])
def test_an_hour_that_daylight_saving_skips_is_none_and_one_that_it_repeats_is_two(month, day, wanted):
    night = hours({"days": "7", "from_time": "00:00", "to_time": "08:00"})
    assert seconds(night, berlin(month, day - 1, 12), berlin(month, day, 12)) == wanted * HOUR
    always = hours({"days": "1,2,3,4,5,6,7", "from_time": "00:00", "to_time": "00:00"})
    assert seconds(always, berlin(month, day), berlin(month, day + 1)) == (wanted + 16) * HOUR


def test_opening_hours_stay_at_the_same_hour_of_the_clock_in_summer():
    assert seconds(hours(WEEK), datetime(2025, 3, 28, 8, tzinfo=UTC), datetime(2025, 3, 28, 9, tzinfo=UTC)) == HOUR
    assert seconds(hours(WEEK), datetime(2025, 3, 31, 7, tzinfo=UTC), datetime(2025, 3, 31, 8, tzinfo=UTC)) == HOUR
    assert seconds(hours(WEEK), datetime(2025, 3, 28, 7, tzinfo=UTC), datetime(2025, 3, 28, 8, tzinfo=UTC)) == 0


def test_hours_that_end_before_they_begin_go_through_the_night():
    night = hours({"days": "5", "from_time": "22:00", "to_time": "06:00"})
    assert seconds(night, berlin(3, 7, 23), berlin(3, 8, 12)) == 7 * HOUR
    assert seconds(night, berlin(3, 8, 1), berlin(3, 8, 2)) == HOUR
    assert seconds(hours(*[night_of("1,2,3,4,5,6,7")] * 2), berlin(3, 3), berlin(3, 10)) == 7 * 8 * HOUR


def night_of(days):
    return {"days": days, "from_time": "22:00", "to_time": "06:00"}


def test_hours_that_overlap_count_once():
    both = hours(WEEK, {"days": "1,2", "from_time": "12:00", "to_time": "20:00"})
    assert seconds(both, berlin(3, 3), berlin(3, 10)) == (40 + 6) * HOUR


def test_a_missing_moment_has_no_seconds():
    found = hours(WEEK).seconds(instants(None, berlin(3, 4, 9)), instants(berlin(3, 4, 9), None))
    assert np.isnan(found).all()
    assert not len(hours(WEEK).seconds(instants(), instants()))


@pytest.mark.parametrize(
    "setting",
    [
        None,
        {},
        {"timezone": "Europe/Berlin", "business_hours": []},
        {"timezone": "Europe/Atlantis", "business_hours": [WEEK]},
        {"timezone": "Europe/Berlin", "business_hours": [WEEK | {"from_time": "nine"}]},
        {"timezone": "Europe/Berlin", "business_hours": [WEEK | {"days": "Monday"}]},
        {"timezone": None, "business_hours": [WEEK]},
    ],
)
def test_a_setting_of_another_shape_is_no_business_hours(setting):
    assert BusinessHours.of(setting) is None


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"])
def test_minutes_counted_one_by_one_are_as_many(zone):
    random = Random(zone)
    opened = hours(WEEK, SATURDAY, night_of("7"), zone=zone, holidays=["11-04"])
    begin = datetime(2024, random.choice((3, 4, 10)), 28, tzinfo=UTC) + timedelta(minutes=random.randrange(5000))
    minutes = [begin + timedelta(minutes=number) for number in range(9 * 1440)]
    assert seconds(opened, begin, minutes[-1] + timedelta(minutes=1)) == 60 * sum(
        is_open(minute.astimezone(ZoneInfo(zone))) for minute in minutes
    )


def is_open(local):
    """Return if a minute is in the hours above, by the clock on the wall."""
    day, clock = local.isoweekday(), local.hour * 60 + local.minute
    if clock < 6 * 60:
        return day == 1 and f"{local - timedelta(days=1):%m-%d}" != "11-04"
    if f"{local:%m-%d}" == "11-04":
        return False
    if day == 7:
        return clock >= 22 * 60
    return 10 * 60 <= clock < 14 * 60 if day == 6 else 9 * 60 <= clock < 17 * 60


@pytest.mark.parametrize(
    ("text", "wanted"), [("2025-12-24", True), ("02-29", True), ("2025-02-29", False), ("24.12.", False), ("", False)]
)
def test_a_holiday_is_a_date_or_a_day_of_every_year(text, wanted):
    assert is_holiday(text) is wanted
