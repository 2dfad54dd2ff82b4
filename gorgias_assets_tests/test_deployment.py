"""The files of a deployment: Dagster, its agent and this project understand them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
import yaml
from dagster_cloud_cli.config.models import Location, load_dagster_cloud_yaml
from dagster_k8s.container_context import K8sContainerContext

from gorgias_assets.account import API_POOL, Account
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.settings import Settings
from gorgias_assets_tests.deployment import wait_until
from gorgias_assets_tests.postgres import free_port

REPOSITORY = Path(__file__).parent.parent
SETTINGS = {variable for variable, _, _ in Settings.documented()}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """Yield an instance with the settings of `dagster.yaml`."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((REPOSITORY / "deploy" / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def location() -> Location:
    (location,) = load_dagster_cloud_yaml((REPOSITORY / "dagster_cloud.yaml").read_text()).locations
    return location


def test_steps_that_read_are_in_the_pool_for_that():
    assert {asset.op.pool for asset in build_assets(Account(CORE))} == {f"gorgias_{API_POOL}"}


def test_backfills_and_runs_of_sensors_leave_room_for_the_daily_run(instance):
    queue = instance.get_concurrency_config().run_queue_config
    assert sum(limit["limit"] for limit in queue.tag_concurrency_limits) < queue.max_concurrent_runs


def test_slots_of_a_killed_run_are_freed_and_telemetry_is_off(instance):
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
    assert instance.telemetry_enabled is False


def test_what_the_warehouse_says_is_in_the_log_of_the_run(instance, tmp_path):
    database = tmp_path / "shop.duckdb"

    @dg.asset(key_prefix="shop")
    def letters() -> pd.DataFrame:
        return pd.DataFrame({"n": [1]})

    resources = {"io_manager": GorgiasDuckDBIOManager(database=str(database), lock_timeout_seconds=5)}
    with duckdb.connect(str(database)):
        result = dg.materialize([letters], resources=resources, instance=instance, raise_on_error=False)
    logged = [entry.user_message for entry in instance.all_logs(result.run_id) if not entry.is_dagster_event]
    assert f"{database} is open elsewhere; waiting up to 5 s for it" in logged


def test_on_kubernetes_the_limits_are_those_of_an_instance_elsewhere(values):
    here = yaml.safe_load((REPOSITORY / "deploy" / "dagster.yaml").read_text())
    daemon = values["dagsterDaemon"]
    assert snake(values["concurrency"]) == {"enabled": True, **here["concurrency"]}
    assert snake(values["retention"]) == {"enabled": True, **here["retention"]}
    assert snake(daemon["runRetries"]) == here["run_retries"]
    assert here["run_monitoring"].items() <= snake(daemon["runMonitoring"]).items()
    assert values["telemetry"] == here["telemetry"]
    assert snake(values["pythonLogs"]) == here["python_logs"]


def test_on_kubernetes_each_kind_of_tick_is_kept_for_a_time_of_its_own_as_the_chart_demands(values):
    for sort in ("schedule", "sensor"):
        assert {*values["retention"][sort]["purgeAfterDays"]} == {"started", "skipped", "success", "failure"}


def test_on_kubernetes_each_variable_is_a_setting_and_each_step_has_a_pod(values):
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["env"].keys() <= SETTINGS
    assert deployment["env"]["GORGIAS_EXECUTOR"] == "kubernetes"
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    assert not deployment["env"]["WAREHOUSE_URI"].startswith("duckdb:")


def test_on_kubernetes_the_chart_is_of_the_version_of_dagster_that_is_installed():
    (version,) = re.findall(r"--version (\S+)", (REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())
    assert version == dg.__version__


def test_dagster_plus_finds_the_code_location(location):
    assert location.code_source.module_name == "gorgias_assets.definitions"
    assert (REPOSITORY / location.build.directory / "Dockerfile").exists()


def test_an_agent_of_dagster_plus_accepts_the_settings_of_pods(location):
    context = K8sContainerContext.create_from_config(location.container_context)
    variables = dict(variable.split("=", 1) for variable in location.container_context["k8s"]["env_vars"])
    assert variables.keys() <= SETTINGS
    assert context.run_k8s_config.container_config["resources"]["limits"] == {"memory": "1Gi"}


def test_the_image_is_made_of_files_that_are_sent_to_its_builder():
    copied = re.findall(r"^COPY (?:--\S+ )?(.*) \S+$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for names in copied for name in names.split()}
    sent = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert names == {line.removeprefix("!") for line in sent if line.startswith("!")}
    assert all((REPOSITORY / name).exists() for name in names)


@pytest.mark.soak
def test_the_command_of_the_image_serves_the_code_location_and_its_health_check_passes(tmp_path):
    text, port = (REPOSITORY / "Dockerfile").read_text(), str(free_port())
    check, serve = (
        [sys.executable, "-m", *(port if word == "4000" else word for word in json.loads(command))]
        for command in re.findall(r"CMD (\[.*\])", text)
    )
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True)
    assert run(check).returncode != 0
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: run(check).returncode == 0, 60)
        finally:
            server.terminate()


def snake(value: Any) -> Any:
    """Return the chart's settings under their names in `dagster.yaml`."""
    if isinstance(value, dict):
        return {re.sub("([A-Z])", r"_\1", key).lower(): snake(item) for key, item in value.items()}
    return [snake(item) for item in value] if isinstance(value, list) else value
