"""A log in the terminal, with a line that moves while an account is read, and the signals that stop it."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gorgias_assets.loading import IS_PROGRESS, shown_progress
from gorgias_assets.sweeps.batches import Reader


@contextmanager
def logged(logger: logging.Logger, console: Console) -> Iterator[None]:
    """Print the logger's messages, without the lines on progress while one moves."""
    handler = _Printed(console)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def moving(reader: Reader[Any], console: Console) -> Iterator[None]:
    """Show in a line that moves how far the reading has come."""
    with Live(_Progress(reader), console=console, transient=True):
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, and any error after one of them as its consequence.

    DuckDB turns a Ctrl-C during a query into an error of its own. SIGHUP stays ignored under `nohup`.
    """
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if _is_free(number)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except Exception:
        if stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_free(number: signal.Signals) -> bool:
    return signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


class _Printed(logging.Handler):
    """Prints a message with its time of day."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if self._console.is_terminal and hasattr(record, IS_PROGRESS):
            return
        self._console.print(f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S}  {record.getMessage()}")


class _Progress:
    """The line on a reading's progress, of the moment when it is drawn."""

    def __init__(self, reader: Reader[Any]) -> None:
        self._reader = reader
        self._started = monotonic()
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        text = shown_progress(self._reader, monotonic() - self._started)
        self._spinner.update(text=Text(text, no_wrap=True, overflow="ellipsis"))
        return self._spinner
