"""A backfill in this process: one run of a range of days, with its progress in the terminal."""

import logging
import sys
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.alerts import reason_of, step_name
from gorgias_assets.executors import IN_PROCESS
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.stopping import is_interruption

INTERRUPTED = 130  # the exit code that shells know


def backfill(account: Account, first: date, last: date) -> int:
    """Materialize all assets for the days from `first` to `last`; return 0 if it succeeded.

    After an interruption the same command resumes.
    """
    keys = account.partitions.get_partition_keys()
    if not keys:
        print(f"The first day, {account.start_date}, has not begun.")
        return 2
    if not keys[0] <= str(first) <= str(last) <= keys[-1]:
        print(f"There are days from {keys[0]} to {keys[-1]}; name two of them, the earlier one first.")
        return 2
    print(f"Materializing {first} to {last} in one run. Ctrl-C stops it; the same command resumes it.", flush=True)
    with (
        dg.DagsterInstance.get() as instance,
        dg.execute_job(
            dg.build_reconstructable_job(__name__, backfill_job.__name__, (account.name,)),
            instance,
            run_config={"loggers": {"terminal": {}}},
            tags=tags_of_days(str(first), str(last)),
        ) as result,
    ):
        if result.dagster_run.status is dg.DagsterRunStatus.CANCELED:
            print("Stopped.")
            return INTERRUPTED
        print_tables(account, result)
        return 0 if result.success else 1


def backfill_job(name: str) -> dg.JobDefinition:
    """Return the job of the code location with its progress in the terminal, always in this process."""
    from gorgias_assets.definitions import defs  # this function is all that Dagster makes the job of

    logged = dg.Definitions.merge(defs, dg.Definitions(loggers={"terminal": _terminal}))
    return logged.resolve_job_def(name).with_executor_def(IN_PROCESS)


def print_tables(account: Account, result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> None:
    """Print a line for each entity's table on the changes that a run made."""
    print(f"\n{'table':<36}{'rows':>10}{'merged':>10}{'new':>10}{'API calls':>11}")
    for entity in account.entities:
        made = result.asset_materializations_for_node(account.op_of(entity))
        for event in [one for one in made if one.asset_key == account.key_of(entity)][-1:]:
            value = {name: metadata.value for name, metadata in event.metadata.items()}
            numbers = [value[name] for name in ("dagster/row_count", "rows_merged", "rows_new", "api_calls")]
            print(
                f"{value['dagster/table_name']:<36}{numbers[0]:>10,}{numbers[1]:>10,}{numbers[2]:>10,}{numbers[3]:>11,}"
            )


class _Line(logging.Formatter):
    """Progress of this project, and the reason if a step failed, without Dagster's own events."""

    def format(self, record: logging.LogRecord) -> str:
        meta = _meta(record)
        event = meta["dagster_event"]
        text = f"{step_name(event)}: {_failure(event)}" if event else meta["orig_message"]
        return f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S}  {text}"


def _meta(record: logging.LogRecord) -> Any:
    return record.dagster_meta  # type: ignore[attr-defined]  # Dagster's, on every record of a run


def _is_shown(record: logging.LogRecord) -> bool:
    event = _meta(record)["dagster_event"]
    if event is None:
        return True
    return (event.is_step_failure or event.is_step_up_for_retry) and not is_interruption(event)


def _failure(event: dg.DagsterEvent) -> str:
    if event.is_step_failure:
        return reason_of(event.step_failure_data.error)
    retry = event.step_retry_data
    return f"{reason_of(retry.error)} Retrying in {retry.seconds_to_wait or 0:,.0f} s."


@dg.logger({}, description="A line for each log message of this project.")
def _terminal(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("gorgias_assets", logging.INFO)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Line())
    handler.addFilter(_is_shown)
    logger.addHandler(handler)
    return logger
