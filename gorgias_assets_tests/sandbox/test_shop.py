"""A shop lives: the same seed is the same life, and a life holds everything the project has to cope with."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.shop import Shop

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)


def lived(days: list[float], seed: int = 1) -> Account:
    account = Account(now=MORNING)
    shop = Shop(account, seed=seed)
    for day in days:
        shop.live(until=MORNING + timedelta(days=day))
    return account


@pytest.fixture(scope="module")
def month() -> Account:
    return lived([30])


def test_the_same_seed_is_the_same_life_however_time_is_cut() -> None:
    straight, cut, other = lived([3]), lived([0.01, 1.3, 1.3, 2.999, 3]), lived([3], seed=2)
    for kind in KINDS:
        assert straight.rows(kind) == cut.rows(kind)
    assert straight.rows("tickets") != other.rows("tickets")


def test_a_month_has_the_size_of_a_shop(month: Account) -> None:
    assert 1000 < month.count("tickets") < 1500
    assert 3 * month.count("tickets") < month.count("messages") < 6 * month.count("tickets")
    assert month.count("customers") >= month.count("tickets") / 2
    assert 5 * month.count("tickets") < month.count("events") < 20 * month.count("tickets")


def test_a_month_has_what_is_hard_to_replicate(month: Account) -> None:
    tickets, messages, surveys = (month.rows(kind) for kind in ("tickets", "messages", "satisfaction_surveys"))
    happened = Counter(event["type"] for event in month.rows("events"))
    for event in ("ticket-deleted", "ticket-merged", "customer-merged", "ticket-reopened", "ticket-trashed"):
        assert happened[event], event
    assert any(ticket["spam"] for ticket in tickets)
    assert any(ticket["trashed_datetime"] for ticket in tickets)
    assert any(ticket["custom_fields"] for ticket in tickets)
    assert any(ticket["created_datetime"] < "2026" for ticket in tickets), "imports"
    assert {survey["ticket_id"] for survey in surveys} - {ticket["id"] for ticket in tickets}, "orphans"
    assert any(survey["scored_datetime"] for survey in surveys)
    assert any(survey["sent_datetime"] is None for survey in surveys)
    assert any(message["failed_datetime"] for message in messages)
    assert any(message["opened_datetime"] for message in messages)
    assert any(message["public"] is False for message in messages)
    assert {message["ticket_id"] for message in messages} <= {ticket["id"] for ticket in tickets}


def test_counts_and_events_stay_in_order(month: Account) -> None:
    written = Counter(message["ticket_id"] for message in month.rows("messages"))
    assert {ticket["id"]: ticket["messages_count"] for ticket in month.rows("tickets")} == {
        ticket["id"]: written[ticket["id"]] for ticket in month.rows("tickets")
    }
    events = month.rows("events")
    assert all(one["created_datetime"][:19] <= two["created_datetime"][:19] for one, two in pairwise(events))


def test_a_past_moment_changes_nothing() -> None:
    account = lived([1])
    before = account.rows("tickets")
    shop = Shop(account)
    shop.live(until=MORNING)
    assert account.rows("tickets") == before
