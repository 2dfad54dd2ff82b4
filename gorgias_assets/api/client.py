"""The Gorgias REST API over HTTP: authentication, waiting, retries, pages.

    GorgiasError
    ├── Rejected      the request cannot succeed as things are: Gorgias refused it, or something on the way lasts
    │   └── CursorRefused      it refused a cursor; a seek may reach the same rows
    ├── Unavailable   no usable answer for minutes; another attempt may get one
    └── Untrusted     answers that break the list contract; reading on could lose rows

A message names the request that failed and the way out. It holds no body, no URI and no parameter: rows are customers'
letters. This module is the only owner of retries.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from threading import Event
from time import monotonic
from typing import Any

import requests
import tenacity
import urllib3

from gorgias_assets.api.answers import (
    Answer,
    Found,
    Page,
    Presence,
    Read,
    Refused,
    Request,
    Unusable,
    date_of,
    read_list,
    read_nothing,
    read_presence,
    read_whole,
    retry_after,
)
from gorgias_assets.api.budget import Budget
from gorgias_assets.api.clock import clock_of
from gorgias_assets.api.network import failure_of, trusted_certificates
from gorgias_assets.api.page_size import MOST_BYTES, PAGE_ROWS, PageSize
from gorgias_assets.api.uri import GorgiasUri, check_api_url
from gorgias_assets.display import shown

__all__ = [
    "CursorRefused",
    "Found",
    "GorgiasClient",
    "GorgiasError",
    "Page",
    "Presence",
    "Rejected",
    "Request",
    "Unavailable",
    "Untrusted",
]

Parameters = Sequence[tuple[str, str]]
Query = Mapping[str, Any]

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
HELP_PATIENCE_SECONDS = 60.0  # for requests that only help: a reading goes on without their answers
NAME_SECONDS = 60.0  # that a host's name may be unknown
_LEAST_BODY_SECONDS = 1  # to read a body in, once it arrives
_CHUNK_BYTES = 2**18
_BACK_OFF = tenacity.wait_random_exponential(multiplier=1, max=60)

_SMALL_PATH = "/account"  # one object, whose lists are not read (developers.gorgias.com/reference/get-account)

_ADVICE = {
    401: "check the e-mail and the API key in the Gorgias URI; Gorgias shows the key under Settings, REST API",
    403: "this key's user may not read it; use the key of an admin, or give its user the permission",
    404: "check the domain in the Gorgias URI: it is the subdomain of gorgias.com where you log in",
    407: "the proxy requires a user; set it in HTTPS_PROXY",
    511: "the network requires a log-in; let this machine reach Gorgias without one",
}
_UNEXPECTED = "this is unexpected; please report it with this message"
_NOT_GORGIAS = "something in front of Gorgias refused it, such as a firewall or a proxy, and not because of the key"
_LASTING = {501, 505, 506, 508, 510, 511}  # of those from 500 on
_SLOW = {504, 524}  # the server behind a gateway took too long


class GorgiasError(Exception):
    """Reading from Gorgias failed; the message names the request and the way out."""


class Rejected(GorgiasError):
    """The request cannot succeed as things are: Gorgias refused it, or a certificate, a name or a proxy is wrong.

    `status` is that of the answer; 0 if there was none, or if it came from something in front of Gorgias.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CursorRefused(Rejected):
    """Gorgias rejected a cursor. Cursors are short-lived; their lifetime is not documented.

    `calls` is the number of requests made until then.
    """

    def __init__(self, message: str, status: int, calls: int) -> None:
        super().__init__(message, status)
        self.calls = calls


class Unavailable(GorgiasError):
    """There was no usable answer for minutes; another attempt may get one. `reason` is the message without advice."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Rows read so far are saved; re-run later.")
        self.reason = reason


class Untrusted(GorgiasError):
    """Answers break the contract of a list; reading on could lose rows silently."""


@dataclass(frozen=True)
class _Call:
    """A request: a GET, or the POST of a query. Its text, for messages, has neither parameters nor the query."""

    path: str
    parameters: Parameters = field(default=(), repr=False)
    query: Query | None = field(default=None, repr=False)

    @property
    def method(self) -> str:
        return "GET" if self.query is None else "POST"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _Session(requests.Session):
    """A session to which no answer is a redirect: requests would parse its location and read its body, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


