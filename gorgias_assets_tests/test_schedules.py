"""Schedules: the time of a run, its days and assets, and skipped ticks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from gorgias_assets.account import Account
from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE, TICKETS, VOICE_CALLS
from gorgias_assets.entities.model import Entity, Whole, integer, string
from gorgias_assets.jobs import freshness_job, full_sweep_job, gorgias_job
from gorgias_assets.partitions import ROWS_FROM, days_of_run
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.schedules import daily_schedule, freshness_schedule, full_sweep_schedule, late_after
from gorgias_assets.sensors import changes_sensor, gaps_sensor
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import Engine

TAGS = Entity("tags", "/tags", "One row per tag.", Whole(), (integer("id", "Its id."), string("name", "Its name.")))
GORGIAS = Account((*CORE, TAGS), start_date=FIRST_DAY)
SUMMARY = dg.AssetKey(["gorgias", "summary"])
TICK = datetime(2025, 4, 1, 0, 30, tzinfo=UTC)


@pytest.fixture
def project(sandbox: Sandbox, engine: Engine, tmp_path: Path) -> Iterator[Project]:
    """Yield one with a list that is read whole. A schedule's context takes only an instance that is kept in files."""
    project = Project(sandbox, engine, GORGIAS.entities)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as project.instance:
        yield project


def definitions(project: Project, account: Account = GORGIAS) -> dg.Definitions:
    return dg.Definitions(
        assets=build_assets(account), jobs=[gorgias_job(account), full_sweep_job(account)], resources=project.resources
    )


def tick(
    project: Project, at: datetime = TICK, zone: str = "UTC", full: bool = False, account: Account = GORGIAS
) -> Any:
    daily = daily_schedule(account, time(0, 30), ZoneInfo(zone), [SUMMARY])
    schedule = full_sweep_schedule(account) if full else daily
    with dg.build_schedule_context(
        instance=project.instance,
        scheduled_execution_time=at,
        repository_def=definitions(project, account).get_repository_def(),
        resources={"gorgias": project.resources["gorgias"]},
    ) as context:
        return schedule.evaluate_tick(context)


def requested(project: Project, at: datetime = TICK, zone: str = "UTC", full: bool = False) -> tuple[str, str]:
    (request,) = tick(project, at, zone, full).run_requests
    return days_of_run(request.tags)


def test_the_daily_run_takes_the_day_before_and_not_the_one_in_progress(project):
    assert requested(project) == ("2025-03-31", "2025-03-31")


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        (datetime(2025, 3, 31, 15, 30, tzinfo=UTC), "Asia/Tokyo", "2025-03-30"),  # half past midnight there
        (datetime(2025, 4, 1, 7, 30, tzinfo=UTC), "America/Los_Angeles", "2025-03-31"),
    ],
)
def test_a_tick_in_another_time_zone_takes_the_utc_day_that_has_ended_last(project, at, zone, day):
    assert requested(project, at, zone) == (day, day)


def test_the_tick_is_at_its_time_in_its_zone():
    schedule = daily_schedule(GORGIAS, time(6, 5), ZoneInfo("Europe/Berlin"))
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("5 6 * * *", "Europe/Berlin")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_a_day_is_late_only_after_the_tick_that_takes_it(zone):
    end = datetime(2025, 7, 2, tzinfo=UTC)
    late = end + late_after(time(6, 0), ZoneInfo(zone))
    ticks = [
        datetime(2025, 7, day, 6, tzinfo=ZoneInfo(zone))
        for day in (1, 2, 3)
        if datetime(2025, 7, day, 6, tzinfo=ZoneInfo(zone)) >= end
    ]
    assert timedelta(hours=5) <= late - min(ticks) <= timedelta(hours=7)


@pytest.mark.parametrize(("at", "zone"), [(time(0, 30), "Europe/London"), (time(1, 30), "Europe/Berlin")])
def test_no_day_is_late_before_its_tick_where_summer_time_brings_that_before_midnight_utc(at, zone):
    late = late_after(at, ZoneInfo(zone))
    for month in (1, 7):  # in summer, the first tick after the day's end is almost a day after it
        end = datetime(2025, month, 2, tzinfo=UTC)
        ticks = [datetime.combine(date(2025, month, day), at, ZoneInfo(zone)) for day in (2, 3)]
        assert end + late > min(tick for tick in ticks if tick >= end) + timedelta(hours=5)


