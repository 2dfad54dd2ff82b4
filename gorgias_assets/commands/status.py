"""The status: rows, days that are complete, missing or failed, and the account's calls in use."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasError, Unavailable
from gorgias_assets.api.clock import NOTABLE, difference
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT
from gorgias_assets.days import Day, days_of, lacking
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.partitions import ended, ranges
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse

MOST_GAPS_SHOWN = 3
LINE = "{:<36}{:>10}{:>7}  {:<18}{:<13}{:<10}{}"


def print_status(account: Account, resources: Mapping[str, Any]) -> int:
    """Print a line on the account, one on the warehouse, and one for each table. Raises `WarehouseError`."""
    io_manager = resources[account.io_manager_key].create_io_manager(dg.build_init_resource_context())
    warehouse = io_manager.warehouse.billed_to({"command": "status"})
    print(f"account    {_calls(resources[account.name], account)}\nwarehouse  {warehouse}\n")
    print(LINE.format("table", "rows", "gone", "last touched", "complete to", "today", "missing or failed"))
    with dg.DagsterInstance.get() as instance:
        for entity in account.entities:
            table = account.table_of(entity.name, io_manager)
            days = _days(instance, account, entity) if isinstance(entity.read, ByDate) else ("-", "-", "-")
            print(LINE.format(str(table), *_rows(warehouse, table, entity), *days))
    return 0


def _calls(gorgias: GorgiasResource, account: Account) -> str:
    """Return a line on the calls in use, or an error; one more if the clock of this machine is wrong."""
    budget = Budget(gorgias.max_share)
    try:
        ahead = gorgias.probe(budget)
        used, limit = budget.used
        with suppress(Unavailable):  # of one list
            for entity in account.by_date[:1]:
                gorgias.newest(entity)  # a key may be wrong, though Gorgias answers
    except (GorgiasError, InvalidUri) as error:
        return str(error)
    share = f"of which this project uses up to {gorgias.max_share:.0%}"
    return f"{gorgias.account().domain}: {used:,} of {limit:,} calls in use, {share}{_wrong_clock(ahead)}"


def _wrong_clock(ahead: timedelta) -> str:
    return f"\nclock      this machine's is {difference(ahead)}; set it by NTP" if abs(ahead) > NOTABLE else ""


def _rows(warehouse: Warehouse, table: Table, entity: Entity[Any]) -> tuple[str, str, str]:
    """Return the numbers of rows and of rows that are gone, and when something last happened to one."""
    rows, dialect = warehouse.counts(table, (), ()).rows, warehouse.dialect
    if not rows:
        return "0", "0", "-"
    fields = entity.read.touch_fields if isinstance(entity.read, ByDate) else (EXTRACTED_AT,)
    touches = ", ".join(f"MAX({dialect.quoted(field)}) AS {field}" for field in fields)
    query = f"SELECT COUNT({DELETED_AT}) AS gone, {touches} FROM {warehouse.rows_of(table)}"
    (found,) = warehouse.query(table.schema, query).to_pylist()
    last = max((found[field] for field in fields if found[field]), default=None)
    return f"{rows:,}", f"{found['gone']:,}", f"{last:%Y-%m-%d %H:%M}" if last else "-"


def _days(instance: dg.DagsterInstance, account: Account, entity: Entity[ByDate]) -> tuple[str, str, str]:
    """Return the newest complete day, the state of today, and the ranges that are missing or failed."""
    now = datetime.now(UTC)
    keys, today = ended(account.partitions, now), f"{now:%Y-%m-%d}"
    days = days_of(instance, account.partitions, account.key_of(entity), [*keys, today])
    complete = [key for key in keys if days[key] is Day.COMPLETE]
    gaps = ranges(key for key in lacking(days) if key != today)[::-1]
    shown = [" to ".join(dict.fromkeys(gap)) for gap in gaps[:MOST_GAPS_SHOWN]]
    more = [f"{len(gaps) - MOST_GAPS_SHOWN:,} ranges before"] if len(gaps) > MOST_GAPS_SHOWN else []
    return complete[-1] if complete else "-", days[today].value, ", ".join([*shown, *more]) or "-"
