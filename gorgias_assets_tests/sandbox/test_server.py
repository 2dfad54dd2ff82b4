"""The HTTP around the account: authentication, the bucket, faults and the log of requests."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import CALL_LIMIT, Sandbox
from gorgias_assets.sandbox.shop import Shop

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


def test_the_uri_carries_everything_that_the_api_url_needs() -> None:
    account = Account(now=MORNING, email="a+b@shop.example", api_key="k/e y&=")
    with Sandbox(account) as sandbox:
        uri = urlsplit(sandbox.uri)
        given = {name: values[0] for name, values in parse_qs(uri.query).items()}
        assert (uri.scheme, uri.netloc, "+" in uri.query) == ("gorgias", "sandbox", False)
        answer = requests.get(f"{sandbox.api_url}/users/0", auth=(given["email"], given["api_key"]), timeout=60)
        assert answer.json()["email"] == "a+b@shop.example"


def test_a_wrong_key_is_a_401(sandbox: Sandbox) -> None:
    answer = requests.get(f"{sandbox.api_url}/tickets", auth=(sandbox.account.email, "wrong"), timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"error": {"msg": "Unauthorized."}})
    assert CALL_LIMIT in answer.headers


def test_an_unknown_domain_is_html(account: Account) -> None:
    with Sandbox(account, unknown_domain=True) as sandbox:
        answer = requests.get(f"{sandbox.api_url}/tickets", timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html")


@pytest.mark.parametrize(
    "path", ["/nonsense", "/satisfaction_surveys", "/tickets/1", "/messages/1", "/views/1/items", f"/users/{10**19}"]
)
def test_what_is_not_there_is_a_404(get: Get, path: str) -> None:
    answer = get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": {"msg": "Resource not found."}})


def test_other_methods_are_refused(sandbox: Sandbox) -> None:
    auth = (sandbox.account.email, sandbox.account.api_key)
    answer = requests.post(f"{sandbox.api_url}/tickets", json={}, auth=auth, timeout=60)
    assert answer.status_code == 405


def test_one_ticket_has_another_shape_than_its_row(account: Account, get: Get) -> None:
    ticket = account.create("tickets")
    account.create("messages", ticket_id=ticket["id"], headers={"X": "y"})
    survey = account.create("satisfaction_surveys", ticket_id=ticket["id"])
    one = get(f"/tickets/{ticket['id']}", relationships="custom_fields").json()
    assert "excerpt" not in one
    assert "messages_count" not in one
    assert one["satisfaction_survey"] == survey == get(f"/satisfaction-surveys/{survey['id']}").json()
    assert [sorted({"headers", "macros", "deleted_datetime"} & set(message)) for message in one["messages"]] == [[]]


def test_one_customer_has_channels_and_one_message_is_its_row(account: Account, get: Get) -> None:
    mara = account.create("customers", email="mara@example.com")
    message = account.create("messages", ticket_id=account.create("tickets")["id"])
    one = get(f"/customers/{mara['id']}").json()
    assert {**mara, **one} == one
    assert one["channels"][0]["address"] == "mara@example.com"
    assert get(f"/messages/{message['id']}").json() == account.rows("messages")[0]
    assert get(message["uri"].removeprefix("/api")).json() == account.rows("messages")[0]


def test_messages_of_a_ticket_come_by_page_number_oldest_first(account: Account, get: Get) -> None:
    ticket = account.create("tickets")["id"]
    ids = [account.create("messages", ticket_id=ticket)["id"] for _ in range(31)]
    page = get(f"/tickets/{ticket}/messages", page=2).json()
    assert [row["id"] for row in page["data"]] == ids[30:]
    assert page["meta"] == {
        "page": 2,
        "per_page": 30,
        "current_page": f"/api/tickets/{ticket}/messages/?page=2",
        "item_count": 31,
        "nb_pages": 2,
    }


def test_view_items_lead_on_by_url_and_need_the_ignored_item(account: Account, get: Get) -> None:
    closed = []
    for _ in range(3):
        account.advance(timedelta(seconds=5))
        closed.append(account.create("tickets", status="closed")["id"])
    account.create("tickets")
    view = next(view["id"] for view in get("/views").json()["data"] if view["name"] == "Closed")
    seen: list[int] = []
    following = f"/api/views/{view}/items?limit=1"
    while following and len(seen) < 9:
        page = get(following.removeprefix("/api")).json()
        seen += [row["id"] for row in page["data"]]
        assert all("summary" not in row and "custom_fields" not in row for row in page["data"])
        following = page["meta"]["next_items"]
    assert seen == closed[::-1] == [row["id"] for row in get("/tickets", view_id=view).json()["data"]]
    first = get(f"/views/{view}/items?limit=1").json()["meta"]["next_items"].removeprefix("/api")
    forgetful = first.replace(f"ignored_item={closed[-1]}&", "")
    assert get(forgetful).json()["data"][0]["id"] == closed[-1]


def test_the_account_and_the_agents_are_listed(account: Account, get: Get) -> None:
    account.create("users", name="Anouk", role={"name": "bot"})
    assert get("/account").json()["domain"] == "sandbox"
    assert [user["name"] for user in get("/users").json()["data"]] == ["Anouk", "Ines Vale"]
    assert [user["name"] for user in get("/users", order_by="role.name:desc", limit=1).json()["data"]] == ["Anouk"]
    assert [user["name"] for user in get("/users", roles=["bot", "agent"]).json()["data"]] == ["Anouk"]


def test_requests_are_logged_in_order_with_their_answers(sandbox: Sandbox, get: Get) -> None:
    get("/tickets", limit=5, ticket_ids=[1, 2])
    get("/nowhere")
    one, two = sandbox.requests
    assert (one.method, one.path, one.params, one.status) == (
        "GET",
        "/api/tickets",
        {"limit": "5", "ticket_ids": "1,2"},
        200,
    )
    assert (two.path, two.status) == ("/api/nowhere", 404)
    assert one.started <= two.started <= time.monotonic()


def test_answers_are_compressed_for_whoever_accepts_it(account: Account) -> None:
    auth = (account.email, account.api_key)
    with Sandbox(account) as zipped, Sandbox(account, gzip=False) as plain:
        assert requests.get(f"{zipped.api_url}/users", auth=auth, timeout=60).headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in requests.get(f"{plain.api_url}/users", auth=auth, timeout=60).headers


def test_the_header_counts_everybody_in_either_case(account: Account) -> None:
    bucket = Bucket(limit=10, period=1000)
    with Sandbox(account, bucket=bucket) as sandbox:
        url, auth = f"{sandbox.api_url}/tickets", (account.email, account.api_key)
        first = requests.get(url, auth=auth, timeout=60)
        assert bucket.take(5) == 5
        second = requests.get(url, auth=auth, timeout=60)
    assert [name for name in first.headers if "limit" in name.lower()] == [CALL_LIMIT.lower()]
    assert [name for name in second.headers if "limit" in name.lower()] == [CALL_LIMIT]
    assert (first.headers[CALL_LIMIT], second.headers[CALL_LIMIT]) == ("1/10", "7/10")


def test_a_full_bucket_is_a_429_that_says_when_to_come_back(account: Account) -> None:
    with Sandbox(account, bucket=Bucket(limit=2, period=8)) as sandbox:
        answers = [requests.get(sandbox.api_url, auth=(account.email, account.api_key), timeout=60) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert (answers[2].headers["Retry-after"], answers[2].headers[CALL_LIMIT]) == ("4", "2/2")


def test_a_bucket_leaks() -> None:
    moment = 0.0
    bucket = Bucket(limit=40, period=20, clock=lambda: moment)
    assert bucket.take(50) == 40
    assert (bucket.take(), bucket.used, bucket.retry_after) == (0, 40, 1)
    moment = 5.0
    assert bucket.used == 30
    assert bucket.take(99) == 10
    moment = 25.0
    assert bucket.used == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_status_befalls_the_requests_it_is_meant_for(sandbox: Sandbox, get: Get, status: int) -> None:
    sandbox.faults.append(Fault(status, path="/api/tickets", skip=1, times=2))
    assert [get("/tickets").status_code for _ in range(4)] == [200, status, status, 200]
    assert get("/customers").status_code == 200


def test_a_429_comes_with_and_without_a_time(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults += [Fault(429, retry_after=7), Fault(429)]
    answers = [get("/tickets"), get("/tickets")]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["7", None]


def test_a_fault_without_an_end_lasts_until_it_is_cleared(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault(500, times=None))
    assert {get("/tickets").status_code for _ in range(5)} == {500}
    sandbox.faults.clear()
    assert get("/tickets").status_code == 200


def test_a_connection_is_reset_and_the_next_one_is_not(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault("reset"))
    with pytest.raises(requests.ConnectionError):
        get("/users")
    assert get("/users").status_code == 200
    assert [request.status for request in sandbox.requests] == [0, 200]


def test_a_body_is_truncated(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault("truncated"))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get("/users")


@pytest.mark.parametrize("what", ["html", "broken_json"])
def test_a_body_is_not_json(sandbox: Sandbox, get: Get, what: str) -> None:
    sandbox.faults.append(Fault(what))
    answer = get("/users")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_an_answer_is_slow(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault("slow", seconds=0.2))
    started = time.monotonic()
    get("/users")
    assert time.monotonic() - started >= 0.2


def test_pages_are_spoilt(account: Account, sandbox: Sandbox, get: Get) -> None:
    ids = [account.create("tickets", updated_datetime=MORNING + timedelta(seconds=n))["id"] for n in range(4)]
    order = {"order_by": "updated_datetime:desc", "limit": 2}
    sandbox.faults.append(Fault("null_data"))
    assert get("/tickets", **order).json()["data"] is None
    sandbox.faults.append(Fault("wrong_order"))
    page = get("/tickets", **order).json()
    assert [row["id"] for row in page["data"]] == ids[2:]
    cursor = page["meta"]["next_cursor"]
    sandbox.faults += [Fault("stuck_cursor"), Fault("expired_cursor", skip=1)]
    assert get("/tickets", **order).status_code == 200
    assert get("/tickets", **order, cursor=cursor).json()["meta"]["next_cursor"] == cursor
    assert [get("/tickets", **order, cursor=cursor).status_code for _ in range(3)] == [200, 400, 200]


@pytest.mark.parametrize("order", ["updated_datetime:desc", "created_datetime:asc"])
def test_an_empty_page_leads_to_the_rows_that_were_due(
    account: Account, sandbox: Sandbox, get: Get, order: str
) -> None:
    for n in range(4):
        account.create("tickets", updated_datetime=MORNING + timedelta(seconds=n))
    due = get("/tickets", limit=2, order_by=order).json()["data"]
    sandbox.faults.append(Fault("empty_page"))
    empty = get("/tickets", limit=2, order_by=order).json()
    assert empty["data"] == []
    assert get("/tickets", limit=2, order_by=order, cursor=empty["meta"]["next_cursor"]).json()["data"] == due


def test_no_such_fault() -> None:
    with pytest.raises(ValueError, match="no such fault: rest; there are statuses, and reset"):
        Fault("rest")


def test_rows_change_between_two_pages(account: Account, sandbox: Sandbox, get: Get) -> None:
    sandbox.after_page = lambda request: account.create("tickets", subject=request.path)
    assert get("/tickets").json()["data"] == []
    get("/tickets/1")
    assert [row["subject"] for row in get("/tickets").json()["data"]] == ["/api/tickets"]


def test_an_account_changes_while_it_is_read(account: Account, get: Get) -> None:
    def write() -> None:
        for n in range(200):
            account.create("tickets", subject=str(n))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        rows = get("/tickets", limit=100).json()["data"]
        assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert account.count("tickets") == 200


def test_a_closed_sandbox_hangs_up(account: Account) -> None:
    with requests.Session() as session:
        session.auth = (account.email, account.api_key)
        with Sandbox(account) as sandbox:
            assert session.get(f"{sandbox.api_url}/users", timeout=60).status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.get(f"{sandbox.api_url}/users", timeout=60)


def test_a_shop_makes_the_account_follow_real_time() -> None:
    now = datetime.now(UTC)
    account = Account(now=now - timedelta(days=1))
    with Sandbox(account, shop=Shop(account)) as sandbox:
        answer = requests.get(f"{sandbox.api_url}/tickets", auth=(account.email, account.api_key), timeout=20)
    assert account.now >= now
    assert answer.json()["data"] != []
