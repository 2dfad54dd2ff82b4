"""Pages that a thread reads while the ones before are being merged."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that says how many bytes it holds."""

    @property
    def size(self) -> int: ...


Page = TypeVar("Page", bound=Sized)


@contextmanager
def read_ahead(pages: Iterator[Page], max_bytes: int) -> Iterator[Iterator[Page]]:
    """Give the same pages in the same order; a thread stays up to `max_bytes`, or one page, ahead.

    What `pages` raises is raised at its place. On leaving the block the thread ends, once `pages` has come to its next
    item or error.
    """
    queue = _Queue(pages, max_bytes)
    thread = Thread(target=queue.fill, name="gorgias-read-ahead", daemon=True)
    thread.start()
    try:
        yield queue.drain()
    finally:
        queue.stop()
        thread.join()


class _Queue(Generic[Page]):
    def __init__(self, pages: Iterator[Page], max_bytes: int) -> None:
        self._pages = pages
        self._max_bytes = max_bytes
        self._ahead: deque[Page] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._ended = False
        self._changed = Condition()

    def fill(self) -> None:
        try:
            for page in self._pages:
                with self._changed:
                    self._ahead.append(page)
                    self._bytes += page.size
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._ended or not self._ahead or self._bytes < self._max_bytes)
                    if self._ended:
                        return
        except BaseException as error:  # handed to the thread that drains
            self._error = error
        finally:
            self.stop()

    def drain(self) -> Iterator[Page]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ahead or self._ended)
                if not self._ahead:
                    break
                page = self._ahead.popleft()
                self._bytes -= page.size
                self._changed.notify_all()
            yield page
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
