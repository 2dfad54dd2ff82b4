"""Failures around a DuckDB file: crowds, full and closed disks, damage, kills. Nothing committed is lost."""

import multiprocessing
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from gorgias_assets.columns import Column, Kind
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Table, WarehouseError

# Processes of a server that has imported this file once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])

LETTERS = Table("shop", "letters")
COLUMNS = [Column("id", Kind.INTEGER, "The letter."), Column("text", Kind.STRING, "What a customer wrote.")]
PRIVATE = "Dear shop"
NOBODY = 65534
LARGE = 12_000  # rows of a batch that DuckDB writes to the file before it is committed


def merge(
    database: Path, first: int = 0, size: int = 500, version: int = 0, patience: float = 60, **config: Any
) -> None:
    """Merge the letters from `first` on. Each is 300 characters that do not compress, and read in `version`."""
    ids = range(first, first + size)
    extracted_at = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=version)
    rows = pa.table(
        {
            "id": ids,
            "text": [PRIVATE + random.Random(i).randbytes(150).hex() for i in ids],
            "_extracted_at": pa.array([extracted_at] * size, pa.timestamp("us", "UTC")),
            "_is_touched": [True] * size,
        }
    )
    DuckDBWarehouse(str(database), config, patience).merge(LETTERS, COLUMNS, rows)


def read(database: Path) -> dict[int, int]:
    """Return the version of each letter by id."""
    rows = DuckDBWarehouse(str(database), {}, 60).read(LETTERS, (), ["id", "_extracted_at", "text"]).to_pylist()
    versions = {row["id"]: (row["_extracted_at"] - datetime(2025, 3, 1, tzinfo=UTC)).seconds // 3600 for row in rows}
    assert len(versions) == len(rows), "an id is in the table twice"
    return versions


def letters(first: int = 0, size: int = 500, version: int = 0) -> dict[int, int]:
    return dict.fromkeys(range(first, first + size), version)


def failure(action: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
    """Return the message of a `WarehouseError`; empty if there was none."""
    message = ""
    try:
        action(*arguments, **settings)
    except WarehouseError as error:
        message = str(error)
    assert PRIVATE not in message
    return message


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "letters.duckdb"


def merge_batches(database: Path, first: int, batches: int, start: float) -> None:
    """Merge one batch after the other, from a moment on."""
    time.sleep(max(0.0, start - time.time()))
    for batch in range(batches):
        merge(database, first + 300 * batch, 300, patience=600)


def hold_as_reader(database: Path, seconds: float) -> None:
    """Open the file read-only as soon as it is there and free, and keep it for so long."""
    while True:
        with suppress(duckdb.IOException), duckdb.connect(str(database), read_only=True):
            time.sleep(seconds)
            return
        time.sleep(0.001)


@pytest.mark.soak
def test_eight_writers_of_a_new_file_and_a_reader_that_holds_it_all_succeed(database):
    with ProcessPoolExecutor(9, PROCESSES) as pool:
        start = time.time() + 1
        writers = [pool.submit(merge_batches, database, 10_000 * writer, 4, start) for writer in range(8)]
        reader = pool.submit(hold_as_reader, database, 2)
        for done in [*writers, reader]:
            done.result()
    wanted = {row for writer in range(8) for row in letters(10_000 * writer, 1_200)}
    assert read(database).keys() == wanted


def test_writers_that_wait_in_vain_all_give_up_in_time_and_name_the_holder(database):
    merge(database)
    with ProcessPoolExecutor(4, PROCESSES) as pool:
        code = f"import duckdb, sys; c = duckdb.connect({str(database)!r}, read_only=True); print(); sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            began = time.monotonic()
            writers = [pool.submit(failure, merge, database, 1_000 * n, patience=1) for n in range(1, 5)]
            messages = [writer.result(timeout=60) for writer in writers]
            assert time.monotonic() - began > 0.7
            holder.stdin.close()
        assert all(f"process {holder.pid} for 1 s" in message for message in messages), messages
    merge(database, 500)
    assert read(database) == letters(0, 1_000)


def in_too_little_room(database: Path, give: Callable[[int | None], None], rooms: list[int], **config: Any) -> None:
    """Merge with room for so many bytes more, or for any number; see that it is done whole or not at all."""
    outcomes = set()
    for room in rooms:
        for size in (500, LARGE):
            give(None)
            for left_over in database.parent.glob(f"{database.name}*"):
                left_over.unlink()
            before = {}
            if room > 16_384:
                merge(database)
                before = letters()
            merged = before | letters(250, size, 1)
            give(room)
            message = failure(merge, database, 250, size, 1, **config)
            if message:
                assert message.startswith(f"{database} could not be written: its disk is full"), message
                if before:
                    assert read(database) in (before, merged)  # a checkpoint may fail after the commit
            else:
                assert read(database) == merged
            give(None)
            merge(database, 250, size, 1)
            assert read(database) == merged
            outcomes.add(bool(message))
    assert outcomes == {True, False}, "not every kind of fullness was met"
    assert not list(database.parent.glob(".duckdb-*")), "a file that could not be created was left"


ROOMS = [0, 4_096, 16_384, 100_000, 600_000, 1_500_000, 4_000_000, 8_000_000]


def limit_file_sizes(size: int | None) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size is None else size, most))


