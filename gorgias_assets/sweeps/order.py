"""The order of a list, which is observed in every answer: reading stops early only where it holds."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pyarrow as pa

from gorgias_assets.api.client import Untrusted
from gorgias_assets.sweeps.position import DISORDER

LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)  # behind it no moment can be reckoned with
_MICROSECOND = timedelta(microseconds=1)


def is_newest_first(moments: pa.ChunkedArray, after: datetime | None = None) -> bool:
    """Return if no moment is later by more than `DISORDER` than one before it, or than `after`, which precedes all."""
    times = moments.drop_null().cast(pa.int64()).to_pylist()  # microseconds
    if after is not None:
        times.insert(0, pa.scalar(after, moments.type).value)
    most = DISORDER // _MICROSECOND
    return all(time - least <= most for time, least in zip(times, accumulate(times, min), strict=True))


def just_after(moment: datetime) -> datetime:
    """Return a moment before which lies every row that can follow one of this moment."""
    return min(moment, LATEST) + DISORDER + _MICROSECOND


def out_of_order(path: str, order: str) -> Untrusted:
    return Untrusted(
        f"GET {path}: rows are not in the order of {order}, newest first, so rows could be missed. Nothing was lost; "
        "try again, and report it if it stays."
    )
