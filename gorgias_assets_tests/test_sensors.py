"""Sensors: the runs they request, and the reasons to request none."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster import DagsterEvent

from gorgias_assets.account import Account
from gorgias_assets.days import Day, days_of
from gorgias_assets.entities import CORE, EVENTS, JOBS, TICKETS, VOICE_CALLS
from gorgias_assets.jobs import gorgias_job
from gorgias_assets.partitions import days_of_run, ranges, tags_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.endpoints import Answer
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Request, Sandbox
from gorgias_assets.sensors import changes_sensor, gaps_sensor
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.test_schedules import TAGS

GORGIAS = Account((*CORE, TAGS), start_date=FIRST_DAY)  # no sensor requests tags, which are read whole
NOW = datetime.now(UTC)
TODAY, YESTERDAY = str(NOW.date()), str(NOW.date() - timedelta(days=1))
ALL = [entity.name for entity in CORE]


def day(ago: int) -> str:
    return str(NOW.date() - timedelta(days=ago))


@pytest.fixture(autouse=True)
def _at_now() -> Iterator[None]:
    """Begin each test at `NOW`: midnight may have gone by since."""
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def account() -> SandboxAccount:
    return SandboxAccount(now=NOW)


@pytest.fixture
def outage(project: Project) -> None:
    """Have Gorgias answer 503, and ticks give up soon."""
    project.sandbox.faults.append(Fault(503, times=None))
    project.resources["gorgias"] = GorgiasResource(
        uri=project.sandbox.uri, api_url=project.sandbox.api_url, patience_minutes=1 / 100
    )


def definitions(project: Project) -> dg.Definitions:
    return dg.Definitions(assets=project.assets, jobs=[gorgias_job(GORGIAS)], resources=project.resources)


def tick(project: Project, sensor: dg.SensorDefinition, cursor: str | None = None) -> Any:
    """Evaluate the sensor as the code location does for Dagster's daemon."""
    with dg.build_sensor_context(
        instance=project.instance,
        cursor=cursor,
        repository_def=definitions(project).get_repository_def(),
        sensor_name=sensor.name,
        resources={"gorgias": project.resources["gorgias"]},
    ) as context:
        return sensor.evaluate_tick(context)


def changes(project: Project, cursor: str | None = None) -> Any:
    return tick(project, changes_sensor(GORGIAS, timedelta(minutes=5)), cursor)


def gaps(project: Project, horizon: int = 5, late_after: timedelta = timedelta(0)) -> list[tuple[str, str, list[str]]]:
    """Return the requested gaps, each with the names of its assets."""
    return requested(tick(project, gaps_sensor(GORGIAS, horizon, late_after)))


def requested(result: Any) -> list[tuple[str, str, list[str]]]:
    return [(*days_of_run(request.tags), names(request)) for request in result.run_requests]


def names(request: dg.RunRequest) -> list[str]:
    return [key.path[-1] for key in request.asset_selection or ()]


def running(project: Project, first: str, last: str, assets: Sequence[str] = ALL, **tags: str) -> dg.DagsterRun:
    """Add a run that has not ended."""
    selection = {dg.AssetKey(["gorgias", name]) for name in assets}
    job = definitions(project).resolve_job_def("gorgias").get_subset(asset_selection=selection)
    return project.instance.create_run_for_job(
        job,
        tags=tags | tags_of_days(first, last),
        asset_selection=frozenset(selection),
        status=dg.DagsterRunStatus.STARTED,
    )


def fail(project: Project, run: dg.DagsterRun, ago: timedelta = timedelta(0)) -> None:
    """Let the run have failed, so long ago."""
    failure = DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name)
    moment = (datetime.now(UTC) - ago).timestamp()
    project.instance.handle_new_event(
        dg.EventLogEntry(None, "ERROR", "", run.run_id, moment, job_name=run.job_name, dagster_event=failure)
    )


def test_today_is_requested_of_just_the_entities_that_changed_and_without_checks(project, account):
    account.create("tickets", subject="Where is my parcel?")
    result = changes(project)
    (request,) = result.run_requests
    assert (request.partition_key, names(request)) == (TODAY, ["tickets"])
    assert request.asset_check_keys == []
    assert request.tags["gorgias/changes"] == "today"


