"""Every status and weight that HTTP allows: what passes is asked for again, what lasts is said at once."""

import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from gorgias_assets.api import page_size
from gorgias_assets.api.answers import retry_after
from gorgias_assets.api.client import CursorRefused, Presence, Rejected, Unavailable
from gorgias_assets.sandbox.faults import Fault, blanks
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.api.test_client import (
    NEWEST_FIRST,
    SURVEYS,
    account,
    client_of,
    http_response,
    ids,
    page_body,
    pages_of,
    read,
    sandbox,
    serving,
)

PASSING = [304, 408, 421, 425, 429, 500, 502, 503, 504, 507, 520, 524, 599]
LASTING = [201, 202, 204, 206, 300, 302, 308, 400, 402, 405, 407, 410, 413, 418, 426, 451, 499, 501, 505, 511]
LIMIT = "limit"


# Statuses


@pytest.mark.parametrize("status", PASSING)
def test_what_passes_is_asked_for_again(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.append(Fault(status, skip=1))
    assert ids(pages_of(sandbox)) == list(range(1, 251))


@pytest.mark.parametrize("status", LASTING)
def test_what_lasts_is_said_at_once(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.append(Fault(status, times=None))
    with pytest.raises(Rejected, match=f"status {status}; "):
        pages_of(sandbox)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 422])
