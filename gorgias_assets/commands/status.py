"""The status: rows, days that are complete, missing, failed or not read yet, and the account's calls in use."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasError, Unavailable
from gorgias_assets.api.clock import NOTABLE, difference
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.availability import is_lacked
from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT
from gorgias_assets.days import Day, days_of, kept_days, lacking
from gorgias_assets.entities.model import Daily, Entity, Whole
from gorgias_assets.partitions import ended, ranges
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse

MOST_GAPS_SHOWN = 3
UNAVAILABLE = "not available to this account or key"
LINE = "{:<36}{:>10}{:>7}  {:<18}{:<26}{:<10}{}"


def print_status(account: Account, resources: Mapping[str, Any]) -> int:
    """Print a line on the account, one on the warehouse, one for each table, and one on what was not read yet.

    Days before the first one that was ever requested are not missing. Raises `WarehouseError`.
    """
    io_manager = resources[account.io_manager_key].create_io_manager(dg.build_init_resource_context())
    warehouse = io_manager.warehouse.billed_to({"command": "status"})
    print(f"account    {_calls(resources[account.name], account)}\nwarehouse  {warehouse}\n")
    print(LINE.format("table", "rows", "gone", "last touched", "complete", "today", "missing or failed"))
    unread: dict[tuple[str, str], list[str]] = {}  # entities by the days that nobody has requested yet
    with dg.DagsterInstance.get() as instance:
        for entity in account.entities:
            table = account.table_of(entity.name, io_manager)
            days = {} if isinstance(entity.read, Whole) else _days(instance, account, entity)
            is_there = not is_lacked(instance, account, entity)
            shown = _shown(days) if is_there else ("-", "-", UNAVAILABLE)
            print(LINE.format(str(table), *_rows(warehouse, table, entity), *shown))
            if is_there and (before := _before(days)):
                unread.setdefault((before[0], before[-1]), []).append(entity.name)
        for metric in account.metrics:
            table = account.table_of(metric.name, io_manager)
            rows = warehouse.counts(table, (), ()).rows
            days = days_of(instance, account.partitions, account.key_of(metric), _keys(account, datetime.now(UTC)))
            print(LINE.format(str(table), f"{rows:,}", "-", "-", *_shown(days)))
    for (first, last), names in unread.items():
        of = f" of {', '.join(names)}" if len(names) < len(account.daily) else ""
        print(f"\nNot read yet{of}: {_range(first, last)}. The command backfill reads them.")
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
    fields = (EXTRACTED_AT,) if isinstance(entity.read, Whole) else entity.read.touch_fields
    touches = ", ".join(f"MAX({dialect.quoted(field)}) AS {field}" for field in fields)
    query = f"SELECT COUNT({DELETED_AT}) AS gone, {touches} FROM {warehouse.rows_of(table)}"
    (found,) = warehouse.query(table.schema, query).to_pylist()
    last = max((found[field] for field in fields if found[field]), default=None)
    return f"{rows:,}", f"{found['gone']:,}", f"{last:%Y-%m-%d %H:%M}" if last else "-"


def _days(instance: dg.DagsterInstance, account: Account, entity: Entity[Daily]) -> dict[str, Day]:
    """Return the states of the days, of which the last one is today if that is a partition."""
    now = datetime.now(UTC)
    kept = kept_days(entity, account.partitions, _keys(account, now), now)
    return days_of(instance, account.partitions, account.key_of(entity), kept)


def _keys(account: Account, now: datetime) -> list[str]:
    return [*ended(account.partitions, now), *([f"{now:%Y-%m-%d}"] if account.today else [])]


def _before(days: Mapping[str, Day]) -> list[str]:
    """Return the days before the first one that was ever requested: nobody misses them."""
    return list(takewhile(lambda key: days[key] is Day.MISSING, days))


def _shown(days: Mapping[str, Day]) -> tuple[str, str, str]:
    """Return the first and the newest complete day, the state of today, and the ranges that are missing or failed."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    complete = [key for key in days if days[key] is Day.COMPLETE]
    gaps = ranges({*lacking(days)} - {*_before(days), today})[::-1]
    shown = [_range(*gap) for gap in gaps[:MOST_GAPS_SHOWN]]
    more = [f"{len(gaps) - MOST_GAPS_SHOWN:,} ranges before"] if len(gaps) > MOST_GAPS_SHOWN else []
    there = _range(complete[0], complete[-1]) if complete else "-"
    return there, _state(days[today]) if today in days else "-", ", ".join([*shown, *more]) or "-"


def _state(day: Day) -> str:
    return "not read" if day is Day.MISSING else day.value


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"
