"""The account's API calls: how long to wait before the next one.

Gorgias counts calls in a leaky bucket that everything on the account shares: 40 calls per 20 s for an API key, 80 for
an OAuth app, the same counts per 10 s on Enterprise plans (developers.gorgias.com/reference/limitations). Every answer
says how full it is, in `X-Gorgias-Account-Api-Call-Limit: used/limit`. The bucket is the only thing that processes and
runs on one account have in common, so pacing follows it and nothing else: no process needs to know of another.

The drain is taken for the documented slowest. Where it is faster the next answer shows a lower level than expected and
the calls after it need not wait, so the whole refill is used on every plan.
"""

import math
import re
import time
from collections.abc import Mapping
from threading import Event

_HEADER = "X-Gorgias-Account-Api-Call-Limit"
_USED_OF_LIMIT = re.compile(r"\s*(\d{1,9})\s*/\s*([1-9]\d{0,8})\s*")
_ASSUMED_LIMIT = 40
_DRAIN_SECONDS = 20.0


class Budget:
    """Keeps the account's bucket at or below `max_share` of its limit; what is above that belongs to everybody else.

    `acquire()` before each call, `observe()` after each answer, from one thread at a time. `waited_seconds` is what
    `acquire()` has slept so far.
    """

    def __init__(self, max_share: float = 0.8) -> None:
        if not 0 < max_share <= 1:
            raise ValueError(f"max_share is a share of the account's calls, above 0 and up to 1; got {max_share}.")
        self.waited_seconds = 0.0
        self._max_share = max_share
        self._limit = _ASSUMED_LIMIT
        self._used = 0.0
        self._used_at = time.monotonic()
        self._closed_until = self._used_at

    def acquire(self, patience: float = math.inf, stop: Event | None = None) -> None:
        """Sleep until one more call leaves the bucket at or below its share, or until `stop` is set.

        Raises TimeoutError, without sleeping, when that would take longer than `patience` seconds.
        """
        room = max(1.0, self._limit * self._max_share)
        until_room = (self._used_now() + 1 - room) / self._drain_per_second
        seconds = max(until_room, self._closed_until - time.monotonic())
        if seconds > patience:
            raise TimeoutError
        if seconds > 0:
            (stop or Event()).wait(seconds)
            self.waited_seconds += seconds

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take the level from an answer's headers, a case-insensitive mapping.

        Without the header the level is what was used here, in a bucket of 40.
        """
        if match := _USED_OF_LIMIT.fullmatch(headers.get(_HEADER, "")):
            self._used, self._limit = float(match[1]), int(match[2])
        else:
            self._used = self._used_now() + 1
        self._used_at = time.monotonic()

    def close_for(self, seconds: float) -> None:
        """Let no call through for so long: Gorgias said so in `Retry-after`."""
        self._closed_until = time.monotonic() + seconds

    @property
    def _drain_per_second(self) -> float:
        return self._limit / _DRAIN_SECONDS

    def _used_now(self) -> float:
        return max(0.0, self._used - (time.monotonic() - self._used_at) * self._drain_per_second)