@pytest.mark.parametrize(
    "config", [pytest.param({}, marks=pytest.mark.soak), {"checkpoint_threshold": "1KB"}], ids=["close", "commit"]
)
def test_a_limit_on_file_sizes_loses_nothing_and_is_explained(database, config):
    """A limit stands for a full disk; a checkpoint is made when the file is closed, or when a batch is committed."""
    with ProcessPoolExecutor(1, PROCESSES) as pool:
        pool.submit(in_too_little_room, database, limit_file_sizes, ROOMS, **config).result()


def fill_disk(folder: Path, room: int | None) -> None:
    """Leave so many bytes free, with a file that takes up the others."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    if room is not None:
        free = shutil.disk_usage(folder).free
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - room))


FILL_A_DISK = """
import sys
from functools import partial
from pathlib import Path
from gorgias_assets_tests.warehouse.test_duckdb_faults import ROOMS, fill_disk, in_too_little_room
folder = Path(sys.argv[1])
in_too_little_room(folder / "letters.duckdb", partial(fill_disk, folder), ROOMS)
"""


def test_a_full_disk_loses_nothing_and_is_explained(tmp_path):
    in_a_small_disk = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=48m tmpfs "$0" && "$@"', str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*in_a_small_disk, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk; the test with a limit on file sizes stands in")
    run = subprocess.run(
        [*in_a_small_disk, sys.executable, "-c", FILL_A_DISK, str(tmp_path)], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")


FAIL_AND_EXIT = """
import sys
from pathlib import Path
from gorgias_assets_tests.warehouse.test_duckdb_faults import LARGE, limit_file_sizes, merge
limit_file_sizes(1_000_000)
merge(Path(sys.argv[1]), 250, LARGE, checkpoint_threshold="1KB")
"""


def test_a_process_that_met_a_full_disk_ends_with_the_sentence_and_no_crash(database):
    merge(database)
    run = subprocess.run([sys.executable, "-c", FAIL_AND_EXIT, str(database)], capture_output=True, text=True)
    assert run.returncode == 1
    assert "WarehouseError" in run.stderr.splitlines()[-1]
    assert "its disk is full" in run.stderr.splitlines()[-1]
    assert "During handling" not in run.stderr
    assert read(database) == letters()


def test_a_checkpoint_that_fails_after_the_commit_is_explained_and_loses_nothing(database):
    merge(database)
    config = {"checkpoint_threshold": "1KB", "debug_checkpoint_abort": "before_header"}
    message = failure(merge, database, 250, version=1, **config)
    assert message.startswith(f"{database} could not be opened, read or written (")
    merge(database, 250, version=1)
    assert read(database) == letters() | letters(250, version=1)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Yield a folder that another user may be let into: pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def failure_of_an_ordinary_user(database: Path, modes: dict[Path, int]) -> str:
    """Return the message of merging as an ordinary user, since root may do all that file modes forbid."""
    merge(database.parent / "other.duckdb")  # modules imported late may be closed to another user
    for path, mode in modes.items():
        path.chmod(mode)
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return failure(merge, database, 250, version=1)


@pytest.mark.parametrize(
    ("is_there", "file_mode", "folder_mode"),
    [
        pytest.param(True, 0o444, 0o777, id="a read-only file"),
        pytest.param(True, 0o666, 0o555, id="a file in a read-only folder"),
        pytest.param(True, 0o000, 0o777, id="a closed file"),
        pytest.param(True, 0o666, 0o000, id="a file in a closed folder"),
        pytest.param(False, None, 0o555, id="no file in a read-only folder"),
    ],
)
def test_a_missing_permission_is_explained_and_loses_nothing(shared_folder, is_there, file_mode, folder_mode):
    database = shared_folder / "letters.duckdb"
    if is_there:
        merge(database)
    modes = {database: file_mode, shared_folder: folder_mode} if is_there else {shared_folder: folder_mode}
    with ProcessPoolExecutor(1, PROCESSES) as pool:
        message = pool.submit(failure_of_an_ordinary_user, database, modes).result()
    shared_folder.chmod(0o777)
    assert message.startswith(f"{database} cannot be opened or written: it, its folder or their disk is read-only")
    assert database.exists() == is_there
    if is_there:
        database.chmod(0o666)
        assert read(database) == letters()
    merge(database, 250, version=1)
    assert read(database) == (letters() if is_there else {}) | letters(250, version=1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "cannot be opened; correct the warehouse URI, or make the folder", id="a missing folder"),
        pytest.param("folder", "is a folder; name a file in it", id="a folder"),
        pytest.param("text", "is no DuckDB file; correct the warehouse URI", id="text"),
        pytest.param("empty", "is no DuckDB file; correct the warehouse URI", id="nothing"),
        pytest.param("SQLite", "is no DuckDB file; correct the warehouse URI", id="SQLite"),
    ],
)
def test_a_path_that_leads_to_no_database_is_explained_and_left_alone(tmp_path, content, sentence):
    database = tmp_path / "shop" / "letters.duckdb"
    if content:
        database.parent.mkdir()
    if content == "folder":
        database.mkdir()
    elif content == "SQLite":
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE letters (id)")
        connection.close()
    elif content:
        database.write_text("Dear shop\n" * 1_000 if content == "text" else "")
    before = database.read_bytes() if database.is_file() else None
    message = failure(merge, database)
    assert message.startswith(f"{database} {sentence}")
    assert (database.read_bytes() if database.is_file() else None) == before
    shutil.rmtree(database.parent, ignore_errors=True)
    database.parent.mkdir()
    merge(database)
    assert read(database) == letters()


COMPILER = shutil.which("cc") or ""
FILE_SYSTEM_WITHOUT_LOCKS = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A lock fails with ERROR; a look for its holder fails too, or names one that is not there, as SMB does. */
int fcntl(int file, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const char *error = getenv("ERROR"), *holder = getenv("HOLDER");
    if (error && command == F_GETLK && holder) {
        ((struct flock *)argument)->l_type = F_WRLCK;
        ((struct flock *)argument)->l_pid = atoi(holder);
        return 0;
    }
    if (error && (command == F_SETLK || command == F_SETLKW || command == F_GETLK)) {
        errno = atoi(error);
        return -1;
    }
    return syscall(SYS_fcntl, file, command, argument);
}

int fcntl64(int file, int command, void *argument) { return fcntl(file, command, argument); }
"""
MERGE_WITHOUT_LOCKS = """
import errno, os, sys
from pathlib import Path
from gorgias_assets_tests.warehouse.test_duckdb_faults import failure, merge
for name in ("new", "old"):
    for error in (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS):
        for holder in (None, "0", "999999"):
            os.environ.pop("ERROR", None)
            database = Path(sys.argv[1]) / f"{name}-{error}-{holder}.duckdb"
            if name == "old":
                merge(database)
            os.environ |= {"ERROR": str(error)} | ({"HOLDER": holder} if holder else {})
            print(failure(merge, database, patience=60))
            os.environ.pop("HOLDER", None)
"""


