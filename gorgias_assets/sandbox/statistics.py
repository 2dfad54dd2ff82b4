"""The statistics of an account (POST /api/reporting/stats), counted from its own rows and minutes behind them.

They count tickets that are neither spam nor in the trash, as it is not documented what Gorgias's own ones do.
"""

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean, median

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.endpoints import EVERYTHING, Answer, ApiError, Asked, by_creation, listed
from gorgias_assets.sandbox.kinds import whole
from gorgias_assets.sandbox.moments import MICROSECOND, microseconds, printed
from gorgias_assets.sandbox.rows import Condition, Listing, Row, dumped, id_of

PATH = "/api/reporting/stats"
ROWS, MOST_ROWS = 30, 10_000
LONGEST_PERIOD = timedelta(days=366)
STEPS = ("hour", "day", "week", "month")
A_DAY = timedelta(days=1) // MICROSECOND
SURVEYED_WITHIN = 60 * A_DAY  # of its creation, a survey is sent
SATISFIED = 4
DIMENSIONS = ("ticketId", "agentId", "channel")
FIRST_ANSWERS = ("firstAgentMessageDatetime", "createdDatetime")
SURVEYED = ("sentDatetime", "createdDatetime")

Period = tuple[int, int]


@dataclass(frozen=True)
class Fact:
    """Something that counts: its moments by time dimension, its dimensions, and its value, if it has one."""

    moments: Mapping[str, int]
    dimensions: Mapping[str, object]
    value: float | None = None


Measure = Callable[[Sequence[Fact]], float | None]


@dataclass(frozen=True)
class Scope:
    """A scope: its facts in a period, its measures, its time dimensions (the first one counts by default)."""

    facts: Callable[[Account, Period], Iterator[Fact]]
    measures: Mapping[str, Measure]
    times: Sequence[str]
    dimensions: Sequence[str] = DIMENSIONS


@dataclass(frozen=True)
class Query:
    scope: str
    measures: Sequence[str]
    dimensions: Sequence[str]
    time: str
    step: str | None
    period: Period


def answer_statistics(account: Account, query: str, sent: bytes) -> Answer:
    """Answer a query: a row per day, or other step, and combination of dimensions in which anything happened."""
    asked = Asked(account, PATH, query)
    with account.lock:
        try:
            return page_of(asked, parsed(sent))
        except ApiError as refused:
            return refused.answer


def page_of(asked: Asked, query: Query) -> Answer:
    asked.only("limit", "cursor")
    if status := asked.account.habits.broken_scopes.get(query.scope):
        raise ApiError(status, "The scope is not available.")
    limit = asked.read("limit", row_limit, ROWS)
    offset = asked.read("cursor", lambda sent: offset_of(sent[-1]), 0)
    rows = rows_of(asked.account, query)
    more, before = offset + limit < len(rows), offset > 0
    meta = {
        "scope": query.scope,
        "prev_cursor": cursor_to(max(offset - limit, 0)) if before else None,
        "next_cursor": cursor_to(offset + limit) if more else None,
        "total": len(rows),
        "offset": offset,
        "limit": limit,
    }
    return listed(asked, [dumped(row) for row in rows[offset : offset + limit]], meta)


def rows_of(account: Account, query: Query) -> list[Row]:
    scope, habits = SCOPES[query.scope], account.habits
    seen_until = microseconds(account.now - habits.statistics_lag)
    name = f"{query.time}.{query.step}" if habits.names_steps else query.time
    groups: dict[tuple[object, ...], list[Fact]] = defaultdict(list)
    for fact in scope.facts(account, query.period):
        moment = fact.moments.get(query.time)
        if moment is not None and query.period[0] <= moment < query.period[1] and moment <= seen_until:
            step = [begin_of(moment, query.step)] if query.step else []
            groups[(*step, *(fact.dimensions.get(one) for one in query.dimensions))].append(fact)
    keys = [*([name] if query.step else []), *query.dimensions]
    rows = [
        dict(zip(keys, group, strict=True)) | {one: scope.measures[one](facts) for one in query.measures}
        for group, facts in sorted(groups.items(), key=lambda item: str(item[0]))
    ]
    return rows + (idle(account, rows, query, name) if [*query.dimensions] == ["agentId"] else [])


