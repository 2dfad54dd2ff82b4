"""The main loop: resume, read and merge, find deleted rows. It knows no Dagster.

    reader (a sweep or a snapshot)  ->  batches  ->  warehouse  ->  Loaded

A load that is interrupted at any point leaves a state that a shorter one could have left. Another load of the same
reader resumes from the position that was saved with the last batch.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from logging import Logger
from time import monotonic
from typing import Any

import pyarrow as pa

from gorgias_assets.api.clock import NOTABLE, difference
from gorgias_assets.display import shown_counts
from gorgias_assets.entities.model import Whole
from gorgias_assets.missing import Deletions, find_gone
from gorgias_assets.privacy.retention import drop_old_bodies
from gorgias_assets.privacy.rewriting import rewrite
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.filtered import Filtered
from gorgias_assets.warehouse.tables import (
    CLOCKS_DIFFER,
    IS_TOUCHED,
    After,
    Counts,
    Merged,
    Saved,
    Table,
    WarehouseError,
)
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

PREVIEW_ROWS = 5
PROGRESS_SECONDS = 5.0
IS_PROGRESS = "is_progress"  # marks a record of the log on how far a reading has come
MICROSECOND = timedelta(microseconds=1)


@dataclass
class Loaded:
    """The result of a complete load: rows merged, deletions found, counts, the first rows of the window, and seconds.

    `from_the_future` counts stored rows whose stamp was later than Gorgias's time. A reading that is a part of another
    has no `counts`. `is_outdated` is True if rows are left that were stored under another privacy policy.
    """

    merged: Merged = field(default_factory=Merged)
    from_the_future: int = 0
    gone: Deletions = field(default_factory=Deletions)
    counts: Counts | None = None
    first_rows: pa.Table | None = None
    seconds: float = 0.0
    is_outdated: bool = False


def load(
    reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger, windows: Sequence[Window] = ()
) -> Loaded:
    """Read everything of `reader` into the table, and count the rows touched in each of `windows`.

    Raises the client's `GorgiasError`, and `WarehouseError`.
    """
    loaded, started, mark = Loaded(), monotonic(), reader.door.mark
    before = warehouse.before(table, reader.key, with_newest=not reader.is_part)
    account = _account_to_note(reader, before.account, table)
    loaded.is_outdated = before.exists and (before.mark or "") != mark
    has_position = before.position is not None
    if before.position and reader.resume(before.position):
        log.info(f"{table}: {_resumption(reader)}")
    is_first = True
    for batch in reader.batches(warehouse.batch_rows, warehouse.batch_bytes, _ProgressLog(reader, log)):
        if is_first and reader.progress.calls:
            loaded.from_the_future = _pull_back(reader, warehouse, table, before.newest, log)
            if account:
                warehouse.save_account(table, account)
            if mark and not before.exists:
                warehouse.save_policy(table, mark)
        is_first = False
        is_needed = batch.position and not (reader.is_part and reader.progress.complete)
        saved = Saved(reader.key, batch.position) if is_needed else None
        admitted = partial(reader.door.admitted, reader.entity)
        loaded.merged += warehouse.merge(table, reader.entity.columns, batch.rows, saved, reader.entity.grain, admitted)
        has_position = has_position or saved is not None
        if not loaded.first_rows:
            loaded.first_rows = batch.rows.filter(batch.rows[IS_TOUCHED]).slice(0, PREVIEW_ROWS)
    _drop_old_bodies(reader, warehouse, table, log)
    _keep_views(reader, warehouse, table, log)
    if loaded.is_outdated:
        _keep_policy(reader, warehouse, table, log, loaded)
    if not reader.is_part:
        after = _state(reader, warehouse, table, windows)
        if after.without_id:
            log.warning(
                f"{table}: {after.without_id:,} rows without an id are left alone; delete them, no sweep wrote them."
            )
        if reader.finds_gone:
            find_gone(reader, warehouse, table, log, after.absences, loaded.merged, loaded.gone)
        loaded.counts = warehouse.counts(table, _touch_fields(reader), windows) if loaded.gone.marked else after.counts
    elif loaded.merged.new:
        warehouse.leave_one_of_each_id(table)
    if isinstance(reader, Filtered):
        _note_reading(reader, warehouse, table)
    if has_position:
        warehouse.forget_position(table, reader.key)
    loaded.seconds = monotonic() - started
    log.info(
        f"{table}: merged {loaded.merged.rows:,} rows, {loaded.merged.new:,} of them new, in {reader.progress.calls:,} "
        "API calls"
    )
    _warn_of_extra_fields(reader, log)
    _say_what_is_withheld(reader, log)
    if reader.remark:
        log.info(f"{table}: {reader.remark}")
    _warn_of_clock(reader, log)
    return loaded


def _note_reading(reader: Filtered, warehouse: Warehouse, table: Table) -> None:
    """Note the window of which the table has every row now: nobody has to request these again."""
    began, window, kinds = reader.began_at, reader.window, reader.types or ()
    if began and window.start < began:
        read = Window(window.start, min(window.end, began))
        warehouse.save_readings(table, read.joined(warehouse.readings(table, kinds)), kinds)


def _drop_old_bodies(reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger) -> None:
    """Drop the stored bodies that have become too old by the time of the reading."""
    days, now = reader.door.bodies_kept_days, reader.progress.last_requested_at
    if reader.is_part or days is None or now is None:
        return
    rows = drop_old_bodies(warehouse, table, reader.entity, days, now)
    if rows:
        log.info(f"{table}: dropped the bodies of {rows:,} rows that are older than {days:,} days.")


def _keep_views(reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger) -> None:
    """Create or replace the views that read the table, as far as they differ from their declaration."""
    views = [view.stored_in(table.schema) for view in reader.views]
    for taken in warehouse.keep_views(table.schema, views) if views else ():
        log.warning(
            f"{taken} was made by something else, so there is no view of that name; rename one of them: a view by "
            "`table_names`."
        )


def _keep_policy(reader: Reader[Any], warehouse: Warehouse, table: Table, log: Logger, loaded: Loaded) -> None:
    """Rewrite the rows that were stored under another privacy policy, if this reading is to, or else warn of them."""
    if reader.is_part or not reader.expects.rewrite:
        log.warning(
            f"{table}: rows are stored under another privacy policy than that of the settings; run a full sweep, which "
            "rewrites them."
        )
        return
    rows = rewrite(warehouse, table, reader.entity, reader.door.screen) if reader.door.screen else 0
    warehouse.save_policy(table, reader.door.mark)
    loaded.is_outdated = False
    log.info(f"{table}: all rows are stored under the privacy policy of the settings now; {rows:,} were rewritten.")


def _state(reader: Reader[Any], warehouse: Warehouse, table: Table, windows: Sequence[Window]) -> After:
    """Return the state of the table after a reading, once each row is in it only once."""

    def state() -> After:
        return warehouse.after(table, reader.covered(), reader.started_at, _touch_fields(reader), windows)

    after = state()
    if not after.copies:
        return after
    warehouse.leave_one_of_each_id(table)
    return state()


def _touch_fields(reader: Reader[Any]) -> Sequence[str]:
    read = reader.entity.read
    return () if isinstance(read, Whole) else read.touch_fields


def _account_to_note(reader: Reader[Any], known: str | None, table: Table) -> str | None:
    """Return the reader's account if the table is not `known` to hold its rows.

    Raises `WarehouseError` if it is known to hold another one's.
    """
    expects = reader.expects
    if expects.account in (None, known):
        return None
    if known is None or expects.account_changed:
        return expects.account
    raise WarehouseError(
        f"{table} holds rows of the Gorgias account {known!r}, and the Gorgias URI names {expects.account!r}; nothing "
        "was read. Choose another schema for it, or, if the account was renamed, run once with `account_changed: true` "
        "in the run's configuration, or --account-changed."
    )


def _pull_back(reader: Reader[Any], warehouse: Warehouse, table: Table, newest: datetime | None, log: Logger) -> int:
    """Let stored rows that a wrong clock has stamped in the future give way to this reading; return their number.

    `newest` is the latest stamp that was in the table before.
    """
    began = reader.started_at
    if began is None or newest is None:
        return 0
    with closing(reader.connect()) as client:
        now = client.gorgias_clock.now
        rows = warehouse.pull_back(table, now, began - MICROSECOND) if newest > now() + CLOCKS_DIFFER else 0
    if rows:
        log.warning(
            f"{table}: {rows:,} rows were stamped later than Gorgias's time, by a machine whose clock is ahead. They "
            "count as read just before this run now, and whatever it reads replaces them."
        )
    return rows


def _warn_of_clock(reader: Reader[Any], log: Logger) -> None:
    with closing(reader.connect()) as client:
        ahead = client.gorgias_clock.machine_ahead
    if abs(ahead) > NOTABLE:
        log.warning(
            f"This machine's clock is {difference(ahead)}. Days count as over by Gorgias's; let NTP set this machine's."
        )


class _ProgressLog:
    """A line in the log every few seconds on how far a reading has come."""

    def __init__(self, reader: Reader[Any], log: Logger) -> None:
        self._reader = reader
        self._log = log
        self._started = self._last = monotonic()

    def __call__(self) -> None:
        now = monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        self._log.info(shown_progress(self._reader, now - self._started), extra={IS_PROGRESS: True})


def shown_progress(reader: Reader[Any], seconds: float) -> str:
    """Return in a line how far a reading has come in so many seconds."""
    progress, share = reader.progress, reader.share_done
    left = f"about {seconds * (1 - share) / share:,.0f} s left" if share else "time left unknown"
    reached = f", back to {progress.reached:%Y-%m-%d %H:%M} UTC" if progress.reached else ""
    return (
        f"{reader.entity.name}: {share * 100:.0f} %, {left}: kept {progress.rows_touched:,} of "
        f"{progress.rows_read:,} rows in {progress.calls:,} API calls{reached}"
    )


def _resumption(reader: Reader[Any]) -> str:
    begun = f"an attempt that began at {reader.started_at:%Y-%m-%d %H:%M:%S} UTC was interrupted"
    if not reader.resumed_from:
        return begun
    return f"{begun}; it had read back to {reader.resumed_from:%Y-%m-%d %H:%M:%S} UTC, and this one resumes there"


def _warn_of_extra_fields(reader: Reader[Any], log: Logger) -> None:
    fields = shown_counts(dict(sorted(reader.progress.extra_fields.items())))
    if fields:
        log.warning(
            f"{reader.entity.name}: Gorgias sent undeclared fields, or values that do not fit their column; they are "
            "kept in _extra, or as text in their own column: "
            f"{_by_name(fields)}."
        )


def _say_what_is_withheld(reader: Reader[Any], log: Logger) -> None:
    fields = shown_counts(dict(sorted(reader.progress.withheld.items())))
    if fields:
        log.info(
            f"{reader.entity.name}: what may hold a secret, or is undeclared under a privacy policy, is withheld: "
            f"{_by_name(fields)}."
        )


def _by_name(fields: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,} rows)" for name, count in fields.items())
