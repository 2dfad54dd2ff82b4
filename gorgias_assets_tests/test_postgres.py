"""Dagster's runs, events and ticks in PostgreSQL, as `deploy/postgres.yaml` sets it up."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gorgias_assets.account import API_POOL, Account
from gorgias_assets.days import Day, days_of
from gorgias_assets.entities import CORE
from gorgias_assets.jobs import gorgias_job
from gorgias_assets.partitions import tags_of_days
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.postgres import postgres, programs

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL here; Debian's package is postgresql")
    parts = (REPOSITORY / "deploy" / "dagster.yaml", REPOSITORY / "deploy" / "postgres.yaml")
    (tmp_path / "dagster.yaml").write_text("\n".join(part.read_text() for part in parts))
    with postgres(folder) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance


def test_days_of_the_job_are_recorded_in_postgresql_and_its_steps_take_places_in_the_pool(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
):
    defs = dg.Definitions(assets=project.assets, jobs=[gorgias_job(Account(CORE))], resources=project.resources)
    result = defs.resolve_job_def("gorgias").execute_in_process(instance=instance, partition_key="2025-03-10")
    storage = instance.event_log_storage
    assert result.success
    assert instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.SUCCESS
    assert not list(tmp_path.rglob("*.db")), "SQLite was used"
    for asset in project.assets:
        event = instance.get_latest_materialization_event(asset.key)
        assert event.asset_materialization.partition == "2025-03-10"
        assert instance.get_materialized_partitions(asset.key) == {"2025-03-10"}
    job = defs.resolve_job_def("gorgias").get_subset(asset_selection={project.assets[0].key})
    assert job.execute_in_process(instance=instance, tags=tags_of_days("2025-03-01", "2025-03-09")).success
    days = [f"2025-03-{day:02}" for day in range(1, 11)]
    states = days_of(instance, Account(CORE).partitions, project.assets[0].key, days)
    assert states == dict.fromkeys(days, Day.COMPLETE)
    name = f"gorgias_{API_POOL}"
    pool = storage.get_concurrency_info(name)
    assert (pool.slot_count, pool.active_slot_count) == (12, 0)
    instance.event_log_storage.set_concurrency_slots(name, 1)
    claims = [storage.claim_concurrency_slot(name, "a run", step).is_claimed for step in ("tickets", "customers")]
    assert claims == [True, False]
