"""Lists whose order is odd: rows of a second in any order, rows of the future, and rows without a moment."""

import base64
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from itertools import islice

import pytest

from gorgias_assets.entities import SATISFACTION_SURVEYS, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.endpoints import Answer
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.rows import Row
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets.sweeps.pager import Pager
from gorgias_assets.sweeps.rows import parse_datetime
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets_tests.conftest import touched

START = datetime(2025, 3, 10, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
A_SECOND = 7  # rows
ROWS = 1_200
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


class RowsOfASecond(Sandbox):
    """An account that orders by whole seconds, and shows a fraction as well."""

    def respond(self, request: Request, headers: Message) -> Answer:
        due = super().respond(request, headers)
        if not due.is_page:
            return due
        page = json.loads(due.body)
        for row in page["data"]:
            row["created_datetime"] = shown(row).isoformat()
        return replace(due, body=json.dumps(page).encode().replace(b'": ', b'":', 1))


def shown(row: Row) -> datetime:
    """Return when the row was created, with a fraction that has nothing to do with its place in the list."""
    return parse_datetime(row["created_datetime"]).replace(microsecond=row["id"] * 7_919 * 127 % 1_000_000)


def cursor_of(request: Request) -> str:
    return base64.b64decode(request.params.get("cursor", "")).decode()


def is_made(request: Request) -> bool:
    """Return if the cursor is not one that the sandbox has given: no row has the id 0."""
    return cursor_of(request).endswith(", 0]")


def surveys(account: Account, *moments: datetime, first_id: int = 1) -> None:
    blank = KINDS["satisfaction_surveys"].blank
    rows = ({**blank, "id": row_id, "created_datetime": at} for row_id, at in enumerate(moments, first_id))
    account.insert_many("satisfaction_surveys", rows)


def resource(sandbox: Sandbox, **settings: object) -> GorgiasResource:
    return GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, **{"patience_minutes": 1 / 60, **settings})


def sweep_of(
    sandbox: Sandbox, start: datetime, end: datetime, entity: Entity = SATISFACTION_SURVEYS, **how: bool
) -> Sweep:
    gorgias = resource(sandbox, seek=how.pop("seek", True), look_back_days={entity.name: 0})
    return gorgias.sweep(entity, start, end, **how)


def ids(sweep: Sweep) -> set[int]:
    return {row_id for batch in sweep.batches() for row_id in touched(batch)["id"].to_pylist()}


