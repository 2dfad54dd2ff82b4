"""Faults on demand: each turns the answer that was due into another one."""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from gorgias_assets.sandbox.endpoints import LISTS, Answer, ApiError
from gorgias_assets.sandbox.kinds import key_of
from gorgias_assets.sandbox.moments import microseconds
from gorgias_assets.sandbox.rows import Cursor, Row, dumped

ERRORS = {
    400: "Invalid parameters.",
    401: "Unauthorized.",
    403: "You do not have enough permissions to perform this action.",
    404: "Resource not found.",
    405: "The specified HTTP method is not allowed.",
    429: "Too many requests.",
    500: "Internal server error.",
    502: "Bad gateway.",
    503: "An external service had an issue.",
    504: "Gateway timeout.",
}
"""Statuses, and Gorgias's messages with them."""

ODD = (b"NaN", b"-Infinity", b"9" * 4_301, b"[" * 1_000 + b"]" * 1_000, b'"\xff"', b"1e400")
STATUSES = range(100, 1000)
WITHOUT_BODY = (204, 205, 304)
MEBIBYTE, GIBIBYTE = 2**20, 2**30
HTML = b"<!doctype html><html><head><title>Gorgias</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass(frozen=True, eq=False)
class Fault:
    """A fault of `times` requests (None: all) after the first `skip` of those whose path matches the pattern `path`.

    A request that an earlier fault of the list befell is not counted.

    - `what`: a name of EFFECTS, or a status of three digits. Below 200 it comes before the answer that was due; from
      200 to 299 it replaces that answer's status. One of ERRORS is answered as Gorgias does, any other one, and one
      that `is_foreign`, in HTML, as by something in front of it.
    - `rows_over`, `bytes_over`: the weight of a page beyond which the fault befalls it (None: any answer).
    - `headers`: headers of the answer, put in the place of its own; None leaves one out.
    - `body`: the answer's body.
    - `retry_after`: the header of that name (None: it is left out).
    - `seconds`: the duration of a slow answer.
    """

    what: str | int
    path: str = "*"
    skip: int = 0
    times: int | None = 1
    rows_over: int | None = None
    bytes_over: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    retry_after: int | str | None = None
    seconds: float = 1.0
    is_foreign: bool = False

    def __post_init__(self) -> None:
        if self.what not in EFFECTS and self.what not in STATUSES:
            raise ValueError(f"no such fault: {self.what}; there are statuses, and {', '.join(EFFECTS)}")

    def concerns(self, due: Answer, path: str, sent: Mapping[str, str]) -> bool:
        return (
            fnmatchcase(path, self.path)
            and (self.what not in NEED_A_CURSOR or "cursor" in sent)
            and (self.bytes_over is None or (due.is_page and len(due.body) > self.bytes_over))
            and (self.rows_over is None or (due.is_page and len(json.loads(due.body)["data"]) > self.rows_over))
        )


class Faults(list[Fault]):
    """The faults in force; the first that has its turn decides a request."""

    def __init__(self) -> None:
        super().__init__()
        self._matched: Counter[Fault] = Counter()
        self._lock = threading.Lock()

    def befall(self, answer: Answer, path: str, sent: Mapping[str, str]) -> Answer:
        """Return the answer after the faults. `sent` are the parameters of the request."""
        with self._lock:
            for fault in self:
                if fault.concerns(answer, path, sent):
                    turn = self._matched[fault] - fault.skip
                    self._matched[fault] += 1
                    if turn >= 0 and (fault.times is None or turn < fault.times):
                        return Case(answer, fault, sent).outcome()
        return answer


def refusal(status: int) -> Answer:
    return ApiError(status, ERRORS[status]).answer


