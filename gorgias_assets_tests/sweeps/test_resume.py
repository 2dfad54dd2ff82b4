"""A sweep that was interrupted goes on, and ends as if it had not been, though the account changes meanwhile."""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gorgias_assets.api.client import CursorRefused, GorgiasError, Page, Rejected, Unavailable, Untrusted
from gorgias_assets.entities import SATISFACTION_SURVEYS, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.loading import load
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import EFFECTS, Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets.sweeps import seek as seeks
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.rows import moment_of, newest_by_id, parse_datetime
from gorgias_assets.sweeps.sweep import Sweep
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Merged, Saved, Table
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time

LOG = logging.getLogger(__name__)
DAY = "2025-03-10"
START = datetime(2025, 3, 10, tzinfo=UTC)
END = START + timedelta(days=1)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
AT_ONCE = 0.0005  # minutes of patience: a fault that would be tried again interrupts
ENTITIES_BY = {"change": TICKETS, "creation": SATISFACTION_SURVEYS}
MOST_CALLS = 400  # of an attempt in these tests; more is a loop


def kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return entity.path.removeprefix("/").replace("-", "_")


def insert(account: Account, entity: Entity, moments: Iterator[datetime], first_id: int = 1) -> None:
    """Insert rows that were created, and last updated, then."""
    blank = KINDS[kind(entity)].blank
    account.insert_many(
        kind(entity),
        (
            {
                **blank,
                "id": row_id,
                "created_datetime": at,
                **({} if entity is SATISFACTION_SURVEYS else {"updated_datetime": at}),
            }
            for row_id, at in enumerate(moments, first_id)
        ),
    )


class Killed(Exception):
    """The death of a process."""


class MortalWarehouse(DuckDBWarehouse):
    """A DuckDB file whose process dies right after it has committed so many batches."""

    def __init__(self, database: Path, batch_rows: int, batches: int | None) -> None:
        super().__init__(str(database), {}, 20)
        self.batch_rows = batch_rows
        self.batches_left = batches

    def merge(self, *arguments: Any) -> Merged:
        merged = super().merge(*arguments)
        if self.batches_left is not None:
            self.batches_left -= 1
            if not self.batches_left:
                raise Killed
        return merged


@dataclass
class Desk:
    """An account, its API and a DuckDB file, and attempts at a window of one entity."""

    sandbox: Sandbox
    database: Path
    entity: Entity
    start: datetime = START
    end: datetime = END
    seek: bool = True
    full: bool = False
    look_back: int = 0
    batch_rows: int = 100
    patience: float = AT_ONCE
    sweeps: list[Sweep] = field(default_factory=list)

    @property
    def account(self) -> Account:
        return self.sandbox.account

    @property
    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(str(self.database), {}, 20)

    @property
    def table(self) -> Table:
        return Table("gorgias", self.entity.name)

    def sweep(self) -> Sweep:
        resource = GorgiasResource(
            uri=self.sandbox.uri,
            api_url=self.sandbox.api_url,
            patience_minutes=self.patience if self.sandbox.faults else 1,  # readers wait for each other
            seek=self.seek,
            look_back_days={self.entity.name: self.look_back},
        )
        return resource.sweep(self.entity, self.start, self.end, full=self.full)

    def attempt(self, batches: int | None = None) -> Sweep:
        """Load everything, or die after so many batches; raise what stops the sweep."""
        sweep = self.sweep()
        self.sweeps.append(sweep)
        with suppress(Killed):
            load(sweep, MortalWarehouse(self.database, self.batch_rows, batches), self.table, LOG)
        return sweep

    def interrupted(self, *faults: Fault, batches: int | None = None) -> Sweep | GorgiasError:
        """Attempt with these faults, or to the end of so many batches."""
        self.sandbox.faults[:] = faults
        try:
            return self.attempt(batches)
        except GorgiasError as error:
            return error
        finally:
            self.sandbox.faults.clear()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def rows(self) -> dict[int, dict[str, Any]]:
        """Return the table by id: the fields that a test changes, and those of touches."""
        if not self.database.exists():
            return {}
        names = ["id", *self.shown]
        rows = self.query(f"SELECT {', '.join(names)} FROM {self.table}")
        assert len(rows) == len({row[0] for row in rows}), "an id is in the table twice"
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}

    def live(self) -> dict[int, dict[str, Any]]:
        """Return the account's rows in the form of `rows`."""
        return {
            row["id"]: {
                name: parse_datetime(value) if name.endswith("_datetime") and value else value
                for name in ["id", *self.shown]
                for value in [row.get(name)]
            }
            for row in self.account.rows(kind(self.entity))
        }

    @property
    def shown(self) -> list[str]:
        return (
            [*self.entity.read.touch_fields, "meta"]
            if self.entity is SATISFACTION_SURVEYS
            else [*self.entity.read.touch_fields, "subject"]
        )

    def is_touched(self, row: dict[str, Any]) -> bool:
        return any(self.start <= row[name] < self.end for name in self.entity.read.touch_fields if row[name])

    def assert_converged(self) -> None:
        """Assert that each row touched in the window is in the table once, as it is in the account."""
        table, live = self.rows(), self.live()
        wanted = {row_id: row for row_id, row in live.items() if self.is_touched(row)}
        if self.entity is SATISFACTION_SURVEYS:  # no list has these by change: later rows are a later window's
            wanted = {
                i: row
                for i, row in wanted.items()
                if max(filter(None, (row[n] for n in self.entity.read.touch_fields))) < self.end
            }
        found = {row_id: table.get(row_id) for row_id in wanted}
        assert found == wanted, {i: (found[i], wanted[i]) for i in wanted if found[i] != wanted[i]}


