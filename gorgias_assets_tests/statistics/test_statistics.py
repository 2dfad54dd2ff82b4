"""Gorgias's own statistics: read from a simulated account, stored by day and by ticket, and compared with ours."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gorgias_assets.account import Account
from gorgias_assets.build import build_definitions
from gorgias_assets.days import Day, days_of, newest_materializations
from gorgias_assets.entities import CORE
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.partitions import FIRST_DAY as FIRST_DAY_TAG
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sensors import gaps_sensor
from gorgias_assets.statistics.build import statistics_assets, statistics_checks
from gorgias_assets.statistics.scopes import NAMES, NEEDS
from gorgias_assets.summaries import build_summaries
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import Engine, on_each_warehouse_in_time

FIRST, LAST = "2025-03-03", "2025-03-05"
MINUTE = 60
PATH = "/api/reporting/stats"


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def account() -> SandboxAccount:
    """Return an account half an hour after the end of the last day."""
    return SandboxAccount(now=at(6, 0, 30))


@pytest.fixture
def ann(account: SandboxAccount) -> int:
    """Let Ann answer a letter of the third of March, close it on the fourth, and be rated; nobody answers a chat."""
    customer, ann = account.create("customers")["id"], account.create("users", name="Ann")["id"]
    letter = account.create("tickets", id=1, created_datetime=at(3, 9), assignee_user={"id": ann})["id"]
    account.create("tickets", id=2, created_datetime=at(3, 10), channel="chat")
    asks = {"sender": {"id": customer}}
    account.create("messages", ticket_id=letter, created_datetime=at(3, 9), **asks)
    account.create("messages", ticket_id=2, created_datetime=at(3, 10), channel="chat", **asks)
    answer = {"from_agent": True, "via": "helpdesk", "sender": {"id": ann}, "sent_datetime": at(3, 9, 30)}
    account.create("messages", ticket_id=letter, created_datetime=at(3, 9, 30), **answer)
    account.update("tickets", letter, status="closed", closed_datetime=at(4, 9))
    survey = {"created_datetime": at(4, 9), "sent_datetime": at(4, 10), "score": 5, "scored_datetime": at(4, 11)}
    account.create("satisfaction_surveys", ticket_id=letter, customer_id=customer, **survey)
    return int(ann)


class Desk(Project):
    """The core, the metrics and both assets of statistics."""

    def __init__(self, sandbox: Sandbox, engine: Engine) -> None:
        super().__init__(sandbox, engine)
        self.deployed = Account(CORE, start_date=FIRST_DAY, metrics=METRICS, statistics=NAMES)
        metrics = build_summaries(self.deployed)[:2]
        self.assets = [*self.assets, *metrics, *statistics_assets(self.deployed), *statistics_checks(self.deployed)]

    def read(self, *names: str, last: str | None = LAST) -> dg.ExecuteInProcessResult:
        return self.materialize(FIRST, last, names or NAMES)

    def values(self, scope: str, measure: str, dimension: str = "all") -> dict[tuple[date, str | None], float | None]:
        """Return a measure's values that there are, by day and slice."""
        rows = self.query(
            f"SELECT day, slice, value FROM gorgias.statistics WHERE scope = '{scope}' AND measure = '{measure}' "
            f"AND dimension = '{dimension}' AND value IS NOT NULL"
        )
        return {(day, name): value for day, name, value in rows}

    def tickets(self) -> dict[int, tuple[Any, ...]]:
        names = "id, first_response_seconds, resolution_seconds, handle_seconds, sla_status"
        return {row[0]: row[1:] for row in self.query(f"SELECT {names} FROM gorgias.ticket_statistics")}


@pytest.fixture
def desk(sandbox: Sandbox, engine: Engine) -> Iterator[Desk]:
    return Desk(sandbox, engine)


THIRD, FOURTH = date(2025, 3, 3), date(2025, 3, 4)


def test_the_days_of_a_run_are_rows_by_measure_and_slice_however_often_it_is_repeated(
    desk: Desk, sandbox: Sandbox, ann: int
) -> None:
    for names_steps in (False, True):
        sandbox.account.habits.names_steps = names_steps
        sandbox.requests.clear()
        desk.read("statistics")
        assert len(sandbox.requests) == 20
        assert desk.values("tickets-created", "ticketCount") == {(THIRD, "all"): 2}
        by_channel = desk.values("tickets-created", "ticketCount", "channel")
        assert by_channel == {(THIRD, "email"): 1, (THIRD, "chat"): 1}
        by_agent = desk.values("tickets-created", "ticketCount", "agent")
        assert by_agent == {(THIRD, str(ann)): 1, (THIRD, None): 1}
        assert desk.values("first-response-time", "medianFirstResponseTime") == {(THIRD, "all"): 30 * MINUTE}
        assert desk.values("satisfaction-surveys", "scoredSurveysCount") == {(FOURTH, "all"): 1}
    measures = 1 + 1 + 1 + 1 + 2 + 2 + 5
    days = desk.query("SELECT count(*) FROM gorgias.statistics WHERE dimension = 'all' GROUP BY day")
    assert days == [(measures,)] * 4, "the days of the run, and the one before them, have each measure once"


