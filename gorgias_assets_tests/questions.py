"""The questions of `docs/questions.md`, and the answers that a simulated account knows, event by event."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.rows import Row
from gorgias_assets.sweeps.rows import parse_datetime
from gorgias_assets_tests.documents import REPOSITORY

QUESTIONS = dict(
    re.findall(
        r"^## (.*?)\n.*?```sql\n(.*?)```", (REPOSITORY / "docs" / "questions.md").read_text(), re.DOTALL | re.MULTILINE
    )
)
Rows = Iterable[tuple[Any, ...]]


@dataclass(frozen=True)
class Knowledge:
    """The knowledge of an account of what happened on the days from `first` to the one before `today`.

    `stored` are the ids and names of rows that were read, of tickets, tags and macros: some of them are gone since.
    """

    account: Account
    first: date
    today: date
    stored: Mapping[str, Mapping[int, str]]

    def rows(self, kind: str) -> list[Row]:
        return self.account.rows(kind)

    @property
    def messages(self) -> list[Row]:
        """The messages of the days; imported ones are older."""
        return [row for row in self.rows("messages") if day_of(row) >= self.first]

    def names(self, kind: str) -> dict[int, str]:
        return {**self.stored[kind], **{row["id"]: row["name"] for row in self.rows(kind)}}

    @property
    def agents(self) -> dict[int, str]:
        return {row["id"]: row["name"] for row in self.rows("users")}

    @property
    def bots(self) -> set[int]:
        return {row["id"] for row in self.rows("users") if row["role"]["name"] == "bot"}

    def events(self, *types: str) -> list[Row]:
        """Return the days' events of these types without `ticket-`, in their order."""
        wanted = {f"ticket-{kind}" for kind in types} | {*types}
        return sorted(
            (row for row in self.rows("events") if row["type"] in wanted and self.first <= day_of(row) < self.today),
            key=lambda row: (parse_datetime(row["created_datetime"]), row["id"]),
        )


def day_of(row: Row) -> date:
    return parse_datetime(row["created_datetime"]).date()


def hour_of(row: Row) -> int:
    return parse_datetime(row["created_datetime"]).hour


def is_open(event: Row) -> bool:
    return event["type"] in ("ticket-created", "ticket-reopened")


def first_responses(known: Knowledge) -> Rows:
    replies: dict[int, Row] = {}
    for message in sorted(known.messages, key=lambda row: (row["created_datetime"], row["id"])):
        sender = (message["sender"] or {}).get("id")
        by_person = message["from_agent"] and message["public"] and not message["rule_id"]
        if by_person and sender in known.agents and sender not in known.bots:
            replies.setdefault(message["ticket_id"], message)
    waits = defaultdict[str, list[int]](list)
    for ticket in known.rows("tickets"):
        reply = replies.get(ticket["id"])
        if reply and not ticket["from_agent"] and day_of(ticket) >= known.today - timedelta(days=7):
            waited = parse_datetime(reply["created_datetime"]) - parse_datetime(ticket["created_datetime"])
            waits[known.agents[reply["sender"]["id"]]].append(int(waited / timedelta(minutes=1)))
    return [(agent, len(minutes), sum(minutes) / len(minutes)) for agent, minutes in waits.items()]


def tickets_by_tag(known: Knowledge) -> Rows:
    return Counter(tag["name"] for ticket in known.rows("tickets") for tag in ticket["tags"]).items()


def tags_over_time(known: Knowledge) -> Rows:
    names = known.names("tags")
    added = Counter(
        (day_of(event), names[tag])
        for event in known.events("tags-added")
        for tag in event["data"]["tags_added"]
        if tag in names
    )
    return [(*key, count) for key, count in added.items()]


def backlog(known: Knowledge) -> Rows:
    states: dict[int, bool] = {}
    open_at_end: dict[date, int] = {}
    for event in known.events("created", "reopened", "closed", "deleted"):
        states[event["object_id"]] = is_open(event)
        open_at_end[day_of(event)] = sum(states.values())
    return open_at_end.items()


def reopened(known: Knowledge) -> Rows:
    tickets = defaultdict[date, list[int]](list)
    for event in known.events("reopened"):
        tickets[day_of(event)].append(event["object_id"])
    return [(day, len(ids), len(set(ids))) for day, ids in tickets.items()]


def reasons(known: Knowledge) -> Rows:
    fields = {row["id"]: row for row in known.rows("custom_fields")}
    counted = Counter[tuple[Any, ...]]()
    for ticket in known.rows("tickets"):
        for entry in ticket["custom_fields"].values():
            field = fields[entry["id"]]
            settings = field["definition"]["input_settings"]
            if field["definition"]["data_type"] == "text" and settings["input_type"] == "dropdown" and entry["value"]:
                levels = [*entry["value"].split("::"), None]
                counted[field["label"], levels[0], levels[1]] += 1
    return [(*key, count) for key, count in counted.items()]


