"""Dagster's daemon in this process, at any time: its own loops over schedules, sensors, backfills and queued runs.

Runs are executed in this process, one after the other. The module is also the code location, with an attribute for
each automation.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, time
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import dagster as dg
import time_machine
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._utils.warnings import disable_dagster_warnings

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.automation import conditions_sensor, day_is_over
from gorgias_assets.entities import CORE, CUSTOMERS, TICKETS
from gorgias_assets.executors import IN_PROCESS
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.jobs import gorgias_job
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.schedules import daily_schedule, late_after
from gorgias_assets.sensors import gaps_sensor
from gorgias_assets.summaries import build_summaries
from gorgias_assets_tests.conftest import FIRST_DAY
from gorgias_assets_tests.test_schedules import TAGS

AT, ZONE = time(1, 30), ZoneInfo("Europe/Berlin")  # half past midnight UTC; from March 30 on, an hour before
CRON = f"{AT.minute} {AT.hour} * * *"
SMALL = Account([TICKETS], start_date=FIRST_DAY)
LARGE = Account((*CORE, TAGS), start_date=FIRST_DAY, metrics=METRICS)
EU, US = (Account([CUSTOMERS, TICKETS], name, FIRST_DAY, f"{name}_io_manager") for name in ("eu", "us"))
LAUNCHER = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}
ACTIVE = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])


def definitions(account: Account, by_conditions: bool) -> dg.Definitions:
    """Return an account's definitions; its secrets and paths come from the environment of each run."""
    made = build_summaries(account)
    assets, summaries = [*build_assets(account), *made], [asset.key for asset in made]
    if by_conditions:
        condition = day_is_over(CRON, ZONE.key)
        assets = list(dg.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=condition), assets))
    return dg.Definitions(
        assets=assets,
        jobs=[gorgias_job(account)],
        schedules=[] if by_conditions else [daily_schedule(account, AT, ZONE, summaries)],
        sensors=[
            conditions_sensor(account, summaries)
            if by_conditions
            else gaps_sensor(account, 30, late_after(AT, ZONE), summaries)
        ],
        executor=IN_PROCESS,
        resources={
            account.name: GorgiasResource(
                uri=dg.EnvVar(f"{account.name.upper()}_URI"),
                api_url=dg.EnvVar(f"{account.name.upper()}_API_URL"),
                patience_minutes=1 / 2000,
            ),
            account.io_manager_key: GorgiasDuckDBIOManager(database=dg.EnvVar("WAREHOUSE"), schema=account.name),
        },
    )


small_by_conditions, small_by_schedule = definitions(SMALL, True), definitions(SMALL, False)
large_by_conditions, large_by_schedule = definitions(LARGE, True), definitions(LARGE, False)
eu_by_schedule, us_by_schedule = definitions(EU, False), definitions(US, False)


class Daemon:
    """The daemon over some of the code locations above, with their history in a folder."""

    def __init__(self, folder: Path, *locations: str) -> None:
        folder.mkdir()
        one_file = {  # for the events of all runs; one for each takes longer to make than a run to execute
            "module": "dagster._core.storage.event_log",
            "class": "ConsolidatedSqliteEventLogStorage",
            "config": {"base_dir": str(folder)},
        }
        overrides = {"run_launcher": LAUNCHER, "event_log_storage": one_file}
        self.instance = dg.DagsterInstance.local_temp(str(folder), overrides=overrides)
        targets = {name: LoadableTargetOrigin(module_name=__name__, attribute=name) for name in locations}
        origins = [InProcessCodeLocationOrigin(target, location_name=name) for name, target in targets.items()]
        with disable_dagster_warnings():  # of properties that its own snapshot of a schedule reads
            self._workspace = WorkspaceProcessContext(self.instance, InProcessWorkspaceLoadTarget(origins))
        self._queue = QueuedRunCoordinatorDaemon(interval_seconds=5)
        self._log = logging.getLogger("daemon of tests")

    def __enter__(self) -> Self:
        self.instance.__enter__()
        self._workspace.__enter__()
        for location in self._workspace.create_request_context().code_locations:
            for repository in location.get_repositories().values():
                for sensor in repository.get_sensors():
                    self.instance.start_sensor(sensor)
        return self

    def __exit__(self, *error: Any) -> None:
        self._workspace.__exit__(*error)
        self.instance.__exit__(*error)

    def look(self, at: datetime) -> None:
        """Evaluate what is due at that moment, and execute the runs."""
        with time_machine.travel(at):
            self._succeed(launch_scheduled_runs(self._workspace, self._log, at, {}))
            self._succeed(execute_sensor_iteration(self._workspace, self._log, None, None))
            while self.instance.get_backfills(filters=ACTIVE) or self.instance.get_runs(QUEUED):
                self._succeed(execute_backfill_iteration(self._workspace, self._log))
                self._succeed(self._queue.run_iteration(self._workspace))

    def materialize(self, account: Account, day: str, at: datetime) -> None:
        """Materialize a day of all entities at that moment, as somebody may in the UI."""
        with time_machine.travel(at):
            job = definitions(account, by_conditions=False).resolve_job_def(account.name)
            job.execute_in_process(instance=self.instance, partition_key=day)

    def _succeed(self, iteration: Iterable[Any]) -> None:
        errors = [error for error in iteration if error]
        assert not errors, errors
