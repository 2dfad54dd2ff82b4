"""A message to people when a run or a check has failed."""

from collections.abc import Sequence

import dagster as dg
import requests

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
        if _will_retry(context.dagster_run):
            return dg.SkipReason("The run is run again.")
        _post(webhook_url, dagster_url, context.dagster_run, _failures(context))
        return None

    return gorgias_failure_alert


def check_alert(webhook_url: str, dagster_url: str) -> dg.SensorDefinition:
    """Posts to the webhook when checks have failed in a run that has not, unless they only warn.

    A day that is late because its run never started is told in no other way.
    """

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="gorgias_check_alert",
        description="Posts to a webhook when checks have failed, unless they only warn: asset, check, what it says.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def gorgias_check_alert(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        logged = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        made = [entry.dagster_event.asset_check_evaluation_data for entry in logged if entry.dagster_event]
        lines = [
            f"{check.asset_key.to_user_string()}, {check.check_name}: {check.description}"
            for check in made
            if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
        ]
        if not lines:
            return dg.SkipReason("No check has failed.")
        _post(webhook_url, dagster_url, run, lines)
        return None

    return gorgias_check_alert


def _will_retry(run: dg.DagsterRun) -> bool:
    """Whether the instance's run retries take the run up again, as it says once it has seen it."""
    return run.tags.get("dagster/will_retry") == "true"


def _failures(context: dg.RunFailureSensorContext) -> list[str]:
    run = context.dagster_run
    days = "".join(f", {days}" for days in [" to ".join(dict.fromkeys(days_of_run(run.tags)))] if days)
    lines = [
        f"{step_name(failure)}{days}: {reason_of(failure.step_failure_data.error)}"
        for failure in context.get_step_failure_events()
    ]
    return lines or [f"{run.job_name}{days} ended before its steps did."]


def _post(webhook_url: str, dagster_url: str, run: dg.DagsterRun, lines: Sequence[str]) -> None:
    link = f"<{dagster_url.rstrip('/')}/runs/{run.run_id}|Run {run.run_id[:8]}>"
    text = "\n".join([*map(_escaped, lines), link])
    try:
        answer = requests.post(webhook_url, json={"text": text}, timeout=SECONDS_TO_POST)
    except requests.RequestException as error:
        raise dg.Failure(f"The alert's webhook could not be reached ({type(error).__name__}).") from None
    if not answer.ok:
        raise dg.Failure(f"The alert's webhook refused the message ({answer.status_code}).")


def _escaped(text: str) -> str:
    """Slack's three characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
