"""Seeking: an old day costs the calls of that day, holds every row of it, and on any doubt the list is paged."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gorgias_assets.api.budget import Budget, Clock
from gorgias_assets.entities import CORE, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.endpoints import Answer
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets.windows import Window
from gorgias_assets_tests.api.clock import MovedClock
from gorgias_assets_tests.conftest import Project, touched

OPENED = datetime(2025, 3, 1, tzinfo=UTC)
CLOSED = datetime(2025, 5, 10, tzinfo=UTC)
OLD_DAY = "2025-03-20"
MICROSECOND = timedelta(microseconds=1)
# One of each order; `make soak` has the others, which are read alike.
each_entity = pytest.mark.parametrize(
    "entity",
    [
        pytest.param(entity, id=entity.name, marks=() if entity in (TICKETS, TICKET_MESSAGES) else pytest.mark.soak)
        for entity in CORE
    ],
)


@pytest.fixture(scope="module")
def season() -> Account:
    """Return ten weeks of a shop, closed since; nobody changes it."""
    account = Account(now=OPENED)
    Shop(account, seed=5, tickets_per_day=30).live(until=CLOSED)
    return account


@pytest.fixture
def shop(season: Account, tmp_path: Path) -> Iterator[Project]:
    with Sandbox(season) as sandbox:
        yield Project(sandbox, tmp_path / "warehouse.duckdb")


def kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return entity.path.removeprefix("/").replace("-", "_")


def without_seeking(sandbox: Sandbox) -> GorgiasResource:
    return GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, seek=False)


def touched_on(project: Project, entity: Entity, day: str) -> dict[int, dict[str, Any]]:
    """Return the account's rows that were touched on that day."""
    return {
        row_id: row
        for row_id, row in project.live_rows(entity).items()
        if any(row[name] and row[name].date().isoformat() == day for name in entity.read.touch_fields)
    }


def calls_of_the_day(project: Project, entity: Entity, day: str) -> int:
    """Return the pages of the day and its look-back and look-ahead, in each order in which the day is read."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    pages = 0
    for order in {entity.read.order, entity.read.creation_order}:
        alone = entity.read.order == entity.read.creation_order
        until = start + timedelta(days=1) + (entity.read.look_ahead if alone else timedelta(0))
        rows = project.live_rows(entity).values()
        pages += ceil(sum(start - entity.read.look_back <= row[order] < until for row in rows) / 100)
    return pages


@each_entity
@pytest.mark.parametrize("day", [OLD_DAY, "2025-03-01", "2025-04-20"])
def test_an_old_day_costs_its_own_calls_and_a_few_and_holds_every_row_of_it(shop, entity, day):
    metadata = shop.metadata(shop.materialize(day, select=[entity.name]), entity)
    assert shop.table(entity) == touched_on(shop, entity, day)
    assert metadata["seek"] in ("used", "not needed")
    orders = len({entity.read.order, entity.read.creation_order})
    most = calls_of_the_day(shop, entity, day) + 1 + 2 * orders
    assert metadata["api_calls"] == len(shop.sandbox.requests) <= max(most, 6)
    assert metadata["rows_merged"] == metadata["dagster/partition_row_count"] == len(shop.table(entity))


def test_a_row_that_was_created_on_an_old_day_and_edited_since_is_in_that_day_s_replay(project, account):
    account.now = datetime(2025, 8, 1, tzinfo=UTC)
    blank = KINDS["tickets"].blank
    at = (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(3000))
    account.insert_many(
        "tickets",
        ({**blank, "id": n, "created_datetime": m, "updated_datetime": m} for n, m in enumerate(at, 1)),
    )
    account.update("tickets", 500, status="closed")  # of March, closed in August
    created = account.row("tickets", 500)["created_datetime"][:10]
    metadata = project.metadata(project.materialize(created, select=["tickets"]), TICKETS)
    assert metadata["seek"] == "used"
    assert metadata["api_calls"] <= 7
    assert project.query("SELECT status FROM gorgias.tickets WHERE id = 500") == [("closed",)]
    assert project.table(TICKETS) == touched_on(project, TICKETS, created)


@each_entity
def test_yesterday_is_paged_since_that_is_cheaper(shop, entity):
    metadata = shop.metadata(shop.materialize("2025-05-09", select=[entity.name]), entity)
    assert metadata["seek"] == "not needed"
    assert not any("prev" in cursor_of(request) for request in shop.sandbox.requests)


def cursor_of(request: Any) -> str:
    return base64.b64decode(request.params.get("cursor", "")).decode()


@each_entity
def test_the_switch_turns_it_off_and_the_rows_are_the_same(shop, entity):
    shop.resources["gorgias"] = without_seeking(shop.sandbox)
    metadata = shop.metadata(shop.materialize(OLD_DAY, select=[entity.name]), entity)
    assert metadata["seek"] == "off"
    assert shop.table(entity) == touched_on(shop, entity, OLD_DAY)
    newer = sum(row[entity.read.order].date().isoformat() > OLD_DAY for row in shop.live_rows(entity).values())
    assert metadata["api_calls"] >= newer // 100


def test_a_day_before_the_first_row_is_empty_for_a_few_calls(shop):
    early = datetime(2025, 2, 1, tzinfo=UTC)
    for entity in CORE:
        shop.sandbox.requests.clear()
        sweep = shop.resources["gorgias"].sweep(entity, early, early + timedelta(days=1))
        assert sum(touched(batch).num_rows for batch in sweep.batches()) == 0
        assert sweep.progress.seek == "used"
        assert len(shop.sandbox.requests) <= 5, entity.name


def test_ties_at_the_end_of_a_day_are_divided_as_the_half_open_window_is(project, account):
    """150 surveys in the last microsecond of the day, 150 in the first of the next, 2,000 after that."""
    account.now = datetime(2025, 8, 1, tzinfo=UTC)
    end = datetime(2025, 3, 11, tzinfo=UTC)
    blank = KINDS["satisfaction_surveys"].blank
    moments = [end - MICROSECOND] * 150 + [end] * 150 + [end + timedelta(hours=n) for n in range(3, 2003)]
    account.insert_many(
        "satisfaction_surveys", ({**blank, "id": n, "created_datetime": m} for n, m in enumerate(moments, 1))
    )
    metadata = project.metadata(
        project.materialize("2025-03-10", select=["satisfaction_surveys"]), SATISFACTION_SURVEYS
    )
    assert metadata["seek"] == "used"
    assert sorted(project.table(SATISFACTION_SURVEYS)) == list(range(1, 151))


def test_what_precedes_its_creation_by_less_than_the_look_ahead_is_found_on_the_day_of_its_touch(project, account):
    """A customer's message is sent seconds before it is created, here on two sides of midnight."""
    account.now = datetime(2025, 8, 1, tzinfo=UTC)
    midnight = datetime(2025, 3, 11, tzinfo=UTC)
    blank = KINDS["messages"].blank
    around = {"created_datetime": midnight + timedelta(seconds=1), "sent_datetime": midnight - timedelta(seconds=1)}
    later = ({"created_datetime": midnight + timedelta(hours=n)} for n in range(3, 2003))
    account.insert_many("messages", ({**blank, "id": n, **row} for n, row in enumerate([around, *later], 1)))
    metadata = project.metadata(project.materialize("2025-03-10", select=["ticket_messages"]), TICKET_MESSAGES)
    assert (metadata["seek"], list(project.table(TICKET_MESSAGES))) == ("used", [1])


