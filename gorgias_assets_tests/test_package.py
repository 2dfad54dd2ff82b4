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
REPORT = """
import sys
from dataclasses import fields
import pandas as pd
from gorgias_assets.overview.facts import Facts
from gorgias_assets.overview.report import report_metadata
from gorgias_assets.overview.weeks import Weeks
day = pd.DatetimeIndex(["2025-03-03"], tz="UTC")
columns = {"channel": "", "team": "", "agent": "", "seconds": 0.0, "messages": 0, "score": 0, "is_satisfied": True}
columns |= {"dimension": "", "slice": "", "tickets_reopened": 0, "open_tickets": 0, "waiting_for_agent": 0}
columns |= {"business_seconds": 0.0}
nothing = pd.DataFrame({"day": day[:0]}).assign(**columns)
weeks = Weeks.of(Facts(**{field.name: nothing for field in fields(Facts)}), {}, day, day)
print(*report_metadata(None, weeks, %r))
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


def test_a_report_needs_no_matplotlib_and_the_picture_is_left_out_and_names_the_extra(tmp_path):
    result = without({"matplotlib", "PIL"}, REPORT % str(tmp_path))
    assert (result.returncode, result.stdout) == (0, "report\n"), result.stderr
    assert "there is no picture; pip install 'gorgias-assets[overview]'." in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["overview-2025-03-03.html"]


def test_a_project_on_duckdb_needs_neither_google_nor_matplotlib():
    code = "import gorgias_assets; gorgias_assets.build_definitions().get_repository_def(); dir(gorgias_assets)"
    result = without({"google", "dagster_gcp", "matplotlib", "PIL", "grpc", "dagster_k8s"}, code)
    assert result.returncode == 0, result.stderr
