"""A living account, read every night for days amid faults and kills: the tables hold its rows in the end.

Two machines take turns; the clock of one is ahead of Gorgias's, that of the other behind. `make soak` runs a week, and
a month with runs killed by SIGKILL.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import RLock
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine

from gorgias_assets.days import Day, days_of
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.sweeps.rows import Row
from gorgias_assets_tests.conftest import FIRST_DAY, Project

OPENED = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC)
DAY, HALF_PAST_MIDNIGHT = timedelta(days=1), timedelta(minutes=30)
AHEAD, BEHIND = timedelta(minutes=40), timedelta(minutes=-20)  # the clocks of the two machines

BODY = {"body_text", "body_html", "stripped_text", "stripped_html"}
MAY_DIFFER: Mapping[Entity, set[str]] = {
    CUSTOMERS: {"custom_fields"},
    TICKETS: {"custom_fields", "messages_count", "excerpt", "customer", "assignee_user", "assignee_team", "tags"},
    TICKET_MESSAGES: BODY
    | {"sender", "receiver", "ticket_id", "uri", "intents"}
    | {"sent_datetime", "failed_datetime", "last_sending_error", "opened_datetime"},
    SATISFACTION_SURVEYS: {"score", "scored_datetime", "body_text", "sent_datetime"},
}
"""Fields that may change without a sign in the list, once a row is out of the daily runs' reach, until a full sweep.

