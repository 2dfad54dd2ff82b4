"""The Gorgias REST API over HTTP: authentication, waiting, retries, pages.

    GorgiasError
    ├── Rejected      Gorgias said no; another attempt gets the same answer
    ├── Unavailable   no usable answer for minutes; another attempt may get one
    └── Untrusted     answers that break the list contract; reading on could lose rows

A message says which request failed and what to do. It holds no body, no URI and no parameter: rows are customers'
letters. This module is the only owner of retries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import orjson
import requests
import tenacity

from gorgias_assets.budget import Budget
from gorgias_assets.uri import GorgiasUri, check_api_url

PAGE_ROWS = 100  # the API's maximum for every list
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

_ADVICE = {
    401: "check the e-mail and the API key in the Gorgias URI; Gorgias shows the key under Settings, REST API",
    403: "this key's user may not read it; use the key of an admin, or give its user the permission",
    404: "check the domain in the Gorgias URI: it is the subdomain of gorgias.com where you log in",
}


class GorgiasError(Exception):
    """Reading from Gorgias failed; the message says where and what to do."""


class Rejected(GorgiasError):
    """Gorgias understood the request and said no; another attempt gets the same answer."""


class Unavailable(GorgiasError):
    """There was no usable answer for minutes; another attempt may get one."""


class Untrusted(GorgiasError):
    """Answers break the contract of a list; reading on could lose rows silently."""


class _Retry(Exception):
    """This attempt failed; another may succeed."""


@dataclass(frozen=True)
class Page:
    """One answer of a list.

    - `rows`: at most 100 objects, in the list's order.
    - `next_cursor`, `prev_cursor`: null at the list's ends.
    - `requested_at`: when the request was sent, aware UTC.
    - `calls`: requests that it took, failed attempts included; `waited`: seconds spent waiting for the budget.
    - `size`: bytes of the body, decompressed.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None
    prev_cursor: str | None
    requested_at: datetime
    calls: int
    waited: float
    size: int


class GorgiasClient:
    """Reads lists of one account, one request at a time.

    `patience` is how many seconds one page may take, waiting and failed attempts included, before `Unavailable`.
    """

    def __init__(self, uri: GorgiasUri, *, api_url: str | None, budget: Budget, patience: float) -> None:
        self._domain = uri.domain
        self._api_url = check_api_url(api_url or uri.api_url)
        self._budget = budget
        self._patience = patience
        self._session = requests.Session()
        self._session.auth = requests.auth.HTTPBasicAuth(uri.email.encode(), uri.api_key.encode())
        self._session.headers["User-Agent"] = f"gorgias-assets/{version('gorgias-assets')}"

    def close(self) -> None:
        self._session.close()

    def pages(self, path: str, *, order_by: str, cursor: str | None = None) -> Iterator[Page]:
        """The pages of the list at `path`, from its beginning or from `cursor` to its end.

        `order_by` is `<field>:asc` or `<field>:desc`. Every parameter is sent again with each cursor, which does not
        hold them (developers.gorgias.com/reference/pagination-1). Raises `Rejected`, `Unavailable`, and `Untrusted`
        when a cursor stands still.
        """
        parameters = {"limit": str(PAGE_ROWS), "order_by": order_by}
        while True:
            page = self._page(path, parameters | ({"cursor": cursor} if cursor else {}))
            if page.next_cursor is not None and page.next_cursor == cursor:
                raise Untrusted(f"GET {path}: the cursor stands still, so the list has no end. Try again later.")
            yield page
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    def _page(self, path: str, parameters: Mapping[str, str]) -> Page:
        waited_before = self._budget.waited_seconds
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Retry),
            wait=tenacity.wait_random_exponential(multiplier=1, max=60),
            stop=tenacity.stop_before_delay(self._patience),
        )
        try:
            for attempt in attempts:
                with attempt:
                    self._budget.acquire()
                    requested_at = datetime.now(UTC)
                    body = self._get(path, parameters)
                    rows, meta = _parse_list(body)
        except tenacity.RetryError as error:
            reason = error.last_attempt.exception()
            minutes = round(self._patience / 60)
            raise Unavailable(
                f"GET {path}: {reason}, and so for {minutes} minutes. What was read is kept; run it again later."
            ) from None
        return Page(
            rows=rows,
            next_cursor=meta.get("next_cursor"),
            prev_cursor=meta.get("prev_cursor"),
            requested_at=requested_at,
            calls=attempts.statistics["attempt_number"],
            waited=self._budget.waited_seconds - waited_before,
            size=len(body),
        )

    def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """One attempt: the body of a 200, or `_Retry`, or `Rejected`."""
        try:
            answer = self._session.get(
                self._api_url + path,
                params=parameters,
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,
            )
        except requests.Timeout:
            raise _Retry("no answer in time") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise _Retry("the connection failed") from None
        except requests.exceptions.ContentDecodingError:
            raise _Retry("the body was damaged") from None
        self._budget.observe(answer.headers)
        if answer.status_code == 200:
            return answer.content
        if answer.status_code == 429:
            self._budget.close_for(_retry_after(answer.headers))
            raise _Retry("status 429, the account's API calls are used up")
        if answer.status_code >= 500 or answer.status_code == 408:
            raise _Retry(f"status {answer.status_code}")
        advice = _ADVICE.get(answer.status_code, "this is unexpected; please report it with this message")
        raise Rejected(f"GET {path} of account {self._domain!r}: status {answer.status_code}; {advice}.")


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, from `Retry-after: <integer>`; zero where it is missing or something else."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isdecimal() else 0.0


def _parse_list(body: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """`data` and `meta` of a list's envelope; anything else is not taken for an answer."""
    try:
        envelope = orjson.loads(body)
        rows, meta = envelope["data"], envelope["meta"]
        cursors_fit = all(isinstance(meta.get(name), str | None) for name in ("next_cursor", "prev_cursor"))
        rows_fit = all(type(row) is dict and type(row.get("id")) is int for row in rows)
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        cursors_fit = rows_fit = False
    if not (cursors_fit and rows_fit):
        raise _Retry("an answer that is no list of rows with ids") from None
    return rows, meta