@contextmanager
def desk_of(entity: Entity, now: datetime, latency: float = 0.0, **settings_of_desk: Any) -> Iterator[Desk]:
    with Sandbox(Account(now=now), latency=latency) as sandbox, tempfile.TemporaryDirectory() as folder:
        yield Desk(sandbox, Path(folder) / "warehouse.duckdb", entity, **settings_of_desk)


class Meddler:
    """Users who change an account while it is read, each time at the account's clock, which moves on."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.chance = desk, Random(seed)

    def act(self, changes: int) -> None:
        account, entity = self.desk.account, self.desk.entity
        with account.lock:
            for _ in range(changes):
                account.advance(timedelta(seconds=self.chance.choice([0, 0, 1, 600])))
                self.chance.choice([self._edit, self._edit, self._create, self._delete])(account, kind(entity))

    def _pick(self, account: Account, name: str) -> int | None:
        ids = [row["id"] for row in account.rows(name)]
        return self.chance.choice(ids) if ids else None

    def _edit(self, account: Account, name: str) -> None:
        row_id = self._pick(account, name)
        if row_id is None:
            return
        if name == "tickets":
            account.update(name, row_id, subject=f"edited {self.chance.random()}")
            return
        row = account.row(name, row_id)
        created = row and moment_of(row, "created_datetime")
        if created and account.now - created < timedelta(days=self.desk.look_back):
            account.update(name, row_id, scored_datetime=account.now, score=self.chance.randint(1, 5))

    def _create(self, account: Account, name: str) -> None:
        fields = {"updated_datetime": account.now} if name == "tickets" else {}
        account.create(name, **fields)

    def _delete(self, account: Account, name: str) -> None:
        row_id = self._pick(account, name)
        if row_id is not None:
            account.delete(name, row_id)


faults = st.builds(
    Fault,
    st.sampled_from([400, 401, 429, 500, "reset", "html", *sorted(EFFECTS.keys() - {"slow", "reset", "html"})]),
    skip=st.integers(0, 12),
    times=st.sampled_from([1, 1, 2, None]),
)
interruptions = st.one_of(
    st.tuples(st.lists(faults, min_size=1, max_size=3), st.none()), st.tuples(st.just([]), st.integers(1, 6))
)
meddling = st.integers(0, 25)
attempts = st.lists(st.tuples(interruptions, meddling), min_size=1, max_size=4)
properties = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def hold(desk: Desk, script: list[Any], seed: int, per_page: int) -> None:
    """Interrupt attempts by the script, change the account during and between them, finish, and compare."""
    meddler = Meddler(desk, seed)
    for (befalls, batches), changes in script:
        before = desk.rows().keys()
        desk.sandbox.after_page = lambda _: meddler.act(per_page)
        begun = len(desk.sandbox.requests)
        ended = desk.interrupted(*befalls, batches=batches)
        desk.sandbox.after_page = None
        assert len(desk.sandbox.requests) - begun < MOST_CALLS, "an attempt goes round in circles"
        if isinstance(ended, GorgiasError):
            assert re.fullmatch(r"GET /[^\n]+\.", str(ended)), "not one clear sentence"
        assert desk.rows().keys() >= before, "what was merged before is lost"
        meddler.act(changes)
    desk.attempt()
    desk.assert_converged()


@settings(properties, max_examples=6)
@given(
    script=attempts,
    seed=st.integers(0, 10**6),
    per_page=st.sampled_from([0, 0, 1, 5]),
    by=st.sampled_from(["change", "creation"]),
    ties=st.sampled_from([1, 1, 30, 170]),
    rows=st.integers(0, 700),
    seek=st.booleans(),
    full=st.booleans(),
    batch_rows=st.sampled_from([100, 130, 250]),
    hours_since=st.sampled_from([-12, -1, 1, 30]),
)
def test_a_window_converges_whatever_interrupts_its_sweep_and_changes_meanwhile(
    script, seed, per_page, by, ties, rows, seek, full, batch_rows, hours_since
):
    look_back = 2 if by == "creation" else 0
    with desk_of(
        ENTITIES_BY[by],
        END + timedelta(hours=hours_since),
        seek=seek,
        full=full,
        batch_rows=batch_rows,
        look_back=look_back,
    ) as desk:
        begin, stop = START - timedelta(days=4), min(END, desk.account.now)
        step = (stop - begin) / (rows // ties + 1)
        insert(desk.account, desk.entity, (begin + step * (number // ties) for number in range(rows)))
        hold(desk, script, seed, per_page)


@settings(properties, max_examples=3)
@given(
    script=attempts,
    seed=st.integers(0, 10**6),
    per_page=st.sampled_from([0, 0, 2]),
    by=st.sampled_from(["change", "creation"]),
    ties=st.sampled_from([1, 1, 40, 130]),
    rows=st.integers(0, 400),
    batch_rows=st.sampled_from([100, 250]),
)
def test_an_old_window_that_is_sought_converges_whatever_interrupts_its_sweep_and_changes_meanwhile(
    script, seed, per_page, by, ties, rows, batch_rows
):
    """By change it is sought in two orders: half of its rows were changed after it, half of those read in it before."""
    chance = Random(seed)
    with desk_of(ENTITIES_BY[by], END + timedelta(days=9), batch_rows=batch_rows, look_back=1) as desk:
        blank, first = KINDS[kind(desk.entity)].blank, START - timedelta(days=3)

        def moment(begin: datetime, end: datetime) -> datetime:
            return (
                begin + (end - begin) / 50 * chance.randrange(50)
                if ties > 1
                else begin + (end - begin) * chance.random()
            )

        def row(row_id: int, created: datetime) -> dict[str, Any]:
            later = moment(created, min(created + timedelta(days=1), desk.account.now))
            changed = {"scored_datetime": chance.choice([None, later])}
            if by == "change":
                changed = {"updated_datetime": chance.choice([created, later, moment(END, desk.account.now)])}
            return {**blank, "id": row_id, "created_datetime": created, **changed}

        old = [row(number, moment(first, END)) for number in range(1, 2 * rows)]
        new = [row(number, moment(END, desk.account.now)) for number in range(2 * rows + 1, 2 * rows + 2200)]
        desk.account.insert_many(kind(desk.entity), [*old, *new])
        hold(desk, script, seed, per_page)
        assert any(
            sweep.progress.seek in ("used", "rejected (paged instead)") or sweep.resumed_from for sweep in desk.sweeps
        )


@pytest.mark.soak
@settings(properties, max_examples=2)
@given(
    script=attempts,
    seed=st.integers(0, 10**6),
    by=st.sampled_from(["change", "creation"]),
    full=st.booleans(),
    ties=st.sampled_from([1, 1, 130]),
)
def test_a_window_that_readers_share_converges_whatever_interrupts_its_sweep_and_changes_meanwhile(
    script, seed, by, full, ties
):
    now, rows = END - timedelta(hours=2), 2_000
    with desk_of(ENTITIES_BY[by], now, latency=0.16, full=full, look_back=1, batch_rows=250) as desk:
        step = (now - START) / (rows // ties + 1)
        insert(desk.account, desk.entity, (START + step * (number // ties) for number in range(rows)))
        hold(desk, script, seed, per_page=1)


def tickets(account: Account, pages: int) -> None:
    """Insert so many pages of tickets in the window."""
    insert(account, TICKETS, (START + SECOND * number for number in range(pages * 100)))


def refused(project: Project, seek: bool = True) -> None:
    project.resources["gorgias"] = GorgiasResource(
        uri=project.sandbox.uri, api_url=project.sandbox.api_url, patience_minutes=AT_ONCE, seek=seek
    )


def log_of(project: Project, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.user_message for entry in project.log(result))


@pytest.mark.parametrize(
    ("seek", "faults_then", "seek_then", "calls"),
    [
        (True, [], "not needed", 3),  # two pages are left, and the head
        (False, [], "off", 3),
        (True, [Fault("expired_cursor")], "used", 6),  # a refused cursor, and two calls to seek
        (True, [Fault("expired_cursor", times=2)], "rejected (paged instead)", 8),  # the seek is refused, too
        (False, [Fault("expired_cursor")], "off", 7),
        (False, [Fault(400)], "off", 7),
    ],
    ids=["cursor", "cursor_no_seek", "expired", "expired_and_no_such_seek", "expired_no_seek", "refused_no_seek"],
)
def test_a_run_goes_on_where_the_interrupted_one_was_and_logs_from_where(
    project, account, sandbox, seek, faults_then, seek_then, calls
):
    tickets(account, 5)
    refused(project, seek)
    sandbox.faults.append(Fault(503, skip=3, times=None))
    assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    assert len(project.table(TICKETS)) == 300
    sandbox.faults[:] = faults_then
    sandbox.requests.clear()
    account.update("tickets", 450, subject="changed meanwhile")
    account.advance(timedelta(hours=1))
    result = project.materialize(DAY, select=["tickets"])
    assert project.table(TICKETS) == project.live_rows(TICKETS)
    metadata = project.metadata(result, TICKETS)
    resumed_at = datetime.fromtimestamp(metadata["began_at"], UTC)
    assert account.now - resumed_at < timedelta(minutes=30), "what has happened since is read again"
    reached = START + SECOND * 200
    assert metadata["resumed_from"] == reached.isoformat()
    assert f"it had read back to {reached:%Y-%m-%d %H:%M:%S} UTC, and this one resumes there" in log_of(project, result)
    assert (metadata["seek"], metadata["api_calls"], len(sandbox.requests)) == (seek_then, calls, calls)
    assert "resumed_from" not in project.metadata(project.materialize(DAY, select=["tickets"]), TICKETS)


@on_each_warehouse_in_time
def test_a_run_that_failed_after_everything_was_read_reads_only_the_head_the_next_time(project, account, sandbox):
    tickets(account, 3)
    project.materialize(DAY, select=["tickets"])
    account.delete("tickets", 150)  # leaves a row to look for
    refused(project)
    project.engine.execute("CREATE VIEW gorgias._gone_candidates_tickets AS SELECT 1 AS id")  # instead of a table
    assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    project.engine.execute("DROP VIEW gorgias._gone_candidates_tickets")
    sandbox.faults.clear()
    sandbox.requests.clear()
    account.update("tickets", 7, subject="changed meanwhile")
    result = project.materialize(DAY, select=["tickets"])
    assert sum(request.path == "/api/tickets" for request in sandbox.requests) == 1
    assert project.query("SELECT id FROM gorgias.tickets WHERE _deleted_at IS NOT NULL") == [(150,)]
    assert project.query("SELECT subject FROM gorgias.tickets WHERE id = 7") == [("changed meanwhile",)]
    assert "resumed_from" in project.metadata(result, TICKETS)


def test_a_run_that_was_interrupted_again_and_again_reads_each_page_once_and_the_head_each_time(
    project, account, sandbox
):
    tickets(account, 9)
    refused(project)
    for _ in range(4):
        sandbox.faults[:] = [Fault(503, skip=2, times=None)]
        assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    assert len(project.table(TICKETS)) == 800
    sandbox.faults.clear()
    result = project.materialize(DAY, select=["tickets"])
    assert project.table(TICKETS) == project.live_rows(TICKETS)
    assert project.metadata(result, TICKETS)["api_calls"] == 2
    pages = [request.params.get("cursor") for request in sandbox.requests if request.status == 200]
    assert len(pages) == 9 + 1
    assert len(set(pages)) == 9  # of which the newest page came twice


def test_an_interruption_of_the_head_loses_nothing_of_it():
    with desk_of(TICKETS, END - timedelta(hours=1)) as desk:
        tickets(desk.account, 4)
        desk.interrupted(batches=2)
        for _ in range(3):
            insert(
                desk.account,
                TICKETS,
                (desk.account.now + MICROSECOND * i for i in range(350)),
                desk.account.count("tickets") + 1,
            )
            desk.account.advance(timedelta(minutes=1))
            assert isinstance(desk.interrupted(Fault(500, skip=3, times=None)), Unavailable)
        desk.attempt()
        assert len(desk.rows()) == 4 * 100 + 3 * 350
        desk.assert_converged()


def test_a_sweep_whose_every_cursor_is_refused_ends_with_one_clear_sentence():
    for seek in (True, False):
        with desk_of(TICKETS, END, seek=seek) as desk:
            tickets(desk.account, 5)
            for _ in range(3):
                begun = len(desk.sandbox.requests)
                ended = desk.interrupted(Fault("expired_cursor", times=None))
                assert isinstance(ended, CursorRefused)
                assert str(ended).count(". ") == 1
                assert "Rows read so far are saved; re-run later." in str(ended)
                assert len(desk.sandbox.requests) - begun <= 6
                assert len(desk.rows()) == 100
            desk.attempt()
            desk.assert_converged()


def test_a_sweep_whose_every_given_cursor_is_refused_seeks_each_page():
    """A page, and then for each further one a refusal, the seek, and the look at the page before."""
    with desk_of(TICKETS, END) as desk:
        tickets(desk.account, 6)
        served: list[Request] = []

        def refuse_what_follows(request: Request) -> None:
            served.append(request)
            if len(served) % 2:
                desk.sandbox.faults.append(Fault("expired_cursor"))

        desk.sandbox.after_page = refuse_what_follows
        desk.attempt()
        desk.assert_converged()
        assert len(desk.sandbox.requests) == 1 + 6 * 3


@pytest.mark.parametrize("entity", [TICKETS, SATISFACTION_SURVEYS])
def test_rows_of_one_moment_across_the_position_are_all_read_when_the_cursor_is_refused(entity):
    """90 ties from one page to the next: a cursor knows which of them were read, a moment does not."""
    for seek in (True, False):
        with desk_of(entity, END, seek=seek) as desk:
            insert(
                desk.account,
                entity,
                (START + SECOND * (200 if 150 <= number < 240 else number) for number in range(400)),
            )
            desk.interrupted(batches=2)
            desk.interrupted(Fault("expired_cursor"), batches=1)
            desk.attempt()
            assert len(desk.rows()) == 400
            desk.assert_converged()


def test_more_rows_of_one_moment_than_a_page_are_read_through_a_cursor_or_refused_and_never_skipped():
    for seek in (True, False):
        with desk_of(TICKETS, END, seek=seek) as desk:
            insert(
                desk.account,
                TICKETS,
                (START + SECOND * (50 if 50 <= number < 550 else number) for number in range(600)),
            )
            desk.interrupted(batches=3)
            ended = desk.interrupted(Fault("expired_cursor"), Fault("expired_cursor", skip=2, times=None))
            assert isinstance(ended, CursorRefused)
            desk.attempt()
            assert len(desk.rows()) == 600


@pytest.mark.parametrize("entity", [TICKETS, SATISFACTION_SURVEYS])
@pytest.mark.parametrize("fault", [[], [Fault("expired_cursor")], [Fault("expired_cursor", times=2)]], ids=len)
def test_a_sweep_goes_on_where_the_rows_of_its_position_were_deleted_or_edited(entity, fault):
    with desk_of(entity, END, look_back=1) as desk:
        insert(desk.account, entity, (START + SECOND * number for number in range(500)))
        desk.interrupted(batches=2)
        for row_id in range(280, 301):
            desk.account.delete(kind(entity), row_id)
        for row_id in [*range(301, 311), *range(270, 280)]:
            desk.account.update(kind(entity), row_id, **({"subject": "edited"} if entity is TICKETS else {"score": 1}))
        desk.interrupted(*fault, batches=1)
        desk.attempt()
        assert desk.rows().keys() == desk.live().keys()
        desk.assert_converged()


@pytest.mark.parametrize("entity", [TICKETS, SATISFACTION_SURVEYS])
def test_what_comes_after_a_sweep_that_found_no_row_and_was_killed_is_not_missed(entity):
    with desk_of(entity, START + timedelta(hours=1)) as desk:
        desk.attempt(batches=1)  # everything is read, and the position not forgotten yet
        insert(desk.account, entity, (desk.account.now + SECOND * number for number in range(150)))
        desk.attempt()
        assert len(desk.rows()) == 150


@pytest.mark.parametrize("entity", [TICKETS, SATISFACTION_SURVEYS])
def test_what_comes_after_a_sweep_whose_first_page_was_empty_is_not_missed(entity):
    with desk_of(entity, START + timedelta(hours=1)) as desk:
        insert(desk.account, entity, (START + SECOND * number for number in range(400)))
        desk.interrupted(Fault("empty_page"), batches=2)
        insert(desk.account, entity, (desk.account.now + SECOND * number for number in range(150)), first_id=1_000)
        desk.attempt()
        assert len(desk.rows()) == 550


@pytest.mark.parametrize("entity", [TICKETS, SATISFACTION_SURVEYS])
def test_a_row_with_a_moment_to_come_hides_nothing_that_changes_meanwhile(entity):
    """Gorgias's clock and this machine's show the same here, as they should."""
    now = datetime.now(UTC)
    with desk_of(entity, now, start=now - timedelta(hours=1), end=now + timedelta(hours=1)) as desk:
        insert(desk.account, entity, (now - SECOND * number for number in range(400)))
        insert(desk.account, entity, iter([datetime(2100, 1, 1, tzinfo=UTC)]), first_id=401)
        desk.interrupted(batches=2)
        later = datetime.now(UTC)
        insert(desk.account, entity, (later + MICROSECOND * number for number in range(250)), first_id=1_000)
        desk.attempt()
        assert desk.rows().keys() >= {*range(1, 401), *range(1_000, 1_250)}


@pytest.mark.soak
def test_readers_that_share_a_slow_list_leave_several_spans_to_another_attempt_with_a_seek_and_without():
    with desk_of(TICKETS, END, latency=0.16, batch_rows=400) as desk:
        tickets(desk.account, 50)
        desk.interrupted(batches=3)
        ((position,),) = desk.query("SELECT position FROM gorgias._sweep_positions_tickets")
        assert len(json.loads(position)["spans"]) > 1
        desk.sandbox.latency = 0
        merged = len(desk.rows())
        copy = desk.database.with_name("copy.duckdb")
        copy.write_bytes(desk.database.read_bytes())
        begun = len(desk.sandbox.requests)
        desk.attempt()
        assert len(desk.rows()) == 5_000
        left = ceil((5_000 - merged) / 100)
        spans = len(json.loads(position)["spans"])
        assert len(desk.sandbox.requests) - begun <= left + 3 * spans + 1  # and the head
        desk.database, desk.seek = copy, False
        desk.attempt()
        assert len(desk.rows()) == 5_000


def test_a_quiet_account_is_not_read_again_when_its_window_had_ended_before(project, account, sandbox):
    """The newest survey is older than the window's end; the clock of the first answer shows that it is over."""
    insert(account, SATISFACTION_SURVEYS, (START + SECOND * number for number in range(6_000)))
    refused(project)
    sandbox.faults.append(Fault(503, skip=50, times=None))
    day = START.date().isoformat()
    assert not project.materialize(day, select=["satisfaction_surveys"], raise_on_error=False).success
    sandbox.faults.clear()
    sandbox.requests.clear()
    project.materialize(day, select=["satisfaction_surveys"])
    assert len(sandbox.requests) <= 10 + 2
    assert len(project.table(SATISFACTION_SURVEYS)) == 6_000


