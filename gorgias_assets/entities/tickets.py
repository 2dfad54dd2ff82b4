"""Tickets and their messages."""

from datetime import timedelta

from gorgias_assets.columns import EXTRACTED_AT, Personal, below
from gorgias_assets.entities.model import ByDate, Entity, Parent, boolean, integer, json, moment, string
from gorgias_assets.entities.shown import ACTION, ANYTHING, DECORATION, OTHER_MESSAGE, PERSON, SOURCE, VALUES
from gorgias_assets.entities.sorting import values_of_custom_fields
from gorgias_assets.entities.view import At, Items, Nested, One, Origin, Position, Rows, Stored, View, read_at

TICKETS = Entity(
    name="tickets",
    path="/tickets",
    grain="One row per ticket, spam and trashed tickets included.",
    read=ByDate(
        order="updated_datetime",
        touch_fields=("created_datetime", "updated_datetime"),
        look_back=timedelta(0),
    ),
    gone_events=("ticket-deleted", "ticket-merged"),
    kin="customer",
    creation_event="ticket-created",
    columns=(
        integer("id", "Gorgias's id of the ticket."),
        string("uri", "Path of the ticket in the API."),
        string("external_id", "Id of the ticket in a system it was imported from."),
        string("language", "Language of the conversation, ISO 639-1; detected a moment after creation."),
        string("status", "open or closed; a snoozed ticket is either, with a snooze_datetime."),
        string("priority", "critical, high, normal or low."),
        string("channel", "Where the conversation takes place: email, chat, phone, instagram-comment …"),
        string("via", "What created the ticket: email, helpdesk, api, rule …"),
        boolean("from_agent", "Whether the first message was sent by an agent."),
        json("customer", "The customer as of the reading: {id, email, name, firstname, lastname, meta}.", PERSON),
        json("assignee_user", "The agent in charge: {id, email, name, firstname, lastname, meta, bio}.", PERSON),
        json(
            "assignee_team",
            "The team in charge: {id, name, decoration}.",
            {"id": None, "name": None, **below("decoration", DECORATION)},
        ),
        string("subject", "Subject of the conversation.", Personal.BODY),
        json(
            "summary",
            "AI summary: {content, created_datetime, updated_datetime, triggered_by}.",
            {"content": Personal.BODY, "created_datetime": None, "updated_datetime": None, "triggered_by": None},
        ),
        string("excerpt", "Beginning of the last message, up to about 200 characters.", Personal.BODY),
        json(
            "integrations",
            "Mailboxes and channels in use: [{name, address, type}].",
            {"[].name": None, "[].address": Personal.EMAIL, "[].type": None},
        ),
        json("meta", "Arbitrary data attached to the ticket.", ANYTHING),
        json(
            "tags",
            "Tags as of the reading: [{id, name, decoration}].",
            {"[].id": None, "[].name": None, **below("[].decoration", DECORATION)},
        ),
        integer("messages_count", "Number of messages, maintained by Gorgias with a delay."),
        boolean("is_unread", "Whether an agent has yet to read the last message."),
        boolean("spam", "Whether the ticket is marked as spam."),
        moment("created_datetime", "When the ticket was created; in the past for imports."),
        moment("opened_datetime", "When an agent first opened the ticket."),
        moment("last_received_message_datetime", "When the customer last wrote."),
        moment("last_message_datetime", "When either side last wrote; internal notes do not count."),
        boolean("last_sent_message_not_delivered", "Whether the last message to the customer failed."),
        moment(
            "updated_datetime",
            "When the ticket last changed. Custom field values, edited or deleted messages and surveys do not move it.",
        ),
        moment("closed_datetime", "When the ticket was last closed."),
        moment("snooze_datetime", "Until when the ticket is snoozed."),
        moment("trashed_datetime", "When the ticket was moved to the trash."),
        json("custom_fields", "Custom field values by field id: {id: {id, value}}.", VALUES),
    ),
)

