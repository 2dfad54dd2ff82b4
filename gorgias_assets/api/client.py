"""The Gorgias REST API over HTTP: authentication, waiting, retries, pages.

    GorgiasError
    ├── Rejected      Gorgias said no; another attempt gets the same answer
    │   └── CursorRefused      to a cursor; the same rows may be reached in another way
    ├── Unavailable   no usable answer for minutes; another attempt may get one
    └── Untrusted     answers that break the list contract; reading on could lose rows

A message says which request failed and what to do. It holds no body, no URI and no parameter: rows are customers'
letters. This module is the only owner of retries.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from importlib.metadata import version
from threading import Event
from time import monotonic
from typing import Any

import orjson
import requests
import tenacity
import urllib3

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.uri import GorgiasUri, check_api_url

Read = dict[str, Any]
Parameters = Sequence[tuple[str, str]]

PAGE_ROWS = 100  # the API's maximum for every list
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
_LEAST_BODY_SECONDS = 1  # to read a body in, once it arrives
_CHUNK_BYTES = 2**18
_DIGITS_TO_ZEROS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG_INTEGER = b"0" * 19  # 64 bits hold every integer of fewer digits
_HALF_PAIR = re.compile("[\ud800-\udfff]")

_ADVICE = {
    401: "check the e-mail and the API key in the Gorgias URI; Gorgias shows the key under Settings, REST API",
    403: "this key's user may not read it; use the key of an admin, or give its user the permission",
    404: "check the domain in the Gorgias URI: it is the subdomain of gorgias.com where you log in",
}


class GorgiasError(Exception):
    """Reading from Gorgias failed; the message says where and what to do."""


class Rejected(GorgiasError):
    """Gorgias understood the request and said no; another attempt gets the same answer."""


class CursorRefused(Rejected):
    """Gorgias does not take a cursor (any more); they are short-lived, and nothing says for how long.

    `calls` is how many requests it took to be told.
    """

    def __init__(self, message: str, calls: int) -> None:
        super().__init__(message)
        self.calls = calls


class Unavailable(GorgiasError):
    """There was no usable answer for minutes; another attempt may get one. `reason` is the message without advice."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} What was read is kept; run it again later.")
        self.reason = reason


class Untrusted(GorgiasError):
    """Answers break the contract of a list; reading on could lose rows silently."""


class _Retry(Exception):
    """This attempt failed; another may succeed."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What it took to get one answer.

    - `requested_at`: when the request that was answered was sent, aware UTC; `answered_at`: when it was answered, by
      Gorgias's clock and to the second, or by this machine's where the answer has no `Date`.
    - `calls`: requests made, failed attempts included; `waited`: seconds spent waiting for the budget.
    - `seconds`: from that request to the end of its answer.
    """

    requested_at: datetime
    answered_at: datetime
    calls: int
    waited: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Page(Request):
    """One answer of a list.

    - `rows`: at most 100 objects, in the list's order.
    - `next_cursor`: null on the last page; `prev_cursor`: null on the first.
    - `size`: bytes of the body, decompressed.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None
    prev_cursor: str | None
    size: int


class _Refused(Exception):
    """A status that says no."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class _Answer:
    """A status below 500, its body, its `Location`, and its `Date`."""

    status: int
    body: bytes
    location: str | None
    date: datetime


class Presence(Enum):
    """Whether one object is there."""

    ALIVE = "alive"
    GONE = "gone"
    MOVED = "moved"


@dataclass(frozen=True, kw_only=True)
class Found(Request):
    """The answer to a look for one object; `location` is the path that it has moved to, where Gorgias says so."""

    presence: Presence
    location: str | None


