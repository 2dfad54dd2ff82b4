"""The automation conditions: the days that they request, when, and what weeks with outages come to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import dagster as dg
import pytest
import time_machine
from dagster import AutomationCondition
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from gorgias_assets.assets import build_assets
from gorgias_assets.automation import day_is_over
from gorgias_assets.days import Day, days_of
from gorgias_assets.entities import TICKETS, VOICE_CALLS
from gorgias_assets.partitions import days_of_run, ranges
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.summaries import build_summaries
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.daemon import AT, CRON, LARGE, SMALL, ZONE, Daemon

OVERVIEW = LARGE.asset_keys[-1]
KEY = SMALL.key_of(TICKETS)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FIRST = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC)


def at(day: int, hour: int = 0, minute: int = 30) -> datetime:
    """Return a moment of March 2025."""
    return datetime(2025, 3, 1, hour, minute, tzinfo=UTC) + (day - 1) * DAY


NOON = at(1, 12)


@pytest.fixture
def account() -> SandboxAccount:
    return SandboxAccount(now=FIRST)


class Ticks:
    """Evaluations of a condition on some assets, one after the other."""

    def __init__(
        self,
        project: Project,
        condition: AutomationCondition | None = None,
        assets: list[Any] | None = None,
        begin: datetime = NOON,
        groups: Sequence[str] = ("gorgias",),
    ) -> None:
        self.instance, self._cursor = project.instance, None
        self._groups = groups
        condition = condition or day_is_over()
        self.definitions = dg.Definitions(
            dg.map_asset_specs(
                lambda spec: spec.replace_attributes(automation_condition=condition), assets or build_assets(SMALL)
            ),
            resources=project.resources,
        )
        self(begin)

    def __call__(self, moment: datetime) -> dict[str, list[tuple[str, str]]]:
        """Return the ranges of days that are requested at the moment, by the names of assets; None for no partition."""
        with time_machine.travel(moment):
            result = dg.evaluate_automation_conditions(
                self.definitions,
                self.instance,
                asset_selection=dg.AssetSelection.groups(*self._groups),
                evaluation_time=moment,
                cursor=self._cursor,
            )
        self._cursor = result.cursor
        requested = {
            one.key.path[-1]: result.get_requested_partitions(one.key) for one in result.results if one.true_subset.size
        }
        return {name: ranges(filter(None, keys)) for name, keys in requested.items()}

    def days(self, moment: datetime) -> list[tuple[str, str]]:
        return self(moment).get("tickets", [])


def read(project: Project, moment: datetime, first: str, last: str | None = None, **how: Any) -> None:
    project.account.now = moment
    with time_machine.travel(moment):
        project.materialize(first, last, select=how.pop("select", ["tickets"]), **how)


@pytest.mark.parametrize("end_offset", [0, 1])
def test_a_day_is_requested_at_the_first_evaluation_after_its_tick_and_never_before_it_is_over(project, end_offset):
    days = dg.DailyPartitionsDefinition(FIRST_DAY, timezone="UTC", end_offset=end_offset)
    assets = dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=days), build_assets(SMALL))
    ticks = Ticks(project, day_is_over("30 6 * * *"), assets)
    requested = {hour: found for hour in range(24) if (found := ticks.days(at(2, hour, 40)))}
    assert requested == {6: [("2025-03-01", "2025-03-01")]}


def test_the_tick_is_at_its_time_in_its_zone(project):
    ticks = Ticks(project, day_is_over("0 9 * * *", "Asia/Tokyo"))
    assert ticks.days(at(1, 23, 50)) == []
    assert ticks.days(at(2, 0, 10)) == [("2025-03-01", "2025-03-01")]


def test_days_that_are_missing_or_were_read_before_they_had_ended_are_requested_and_complete_ones_are_not(project):
    ticks = Ticks(project)
    read(project, at(3), "2025-03-02")
    read(project, at(4, 12), "2025-03-04")
    read(project, at(6, 12), "2025-03-05")
    assert ticks.days(at(7)) == [
        ("2025-03-01", "2025-03-01"),
        ("2025-03-03", "2025-03-04"),
        ("2025-03-06", "2025-03-06"),
    ]


def test_a_day_that_has_failed_is_requested_again(project, sandbox):
    ticks = Ticks(project)
    sandbox.faults.append(Fault(403, times=None))
    read(project, at(2), "2025-03-01", raise_on_error=False)
    assert days_of(project.instance, project.partitions, KEY, ["2025-03-01"]) == {"2025-03-01": Day.FAILED}
    assert ticks.days(at(3)) == [("2025-03-01", "2025-03-02")]


def test_of_a_list_that_the_account_lacks_the_newest_day_is_requested_once_a_day(sandbox, engine):
    project = Project(sandbox, engine, [VOICE_CALLS])
    ticks = Ticks(project, day_is_over("30 0,12 * * *"), project.assets, groups=["gorgias_voice"])
    sandbox.faults.append(Fault(403, times=None))
    requested = {}
    for moment in (at(4), at(4, 12), at(5), at(5, 12)):
        if found := ticks(moment).get("voice_calls"):
            requested[moment] = found
            read(project, moment, *found[0], select=["voice_calls"])
    assert requested == {at(4): [("2025-03-01", "2025-03-03")], at(5): [("2025-03-04", "2025-03-04")]}
    sandbox.faults.clear()
    read(project, at(6, 0, 45), "2025-03-05", select=["voice_calls"])
    assert ticks(at(6, 12)) == {"voice_calls": [("2025-03-01", "2025-03-04")]}


def test_days_before_the_horizon_are_left_alone(project):
    ticks = Ticks(project, day_is_over(horizon_days=7))
    assert ticks.days(at(21)) == [("2025-03-14", "2025-03-20")]


def test_a_horizon_of_no_day_is_refused():
    with pytest.raises(ValueError, match="horizon_days must be at least 1"):
        day_is_over(horizon_days=0)


def test_lost_ticks_count_as_one(project):
    ticks = Ticks(project)
    assert ticks.days(at(5, 15)) == [("2025-03-01", "2025-03-04")]
    assert ticks.days(at(5, 16)) == []


def test_a_day_that_is_being_read_is_left_alone(project):
    ticks = Ticks(project)
    job = ticks.definitions.resolve_implicit_global_asset_job_def()
    project.instance.create_run_for_job(
        job, tags={"dagster/partition": "2025-03-02"}, status=dg.DagsterRunStatus.STARTED, asset_selection={KEY}
    )
    assert ticks.days(at(4)) == [("2025-03-01", "2025-03-01"), ("2025-03-03", "2025-03-03")]


def test_the_days_of_a_backfill_that_has_not_begun_are_left_alone(project):
    ticks = Ticks(project)
    days = project.partitions.subset_with_partition_keys(["2025-03-01", "2025-03-02"])
    backfill = PartitionBackfill.from_asset_graph_subset(
        "backfill", at(3).timestamp(), {}, project.instance, AssetGraphSubset({KEY: days}), None, None, None
    )
    project.instance.add_backfill(backfill)
    assert ticks.days(at(4)) == [("2025-03-03", "2025-03-03")]
    project.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    assert ticks.days(at(5)) == [("2025-03-01", "2025-03-04")]


def hours_of_requests(ticks: Ticks, hours: range) -> list[int]:
    """Return the hours, from noon of March 1 on, in which the first of March is requested."""
    return [hour for hour in hours if FIRST_DAY in str(ticks.days(at(1, 12, 1) + hour * HOUR))]


def test_a_gap_that_stays_is_requested_at_ever_longer_intervals_up_to_a_day(project):
    hours = hours_of_requests(Ticks(project, day_is_over("0 * * * *"), begin=at(1, 11)), range(64))
    waits = [after - before for before, after in pairwise(hours)]
    assert hours[0] == 12, "midnight"
    assert waits == [1, 2, 4, 7, 14, 20]


def test_a_gap_that_stays_is_requested_at_each_tick_of_a_day_also_when_summer_time_begins(project):
    ticks = Ticks(project, day_is_over(CRON, ZONE.key, horizon_days=60), begin=at(26, 12))
    for day in range(27, 36):
        tick = datetime.combine(at(day).date(), AT, ZONE).astimezone(UTC)
        late = timedelta(seconds=59) * (day % 2)
        assert ticks.days(tick + late) == [(FIRST_DAY, str((tick - DAY).date()))]


def test_a_request_that_another_condition_has_held_back_does_not_lengthen_the_wait(project):
    held = AutomationCondition.cron_tick_passed("0 20 * * *")
    ticks = Ticks(project, day_is_over("0 */4 * * *") & held, begin=at(1, 11))
    assert hours_of_requests(ticks, range(0, 84, 4)) == [32, 56, 80]


@pytest.mark.parametrize(
    "condition",
    [AutomationCondition.on_cron("30 0 * * *"), AutomationCondition.eager(), AutomationCondition.on_missing()],
)
def test_dagster_s_own_conditions_request_today_and_no_day_that_is_over(project, condition):
    assert Ticks(project, condition, begin=at(3, 12)).days(at(4)) == [("2025-03-04", "2025-03-04")]


def test_the_condition_composes_with_dagster_s_own(project):
    either = day_is_over() | AutomationCondition.on_missing()
    assert Ticks(project, either, begin=at(3, 12)).days(at(4)) == [("2025-03-01", "2025-03-04")], "today, by on_missing"
    without = day_is_over().replace("NOT", AutomationCondition.missing())
    assert Ticks(project, without, begin=at(3, 12)).days(at(4)) == [("2025-03-01", "2025-03-03")]


def test_a_list_that_is_read_whole_is_requested_once_per_tick(project):
    ticks = Ticks(project, assets=build_assets(LARGE))
    requests = {hour: ticks(at(2, hour, 40)) for hour in (0, 1, 12, 23)}
    assert [hour for hour, requested in requests.items() if "tags" in requested] == [0]


def test_an_asset_with_other_partitions_is_refused(project):
    @dg.asset(key=KEY, group_name="gorgias", partitions_def=dg.WeeklyPartitionsDefinition(FIRST_DAY))
    def weekly() -> None: ...

    with pytest.raises(Exception, match="Error while evaluating") as error:
        Ticks(project, assets=[weekly])
    assert "takes assets with daily partitions, or without" in str(error.value.__cause__)


SUMMARIZED = [*build_assets(LARGE), *build_summaries(LARGE)]
GROUPS = ("gorgias", "gorgias_metrics")


def test_the_overview_follows_the_entities_it_is_made_of(project):
    ticks = Ticks(project, assets=SUMMARIZED, groups=GROUPS)
    needed = ["tickets", "ticket_messages", "satisfaction_surveys"]
    assert ticks(at(2))["overview"] == [("2025-03-01", "2025-03-01")], "with the entities"
    read(project, at(3), "2025-03-01", "2025-03-02", select=needed)
    requested = ticks(at(4))
    assert requested["tickets"] == [("2025-03-03", "2025-03-03")]
    assert requested["overview"] == [("2025-03-01", "2025-03-03")], "alone, of days that are complete"


def test_the_overview_does_not_wait_for_entities_it_is_not_made_of_and_waits_for_the_others(project):
    ticks = Ticks(project, day_is_over("0 * * * *"), SUMMARIZED, begin=at(2, 2), groups=GROUPS)
    read(project, at(2), "2025-03-01", select=["tickets", "ticket_messages"])
    assert ticks(at(2, 3, 1))["overview"] == [("2025-03-01", "2025-03-01")], "with the surveys"
    assert "overview" not in ticks(at(2, 3, 2))
    assert "overview" in ticks(at(2, 4, 1))
    assert "overview" not in ticks(at(2, 5, 1)), "the surveys wait"


@dataclass
class Life:
    """An account, and the daemon that reads it, over days of March and April 2025 with these incidents.

    Gorgias answers nothing on the days of `outage`, and refuses the tickets at the ticks of the days `refused`. Dagster
    is down on the days `off`. At noon of the day `early` somebody materializes that day.
    """

    location: str
    folder: Path
    days: int
    hours: Sequence[int]
    outage: range = range(0)
    off: range = range(0)
    refused: range = range(0)
    early: int = 0

    def __post_init__(self) -> None:
        self.deployed = LARGE if self.location.startswith("large") else SMALL
        self.account = SandboxAccount(now=FIRST)

    def live(self) -> None:
        with Sandbox(self.account) as self.sandbox, pytest.MonkeyPatch.context() as patch:
            self.project = Project(self.sandbox, self.folder / "warehouse.duckdb", self.deployed.entities)
            patch.setenv("GORGIAS_URI", self.sandbox.uri)
            patch.setenv("GORGIAS_API_URL", self.sandbox.api_url)
            patch.setenv("WAREHOUSE", str(self.project.database))
            patch.chdir(self.folder)
            with Daemon(self.folder / "home", self.location) as self.daemon:
                for day in range(1, self.days + 1):
                    self._pass(day)
                self._look(at(self.days + 1, 23, 31), self.days + 1)
                self._assert_all_is_there()
                self.runs = [Run.of(run) for run in reversed(self.daemon.instance.get_runs())]

    def _pass(self, day: int) -> None:
        for hour in self.hours:
            self._look(at(day, hour, 31), day)
            if hour <= 12:
                self._work(day)
            if hour == 12 and day == self.early:
                key = str(at(day).date())
                self.daemon.materialize(self.deployed, key, at(day, 12, 50))

    def _work(self, day: int) -> None:
        """Let rows be created, changed and deleted, in ways that lists and events show."""
        make, change, old = self.account.create, self.account.update, 6 * day - 10
        make("tags", name=f"tag {day}")
        customer = make("customers", name=f"Customer {day}")["id"]
        for _ in range(3):
            ticket = make("tickets", customer={"id": customer}, subject="Where is it?")["id"]
            make("messages", ticket_id=ticket, sender={"id": customer}, body_text="Where?")
        make("satisfaction_surveys", ticket_id=ticket, customer_id=customer)
        for kind, fields in CHANGES.items():
            if self.account.has(kind, old):
                change(kind, old, **{field: value(self.account.now) for field, value in fields.items()})
        if self.account.has("tickets", old - 1):
            self.account.delete("tickets", old - 1)

    def _look(self, moment: datetime, day: int) -> None:
        self.account.now = moment
        self.sandbox.faults[:] = [Fault(503, times=None)] if day in self.outage else []
        self.sandbox.faults += [Fault(403, path="/api/tickets*", times=None)] if day in self.refused else []
        if day not in self.off:
            self.daemon.look(moment)

    def _assert_all_is_there(self) -> None:
        keys = [str((FIRST + number * DAY).date()) for number in range(self.days)]
        dated = [self.deployed.key_of(entity) for entity in self.deployed.by_date]
        for asset in dated if self.deployed is SMALL else [*dated, OVERVIEW]:
            states = days_of(self.daemon.instance, self.deployed.partitions, asset, keys)
            assert {key: state for key, state in states.items() if state is not Day.COMPLETE} == {}, asset
        for entity in self.deployed.entities:
            live, table = self.project.live_rows(entity), self.project.table(entity)
            (living,) = zip(*self.project.query(f"SELECT id FROM gorgias.{entity.name}_live"), strict=True)
            assert {row: table[row] for row in living} == live, entity.name
            assert live, entity.name


CHANGES: Mapping[str, Mapping[str, Callable[[datetime], Any]]] = {
    "tickets": {"priority": lambda _: "high"},
    "messages": {"opened_datetime": lambda now: now},
    "satisfaction_surveys": {"score": lambda _: 5, "scored_datetime": lambda now: now},
    "customers": {"name": lambda now: f"Customer since {now}"},
}


class Run(NamedTuple):
    """A run: its first and its last day, its assets, and if it was successful."""

    first: str
    last: str
    assets: str
    succeeded: bool

    def days(self) -> list[str]:
        first = datetime.fromisoformat(self.first)
        return [str((first + n * DAY).date()) for n in range((datetime.fromisoformat(self.last) - first).days + 1)]

    @classmethod
    def of(cls, run: dg.DagsterRun) -> Self:
        assets = sorted(key.path[-1] for key in run.asset_selection or ())
        return cls(*(days_of_run(run.tags) or ("", "")), " ".join(assets), run.is_success)


OWN_WARNING = "ignore:Function `AssetSelection.keys`:DeprecationWarning"  # by Dagster's evaluation of such a sensor


@pytest.mark.filterwarnings(OWN_WARNING)
def test_the_days_of_an_outage_and_of_lost_ticks_are_one_run_later(tmp_path):
    life = Life("small_by_conditions", tmp_path, 5, [0], outage=range(2, 4), off=range(4, 5))
    life.live()
    assert life.runs == [
        Run("2025-03-01", "2025-03-01", "tickets", False),
        Run("2025-03-01", "2025-03-02", "tickets", False),
        Run("2025-03-01", "2025-03-04", "tickets", True),
        Run("2025-03-05", "2025-03-05", "tickets", True),
    ]


@pytest.mark.soak
@pytest.mark.filterwarnings(OWN_WARNING)
@pytest.mark.parametrize("way", ["conditions", "schedule"])
def test_a_month_with_outages_ends_with_every_day_complete_and_tables_that_equal_the_account(tmp_path, way, capsys):
    incidents = {"outage": range(9, 12), "off": range(17, 19), "refused": range(23, 26), "early": 27}
    life = Life(f"large_by_{way}", tmp_path, 34, [0, 2, 12, 23], **incidents)
    life.live()
    with capsys.disabled():
        print(f"\n{way}: {len(life.runs)} runs, {sum(not run.succeeded for run in life.runs)} failed")
    assert not all(run.succeeded for run in life.runs)
    if way == "conditions":
        read = [day for run in life.runs if run.succeeded and "tickets" in run.assets.split() for day in run.days()]
        assert read == sorted(set(read)), "a complete day was read again"
