"""Where the steps of a run are carried out."""

import dagster as dg


def executor_named(name: str) -> dg.ExecutorDefinition:
    """`processes`: each step in one of its own; `in_process`: all in the run's; `kubernetes`: each in a pod of its own.

    Raises `KeyError` for any other name.
    """
    if name == "kubernetes":
        return _kubernetes()
    return {"processes": dg.multiprocess_executor, "in_process": dg.in_process_executor}[name]


def _kubernetes() -> dg.ExecutorDefinition:
    try:
        from dagster_k8s import k8s_job_executor  # only where it is chosen is it installed, and it takes long to load
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Steps in pods of their own need dagster-k8s; install this project with its extra, "
            "pip install 'gorgias-assets[deployment]'."
        ) from None
    return k8s_job_executor
