"""Alerts to people: a run has failed, or a check has found an error.

A text that may hold a row is never posted.
"""

from collections.abc import Iterable, Iterator

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from gorgias_assets.account import Account
from gorgias_assets.api.webhook import escaped, post
from gorgias_assets.display import shown
from gorgias_assets.partitions import days_of_run

MOST_LETTERS = 1_000  # of a line

# Errors that this project raises for people to read. The text of any other error may hold a row: only its name is used.
FOR_PEOPLE = {"Failure", "Rejected", "Unavailable", "Untrusted", "CursorRefused", "WarehouseError", "InvalidUri"}


def failure_alert(account: Account, webhook_url: str, dagster_url: str) -> dg.SensorDefinition:
    """Post to a Slack-compatible webhook if a run of the account's assets has failed for good. It is on by default.

    A message that cannot be posted fails the tick. The error does not hold the webhook's URL: whoever knows it can
    post.
    """

    @dg.run_failure_sensor(
        name=account.named("failure_alert"),
        description="Post to a webhook when a run has failed: assets, partitions, the reason, a link.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alert(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":  # set by the instance's run retries
            return dg.SkipReason("Dagster will retry this run.")
        if _assets_of(context.instance, run).isdisjoint(account.asset_keys):
            return dg.SkipReason(f"The run has no asset of {account.name}.")
        days = ", " + " to ".join(dict.fromkeys(days_of_run(run.tags))) if days_of_run(run.tags) else ""
        lines = [
            f"{step_name(failure)}{days}: {reason_of(failure.step_failure_data.error)}"
            for failure in context.get_step_failure_events()
        ]
        _post(webhook_url, lines or [f"{run.job_name}{days}: failed outside any step."], run, dagster_url)
        return None

    return alert


def check_alert(account: Account, webhook_url: str, dagster_url: str) -> dg.SensorDefinition:
    """Post, as `failure_alert` does, what checks of the account's assets have found that is an error, not a warning.

    Such a check does not fail its run, since the rows are stored.
    """

    @dg.run_status_sensor(
        name=account.named("check_alert"),
        run_status=dg.DagsterRunStatus.SUCCESS,
        description="Post to a webhook when a check has found an error: asset, check, finding, a link.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alert(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        entries = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
        lines = [
            f"{one.asset_key.to_user_string()}, {one.check_name}: {one.description}"
            for one in found
            if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR and one.asset_key in account.asset_keys
        ]
        if not lines:
            return dg.SkipReason("No check has found an error.")
        _post(webhook_url, lines, run, dagster_url)
        return None

    return alert


def step_name(event: dg.DagsterEvent) -> str:
    """Return the asset that a step is for."""
    return (event.step_key or "a step").replace("__", "/")


def reason_of(error: SerializableErrorInfo | None) -> str:
    """Return why a step failed: the innermost error raised for people, else the innermost error's name."""
    errors = list(_chain(error))
    for one in reversed(errors):
        if one.cls_name in FOR_PEOPLE:
            return one.message.partition(": ")[2].strip()
    return f"failed with {(errors and errors[-1].cls_name) or 'an error'}."


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.cause or error.context


def _assets_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[dg.AssetKey]:
    """Return the assets that the run was to materialize or check."""
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}
    events = [entry.get_dagster_event() for entry in instance.all_logs(run.run_id, of_type=kinds)]
    return {event.asset_key or event.asset_check_planned_data.asset_key for event in events}


def _post(webhook_url: str, lines: Iterable[str], run: dg.DagsterRun, dagster_url: str) -> None:
    link = f"<{dagster_url.rstrip('/')}/runs/{run.run_id}|Run {run.run_id[:8]}>"
    post(webhook_url, "\n".join([*(escaped(shown(line, most=MOST_LETTERS)) for line in lines), link]))
