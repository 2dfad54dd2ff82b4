"""A list without a documented order: its days converge in whatever order it comes, and early ends are earned."""

from datetime import timedelta
from pathlib import Path

import pytest

from gorgias_assets.api.client import CursorRefused, GorgiasError
from gorgias_assets.entities import VOICE_CALLS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.unordered import UnorderedSweep
from gorgias_assets_tests.conftest import touched
from gorgias_assets_tests.sweeps.reading import DAY, FIRST, HOUR, Room, insert

EVERY = [FIRST + n * timedelta(minutes=25) for n in range(518)]  # nine days
DESC, ASC, SHUFFLED = ("created_datetime:desc", "created_datetime:asc", "shuffled:asc")


@pytest.fixture
def account() -> Account:
    account = Account(now=FIRST + 9 * DAY)
    insert(account, "voice_calls", EVERY, status="ringing")
    return account


@pytest.fixture
def room(sandbox: Sandbox, tmp_path: Path) -> Room:
    return Room(sandbox, tmp_path / "warehouse.duckdb")


def come_in(account: Account, order: str) -> None:
    account.habits.assumes["voice_calls"]["order_by"] = order


def day(room: Room, number: int, days: int = 1, full: bool = False) -> UnorderedSweep:
    """Return a sweep of so many days from a day of the month on."""
    start = FIRST + (number - FIRST.day) * DAY
    return room.gorgias.unordered(VOICE_CALLS, start, start + days * DAY, full=full)


@pytest.mark.parametrize(("order", "days"), [(DESC, [16, 13]), (ASC, [13, 16]), (SHUFFLED, [16, 13, 16])])
def test_days_in_any_order_and_number_end_in_exactly_their_rows_in_their_newest_state(room, order, days):
    come_in(room.account, order)
    for number in days:
        room.account.update("voice_calls", 200 + number, status=f"known since {number}")
        room.load(day(room, number))
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, [13, 16])


@pytest.mark.parametrize(("order", "calls"), [(DESC, 4), (ASC, 6), (SHUFFLED, 6)])
def test_reading_ends_below_the_window_only_in_a_list_that_is_newest_first(room, order, calls):
    come_in(room.account, order)
    reading = day(room, 14)
    assert sum(touched(batch).num_rows for batch in reading.batches()) == len(room.live(VOICE_CALLS, [14]))
    assert room.calls(VOICE_CALLS) == calls
    assert reading.remark == ("" if order == DESC else "The list is not newest first, so it was read to its end.")
    covered = reading.coverage["created_datetime"]
    assert (covered["required"], covered["read_to"] is None) == (FIRST + 4 * DAY, order != DESC)


def test_rows_of_other_days_are_refreshed_where_they_are_stored_and_not_added(room):
    room.load(day(room, 12))
    room.account.update("voice_calls", 120, status="completed")  # of the 12th
    loaded = room.load(day(room, 13))
    assert room.stored(VOICE_CALLS)[120]["status"] == "completed"
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, [12, 13])
    assert loaded.merged.new == len(room.live(VOICE_CALLS, [13]))


def test_a_full_sweep_refreshes_every_row(room):
    room.load(day(room, 10))
    room.account.update("voice_calls", 1, status="completed")
    room.load(day(room, 17))
    assert room.stored(VOICE_CALLS)[1]["status"] == "ringing"
    room.load(day(room, 17, full=True))
    assert room.stored(VOICE_CALLS)[1]["status"] == "completed"


def test_rows_of_one_moment_show_no_order(room):
    """An import gives many rows one moment; in a list that is oldest first they say nothing of what follows."""
    come_in(room.account, ASC)
    insert(room.account, "voice_calls", [FIRST - 99 * DAY] * 130, 10_000)
    room.load(day(room, 14))
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, [14])


def test_an_order_that_breaks_on_a_later_page_is_read_to_its_end(room):
    room.sandbox.faults.append(Fault("wrong_order", skip=1))
    room.load(day(room, 14))
    assert room.calls(VOICE_CALLS) == 6
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, [14])


@pytest.mark.parametrize("order", [DESC, SHUFFLED])
def test_a_reading_that_dies_goes_on_where_it_was(room, order):
    come_in(room.account, order)
    first = day(room, 10, days=9)
    room.load(first, dies_after=3)
    room.account.advance(HOUR)
    again = day(room, 10, days=9)
    room.load(again)
    assert room.calls(VOICE_CALLS) <= 6 + 2
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, range(10, 20))
    assert again.began_at == again.started_at.replace(microsecond=0) < room.account.now - HOUR + timedelta(minutes=1)


@pytest.mark.parametrize(
    "fault",
    [Fault("expired_cursor"), Fault(200, body=b'{"data":[],"meta":{"next_cursor":null}}')],
    ids=["refused", "leads nowhere"],
)
def test_an_old_cursor_costs_calls_and_no_row(room, fault):
    room.load(day(room, 10, days=9), dies_after=2)
    room.sandbox.faults.append(fault)
    room.load(day(room, 10, days=9))
    assert room.stored(VOICE_CALLS) == room.live(VOICE_CALLS, range(10, 20))


def test_cursors_that_are_all_refused_end_the_reading(room):
    room.sandbox.faults.append(Fault("expired_cursor", times=None))
    with pytest.raises(CursorRefused):
        room.load(day(room, 10, days=9))
    assert room.calls(VOICE_CALLS) == 4


def test_a_feature_that_an_account_lacks_is_a_sentence_on_the_first_page_and_a_failure_later(room):
    room.sandbox.faults.append(Fault(403, skip=2, times=None))
    reading = day(room, 10, days=9)
    assert reading.peek() is None
    with pytest.raises(GorgiasError):
        room.load(reading)
    sentence = day(room, 10).peek()
    assert sentence is not None
    assert sentence.startswith("Gorgias refuses GET /phone/voice-calls of this account with status 403")


def test_nothing_is_gone_for_being_absent(room):
    room.load(day(room, 12))
    room.account.delete("voice_calls", 120)
    room.load(day(room, 12))
    assert room.query("SELECT count(*) FROM gorgias.voice_calls WHERE _deleted_at IS NOT NULL") == [(0,)]
    assert {request.path for request in room.sandbox.requests} == {"/api/phone/voice-calls"}
