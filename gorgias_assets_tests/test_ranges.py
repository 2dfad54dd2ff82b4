"""Runs of many days: planned for the newest one, recorded for all, and each call of the API counted once."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.days import Day, days_of, newest_materializations
from gorgias_assets.entities import CORE, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.jobs import full_sweep_job, gorgias_job, request_of
from gorgias_assets.metadata import doubt
from gorgias_assets.metrics.declared import METRICS, OVERVIEW
from gorgias_assets.partitions import FIRST_DAY, ROWS_FROM, days_read, days_recorded
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.summaries import build_summaries
from gorgias_assets_tests.conftest import Project

START = "2025-03-01"
GORGIAS = Account(CORE, start_date=START, metrics=METRICS)
ASSETS = [*map(GORGIAS.key_of, CORE)]
OF_EACH_DAY = {"window", "began_at", "coverage", "dagster/partition_row_count"}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def day(number: int) -> str:
    return f"2025-03-{number:02}"


@pytest.fixture
def account() -> SandboxAccount:
    """Return an account that has lived for eleven days."""
    account = SandboxAccount(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=3, tickets_per_day=6).live(until=datetime(2025, 3, 12, 6, tzinfo=UTC))
    return account


@pytest.fixture
def project(sandbox: Sandbox, tmp_path: Path) -> Iterator[Project]:
    """Yield one whose history is kept in SQLite, as that of `make dev`."""
    project = Project(sandbox, tmp_path / "warehouse.duckdb")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as project.instance:
        yield project


def job(project: Project, name: str = "gorgias", account: Account = GORGIAS) -> dg.JobDefinition:
    reports = str(project.database.parent / "reports")
    return dg.Definitions(
        assets=[*build_assets(account), *build_summaries(replace(account, reports=reports))],
        jobs=[gorgias_job(account), full_sweep_job(account)],
        resources=project.resources,
    ).resolve_job_def(name)


def tags_of(first: str, last: str, **older: str) -> dict[str, str]:
    request = request_of(GORGIAS, first, last, **older)
    return {"dagster/partition": str(request.partition_key), **request.tags}


def run(project: Project, first: str, last: str, assets: list[dg.AssetKey] = ASSETS) -> dg.ExecuteInProcessResult:
    """Run the days as the schedules and sensors request them."""
    some = job(project).get_subset(asset_selection={*assets})
    return some.execute_in_process(
        instance=project.instance, tags=tags_of(first, last), run_config=QUIET, raise_on_error=False
    )


def history(project: Project, asset: dg.AssetKey) -> list[dg.AssetMaterialization]:
    """Return all materializations of the asset, oldest first."""
    records = project.instance.fetch_materializations(asset, limit=1000, ascending=True).records
    return [record.asset_materialization for record in records]


def values(materialization: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: value.value for name, value in materialization.metadata.items()}


def touched(project: Project, entity: Any) -> Mapping[str, int]:
    """Return the number of the account's rows that something happened to, by day."""
    rows = project.live_rows(entity).values()
    days = [{row[field].date().isoformat() for field in entity.read.touch_fields if row[field]} for row in rows]
    return {day(number): sum(day(number) in touches for touches in days) for number in range(1, 12)}


def test_a_run_of_many_days_is_planned_for_the_newest_one_and_recorded_for_each(project):
    result = run(project, day(3), day(9))
    planned = project.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert sorted(event.get_dagster_event().asset_key for event in planned) == sorted(ASSETS)
    for entity, asset in zip(CORE, ASSETS, strict=True):
        made = history(project, asset)
        assert [one.partition for one in made] == [day(number) for number in range(3, 10)]
        assert project.instance.get_materialized_partitions(asset) == {one.partition for one in made}
        rows = {one.partition: values(one)["dagster/partition_row_count"] for one in made}
        assert rows == {key: count for key, count in touched(project, entity).items() if key in rows}
        assert not [why for one in made if (why := doubt(one.metadata))]
        assert all(one.metadata.keys() == OF_EACH_DAY for one in made[:-1])
        newest = project.instance.get_latest_materialization_event(asset).asset_materialization
        assert newest.partition == day(9)
        assert values(newest)["dagster/row_count"] == len(project.table(entity))
        assert newest.metadata.keys() > OF_EACH_DAY
        days = days_of(project.instance, GORGIAS.partitions, asset, [day(number) for number in range(1, 13)])
        assert [key for key, state in days.items() if state is Day.COMPLETE] == [one.partition for one in made]
        assert {*days.values()} == {Day.COMPLETE, Day.MISSING}