class GorgiasClient:
    """Reads lists of one account, one request at a time.

    `patience` is how many seconds one answer may take, waiting and failed attempts included, before `Unavailable`; the
    budget's clock measures it. A single request may have less. `account` is the account's domain, and `gorgias_clock`
    what the answers show of Gorgias's clock. After `close()`, also from another thread, waiting ends and nothing more
    is requested.
    """

    def __init__(self, uri: GorgiasUri, *, api_url: str | None, budget: Budget, patience: float) -> None:
        self.account = uri.domain
        self._api_url = check_api_url(api_url or uri.api_url)
        self._budget = budget
        self._clock = budget.clock
        self.gorgias_clock = clock_of(self._api_url)
        self._patience = patience
        self._closed = Event()
        self._is_new = True
        self._sizes: dict[str, PageSize] = {}
        self._session = _Session()
        self._session.trust_env = self._api_url.startswith("https:")  # a proxy is no way to loopback
        if self._session.trust_env:
            self._session.verify = trusted_certificates()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # a client with a key needs none
        self._session.auth = requests.auth.HTTPBasicAuth(uri.email.encode(), uri.api_key.encode())
        self._session.headers["User-Agent"] = f"gorgias-assets/{version('gorgias-assets')}"

    def close(self) -> None:
        self._closed.set()
        self._session.close()

    def pages(
        self,
        path: str,
        *,
        order_by: str,
        cursor: str | None = None,
        filters: Parameters = (),
        query: Query | None = None,
        limit: int = PAGE_ROWS,
        patience: float = math.inf,
        key: str = "id",
        first: Page | None = None,
    ) -> Iterator[Page]:
        """Yield the pages of the list at `path`, from its beginning or from `cursor` to its end.

        `order_by` is `<field>:asc` or `<field>:desc`, or empty for a list that takes none. Every parameter is sent
        again with each cursor, which does not hold them (developers.gorgias.com/reference/pagination-1). `first` is the
        page to begin with, if that was requested already. Raise `Rejected`, `Unavailable`, and `Untrusted` if a cursor
        is repeated.
        """
        seen = {cursor}
        while True:
            page = first or self.page(
                path,
                order_by=order_by,
                cursor=cursor,
                filters=filters,
                query=query,
                limit=limit,
                patience=patience,
                key=key,
            )
            first, cursor = None, page.next_cursor
            if cursor is not None and cursor in seen:
                raise _endless(_Call(path, query=query))
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
        query: Query | None = None,
        limit: int = PAGE_ROWS,
        patience: float = math.inf,
        key: str = "id",
    ) -> Page:
        """Return one page of the list at `path`: its first, or the one at `cursor`.

        It has at most `limit` rows, and fewer if pages of the list are too heavy (`PageSize`). Its rows are told apart
        by `key`: an integer `id`, or a text; or not at all if it is empty. A `query` is sent as JSON by POST, and asks
        for rows without changing any: it is repeated like the request of a list.
        """
        parameters = [*([("order_by", order_by)] if order_by else []), *filters]
        if cursor is not None:
            parameters.append(("cursor", cursor))
        size = self._sizes.setdefault(path, PageSize(max(limit, PAGE_ROWS)))
        call = _Call(path, parameters, query)
        read, request = self._ask(call, partial(read_list, key=key), patience, size, limit)
        size.answered(len(read["rows"]), read["size"])
        return Page(**read, **vars(request))

    def whole(self, path: str, *, filters: Parameters = (), key: str = "id") -> Page:
        """Return all of the list at `path`, which has no pages and takes none of their parameters."""
        read, request = self._ask(_Call(path, filters), partial(read_whole, key=key))
        return Page(**read, **vars(request))

    def find(self, path: str, patience: float = math.inf) -> Found:
        """Look for the object at `path`. Its fields are not read: they are not those of the list. Raise `Unavailable`.

        A deleted object answers 404; a merged one 301, with everything below it
        (developers.gorgias.com/changelog, 2023-08-08 for tickets, 2024-05-06 for customers).
        """
        read, request = self._ask(_Call(path), read_presence, patience)
        return Found(**read, **vars(request))

    def ping(self) -> None:
        """Request something small, to learn if Gorgias answers and how full its bucket is. Raise `Unavailable`.

        Any status below 500 is an answer, a refusal too.
        """
        self._ask(_Call(_SMALL_PATH), read_nothing)

    def _ask(
        self,
        call: _Call,
        read: Callable[[Answer], Read],
        patience: float = math.inf,
        size: PageSize | None = None,
        limit: int = PAGE_ROWS,
    ) -> tuple[Read, Request]:
        """Request until `read` accepts the answer; `read` raises `Unusable` if it does not.

        `size` is that of a list's pages.
        """
        failure = "the account's API calls are used up"
        patience = min(patience, self._patience)
        clock, deadline, waited = self._clock, self._clock.now() + patience, 0.0
        unknown_since: float | None = None
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unusable),
            wait=_wait,
            sleep=lambda seconds: clock.wait(seconds, self._closed),
            stop=lambda attempt: self._closed.is_set() or clock.now() + attempt.upcoming_sleep >= deadline,
        )
        try:
            for attempt in attempts:
                with attempt:
                    waited += self._budget.acquire(deadline - clock.now(), self._closed)
                    sent, started = monotonic(), clock.now()
                    try:
                        answer = self._send(call, deadline, size, limit)
                        result = read(answer)
                    except Unusable as unusable:
                        failure = str(unusable)
                        unknown_since = (
                            (started if unknown_since is None else unknown_since) if unusable.lasting else None
                        )
                        if unknown_since is not None and clock.now() - unknown_since >= NAME_SECONDS:
                            raise Refused(sentence=unusable.lasting) from None
                        if size and unusable.is_slow:
                            size.was_too_slow()
                        raise
        except (tenacity.RetryError, TimeoutError):
            raise _unavailable(call, failure, patience) from None
        except Refused as refused:
            raise self._rejected(call, refused, attempts.statistics["attempt_number"]) from None
        requested_at, answered_at = self.gorgias_clock.answered(sent, answer.received, answer.date, self._is_new)
        self._is_new = False
        return result, Request(
            requested_at=requested_at,
            answered_at=answered_at,
            calls=attempts.statistics["attempt_number"],
            waited=waited,
            seconds=clock.now() - started,
        )

    def _send(self, call: _Call, deadline: float, size: PageSize | None, limit: int) -> Answer:
        """Make one attempt, whose call was acquired. Raise `Unusable` if another may succeed."""
        observed, left = False, max(deadline - self._clock.now(), _LEAST_BODY_SECONDS)
        rows = [("limit", str(min(limit, size.rows)))] if size else []
        try:
            if self._closed.is_set():
                raise Unusable("reading was stopped")
            with self._session.request(
                call.method,
                self._api_url + call.path,
                params=[*rows, *call.parameters],
                json=call.query,
                timeout=(min(CONNECT_TIMEOUT_SECONDS, left), min(READ_TIMEOUT_SECONDS, left)),
                allow_redirects=False,
                stream=True,
            ) as answer:
                received = monotonic()
                self._budget.observe(answer.headers)
                observed = True
                self._check_status(answer)
                body, headers = self._read_body(answer, deadline, size), answer.headers
                return Answer(answer.status_code, body, headers.get("Location"), date_of(headers), received)
        except (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError):
            raise Unusable("no connection in time") from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise Unusable("no answer in time", is_slow=True) from None
        except urllib3.exceptions.HTTPError:  # while the body was read
            raise Unusable("the connection failed") from None
        except (OSError, ValueError) as error:  # requests' own errors are among them
            raise failure_of(error, self._api_url) from None
        finally:
            if not observed:
                self._budget.release()

    def _check_status(self, answer: requests.Response) -> None:
        """Raise for a status that is no answer to the request, by RFC 9110 and its registry of statuses."""
        status = answer.status_code
        if status == 429 or status >= 500:
            self._budget.close_for(retry_after(answer.headers))
        if status in _LASTING:
            raise Refused(status)
        if status < 200:  # the answer proper would follow, and be taken for that to the next request
            self._session.close()
        if status < 200 or status >= 500:
            raise Unusable(f"status {status}", status in _SLOW)

    def _read_body(self, answer: requests.Response, deadline: float, size: PageSize | None) -> bytes:
        """Read the whole body, decompressed. The deadline also ends a body that drips, which no socket timeout does.

        A body that is too large is not read on, and fewer rows are asked for the next time.
        """
        deadline = max(deadline, self._clock.now() + _LEAST_BODY_SECONDS)
        most = size.most_bytes if size else MOST_BYTES
        body = bytearray()
        while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > most:
                can_shrink = size is not None and size.was_too_heavy()
                raise Unusable(f"the answer is longer than {most / 2**20:,.0f} MiB", can_wait=not can_shrink)
            if self._clock.now() > deadline:
                raise Unusable("the answer took too long", is_slow=True)
        return bytes(body)

    def _rejected(self, call: _Call, refused: Refused, calls: int) -> Rejected:
        where, status = f"{call} of account {self.account!r}", refused.status
        if refused.sentence:
            return Rejected(f"{where}: {refused.sentence}.")
        if status != 401 and "cursor" in dict(call.parameters):
            return CursorRefused(
                f"{where}: Gorgias rejected the cursor ({status}), and the rows behind it were not reached in another "
                "way. Rows read so far are saved; re-run later.",
                status,
                calls,
            )
        if 300 <= status < 400:
            place = shown(refused.host) if refused.host else "another path"
            advice = f"it redirects to {place}, where the key is not sent; correct the domain in the Gorgias URI"
        elif status == 403 and not refused.is_own:
            advice = _NOT_GORGIAS
        else:
            advice = _ADVICE.get(status, _UNEXPECTED)
        return Rejected(f"{where}: status {status}; {advice}.", 0 if advice is _NOT_GORGIAS else status)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait after an attempt: back off with jitter, if waiting can help."""
    failure = state.outcome.exception() if state.outcome else None
    return _BACK_OFF(state) if isinstance(failure, Unusable) and failure.can_wait else 0.0


def _unavailable(call: _Call, reason: str, patience: float) -> Unavailable:
    gave_up = f"{patience:,.0f} s" if patience < 120 else f"{patience / 60:,.0f} minutes"
    return Unavailable(f"{call}: {reason}; gave up after {gave_up}.")


def _endless(call: _Call) -> Untrusted:
    """Return the error for a list whose cursors go round in a circle."""
    return Untrusted(f"{call}: a cursor came again, so the list would have no end. Try again later.")
