"""The client over real HTTP: paging, authentication, every fault of the sandbox, and messages without secrets."""

import base64
import gzip
import json
import logging
import re
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import islice, takewhile
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from gorgias_assets.api.budget import Budget, Clock
from gorgias_assets.api.client import CursorRefused, GorgiasClient, Page, Rejected, Unavailable, Untrusted
from gorgias_assets.api.statistics import STATISTICS_PATH, Query
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.windows import Window
from gorgias_assets_tests.api.clock import MovedClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SURVEYS = "/satisfaction-surveys"
NEWEST_FIRST = "created_datetime:desc"
PATIENCE = 20.0
A_MINUTE = 60.0  # enough for everything that ends, however slow the machine is
LETTER = "Dear shop, my private letter"


@pytest.fixture
def account() -> Account:
    account = Account(now=NOW, email="ana+shop@shop.example", api_key="7391/8402&6591=7#%:é")
    account.insert_many(
        "satisfaction_surveys",
        (
            {"id": number, "created_datetime": (NOW - timedelta(minutes=number)).isoformat(), "body_text": LETTER}
            for number in range(1, 251)
        ),
    )
    return account


@pytest.fixture
def sandbox(account: Account) -> Iterator[Sandbox]:
    with Sandbox(account) as sandbox:
        yield sandbox


@contextmanager
def client_of(sandbox: Sandbox, patience: float = PATIENCE, clock: Clock | None = None) -> Iterator[GorgiasClient]:
    """Yield a client that waits by `clock`, or by one on which no wait takes any time."""
    uri, budget = GorgiasUri.parse(sandbox.uri), Budget(clock=clock or MovedClock())
    with closing(GorgiasClient(uri, api_url=sandbox.api_url, budget=budget, patience=patience)) as client:
        yield client


def pages_of(
    sandbox: Sandbox, patience: float = PATIENCE, path: str = SURVEYS, clock: Clock | None = None
) -> list[Page]:
    with client_of(sandbox, patience, clock) as client:
        return list(client.pages(path, order_by=NEWEST_FIRST))


def ids(pages: Iterable[Page]) -> list[int]:
    return [row["id"] for page in pages for row in page.rows]


@contextmanager
def serving(*answers: Iterable[bytes]) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Serve exactly these chunks of bytes, the last answer again and again.

    Yield the API URL, and a list to which each request is added: the number of its connection, and its head.
    """
    received: list[tuple[int, str]] = []

    def speak() -> None:
        for connection_number in range(1000):
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rb") as requests:
                while head := b"".join(takewhile(lambda line: line.strip(), requests)).decode():
                    received.append((connection_number, head))
                    try:
                        for chunk in answers[min(len(received), len(answers)) - 1]:
                            connection.sendall(chunk)
                    except OSError:
                        break

    listener = socket.create_server(("127.0.0.1", 0))
    Thread(target=speak, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> list[bytes]:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return ["\r\n".join(lines).encode() + body]


def hung_up_after(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks, and then end the connection."""
    yield from chunks
    raise ConnectionError


def page_body(*rows: object, next_cursor: object = None) -> bytes:
    meta = {"prev_cursor": None, "next_cursor": next_cursor}
    return json.dumps({"object": "list", "uri": "/api/x?", "data": rows, "meta": meta}).encode()


@contextmanager
def client_at(api_url: str, clock: Clock | None = None) -> Iterator[GorgiasClient]:
    account = GorgiasUri(domain="sandbox", email="ana@shop.example", api_key="7391840265917")
    budget = Budget(clock=clock or MovedClock())
    with closing(GorgiasClient(account, api_url=api_url, budget=budget, patience=PATIENCE)) as client:
        yield client


def read(api_url: str, clock: Clock | None = None) -> list[Page]:
    with client_at(api_url, clock) as client:
        return list(islice(client.pages("/tickets", order_by=NEWEST_FIRST), 10))


def ended(work: Callable[[], object]) -> object:
    """Return what `work` returns or raise what it raises; fail if it goes on for ever."""
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except BaseException as error:
            outcomes.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(A_MINUTE)
    assert outcomes, "it does not end"
    if isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    return outcomes[0]


