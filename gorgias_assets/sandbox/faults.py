"""Faults on demand: each turns the answer that was due into another one."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from gorgias_assets.sandbox.endpoints import Answer, ApiError
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

STATUSES = range(200, 600)
HTML = b"<!doctype html><html><head><title>Gorgias</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass(frozen=True, eq=False)
class Fault:
    """A fault of `times` requests (None: all) after the first `skip` of those whose path matches the pattern `path`.

    A request that an earlier fault of the list befell is not counted.

    `what` is a name of EFFECTS or a status: one of ERRORS is answered as Gorgias does, any other one, and one that
    `is_foreign`, in HTML, as by something in front of it. `retry_after` is the header of a 429 (None: it is left out),
    `seconds` the duration of a slow answer.
    """

    what: str | int
    path: str = "*"
    skip: int = 0
    times: int | None = 1
    retry_after: int | None = None
    seconds: float = 1.0
    is_foreign: bool = False

    def __post_init__(self) -> None:
        if self.what not in EFFECTS and self.what not in STATUSES:
            raise ValueError(f"no such fault: {self.what}; there are statuses, and {', '.join(EFFECTS)}")


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
                if fnmatchcase(path, fault.path) and (fault.what not in NEED_A_CURSOR or "cursor" in sent):
                    turn = self._matched[fault] - fault.skip
                    self._matched[fault] += 1
                    if turn >= 0 and (fault.times is None or turn < fault.times):
                        return Case(answer, fault, sent).outcome()
        return answer


def refusal(status: int) -> Answer:
    return ApiError(status, ERRORS[status]).answer


@dataclass(frozen=True)
class Case:
    """The answer that was due, the fault that befalls it, and the parameters of the request."""

    due: Answer
    fault: Fault
    sent: Mapping[str, str]

    def outcome(self) -> Answer:
        if isinstance(self.fault.what, str):
            return EFFECTS[self.fault.what](self)
        after, status = self.fault.retry_after, self.fault.what
        refused = Answer(status, HTML, content_type="text/html")
        if status in ERRORS and not self.fault.is_foreign:
            refused = refusal(status)
        return replace(refused, headers={} if after is None else {"Retry-after": str(after)})

    @property
    def page(self) -> Row:
        """Return the page that was due, if the answer was to be one."""
        return dict(json.loads(self.due.body)) if self.due.is_page else {}

    def spoilt(self, **changes: Any) -> Answer:
        return replace(self.due, body=dumped(self.page | changes)) if self.page else self.due

    def leading_to(self, cursor: str, **changes: Any) -> Answer:
        return self.spoilt(meta=self.page.get("meta", {}) | {"next_cursor": cursor}, **changes)

    def emptied(self) -> Answer:
        """Return an empty page whose cursor leads to the rows that were due: a client that goes on misses none."""
        if not self.page.get("data"):
            return self.due
        field, _, direction = self.sent.get("order_by", "created_datetime:desc").partition(":")
        first = self.page["data"][0]
        before = Cursor("next", microseconds(first[field]), first["id"] + (1 if direction == "desc" else -1))
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
    "wrong_order": lambda case: case.spoilt(data=case.page.get("data", [])[::-1]),
}
NEED_A_CURSOR = ("expired_cursor", "stuck_cursor")
