"""The scopes of Gorgias's statistics that are read, with the measures of each.

They are those that tables of this project can be compared with, and those of single tickets that exist nowhere else
(developers.gorgias.com, POST /reporting/stats). Durations are in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STATISTICS, TICKET_STATISTICS = "statistics", "ticket_statistics"
NEEDS = {
    STATISTICS: ("ticket_messages", "satisfaction_surveys", "ticket_metrics", "ticket_backlog"),
    TICKET_STATISTICS: ("tickets",),
}
"""The tables that each is compared with."""

NAMES = tuple(NEEDS)
"""The names of both assets and tables. They cost calls, so an account has those that are chosen by name."""

ALL, CHANNEL, AGENT = "all", "channel", "agent"


@dataclass(frozen=True)
class Scope:
    """One kind of statistics.

    - `time`: the dimension of time by which its rows are of a day.
    - `dimensions`: what it is asked for by, one query each: Gorgias's names, by ours.
    """

    name: str
    time: str
    measures: Sequence[str]
    dimensions: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {ALL: (), CHANNEL: ("channel",), AGENT: ("agentId",)}
    )


FIRST_RESPONSES, RESOLUTIONS, SURVEYS = "first-response-time", "resolution-time", "satisfaction-surveys"
CREATED, CLOSED, SENT, RECEIVED = "tickets-created", "tickets-closed", "messages-sent", "messages-received"

SCOPES = (
    Scope(CREATED, "createdDatetime", ("ticketCount",)),
    Scope(CLOSED, "closedDatetime", ("ticketCount",)),
    Scope(SENT, "sentDatetime", ("messagesCount",)),
    Scope(RECEIVED, "sentDatetime", ("messagesCount",), {ALL: (), CHANNEL: ("channel",)}),  # customers have sent them
    Scope(FIRST_RESPONSES, "firstAgentMessageDatetime", ("medianFirstResponseTime", "averageFirstResponseTime")),
    Scope(RESOLUTIONS, "closedDatetime", ("medianResolutionTime", "averageResolutionTime")),
    Scope(
        SURVEYS,
        "sentDatetime",
        ("sentSurveysCount", "scoredSurveysCount", "averageSurveyScore", "satisfactionScore", "responseRate"),
    ),
)

TICKET, STATUS = "ticketId", "status"
HANDLE_TIMES = "ticket-handle-time"
BY_TICKET: Mapping[str, Sequence[str]] = {TICKET: (TICKET,)}

SLA = Scope("ticket-sla", "anchorDatetime", ("ticketCount",), {TICKET: (TICKET, STATUS)})
SCOPES_OF_TICKETS = (
    Scope(FIRST_RESPONSES, "firstAgentMessageDatetime", ("averageFirstResponseTime",), BY_TICKET),
    Scope(RESOLUTIONS, "closedDatetime", ("averageResolutionTime",), BY_TICKET),
    Scope(HANDLE_TIMES, "createdDatetime", ("averageHandleTime",), BY_TICKET),
    SLA,
)
