"""Simulated time: a heap of future happenings, each of which acts on the account at its time and plans the next.

All chance comes from one seed and is drawn in the order of happenings, so that how time is cut into pieces makes no
difference.
"""

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from gorgias_assets.sandbox.account import Account


class Life:
    """The happenings of one account, in order of time; those of one moment in the order they were planned."""

    def __init__(self, account: Account, seed: int) -> None:
        self.account, self.random = account, Random(seed)
        self._ahead: list[tuple[datetime, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    @property
    def now(self) -> datetime:
        return self.account.now

    def live(self, until: datetime) -> None:
        """Let everything up to then happen, each at its time; nothing if that is past already."""
        with self.account.lock:
            while self._ahead and self._ahead[0][0] <= until:
                moment, _, happening, about = heapq.heappop(self._ahead)
                self.account.now = max(self.account.now, moment)
                happening(*about)
            self.account.now = max(self.account.now, until)

    def after(self, delay: timedelta, happening: Callable[..., None], *about: Any) -> None:
        self.at(self.account.now + delay, happening, *about)

    def at(self, moment: datetime, happening: Callable[..., None], *about: Any) -> None:
        heapq.heappush(self._ahead, (moment, next(self._order), happening, about))

    def around(self, **median: float) -> timedelta:
        """Return a random duration: sometimes much longer, never none."""
        return self.random.lognormvariate(0, 0.8) * timedelta(**median)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability
