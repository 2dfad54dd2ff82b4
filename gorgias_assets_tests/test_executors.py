"""The executors of a run's steps."""

import sys

import dagster as dg
import pytest

from gorgias_assets.executors import executor_named
from gorgias_assets_tests.test_definitions import load


def test_the_setting_is_the_executor_of_the_jobs(tmp_path):
    code = "from gorgias_assets.definitions import defs; print(defs.resolve_job_def('gorgias').executor_def.name)"
    assert load(tmp_path, code, GORGIAS_EXECUTOR="in_process").stdout == "in_process\n"


def test_a_step_has_a_process_or_a_pod_of_its_own_or_none():
    assert executor_named("processes").name == dg.multiprocess_executor.name
    assert executor_named("in_process").name == dg.in_process_executor.name
    assert executor_named("kubernetes").name == "k8s"


def test_without_the_package_for_kubernetes_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dagster_k8s", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gorgias-assets\[deployment\]'\.$"):
        executor_named("kubernetes")
