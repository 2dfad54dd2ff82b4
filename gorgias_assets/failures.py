"""Why a step failed, in a sentence for people; a text that may hold a row is not told."""

from collections.abc import Iterator

from dagster import DagsterEvent
from dagster_shared.error import SerializableErrorInfo

# What this project raises for people to read; of any other error only the name is told, since its text may hold a row.
TOLD = {"Failure", "Rejected", "Unavailable", "Untrusted", "CursorRefused", "WarehouseError", "InvalidUri"}


def step_name(event: DagsterEvent) -> str:
    """The asset that a step is for."""
    return (event.step_key or "a step").replace("__", "/")


def reason_of(error: SerializableErrorInfo | None) -> str:
    """The sentence of the innermost error that was raised for people to read, else the name of the innermost one."""
    errors = list(_chain(error))
    told = next((error for error in reversed(errors) if error.cls_name in TOLD), None)
    if told is None:
        return f"it ended with {errors[-1].cls_name or 'an error'}." if errors else "it ended with an error."
    return told.message.partition(": ")[2].strip()


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    """An error, what it was caused by, and so on."""
    while error is not None:
        yield error
        error = error.cause or error.context
