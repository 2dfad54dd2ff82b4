"""The statistics of an account: counted from its rows, grouped, paged, late, and refused where Gorgias refuses."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(sandbox: Sandbox) -> Ask:
    """Return a function that asks for measures of a scope on the days around the first of March."""

    def ask(
        scope: str,
        measures: Sequence[str],
        *,
        by: Sequence[str] = (),
        time: str | None = "createdDatetime",
        days: tuple[str, str] = ("2026-02-28", "2026-03-02"),
        **params: Any,
    ) -> requests.Response:
        bounds = zip(("periodStart", "periodEnd"), ("afterDate", "beforeDate"), days, strict=True)
        query = {
            "scope": scope,
            "timezone": "UTC",
            "measures": measures,
            "dimensions": by,
            "time_dimensions": [{"dimension": time, "granularity": "day"}] if time else [],
            "filters": [{"member": name, "operator": sign, "values": [day]} for name, sign, day in bounds],
        }
        auth = (sandbox.account.email, sandbox.account.api_key)
        url = f"{sandbox.api_url}/reporting/stats"
        return requests.post(url, json={"query": query}, params=params, auth=auth, timeout=60)

    return ask


def on(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def test_counts_are_grouped_by_day_and_dimension_minutes_late(account: Account, ask: Ask) -> None:
    for channel, fields in (
        ("email", {}),
        ("chat", {}),
        ("chat", {"spam": True}),
        ("chat", {"trashed_datetime": on(1)}),
    ):
        account.create("tickets", created_datetime=on(1, 7), channel=channel, **fields)
    account.create("tickets", channel="email")
    days = {"createdDatetime": "2026-03-01T00:00:00.000"}
    found = ask("tickets-created", ["ticketCount"], by=["channel"]).json()
    assert found["data"] == [days | {"channel": name, "ticketCount": 1} for name in ("chat", "email")]
    account.advance(timedelta(minutes=5))
    assert ask("tickets-created", ["ticketCount"], time=None).json()["data"] == [{"ticketCount": 3}]
    account.habits.names_steps = True
    assert ask("tickets-created", ["ticketCount"]).json()["data"] == [
        {"createdDatetime.day": days["createdDatetime"], "ticketCount": 3}
    ]


def test_an_idle_agent_has_a_row_without_a_measure(account: Account, ask: Ask) -> None:
    busy = account.create("users", name="Bo")["id"]
    account.create("tickets", created_datetime=on(1), assignee_user={"id": busy})
    rows = ask("tickets-created", ["ticketCount"], by=["agentId"]).json()["data"]
    assert {row["agentId"]: row["ticketCount"] for row in rows} == {busy: 1, account.owner_id: None}


def test_pages_follow_a_cursor(account: Account, ask: Ask) -> None:
    for channel in ("chat", "email", "sms"):
        account.create("tickets", created_datetime=on(1), channel=channel)
    first = ask("tickets-created", ["ticketCount"], by=["channel"], limit=2).json()
    assert (first["meta"]["total"], first["meta"]["prev_cursor"], len(first["data"])) == (3, None, 2)
    rest = ask("tickets-created", ["ticketCount"], by=["channel"], limit=2, cursor=first["meta"]["next_cursor"]).json()
    assert ([row["channel"] for row in rest["data"]], rest["meta"]["next_cursor"]) == (["sms"], None)


def test_what_gorgias_refuses_is_refused(sandbox: Sandbox, account: Account, ask: Ask) -> None:
    def status(scope: str = "tickets-created", measure: str = "ticketCount", **asked: Any) -> int:
        return ask(scope, [measure], **asked).status_code

    account.habits.broken_scopes["messages-sent"] = 500
    assert status(days=("2025-01-01", "2026-01-02")) == 200
    assert status(days=("2025-01-01", "2026-01-03")) == 400
    assert [status("no-such"), status(measure="no-such"), status(by=["teamId"]), status(time="timestamp")] == [400] * 4
    assert [status(limit=10_001), status(cursor="no-such")] == [400] * 2
    assert status("messages-sent", "messagesCount", time="sentDatetime") == 500
    sandbox.faults.append(Fault(403, "/api/reporting/stats", times=None))
    assert status() == 403
