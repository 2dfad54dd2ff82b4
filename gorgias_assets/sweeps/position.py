"""The position of a sweep: spans of a list that are left to read, from which an interrupted sweep resumes.

A span is read newest first by one chain of cursors. A sweep begins with one span, from the newest row to the window's
beginning. A seek replaces it by shorter ones, and readers in parallel cut one in two. At any time the spans hold every
row that is still to be read, so nothing else has to be kept with the rows.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Any, Self

from gorgias_assets.api.client import Request
from gorgias_assets.sweeps.rows import parse_datetime

VERSION = 1  # of a position's text
DISORDER = timedelta(seconds=1)  # by which a row may be newer than one before it
OVERLAP = timedelta(minutes=10)  # within which a change may not be in a list yet


@dataclass(eq=False)
class Span:
    """The rows of the list by `order` in `[bottom, top)`; without `top` from the newest, without `bottom` to the last.

    - `cursor`, `reached`: where reading has arrived, and the order field of the last row before that.
    - `is_again`: it reads again the rows that have changed since an interrupted sweep began.
    """

    order: str
    top: datetime | None
    bottom: datetime | None
    cursor: str | None = None
    reached: datetime | None = None
    is_again: bool = False


@dataclass
class Position:
    """The state of a sweep, shared by its readers. Hold `lock` to look at more than one thing, or to change anything.

    - `spans`: the rows left to read; empty when everything has been read.
    - `started_at`, `first_answer_at`: when its first attempt sent its first request, and got the answer, by Gorgias's
      clock; None before.
    - `was_sought`: the window was reached without reading what is newer.
    - `stops`: how far down each order has been read, in the spans that are done; None: to the list's end.
    """

    spans: list[Span]
    started_at: datetime | None = None
    first_answer_at: datetime | None = None
    was_sought: bool = False
    stops: dict[str, datetime | None] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock, repr=False, compare=False)

    @property
    def furthest(self) -> datetime | None:
        """The latest moment to which any span has been read; None if none has been begun."""
        return max((span.reached for span in self.spans if span.reached), default=None)

    def answered(self, request: Request) -> None:
        """Note the moments of the first request and its answer."""
        with self.lock:
            self.started_at = self.started_at or request.requested_at
            self.first_answer_at = self.first_answer_at or request.answered_at

    def advance(self, span: Span, cursor: str | None, reached: datetime | None, is_last: bool) -> None:
        """Count the span's rows down to `reached` as merged; after the last page it is done."""
        with self.lock:
            span.cursor, span.reached = cursor, reached or span.reached
            if not is_last:
                return
            self.spans[:] = [other for other in self.spans if other is not span]
            lowest = self.stops.get(span.order, span.reached)
            if cursor is None or lowest is None or span.reached is None:
                self.stops[span.order] = None
            else:
                self.stops[span.order] = min(lowest, span.reached)

    def replace(self, span: Span, sought: Iterable[Span]) -> None:
        """Read the sought spans instead of one from the newest row."""
        with self.lock:
            self.spans[:] = [*(other for other in self.spans if other is not span), *sought]
            self.was_sought = True

    def cut(self, span: Span, middle: datetime) -> Span:
        """Cut the span in two, and return the older part."""
        with self.lock:
            older = Span(span.order, middle, span.bottom, is_again=span.is_again)
            span.bottom = middle
            self.spans.append(older)
            return older

    def dump(self) -> str:
        """Return the position as JSON."""
        with self.lock:
            fields = {
                "version": VERSION,
                "started_at": self.started_at,
                "spans": [asdict(span) for span in self.spans],
                "first_answer_at": self.first_answer_at,
                "was_sought": self.was_sought,
                "stops": self.stops,
            }
            return json.dumps(fields, default=datetime.isoformat)

    @classmethod
    def of_earlier(cls, text: str) -> Self | None:
        """Read what an earlier attempt has left to read for the first time; return None if that cannot be told."""
        earlier = cls.load(text)
        if earlier is None or earlier.started_at is None or earlier.first_answer_at is None:
            return None
        earlier.spans = [span for span in earlier.spans if not span.is_again]
        return earlier

    @classmethod
    def load(cls, text: str) -> Self | None:
        """Read the text of `dump`; return None if another version of this project wrote it."""
        try:
            fields = json.loads(text)
            if fields.pop("version") != VERSION:
                return None
            spans = [Span(**_with_moments(span, "top", "bottom", "reached")) for span in fields.pop("spans")]
            stops = fields.pop("stops", {})
            moments = _with_moments(fields, "started_at", "first_answer_at")
            return cls(spans, stops=_with_moments(stops, *stops), **moments)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def _with_moments(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return fields | {name: parse_datetime(fields[name]) for name in names if fields[name] is not None}