def satisfaction(known: Knowledge) -> Rows:
    tickets = {row["id"]: row for row in known.rows("tickets")}
    surveys = defaultdict[str, list[Row]](list)
    for survey in known.rows("satisfaction_surveys"):
        agent = tickets.get(survey["ticket_id"], {}).get("assignee_user")
        if survey["score"] and agent:
            surveys[agent["name"]].append(survey)
    return [
        (
            agent,
            len(scored),
            sum(row["score"] for row in scored) / len(scored),
            " / ".join(row["body_text"] for row in scored if row["body_text"] is not None) or None,
        )
        for agent, scored in surveys.items()
    ]


def messages_by_hour(known: Knowledge) -> Rows:
    counted = Counter((row["channel"], hour_of(row)) for row in known.messages if not row["from_agent"])
    return [(*key, count) for key, count in counted.items()]


def macros(known: Knowledge) -> Rows:
    names, used = known.names("macros"), defaultdict[str, list[int]](list)
    for message in known.messages:
        for macro in message["macros"]:
            if macro["id"] in names:
                used[names[macro["id"]]].append(message["ticket_id"])
    return [(name, len(tickets), len(set(tickets))) for name, tickets in used.items()]


def rules(known: Knowledge) -> Rows:
    fired = defaultdict[str, list[int]](list)
    for event in known.events("rule-executed"):
        fired[event["data"]["name"]].append(event["object_id"])
    return [(name, len(tickets), len(set(tickets))) for name, tickets in fired.items()]


def authors(known: Knowledge) -> Rows:
    tickets, bots = defaultdict[str, list[int]](list), known.bots
    for message in known.messages:
        if message["from_agent"] and message["public"]:
            by_bot = (message["sender"] or {}).get("id") in bots
            tickets["rule" if message["rule_id"] else "bot" if by_bot else "person"].append(message["ticket_id"])
    return [(author, len(ids), len(set(ids))) for author, ids in tickets.items()]


def who_had_it(known: Knowledge) -> Iterator[tuple[Any, ...]]:
    agents, last = known.agents, dict[int, int]()
    for event in known.events("assigned"):
        ticket, agent = event["object_id"], event["data"]["assignee_user_id"]
        before = last.get(ticket)
        if agent is None:
            continue
        if before in agents and agent in agents and before != agent:
            yield ticket, agents[before], agents[agent], parse_datetime(event["created_datetime"])
        last[ticket] = agent


def merged_and_deleted(known: Knowledge) -> Rows:
    gone = known.stored["tickets"].keys() - {row["id"] for row in known.rows("tickets")}
    return Counter("merged" if known.account.merged_into("tickets", row_id) else "deleted" for row_id in gone).items()


def hands(known: Knowledge) -> Rows:
    kinds = ("assigned", "unassigned", "created", "reopened", "closed", "deleted")
    agents, held, opened = known.agents, dict[int, int | None](), set[int]()
    at_end: dict[date, Counter[str]] = {}
    for event in known.events(*kinds):
        ticket = event["object_id"]
        if event["type"].endswith("assigned"):
            held[ticket] = (event["data"] or {}).get("assignee_user_id")
        elif is_open(event):
            opened.add(ticket)
        else:
            opened.discard(ticket)
        at_end[day_of(event)] = Counter(agents[held[one]] for one in opened if held.get(one) in agents)
    return [(day, agent, count) for day, counted in at_end.items() for agent, count in counted.items()]


def calls(known: Knowledge) -> Rows:
    inbound = [row for row in known.rows("voice_calls") if row["direction"] == "inbound"]
    answered = Counter(hour_of(row) for row in inbound if row["termination_status"] == "answered")
    missed = Counter(
        hour_of(row) for row in inbound if row["termination_status"] in ("missed", "abandoned", "cancelled")
    )
    return [(hour, answered[hour], missed[hour]) for hour in {hour_of(row) for row in inbound}]


ANSWERS: dict[str, Callable[[Knowledge], Rows]] = {
    "First response by agent this week": first_responses,
    "Tickets by tag": tickets_by_tag,
    "Tags over time": tags_over_time,
    "Open tickets at the end of each day": backlog,
    "Reopened tickets": reopened,
    "Why customers write, by level": reasons,
    "Satisfaction by agent, with comments": satisfaction,
    "Messages by channel and hour": messages_by_hour,
    "The use of macros": macros,
    "Rules that fire most": rules,
    "Replies by people, by rules, and by bots": authors,
    "Who had a ticket before": who_had_it,
    "Merged and deleted last week": merged_and_deleted,
    "Tickets in each agent's hands at the end of each day": hands,
    "Calls answered and missed, by hour": calls,
}
