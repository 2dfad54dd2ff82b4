"""What is wrong with a DuckDB file when DuckDB, or the system, fails on it."""

import errno
import os
from pathlib import Path

import duckdb

_FAULTS = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)


def _says(*codes: int) -> tuple[str, ...]:
    return tuple(map(os.strerror, codes))


# The first whose words are in the error's text counts. The text itself is not passed on: it may quote a row.
_MEANINGS = (
    (
        _says(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "{file} could not be written, for its disk is full or it has reached a limit on its size. Make room, then run "
        "this again; what was committed before is kept.",
    ),
    (
        _says(errno.EACCES, errno.EPERM, errno.EROFS),
        "{file} cannot be opened or written: it, its folder or their disk is read-only, or closed to this process's "
        "user. Let this user write to the file and the folder, then run this again.",
    ),
    (
        _says(errno.ENOENT, errno.ENOTDIR),
        "{file} cannot be opened; correct the warehouse URI, or make the folder {folder}.",
    ),
    (
        _says(errno.EISDIR),
        "{file} cannot be opened; correct the warehouse URI: this is a folder, and a file in it must be named.",
    ),
    (
        ("not a valid DuckDB database file",),
        "{file} cannot be opened; correct the warehouse URI, or move the file away: it is no DuckDB file.",
    ),
    (
        ("version number", "storage version", "WAL of version"),
        "{file} was written by another version of DuckDB, in a format that this one, {version}, does not read. Install "
        "a duckdb package that reads it, the newest as a rule.",
    ),
    (
        ("Corrupt", "corrupt", "checksum", "Could not read enough bytes", "replaying WAL", "WAL does not match"),
        "{file} is damaged, or {file}.wal is. Restore both from a backup, or move both away and materialise the "
        "partitions again.",
    ),
)
_UNKNOWN = (
    "{file} could not be opened, read or written ({error}). Check the warehouse URI and the file's disk, then run this "
    "again; if it stays, try another duckdb package than {version}."
)
_LOG_START = b"d\0b"  # DuckDB begins each log with an entry for its version, in every version so far


def is_fault(error: duckdb.Error) -> bool:
    """Whether a statement failed because of the file it works on, and not because of what it says."""
    return isinstance(error, _FAULTS) or type(error) is duckdb.Error  # DuckDB 2 forgets the type while Arrow is read


def meaning(error: Exception, file: str) -> str:
    """One sentence on what is wrong with `file` and one on what to do, in words that hold no row's value."""
    text = str(error)
    sentence = next((meant for words, meant in _MEANINGS if any(word in text for word in words)), _UNKNOWN)
    return sentence.format(file=file, folder=Path(file).parent, version=duckdb.__version__, error=type(error).__name__)


def is_missing(file: str) -> bool:
    """Whether there is certainly no such file; where that cannot be seen, opening it says why."""
    try:
        Path(file).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def has_damaged_log(file: str) -> bool:
    """Whether the start of `file`'s log is not one: DuckDB would take the log for empty, and lose what is in it."""
    try:
        with Path(f"{file}.wal").open("rb") as log:
            return not _LOG_START.startswith(log.read(len(_LOG_START)))
    except OSError:
        return False  # there is none, or DuckDB will say why it cannot be read
