"""A message to people when a run has failed."""

from collections.abc import Iterator

import dagster as dg
import requests
from dagster import DagsterEvent
from dagster_shared.error import SerializableErrorInfo

# What this project raises for people to read; of any other error only the name is told, since its text may hold a row.
TOLD = {"Failure", "Rejected", "Unavailable", "Untrusted", "CursorRefused", "WarehouseError", "InvalidUri"}
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
        text = _message(context, f"{dagster_url.rstrip('/')}/runs/{context.dagster_run.run_id}")
        try:
            answer = requests.post(webhook_url, json={"text": text}, timeout=SECONDS_TO_POST)
        except requests.RequestException as error:
            raise dg.Failure(f"The alert's webhook could not be reached ({type(error).__name__}).") from None
        if not answer.ok:
            raise dg.Failure(f"The alert's webhook refused the message ({answer.status_code}).")
        return None

    return gorgias_failure_alert


def _will_retry(run: dg.DagsterRun) -> bool:
    """Whether the instance's run retries take the run up again, as it says once it has seen it."""
    return run.tags.get("dagster/will_retry") == "true"


def _message(context: dg.RunFailureSensorContext, link: str) -> str:
    failures = list(context.get_step_failure_events())
    lines = [f"{_name_of(failure)}{_partitions_of(context.dagster_run)}: {_reason_of(failure)}" for failure in failures]
    lines = lines or [
        f"{context.dagster_run.job_name}{_partitions_of(context.dagster_run)} ended before its steps did."
    ]
    return "\n".join([*map(_escaped, lines), f"<{link}|Run {context.dagster_run.run_id[:8]}>"])


def _name_of(failure: DagsterEvent) -> str:
    return (failure.step_key or "a step").replace("__", "/")


def _partitions_of(run: dg.DagsterRun) -> str:
    first, last = run.tags.get("dagster/asset_partition_range_start"), run.tags.get("dagster/asset_partition_range_end")
    partition = run.tags.get("dagster/partition") or (first and f"{first} to {last}")
    return f", {partition}" if partition else ""


def _reason_of(failure: DagsterEvent) -> str:
    """The sentence of the innermost error that was raised for people to read, else the name of the innermost one."""
    errors = list(_chain(failure.step_failure_data.error))
    told = next((error for error in reversed(errors) if error.cls_name in TOLD), None)
    if told is None:
        return f"it ended with {errors[-1].cls_name or 'an error'}." if errors else "it ended with an error."
    return told.message.partition(": ")[2].strip()


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    """An error, what it was caused by, and so on."""
    while error is not None:
        yield error
        error = error.cause or error.context


def _escaped(text: str) -> str:
    """Slack's three characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