def test_sums_over_all_days_and_runs_are_what_the_server_has_counted(project, account, sandbox):
    """Each request of these runs is of one asset; runs that evaluate checks would request events for them."""
    account.delete("tickets", min(row["id"] for row in account.rows("tickets")))
    ran = [
        run(project, day(4), day(9)),
        run(project, day(10), day(10)),
        project.materialize(day(1), day(6), select=["tickets", "customers"]),  # a range of partitions, as in the UI
        project.materialize(day(11), select=["tickets"], full=True),
    ]
    assert all(one.success for one in ran)
    made = [one for asset in ASSETS for one in history(project, asset)]
    assert len(made) == 4 * 6 + 4 * 1 + 2 * 6 + 1
    assert sum(values(one).get("api_calls", 0) for one in made) == len(sandbox.requests)
    for entity, asset in zip(CORE, ASSETS, strict=True):
        new = sum(values(one).get("rows_new", 0) for one in history(project, asset))
        assert new == len(project.table(entity)), entity.name


def test_a_range_of_partitions_has_what_is_of_the_whole_run_on_its_newest_day(project):
    project.materialize(day(3), day(8), select=["tickets"])
    *others, newest = history(project, GORGIAS.key_of(TICKETS))
    assert newest.partition == day(8)
    assert all(one.metadata.keys() == OF_EACH_DAY for one in others)
    run(project, day(3), day(8), [GORGIAS.key_of(TICKETS)])
    again = history(project, GORGIAS.key_of(TICKETS))[len(others) + 1 :]
    assert [one.partition for one in again] == [one.partition for one in [*others, newest]]
    assert again[-1].metadata.keys() == newest.metadata.keys()
    counts = [[values(one)["dagster/partition_row_count"] for one in made] for made in (others, again[:-1])]
    assert counts[0] == counts[1]


def test_the_days_of_a_run_are_being_read_until_it_ends_and_missing_if_it_fails(project, account, sandbox):
    """The history is looked at while Gorgias answers with the first page of messages, after which it refuses."""
    noon = datetime(2025, 3, 4, 12, tzinfo=UTC)
    blank = KINDS["messages"].blank
    account.insert_many("messages", ({**blank, "id": 9000 + n, "created_datetime": noon} for n in range(150)))
    tickets, messages = GORGIAS.key_of(TICKETS), GORGIAS.key_of(TICKET_MESSAGES)
    run(project, day(3), day(5), [tickets])
    seen: dict[dg.AssetKey, dict[str, Day]] = {}
    sandbox.after_page = lambda _: seen.update({asset: states(project, asset) for asset in (tickets, messages)})
    sandbox.faults.append(Fault(403, path="/api/messages", skip=1, times=None))
    assert not run(project, day(3), day(5), [messages]).success
    assert {*seen[tickets].values()} == {Day.COMPLETE}
    assert {*seen[messages].values()} == {Day.RUNNING}
    assert states(project, messages) == {day(3): Day.MISSING, day(4): Day.MISSING, day(5): Day.FAILED}


def states(project: Project, asset: dg.AssetKey) -> dict[str, Day]:
    return days_of(project.instance, GORGIAS.partitions, asset, [day(3), day(4), day(5)])