@cache
def blanks(size: int) -> bytes:
    """Return that many blanks, a multiple of a mebibyte, compressed to a thousandth."""
    return gzip.compress(b" " * MEBIBYTE, mtime=0) * (size // MEBIBYTE)


@dataclass(frozen=True)
class Case:
    """The answer that was due, the fault that befalls it, and the parameters of the request."""

    due: Answer
    fault: Fault
    sent: Mapping[str, str]

    def outcome(self) -> Answer:
        what, after = self.fault.what, self.fault.retry_after
        answer = EFFECTS[what](self) if isinstance(what, str) else self.with_status(what)
        headers = {**answer.headers, **self.fault.headers, **({} if after is None else {"Retry-after": str(after)})}
        return replace(answer, headers=headers, body=answer.body if self.fault.body is None else self.fault.body)

    def with_status(self, status: int) -> Answer:
        if status < 200:
            return replace(self.due, interim=status)
        if status in WITHOUT_BODY:
            return Answer(status)
        if status < 300 and not self.fault.is_foreign:
            return replace(self.due, status=status)
        if status in ERRORS and not self.fault.is_foreign:
            return refusal(status)
        return Answer(status, HTML, content_type="text/html")

    @property
    def page(self) -> Row:
        """Return the page that was due, if the answer was to be one."""
        return dict(json.loads(self.due.body)) if self.due.is_page else {}

    def spoilt(self, **changes: Any) -> Answer:
        return replace(self.due, body=dumped(self.page | changes)) if self.page else self.due

    def leading_to(self, cursor: str, **changes: Any) -> Answer:
        return self.spoilt(meta=self.page.get("meta", {}) | {"next_cursor": cursor}, **changes)

    def inflated(self) -> Answer:
        """Return the page after 2 GiB of blanks, which are 2 MB as they are sent."""
        body = blanks(2 * GIBIBYTE) + gzip.compress(self.due.body)
        return replace(self.due, body=body, headers={**self.due.headers, "Content-Encoding": "gzip"})

    def odd(self) -> Answer:
        """Return the page with a field in each row whose value JSON cannot hold, or hardly."""
        rows = [{**row, "odd": f"odd {number % len(ODD)}"} for number, row in enumerate(self.page.get("data", []))]
        body = self.spoilt(data=rows).body
        for number, value in enumerate(ODD):
            body = body.replace(b'"odd %d"' % number, value)
        return replace(self.due, body=body)

    def emptied(self) -> Answer:
        """Return an empty page whose cursor leads to the rows that were due: a client that goes on misses none."""
        kind = LISTS.get(self.page.get("uri", "").partition("?")[0].removeprefix("/api/"))
        if kind is None or not self.page.get("data"):
            return self.due
        field, _, direction = self.sent.get("order_by", kind.order).partition(":")
        first = self.page["data"][0]
        key = microseconds(first[field]) if field.endswith("_datetime") else key_of(first[field])
        before = Cursor("next", key, first["id"] + (1 if direction == "desc" else -1))
        return self.leading_to(str(before), data=[])


EFFECTS: dict[str, Callable[[Case], Answer]] = {
    "reset": lambda case: replace(case.due, status=0),
    "truncated": lambda case: replace(case.due, sent=0.5),
    "slow": lambda case: replace(case.due, delay=case.fault.seconds),
    "html": lambda _: Answer(200, HTML, content_type="text/html"),
    "broken_json": lambda case: replace(case.due, body=case.due.body[: len(case.due.body) // 2]),
    "null_data": lambda case: case.spoilt(data=None),
    "expired_cursor": lambda _: refusal(400),
    "stuck_cursor": lambda case: case.leading_to(case.sent["cursor"]),
    "empty_page": Case.emptied,
    "no_location": lambda case: replace(case.due, headers={}),
    "odd": Case.odd,
    "wrong_order": lambda case: case.spoilt(data=case.page.get("data", [])[::-1]),
    "headers": lambda case: case.due,
    "bare": lambda case: replace(case.due, bare=True),
    "inflated": Case.inflated,
}
NEED_A_CURSOR = ("expired_cursor", "stuck_cursor")