def assert_holds_no_secret(error: BaseException, account: Account) -> None:
    message, everything = str(error), "".join([repr(error), *traceback.format_exception(error)])
    assert re.fullmatch(r"GET /[^\n]*\.", message)
    for word in ("http", "limit=", "order_by", NEWEST_FIRST, "cursor=", "?", "127.0.0.1", LETTER, "error", "data", "{"):
        assert word not in message
    basic = base64.b64encode(f"{account.email}:{account.api_key}".encode()).decode()
    for secret in (account.api_key, account.email, basic, "7391", "ana%2B", LETTER):
        assert secret not in message + everything


def test_a_list_is_read_whole_in_its_order_a_hundred_rows_a_page(sandbox: Sandbox) -> None:
    pages = pages_of(sandbox)
    assert ids(pages) == list(range(1, 251))
    assert [len(page.rows) for page in pages] == [100, 100, 50]
    assert [page.calls for page in pages] == [1, 1, 1]
    assert pages[-1].next_cursor is None


def test_rows_are_what_the_server_sent_with_nothing_changed(sandbox: Sandbox, account: Account) -> None:
    account.create(
        "satisfaction_surveys", body_text='👩‍👧 "ß" \x00', meta={"a": [1, None, {"b": 2**63}]}, new_field=True
    )
    rows = [row for page in pages_of(sandbox) for row in page.rows]
    assert sorted(rows, key=lambda row: row["id"]) == account.rows("satisfaction_surveys")


def test_every_parameter_is_sent_again_with_each_cursor(sandbox: Sandbox) -> None:
    pages = pages_of(sandbox)
    params = {"limit": "100", "order_by": NEWEST_FIRST}
    assert [request.params for request in sandbox.requests] == [
        params,
        params | {"cursor": pages[0].next_cursor},
        params | {"cursor": pages[1].next_cursor},
    ]
    assert {(request.method, request.path) for request in sandbox.requests} == {("GET", "/api" + SURVEYS)}


def test_reading_begins_at_the_cursor_given(sandbox: Sandbox) -> None:
    cursor = pages_of(sandbox)[0].next_cursor
    with client_of(sandbox) as client:
        assert ids(client.pages(SURVEYS, order_by=NEWEST_FIRST, cursor=cursor)) == list(range(101, 251))


def test_nothing_is_requested_before_the_first_page_is_needed_nor_after_the_last(sandbox: Sandbox) -> None:
    with client_of(sandbox) as client:
        pages = client.pages(SURVEYS, order_by=NEWEST_FIRST)
        assert len(sandbox.requests) == 0
        next(pages)
        assert len(sandbox.requests) == 1
        assert len(list(pages)) == 2
    assert len(sandbox.requests) == 3


def test_an_empty_list_is_one_empty_page(sandbox: Sandbox) -> None:
    (page,) = pages_of(sandbox, path="/tickets")
    assert (page.rows, page.next_cursor, page.calls) == ([], None, 1)


def test_many_pages_take_one_connection_with_the_key_the_version_and_gzip_in_each_request() -> None:
    cursors = ["a", "b", "c", None]
    answers = [http_response(page_body({"id": number}, next_cursor=cursor)) for number, cursor in enumerate(cursors)]
    with serving(*answers) as (api_url, received):
        assert ids(read(api_url)) == [0, 1, 2, 3]
    assert [connection for connection, _ in received] == [0, 0, 0, 0]
    for _, head in received:
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        assert headers["Authorization"] == "Basic " + base64.b64encode(b"ana@shop.example:7391840265917").decode()
        assert headers["User-Agent"] == f"gorgias-assets/{version('gorgias-assets')}"
        assert "gzip" in headers["Accept-Encoding"]


def test_a_netrc_file_does_not_replace_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(http_response(page_body())) as (api_url, received):
        read(api_url)
    assert base64.b64encode(b"ana@shop.example:7391840265917").decode() in received[0][1]