A customer or a ticket is out of reach when it was read after its last change, a message or a survey when the look-back
is over. Of messages and surveys there may also be some that are missing, created further in the past than the look-back
reaches, and some that are not marked, gone when it was over.
"""

PASSING = [500, 502, 503, 429, "reset", "truncated", "html", "broken_json", "null_data", "empty_page", "expired_cursor"]
ENDING = ["wrong_order", "stuck_cursor", 400, 403]
NO_EVENTS = "/api/[!e]*"  # if events are refused, the run goes on, and that day's deletions wait for a full sweep

ODDITIES: Mapping[str, Callable[[int], list[Fault]]] = {
    "runs with odd values": lambda _: [Fault("odd", path="/api/*s", times=9)],
    "runs with pages too heavy": lambda _: [Fault(504, rows_over=60, skip=1, times=4)],
    "runs with rows refused": lambda digit: [Fault(403 if digit % 2 else 500, path=f"/api/*/*{digit}", times=None)],
}

RUN = "from gorgias_assets_tests.test_long_run import run_alone; run_alone()"


def project_of(sandbox: Any, database: Path, look_back_days: Mapping[str, int]) -> Project:
    project = Project(sandbox, database)
    project.resources["gorgias"] = GorgiasResource(
        uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.025, look_back_days=dict(look_back_days)
    )
    return project


def run_alone() -> None:
    """Run one day in this process, which may be killed."""
    uri, api_url, database, messages, surveys, day, now = sys.argv[1:]
    look_back_days = {"ticket_messages": int(messages), "satisfaction_surveys": int(surveys)}
    sandbox = SimpleNamespace(uri=uri, api_url=api_url, account=None)
    with time_machine.travel(datetime.fromisoformat(now)):
        project_of(sandbox, Path(database), look_back_days).materialize(day)


class Mischief:
    """Changes to rows of any age, which a shop does not make by itself."""

    def __init__(self, account: Account, random: Random) -> None:
        self.account, self._random = account, random
        self._strangers: list[int] = []  # customers that the shop does not know
        self._ids: dict[str, list[int]] = {}
        self.happened: Counter[str] = Counter()
        self.look()

    def look(self) -> None:
        for kind in ("customers", "tickets", "messages", "satisfaction_surveys", "tags", "teams", "users"):
            self._ids[kind] = [row["id"] for row in self.account.rows(kind)]

    def __call__(self) -> None:
        happening = self._random.choice([name for name in vars(type(self)) if name.startswith("_happens_")])
        with self.account.lock:
            getattr(self, happening)()
        self.happened[happening.removeprefix("_happens_").replace("_", " ")] += 1

    def _any(self, kind: str, number: int = 1) -> Iterator[int]:
        """Yield ids of at most `number` existing rows."""
        there = [row_id for row_id in self._ids[kind] if self.account.has(kind, row_id)]
        return iter(self._random.sample(there, min(number, len(there))))

    def _ago(self, days: float) -> datetime:
        return self.account.now - self._random.uniform(0, days) * DAY

    def _happens_a_stranger_comes(self) -> None:
        self._strangers.append(self.account.create("customers", name="A Stranger")["id"])
        ticket = self.account.create("tickets", customer={"id": self._strangers[-1]}, subject="Hello?")["id"]
        self.account.create("messages", ticket_id=ticket, sender={"id": self._strangers[-1]}, body_text="Hello?")

    def _happens_strangers_are_merged(self) -> None:
        if len(self._strangers) > 1:
            source = self._strangers.pop(self._random.randrange(len(self._strangers)))
            self.account.merge("customers", source, self._random.choice(self._strangers))

    def _happens_a_stranger_is_deleted(self) -> None:
        if self._strangers:
            self.account.delete("customers", self._strangers.pop(self._random.randrange(len(self._strangers))))

    def _happens_a_customer_is_renamed(self) -> None:
        for customer in self._any("customers"):
            self.account.update("customers", customer, name=f"Name {self._random.random()}")

    def _happens_a_customer_gets_a_custom_field(self) -> None:
        for customer in self._any("customers"):
            self.account.update("customers", customer, custom_fields=self._field())

    def _happens_a_ticket_gets_a_custom_field(self) -> None:
        for ticket in self._any("tickets"):
            self.account.update("tickets", ticket, custom_fields=self._field())

    def _happens_a_ticket_is_edited(self) -> None:
        for ticket in self._any("tickets"):
            self.account.update("tickets", ticket, priority=self._random.choice(["low", "high", "critical"]))

    def _happens_a_ticket_is_deleted(self) -> None:
        for ticket in self._any("tickets"):
            self.account.delete("tickets", ticket)

    def _happens_tickets_are_merged(self) -> None:
        pair = [*self._any("tickets", 2)]
        if len(pair) == 2:
            self.account.merge("tickets", *pair)

    def _happens_a_tag_is_renamed(self) -> None:
        for tag in self._any("tags"):
            self.account.update("tags", tag, name=f"tag {self._random.random()}")

    def _happens_a_team_is_renamed(self) -> None:
        for team in self._any("teams"):
            self.account.update("teams", team, name=f"team {self._random.random()}")

    def _happens_an_agent_is_renamed(self) -> None:
        for user in self._any("users"):
            self.account.update("users", user, name=f"agent {self._random.random()}")

    def _happens_messages_are_rewritten(self) -> None:
        for message in self._any("messages", 3):
            self.account.update("messages", message, body_text=f"rewritten {self._random.random()}")

    def _happens_messages_are_opened(self) -> None:
        for message in self._any("messages", 3):
            self.account.update("messages", message, opened_datetime=self.account.now)

    def _happens_a_message_fails_late(self) -> None:
        for message in self._any("messages"):
            self.account.update(
                "messages", message, failed_datetime=self.account.now, last_sending_error={"error": "Gave up"}
            )

    def _happens_messages_are_deleted(self) -> None:
        for message in self._any("messages", 2):
            self.account.delete("messages", message)

    def _happens_a_message_is_imported(self) -> None:
        for ticket in self._any("tickets"):
            self.account.create(
                "messages", ticket_id=ticket, body_text="of old", imported=True, created_datetime=self._ago(20)
            )

    def _happens_a_ticket_is_imported(self) -> None:
        at = self._ago(60)
        ticket = self.account.create("tickets", subject="of old", created_datetime=at, status="closed")["id"]
        self.account.create("messages", ticket_id=ticket, body_text="of old", imported=True, created_datetime=at)

    def _happens_a_survey_is_imported(self) -> None:
        for ticket in self._any("tickets"):
            self.account.create("satisfaction_surveys", ticket_id=ticket, created_datetime=self._ago(20))

    def _happens_a_survey_is_scored(self) -> None:
        for survey in self._any("satisfaction_surveys"):
            self.account.update(
                "satisfaction_surveys", survey, score=self._random.randint(1, 5), scored_datetime=self.account.now
            )

    def _field(self) -> Row:
        return {"7": {"id": 7, "value": self._random.random()}}


class Watch:
    """Each row as it was before the last daily run that reaches it."""

    def __init__(self, project: Project, look_back_days: Mapping[str, int]) -> None:
        self._project = project
        self.hears_events = True
        self._look_back = {entity: timedelta(days=look_back_days.get(entity.name, 0)) for entity in CORE}
        self._reached: dict[Entity, dict[int, Row]] = {entity: {} for entity in CORE}
        self._noticed: dict[Entity, dict[int, bool]] = {entity: {} for entity in CORE}
        self.differing: Counter[str] = Counter()

    def look(self, start: datetime) -> None:
        """Record the account before the run of the day that begins at `start`."""
        for entity in CORE:
            stored, live = self._living(entity), self._project.live_rows(entity)
            bottom = start - self._look_back[entity]
            for row_id, row in live.items():
                touches = [row[field] for field in entity.read.touch_fields if row[field]]
                if row[entity.read.order] >= bottom and (
                    row_id in stored or any(start <= touch < start + DAY for touch in touches)
                ):
                    self._reached[entity][row_id] = row
            for row_id in stored.keys() - live.keys():
                is_in_reach = stored[row_id] >= bottom and entity.read.order == entity.read.creation_order
                is_in_reach |= bool(entity.gone_events) and self.hears_events
                self._noticed[entity].setdefault(row_id, is_in_reach)

    def compare(self) -> None:
        """Assert that the tables are the account, except for changes that a daily run cannot see; count those."""
        deleted = {row_id for row_id in self._project.table(TICKETS) if self._is_deleted(row_id)}
        deleted -= self._living(
            TICKETS
        ).keys()  # a ticket whose deletion was not told, or not confirmed, keeps its messages
        for entity in CORE:
            table, live, living = self._project.table(entity), self.account_rows(entity), self._living(entity)
            reached, noticed = self._reached[entity], self._noticed[entity]
            assert not live.keys() & (table.keys() - living.keys()), f"{entity.name} that live are marked as gone"
            missing = live.keys() - living.keys()
            assert not missing & reached.keys(), f"{entity.name} are missing"
            assert not missing or entity in (TICKET_MESSAGES, SATISFACTION_SURVEYS), entity.name
            unmarked = living.keys() - live.keys() - self._put_off(entity)
            self.differing[f"{entity.name} put off"] += len(self._put_off(entity))
            assert not [row_id for row_id in unmarked if noticed.get(row_id, True)], f"{entity.name} are not marked"
            assert not unmarked or entity in (TICKET_MESSAGES, TICKETS, CUSTOMERS), entity.name
            assert not [i for i in unmarked if table[i]["ticket_id"] in deleted], "messages of deleted tickets"
            self.differing[f"{entity.name} missing"] += len(missing)
            self.differing[f"{entity.name} not marked"] += len(unmarked)
            for row_id in living.keys() & live.keys():
                before, now = reached.get(row_id, {}), live[row_id]
                self.differing[f"{entity.name} in any field"] += table[row_id] != now
                for name in now:
                    if table[row_id][name] != now[name]:
                        assert name in MAY_DIFFER[entity], f"{entity.name}.{name} of {row_id}"
                        assert before.get(name, ...) != now[name], f"{entity.name}.{name} of {row_id} did not change"
                        self.differing[f"{entity.name}.{name}"] += 1

    def compare_exactly(self) -> None:
        for entity in CORE:
            live = self.account_rows(entity)
            assert self._living(entity).keys() == live.keys(), entity.name
            table = self._project.table(entity)
            assert {row_id: table[row_id] for row_id in live} == live, entity.name
            merged = dict(
                self._project.query(f"SELECT id, _merged_into FROM gorgias.{entity.name} WHERE _merged_into NOT NULL")
            )
            into = {row_id: self._project.account.merged_into(entity.name, row_id) for row_id in table}
            assert merged == {row_id: survivor for row_id, survivor in into.items() if survivor}, entity.name

    def account_rows(self, entity: Entity) -> dict[int, Row]:
        """Return the account's rows that were touched since the first partition."""
        return {
            row_id: row
            for row_id, row in self._project.live_rows(entity).items()
            if any(row[field] and row[field] >= OPENED for field in entity.read.touch_fields)
        }

    def _living(self, entity: Entity) -> dict[int, datetime]:
        if not self._project.database.exists():
            return {}
        tables = self._project.query(f"SELECT 1 FROM duckdb_views() WHERE view_name = '{entity.name}_live'")
        return (
            dict(self._project.query(f"SELECT id, created_datetime FROM gorgias.{entity.name}_live")) if tables else {}
        )

    def _put_off(self, entity: Entity) -> set[int]:
        """Return rows whose own path was asked for and did not say if they are gone."""
        noted = f"_gone_candidates_{entity.name} WHERE next_look_at IS NOT NULL"
        if not self._project.query(f"FROM duckdb_tables() WHERE table_name = '_gone_candidates_{entity.name}'"):
            return set()
        return {row_id for (row_id,) in self._project.query(f"SELECT id FROM gorgias.{noted}")}

    def _is_deleted(self, ticket: int) -> bool:
        account = self._project.account
        return not account.has("tickets", ticket) and account.merged_into("tickets", ticket) is None


