"""The facts of tickets and surveys in a window, one slim row each, read from the tables of metrics.

`ticket_metrics` and `ticket_backlog` define what counts; `measures` is made of these rows. Surveys are counted by their
own table: a ticket may have several, and one may outlive its ticket. Gorgias does not document how spam, trashed and
deleted tickets count. Here they do not, but their surveys do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import pandas as pd

from gorgias_assets.columns import DELETED_AT
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.metrics.declared import TICKET_BACKLOG, TICKET_METRICS
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.frames import NULLABLE_TYPES
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets.windows import Window

SATISFIED = 4  # of 5

Names = Mapping[str, Mapping[str, str]]
"""Names for people of teams and agents, by dimension and id."""


@dataclass(frozen=True)
class Facts:
    """A frame per kind of fact, with the `day` on which it counts, and its `channel`, `team` and `agent`, or null.

    Teams and agents are ids, as text.

    - `created`: tickets, when they were created.
    - `closed`: tickets, when they were last closed, with `seconds` since the customer's first message, those of them in
      business hours, `business_seconds`, and `messages`; all null if the beginning is unknown.
    - `answered`: tickets, when they were first answered, with both kinds of seconds; the agent is the one who answered.
      In all other frames it is the one in charge of the ticket.
    - `sent`, `scored`: surveys, when they were sent and when they were scored, with the `score` and `is_satisfied`.
    - `backlog`: the rows of `ticket_backlog`, which are by `dimension` and `slice`.
    """

    created: pd.DataFrame
    closed: pd.DataFrame
    answered: pd.DataFrame
    sent: pd.DataFrame
    scored: pd.DataFrame
    backlog: pd.DataFrame

    def on(self, days: pd.DatetimeIndex) -> "Facts":
        frames = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: frame[frame["day"].isin(days)] for name, frame in frames.items()})


def read_facts(warehouse: Warehouse, tables: Mapping[str, Table], window: Window) -> tuple[Facts, Names]:
    """Return the facts of the window, and the names of the teams and agents in them.

    `tables` are those that the overview needs, by name. Raises `WarehouseError` if one does not exist.
    """
    warehouse.require(tables.values())
    dialect, schema = warehouse.dialect, tables[TICKET_METRICS.name].schema
    named = {name: warehouse.rows_of(table) for name, table in tables.items()}

    def frame(query: str) -> pd.DataFrame:
        rows: pd.DataFrame = warehouse.query(schema, query).to_pandas(types_mapper=NULLABLE_TYPES.get)
        return rows

    tickets, surveys = frame(_tickets(dialect, named, window)), frame(_surveys(dialect, named, window))
    backlog = frame(_backlog(named[TICKET_BACKLOG.name], window)).astype({"day": "datetime64[us, UTC]"})
    answered = _timed(tickets.drop(columns="agent").rename(columns={"replier": "agent"}), "first_response")
    facts = Facts(
        created=_counted(tickets, "created_at", window),
        closed=_counted(_timed(tickets, "resolution"), "closed_at", window),
        answered=_counted(answered, "answered_at", window),
        sent=_counted(surveys, "sent_at", window),
        scored=_counted(surveys.assign(is_satisfied=surveys["score"] >= SATISFIED), "scored_at", window),
        backlog=backlog,
    )
    return facts, _names(tickets, backlog)


def _names(tickets: pd.DataFrame, backlog: pd.DataFrame) -> Names:
    """Return the names in tickets, and for others those in the backlog, whose tickets may be older."""

    def named(frame: pd.DataFrame, one: str, name: str) -> dict[str, str]:
        return dict(frame[[one, name]].dropna().itertuples(index=False, name=None))

    labels = {of: named(backlog[backlog["dimension"] == of], "slice", "label") for of in ("team", "agent")}
    teams, agents = labels["team"] | named(tickets, "team", "team_name"), named(tickets, "agent", "agent_name")
    return {"team": teams, "agent": labels["agent"] | agents | named(tickets, "replier", "replier_name")}


def _timed(tickets: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return tickets with the seconds until what happened to them, by the clock and in business hours."""
    return tickets.rename(
        columns={f"{what}_seconds": "seconds", f"{what}_business_seconds": "business_seconds"},
    )


def _counted(frame: pd.DataFrame, moment: str, window: Window) -> pd.DataFrame:
    """Return the rows whose moment lies in the window, with its day."""
    inside = frame[(frame[moment] >= window.start) & (frame[moment] < window.end)]
    return inside.assign(day=inside[moment].dt.floor("D"))


def _tickets(dialect: Dialect, tables: Mapping[str, str], window: Window) -> str:
    """Query tickets that were created, last closed or first answered in the window."""
    text = dialect.text_type
    return (
        "SELECT channel, created_datetime AS created_at, closed_datetime AS closed_at, "
        "first_response_datetime AS answered_at, messages, resolution_seconds, resolution_business_seconds, "
        "first_response_seconds, first_response_business_seconds, "
        f"CAST(assignee_team_id AS {text}) AS team, assignee_team_name AS team_name, "
        f"CAST(assignee_user_id AS {text}) AS agent, assignee_user_name AS agent_name, "
        f"CAST(first_response_agent_id AS {text}) AS replier, first_response_agent_name AS replier_name "
        f"FROM {tables[TICKET_METRICS.name]} AS ticket "
        f"WHERE {DELETED_AT} IS NULL AND spam IS NOT TRUE AND trashed_datetime IS NULL "
        f"AND ({_within(dialect, window, 'created_datetime', 'closed_datetime', 'first_response_datetime')})"
    )


def _surveys(dialect: Dialect, tables: Mapping[str, str], window: Window) -> str:
    """Query surveys that were sent or scored in the window, with what is known of their tickets, deleted ones too."""
    text = dialect.text_type
    return (
        "SELECT survey.sent_datetime AS sent_at, survey.scored_datetime AS scored_at, survey.score, ticket.channel, "
        f"CAST(ticket.assignee_team_id AS {text}) AS team, CAST(ticket.assignee_user_id AS {text}) AS agent "
        f"FROM {tables[SATISFACTION_SURVEYS.name]} AS survey "
        f"LEFT JOIN {tables[TICKET_METRICS.name]} AS ticket ON ticket.id = survey.ticket_id "
        f"WHERE survey.{DELETED_AT} IS NULL "
        f"AND ({_within(dialect, window, 'survey.sent_datetime', 'survey.scored_datetime')})"
    )


def _backlog(table: str, window: Window) -> str:
    first, after = (f"DATE '{moment:%Y-%m-%d}'" for moment in (window.start, window.end))
    return (
        "SELECT day, dimension, slice, label, tickets_reopened, open_tickets, waiting_for_agent "
        f"FROM {table} AS backlog WHERE day >= {first} AND day < {after} AND dimension <> 'tag'"
    )


def _within(dialect: Dialect, window: Window, *moments: str) -> str:
    """Return the condition that any of the moments lies in the window."""
    return " OR ".join(dialect.within(moment, [window]) for moment in moments)
