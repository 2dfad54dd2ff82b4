"""When the daily run starts, which days it takes, and what it does while Gorgias is down."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from gorgias_assets.assets import key_of
from gorgias_assets.entities import ENTITIES, TICKETS
from gorgias_assets.partitions import days_of_run
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.schedules import (
    daily_schedule,
    freshness_schedule,
    full_sweep_job,
    full_sweep_schedule,
    gorgias_job,
    late_after,
)
from gorgias_assets_tests.conftest import Project

SUMMARY = dg.AssetKey(["gorgias", "summary"])
TICK = datetime(2025, 4, 1, 0, 30, tzinfo=UTC)


@pytest.fixture
def project(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A schedule's context takes only an instance that is kept in files."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as project.instance:
        yield project


def tick(project: Project, at: datetime = TICK, zone: str = "UTC", full: bool = False) -> Any:
    partitions = project.assets[0].partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    daily = daily_schedule(time(0, 30), ZoneInfo(zone), partitions, [SUMMARY])
    schedule = full_sweep_schedule(partitions) if full else daily
    definitions = dg.Definitions(
        assets=project.assets,
        jobs=[gorgias_job, full_sweep_job],
        schedules=[schedule],
        resources=project.resources,
    )
    with dg.build_schedule_context(
        instance=project.instance,
        scheduled_execution_time=at,
        repository_def=definitions.get_repository_def(),
        resources={"gorgias": project.resources["gorgias"]},
    ) as context:
        return schedule.evaluate_tick(context)


def asked(project: Project, at: datetime = TICK, zone: str = "UTC", full: bool = False) -> tuple[str, str]:
    (request,) = tick(project, at, zone, full).run_requests
    return days_of_run(request.tags)


def test_the_daily_run_takes_the_day_before_and_not_the_one_in_progress(project):
    assert asked(project) == ("2025-03-31", "2025-03-31")


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        (datetime(2025, 3, 31, 15, 30, tzinfo=UTC), "Asia/Tokyo", "2025-03-30"),  # half past midnight there
        (datetime(2025, 4, 1, 7, 30, tzinfo=UTC), "America/Los_Angeles", "2025-03-31"),
    ],
)
def test_a_tick_in_another_time_zone_takes_the_utc_day_that_has_ended_last(project, at, zone, day):
    assert asked(project, at, zone) == (day, day)


def test_the_tick_is_at_its_time_in_its_zone(project):
    partitions = project.assets[0].partitions_def
    schedule = daily_schedule(time(6, 5), ZoneInfo("Europe/Berlin"), partitions)
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
    schedule = freshness_schedule(late_after(daily_at, ZoneInfo("UTC")))
    assert schedule.cron_schedule == cron
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_days_that_ticks_have_left_out_come_along_with_the_next_in_one_run(project):
    project.materialize("2025-03-20")
    project.materialize("2025-03-28")
    assert asked(project) == ("2025-03-29", "2025-03-31")


def test_days_that_have_failed_come_along_for_the_assets_that_lack_them_in_a_run_of_their_own(project):
    project.materialize("2025-03-28")
    project.materialize("2025-03-29", "2025-03-30", select=["tickets", "customers"])
    assert [
        (*days_of_run(request.tags), sorted(key.path[-1] for key in request.asset_selection))
        for request in tick(project).run_requests
    ] == [
        ("2025-03-31", "2025-03-31", ["customers", "summary", "tickets"]),
        ("2025-03-29", "2025-03-31", ["satisfaction_surveys", "summary", "ticket_messages"]),
    ]


def test_one_entity_that_always_fails_does_not_make_the_run_longer_every_day(project):
    project.materialize("2025-03-30", select=["tickets"])
    assert asked(project) == ("2025-03-31", "2025-03-31")


def test_a_day_that_is_there_is_replayed_alone(project):
    project.materialize("2025-03-31")
    assert asked(project) == ("2025-03-31", "2025-03-31")


def test_nothing_older_than_a_month_comes_along(project):
    project.materialize("2025-03-01")
    assert asked(project, datetime(2025, 4, 20, 0, 30, tzinfo=UTC)) == ("2025-04-19", "2025-04-19")


def test_while_gorgias_is_down_the_tick_skips_and_leaves_an_observation(project, sandbox):
    sandbox.faults.append(Fault(503, times=None))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 60)
    result = tick(project)
    assert not result.run_requests
    assert result.skip_message == (
        "GET /customers: status 503, and no answer came in 1 s. The next tick asks for 2025-03-31 as well."
    )
    for entity in ENTITIES:
        (observed,) = project.instance.fetch_observations(key_of(entity), limit=10).records
        assert observed.asset_observation.partition == "2025-03-31"
        assert observed.asset_observation.description == "GET /customers: status 503, and no answer came in 1 s."
    assert not project.instance.fetch_materializations(key_of(TICKETS), limit=1).records


def test_a_key_that_gorgias_refuses_is_no_outage_and_the_run_says_what_to_do(project, sandbox):
    uri = sandbox.uri.replace(project.account.api_key, "wr0ng")
    project.resources["gorgias"] = GorgiasResource(uri=uri, api_url=sandbox.api_url)
    assert asked(project) == ("2025-03-31", "2025-03-31")


def test_the_full_sweep_takes_all_days_that_have_ended_in_one_run(project):
    assert asked(project, datetime(2025, 4, 1, 3, tzinfo=UTC), full=True) == ("2025-03-01", "2025-03-31")


@pytest.mark.parametrize("full", [False, True])
def test_before_the_first_day_has_ended_nothing_is_asked_for(project, full):
    result = tick(project, datetime(2025, 3, 1, 3, tzinfo=UTC), full=full)
    assert result.skip_message == "No day has ended since the start date."