def test_plain_http_on_loopback_does_not_go_through_a_proxy(
    sandbox: Sandbox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(account) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.api_url.removesuffix("/api"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        pages_of(sandbox)
        assert (len(sandbox.requests), len(proxy.requests)) == (3, 0)


def test_the_size_of_a_page_is_that_of_its_body_decompressed(account: Account) -> None:
    with Sandbox(account, gzip=True) as packed, Sandbox(account, gzip=False) as plain:
        sizes = [page.size for page in pages_of(packed)]
        assert sizes == [page.size for page in pages_of(plain)]
    assert sizes[0] > 100 * len(LETTER)


def test_requested_at_is_when_the_request_that_was_answered_was_sent() -> None:
    """The account's clock shows the time of day here, which goes on while the client waits."""
    before = datetime.now(UTC)
    account = Account(now=before)
    account.insert_many("satisfaction_surveys", ({"id": i, "created_datetime": before} for i in range(1, 251)))

    def go_on(_: object) -> None:
        account.now = datetime.now(UTC)

    with Sandbox(account) as sandbox:
        sandbox.faults.append(Fault(429, retry_after=1))
        sandbox.after_page = go_on
        first, second, _ = pages_of(sandbox, clock=Clock())
    assert before + timedelta(seconds=1) <= first.requested_at < second.requested_at <= datetime.now(UTC)
    assert first.requested_at.utcoffset() == timedelta(0)
    assert (first.calls, second.calls) == (2, 1)
    assert first.waited > 0


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault(429, retry_after=1, skip=1), 4),
        (Fault(429, skip=1), 4),
        (Fault(500), 4),
        (Fault(502, skip=1), 4),
        (Fault(503, skip=2), 4),
        (Fault(504), 4),
        (Fault("reset", skip=1), 4),
        (Fault("truncated", skip=1), 4),
        (Fault("html", skip=1), 4),
        (Fault("broken_json", skip=2), 4),
        (Fault("null_data", skip=1), 4),
        (Fault("slow", skip=1, seconds=0.5), 3),
        (Fault("empty_page", skip=1), 4),
    ],
    ids=lambda value: str(value.what) if isinstance(value, Fault) else None,
)
def test_a_fault_that_passes_ends_in_the_same_rows(sandbox: Sandbox, fault: Fault, calls: int) -> None:
    sandbox.faults.append(fault)
    pages = pages_of(sandbox)
    assert ids(pages) == list(range(1, 251))
    assert len(sandbox.requests) == sum(page.calls for page in pages) == calls


def test_a_connection_that_the_server_closed_between_two_pages_is_opened_again() -> None:
    first = http_response(page_body({"id": 1}, next_cursor="a"))
    with serving(hung_up_after(first), http_response(page_body({"id": 2}))) as (api_url, received):
        assert ids(read(api_url)) == [1, 2]
    assert len(received) == 2


@pytest.mark.parametrize(
    "body",
    [
        http_response(b"this is no gzip", "Content-Encoding: gzip"),
        http_response(gzip.compress(page_body({"id": 1}))[:-20], "Content-Encoding: gzip"),
        http_response(page_body({"id": 1})[:-1]),
        http_response(b""),
    ],
    ids=["no gzip", "half a gzip", "half a json", "empty"],
)
def test_a_damaged_body_is_read_again(body: list[bytes]) -> None:
    with serving(body, http_response(page_body({"id": 1}))) as (api_url, received):
        assert ids(read(api_url)) == [1]
    assert len(received) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\n',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"",
    ],
    ids=["half a chunk", "bad chunk", "half a head", "no status", "no http", "nothing"],
)
def test_an_answer_that_ends_in_the_middle_is_requested_again(answer: bytes) -> None:
    with serving(hung_up_after([answer]), http_response(page_body({"id": 1}))) as (api_url, received):
        assert ids(read(api_url)) == [1]
    assert len(received) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(503, times=None), "status 503"),
        (Fault(429, times=None, retry_after=1), "calls are used up"),
        (Fault(429, times=None), "status 429"),
        (Fault("reset", times=None), "connection failed"),
        (Fault("truncated", times=None), "connection failed"),
        (Fault("html", times=None), "no list"),
        (Fault("broken_json", times=None), "no list"),
        (Fault("null_data", times=None), "no list"),
    ],
    ids=lambda value: str(value.what) if isinstance(value, Fault) else None,
)
def test_an_outage_longer_than_patience_is_unavailable_and_the_error_names_the_cause(
    sandbox: Sandbox, account: Account, fault: Fault, reason: str
) -> None:
    sandbox.faults.append(fault)
    clock = MovedClock()
    with pytest.raises(Unavailable, match=reason) as caught:
        ended(lambda: pages_of(sandbox, clock=clock))
    assert SURVEYS in str(caught.value)
    assert clock.now() <= PATIENCE
    assert len(sandbox.requests) > 1
    assert_holds_no_secret(caught.value, account)