def test_a_batch_that_ends_within_a_page_is_followed_by_the_rest_of_that_page():
    for batch_rows in (30, 130):
        with desk_of(TICKETS, END, batch_rows=batch_rows) as desk:
            tickets(desk.account, 4)
            for batches in (1, 2, 4, 1):
                desk.interrupted(batches=batches)
                for (position,) in desk.query("SELECT position FROM gorgias._sweep_positions_tickets"):
                    assert len(desk.rows()) >= 400 - unread(position)
            desk.attempt()
            assert len(desk.rows()) == 400


def unread(position: str) -> int:
    """Return how many rows, a second apart from START on, are older than the position, at least."""
    (reached,) = [span["reached"] for span in json.loads(position)["spans"] if not span["is_again"]] or [
        START.isoformat()
    ]
    return 400 if reached is None else (parse_datetime(reached) - START) // SECOND


def test_a_look_back_that_was_made_longer_between_the_attempts_is_followed():
    with desk_of(SATISFACTION_SURVEYS, END, look_back=0) as desk:
        insert(
            desk.account, desk.entity, (START - timedelta(days=3) + timedelta(hours=12) * n / 100 for n in range(800))
        )
        for row in desk.account.rows("satisfaction_surveys"):
            desk.account.update("satisfaction_surveys", row["id"], scored_datetime=START + SECOND)
        desk.interrupted(batches=1)
        desk.look_back = 3
        desk.attempt()
        assert len(desk.rows()) == 800