TICKET_MESSAGES = Entity(
    name="ticket_messages",
    path="/messages",
    grain="One row per message of a ticket, internal notes included.",
    read=ByDate(
        order="created_datetime",
        touch_fields=("created_datetime", "sent_datetime", "failed_datetime", "deleted_datetime", "opened_datetime"),
        look_back=timedelta(days=3),
        look_ahead=timedelta(days=1),  # the sending of what a customer wrote precedes its creation by seconds
    ),
    parent=Parent("tickets", "ticket_id", owns=True, counted_by="messages_count"),
    creation_event="ticket-message-created",
    columns=(
        integer("id", "Gorgias's id of the message."),
        string("uri", "Path of the message in the API."),
        string("message_id", "Id of the message at its provider: the Message-ID of an e-mail, for example."),
        integer("ticket_id", "The ticket that the message belongs to."),
        string("external_id", "Id of the message in a system it was imported from."),
        boolean("public", "False for internal notes."),
        string("channel", "Channel of the message: email, chat, internal-note …"),
        string("via", "What created the message: email, helpdesk, api, rule …"),
        json("source", "Type and addresses: {type, to, cc, bcc, from, extra}; absent where they do not apply.", SOURCE),
        json("sender", "Who sent it, as of the reading: {id, email, name, firstname, lastname, meta}.", PERSON),
        json(
            "auth_customer_identity",
            "Authenticated identity of a chat's customer: {service, identifier}.",
            {"service": None, "service.id": None, "service.name": None, "identifier": Personal.EMAIL},
        ),
        integer("integration_id", "The integration that the message came or went through."),
        json(
            "intents",
            "Detected intents: [{name, rejected, is_user_feedback}]; added some time after creation.",
            {"[].name": None, "[].rejected": None, "[].is_user_feedback": None},
        ),
        integer("rule_id", "The rule that sent the message."),
        boolean("from_agent", "Whether an agent sent it."),
        json("receiver", "Who received it, in the shape of sender.", PERSON),
        string("subject", "Subject.", Personal.BODY),
        string("body_text", "Body as plain text, up to 1 MB.", Personal.BODY),
        string("body_html", "Body as HTML, up to 1 MB.", Personal.BODY),
        string("stripped_text", "Body as plain text without quotes and signature.", Personal.BODY),
        string("stripped_html", "Body as HTML without quotes and signature.", Personal.BODY),
        string("stripped_signature", "The signature that was cut off.", Personal.BODY),
        json("headers", "Headers of an e-mail.", ANYTHING),
        json(
            "attachments",
            "Attachments: [{url, name, size, content_type, public, extra}].",
            {
                "[].url": Personal.SECRET,
                "[].name": Personal.BODY,
                "[].size": None,
                "[].content_type": None,
                "[].public": None,
                "[].extra.**": Personal.UNDECLARED,
            },
        ),
        json("actions", "Actions that a macro ran with the message.", below("[]", ACTION)),
        json("macros", "Macros used: [{id}].", {"[].id": None}),
        json("meta", "Arbitrary data attached to the message.", ANYTHING),
        moment("created_datetime", "When the message was created; in the past for imports."),
        moment("processed_datetime", "When Gorgias processed the message."),
        moment("sent_datetime", "When it was sent; filled in later, sometimes with an earlier time."),
        moment("failed_datetime", "When sending failed."),
        moment("deleted_datetime", "When it was deleted on its channel."),
        moment("opened_datetime", "When the customer opened it; filled in later."),
        json("last_sending_error", "Why sending failed: {error}.", {"error": Personal.BODY}),
        boolean("is_retriable", "Whether sending may be tried again."),
        boolean("imported", "Whether the message was imported."),
        json("replied_by", "The reply to this message on a social channel.", OTHER_MESSAGE),
        json("replied_to", "The message that this one replies to on a social channel.", OTHER_MESSAGE),
    ),
)

_OF_TICKET = {
    moment("ticket_created_datetime", "When the ticket was created."): Stored("created_datetime"),
    read_at("ticket"): Stored(EXTRACTED_AT),
}

TICKET_PEOPLE = View(
    name="ticket_people",
    grain="One row per ticket: whose it is, and who is in charge.",
    parent=TICKETS.name,
    nested=Rows(),
    values={
        integer("ticket_id", "The ticket."): Stored("id"),
        integer("customer_id", "The customer; may be gone."): At("customer", "id"),
        string("customer_name", "Name of the customer as of the reading.", Personal.NAME): At("customer", "name"),
        string("customer_email", "E-mail address as of the reading.", Personal.EMAIL): At("customer", "email"),
        integer("assignee_user_id", "The user in charge; null for nobody."): At("assignee_user", "id"),
        string("assignee_user_name", "Name of that user as of the reading.", Personal.NAME): At(
            "assignee_user", "name"
        ),
        integer("assignee_team_id", "The team in charge; null for none."): At("assignee_team", "id"),
        string("assignee_team_name", "Name of that team as of the reading."): At("assignee_team", "name"),
        **_OF_TICKET,
    },
)

