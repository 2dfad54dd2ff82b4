"""Resuming: whatever interrupts a sweep, and whatever changes meanwhile, the next attempt goes on and loses nothing."""

import logging
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from gorgias_assets.client import GorgiasError, Rejected
from gorgias_assets.entities import ENTITIES, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS, Entity
from gorgias_assets.io_managers.duckdb import DuckDBWarehouse
from gorgias_assets.io_managers.merging import newest_by_id
from gorgias_assets.io_managers.warehouse import POSITION_KEPT, Saved, Table
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.seeks import cursor_before
from gorgias_assets.spans import Position
from gorgias_assets.sweeps import Sweep
from gorgias_assets_tests.conftest import SILENT_FIELDS, Project

START = datetime(2025, 3, 3, tzinfo=UTC)
NOW = datetime(2025, 4, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BATCH = 200  # small, so that an interruption finds something committed


class Attempts:
    """Sweeps of one window into one table, batch by batch as the IO manager does it, each going on from the last."""

    def __init__(
        self, sandbox: Sandbox, folder: Path, entity: Entity, start: datetime, end: datetime, **options: Any
    ) -> None:
        self.resource = GorgiasResource(
            uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.0005, seek=options.pop("seek", True)
        )
        self.warehouse = DuckDBWarehouse(str(folder / "warehouse.duckdb"), {}, 20)
        self.project = Project(sandbox, folder / "warehouse.duckdb")
        self.entity, self.window, self.options = entity, (start, end), options
        self.table = Table("gorgias", entity.name)

    def attempt(self, batches: int | None = None) -> Sweep:
        """Merge so many batches, or all; then the process is gone. Raises what the sweep raises."""
        sweep = self.resource.sweep(self.entity, *self.window, **self.options)
        if position := self.warehouse.saved_position(self.table, sweep.key):
            sweep.resume(position)
        reading = sweep.batches(BATCH)
        try:
            for batch in islice(reading, batches):
                rows, passed = newest_by_id(batch.rows), newest_by_id(batch.passed)
                saved = Saved(sweep.key, batch.position)
                self.warehouse.merge(self.table, self.entity.columns, rows, passed, saved)
        finally:
            reading.close()
        return sweep

    def stored(self) -> dict[int, dict[str, Any]]:
        return self.project.table(self.entity)

    def expected(self) -> dict[int, dict[str, Any]]:
        """The account's rows that something happened to in the window, as far back as the look-back or a full sweep."""
        start, end = self.window
        return {
            row_id: row
            for row_id, row in self.project.live_rows(self.entity).items()
            if any(row[name] and start <= row[name] < end for name in self.entity.touch_fields)
            and (self.options.get("full") or row[self.entity.order] >= start - self.entity.look_back)
        }


def insert_surveys(account: Account, count: int, first_id: int = 1, at: datetime = START) -> None:
    blank = KINDS["satisfaction_surveys"].blank
    account.insert_many(
        "satisfaction_surveys",
        ({**blank, "id": i, "created_datetime": at + SECOND * i} for i in range(first_id, first_id + count)),
    )


@pytest.fixture
def surveys(sandbox: Sandbox, account: Account, tmp_path: Path) -> Attempts:
    """2,000 surveys in a window that had ended when they were read first: twenty pages, ten batches."""
    insert_surveys(account, 2000)
    insert_surveys(account, 100, first_id=5000, at=START + timedelta(days=1))
    return Attempts(sandbox, tmp_path, SATISFACTION_SURVEYS, START, START + timedelta(days=1))


@pytest.mark.parametrize("seek", [True, False])
def test_an_attempt_goes_on_at_the_next_page_by_the_cursor_that_the_last_one_was_given(surveys, sandbox, seek):
    surveys.resource = surveys.resource.model_copy(update={"seek": seek})
    surveys.attempt(batches=5)
    sandbox.requests.clear()
    sweep = surveys.attempt()
    assert sweep.resumed_from is not None
    assert surveys.stored() == surveys.expected()
    assert len(sandbox.requests) <= 11 + 1


def test_with_an_expired_cursor_it_seeks_the_place_for_two_calls_more(surveys, sandbox):
    surveys.attempt(batches=5)
    sandbox.requests.clear()
    sandbox.faults.append(Fault("expired_cursor"))
    sweep = surveys.attempt()
    assert sweep.progress.seek == "used"
    assert sweep.progress.calls == len(sandbox.requests) <= 11 + 1 + 2
    assert surveys.stored() == surveys.expected()


def test_with_an_expired_cursor_and_no_seek_it_walks_from_the_newest_row(surveys, sandbox):
    surveys.resource = surveys.resource.model_copy(update={"seek": False})
    surveys.attempt(batches=5)
    sandbox.requests.clear()
    sandbox.faults.append(Fault("expired_cursor"))
    surveys.attempt()
    assert 21 <= len(sandbox.requests) <= 21 + 3
    assert surveys.stored() == surveys.expected()


def test_an_old_cursor_that_begins_at_the_newest_row_is_not_trusted(surveys):
    """Gorgias has forgotten what the cursor meant: going on from there as if nothing was would be out of order."""
    surveys.attempt(batches=5)
    sweep = surveys.resource.sweep(surveys.entity, *surveys.window)
    position = Position.load(surveys.warehouse.saved_position(surveys.table, sweep.key))
    position.spans[0].cursor = cursor_before(NOW)
    assert sweep.resume(position.dump())
    read = {row_id for batch in sweep.batches(BATCH) for row_id in batch.rows["id"].to_pylist()}
    assert surveys.stored().keys() | read == surveys.expected().keys()
    assert sweep.progress.seek == "used"


def test_when_every_cursor_is_refused_the_run_ends_with_one_sentence_and_keeps_what_it_read(surveys, sandbox):
    surveys.attempt(batches=5)
    before = surveys.stored()
    sandbox.requests.clear()
    sandbox.faults.append(Fault("expired_cursor", times=None))
    with pytest.raises(
        Rejected, match=r"^GET /satisfaction-surveys .* status 400 to a cursor, .* run it again later\.$"
    ):
        surveys.attempt()
    assert before.items() <= surveys.stored().items()
    assert len(sandbox.requests) < 10
    sandbox.faults.clear()
    surveys.attempt()
    assert surveys.stored() == surveys.expected()


def test_what_changed_since_the_first_attempt_began_is_read_by_the_last(sandbox, account, tmp_path):
    """Tickets are read by change: one that was edited meanwhile has jumped ahead of the position."""
    blank = KINDS["tickets"].blank
    at = (NOW - SECOND * 60 * i for i in range(2000, 0, -1))
    account.insert_many(
        "tickets", ({**blank, "id": i, "created_datetime": m, "updated_datetime": m} for i, m in enumerate(at, 1))
    )
    tickets = Attempts(sandbox, tmp_path, TICKETS, NOW - timedelta(days=2), NOW + timedelta(days=1))
    tickets.attempt(batches=5)
    account.advance(timedelta(minutes=5))
    account.update("tickets", 3, status="closed")  # was not read yet
    account.update("tickets", 1999, status="closed")  # was read already
    tickets.attempt()
    assert tickets.stored() == tickets.expected()
    assert len(tickets.stored()) == 2000


def test_a_score_given_between_two_attempts_is_read_where_the_window_had_not_ended(sandbox, account, tmp_path):
    insert_surveys(account, 2000, at=NOW - SECOND * 4000)
    today = Attempts(sandbox, tmp_path, SATISFACTION_SURVEYS, NOW - timedelta(days=1), NOW + timedelta(days=1))
    today.attempt(batches=5)
    account.advance(timedelta(hours=1))
    account.update("satisfaction_surveys", 1999, score=5, scored_datetime=account.now)  # was read already
    today.attempt()
    assert today.stored()[1999]["score"] == 5
    assert today.stored() == today.expected()


def test_a_second_interruption_and_a_third_go_on_from_each_other(surveys, sandbox):
    for batches in (3, 3, 3):
        surveys.attempt(batches)
    sandbox.requests.clear()
    surveys.attempt()
    assert len(sandbox.requests) <= 3 + 1
    assert surveys.stored() == surveys.expected()


def test_a_position_that_is_old_or_of_another_version_is_passed_over(surveys, sandbox):
    surveys.attempt(batches=5)
    sweep = surveys.resource.sweep(surveys.entity, *surveys.window)
    for text in ("", "{}", "[]", "null", '{"version": 0}', '{"version": 1, "spans": [{}]}', "gibberish"):
        assert not sweep.resume(text)
    with surveys.warehouse._connection(read_only=False) as connection:
        connection.execute(f"UPDATE gorgias._sweep_positions SET saved_at = now() - INTERVAL {POSITION_KEPT.days} DAY")
    assert surveys.warehouse.saved_position(surveys.table, sweep.key) is None
    sandbox.requests.clear()
    assert surveys.attempt().resumed_from is None
    assert len(sandbox.requests) == 21
    assert surveys.stored() == surveys.expected()


def test_ties_at_the_position_are_neither_lost_nor_read_by_another_rule(sandbox, account, tmp_path):
    """1,000 surveys of one moment: every position lies among them."""
    blank = KINDS["satisfaction_surveys"].blank
    account.insert_many("satisfaction_surveys", ({**blank, "id": i, "created_datetime": START} for i in range(1000)))
    insert_surveys(account, 10, first_id=5000)
    for number, seek in enumerate((True, False)):
        folder = tmp_path / str(number)
        folder.mkdir()
        ties = Attempts(sandbox, folder, SATISFACTION_SURVEYS, START, START + timedelta(days=1), seek=seek)
        ties.attempt(batches=3)
        sandbox.faults[:] = [Fault("expired_cursor")]
        ties.attempt()
        assert ties.stored() == ties.expected()


def test_a_run_says_in_its_log_and_its_metadata_from_where_it_went_on(project, account, sandbox):
    insert_surveys(account, 6000, at=START)
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.001)
    sandbox.faults.append(Fault(503, skip=50, times=None))
    failed = project.materialize("2025-03-03", select=["satisfaction_surveys"], raise_on_error=False)
    assert not failed.success
    sandbox.faults.clear()
    sandbox.requests.clear()
    result = project.materialize("2025-03-03", select=["satisfaction_surveys"])
    metadata = project.metadata(result, SATISFACTION_SURVEYS)
    went_on = START + SECOND * (6000 - 50 * 100 + 1)
    assert metadata["resumed_from"] == went_on.isoformat()
    assert len(sandbox.requests) <= 10 + 2
    lines = [
        entry.message for entry in project.log(result) if entry.level == logging.INFO and "interrupted" in entry.message
    ]
    assert len(lines) == 1
    assert f"{went_on:%Y-%m-%d %H:%M:%S}" in lines[0]
    assert metadata["dagster/partition_row_count"] == len(project.table(SATISFACTION_SURVEYS)) == 6000
    again = project.metadata(project.materialize("2025-03-03", select=["satisfaction_surveys"]), SATISFACTION_SURVEYS)
    assert "resumed_from" not in again
    assert project.query("SELECT count(*) FROM gorgias._sweep_positions") == [(0,)]


