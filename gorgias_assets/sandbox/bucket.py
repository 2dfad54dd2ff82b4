"""The leaky bucket of API calls that all users of an account share, in real time."""

import math
import threading
import time
from collections.abc import Callable


class Bucket:
    """A bucket that holds `limit` calls and, when full, drains in `period` seconds."""

    def __init__(self, limit: int = 40, period: float = 20.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.period = limit, period
        self._clock = clock
        self._level = 0.0
        self._leaked = clock()
        self._lock = threading.Lock()

    def take(self, calls: int = 1) -> int:
        """Return how many of these calls the bucket let in; the rest would be answered with 429."""
        with self._lock:
            self._leak()
            taken = min(calls, math.floor(self.limit - self._level + 1e-9))
            self._level += taken
            return taken

    @property
    def used(self) -> int:
        with self._lock:
            self._leak()
            return math.ceil(self._level)

    @property
    def retry_after(self) -> int:
        """Return the whole seconds until one more call fits."""
        with self._lock:
            self._leak()
            return max(1, math.ceil((self._level + 1 - self.limit) * self.period / self.limit))

    def _leak(self) -> None:
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._leaked) * self.limit / self.period)
        self._leaked = now