@pytest.mark.skipif(sys.platform != "linux" or not COMPILER, reason="needs Linux and a C compiler")
def test_a_file_system_without_locks_is_named_at_once_and_nobody_is_blamed(tmp_path):
    library = tmp_path / "locks.so"
    source = FILE_SYSTEM_WITHOUT_LOCKS.encode()
    subprocess.run([COMPILER, "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=source, check=True)
    run = subprocess.run(
        [sys.executable, "-c", MERGE_WITHOUT_LOCKS, str(tmp_path)],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    sentences = run.stdout.splitlines()
    assert len(sentences) == 18, run.stderr
    assert all("its file system has no file locks" in sentence for sentence in sentences), sentences


def checksum(header: bytes) -> bytes:
    """Return DuckDB's checksum of a file's header."""
    result = 5381
    for at in range(0, len(header), 8):
        result ^= int.from_bytes(header[at : at + 8], "little") * 0xBF58476D1CE4E5B9 % 2**64
    return result.to_bytes(8, "little")


def in_a_format_to_come(content: bytes) -> bytes:
    header = content[8:12] + (10**6).to_bytes(8, "little") + content[20:4096]
    return checksum(header) + header + content[4096:]


def garbage(at: int, size: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + b"\xa5" * size + content[at + size :]


DAMAGE = [
    pytest.param("", lambda content: content[:100], "is damaged, or", id="cut in the header"),
    pytest.param("", lambda content: content[: len(content) // 2], "is damaged, or", id="cut in the middle"),
    pytest.param("", lambda content: content[:-1], "is damaged, or", id="cut at the end"),
    pytest.param("", garbage(20, 40), "is damaged, or", id="garbage in the header"),
    pytest.param("", garbage(4_096, 8_192), "is damaged, or", id="garbage for headers"),
    pytest.param("", lambda content: garbage(12_288, len(content))(content), "is damaged, or", id="garbage for rows"),
    pytest.param("", in_a_format_to_come, "was written by another version of DuckDB", id="a format to come"),
    pytest.param(".wal", garbage(100_000, 64), "is damaged, or", id="garbage in the log"),
    pytest.param(".wal", garbage(0, 512), "is damaged, or", id="garbage at the log's start"),
]


@pytest.mark.parametrize(("suffix", "damage", "sentence"), DAMAGE)
def test_damage_is_explained_and_not_made_worse(database, suffix, damage, sentence):
    merge(database)
    merge(database, 500, debug_checkpoint_abort="before_header" if suffix else "none")  # leaves the batch in the log
    path = Path(f"{database}{suffix}")
    content = path.read_bytes()
    damaged = damage(content)
    path.write_bytes(damaged)
    for action in (merge, read):
        assert failure(action, database).startswith(f"{database} {sentence}"), action
    assert path.read_bytes() == damaged
    path.write_bytes(content)
    merge(database, 900)
    assert read(database) == letters(0, 1_400)


def test_garbage_among_the_rows_is_explained_when_they_are_read(database):
    merge(database, size=LARGE)
    content = database.read_bytes()
    database.write_bytes(garbage(len(content) // 2, 64)(content))
    assert failure(read, database).startswith(f"{database} is damaged, or")
    database.write_bytes(content)
    assert read(database) == letters(0, LARGE)


def test_a_log_that_was_torn_before_its_first_commit_is_no_damage(database):
    merge(database)
    Path(f"{database}.wal").write_bytes(b"d\0")
    merge(database, 500)
    assert read(database) == letters(0, 1_000)


def modes(database: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in database.parent.iterdir()}


@pytest.fixture
def usual_umask() -> Iterator[int]:
    before = os.umask(0o022)
    yield 0o022
    assert os.umask(before) == 0o022


@pytest.mark.parametrize(("mode", "wanted"), [(None, 0o600), (0o640, 0o640), (0o664, 0o644)], ids=["new", "640", "664"])
@pytest.mark.usefixtures("usual_umask")
def test_a_file_and_its_log_are_for_their_owner_unless_the_file_s_mode_says_more(database, mode, wanted):
    if mode:
        merge(database)
        database.chmod(mode)
    warehouse = DuckDBWarehouse(str(database), {}, 5)
    with warehouse._connection(read_only=False) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        assert modes(database) == {"letters.duckdb": mode or 0o600, "letters.duckdb.wal": wanted}
        pool.submit(failure, read, database.parent / "another.duckdb").result()
    assert modes(database) == {"letters.duckdb": mode or 0o600}


SPILL = "SELECT DISTINCT 'a letter of a customer ' || range AS text FROM range(400_000) ORDER BY hash(text)"


@pytest.mark.usefixtures("usual_umask")
def test_what_a_query_spills_is_beside_the_file_for_its_owner_and_a_writer_removes_what_a_kill_left(database):
    merge(database)
    warehouse = DuckDBWarehouse(str(database), {"memory_limit": "20MB"}, 5)
    with warehouse._connection(read_only=True) as connection:
        connection.execute(SPILL).fetchone()
        (spilled,) = database.parent.glob("letters.duckdb.spill-*")
        assert spilled.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in spilled.iterdir()} == {0o600}
    assert not spilled.exists()
    spilled.mkdir()
    (spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"a letter")
    merge(database)
    assert not spilled.exists()


def merge_on_and_on(database: Path, version: int, done: Connection) -> None:
    """Merge batches that overlap, and report each."""
    while True:
        done.send(version - 1)
        merge(database, 300 * version, 600, version)
        version += 1


@pytest.mark.parametrize("kills", [8, pytest.param(64, marks=pytest.mark.soak)])
def test_a_kill_at_any_moment_leaves_whole_batches_and_all_that_were_reported(database, kills):
    """Kills come while the file is being created, too: every fourth meets a new one."""
    chance, version = random.Random(), 0
    for kill in range(kills):
        if kill % 4 == 0:
            version = 0
            for left_over in database.parent.glob(f"{database.name}*"):
                left_over.unlink()
        receiver, sender = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=merge_on_and_on, args=(database, version, sender))
        process.start()
        sender.close()
        reported = receiver.recv()  # it has begun
        time.sleep(chance.uniform(0, 0.05 if kill % 4 == 0 else 0.25))
        process.kill()
        process.join()
        with suppress(EOFError):
            while True:
                reported = receiver.recv()
        receiver.close()
        is_empty = "There is no table" in failure(read, database)
        found = {} if is_empty else read(database)
        newest = max(found.values(), default=-1)
        assert reported <= newest <= reported + 1
        assert found == {i: min(i // 300, newest) for i in range(300 * (newest + 2) if newest >= 0 else 0)}
        version = newest + 1


ERASED = b"a word of one letter"


@pytest.fixture
def erased(database: Path) -> DuckDBWarehouse:
    """Return a file from which a letter was deleted, whose bytes are in it all the same."""
    warehouse = DuckDBWarehouse(str(database), {"force_compression": "uncompressed"}, 5)
    with warehouse._connection(read_only=False) as connection:
        connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.letters (id BIGINT, text VARCHAR)")
        connection.execute("INSERT INTO shop.letters SELECT range, 'letter ' || range FROM range(10_000)")
        connection.execute(f"UPDATE shop.letters SET text = '{ERASED.decode()}' WHERE id = 7000")
        connection.execute("COMMENT ON TABLE shop.letters IS 'What customers wrote.'")
        connection.execute("CREATE VIEW shop.first AS SELECT * FROM shop.letters WHERE id = 1")
    with warehouse._connection(read_only=False) as connection:
        connection.execute("DELETE FROM shop.letters WHERE id = 7000")
    assert ERASED in database.read_bytes()
    return warehouse


def test_a_file_that_is_written_anew_has_no_byte_of_what_was_deleted_and_all_else(erased, database):
    database.chmod(0o640)
    os.link(database, database.with_name("before"))
    assert erased.expunge("shop") == ""
    assert ERASED not in database.read_bytes()
    assert modes(database) == {"letters.duckdb": 0o640, "before": 0o640}
    with duckdb.connect(database, read_only=True) as connection:
        assert connection.execute("SELECT COUNT(*), MAX(id) FROM shop.letters").fetchall() == [(9_999, 9_999)]
        assert connection.execute("FROM shop.first").fetchall() == [(1, "letter 1")]
        assert connection.execute("SELECT comment FROM duckdb_tables()").fetchall() == [("What customers wrote.",)]


def test_rows_that_are_only_in_the_log_are_in_the_new_file_too(erased, database):
    program = f"""
import duckdb, os
connection = duckdb.connect('{database}')
connection.execute("INSERT INTO shop.letters VALUES (-1, 'late')")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert Path(f"{database}.wal").exists()
    erased.expunge("shop")
    with duckdb.connect(database, read_only=True) as connection:
        assert connection.execute("SELECT text FROM shop.letters WHERE id = -1").fetchall() == [("late",)]


def test_what_a_kill_left_of_a_new_file_is_removed_by_the_next_writer(database):
    merge(database)
    Path(f"{database}.rewritten").write_bytes(ERASED)
    merge(database)
    assert not Path(f"{database}.rewritten").exists()


def insert_on_and_on(database: Path, number: int, rows: int) -> None:
    warehouse = DuckDBWarehouse(str(database), {}, 60)
    for row in range(rows):
        with warehouse._writing("shop") as session:
            session.execute(f"INSERT INTO shop.letters VALUES ({-1 - number * rows - row}, 'new')")


@pytest.mark.soak
def test_writers_lose_no_row_while_the_file_is_replaced_again_and_again(erased, database):
    with ProcessPoolExecutor(4, PROCESSES) as pool:
        writers = [pool.submit(insert_on_and_on, database, number, 50) for number in range(4)]
        while not all(writer.done() for writer in writers):
            erased.expunge("shop")
    for writer in writers:
        writer.result()
    with duckdb.connect(database, read_only=True) as connection:
        assert connection.execute("SELECT COUNT(*) FROM shop.letters WHERE id < 0").fetchall() == [(200,)]
