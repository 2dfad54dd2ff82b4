"""Recording days as materialized that a run has read before its partition.

They are events of the run's step, as those of its partition are. Dagster would store one after the other, and ten years
of days would take minutes; here they are stored many at a time. They have no tags of data versions, so Dagster compares
the times at which a day and what it depends on were materialized.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.events import StepMaterializationData
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage

EVENTS_AT_ONCE = 1000  # SQLite keeps other writers out for 0.2 s


def record_days(step: StepExecutionContext, asset: dg.AssetKey, days: Mapping[str, Mapping[str, Any]]) -> None:
    """Record that the step has materialized partitions of the asset, each with its metadata, in this order."""
    events = [
        _event(step, dg.AssetMaterialization(asset, partition=key, metadata=metadata)) for key, metadata in days.items()
    ]
    for begin in range(0, len(events), EVENTS_AT_ONCE):
        _store(step.instance.event_log_storage, events[begin : begin + EVENTS_AT_ONCE])


def _event(step: StepExecutionContext, materialization: dg.AssetMaterialization) -> dg.EventLogEntry:
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        event_specific_data=StepMaterializationData(materialization),
        message=f"Materialized {materialization.partition}.",
        pid=os.getpid(),
    )
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's constructor has no types
        error_info=None,
        user_message="",
        level=logging.DEBUG,
        run_id=step.run_id,
        timestamp=time.time(),
        step_key=step.step.key,
        job_name=step.job_name,
        dagster_event=event,
    )


def _store(storage: EventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
    if not isinstance(storage, SqliteEventLogStorage):
        storage.store_event_batch(events)  # in PostgreSQL one statement
        return
    # As SQLite's `store_event` does for each event by itself: once for the run, and once for queries over all runs.
    statements = [storage.prepare_insert_event(event) for event in events]
    with storage.run_connection(events[0].run_id) as connection:
        for statement in statements:
            connection.execute(statement)
    with storage.index_connection() as connection:
        ids = [int(key[0]) for each in statements if (key := connection.execute(each).inserted_primary_key)]
    storage.store_asset_event_tags(events, ids)
    storage.store_asset_event(events[-1], ids[-1])
