"""The behaviour of lists on which the project's client relies."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


LISTS = ("/customers", "/tickets", "/messages", "/satisfaction-surveys")


def cursor(direction: str, key: datetime | str, row_id: int) -> str:
    key = key if isinstance(key, str) else key.replace(tzinfo=None).isoformat()
    return base64.b64encode(json.dumps([direction, key, row_id]).encode()).decode()


def seconds(n: float) -> datetime:
    return MORNING + timedelta(seconds=n)


def fill(account: Account, kind: str, moments: list[datetime]) -> None:
    account.insert_many(
        kind,
        ({"id": n, "created_datetime": m, "updated_datetime": m, "ticket_id": n % 2} for n, m in enumerate(moments, 1)),
    )


def paged(get: Get, path: str, **params: Any) -> list[list[int]]:
    pages, following = [], None
    while True:
        page = get(path, **params, cursor=following).json()
        pages.append([row["id"] for row in page["data"]])
        following = page["meta"]["next_cursor"]
        if following is None:
            return pages


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_newest_first_and_ends_with_a_null_cursor(account: Account, get: Get, path: str) -> None:
    fill(account, path.strip("/").replace("-", "_"), [seconds(n) for n in range(5)])
    assert paged(get, path, limit=2) == [[5, 4], [3, 2], [1]]
    assert paged(get, path, limit=5, order_by="created_datetime:asc") == [[1, 2, 3, 4, 5]]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_rows_of_the_same_microsecond_are_neither_lost_nor_repeated(account: Account, get: Get, direction: str) -> None:
    fill(account, "messages", [MORNING] * 7)
    ids = [row for page in paged(get, "/messages", limit=3, order_by=f"created_datetime:{direction}") for row in page]
    assert ids == sorted(range(1, 8), reverse=direction == "desc")


def test_a_cursor_is_the_base64_of_the_last_rows_key_and_id(account: Account, get: Get) -> None:
    fill(account, "events", [seconds(0.5), seconds(1), seconds(2)])
    meta = get("/events", limit=2).json()["meta"]
    assert base64.b64decode(meta["next_cursor"]) == b'["next", "2026-03-01T08:00:01", 2]'
    assert meta["prev_cursor"] is None
    last = get("/events", limit=2, cursor=meta["next_cursor"]).json()
    assert base64.b64decode(last["meta"]["prev_cursor"]) == b'["prev", "2026-03-01T08:00:00.500000", 1]'


def test_the_previous_page_is_read_in_list_order(account: Account, get: Get) -> None:
    fill(account, "tickets", [seconds(n) for n in range(1, 10)])
    page = get("/tickets", limit=3, cursor=cursor("prev", seconds(3), 3)).json()
    assert [row["id"] for row in page["data"]] == [6, 5, 4]
    assert json.loads(base64.b64decode(page["meta"]["prev_cursor"])) == ["prev", "2026-03-01T08:00:06", 6]
    assert json.loads(base64.b64decode(page["meta"]["next_cursor"])) == ["next", "2026-03-01T08:00:04", 4]


def test_a_made_up_cursor_seeks(account: Account, get: Get) -> None:
    fill(account, "messages", [seconds(n) for n in range(1, 10)])
    for key in ("2026-03-01T08:00:05", "2026-03-01T08:00:05.000000"):
        page = get("/messages", limit=2, cursor=cursor("next", key, 0)).json()
        assert [row["id"] for row in page["data"]] == [4, 3]
    beyond = get("/messages", cursor=cursor("next", MORNING - timedelta(days=9), 0)).json()
    assert beyond["data"] == []
    assert beyond["meta"] == {"prev_cursor": None, "next_cursor": None}


def test_a_seek_before_the_newest_row_has_no_previous_page(account: Account, get: Get) -> None:
    fill(account, "messages", [seconds(1)])
    page = get("/messages", cursor=cursor("next", seconds(99), 2**40)).json()
    assert [row["id"] for row in page["data"]] == [1]
    assert page["meta"]["prev_cursor"] is None


@pytest.mark.parametrize(
    "bad", ["nonsense", "WyJuZXh0Il0=", cursor("next", "yesterday", 1), cursor("up", MORNING, 1), "é"]
)
def test_a_bad_cursor_is_a_400(get: Get, bad: str) -> None:
    answer = get("/tickets", cursor=bad)
    assert answer.status_code == 400
    assert answer.json() == {"error": {"msg": "Invalid parameters.", "data": {"cursor": ["Invalid cursor."]}}}


def test_a_cursor_is_a_position_and_not_a_snapshot(account: Account, get: Get) -> None:
    for n in range(1, 5):
        account.create("tickets", id=n, updated_datetime=seconds(n - 10))
    first = get("/tickets", limit=2, order_by="updated_datetime:desc").json()
    account.update("tickets", 1, subject="Touched between two pages")
    account.delete("tickets", 3)
    second = get("/tickets", limit=2, order_by="updated_datetime:desc", cursor=first["meta"]["next_cursor"]).json()
    assert [row["id"] for row in first["data"] + second["data"]] == [4, 3, 2]


@pytest.mark.parametrize("path", ["/messages", "/satisfaction-surveys", "/events", "/teams", "/tags"])
def test_what_has_no_updated_datetime_cannot_be_ordered_by_it(get: Get, path: str) -> None:
    assert get(path, order_by="updated_datetime:desc").status_code == 400


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"order_by": "created_datetime"},
        {"order_by": "subject:asc"},
        {"page": 2},
        {"updated_datetime[gte]": "2026-01-01"},
        {"customer_id": "me"},
        {"customer_id": 2**63},
        {"trashed": "perhaps"},
    ],
)
def test_unknown_or_invalid_parameters_are_a_400(get: Get, params: dict[str, Any]) -> None:
    answer = get("/tickets", **params)
    assert answer.status_code == 400
    assert set(answer.json()["error"]["data"]) == set(params)


def test_a_page_holds_thirty_rows_by_default(account: Account, get: Get) -> None:
    fill(account, "messages", [seconds(n) for n in range(101)])
    assert len(get("/messages").json()["data"]) == 30
    assert len(get("/messages", limit=100).json()["data"]) == 100


def test_the_envelope_echoes_the_request(get: Get) -> None:
    assert get("/tickets", order_by="created_datetime:asc", limit=5).json() == {
        "object": "list",
        "uri": "/api/tickets?order_by=created_datetime%3Aasc&limit=5",
        "data": [],
        "meta": {"prev_cursor": None, "next_cursor": None, "total_resources": None},
    }
    assert get("/messages").json()["uri"] == "/api/messages?"
    assert "total_resources" not in get("/messages").json()["meta"]


def test_datetimes_have_an_offset_and_a_fraction_unless_it_is_zero(account: Account, get: Get) -> None:
    fill(account, "messages", [MORNING, MORNING + timedelta(microseconds=1)])
    shown = [row["created_datetime"] for row in get("/messages").json()["data"]]
    assert shown == ["2026-03-01T08:00:00.000001+00:00", "2026-03-01T08:00:00+00:00"]


def test_raw_rows_are_served_as_they_were_inserted(account: Account, get: Get) -> None:
    row = {
        "id": 5,
        "created_datetime": "2020-01-27T10:42:21.468912",
        "updated_datetime": None,
        "nova": {"é": [1, None]},
    }
    account.insert_many("customers", [row])
    assert get("/customers").json()["data"] == [row] == account.rows("customers")
    assert account.create("customers")["id"] > 5


def test_rows_are_what_the_list_shows(account: Account, get: Get) -> None:
    customer = account.create("customers", name="Mara Quill")
    ticket = account.create("tickets", customer={"id": customer["id"]}, unheard_of=[1])
    account.create("messages", ticket_id=ticket["id"], sender={"id": customer["id"]})
    account.create("satisfaction_surveys", ticket_id=ticket["id"])
    for path in (*LISTS, "/events", "/users"):
        kind = path.strip("/").replace("-", "_")
        rows = get(path, limit=100, order_by="created_datetime:asc").json()["data"]
        assert rows == account.rows(kind) != []


def test_lists_are_filtered(account: Account, get: Get) -> None:
    mara, ida = (account.create("customers", email=f"{name}@example.com", external_id=name) for name in ("mara", "ida"))
    one, two = (account.create("tickets", customer={"id": customer["id"]}) for customer in (mara, ida))
    account.update("tickets", two["id"], trashed_datetime=MORNING)
    message = account.create("messages", ticket_id=one["id"])
    account.create("messages", ticket_id=two["id"])

    def ids(path: str, **params: Any) -> list[int]:
        return [row["id"] for row in get(path, **params).json()["data"]]

    assert ids("/customers", email="mara@example.com") == [mara["id"]] == ids("/customers", external_id="mara")
    assert ids("/tickets", customer_id=one["customer"]["id"]) == [one["id"]]
    assert ids("/tickets", ticket_ids=[one["id"], two["id"]]) == [two["id"], one["id"]]
    assert ids("/tickets", trashed="false") == [one["id"]]
    assert ids("/tickets") == [two["id"], one["id"]] == ids("/tickets", trashed="true")
    assert ids("/messages", ticket_id=one["id"]) == [message["id"]]


def test_events_have_a_time_filter(account: Account, get: Get) -> None:
    for n in range(6):
        account.create("events", id=n + 1, created_datetime=seconds(n), type="ab"[n % 2], user_id=n, object_id=7)
    window = {"created_datetime[gte]": seconds(1).isoformat(), "created_datetime[lt]": "2026-03-01T08:00:04"}
    assert paged(get, "/events", limit=2, **window) == [[4, 3], [2]]
    narrow = {"created_datetime[gt]": seconds(1).isoformat(), "created_datetime[lte]": seconds(3).isoformat()}
    assert paged(get, "/events", **narrow) == [[4, 3]]
    assert paged(get, "/events", types=["a"]) == [[5, 3, 1]]
    assert paged(get, "/events", types=["a", "b"], user_ids=[2, 3]) == [[4, 3]]


def test_events_are_kept_for_a_year(account: Account, get: Get) -> None:
    account.create("customers")
    account.advance(timedelta(days=365))
    assert paged(get, "/events") != [[]]
    account.create("customers")
    account.advance(timedelta(days=366))
    assert paged(get, "/events") == [[]]
