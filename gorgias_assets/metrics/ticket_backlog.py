"""The rows of `ticket_backlog`: what came in on each day, what was closed, and what was open at its end.

The stored events tell the state of a ticket at any moment, if they tell all of it from its creation on. Of other
tickets the newest state alone is known. `derived_tickets` counts these in each row.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column, Kind, Personal, arrow_schema
from gorgias_assets.entities.events import EVENTS, TICKET_ASSIGNMENTS, TICKET_STATUS_CHANGES, TICKET_TAG_CHANGES
from gorgias_assets.entities.model import integer, number, string
from gorgias_assets.entities.tickets import TICKET_PEOPLE, TICKET_TAGS
from gorgias_assets.metrics.declared import TICKET_BACKLOG
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

TOLD_BY = tuple(
    f"ticket-{change}"
    for change in (
        *("created", "closed", "reopened"),
        *("assigned", "unassigned", "team-assigned", "team-unassigned"),
        *("tags-added", "tags-removed"),
    )
)
"""The types of events that tell the state of a ticket."""

DAYS_AT_ONCE = 120  # which fit into memory
_MODEL = Path(__file__).parent / f"{TICKET_BACKLOG.name}.sql"
_VIEWS = (TICKET_PEOPLE, TICKET_TAGS, TICKET_STATUS_CHANGES, TICKET_ASSIGNMENTS, TICKET_TAG_CHANGES)
_ALWAYS, _NEVER = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

COLUMNS = (
    Column("day", Kind.DATE, "The day, in UTC."),
    string("dimension", "The kind of slice: all, channel, team, agent or tag."),
    string("slice", "The channel, or the id of the team, agent or tag; all for the whole helpdesk."),
    string("label", "The slice's name for people, or what `slice` is if no ticket has it any more.", Personal.NAME),
    integer("tickets_created", "Tickets created on the day."),
    integer(
        "tickets_closed",
        "Closings on the day: a ticket that was closed, reopened and closed again on it counts twice. Of a derived "
        "ticket the last closing alone is known.",
    ),
    integer(
        "tickets_reopened",
        "Reopenings on the day. Of all tickets, those open at the end of the day before, plus created, plus reopened, "
        "minus closed, are those open at its end, as far as none is derived. Of a derived ticket none is known.",
    ),
    integer("open_tickets", "Tickets not closed by the end of the day, reopened ones included."),
    number(
        "age_median_seconds",
        "Median time from the creation of the open tickets to the end of the day, nights included.",
    ),
    number(
        "age_p90_seconds",
        "90th percentile of the same time: nine in ten are younger. Interpolated linearly.",
    ),
    integer(
        "waiting_for_agent",
        "Open tickets whose last public message before the end of the day is the customer's. Internal notes do not "
        "count, nor does what was never sent.",
    ),
    integer(
        "waiting_for_customer",
        "Open tickets whose last public message is the shop's, rules included. A ticket without a public message "
        "waits for nobody.",
    ),
    integer(
        "derived_tickets",
        "Tickets among those above, open ones or changed ones, that are known by their newest state alone, since the "
        "stored events do not tell all of them. If there are none, the row is exact.",
    ),
)
SCHEMA = arrow_schema(COLUMNS)


def backlog_rows(warehouse: Warehouse, tables: Mapping[str, Table], days: Sequence[Window]) -> pa.Table:
    """Return the rows of these days, given the tables of an account's entities by name.

    Raises `WarehouseError` if one that is needed does not exist.
    """
    warehouse.require(tables[name] for name in TICKET_BACKLOG.needs)
    schema, dialect = tables["tickets"].schema, warehouse.dialect
    rows = {name: warehouse.rows_of(table) for name, table in tables.items() if warehouse.has_table(table)}
    readings = warehouse.readings(tables["events"], TOLD_BY) if "events" in rows else []
    told = readings[0].joined(readings[1:]) if readings else []
    rows.setdefault("events", dialect.nothing({one.name: one.kind for one in (*EVENTS.columns, *ADDED_COLUMNS)}))
    newest = warehouse.query(schema, f"SELECT MAX({EXTRACTED_AT}) AS read_at FROM {rows['tickets']} AS stored")
    (read_at,) = newest["read_at"].to_pylist()
    words = {**rows, **{view.name: f"({view.query(dialect, rows)})" for view in _VIEWS}, **_words(dialect)}
    found = [
        warehouse.query(schema, _MODEL.read_text().format(days=_days(dialect, part, told, read_at), **words))
        for part in (days[begin : begin + DAYS_AT_ONCE] for begin in range(0, len(days), DAYS_AT_ONCE))
    ]
    return pa.concat_tables([part.select(SCHEMA.names).cast(SCHEMA) for part in found])


def _words(dialect: Dialect) -> dict[str, str]:
    return {
        "always": dialect.moment(_ALWAYS),
        "never": dialect.moment(_NEVER),
        "text": dialect.text_type,
        "unix_micros": dialect.unix_micros,
    }


def _days(dialect: Dialect, days: Iterable[Window], told: Sequence[Window], read_at: datetime | None) -> str:
    """Return the relation of days. One that had not ended when tickets were last read ends at that moment."""
    rows = []
    for day in days:
        ends = read_at if read_at and day.start < read_at < day.end else day.end
        known = next((read for read in reversed(told) if read.start < ends), None)
        bounds = (known.start, known.end) if known else (None, None)
        rows.append(
            (
                f"DATE '{day.start:%Y-%m-%d}'",
                dialect.moment(day.start),
                dialect.moment(ends),
                *(dialect.moment(bound) if bound else dialect.null(Kind.DATETIME) for bound in bounds),
            )
        )
    return dialect.inline("days", ("day", "starts", "ends", "known_from", "known_to"), rows)
