"""The progress of a reading: what it has read so far, a little ahead of what it has yielded."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from gorgias_assets.api.client import CursorRefused, Request
from gorgias_assets.sweeps.rows import TypedRows


@dataclass
class Progress:
    """Counts of a reading.

    - `pages`, `calls`: list answers read, and requests made, failed attempts and looks for single rows included.
    - `retries`: failed attempts among the calls.
    - `rows_read`, `rows_touched`: rows in those answers, and those of them that belong to the window.
    - `rows_in_order`, `rows_without_order`: rows whose order was verified, and rows without an order field.
    - `waited_seconds`: time spent waiting for the budget, of all readers together.
    - `newest`, `reached`: the order field of the newest row, and of the last row read.
    - `extra_fields`: how often each field went to `_extra`, or was kept as text in its own column.
    - `withheld`: how often each field, or a part of it, was withheld because it may hold a secret.
    - `first_requested_at`, `last_requested_at`, `complete_to`: when the first and the last answered request were sent,
      and the second before which all that happened is in the first answer, by Gorgias's clock.
    - `seek`: "not needed", "off", "used", or "rejected (paged instead)".
    - `complete`: every row of the window has been read.
    """

    pages: int = 0
    calls: int = 0
    retries: int = 0
    rows_read: int = 0
    rows_touched: int = 0
    rows_in_order: int = 0
    rows_without_order: int = 0
    waited_seconds: float = 0.0
    newest: datetime | None = None
    reached: datetime | None = None
    extra_fields: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    first_requested_at: datetime | None = None
    last_requested_at: datetime | None = None
    complete_to: datetime | None = None
    seek: str = "not needed"
    complete: bool = False

    def count(self, request: Request) -> None:
        self.calls += request.calls
        self.retries += max(0, request.calls - 1)
        self.waited_seconds += request.waited
        self.complete_to = self.complete_to or request.complete_to
        self.first_requested_at = min(self.first_requested_at or request.requested_at, request.requested_at)
        self.last_requested_at = max(self.last_requested_at or request.requested_at, request.requested_at)

    def count_refusal(self, refused: CursorRefused) -> None:
        self.calls += refused.calls
        self.retries += refused.calls - 1

    def count_fields(self, rows: TypedRows) -> None:
        self.extra_fields += rows.extra_fields
        self.withheld += rows.withheld

    def count_page(self, request: Request, rows: int) -> None:
        self.pages += 1
        self.rows_read += rows
        self.count(request)