def test_a_refresh_that_died_with_its_machine_does_not_keep_others_away_for_long(project, account):
    account.create("tickets")
    (request,) = changes(project).run_requests
    assert request.tags[dg.MAX_RUNTIME_SECONDS_TAG] == "3600"


def test_no_tick_fails_before_the_first_day_has_begun(project):
    sensor = changes_sensor(Account(CORE, start_date=day(-2)), timedelta(minutes=5))
    assert tick(project, sensor).skip_message == "The first day has not begun."


def test_the_newest_row_costs_one_call_per_entity_and_no_other_row_is_fetched(project, account, sandbox):
    for _ in range(5):
        account.create("tickets")
    changes(project)
    assert [(call.path, call.params["limit"]) for call in sandbox.requests] == [
        (f"/api{entity.path}", "1") for entity in CORE
    ]


def test_a_change_is_requested_once(project, account):
    account.create("tickets")
    first = changes(project)
    again = changes(project, first.cursor)
    assert not again.run_requests
    assert again.skip_message == "Nothing is new."
    account.create("messages", ticket_id=1)
    assert names(changes(project, first.cursor).run_requests[0]) == ["ticket_messages"]


def test_what_happened_before_today_is_left_to_the_daily_run(project, account):
    blank = {"created_datetime": NOW - timedelta(days=1), "updated_datetime": NOW - timedelta(days=1)}
    account.create("tickets", **blank)
    assert not changes(project).run_requests


def test_nothing_is_requested_while_a_run_reads_today_and_it_is_once_that_has_ended(project, account):
    account.create("tickets")
    run = running(project, YESTERDAY, TODAY, ["tickets"])
    waiting = changes(project)
    assert not waiting.run_requests
    assert waiting.skip_message == "tickets: a run is reading today."
    fail(project, run)
    assert names(changes(project, waiting.cursor).run_requests[0]) == ["tickets"]


def test_today_is_materialized_as_it_is_requested(project, account):
    ticket = account.create("tickets")
    (request,) = changes(project).run_requests
    project.materialize(request.partition_key, select=names(request))
    assert project.table(TICKETS).keys() == {ticket["id"]}


def test_refreshing_today_costs_no_look_back(project, account, sandbox):
    for ago in range(20):
        moment = NOW - timedelta(days=ago)
        for kind in ("messages", "satisfaction_surveys"):
            account.insert_many(
                kind,
                ({**KINDS[kind].blank, "id": 1000 * ago + number, "created_datetime": moment} for number in range(100)),
            )
    (request,) = changes(project).run_requests
    before = len(sandbox.requests)
    definitions(project).resolve_job_def("gorgias").execute_in_process(
        instance=project.instance,
        run_config=request.run_config,
        partition_key=TODAY,
        asset_selection=request.asset_selection,
    )
    assert len([call for call in sandbox.requests[before:] if call.path != "/api/events"]) <= 2 * 2
    assert project.query("SELECT count(*) FROM gorgias.satisfaction_surveys") == [(100,)]


def test_old_refreshes_are_deleted_from_the_history_and_other_runs_are_not(project):
    refresh = running(project, TODAY, TODAY, **{"gorgias/changes": "today"})
    fail(project, refresh)
    unfinished = running(project, TODAY, TODAY, **{"gorgias/changes": "today"})
    other = running(project, TODAY, TODAY)
    fail(project, other)
    changes(project)
    assert project.instance.get_run_by_id(refresh.run_id)
    tick(project, changes_sensor(GORGIAS, timedelta(minutes=5), kept=timedelta(0)))
    assert project.instance.get_run_by_id(refresh.run_id) is None
    assert project.instance.get_run_by_id(unfinished.run_id)
    assert project.instance.get_run_by_id(other.run_id)


def test_a_day_whose_run_was_deleted_counts_as_missing(project):
    project.materialize(day(5), day(2))
    result = project.materialize(day(1))
    assert gaps(project) == []
    project.instance.delete_run(result.run_id)
    assert gaps(project) == [(day(1), day(1), ALL)]


