"""The budget against the sandbox's bucket, on a clock of the test's: its level, its right of way, its waits."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from threading import Event, Timer

import pytest
from requests.structures import CaseInsensitiveDict

from gorgias_assets.api.budget import Budget, Clock
from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.api.clock import MovedClock

MANY_PAGES = 45
LIMIT, PERIOD = 40, 20.0  # Gorgias's own, for an API key
HEADER = "X-Gorgias-Account-Api-Call-Limit"


@pytest.fixture(scope="module")
def account() -> Account:
    account = Account(now=datetime(2026, 3, 1, tzinfo=UTC))
    row = {"created_datetime": "2026-02-01T00:00:00+00:00", "name": "tag"}
    account.insert_many("tags", ({"id": number, **row} for number in range(1, MANY_PAGES * 100 + 1)))
    return account


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@contextmanager
def reading(sandbox: Sandbox, clock: Clock, max_share: float = 0.8) -> Iterator[Iterator[Page]]:
    uri, budget = GorgiasUri.parse(sandbox.uri), Budget(max_share, clock)
    with closing(GorgiasClient(uri, api_url=sandbox.api_url, budget=budget, patience=30)) as client:
        yield client.pages("/tags", order_by="created_datetime:desc")


def pages(sandbox: Sandbox, clock: Clock, count: int, max_share: float = 0.8) -> list[Page]:
    with reading(sandbox, clock, max_share) as read:
        return list(islice(read, count))


def filled(bucket: Bucket, calls: int) -> Bucket:
    """Fill a bucket with another user's calls."""
    assert bucket.take(calls) == calls
    return bucket


class Callers:
    """Threads that make one call after the other until `seconds` are over, on budgets that do not know each other.

    `calls` are the moments of their calls, `levels` those of the bucket then.
    """

    def __init__(self, clock: MovedClock, bucket: Bucket, latency: float, seconds: float) -> None:
        self.clock, self.bucket, self.latency, self.seconds = clock, bucket, latency, seconds
        self.calls: list[float] = []
        self.levels: list[int] = []

    def work(self, budgets: int, threads: int) -> list[Callable[[], object]]:
        of_each = [Budget(clock=self.clock) for _ in range(budgets)]
        return [lambda budget=budget: self._call(budget) for budget in of_each for _ in range(threads)]

    def _call(self, budget: Budget) -> None:
        while self.clock.now() < self.seconds:
            budget.acquire()
            assert self.bucket.take(), "Gorgias would have answered 429"
            self.calls.append(self.clock.now())
            self.levels.append(self.bucket.used)
            headers = CaseInsensitiveDict({HEADER: f"{self.bucket.used}/{self.bucket.limit}"})
            self.clock.wait(self.latency)
            budget.observe(headers)

    def between(self, first: float, last: float) -> int:
        return sum(first <= moment < last for moment in self.calls)


@pytest.mark.parametrize(("max_share", "others", "count"), [(0.5, 0, 23), (0.8, 10, 25), (1.0, 15, 28)])
def test_the_level_stays_at_or_below_the_share_and_the_refill_is_used(
    account: Account, clock: MovedClock, max_share: float, others: int, count: int
) -> None:
    bucket = filled(Bucket(LIMIT, PERIOD, clock.now), others)
    levels: list[int] = []
    with Sandbox(account, bucket=bucket) as sandbox:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        read = pages(sandbox, clock, count, max_share)
    share = max_share * LIMIT
    assert {request.status for request in sandbox.requests} == {200}
    assert len(levels) == len(read) == count
    assert share - 2 <= max(levels) <= share + 1
    assert clock.now() == pytest.approx((others + count - share) * PERIOD / LIMIT, abs=PERIOD / LIMIT)
    assert sum(page.waited for page in read) == pytest.approx(clock.now())


def test_nothing_waits_while_there_is_room(account: Account, clock: MovedClock) -> None:
    with Sandbox(account, bucket=Bucket(LIMIT, PERIOD, clock.now)) as sandbox:
        assert [page.waited for page in pages(sandbox, clock, 20)] == [0.0] * 20


def test_a_plan_with_a_bigger_and_faster_bucket_is_used_without_a_setting(account: Account, clock: MovedClock) -> None:
    with Sandbox(account, bucket=Bucket(2 * LIMIT, PERIOD / 40, clock.now)) as sandbox:
        pages(sandbox, clock, MANY_PAGES)
    assert clock.now() < 4  # in a bucket of 40 per 20 s the last 13 pages alone would take 6.5 s


