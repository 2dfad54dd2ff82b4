"""Reading an answer of Gorgias's: a list's envelope, the presence of one object, and the headers around them.

A body that breaks the form is never taken for the end of a list or for a missing object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from gorgias_assets.api import parsing

Read = dict[str, Any]

_THESE_TIMES = range(2000, 2100)
_PASSING = {  # of the statuses below 500, by RFC 9110 and its registry
    304: "status 304",
    408: "status 408",
    421: "status 421",
    425: "status 425",
    429: "status 429, the account's API calls are used up",
}


class Unusable(Exception):
    """The answer cannot be used, or none came; another attempt may get one.

    - `is_slow`: it took too long, there or on the way; fewer rows may take less.
    - `can_wait`: False if there is nothing to wait for.
    - `lasting`: the sentence if it goes on for a minute, or empty.
    """

    def __init__(self, reason: str, is_slow: bool = False, can_wait: bool = True, lasting: str = "") -> None:
        super().__init__(reason)
        self.is_slow = is_slow
        self.can_wait = can_wait
        self.lasting = lasting


class Refused(Exception):
    """A status that refuses the request, or a fault on the way that lasts; another attempt gets the same.

    - `is_own`: Gorgias itself has answered, and nothing in front of it.
    - `host`: where a redirect leads, or empty.
    - `sentence`: what lasts on the way and the way out, if no answer came.
    """

    def __init__(self, status: int = 0, is_own: bool = True, host: str = "", sentence: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.is_own = is_own
        self.host = host
        self.sentence = sentence


@dataclass(frozen=True)
class Answer:
    """A status, its body, its `Location`, its `Date`, and when it began, in monotonic seconds."""

    status: int
    body: bytes
    location: str | None
    date: datetime | None
    received: float


@dataclass(frozen=True, kw_only=True)
class Request:
    """The cost of one answer.

    - `requested_at`: when the answered request was sent, by Gorgias's clock (`GorgiasClock`), aware UTC.
    - `answered_at`: when it was answered, by the same clock and to the second.
    - `calls`: requests made, failed attempts included; `waited`: seconds spent waiting for the budget.
    - `seconds`: from that request to the end of its answer.
    """

    requested_at: datetime
    answered_at: datetime
    calls: int
    waited: float
    seconds: float

    @property
    def complete_to(self) -> datetime:
        """The second of Gorgias's clock before which all that happened is in the answer."""
        return self.answered_at - timedelta(seconds=int(self.seconds))


@dataclass(frozen=True, kw_only=True)
class Page(Request):
    """One answer of a list.

    - `rows`: at most 100 objects, in the list's order; letters and secrets may be in them, so they have no `repr`.
    - `next_cursor`: null on the last page; `prev_cursor`: null on the first.
    - `size`: bytes of the body, decompressed.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    next_cursor: str | None
    prev_cursor: str | None
    size: int


class Presence(Enum):
    """The state of one object; unknown if the answer says neither."""

    ALIVE = "alive"
    GONE = "gone"
    MOVED = "moved"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Found(Request):
    """The answer to a look for one object: its status, and the object's new path if Gorgias gives one."""

    presence: Presence
    status: int
    location: str | None


def read_list(answer: Answer, key: str = "id") -> Read:
    """Return the fields of a `Page`, whose rows are told apart by `key`: an integer `id`, or a text; empty for neither.

    Raise `Unusable` for anything but a list's envelope.
    """
    _check_accepted(answer)
    try:
        envelope = parsing.loads(answer.body)
        rows, meta = envelope["data"], envelope["meta"]
        cursors = {"next_cursor": meta["next_cursor"], "prev_cursor": meta.get("prev_cursor")}
        is_list = _are_rows(rows, key) and all(
            cursor is None or (type(cursor) is str and cursor != "") for cursor in cursors.values()
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        is_list = False
    if not is_list:
        raise Unusable("the answer is no list of rows with ids") from None
    return {"rows": rows, **cursors, "size": len(answer.body)}


def read_whole(answer: Answer, key: str = "id") -> Read:
    """Return the fields of a `Page` for a list without pages: an envelope, a bare list, or one object by itself.

    Raise `Unusable` for anything else, a list that has pages after all among it.
    """
    _check_accepted(answer)
    try:
        found = parsing.loads(answer.body)
        has_rows = isinstance(found, dict) and isinstance(found.get("data"), list)
        rows = found["data"] if has_rows else found if isinstance(found, list) else [found]
        has_more = has_rows and (found.get("meta") or {}).get("next_cursor") is not None
        is_list = _are_rows(rows, key) and not has_more
    except (ValueError, TypeError, AttributeError):
        is_list = False
    if not is_list:
        raise Unusable("the answer is no whole list of rows with ids") from None
    return {"rows": rows, "next_cursor": None, "prev_cursor": None, "size": len(answer.body)}


def read_presence(answer: Answer) -> Read:
    """Return the fields of a `Found`. Raise `Unusable` for a status 200 without an object, and for half a 404.

    An unknown domain gives 404 for every object, in HTML.
    """
    _check_passing(answer)
    presence = Presence.UNKNOWN
    if answer.status == 200:
        if not _has(answer.body, "id", int):
            raise Unusable("the answer is no object of Gorgias's")
        presence = Presence.ALIVE
    elif answer.status == 301:
        presence = Presence.MOVED
    elif answer.status == 404 and answer.body.startswith(b"{"):
        if not _has(answer.body, "error", dict):
            raise Unusable("the answer is no object of Gorgias's")
        presence = Presence.GONE
    return {"presence": presence, "status": answer.status, "location": answer.location}


def read_nothing(answer: Answer) -> Read:  # noqa: ARG001, any answer will do
    """Accept any answer."""
    return {}


def _check_accepted(answer: Answer) -> None:
    """Raise for an answer that is not what was asked for."""
    _check_passing(answer)
    if answer.status != 200:
        raise Refused(answer.status, _has(answer.body, "error", dict), _host_of(answer.location))


def _are_rows(rows: object, key: str) -> bool:
    is_key = _is_id if key == "id" else _is_name
    return type(rows) is list and all(type(row) is dict and (not key or is_key(row.get(key))) for row in rows)


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _check_passing(answer: Answer) -> None:
    if answer.status in _PASSING:
        raise Unusable(_PASSING[answer.status])


def _host_of(location: str | None) -> str:
    """Return the host that an answer redirects to; empty for a path of the same one, or for nonsense."""
    try:
        return urlsplit(location or "").hostname or ""
    except ValueError:
        return ""


def _has(body: bytes, name: str, kind: type) -> bool:
    """Return if the body is an object with a field of this name and type."""
    try:
        return type(parsing.loads(body)[name]) is kind
    except (ValueError, TypeError, KeyError):
        return False


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return `Date` in UTC; None if it is missing, or no date of these times."""
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    if date.year not in _THESE_TIMES:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of `Retry-after: <integer>`, or until its date by the answer's own; otherwise zero."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    date, now = date_of({"Date": value}), date_of(headers)
    return max(0.0, (date - now).total_seconds()) if date and now else 0.0
