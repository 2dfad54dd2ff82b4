"""The desk of a brand: customers write on every channel; a rule, the AI Agent or somebody of the team answers.

A conversation is routed by rules, perhaps answered by the AI Agent, picked up by a person, handed to another one or put
to sleep, answered, closed, and now and then opened again.
"""

from collections import deque
from datetime import timedelta

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments import custom_fields
from gorgias_assets.sandbox.departments.channels import CHANNELS, Channel
from gorgias_assets.sandbox.departments.macros import Macros
from gorgias_assets.sandbox.departments.people import Customer, Customers
from gorgias_assets.sandbox.departments.rhythm import next_arrival
from gorgias_assets.sandbox.departments.robot import Robot
from gorgias_assets.sandbox.departments.rules import CREATED, SCORED, WRITTEN, Rules
from gorgias_assets.sandbox.departments.staff import ESCALATIONS, Agent, Staff
from gorgias_assets.sandbox.departments.tickets import Conversation, Tickets
from gorgias_assets.sandbox.life import Life

SPAM, TWICE, MOVED, SNOOZED, NOTED, PREPARED, TAGGED = 0.03, 0.04, 0.12, 0.05, 0.12, 0.55, 0.15
ANSWERED_BACK, SURVEYED, SCORED_BACK, COMMENTED, REOPENED, TRASHED = 0.4, 0.7, 0.35, 0.6, 0.07, 0.01
"""Chances, each at its point in the life of a conversation."""

SURVEYED_AFTER, WAITING = timedelta(hours=4), "waiting-for-warehouse"