@pytest.mark.parametrize(("daily_at", "cron"), [(time(0, 30), "30 6 * * *"), (time(22, 15), "15 4 * * *")])
def test_freshness_is_judged_as_soon_as_the_newest_day_that_has_to_be_there_is_late(daily_at, cron):
    schedule = freshness_schedule(GORGIAS, late_after(daily_at, ZoneInfo("UTC")))
    assert schedule.cron_schedule == cron
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_days_of_skipped_ticks_are_in_the_next_one_s_run(project):
    project.materialize("2025-03-20")
    project.materialize("2025-03-28")
    assert requested(project) == ("2025-03-29", "2025-03-31")


def test_assets_that_lack_failed_days_get_a_run_of_their_own(project):
    project.materialize("2025-03-28")
    project.materialize("2025-03-29", "2025-03-30", select=["tickets", "customers"])
    assert [
        (*days_of_run(request.tags), sorted(key.path[-1] for key in request.asset_selection))
        for request in tick(project).run_requests
    ] == [
        ("2025-03-31", "2025-03-31", ["customers", "summary", "tags", "tickets"]),
        ("2025-03-29", "2025-03-31", ["satisfaction_surveys", "summary", "ticket_messages"]),
    ]


def test_one_entity_that_always_fails_does_not_make_the_run_longer_every_day(project):
    project.materialize("2025-03-30", select=["tickets"])
    assert requested(project) == ("2025-03-31", "2025-03-31")


def test_a_day_that_is_there_is_replayed_alone(project):
    project.materialize("2025-03-31")
    assert requested(project) == ("2025-03-31", "2025-03-31")


def test_nothing_older_than_a_month_is_caught_up(project):
    project.materialize("2025-03-01")
    assert requested(project, datetime(2025, 4, 20, 0, 30, tzinfo=UTC)) == ("2025-04-19", "2025-04-19")


def test_while_gorgias_is_down_the_tick_is_skipped_and_noted_on_each_asset_s_page(project, sandbox):
    sandbox.faults.append(Fault(503, times=None))
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 60)
    project.resources["gorgias"] = gorgias
    result = tick(project)
    assert not result.run_requests
    assert result.skip_message == f"{gorgias.outage()} The next tick picks up 2025-03-31."
    assert "status 503" in result.skip_message
    for entity in GORGIAS.entities:
        (observed,) = project.instance.fetch_observations(GORGIAS.key_of(entity), limit=10).records
        assert observed.asset_observation.partition == (None if entity is TAGS else "2025-03-31")
        assert observed.asset_observation.description == gorgias.outage()
    assert not project.instance.fetch_materializations(GORGIAS.key_of(TICKETS), limit=1).records


@pytest.mark.parametrize(("hours", "read", "first"), [(8, "2025-03-30", "2025-03-31"), (1, "2025-03-29", "2025-03-30")])
def test_a_tick_skips_no_day_twice_and_none_for_more_than_a_few_hours(project, sandbox, hours, read, first):
    project.materialize(read)
    sandbox.faults.append(Fault(503, times=None))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 600)
    assert requested(project, datetime(2025, 4, 1, hours, tzinfo=UTC)) == (first, "2025-03-31")


@pytest.mark.parametrize("what", [404, 403, "html", "broken_json", "null_data"])
def test_whatever_gorgias_answers_below_500_is_no_outage(project, sandbox, what):
    sandbox.faults.append(Fault(what, times=None))
    assert requested(project) == ("2025-03-31", "2025-03-31")


def test_a_list_that_cannot_be_read_is_no_outage(project, sandbox):
    sandbox.faults.append(Fault(500, path="/api/customers*", times=None))
    assert requested(project) == ("2025-03-31", "2025-03-31")


def test_a_key_that_gorgias_refuses_is_no_outage_and_the_run_reports_what_to_do(project, sandbox):
    uri = sandbox.uri.replace(project.account.api_key, "wr0ng")
    project.resources["gorgias"] = GorgiasResource(uri=uri, api_url=sandbox.api_url)
    assert requested(project) == ("2025-03-31", "2025-03-31")


