"""Rules: they fire on a ticket, do something by themselves, and are edited, replaced and switched off."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments.staff import ESCALATIONS
from gorgias_assets.sandbox.departments.tickets import Conversation, Tickets
from gorgias_assets.sandbox.life import Life

CREATED, WRITTEN, SCORED = "ticket-created", "ticket-message-created", "satisfaction-survey-responded"
EDITED_EVERY, FAILED = timedelta(days=5), 0.01
REPLIED_TO = ("email", "contact_form", "help-center")
MISSED = ({"action_name": "addTags", "failure_reason": "The tag does not exist any more."},)


@dataclass(frozen=True)
class Rule:
    """If the condition holds for a ticket at an event, the action follows."""

    name: str
    event: str
    condition: str
    action: str
    holds: Callable[["Rules", Conversation], bool]
    acts: Callable[["Rules", Conversation], None]

    @property
    def code(self) -> str:
        return f"if ({self.condition}) {{ {self.action} }}"


class Rules:
    """The rules of an account, in the order in which they run."""

    def __init__(self, life: Life, tickets: Tickets) -> None:
        self.life, self.tickets = life, tickets
        self.ids: dict[str, int] = {}
        for priority, rule in enumerate(reversed(RULES), 1):
            self.ids[rule.name] = self._made(rule, priority)
        life.after(life.around(days=3), self._are_edited)

    def fire(self, event: str, talk: Conversation) -> None:
        """Have every rule act whose time and condition it is; each leaves an event in the context of what it did."""
        for rule in RULES:
            if rule.event == event and rule.holds(self, talk) and self.tickets.is_there(talk):
                failed = MISSED if self.life.chance(FAILED) else ()
                with self.life.account.executing(self.ids[rule.name], talk.ticket_id, event, failed):
                    if not failed:
                        rule.acts(self, talk)

    def _made(self, rule: Rule, priority: int) -> int:
        about = {"description": f"{rule.name} ({rule.event})", "event_types": rule.event, "priority": priority}
        row = self.life.account.create("rules", name=rule.name, code=rule.code, code_ast=tree(rule.code), **about)
        return int(row["id"])

    def _are_edited(self) -> None:
        """Have one reworded, or replaced by a copy that does the same."""
        self.life.after(self.life.around(days=EDITED_EVERY.days), self._are_edited)
        rule = self.life.random.choice(RULES)
        code = f"// checked on {self.life.now:%Y-%m-%d}\n{rule.code}"
        if self.life.chance(0.6):
            self.life.account.update("rules", self.ids[rule.name], code=code, code_ast=tree(code))
        else:
            self.life.account.update("rules", self.ids[rule.name], deactivated_datetime=self.life.now)
            self.ids[rule.name] = self._made(rule, len(RULES) - RULES.index(rule))

    def _is_promotion(self, talk: Conversation) -> bool:
        return talk.is_spam

    def _marks_spam(self, talk: Conversation) -> None:
        talk.is_closed = True
        self.tickets.tag(talk, None, "promotion", spam=True, status="closed")

    def _is_genuine(self, talk: Conversation) -> bool:
        return not talk.is_spam

    def _routes(self, talk: Conversation) -> None:
        self.tickets.assign(talk, None, talk.topic.team)

    def _is_vip(self, talk: Conversation) -> bool:
        return talk.customer.is_vip and not talk.is_spam

    def _puts_first(self, talk: Conversation) -> None:
        self.tickets.tag(talk, None, "vip", priority="high")
        self.life.account.tell("tickets", talk.ticket_id, "sla-policy-assigned")

    def _is_damage(self, talk: Conversation) -> bool:
        return talk.topic.tag == "damaged" and not talk.is_spam

    def _is_urgent(self, talk: Conversation) -> None:
        self.tickets.tag(talk, None, "damaged", priority="critical" if talk.customer.is_vip else "high")

    def _is_social(self, talk: Conversation) -> bool:
        return talk.channel.via in ("instagram", "facebook")

    def _tags_social(self, talk: Conversation) -> None:
        self.tickets.tag(talk, None, "social", priority="low")

    def _is_at_night(self, talk: Conversation) -> bool:
        is_open = self.tickets.staff.is_open(self.life.now)
        return talk.channel.name in REPLIED_TO and not is_open and not talk.is_spam

    def _replies(self, talk: Conversation) -> None:
        about: dict[str, Any] = {"rule_id": self.ids["Out of hours"], "via": "rule"}
        self.tickets.tag(talk, None, "out-of-hours")
        self.tickets.brand_writes(talk, prose.OUT_OF_HOURS, self.tickets.staff.mailer, **about)

    def _is_insistent(self, talk: Conversation) -> bool:
        return talk.letters == 4 and talk.team != ESCALATIONS

    def _escalates(self, talk: Conversation) -> None:
        self.tickets.tag(talk, None, "complaint", priority="high")
        self.tickets.assign(talk, None, ESCALATIONS)

    def _is_bad(self, talk: Conversation) -> bool:
        return talk.score in (1, 2)

    def _reopens(self, talk: Conversation) -> None:
        self.tickets.tag(talk, None, "bad-survey")
        self.tickets.reopen(talk, None)


def tree(code: str) -> dict[str, Any]:
    """Return a parse tree of some code: larger than the code, as Gorgias's are."""
    words = [
        {"type": "Token", "value": word, "loc": {"start": {"line": 1, "column": at}, "end": {"line": 1, "column": at}}}
        for at, word in enumerate(code.split())
    ]
    return {"type": "Program", "sourceType": "script", "body": words}


