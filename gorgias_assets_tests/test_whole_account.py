"""Everything that an account may have, on a quiet day: the steps, the calls, the checks, and what the account lacks."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from gorgias_assets.build import build_definitions
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Whole
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.server import Sandbox

NOW = datetime.now(UTC)
YESTERDAY = str((NOW - timedelta(days=1)).date())
VOICE = {entity.name for entity in ENTITIES if entity.group == "voice"}
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


def test_a_day_of_everything_is_a_step_for_each_daily_entity_and_one_for_all_lists(sandbox: Sandbox, tmp_path) -> None:
    sandbox.faults.append(Fault(403, path="/api/phone/*", times=None))
    defs = build_definitions(
        entities="all",
        start_date=YESTERDAY,
        warehouse=f"duckdb:///{tmp_path}/warehouse.duckdb",
        api_url=sandbox.api_url,
    )
    assets = [dg.AssetKey(["gorgias", entity.name]) for entity in ENTITIES]  # the overview has tests of its own
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("GORGIAS_URI", sandbox.uri)
        result = defs.resolve_job_def("gorgias").execute_in_process(
            instance=instance,
            partition_key=YESTERDAY,
            asset_selection=assets,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
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
        event.asset_key.path[-1]: event.materialization.metadata for event in result.get_asset_materialization_events()
    }
    assert made.keys() == {entity.name for entity in ENTITIES} - VOICE
    lacking = [event.asset_key.path[-1] for event in result.get_asset_observation_events()]
    assert sorted(lacking) == sorted(VOICE)
    assert {(one.asset_key.path[-1], one.check_name): one.description for one in checks if not one.passed} == {}
    pages = sum(metadata["pages"].value for metadata in made.values())
    assert len(sandbox.requests) == pages + len(VOICE)  # what checks read of events is stored by then
    assert len(sandbox.requests) <= pages + OTHER_CALLS
