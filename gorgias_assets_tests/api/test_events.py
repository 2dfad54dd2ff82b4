"""Events: those of a window and of some types, also from a server that ignores what it is asked for."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any
from urllib.parse import urlencode

import pytest

from gorgias_assets.api.client import Untrusted
from gorgias_assets.api.events import MOST_PAGES_AFTER, event_pages, ids_in, ids_of
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.endpoints import Answer
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets.windows import Window

NOW = datetime(2025, 3, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = Window(NOW - 61 * MINUTE, NOW - MINUTE)


class IgnoringFilters(Sandbox):
    """An account whose events are not filtered: by time, nor by type."""

    def respond(self, request: Request, headers: Message) -> Answer:
        request.query = urlencode({name: request.params[name] for name in request.params if name in KEPT})
        return super().respond(request, headers)


KEPT = ("limit", "order_by", "cursor")


def account_of(events: int, every: timedelta) -> Account:
    """Serve events, the newest now, of two types in turns."""
    account = Account(now=NOW)
    account.insert_many("events", (event(n, NOW - (n - 1) * every) for n in range(1, events + 1)))
    return account


def event(number: int, at: datetime, **fields: Any) -> dict[str, Any]:
    kind = ("ticket-created", "ticket-deleted")[number % 2]
    return {"id": 10**6 - number, "type": kind, "object_id": number, "created_datetime": at, **fields}


def named(sandbox: Sandbox, types: list[str], window: Window = HOUR) -> list[Any]:
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 60)
    with closing(gorgias.client()) as client:
        return [event.get("object_id") for page in event_pages(client, types, window) for event in page.rows]


@pytest.mark.parametrize("serve", [Sandbox, IgnoringFilters])
@pytest.mark.parametrize("types", [["ticket-created"], ["ticket-deleted", "ticket-created"]], ids=len)
def test_events_of_the_window_and_the_types_are_those_asked_for_though_filters_are_ignored(serve, types):
    with serve(account_of(9_100, MINUTE / 2)) as sandbox:
        wanted = [n for n in range(4, 124) if len(types) == 2 or n % 2 == 0]
        assert named(sandbox, types) == wanted
        assert len(sandbox.requests) <= 3


def test_a_window_that_lies_too_far_back_is_given_up_if_filters_are_ignored():
    with IgnoringFilters(account_of(2_300, MINUTE / 4)) as sandbox:
        with pytest.raises(Untrusted, match="GET /events: more came than was asked for"):
            named(sandbox, ["ticket-created"], Window(NOW - 600 * MINUTE, NOW - 570 * MINUTE))
        assert len(sandbox.requests) == MOST_PAGES_AFTER + 1


class Odd(Sandbox):
    """An account whose events lack what they should have."""

    odd: dict[str, Any]

    def respond(self, request: Request, headers: Message) -> Answer:
        due = super().respond(request, headers)
        page = json.loads(due.body)
        page["data"][0] = self.odd
        return replace(due, body=json.dumps(page).encode())


ODD = {
    "no type": {"id": 1, "created_datetime": "2025-03-11T00:30:00"},
    "no moment": {"id": 1, "type": "ticket-created"},
    "no date": {"id": 1, "type": "ticket-created", "object_id": 7, "created_datetime": "soon"},
    "a number for a moment": {"id": 1, "type": "ticket-created", "object_id": "7", "created_datetime": 7},
    "a list for a type": {"id": 1, "type": ["ticket-created"], "object_id": [7], "created_datetime": None},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_event_that_lacks_what_it_should_have_costs_itself(odd):
    with Odd(account_of(80, MINUTE), gzip=False) as sandbox:
        sandbox.odd = odd
        assert named(sandbox, ["ticket-created"])[-29:] == list(range(6, 63, 2))


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ({"source_customer_id": 1}, {1}),
        ({"source_ticket_ids": [1, 2]}, {1, 2}),
        ({"source_ticket": {"id": 1, "subject": "three", "is_open": True}}, {1}),
        (None, set()),
        ([{"id": 2**63}, 4], {4}),
        ({"a": {"b": {"c": {"d": {"id": "1"}}}}}, {1}),
    ],
)
def test_ids_in_data_are_found_in_every_form(data, ids):
    assert ids_in(data) == ids


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ({"source_ticket_id": 1, "user_id": 5}, {1}),
        ({"ticket": {"id": 1, "customer_id": 2}, "user": {"id": 5}}, {1, 2}),
        ({"source": "1", "target": 6}, {1}),
        ({"id": 1}, {1}),
        ([{"ids": [1]}, 2], {1, 2}),
        ({"user_id": 5, "customer": {"id": 6}}, set()),
        ({"tickets_count": 3, "number": 4}, set()),
        (None, set()),
    ],
)
def test_ids_of_other_things_do_not_count_as_those_of_a_merged_row(data, ids):
    assert ids_of("ticket", data) == ids


def nested(depth: int) -> Iterator[Any]:
    inner: Any = 1
    for _ in range(depth):
        inner = [inner]
    yield inner


def test_data_that_is_nested_without_end_is_no_crash():
    assert ids_in(*nested(5_000)) == {1}
