"""Alerts of failed runs and of checks that found an error: their contents, and what they never contain."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from gorgias_assets.account import Account
from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.api.webhook import NotPosted
from gorgias_assets.entities import CORE
from gorgias_assets.resources import GorgiasResource
from gorgias_assets_tests.conftest import Project

GORGIAS, DAGSTER = Account(CORE), "https://dagster.example/"
LETTER = "Dear shop, my private letter"


class Webhook(HTTPServer):
    """A server that keeps the texts posted to it, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.texts: list[str] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/s3cret"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.texts.append(json.loads(body)["text"])
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        thread = threading.Thread(target=webhook.serve_forever, args=(0.05,))
        thread.start()
        yield webhook
        webhook.shutdown()
        thread.join()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def alert(webhook: Webhook, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> object:
    """Evaluate the sensor for a run that has failed."""
    run = instance.get_run_by_id(result.run_id)
    (failure,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    context = dg.build_run_status_sensor_context(
        sensor_name="gorgias_failure_alert",
        dagster_event=failure.dagster_event,
        dagster_instance=instance,
        dagster_run=run,
    )
    return failure_alert(GORGIAS, webhook.url, DAGSTER)(context.for_run_failure())


def failed(error: Exception, instance: dg.DagsterInstance, account: str = "gorgias") -> dg.ExecuteInProcessResult:
    @dg.asset(key=[account, "tickets"])
    def tickets() -> None:
        raise error

    return dg.materialize([tickets], instance=instance, raise_on_error=False)


def test_a_failed_run_is_posted_with_asset_partition_reason_and_link(project: Project, webhook, instance):
    key = project.account.api_key
    project.resources["gorgias"] = GorgiasResource(
        uri=project.sandbox.uri.replace(key, "wr0ng"), api_url=project.sandbox.api_url, patience_minutes=0.01
    )
    project.instance = instance
    result = project.materialize("2025-03-10", select=["tickets"], raise_on_error=False)
    alert(webhook, instance, result)
    (text,) = webhook.texts
    line, link = text.splitlines()
    assert line.startswith(
        "gorgias/tickets, 2025-03-10: GET /tickets of account 'sandbox': status 401; check the e-mail"
    )
    assert link == f"<https://dagster.example/runs/{result.run_id}|Run {result.run_id[:8]}>"
    assert "wr0ng" not in text


def test_each_asset_that_failed_is_posted_with_the_first_and_the_last_day(project, webhook, instance):
    project.resources["gorgias"] = GorgiasResource(uri="gorgias://shop?api_key=k", api_url=project.sandbox.api_url)
    project.instance = instance
    alert(webhook, instance, project.materialize("2025-03-10", "2025-03-12", raise_on_error=False))
    *lines, _ = webhook.texts[0].splitlines()
    assert sorted(line.partition(": ")[0] for line in lines) == [
        f"gorgias/{name}, 2025-03-10 to 2025-03-12"
        for name in ("customers", "satisfaction_surveys", "ticket_messages", "tickets")
    ]
    assert all("The Gorgias URI has no email" in line for line in lines)


def test_an_error_that_was_not_raised_for_people_is_posted_by_its_name_alone(webhook, instance):
    alert(webhook, instance, failed(ValueError(LETTER), instance))
    assert webhook.texts[0].splitlines()[0] == "gorgias/tickets: failed with ValueError."
    assert LETTER not in webhook.texts[0]


def test_a_run_that_failed_outside_any_step_is_posted_by_its_job(webhook, instance):
    @dg.asset(key=["gorgias", "tickets"])
    def tickets() -> None: ...

    result = dg.materialize([tickets], instance=instance)
    instance.report_run_failed(instance.get_run_by_id(result.run_id))
    alert(webhook, instance, result)
    assert webhook.texts[0].splitlines()[0] == "__ephemeral_asset_job__: failed outside any step."


def test_a_run_without_an_asset_of_the_account_is_not_posted(webhook, instance):
    skipped = alert(webhook, instance, failed(ValueError(LETTER), instance, "shop"))
    assert (skipped.skip_message, webhook.texts) == ("The run has no asset of gorgias.", [])


def test_slack_s_links_and_mentions_are_escaped(webhook, instance):
    alert(webhook, instance, failed(dg.Failure("<!channel> & more"), instance))
    assert webhook.texts[0].splitlines()[0] == "gorgias/tickets: &lt;!channel&gt; &amp; more"


def test_a_reason_is_posted_on_one_line_short_and_with_escapes(webhook, instance):
    alert(webhook, instance, failed(dg.Failure("a\x1b[31m\nforged: \u202eline" + "x" * 5_000), instance))
    line, _ = webhook.texts[0].splitlines()
    assert line.startswith(r"gorgias/tickets: a\x1b[31m\nforged: \u202eline")
    assert len(line) <= 1_001


def test_a_run_that_dagster_will_retry_is_not_posted(webhook, instance):
    result = failed(dg.Failure("outage"), instance)
    instance.add_run_tags(result.run_id, {"dagster/will_retry": "true"})
    assert alert(webhook, instance, result).skip_message == "Dagster will retry this run."
    assert webhook.texts == []


@pytest.mark.parametrize(("report", "posts"), [("report_run_failed", 1), ("report_run_canceled", 0)])
def test_a_canceled_run_is_not_posted(webhook, instance, report, posts):
    @dg.asset(key=["gorgias", "tickets"])
    def tickets() -> None: ...

    definitions = dg.Definitions(assets=[tickets], jobs=[dg.define_asset_job("gorgias")])
    sensor = failure_alert(GORGIAS, webhook.url, DAGSTER)

    def tick(cursor: str | None) -> str | None:
        repository = definitions.get_repository_def()
        with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context:
            return sensor.evaluate_tick(context).cursor

    cursor = tick(None)
    run = instance.create_run_for_job(definitions.resolve_job_def("gorgias"), status=dg.DagsterRunStatus.STARTED)
    getattr(instance, report)(run)
    tick(cursor)
    assert len(webhook.texts) == posts


@pytest.mark.parametrize("reachable", [True, False])
def test_a_message_that_cannot_be_posted_fails_the_tick_without_showing_the_webhook(webhook, instance, reachable):
    result = failed(dg.Failure("outage"), instance)
    webhook.status = 404
    if not reachable:
        webhook.socket.close()
    with pytest.raises(NotPosted, match="The alert's webhook") as raised:
        alert(webhook, instance, result)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def checked(instance: dg.DagsterInstance, asset: str, **result: object) -> dg.ExecuteInProcessResult:
    @dg.asset_check(asset=dg.AssetKey(asset.split("/")), name="fresh")
    def fresh() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**result)

    return (
        dg.Definitions(asset_checks=[fresh])
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(instance=instance)
    )


def posted_by_checks(webhook: Webhook, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[str]:
    (success,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
    context = dg.build_run_status_sensor_context(
        sensor_name="gorgias_check_alert",
        dagster_event=success.dagster_event,
        dagster_instance=instance,
        dagster_run=instance.get_run_by_id(result.run_id),
    )
    check_alert(GORGIAS, webhook.url, DAGSTER)(context)
    return webhook.texts


def test_an_error_that_a_check_has_found_is_posted_with_asset_check_and_link_though_its_run_was_a_success(
    webhook, instance
):
    result = checked(instance, "gorgias/tickets", passed=False, description="2025-03-10 has not been materialized.")
    assert posted_by_checks(webhook, instance, result) == [
        "gorgias/tickets, fresh: 2025-03-10 has not been materialized.\n"
        f"<https://dagster.example/runs/{result.run_id}|Run {result.run_id[:8]}>"
    ]


@pytest.mark.parametrize(
    ("asset", "found"),
    [
        ("gorgias/tickets", {"passed": True}),
        ("gorgias/tickets", {"passed": False, "severity": dg.AssetCheckSeverity.WARN, "description": "3 of 4."}),
        ("shop/tickets", {"passed": False, "description": LETTER}),
    ],
    ids=["it has passed", "a warning", "a check of somebody else's asset"],
)
def test_nothing_but_an_error_of_this_account_s_checks_is_posted(webhook, instance, asset, found):
    assert posted_by_checks(webhook, instance, checked(instance, asset, **found)) == []