@pytest.mark.soak
def test_the_overview_of_many_days_has_each_of_them_and_a_full_sweep_draws_all_and_records_one(project, account):
    run(project, day(2), day(6))
    run(project, day(1), day(6), [GORGIAS.key_of(OVERVIEW)])
    made = history(project, GORGIAS.key_of(OVERVIEW))
    assert [one.partition for one in made] == [day(number) for number in range(1, 7)]
    assert ["began_at" in one.metadata for one in made] == [False, True, True, True, True, True]
    assert ["picture" in one.metadata for one in made] == [False] * 5 + [True]
    before = surveys_sent(project)
    assert {key.isoformat() for key in before} == {one.partition for one in made}
    known = {asset: len(history(project, asset)) for asset in [*ASSETS, GORGIAS.key_of(OVERVIEW)]}
    noon = datetime(2025, 3, 2, 12, tzinfo=UTC)
    imported = account.create("satisfaction_surveys", created_datetime=noon, sent_datetime=noon)
    result = job(project, "gorgias_full_sweep").execute_in_process(
        instance=project.instance, tags=tags_of(day(1), day(6), older=ROWS_FROM), raise_on_error=False
    )
    assert result.success
    assert imported["id"] in project.table(SATISFACTION_SURVEYS)
    assert surveys_sent(project)[noon.date()] == before[noon.date()] + 1
    for asset, number in known.items():
        assert [one.partition for one in history(project, asset)[number:]] == [day(6)]


def surveys_sent(project: Project) -> dict[date, int]:
    return dict(project.query("SELECT day, surveys_sent FROM gorgias.overview WHERE dimension = 'all'"))


def test_the_run_of_ten_years_is_created_with_as_many_events_as_that_of_a_day(project):
    account = Account(CORE, start_date="2015-01-01", metrics=METRICS)

    def events(first: str) -> int:
        request = request_of(account, first, "2024-12-31")
        run = project.instance.create_run_for_job(
            job(project, account=account), tags={"dagster/partition": request.partition_key, **request.tags}
        )
        return len(project.instance.all_logs(run.run_id))

    assert events("2015-01-01") == events("2024-12-31") == len(account.asset_keys)


@pytest.mark.parametrize("first", ["2025-02-28", "2025-03-07", "yesterday"])
def test_a_tag_that_names_no_earlier_day_is_refused_in_a_sentence(first):
    tags = {"dagster/partition": day(6), FIRST_DAY: first}
    sentence = f"The run's tag names '{first}' as its first day; name one from 2025-03-01 to 2025-03-06, its partition."
    for days in (days_read, days_recorded):
        with pytest.raises(dg.Failure, match=re.escape(sentence)) as failure:
            days(GORGIAS.partitions, [day(6)], tags)
        assert not failure.value.allow_retries


def test_an_asset_of_one_s_own_replaces_and_records_its_partition_alone(project):
    """It knows nothing of the tag, and makes or reads just the partition."""

    @dg.asset(key=["marts", "orders"], partitions_def=GORGIAS.partitions, metadata={"partition_expr": "day"})
    def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"day": pd.to_datetime([context.partition_key], utc=True)})

    @dg.asset(key=["marts", "tickets"], partitions_def=GORGIAS.partitions)
    def tickets(context: dg.AssetExecutionContext, gorgias: GorgiasResource) -> Any:
        return gorgias.sweep(TICKETS, *context.partition_time_window)

    for tags in ({}, {}, {FIRST_DAY: day(3)}):
        made = dg.materialize(
            [orders, tickets],
            instance=project.instance,
            resources=project.resources,
            partition_key=day(6 if tags else 4),
            tags=tags,
            run_config=QUIET,
        )
        assert made.success
    assert project.query("SELECT day FROM gorgias.orders ORDER BY day") == [
        (datetime(2025, 3, number, tzinfo=UTC),) for number in (4, 6)
    ]
    for asset in (orders.key, tickets.key):
        assert project.instance.get_materialized_partitions(asset) == {day(4), day(6)}
    assert newest_materializations(project.instance, tickets.key, [day(6)])
