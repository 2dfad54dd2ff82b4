"""The account's API calls: how long to wait before the next one.

Gorgias counts calls in a leaky bucket that everything on the account shares: 40 calls per 20 s for an API key, 80 for
an OAuth app, the same counts per 10 s on Enterprise plans (developers.gorgias.com/reference/limitations). Every answer
reports how full it is, in `X-Gorgias-Account-Api-Call-Limit: used/limit`. Processes and runs on one account have only
the bucket in common, so pacing follows it and nothing else: no process needs to know of another.

The drain is taken for the documented slowest. The cost of a call is measured: it is the rise of the level per answer
here, that drain apart. A process that is alone on the slowest plan finds 1, since its own calls are all there are; on a
plan that drains twice as fast it finds 1/2. Next to seven others it finds 8, and so leaves room for the calls of theirs
that it will not see. A call is made when its cost fits below the share. Processes that each wait until their cost has
drained share the refill and hold the level without exchanging a word.
"""

import math
import re
import time
from collections.abc import Mapping
from threading import Event, Lock

_HEADER = "X-Gorgias-Account-Api-Call-Limit"
_USED_OF_LIMIT = re.compile(r"\s*(\d{1,9})\s*/\s*([1-9]\d{0,8})\s*")
_ASSUMED_LIMIT = 40
_DRAIN_SECONDS = 20.0
_LEAST_COST = 0.5  # on the documented fastest plan
_MEMORY_SECONDS = 20.0  # a measurement of this age counts for a third
_ANSWERS_PER_CALL_IN_FLIGHT = 4
_LOOK_AGAIN_SECONDS = 0.05


class Clock:
    """The machine's monotonic clock, in seconds."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float, stop: Event) -> None:
        """Wait for so long, or until `stop` is set."""
        stop.wait(seconds)


class Budget:
    """Keeps the account's bucket at or below `max_share` of its limit and leaves the rest to everybody else.

    Threads may share one. Call `acquire()` before each request; after it, call `observe()` with the answer's headers,
    or `release()` if no answer came. Until then the call counts as in flight. `waited_seconds` is the wait of all calls
    so far; `clock` measures it.
    """

    def __init__(self, max_share: float = 0.8, clock: Clock | None = None) -> None:
        if not 0 < max_share <= 1:
            raise ValueError(f"max_share must be a number above 0, at most 1; got {max_share}.")
        self.clock = clock or Clock()
        self.waited_seconds = 0.0
        self._max_share = max_share
        self._lock = Lock()
        self._limit = _ASSUMED_LIMIT
        self._level = 0.0
        self._level_at = self._closed_until = self.clock.now()
        self._in_flight = 0
        self._answers = self._rise = 0.0  # how many lately, and the rise of the level meanwhile, the drain apart

    def acquire(self, patience: float = math.inf, stop: Event | None = None) -> float:
        """Wait until one more call leaves the bucket at or below its share, or until `stop` is set.

        Return the seconds waited; the call is in flight then, also if it was stopped. Raise TimeoutError as soon as the
        wait is bound to take longer than `patience` seconds.
        """
        stop, waited = stop or Event(), 0.0
        while True:
            with self._lock:
                seconds = self._seconds_until_room()
                if seconds <= 0 or stop.is_set():
                    self._in_flight += 1
                    self.waited_seconds += waited
                    return waited
            if waited + seconds > patience:
                raise TimeoutError
            started = self.clock.now()
            self.clock.wait(min(seconds, _LOOK_AGAIN_SECONDS), stop)  # another thread's answer may change it
            waited += self.clock.now() - started

    @property
    def used(self) -> tuple[int, int]:
        """The calls in use and the account's limit, according to the last answer."""
        with self._lock:
            return round(self._level), self._limit

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take the level from an answer's headers, a case-insensitive mapping.

        Without the header, count the calls made here, in a bucket of 40.
        """
        with self._lock:
            now = self.clock.now()
            elapsed = now - self._level_at
            drained = max(0.0, self._level - elapsed * self._drain_per_second)
            self._level = drained + 1
            if match := _USED_OF_LIMIT.fullmatch(headers.get(_HEADER, "")):
                self._level, self._limit = float(match[1]), int(match[2])
            rise = self._level - drained if self._answers else 1.0  # the first level is news, no rise
            memory = math.exp(-elapsed / _MEMORY_SECONDS)
            self._answers, self._rise = self._answers * memory + 1, self._rise * memory + rise
            self._level_at = now
            self._in_flight = max(0, self._in_flight - 1)

    def release(self) -> None:
        """Give back a call that got no answer."""
        with self._lock:
            self._in_flight -= 1

    def close_for(self, seconds: float) -> None:
        """Let no call through for so long, as `Retry-after` requires."""
        with self._lock:
            self._closed_until = max(self._closed_until, self.clock.now() + seconds)

    @property
    def _drain_per_second(self) -> float:
        return self._limit / _DRAIN_SECONDS

    def _seconds_until_room(self) -> float:
        if self._in_flight > self._answers / _ANSWERS_PER_CALL_IN_FLIGHT:  # nobody knows yet how many others there are
            return _LOOK_AGAIN_SECONDS
        cost = max(_LEAST_COST, (self._rise + 1) / (self._answers + 1))
        excess = self._level - max(1.0, self._limit * self._max_share)
        if excess > 0:
            excess *= min(cost, 2.0)  # somebody else's calls: give way for longer than they take to drain
        room_at = self._level_at + (excess + cost * (self._in_flight + 1)) / self._drain_per_second
        return max(room_at, self._closed_until) - self.clock.now()
