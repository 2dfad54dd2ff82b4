"""Gorgias's own statistics: rows of measures, asked for by a query (developers.gorgias.com, POST /reporting/stats).

A row has a value for each measure and dimension of the query, and the day if the query names a time dimension. The key
of the day is documented nowhere: it is the time dimension's name, or that and the granularity. Numbers and ids come as
numbers or as text. Answers are minutes behind the account.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.api.client import GorgiasClient, Page, Untrusted
from gorgias_assets.windows import Window

STATISTICS_PATH = "/reporting/stats"
MOST_ROWS = 10_000  # of a page
LONGEST_PERIOD = timedelta(days=366)  # of a query; a longer one is refused
DAY = "day"


@dataclass(frozen=True)
class Query:
    """A query of the days of a window, which begins and ends at midnight UTC, at most `LONGEST_PERIOD` later.

    Each row is of one day of the time dimension, and of one value of each dimension.
    """

    scope: str
    measures: Sequence[str]
    window: Window
    time_dimension: str
    dimensions: Sequence[str] = ()

    def body(self) -> dict[str, Any]:
        bounds = (("periodStart", "afterDate", self.window.start), ("periodEnd", "beforeDate", self.window.end))
        return {
            "query": {
                "scope": self.scope,
                "timezone": "UTC",
                "measures": [*self.measures],
                "dimensions": [*self.dimensions],
                "time_dimensions": [{"dimension": self.time_dimension, "granularity": DAY}],
                "filters": [
                    {"member": member, "operator": operator, "values": [str(moment.date())]}
                    for member, operator, moment in bounds
                ],
            }
        }

    def pages(self, client: GorgiasClient, patience: float = math.inf) -> Iterator[Page]:
        """Yield the pages of the answer. Raises the client's errors."""
        return client.pages(STATISTICS_PATH, order_by="", query=self.body(), limit=MOST_ROWS, patience=patience, key="")

    def day_of(self, row: Mapping[str, Any]) -> str:
        """Return the day of a row, `YYYY-MM-DD`. Raises `Untrusted` if it has none."""
        for name in (self.time_dimension, f"{self.time_dimension}.{DAY}"):
            if isinstance(day := row.get(name), str):
                return day[:10]
        raise Untrusted(f"POST {STATISTICS_PATH}: a row of {self.scope} has no {self.time_dimension}.")


def number_of(value: object) -> float | None:
    """Return a measure; None if it has no value, as with an agent who did nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def text_of(value: object) -> str | None:
    """Return the value of a dimension: an id or a word."""
    return None if value is None or value == "" else str(value)
