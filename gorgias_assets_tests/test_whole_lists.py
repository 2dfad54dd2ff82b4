"""A list that is read whole: a dozen lines declare it, and it has a table, an asset, checks and a place in the job."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from gorgias_assets.build import build_definitions
from gorgias_assets.entities import CORE
from gorgias_assets.entities.model import Entity, Whole, integer, json, moment, string
from gorgias_assets_tests.conftest import Project

TAGS = Entity(
    name="tags",
    path="/tags",
    grain="One row per tag.",
    read=Whole(),
    columns=(
        integer("id", "Gorgias's id of the tag."),
        string("name", "Name, unique in the account."),
        string("description", "Description."),
        json("decoration", "Color: {color}."),
        integer("usage", "Number of tickets, maintained by Gorgias with a delay."),
        string("uri", "Path of the tag in the API."),
        moment("created_datetime", "When the tag was created."),
        moment("deleted_datetime", "When the tag was deleted."),
    ),
)


@pytest.fixture
def project(sandbox, engine) -> Project:
    return Project(sandbox, engine, [TAGS])


def snapshot(project: Project) -> dict:
    """Materialize the unpartitioned asset, and return its metadata."""
    result = dg.materialize(project.assets, instance=project.instance, resources=project.resources)
    return project.metadata(result, TAGS)


def test_its_table_is_the_list(project, account):
    for number in range(230):
        account.create("tags", name=f"tag {number}")
    metadata = snapshot(project)
    assert project.table(TAGS) == project.live_rows(TAGS)
    assert (metadata["pages"], metadata["rows_new"], metadata["dagster/row_count"]) == (3, 230, 230)
    assert metadata["coverage"] == {"created_datetime": {"required": None, "read_to": None}}


def test_a_row_that_the_list_lacks_is_gone_once_its_own_path_confirms_it(project, account, sandbox):
    kept, deleted = (account.create("tags", name=name)["id"] for name in ("kept", "deleted"))
    snapshot(project)
    account.delete("tags", deleted)
    metadata = snapshot(project)
    assert project.query("SELECT id, _deleted_at IS NOT NULL FROM gorgias.tags ORDER BY id") == [
        (kept, False),
        (deleted, True),
    ]
    assert (metadata["deletions_checked"], metadata["rows_gone"]) == (1, 1)
    assert sandbox.requests[-1].path.endswith(f"/tags/{deleted}")


def test_it_has_a_place_in_the_job_and_checks_among_entities_that_are_read_by_date(sandbox, account, tmp_path):
    account.now = datetime.now(UTC)  # the list was read just now
    account.create("tags", name="vip")
    defs = build_definitions(
        entities=[*CORE, TAGS],
        start_date="2025-03-01",
        warehouse=f"duckdb:///{tmp_path}/warehouse.duckdb",
        api_url=sandbox.api_url,
    )
    (tags,) = [asset for asset in defs.assets or () if asset.key == dg.AssetKey(["gorgias", "tags"])]
    assert tags.partitions_def is None
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("GORGIAS_URI", sandbox.uri)
        result = defs.resolve_job_def("gorgias").execute_in_process(
            instance=instance,
            tags={"dagster/partition": "2025-03-10"},
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    checked = {
        check.check_name: check.passed for check in result.get_asset_check_evaluations() if check.asset_key == tags.key
    }
    assert checked == dict.fromkeys(
        ["ids_unique", "sweep_complete", "absences_plausible", "fields_known", "fresh"], True
    )
    assert {event.asset_key.path[-1] for event in result.get_asset_materialization_events()} >= {"tags", "tickets"}