RULES = (
    Rule(
        "Close promotions",
        CREATED,
        "containsAny(message.body, ['guaranteed', 'wholesale', 'expire'])",
        "Action('setSpam', {spam: true}); Action('setStatus', {status: 'closed'})",
        Rules._is_promotion,
        Rules._marks_spam,
    ),
    Rule(
        "Route by topic",
        CREATED,
        "isNotEmpty(ticket.intents)",
        "Action('setTeamAssignee', {assignee_team: intent.team})",
        Rules._is_genuine,
        Rules._routes,
    ),
    Rule(
        "VIPs first",
        CREATED,
        "eq(ticket.customer.custom_fields.type, 'VIP')",
        "Action('addTags', {tags: 'vip'}); Action('setPriority', {priority: 'high'})",
        Rules._is_vip,
        Rules._puts_first,
    ),
    Rule(
        "Damaged is urgent",
        CREATED,
        "containsAny(message.intents, ['order/damaged'])",
        "Action('addTags', {tags: 'damaged'}); Action('setPriority', {priority: 'high'})",
        Rules._is_damage,
        Rules._is_urgent,
    ),
    Rule(
        "Tag social media",
        CREATED,
        "containsAny(ticket.channel, ['instagram-comment', 'instagram-direct-message', 'facebook-messenger'])",
        "Action('addTags', {tags: 'social'}); Action('setPriority', {priority: 'low'})",
        Rules._is_social,
        Rules._tags_social,
    ),
    Rule(
        "Out of hours",
        CREATED,
        "not(duringBusinessHours(ticket.created_datetime))",
        "Action('addTags', {tags: 'out-of-hours'}); Action('replyToTicket', {})",
        Rules._is_at_night,
        Rules._replies,
    ),
    Rule(
        "Escalate insistence",
        WRITTEN,
        "gte(ticket.customer_messages_count, 4)",
        "Action('addTags', {tags: 'complaint'}); Action('setTeamAssignee', {assignee_team: 'Escalations'})",
        Rules._is_insistent,
        Rules._escalates,
    ),
    Rule(
        "Reopen after a bad survey",
        SCORED,
        "lte(survey.score, 2)",
        "Action('addTags', {tags: 'bad-survey'}); Action('setStatus', {status: 'open'})",
        Rules._is_bad,
        Rules._reopens,
    ),
)
"""All there are; the first runs first."""