@pytest.mark.parametrize(
    "run",
    [
        {"tags": {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": "2025-03-04"}},
        {"partition_key": "2025-03-04", "tags": {FIRST_DAY_TAG: FIRST}},
    ],
    ids=["a range", "a day that names an earlier one"],
)
def test_each_day_of_a_run_is_recorded_as_complete(desk: Desk, run: dict[str, Any]) -> None:
    keys = desk.deployed.statistics_keys
    dg.materialize(desk.assets, selection=keys, instance=desk.instance, resources=desk.resources, **run)
    for key in keys:
        days = days_of(desk.instance, desk.partitions, key, ["2025-03-02", FIRST, "2025-03-04"])
        assert [*days.values()] == [Day.MISSING, Day.COMPLETE, Day.COMPLETE]
        newest = newest_materializations(desk.instance, key, [*days])
        assert [day for day in newest if "api_calls" in newest[day]] == ["2025-03-04"]


@on_each_warehouse_in_time
@pytest.mark.usefixtures("ann")
def test_a_ticket_is_one_row_whose_measures_come_on_different_days(desk: Desk, account: SandboxAccount) -> None:
    for day in (FIRST, "2025-03-04"):
        desk.materialize(day, select=["ticket_statistics"])
    assert desk.tickets() == {1: (30 * MINUTE, 24 * 60 * MINUTE, None, None)}
    account.habits.answers_within = timedelta(minutes=20)
    desk.materialize(FIRST, select=["ticket_statistics"])
    late = (None, "BREACHED")
    assert desk.tickets() == {1: (30 * MINUTE, 24 * 60 * MINUTE, *late), 2: (None, None, *late)}


def test_an_account_without_statistics_has_an_observation_and_no_materialization(desk: Desk, sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault(403, PATH, times=None))
    result = desk.read()
    assert result.success
    assert not result.get_asset_materialization_events()
    assert len(sandbox.requests) == len(NAMES)
    for key in desk.deployed.statistics_keys:
        (record,) = desk.instance.fetch_observations(key, limit=5).records
        assert "with status 403: its plan may lack it" in record.asset_observation.description


def test_days_of_statistics_that_the_account_lacks_are_no_gap(desk: Desk, sandbox: Sandbox) -> None:
    only = Account([], start_date=FIRST_DAY, statistics=NAMES)
    sensor = gaps_sensor(only, 3, timedelta(hours=1), only.statistics_keys)

    def requests() -> list[Any]:
        resources = {"gorgias": desk.resources["gorgias"]}
        with dg.build_sensor_context(instance=desk.instance, resources=resources) as context:
            return list(sensor.evaluate_tick(context).run_requests or ())

    assert [request.asset_selection for request in requests()] == [only.statistics_keys]
    sandbox.faults.append(Fault(403, PATH, times=None))
    desk.read()
    assert requests() == []


@pytest.mark.parametrize("status", [400, pytest.param(500, marks=pytest.mark.soak)])  # a 500 is asked for long
@pytest.mark.usefixtures("ann")
def test_a_scope_that_fails_is_left_out_with_what_is_stored_of_it(
    desk: Desk, account: SandboxAccount, status: int
) -> None:
    desk.read()
    account.habits.broken_scopes |= {"tickets-created": status, "resolution-time": status}
    result = desk.read()
    assert result.success
    assert desk.values("tickets-created", "ticketCount") == {(THIRD, "all"): 2}
    assert desk.tickets() == {1: (30 * MINUTE, 24 * 60 * MINUTE, None, None)}
    left_out = newest_materializations(desk.instance, desk.deployed.statistics_keys[0], [LAST])[LAST]["scopes_left_out"]
    assert left_out.value.keys() == {"tickets-created", "resolution-time"}
    assert f"status {status}" in left_out.value["resolution-time"]


def check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "statistics_agree"]
    return evaluation


def compared(evaluation: dg.AssetCheckEvaluation) -> dict[str, dict[str, Any]]:
    return {record.data["measure"]: record.data for record in evaluation.metadata["compared"].records}


@on_each_warehouse_in_time
@pytest.mark.usefixtures("ann")
def test_ours_and_theirs_are_compared_by_measure_with_the_reason_why_they_differ(
    desk: Desk, account: SandboxAccount
) -> None:
    passed = check(desk.read("tickets", *NEEDS["statistics"], "statistics"))
    assert passed.passed, passed.description
    assert passed.metadata["days"].value == 2, "the last day is over for half an hour only, the first was not read"
    found = compared(passed)
    assert len(found) == 11
    assert {row["difference"] for row in found.values()} == {0}
    for _ in range(10):
        account.create("tickets", created_datetime=at(3, 12))
    failed = check(desk.read("statistics"))
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert failed.description.endswith(f"too far apart are tickets-created: ticketCount on {FIRST}.")
    row = compared(failed)["tickets-created: ticketCount"]
    assert (row["ours"], row["theirs"], row["difference"]) == (2, 12, -10)
    assert "leave out spam" in row["why"]


def test_statistics_are_had_by_name_alone(tmp_path: Path) -> None:
    def names(words: Sequence[str]) -> set[str]:
        defs = build_definitions(entities=words, warehouse=f"duckdb:///{tmp_path}/w.duckdb")
        defs.get_repository_def()
        (job,) = [job for job in defs.jobs or () if job.name == "gorgias"]
        selected = defs.resolve_job_def(job.name).asset_layer.executable_asset_keys
        return {key.path[-1] for key in selected} & set(NAMES)

    assert names(["all"]) == names(["core"]) == set()
    assert names(["core", "statistics"]) == {"statistics"}
    assert names(["tickets", "ticket_statistics"]) == {"ticket_statistics"}
    with pytest.raises(ValueError, match=r"^statistics is compared with satisfaction_surveys, ticket_metrics, tick"):
        names(["tickets", "ticket_messages", "statistics"])
