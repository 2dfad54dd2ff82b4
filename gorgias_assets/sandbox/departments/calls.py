"""The hotline of a brand: calls that ring, are answered or missed, leave recordings, and get a summary by AI."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments import custom_fields
from gorgias_assets.sandbox.departments.channels import PHONE, PHONE_CALL
from gorgias_assets.sandbox.departments.desk import Desk
from gorgias_assets.sandbox.departments.people import Customers
from gorgias_assets.sandbox.departments.rhythm import next_arrival
from gorgias_assets.sandbox.departments.staff import Agent, Staff
from gorgias_assets.sandbox.departments.tickets import Conversation, Tickets
from gorgias_assets.sandbox.life import Life

ANSWERED, DECLINED, VOICEMAIL, TRANSFERRED, UNFINISHED, CALLED_BACK, RECORDED = 0.65, 0.3, 0.6, 0.08, 0.2, 0.75, 0.9
RINGS, RINGS_FOR = 3, timedelta(seconds=18)
QUEUE, NUMBER = 12, 451
UNCLEAR, CLEANED_EVERY = 0.1, timedelta(days=3)
AUDIO = "https://uploads.gorgias.io/example/phone-{}.mp3"


@dataclass(eq=False)
class Call:
    """A call, and the ticket that it belongs to. `spoken` is in seconds."""

    id: int
    talk: Conversation
    is_outbound: bool = False
    answered: datetime | None = None
    spoken: int = 0


class Calls:
    """Calls in both directions: the brand calls back whoever it missed."""

    def __init__(self, life: Life, staff: Staff, customers: Customers, tickets: Tickets, desk: Desk) -> None:
        self.life, self.staff, self.customers, self.tickets, self.desk = life, staff, customers, tickets, desk
        self._recordings: list[int] = []

    def open(self, calls_per_day: float) -> None:
        """Have customers ring from now on."""
        self.calls_per_day = calls_per_day
        self._wait_for_the_next()
        self.life.after(self.life.around(days=CLEANED_EVERY.days), self._recording_is_deleted)

    def _wait_for_the_next(self) -> None:
        self.life.at(next_arrival(self.life.random, self.life.now, self.calls_per_day), self._somebody_rings)

    def _somebody_rings(self) -> None:
        self._wait_for_the_next()
        customer = self.customers.somebody("phone")
        talk = self.tickets.opened(customer, PHONE_CALL, self.life.random.choice(prose.TOPICS))
        self.tickets.customer_writes(talk, f"Phone call from {customer.phone}")
        call = self._begun(talk)
        self._tells(call, "incoming-phone-call")
        if not self.staff.is_open(self.life.now):
            self._tells(call, "message-played", meta={"message": "closed"})
            self.life.after(timedelta(seconds=20), self._is_missed, call)
        else:
            self._tells(call, "ivr-menu-presented")
            self._tells(call, "ivr-option-selected", meta={"option": prose.TOPICS.index(talk.topic) + 1})
            self._tells(call, "phone-call-enqueued", meta={"queue_id": QUEUE})
            self._change(call, status="queued", status_in_queue="waiting")
            self.life.after(self.life.around(seconds=15), self._rings, call, 1)

    def _begun(self, talk: Conversation, by: Agent | None = None) -> Call:
        """Let a call begin, from the customer or by an agent."""
        numbers = talk.customer.phone, PHONE.address
        source, destination = reversed(numbers) if by else numbers
        row = self.life.account.create(
            "voice_calls",
            integration_id=self.tickets.integrations[PHONE],
            ticket_id=talk.ticket_id,
            phone_number_id=NUMBER,
            external_id=f"CA{self._reference()}",
            direction="outbound" if by else "inbound",
            phone_number_source=source,
            phone_number_destination=destination,
            country_source="US",
            country_destination="US",
            started_datetime=self.life.now,
            initiated_by_agent_id=by and by.id,
            customer_id=talk.customer.id,
            queue_id=None if by else QUEUE,
        )
        return Call(int(row["id"]), talk, is_outbound=by is not None)

    def _rings(self, call: Call, times: int) -> None:
        agent = self.staff.somebody(call.talk.topic.team)
        self._change(call, status="ringing", last_rang_agent_id=agent.id)
        self._tells(call, "phone-call-ringing", agent)
        if self.life.chance(ANSWERED):
            self.life.after(self.life.around(seconds=7), self._is_answered, call, agent)
        else:
            self.life.after(RINGS_FOR, self._is_not_answered, call, agent, times)

    def _is_not_answered(self, call: Call, agent: Agent, times: int) -> None:
        declined = self.life.chance(DECLINED)
        self._tells(call, "declined-phone-call" if declined else "child-call-not_answered", agent)
        if times < RINGS:
            self._rings(call, times + 1)
        else:
            self._tells(call, "phone-call-dequeued")
            self._is_missed(call)

    def _is_answered(self, call: Call, agent: Agent) -> None:
        call.answered = self.life.now
        self._change(call, status="in-progress", last_answered_by_agent_id=agent.id, status_in_queue=None)
        self._tells(call, "phone-call-answered", agent)
        self._tells(call, "phone-call-conversation-started", agent)
        self.tickets.assign(call.talk, agent.id, agent.team, agent)
        self.tickets.brand_writes(call.talk, f"Phone call with {call.talk.customer.name}", agent.id, via="phone")
        if self.life.chance(TRANSFERRED):
            self.life.after(self.life.around(minutes=2), self._is_transferred, call, agent)
        else:
            self.life.after(self.life.around(minutes=4), self._is_over, call, agent)

    def _is_transferred(self, call: Call, agent: Agent) -> None:
        """Have a colleague go on with a call."""
        colleague = self.staff.somebody(call.talk.team, other_than=agent)
        self._tells(call, "phone-call-transfer-initiated", agent)
        self._tells(call, "phone-call-answered", colleague)
        self._change(call, last_rang_agent_id=colleague.id, last_answered_by_agent_id=colleague.id)
        self.tickets.assign(call.talk, agent.id, colleague.team, colleague)
        self.life.after(self.life.around(minutes=4), self._is_over, call, colleague)

    def _is_over(self, call: Call, agent: Agent) -> None:
        self._ends(call, "completed", "answered")
        self._tells(call, "completed-phone-call", agent)
        self._tells(call, "phone-call-wrap-up-started", agent)
        self.life.after(self.life.around(seconds=50), self._tells, call, "phone-call-wrap-up-ended", agent)
        if self.life.chance(RECORDED):
            self.life.after(self.life.around(seconds=8), self._is_recorded, call, "call-recording")
        self.tickets.tag(call.talk, agent.id, call.talk.topic.tag)
        self.tickets.fill(call.talk, {custom_fields.AI_INTENT: call.talk.topic.reason})
        if not call.is_outbound and self.life.chance(UNFINISHED):
            self.life.at(self.staff.in_hours(self.life.around(hours=3)), self._is_called_back, call.talk)
        else:
            self.life.after(self.life.around(minutes=6), self.desk.close, call.talk, agent.id)

    def _is_missed(self, call: Call) -> None:
        """End a call that nobody took: the customer speaks to a machine, or hangs up."""
        speaks = self.life.chance(VOICEMAIL)
        self._ends(call, "missed" if speaks else "no-answer", "missed" if speaks else "abandoned", has_voicemail=speaks)
        self._tells(call, "missed-phone-call")
        if speaks:
            self.life.after(self.life.around(seconds=5), self._is_recorded, call, "voicemail-recording")
        self.tickets.assign(call.talk, None, call.talk.topic.team)
        self.life.at(self.staff.in_hours(self.life.around(hours=1)), self._is_called_back, call.talk)

    def _is_called_back(self, talk: Conversation) -> None:
        if not self.tickets.is_there(talk):
            return
        agent = self.staff.somebody(talk.team or talk.topic.team)
        self.tickets.assign(talk, agent.id, talk.team or agent.team, agent)
        self.tickets.note(talk, agent.id, f"Called {talk.customer.phone} back.")
        call = self._begun(talk, by=agent)
        self._change(call, status="ringing")
        self._tells(call, "outgoing-phone-call", agent)
        if self.life.chance(CALLED_BACK):
            self.life.after(self.life.around(seconds=12), self._is_connected, call, agent)
        else:
            self.life.after(RINGS_FOR, self._is_given_up, call, agent)

    def _is_connected(self, call: Call, agent: Agent) -> None:
        self._tells(call, "outgoing-phone-call-connected", agent)
        self._is_answered(call, agent)

    def _is_given_up(self, call: Call, agent: Agent) -> None:
        self._ends(call, "no-answer", "missed")
        self._tells(call, "completed-phone-call", agent)
        self.desk.close(call.talk, agent.id)

    def _ends(self, call: Call, status: str, termination_status: str, **changes: Any) -> None:
        if call.answered:
            call.spoken = round((self.life.now - call.answered).total_seconds())
        self._change(call, status=status, termination_status=termination_status, duration=call.spoken, **changes)

    def _is_recorded(self, call: Call, type: str) -> None:
        """Keep what was said, have it transcribed, and summed up if it was clear."""
        is_voicemail = type == "voicemail-recording"
        reference = self._reference()
        row = self.life.account.create(
            "voice_call_recordings",
            call_id=call.id,
            external_id=f"RE{reference}",
            url=AUDIO.format(reference[:12]),
            duration=self.life.random.randint(5, 45) if is_voicemail else call.spoken,
            type="voicemail" if is_voicemail else "call-recording",
            transcription_status="requested",
        )
        self._recordings.append(int(row["id"]))
        self._tells(call, type, meta={"recording_id": row["id"]})
        if not is_voicemail:
            self._change(call, has_call_recording=True)
        self.life.after(self.life.around(minutes=2), self._is_transcribed, call, int(row["id"]))

    def _is_transcribed(self, call: Call, recording: int) -> None:
        if self.life.chance(UNCLEAR):
            status = self.life.random.choice(("failed", "recording_too_short", "low_quality_transcription"))
            self.life.account.update("voice_call_recordings", recording, transcription_status=status)
            return
        self.life.account.update("voice_call_recordings", recording, transcription_status="completed")
        text = self.life.random.choice(prose.SUMMARIES).format_map(call.talk.words)
        summary = {"id": recording + 1_000_000, "recording_id": recording, "summary": text}
        self._change(call, summaries=[{**summary, "created_datetime": self.life.now}])

    def _recording_is_deleted(self) -> None:
        """Have somebody delete one for privacy: its row stays."""
        self.life.after(self.life.around(days=CLEANED_EVERY.days), self._recording_is_deleted)
        if self._recordings:
            with self.life.account.acting(self.staff.admin):
                self.life.account.delete("voice_call_recordings", self.life.random.choice(self._recordings))

    def _change(self, call: Call, **changes: Any) -> None:
        self.life.account.update("voice_calls", call.id, **changes)

    def _tells(self, call: Call, type: str, agent: Agent | None = None, meta: dict[str, Any] | None = None) -> None:
        who = {"user_id": agent and agent.id, "customer_id": call.talk.customer.id}
        self.life.account.create("voice_call_events", type=type, call_id=call.id, meta=meta or {}, **who)

    def _reference(self) -> str:
        return f"{self.life.random.getrandbits(128):032x}"
