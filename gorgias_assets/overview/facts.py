"""The events of tickets and surveys in a window, read from the warehouse as one slim row each, without bodies.

This module decides what counts, once for every engine; `measures` is made of it. Gorgias documents that a reply by a
rule or from outside the helpdesk is no first response, that a ticket begun by an agent has none, and that times run
from the customer's first message (docs.gorgias.com/en-US/how-metrics-are-calculated-406747, "How Metrics are
Calculated"). It does not document how spam, trashed and deleted tickets count. Here they do not count, nor do deleted
messages, nor a reply that never left: one that failed and was not sent later. A survey counts in whatever state its
ticket is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta

import pandas as pd

from gorgias_assets.columns import DELETED_AT
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.frames import NULLABLE_TYPES
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

# How long after its ticket a first message may be created. If it is later, earlier messages were not read, as with a
# ticket that is older than the warehouse, and times from the first message would be wrong.
BEGINS_WITHIN = timedelta(hours=1)

SATISFIED = 4  # of 5


@dataclass(frozen=True)
class Facts:
    """A frame per kind of event, with the `day` on which it counts, its `channel`, and its `agent` by id or null.

    - `created`: tickets, when they were created.
    - `closed`: tickets, when they were last closed, with `seconds` since the customer's first message and `messages`,
      both null if the beginning is unknown.
    - `answered`: tickets, when they were first answered, with `seconds` since the customer's first message; the agent
      is the one who answered. In all other frames it is the one in charge of the ticket.
    - `sent`, `scored`: surveys, when they were sent and when they were scored, with the `score` and `is_satisfied`.
    """

    created: pd.DataFrame
    closed: pd.DataFrame
    answered: pd.DataFrame
    sent: pd.DataFrame
    scored: pd.DataFrame

    def on(self, days: pd.DatetimeIndex) -> "Facts":
        frames = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: frame[frame["day"].isin(days)] for name, frame in frames.items()})


def read_facts(warehouse: Warehouse, tables: Mapping[str, Table], window: Window) -> tuple[Facts, dict[str, str]]:
    """Return the facts of the window, and the names of agents by id.

    `tables` are those of entities by name. Raises `WarehouseError` if one does not exist.
    """
    for table in tables.values():
        warehouse.read(table, (Dimension(("id",), ()),), ["id"])  # no row, but an error that names a missing table
    dialect, schema = warehouse.dialect, tables["tickets"].schema
    named = {name: warehouse.rows_of(table) for name, table in tables.items()}

    def frame(query: str) -> pd.DataFrame:
        rows: pd.DataFrame = warehouse.query(schema, query).to_pandas(types_mapper=NULLABLE_TYPES.get)
        return rows

    tickets, surveys = frame(_tickets(dialect, named, window)), frame(_surveys(dialect, named, window))
    begun = tickets["begun_at"] - tickets["created_at"] <= BEGINS_WITHIN
    tickets["asked_at"] = tickets["asked_at"].where(begun)
    tickets["messages"] = tickets["messages"].where(begun)
    answered = tickets.drop(columns="agent").rename(columns={"replier": "agent"})
    facts = Facts(
        created=_counted(tickets, "created_at", window),
        closed=_timed(_counted(tickets, "closed_at", window), "closed_at"),
        answered=_timed(_counted(answered, "answered_at", window), "answered_at").dropna(subset="seconds"),
        sent=_counted(surveys, "sent_at", window),
        scored=_counted(surveys.assign(is_satisfied=surveys["score"] >= SATISFIED), "scored_at", window),
    )
    names: dict[str, str] = {}
    for columns in (["agent", "agent_name"], ["replier", "replier_name"]):
        names |= dict(tickets[columns].dropna().itertuples(index=False, name=None))
    return facts, names


def _counted(frame: pd.DataFrame, moment: str, window: Window) -> pd.DataFrame:
    """Return the rows whose moment lies in the window, with its day."""
    inside = frame[(frame[moment] >= window.start) & (frame[moment] < window.end)]
    return inside.assign(day=inside[moment].dt.floor("D"))


def _timed(frame: pd.DataFrame, moment: str) -> pd.DataFrame:
    """Add the seconds from the customer's first message to the moment; null if the message was not before it."""
    seconds = (frame[moment] - frame["asked_at"]).dt.total_seconds()
    return frame.assign(seconds=seconds.where(seconds > 0))