def test_a_server_that_is_not_there_is_unavailable(account: Account) -> None:
    with Sandbox(account) as sandbox:
        gone = sandbox
    with pytest.raises(Unavailable, match="connection failed") as caught:
        ended(lambda: pages_of(gone))
    assert_holds_no_secret(caught.value, account)


def test_pages_before_an_outage_are_given_first(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(500, skip=2, times=None))
    with client_of(sandbox) as client:
        pages = client.pages(SURVEYS, order_by=NEWEST_FIRST)
        assert ids([next(pages), next(pages)]) == list(range(1, 201))
        with pytest.raises(Unavailable):
            next(pages)


@pytest.mark.parametrize(("patience", "shown"), [(20, "20 s"), (600, "10 minutes")])
def test_an_outage_names_what_failed_how_long_it_was_tried_and_what_is_left_to_do(
    sandbox: Sandbox, patience: float, shown: str
) -> None:
    sandbox.faults.append(Fault(503, times=None))
    with pytest.raises(Unavailable) as caught:
        pages_of(sandbox, patience)
    assert caught.value.reason == f"GET /satisfaction-surveys: status 503; gave up after {shown}."
    assert str(caught.value) == f"{caught.value.reason} Rows read so far are saved; re-run later."


@pytest.mark.parametrize("retry_after", [7, 3600, 10**30], ids=["seconds", "an hour", "for ever"])
def test_a_retry_after_beyond_patience_is_unavailable_and_not_waited_for(sandbox: Sandbox, retry_after: int) -> None:
    sandbox.faults.append(Fault(429, times=None, retry_after=retry_after))
    clock = MovedClock()
    with pytest.raises(Unavailable):
        ended(lambda: pages_of(sandbox, patience=1.5, clock=clock))
    assert clock.now() <= 1.5


def test_a_level_that_would_take_hours_to_drain_does_not_outlast_patience() -> None:
    full = "X-Gorgias-Account-Api-Call-Limit: 100000/40"
    clock = MovedClock()
    with serving(http_response(b"", full, status="503 Unavailable")) as (api_url, _), pytest.raises(Unavailable):
        ended(lambda: read(api_url, clock))
    assert clock.now() <= PATIENCE


def test_a_body_that_drips_for_ever_does_not_outlast_patience() -> None:
    clock = MovedClock()

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        while True:
            clock.wait(0.1)
            yield b" "

    with serving(drip()) as (api_url, _), pytest.raises(Unavailable, match="took too long"):
        ended(lambda: read(api_url, clock))


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault(400, times=None), "status 400"),
        (Fault(401, times=None), "check the e-mail and the API key"),
        (Fault(403, times=None), "key of an admin"),
        (Fault(404, times=None), "check the domain"),
        (Fault(405, times=None), "status 405"),
    ],
    ids=lambda value: str(value.what) if isinstance(value, Fault) else None,
)
def test_a_refusal_is_rejected_at_once_with_one_request_and_advice(
    sandbox: Sandbox, account: Account, fault: Fault, advice: str
) -> None:
    sandbox.faults.append(fault)
    with pytest.raises(Rejected, match=advice) as caught:
        pages_of(sandbox)
    assert len(sandbox.requests) == 1
    assert_holds_no_secret(caught.value, account)


def test_a_wrong_key_is_rejected_at_once(sandbox: Sandbox, account: Account) -> None:
    with client_at(sandbox.api_url) as client, pytest.raises(Rejected, match="status 401; check the e-mail") as caught:
        next(client.pages(SURVEYS, order_by=NEWEST_FIRST))
    assert len(sandbox.requests) == 1
    assert_holds_no_secret(caught.value, account)


