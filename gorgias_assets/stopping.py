"""Executors whose runs end as canceled when their process is interrupted.

Dagster's own executors in 1.13 do not: a step that is interrupted is retried if it has a retry policy, or fails if
DuckDB turned the interrupt into an error of its own; an interrupt is not noticed while all steps wait; and a run that
was interrupted by anything but *Terminate* has failed, so that Dagster's run retries start it again.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig

LOOK_AGAIN_SECONDS = 0.5
INTERRUPTS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}


class StoppableExecutor(dg.Executor):
    """Another executor, whose runs end as canceled on SIGINT, SIGTERM and SIGHUP."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> RetryMode:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        return self._executor.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        with _hangup_interrupts():
            try:
                yield from self._events(plan_context, execution_plan)
            except (KeyboardInterrupt, DagsterExecutionInterruptedError):
                run = plan_context.instance.get_run_by_id(plan_context.run_id)
                if run is not None and run.status is dg.DagsterRunStatus.STARTED:
                    plan_context.instance.report_run_canceling(run, "The run's process was interrupted.")
                raise

    def _events(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        with _hangup_kept_from_children():
            yield from self._executor.execute(plan_context, execution_plan)


class StoppableInProcessExecutor(StoppableExecutor):
    """Dagster's in-process executor, which also ends when a step was interrupted, and while steps wait."""

    def _events(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=_events_until_interrupted,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )


def _events_until_interrupted(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[dg.DagsterEvent]:
    with _Waiting(job_context.instance, job_context.dagster_run) as waiting:
        for event in inner_plan_execution_iterator(job_context, execution_plan, waiting):
            yield event
            waiting.note(event)
            if is_interruption(event):
                waiting.free_step(event.step_key)
                raise DagsterExecutionInterruptedError


def is_interruption(event: dg.DagsterEvent) -> bool:
    """Return if a step has ended because its process was interrupted."""
    error = None
    if event.is_step_failure:
        error = event.step_failure_data.error
    elif event.is_step_up_for_retry:
        error = event.step_retry_data.error
    while error is not None and error.cls_name not in INTERRUPTS:
        error = error.cause or error.context
    return error is not None


class _Waiting(InstanceConcurrencyContext):
    """The places in pools of one run, which notices interrupts while its steps wait for a place or for a retry.

    If any step waits for a place, Dagster requests the time to sleep and gets zero, which is a busy loop.
    """

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
        super().__init__(instance, run)
        self._retrying: set[str | None] = set()

    def note(self, event: dg.DagsterEvent) -> None:
        if event.is_step_up_for_retry:
            self._retrying.add(event.step_key)
        elif event.is_step_restarted:
            self._retrying.discard(event.step_key)

    def has_pending_claims(self) -> bool:
        return super().has_pending_claims() or bool(self._retrying)

    def interval_to_next_pending_claim_check(self) -> float:
        with dg.raise_execution_interrupts():
            time.sleep(LOOK_AGAIN_SECONDS)
        return 0.0


@contextmanager
def _hangup_interrupts() -> Iterator[None]:
    """Treat SIGHUP as SIGINT, unless it is ignored, as under `nohup`."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def _hangup_kept_from_children() -> Iterator[None]:
    """Let this process alone take SIGHUP, which a terminal sends to the processes of steps, too.

    It would kill them, and the event by which Dagster then stops them waits forever for a killed process. Children
    inherit the mask of this thread. Another thread takes the signal, and Python still handles it in this one.
    """
    over = threading.Event()
    threading.Thread(target=over.wait, name="gorgias-hangup", daemon=True).start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        over.set()
