"""One row per ticket: the columns, and the rows that are outdated, computed by `ticket_metrics.sql`.

A row remembers in `_inputs` which readings of its ticket's rows, and which settings, it was made of. It is outdated if
they are others now. So the table converges, in whatever order rows were stored and however often it was computed; no
clock decides. `_extracted_at` is that of the newest of the ticket's rows.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind, Personal
from gorgias_assets.entities.events import TICKET_ASSIGNMENTS, TICKET_STATUS_CHANGES, TICKET_TAG_CHANGES
from gorgias_assets.entities.model import boolean, integer, moment, number, string
from gorgias_assets.metrics.business_hours import BusinessHours
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

SQL = Path(__file__).with_suffix(".sql")
TICKETS_AT_ONCE = 100_000
EVENT_TYPES = (
    "ticket-assigned",
    "ticket-closed",
    "ticket-reopened",
    "ticket-tags-added",
    "ticket-tags-removed",
)
_VIEWS = (TICKET_ASSIGNMENTS, TICKET_STATUS_CHANGES, TICKET_TAG_CHANGES)
_MOST_SETTINGS = 2**48
_LAST_ID = 2**63 - 1

_METRICS = "docs.gorgias.com/en-US/how-metrics-are-calculated-406747"
_SURVEYS = "docs.gorgias.com/en-US/measure-ticket-quality-satisfaction-6422690"
_REPLY = "public, from the helpdesk, by no rule, not imported, and not failed"

COLUMNS: tuple[Column, ...] = (
    integer("id", "The ticket's id."),
    moment("created_datetime", "When the ticket was created."),
    string("channel", "Where the conversation takes place."),
    string("language", "Language of the conversation, ISO 639-1."),
    string("status", "open or closed, as of the reading."),
    boolean("from_agent", "Whether an agent began the ticket, which then has no first response."),
    boolean("spam", "Whether the ticket is marked as spam; the overview leaves it out."),
    moment("trashed_datetime", "When the ticket was moved to the trash; the overview leaves it out."),
    integer("assignee_user_id", "The agent in charge as of the reading."),
    string("assignee_user_name", "Name of that agent.", Personal.NAME),
    integer("assignee_team_id", "The team in charge as of the reading."),
    string("assignee_team_name", "Name of that team."),
    integer("integration_id", "The integration of the first public message that names one."),
    string("integration_name", "Name of that integration when the row was computed; null without the integrations."),
    string("store_name", "Name of the store that this integration belongs to, where Gorgias names one."),
    boolean(
        "has_beginning",
        "Whether a message from the ticket's first hour is stored. If not, all that is made of messages is null.",
    ),
    moment("customer_first_message_datetime", "When the customer first wrote: times run from then on."),
    moment("customer_last_message_datetime", "When the customer last wrote."),
    moment("agent_first_message_datetime", "When the shop first wrote publicly, by an agent, a rule or a bot."),
    moment("agent_last_message_datetime", "When the shop last wrote publicly, by an agent, a rule or a bot."),
    integer("messages", f"Public messages, the customer's and the shop's. {_METRICS} (Messages per ticket)."),
    integer("customer_messages", "Public messages from the customer."),
    integer("internal_notes", "Internal notes."),
    integer("agent_replies", f"Replies by people: {_REPLY}. {_METRICS} (Messages sent). Null without the users."),
    integer("rule_replies", "Public replies by rules, without imported and failed ones."),
    integer(
        "bot_replies", "Public replies by bots, Gorgias's AI Agent among them, by any way. Null without the users."
    ),
    boolean("is_one_touch", "Whether exactly one reply by a person closed it; null while it is open."),
    boolean("is_handover", "Whether a person replied after a bot had."),
    moment(
        "first_response_datetime",
        f"When an agent first replied: {_REPLY}. Null if an agent began the ticket, or wrote before the customer. "
        f"{_METRICS} (First Response Time).",
    ),
    integer("first_response_agent_id", "Who wrote this first response."),
    string("first_response_agent_name", "Name of that agent as of the reading.", Personal.NAME),
    number("first_response_seconds", "Seconds from the customer's first message to the first response, by the clock."),
    number("first_response_business_seconds", "The same in business hours; null without the account's setting."),
    moment("closed_datetime", f"When it was last closed; null while it is open. {_METRICS} (Resolution time)."),
    number("resolution_seconds", "Seconds from the customer's first message to the last closing, by the clock."),
    number("resolution_business_seconds", "The same in business hours; null without the account's setting."),
    boolean(
        "has_events",
        "Whether the stored events reach from its creation to its last change. If not, all that is made of events is "
        "null.",
    ),
    moment("first_closed_datetime", "When it was first closed. Of events."),
    number("first_resolution_seconds", "Seconds from the customer's first message to the first closing. Of events."),
    number("first_resolution_business_seconds", "The same in business hours; null without the account's setting."),
    integer("reopens", "How often it was reopened. Of events."),
    integer("assignments", "How often it was given to a user. Of events."),
    moment("first_assigned_datetime", "When it was first given to a user. Of events."),
    integer("first_assignee_user_id", "The user that it was first given to. Of events."),
    integer("last_assignee_user_id", "The user that it was last given to, who may have lost it since. Of events."),
    string(
        "tags_at_creation",
        "Tags that it had a minute after its creation, when rules are done, by their names when the row was computed, "
        "with commas between; empty if it had none. Of events.",
    ),
    string("tags_at_close", "Tags that it had when it was last closed, likewise. Of events."),
    moment("satisfaction_sent_datetime", "When the survey was sent: the one scored last, else the newest."),
    moment("satisfaction_scored_datetime", "When it was scored."),
    integer("satisfaction_score", f"Its score, from 1 to 5. {_SURVEYS}."),
    integer("_inputs", "A sum of the readings and settings that the row was made of. If they differ, it is outdated."),
)

# The columns in business hours, with the moments that they lie between.
_BUSINESS = {
    "first_response_business_seconds": ("customer_first_message_datetime", "first_response_datetime"),
    "resolution_business_seconds": ("customer_first_message_datetime", "closed_datetime"),
    "first_resolution_business_seconds": ("customer_first_message_datetime", "first_closed_datetime"),
}


def field_column(field: str) -> Column:
    """Return the column of a custom field, which is named by its id or its label."""
    slug = re.sub(r"[^a-z0-9]+", "_", field.lower()).strip("_")
    return string(f"field_{slug}", f"The ticket's value of the custom field {field}, as text.", Personal.BODY)


def columns_of(fields: Sequence[str]) -> tuple[Column, ...]:
    """Return the table's columns. Raises ValueError, with one sentence, if two custom fields would be one column."""
    added = [field_column(field) for field in fields]
    names = [column.name for column in added]
    if twice := next((name for name in names if names.count(name) > 1 or name == "field_"), None):
        raise ValueError(f"Custom fields of the metrics would have the column {twice}; name them by their ids.")
    return (*COLUMNS, *added)


