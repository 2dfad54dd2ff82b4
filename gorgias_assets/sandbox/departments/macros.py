"""Answers prepared once and used often: macros, by topic, which are edited and archived."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.life import Life

INTENTS = {
    "late-parcel": "shipping/status",
    "refund": "refund/status",
    "wrong-size": "exchange/request",
    "damaged": "order/damaged",
    "order-change": "order/change",
    "question": "product/question",
}
EDITED_EVERY = timedelta(days=4)


@dataclass(eq=False)
class Macro:
    """One prepared answer, and the tag that it puts on the ticket, if any."""

    id: int
    name: str
    text: str
    tag: str


class Macros:
    """Macros in use, by the tag of their topic."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._of_topic = {topic.tag: [*self._prepared(topic)] for topic in prose.TOPICS}
        life.after(life.around(days=2), self._are_edited)

    def use(self, topic: prose.Topic) -> Macro:
        """Return one for an answer."""
        return self.life.random.choice(self._of_topic[topic.tag])

    def _prepared(self, topic: prose.Topic) -> list[Macro]:
        return [
            self._created(f"{topic.reason.replace('::', ': ')} {number}", text, topic, topic.tag if number == 1 else "")
            for number, text in enumerate(topic.replies, 1)
        ]

    def _created(self, name: str, text: str, topic: prose.Topic, tag: str) -> Macro:
        about = {"intent": INTENTS[topic.tag], "language": "en", "actions": actions(text, tag)}
        row = self.life.account.create("macros", name=name, **about)
        return Macro(int(row["id"]), name, text, tag)

    def _are_edited(self) -> None:
        """Have one reworded, or archived for a new one."""
        self.life.after(self.life.around(days=EDITED_EVERY.days), self._are_edited)
        topic = self.life.random.choice(prose.TOPICS)
        prepared = self._of_topic[topic.tag]
        old = prepared[-1]
        text = f"{topic.replies[-1]} {self.life.random.choice(prose.ASSURANCES)}"
        if self.life.chance(0.6):
            prepared[-1] = Macro(old.id, old.name, text, old.tag)
            self.life.account.update("macros", old.id, actions=actions(text, old.tag))
        else:
            prepared[-1] = self._created(f"{old.name}b", text, topic, old.tag)
            self.life.account.update("macros", old.id, archived_datetime=self.life.now)


def actions(text: str, tag: str) -> list[dict[str, Any]]:
    """Return what a macro does, as Gorgias lists it."""
    answer = {"body_text": text, "body_html": prose.html(text)}
    response = {"name": "setResponseText", "title": "Add response text", "type": "user", "arguments": answer}
    tags = {"name": "addTags", "title": "add tags", "type": "user", "arguments": {"tags": tag}}
    return [response, tags] if tag else [response]
