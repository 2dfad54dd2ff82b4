"""Missing rows: stored rows that a complete reading should have read and has not, and which of them are gone.

A row is marked as deleted or merged only if its own path says so. A reading that misses unusually many marks none: the
key, or the account, is more likely at fault. A look for a row that is answered by anything else never fails the run.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from logging import Logger
from typing import Any

from gorgias_assets.api.client import GorgiasClient, GorgiasError
from gorgias_assets.stored_events import StoredEvents
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.deletions import Look, Named, look_up
from gorgias_assets.warehouse.tables import Absences, Candidates, Merged, Table, Tombstone
from gorgias_assets.warehouse.warehouse import Warehouse

LOOKUPS_SETTLED_TOGETHER = 100
FIRST_PAUSE, LONGEST_PAUSE = timedelta(hours=1), timedelta(days=30)  # before a row is looked for again
ENOUGH_SILENCE, MOST_SILENCE = 3, 10  # look-ups without an answer, in a row and in all, after which the others wait
MOST_MISSING, UNUSUAL_SHARE = 25, 0.5  # rows, and share of the expected ones
MOST_MISSING_OF_NOTHING = 5  # rows, if the list shows none
MOST_NOTED = 10_000
MOMENT = timedelta(microseconds=1)
MOST_KIN, MOST_KIN_IN_ALL = 10, 50  # rows to look up for a survivor, and for all of a run


@dataclass
class Deletions:
    """Counts of the rows that a reading has missed.

    `checked` by their own paths, of which `deleted` and `merged` into another are gone; `cascaded` are rows of other
    tables that are gone with them; `pending` are left to the next load. `unanswered` counts answers that did not say if
    a row is gone, by status, 0 for none; those rows are looked for later. `doubted` is set if so many rows were missing
    that none was looked for.
    """

    checked: int = 0
    deleted: int = 0
    merged: int = 0
    cascaded: int = 0
    pending: int = 0
    unanswered: Counter[int] = field(default_factory=Counter)
    doubted: Absences | None = None

    @property
    def marked(self) -> int:
        """The rows of the table itself that are gone."""
        return self.deleted + self.merged

    def add(self, gone: Sequence[Tombstone], checked: int, cascaded: int) -> None:
        merged = sum(stone.is_merged for stone in gone)
        self.checked += checked
        self.deleted += len(gone) - merged
        self.merged += merged
        self.cascaded += cascaded


def find_gone(
    reader: Reader[Any],
    warehouse: Warehouse,
    table: Table,
    log: Logger,
    absences: Absences,
    merged: Merged,
    found: Deletions,
) -> None:
    """Mark the rows that a complete reading should have read and has not, if Gorgias says that they are gone."""
    since, now = reader.started_at, reader.progress.last_requested_at
    if since is None or now is None or not absences.unread:
        return
    covered = reader.covered()
    with closing(reader.connect()) as client:
        named = _named(reader, client, warehouse, table, log)
        doubted = _doubted(reader, absences, merged)
        if doubted:
            known = named.ids | _noted(warehouse, table)
            doubted = _doubted(reader, warehouse.absences(table, covered, since, known), merged)
        if doubted and not reader.expects.believe_absence:
            found.doubted = doubted
            _warn_of_absences(doubted, table, log)
            return
        lost = _lost(reader, warehouse, table, named)
        kin = _kin(reader, warehouse, table, lost, since)
        warehouse.note_candidates(table, covered, named.ids | kin, since, now)
        limit = max(reader.max_lookups, reader.progress.calls)
        candidates = warehouse.candidates(table, reader.entity.object_fields, limit, reader.looks_due_by(now))
        lost.subtract(_look_up(reader, client, warehouse, table, candidates, now, found))
    _warn_of_unanswered(found, table, log)
    if left := (+lost).total():
        log.warning(
            f"{table}: {left:,} rows were merged into others that alone are named by the events, and were not found; "
            "those that are stored wait for a full sweep."
        )


def _named(reader: Reader[Any], client: GorgiasClient, warehouse: Warehouse, table: Table, log: Logger) -> Named:
    held = StoredEvents(warehouse, Table(table.schema, reader.events)) if reader.events else None
    try:
        return reader.named_gone(client, held)
    except GorgiasError as error:
        log.warning(
            f"{table}: events cannot be read, so rows deleted long after their last change wait for a full sweep. "
            f"{error}"
        )
        return Named()


def _doubted(reader: Reader[Any], absences: Absences, merged: Merged) -> Absences | None:
    """Return the absences if so many rows are missing that the account or the key is more likely at fault.

    A purge of spam deletes many rows, seldom most of what a run reads, and events name its tickets. A key that sees
    nothing, or another account, lacks nearly all. So it is unusual if more than 25 rows and more than half of the
    expected ones are missing; and if a list shows no row at all, more than 5. Rows that this run has added were not
    expected.
    """
    if not reader.progress.rows_read and not reader.resumed_from:  # the list's end was reached, and no row seen
        nothing = Absences(absences.unread, absences.unread, absences.unread)
        return nothing if absences.unread > MOST_MISSING_OF_NOTHING else None
    if not reader.resumed_from:
        refreshed = min(absences.expected - absences.missing, merged.rows - merged.new)
        absences = replace(absences, expected=absences.missing + refreshed)
    return absences if absences.missing > max(MOST_MISSING, UNUSUAL_SHARE * absences.expected) else None


def _noted(warehouse: Warehouse, table: Table) -> set[int]:
    """Return the rows that earlier runs have noted as missing: they were no unusual number then."""
    return {row["id"] for row in warehouse.candidates(table, ["id"], MOST_NOTED).rows}


def _lost(reader: Reader[Any], warehouse: Warehouse, table: Table, named: Named) -> Counter[int]:
    """Return the survivors that alone are named, without those whose merges the table knows from an earlier run."""
    lost = Counter(named.survivors)
    if lost and reader.window:
        lost.subtract(warehouse.merges(table, lost, reader.window.start))
    return +lost


def _kin(reader: Reader[Any], warehouse: Warehouse, table: Table, survivors: Counter[int], since: datetime) -> set[int]:
    """Return rows that may have been merged into a survivor which alone is named."""
    if not survivors or not reader.entity.kin:
        return set()
    return set(warehouse.kin(table, reader.entity.kin, survivors, since, MOST_KIN)[:MOST_KIN_IN_ALL])


def _look_up(
    reader: Reader[Any],
    client: GorgiasClient,
    warehouse: Warehouse,
    table: Table,
    candidates: Candidates,
    now: datetime,
    found: Deletions,
) -> list[int]:
    """Request the candidates one by one, and mark those that are gone; return the rows at both ends of each merge."""
    cascade = {Table(table.schema, name): field for name, field in reader.owned.items()}
    for owned in cascade if candidates.rows else ():
        warehouse.pull_back(owned, client.gorgias_clock.now, now - MOMENT)  # or they would outlive what owns them
    merges: list[int] = []
    looks, left = looks_at(reader, client, candidates), len(candidates.rows)
    while settled := dict(islice(looks, LOOKUPS_SETTLED_TOGETHER)):
        refused = {row_id: look.refusal for row_id, look in settled.items() if look.refusal is not None}
        later = {row_id: now + _pause(candidates.looks[row_id]) for row_id in refused}
        answered = [row_id for row_id in settled if row_id not in refused]
        gone = [look.stone for look in settled.values() if look.stone is not None]
        found.add(gone, len(answered), warehouse.settle_candidates(table, answered, gone, cascade, later))
        found.unanswered.update(refused.values())
        left -= len(answered)
        merges += [stone.id for stone in gone if stone.is_merged]
        merges += [stone.merged_into for stone in gone if stone.merged_into is not None]
    found.pending = candidates.waiting + left
    return merges


def looks_at(reader: Reader[Any], client: GorgiasClient, candidates: Candidates) -> Iterator[tuple[int, Look]]:
    """Yield the look at each candidate, until too many get no answer: each of those takes a minute."""
    in_a_row = in_all = 0
    for row in candidates.rows:
        look = look_up(client, reader.entity, row, reader.progress)
        yield row["id"], look
        is_silent = look.refusal == 0
        in_a_row, in_all = in_a_row + 1 if is_silent else 0, in_all + is_silent
        if in_a_row == ENOUGH_SILENCE or in_all == MOST_SILENCE:
            return


def _pause(looks: int) -> timedelta:
    """Return how long a row is left alone after so many looks that did not say if it is gone, and one more."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(looks, 12)))


def _warn_of_absences(absences: Absences, table: Table, log: Logger) -> None:
    log.warning(
        f"{table}: {absences.missing:,} of {absences.expected:,} stored rows that this run should have found are "
        "missing, which is unusual, so none is marked as deleted. Check that the key may read all of the account; if "
        "they were deleted, run the days again with `believe_absence: true` in the run's configuration, or "
        "--believe-absence."
    )


def _warn_of_unanswered(found: Deletions, table: Table, log: Logger) -> None:
    if not found.unanswered:
        return
    statuses = [
        f"{rows:,} with {f'status {status}' if status else 'no answer'}"
        for status, rows in sorted(found.unanswered.items())
    ]
    log.warning(
        f"{table}: {found.unanswered.total():,} missing rows could not be looked up ({', '.join(statuses)}); they stay "
        "as they are, and are looked up again later."
    )
