"""The four assets as Dagster shows them: their descriptions, and the metadata and log of each run."""

import logging
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import dagster as dg
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.account import Account as DagsterAccount
from gorgias_assets.assets import build_assets
from gorgias_assets.columns import Kind
from gorgias_assets.entities import CORE, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import FIRST_DAY, Project

DAY = "2025-03-10"
START = datetime(2025, 3, 10, tzinfo=UTC)
MARKER = "my-private-letter"
OF_A_RUN = {
    "rows_merged",
    "rows_new",
    "dagster/row_count",
    "dagster/partition_row_count",
    "pages",
    "api_calls",
    "retries",
    "rate_limit_wait_seconds",
    "rows_per_second",
    "window",
    "began_at",
    "dagster/table_name",
    "dagster/column_schema",
    "preview",
}


def kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return entity.path.removeprefix("/").replace("-", "_")


def spec_of(entity: Entity) -> dg.AssetSpec:
    (spec,) = [
        spec
        for asset in build_assets(DagsterAccount(CORE, start_date=FIRST_DAY))
        for spec in asset.specs
        if spec.key.path == ["gorgias", entity.name]
    ]
    return spec


def create(account: Account, entity: Entity, rows: int, moment: datetime = START) -> None:
    blank = KINDS[kind(entity)].blank
    moments = {"created_datetime": moment} | ({"updated_datetime": moment} if "updated_datetime" in blank else {})
    account.insert_many(kind(entity), ({**blank, "id": i, **moments} for i in range(1, rows + 1)))


def test_there_is_one_asset_for_each_entity():
    keys = [asset.key.to_user_string() for asset in build_assets(DagsterAccount(CORE))]
    assert keys == ["gorgias/customers", "gorgias/tickets", "gorgias/ticket_messages", "gorgias/satisfaction_surveys"]


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_an_asset_states_its_grain_and_its_contract(entity):
    description = spec_of(entity).description
    assert description.startswith("One row per ")
    assert entity.grain in description
    assert "in its newest state" in description
    assert all(f"`{field}`" in description for field in entity.read.touch_fields)
    assert "should_send_datetime" not in description


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_an_asset_is_in_the_group_gorgias_with_its_kinds_and_nobody_s_name(entity):
    spec = spec_of(entity)
    assert spec.group_name == "gorgias"
    assert spec.kinds == {"gorgias"}
    assert list(spec.owners) == []


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_an_asset_shows_every_column_with_a_description_before_it_has_run(entity):
    columns = spec_of(entity).metadata["dagster/column_schema"].columns
    names = [column.name for column in columns]
    assert names == [
        *(column.name for column in entity.columns),
        "_extracted_at",
        "_deleted_at",
        "_merged_into",
        "_extra",
    ]
    assert all(column.description and column.type for column in columns)


def test_partitions_are_days_in_utc_from_the_start_date_to_today_and_a_backfill_is_one_run():
    for asset in build_assets(DagsterAccount(CORE, start_date="2025-03-30")):
        partitions = asset.partitions_def
        assert isinstance(partitions, dg.DailyPartitionsDefinition)
        keys = partitions.get_partition_keys(current_time=datetime(2025, 4, 2, 0, 1, tzinfo=UTC))
        assert keys == ["2025-03-30", "2025-03-31", "2025-04-01", "2025-04-02"]
        window = partitions.time_window_for_partition_key("2025-03-30")  # summer time begins in Europe
        assert (window.start, window.end) == (datetime(2025, 3, 30, tzinfo=UTC), datetime(2025, 3, 31, tzinfo=UTC))
        assert asset.backfill_policy == dg.BackfillPolicy.single_run()


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_a_run_reports_what_it_did(project, account, sandbox, entity):
    create(account, entity, 250)
    account.delete(kind(entity), 1)
    project.materialize(DAY, select=[entity.name])
    first_calls = len(sandbox.requests)
    create(account, entity, 260)
    result = project.materialize(DAY, select=[entity.name])
    metadata = project.metadata(result, entity)
    assert metadata.keys() >= OF_A_RUN
    assert metadata["rows_merged"] == 260
    assert metadata["rows_new"] == 11
    assert metadata["dagster/row_count"] == 260
    assert metadata["dagster/partition_row_count"] == 260
    assert metadata["pages"] == metadata["api_calls"] == len(sandbox.requests) - first_calls == 3
    assert metadata["retries"] == 0
    assert metadata["rate_limit_wait_seconds"] == 0
    assert metadata["rows_per_second"] > 0
    assert metadata["window"] == "[2025-03-10 00:00:00, 2025-03-11 00:00:00) UTC"
    assert metadata["dagster/table_name"] == f"gorgias.{entity.name}"
    assert all(column.description for column in metadata["dagster/column_schema"].columns)
    assert len(metadata["preview"].records) == 5


def test_a_run_counts_its_retries(project, account, sandbox):
    create(account, TICKETS, 250)
    sandbox.faults.append(Fault(500, skip=1))
    metadata = project.metadata(project.materialize(DAY, select=["tickets"]), TICKETS)
    assert (metadata["pages"], metadata["api_calls"], metadata["retries"]) == (3, 4, 1)


def test_a_run_counts_the_seconds_that_it_waited_for_the_budget(account, tmp_path):
    create(account, TICKETS, 1200)
    with Sandbox(account, bucket=Bucket(limit=10, period=2)) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
        started = datetime.now(UTC)
        metadata = project.metadata(project.materialize(DAY, select=["tickets"]), TICKETS)
        seconds = (datetime.now(UTC) - started).total_seconds()
    assert 1 < metadata["rate_limit_wait_seconds"] <= seconds
    assert metadata["retries"] == 0


