"""What is left to read of a sweep: spans of a list, and the position from which an interrupted sweep goes on.

A span is read newest first by one chain of cursors. A sweep begins with one span, from the newest row to the window's
beginning; a seek puts a shorter one in its place, and readers side by side cut one in two. Whatever the spans are, they
hold every row that is still to be read, so they are all that has to be kept beside the rows that were read.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from gorgias_assets.sweeps.rows import parse_datetime

VERSION = 1  # of a position's text


@dataclass(eq=False)
class Span:
    """The rows of the list by `order` that lie in `[bottom, top)`; no `top`: from the newest, no `bottom`: to the last.

    - `cursor`, `reached`: where its reading has come to, and the order field of the last row before that.
    - `is_again`: it reads once more what has changed since an interrupted sweep began.
    """

    order: str
    top: datetime | None
    bottom: datetime | None
    cursor: str | None = None
    reached: datetime | None = None
    is_again: bool = False


@dataclass
class Position:
    """Where a sweep stands.

    - `started_at`: when its first attempt began, by this machine's clock.
    - `spans`: what is left; none when everything has been read.
    - `first_answer_at`: when it got its first answer, by Gorgias's clock.
    - `was_sought`: the window was reached without reading what is newer.
    - `stops`: how far down each order has been read, in the spans that are done; None: to the list's end.
    """

    started_at: datetime
    spans: list[Span]
    first_answer_at: datetime | None = None
    was_sought: bool = False
    stops: dict[str, datetime | None] = field(default_factory=dict)

    def leave(self, span: Span, at_end: bool) -> None:
        """Take a span for read, down to its last row, or to the list's end."""
        self.spans[:] = [other for other in self.spans if other is not span]
        lowest = self.stops.get(span.order, span.reached)
        if at_end or lowest is None or span.reached is None:
            self.stops[span.order] = None
        else:
            self.stops[span.order] = min(lowest, span.reached)

    def dump(self) -> str:
        """The position as JSON."""
        return json.dumps({"version": VERSION, **asdict(self)}, default=datetime.isoformat)

    @classmethod
    def load(cls, text: str) -> Self | None:
        """What `dump` wrote; None where another version of this project wrote it."""
        try:
            fields = json.loads(text)
            if fields.pop("version") != VERSION:
                return None
            spans = [Span(**_with_moments(span, "top", "bottom", "reached")) for span in fields.pop("spans")]
            started_at = parse_datetime(fields.pop("started_at"))
            stops = fields.pop("stops", {})
            return cls(
                started_at, spans, stops=_with_moments(stops, *stops), **_with_moments(fields, "first_answer_at")
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def _with_moments(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return fields | {name: parse_datetime(fields[name]) for name in names if fields[name] is not None}
