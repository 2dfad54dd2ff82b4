"""A dbt source file of the tables, from their declarations, with which dbt and Dagster know one lineage.

It is for dbt 1.10 and newer.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
from dagster_shared.yaml_utils import dump_run_config_yaml

from gorgias_assets.account import Account
from gorgias_assets.columns import ADDED_COLUMNS, DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column
from gorgias_assets.declared import NEVER_NULL, PERSONAL_DATA, UNIQUE
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.view import View
from gorgias_assets.io_managers.place import Place
from gorgias_assets.metrics.model import Metric
from gorgias_assets.summaries import columns_of
from gorgias_assets.warehouse.tables import Table

HEAD = "# Written by `gorgias-assets dbt-sources`; write it anew rather than edit it.\n"
# Two runs that insert the same new row leave it twice until the later of them ends (docs/bigquery.md).
_UNIQUE: dict[str, Any] = {"duckdb": "unique", "bigquery": {"unique": {"config": {"severity": "warn"}}}}
_ANYWHERE = "created_datetime IS NULL OR created_datetime IS NOT NULL"


def dbt_sources(accounts: Iterable[tuple[Account, Place]]) -> str:
    """Return the file, in YAML: a source for each account, of its name, with two tables for each entity.

    One is the table, the other the view of its living rows, and both have the key of the entity's asset. Views and
    metrics follow. `_extracted_at` tells how fresh a table is; there is no limit, because a quiet shop may have no row
    for days.
    """
    sources = [_source(account, place) for account, place in accounts]
    return HEAD + dump_run_config_yaml({"version": 2, "sources": sources}, sort_keys=False)


def _source(account: Account, place: Place) -> dict[str, Any]:
    tables = [(entity, account.table_of(entity.name, place)) for entity in account.entities]
    of_entities = [one for entity, table in tables for one in _tables_of(account, entity, table, place)]
    return {
        "name": account.name,
        "description": f"The Gorgias account {account.name}, read by gorgias-assets.",
        **({"database": place.database} if place.database else {}),
        "schema": tables[0][1].schema,
        "loader": "gorgias-assets",
        "config": {"loaded_at_field": EXTRACTED_AT},
        "tables": [
            *of_entities,
            *(_view(account, view, place) for view in account.views),
            *(_metric(account, metric, place) for metric in account.metrics),
        ],
    }


def _tables_of(account: Account, entity: Entity[Any], table: Table, place: Place) -> Iterator[dict[str, Any]]:
    columns = (*entity.columns, *ADDED_COLUMNS)
    living = [column for column in columns if column.name not in (DELETED_AT, MERGED_INTO)]
    live = f"Rows of {table.name} that are not gone. {entity.grain}"
    for suffix, description, shown in (("", entity.grain, columns), ("_live", live, living)):
        name, stored = f"{entity.name}{suffix}", f"{table.name}{suffix}"
        described = [_column(column, place, is_tested=not suffix) for column in shown]
        yield _described(name, stored, description, account.key_of(entity), described)


def _view(account: Account, view: View, place: Place) -> dict[str, Any]:
    columns = [_column(column, place, is_tested=False) for column in view.columns]
    return _described(view.name, account.table_of(view.name, place).name, view.grain, account.key_of(view), columns)


def _metric(account: Account, metric: Metric, place: Place) -> dict[str, Any]:
    columns = [_column(column, place, is_tested=True) for column in columns_of(metric)]
    table = account.table_of(metric.name, place)
    return _described(metric.name, table.name, metric.grain, account.key_of(metric), columns)


def _described(
    name: str, stored: str, description: str, asset: dg.AssetKey, columns: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": name,
        **({"identifier": stored} if stored != name else {}),
        "description": description,
        "config": {"meta": {"dagster": {"asset_key": list(asset.path)}}},
        "columns": columns,
    }


def _column(column: Column, place: Place, is_tested: bool) -> dict[str, Any]:
    tests = [test for test in _tests(column, place) if is_tested]
    return {
        "name": column.name,
        "description": column.description,
        "data_type": place.types[column.kind],
        **({"config": _config(column)} if column.private else {}),
        **({"data_tests": tests} if tests else {}),
    }


def _config(column: Column) -> dict[str, Any]:
    """Return the tag of personal data, and what the column holds, by path where it is JSON."""
    held = {kind.value: paths or True for kind, paths in column.paths.items()}
    return {"tags": [PERSONAL_DATA], **({"meta": {"holds": held}} if held else {})}


def _tests(column: Column, place: Place) -> list[Any]:
    found = (["not_null"] if column.name in NEVER_NULL else []) + (
        [_UNIQUE[place.storage]] if column.name == UNIQUE else []
    )
    return [_with_filter(test) for test in found] if place.needs_filter else found


def _with_filter(test: str | dict[str, Any]) -> dict[str, Any]:
    """Return the test with a condition that all rows meet, for a table that is not queried without one."""
    ((name, options),) = test.items() if isinstance(test, dict) else [(test, {})]
    return {name: {"config": {**options.get("config", {}), "where": _ANYWHERE}}}
