"""Run in `.venv-dbt`: build a dbt project's models in Dagster, downstream of an account, and print their lineage.

The argument is the project's folder. It prints JSON: the models that were materialized, the keys that each depends on,
and those of the account's assets.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.entities import CORE
from gorgias_assets.resources import GorgiasResource

DBT = str(Path(sys.executable).parent / "dbt")


def main(folder: Path) -> dict[str, Any]:
    project = DbtProject(folder, profiles_dir=folder)

    @dbt_assets(manifest=folder / "target" / "manifest.json", project=project)
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        yield from dbt.cli(["build"], context=context).stream()

    ours = build_assets(Account(CORE, "gorgias_eu"))
    resources = {"dbt": DbtCliResource(project, dbt_executable=DBT), "gorgias_eu": GorgiasResource(uri="")}
    graph = dg.Definitions([*ours, models], resources=resources).resolve_asset_graph()
    result = dg.materialize(
        [*ours, models],
        selection=dg.AssetSelection.assets(models),
        resources=resources,
    )
    executable = {key.to_user_string() for asset in ours for key in asset.keys}
    return {
        "materialized": sorted(event.asset_key.to_user_string() for event in result.get_asset_materialization_events()),
        "upstream": {
            key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
            for key in models.keys
        },
        "ours": sorted(executable),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