def idle(account: Account, rows: Sequence[Row], query: Query, name: str) -> list[Row]:
    """Return a row without measures for each agent and step in which others did something."""
    steps: dict[object, set[object]] = defaultdict(set)
    for row in rows:
        steps[row.get(name)].add(row["agentId"])
    return [
        ({name: step} if query.step else {}) | {"agentId": user["id"]} | dict.fromkeys(query.measures)
        for step, busy in steps.items()
        for user in account.rows("users")
        if user["active"] and user["id"] not in busy
    ]


def parsed(sent: bytes) -> Query:
    """Return the query of a body; raise an `ApiError` on one that Gorgias refuses."""
    try:
        query = json.loads(sent)["query"]
        scope = SCOPES.get(query["scope"])
        times = query.get("time_dimensions") or [{}]
        filters = {one["member"]: one["values"][0] for one in query["filters"]}
        start, end = (microseconds(filters[name]) for name in ("periodStart", "periodEnd"))
        measures, dimensions = query["measures"], query.get("dimensions") or []
        time, step = times[0].get("dimension"), times[0].get("granularity")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ApiError(400, "Invalid payload.") from None
    if scope is None:
        raise ApiError(400, "Invalid payload.", {"scope": ["Not a valid choice."]})
    if (end - start) * MICROSECOND > LONGEST_PERIOD:
        raise ApiError(400, "Invalid payload.", {"filters": ["The period must not exceed 366 days."]})
    wrong = [one for one in measures if one not in scope.measures]
    wrong += [one for one in dimensions if one not in scope.dimensions]
    wrong += [time] if time not in (None, *scope.times) else []
    wrong += [step] if step not in (None, *STEPS) else []
    if wrong or not measures:
        raise ApiError(400, "Invalid payload.", {str(one): ["Not a valid choice."] for one in wrong})
    return Query(query["scope"], measures, dimensions, time or scope.times[0], step, (start, end))


def row_limit(sent: Sequence[str]) -> int:
    size = whole(sent)
    if not 1 <= size <= MOST_ROWS:
        raise ValueError(f"Must be between 1 and {MOST_ROWS}.")
    return size


def cursor_to(offset: int) -> str:
    return base64.b64encode(json.dumps(["next", offset]).encode()).decode()


def offset_of(cursor: str) -> int:
    try:
        _, offset = json.loads(base64.b64decode(cursor, validate=True))
        return int(offset)
    except (ValueError, TypeError, binascii.Error):
        raise ValueError("Invalid cursor.") from None


def begin_of(moment: int, step: str) -> str:
    """Return the beginning of the step that a moment lies in, as statistics print it: without an offset."""
    at = (datetime(1970, 1, 1, tzinfo=UTC) + moment * MICROSECOND).replace(minute=0, second=0, microsecond=0)
    if step != "hour":
        at = at.replace(hour=0)
    if step == "week":
        at -= timedelta(days=at.weekday())
    if step == "month":
        at = at.replace(day=1)
    return f"{at:%Y-%m-%dT%H:%M:%S}.000"


def found(account: Account, kind: str, *conditions: Condition) -> Iterator[Row]:
    page = account.page(kind, Listing("created_datetime", False, None, EVERYTHING, conditions))
    return map(json.loads, page.rows)


def counted(tickets: Iterator[Row]) -> Iterator[Row]:
    return (ticket for ticket in tickets if not ticket["spam"] and not ticket["trashed_datetime"])


def of_ticket(ticket: Row | None) -> dict[str, object]:
    if ticket is None:
        return dict.fromkeys(DIMENSIONS)
    return {"ticketId": ticket["id"], "agentId": id_of(ticket["assignee_user"]), "channel": ticket["channel"]}


