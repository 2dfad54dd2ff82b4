"""The budget against a real bucket: the level it keeps, the right of way it gives, and life without a header."""

import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from requests.structures import CaseInsensitiveDict

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient, Page, Unavailable
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.benchmarks.budget import shares

MANY_PAGES = 45
LIMIT, PERIOD = 40, 20.0  # Gorgias's own, for an API key
HEADER = "X-Gorgias-Account-Api-Call-Limit"


@pytest.fixture(scope="module")
def account() -> Account:
    account = Account(now=datetime(2026, 3, 1, tzinfo=UTC))
    row = {"created_datetime": "2026-02-01T00:00:00+00:00", "name": "tag"}
    account.insert_many("tags", ({"id": number, **row} for number in range(1, MANY_PAGES * 100 + 1)))
    return account


def pages(sandbox: Sandbox, count: int, max_share: float = 0.8) -> list[Page]:
    return list(islice(reading(sandbox, max_share), count))


def reading(sandbox: Sandbox, max_share: float) -> Generator[Page, None, None]:
    uri, budget = GorgiasUri.parse(sandbox.uri), Budget(max_share)
    with closing(GorgiasClient(uri, api_url=sandbox.api_url, budget=budget, patience=30)) as client:
        yield from client.pages("/tags", order_by="created_datetime:desc")


@contextmanager
def readers(sandbox: Sandbox, budgets: int, threads: int = 4) -> Iterator[None]:
    """So many threads per budget read the list over and over until the block ends."""
    uri = GorgiasUri.parse(sandbox.uri)

    def read(client: GorgiasClient) -> None:
        with suppress(Unavailable):
            while True:
                for _ in client.pages("/tags", order_by="created_datetime:desc"):
                    pass

    with ThreadPoolExecutor(budgets * threads) as pool:
        clients = [
            GorgiasClient(uri, api_url=sandbox.api_url, budget=budget, patience=30)
            for budget in [Budget() for _ in range(budgets)]
            for _ in range(threads)
        ]
        try:
            reads = [pool.submit(read, client) for client in clients]
            yield
        finally:
            for client in clients:
                client.close()
        for done in reads:
            done.result()


def filled(bucket: Bucket, calls: int) -> Bucket:
    """With calls that somebody else made."""
    assert bucket.take(calls) == calls
    return bucket


@pytest.mark.parametrize(("max_share", "others", "count"), [(0.5, 0, 23), (0.8, 10, 25), (1.0, 15, 28)])
def test_the_level_stays_at_or_below_the_share_and_the_refill_is_used(
    account: Account, max_share: float, others: int, count: int
) -> None:
    bucket = filled(Bucket(LIMIT, PERIOD), others)
    levels: list[int] = []
    with Sandbox(account, bucket=bucket) as sandbox:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        started = time.monotonic()
        read = pages(sandbox, count, max_share)
        took = time.monotonic() - started
    share = max_share * LIMIT
    assert {request.status for request in sandbox.requests} == {200}
    assert len(levels) == len(read) == count
    assert max(levels) <= share + 1
    assert took >= (others + count - share - 1) * PERIOD / LIMIT
    assert max(levels) >= share - 2  # it is not timid either
    assert sum(page.waited for page in read) <= took


def test_nothing_waits_while_there_is_room(account: Account) -> None:
    with Sandbox(account, bucket=Bucket(LIMIT, PERIOD)) as sandbox:
        assert [page.waited for page in pages(sandbox, 20)] == [0.0] * 20


def test_a_plan_with_a_bigger_and_faster_bucket_is_used_without_being_told(account: Account) -> None:
    with Sandbox(account, bucket=Bucket(2 * LIMIT, PERIOD / 40)) as sandbox:
        started = time.monotonic()
        pages(sandbox, MANY_PAGES)
        assert time.monotonic() - started < 4  # in a bucket of 40 per 20 s the last 13 pages alone would take 6.5 s


def test_it_gives_way_when_somebody_else_fills_the_bucket(account: Account) -> None:
    bucket = Bucket(LIMIT, PERIOD)
    with Sandbox(account, bucket=bucket) as sandbox, closing(reading(sandbox, 0.8)) as read:
        assert next(read).waited == 0.0
        bucket.take(33)
        assert next(read).waited == 0.0  # its answer tells: 35 of 40
        before = time.monotonic()
        assert next(read).waited >= 1.5
        assert time.monotonic() - before >= 1.5
        assert bucket.used <= 33
    assert {request.status for request in sandbox.requests} == {200}


def test_two_readers_of_one_account_share_it_without_a_429(account: Account) -> None:
    bucket = filled(Bucket(LIMIT, PERIOD), 24)
    levels: list[int] = []
    with Sandbox(account, bucket=bucket) as sandbox, ThreadPoolExecutor(2) as readers:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        read = list(readers.map(lambda _: pages(sandbox, 6), range(2)))
    assert [len(pages) for pages in read] == [6, 6]
    assert {request.status for request in sandbox.requests} == {200}
    assert max(levels) <= 0.8 * LIMIT + 3


def test_eight_processes_of_four_threads_use_the_refill_without_a_429() -> None:
    got = shares(80, PERIOD, latency=0.05, processes=8, threads=4, seconds=12)
    assert got.refused == 0
    assert got.of_refill >= 0.95
    assert got.highest <= 0.8 * 80 + 8


def test_threads_that_share_a_budget_hold_the_level_of_a_plan_that_drains_twice_as_fast(account: Account) -> None:
    bucket, share, drain = filled(Bucket(LIMIT, PERIOD / 2), 28), 0.8 * LIMIT, 2 * LIMIT / PERIOD
    with Sandbox(account, bucket=bucket, latency=0.1) as sandbox, readers(sandbox, budgets=1):
        time.sleep(1.5)
        levels, calls = [], len(sandbox.requests)
        for _ in range(100):
            levels.append(bucket.used)
            time.sleep(0.05)
        calls, seconds = len(sandbox.requests) - calls, 5
    assert {request.status for request in sandbox.requests} == {200}
    assert share - 5 <= min(levels) <= max(levels) <= share + 1
    assert calls >= 0.95 * drain * seconds


