"""The script for a real account runs to its end on the emulator, which shows all of its figures but bytes."""

import subprocess
import sys

import pytest


@pytest.mark.soak
def test_the_script_for_a_real_account_passes_on_the_emulator_and_removes_its_dataset(emulator):
    command = [sys.executable, "-m", "gorgias_assets_tests.bigquery.account", "--project", emulator.project]
    command += ["--api-endpoint", emulator.api_endpoint, "--storage-endpoint", emulator.storage_endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *checks, removed = done.stdout.splitlines()
    assert len(checks) == 18
    assert all(line.startswith("ok ") for line in checks)
    assert removed.startswith("removed the dataset gorgias_assets_scratch_")
