"""The documented roles do everything; a permission that is missing fails with the role to grant."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from gorgias_assets.account import Account
from gorgias_assets.checks.build import build_checks
from gorgias_assets.columns import Column, Kind
from gorgias_assets.entities import CORE, VIEWS
from gorgias_assets.io_managers.bigquery import JOB_ID_PREFIX, GorgiasBigQueryIOManager
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.summaries import build_summaries
from gorgias_assets.warehouse.bigquery.jobs import Patience
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.faulty import ROLES, GuardedBigQuery
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import BigQueryProject
from gorgias_assets_tests.warehouse.test_frames import IN_ONE_RUN

DAY = "2025-03-03"
LEAST = ROLES["BigQuery Job User"] | ROLES["BigQuery Data Editor"]
ORDERS = Table("gorgias", "orders")
LETTERS = Table("gorgias", "letters")
COLUMNS = [Column("id", Kind.INTEGER, "The letter."), Column("created_datetime", Kind.DATETIME, "When.")]
DOCUMENT = Path(__file__).parents[2] / "docs/bigquery.md"


class GuardedProject(BigQueryProject):
    def __init__(self, emulator: Emulator, guard: GuardedBigQuery) -> None:
        super().__init__(emulator)
        self._guard = guard

    def io_manager(self, schema: str | None = None, **settings: Any) -> GorgiasBigQueryIOManager:
        endpoints = {"api_endpoint": self._guard.api_endpoint, "storage_endpoint": self._guard.storage_endpoint}
        return super().io_manager(schema, **endpoints | settings)

    def warehouse(self) -> BigQueryWarehouse:
        return replace(super().warehouse(), patience=Patience(10))


@pytest.fixture
def guard(emulator: Emulator) -> Iterator[GuardedBigQuery]:
    with GuardedBigQuery(emulator.api_endpoint, emulator.storage_endpoint, LEAST) as guard:
        yield guard


@pytest.fixture
def engine(emulator: Emulator, guard: GuardedBigQuery) -> Iterator[GuardedProject]:
    project = GuardedProject(emulator, guard)
    yield project
    project.clear()


@pytest.fixture
def dataset(engine: GuardedProject) -> None:
    """Create the dataset as a user does who has more roles."""
    engine.execute("CREATE SCHEMA gorgias")


def downstream() -> dg.AssetsDefinition:
    @dg.asset(
        key=["gorgias", "letters"],
        ins={"messages": dg.AssetIn(["gorgias", "ticket_messages"])},
        partitions_def=Account(CORE, start_date=FIRST_DAY).partitions,
        backfill_policy=IN_ONE_RUN,
        metadata={"partition_expr": "created_datetime"},
    )
    def letters(messages: pd.DataFrame) -> pd.DataFrame:
        return messages[["id", "created_datetime"]]

    return letters


def daily_run(project: Project, folder: Path, **arguments: Any) -> dg.ExecuteInProcessResult:
    """Materialize a day of all assets, with their checks, and of one that loads frames."""
    deployed = Account(CORE, start_date=FIRST_DAY, metrics=METRICS, reports=str(folder))
    summaries = build_summaries(deployed)
    checks = build_checks(deployed, late_after=timedelta(days=10_000))
    return dg.materialize(
        [*project.assets, *checks, *summaries, downstream()],
        instance=project.instance,
        resources=project.resources,
        partition_key=DAY,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **arguments,
    )


@pytest.mark.soak
@pytest.mark.usefixtures("dataset")
def test_the_least_roles_do_a_daily_run_its_checks_the_overview_and_a_downstream_load(sandbox, engine, guard, tmp_path):
    views = [view for view in VIEWS if {entity.name for entity in CORE}.issuperset(view.reads)]
    project = fill(Project(sandbox, engine, views=views))
    result = daily_run(project, tmp_path)
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) > 20
    broken = [(each.check_name, each.description) for each in evaluations if "Google refused" in str(each.description)]
    assert broken == []
    assert engine.query("SELECT COUNT(*) FROM gorgias.letters") == [(3,)]
    assert engine.query("SELECT COUNT(*) FROM gorgias.ticket_people") == [(3,)]
    assert guard.read_sessions == 0
    assert guard.needed <= LEAST
    check_labels_and_bills(engine, result)


def check_labels_and_bills(engine: GuardedProject, result: dg.ExecuteInProcessResult) -> None:
    """Check that each job has its run's label and is in a bill: an output's, with its step's reads, or a check's."""
    jobs = [job for job in engine.jobs() if job.job_id.startswith(JOB_ID_PREFIX)]
    assert {job.labels.get("dagster_run_id") for job in jobs} == {result.run_id}
    named: set[str] = set()
    events = [event.materialization for event in result.get_asset_materialization_events()]
    for event in [*events, *result.get_asset_check_evaluations()]:
        ids = event.metadata.get("bigquery_job_ids")
        named |= set(ids.value if ids else ())
    assert named == {job.job_id for job in jobs}
    (overview,) = [event.metadata for event in events if event.asset_key.path[-1] == "overview"]
    (letters,) = [event.metadata for event in events if event.asset_key.path[-1] == "letters"]
    for metadata, asset in ((overview, "gorgias_overview"), (letters, "gorgias_letters")):
        billed = set(metadata["bigquery_job_ids"].value)
        assert {job.job_id for job in jobs if job.labels["asset"] == asset} <= billed
        assert metadata["bigquery_jobs"].value == len(billed)
    loads = [job for job in jobs if job.labels.get("loaded_by") == "gorgias__letters"]
    assert len(loads) == 2  # for the days, and for their rows
    assert {load.labels["asset"] for load in loads} == {"gorgias_ticket_messages"}
    assert {load.job_id for load in loads} <= set(letters["bigquery_job_ids"].value)


def fill(project: Project) -> Project:
    for second in range(3):
        created = datetime(2025, 3, 3, 12, 0, second, tzinfo=UTC)
        ticket = project.account.create("tickets", created_datetime=created)
        project.account.create("messages", ticket_id=ticket["id"], created_datetime=created)
    return project


def use(warehouse: BigQueryWarehouse) -> int:
    """Merge rows into a new table, add a column, replace a frame, and read it."""
    start = datetime(2025, 3, 3, tzinfo=UTC)
    rows = pa.table({"id": [1], "created_datetime": [start], "_extracted_at": [start], "_is_touched": [True]})
    warehouse.merge(LETTERS, COLUMNS, rows)
    warehouse.replace(ORDERS, pa.table({"id": [1]}), ())
    warehouse.replace(ORDERS, pa.table({"id": [1, 2], "sum": [0.5, 1.5]}), ())
    return warehouse.read(ORDERS, ()).num_rows


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("permission", sorted(LEAST - {"bigquery.tables.list"}))
def test_each_permission_that_is_missing_is_reported_with_the_role_to_grant(guard, engine, permission):
    guard.granted.remove(permission)
    with pytest.raises(WarehouseError) as raised:
        use(engine.warehouse())
    role = next(role for role, permissions in ROLES.items() if permission in permissions)
    assert f"the role {role}" in str(raised.value)
    assert "Google's reason: accessDenied. Google's message: Access Denied: " in str(raised.value)
    assert permission in str(raised.value)
    assert not raised.value.passes


@pytest.mark.usefixtures("dataset")
def test_no_permission_besides_is_needed(guard, engine):
    assert use(engine.warehouse()) == 2
    assert guard.needed == LEAST - {"bigquery.tables.list"}


@pytest.mark.soak
def test_a_missing_dataset_takes_the_role_of_a_user_and_is_told(guard, engine):
    with pytest.raises(WarehouseError, match="create it by 'bq mk', or grant these credentials the role BigQuery User"):
        use(engine.warehouse())
    guard.granted |= ROLES["BigQuery User"]
    said: list[str] = []
    assert use(replace(engine.warehouse(), warn=said.append)) == 2
    assert said == [
        "Created the dataset gorgias of local in US, Google's default, since no location is set. A dataset cannot be "
        "moved: to have it elsewhere, in the EU for example, delete it now and set the location in the warehouse URI."
    ]
    assert use(replace(engine.warehouse(), warn=said.append)) == 2
    assert len(said) == 1


def test_a_dataset_that_is_created_where_it_is_wanted_is_no_warning(guard, engine):
    guard.granted |= ROLES["BigQuery User"]
    said: list[str] = []
    assert use(replace(engine.warehouse(), location="EU", warn=said.append)) == 2
    assert said == []


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("is_granted", [True, False], ids=["granted", "denied"])
def test_a_frame_of_several_pages_is_read_in_a_session_or_if_that_is_denied_page_by_page(guard, engine, is_granted):
    if is_granted:
        guard.granted |= ROLES["BigQuery Read Session User"]
    numbers = range(25_000)
    columns = {"id": numbers, "text": [str(n) for n in numbers], "day": [datetime(2025, 3, 3, tzinfo=UTC)] * 25_000}
    said: list[str] = []
    warehouse = replace(engine.warehouse(), warn=said.append)
    warehouse.replace(ORDERS, rows := pa.table(columns), ())
    read = warehouse.read(ORDERS, ()).sort_by("id")
    assert guard.read_sessions == 1
    assert len(said) == (0 if is_granted else 1)
    assert len(guard.received("GET .*/queries/.*pageToken")) == (0 if is_granted else 2)
    assert read.to_pydict() == rows.to_pydict()
    assert read.schema.types == [pa.int64(), pa.string(), pa.timestamp("us", tz="UTC")]


def test_the_roles_are_those_of_the_document():
    rows = re.findall(r"^\| \*(BigQuery [\w ]+)\*", DOCUMENT.read_text(), re.MULTILINE)
    assert set(rows) == set(ROLES)