@dataclass(frozen=True)
class TicketMetrics:
    """The outdated rows of an account's table.

    - `tables`: those of the entities that the account has, by name.
    - `own`: the table of metrics.
    - `holidays`, `fields`: the settings.
    """

    warehouse: Warehouse
    tables: Mapping[str, Table]
    own: Table
    holidays: Collection[str] = ()
    fields: Sequence[str] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.fields)

    def batches(self) -> Iterator[pa.Table]:
        """Yield rows of tickets in the order of their ids. Raises `WarehouseError` if a table is missing."""
        self.warehouse.require(self.tables[name] for name in TICKET_METRICS.needs)
        for first, last in pairwise([-1, *self._bounds(), _LAST_ID]):
            yield from self._between(first, last)

    def _bounds(self) -> list[int]:
        """Return ids, in order, with as many tickets between two of them as fit into memory.

        Where reading a part is no cheaper than reading all, all tickets are looked at at once.
        """
        if not self.warehouse.reads_parts:
            return []
        tickets = f"SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS number FROM {self._rows('tickets')}"
        query = f"SELECT id FROM ({tickets}) AS numbered WHERE MOD(number, {TICKETS_AT_ONCE}) = 0 ORDER BY id"
        return [int(found) for found in self.warehouse.query(self.own.schema, query)["id"].to_pylist()]

    def _between(self, after: int, last: int) -> Iterator[pa.Table]:
        """Yield the outdated rows of tickets with greater ids than `after`, and none that is greater than `last`."""
        while True:
            rows = self.warehouse.query(self.own.schema, self._query(after, last))
            if not rows.num_rows:
                return
            after = max(rows["id"].to_pylist())
            yield self._completed(rows)
            if rows.num_rows < TICKETS_AT_ONCE:
                return

    def _query(self, after: int, last: int) -> str:
        dialect = self._dialect
        stored = self.own if self.warehouse.has_table(self.own) else None
        sender = self._value("sender", "id", Kind.INTEGER)
        words = {
            **{name: self._rows(name) for name in TICKET_METRICS.needs},
            "tags": self._rows("tags", {"id": Kind.INTEGER, "name": Kind.STRING}),
            "integrations": self._rows("integrations", {"id": Kind.INTEGER, "name": Kind.STRING, "meta": Kind.JSON}),
            "events": self._rows("events", _NO_EVENTS),
            **{view.name: self._view(view) for view in _VIEWS},
            "event_types": ", ".join(map(dialect.literal, EVENT_TYPES)),
            "events_cover_it": self._events_cover_it,
            "stored": self.warehouse.rows_of(stored) if stored else dialect.nothing(_NO_METRICS),
            "after": after,
            "last": last,
            "most": TICKETS_AT_ONCE,
            "settings": self._settings,
            "has_users": "FALSE" if self._bots is None else "TRUE",
            "is_bot": dialect.among(sender, self._bots or []),
            "sender_id": sender,
            "sender_name": self._value("sender", "name"),
            "assignee_user_id": self._value("ticket.assignee_user", "id", Kind.INTEGER),
            "assignee_user_name": self._value("ticket.assignee_user", "name"),
            "assignee_team_id": self._value("ticket.assignee_team", "id", Kind.INTEGER),
            "assignee_team_name": self._value("ticket.assignee_team", "name"),
            "store_name": self._value("integration.meta", "shop_name"),
            "fields": "".join(f",\n  {self._field(field)}" for field in self.fields),
            "unix_micros": dialect.unix_micros,
            "integer": dialect.types[Kind.INTEGER],
            "text": dialect.text_type,
        }
        return SQL.read_text().format_map(words)

    def _completed(self, rows: pa.Table) -> pa.Table:
        """Add the seconds in business hours; put the columns in order, and in their types."""
        hours = self._hours
        for name, (begin, end) in _BUSINESS.items():
            moments = [rows[at].cast(pa.timestamp("us", tz="UTC")).to_numpy() for at in (begin, end)]
            clock = rows[name.replace("_business", "")]
            seconds = (
                pa.array(hours.seconds(*moments), from_pandas=True) if hours else pa.nulls(len(rows), pa.float64())
            )
            rows = rows.append_column(name, _where_known(seconds, clock))
        added = [Column(name, Kind.DATETIME, "") for name in (EXTRACTED_AT, DELETED_AT)]
        declared = [*self.columns, *added, Column(MERGED_INTO, Kind.INTEGER, "")]
        return pa.table({column.name: rows[column.name].cast(column.kind.arrow_type) for column in declared})

    @cached_property
    def _dialect(self) -> Dialect:
        return self.warehouse.dialect

    def _has(self, name: str) -> bool:
        return name in self.tables and self.warehouse.has_table(self.tables[name])

    def _rows(self, name: str, columns: Mapping[str, Kind] | None = None) -> str:
        """Return a relation of an entity's rows; one without rows, but with `columns`, if there are none."""
        if columns is not None and not self._has(name):
            return self._dialect.nothing(columns)
        return self.warehouse.rows_of(self.tables[name])

    def _view(self, view: Any) -> str:
        """Return the query of a view of events, of those in the relation `happened`."""
        if not self._has("events"):
            return self._dialect.nothing({column.name: column.kind for column in view.columns})
        query: str = view.query(self._dialect, {"events": "happened"})
        return query

    def _value(self, column: str, field: str, kind: Kind = Kind.STRING) -> str:
        return self._dialect.typed(self._dialect.text_at(column, field), kind)

    @cached_property
    def _events_cover_it(self) -> str:
        """Return the condition that a ticket lived in a time of which all events are stored."""
        readings = self.warehouse.readings(self.tables["events"], EVENT_TYPES) if self._has("events") else []
        at, changed = self._dialect.moment, "COALESCE(updated_datetime, created_datetime)"
        lived = [f"created_datetime >= {at(read.start)} AND {changed} < {at(read.end)}" for read in _joined(readings)]
        return " OR ".join(lived) or "FALSE"

    @cached_property
    def _bots(self) -> list[int] | None:
        """Return the ids of the users that are bots, former ones included; None if the users are not known."""
        if not self._has("users"):
            return None
        role = self._value("role", "name")
        found = self._found("users", f"id, {role} AS role")
        return sorted(int(row["id"]) for row in found if row["role"] == "bot")

    @cached_property
    def _hours(self) -> BusinessHours | None:
        settings = self._found("account_settings", f"type, data, {DELETED_AT} AS gone")
        (data, *_) = [
            *(row["data"] for row in settings if row["type"] == "business-hours" and not row["gone"]),
            None,
        ]
        return BusinessHours.of(json.loads(data), self.holidays) if data else None

    @cached_property
    def _field_ids(self) -> Mapping[str, list[int]]:
        """Return the ids of the chosen custom fields: the number itself, or all of a label, the newest first."""
        labelled = self._found("custom_fields", "id, label, object_type") if self.fields else []
        return {
            field: [int(field)]
            if field.isdecimal()
            else sorted(
                (int(row["id"]) for row in labelled if row["label"] == field and row["object_type"] == "Ticket"),
                reverse=True,
            )
            for field in self.fields
        }

    def _field(self, field: str) -> str:
        values = [self._dialect.text_at("ticket.custom_fields", f'"{one}".value') for one in self._field_ids[field]]
        value = f"COALESCE({', '.join(values)})" if len(values) > 1 else "".join(values)
        return f"{value or self._dialect.null(Kind.STRING)} AS {field_column(field).name}"

    @cached_property
    def _settings(self) -> int:
        """Return a number for all that rows are made of besides those of their tickets."""
        hours = self._hours
        open_on = [(sorted(one.weekdays), str(one.begin), str(one.end)) for one in hours.hours] if hours else []
        opened = [hours.zone.key, open_on, sorted(hours.holidays)] if hours else []
        chosen = [SQL.read_text(), opened, self._bots, self._field_ids]
        return int(sha256(json.dumps(chosen).encode()).hexdigest(), 16) % _MOST_SETTINGS

    def _found(self, name: str, selected: str) -> list[dict[str, Any]]:
        """Return all rows of a small table; none if there is none."""
        if not self._has(name):
            return []
        rows: list[dict[str, Any]] = self.warehouse.query(
            self.own.schema, f"SELECT {selected} FROM {self._rows(name)}"
        ).to_pylist()
        return rows


_NO_EVENTS = {
    "id": Kind.INTEGER,
    "type": Kind.STRING,
    "object_id": Kind.INTEGER,
    EXTRACTED_AT: Kind.DATETIME,
}
_NO_METRICS = {"id": Kind.INTEGER, "_inputs": Kind.INTEGER}


def _joined(readings: Sequence[Window]) -> list[Window]:
    return readings[0].joined(readings[1:]) if readings else []


def _where_known(seconds: pa.Array, clock: pa.ChunkedArray) -> pa.Array:
    """Return the seconds where the clock has some."""
    known = clock.combine_chunks().is_valid()
    return pc.if_else(known, seconds, None)
