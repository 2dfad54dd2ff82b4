"""A list that is read whole: a dozen lines declare it, and it has a table and an asset.

All such lists are one step, and yet apart: one that fails, or that the account lacks, leaves the others alone.
"""

import dagster as dg
import pytest

from gorgias_assets.alerts import reason_of
from gorgias_assets.assets import build_assets
from gorgias_assets.availability import lack_of
from gorgias_assets.entities import MACROS, TEAMS, USERS
from gorgias_assets.entities.model import Entity, Whole, integer, json, moment, string
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.faults import Fault
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
        json("decoration", "Color: {color}.", {"color": None}),
        integer("usage", "Number of tickets, maintained by Gorgias with a delay."),
        string("uri", "Path of the tag in the API."),
        moment("created_datetime", "When the tag was created."),
        moment("deleted_datetime", "When the tag was deleted."),
    ),
)


LISTS = [USERS, TEAMS, MACROS]


@pytest.fixture
def project(sandbox, engine) -> Project:
    return Project(sandbox, engine, [TAGS])


@pytest.fixture
def three(sandbox, engine) -> Project:
    """Return one with three lists, which an account may lack."""
    return Project(sandbox, engine, LISTS)


def run(project: Project, **arguments) -> dg.ExecuteInProcessResult:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return dg.materialize(
        project.assets,
        instance=project.instance,
        resources=project.resources,
        run_config=quiet,
        raise_on_error=False,
        **arguments,
    )


def stored(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.asset_key.path[-1] for event in result.get_asset_materialization_events()]


def read(sandbox) -> list[str]:
    return [request.path.rpartition("/")[2] for request in sandbox.requests]


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


def test_three_lists_are_one_step_of_which_a_run_may_select_some(three, sandbox):
    result = run(three, selection=[dg.AssetKey(["gorgias", name]) for name in ("teams", "users")])
    assert {event.step_key for event in result.all_events if event.is_step_success} == {"gorgias_reference"}
    assert (stored(result), read(sandbox)) == (["users", "teams"], ["users", "teams"])


@pytest.mark.parametrize("status", [403, 404])
def test_a_list_that_the_account_lacks_is_not_materialized_and_its_page_says_why(three, sandbox, status):
    sandbox.faults.append(Fault(status, path="*/teams", times=None))
    results = [run(three), run(three)]
    assert [result.success for result in results] == [True, True]
    assert stored(results[1]) == ["users", "macros"]
    teams = three.deployed.key_of(TEAMS)
    observed = [record.asset_observation for record in three.instance.fetch_observations(teams, limit=9).records]
    assert [f"status {status}" in one.description for one in observed] == [True, True]
    lines = [entry.message for entry in three.log(results[1]) if entry.message.startswith("gorgias/teams")]
    assert lines == [f"gorgias/teams: {observed[0].description}"]
    lack = lack_of(three.instance, teams)
    assert lack.since <= lack.asked_at
    sandbox.faults.clear()
    assert stored(run(three)) == ["users", "teams", "macros"]
    assert lack_of(three.instance, teams) is None


def test_a_list_that_fails_on_its_way_leaves_the_others_alone_and_the_run_says_which_it_was(three, sandbox, account):
    for number in range(130):
        account.create("teams", name=f"team {number}")
    sandbox.faults.append(Fault(403, path="*/teams", skip=1))
    three.assets = build_assets(three.deployed, retry_policy=dg.RetryPolicy(max_retries=1))
    result = run(three)
    assert (result.success, stored(result)) == (False, ["users", "macros"])
    reason = reason_of(result.failure_data_for_node("gorgias_reference").error)
    assert reason.startswith("Not read: teams (GET /teams of account 'sandbox': ")
    assert not [event for event in result.all_events if event.is_step_up_for_retry]  # it would be refused again


def test_another_attempt_requests_the_lists_alone_that_the_last_one_did_not_store(three, sandbox):
    sandbox.faults.append(Fault(503, path="*/teams", times=None))
    three.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 100)
    three.assets = build_assets(three.deployed, retry_policy=dg.RetryPolicy(max_retries=1))
    result = run(three)
    assert (result.success, stored(result)) == (False, ["users", "macros"])
    assert (read(sandbox).count("users"), read(sandbox).count("macros")) == (1, len(MACROS.read.passes))
    reason = reason_of(result.failure_data_for_node("gorgias_reference").error)
    assert reason.startswith("Not read: teams (GET /teams: status 503; gave up after ")


def test_in_an_outage_the_step_ends_with_the_first_list(three, sandbox):
    sandbox.faults.append(Fault(503, times=None))
    three.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=1 / 100)
    result = run(three)
    assert (result.success, stored(result)) == (False, [])
    assert set(read(sandbox)) == {"users", "account"}