def without(kept: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in kept.items() if other != name}


UNREADABLE: dict[str, Callable[[dict[str, Any]], str]] = {
    "no_text": lambda _: "",
    "no_json": lambda kept: json.dumps(kept)[:-9],
    "another_json": lambda _: "[1, 2]",
    "null": lambda _: "null",
    "older_version": lambda kept: json.dumps(kept | {"version": 0}),
    "newer_version": lambda kept: json.dumps(kept | {"version": 2}),
    "no_version": lambda kept: json.dumps(without(kept, "version")),
    "no_spans": lambda kept: json.dumps(without(kept, "spans")),
    "spans_of_another_kind": lambda kept: json.dumps(kept | {"spans": ["a"]}),
    "a_field_more": lambda kept: json.dumps(kept | {"depth": 3}),
    "numbers_for_moments": lambda kept: json.dumps(kept | {"first_answer_at": 7}),
}
BROKEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "unreadable": UNREADABLE["no_json"],
    "no_beginning": lambda kept: json.dumps(kept | {"started_at": None}),
    "no_first_answer": lambda kept: json.dumps(kept | {"first_answer_at": None}),
    "moments_without_offset": lambda kept: json.dumps(kept).replace("+00:00", ""),
    "a_cursor_of_another_list": lambda kept: json.dumps(
        kept | {"spans": [span | {"cursor": "bm9uc2Vuc2U="} for span in kept["spans"]]}
    ),
}