def moments_of(row: Row, **names: str) -> dict[str, int]:
    return {time: microseconds(row[name]) for time, name in names.items() if row[name]}


def created(account: Account, period: Period) -> Iterator[Fact]:
    for ticket in counted(found(account, "tickets", ("created BETWEEN ? AND ?", period))):
        yield Fact(moments_of(ticket, createdDatetime="created_datetime"), of_ticket(ticket))


def closed_tickets(account: Account, period: Period) -> Iterator[Row]:
    return (
        ticket
        for ticket in counted(found(account, "tickets", ("updated >= ?", period[:1])))
        if ticket["status"] == "closed" and ticket["closed_datetime"]
    )


def closed(account: Account, period: Period) -> Iterator[Fact]:
    for ticket in closed_tickets(account, period):
        moments = moments_of(ticket, closedDatetime="closed_datetime", createdDatetime="created_datetime")
        yield Fact(moments, of_ticket(ticket))


def resolved(account: Account, period: Period) -> Iterator[Fact]:
    """Yield the seconds from a customer's first message to the last closing."""
    for ticket in closed_tickets(account, period):
        moments = moments_of(ticket, closedDatetime="closed_datetime", createdDatetime="created_datetime")
        if asked := first_of(account, ticket, is_question):
            seconds = seconds_between(asked["created_datetime"], ticket["closed_datetime"])
            yield Fact(moments, of_ticket(ticket), seconds)


def answered(account: Account, period: Period) -> Iterator[Fact]:
    """Yield the seconds from a customer's first message to an agent's first answer, of tickets begun by customers."""
    messages = found(account, "messages", ("created BETWEEN ? AND ?", period))
    for ticket_id in dict.fromkeys(message["ticket_id"] for message in messages if is_answer(message)):
        ticket = account.row("tickets", ticket_id)
        if not ticket or ticket["from_agent"] or not [*counted(iter([ticket]))]:
            continue
        asked, answer = first_of(account, ticket, is_question), first_of(account, ticket, is_answer)
        if asked and answer and (seconds := seconds_between(asked["created_datetime"], answer["created_datetime"])) > 0:
            moments = moments_of(ticket, createdDatetime="created_datetime")
            moments |= moments_of(answer, firstAgentMessageDatetime="created_datetime")
            yield Fact(moments, of_ticket(ticket) | {"agentId": id_of(answer["sender"])}, seconds)


def promised(account: Account, period: Period) -> Iterator[Fact]:
    """Yield 1 for each ticket of a customer that was answered in time, 0 for one that was not, nothing before that."""
    within = account.habits.answers_within
    for ticket in counted(found(account, "tickets", ("created BETWEEN ? AND ?", period))) if within else ():
        if within and (asked := first_of(account, ticket, is_question)):
            answer = first_of(account, ticket, is_answer)
            until = answer["created_datetime"] if answer else printed(account.now)
            is_late = seconds_between(asked["created_datetime"], until) > within.total_seconds()
            status = "BREACHED" if is_late else "SATISFIED" if answer else "PENDING"
            moments = moments_of(ticket, createdDatetime="created_datetime")
            moments |= moments_of(asked, anchorDatetime="created_datetime")
            value = {"BREACHED": 0.0, "SATISFIED": 1.0}.get(status)
            yield Fact(moments, of_ticket(ticket) | {"status": status}, value)


def first_of(account: Account, ticket: Row, kind: Callable[[Row], bool]) -> Row | None:
    """Return the first message of a ticket that is of a kind."""
    return next(filter(kind, by_creation(account.where("messages", "ticket_id", ticket["id"]))), None)


def is_question(message: Row) -> bool:
    return bool(message["public"] and not message["from_agent"])