@dataclass
class Life:
    """Nights of an account.

    `faults`: how many a run meets on average; each is over at the next attempt. `outages`, `kills` and `replays` are
    shares of runs: without an answer to some requests, killed, or followed by a run of older days. `early` is the share
    of days that are also run before they are over; `oddities` are the shares of runs with odd values, with pages that
    are too heavy for a gateway, and with rows whose own paths are refused. On the days of `silence` events cannot be
    read.
    """

    days: int
    tickets_per_day: float
    mischiefs_per_day: int
    look_back_days: Mapping[str, int]
    folder: Path
    seed: int
    faults: float = 1.0
    outages: float = 0.3
    kills: float = 0.0
    replays: float = 0.0
    early: float = 0.0
    oddities: float = 0.0
    silence: range = range(0)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.account = Account(now=OPENED)
        self.shop = Shop(self.account, seed=self.seed, tickets_per_day=self.tickets_per_day)
        self.mischief = Mischief(self.account, self.random)
        self.did: Counter[str] = Counter()
        self.lock = RLock()

    def live(self) -> None:
        with Sandbox(self.account) as self.sandbox:
            self.project = project_of(self.sandbox, self.folder / "warehouse.duckdb", self.look_back_days)
            self.watch = Watch(self.project, self.look_back_days)
            for number in range(self.days):
                start = OPENED + number * DAY
                self._pass_day(start)
                if self.random.random() < self.early:
                    self._run_too_early(start)
                self.shop.live(until=start + DAY + HALF_PAST_MIDNIGHT)
                self.watch.hears_events = number not in self.silence
                self.watch.look(start)
                self.sandbox.after_page = self._between_pages
                self._run_until_it_succeeds(start)
                self.sandbox.after_page = None
                if self.random.random() < self.replays and number < self.days / 2:  # each repairs what it passes
                    first, last = sorted(self.random.randrange(number + 1) for _ in range(2))
                    self._succeed(OPENED + first * DAY, OPENED + last * DAY)
            self.watch.hears_events = True
            for number in range(self.days, self.days + 2):  # what happened during the last runs
                start = OPENED + number * DAY
                self.account.now = start + DAY + HALF_PAST_MIDNIGHT
                self.watch.look(start)
                self._succeed(start)
            self.last_day = start
            self.watch.compare()
            self.did["calls"] = len(self.sandbox.requests)
            result = self._succeed(OPENED, self.last_day, full=True)
            self.did["calls of the full sweep"] = len(self.sandbox.requests) - self.did["calls"]
            for entity in CORE:
                metadata = result.asset_materializations_for_node(f"gorgias__{entity.name}")[-1].metadata
                assert metadata["deletions_pending"].value == 0
            self.watch.compare_exactly()

    def report(self) -> str:
        sizes = {entity.name: len(self.project.table(entity)) for entity in CORE}
        gone = {
            name: count
            for name in sizes
            for ((count,),) in [self.project.query(f"SELECT count(_deleted_at) FROM gorgias.{name}")]
        }
        differing = {what: count for what, count in sorted(self.watch.differing.items()) if count}
        parts = {
            "did": dict(self.did),
            "rows": sizes,
            "marked as gone": gone,
            "happened": dict(sorted(self.mischief.happened.items())),
            "differed before the full sweep": differing,
        }
        return "\n".join(f"{what}: {', '.join(f'{n} {c:,}' for n, c in of.items())}" for what, of in parts.items())

    def _pass_day(self, start: datetime) -> None:
        self.mischief.look()
        end = start + DAY - timedelta(minutes=5)
        moments = sorted(self.random.uniform(0, 1) for _ in range(self.mischiefs_per_day))
        begin = self.account.now
        for share in moments:
            self.shop.live(until=begin + share * (end - begin))
            self.mischief()
        self.shop.live(until=end)

    def _run_too_early(self, start: datetime) -> None:
        """Run the day on the machine that is ahead, where it is over: it must not count as complete."""
        self._materialize(start, ahead=AHEAD)
        keys = [f"{start:%Y-%m-%d}"]
        for asset in self.project.assets:
            days = days_of(self.project.instance, self.project.partitions, asset.key, keys)
            assert [*days.values()] == [Day.BEGUN]
        self.did["runs too early"] += 1

    def _between_pages(self, _: object) -> None:
        with self.lock:
            self.shop.live(until=self.account.now + timedelta(seconds=self.random.uniform(0, 90)))
            if self.random.random() < 0.3:
                self.mischief()

    def _run_until_it_succeeds(self, start: datetime) -> None:
        if self.random.random() < self.kills:
            self._kill(start)
        for _ in range(3):
            self._befall()
            result = self._materialize(start, raise_on_error=False)
            self._clear_faults()
            self.did["runs"] += 1
            if result.success:
                self.sandbox.faults.clear()
                return
            self.did["failed runs"] += 1
        self._succeed(start)
        self.sandbox.faults.clear()

    def _clear_faults(self) -> None:
        """End the faults, but for the events' silence."""
        self.sandbox.faults[:] = [] if self.watch.hears_events else [Fault(500, path="/api/events", times=None)]

    def _befall(self) -> None:
        self._clear_faults()
        for happens, oddity in ODDITIES.items():
            if self.random.random() < self.oddities:
                self.sandbox.faults += oddity(self.random.randrange(10))
                self.did[happens] += 1
        for _ in range(int(self.random.expovariate(1 / self.faults)) if self.faults else 0):
            what, skip = self.random.choice(PASSING), self.random.randrange(25)
            self.sandbox.faults.append(Fault(what, skip=skip, retry_after=self.random.choice([None, 0, 1])))
            self.did["passing faults"] += 1
        if self.random.random() < self.outages or not self.did["failed runs"]:
            what = self.random.choice([500, 503, "reset", *ENDING])
            paths = ["*", "/api/tickets/*", "/api/events", "/api/messages"]
            path = NO_EVENTS if what in ENDING else self.random.choice(paths)
            self.sandbox.faults.append(Fault(what, path=path, skip=self.random.randrange(12), times=None))
            self.did["outages"] += 1

    def _kill(self, start: datetime) -> None:
        """Run in another process, and kill it when it has sent some requests, or a moment later."""
        days = (str(self.look_back_days[entity.name]) for entity in (TICKET_MESSAGES, SATISFACTION_SURVEYS))
        now = self.account.now + self.random.choice([AHEAD, BEHIND])
        about = [self.sandbox.uri, self.sandbox.api_url, str(self.project.database), *days]
        about += [f"{start:%Y-%m-%d}", now.isoformat()]
        enough = len(self.sandbox.requests) + self.random.randrange(1, 30)
        late = self.random.choice([0, self.random.uniform(0, 0.3)])
        with subprocess.Popen([sys.executable, "-c", RUN, *about], stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(self.sandbox.requests) < enough:
                sleep(0.001)
            sleep(late)
            process.kill()
        self.did["runs killed" if process.returncode == -9 else "runs that ended before they were killed"] += 1

    def _succeed(self, first: datetime, last: datetime | None = None, full: bool = False) -> Any:
        self.did["runs"] += 1
        return self._materialize(first, last, full=full)

    def _materialize(self, first: datetime, last: datetime | None = None, ahead: timedelta | None = None, **how: Any):
        """Materialize days on a machine whose clock is `ahead`, or on either of the two."""
        now = self.account.now + (ahead or self.random.choice([AHEAD, BEHIND]))
        with time_machine.travel(now):
            return self.project.materialize(f"{first:%Y-%m-%d}", last and f"{last:%Y-%m-%d}", **how)


@pytest.mark.soak
def test_a_week_of_daily_runs_amid_faults_ends_in_the_account_s_rows_except_for_changes_gorgias_does_not_show(tmp_path):
    look_back_days = {"ticket_messages": 1, "satisfaction_surveys": 2}
    life = Life(6, 50, 25, look_back_days, tmp_path, seed=0, outages=0.7)
    life.live()
    assert life.did["failed runs"]
    for what in ("tickets in any field", "ticket_messages in any field", "ticket_messages not marked"):
        assert life.watch.differing[what], "nothing was put to the test"


@pytest.mark.soak
def test_a_month_of_daily_runs_amid_faults_and_kills_ends_in_the_account_s_rows(tmp_path, capsys):
    started, look_back_days = monotonic(), {"ticket_messages": 3, "satisfaction_surveys": 7}
    life = Life(
        30,
        30,
        40,
        look_back_days,
        tmp_path,
        seed=1,
        faults=2,
        outages=0.4,
        kills=0.5,
        replays=0.3,
        early=0.3,
        oddities=0.1,
        silence=range(10, 17),
    )
    life.live()
    with capsys.disabled():
        print(f"\n30 days in {monotonic() - started:,.0f} s\n{life.report()}")
    assert life.did["runs killed"]
    assert all(life.did[oddity] for oddity in ODDITIES)
    assert life.did["failed runs"]
