"""Reading ahead: the same pages, errors at their place, bounded, and no request once the reader has left."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient, Page, Rejected, Unavailable
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.read_ahead import read_ahead

PAGES = 8
MUCH = 2**30


@pytest.fixture(scope="module")
def account() -> Account:
    account = Account(now=datetime(2026, 3, 1, tzinfo=UTC))
    row = {"created_datetime": "2026-02-01T00:00:00+00:00", "name": "tag"}
    account.insert_many("tags", ({"id": number, **row} for number in range(1, PAGES * 100 + 1)))
    return account


@pytest.fixture
def sandbox(account: Account) -> Iterator[Sandbox]:
    with Sandbox(account) as sandbox:
        yield sandbox


def client_of(sandbox: Sandbox, patience: float = 20) -> GorgiasClient:
    return GorgiasClient(GorgiasUri.parse(sandbox.uri), api_url=sandbox.api_url, budget=Budget(), patience=patience)


@contextmanager
def pages_of(sandbox: Sandbox, patience: float = 20) -> Iterator[Iterator[Page]]:
    with closing(client_of(sandbox, patience)) as client:
        yield client.pages("/tags", order_by="created_datetime:desc")


def settled(sandbox: Sandbox) -> int:
    """Return the number of requests when no more come."""
    seen = -1
    while len(sandbox.requests) != seen:
        seen = len(sandbox.requests)
        time.sleep(0.15)
    return seen


def requested(sandbox: Sandbox, count: int) -> int:
    """Wait until there are so many requests, for a minute at most."""
    for _ in range(6000):
        if len(sandbox.requests) >= count:
            break
        time.sleep(0.01)
    return len(sandbox.requests)


def left(reading: Callable[[], None]) -> None:
    """Leave a block; fail if that takes a minute, since it then waits for an hour."""
    thread = threading.Thread(target=reading, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "gorgias-read-ahead"]


@pytest.mark.parametrize("max_bytes", [1, 30_000, MUCH])
def test_the_pages_are_the_same_in_the_same_order_however_far_ahead(sandbox: Sandbox, max_bytes: int) -> None:
    with pages_of(sandbox) as pages:
        plain = [(page.rows, page.next_cursor) for page in pages]
    with pages_of(sandbox) as pages, read_ahead(pages, max_bytes) as ahead:
        assert [(page.rows, page.next_cursor) for page in ahead] == plain
    assert len(plain) == PAGES
    assert readers() == []


def test_no_bytes_ahead_does_not_mean_waiting_for_ever(sandbox: Sandbox) -> None:
    read: list[Page] = []
    with pages_of(sandbox) as pages, read_ahead(pages, 0) as ahead:
        reader = threading.Thread(target=lambda: read.extend(ahead), daemon=True)
        reader.start()
        reader.join(timeout=60)
    assert len(read) == PAGES


def test_the_next_pages_are_read_while_one_is_being_used(sandbox: Sandbox) -> None:
    with pages_of(sandbox) as pages, read_ahead(pages, MUCH) as ahead:
        next(ahead)
        assert requested(sandbox, PAGES) == PAGES


def test_it_stays_within_so_many_bytes_or_one_page_ahead(sandbox: Sandbox) -> None:
    with pages_of(sandbox) as pages:
        size = next(pages).size
    sandbox.requests.clear()
    for max_bytes, most in [(1, 1), (2 * size, 3), (4 * size, 5)]:
        with pages_of(sandbox) as pages, read_ahead(pages, max_bytes) as ahead:
            assert requested(sandbox, max_bytes // size) >= max_bytes // size
            assert settled(sandbox) <= most
            next(ahead)
            assert settled(sandbox) <= most + 1
            next(ahead)
            assert settled(sandbox) <= most + 2
        sandbox.requests.clear()


def test_an_error_comes_after_the_pages_before_it(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(403, skip=3, times=None))
    read: list[Page] = []
    with pages_of(sandbox) as pages, read_ahead(pages, MUCH) as ahead:
        assert requested(sandbox, 4) == 4
        with pytest.raises(Rejected, match=r"\(403\)"):
            read.extend(ahead)
    assert len(read) == 3
    assert readers() == []


def test_an_error_at_the_first_page_is_raised_and_not_an_empty_list(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(500, times=None))
    with pages_of(sandbox, patience=0.1) as pages, read_ahead(pages, MUCH) as ahead, pytest.raises(Unavailable):
        next(ahead)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_stops_the_thread_reaches_the_reader_whatever_it_is(sandbox: Sandbox, error: type[BaseException]) -> None:
    def interrupted(pages: Iterator[Page]) -> Iterator[Page]:
        yield next(pages)
        raise error

    with pages_of(sandbox) as pages, read_ahead(interrupted(pages), MUCH) as ahead:
        assert len(next(ahead).rows) == 100
        with pytest.raises(error):
            next(ahead)


def test_leaving_early_stops_the_thread_and_makes_no_further_request(sandbox: Sandbox) -> None:
    with pages_of(sandbox) as pages, read_ahead(pages, 1) as ahead:
        next(ahead)
    assert readers() == []
    made = len(sandbox.requests)
    assert settled(sandbox) == made <= 3


def test_leaving_with_an_error_lets_that_error_through_and_stops_the_thread(sandbox: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError), pages_of(sandbox) as pages, read_ahead(pages, 1) as ahead:
        1 // (len(next(ahead).rows) - 100)
    assert readers() == []
    assert settled(sandbox) <= 3


def test_leaving_while_a_page_is_on_its_way_waits_for_that_request_and_makes_no_other(account: Account) -> None:
    with Sandbox(account, latency=0.3) as sandbox:
        with pages_of(sandbox) as pages, read_ahead(pages, MUCH) as ahead:
            next(ahead)
            assert requested(sandbox, 2) == 2
        assert readers() == []
        assert settled(sandbox) == 2


def test_leaving_during_an_outage_makes_no_further_attempt_once_the_client_is_closed(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(503, skip=1, times=None))
    client = client_of(sandbox)
    pages = client.pages("/tags", order_by="created_datetime:desc")
    with read_ahead(pages, MUCH) as ahead, closing(client):
        next(ahead)
        made = requested(sandbox, 2)
    assert settled(sandbox) <= made + 1


def test_leaving_while_gorgias_has_it_wait_does_not_wait_once_the_client_is_closed(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(429, skip=1, times=1, retry_after=3600))

    def leave_early() -> None:
        client = client_of(sandbox, patience=7200)
        pages = client.pages("/tags", order_by="created_datetime:desc")
        with read_ahead(pages, MUCH) as ahead, closing(client):
            next(ahead)
            assert requested(sandbox, 2) == 2

    left(leave_early)
    assert settled(sandbox) == 2


def test_leaving_at_once_is_no_error(sandbox: Sandbox) -> None:
    with pages_of(sandbox) as pages, read_ahead(pages, 1):
        pass
    assert readers() == []
    assert settled(sandbox) <= 1
