"""Gorgias to a warehouse, one day at a time: Dagster assets of customers, tickets, ticket messages and surveys.

The names below are what other projects build on. Each is imported when it is first asked for, so that a project which
uses one of them, or DuckDB alone, needs and loads no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dagster_shared.libraries import DagsterLibraryRegistry

from gorgias_assets.version import __version__ as __version__

if TYPE_CHECKING:
    from gorgias_assets.account import Account as Account
    from gorgias_assets.assets import build_assets as build_assets
    from gorgias_assets.automation import conditions_sensor as conditions_sensor
    from gorgias_assets.automation import day_is_over as day_is_over
    from gorgias_assets.build import build_definitions as build_definitions
    from gorgias_assets.checks.build import build_checks as build_checks
    from gorgias_assets.component import GorgiasComponent as GorgiasComponent
    from gorgias_assets.entities import CORE as CORE
    from gorgias_assets.entities import ENTITIES as ENTITIES
    from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager as GorgiasBigQueryIOManager
    from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager as GorgiasDuckDBIOManager
    from gorgias_assets.resources import GorgiasResource as GorgiasResource
    from gorgias_assets.summaries import build_summaries as build_summaries

_MODULES = {
    "Account": "account",
    "CORE": "entities",
    "ENTITIES": "entities",
    "GorgiasBigQueryIOManager": "io_managers.bigquery",
    "GorgiasComponent": "component",
    "GorgiasDuckDBIOManager": "io_managers.duckdb",
    "GorgiasResource": "resources",
    "build_assets": "assets",
    "build_checks": "checks.build",
    "build_definitions": "build",
    "build_summaries": "summaries",
    "conditions_sensor": "automation",
    "day_is_over": "automation",
}

DagsterLibraryRegistry.register("gorgias-assets", __version__, is_dagster_package=False)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the names but that of BigQuery: `dg` gets each of them as it looks for components, and it is slow."""
    return sorted({*globals(), *_MODULES} - {"GorgiasBigQueryIOManager"})
