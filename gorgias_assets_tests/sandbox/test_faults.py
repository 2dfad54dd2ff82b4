"""Everything that a server, or something in front of it, may answer instead: the sandbox can be made to."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import GIBIBYTE, HTML, Fault, blanks
from gorgias_assets.sandbox.server import CALL_LIMIT, COOKIE, Sandbox
from gorgias_assets_tests.certificates import DAY, Authority

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


def raw_answer(sandbox: Sandbox, *headers: str) -> bytes:
    """Return each byte of the answer to a request with these headers."""
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=60) as connection:
        request = ["GET /api/account HTTP/1.1", *headers, "Connection: close", "", ""]
        connection.sendall("\r\n".join(request).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def own_host(sandbox: Sandbox) -> str:
    return f"Host: 127.0.0.1:{sandbox.port}"


def test_answers_are_dated_by_a_clock_that_differs_from_the_accounts(account: Account) -> None:
    auth = (account.email, account.api_key)
    with Sandbox(account, clock_offset=timedelta(minutes=-40)) as sandbox:
        dates = [requests.get(f"{sandbox.api_url}/account", auth=auth, timeout=60).headers["Date"]]
        sandbox.clock_offset = timedelta(days=400)
        dates += [requests.get(f"{sandbox.api_url}/account", auth=auth, timeout=60).headers["Date"]]
    assert dates == ["Sun, 01 Mar 2026 07:20:00 GMT", "Mon, 05 Apr 2027 08:00:00 GMT"]


@pytest.mark.parametrize("date", ["yesterday", "Sun, 01 Mar 2126 07:20:00 GMT", "", None])
def test_a_date_is_any_text_or_missing(sandbox: Sandbox, get: Get, date: str | None) -> None:
    sandbox.faults.append(Fault("headers", headers={"Date": date}))
    answer = get("/account")
    assert (answer.status_code, answer.json()["domain"]) == (200, "sandbox")
    assert answer.headers.get("Date") == date


@pytest.mark.parametrize(
    "status", [300, 302, 303, 307, 308, 402, 407, 410, 413, 421, 426, 451, 499, 501, 511, 524, 999]
)
def test_any_status_befalls_one_path_alone(account: Account, sandbox: Sandbox, get: Get, status: int) -> None:
    one, other = (account.create("tickets")["id"] for _ in range(2))
    sandbox.faults.append(Fault(status, path=f"/api/tickets/{one}", times=None))
    assert [get(f"/tickets/{ticket}").status_code for ticket in (one, other, one)] == [status, 200, status]


@pytest.mark.parametrize("status", [201, 202, 203, 206, 226, 299])
def test_a_page_comes_with_another_status_of_success(sandbox: Sandbox, get: Get, status: int) -> None:
    sandbox.faults.append(Fault(status, headers={"Content-Range": "bytes 0-99/200"}))
    answer = get("/users")
    assert (answer.status_code, len(answer.json()["data"])) == (status, 1)
    assert answer.headers["Content-Range"] == "bytes 0-99/200"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_has_no_body_and_the_connection_stays_usable(sandbox: Sandbox, get: Get, status: int) -> None:
    sandbox.faults.append(Fault(status))
    answers = [get("/users"), get("/users")]
    assert [answer.status_code for answer in answers] == [status, 200]
    assert answers[0].content == b""


def test_an_interim_answer_comes_before_the_one_that_was_due(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults += [Fault(100), Fault(103)]
    assert get("/users").status_code == 200
    answer = raw_answer(sandbox, own_host(sandbox))
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 Unauthorized\r\n")


@pytest.mark.parametrize("status", [200, 302, 403, 404, 503, 524, 999])
def test_something_in_front_of_gorgias_answers_in_html(sandbox: Sandbox, get: Get, status: int) -> None:
    sandbox.faults.append(Fault(status, is_foreign=True))
    answer = get("/users")
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (status, HTML, "text/html")


def test_a_body_is_any_text(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults += [Fault(200, body=b""), Fault(200, body=b"[]", headers={"Content-Type": "text/plain"})]
    answers = [get("/users"), get("/users")]
    assert [answer.content for answer in answers] == [b"", b"[]"]
    assert [answer.headers["Content-Type"] for answer in answers] == ["application/json", "text/plain"]


@pytest.mark.parametrize("after", ["Sun, 01 Mar 2026 08:01:00 GMT", "soon", "-1", "99999999999"])
def test_the_time_to_wait_is_any_text(sandbox: Sandbox, get: Get, after: str) -> None:
    sandbox.faults.append(Fault(503, retry_after=after))
    assert get("/users").headers["Retry-After"] == after


def test_a_redirect_leads_anywhere(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault(302, headers={"Location": "https://login.example/?next=%2Fapi"}))
    answer = get("/users")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://login.example/?next=%2Fapi")


def test_pages_of_too_many_rows_are_refused_and_smaller_ones_are_not(
    account: Account, sandbox: Sandbox, get: Get
) -> None:
    for _ in range(6):
        account.create("tickets")
    sandbox.faults.append(Fault(504, rows_over=3, times=None))
    assert [get("/tickets", limit=limit).status_code for limit in (100, 4, 3, 1)] == [504, 504, 200, 200]
    assert get("/account").status_code == 200


def test_pages_of_too_many_bytes_are_refused_and_turns_count_those_alone(
    account: Account, sandbox: Sandbox, get: Get
) -> None:
    for size in (10, 50_000, 10):
        account.create("tickets", subject="x" * size)
    sandbox.faults.append(Fault("reset", bytes_over=50_000))
    assert get("/tickets", limit=1).status_code == 200
    with pytest.raises(requests.ConnectionError):
        get("/tickets")
    assert get("/tickets").status_code == 200


def test_two_megabytes_on_the_wire_inflate_to_two_gibibytes(sandbox: Sandbox) -> None:
    auth = (sandbox.account.email, sandbox.account.api_key)
    sandbox.faults.append(Fault("inflated"))
    with requests.get(f"{sandbox.api_url}/users", auth=auth, timeout=60, stream=True) as answer:
        body = answer.raw.read(decode_content=False)
    size = len(blanks(2 * GIBIBYTE))
    assert (answer.headers["Content-Encoding"], size < 3_000_000) == ("gzip", True)
    assert zlib.decompressobj(31).decompress(body, 1000) == b" " * 1000
    assert json.loads(gzip.decompress(body[size:]))["object"] == "list"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_is_not_encoded_as_it_claims(sandbox: Sandbox, get: Get, encoding: str) -> None:
    sandbox.faults.append(Fault(200, body=b"\x00\x01 plain", headers={"Content-Encoding": encoding}))
    with pytest.raises(requests.exceptions.ContentDecodingError):
        get("/users")
    assert get("/users").status_code == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": "5000"}, b"[]"),
        ({"Content-Length": None, "Transfer-Encoding": "chunked"}, b"zz\r\n[]"),
    ],
    ids=["a length that is too long", "broken chunks"],
)
def test_a_body_is_framed_wrongly_and_the_connection_ends(
    sandbox: Sandbox, get: Get, headers: dict[str, str | None], body: bytes
) -> None:
    sandbox.faults.append(Fault(200, body=body, headers=headers))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get("/users")
    assert get("/users").status_code == 200


def test_bytes_are_sent_that_are_no_http(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault("bare", body=b"SSH-2.0-OpenSSH_9.6\r\n"))
    with pytest.raises(requests.ConnectionError):
        get("/users")
    assert get("/users").status_code == 200


def test_cookies_are_set_by_each_answer_and_seen_if_they_come_back(sandbox: Sandbox, get: Get) -> None:
    assert [get("/users").headers["Set-Cookie"] for _ in range(2)] == [COOKIE, COOKIE]
    assert [request.cookie for request in sandbox.requests] == [None, COOKIE.partition(";")[0]]


def test_requests_are_logged_with_headers_that_their_text_does_not_show(sandbox: Sandbox, get: Get) -> None:
    get("/users")
    authorization = sandbox.requests[0].headers["Authorization"]
    assert authorization.startswith("Basic ")
    assert authorization not in repr(sandbox.requests[0])


def test_a_counter_of_calls_is_any_text(sandbox: Sandbox, get: Get) -> None:
    sandbox.faults.append(Fault("headers", headers={CALL_LIMIT.lower(): "many"}))
    assert get("/users").headers[CALL_LIMIT] == "many"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "[::2]:{port}",
        "[::1]",
        "127.0.0.1:{port}\r\nHost: evil.example:{port}",
    ],
)
def test_a_host_that_is_not_its_own_is_refused(sandbox: Sandbox, host: str) -> None:
    """A page in a browser reaches loopback by a name of its own, but not under another name than that."""
    sandbox.faults.append(Fault("headers"))
    answer = raw_answer(sandbox, f"Host: {host.format(port=sandbox.port)}")
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert CALL_LIMIT.encode().lower() not in answer.lower()
    assert raw_answer(sandbox).startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "LocalHost", "[::1]"])
def test_each_name_of_loopback_is_its_own(sandbox: Sandbox, host: str) -> None:
    assert raw_answer(sandbox, f"Host: {host}:{sandbox.port}").startswith(b"HTTP/1.1 401 ")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def trusting(authority: Authority, sandbox: Sandbox) -> int:
    """Return the status of an answer to a client that trusts this authority alone."""
    auth = (sandbox.account.email, sandbox.account.api_key)
    return requests.get(f"{sandbox.api_url}/users", auth=auth, timeout=60, verify=str(authority.path)).status_code


def test_a_certificate_of_its_own_is_trusted_by_those_who_know_its_authority(
    account: Account, authority: Authority, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(account, certificate=authority.server()) as sandbox:
        assert (sandbox.api_url[:8], trusting(authority, sandbox)) == ("https://", 200)
        with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            trusting(Authority(tmp_path), sandbox)
        with pytest.raises(requests.ConnectionError):
            requests.get(sandbox.api_url.replace("https", "http"), timeout=60)
        assert trusting(authority, sandbox) == 200
    assert capfd.readouterr().err == ""


def test_a_certificate_is_another_hosts_or_has_expired(account: Account, authority: Authority) -> None:
    elsewhere, expired = authority.server("elsewhere.example"), authority.server(expires_in=-DAY)
    for certificate, reason in ((elsewhere, "certificate is not valid for"), (expired, "certificate has expired")):
        with (
            Sandbox(account, certificate=certificate) as sandbox,
            pytest.raises(requests.exceptions.SSLError, match=reason),
        ):
            trusting(authority, sandbox)


def test_a_client_that_shakes_no_hands_holds_up_no_other(account: Account, authority: Authority) -> None:
    with (
        Sandbox(account, certificate=authority.server()) as sandbox,
        socket.create_connection(("127.0.0.1", sandbox.port), timeout=60),
    ):
        assert trusting(authority, sandbox) == 200