@pytest.mark.parametrize("broken", UNREADABLE)
def test_a_text_that_is_no_position_of_this_version_is_not_gone_on_from(broken):
    kept = json.loads(Position([Span("created_datetime", None, START, "cursor", END)], START, END).dump())
    assert Position.load(json.dumps(kept)) is not None
    assert Position.load(UNREADABLE[broken](kept)) is None


@pytest.mark.parametrize("broken", BROKEN)
def test_a_position_that_cannot_be_read_costs_calls_and_no_row(project, account, sandbox, broken):
    tickets(account, 4)
    refused(project)
    sandbox.faults.append(Fault(503, skip=2, times=None))
    assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    sandbox.faults.clear()
    ((kept,),) = project.query("SELECT position FROM gorgias._sweep_positions_tickets")
    with duckdb.connect(str(project.database)) as connection:
        connection.execute(
            "UPDATE gorgias._sweep_positions_tickets SET position = ?", [BROKEN[broken](json.loads(kept))]
        )
    project.materialize(DAY, select=["tickets"])
    assert project.table(TICKETS) == project.live_rows(TICKETS)
    assert project.query("SELECT * FROM gorgias._sweep_positions_tickets") == []


@pytest.mark.parametrize(("hours", "calls"), [(23, 3), (25, 4)])
def test_a_position_is_good_for_a_day(project, account, sandbox, hours, calls):
    tickets(account, 4)
    refused(project)
    sandbox.faults.append(Fault(503, skip=2, times=None))
    assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    sandbox.faults.clear()
    sandbox.requests.clear()
    with duckdb.connect(str(project.database)) as connection:
        connection.execute(f"UPDATE gorgias._sweep_positions_tickets SET saved_at = saved_at - INTERVAL {hours} HOURS")
    project.materialize(DAY, select=["tickets"])
    assert len(sandbox.requests) == calls
    assert project.table(TICKETS) == project.live_rows(TICKETS)
    assert project.query("SELECT * FROM gorgias._sweep_positions_tickets") == []


