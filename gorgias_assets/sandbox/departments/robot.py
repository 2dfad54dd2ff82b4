"""The AI Agent: it answers first where it may, closes what it could solve, and hands over what it could not."""

from collections.abc import Callable

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments.tickets import Conversation, Tickets
from gorgias_assets.sandbox.life import Life

CHANNELS = ("email", "chat", "contact_form", "help-center")
TAKEN, SOLVED, IGNORED = 0.5, 0.55, 0.04


class Robot:
    """An agent that is a bot. `hand_over` and `close` are how people go on."""

    def __init__(
        self,
        life: Life,
        tickets: Tickets,
        hand_over: Callable[[Conversation], None],
        close: Callable[[Conversation, int], None],
    ) -> None:
        self.life, self.tickets, self.hand_over, self.close = life, tickets, hand_over, close
        self.id = tickets.staff.robot

    def takes(self, talk: Conversation) -> bool:
        """Take a conversation if it may and wants to."""
        if talk.channel.name not in CHANNELS or talk.customer.is_vip or not self.life.chance(TAKEN):
            return False
        self.tickets.tag(talk, self.id, "ai_processing")
        self.life.after(self.life.around(seconds=40), self._answers, talk)
        return True

    def _answers(self, talk: Conversation) -> None:
        self.tickets.untag(talk, self.id, "ai_processing")
        if self.life.chance(IGNORED):
            self.tickets.tag(talk, self.id, "ai_ignore")
            self.hand_over(talk)
            return
        self._writes(talk, self.life.random.choice(prose.AI_ANSWERS))
        self.tickets.tag(talk, self.id, "ai_answered", talk.topic.tag)
        if self.life.chance(SOLVED):
            self._waits(talk)
        else:
            self.life.after(self.life.around(**talk.on(minutes=40)), self._is_refused, talk)

    def _waits(self, talk: Conversation) -> None:
        """Close it if no question follows; a letter sleeps until then."""
        patience = self.life.around(**talk.on(hours=6))
        if talk.channel.is_letter:
            self.tickets.tag(talk, self.id, "ai_snooze", snooze_datetime=self.life.now + patience)
        self.life.after(patience, self._closes, talk)

    def _is_refused(self, talk: Conversation) -> None:
        self.tickets.customer_writes(talk, self.life.random.choice(prose.INSISTENCE))
        self.life.after(self.life.around(seconds=30), self._hands_over, talk)

    def _hands_over(self, talk: Conversation) -> None:
        self._writes(talk, prose.HANDOVER)
        self.tickets.tag(talk, self.id, "ai_handover")
        self.hand_over(talk)

    def _closes(self, talk: Conversation) -> None:
        self.tickets.tag(talk, self.id, "ai_close")
        self.close(talk, self.id)

    def _writes(self, talk: Conversation, text: str) -> None:
        self.tickets.brand_writes(talk, text, self.id, via="api")
