"""The backlog: each day's end as the simulated account knows it, event by event."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from operator import itemgetter
from shutil import copyfile
from statistics import median
from typing import Any

import dagster as dg
import numpy as np
import pytest

from gorgias_assets.account import Account
from gorgias_assets.entities import EVENTS, TICKET_MESSAGES, TICKETS
from gorgias_assets.metrics.declared import TICKET_BACKLOG
from gorgias_assets.metrics.ticket_backlog import COLUMNS, backlog_rows
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.rows import Row
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.summaries import build_summaries
from gorgias_assets.sweeps.rows import parse_datetime
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import DuckDBFile, Engine

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OPENED, NOW = datetime(2025, 3, 4, tzinfo=UTC), datetime(2025, 3, 14, 0, 10, tzinfo=UTC)
ENTITIES = (TICKETS, TICKET_MESSAGES, EVENTS)
TABLES = {entity.name: Table("gorgias", entity.name) for entity in ENTITIES}
Key = tuple[date, str, str]
NAMES = [column.name for column in COLUMNS]
MEASURES = [name for name in NAMES if name not in ("day", "dimension", "slice", "label")]


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, minute, tzinfo=UTC)


def day(number: int) -> Window:
    return Window(at(number), at(number + 1))


DAYS = [day(number) for number in range(4, 14)]
ALL_READ = [Window(OPENED, at(14))]


def moment(row: Row, name: str = "created_datetime") -> datetime | None:
    return parse_datetime(row[name]) if row[name] else None


@dataclass
class State:
    """A ticket at the end of a day, and how often it was created, closed and reopened on the day."""

    is_open: bool = True
    agent: int | None = None
    team: int | None = None
    tags: set[int] = field(default_factory=set)
    created: int = 0
    closed: int = 0
    reopened: int = 0

    def happens(self, event: Row, is_on_day: bool) -> None:
        kind, data = event["type"].removeprefix("ticket-"), event["data"] or {}
        if kind in ("closed", "reopened"):
            self.is_open = kind == "reopened"
            setattr(self, kind, getattr(self, kind) + is_on_day)
        elif kind in ("assigned", "unassigned"):
            self.agent = data.get("assignee_user_id")
        elif kind in ("team-assigned", "team-unassigned"):
            self.team = data.get("assignee_team_id")
        elif kind == "tags-added":
            self.tags.update(data["tags_added"])
        elif kind == "tags-removed":
            self.tags.difference_update(data["tags_removed"])


class Truth:
    """The account's own history, and what a warehouse can know of it that has read events of some windows."""

    def __init__(self, account: SandboxAccount, readings: Sequence[Window]) -> None:
        self.readings = readings
        self.tickets = [row for row in account.rows("tickets") if not row["spam"] and not row["trashed_datetime"]]
        self.events, self.messages = defaultdict[int, list[Row]](list), defaultdict[int, list[Row]](list)
        for event in sorted(
            account.rows("events"), key=lambda row: (parse_datetime(row["created_datetime"]), row["id"])
        ):
            if event["object_type"] == "Ticket":
                self.events[event["object_id"]].append(event)
        for message in account.rows("messages"):
            is_lost = message["from_agent"] and message["failed_datetime"] and not message["sent_datetime"]
            if message["public"] and not is_lost:
                self.messages[message["ticket_id"]].append(message)

    def rows(self, days: Collection[Window]) -> dict[Key, tuple[Any, ...]]:
        found: dict[Key, tuple[Any, ...]] = {}
        for of in days:
            slices: dict[tuple[str, str], list[tuple[Any, ...]]] = {("all", "all"): []}
            for ticket in self.tickets:
                for place, entry in self._on(ticket, of):
                    slices.setdefault(place, []).append(entry)
            found |= {(of.start.date(), *place): _measured(entries) for place, entries in slices.items()}
        return found

    def _on(self, ticket: Row, of: Window) -> Iterator[tuple[tuple[str, str], tuple[Any, ...]]]:
        created, is_exact = parse_datetime(ticket["created_datetime"]), self._is_exact(ticket, of)
        if created >= of.end:
            return
        state = self._replayed(ticket, of) if is_exact else _derived(ticket, of)
        if not (state.is_open or state.created or state.closed or state.reopened):
            return
        letters = [row for row in self.messages[ticket["id"]] if parse_datetime(row["created_datetime"]) < of.end]
        last = max(letters, key=lambda row: (parse_datetime(row["created_datetime"]), row["id"]), default=None)
        age = (of.end - created).total_seconds() if state.is_open else None
        waits = last["from_agent"] if last and state.is_open else None
        entry = (state.created, state.closed, state.reopened, age, waits, is_exact)
        yield ("all", "all"), entry
        yield ("channel", ticket["channel"]), entry
        yield from ((("agent", str(one)), entry) for one in [state.agent] if one)
        yield from ((("team", str(one)), entry) for one in [state.team] if one)
        yield from ((("tag", str(one)), entry) for one in state.tags)

    def _is_exact(self, ticket: Row, of: Window) -> bool:
        """Return if the warehouse has every event of the ticket from its creation to the day's end."""
        created, updated = parse_datetime(ticket["created_datetime"]), parse_datetime(ticket["updated_datetime"])
        began = [moment(event) for event in self.events[ticket["id"]] if event["type"] == "ticket-created"]
        reading = self._reading(of)
        if not reading or not began or began[0] - created > HOUR or created < reading.start:
            return False
        return reading.end >= of.end or updated < reading.end

    def _reading(self, of: Window) -> Window | None:
        return next((read for read in reversed(self.readings) if read.start < of.end), None)

    def _replayed(self, ticket: Row, of: Window) -> State:
        state = State(created=parse_datetime(ticket["created_datetime"]) in of)
        reading = self._reading(of)
        if reading and parse_datetime(ticket["updated_datetime"]) < reading.end:
            state.tags.update(self._untold_tags(ticket))
        for event in self.events[ticket["id"]]:
            if parse_datetime(event["created_datetime"]) < of.end:
                state.happens(event, parse_datetime(event["created_datetime"]) in of)
        return state

    def _untold_tags(self, ticket: Row) -> set[int]:
        """Return tags that no event tells of, since another tag was merged into them."""
        data = [event["data"] for event in self.events[ticket["id"]] if event["type"].startswith("ticket-tags-")]
        told = {tag for changed in data for tags in changed.values() for tag in tags}
        return {tag["id"] for tag in ticket["tags"] if tag["id"] not in told}