TICKET_TAGS = View(
    name="ticket_tags",
    grain="One row per ticket and tag that it has, as of the reading of the ticket.",
    parent=TICKETS.name,
    nested=Items("tags"),
    needs=("tag_id",),
    values={
        integer("ticket_id", "The ticket."): Stored("id"),
        integer("tag_id", "The tag."): Nested("id"),
        string("tag_name", "Name as of the reading: a new name, or a merge, does not move the ticket."): Nested("name"),
        **_OF_TICKET,
    },
)

TICKET_CUSTOM_FIELDS = values_of_custom_fields(
    "ticket_custom_fields",
    "One row per ticket and custom field with a value, as of the reading: a new value does not move the ticket.",
    TICKETS.name,
    before={integer("ticket_id", "The ticket."): Stored("id")},
    after=_OF_TICKET,
)

_IDS = {
    integer("message_id", "The message."): Stored("id"),
    integer("ticket_id", "The ticket that the message belongs to."): Stored("ticket_id"),
}
_OF_MESSAGE = {
    moment("message_created_datetime", "When the message was created."): Stored("created_datetime"),
    read_at("message"): Stored(EXTRACTED_AT),
}

TICKET_MESSAGE_PEOPLE = View(
    name="ticket_message_people",
    grain="One row per message: who wrote it to whom.",
    parent=TICKET_MESSAGES.name,
    nested=Rows(),
    values={
        **_IDS,
        boolean("from_agent", "Whether an agent sent it, so that the sender is a user."): Stored("from_agent"),
        integer("sender_id", "The user or customer who sent it; may be gone."): At("sender", "id"),
        string("sender_name", "Name of the sender as of the reading.", Personal.NAME): At("sender", "name"),
        integer("receiver_id", "The user or customer who received it; may be gone."): At("receiver", "id"),
        **_OF_MESSAGE,
    },
)

TICKET_MESSAGE_RECIPIENTS = View(
    name="ticket_message_recipients",
    grain="One row per address that a message came from or went to.",
    parent=TICKET_MESSAGES.name,
    nested={
        "from": One("source", "from"),
        "to": Items("source", "to"),
        "cc": Items("source", "cc"),
        "bcc": Items("source", "bcc"),
    },
    needs=("address", "name"),
    values={
        **_IDS,
        string("kind", "from, to, cc or bcc."): Origin(),
        integer("position", "Place among those of its kind, from 1."): Position(),
        string("name", "Name.", Personal.NAME): Nested("name"),
        string("address", "E-mail address, phone number or handle.", Personal.EMAIL): Nested("address"),
        **_OF_MESSAGE,
    },
)

TICKET_MESSAGE_ATTACHMENTS = View(
    name="ticket_message_attachments",
    grain="One row per file attached to a message.",
    parent=TICKET_MESSAGES.name,
    nested=Items("attachments"),
    needs=("url", "name"),
    values={
        **_IDS,
        integer("position", "Place among the message's attachments, from 1."): Position(),
        string("name", "Name of the file.", Personal.BODY): Nested("name"),
        string("url", "Where it can be had, by those who may.", Personal.SECRET): Nested("url"),
        string("content_type", "Media type."): Nested("content_type"),
        integer("size", "Size in bytes."): Nested("size"),
        boolean("public", "Whether it can be had without logging in."): Nested("public"),
        json("extra", "Further details by channel.", ANYTHING): Nested("extra"),
        **_OF_MESSAGE,
    },
)

TICKET_MESSAGE_INTENTS = View(
    name="ticket_message_intents",
    grain="One row per message and intent that was detected in it, some time after its creation.",
    parent=TICKET_MESSAGES.name,
    nested=Items("intents"),
    needs=("name",),
    values={
        **_IDS,
        string("name", "Intent, such as shipping/status."): Nested("name"),
        boolean("rejected", "Whether an agent said that it is wrong."): Nested("rejected"),
        boolean("is_user_feedback", "Whether an agent set it."): Nested("is_user_feedback"),
        **_OF_MESSAGE,
    },
)

TICKET_MESSAGE_MACROS = View(
    name="ticket_message_macros",
    grain="One row per message and macro used in it.",
    parent=TICKET_MESSAGES.name,
    nested=Items("macros"),
    needs=("macro_id",),
    values={**_IDS, integer("macro_id", "The macro; may be gone."): Nested("id"), **_OF_MESSAGE},
)