def test_the_full_sweep_records_the_day_that_has_ended_last_and_reads_all_before_it(project):
    (request,) = tick(project, datetime(2025, 4, 1, 3, tzinfo=UTC), full=True).run_requests
    assert days_of_run(request.tags) == ("2025-03-31", "2025-03-31")
    assert request.tags[ROWS_FROM] == "2025-03-01"


@pytest.mark.parametrize("full", [False, True])
def test_before_the_first_day_has_ended_nothing_is_requested(project, full):
    result = tick(project, datetime(2025, 3, 1, 3, tzinfo=UTC), full=full)
    assert result.skip_message == "No day has ended since the start date."


@pytest.mark.parametrize("full", [False, True])
def test_a_list_without_days_is_read_whole_in_the_run_of_a_day_and_in_a_full_sweep(project, account, full):
    account.create("tags", name="refund")
    (request,) = tick(project, full=full).run_requests
    job = definitions(project).resolve_job_def("gorgias_full_sweep" if full else "gorgias")
    result = job.execute_in_process(instance=project.instance, tags=request.tags, run_config=request.run_config)
    (snapshot,) = result.asset_materializations_for_node("gorgias_reference")
    assert (snapshot.partition, project.query("SELECT name FROM gorgias.tags")) == (None, [("refund",)])
    days = result.asset_materializations_for_node("gorgias__tickets")
    assert [day.partition for day in days] == ["2025-03-31"]


def test_a_list_that_the_account_lacks_is_asked_for_in_the_run_of_the_others(project, sandbox):
    some = Account([TICKETS, VOICE_CALLS], start_date=FIRST_DAY)
    sandbox.faults.append(Fault(403, path="*/voice-calls", times=None))
    project.assets = build_assets(some)
    project.materialize("2025-03-30", select=["tickets", "voice_calls"])
    (request,) = tick(project, account=some).run_requests
    assert (days_of_run(request.tags), request.asset_selection) == (("2025-03-31", "2025-03-31"), None)


@pytest.mark.parametrize("full", [False, True])
def test_an_account_of_such_lists_alone_is_read_without_days(project, full):
    (request,) = tick(project, full=full, account=Account([TAGS], start_date=FIRST_DAY)).run_requests
    assert days_of_run(request.tags) == ()


def test_definitions_of_two_accounts_do_not_collide():
    def made(account: Account) -> dg.Definitions:
        tickets = account.key_of(TICKETS)
        fresh = dg.asset_check(asset=tickets, name="fresh")(lambda: dg.AssetCheckResult(passed=True))
        late = late_after(time(0, 30), ZoneInfo("UTC"))
        return dg.Definitions(
            assets=build_assets(account),
            asset_checks=[fresh],
            jobs=[
                gorgias_job(account),
                full_sweep_job(account),
                freshness_job(account, [dg.AssetCheckKey(tickets, "fresh")]),
            ],
            schedules=[
                daily_schedule(account, time(0, 30), ZoneInfo("UTC")),
                freshness_schedule(account, late),
                full_sweep_schedule(account),
            ],
            sensors=[
                changes_sensor(account, timedelta(minutes=5)),
                gaps_sensor(account, 30, late),
                failure_alert(account, "https://hooks.example", ""),
                check_alert(account, "https://hooks.example", ""),
            ],
            resources={account.name: GorgiasResource(uri=""), account.io_manager_key: dg.mem_io_manager},
        )

    outlet = Account(CORE, "outlet", io_manager_key="outlet_warehouse")
    repository = dg.Definitions.merge(made(GORGIAS), made(outlet)).get_repository_def()
    for kind in (repository.get_all_jobs(), repository.schedule_defs, repository.sensor_defs):
        names = {one.name for one in kind if not one.name.startswith("__")}
        gorgias = {name for name in names if name.startswith("gorgias")}
        assert gorgias
        assert names - gorgias == {name.replace("gorgias", "outlet") for name in gorgias}
    assert {key.path[0] for key in repository.get_job("outlet").asset_layer.executable_asset_keys} == {"outlet"}
