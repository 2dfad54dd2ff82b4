"""A list with a filter for time: its days converge, whatever interrupts them, and nothing of them is ever gone."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from gorgias_assets.api.client import CursorRefused, GorgiasError, Rejected, Untrusted
from gorgias_assets.entities import EVENTS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.filtered import Filtered
from gorgias_assets_tests.api.test_events import IgnoringFilters
from gorgias_assets_tests.sweeps.reading import DAY, FIRST, HOUR, Room, insert

MICROSECOND = timedelta(microseconds=1)
EVERY = [FIRST + n * timedelta(minutes=13) for n in range(440)]  # four days
EDGES = [edge for n in range(5) for edge in (FIRST + n * DAY - MICROSECOND, FIRST + n * DAY)]


@pytest.fixture
def account() -> Account:
    account = Account(now=FIRST + 20 * DAY)
    insert(account, "events", sorted([*EVERY, *EDGES]), type="ticket-created")
    return account


@pytest.fixture
def room(sandbox: Sandbox, tmp_path: Path) -> Room:
    return Room(sandbox, tmp_path / "warehouse.duckdb")


def day(room: Room, number: int, days: int = 1, types: tuple[str, ...] = ()) -> Filtered:
    """Return a reading of so many days from a day of the month on."""
    start = FIRST + (number - FIRST.day) * DAY
    return room.gorgias.filtered(EVENTS, start, start + days * DAY, types=types)


@pytest.mark.parametrize(("serve", "order"), [(Sandbox, [12, 10, 12, 13]), (IgnoringFilters, [11, 13, 10])])
def test_days_in_any_order_and_number_end_in_exactly_their_rows(account, serve, order, tmp_path):
    with serve(account) as sandbox:
        room = Room(sandbox, tmp_path / "warehouse.duckdb")
        for number in order:
            loaded = room.load(day(room, number))
            assert loaded.merged.rows == len(room.live(EVENTS, [number]))
        assert room.stored(EVENTS) == room.live(EVENTS, order)


def test_a_day_costs_its_own_pages_and_a_range_no_more(room):
    for reading, calls in ((day(room, 12), 2), (day(room, 10, days=3), 2 + 4)):
        assert [*reading.batches()]
        assert room.calls(EVENTS) == calls


def test_a_reading_that_dies_goes_on_where_it_was_and_reads_what_came_meanwhile(room):
    room.account.now = FIRST + 20 * DAY
    insert(room.account, "events", [FIRST + 20 * DAY - n * timedelta(minutes=2) for n in range(500, 0, -1)], 9_000)
    today = day(room, 29, days=2)
    room.load(today, dies_after=4)
    read = room.calls(EVENTS)
    room.account.advance(HOUR)
    late = [room.account.now - timedelta(minutes=2), room.account.now - HOUR - timedelta(minutes=1)]
    insert(room.account, "events", late, 90_000)  # one of them was not in the list in time
    again = day(room, 29, days=2)
    room.load(again)
    assert again.resumed_from is not None
    assert room.calls(EVENTS) - read <= 3
    assert room.stored(EVENTS) == room.live(EVENTS, [29, 30])


@pytest.mark.parametrize("fault", [Fault(403, skip=2, times=None), Fault("stuck_cursor", skip=1)])
def test_a_fault_in_the_middle_keeps_what_was_read_and_another_attempt_has_the_rest(room, fault):
    room.sandbox.faults.append(fault)
    with pytest.raises(GorgiasError):
        room.load(day(room, 10, days=4))
    assert len(room.stored(EVENTS)) >= 200
    room.sandbox.faults.clear()
    room.load(day(room, 10, days=4))
    assert room.stored(EVENTS) == room.live(EVENTS, [10, 11, 12, 13])


def test_a_cursor_that_has_expired_costs_a_call_and_no_row(room):
    room.sandbox.faults.append(Fault("expired_cursor", skip=1))
    room.load(day(room, 10, days=4))
    assert room.calls(EVENTS) == 5 + 1
    assert room.stored(EVENTS) == room.live(EVENTS, [10, 11, 12, 13])


def test_cursors_that_are_all_refused_end_the_reading(room):
    insert(room.account, "events", [FIRST + 3 * DAY + HOUR] * 250, 50_000)  # more than a page of one moment
    room.sandbox.faults.append(Fault("expired_cursor", times=None))
    with pytest.raises(CursorRefused):
        room.load(day(room, 13))


def test_rows_in_another_order_are_not_trusted(room):
    room.sandbox.faults.append(Fault("wrong_order"))
    with pytest.raises(Untrusted, match="GET /events: rows are not in the order of created_datetime"):
        room.load(day(room, 10))


@pytest.mark.parametrize("serve", [Sandbox, IgnoringFilters])
def test_only_the_types_that_are_asked_for_are_read(account, serve, tmp_path):
    insert(account, "events", [FIRST + HOUR] * 3, 50_000, type="ticket-closed")
    insert(account, "events", [FIRST + HOUR] * 3, 60_000, type="ticket-reopened")
    with serve(account) as sandbox:
        room = Room(sandbox, tmp_path / "warehouse.duckdb")
        (batch,) = day(room, 10, types=("ticket-closed", "ticket-reopened")).batches()
        assert sorted(batch.rows["type"].to_pylist()) == ["ticket-closed"] * 3 + ["ticket-reopened"] * 3
        if serve is Sandbox:
            assert sandbox.requests[0].params["types"] == "ticket-closed,ticket-reopened"


def test_what_gorgias_has_purged_stays_in_the_table_and_its_days_are_left_alone_with_a_sentence(room, caplog):
    caplog.set_level(logging.INFO)
    room.load(day(room, 10, days=4))
    before = room.stored(EVENTS)
    room.account.now = FIRST + 367 * DAY + HOUR  # kept since the 12th
    partly = day(room, 10, days=4)
    assert partly.peek() is None
    room.load(partly)
    assert (partly.window.start, partly.coverage["created_datetime"]["read_to"]) == (FIRST + 2 * DAY, None)
    sentence = "Gorgias keeps these for 365 days, and none of [2025-03-10 00:00:00, 2025-03-12 00:00:00) UTC any more"
    assert sentence in caplog.text
    gone = day(room, 10, days=2).peek()
    assert gone is not None
    assert gone.startswith(sentence)
    assert room.stored(EVENTS) == before
    assert room.query("SELECT count(*) FROM gorgias.events WHERE _deleted_at IS NOT NULL") == [(0,)]


def test_a_look_at_the_first_page_is_not_requested_again(room):
    reading = day(room, 10, days=4)
    assert reading.peek() is None
    assert room.calls(EVENTS) == 1
    room.load(reading)
    assert room.calls(EVENTS) == reading.progress.calls == 5
    assert room.stored(EVENTS) == room.live(EVENTS, [10, 11, 12, 13])


@pytest.mark.parametrize("status", [403, 404])
def test_a_first_page_that_is_refused_is_a_sentence(room, status):
    room.sandbox.faults.append(Fault(status, times=None))
    sentence = day(room, 10).peek()
    assert sentence is not None
    assert sentence.startswith(f"Gorgias refuses GET /events of this account with status {status}: its plan may lack")


def test_a_first_page_that_is_refused_for_another_reason_fails(room):
    room.sandbox.faults.append(Fault(401, times=None))
    with pytest.raises(Rejected, match="status 401"):
        day(room, 10).peek()


def test_a_firewall_is_no_plan_that_lacks_something(room):
    room.sandbox.faults.append(Fault(403, times=None, is_foreign=True))
    with pytest.raises(Rejected, match="something in front of Gorgias refused it"):
        day(room, 10).peek()
