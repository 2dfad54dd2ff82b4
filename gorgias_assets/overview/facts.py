"""What happened to tickets and surveys in a window, read from the warehouse as one slim row each and no body.

What counts is decided here, once for every engine; what is made of it, in `measures`. That a reply by a rule or from
outside the helpdesk is no first response, nor any in a ticket that an agent began, and that times run from the
customer's first message, is documented (docs.gorgias.com/en-US/how-metrics-are-calculated-406747, "How Metrics are
Calculated"). What becomes of spam, of the trash and of what is gone is not: here none of these tickets and messages
counts, while a survey counts whatever has become of its ticket.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import pandas as pd

from gorgias_assets.columns import DELETED_AT
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.entities.tickets import TICKET_MESSAGES, TICKETS
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.frames import NULLABLE_TYPES
from gorgias_assets.warehouse.tables import Dimension, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

# How long after its ticket a first message may be created. Where it is later, those before it have not been read, as
# those of a ticket that is older than the warehouse, and what is measured from the first message would be wrong.
BEGINS_WITHIN = timedelta(hours=1)

SATISFIED = 4  # of 5


@dataclass(frozen=True)
class Facts:
    """A frame for each kind of fact, with the `day` on which it counts, its `channel`, and its `agent` by id or null.

    - `created`: tickets, when they were created.
    - `closed`: tickets, when they were last closed, with `seconds` since the customer's first message and `messages`,
      both null where the beginning is unknown.
    - `answered`: tickets, when they were first answered, with `seconds` since the customer's first message; the agent
      is the one who answered, and everywhere else the one in charge of the ticket.
    - `sent`, `scored`: surveys, when they were sent and when they were scored, with the `score` and `is_satisfied`.
    """

    created: pd.DataFrame
    closed: pd.DataFrame
    answered: pd.DataFrame
    sent: pd.DataFrame
    scored: pd.DataFrame

    def on(self, days: pd.DatetimeIndex) -> "Facts":
        """Those of some days."""
        frames = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: frame[frame["day"].isin(days)] for name, frame in frames.items()})


def read_facts(
    warehouse: Warehouse, table_of: Callable[[Entity[Any]], Table], window: Window
) -> tuple[Facts, dict[str, str]]:
    """What happened in the window, and the names of agents by id. Raises `WarehouseError` where a table is missing."""
    tables = {entity.name: table_of(entity) for entity in (TICKETS, TICKET_MESSAGES, SATISFACTION_SURVEYS)}
    for table in tables.values():
        warehouse.read(table, (Dimension(("id",), ()),), ["id"])  # no row, but a sentence where there is no table
    words, schema = warehouse.dialect, tables[TICKETS.name].schema
    named = {name: words.name_of(table) for name, table in tables.items()}

    def frame(query: str) -> pd.DataFrame:
        rows: pd.DataFrame = warehouse.query(schema, query).to_pandas(types_mapper=NULLABLE_TYPES.get)
        return rows

    tickets, surveys = frame(_tickets(words, named, window)), frame(_surveys(words, named, window))
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
    """The rows whose moment lies in the window, with its day."""
    inside = frame[(frame[moment] >= window.start) & (frame[moment] < window.end)]
    return inside.assign(day=inside[moment].dt.floor("D"))


def _timed(frame: pd.DataFrame, moment: str) -> pd.DataFrame:
    """With the seconds from the customer's first message to the moment; null if it was not before."""
    seconds = (frame[moment] - frame["asked_at"]).dt.total_seconds()
    return frame.assign(seconds=seconds.where(seconds > 0))


def _tickets(words: Dialect, tables: dict[str, str], window: Window) -> str:
    """Tickets that were created, last closed or first answered in the window, with what their messages say of them."""
    tickets, messages = tables[TICKETS.name], tables[TICKET_MESSAGES.name]
    reply = (
        f"{DELETED_AT} IS NULL AND public AND from_agent AND via = {words.literal('helpdesk')} AND rule_id IS NULL "
        "AND imported IS NOT TRUE"
    )
    created, closed = words.within("created_datetime", [window]), words.within("closed_datetime", [window])
    return (
        "SELECT ticket.id, ticket.channel, ticket.created_datetime AS created_at, "
        "CASE WHEN ticket.status = 'closed' THEN ticket.closed_datetime END AS closed_at, "
        "CASE WHEN ticket.from_agent IS NOT TRUE THEN talk.answered_at END AS answered_at, "
        "talk.begun_at, talk.asked_at, talk.messages, "
        f"{words.json_text('ticket.assignee_user', 'id')} AS agent, "
        f"{words.json_text('ticket.assignee_user', 'name')} AS agent_name, "
        f"{words.json_text('reply.sender', 'id')} AS replier, "
        f"{words.json_text('reply.sender', 'name')} AS replier_name "
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
        f"WHERE ticket.{DELETED_AT} IS NULL AND ticket.spam IS NOT TRUE AND ticket.trashed_datetime IS NULL AND "
        f"({words.within('ticket.created_datetime', [window])} OR {words.within('ticket.closed_datetime', [window])} "
        f"OR {words.within('talk.answered_at', [window])})"
    )


def _surveys(words: Dialect, tables: dict[str, str], window: Window) -> str:
    """Surveys that were sent or scored in the window, with the channel and agent of their tickets, gone ones too."""
    return (
        "SELECT survey.sent_datetime AS sent_at, survey.scored_datetime AS scored_at, survey.score, ticket.channel, "
        f"{words.json_text('ticket.assignee_user', 'id')} AS agent "
        f"FROM {tables[SATISFACTION_SURVEYS.name]} AS survey "
        f"LEFT JOIN {tables[TICKETS.name]} AS ticket ON ticket.id = survey.ticket_id "
        f"WHERE survey.{DELETED_AT} IS NULL AND ({words.within('survey.sent_datetime', [window])} "
        f"OR {words.within('survey.scored_datetime', [window])})"
    )