def test_an_unknown_domain_is_rejected_at_once(account: Account) -> None:
    with Sandbox(account, unknown_domain=True) as sandbox:
        with pytest.raises(Rejected, match="'sandbox': status 404; check the domain") as caught:
            pages_of(sandbox)
        assert len(sandbox.requests) == 1
    assert_holds_no_secret(caught.value, account)


def test_an_expired_cursor_is_rejected_after_the_pages_before_it(sandbox: Sandbox, account: Account) -> None:
    sandbox.faults.append(Fault("expired_cursor", skip=1, times=None))
    with client_of(sandbox) as client:
        pages = client.pages(SURVEYS, order_by=NEWEST_FIRST)
        assert len(ids([next(pages), next(pages)])) == 200
        with pytest.raises(CursorRefused, match=r"rejected the cursor \(400\), and the rows behind it") as caught:
            next(pages)
    assert len(sandbox.requests) == 3
    assert_holds_no_secret(caught.value, account)


def test_a_cursor_that_stands_still_is_untrusted(sandbox: Sandbox, account: Account) -> None:
    sandbox.faults.append(Fault("stuck_cursor", times=None))
    with pytest.raises(Untrusted, match="came again") as caught:
        pages_of(sandbox)
    assert len(sandbox.requests) == 2
    assert_holds_no_secret(caught.value, account)


def test_empty_pages_without_end_are_untrusted(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("empty_page", times=None))
    with pytest.raises(Untrusted):
        ended(lambda: pages_of(sandbox))


def test_cursors_that_go_round_in_a_circle_are_untrusted() -> None:
    circle = [http_response(page_body({"id": 1}, next_cursor="ab"[turn % 2])) for turn in range(10)]
    with serving(*circle) as (api_url, received), pytest.raises(Untrusted):
        read(api_url)
    assert len(received) <= 4


def test_an_empty_cursor_neither_ends_the_list_nor_begins_it_again() -> None:
    answers = [http_response(page_body({"id": number}, next_cursor=cursor)) for number, cursor in [(1, "a"), (2, "")]]
    with serving(*answers) as (api_url, received), client_at(api_url) as client:
        pages = client.pages("/tickets", order_by=NEWEST_FIRST)
        assert ids([next(pages)]) == [1]
        with pytest.raises(Unavailable, match="no list"):
            next(pages)
    assert "cursor=" not in received[0][1]
    assert len(received) > 2
    assert all("cursor=a " in head for _, head in received[1:])


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":[],"meta":{}}',
        b'{"object":"list","data":[],"meta":{"next_items":"/api/views/1/items?cursor=1"}}',
        b'{"object":"list","data":[],"meta":null}',
        b'{"object":"list","data":[],"meta":[]}',
        b'{"object":"list","data":[]}',
        b'{"object":"list","data":{},"meta":{"next_cursor":null,"prev_cursor":null}}',
        b'{"object":"list","data":"","meta":{"next_cursor":null,"prev_cursor":null}}',
        b'{"object":"list","data":null,"meta":{"next_cursor":null,"prev_cursor":null}}',
        b'{"object":"list","data":{"a":1},"meta":{"next_cursor":null,"prev_cursor":null}}',
        b'{"object":"list","meta":{"next_cursor":null,"prev_cursor":null}}',
        b'{"error":{"msg":"Dear shop, my private letter"}}',
        b"[]",
        b"null",
        b'"text"',
        b"5",
        page_body({"name": "no id"}),
        page_body({"id": None}),
        page_body({"id": True}),
        page_body({"id": "1"}),
        page_body({"id": 2**63}),
        page_body({"id": 1}, None),
        page_body({"id": 1}, 5),
        page_body({"id": 1}, [2]),
        page_body({"id": 1}, next_cursor=5),
        page_body({"id": 1}, next_cursor={"after": 1}),
        b"\xef\xbb\xbf{}",
        b"[" * 2000,
        b'{"data": [], "meta": {"next_cursor": null}} trailing',
    ],
    ids=lambda body: body[:90].decode(errors="replace"),
)
def test_a_200_that_is_no_list_is_never_taken_for_the_end_of_the_rows(body: bytes) -> None:
    with serving(http_response(body)) as (api_url, _), pytest.raises((Unavailable, Untrusted)) as caught:
        read(api_url)
    assert LETTER not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", ["204 No Content", "202 Accepted", "206 Partial Content", "418 Teapot", "413 Large"])