@pytest.fixture(scope="module")
def busy() -> Account:
    account = Account(now=START + 9 * DAY)
    surveys(account, *(START + SECOND * (number // A_SECOND) for number in range(ROWS)))
    surveys(account, *(START + DAY + SECOND * number for number in range(900)), first_id=ROWS + 1)
    return account


def created_in(account: Account, start: datetime, end: datetime) -> set[int]:
    return {row["id"] for row in account.rows("satisfaction_surveys") if start <= shown(row) < end}


BORDERS = [0.0, 3.2, 41.9, 100.5, 101.0]  # of windows, in seconds since START


@pytest.mark.parametrize("seek", [True, False])
@pytest.mark.parametrize("since", BORDERS)
def test_rows_of_a_second_in_any_order_cost_no_row_at_either_end_of_a_window(busy: Account, since: float, seek: bool):
    start = START + SECOND * since
    end = start + SECOND * 33.3
    with RowsOfASecond(busy, gzip=False) as sandbox:
        sweep = sweep_of(sandbox, start, end, seek=seek)
        assert ids(sweep) >= created_in(busy, start, end)
        assert sweep.progress.seek == ("used" if seek else "off")


def test_rows_of_a_second_in_any_order_are_all_read_if_each_cursor_is_refused(busy: Account):

    class Forgetful(RowsOfASecond):
        def respond(self, request: Request, headers: Message) -> Answer:
            due = super().respond(request, headers)
            return Answer(400, b"{}") if '"next"' in cursor_of(request) and not is_made(request) else due

    with Forgetful(busy, gzip=False) as sandbox:
        assert ids(sweep_of(sandbox, START, START + DAY, full=True)) >= created_in(busy, START, START + DAY)


@pytest.mark.parametrize("seek", [True, False])
def test_rows_of_a_second_in_any_order_are_all_read_by_attempts_that_resume(busy: Account, seek: bool):
    found: set[int] = set()
    position = ""
    with RowsOfASecond(busy, gzip=False) as sandbox:
        for batches in (1, 2, 1, 3, None):
            sweep = sweep_of(sandbox, START, START + DAY, full=True, seek=seek)
            assert not position or sweep.resume(position)
            sandbox.faults[:] = [Fault("expired_cursor")] if position else []
            for batch in islice(sweep.batches(300), batches):
                found |= set(touched(batch)["id"].to_pylist())
                position = batch.position
    assert found >= created_in(busy, START, START + DAY)


def test_rows_of_a_second_in_any_order_are_all_read_by_readers_side_by_side(busy: Account):
    with RowsOfASecond(busy, gzip=False, latency=0.16) as sandbox:
        sweep = sweep_of(sandbox, START, START + 2 * DAY)
        assert ids(sweep) == created_in(busy, START, START + 2 * DAY)
        assert sweep.progress.seek == "used"


def test_rows_of_the_future_cost_no_more_than_the_pages_that_they_fill():
    account, calls = Account(now=START + 30 * DAY), []
    surveys(account, *(START + timedelta(minutes=number) for number in range(8_000)))
    for ahead in (0, 1, 150):
        surveys(account, *[FUTURE] * ahead, first_id=10_000)
        with Sandbox(account) as sandbox:
            sweep = sweep_of(sandbox, START, START + timedelta(minutes=90))
            assert ids(sweep) == set(range(1, 91))
            assert sweep.progress.seek == "used"
            calls.append(len(sandbox.requests))
    assert calls == [calls[0], calls[0], calls[0] + 1]


def test_a_row_of_the_future_does_not_end_the_reckoning_of_what_is_left():
    account = Account(now=START + DAY)
    surveys(account, *(START + SECOND * number for number in range(1_000)), FUTURE)
    with Sandbox(account) as sandbox:
        sweep, shares = sweep_of(sandbox, START, START + DAY), []
        list(sweep.batches(on_page=lambda: shares.append(sweep.share_done)))
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1


class RefusingMadeCursors(Sandbox):
    """An account that answers a cursor that it has not given in its own way."""

    answer: Answer

    def respond(self, request: Request, headers: Message) -> Answer:
        due = super().respond(request, headers)
        return self.answer if is_made(request) else due


REFUSALS = {str(status): Answer(status, b"{}") for status in (400, 403, 404, 405, 410, 422, 500)} | {
    "html": Answer(200, b"<html>", content_type="text/html"),
    "nonsense": Answer(200, b'{"data": 7, "meta": []}'),
    "nothing": Answer(0),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_made_cursor_that_is_answered_in_any_way_but_with_rows_costs_a_walk_and_no_run(refusal: Answer):
    account = Account(now=START + 30 * DAY)
    surveys(account, *(START + timedelta(minutes=20 * number) for number in range(1_500)))
    with RefusingMadeCursors(account) as sandbox:
        sandbox.answer = refusal
        gorgias = resource(sandbox, patience_minutes=1 / 200, look_back_days={"satisfaction_surveys": 0})
        sweep = gorgias.sweep(SATISFACTION_SURVEYS, START, START + timedelta(minutes=90))
        assert ids(sweep) == {1, 2, 3, 4, 5}
        assert sweep.progress.seek == "rejected (paged instead)"


def test_a_saved_cursor_that_cannot_be_answered_costs_a_seek():
    account = Account(now=START + 9 * DAY)
    surveys(account, *(START + timedelta(minutes=number) for number in range(400)))
    with Sandbox(account) as sandbox:
        first = next(sweep_of(sandbox, START, START + DAY).batches(100))
        again = sweep_of(sandbox, START, START + DAY)
        assert again.resume(first.position)
        kept = {request.params["cursor"] for request in sandbox.requests if "cursor" in request.params}

        class Stale(RefusingMadeCursors):
            def respond(self, request: Request, headers: Message) -> Answer:
                due = Sandbox.respond(self, request, headers)
                return self.answer if request.params.get("cursor") in kept else due

        with Stale(account) as stale:
            stale.answer = Answer(500)
            again = resource(stale, patience_minutes=1 / 200).sweep(SATISFACTION_SURVEYS, START, START + DAY)
            assert again.resume(first.position)
            assert ids(again) | set(first.rows["id"].to_pylist()) >= set(range(1, 401))


def test_the_parsed_rows_of_a_page_are_freed_once_they_are_typed(busy: Account):
    with Sandbox(busy) as sandbox:
        sweep = sweep_of(sandbox, START, START + 2 * DAY)
        pager = Pager(sweep.entity, sweep.position, sweep.progress, can_seek=True)
        with closing(sweep.connect()) as client:
            kept = list(pager.pages(client, sweep.position.spans[0]))
    assert sum(page.rows.table.num_rows for page in kept) == ROWS + 900
    assert not any(page.answer.rows for page in kept)


def test_tickets_without_a_moment_of_change_are_read_by_a_full_sweep_and_told():
    account = Account(now=START + DAY)
    blank = KINDS["tickets"].blank
    rows = [
        {**blank, "id": n, "created_datetime": START, "updated_datetime": None if n < 3 else START} for n in range(9)
    ]
    account.insert_many("tickets", rows)
    with Sandbox(account) as sandbox:
        sweep = sweep_of(sandbox, START, START + DAY, TICKETS, full=True)
        assert ids(sweep) == set(range(9))
        assert sweep.progress.rows_without_order == 0
        sweep = sweep_of(sandbox, START, START + DAY, TICKETS)
        assert ids(sweep) == set(range(9))
        assert (sweep.progress.rows_in_order, sweep.progress.rows_without_order) == (6, 3)