def _derived(ticket: Row, of: Window) -> State:
    closed = moment(ticket, "closed_datetime") if ticket["status"] == "closed" else None
    return State(
        not closed or closed >= of.end,
        (ticket["assignee_user"] or {}).get("id"),
        (ticket["assignee_team"] or {}).get("id"),
        {tag["id"] for tag in ticket["tags"]},
        parse_datetime(ticket["created_datetime"]) in of,
        closed is not None and closed in of,
    )


def _measured(entries: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    created, closed, reopened, ages, waits, exact = zip(*entries, strict=True) if entries else [()] * 6
    ages = [age for age in ages if age is not None]
    middle, most = (median(ages), float(np.quantile(ages, 0.9))) if ages else (None, None)
    waiting = (waits.count(False), waits.count(True))
    return sum(created), sum(closed), sum(reopened), len(ages), middle, most, *waiting, exact.count(False)


def by_slice(rows: Collection[Row]) -> dict[Key, tuple[Any, ...]]:
    found = {
        (row["day"], row["dimension"], row["slice"]): tuple(
            pytest.approx(row[name]) if name.startswith("age_") and row[name] is not None else row[name]
            for name in MEASURES
        )
        for row in rows
    }
    assert len(found) == len(rows), "a slice is there twice"
    return found


def computed(engine: Engine, days: Sequence[Window], *without: str) -> dict[Key, tuple[Any, ...]]:
    tables = {name: table for name, table in TABLES.items() if name not in without}
    return by_slice(backlog_rows(engine.warehouse(), tables, days).to_pylist())


@pytest.fixture(scope="module")
def lived() -> SandboxAccount:
    account = SandboxAccount(now=OPENED)
    Brand(account, seed=3, tickets_per_day=6).live(NOW)
    return account


@pytest.fixture(scope="module")
def read(lived: SandboxAccount, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Yield a project that has read all days of a brand."""
    with Sandbox(lived) as sandbox:
        project = Project(sandbox, tmp_path_factory.mktemp("backlog") / "warehouse.duckdb", ENTITIES)
        project.materialize("2025-03-04", "2025-03-13")
        yield project


def test_each_day_s_end_is_as_the_account_knows_it(read, lived):
    wanted = Truth(lived, ALL_READ).rows(DAYS)
    assert {dimension for _, dimension, _ in wanted} == {"all", "channel", "agent", "team", "tag"}
    assert computed(read.engine, DAYS) == wanted


def test_without_events_each_ticket_is_derived_from_its_newest_state(read, lived):
    wanted = Truth(lived, []).rows(DAYS)
    assert computed(read.engine, DAYS, "events") == wanted
    assert all(row[MEASURES.index("derived_tickets")] for key, row in wanted.items() if key[1:] == ("all", "all"))


def test_a_ticket_is_exact_on_a_day_up_to_which_all_of_its_events_are_stored(read, lived, tmp_path):
    readings = [Window(at(6), at(8)), Window(at(10), at(13))]
    engine = DuckDBFile(tmp_path / "warehouse.duckdb")
    copyfile(read.database, engine.file)
    warehouse = engine.warehouse()
    engine.execute(f"DELETE FROM gorgias.events WHERE NOT ({warehouse.dialect.within('created_datetime', readings)})")
    warehouse.save_readings(TABLES["events"], readings)
    wanted = Truth(lived, readings).rows(DAYS)
    assert computed(engine, DAYS) == wanted
    derived = {row[MEASURES.index("derived_tickets")] for row in wanted.values()}
    assert {0} < derived, "some rows are exact, and some are not"


def test_labels_are_the_names_that_tickets_show(read, lived):
    rows = backlog_rows(read.engine.warehouse(), TABLES, DAYS).to_pylist()
    labels = {(row["dimension"], row["slice"]): row["label"] for row in rows}
    names = {("agent", str(row["id"])): row["name"] for row in lived.rows("users")}
    names |= {("team", str(row["id"])): row["name"] for row in lived.rows("teams")}
    assert {place: label for place, label in labels.items() if place in names} == {
        place: names[place] for place in labels if place in names
    }
    assert {place[0] for place in labels if place in names} == {"agent", "team"}
    assert labels["channel", "email"] == "email"
    assert {label for (dimension, _), label in labels.items() if dimension == "tag"} & {"shipping", "ai_answered"}


def backlog(project: Project, first: str, last: str) -> dg.ExecuteInProcessResult:
    """Materialize the backlog alone."""
    (asset,) = build_summaries(Account(ENTITIES, start_date=FIRST_DAY, metrics=[TICKET_BACKLOG]))
    return dg.materialize(
        [*project.assets, asset],
        selection=[asset],
        instance=project.instance,
        resources=project.resources,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def test_days_that_are_repeated_and_out_of_order_are_the_same_as_in_one_run(read, lived):
    for first, last in (("2025-03-11", "2025-03-13"), ("2025-03-04", "2025-03-12"), ("2025-03-05", "2025-03-05")):
        result = backlog(read, first, last)
    (made,) = result.asset_materializations_for_node("gorgias__ticket_backlog")
    assert made.metadata["dagster/partition_row_count"].value > 10
    assert 0 <= lived.now.timestamp() - made.metadata["began_at"].value < 60
    stored = read.query(f"SELECT {', '.join(NAMES)} FROM gorgias.ticket_backlog")
    assert by_slice([dict(zip(NAMES, row, strict=True)) for row in stored]) == Truth(lived, ALL_READ).rows(DAYS)


class Desk:
    """An account in which each situation has a channel of its own. What is planned happens in the order of time."""

    def __init__(self) -> None:
        self.account = SandboxAccount(now=at(4))
        self._planned: list[tuple[datetime, Callable[[], object]]] = []
        self._ids = count(1_000)

    def live(self, until: datetime) -> None:
        for when, happens in sorted(self._planned, key=itemgetter(0)):
            self.account.now = when
            happens()
        self.account.now = until

    def ticket(self, channel: str, when: datetime, **fields: Any) -> int:
        number = next(self._ids)
        self._plan(when, self.account.create, "tickets", id=number, channel=channel, **fields)
        return number

    def change(self, ticket: int, when: datetime, **fields: Any) -> None:
        self._plan(when, self.account.update, "tickets", ticket, **fields)

    def close_unnoticed(self, ticket: int, when: datetime) -> None:
        def happens() -> None:
            with self.account.unnoticed():
                self.account.update("tickets", ticket, status="closed")

        self._plan(when, happens)

    def write(self, ticket: int, when: datetime, **fields: Any) -> None:
        self._plan(when, self.account.create, "messages", ticket_id=ticket, **fields)

    def _plan(self, when: datetime, happens: Callable[..., object], *about: Any, **fields: Any) -> None:
        self._planned.append((when, partial(happens, *about, **fields)))


def closed_at_midnight(desk: Desk) -> None:
    desk.change(desk.ticket("midnight", at(4, 12)), at(5), status="closed")


def closed_without_an_event(desk: Desk) -> None:
    ticket = desk.ticket("untold", at(4, 12))
    desk.change(ticket, at(5, 9), status="closed")
    desk.change(ticket, at(6, 9), status="open")
    desk.close_unnoticed(ticket, at(6, 10))


def spam_trash_and_gone(desk: Desk) -> None:
    for fields in ({"spam": True}, {"trashed_datetime": at(5)}, {"external_id": "gone"}, {}):
        desk.ticket("spam", at(4, 12), **fields)


def imported(desk: Desk) -> None:
    desk.ticket("import", at(6, 12), created_datetime=at(4, 9), closed_datetime=at(5, 9), status="closed")


def told_of_after_midnight(desk: Desk) -> None:
    desk.ticket("late", at(5, 0, 20), created_datetime=at(4, 23, 30))


def answered(desk: Desk) -> None:
    ticket = desk.ticket("answers", at(4, 12))
    desk.write(ticket, at(4, 12))
    desk.write(ticket, at(5, 9), from_agent=True, public=False)
    desk.write(ticket, at(5, 10), from_agent=True, failed_datetime=at(5, 10))
    desk.write(ticket, at(6, 9), from_agent=True, sent_datetime=at(6, 9))


ANN, BOB = 21, 22
LATE, LOST = 31, 32


def handed_over(desk: Desk) -> None:
    for name, row_id in (("Ann", ANN), ("Bob", BOB)):
        desk._plan(at(4), desk.account.create, "users", id=row_id, name=name)
    for name, row_id in (("late", LATE), ("lost", LOST)):
        desk._plan(at(4), desk.account.create, "tags", id=row_id, name=name)
    ticket = desk.ticket("hands", at(4, 12), assignee_user={"id": ANN}, tags=[{"id": LATE}, {"id": LOST}])
    desk.change(ticket, at(5, 9), tags=[{"id": LOST}])
    desk.change(ticket, at(6, 9), assignee_user={"id": BOB})
    desk.change(ticket, at(7, 9), assignee_user=None)


def created_today(desk: Desk) -> None:
    desk.ticket("today", at(8, 6))


SITUATIONS = (
    closed_at_midnight,
    closed_without_an_event,
    spam_trash_and_gone,
    imported,
    told_of_after_midnight,
    answered,
    handed_over,
    created_today,
)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[Key, tuple[Any, ...]]:
    """Return the measures after all situations, read on the evening of the last day."""
    desk = Desk()
    for situation in SITUATIONS:
        situation(desk)
    desk.live(at(8, 18))
    with Sandbox(desk.account) as sandbox:
        project = Project(sandbox, tmp_path_factory.mktemp("staged") / "warehouse.duckdb", ENTITIES)
        project.materialize("2025-03-04", "2025-03-08")
    project.engine.execute("UPDATE gorgias.tickets SET _deleted_at = _extracted_at WHERE external_id = 'gone'")
    return computed(project.engine, [day(number) for number in range(4, 9)])


def on(staged: dict[Key, tuple[Any, ...]], channel: str, *days: int) -> list[dict[str, Any]]:
    """Return the counts of a channel on these days but for zeros."""
    rows = [dict(zip(MEASURES, staged.get((at(one).date(), "channel", channel), ()), strict=False)) for one in days]
    return [{name: value for name, value in row.items() if not name.startswith("age_") and value} for row in rows]


def test_a_day_ends_before_midnight(staged):
    assert on(staged, "midnight", 4, 5, 6) == [{"tickets_created": 1, "open_tickets": 1}, {"tickets_closed": 1}, {}]
    assert staged[at(4).date(), "channel", "midnight"][MEASURES.index("age_median_seconds")] == 12 * 3600


def test_today_ends_when_its_tickets_were_read(staged):
    assert on(staged, "today", 7, 8) == [{}, {"tickets_created": 1, "open_tickets": 1}]
    assert 0 <= staged[at(8).date(), "channel", "today"][MEASURES.index("age_median_seconds")].expected - 12 * 3600 < 60


def test_a_ticket_with_a_closing_that_no_event_tells_of_is_derived(staged):
    assert on(staged, "untold", 4, 5, 6, 7) == [
        {"tickets_created": 1, "open_tickets": 1, "derived_tickets": 1},
        {"open_tickets": 1, "derived_tickets": 1},
        {"tickets_closed": 1, "derived_tickets": 1},
        {},
    ]


def test_spam_the_trash_and_what_is_gone_count_on_no_day(staged):
    assert on(staged, "spam", 4, 7) == [{"tickets_created": 1, "open_tickets": 1}, {"open_tickets": 1}]


def test_an_import_counts_when_it_was_created_and_is_known_by_its_newest_state(staged):
    assert on(staged, "import", 4, 5, 6) == [
        {"tickets_created": 1, "open_tickets": 1, "derived_tickets": 1},
        {"tickets_closed": 1, "derived_tickets": 1},
        {},
    ]


def test_a_ticket_begins_at_its_creation_although_its_event_came_after_midnight(staged):
    assert on(staged, "late", 4, 5) == [{"tickets_created": 1, "open_tickets": 1}, {"open_tickets": 1}]


def test_a_ticket_waits_for_the_other_side_of_its_last_public_message_that_left(staged):
    rows = on(staged, "answers", 4, 5, 6)
    waiting = [{name for name in row if name.startswith("waiting")} for row in rows]
    assert waiting == [{"waiting_for_agent"}, {"waiting_for_agent"}, {"waiting_for_customer"}]


def test_slices_are_those_of_the_day_s_end_and_tags_also_those_from_the_beginning(staged):
    slices = [
        {key[2] for key in staged if key[0] == at(day).date() and key[1] in ("agent", "tag")} for day in range(4, 8)
    ]
    assert slices == [{str(LATE), str(LOST)}, {str(LOST)}, {str(LOST), str(BOB)}, {str(LOST)}]


def test_a_day_without_anything_is_a_row_of_zeros(read):
    assert computed(read.engine, [day(1)]) == {(date(2025, 3, 1), "all", "all"): (0, 0, 0, 0, None, None, 0, 0, 0)}


def test_it_depends_on_what_every_account_has_alone():
    (asset,) = build_summaries(Account(ENTITIES, metrics=[TICKET_BACKLOG]))
    assert asset.dependency_keys == {dg.AssetKey(["gorgias", name]) for name in ("tickets", "ticket_messages")}


def test_without_messages_the_error_names_their_table(read):
    with pytest.raises(WarehouseError, match=r"no table gorgias\.letters"):
        backlog_rows(read.engine.warehouse(), {**TABLES, "ticket_messages": Table("gorgias", "letters")}, DAYS)


@pytest.mark.soak
def test_bigquery_computes_the_same(bigquery, lived):
    with Sandbox(lived) as sandbox:
        Project(sandbox, bigquery, ENTITIES).materialize("2025-03-04", "2025-03-13")
    assert computed(bigquery, DAYS) == Truth(lived, ALL_READ).rows(DAYS)
    assert computed(bigquery, DAYS, "events") == Truth(lived, []).rows(DAYS)
