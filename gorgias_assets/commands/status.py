"""How things stand: rows, days that are complete, missing or failed, and the account's calls in use."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasError
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.assets import key_of
from gorgias_assets.columns import DELETED_AT
from gorgias_assets.days import Day, days_of, lacking
from gorgias_assets.definitions import defs, partitions
from gorgias_assets.entities import ENTITIES
from gorgias_assets.entities.model import Entity
from gorgias_assets.partitions import ended, ranges
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse

MOST_GAPS_SHOWN = 3
SECONDS_TO_ANSWER = 10
LINE = "{:<36}{:>10}{:>7}  {:<18}{:<13}{:<10}{}"


def print_status() -> int:
    """A line on the account, one on the warehouse, and one for each table. Raises `WarehouseError`."""
    resources: dict[str, Any] = dict(defs.resources or {})
    io_manager = resources["io_manager"].create_io_manager(dg.build_init_resource_context())
    print(f"account    {_calls(resources['gorgias'])}\nwarehouse  {io_manager.warehouse}\n")
    print(LINE.format("table", "rows", "gone", "last touched", "complete to", "today", "missing or failed"))
    with dg.DagsterInstance.get() as instance:
        for entity in ENTITIES:
            table = io_manager.table_of(key_of(entity))
            print(LINE.format(str(table), *_rows(io_manager.warehouse, table, entity), *_days(instance, entity)))
    return 0


def _calls(gorgias: GorgiasResource) -> str:
    budget = Budget(gorgias.max_share)
    try:
        with closing(gorgias.client(SECONDS_TO_ANSWER, budget)) as client:
            client.page(ENTITIES[0].path, order_by=f"{ENTITIES[0].order}:desc", limit=1)
        used, limit = budget.used
        share = f"of which this project takes up to {gorgias.max_share:.0%}"
        return f"{gorgias.account().domain}: {used:,} of {limit:,} calls in use, {share}"
    except (GorgiasError, InvalidUri) as error:
        return str(error)


def _rows(warehouse: Warehouse, table: Table, entity: Entity) -> tuple[str, str, str]:
    """How many, how many of them are gone, and when something last happened to one."""
    rows, words = warehouse.counts(table, (), ()).rows, warehouse.dialect
    if not rows:
        return "0", "0", "-"
    touches = ", ".join(f"MAX({words.quoted(field)}) AS {field}" for field in entity.touch_fields)
    query = f"SELECT COUNT({DELETED_AT}) AS gone, {touches} FROM {words.name_of(table)}"
    (found,) = warehouse.query(table.schema, query).to_pylist()
    last = max((found[field] for field in entity.touch_fields if found[field]), default=None)
    return f"{rows:,}", f"{found['gone']:,}", f"{last:%Y-%m-%d %H:%M}" if last else "-"


def _days(instance: dg.DagsterInstance, entity: Entity) -> tuple[str, str, str]:
    """The newest complete day, how today stands, and the ranges that are missing or failed."""
    now = datetime.now(UTC)
    keys, today = ended(partitions, now), f"{now:%Y-%m-%d}"
    days = days_of(instance, partitions, key_of(entity), [*keys, today])
    complete = [key for key in keys if days[key] is Day.COMPLETE]
    gaps = ranges(key for key in lacking(days) if key != today)[::-1]
    shown = [" to ".join(dict.fromkeys(gap)) for gap in gaps[:MOST_GAPS_SHOWN]]
    more = [f"{len(gaps) - MOST_GAPS_SHOWN:,} ranges before"] if len(gaps) > MOST_GAPS_SHOWN else []
    return complete[-1] if complete else "-", days[today].value, ", ".join([*shown, *more]) or "-"
