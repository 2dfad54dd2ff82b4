"""Everything that an account may have, on a quiet day: the steps, the calls, the checks, and what the account lacks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.availability import lack_of
from gorgias_assets.build import build_definitions
from gorgias_assets.entities import ENTITIES, EVENTS, METRIC_CARDS
from gorgias_assets.entities.model import Whole
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import Project

NOW = datetime.now(UTC)
YESTERDAY = str((NOW - timedelta(days=1)).date())
VOICE = {entity.name for entity in ENTITIES if entity.group == "voice"}
LACKING = VOICE | {METRIC_CARDS.name}
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
OTHER_CALLS = 30  # than those of the rows' own pages, at most


@pytest.fixture
def account() -> Account:
    """Return an account of some years, with one ticket of yesterday, and without voice."""
    account = Account(now=NOW - timedelta(days=1))
    seed_reference(account)
    ticket = account.create("tickets", subject="Where is it?")
    account.create("messages", ticket_id=ticket["id"], body_text="Where?")
    account.now = NOW
    return account


@pytest.fixture(params=["duckdb", pytest.param("bigquery", marks=pytest.mark.soak)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URI of an empty one."""
    if request.param == "duckdb":
        return f"duckdb:///{tmp_path}/warehouse.duckdb"
    request.getfixturevalue("bigquery")
    uri: str = request.getfixturevalue("emulator").uri("gorgias")
    return uri


def test_a_day_of_everything_is_a_step_for_each_daily_entity_and_one_for_all_lists(
    sandbox: Sandbox, warehouse: str
) -> None:
    sandbox.faults.append(Fault(403, path="/api/phone/*", times=None))
    sandbox.faults.append(Fault(404, path="/api/metric-cards", times=None))
    defs = build_definitions(
        entities="all",
        start_date=YESTERDAY,
        warehouse=warehouse,
        api_url=sandbox.api_url,
    )
    assets = [dg.AssetKey(["gorgias", entity.name]) for entity in ENTITIES]  # the overview has tests of its own
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("GORGIAS_URI", sandbox.uri)
        result = defs.resolve_job_def("gorgias").execute_in_process(
            instance=instance,
            partition_key=YESTERDAY,
            asset_selection=assets,
            run_config=QUIET,
        )
        ended = Counter(
            event.event_type_value for event in result.all_events if event.is_step_success or event.is_step_skipped
        )
        checks = result.get_asset_check_evaluations()
        of_lists = {one.check_name for one in checks if one.asset_key.path[-1] == "tags"}
        assert of_lists == {"ids_unique", "sweep_complete", "absences_plausible", "fields_known", "fresh"}
        daily = [entity for entity in ENTITIES if not isinstance(entity.read, Whole)]
        assert ended == {"STEP_SUCCESS": 2 * len(daily) - len(VOICE) + 1 + 2, "STEP_SKIPPED": len(VOICE)}
        made = {
            event.asset_key.path[-1]: event.materialization.metadata
            for event in result.get_asset_materialization_events()
        }
        assert made.keys() == {entity.name for entity in ENTITIES} - LACKING
        seen = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
        lacking = {one.asset_key.path[-1]: one.partition for one in seen}
        assert lacking == dict.fromkeys(VOICE, YESTERDAY) | {METRIC_CARDS.name: None}
        assert {(one.asset_key.path[-1], one.check_name): one.description for one in checks if not one.passed} == {}
        pages = sum(metadata["pages"].value for metadata in made.values())
        calls = len(sandbox.requests)
        assert calls == pages + len(LACKING)  # what checks read of events is stored by then
        assert calls <= pages + OTHER_CALLS
        result = defs.resolve_job_def("gorgias_freshness").execute_in_process(instance=instance, run_config=QUIET)
    fresh = {one.asset_key.path[-1]: one for one in result.get_asset_check_evaluations()}
    assert {name for name, one in fresh.items() if one.passed} == {entity.name for entity in ENTITIES}
    assert {name for name, one in fresh.items() if "unavailable since" in one.description} == LACKING
    assert len(sandbox.requests) == calls


@pytest.fixture
def events(tmp_path) -> Iterator[Project]:
    """Yield a project of the events of an account that is a year and nine days older than its first partition."""
    account = Account(now=datetime(2026, 3, 10, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb", [EVENTS])
        project.assets = build_assets(replace(project.deployed, event_types=["ticket-created"]))
        yield project


def read(project: Project, tags: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the metadata of each day that a run with these tags has recorded."""
    result = dg.materialize(
        project.assets, instance=project.instance, resources=project.resources, run_config=QUIET, tags=tags
    )
    records = project.instance.fetch_materializations(project.deployed.key_of(EVENTS), limit=99).records
    made = [one.asset_materialization for one in records if one.run_id == result.run_id]
    return {one.partition: {name: value.value for name, value in one.metadata.items()} for one in made}


def test_days_whose_events_gorgias_no_longer_keeps_are_left_alone_with_a_sentence(events: Project) -> None:
    first, last = "2025-03-07", "2025-03-11"
    days = read(events, tags_of_days(first, last))
    assert sorted(days) == ["2025-03-10", "2025-03-11"]
    assert {day["event_types"] == ["ticket-created"] and day["window"][:11] for day in days.values()} == {"[2025-03-10"}
    range_of_dagster = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    days = read(events, range_of_dagster)  # Dagster records them all
    assert sorted(day for day, of_day in days.items() if "began_at" in of_day) == ["2025-03-10", "2025-03-11"]
    assert days[first]["not_read"].startswith("Gorgias keeps these for 365 days, and none of [2025-03-07 00:00:00, ")
    assert read(events, tags_of_days(first, first)) == {}
    (seen,) = events.instance.fetch_observations(events.deployed.key_of(EVENTS), limit=9).records
    assert (seen.partition_key, seen.asset_observation.description) == (
        first,
        days[first]["not_read"].replace("10", "08"),
    )
    assert lack_of(events.instance, events.deployed.key_of(EVENTS)) is None
