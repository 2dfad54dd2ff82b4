"""Gorgias's clock, as its answers show it: what happened when is decided by it, and by no machine's time of day.

Each answer has a `Date`, to the second. In between, the machine's monotonic clock goes on. Of the times that agree with
the answers so far to the second, the earliest is taken, so that nothing counts as read later than it was; this
machine's time of day is taken if it is one of them.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import Lock

NOTABLE = timedelta(minutes=1)  # a difference of clocks that is worth a word
_SECOND = 1.0


class GorgiasClock:
    """Gorgias's clock; threads may share one. Moments are aware UTC, and `sent` and `received` are monotonic seconds.

    A `Date` long before those of earlier answers is believed once the next one agrees with it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._offset: float | None = None  # from the monotonic clock to Gorgias's
        self._doubted: float | None = None  # the same, by a Date that lies long before the others
        self._second, self._standing = 0.0, 0  # the last answer's second, and how many answers had the same

    def answered(
        self, sent: float, received: float, date: datetime | None, is_first: bool = False
    ) -> tuple[datetime, datetime]:
        """Take an answer's `Date`; return when its request was sent, and when it was answered, to the second.

        The first answer that a client gets is believed at once.
        """
        with self._lock:
            time_of_day = time.time() - time.monotonic()
            believed = date is not None and self._believes(sent, received, date.timestamp(), time_of_day, is_first)
            offset = time_of_day if self._offset is None else self._offset
            if date is None or not believed:
                return _moment(offset + sent), _moment((offset + received) // _SECOND)
            second = date.timestamp()
            return _moment(min(offset + sent, self._end_of(second))), _moment(second)

    def _end_of(self, second: float) -> float:
        """Return a moment at the second's end, each time a later one: a simulated account's clock may stand still."""
        self._standing = self._standing + 1 if second == self._second else 0
        self._second = second
        return second + _SECOND - 0.001 + self._standing * 1e-6

    def now(self) -> datetime:
        """Return the present moment; before the first answer by this machine's time of day."""
        with self._lock:
            offset = self._offset
        return _moment(time.time() if offset is None else offset + time.monotonic())

    @property
    def machine_ahead(self) -> timedelta:
        """How far this machine's time of day is ahead of Gorgias's; zero before the first answer."""
        with self._lock:
            offset = self._offset
        if offset is None:
            return timedelta(0)
        return timedelta(seconds=time.time() - time.monotonic() - offset)

    def _believes(self, sent: float, received: float, second: float, time_of_day: float, is_first: bool) -> bool:
        """Correct the offset by an answer of that second. Return False if its `Date` is not believed."""
        least, most = second - sent - int(received - sent), second + _SECOND - sent
        if self._offset is None:
            self._offset = time_of_day if least <= time_of_day < most else least
        elif most + NOTABLE.total_seconds() < self._offset:
            agrees = self._doubted is not None and abs(least - self._doubted) <= NOTABLE.total_seconds()
            agrees |= is_first
            self._doubted = None if agrees else least
            if not agrees:
                return False
            self._offset = least
        else:
            self._offset, self._doubted = max(self._offset, least), None
        return True


@cache
def clock_of(api_url: str) -> GorgiasClock:  # noqa: ARG001, the cache's key
    """Return the clock of the Gorgias at this URL, which all clients of this process share."""
    return GorgiasClock()


def difference(ahead: timedelta) -> str:
    """Return how this machine's clock differs if it is `ahead` by so much: "40 minutes ahead of Gorgias's"."""
    minutes = round(abs(ahead).total_seconds() / 60)
    amount = f"{minutes:,} minutes" if minutes < 120 else f"{minutes / 60:,.0f} hours"
    return f"{amount} {'ahead of' if ahead > timedelta(0) else 'behind'} Gorgias's"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