def _tickets(dialect: Dialect, tables: Mapping[str, str], window: Window) -> str:
    """Query tickets that were created, last closed or first answered in the window, with figures of their messages."""
    tickets, messages = tables["tickets"], tables["ticket_messages"]
    reply = (
        f"{DELETED_AT} IS NULL AND public AND from_agent AND via = {dialect.literal('helpdesk')} AND rule_id IS NULL "
        "AND imported IS NOT TRUE AND (failed_datetime IS NULL OR sent_datetime IS NOT NULL)"
    )
    created, closed = _within(dialect, window, "created_datetime"), _within(dialect, window, "closed_datetime")
    happened = _within(dialect, window, "ticket.created_datetime", "ticket.closed_datetime", "talk.answered_at")
    return (
        "SELECT ticket.id, ticket.channel, ticket.created_datetime AS created_at, "
        "CASE WHEN ticket.status = 'closed' THEN ticket.closed_datetime END AS closed_at, "
        "CASE WHEN ticket.from_agent IS NOT TRUE THEN talk.answered_at END AS answered_at, "
        "talk.begun_at, talk.asked_at, talk.messages, "
        f"{dialect.json_text('ticket.assignee_user', 'id')} AS agent, "
        f"{dialect.json_text('ticket.assignee_user', 'name')} AS agent_name, "
        f"{dialect.json_text('reply.sender', 'id')} AS replier, "
        f"{dialect.json_text('reply.sender', 'name')} AS replier_name "
        f"FROM {tickets} AS ticket "
        f"LEFT JOIN (SELECT ticket_id, MIN(created_datetime) AS begun_at, "
        f"MIN(CASE WHEN {DELETED_AT} IS NULL AND public AND NOT from_agent THEN created_datetime END) AS asked_at, "
        f"MIN(CASE WHEN {reply} THEN created_datetime END) AS answered_at, "
        f"COUNT(CASE WHEN {DELETED_AT} IS NULL AND public THEN 1 END) AS messages "
        f"FROM {messages} WHERE ticket_id IN (SELECT ticket_id FROM {messages} WHERE {created} "
        f"UNION ALL SELECT id FROM {tickets} WHERE {closed}) GROUP BY ticket_id) AS talk ON talk.ticket_id = ticket.id "
        f"LEFT JOIN (SELECT ticket_id, sender FROM {messages} WHERE ({created}) AND {reply} "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY ticket_id ORDER BY created_datetime, id) = 1) AS reply "
        "ON reply.ticket_id = ticket.id "
        f"WHERE ticket.{DELETED_AT} IS NULL AND ticket.spam IS NOT TRUE AND ticket.trashed_datetime IS NULL "
        f"AND ({happened})"
    )


def _surveys(dialect: Dialect, tables: Mapping[str, str], window: Window) -> str:
    """Query surveys that were sent or scored in the window, with the channel and agent of tickets, deleted ones too."""
    return (
        "SELECT survey.sent_datetime AS sent_at, survey.scored_datetime AS scored_at, survey.score, ticket.channel, "
        f"{dialect.json_text('ticket.assignee_user', 'id')} AS agent "
        f"FROM {tables['satisfaction_surveys']} AS survey "
        f"LEFT JOIN {tables['tickets']} AS ticket ON ticket.id = survey.ticket_id "
        f"WHERE survey.{DELETED_AT} IS NULL "
        f"AND ({_within(dialect, window, 'survey.sent_datetime', 'survey.scored_datetime')})"
    )


def _within(dialect: Dialect, window: Window, *moments: str) -> str:
    """Return the condition that any of the moments lies in the window."""
    return " OR ".join(dialect.within(moment, [window]) for moment in moments)
