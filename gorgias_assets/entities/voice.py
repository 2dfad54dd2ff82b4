"""Phone calls. Nobody has recorded these lists: the fields are those of Gorgias's documentation."""

from gorgias_assets.columns import EXTRACTED_AT, Personal
from gorgias_assets.entities.model import Entity, Unordered, boolean, integer, json, moment, string
from gorgias_assets.entities.shown import ANYTHING
from gorgias_assets.entities.view import Items, Nested, Stored, View, read_at

VOICE_CALLS = Entity(
    name="voice_calls",
    path="/phone/voice-calls",
    grain="One row per phone call, inbound or outbound.",
    read=Unordered(),
    group="voice",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the call."),
        integer("integration_id", "The integration that the call came or went through."),
        integer("ticket_id", "The ticket that the call belongs to."),
        integer("phone_number_id", "The account's phone number."),
        string("external_id", "Id of the call at its provider."),
        string("provider", "Provider: twilio."),
        string("status", "completed, missed, no-answer, busy, canceled, failed, in-progress, ringing, queued …"),
        string("direction", "inbound or outbound."),
        string("phone_number_source", "Number that called, E.164.", Personal.PHONE),
        string("country_source", "Country of that number, ISO code."),
        string("phone_number_destination", "Number that was called, E.164.", Personal.PHONE),
        string("country_destination", "Country of that number, ISO code."),
        integer("duration", "Length in seconds."),
        moment("started_datetime", "When the call began."),
        moment("created_datetime", "When the call was created."),
        moment("updated_datetime", "When the call last changed."),
        integer("initiated_by_agent_id", "The agent who called."),
        integer("last_answered_by_agent_id", "The agent who last answered."),
        integer("customer_id", "The customer on the phone; may be gone."),
        integer("last_rang_agent_id", "The agent whose phone last rang."),
        boolean("has_voicemail", "Whether the customer left a voicemail."),
        boolean("has_call_recording", "Whether the call was recorded."),
        json(
            "summaries",
            "AI summaries: [{id, recording_id, summary, created_datetime}].",
            {"[].id": None, "[].recording_id": None, "[].summary": Personal.BODY, "[].created_datetime": None},
        ),
        string("termination_status", "answered, cancelled, missed, abandoned or callback-requested."),
        integer("queue_id", "The queue that the call waited in."),
        string("status_in_queue", "State of its waiting."),
        string("answered_by_external_number", "Number outside of Gorgias that answered, E.164.", Personal.PHONE),
        integer("answered_by_external_customer_id", "The customer whose number that is."),
        string("monitoring_status", "listening, whispering or none: whether somebody listens in."),
        integer("last_monitoring_agent_id", "The agent who last listened in."),
    ),
)

VOICE_CALL_EVENTS = Entity(
    name="voice_call_events",
    path="/phone/voice-call-events",
    grain="One row per event of a phone call: ringing, answered, transferred, ended …",
    read=Unordered(),
    group="voice",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the event."),
        string("type", "What happened: incoming-phone-call, phone-call-answered, message-played … An open list."),
        integer("account_id", "Gorgias's id of the account."),
        integer("call_id", "The call that it happened to."),
        integer("user_id", "The agent concerned."),
        integer("customer_id", "The customer concerned."),
        moment("created_datetime", "When it happened."),
        json(
            "meta", "Details by type.", {**dict.fromkeys(("message", "option", "queue_id", "recording_id")), **ANYTHING}
        ),
    ),
)

VOICE_CALL_RECORDINGS = Entity(
    name="voice_call_recordings",
    path="/phone/voice-call-recordings",
    grain="One row per recording of a phone call, or voicemail; deleted recordings included.",
    read=Unordered(),
    group="voice",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the recording."),
        integer("call_id", "The call that was recorded."),
        string("external_id", "Id of the recording at its provider."),
        string("url", "Where it can be listened to, by those who may.", Personal.SECRET),
        integer("duration", "Length in seconds."),
        string("type", "call-recording or voicemail."),
        moment("created_datetime", "When the recording was created."),
        moment("deleted_datetime", "When the recording was deleted; its row stays."),
        integer("deleted_by_user_id", "Who deleted it."),
        string("error_code", "Why it cannot be had, such as RECORDING_IS_PRIVATE."),
        string("transcription_status", "requested, completed, failed, or why there is no transcription."),
    ),
)

VOICE_CALL_SUMMARIES = View(
    name="voice_call_summaries",
    grain="One row per AI summary of a phone call.",
    parent=VOICE_CALLS.name,
    nested=Items("summaries"),
    needs=("summary_id", "summary"),
    values={
        integer("call_id", "The call."): Stored("id"),
        integer("ticket_id", "The ticket that the call belongs to."): Stored("ticket_id"),
        integer("summary_id", "Gorgias's id of the summary."): Nested("id"),
        integer("recording_id", "The recording that it sums up."): Nested("recording_id"),
        string("summary", "The summary.", Personal.BODY): Nested("summary"),
        moment("created_datetime", "When the summary was created."): Nested("created_datetime"),
        moment("call_created_datetime", "When the call was created."): Stored("created_datetime"),
        read_at("call"): Stored(EXTRACTED_AT),
    },
)