class OtherCursors(Sandbox):
    """An account that takes a cursor that it has not given for the one that `mean` returns."""

    def __init__(self, account: Account, mean: Callable[[datetime], datetime | str | None]) -> None:
        super().__init__(account)
        self._mean = mean

    def respond(self, request: Request, headers: Message) -> Answer:
        if (cursor := cursor_of(request)).endswith(", 0]"):
            meant = self._mean(datetime.fromisoformat(json.loads(cursor)[1]))
            sent = {name: value for name, value in request.params.items() if name != "cursor"}
            if meant is not None:
                text = meant if isinstance(meant, str) else json.dumps(["next", meant.isoformat(), 0])
                sent["cursor"] = base64.b64encode(text.encode()).decode()
            request.query = urlencode(sent)
        return super().respond(request, headers)


DOUBTS: dict[str, Callable[[datetime], datetime | str | None]] = {
    "refused": lambda _: "a form of tomorrow",
    "passed over": lambda _: None,
    "two days too old": lambda moment: moment - timedelta(days=2),
    "two days too new": lambda moment: moment + timedelta(days=2),
    "older than everything": lambda moment: moment - timedelta(days=9_000),
    "newer than everything": lambda moment: moment + timedelta(days=9_000),
}


@each_entity
@pytest.mark.parametrize("mean", DOUBTS.values(), ids=list(DOUBTS))
def test_on_any_doubt_the_list_is_paged_and_no_row_is_lost(season, tmp_path, entity, mean):
    with OtherCursors(season, mean) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        metadata = project.metadata(project.materialize("2025-03-05", select=[entity.name]), entity)
        assert metadata["seek"] == "rejected (paged instead)"
        assert metadata["api_calls"] == len(sandbox.requests)
        assert project.table(entity) == touched_on(project, entity, "2025-03-05")


@pytest.mark.parametrize("what", [500, "null_data"])
@pytest.mark.parametrize("skip", range(5))
def test_a_fault_at_any_request_of_a_seek_costs_a_call_and_no_row(shop, what, skip):
    shop.sandbox.faults.append(Fault(what, path="/api/tickets", skip=skip))
    metadata = shop.metadata(shop.materialize(OLD_DAY, select=["tickets"]), TICKETS)
    assert shop.table(TICKETS) == touched_on(shop, TICKETS, OLD_DAY)
    assert (metadata["seek"], metadata["retries"]) == ("used", 1)


def swept(sandbox: Sandbox, clock: Clock) -> tuple[Sweep, set[int]]:
    """Return a sweep of all messages of the season, which measures answers by a clock, and their ids."""
    resource = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
    connect = partial(resource.client, budget=Budget(clock=clock))
    sweep = Sweep(TICKET_MESSAGES, Window(OPENED, CLOSED), connect, timedelta(0))
    return sweep, {row_id for batch in sweep.batches() for row_id in touched(batch)["id"].to_pylist()}


def test_a_list_whose_answers_are_slow_is_read_by_several_readers_side_by_side(season):
    with Sandbox(season, latency=0.2) as sandbox:
        sweep, ids = swept(sandbox, Clock())
    messages = season.rows("messages")
    least = ceil(sum(row["created_datetime"] >= OPENED.isoformat() for row in messages) / 100)
    assert ids == {row["id"] for row in messages if row["created_datetime"] >= OPENED.isoformat()}
    assert sweep.progress.seek == "used"
    starts = [request.started for request in sandbox.requests]
    assert sum(later - earlier < sandbox.latency for earlier, later in pairwise(starts)) > 10
    assert len(sandbox.requests) <= least + 15


def test_a_list_whose_answers_are_fast_is_read_by_one_reader_without_a_call_more(season):
    with Sandbox(season) as sandbox:
        sweep, ids = swept(sandbox, MovedClock())
    assert sweep.progress.seek == "not needed"
    assert len(sandbox.requests) == ceil(len(ids) / 100)
