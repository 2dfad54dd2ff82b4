"""Modes of a DuckDB file, its log and its temporary files: they hold customers' letters."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

_OTHERS = 0o077

_lock = Lock()
_users = 0
_usual = 0


@contextmanager
def as_closed_as(file: str) -> Iterator[None]:
    """Let the process create files that no more users can open than `file`; only their owner if there is none yet.

    DuckDB takes no mode. So the process has another umask meanwhile: files of other threads may be closed as well, and
    never opened.
    """
    try:
        closed = _OTHERS & ~Path(file).stat().st_mode
    except OSError:
        closed = _OTHERS
    _close(closed)
    try:
        yield
    finally:
        _reopen()


def like(file: Path, new: Path) -> None:
    """Give a new file the mode of another and, as far as this process may, its owner and group."""
    found = file.stat()
    with suppress(PermissionError):
        os.chown(new, found.st_uid, found.st_gid)
    new.chmod(found.st_mode & 0o7777)


def _close(closed: int) -> None:
    global _users, _usual
    with _lock:
        before = os.umask(_OTHERS)
        os.umask(before | closed)
        if not _users:
            _usual = before
        _users += 1


def _reopen() -> None:
    global _users
    with _lock:
        _users -= 1
        if not _users:
            os.umask(_usual)
