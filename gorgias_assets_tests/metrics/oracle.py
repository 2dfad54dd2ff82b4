"""The metrics of a ticket in plain Python, by the history that a simulated account knows event by event."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.rows import Row
from gorgias_assets.sweeps.rows import parse_datetime
from gorgias_assets.windows import Window


@dataclass(frozen=True)
class Oracle:
    """Knows an account as far as it was read: all that was created in the window, in its newest state."""

    account: Account
    read: Window
    holidays: Sequence[str] = ()
    field: str = ""

    def metrics(self) -> dict[int, dict[str, Any]]:
        """Return the metrics of each ticket that is there, by its id."""
        return {ticket["id"]: self._of(ticket) for ticket in self.account.rows("tickets")}

    def _of(self, ticket: Row) -> dict[str, Any]:
        messages = self._messages(ticket)
        asked, answer = self._question(ticket, messages), self._answer(ticket, messages)
        closed = at(ticket, "closed_datetime") if ticket["status"] == "closed" else None
        return {
            **{name: ticket[name] for name in ("channel", "language", "status", "from_agent", "spam")},
            "created_datetime": at(ticket, "created_datetime"),
            "trashed_datetime": at(ticket, "trashed_datetime"),
            "assignee_user_id": (ticket["assignee_user"] or {}).get("id"),
            "assignee_user_name": (ticket["assignee_user"] or {}).get("name"),
            "assignee_team_id": (ticket["assignee_team"] or {}).get("id"),
            "assignee_team_name": (ticket["assignee_team"] or {}).get("name"),
            **self._integration(messages),
            **self._talk(ticket, messages),
            "first_response_datetime": answer and at(answer),
            "first_response_agent_id": answer and answer["sender"]["id"],
            "first_response_agent_name": answer and answer["sender"]["name"],
            **self._lasted("first_response", asked, answer and at(answer)),
            "closed_datetime": closed,
            **self._lasted("resolution", asked, closed),
            **self._events(ticket, asked, closed),
            **self._survey(ticket),
            **({"field_" + self.field.lower().replace(" ", "_"): self._value(ticket)} if self.field else {}),
        }

    def _messages(self, ticket: Row) -> list[Row]:
        found = (row for row in self.account.where("messages", "ticket_id", ticket["id"]) if at(row) >= self.read.start)
        return sorted(found, key=lambda row: (at(row), row["id"]))

    def _begins(self, ticket: Row, messages: Sequence[Row]) -> bool:
        return bool(messages) and at(messages[0]) - at(ticket) <= timedelta(hours=1)

    def _question(self, ticket: Row, messages: Sequence[Row]) -> datetime | None:
        asked = (at(row) for row in messages if row["public"] and not row["from_agent"])
        return next(asked, None) if self._begins(ticket, messages) else None

    def _is_reply(self, row: Row) -> bool:
        """Return if a message counts as written by an agent of the helpdesk, and reached the customer."""
        return is_sent(row) and row["via"] == "helpdesk" and row["rule_id"] is None

    def _answer(self, ticket: Row, messages: Sequence[Row]) -> Row | None:
        """Return the first response, if it has one that follows the customer's first message."""
        asked, first = self._question(ticket, messages), next(filter(self._is_reply, messages), None)
        return first if first and asked and at(first) > asked and not ticket["from_agent"] else None

    def _talk(self, ticket: Row, messages: Sequence[Row]) -> dict[str, Any]:
        if not self._begins(ticket, messages):
            return dict.fromkeys(OF_MESSAGES) | {"has_beginning": False}
        bots = {row["id"] for row in self.account.rows("users") if row["role"]["name"] == "bot"}
        customers = [row for row in messages if row["public"] and not row["from_agent"]]
        agents = [row for row in messages if row["public"] and row["from_agent"]]
        by_rule = [row for row in messages if is_sent(row) and row["rule_id"] is not None]
        by_bot = [
            row for row in messages if is_sent(row) and row["rule_id"] is None and (row["sender"] or {})["id"] in bots
        ]
        by_person = [row for row in messages if self._is_reply(row) and row not in by_bot]
        return {
            "has_beginning": True,
            "customer_first_message_datetime": first_of(customers),
            "customer_last_message_datetime": last_of(customers),
            "agent_first_message_datetime": first_of(agents),
            "agent_last_message_datetime": last_of(agents),
            "messages": len(customers) + len(agents),
            "customer_messages": len(customers),
            "internal_notes": len(messages) - len(customers) - len(agents),
            "agent_replies": len(by_person),
            "rule_replies": len(by_rule),
            "bot_replies": len(by_bot),
            "is_one_touch": len(by_person) == 1 if ticket["status"] == "closed" else None,
            "is_handover": any(at(row) > at(by_bot[0]) for row in by_person) if by_bot else False,
        }

    def _integration(self, messages: Sequence[Row]) -> dict[str, Any]:
        integrations = {row["id"]: row for row in self.account.rows("integrations")}
        found = next((row["integration_id"] for row in messages if row["public"] and row["integration_id"]), None)
        shown = integrations.get(found, {})
        store = (shown.get("meta") or {}).get("shop_name")
        return {"integration_id": found, "integration_name": shown.get("name"), "store_name": store}

    def _events(self, ticket: Row, asked: datetime | None, closed: datetime | None) -> dict[str, Any]:
        """Replay the ticket's events, if all of them are known."""
        if at(ticket) not in self.read or at(ticket, "updated_datetime") not in self.read:
            return dict.fromkeys(OF_EVENTS) | {"has_events": False}
        held, closings, reopens = list[tuple[datetime, int]](), list[datetime](), 0
        tags, early, late = list[int](), list[int](), None
        for event in self._happened[ticket["id"]]:
            moment, kind, data = at(event), event["type"], event["data"] or {}
            if kind == "ticket-assigned":
                held.append((moment, data["assignee_user_id"]))
            elif kind == "ticket-reopened":
                reopens += 1
            elif kind == "ticket-tags-added":
                tags += data["tags_added"]
            elif kind == "ticket-tags-removed":
                tags = [tag for tag in tags if tag not in data["tags_removed"]]
            elif kind == "ticket-closed":
                closings.append(moment)
            if moment <= at(ticket) + timedelta(minutes=1):
                early = list(tags)
            if closings and moment == closings[-1]:
                late = list(tags)
        first = closings[0] if closings else closed
        return {
            "has_events": True,
            "first_closed_datetime": first,
            **self._lasted("first_resolution", asked, first),
            "reopens": reopens,
            "assignments": len(held),
            "first_assigned_datetime": held[0][0] if held else None,
            "first_assignee_user_id": held[0][1] if held else None,
            "last_assignee_user_id": held[-1][1] if held else None,
            "tags_at_creation": self._names(early),
            "tags_at_close": None if late is None else self._names(late),
        }

    @cached_property
    def _happened(self) -> dict[int, list[Row]]:
        """The events of each ticket in their order."""
        events = defaultdict[int, list[Row]](list)
        for row in self.account.rows("events"):
            if row["object_type"] == "Ticket":
                events[row["object_id"]].append(row)
        return events

    def _names(self, tags: Iterable[int]) -> str:
        names = {row["id"]: row["name"] for row in self.account.rows("tags")}
        return ", ".join(sorted(names.get(tag, str(tag)) for tag in set(tags)))

    def _survey(self, ticket: Row) -> dict[str, Any]:
        surveys = [row for row in self.account.rows("satisfaction_surveys") if row["ticket_id"] == ticket["id"]]
        ranked = sorted(surveys, key=lambda row: (row["scored_datetime"] or "", row["id"]))
        survey = ranked[-1] if ranked else {}
        return {
            "satisfaction_sent_datetime": at(survey, "sent_datetime"),
            "satisfaction_scored_datetime": at(survey, "scored_datetime"),
            "satisfaction_score": survey.get("score"),
        }

    def _value(self, ticket: Row) -> str | None:
        fields = {row["id"] for row in self.account.rows("custom_fields") if row["label"] == self.field}
        found = [entry["value"] for entry in ticket["custom_fields"].values() if entry["id"] in fields]
        return found[0] if found else None

    def _lasted(self, what: str, begin: datetime | None, end: datetime | None) -> dict[str, float | None]:
        names = (f"{what}_seconds", f"{what}_business_seconds")
        if begin is None or end is None or end <= begin:
            return dict.fromkeys(names)
        return dict(zip(names, ((end - begin).total_seconds(), self._open_seconds(begin, end)), strict=True))

    def _open_seconds(self, begin: datetime, end: datetime) -> float:
        """Add up the opening hours of each day, by the clock on the wall."""
        (setting,) = [row["data"] for row in self.account.rows("account_settings") if row["type"] == "business-hours"]
        zone, total, day = ZoneInfo(setting["timezone"]), 0.0, begin.date() - timedelta(days=1)
        while day <= end.date() + timedelta(days=1):
            for hours in setting["business_hours"]:
                if str(day.isoweekday()) in hours["days"].split(",") and str(day) not in self.holidays:
                    opens, shuts = (
                        datetime.fromisoformat(f"{day}T{hours[clock]}").replace(tzinfo=zone)
                        for clock in ("from_time", "to_time")
                    )
                    total += max(0.0, (min(end, shuts) - max(begin, opens)).total_seconds())
            day += timedelta(days=1)
        return total


OF_MESSAGES = (
    "customer_first_message_datetime",
    "customer_last_message_datetime",
    "agent_first_message_datetime",
    "agent_last_message_datetime",
    "messages",
    "customer_messages",
    "internal_notes",
    "agent_replies",
    "rule_replies",
    "bot_replies",
    "is_one_touch",
    "is_handover",
)
OF_EVENTS = (
    "first_closed_datetime",
    "first_resolution_seconds",
    "first_resolution_business_seconds",
    "reopens",
    "assignments",
    "first_assigned_datetime",
    "first_assignee_user_id",
    "last_assignee_user_id",
    "tags_at_creation",
    "tags_at_close",
)


def at(row: Row, name: str = "created_datetime") -> Any:
    return parse_datetime(row[name]) if row.get(name) else None


def is_sent(row: Row) -> bool:
    """Return if a message from the shop reached the customer, and was not imported."""
    failed = row["failed_datetime"] and not row["sent_datetime"]
    return bool(row["public"] and row["from_agent"] and not row["imported"] and not failed)


def _bound(pick: Callable[[Any], Any]) -> Callable[[Sequence[Row]], datetime | None]:
    return lambda rows: pick(map(at, rows)) if rows else None


first_of, last_of = _bound(min), _bound(max)