def test_another_window_entity_or_kind_of_sweep_begins_at_its_own_beginning(project, account, sandbox):
    tickets(account, 4)
    refused(project)
    sandbox.faults.append(Fault(503, skip=2, times=None))
    assert not project.materialize(DAY, select=["tickets"], raise_on_error=False).success
    sandbox.faults.clear()
    for first, last, name in (
        ("2025-03-09", None, "tickets"),
        (DAY, "2025-03-11", "tickets"),
        (DAY, None, "customers"),
    ):
        result = project.materialize(first, last, select=[name])
        assert "this one resumes there" not in log_of(project, result)
    assert len(project.query("SELECT * FROM gorgias._sweep_positions_tickets")) == 1


@pytest.mark.parametrize("order", ["abab", pytest.param("abba", marks=pytest.mark.soak)])
def test_two_attempts_side_by_side_end_in_the_account_s_rows(order):
    """They commit in turns; then both are killed, and a third goes on from the position that was saved last."""
    with desk_of(TICKETS, END - timedelta(hours=1)) as desk:
        tickets(desk.account, 8)
        warehouse, both = desk.warehouse, {name: desk.sweep() for name in "ab"}
        batches = {name: sweep.batches(100) for name, sweep in both.items()}
        for name in order:
            for batch in islice(batches[name], 2):
                saved = Saved(both[name].key, batch.position)
                warehouse.merge(desk.table, TICKETS.columns, batch.rows, saved)
            Meddler(desk, seed=1).act(30)
        for reading in batches.values():
            reading.close()
        desk.attempt()
        desk.assert_converged()


