"""Reading ahead: threads read pages while earlier ones are merged."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from time import monotonic
from typing import Generic, Protocol, Self, TypeVar


class Sized(Protocol):
    """Something that holds a known number of bytes."""

    @property
    def size(self) -> int: ...


Page = TypeVar("Page", bound=Sized)

SECONDS_TO_STOP = 5  # an answer may take a minute, for which no run that is stopped waits; the threads are daemons


@contextmanager
def read_ahead(pages: Iterator[Page], max_bytes: int) -> Iterator["Ahead[Page]"]:
    """Yield the same pages in the same order, which a thread reads up to `max_bytes`, or one page, ahead.

    An error of `pages` is raised at its place. The thread ends with the block, once `pages` yields or raises.
    """
    ahead = Ahead[Page](max_bytes)
    ahead.also(pages)
    try:
        yield ahead
    finally:
        ahead.stop()


class Ahead(Generic[Page]):
    """Pages that have been read, for one thread to iterate over; `readers` is the number of threads that read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: deque[Page] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = Condition()
        self._threads: list[Thread] = []
        self.readers = 0

    def also(self, pages: Iterator[Page]) -> None:
        """Read these in another thread, in parallel and within the same bytes."""
        with self._changed:
            if not self._stopped:
                self.readers += 1
                thread = Thread(target=self._fill, args=(pages,), name="gorgias-read-ahead", daemon=True)
                self._threads.append(thread)
                thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Page:
        with self._changed:
            self._changed.wait_for(lambda: self._pages or self._stopped or not self.readers)
            if self._pages:
                page = self._pages.popleft()
                self._bytes -= page.size
                self._changed.notify_all()
                return page
            if self._error is not None:
                raise self._error
            raise StopIteration

    def stop(self) -> None:
        """End the threads, and wait a few seconds for them."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        deadline = monotonic() + SECONDS_TO_STOP
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))

    def _fill(self, pages: Iterator[Page]) -> None:
        try:
            for page in pages:
                with self._changed:
                    self._pages.append(page)
                    self._bytes += page.size
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._stopped or not self._pages or self._bytes < self._max_bytes)
                    if self._stopped:
                        return
        except BaseException as error:  # handed to the thread that iterates
            with self._changed:
                self._error = self._error or error
                self._stopped = True
        finally:
            with self._changed:
                self.readers -= 1
                self._changed.notify_all()