class Desk:
    """Where conversations come in. `recent` are the newest of them."""

    def __init__(
        self, life: Life, staff: Staff, customers: Customers, tickets: Tickets, macros: Macros, rules: Rules
    ) -> None:
        self.life, self.staff, self.customers = life, staff, customers
        self.tickets, self.macros, self.rules = tickets, macros, rules
        self.robot = Robot(life, tickets, self.hand_to_team, self.close)
        self.recent: deque[Conversation] = deque(maxlen=300)
        self.spam: deque[Conversation] = deque(maxlen=100)

    def open(self, tickets_per_day: float) -> None:
        """Have customers write from now on."""
        self.tickets_per_day = tickets_per_day
        self._wait_for_the_next()

    def _wait_for_the_next(self) -> None:
        self.life.at(next_arrival(self.life.random, self.life.now, self.tickets_per_day), self._somebody_writes)

    def _somebody_writes(self) -> None:
        self._wait_for_the_next()
        (channel,) = self.life.random.choices(CHANNELS, [channel.share for channel in CHANNELS])
        customer = self.customers.somebody(channel.known_by)
        topic = self.life.random.choice(prose.TOPICS)
        talk = self._begins(customer, channel, topic)
        if self.life.chance(TWICE) and not talk.is_spam:
            self.life.after(self.life.around(minutes=25), self._writes_twice, talk)

    def _begins(self, customer: Customer, channel: Channel, topic: prose.Topic) -> Conversation:
        talk = self.tickets.opened(customer, channel, topic)
        talk.is_spam = channel.is_letter and self.life.chance(SPAM)
        self.tickets.customer_writes(talk, self._opening(talk), prose.DETAILS)
        (self.spam if talk.is_spam else self.recent).append(talk)
        self.life.after(self._a_moment(), self._is_sorted, talk)
        return talk

    def _a_moment(self) -> timedelta:
        """Return how long Gorgias takes to run the rules."""
        return timedelta(seconds=self.life.random.uniform(0.3, 2))

    def _is_sorted(self, talk: Conversation) -> None:
        """Have the rules sort it, and somebody answer unless it is spam."""
        self.rules.fire(CREATED, talk)
        if not talk.is_spam:
            seen = {custom_fields.AI_INTENT: talk.topic.reason}
            self.life.after(self.life.around(seconds=25), self.tickets.fill, talk, seen)
            if not self.robot.takes(talk):
                self.hand_to_team(talk)

    def _opening(self, talk: Conversation) -> str:
        if talk.is_spam:
            return self.life.random.choice(prose.PROMOTIONS)
        if talk.customer.language in prose.ABROAD:
            return prose.ABROAD[talk.customer.language][talk.topic.tag]
        opening = self.life.random.choice(talk.topic.openings)
        return opening if talk.channel.is_letter else f"{self.life.random.choice(prose.SHORTLY)} {opening}"

    def _writes_twice(self, first: Conversation) -> None:
        """Have the customer ask the same elsewhere, and somebody find out."""
        channels = [channel for channel in CHANNELS if channel.known_by == first.channel.known_by]
        second = self.tickets.opened(first.customer, self.life.random.choice(channels), first.topic)
        self.tickets.customer_writes(second, self._opening(second))
        self.life.after(self._a_moment(), self.rules.fire, CREATED, second)
        self.life.at(self.staff.in_hours(self.life.around(hours=1)), self._are_merged, second, first)

    def _are_merged(self, source: Conversation, into: Conversation) -> None:
        if self.tickets.is_there(source) and self.tickets.is_there(into):
            with self.life.account.acting(self.staff.somebody(into.team).id):
                self.life.account.merge("tickets", source.ticket_id, into.ticket_id)

    def hand_to_team(self, talk: Conversation) -> None:
        """Leave a conversation to a person, who comes to it in working hours."""
        if not talk.team:
            self.tickets.assign(talk, None, talk.topic.team)
        self.life.at(self.staff.in_hours(self.life.around(**talk.on(minutes=50))), self._is_picked_up, talk)

    def _agent_of(self, talk: Conversation) -> Agent:
        """Return who has it. If nobody does, or they are gone, one of the team takes it."""
        agent = talk.agent
        if agent is None or not self.staff.is_here(agent):
            agent = self.staff.somebody(talk.team or talk.topic.team)
            self.tickets.assign(talk, agent.id, talk.team or agent.team, agent)
        return agent

    def _is_picked_up(self, talk: Conversation) -> None:
        if talk.is_closed:
            return
        agent = self._agent_of(talk)
        self.tickets.tag(talk, agent.id, talk.topic.tag, opened_datetime=self.life.now, is_unread=False)
        reason = {custom_fields.REASON: custom_fields.reason_of(talk.topic, talk.words)}
        self.life.after(self.life.around(**talk.on(minutes=3)), self.tickets.fill, talk, reason)
        if self.life.chance(MOVED):
            self.life.after(self.life.around(**talk.on(minutes=20)), self._is_moved, talk)
        elif self.life.chance(SNOOZED) and talk.channel.is_letter:
            self._is_put_to_sleep(talk)
        else:
            self._soon(talk)

    def _soon(self, talk: Conversation) -> None:
        delay = self._agent_of(talk).pace * self.life.around(**talk.on(minutes=12))
        self.life.at(self.staff.in_hours(delay), self._is_answered, talk)

    def _is_moved(self, talk: Conversation) -> None:
        """Give the conversation to a colleague, of another team as often as not, with a note."""
        agent = self._agent_of(talk)
        if self.life.chance(0.5):
            talk.team = self.life.random.choice([*self.staff.teams])
            self.tickets.untag(talk, agent.id, talk.topic.tag)
        self.tickets.note(talk, agent.id, self.life.random.choice(prose.REASONS_TO_MOVE))
        self.tickets.sum_up(talk, agent.id)
        self.tickets.assign(talk, agent.id, talk.team, self.staff.somebody(talk.team, other_than=agent))
        self._soon(talk)

    def _is_put_to_sleep(self, talk: Conversation) -> None:
        agent = self._agent_of(talk)
        morning = self.staff.next_opening(self.life.now + timedelta(days=1))
        self.tickets.tag(talk, agent.id, WAITING, snooze_datetime=morning)
        self.life.at(morning, self._wakes_up, talk)

    def _wakes_up(self, talk: Conversation) -> None:
        if self.tickets.is_there(talk):
            self.tickets.change(talk, None, snooze_datetime=None)
            self.life.account.tell("tickets", talk.ticket_id, "self-unsnoozed")
            self.tickets.untag(talk, self._agent_of(talk).id, WAITING)
            self._soon(talk)

    def _is_answered(self, talk: Conversation) -> None:
        agent = self._agent_of(talk)
        if self.life.chance(NOTED):
            self.tickets.note(talk, agent.id, self.life.random.choice(prose.NOTES))
        if self.life.chance(PREPARED):
            macro = self.macros.use(talk.topic)
            self.tickets.brand_writes(talk, macro.text, agent.id, prose.ASSURANCES[:2], macros=[{"id": macro.id}])
            if macro.tag:
                self.tickets.tag(talk, agent.id, macro.tag)
        else:
            text = self.life.random.choice(talk.topic.replies)
            self.tickets.brand_writes(talk, text, agent.id, prose.ASSURANCES)
        if self.life.chance(TAGGED):
            self.tickets.tag(talk, agent.id, self.tickets.tags.by_hand())
        if self.life.chance(ANSWERED_BACK):
            self.life.after(self.life.around(**talk.on(hours=4)), self._answers_back, talk)
        else:
            self.life.at(self.staff.in_hours(self.life.around(**talk.on(hours=2))), self._is_done, talk)

    def _answers_back(self, talk: Conversation) -> None:
        """Have the customer write again, which opens a closed conversation."""
        if talk.is_closed:
            self.tickets.reopen(talk, None)
        text = self.life.random.choice(prose.THANKS if self.life.chance(0.3) else prose.FOLLOW_UPS)
        self.tickets.customer_writes(talk, text, prose.DETAILS[:2])
        self.rules.fire(WRITTEN, talk)
        if text in prose.THANKS:
            self.life.at(self.staff.in_hours(self.life.around(**talk.on(hours=1))), self._is_done, talk)
        else:
            self.life.at(self.staff.in_hours(self.life.around(**talk.on(hours=2))), self._is_answered, talk)

    def _is_done(self, talk: Conversation) -> None:
        self.close(talk, self._agent_of(talk).id)

    def close(self, talk: Conversation, by: int) -> None:
        """Close a conversation, with what became of it; a survey follows, or the customer comes back."""
        if not self.tickets.is_there(talk):
            return
        self.tickets.fill(talk, self._outcome(talk))
        self.tickets.close(talk, by)
        if not talk.is_surveyed and self.life.chance(SURVEYED):
            self._is_surveyed(talk)
        else:
            reasons = {"reasons": ["Another survey was sent to this customer not long ago."]}
            self.life.account.tell("tickets", talk.ticket_id, "satisfaction-survey-skipped", reasons, by)
        if self.life.chance(REOPENED):
            self.life.after(self.life.around(days=2), self._answers_back, talk)
        elif self.life.chance(TRASHED):
            self.life.after(self.life.around(days=1), self._is_trashed, talk)

    def _outcome(self, talk: Conversation) -> dict[str, object]:
        said: dict[str, object] = {custom_fields.REASON: custom_fields.reason_of(talk.topic, talk.words)}
        said[custom_fields.PRODUCT] = custom_fields.product_of(talk.words)
        said[custom_fields.RESOLUTION] = self.life.random.choice(custom_fields.RESOLUTIONS)
        said[custom_fields.ESCALATED] = talk.team == ESCALATIONS
        if talk.topic.team in ("Returns", "Quality"):
            said[custom_fields.REFUND] = self.life.random.randint(900, 18_000) / 100
        if self.life.chance(0.7):
            said[custom_fields.ORDER] = talk.words["order"] if self.life.chance(0.9) else None
        return said

    def _is_surveyed(self, talk: Conversation) -> None:
        talk.is_surveyed = True
        due = self.life.now.replace(microsecond=0) + SURVEYED_AFTER
        about = {"ticket_id": talk.ticket_id, "customer_id": talk.customer.id}
        survey = self.life.account.create("satisfaction_surveys", **about, should_send_datetime=due)["id"]
        self.life.after(SURVEYED_AFTER + self.life.around(seconds=20), self._survey_is_sent, talk, survey)

    def _survey_is_sent(self, talk: Conversation, survey: int) -> None:
        self.life.account.update("satisfaction_surveys", survey, sent_datetime=self.life.now)
        if self.life.chance(SCORED_BACK):
            self.life.after(self.life.around(days=1), self._survey_is_scored, talk, survey)

    def _survey_is_scored(self, talk: Conversation, survey: int) -> None:
        """Have it answered: kindly, unless there was trouble."""
        weights = (4, 3, 4, 4, 5) if "complaint" in talk.tags or "ai_handover" in talk.tags else (1, 1, 2, 5, 12)
        (talk.score,) = self.life.random.choices(tuple(prose.COMMENTS), weights)
        comment = prose.COMMENTS[talk.score] if self.life.chance(COMMENTED) else None
        said = {"score": talk.score, "scored_datetime": self.life.now, "body_text": comment}
        self.life.account.update("satisfaction_surveys", survey, **said)
        self.rules.fire(SCORED, talk)
        if not talk.is_closed:
            self._soon(talk)

    def _is_trashed(self, talk: Conversation) -> None:
        self.tickets.change(talk, self._agent_of(talk).id, trashed_datetime=self.life.now)
