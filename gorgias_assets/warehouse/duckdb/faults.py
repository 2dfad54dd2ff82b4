"""Causes of a failure of DuckDB, or of the system, on a DuckDB file."""

import errno
import fcntl
import os
from pathlib import Path
from tempfile import TemporaryFile

import duckdb

from gorgias_assets.display import shown
from gorgias_assets.warehouse.tables import WarehouseError

_FAULTS = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)


def _texts(*codes: int) -> tuple[str, ...]:
    return tuple(map(os.strerror, codes))


_NO_LOCKS = (
    "{file} cannot be opened, since its file system has no file locks (SMB and NFS often have none), and DuckDB keeps "
    "writers apart by them. Put the file on a local disk, by the warehouse URI."
)
_MOST_LETTERS = 250  # of a path
_LOCK = "Could not set lock on file"
_FULL = (
    "{file} could not be written: its disk is full, or it has reached a limit on its size. Make room, then re-run; "
    "committed rows are kept."
)
# The first of these whose texts are in the error's counts. The error itself is not passed on, since it may quote a row.
_MEANINGS = (
    ((_LOCK,), _NO_LOCKS),
    (_texts(errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    (
        _texts(errno.EACCES, errno.EPERM, errno.EROFS),
        "{file} cannot be opened or written: it, its folder or their disk is read-only, or closed to this process's "
        "user. Let this user write to the file and the folder, then re-run.",
    ),
    (
        _texts(errno.ENOENT, errno.ENOTDIR),
        "{file} cannot be opened; correct the warehouse URI, or make the folder {folder}.",
    ),
    (_texts(errno.EISDIR), "{file} is a folder; name a file in it in the warehouse URI."),
    (
        _texts(errno.ENAMETOOLONG, errno.ELOOP),
        "{file} has too long a name, or is a link to itself; correct the warehouse URI.",
    ),
    (
        ("not a valid DuckDB database file",),
        "{file} is no DuckDB file; correct the warehouse URI, or move the file away.",
    ),
    (
        ("version number", "storage version", "WAL of version"),
        "{file} was written by another version of DuckDB, in a format that version {version} does not read. Install a "
        "duckdb package that reads it, usually the newest.",
    ),
    (
        ("Corrupt", "corrupt", "checksum", "Could not read enough bytes", "replaying WAL", "WAL does not match"),
        "{file} is damaged, or {file}.wal is. Restore both from a backup, or move both away and materialize the "
        "partitions again.",
    ),
)
_UNKNOWN = (
    "{file} could not be opened, read or written ({error}). Check the warehouse URI and the file's disk, then re-run; "
    "if that fails too, try another duckdb package than {version}."
)
_LACKING_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_LOG_START = b"d\0b"  # DuckDB begins each log with an entry for its version, in every version so far


def is_fault(error: duckdb.Error) -> bool:
    """Return True if a statement failed because of the file it works on, and not because of its text."""
    return isinstance(error, _FAULTS) or type(error) is duckdb.Error  # DuckDB 2 forgets the type while Arrow is read


def is_in_use(error: BaseException, file: str) -> bool:
    """Return True if another process has the file's lock, or another connection of this process has it attached."""
    text = str(error)
    if not isinstance(error, duckdb.Error) or _LOCK not in text:
        return isinstance(error, duckdb.Error) and "Unique file handle conflict" in text
    # Of a lock that failed for another reason, DuckDB may name a holder too: it asks the system, which makes one up.
    return ("Conflicting lock" in text or "Lock is already held" in text) and _has_locks(Path(file).parent)


def _has_locks(folder: Path) -> bool:
    """Return False if a new file in the folder, which nobody else has open, cannot be locked."""
    try:
        with TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _LACKING_LOCKS
    return True


def fault(error: Exception, file: str) -> WarehouseError:
    """Return an error on what is wrong with `file` and what to do about it, without a row's value."""
    text = str(error).replace(file, "")  # which may be named like a fault
    sentence = next((sentence for texts, sentence in _MEANINGS if any(part in text for part in texts)), _UNKNOWN)
    values = {"version": duckdb.__version__, "error": type(error).__name__}
    values |= {"file": shown(file, _MOST_LETTERS), "folder": shown(Path(file).parent, _MOST_LETTERS)}
    return WarehouseError(sentence.format(**values), passes=sentence in (_FULL, _UNKNOWN))


def is_missing(file: str) -> bool:
    """Return True if there is certainly no such file. If that cannot be seen, opening it gives the reason."""
    try:
        Path(file).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def has_damaged_log(file: str) -> bool:
    """Return True if the start of `file`'s log is damaged: DuckDB would take the log for empty, and lose its rows."""
    try:
        with Path(f"{file}.wal").open("rb") as log:
            return not _LOG_START.startswith(log.read(len(_LOG_START)))
    except OSError:
        return False  # there is none, or DuckDB's own error gives the reason