def test_it_gives_way_when_somebody_else_fills_the_bucket(account: Account, clock: MovedClock) -> None:
    bucket = Bucket(LIMIT, PERIOD, clock.now)
    with Sandbox(account, bucket=bucket) as sandbox, reading(sandbox, clock) as read:
        assert next(read).waited == 0.0
        bucket.take(33)
        assert next(read).waited == 0.0  # its answer reports 35 of 40
        before = clock.now()
        assert next(read).waited >= 1.5
        assert clock.now() - before >= 1.5
        assert bucket.used <= 33
    assert {request.status for request in sandbox.requests} == {200}


def test_two_readers_of_one_account_share_it_without_a_429(account: Account, clock: MovedClock) -> None:
    bucket = filled(Bucket(LIMIT, PERIOD, clock.now), 24)
    levels: list[int] = []
    read: list[Page] = []
    with Sandbox(account, bucket=bucket) as sandbox:
        sandbox.after_page = lambda _: levels.append(bucket.used)
        clock.run(*[lambda: read.extend(pages(sandbox, clock, 6))] * 2)
    assert len(read) == 12
    assert {request.status for request in sandbox.requests} == {200}
    assert max(levels) <= 0.8 * LIMIT + 3


def test_eight_processes_of_four_threads_use_the_refill_without_a_429(clock: MovedClock) -> None:
    bucket, limit, seconds = Bucket(80, PERIOD, clock.now), 80, 24.0
    callers = Callers(clock, bucket, latency=0.05, seconds=seconds)
    clock.run(*callers.work(budgets=8, threads=4))
    full = next(moment for moment, level in zip(callers.calls, callers.levels, strict=True) if level >= 0.8 * limit - 4)
    first = full + 2  # the first burst is over
    assert callers.between(first, seconds) >= 0.95 * (seconds - first) * limit / PERIOD
    assert max(callers.levels) <= 0.8 * limit + 8


def test_threads_that_share_a_budget_hold_the_level_of_a_plan_that_drains_twice_as_fast(clock: MovedClock) -> None:
    bucket, share, drain = filled(Bucket(LIMIT, PERIOD / 2, clock.now), 28), 0.8 * LIMIT, 2 * LIMIT / PERIOD
    callers = Callers(clock, bucket, latency=0.1, seconds=6.5)
    looks: list[int] = []

    def look() -> None:
        clock.wait(1.5)
        while clock.now() < callers.seconds:
            looks.append(bucket.used)
            clock.wait(0.05)

    clock.run(look, *callers.work(budgets=1, threads=4))
    assert share - 5 <= min(looks) <= max(looks) <= share + 1
    assert callers.between(1.5, 6.5) >= 0.95 * drain * 5


def test_readers_give_way_while_somebody_else_keeps_the_level_above_the_share_and_take_over_after(
    clock: MovedClock,
) -> None:
    bucket, share = filled(Bucket(LIMIT, PERIOD / 2, clock.now), 28), 0.8 * LIMIT
    callers = Callers(clock, bucket, latency=0.05, seconds=13)

    def crowd_out() -> None:
        clock.wait(2)
        while clock.now() < 7:
            bucket.take(max(0, int(share) + 4 - bucket.used))
            clock.wait(0.02)

    clock.run(crowd_out, *callers.work(budgets=2, threads=4))
    assert callers.between(3, 7) <= 4  # to look whether there is room again; 16 calls drained
    assert callers.between(7, 13) >= 12  # of 24
    assert callers.levels[-1] >= share - 8


def test_a_bucket_that_is_full_when_the_reading_begins_costs_waiting_and_no_rows(
    account: Account, clock: MovedClock
) -> None:
    bucket = filled(Bucket(LIMIT, PERIOD, clock.now), LIMIT)
    with Sandbox(account, bucket=bucket) as sandbox:
        (page,) = pages(sandbox, clock, 1, max_share=1.0)
    assert len(page.rows) == 100
    assert [request.status for request in sandbox.requests] == [429, 200]


def test_retry_after_is_waited_for_in_full_and_once(account: Account, clock: MovedClock) -> None:
    ends: list[float] = []
    with Sandbox(account) as sandbox, reading(sandbox, clock) as read:
        sandbox.faults.append(Fault(429, skip=1, retry_after=2))
        before, after, further = ((next(read), ends.append(clock.now()))[0] for _ in range(3))
    assert [request.status for request in sandbox.requests] == [200, 429, 200, 200]
    assert [before.calls, after.calls, further.calls] == [1, 2, 1]
    assert [ends[0], ends[1], ends[2] - ends[1]] == [0, pytest.approx(2), 0]
    assert 0 < after.waited <= 2  # the rest is the pause between two attempts