@pytest.mark.usefixtures("outage")
def test_an_account_that_does_not_answer_ends_the_tick_with_a_reason_and_keeps_the_cursor(project):
    cursor = json.dumps({"tickets": ["2025-01-01T00:00:00+00:00", 1]})
    result = changes(project, cursor)
    assert not result.run_requests
    assert result.skip_message.startswith("GET /customers: status 503")
    assert "GET /tickets: status 503" in result.skip_message
    assert result.skip_message.count("if that lasts.") == len(CORE)
    assert json.loads(result.cursor).items() > json.loads(cursor).items()


@pytest.mark.usefixtures("outage")
def test_lists_that_do_not_answer_for_hours_are_requested_so_that_a_run_fails_where_it_is_seen(project):
    cursor = json.loads(changes(project).cursor)
    cursor["down since"] |= {"tickets": str(NOW - timedelta(hours=3)), "customers": str(NOW - timedelta(hours=2))}
    result = changes(project, json.dumps(cursor))
    assert names(result.run_requests[0]) == ["tickets"]
    assert not changes(project, result.cursor).run_requests, "a run each few hours is enough"


def test_an_outage_that_is_over_is_forgotten(project, account):
    account.create("tickets")
    cursor = {"down since": {"tickets": str(NOW - timedelta(hours=3))}}
    assert json.loads(changes(project, json.dumps(cursor)).cursor).keys() == {"tickets"}


def at(moment: datetime, **more: Any) -> dict[str, Any]:
    return {"created_datetime": moment, "updated_datetime": moment, **more}


@pytest.mark.parametrize("ahead", [1, 150])
def test_a_row_of_the_future_hides_nothing_that_is_new(project, account, ahead):
    account.create("messages", ticket_id=None, created_datetime=NOW - timedelta(seconds=5))
    blank = KINDS["messages"].blank
    later = ({**blank, "id": 10_000 + n, "created_datetime": NOW + timedelta(hours=10)} for n in range(ahead))
    account.insert_many("messages", later)
    first = changes(project)
    assert names(first.run_requests[0]) == ["ticket_messages"]
    assert not changes(project, first.cursor).run_requests
    account.insert_many("messages", [{**blank, "id": 9_000, "created_datetime": NOW - timedelta(seconds=1)}])
    second = changes(project, first.cursor)
    assert names(second.run_requests[0]) == ["ticket_messages"]
    account.insert_many("messages", [{**blank, "id": 20_000, "created_datetime": NOW + timedelta(hours=11)}])
    third = changes(project, second.cursor)
    assert names(third.run_requests[0]) == ["ticket_messages"]
    assert not changes(project, third.cursor).run_requests


class NullsFirst(Sandbox):
    """An account whose lists begin with rows without an order field, as PostgreSQL has them."""

    def respond(self, request: Request, headers: Message) -> Answer:
        due = super().respond(request, headers)
        if not due.is_page or "cursor" in request.params or request.path != "/api/tickets":
            return due
        page = json.loads(due.body)
        limit = int(request.params["limit"])
        page["data"] = [row | {"updated_datetime": None} for row in page["data"] * limit][:limit]
        return replace(due, body=json.dumps(page).encode())


def test_rows_without_an_order_field_at_the_head_hide_nothing_that_is_new(project, account):
    account.create("tickets")
    with NullsFirst(account, gzip=False) as sandbox:
        project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
        first = changes(project)
        assert names(first.run_requests[0]) == ["tickets"]
        account.insert_many("tickets", [KINDS["tickets"].blank | at(NOW, id=700)])
        assert names(changes(project, first.cursor).run_requests[0]) == ["tickets"]


def test_a_row_of_the_future_alone_is_requested_once(project, account):
    account.insert_many("satisfaction_surveys", [at(datetime(2100, 1, 1, tzinfo=UTC), id=1)])
    first = changes(project)
    assert names(first.run_requests[0]) == ["satisfaction_surveys"]
    assert not changes(project, first.cursor).run_requests


def test_one_list_that_does_not_answer_keeps_no_other_from_being_fresh(project, account, sandbox):
    account.create("tickets")
    sandbox.faults.append(Fault(503, "/api/customers", times=None))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 600)
    assert names(changes(project).run_requests[0]) == ["tickets"]


def test_what_the_key_may_not_read_is_left_out(project, account, sandbox):
    account.create("tickets")
    sandbox.faults.append(Fault(403, "/api/customers", times=None))
    assert names(changes(project).run_requests[0]) == ["tickets"]


