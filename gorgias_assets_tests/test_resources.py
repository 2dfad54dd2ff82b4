"""The resource in Dagster: its errors if it is set up wrongly, and the key, which is nowhere to be seen."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from gorgias_assets.api.uri import EXPECTED_FORM, InvalidUri
from gorgias_assets.entities import SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import touched

KEY = "7391840265917"
URI = f"gorgias://mycompany?api_key={KEY}&email=ana%40shop.example"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = (NOW - timedelta(days=1), NOW)
VARIABLE = "GORGIAS_URI_OF_THIS_TEST"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    account = Account(now=NOW - timedelta(hours=1), api_key=KEY)
    account.create("tickets", subject="Where is my parcel?")
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(params=["string", "EnvVar"])
def given_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives the resource a URI: as it is, or through an environment variable."""

    def give(uri: str) -> Any:
        if request.param == "string":
            return uri
        monkeypatch.setenv(VARIABLE, uri)
        return dg.EnvVar(VARIABLE)

    return give


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
def tickets(context: dg.AssetExecutionContext, gorgias: GorgiasResource) -> None:
    context.log.info(f"reading with {gorgias} and {gorgias!r}")
    rows = sum(touched(batch).num_rows for batch in gorgias.sweep(TICKETS, *DAY).batches())
    context.add_output_metadata({"rows": rows})


def definitions(gorgias: GorgiasResource) -> dg.Definitions:
    return dg.Definitions(assets=[tickets], resources={"gorgias": gorgias})


def materialized(gorgias: GorgiasResource, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.materialize([tickets], resources={"gorgias": gorgias}, instance=instance, raise_on_error=False)


def everything_stored(instance: dg.DagsterInstance) -> str:
    """Return every run with its configuration and snapshots, and every event and log entry, as Dagster stores them."""
    kept: list[str] = []
    for run in instance.get_runs():
        kept.append(dg.serialize_value(run))
        kept += [dg.serialize_value(entry) for entry in instance.all_logs(run.run_id)]
        for snapshot in (run.job_snapshot_id, run.execution_plan_snapshot_id):
            assert snapshot
        kept.append(repr(instance.get_job_snapshot(str(run.job_snapshot_id))))
        kept.append(repr(instance.get_execution_plan_snapshot(str(run.execution_plan_snapshot_id))))
    return "\n".join(kept)


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        str(event.event_specific_data.error)  # type: ignore[union-attr]
        for event in result.all_events
        if event.event_type_value == "STEP_FAILURE"
    ]


def steps(result: dg.ExecuteInProcessResult, event_type: str) -> int:
    return [event.event_type_value for event in result.all_events].count(event_type)