def test_of_a_row_that_two_readers_have_read_the_state_that_was_read_last_is_kept():
    earlier, later = START, START + SECOND
    rows = {"id": [1, 2, 1, 2], "state": ["new", "old", "old", "new"]}
    read_at = {"_extracted_at": [later, earlier, earlier, later], "_is_touched": [True] * 4}
    kept = newest_by_id(pa.table(rows | read_at)).to_pydict()
    assert kept["state"] == ["new", "new"]


def test_a_row_whose_newest_state_was_read_on_the_way_still_counts_as_touched():
    states = {"id": [1, 1], "state": ["old", "new"], "_extracted_at": [START, START + SECOND]}
    (kept,) = newest_by_id(pa.table(states | {"_is_touched": [True, False]})).to_pylist()
    assert (kept["state"], kept["_is_touched"]) == ("new", True)


def test_a_sought_window_s_rows_that_were_changed_or_imported_between_the_attempts_are_as_they_are_now():
    with desk_of(TICKETS, END + timedelta(days=30)) as desk:
        insert(desk.account, TICKETS, (START + SECOND * number for number in range(600)))
        insert(desk.account, TICKETS, (END + timedelta(minutes=1) * number for number in range(3_000)), first_id=1_000)
        sweep = desk.interrupted(batches=4)
        assert isinstance(sweep, Sweep)
        assert sweep.progress.seek == "used"
        assert len(desk.rows()) >= 200
        for row_id in (1, 300, 600):
            desk.account.update("tickets", row_id, subject="changed meanwhile")
        desk.account.create("tickets", created_datetime=START)
        desk.attempt()
        desk.assert_converged()
        assert len(desk.rows()) == 601


