"""Where the steps of a run are executed."""

from collections.abc import Callable

import dagster as dg

from gorgias_assets.stopping import StoppableExecutor, StoppableInProcessExecutor


def _stoppable(stock: dg.ExecutorDefinition, executor: Callable[[dg.Executor], dg.Executor]) -> dg.ExecutorDefinition:
    """Return Dagster's executor, with its name and configuration, whose runs end as canceled if interrupted."""
    create = stock.executor_creation_fn
    assert create is not None
    return dg.ExecutorDefinition(
        name=stock.name,
        config_schema=stock.config_schema.as_field(),
        requirements=stock.get_requirements,
        executor_creation_fn=lambda context: executor(create(context)),
        description=stock.description,
    )


IN_PROCESS = _stoppable(dg.in_process_executor, StoppableInProcessExecutor)
PROCESSES = _stoppable(dg.multiprocess_executor, StoppableExecutor)


def executor_named(name: str) -> dg.ExecutorDefinition:
    """Return the executor of all steps in the run's process (`in_process`), in one each (`processes`) or a pod each.

    The last one is `kubernetes`. Raises `KeyError` for any other name.
    """
    if name != "kubernetes":
        return {"in_process": IN_PROCESS, "processes": PROCESSES}[name]
    try:
        from dagster_k8s import k8s_job_executor  # installed only if it is chosen, and slow to load
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Steps in pods of their own need dagster-k8s; install this project with its extra, "
            "pip install 'gorgias-assets[deployment]'."
        ) from None
    return k8s_job_executor