def test_a_resource_reads_the_account_of_its_uri(sandbox: Sandbox, given_as: Any) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(GorgiasResource(uri=given_as(sandbox.uri), api_url=sandbox.api_url), instance)
        assert result.success
        (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["rows"].value == 1
    assert [request.path for request in sandbox.requests] == ["/api/tickets"]


def test_neither_the_uri_nor_the_key_is_in_a_repr(given_as: Any) -> None:
    resource = GorgiasResource(uri=given_as(URI), max_share=0.5)
    shown = f"{resource} {resource!r} {[resource]} {resource.account()!r} {definitions(resource)!r}"
    assert KEY not in shown
    assert "gorgias://" not in shown
    assert "max_share=0.5" in shown


def test_the_key_is_in_no_snapshot_of_the_code_location(given_as: Any) -> None:
    defs = definitions(GorgiasResource(uri=given_as(URI)))
    snapshot = dg.serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert "max_share" in snapshot  # it does describe the resource
    assert KEY not in snapshot


def test_the_key_is_in_no_event_or_log_of_a_run(
    sandbox: Sandbox, given_as: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with dg.DagsterInstance.ephemeral() as instance:
        gorgias = GorgiasResource(uri=given_as(sandbox.uri), api_url=sandbox.api_url)
        assert materialized(gorgias, instance).success
        stored = everything_stored(instance)
    assert "reading with" in stored
    assert KEY not in stored + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("fault", [401, 403, 503, "reset", "html"])
def test_the_key_is_in_no_event_of_a_run_that_failed(sandbox: Sandbox, given_as: Any, fault: str | int) -> None:
    sandbox.faults.append(Fault(fault, times=None))
    with dg.DagsterInstance.ephemeral() as instance:
        gorgias = GorgiasResource(uri=given_as(sandbox.uri), api_url=sandbox.api_url, patience_minutes=0.001)
        assert not materialized(gorgias, instance).success
        stored = everything_stored(instance)
    assert "GET /tickets" in stored
    assert KEY not in stored


@pytest.mark.parametrize(
    "uri",
    [
        f"gorgias://[::1?api_key={KEY}&email=ana@shop.example",
        f"gorgias://my\uff0fcompany?api_key={KEY}&email=ana@shop.example",
        f"https://mycompany?api_key={KEY}&email=ana@shop.example",
        f"gorgias://mycompany?api_key={KEY}",
        f"gorgias://mycompany?key={KEY}&email=ana@shop.example",
        KEY,
    ],
)
def test_a_wrong_uri_fails_the_run_with_one_sentence_without_the_key_and_without_retries(
    given_as: Any, uri: str
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(GorgiasResource(uri=given_as(uri)), instance)
        stored = everything_stored(instance)
    (failure,) = failures(result)
    assert "The Gorgias URI " in failure
    assert EXPECTED_FORM in failure
    assert steps(result, "STEP_UP_FOR_RETRY") == 0
    assert KEY not in stored


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_fails_the_run_with_its_name_and_without_retries(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    gorgias = GorgiasResource(uri=dg.EnvVar(VARIABLE))
    with pytest.raises(dg.Failure) as caught:
        gorgias.sweep(TICKETS, *DAY)
    assert not caught.value.allow_retries
    assert caught.value.description == f"The environment variable {VARIABLE} is not set; set {EXPECTED_FORM}."
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(gorgias, instance)
    assert not result.success
    assert steps(result, "STEP_UP_FOR_RETRY") == 0
    assert VARIABLE in failures(result)[0]


def test_the_code_location_loads_while_the_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    defs = definitions(GorgiasResource(uri=dg.EnvVar(VARIABLE)))
    dg.Definitions.validate_loadable(defs)
    assert VARIABLE not in str(RepositorySnap.from_def(defs.get_repository_def()).asset_nodes)


def test_the_account_can_be_requested_and_reports_what_is_wrong(given_as: Any) -> None:
    assert GorgiasResource(uri=given_as(URI)).account().domain == "mycompany"
    with pytest.raises(InvalidUri, match="must begin with gorgias://"):
        GorgiasResource(uri=given_as("mycompany")).account()


def test_an_api_url_of_plain_http_elsewhere_is_a_failure_without_retries() -> None:
    with pytest.raises(dg.Failure, match="must use https") as caught:
        GorgiasResource(uri=URI, api_url="http://gorgias.example/api").sweep(TICKETS, *DAY)
    assert not caught.value.allow_retries


@pytest.mark.parametrize(
    "setting",
    [
        {"max_share": 0},
        {"max_share": 1.2},
        {"max_share": float("nan")},
        {"patience_minutes": 0},
        {"patience_minutes": float("nan")},
        {"look_back_days": {"satisfaction_surveys": -1}},
    ],
    ids=str,
)
def test_a_setting_that_would_lose_rows_or_never_end_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises((ValueError, dg.Failure)):
        GorgiasResource(uri=URI, **setting).sweep(SATISFACTION_SURVEYS, *DAY)


def test_making_a_sweep_requests_nothing(sandbox: Sandbox) -> None:
    GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url).sweep(TICKETS, *DAY)
    assert sandbox.requests == []


def rows_read(gorgias: GorgiasResource, entity: Entity, end: datetime) -> int:
    return sum(touched(batch).num_rows for batch in gorgias.sweep(entity, end - timedelta(days=1), end).batches())


@pytest.mark.parametrize(("look_back_days", "rows"), [({}, 0), ({"satisfaction_surveys": 80}, 1), ({"tickets": 80}, 0)])
def test_a_look_back_of_ones_own_finds_what_was_touched_later(
    sandbox: Sandbox, look_back_days: dict[str, int], rows: int
) -> None:
    created, answered = NOW - timedelta(days=70), NOW - timedelta(hours=2)
    sandbox.account.create("satisfaction_surveys", created_datetime=created, scored_datetime=answered, score=5)
    for day in range(150, 0, -1):
        sandbox.account.create("satisfaction_surveys", created_datetime=created + timedelta(hours=day))
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, look_back_days=look_back_days)
    assert rows_read(gorgias, SATISFACTION_SURVEYS, NOW) == rows


@pytest.mark.parametrize("entity", [TICKETS, TICKET_MESSAGES], ids=["tickets", "messages"])
def test_a_sweep_without_its_look_back_is_not_complete_even_if_the_day_is_over_by_gorgias_s_clock(
    entity: Entity,
) -> None:
    """By this machine's clock the day goes on. Tickets need no look-back, but rows that are gone are not looked for."""
    start = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    end = start + timedelta(days=2)
    with Sandbox(Account(now=end + timedelta(minutes=5))) as sandbox:
        gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
        part, whole = gorgias.sweep(entity, start, end, look_back=False), gorgias.sweep(entity, start, end)
        for sweep in (part, whole):
            list(sweep.batches())
        assert part.began_at is not None
        assert whole.began_at is not None
        assert part.began_at < end
        assert whole.began_at >= end


def test_a_look_back_of_ten_years_reads_to_the_end_of_the_list(sandbox: Sandbox) -> None:
    gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, look_back_days={"tickets": 3_650})
    assert rows_read(gorgias, TICKETS, NOW) == 1
