"""Weeks of a living account, with faults and kills: the tables end as the account is.

Every night at 00:30 the day before is materialised, while the shop goes on between two pages. What Gorgias does not
show as a change is named here, and nothing else may differ; after a full sweep nothing may differ at all.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import dagster as dg
import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.entities import ENTITIES, Entity
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import FIRST_DAY, SILENT_FIELDS, Project

OPENED = datetime.combine(date.fromisoformat(FIRST_DAY), datetime.min.time(), UTC)
PASSING = (500, 429, "reset", "truncated", "html", "broken_json", "null_data", "empty_page", "expired_cursor")
LASTING = (503, "reset", "html", "null_data", "wrong_order")
RUN_AT = timedelta(minutes=30)


class LongRun:
    """A shop, the project that follows it night after night, and what befell it."""

    def __init__(self, sandbox: Sandbox, folder: Path, seed: int, tickets_per_day: int) -> None:
        self.random = Random(seed)
        self.shop = Shop(sandbox.account, seed=seed, tickets_per_day=tickets_per_day)
        self.project = Project(sandbox, folder / "warehouse.duckdb")
        self.sandbox, self.account = sandbox, sandbox.account
        self.counted: Counter[str] = Counter()
        self.everybody_rests_from = datetime.max.replace(tzinfo=UTC)

    def night_after(self, day: date, run: Callable[[str], bool]) -> None:
        """Live until the night, then run the day until a run succeeds."""
        midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
        self.live(midnight + RUN_AT)
        while True:
            self.counted["runs"] += 1
            self.let_something_go_wrong()
            if run(day.isoformat()):
                break
            self.counted["failed or killed"] += 1
        self.sandbox.faults.clear()

    def live(self, until: datetime) -> None:
        self.shop.live(until=min(until, self.everybody_rests_from))
        self.account.now = max(self.account.now, until)

    def let_something_go_wrong(self) -> None:
        faults = [
            Fault(self.random.choice(PASSING), skip=self.random.randrange(12), retry_after=1)
            for _ in range(self.random.randrange(3))
        ]
        if self.random.random() < 0.3:
            faults.append(Fault(self.random.choice(LASTING), skip=self.random.randrange(12), times=None))
        self.counted["faults"] += len(faults)
        self.sandbox.faults[:] = faults

    def in_this_process(self, day: str) -> bool:
        return self.project.materialize(day, raise_on_error=False).success

    def in_a_process_that_may_be_killed(self, day: str) -> bool:
        made = len(self.sandbox.requests)
        command = [sys.executable, "-W", "ignore", __file__, self.sandbox.uri, self.sandbox.api_url]
        command += [str(self.project.database), day]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            if self.random.random() < 0.5:
                while len(self.sandbox.requests) == made and process.poll() is None:
                    time.sleep(0.01)
                time.sleep(self.random.uniform(0, 1.5))
                process.kill()
            return process.wait() == 0

    @contextmanager
    def others_at_work(self) -> Iterator[None]:
        """The shop goes on while pages are read, a minute a page."""
        self.sandbox.after_page = lambda _: self.live(self.account.now + timedelta(minutes=1))
        yield
        self.sandbox.after_page = None

    def full_sweep(self, last: date) -> None:
        result = dg.materialize(
            self.project.assets,
            instance=self.project.instance,
            resources=self.project.resources,
            run_config={
                "ops": {f"gorgias__{entity.name}": {"config": {"full": True}} for entity in ENTITIES},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
            tags={
                "dagster/asset_partition_range_start": FIRST_DAY,
                "dagster/asset_partition_range_end": last.isoformat(),
            },
        )
        assert result.success

    def differing(self, entity: Entity) -> Counter[str]:
        """How many rows differ from the account's, by field; `missing` where there is no such row."""
        stored, differing = self.project.table(entity), Counter[str]()
        for row_id, row in self.project.live_rows(entity).items():
            if not any(row[name] and row[name] >= OPENED for name in entity.touch_fields):
                continue  # of no partition: imported, from before the first one
            found = stored.get(row_id)
            if found is None:
                differing["missing, imported" if row.get("imported") else "missing"] += 1
                continue
            until = row["created_datetime"] + entity.look_back
            for name in (name for name, value in row.items() if found[name] != value):
                is_late = entity.look_back and name in entity.touch_fields and row[name] and row[name] > until
                differing["touched after the look-back" if is_late else name] += 1
        return differing

    def marked(self, entity: Entity) -> tuple[set[int], set[int]]:
        """Ids in the table that are marked as gone, and those that are not."""
        rows = self.project.query(f"SELECT id, _deleted_at IS NOT NULL FROM gorgias.{entity.name}")
        return {row_id for row_id, gone in rows if gone}, {row_id for row_id, gone in rows if not gone}


def lives_through(run: LongRun, days: int, kills: bool) -> None:
    first = OPENED.date()
    run.everybody_rests_from = OPENED + timedelta(days=days)
    how = run.in_a_process_that_may_be_killed if kills else run.in_this_process
    with run.others_at_work():
        for number in range(days):
            run.night_after(first + timedelta(days=number), how)
    last = first + timedelta(days=days)  # when all rest, but for what was begun before
    run.night_after(last, run.in_this_process if not kills else how)

    for entity in ENTITIES:
        differing = run.differing(entity)
        print(f"{entity.name}: rows that differ before a full sweep: {dict(differing) or 'none'}")
        allowed = SILENT_FIELDS[entity.name] | {"missing, imported", "touched after the look-back"}
        assert differing.keys() <= allowed, entity.name
        marked, unmarked = run.marked(entity)
        living = run.project.live_rows(entity).keys()
        assert not marked & living, f"{entity.name}: what lives is marked as gone"
        if entity.name != "ticket_messages":  # whose deletion Gorgias does not tell after the look-back
            assert unmarked <= living, f"{entity.name}: what is gone is not marked"
    run.full_sweep(last)
    for entity in ENTITIES:
        assert not run.differing(entity), entity.name
        marked, unmarked = run.marked(entity)
        assert unmarked <= run.project.live_rows(entity).keys()
        view = {row_id for (row_id,) in run.project.query(f"SELECT id FROM gorgias.{entity.name}_live")}
        assert view == unmarked
        run.counted["rows"] += len(unmarked)
        run.counted["gone"] += len(marked)
    run.counted["calls"] = len(run.sandbox.requests)
    print(", ".join(f"{count:,} {what}" for what, count in run.counted.items()))
    assert run.counted["gone"]


def test_a_week_of_a_living_account_with_faults_ends_in_the_account_s_rows(tmp_path):
    with Sandbox(Account(now=OPENED)) as sandbox:
        run = LongRun(sandbox, tmp_path, seed=4, tickets_per_day=25)
        run.project.resources["gorgias"] = GorgiasResource(
            uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.02
        )
        lives_through(run, days=6, kills=False)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_of_a_living_account_with_faults_and_kills_ends_in_the_account_s_rows(tmp_path, seed):
    with Sandbox(Account(now=OPENED), latency=0.02) as sandbox:
        lives_through(LongRun(sandbox, tmp_path, seed=seed, tickets_per_day=60), days=30, kills=True)


def main(uri: str, api_url: str, database: str, day: str) -> None:
    """One run of a day, in the process that may be killed."""
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            build_assets(FIRST_DAY),
            instance=instance,
            resources={
                "gorgias": GorgiasResource(uri=uri, api_url=api_url, patience_minutes=0.05),
                "io_manager": GorgiasDuckDBIOManager(database=database, schema="gorgias"),
            },
            partition_key=day,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
