"""Gorgias's clock: the dates of answers decide, and this machine's time of day does not."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from gorgias_assets.api.clock import GorgiasClock

NOW = datetime(2025, 4, 1, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def exact() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def test_a_machine_in_time_keeps_its_fractions_of_a_second() -> None:
    sent = time.monotonic()
    requested_at, answered_at = GorgiasClock().answered(sent, sent + 0.001, exact().replace(microsecond=0))
    assert abs(requested_at - exact()) < timedelta(milliseconds=100)
    assert answered_at == requested_at.replace(microsecond=0)


@pytest.mark.parametrize("off", [-HOUR, HOUR, -2 * SECOND, timedelta(days=400)])
def test_a_machine_out_of_time_takes_the_time_of_the_answers(off: timedelta) -> None:
    clock, sent = GorgiasClock(), time.monotonic()
    date = (exact() - off).replace(microsecond=0)
    requested_at, answered_at = clock.answered(sent, sent + 0.25, date)
    assert (requested_at, answered_at) == (date, date)
    assert abs(clock.machine_ahead - off) < 2 * SECOND
    later, _ = clock.answered(sent + 0.5, sent + 0.75, date)
    assert later == requested_at + SECOND / 2


def test_no_moment_is_later_than_the_second_of_its_answer() -> None:
    clock = GorgiasClock()
    moments = [clock.answered(10.0 + n, 10.1 + n, NOW)[0] for n in range(50)]
    assert moments == sorted(set(moments)), "the order of requests is kept, on a clock that stands still"
    assert moments[-1] < NOW + SECOND


def test_a_date_is_believed_once_two_answers_agree_that_the_ones_before_were_wrong() -> None:
    clock = GorgiasClock()
    clock.answered(0.0, 0.1, NOW)
    requested_at, answered_at = clock.answered(1.0, 1.1, datetime(2001, 1, 1, tzinfo=UTC))
    assert (requested_at, answered_at) == (NOW + SECOND, NOW + SECOND)
    assert clock.answered(2.0, 2.1, NOW - HOUR)[0] == NOW + 2 * SECOND
    assert clock.answered(3.0, 3.1, NOW - HOUR + SECOND)[0] == NOW - HOUR + SECOND


def test_a_new_client_s_first_date_is_believed_at_once() -> None:
    clock = GorgiasClock()
    clock.answered(0.0, 0.1, NOW)
    assert clock.answered(1.0, 1.1, NOW - HOUR, is_first=True) == (NOW - HOUR, NOW - HOUR)


def test_an_answer_without_a_date_goes_on_from_the_ones_before() -> None:
    clock = GorgiasClock()
    clock.answered(0.0, 0.1, NOW)
    assert clock.answered(100.0, 100.1, None) == (NOW + 100 * SECOND, NOW + 100 * SECOND)


def test_a_clock_that_jumps_ahead_is_followed_at_once() -> None:
    clock = GorgiasClock()
    clock.answered(0.0, 0.1, NOW)
    assert clock.answered(1.0, 1.1, NOW + 24 * HOUR)[1] == NOW + 24 * HOUR
