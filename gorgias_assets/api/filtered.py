"""A list with a filter for time, newest first, of which exactly the rows asked for come, also if it ignores filters."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gorgias_assets.api.client import GorgiasClient, Page, Untrusted
from gorgias_assets.windows import Window


@dataclass(frozen=True)
class Wanted:
    """The rows of the list at `path` whose `field` lies in `window`, of some `types`, or of all if that is None."""

    path: str
    field: str
    window: Window
    types: frozenset[str] | None = None

    @property
    def order_by(self) -> str:
        return f"{self.field}:desc"

    @property
    def filters(self) -> list[tuple[str, str]]:
        return [
            *(("types", kind) for kind in sorted(self.types or ())),
            (f"{self.field}[gte]", self.window.start.isoformat()),
            (f"{self.field}[lt]", self.window.end.isoformat()),
        ]

    def includes(self, row: Mapping[str, Any], moment: datetime | None) -> bool:
        """Return if the row is one of these; one without a moment is taken to be of the window."""
        kind = row.get("type")
        is_of_type = self.types is None or (isinstance(kind, str) and kind in self.types)
        return is_of_type and (moment is None or moment in self.window)


def filtered_pages(
    client: GorgiasClient,
    wanted: Wanted,
    *,
    patience: float = math.inf,
    most_after: float = math.inf,
    first: Page | None = None,
) -> Iterator[Page]:
    """Yield the pages of the wanted rows, newest first. `first` is the first page, if that was requested already.

    A list that ignores the filters is read from its newest row, and below the window until a page shows that nothing
    else can come, if it is in order. Raise the client's errors, and `Untrusted` if more than `most_after` of its pages
    lie after the window.
    """
    after, is_in_order, lowest = 0, True, datetime.max.replace(tzinfo=UTC)
    for page in client.pages(
        wanted.path, order_by=wanted.order_by, filters=wanted.filters, patience=patience, first=first
    ):
        moments = [_moment(row, wanted.field) for row in page.rows]
        known = [moment for moment in moments if moment is not None]
        yield replace(
            page, rows=[row for row, moment in zip(page.rows, moments, strict=True) if wanted.includes(row, moment)]
        )
        if not known:
            continue
        is_in_order = is_in_order and max(known) <= lowest and known == sorted(known, reverse=True)
        lowest = min(lowest, *known)
        if is_in_order and known[0] < wanted.window.start:
            return
        after += known[-1] >= wanted.window.end
        if after > most_after:
            raise Untrusted(
                f"GET {wanted.path}: more came than was asked for, and {after:,} pages lie after {wanted.window}."
            )


def _moment(row: Mapping[str, Any], field: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(row[field])
    except (KeyError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
