"""A living shop: customers write e-mails, agents answer, close, tidy up and make mistakes, over simulated time."""

import itertools
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.life import Life

AGENTS = 6
MAILBOX = {"name": "Shop support", "address": "support@shop.example"}
NOTE_SOURCE = {"type": "internal-note"}
MAILBOX_ID, REASON_FIELD, TIER_FIELD = 120_044, 300_201, 300_101
TRAFFIC = 7 * [0.3] + 15 * [1.5] + 2 * [0.6]
"""How busy each hour of the day is (UTC); about one on average."""

RETURNING, SPAM, NOTE, BOUNCED, OPENED, ANSWERED, SURVEYED, SCORED = 0.4, 0.02, 0.1, 0.01, 0.5, 0.45, 0.7, 0.35
REOPENED, TRASHED, DELETED, ODD_JOB = 0.05, 0.01, 0.015, 0.08
"""Chances, each at its point in the life of a ticket."""


@dataclass(frozen=True)
class Talk:
    """A ticket as its writers know it."""

    ticket_id: int
    customer_id: int
    agent_id: int
    topic: prose.Topic
    words: dict[str, str]


class Shop(Life):
    """A small shop that gives the account agents, teams and tags; everything else comes with `live`."""

    def __init__(self, account: Account, seed: int = 1, tickets_per_day: float = 40) -> None:
        super().__init__(account, seed)
        self.tickets_per_day = tickets_per_day
        self._customers: list[int] = []
        self._recent: deque[Talk] = deque(maxlen=200)
        self._agents = [self._hired() for _ in range(AGENTS)]
        self._teams = {
            team: account.create("teams", name=team)["id"] for team in sorted({t.team for t in prose.TOPICS})
        }
        self._tags = {
            topic.tag: account.create("tags", name=topic.tag, decoration={"color": f"#{color:06x}"})["id"]
            for topic, color in zip(prose.TOPICS, itertools.count(0x0079FF, 0x17A3C1))
        }
        self.after(self._until_next_ticket(), self._customer_writes_in)

    def _until_next_ticket(self) -> timedelta:
        busy = TRAFFIC[self.account.now.hour] * (0.6 if self.account.now.weekday() > 4 else 1.15)
        return timedelta(days=self.random.expovariate(self.tickets_per_day * busy))

    def _hired(self) -> int:
        return int(self.account.create("users", **prose.person(self.random, "shop.example"), bio="Support agent")["id"])

    def _customer(self) -> int:
        if self._customers and self.chance(RETURNING):
            return self.random.choice(self._customers)
        customer = self.account.create(
            "customers", **prose.person(self.random, "example.com"), meta={"name_set_via": "email"}
        )
        self._customers.append(customer["id"])
        return int(customer["id"])

    def _customer_writes_in(self) -> None:
        self.after(self._until_next_ticket(), self._customer_writes_in)
        if self._recent and self.chance(ODD_JOB):
            self.random.choice(ODD_JOBS)(self, self.random.choice(self._recent))
        talk = self._new_talk(self._customer())
        self._from_customer(talk, self.random.choice(talk.topic.openings), prose.DETAILS)
        if self.chance(SPAM):
            self.after(self.around(minutes=2), self._change, talk, {"spam": True, "status": "closed"})
        else:
            self._recent.append(talk)
            self.after(self.around(minutes=40), self._agent_picks_up, talk)

    def _new_talk(self, customer_id: int, **fields: Any) -> Talk:
        topic, words = self.random.choice(prose.TOPICS), prose.particulars(self.random)
        subject = self.random.choice(topic.subjects).format_map(words)
        shown = {"customer": {"id": customer_id}, "integrations": [{**MAILBOX, "type": "email"}]}
        ticket = self.account.create("tickets", subject=subject, **shown, **fields)
        return Talk(ticket["id"], customer_id, self.random.choice(self._agents), topic, words)

    def _agent_picks_up(self, talk: Talk) -> None:
        team, tag = self._teams[talk.topic.team], self._tags[talk.topic.tag]
        agent = {"assignee_user": {"id": talk.agent_id}, "assignee_team": {"id": team}, "tags": [{"id": tag}]}
        self._change(talk, {**agent, "opened_datetime": self.account.now, "is_unread": False})
        reason = {str(REASON_FIELD): {"id": REASON_FIELD, "value": talk.topic.reason}}
        self.after(self.around(minutes=3), self._change, talk, {"custom_fields": reason})
        self.after(self.around(minutes=15), self._agent_answers, talk)

    def _agent_answers(self, talk: Talk) -> None:
        if self.chance(NOTE):
            self._from_agent(
                talk, self.random.choice(prose.NOTES), public=False, channel="internal-note", source=NOTE_SOURCE
            )
        text = prose.letter(
            self.random, self.random.choice(talk.topic.replies), prose.ASSURANCES, "Hello,", "Kind regards"
        )
        answer = self._from_agent(talk, text, integration_id=MAILBOX_ID, source={"type": "email", "from": MAILBOX})
        sent = {"sent_datetime": self.account.now + timedelta(milliseconds=400)}
        bounced = {"failed_datetime": self.account.now, "last_sending_error": {"error": "Mailbox unavailable"}}
        if self.chance(BOUNCED):
            self.after(self.around(seconds=9), self._edit, answer, bounced)
        else:
            self.after(self.around(minutes=8), self._edit, answer, sent)
            if self.chance(OPENED):
                self.after(self.around(hours=9), self._customer_opens, answer)
        if self.chance(ANSWERED):
            self.after(self.around(hours=5), self._customer_answers, talk)
        else:
            self.after(self.around(hours=3), self._agent_closes, talk)

    def _customer_opens(self, message_id: int) -> None:
        self._edit(message_id, {"opened_datetime": self.account.now})

    def _customer_answers(self, talk: Talk) -> None:
        self._from_customer(talk, self.random.choice(prose.FOLLOW_UPS), prose.DETAILS[:2])
        self._change(talk, {"status": "open"})
        self.after(self.around(hours=2), self._agent_answers, talk)

    def _agent_closes(self, talk: Talk) -> None:
        self._change(talk, {"status": "closed"})
        if self.chance(SURVEYED) and not self.account.where("satisfaction_surveys", "ticket_id", talk.ticket_id):
            due = self.account.now.replace(microsecond=0) + timedelta(hours=4)
            about = {"ticket_id": talk.ticket_id, "customer_id": talk.customer_id}
            survey = self.account.create("satisfaction_surveys", **about, should_send_datetime=due)
            self.after(timedelta(hours=4) + self.around(seconds=20), self._survey_is_sent, survey["id"])
        if self.chance(REOPENED):
            self.after(self.around(days=3), self._customer_answers, talk)
        elif self.chance(TRASHED):
            self.after(self.around(days=1), self._agent_trashes, talk)
        elif self.chance(DELETED):
            self.after(self.around(days=4), self._agent_deletes, talk)

    def _agent_trashes(self, talk: Talk) -> None:
        self._change(talk, {"trashed_datetime": self.account.now})

    def _agent_deletes(self, talk: Talk) -> None:
        if self.account.has("tickets", talk.ticket_id):
            self.account.delete("tickets", talk.ticket_id)

    def _survey_is_sent(self, survey_id: int) -> None:
        self.account.update("satisfaction_surveys", survey_id, sent_datetime=self.account.now)
        if self.chance(SCORED):
            self.after(self.around(days=3), self._customer_scores, survey_id)

    def _customer_scores(self, survey_id: int) -> None:
        score = self.random.choices(tuple(prose.COMMENTS), (1, 1, 2, 5, 11))[0]
        said = {
            "score": score,
            "scored_datetime": self.account.now,
            "body_text": self.random.choice([prose.COMMENTS[score], None]),
        }
        self.account.update("satisfaction_surveys", survey_id, **said)

    def _customer_is_renamed(self, talk: Talk) -> None:
        if customer := self.account.row("customers", talk.customer_id):
            lastname = self.random.choice(prose.LAST_NAMES)
            named = {"lastname": lastname, "name": f"{customer['firstname']} {lastname}"}
            self.account.update("customers", talk.customer_id, **named)

    def _customer_gets_a_tier(self, talk: Talk) -> None:
        if self.account.has("customers", talk.customer_id):
            tier = {str(TIER_FIELD): {"id": TIER_FIELD, "value": "VIP"}}
            self.account.update("customers", talk.customer_id, custom_fields=tier)

    def _customers_are_merged(self, talk: Talk) -> None:
        survivor = self.random.choice(self._customers)
        if talk.customer_id in self._customers and survivor != talk.customer_id:
            self._customers.remove(talk.customer_id)
            self.account.merge("customers", talk.customer_id, survivor)

    def _tickets_are_merged(self, talk: Talk) -> None:
        other = self._recent[-1]
        if other != talk and all(self.account.has("tickets", one.ticket_id) for one in (talk, other)):
            self.account.merge("tickets", talk.ticket_id, other.ticket_id)

    def _message_is_rewritten(self, talk: Talk) -> None:
        for message in self.account.where("messages", "ticket_id", talk.ticket_id)[-1:]:
            self._edit(message["id"], prose.body(message["body_text"] + "\n\n(Order number removed.)"))

    def _message_is_deleted(self, talk: Talk) -> None:
        for message in self.account.where("messages", "ticket_id", talk.ticket_id)[1:2]:
            self.account.delete("messages", message["id"])

    def _old_ticket_is_imported(self, _: Talk) -> None:
        long_ago = self.account.now - self.around(days=200)
        old = self._new_talk(self._customer(), created_datetime=long_ago, closed_datetime=long_ago, status="closed")
        text = self.random.choice(old.topic.openings).format_map(old.words)
        about = {"ticket_id": old.ticket_id, "sender": {"id": old.customer_id}, **prose.body(text)}
        self.account.create("messages", **about, created_datetime=long_ago, sent_datetime=long_ago, imported=True)

    def _change(self, talk: Talk, fields: dict[str, Any]) -> None:
        """Update the ticket unless it is gone."""
        if self.account.has("tickets", talk.ticket_id):
            self.account.update("tickets", talk.ticket_id, **fields)

    def _edit(self, message_id: int, fields: dict[str, Any]) -> None:
        """Update the message unless it is gone."""
        if self.account.has("messages", message_id):
            self.account.update("messages", message_id, **fields)

    def _from_customer(self, talk: Talk, opening: str, more: tuple[str, ...]) -> None:
        ticket = self.account.row("tickets", talk.ticket_id)
        if ticket is None or ticket["customer"] is None:
            return
        customer = ticket["customer"]
        text = prose.letter(self.random, opening, more, "Hello,", customer["firstname"])
        source = {"type": "email", "to": [MAILBOX], "from": {"name": customer["name"], "address": customer["email"]}}
        sent = self.account.now.replace(microsecond=0) - timedelta(seconds=2)
        message = self._write(
            talk, ticket, text, sender=customer, source=source, sent_datetime=sent, integration_id=MAILBOX_ID
        )
        intents = [{"name": talk.topic.reason.lower().replace("::", "/"), "rejected": None, "is_user_feedback": False}]
        self.after(self.around(seconds=4), self._edit, message, {"intents": intents})

    def _from_agent(self, talk: Talk, text: str, **fields: Any) -> int:
        """Write it, and return the message's id; 0 if there is no ticket any more."""
        ticket = self.account.row("tickets", talk.ticket_id)
        if ticket is None:
            return 0
        receiver = ticket["customer"] if fields.get("public", True) else None
        wrote = {"sender": {"id": talk.agent_id}, "receiver": receiver, "from_agent": True, "via": "helpdesk"}
        return self._write(talk, ticket, text, **wrote, **fields)

    def _write(self, talk: Talk, ticket: dict[str, Any], text: str, **fields: Any) -> int:
        about = {"ticket_id": talk.ticket_id, "subject": ticket["subject"], "processed_datetime": self.account.now}
        return int(self.account.create("messages", **about, **prose.body(text.format_map(talk.words)), **fields)["id"])


ODD_JOBS = (
    Shop._customer_is_renamed,
    Shop._customer_gets_a_tier,
    Shop._customers_are_merged,
    Shop._tickets_are_merged,
    Shop._message_is_rewritten,
    Shop._message_is_deleted,
    Shop._old_ticket_is_imported,
)