FAULTS = [400, 401, 429, 503, *sorted(EFFECTS.keys() - {"slow", "no_location", "headers", "odd"})]


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize(
    "requests",
    [
        [(0, None), (2, 1)],
        pytest.param([(1, None), (3, None), (1, 0), (1, 1), (1, 2), (1, 3), (3, 0), (3, 1)], marks=pytest.mark.soak),
    ],
    ids=["some", "all"],
)
def test_a_fault_at_any_request_ends_in_the_same_table_or_in_one_clear_sentence_with_everything_before_it_kept(
    what, requests
):
    """The sweep begins at the newest row, or goes on after so many requests and reads the head."""
    with desk_of(TICKETS, END, batch_rows=250) as desk:
        tickets(desk.account, 4)
        for first, second in requests:
            desk.database = desk.database.with_name(f"{first}_{second}.duckdb")
            if second is not None:
                desk.interrupted(Fault(503, skip=first, times=None))
            skip = first if second is None else second
            merged = desk.rows().keys()
            read = 100 * (skip if second is None else min(first + second, 4))
            ended = desk.interrupted(Fault(what, skip=skip, times=None))
            assert len(desk.rows()) >= read, (first, second)
            assert desk.rows().keys() >= merged
            if isinstance(ended, GorgiasError):
                assert re.fullmatch(r"GET /tickets[^\n]+\.", str(ended)), str(ended)
                assert isinstance(ended, Rejected if what in (400, 401, "expired_cursor") else Unavailable | Untrusted)
            else:
                assert what in ("empty_page", "expired_cursor", "stuck_cursor", 400)
                assert len(desk.rows()) == 400, (first, second)
            desk.attempt()
            assert len(desk.rows()) == 400, (first, second)
            desk.assert_converged()


@pytest.mark.soak
@pytest.mark.parametrize("seek", [True, False])
def test_faults_that_pass_alone_and_in_pairs_at_every_request_end_in_the_same_table(seek):
    passing = [429, 500, 502, 503, 504, *sorted(EFFECTS.keys() - {"stuck_cursor", "wrong_order"})]
    cases = [[Fault(what, skip=skip, seconds=0.1)] for what in passing for skip in range(5)]
    cases += [[*one, *another] for one in cases[::3] for another in cases[1::7]]

    def end(case: list[Fault]) -> None:
        with desk_of(TICKETS, END, seek=seek, batch_rows=250, patience=1) as desk:
            tickets(desk.account, 4)
            ended = desk.interrupted(*case)
            if isinstance(ended, GorgiasError):  # two refusals of one cursor's page
                assert isinstance(ended, CursorRefused), case
                desk.attempt()
            desk.assert_converged()
            assert len(desk.rows()) == 400, case

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(end, cases))


def test_an_empty_page_at_the_beginning_of_an_attempt_does_not_put_the_position_back():
    with desk_of(TICKETS, END) as desk:
        tickets(desk.account, 6)
        desk.interrupted(batches=3)
        desk.interrupted(Fault("empty_page"), Fault(503, times=None))
        begun = len(desk.sandbox.requests)
        assert isinstance(desk.attempt().resumed_from, datetime)
        assert len(desk.sandbox.requests) - begun == 3 + 1  # the pages that were left, and the head
        desk.assert_converged()


def test_the_head_of_a_list_by_creation_ends_where_what_was_left_begins():
    with desk_of(SATISFACTION_SURVEYS, END, look_back=2) as desk:
        insert(desk.account, desk.entity, (END - SECOND * number for number in range(1, 801)))
        desk.interrupted(batches=3)
        begun = len(desk.sandbox.requests)
        desk.attempt()
        assert len(desk.sandbox.requests) - begun == 5 + 4  # 300 rows again, and the page that shows that they end
        desk.assert_converged()


def test_a_cursor_that_leads_to_nothing_is_no_end_while_the_oldest_row_is_in_doubt():
    """The look at the oldest row gets an empty page that has a next cursor."""
    with desk_of(TICKETS, END + timedelta(days=1)) as desk:
        insert(desk.account, TICKETS, (END + SECOND * number for number in range(1, 151)))
        with closing(desk.sweep().connect()) as client:

            def request(order_by: str, cursor: str | None) -> Page:
                return client.page("/tickets", order_by=order_by, cursor=cursor)

            sought = seeks.seek(request, "updated_datetime", END)
            assert sought is not None
            assert sought.page.rows == []
            desk.sandbox.faults[:] = [Fault("empty_page", skip=1)]
            assert seeks.seek(request, "updated_datetime", END) is None
