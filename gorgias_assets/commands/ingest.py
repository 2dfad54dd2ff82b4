"""One list of an account into one table of the user's choice: `load` with a terminal in front.

What a table holds is noted beside it (`_readings_<table>`), and so a second run reads what is new. A run that was
killed resumes, because an interval without an end always ends at the same moment.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from rich.console import Console

from gorgias_assets.api.client import GorgiasError, Rejected
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.columns import ADDED_COLUMNS, DELETED_AT, EXTRACTED_AT
from gorgias_assets.commands.terminal import logged, moving, stoppable
from gorgias_assets.entities.model import ByDate, ByFilter, Entity, Whole
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.loading import Loaded, load
from gorgias_assets.privacy.policy import PrivacyError
from gorgias_assets.resources import GorgiasResource, resource_of
from gorgias_assets.selection import check_exceptions
from gorgias_assets.settings import Settings
from gorgias_assets.sweeps.batches import Reader
from gorgias_assets.sweeps.position import OVERLAP
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)  # before any row
LAST_MOMENT = datetime(2100, 1, 1, tzinfo=UTC)  # of an interval without an end


@dataclass(frozen=True)
class Request:
    """The interval `[start, end)` of an entity's list that is wanted in a table.

    Without `start` it goes on from what the table holds. Without `end`, what the table holds is not read again. A list
    that is read whole has no interval. `event_types` are those to read, or none for all.
    """

    entity: Entity[Any]
    table: Table
    start: datetime | None = None
    end: datetime | None = None
    full: bool = False
    event_types: Sequence[str] = ()
    account_changed: bool = False
    believe_absence: bool = False


def ingest(
    request: Request,
    source_uri: str,
    dest_uri: str,
    settings: Settings,
    entities: Sequence[Entity[Any]],
    *,
    loader_file_format: str | None = None,
    is_interactive: bool | None = None,
) -> int:
    """Read what is wanted into the table, with progress in the terminal; return the exit status.

    `is_interactive` shows it in a line that moves; by default if the output is a terminal. Raises `KeyboardInterrupt`.
    """
    console = Console(force_terminal=is_interactive, highlight=False, markup=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        check_exceptions(settings.privacy, entities)
        gorgias = _gorgias(source_uri, settings)
        io_manager: Any = io_manager_from_uri(dest_uri, request.table.schema, loader_file_format=loader_file_format)
        warehouse: Warehouse = io_manager.warehouse().billed_to({"command": "ingest"})
        with stoppable(), logged(dg.get_dagster_logger(), console):
            _ingest(request, gorgias, warehouse, entities, console)
    except (InvalidUri, PrivacyError, GorgiasError, WarehouseError) as error:
        errors.print(str(error))
        return 1
    return 0


def _gorgias(uri: str, settings: Settings) -> GorgiasResource:
    gorgias = resource_of(settings, uri)
    gorgias.client().close()  # raises InvalidUri
    gorgias.door()  # raises PrivacyError without the key that it needs
    return gorgias


def _ingest(
    request: Request,
    gorgias: GorgiasResource,
    warehouse: Warehouse,
    entities: Sequence[Entity[Any]],
    console: Console,
) -> None:
    table = request.table
    columns = warehouse.columns_of(table)
    _check_holds(columns, request.entity, entities, table)
    if not columns:
        warehouse.forget_readings(table)
    readings = warehouse.readings(table)
    end = request.end or LAST_MOMENT
    start = begin_of(request, readings)
    if start and start >= end:
        console.print(
            f"{table} is complete to {_shown(readings[0].end)}, past the end of the interval: nothing to read."
        )
        return
    window = Window(start or FIRST_MOMENT, end)
    reader = _reader(request, gorgias, window, is_full=request.full or not start)
    if request.entity.is_optional and (why := reader.peek()):
        raise Rejected(why)
    console.print(
        f"Reading {request.entity.name} of {gorgias.account().domain} into {table} of {warehouse}: "
        f"{_wanted(request, reader.window, start)}.\nCtrl-C stops it; the same command resumes it."
    )
    with moving(reader, console) if console.is_terminal else nullcontext():
        loaded = load(reader, warehouse, table, dg.get_dagster_logger())
    if reader.window and reader.began_at and window.start < reader.began_at:
        read = Window(window.start, min(end, reader.began_at))
        readings = read.joined(readings)
        warehouse.save_readings(table, readings)
    _print_summary(reader, loaded, warehouse, table, readings, console)


def begin_of(request: Request, readings: Sequence[Window]) -> datetime | None:
    """Return the moment from which on to read; None for the list's first row.

    What the table holds is not read again, but for the minutes in which a change may not have been in the list yet.
    A hole is never left: without a start, it goes on from the first moment that was not read.
    """
    if request.full or (request.start and request.end):
        return request.start
    for held in readings:
        if request.start is None or held.start <= request.start <= held.end:
            return max(held.start, held.end - OVERLAP)
    return request.start


def _reader(request: Request, gorgias: GorgiasResource, window: Window, is_full: bool) -> Reader[Any]:
    """Return the reader. It owns no other entity's rows, since nobody knows the names of their tables."""
    exceptions: dict[str, Any] = {name: getattr(request, name) for name in ("account_changed", "believe_absence")}
    exceptions["rewrite"] = request.full
    entity, begin = request.entity, FIRST_MOMENT if is_full else window.start
    match entity.read:
        case Whole():
            return gorgias.snapshot(entity, **exceptions)
        case ByDate():
            return gorgias.sweep(entity, window.start, window.end, full=is_full, **exceptions)
        case ByFilter():
            return gorgias.filtered(entity, begin, window.end, types=request.event_types, **exceptions)
        case _:
            return gorgias.unordered(entity, begin, window.end, **exceptions)


