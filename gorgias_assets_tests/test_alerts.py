"""What is told of failed runs and checks, and what never is."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from gorgias_assets.alerts import check_alert, failure_alert
from gorgias_assets.resources import GorgiasResource
from gorgias_assets_tests.conftest import Project

DAGSTER = "https://dagster.example/"
LETTER = "Dear shop, my private letter"


class Webhook(HTTPServer):
    """Keeps the texts that are posted to it, and answers with `status`."""

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
    return failure_alert(webhook.url, DAGSTER)(context.for_run_failure())


def failed(error: Exception, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    @dg.asset(key=["shop", "orders"])
    def orders() -> None:
        raise error

    return dg.materialize([orders], instance=instance, raise_on_error=False)


def test_a_failed_run_is_told_with_asset_partition_reason_and_link(project: Project, webhook, instance):
    key = project.account.api_key
    project.resources["gorgias"] = GorgiasResource(
        uri=project.sandbox.uri.replace(key, "wr0ng"), api_url=project.sandbox.api_url, patience_minutes=0.01
    )
    project.instance = instance
    result = project.materialize("2025-03-10", select=["tickets"], raise_on_error=False)
    alert(webhook, instance, result)
    (text,) = webhook.texts
    told, link = text.splitlines()
    assert told.startswith(
        "gorgias/tickets, 2025-03-10: GET /tickets of account 'sandbox': status 401; check the e-mail"
    )
    assert link == f"<https://dagster.example/runs/{result.run_id}|Run {result.run_id[:8]}>"
    assert "wr0ng" not in text


def test_each_asset_that_failed_is_told_and_a_range_by_its_ends(project, webhook, instance):
    project.resources["gorgias"] = GorgiasResource(uri="gorgias://shop?api_key=k", api_url=project.sandbox.api_url)
    project.instance = instance
    alert(webhook, instance, project.materialize("2025-03-10", "2025-03-12", raise_on_error=False))
    *told, _ = webhook.texts[0].splitlines()
    assert sorted(line.partition(": ")[0] for line in told) == [
        f"gorgias/{name}, 2025-03-10 to 2025-03-12"
        for name in ("customers", "satisfaction_surveys", "ticket_messages", "tickets")
    ]
    assert all("The Gorgias URI has no email" in line for line in told)


def test_of_an_error_that_was_not_raised_for_people_only_the_name_is_told(webhook, instance):
    alert(webhook, instance, failed(ValueError(LETTER), instance))
    assert webhook.texts[0].splitlines()[0] == "shop/orders: it ended with ValueError."


def test_what_slack_would_take_for_a_link_or_a_mention_is_told_as_it_is(webhook, instance):
    alert(webhook, instance, failed(dg.Failure("<!channel> & more"), instance))
    assert webhook.texts[0].splitlines()[0] == "shop/orders: &lt;!channel&gt; &amp; more"


def test_a_run_that_is_run_again_is_not_told(webhook, instance):
    result = failed(dg.Failure("outage"), instance)
    instance.add_run_tags(result.run_id, {"dagster/will_retry": "true"})
    assert isinstance(alert(webhook, instance, result), dg.SkipReason)
    assert webhook.texts == []


@pytest.mark.parametrize("reachable", [True, False])
def test_a_message_that_cannot_be_posted_fails_the_tick_without_showing_the_webhook(webhook, instance, reachable):
    result = failed(dg.Failure("outage"), instance)
    webhook.status = 404
    if not reachable:
        webhook.socket.close()
    with pytest.raises(dg.Failure, match="The alert's webhook") as raised:
        alert(webhook, instance, result)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def checked(severity: dg.AssetCheckSeverity, instance: dg.DagsterInstance) -> object:
    """A run that succeeds, and two checks in it, of which one fails."""

    @dg.asset(key=["shop", "orders"])
    def orders() -> None: ...

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset=["shop", "orders"]) for name in ("fresh", "unique")])
    def checks() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(passed=False, check_name="fresh", severity=severity, description="Since 6:30.")
        yield dg.AssetCheckResult(passed=True, check_name="unique", severity=severity, description="Fine.")

    return dg.materialize([orders, checks], instance=instance)


def alert_of_checks(webhook: Webhook, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> object:
    (success,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
    context = dg.build_run_status_sensor_context(
        sensor_name="gorgias_check_alert",
        dagster_event=success.dagster_event,
        dagster_instance=instance,
        dagster_run=instance.get_run_by_id(result.run_id),
    )
    return check_alert(webhook.url, DAGSTER)(context)


def test_a_check_that_has_failed_is_told_though_its_run_has_not(webhook, instance):
    result = checked(dg.AssetCheckSeverity.ERROR, instance)
    alert_of_checks(webhook, instance, result)
    assert webhook.texts == [
        f"shop/orders, fresh: Since 6:30.\n<https://dagster.example/runs/{result.run_id}|Run {result.run_id[:8]}>"
    ]


def test_a_check_that_only_warns_wakes_nobody(webhook, instance):
    assert isinstance(alert_of_checks(webhook, instance, checked(dg.AssetCheckSeverity.WARN, instance)), dg.SkipReason)
    assert webhook.texts == []