def test_readers_give_way_while_somebody_else_keeps_the_level_above_the_share_and_take_over_after(
    account: Account,
) -> None:
    bucket, share = filled(Bucket(LIMIT, PERIOD / 2), 28), 0.8 * LIMIT
    with Sandbox(account, bucket=bucket, latency=0.05) as sandbox, readers(sandbox, budgets=2):
        time.sleep(2)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            bucket.take(max(0, int(share) + 4 - bucket.used))
            time.sleep(0.02)
        theirs = [request for request in sandbox.requests if until - 4 <= request.started < until]
        time.sleep(6)
        resumed = [request for request in sandbox.requests if request.started >= until]
        level = bucket.used
    assert len(theirs) <= 4  # to look whether there is room again; 16 calls drained
    assert len(resumed) >= 12  # of 24
    assert level >= share - 8
    assert {request.status for request in sandbox.requests} == {200}


def test_a_bucket_that_is_full_when_the_reading_begins_costs_waiting_and_no_rows(account: Account) -> None:
    bucket = filled(Bucket(LIMIT, period=PERIOD), LIMIT)
    with Sandbox(account, bucket=bucket) as sandbox:
        (page,) = pages(sandbox, 1, max_share=1.0)
    assert len(page.rows) == 100
    assert [request.status for request in sandbox.requests] == [429, 200]


def test_retry_after_is_waited_for_in_full(account: Account) -> None:
    with Sandbox(account) as sandbox:
        sandbox.faults.append(Fault(429, skip=1, retry_after=2))
        read = pages(sandbox, 3)
    starts = [request.started for request in sandbox.requests]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert [request.status for request in sandbox.requests] == [200, 429, 200, 200]
    assert gaps[1] >= 1.95
    assert gaps[2] < 1
    assert [page.calls for page in read] == [1, 2, 1]
    assert read[1].waited > 0


@pytest.mark.parametrize(
    "headers", [{}, {HEADER: ""}, {HEADER: "many"}, {HEADER: "5"}, {HEADER: "1/0"}, {HEADER: "-1/40"}]
)
def test_without_a_usable_header_the_bucket_is_taken_for_40_calls_in_20_seconds(headers: dict[str, str]) -> None:
    budget = Budget(max_share=0.05)  # two calls
    started = time.monotonic()
    for _ in range(3):
        budget.acquire()
        budget.observe(CaseInsensitiveDict(headers))
    took = time.monotonic() - started
    assert took >= 0.45
    assert budget.waited_seconds == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "level", "seconds"),
    [
        (HEADER, "33/40", 1.0),
        (HEADER.lower(), " 66 / 80 ", 0.75),
        (HEADER.upper(), "32/40", 0.5),
        (HEADER, "31/40", 0.0),
    ],
)
def test_the_wait_follows_from_the_level_in_the_header(name: str, level: str, seconds: float) -> None:
    budget = Budget(max_share=0.8)
    budget.observe(CaseInsensitiveDict({name: level}))
    budget.acquire()
    assert budget.waited_seconds == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("max_share", [0, -0.1, 1.01, 80, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused_in_one_sentence(max_share: float) -> None:
    with pytest.raises(ValueError, match=r"max_share is a share of .*; got .*\.$"):
        Budget(max_share)


def test_a_share_of_less_than_one_call_still_makes_one_call_at_a_time() -> None:
    budget = Budget(max_share=0.001)
    budget.acquire()
    assert budget.waited_seconds == 0.0
    budget.observe(CaseInsensitiveDict({HEADER: "1/40"}))
    budget.acquire()
    assert budget.waited_seconds == pytest.approx(0.5, abs=0.05)


def test_a_wait_ends_at_once_when_it_is_stopped() -> None:
    budget, stop = Budget(), threading.Event()
    budget.observe(CaseInsensitiveDict({HEADER: "40/40"}))
    with ThreadPoolExecutor(4) as waiting:
        waits = [waiting.submit(budget.acquire, stop=stop) for _ in range(4)]
        time.sleep(0.5)
        assert not any(wait.done() for wait in waits)
        stopped = time.monotonic()
        stop.set()
        waited = [wait.result() for wait in waits]
        assert time.monotonic() - stopped < 0.2
    assert waited == [pytest.approx(0.5, abs=0.2)] * 4
    assert budget.waited_seconds == pytest.approx(sum(waited))


def test_one_call_at_a_time_until_answers_tell_how_full_the_bucket_is() -> None:
    budget = Budget()
    assert budget.acquire() == 0.0
    with pytest.raises(TimeoutError):
        budget.acquire(patience=0.2)
    for _ in range(5):
        budget.observe(CaseInsensitiveDict({HEADER: "1/40"}))
        assert budget.acquire() == 0.0
    assert budget.acquire(patience=0.2) == 0.0


def test_a_call_without_an_answer_is_given_back() -> None:
    budget = Budget()
    for _ in range(3):
        assert budget.acquire() == 0.0
        budget.release()


@pytest.mark.parametrize("fault", ["reset", 503])
def test_a_failed_attempt_holds_no_call_back(account: Account, fault: str | int) -> None:
    with Sandbox(account) as sandbox:
        sandbox.faults.append(Fault(fault, times=2))
        read = pages(sandbox, 2)
    assert [page.calls for page in read] == [3, 1]
    assert [page.waited for page in read] == [0.0, 0.0]