def test_a_cursor_may_be_refused_by_any_status(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.append(Fault(status, skip=1))
    with pytest.raises(CursorRefused, match=rf"rejected the cursor \({status}\)"):
        pages_of(sandbox)


def test_a_403_of_something_in_front_of_gorgias_is_not_the_key_s_fault(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(403, times=None, is_foreign=True))
    with pytest.raises(Rejected, match="something in front of Gorgias refused it"):
        pages_of(sandbox)
    sandbox.faults[:] = [Fault(403, times=None)]
    with pytest.raises(Rejected, match="this key's user may not read it"):
        pages_of(sandbox)


@pytest.mark.parametrize("location", [b"http://[x", b"http://\xff\xfe/\x1b[31m", b"//", b"http://a:99999/", b"\xed"])
def test_a_redirect_may_lead_to_what_is_no_place(sandbox: Sandbox, location: bytes) -> None:
    sandbox.faults.append(
        Fault(
            "bare", body=b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n", times=None
        )
    )
    with pytest.raises(Rejected, match="status 302; it redirects to") as caught:
        pages_of(sandbox)
    assert "\x1b" not in str(caught.value)


def test_an_early_status_is_not_taken_for_the_answer_to_the_next_request() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    first = [early + http_response(page_body({"id": 1}, next_cursor="a"))[0]]
    with serving(first, http_response(page_body({"id": 2}, next_cursor="b")), http_response(page_body({"id": 3}))) as (
        api_url,
        _,
    ):
        assert ids(read(api_url)) == [2, 3]


@pytest.mark.parametrize("status", [400, 401, 403, 405, 410, 451, 302, 307, 308, 204, 501, 511])
def test_a_look_for_one_object_takes_any_answer(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.append(Fault(status, times=None))
    with client_of(sandbox) as client:
        if status > 500:
            with pytest.raises(Rejected):
                client.find("/tickets/1")
        else:
            found = client.find("/tickets/1")
            assert (found.presence, found.status, found.calls) == (Presence.UNKNOWN, status, 1)


def test_a_404_that_is_not_gorgias_s_own_says_nothing_of_an_object(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(404, times=None, is_foreign=True))
    with client_of(sandbox) as client:
        assert client.find("/tickets/1").presence is Presence.UNKNOWN


@pytest.mark.parametrize("status", [200, 302, 304, 401, 403, 404, 408, 421, 425, 429, 451, 499])
def test_any_answer_below_500_shows_that_gorgias_is_there(sandbox: Sandbox, status: int) -> None:
    sandbox.faults.append(Fault(status, times=None))
    with client_of(sandbox) as client:
        client.ping()
    assert len(sandbox.requests) == 1


def test_the_wait_that_a_503_requires_is_kept_and_one_beyond_the_patience_is_not(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(503, retry_after=7))
    (first, *_) = pages_of(sandbox)
    assert first.waited >= 6
    sandbox.faults[:] = [Fault(503, retry_after=10**9)]
    with pytest.raises(Unavailable, match="status 503; gave up"):
        pages_of(sandbox)


NOW = "Mon, 02 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("Mon, 02 Mar 2026 12:01:30 GMT", 90),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0),
        ("soon", 0),
        ("-1", 0),
        ("\u0667", 0),
        ("", 0),
        ("9" * 5_000, 999_999_999),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after({"Retry-After": value, "Date": NOW}) == seconds


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Mon, 99 Foo 99999 99:99:99 GMT",
        "Mon, 02 Mar 1600 12:00:00 GMT",
        "0",
        "\x00",
        "x" * 5_000,
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 02 Mar 2026 12:00:00 +9999999",
    ],
)
def test_a_date_that_is_nonsense_is_no_crash(date: str) -> None:
    with serving(http_response(page_body({"id": 1}), f"Date: {date}")) as (api_url, _):
        (page,) = read(api_url)
    assert abs(page.answered_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_no_cookie_is_kept_or_sent(sandbox: Sandbox) -> None:
    pages_of(sandbox)
    assert {request.cookie for request in sandbox.requests} == {None}


# Weights


def limits(sandbox: Sandbox) -> list[int]:
    return [int(request.params[LIMIT]) for request in sandbox.requests]


def test_a_page_that_takes_too_long_is_asked_for_in_smaller_ones_which_then_grow_again(
    sandbox: Sandbox,
) -> None:
    sandbox.faults.append(Fault(504, skip=1, times=3))
    assert ids(pages_of(sandbox)) == list(range(1, 251))
    assert limits(sandbox) == [100, 100, 100, 50, 25, 50, 100]


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_pages_of_any_weight_are_read_if_a_gateway_lets_so_many_rows_through(
    sandbox: Sandbox,
    rows: int,
) -> None:
    sandbox.faults.append(Fault(504, bytes_over=len(page_body({"id": 1})) + 420 * rows, times=None))
    assert ids(pages_of(sandbox, patience=10_000)) == list(range(1, 251))


def test_a_fault_that_has_nothing_to_do_with_the_weight_makes_no_page_smaller(sandbox: Sandbox) -> None:
    sandbox.faults += [Fault(500, skip=1, times=4), Fault(504, skip=2)]
    pages_of(sandbox, patience=1_000)
    assert {*limits(sandbox)} == {100}


@pytest.mark.parametrize(
    ("row_bytes", "rows"), [(2_500, 100), (160_000, 100), (page_size.PAGE_BYTES // 10, 10), (4 * 2**20, 4), (2**30, 1)]
)
def test_rows_that_are_long_are_asked_for_by_their_weight(row_bytes: int, rows: int) -> None:
    size = page_size.PageSize()
    for _ in range(8):
        while size.rows > 1 and size.rows * row_bytes > size.most_bytes:
            size.was_too_heavy()
        size.answered(size.rows, size.rows * row_bytes)
    assert size.rows == rows


def test_a_body_that_inflates_without_end_is_not_read_on() -> None:
    bomb = gzip.compress(b" " * (2 * page_size.MOST_BYTES), 9)
    small = gzip.compress(page_body({"id": 1}))
    packed = "Content-Encoding: gzip"
    with serving(http_response(bomb, packed), http_response(small, packed)) as (api_url, received):
        tracemalloc.start()
        try:
            assert ids(read(api_url)) == [1]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3 * page_size.MOST_BYTES
    assert "limit=50" in received[1][1]


def test_a_redirect_s_body_is_bounded_too(sandbox: Sandbox) -> None:
    headers = {"Location": "/elsewhere", "Content-Encoding": "gzip"}
    sandbox.faults += [Fault(302, body=blanks(4 * page_size.MOST_BYTES), headers=headers), Fault(404)]
    with client_of(sandbox) as client:
        tracemalloc.start()
        try:
            assert client.find("/tickets/1").calls == 2
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3 * page_size.MOST_BYTES


def test_a_row_that_is_too_large_by_itself_is_said_in_a_sentence(sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("inflated", times=None))
    with (
        client_of(sandbox, patience=0.01) as client,
        pytest.raises(Unavailable, match="the answer is longer than 256 MiB"),
    ):
        client.page(SURVEYS, order_by=NEWEST_FIRST)
    assert limits(sandbox) == [100, 50, 25, 12, 6, 3, 1]
