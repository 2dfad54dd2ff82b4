"""The budget against a real bucket: the level it keeps, the right of way it gives, and life without a header."""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from requests.structures import CaseInsensitiveDict

from gorgias_assets.budget import Budget
from gorgias_assets.client import GorgiasClient, Page
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.uri import GorgiasUri

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