def _check_holds(columns: Sequence[str], entity: Entity[Any], entities: Sequence[Entity[Any]], table: Table) -> None:
    """Raise `WarehouseError` if the table has columns, and those of something else."""
    if not columns:
        return
    if not {EXTRACTED_AT, DELETED_AT}.issubset(columns):  # a view of living rows lacks one of them
        raise WarehouseError(
            f"{table} was made by something else, or is a view; nothing was read. Name another table by --dest-table."
        )
    declared = {other.name: {column.name for column in other.columns} for other in entities}
    stored = {*columns}.difference(column.name for column in ADDED_COLUMNS)
    shares = {name: len(names & stored) / len(names | stored) for name, names in declared.items()}
    nearest = max(shares, key=lambda name: (shares[name], name == entity.name))
    if nearest != entity.name:
        raise WarehouseError(
            f"{table} holds {nearest}, not {entity.name}; nothing was read. Name another table by --dest-table."
        )


def _wanted(request: Request, window: Window | None, start: datetime | None) -> str:
    """Return in words what is read: the whole list, or the rows touched, or created, from `start` on."""
    if not window or not (start or request.end):
        return "the whole list"
    bounds = (f"since {_shown(start)}" if start else "", f"until {_shown(request.end)}" if request.end else "")
    done = "touched" if isinstance(request.entity.read, ByDate) else "created"
    touched = " ".join([f"rows {done}", *filter(None, bounds)])
    if request.full:
        return f"the whole list, for {touched}"
    return touched if start == request.start else f"{touched}, since the table holds the time before"


def _print_summary(
    reader: Reader[Any],
    loaded: Loaded,
    warehouse: Warehouse,
    table: Table,
    readings: Sequence[Window],
    console: Console,
) -> None:
    merged, gone = loaded.merged, loaded.gone.marked
    held = ", ".join(
        f"{'the first row' if held.start == FIRST_MOMENT else _shown(held.start)} to {_shown(held.end)}"
        for held in readings
    )
    lines = {
        "table": f"{table} of {warehouse}, {loaded.counts.rows if loaded.counts else 0:,} rows",
        "this run": f"{merged.rows:,} rows merged, {merged.new:,} of them new, {gone:,} found deleted",
        "cost": f"{reader.progress.calls:,} API calls, {loaded.seconds:,.0f} s",
        **({"complete": f"from {held}"} if held else {}),
        "look": warehouse.command_for(table),
    }
    console.print()
    for name, value in lines.items():
        console.print(f"{name:<10}{value}")


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
