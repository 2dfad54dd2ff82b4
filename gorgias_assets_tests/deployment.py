"""The processes of `make dev` on a simulated account: Dagster's webserver, daemon and code location."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import requests

from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.postgres import free_port

T = TypeVar("T")

REPOSITORY = Path(__file__).parent.parent
SETTINGS = ("GORGIAS_", "WAREHOUSE_", "ALERT_", "DAGSTER_")
BIN = Path(sys.executable).parent
LOCATION, REPOSITORY_NAME = "gorgias_assets", "__repository__"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

FROM_UI = [{"key": "dagster/from_ui", "value": "true"}]

WARNING = re.compile(r"WARNING|ERROR|CRITICAL|Warning\b|Traceback")
# Dagster logs it once per instance, before its daemon has seen an event.
FIRST_START = re.compile(r"No cursor for event type DagsterEventType\.RUN_\w+, ignoring older events")

READY = """{
  repositoryOrError(repositorySelector: {repositoryLocationName: "gorgias_assets", repositoryName: "__repository__"}) {
    ... on Repository {
      assetNodes {
        isExecutable
        assetKey { path }
        assetChecksOrError { ... on AssetChecks { checks { name assetKey { path } } } }
      }
    }
  }
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
}"""
BACKFILL = """mutation ($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) { ... on LaunchBackfillSuccess { backfillId } }
}"""
LAUNCH = """mutation ($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) { ... on LaunchRunSuccess { run { id } } }
}"""
REEXECUTE = """mutation ($reexecutionParams: ReexecutionParams!) {
  launchPipelineReexecution(reexecutionParams: $reexecutionParams) { ... on LaunchRunSuccess { run { id } } }
}"""
TURN_ON = """mutation ($sensorSelector: SensorSelector!) {
  startSensor(sensorSelector: $sensorSelector) { __typename }
}"""
RUNS = """query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) {
    ... on Runs { results { id status stepKeysToExecute assetSelection { path } tags { key value } } }
  }
}"""
PARTITIONS = """query ($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      partitionStats { numMaterialized numFailed }
      assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } }
    }
  }
}"""


class Deployment:
    """A deployment that runs as long as the `with` block lasts, with its home, log and DuckDB file in a folder.

    Its GraphQL operations are those that the web app sends, with their variables.
    """

    def __init__(self, folder: Path, sandbox: Sandbox, **settings: str) -> None:
        self.home = folder / "home"
        self.database = folder / "warehouse.duckdb"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)},
            "VIRTUAL_ENV": sys.prefix,
            "DAGSTER_HOME": str(self.home),
            "GORGIAS_URI": sandbox.uri,
            "GORGIAS_API_URL": sandbox.api_url,
            "WAREHOUSE_URI": f"duckdb:///{self.database}",
            "GORGIAS_REPORTS": str(folder / "reports"),
            **settings,
        }

    def __enter__(self) -> Self:
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text((REPOSITORY / "deploy" / "dagster.yaml").read_text())
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [BIN / "dg", "dev", "--port", str(self.port)],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._is_ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            answer = self.graphql(READY)
        except requests.ConnectionError:
            return False
        nodes = [node for node in answer["repositoryOrError"].get("assetNodes", []) if node["isExecutable"]]
        self._assets = [node["assetKey"] for node in nodes]
        self._checks = [check for node in nodes for check in node["assetChecksOrError"]["checks"]]
        daemons = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
        return bool(self._assets) and all(daemon["healthy"] for daemon in daemons if daemon["required"])

    def warnings(self) -> list[str]:
        """Return the warnings and errors that the webserver, the daemon and the code location have logged.

        Runs log there, too; the errors of runs that failed are left out.
        """
        failed = [run["id"] for run in self.runs(statuses=["FAILURE"])]
        return [
            line
            for line in self._log.read_text().splitlines()
            if WARNING.search(line) and not FIRST_START.search(line) and not any(run in line for run in failed)
        ]

    def warnings_of_steps(self) -> list[str]:
        """Return Python's warnings in what the UI shows as *stderr* of a run."""
        outputs = [file.read_text() for file in self.home.glob("storage/*/compute_logs/*.err")]
        assert outputs
        return [line for output in outputs for line in output.splitlines() if "Warning: " in line]

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def backfill(self, days: Sequence[str]) -> str:
        """Backfill as *Materialize all* does; return the backfill's id."""
        sent = {"assetSelection": self._assets, "partitionNames": list(days), "fromFailure": False, "tags": FROM_UI}
        return self.graphql(BACKFILL, backfillParams=sent)["launchPartitionBackfill"]["backfillId"]

    def launch(self, day: str, assets: Sequence[str] = ()) -> str:
        """Start a run as *Materialize* of one partition does, of all assets if none is named; return the run's id."""
        selected = [key(asset) for asset in assets] or self._assets
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY_NAME,
            "pipelineName": "__ASSET_JOB",
            "assetSelection": selected,
            "assetCheckSelection": [check for check in self._checks if check["assetKey"] in selected],
        }
        sent = {
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}, *FROM_UI]},
            "runConfigData": "{}\n",
            "selector": selector,
        }
        return self.graphql(LAUNCH, executionParams=sent)["launchPipelineExecution"]["run"]["id"]

    def retry(self, run_id: str) -> str:
        """Retry as *Re-execute from failure* does; return the new run's id."""
        sent = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        return self.graphql(REEXECUTE, reexecutionParams=sent)["launchPipelineReexecution"]["run"]["id"]

    def turn_on(self, sensor: str) -> None:
        selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY_NAME, "sensorName": sensor}
        assert self.graphql(TURN_ON, sensorSelector=selector)["startSensor"]["__typename"] == "Sensor"

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the runs that match a `RunsFilter`, newest first. Tags are a dict in the filter and in the runs."""
        if "tags" in wanted:
            wanted["tags"] = [{"key": name, "value": value} for name, value in wanted["tags"].items()]
        runs = self.graphql(RUNS, filter=wanted)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]

    def run_of(self, **wanted: Any) -> dict[str, Any]:
        """Wait for the one run that matches to end, and return it."""
        wait_until(lambda: {run["status"] for run in self.runs(**wanted)} & {*ENDED})
        (run,) = self.runs(**wanted)
        return run

    def ended(self, run_id: str) -> dict[str, Any]:
        return self.run_of(runIds=[run_id])

    def partitions(self, asset: str) -> dict[str, Any]:
        """Return an asset's partitions as its bar shows them: counts and key ranges by state."""
        return self.graphql(PARTITIONS, assetKey=key(asset))["assetNodeOrError"]


def key(asset: str) -> dict[str, list[str]]:
    return {"path": ["gorgias", asset]}


def wait_until(is_so: Callable[[], T], seconds: float = 240) -> T:
    """Wait until `is_so` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (answer := is_so()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)
    return answer
