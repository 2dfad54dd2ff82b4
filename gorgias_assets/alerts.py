"""Messages to people: when a run has failed, and when a check has found an error."""

from collections.abc import Iterable

import dagster as dg
import requests

from gorgias_assets.assets import GROUP
from gorgias_assets.failures import reason_of, step_name
from gorgias_assets.partitions import days_of_run

SECONDS_TO_POST = 10


def failure_alert(webhook_url: str, dagster_url: str) -> dg.SensorDefinition:
    """Posts to a Slack-compatible webhook when a run has failed for good: assets, partitions, the reason, a link.

    It runs as soon as it is deployed. A message that cannot be posted fails the tick, whose error does not hold the
    webhook's URL: whoever knows that can post.
    """

    @dg.run_failure_sensor(
        name="gorgias_failure_alert",
        description="Posts to a webhook when a run has failed: assets, partitions, the reason, a link.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def gorgias_failure_alert(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if _will_retry(run):
            return dg.SkipReason("The run is run again.")
        lines = [
            f"{step_name(failure)}{_days_of(run)}: {reason_of(failure.step_failure_data.error)}"
            for failure in context.get_step_failure_events()
        ]
        _post(webhook_url, lines or [f"{run.job_name}{_days_of(run)} ended before its steps did."], run, dagster_url)
        return None

    return gorgias_failure_alert


def check_alert(webhook_url: str, dagster_url: str) -> dg.SensorDefinition:
    """Posts, as `failure_alert` does, what checks of this project's assets have found that are errors, not warnings.

    Such a check does not fail its run, whose rows are stored.
    """

    @dg.run_status_sensor(
        name="gorgias_check_alert",
        run_status=dg.DagsterRunStatus.SUCCESS,
        description="Posts to a webhook when a check has found an error: asset, check, what it found, a link.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def gorgias_check_alert(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        entries = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
        lines = [
            f"{one.asset_key.to_user_string()}, {one.check_name}: {one.description}"
            for one in found
            if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR and one.asset_key.path[0] == GROUP
        ]
        if not lines:
            return dg.SkipReason("No check has found an error.")
        _post(webhook_url, lines, run, dagster_url)
        return None

    return gorgias_check_alert


def _post(webhook_url: str, lines: Iterable[str], run: dg.DagsterRun, dagster_url: str) -> None:
    link = f"<{dagster_url.rstrip('/')}/runs/{run.run_id}|Run {run.run_id[:8]}>"
    try:
        answer = requests.post(
            webhook_url, json={"text": "\n".join([*map(_escaped, lines), link])}, timeout=SECONDS_TO_POST
        )
    except requests.RequestException as error:
        raise dg.Failure(f"The alert's webhook could not be reached ({type(error).__name__}).") from None
    if not answer.ok:
        raise dg.Failure(f"The alert's webhook refused the message ({answer.status_code}).")


def _will_retry(run: dg.DagsterRun) -> bool:
    """Whether the instance's run retries take the run up again, as it says once it has seen it."""
    return run.tags.get("dagster/will_retry") == "true"


def _days_of(run: dg.DagsterRun) -> str:
    days = days_of_run(run.tags)
    return f", {' to '.join(dict.fromkeys(days))}" if days else ""


def _escaped(text: str) -> str:
    """Slack's three characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
