"""A backfill in this process: one run of a range of days, with its progress in the terminal."""

import logging
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import dagster as dg

from gorgias_assets.alerts import reason_of, step_name
from gorgias_assets.assets import op_of
from gorgias_assets.definitions import defs, partitions, start_date
from gorgias_assets.entities import ENTITIES
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.schedules import gorgias_job

INTERRUPTED = 130  # the exit code that shells know


def backfill(first: date, last: date) -> int:
    """Materialise all assets for the days from `first` to `last`; 0 when all went well.

    Interrupted, the same command goes on from there.
    """
    keys = partitions.get_partition_keys()
    if not keys:
        print(f"The first day, {start_date}, has not begun.")
        return 2
    if not keys[0] <= str(first) <= str(last) <= keys[-1]:
        print(f"There are days from {keys[0]} to {keys[-1]}; name two of them, the earlier one first.")
        return 2
    print(f"Materialising {first} to {last} in one run. Ctrl-C stops it; the same command goes on from there.")
    run_id = str(uuid4())
    with dg.DagsterInstance.get() as instance:
        try:
            # A thread, since Dagster would take an interrupt in the main one for a step that failed, and try it again.
            result = ThreadPoolExecutor(1).submit(_run, instance, run_id, tags_of_days(str(first), str(last))).result()
        except KeyboardInterrupt:
            run = instance.get_run_by_id(run_id)
            if run is not None:
                instance.report_run_canceled(run)
            print("Stopped.", flush=True)
            os._exit(INTERRUPTED)  # what was read is committed, and another thread may wait for an answer
    print_tables(result)
    return 0 if result.success else 1


def _run(instance: dg.DagsterInstance, run_id: str, tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
    told = dg.Definitions.merge(defs, dg.Definitions(loggers={"terminal": _terminal}))
    return told.resolve_job_def(gorgias_job.name).execute_in_process(
        instance=instance,
        run_id=run_id,
        run_config={"loggers": {"terminal": {}}},
        tags=dict(tags),
        raise_on_error=False,
    )


def print_tables(result: dg.ExecuteInProcessResult) -> None:
    """What a run did to each entity's table."""
    print(f"\n{'table':<36}{'rows':>10}{'merged':>10}{'new':>10}{'API calls':>11}")
    for entity in ENTITIES:
        for event in result.asset_materializations_for_node(op_of(entity))[-1:]:
            value = {name: metadata.value for name, metadata in event.metadata.items()}
            numbers = [value[name] for name in ("dagster/row_count", "rows_merged", "rows_new", "api_calls")]
            print(
                f"{value['dagster/table_name']:<36}{numbers[0]:>10,}{numbers[1]:>10,}{numbers[2]:>10,}{numbers[3]:>11,}"
            )


class _Line(logging.Formatter):
    """What this project says of its progress, and why a step failed; nothing of Dagster's own events."""

    def format(self, record: logging.LogRecord) -> str:
        meta = _meta(record)
        event = meta["dagster_event"]
        said = f"{step_name(event)}: {_failure(event)}" if event else meta["orig_message"]
        return f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S}  {said}"


def _meta(record: logging.LogRecord) -> Any:
    return record.dagster_meta  # type: ignore[attr-defined]  # Dagster's, on every record of a run


def _is_told(record: logging.LogRecord) -> bool:
    event = _meta(record)["dagster_event"]
    return event is None or event.is_step_failure or event.is_step_up_for_retry


def _failure(event: dg.DagsterEvent) -> str:
    if event.is_step_failure:
        return reason_of(event.step_failure_data.error)
    retry = event.step_retry_data
    return f"{reason_of(retry.error)} It is tried again in {retry.seconds_to_wait or 0:,.0f} s."


@dg.logger({}, description="This project's own words, a line each.")
def _terminal(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("gorgias_assets", logging.INFO)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Line())
    handler.addFilter(_is_told)
    logger.addHandler(handler)
    return logger
