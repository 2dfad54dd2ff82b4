"""A clock that tests move."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Event, Thread

from gorgias_assets.api.budget import Clock


class MovedClock(Clock):
    """A clock that stands still until somebody waits, and then jumps to the end of the first wait.

    Works of `run` take turns: one of them runs at a time, until it waits or ends. So their order depends on nothing but
    their waits. A wait is over at once if nobody else waits.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = count()
        self._waits: list[tuple[float, int, Event]] = []

    def now(self) -> float:
        return self._now

    def wait(self, seconds: float, stop: Event | None = None) -> None:
        if stop is None or not stop.is_set():
            turn = self._queue(seconds)
            self._hand_over()
            turn.wait()

    def run(self, *works: Callable[[], object]) -> None:
        """Run all of them, each in a thread of its own; raise at the end what one of them raises."""
        errors: list[BaseException] = []

        def take_turns(work: Callable[[], object], turn: Event) -> None:
            turn.wait()
            try:
                work()
            except BaseException as error:
                errors.append(error)
            finally:
                self._hand_over()

        threads = [Thread(target=take_turns, args=(work, self._queue(0)), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        self._hand_over()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _queue(self, seconds: float) -> Event:
        turn = Event()
        heappush(self._waits, (self._now + max(0.0, seconds), next(self._numbers), turn))
        return turn

    def _hand_over(self) -> None:
        if self._waits:
            self._now, _, turn = heappop(self._waits)
            turn.set()