@pytest.mark.parametrize(
    "headers", [{}, {HEADER: ""}, {HEADER: "many"}, {HEADER: "5"}, {HEADER: "1/0"}, {HEADER: "-1/40"}]
)
def test_without_a_usable_header_the_bucket_is_taken_for_40_calls_in_20_seconds(
    clock: MovedClock, headers: dict[str, str]
) -> None:
    budget = Budget(max_share=0.05, clock=clock)  # two calls
    for _ in range(3):
        budget.acquire()
        budget.observe(CaseInsensitiveDict(headers))
    assert budget.waited_seconds == clock.now() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "level", "seconds"),
    [
        (HEADER, "33/40", 1.0),
        (HEADER.lower(), " 66 / 80 ", 0.75),
        (HEADER.upper(), "32/40", 0.5),
        (HEADER, "31/40", 0.0),
    ],
)
def test_the_wait_follows_from_the_level_in_the_header(
    clock: MovedClock, name: str, level: str, seconds: float
) -> None:
    budget = Budget(max_share=0.8, clock=clock)
    budget.observe(CaseInsensitiveDict({name: level}))
    budget.acquire()
    assert budget.waited_seconds == clock.now() == pytest.approx(seconds)


@pytest.mark.parametrize("max_share", [0, -0.1, 1.01, 80, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused_in_one_sentence(max_share: float) -> None:
    with pytest.raises(ValueError, match=r"^max_share must be a number above 0, at most 1; got .*\.$"):
        Budget(max_share)


def test_a_share_of_less_than_one_call_still_makes_one_call_at_a_time(clock: MovedClock) -> None:
    budget = Budget(max_share=0.001, clock=clock)
    budget.acquire()
    assert budget.waited_seconds == 0.0
    budget.observe(CaseInsensitiveDict({HEADER: "1/40"}))
    budget.acquire()
    assert budget.waited_seconds == pytest.approx(0.5)


def test_waits_end_when_they_are_stopped(clock: MovedClock) -> None:
    budget, stop = Budget(clock=clock), Event()
    budget.observe(CaseInsensitiveDict({HEADER: "40000/40"}))  # hours
    waited: list[float] = []

    def stop_them() -> None:
        clock.wait(0.5)
        assert waited == []
        stop.set()

    clock.run(stop_them, *[lambda: waited.append(budget.acquire(stop=stop))] * 4)
    assert waited == [pytest.approx(0.5, abs=0.051)] * 4
    assert budget.waited_seconds == pytest.approx(sum(waited))


def test_the_machine_s_clock_goes_on_by_itself_and_a_wait_on_it_ends_when_it_is_stopped() -> None:
    clock, stop = Clock(), Event()
    started = clock.now()
    Timer(0.1, stop.set).start()
    clock.wait(3600, stop)
    assert stop.is_set()
    clock.wait(0.01, Event())
    assert clock.now() > started


def test_one_call_at_a_time_until_answers_show_how_full_the_bucket_is(clock: MovedClock) -> None:
    budget = Budget(clock=clock)
    assert budget.acquire() == 0.0
    with pytest.raises(TimeoutError):
        budget.acquire(patience=0.2)
    for _ in range(5):
        budget.observe(CaseInsensitiveDict({HEADER: "1/40"}))
        assert budget.acquire() == 0.0
    assert budget.acquire(patience=0.2) == 0.0


def test_a_wait_beyond_patience_is_not_begun(clock: MovedClock) -> None:
    budget = Budget(clock=clock)
    budget.close_for(3600)
    with pytest.raises(TimeoutError):
        budget.acquire(patience=3599)
    assert clock.now() == 0


def test_a_call_without_an_answer_is_given_back(clock: MovedClock) -> None:
    budget = Budget(clock=clock)
    for _ in range(3):
        assert budget.acquire() == 0.0
        budget.release()


@pytest.mark.parametrize("fault", ["reset", 503])
def test_a_failed_attempt_holds_no_call_back(account: Account, clock: MovedClock, fault: str | int) -> None:
    with Sandbox(account) as sandbox:
        sandbox.faults.append(Fault(fault, times=2))
        read = pages(sandbox, clock, 2)
    assert [page.calls for page in read] == [3, 1]
    assert [page.waited for page in read] == [0.0, 0.0]
