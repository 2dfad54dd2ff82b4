"""The package as others use it: its exports, and the extras that it names where one is missing."""

import subprocess
import sys

import dagster as dg
import pytest
from dagster_shared.libraries import DagsterLibraryRegistry

import gorgias_assets

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
{code}
"""
PICTURE = """
import logging
import pandas as pd
from gorgias_assets.overview.period import Period
from gorgias_assets.overview.report import report_metadata
print(report_metadata(None, "nowhere"))
"""


def without(missing: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where these modules are not installed."""
    code = WITHOUT.format(missing=missing, code=code)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_what_others_build_on_is_at_the_top():
    assert set(gorgias_assets._MODULES) <= {*dir(gorgias_assets), "GorgiasBigQueryIOManager"}
    for name in gorgias_assets._MODULES:
        assert getattr(gorgias_assets, name), name
    assert issubclass(gorgias_assets.GorgiasComponent, dg.Component)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        gorgias_assets.nothing  # noqa: B018, the access is the test


def test_dagster_knows_the_version():
    assert DagsterLibraryRegistry.get()["gorgias-assets"] == gorgias_assets.__version__


def test_a_bigquery_warehouse_without_google_s_packages_names_the_extra():
    result = without({"google"}, "import gorgias_assets; gorgias_assets.build_definitions(warehouse='bigquery://shop')")
    assert result.stderr.splitlines()[-1] == (
        "gorgias_assets.api.uri.InvalidUri: google is not installed, which a bigquery:// warehouse needs; "
        "pip install 'gorgias-assets[bigquery]'."
    )


def test_a_picture_without_matplotlib_is_left_out_and_names_the_extra():
    result = without({"matplotlib", "PIL"}, PICTURE)
    assert (result.returncode, result.stdout) == (0, "{}\n")
    assert "neither a picture nor a report; pip install 'gorgias-assets[overview]'." in result.stderr


def test_a_project_on_duckdb_needs_neither_google_nor_matplotlib():
    code = "import gorgias_assets; gorgias_assets.build_definitions().get_repository_def(); dir(gorgias_assets)"
    result = without({"google", "dagster_gcp", "matplotlib", "PIL", "grpc", "dagster_k8s"}, code)
    assert result.returncode == 0, result.stderr