def test_days_that_were_never_read_are_requested_in_one_run(project):
    assert gaps(project) == [(day(5), day(1), ALL)]


def test_days_that_were_read_part_the_gaps_and_each_asset_is_requested_for_those_that_it_lacks(project):
    project.materialize(day(3))
    project.materialize(day(1), select=["tickets", "customers"])
    assert gaps(project) == [
        (day(2), day(1), ["ticket_messages", "satisfaction_surveys"]),
        (day(2), day(2), ["customers", "tickets"]),
        (day(5), day(4), ALL),
    ]


def test_nothing_is_requested_if_nothing_is_missing(project):
    project.materialize(day(5), day(1))
    sensor = gaps_sensor(GORGIAS, 5, timedelta(0))
    assert tick(project, sensor).skip_message == "No day is missing."


def test_a_day_that_was_read_before_it_had_ended_is_missing_afterwards(project):
    project.materialize(TODAY, select=["tickets"])
    tickets = GORGIAS.key_of(TICKETS)
    assert days_of(project.instance, GORGIAS.partitions, tickets, [TODAY]) == {TODAY: Day.BEGUN}


def test_a_day_that_was_read_too_early_by_gorgias_s_clock_is_requested_until_it_is_complete(tmp_path):
    """This machine's clock shows that the day is over."""
    midnight, tickets = datetime.combine(NOW.date(), datetime.min.time(), UTC), GORGIAS.key_of(TICKETS)
    with Sandbox(SandboxAccount(now=midnight - timedelta(minutes=40))) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        project.materialize(YESTERDAY)
        assert days_of(project.instance, GORGIAS.partitions, tickets, [YESTERDAY]) == {YESTERDAY: Day.BEGUN}
        assert gaps(project, horizon=1) == [(YESTERDAY, YESTERDAY, ALL)]
        sandbox.account.create("tickets")
        sandbox.account.advance(timedelta(minutes=41))
        project.materialize(YESTERDAY)
        assert gaps(project, horizon=1) == []
        assert len(project.table(TICKETS)) == 1


def test_a_summary_joins_each_run_and_is_requested_alone_if_nothing_else_is_missing(project):
    @dg.asset(
        key=["gorgias", "summary"],
        group_name="gorgias",
        partitions_def=GORGIAS.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def summary() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"began_at": dg.MetadataValue.timestamp(datetime.now(UTC))})

    project.materialize(day(4), day(1))
    project.assets = [*project.assets, summary]
    dg.materialize([summary], partition_key=day(2), instance=project.instance)
    assert requested(tick(project, gaps_sensor(GORGIAS, 5, timedelta(0), [summary.key]))) == [
        (day(1), day(1), ["summary"]),
        (day(4), day(3), ["summary"]),
        (day(5), day(5), [*ALL, "summary"]),
    ]


def test_a_failed_day_is_requested(project, sandbox):
    project.materialize(day(5), day(1))
    key = project.account.api_key
    uri = project.sandbox.uri.replace(key, "wr0ng")
    right, project.resources["gorgias"] = (
        project.resources["gorgias"],
        GorgiasResource(uri=uri, api_url=sandbox.api_url),
    )
    project.materialize(day(2), select=["tickets"], raise_on_error=False)
    project.resources["gorgias"] = right
    assert gaps(project) == [(day(2), day(2), ["tickets"])]


def test_a_day_that_a_run_is_reading_is_not_requested(project):
    running(project, day(4), day(2))
    assert gaps(project) == [(day(1), day(1), ALL), (day(5), day(5), ALL)]


def test_a_day_that_has_only_just_ended_is_left_to_the_daily_run(project):
    since_midnight = datetime.now(UTC) - datetime.combine(NOW.date(), datetime.min.time(), UTC)
    assert gaps(project, late_after=since_midnight + timedelta(hours=1)) == [(day(6), day(2), ALL)]


def test_a_tick_requests_four_gaps_at_most(project):
    for ago in (2, 4, 6, 8, 10):
        project.materialize(day(ago), select=["tickets"])
    found = gaps(project, horizon=11)
    assert found[0] == (day(1), day(1), ["tickets"])
    assert found[1] == (day(11), day(1), ["customers", "ticket_messages", "satisfaction_surveys"])
    assert found[2:] == [(day(3), day(3), ["tickets"]), (day(5), day(5), ["tickets"])]