def test_an_unexpected_status_is_rejected_as_one_to_report(status: str) -> None:
    with serving(http_response(b"", status=status)) as (api_url, received):
        with pytest.raises(Rejected, match=f"status {status[:3]}; .*report"):
            read(api_url)
        assert len(received) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed_so_the_key_goes_nowhere_else(sandbox: Sandbox, status: str) -> None:
    elsewhere = f"Location: {sandbox.api_url.replace('127.0.0.1', 'localhost')}/tickets"
    with serving(http_response(b"", elsewhere, status=status)) as (api_url, received):
        with pytest.raises(
            Rejected, match=f"status {status[:3]}; it redirects to localhost, where the key is not sent"
        ):
            read(api_url)
        assert len(received) == 1
    assert sandbox.requests == []


def test_a_lone_surrogate_in_one_row_does_not_cost_the_page() -> None:
    with serving(http_response(page_body({"id": 1, "excerpt": "cut \ud83d"}, {"id": 2}))) as (api_url, _):
        assert ids(read(api_url)) == [1, 2]


def test_an_integer_of_more_than_64_bits_keeps_every_digit(sandbox: Sandbox, account: Account) -> None:
    parcel = 340434188193726041712
    account.insert_many("customers", [{"id": 1, "created_datetime": "2026-01-01T00:00:00", "data": {"parcel": parcel}}])
    (page,) = pages_of(sandbox, path="/customers")
    assert page.rows[0]["data"] == {"parcel": parcel}


def test_the_key_is_in_no_repr_and_in_no_log(
    sandbox: Sandbox, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox.faults.append(Fault("reset"))
    with client_of(sandbox) as client:
        next(client.pages(SURVEYS, order_by=NEWEST_FIRST))
        shown = f"{client!r} {client} {vars(client)} {caplog.text}"
    basic = base64.b64encode(f"{account.email}:{account.api_key}".encode()).decode()
    for secret in (account.api_key, basic, "7391"):
        assert secret not in shown
    assert urlsplit(sandbox.uri).query not in shown


def test_an_api_url_of_plain_http_elsewhere_is_refused_before_any_request() -> None:
    with pytest.raises(ValueError, match="must use https"), client_at("http://gorgias.example/api"):
        pass


def test_a_query_is_posted_paged_and_retried_like_a_list(sandbox: Sandbox, account: Account) -> None:
    for number in range(5):
        account.create("tickets", created_datetime=NOW - timedelta(hours=1), channel=f"channel-{number}")
    window = Window.of(NOW.replace(hour=0), NOW.replace(hour=0) + timedelta(days=1))
    query = Query("tickets-created", ["ticketCount"], window, "createdDatetime", ["channel"])
    sandbox.faults += [Fault(429, retry_after=1), Fault("reset", skip=1), Fault(500, skip=1)]
    with client_of(sandbox) as client:
        pages = list(client.pages(STATISTICS_PATH, order_by="", query=query.body(), limit=2, key=""))
    assert [len(page.rows) for page in pages] == [2, 2, 1]
    assert [row["channel"] for page in pages for row in page.rows] == [f"channel-{number}" for number in range(5)]
    assert {query.day_of(row) for page in pages for row in page.rows} == {"2026-03-01"}
    assert sum(page.calls for page in pages) == len(sandbox.requests) == 6
    assert {request.method for request in sandbox.requests} == {"POST"}


@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_message_has_anything_of_a_query(sandbox: Sandbox, caplog: pytest.LogCaptureFixture, status: int) -> None:
    caplog.set_level(logging.DEBUG)
    window = Window.of(NOW.replace(hour=0), NOW.replace(hour=0) + timedelta(days=1))
    sandbox.faults.append(Fault(status, times=None))
    with client_of(sandbox) as client, pytest.raises((Rejected, Unavailable)) as caught:
        list(Query(LETTER, [LETTER], window, LETTER).pages(client))
    assert str(caught.value).startswith(f"POST {STATISTICS_PATH}")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert LETTER not in shown
    assert "periodStart" not in shown