FAULTS = (401, 403, 500, "reset", "truncated", "html", "null_data", "wrong_order", "stuck_cursor", "expired_cursor")


@example(TICKET_MESSAGES, [], [6, 17], 0.0, False, True, 64)  # a message that was opened after the look-back
@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(
    entity=st.sampled_from(ENTITIES),
    interruptions=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(FAULTS), st.integers(1, 40), st.integers(0, 600)), max_size=4
    ),
    days=st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted),
    latency=st.sampled_from([0.0, 0.0, 0.0, 0.2]),
    is_full=st.booleans(),
    seek=st.booleans(),
    seed=st.integers(0, 100),
)
def test_interrupted_anywhere_by_any_fault_while_the_account_lives_on_it_still_converges(
    entity, interruptions, days, latency, is_full, seek, seed
):
    """Each interruption: after how many requests, which fault, how often it comes, and minutes until the next try."""
    account = Account(now=datetime(2025, 3, 1, tzinfo=UTC))
    shop = Shop(account, seed=seed, tickets_per_day=25)
    shop.live(until=datetime(2025, 3, 20, tzinfo=UTC))
    start, end = (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=day) for day in (days[0], days[1] + 1))
    with (
        Sandbox(account, latency=latency if len(interruptions) < 3 else 0.0) as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        swept = Attempts(sandbox, Path(folder), entity, start, end, seek=seek, full=is_full)
        for skip, what, times, minutes in interruptions:
            sandbox.faults[:] = [Fault(what, skip=skip, times=times)]
            with suppress(GorgiasError):
                swept.attempt(batches=Random(seed).randint(1, 6))
            shop.live(until=account.now + timedelta(minutes=minutes))
        sandbox.faults.clear()
        swept.resource = swept.resource.model_copy(update={"patience_minutes": 1.0})  # readers wait for each other
        swept.attempt()
        stored, expected = swept.stored(), swept.expected()
        assert expected.keys() <= stored.keys()
        for row_id, row in expected.items():
            found = {name: value for name, value in stored[row_id].items() if name not in SILENT_FIELDS[entity.name]}
            touched_later = any(row[name] and row[name] >= end for name in entity.touch_fields)
            assert touched_later or found == {name: row[name] for name in found}