def test_a_run_that_finds_nothing_reports_so_and_shows_no_preview(project):
    for entity in CORE:
        metadata = project.metadata(project.materialize(DAY, select=[entity.name]), entity)
        assert (metadata["rows_merged"], metadata["dagster/row_count"], metadata["pages"]) == (0, 0, 1)
        assert "preview" not in metadata


def test_a_range_gives_each_partition_its_own_row_count(tmp_path):
    account = Account(now=datetime(2025, 3, 3, tzinfo=UTC))
    Shop(account, seed=8, tickets_per_day=30).live(until=datetime(2025, 3, 9, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        result = project.materialize("2025-03-03", "2025-03-08")
    for entity in CORE:
        live = project.live_rows(entity).values()
        touches = [{row[field].date().isoformat() for field in entity.read.touch_fields if row[field]} for row in live]
        expected = Counter(day for touched in touches for day in touched)
        made = {
            event.partition: event.metadata["dagster/partition_row_count"].value
            for event in result.asset_materializations_for_node(f"gorgias__{entity.name}")
        }
        days = [f"2025-03-0{day}" for day in range(3, 9)]
        assert made == {day: expected[day] for day in days}, entity.name
        assert sum(made.values()) == sum(len(touched & {*days}) for touched in touches), entity.name
        assert max(made.values()) > 0


def test_a_year_is_one_run_whose_events_stay_small(project, account):
    create(account, SATISFACTION_SURVEYS, 250)
    result = project.materialize(FIRST_DAY, "2026-02-28", select=["satisfaction_surveys"])
    made = result.asset_materializations_for_node("gorgias__satisfaction_surveys")
    assert len(made) == 365
    assert sum(event.metadata["dagster/partition_row_count"].value for event in made) == 250
    assert sum(len(serialize_value(event)) for event in made) < 2_000_000


def letters(entity: Entity) -> dict[str, Any]:
    """Return a row whose every private field and every JSON field holds the marker, in keys and values."""
    texts = {column.name: MARKER for column in entity.columns if column.private and column.kind is Kind.STRING}
    nested = {
        column.name: {"id": 1, MARKER: [MARKER, {"text": MARKER}]}
        for column in entity.columns
        if column.kind is Kind.JSON
    }
    return texts | nested


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
def test_nothing_that_a_customer_or_an_agent_wrote_is_in_a_log_or_an_event(project, account, sandbox, caplog, entity):
    moments = {"created_datetime": START, "updated_datetime": START}
    moments = {name: moment for name, moment in moments.items() if name in KINDS[kind(entity)].blank}
    blank = KINDS[kind(entity)].blank
    rows = ({**blank, **letters(entity), "id": i, **moments, "unknown": MARKER} for i in range(1, 251))
    account.insert_many(kind(entity), rows)
    sandbox.faults.extend([Fault("broken_json", skip=1), Fault("truncated", skip=3)])
    with caplog.at_level(logging.DEBUG):
        result = project.materialize(DAY, select=[entity.name])
    filled = " AND ".join(f"{name} IS NOT NULL" for name in letters(entity))
    ((stored,),) = project.query(f"SELECT count(*) FROM gorgias.{entity.name} WHERE {filled}")
    assert stored == 250
    logged = "\n".join(map(serialize_value, project.log(result)))
    assert '"preview"' in logged
    assert MARKER not in logged
    assert MARKER not in caplog.text


def test_the_key_and_the_e_mail_are_in_no_log_and_no_event(tmp_path, caplog):
    account = Account(now=datetime(2025, 4, 1, tzinfo=UTC), email="ana+s@shop.example", api_key="s3cr3t&key#%")
    create(account, TICKETS, 150)
    with Sandbox(account) as sandbox, caplog.at_level(logging.DEBUG):
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        results = [project.materialize(DAY, select=["tickets"])]
        sandbox.faults.append(Fault(401, times=None))
        results.append(project.materialize(DAY, select=["tickets"], raise_on_error=False))
        secrets = [account.api_key, "s3cr3t", "ana+s", "ana%2Bs", sandbox.uri]
    logged = "\n".join(serialize_value(entry) for result in results for entry in project.log(result)) + caplog.text
    assert "status 401" in logged
    assert [secret for secret in secrets if secret in logged] == []


def test_a_slow_sweep_logs_how_far_it_has_come(project, account, sandbox):
    """Seven seconds: the log has a line every five."""
    account.insert_many(
        "messages",
        (
            {**KINDS["messages"].blank, "id": i, "created_datetime": START + timedelta(seconds=i), "body_text": MARKER}
            for i in range(1, 1401)
        ),
    )
    sandbox.latency = 0.5
    one_chain = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, seek=False)
    project.resources["gorgias"] = one_chain
    result = project.materialize(DAY, select=["ticket_messages"])
    assert project.metadata(result, TICKET_MESSAGES)["pages"] == ceil(1400 / 100)
    lines = [entry.message for entry in project.log(result) if entry.level == logging.INFO and "calls" in entry.message]
    assert len(lines) == 2
    assert lines[0].startswith("ticket_messages: ")
    assert re.search(r"\d+ %, .* left: kept [\d,]+ of [\d,]+ rows in \d+ API calls, back to 2025-03-10", lines[0])
    assert "2025-03-10 00:" in lines[0]
    assert lines[1] == "gorgias.ticket_messages: merged 1,400 rows, 1,400 of them new, in 14 API calls"
    assert MARKER not in "".join(lines)