@pytest.mark.parametrize(
    ("attempt", "hours"), [(1, 1), (2, 2), (3, 4), (6, 24), (60, 24)], ids=lambda number: str(number)
)
def test_a_gap_that_keeps_failing_is_requested_at_ever_longer_intervals_up_to_a_day(project, attempt, hours):
    tags = {"dagster/sensor_name": "gorgias_gaps", "gorgias/gaps": str(attempt)}
    run = running(project, day(5), day(1), **tags)
    fail(project, run, timedelta(hours=hours, minutes=-1))
    sensor = gaps_sensor(GORGIAS, 5, timedelta(0))
    waiting = tick(project, sensor)
    assert not waiting.run_requests
    assert waiting.skip_message.startswith(f"Requested lately, and still missing: {day(5)} to {day(1)} of customers, ")
    fail(project, run, timedelta(hours=hours, minutes=1))
    (request,) = tick(project, sensor).run_requests
    assert request.tags["gorgias/gaps"] == str(attempt + 1)


def test_a_gap_that_others_failed_to_fill_is_requested_at_once(project):
    fail(project, running(project, day(5), day(1)))
    assert gaps(project) == [(day(5), day(1), ALL)]


@pytest.mark.usefixtures("outage")
def test_no_gap_is_requested_during_an_outage(project):
    sensor = gaps_sensor(GORGIAS, 5, timedelta(0))
    result = tick(project, sensor)
    assert not result.run_requests
    assert result.skip_message.startswith(project.resources["gorgias"].outage())
    assert "status 503" in result.skip_message
    assert "A run is requested from" in result.skip_message


@pytest.mark.usefixtures("outage")
@pytest.mark.parametrize(("hours", "runs"), [(2.9, 0), (3.1, 1)])
def test_gaps_are_requested_again_in_an_outage_of_hours_so_that_a_run_fails_where_it_is_seen(project, hours, runs):
    sensor = gaps_sensor(GORGIAS, 5, timedelta(0))
    since = str(datetime.now(UTC) - timedelta(hours=hours))
    result = tick(project, sensor, since)
    assert len(result.run_requests or []) == runs
    assert datetime.fromisoformat(result.cursor) == datetime.fromisoformat(since)


@pytest.mark.parametrize("cursor", ["", "nonsense", "2025-03-01"])
def test_a_cursor_of_an_outage_that_is_over_or_unreadable_is_emptied(project, cursor):
    result = tick(project, gaps_sensor(GORGIAS, 5, timedelta(0)), cursor)
    assert result.run_requests
    assert not result.cursor


def test_days_are_joined_to_ranges_across_months_and_years():
    keys = ["2025-01-01", "2024-12-31", "2025-01-03", "2025-02-28", "2025-03-01"]
    assert ranges(keys) == [("2024-12-31", "2025-01-01"), ("2025-01-03", "2025-01-03"), ("2025-02-28", "2025-03-01")]
    assert ranges([]) == []


def test_both_are_off_until_somebody_turns_them_on():
    for sensor in (changes_sensor(GORGIAS, timedelta(minutes=5)), gaps_sensor(GORGIAS, 30, timedelta(0))):
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_a_list_that_the_account_lacks_is_no_gap_and_not_looked_at_until_the_daily_run_reads_it(sandbox, engine):
    project = Project(sandbox, engine, [JOBS, VOICE_CALLS])
    sandbox.faults.append(Fault(403, times=None))
    project.materialize(day(1))
    sandbox.requests.clear()
    looks, find = changes_sensor(project.deployed, timedelta(minutes=5)), gaps_sensor(project.deployed, 2, timedelta(0))
    assert (tick(project, looks).skip_message, tick(project, find).skip_message) == (
        "Nothing is new.",
        "No day is missing.",
    )
    assert sandbox.requests == []
    sandbox.faults.clear()
    project.materialize(day(1))
    assert requested(tick(project, find)) == [(day(2), day(2), ["jobs", "voice_calls"])]


def test_days_whose_events_gorgias_no_longer_keeps_are_no_gap(sandbox, engine):
    project = Project(sandbox, engine, [EVENTS])
    found = requested(tick(project, gaps_sensor(project.deployed, 9_999, timedelta(0))))
    assert found == [(day(364), YESTERDAY, ["events"])]