def is_answer(message: Row) -> bool:
    is_lost = message["failed_datetime"] and not message["sent_datetime"]
    is_own = message["via"] == "helpdesk" and message["rule_id"] is None and not message["imported"]
    return bool(message["from_agent"] and message["public"] and is_own and not is_lost)


def messages(by_agents: bool) -> Callable[[Account, Period], Iterator[Fact]]:
    def facts(account: Account, period: Period) -> Iterator[Fact]:
        near = (period[0] - A_DAY, period[1] + A_DAY)
        for message in found(account, "messages", ("created BETWEEN ? AND ?", near)):
            if message["public"] and message["from_agent"] == by_agents:
                moment = message["sent_datetime"] or message["created_datetime"]
                about = {"ticketId": message["ticket_id"], "channel": message["channel"]}
                about |= {"agentId": id_of(message["sender"])} if by_agents else {}
                yield Fact({"sentDatetime": microseconds(moment)}, about)

    return facts


def surveyed(account: Account, period: Period) -> Iterator[Fact]:
    near = (period[0] - SURVEYED_WITHIN, period[1])
    for survey in found(account, "satisfaction_surveys", ("created BETWEEN ? AND ?", near)):
        if survey["sent_datetime"]:
            moments = moments_of(survey, sentDatetime="sent_datetime", createdDatetime="created_datetime")
            about = of_ticket(account.row("tickets", survey["ticket_id"] or 0)) | {"ticketId": survey["ticket_id"]}
            yield Fact(moments, about, survey["score"])


def seconds_between(first: str, last: str) -> float:
    return (microseconds(last) - microseconds(first)) / 1_000_000


def values(facts: Sequence[Fact]) -> list[float]:
    return [fact.value for fact in facts if fact.value is not None]


def average(facts: Sequence[Fact]) -> float | None:
    return fmean(known) if (known := values(facts)) else None


def middle(facts: Sequence[Fact]) -> float | None:
    return median(known) if (known := values(facts)) else None


def satisfaction(facts: Sequence[Fact]) -> float | None:
    scores = values(facts)
    return 100 * sum(score >= SATISFIED for score in scores) / len(scores) if scores else None


def unknown(_: Sequence[Fact]) -> None:
    """Return nothing: no row of the account shows it."""


COUNT: Mapping[str, Measure] = {"ticketCount": len}
MESSAGES: Mapping[str, Measure] = {"messagesCount": len}
SCOPES: Mapping[str, Scope] = {
    "tickets-created": Scope(created, COUNT, ("createdDatetime",)),
    "tickets-closed": Scope(closed, COUNT, ("closedDatetime", "createdDatetime")),
    "messages-sent": Scope(messages(by_agents=True), MESSAGES, ("sentDatetime",)),
    "messages-received": Scope(messages(by_agents=False), MESSAGES, ("sentDatetime",), ("ticketId", "channel")),
    "first-response-time": Scope(
        answered, {"medianFirstResponseTime": middle, "averageFirstResponseTime": average}, FIRST_ANSWERS
    ),
    "resolution-time": Scope(
        resolved,
        {"medianResolutionTime": middle, "averageResolutionTime": average},
        ("closedDatetime", "createdDatetime"),
    ),
    "satisfaction-surveys": Scope(
        surveyed,
        {
            "sentSurveysCount": len,
            "scoredSurveysCount": lambda facts: len(values(facts)),
            "averageSurveyScore": average,
            "satisfactionScore": satisfaction,
            "responseRate": lambda facts: 100 * len(values(facts)) / len(facts),
        },
        SURVEYED,
    ),
    "ticket-handle-time": Scope(created, {"averageHandleTime": unknown, "handleTime": unknown}, ("createdDatetime",)),
    "ticket-sla": Scope(
        promised,
        {
            "ticketCount": len,
            "slaAchievementRate": lambda facts: None if (kept := average(facts)) is None else 100 * kept,
        },
        ("anchorDatetime", "createdDatetime"),
        (*DIMENSIONS, "status"),
    ),
}