class GorgiasClient:
    """Reads lists of one account, one request at a time.

    `patience` is how many seconds one answer may take, waiting and failed attempts included, before `Unavailable`.
    After `close()`, which may come from another thread, waiting ends and nothing more is requested.
    """

    def __init__(self, uri: GorgiasUri, *, api_url: str | None, budget: Budget, patience: float) -> None:
        self._domain = uri.domain
        self._api_url = check_api_url(api_url or uri.api_url)
        self._budget = budget
        self._patience = patience
        self._closed = Event()
        self._session = requests.Session()
        self._session.trust_env = self._api_url.startswith("https:")  # a proxy is no way to loopback
        self._session.auth = requests.auth.HTTPBasicAuth(uri.email.encode(), uri.api_key.encode())
        self._session.headers["User-Agent"] = f"gorgias-assets/{version('gorgias-assets')}"

    def close(self) -> None:
        self._closed.set()
        self._session.close()

    def pages(self, path: str, *, order_by: str, cursor: str | None = None, filters: Parameters = ()) -> Iterator[Page]:
        """The pages of the list at `path`, from its beginning or from `cursor` to its end.

        `order_by` is `<field>:asc` or `<field>:desc`. Every parameter is sent again with each cursor, which does not
        hold them (developers.gorgias.com/reference/pagination-1). Raises `Rejected`, `Unavailable`, and `Untrusted`
        when a cursor comes again.
        """
        seen = {cursor}
        while True:
            page = self.page(path, order_by=order_by, cursor=cursor, filters=filters)
            cursor = page.next_cursor
            if cursor is not None and cursor in seen:
                raise endless(path)
            yield page
            if cursor is None:
                return
            seen.add(cursor)

    def page(
        self,
        path: str,
        *,
        order_by: str,
        cursor: str | None = None,
        filters: Parameters = (),
        limit: int = PAGE_ROWS,
    ) -> Page:
        """One page of the list at `path`, of at most `limit` rows: its first, or the one at `cursor`."""
        parameters = [("limit", str(limit)), ("order_by", order_by), *filters]
        if cursor is not None:
            parameters.append(("cursor", cursor))
        read, request = self._ask(path, parameters, _read_list)
        return Page(**read, **vars(request))

    def find(self, path: str) -> Found:
        """Look whether the object at `path` is there. Its fields are not read: they are not those of the list.

        A deleted object answers 404; a merged one 301, with everything below it
        (developers.gorgias.com/changelog, 2023-08-08 for tickets, 2024-05-06 for customers).
        """
        read, request = self._ask(path, [], _read_presence)
        return Found(**read, **vars(request))

    def _ask(self, path: str, parameters: Parameters, read: Callable[["_Answer"], Read]) -> tuple[Read, Request]:
        """What `read` makes of the answer; `read` raises `_Retry` where it cannot be trusted."""
        deadline = monotonic() + self._patience
        waited = 0.0
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Retry),
            wait=tenacity.wait_random_exponential(multiplier=1, max=60),
            sleep=tenacity.sleep_using_event(self._closed),
            stop=tenacity.stop_any(
                tenacity.stop_before_delay(self._patience), tenacity.stop_when_event_set(self._closed)
            ),
        )
        try:
            for attempt in attempts:
                with attempt:
                    waited += self._budget.acquire(deadline - monotonic(), self._closed)
                    requested_at, started = datetime.now(UTC), monotonic()
                    answer = self._get(path, parameters, deadline)
                    result = read(answer)
        except tenacity.RetryError as error:
            raise self._unavailable(path, str(error.last_attempt.exception())) from None
        except TimeoutError:
            raise self._unavailable(path, "the account's API calls are used up") from None
        except _Refused as refused:
            raise self._rejected(path, parameters, refused.status, attempts.statistics["attempt_number"]) from None
        return result, Request(
            requested_at=requested_at,
            answered_at=answer.date,
            calls=attempts.statistics["attempt_number"],
            waited=waited,
            seconds=monotonic() - started,
        )

    def _get(self, path: str, parameters: Parameters, deadline: float) -> "_Answer":
        """One attempt: an answer that need not be tried again, or `_Retry`. Its call was acquired."""
        observed, left = False, max(deadline - monotonic(), _LEAST_BODY_SECONDS)
        try:
            if self._closed.is_set():
                raise _Retry("reading was stopped")
            with self._session.get(
                self._api_url + path,
                params=parameters,
                timeout=(min(CONNECT_TIMEOUT_SECONDS, left), min(READ_TIMEOUT_SECONDS, left)),
                allow_redirects=False,
                stream=True,
            ) as answer:
                self._budget.observe(answer.headers)
                observed = True
                self._check_status(answer)
                body, headers = _read_body(answer, deadline), answer.headers
                return _Answer(answer.status_code, body, headers.get("Location"), _date(headers))
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise _Retry("no answer in time") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            raise _Retry("the connection failed") from None
        finally:
            if not observed:
                self._budget.release()

    def _check_status(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 429:
            self._budget.close_for(_retry_after(answer.headers))
            raise _Retry("status 429, the account's API calls are used up")
        if status >= 500 or status == 408:
            raise _Retry(f"status {status}")

    def _rejected(self, path: str, parameters: Parameters, status: int, calls: int) -> Rejected:
        if status == 400 and "cursor" in dict(parameters):
            return CursorRefused(
                f"GET {path} of account {self._domain!r}: status 400 to a cursor, whichever way the rows were looked "
                "for. What was read is kept; run it again later.",
                calls,
            )
        advice = _ADVICE.get(status, "this is unexpected; please report it with this message")
        return Rejected(f"GET {path} of account {self._domain!r}: status {status}; {advice}.")

    def _unavailable(self, path: str, reason: str) -> Unavailable:
        patience = f"{self._patience:,.0f} s" if self._patience < 120 else f"{self._patience / 60:,.0f} minutes"
        return Unavailable(f"GET {path}: {reason}, and no answer came in {patience}.")


def endless(path: str) -> Untrusted:
    """A list whose cursors go round in a circle."""
    return Untrusted(f"GET {path}: a cursor came again, so the list would have no end. Try again later.")


def _read_body(answer: requests.Response, deadline: float) -> bytes:
    """The whole body, decompressed; the deadline holds for a body that drips, too, which no socket timeout ends."""
    deadline = max(deadline, monotonic() + _LEAST_BODY_SECONDS)
    body = bytearray()
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if monotonic() > deadline:
            raise _Retry("the answer took too long")
    return bytes(body)


def _date(headers: Mapping[str, str]) -> datetime:
    try:
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, from `Retry-after: <integer>`; zero where it is missing or something else."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isdecimal() else 0.0


def _read_list(answer: _Answer) -> Read:
    """A list's envelope; anything else is not taken for an answer."""
    if answer.status != 200:
        raise _Refused(answer.status)
    try:
        envelope = _loads(answer.body)
        rows, meta = envelope["data"], envelope["meta"]
        cursors = {"next_cursor": meta["next_cursor"], "prev_cursor": meta.get("prev_cursor")}
        is_list = (
            type(rows) is list
            and all(type(row) is dict and type(row.get("id")) is int and abs(row["id"]) < 2**63 for row in rows)
            and all(cursor is None or (type(cursor) is str and cursor != "") for cursor in cursors.values())
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        is_list = False
    if not is_list:
        raise _Retry("an answer that is no list of rows with ids") from None
    return {"rows": rows, **cursors, "size": len(answer.body)}


def _read_presence(answer: _Answer) -> Read:
    """Of one object. A 404 that is not Gorgias's own, as of an unknown domain, says nothing about an object."""
    if answer.status == 301:
        return {"presence": Presence.MOVED, "location": answer.location}
    if answer.status not in (200, 404):
        raise _Refused(answer.status)
    is_alive = answer.status == 200
    try:
        is_object = type(_loads(answer.body)["id" if is_alive else "error"]) is (int if is_alive else dict)
    except (ValueError, TypeError, KeyError, RecursionError):
        is_object = False
    if not is_object:
        raise _Retry("an answer that is no object of Gorgias's") from None
    return {"presence": Presence.ALIVE if is_alive else Presence.GONE, "location": None}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _loads(body: bytes) -> Any:
    """The JSON, also where orjson would round an integer of more than 64 bits or give up on half a surrogate pair.

    Such a half is no character that UTF-8 or a database can hold; it becomes the text of its escape, `\\ud83d`.
    """
    if _LONG_INTEGER not in body.translate(_DIGITS_TO_ZEROS):  # ten times as fast as a regular expression
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    text = json.dumps(json.loads(body, parse_constant=_refuse), ensure_ascii=False)
    return json.loads(_HALF_PAIR.sub(lambda half: rf"\\u{ord(half[0]):04x}", text))
