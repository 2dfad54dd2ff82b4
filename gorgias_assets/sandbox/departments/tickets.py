"""Conversations of a brand with its customers, as tickets and messages, and what can be done to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments import channels
from gorgias_assets.sandbox.departments.channels import Channel, Integrations
from gorgias_assets.sandbox.departments.custom_fields import CustomFields
from gorgias_assets.sandbox.departments.people import Customer
from gorgias_assets.sandbox.departments.staff import Agent, Staff
from gorgias_assets.sandbox.departments.tags import Tags
from gorgias_assets.sandbox.life import Life

COPIED, ATTACHED, CORRECTED, BOUNCED, OPENED = 0.04, 0.08, 0.2, 0.01, 0.5
UPLOADS = "https://uploads.gorgias.io/example"


@dataclass(eq=False)
class Conversation:
    """A ticket as its writers know it."""

    ticket_id: int
    customer: Customer
    channel: Channel
    topic: prose.Topic
    words: dict[str, str]
    subject: str | None
    team: str = ""
    agent: Agent | None = None
    is_spam: bool = False
    is_closed: bool = False
    is_surveyed: bool = False
    score: int = 0
    letters: int = 0
    tags: list[str] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def on(self, **median: float) -> dict[str, float]:
        """Return a duration by e-mail as it is on this channel."""
        return {unit: duration / self.channel.haste for unit, duration in median.items()}


class Tickets:
    """The tickets of an account. Nothing is done to one that is gone, and nobody is told.

    `by` is the user who does it: None for a rule, or Gorgias itself.
    """

    def __init__(
        self, life: Life, staff: Staff, tags: Tags, custom_fields: CustomFields, integrations: Integrations
    ) -> None:
        self.life, self.staff, self.tags, self.custom_fields = life, staff, tags, custom_fields
        self.integrations = integrations

    def opened(self, customer: Customer, channel: Channel, topic: prose.Topic, **about: Any) -> Conversation:
        """Open a ticket; `about` are further fields of it."""
        words = prose.particulars(self.life.random)
        subject = self.life.random.choice(topic.subjects).format_map(words) if channel.is_letter else None
        shown = {"customer": {"id": customer.id}, "integrations": [channels.shown(channel.integration)]}
        way = {"channel": channel.name, "via": channel.via}
        language = None if customer.language == "en" else customer.language  # Gorgias recognises it later
        row = self.life.account.create("tickets", subject=subject, language=language, **shown, **way, **about)
        return Conversation(int(row["id"]), customer, channel, topic, words, subject)

    def is_there(self, talk: Conversation) -> bool:
        return self.life.account.has("tickets", talk.ticket_id)

    def change(self, talk: Conversation, by: int | None, **changes: Any) -> None:
        if self.is_there(talk):
            with self.life.account.acting(by):
                self.life.account.update("tickets", talk.ticket_id, **changes)

    def tag(self, talk: Conversation, by: int | None, *names: str, **changes: Any) -> None:
        """Add tags, and change something else in the same moment if wanted."""
        new = [name for name in names if name not in talk.tags]
        talk.tags += new
        if new or changes:
            self.change(talk, by, tags=self._tags(talk), **changes)

    def untag(self, talk: Conversation, by: int | None, *names: str) -> None:
        talk.tags = [name for name in talk.tags if name not in names]
        self.change(talk, by, tags=self._tags(talk))

    def fill(self, talk: Conversation, said: dict[str, Any]) -> None:
        """Give custom fields values, which moves nothing."""
        talk.said |= said
        self.change(talk, None, custom_fields=self.custom_fields.values(talk.said))

    def assign(self, talk: Conversation, by: int | None, team: str, agent: Agent | None = None) -> None:
        """Give it to a team, or one of the team."""
        talk.team, talk.agent = team, agent
        assigned = {"assignee_team": {"id": self.staff.teams[team]}, "assignee_user": agent and {"id": agent.id}}
        self.change(talk, by, **assigned)

    def close(self, talk: Conversation, by: int | None) -> None:
        talk.is_closed = True
        self.change(talk, by, status="closed", snooze_datetime=None)

    def reopen(self, talk: Conversation, by: int | None) -> None:
        talk.is_closed = False
        self.change(talk, by, status="open")

    def delete(self, talk: Conversation, by: int) -> None:
        if self.is_there(talk):
            with self.life.account.acting(by):
                self.life.account.delete("tickets", talk.ticket_id)

    def customer_writes(self, talk: Conversation, text: str, more: Sequence[str] = ()) -> None:
        """Write from the customer, who opens with a text and may go on. Intents come late."""
        channel = channels.answering(talk.channel) if talk.letters else talk.channel
        talk.letters += 1
        copied = ["partner@example.com"] if channel.is_letter and self.life.chance(COPIED) else []
        message = self._write(
            talk,
            None,
            self._worded(channel, text, more, talk.customer.firstname),
            sender={"id": talk.customer.id},
            channel=channel.name,
            via=channel.via,
            source=channels.from_customer(channel, talk.customer, copied),
            sent_datetime=self.life.now.replace(microsecond=0) - timedelta(seconds=2),
            attachments=[self._attachment(talk)] if channel.is_letter and self.life.chance(ATTACHED) else [],
            integration_id=self.integrations[channel.integration],
        )
        intents = [{"name": talk.topic.reason.lower().replace("::", "/"), "rejected": None, "is_user_feedback": False}]
        if self.life.chance(CORRECTED):
            intents.append({"name": "other/thanks", "rejected": True, "is_user_feedback": True})
        self.life.after(self.life.around(seconds=8), self.edit, message, {"intents": intents})

    def brand_writes(self, talk: Conversation, text: str, by: int, more: Sequence[str] = (), **about: Any) -> None:
        """Write to the customer. A letter is sent a little later, or comes back; `about` are further fields."""
        channel = channels.answering(talk.channel)
        copied = ["carrier@parcels.example"] if channel.is_letter and self.life.chance(COPIED) else []
        message = self._write(
            talk,
            None if "rule_id" in about else by,
            self._worded(channel, text, more, "Kind regards"),
            sender={"id": by},
            receiver={"id": talk.customer.id},
            from_agent=True,
            channel=channel.name,
            source=channels.to_customer(channel, talk.customer, copied),
            sent_datetime=None if channel.is_letter else self.life.now,
            integration_id=self.integrations[channel.integration],
            **{"via": "helpdesk"} | about,
        )
        if channel.is_letter and self.life.chance(BOUNCED):
            self.life.after(self.life.around(seconds=9), self._comes_back, message)
        elif channel.is_letter:
            sent = {"sent_datetime": self.life.now + timedelta(milliseconds=400)}
            self.life.after(self.life.around(minutes=2), self.edit, message, sent)
            if self.life.chance(OPENED):
                self.life.after(self.life.around(hours=6), self._is_read, message)

    def note(self, talk: Conversation, by: int, text: str) -> None:
        """Write an internal note."""
        way = {"channel": "internal-note", "via": "helpdesk", "source": {"type": "internal-note"}}
        text = text.format_map({**talk.words, "team": talk.team})
        self._write(talk, by, text, sender={"id": by}, from_agent=True, public=False, **way)

    def sum_up(self, talk: Conversation, by: int) -> None:
        """Let the AI put a ticket into a sentence, as somebody asked it to."""
        now = self.life.now
        content = self.life.random.choice(prose.SUMMARIES).format_map(talk.words)
        dates = {"created_datetime": now, "updated_datetime": now}
        self.change(talk, by, summary={"content": content, **dates, "triggered_by": by})

    def edit(self, message_id: int, changes: dict[str, Any]) -> None:
        if self.life.account.has("messages", message_id):
            self.life.account.update("messages", message_id, **changes)

    def _write(self, talk: Conversation, by: int | None, text: str, **about: Any) -> int:
        """Return the message's id; 0 if there is no ticket any more."""
        if not self.is_there(talk):
            return 0
        if about["channel"] == "email":
            reference = f"<{self.life.random.getrandbits(64):016x}@mail.example.com>"
            about |= {"message_id": reference, "subject": talk.subject}
        of = {"ticket_id": talk.ticket_id, "processed_datetime": self.life.now}
        with self.life.account.acting(by):
            row = self.life.account.create("messages", **of, **prose.body(text.format_map(talk.words)), **about)
        return int(row["id"])

    def _worded(self, channel: Channel, text: str, more: Sequence[str], signature: str) -> str:
        if channel.is_letter:
            return prose.letter(self.life.random, text, tuple(more), "Hello,", signature)
        return text

    def _comes_back(self, message: int) -> None:
        error = {"error": "Mailbox unavailable"}
        self.edit(message, {"failed_datetime": self.life.now, "last_sending_error": error})

    def _is_read(self, message: int) -> None:
        self.edit(message, {"opened_datetime": self.life.now})

    def _attachment(self, talk: Conversation) -> dict[str, Any]:
        name = self.life.random.choice(list(prose.ATTACHMENTS))
        about = {"size": self.life.random.randint(8_000, 900_000), "content_type": prose.ATTACHMENTS[name]}
        url = f"{UPLOADS}/{talk.ticket_id}/{name}"
        return {"url": url, "name": name, **about, "public": False, "extra": None}

    def _tags(self, talk: Conversation) -> list[dict[str, int]]:
        return [{"id": tag} for tag in self.tags.of(talk.tags)]
