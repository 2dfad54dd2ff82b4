"""The entities: the only place where a kind of Gorgias object is named.

An entity says where its list is, in which order it is read, at which datetimes something happens to a row, and what its
columns are. Assets, sweeps and tables are loops over `ENTITIES`; a fifth entity is one more declaration here.

Columns are those of the *list* form of each object, as recorded from a live account on 2026-08-26
(NangoHQ/integration-templates, integrations/gorgias/tests); the form of a single GET differs and is not used.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Kind(Enum):
    """What a column holds; each warehouse says which of its types that is."""

    INTEGER = "integer, 64 bits"
    BOOLEAN = "boolean"
    STRING = "string"
    DATETIME = "datetime, UTC, microseconds"
    JSON = "JSON text"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `private` marks what a customer or an agent wrote or is known by; it is kept out of logs and previews. JSON columns
    are treated as private throughout.
    """

    name: str
    kind: Kind
    description: str
    private: bool = False


@dataclass(frozen=True)
class Entity:
    """One kind of Gorgias object and how it is read.

    - `name`: the asset is `gorgias/<name>`, the table `<schema>.<name>`.
    - `path`: its list, below the API's base URL.
    - `grain`: what one row is, as a sentence for the asset's description.
    - `order`: the datetime field that the list is read by, newest first.
    - `touch_fields`: the datetimes at which something happened to a row. Together with `look_back` they define a
      partition: a row belongs to a window if any of them lies in it.
    - `look_back`: how far before a window `order` may lie for a row that was touched in the window. Zero where every
      touch moves the order field.
    - `columns`: the declared fields, `id` first.
    - `creation_order`: the datetime field, among those that the list can be ordered by, that never moves. Where it is
      not `order`, a window is reached without what is newer only by reading it in both orders.
    - `look_ahead`: how far after a window `creation_order` may lie for a row that was touched in the window, where it
      is read alone.
    - `below`: what stands before `path` in the path of one row, with the fields of the row that it takes.
    - `gone_events`: types of events that name rows which were deleted or merged into another.
    - `goes_with`: the entity whose deletion takes this one's rows along, and the field that holds its id.
    - `outlives`: the entity that this one's rows are about and may outlive, and the field that holds its id.
    - `counted_by`: the field of the entity it goes with that counts this one's rows.
    - `creation_event`: the type of the events that name rows as they are created.
    """

    name: str
    path: str
    grain: str
    order: str
    touch_fields: tuple[str, ...]
    look_back: timedelta
    columns: tuple[Column, ...]
    creation_order: str = "created_datetime"
    look_ahead: timedelta = timedelta(0)
    below: str = ""
    gone_events: tuple[str, ...] = ()
    goes_with: tuple[str, str] | None = None
    outlives: tuple[str, str] | None = None
    counted_by: str = ""
    creation_event: str = ""

    @property
    def object_path(self) -> str:
        """Where one row is, with the fields of the row that it takes in braces."""
        return f"{self.below}{self.path}/{{id}}"


def _integer(name: str, description: str) -> Column:
    return Column(name, Kind.INTEGER, description)


def _boolean(name: str, description: str) -> Column:
    return Column(name, Kind.BOOLEAN, description)


def _string(name: str, description: str, private: bool = False) -> Column:
    return Column(name, Kind.STRING, description, private)


def _datetime(name: str, description: str) -> Column:
    return Column(name, Kind.DATETIME, description)


def _json(name: str, description: str) -> Column:
    return Column(name, Kind.JSON, description, private=True)


CUSTOMERS = Entity(
    name="customers",
    path="/customers",
    grain="One row per customer of the helpdesk.",
    order="updated_datetime",
    touch_fields=("created_datetime", "updated_datetime"),
    look_back=timedelta(0),
    gone_events=("customer-deleted", "customer-merged"),
    columns=(
        _integer("id", "Gorgias's id of the customer; agents' ids come from the same sequence."),
        _string("external_id", "Id of the customer in the shop's own system."),
        _boolean("active", "Whether the customer is active."),
        _string("email", "Primary e-mail address; one customer per address.", private=True),
        _string("name", "Full name.", private=True),
        _string("firstname", "First name; empty when unknown.", private=True),
        _string("lastname", "Last name; empty when unknown.", private=True),
        _string("language", "Language, ISO 639-1."),
        _string("timezone", "IANA time zone."),
        _datetime("created_datetime", "When the customer was created."),
        _datetime(
            "updated_datetime",
            "When the customer's own fields last changed. Custom field values, merges and new tickets do not move it.",
        ),
        _json("meta", "Where the name came from, profile picture and the like."),
        _json("data", "Arbitrary data that the shop attached to the customer."),
        _string("note", "Agents' note about the customer.", private=True),
        _json("custom_fields", "Custom field values by field id: {id: {id, value}}."),
    ),
)

TICKETS = Entity(
    name="tickets",
    path="/tickets",
    grain="One row per ticket, spam and trashed tickets included.",
    order="updated_datetime",
    touch_fields=("created_datetime", "updated_datetime"),
    look_back=timedelta(0),
    gone_events=("ticket-deleted", "ticket-merged"),
    creation_event="ticket-created",
    columns=(
        _integer("id", "Gorgias's id of the ticket."),
        _string("uri", "Path of the ticket in the API."),
        _string("external_id", "Id of the ticket in a system it was imported from."),
        _string("language", "Language of the conversation, ISO 639-1; detected a moment after creation."),
        _string("status", "open or closed; a snoozed ticket is either, with a snooze_datetime."),
        _string("priority", "critical, high, normal or low."),
        _string("channel", "Where the conversation takes place: email, chat, phone, instagram-comment …"),
        _string("via", "What created the ticket: email, helpdesk, api, rule …"),
        _boolean("from_agent", "Whether the first message was sent by an agent."),
        _json("customer", "The customer as of the reading: {id, email, name, firstname, lastname, meta}."),
        _json("assignee_user", "The agent in charge: {id, email, name, firstname, lastname, meta, bio}."),
        _json("assignee_team", "The team in charge: {id, name, decoration}."),
        _string("subject", "Subject of the conversation.", private=True),
        _json("summary", "AI summary: {content, created_datetime, updated_datetime, triggered_by}."),
        _string("excerpt", "Beginning of the last message, up to about 200 characters.", private=True),
        _json("integrations", "Mailboxes and channels in use: [{name, address, type}]."),
        _json("meta", "Arbitrary data attached to the ticket."),
        _json("tags", "Tags as of the reading: [{id, name, decoration}]."),
        _integer("messages_count", "Number of messages, maintained by Gorgias with a delay."),
        _boolean("is_unread", "Whether an agent has yet to read the last message."),
        _boolean("spam", "Whether the ticket is marked as spam."),
        _datetime("created_datetime", "When the ticket was created; in the past for imports."),
        _datetime("opened_datetime", "When an agent first opened the ticket."),
        _datetime("last_received_message_datetime", "When the customer last wrote."),
        _datetime("last_message_datetime", "When either side last wrote; internal notes do not count."),
        _boolean("last_sent_message_not_delivered", "Whether the last message to the customer failed."),
        _datetime(
            "updated_datetime",
            "When the ticket last changed. Custom field values, edited or deleted messages and surveys do not move it.",
        ),
        _datetime("closed_datetime", "When the ticket was last closed."),
        _datetime("snooze_datetime", "Until when the ticket is snoozed."),
        _datetime("trashed_datetime", "When the ticket was moved to the trash."),
        _json("custom_fields", "Custom field values by field id: {id: {id, value}}."),
    ),
)

TICKET_MESSAGES = Entity(
    name="ticket_messages",
    path="/messages",
    grain="One row per message of a ticket, internal notes included.",
    order="created_datetime",
    touch_fields=("created_datetime", "sent_datetime", "failed_datetime", "deleted_datetime", "opened_datetime"),
    look_back=timedelta(days=3),
    look_ahead=timedelta(hours=2),  # the sending of what a customer wrote precedes its creation by seconds
    below="/tickets/{ticket_id}",
    goes_with=("tickets", "ticket_id"),
    counted_by="messages_count",
    creation_event="ticket-message-created",
    columns=(
        _integer("id", "Gorgias's id of the message."),
        _string("uri", "Path of the message in the API."),
        _string("message_id", "Id of the message at its provider: the Message-ID of an e-mail, for example."),
        _integer("ticket_id", "The ticket that the message belongs to."),
        _string("external_id", "Id of the message in a system it was imported from."),
        _boolean("public", "False for internal notes."),
        _string("channel", "Channel of the message: email, chat, internal-note …"),
        _string("via", "What created the message: email, helpdesk, api, rule …"),
        _json("source", "Type and addresses: {type, to, cc, bcc, from, extra}; absent where they do not apply."),
        _json("sender", "Who sent it, as of the reading: {id, email, name, firstname, lastname, meta}."),
        _json("auth_customer_identity", "Authenticated identity of a chat's customer: {service, identifier}."),
        _integer("integration_id", "The integration that the message came or went through."),
        _json("intents", "Detected intents: [{name, rejected, is_user_feedback}]; added some time after creation."),
        _integer("rule_id", "The rule that sent the message."),
        _boolean("from_agent", "Whether an agent sent it."),
        _json("receiver", "Who received it, in the shape of sender."),
        _string("subject", "Subject.", private=True),
        _string("body_text", "Body as plain text, up to 1 MB.", private=True),
        _string("body_html", "Body as HTML, up to 1 MB.", private=True),
        _string("stripped_text", "Body as plain text without quotes and signature.", private=True),
        _string("stripped_html", "Body as HTML without quotes and signature.", private=True),
        _string("stripped_signature", "The signature that was cut off.", private=True),
        _json("headers", "Headers of an e-mail."),
        _json("attachments", "Attachments: [{url, name, size, content_type, public, extra}]."),
        _json("actions", "Actions that a macro ran with the message."),
        _json("macros", "Macros used: [{id}]."),
        _json("meta", "Arbitrary data attached to the message."),
        _datetime("created_datetime", "When the message was created; in the past for imports."),
        _datetime("processed_datetime", "When Gorgias processed the message."),
        _datetime("sent_datetime", "When it was sent; filled in later, sometimes with an earlier time."),
        _datetime("failed_datetime", "When sending failed."),
        _datetime("deleted_datetime", "When it was deleted on its channel."),
        _datetime("opened_datetime", "When the customer opened it; filled in later."),
        _json("last_sending_error", "Why sending failed: {error}."),
        _boolean("is_retriable", "Whether sending may be tried again."),
        _boolean("imported", "Whether the message was imported."),
        _json("replied_by", "The reply to this message on a social channel."),
        _json("replied_to", "The message that this one replies to on a social channel."),
    ),
)

SATISFACTION_SURVEYS = Entity(
    name="satisfaction_surveys",
    path="/satisfaction-surveys",
    grain="One row per satisfaction survey; at most one per ticket, and it may outlive its ticket.",
    order="created_datetime",
    touch_fields=("created_datetime", "sent_datetime", "scored_datetime"),
    look_back=timedelta(days=45),
    look_ahead=timedelta(hours=2),  # a recorded survey was scored 88 minutes before its creation
    outlives=("tickets", "ticket_id"),
    columns=(
        _integer("id", "Gorgias's id of the survey."),
        _string("body_text", "The customer's comment, up to 1,000 characters.", private=True),
        _datetime("created_datetime", "When the survey was created."),
        _integer("customer_id", "The customer asked; may be gone."),
        _json("meta", "Arbitrary data attached to the survey."),
        _integer("score", "1 to 5; null until answered."),
        _datetime("scored_datetime", "When it was answered, days after created_datetime as a rule."),
        _datetime("sent_datetime", "When it was sent, hours after created_datetime as a rule."),
        _datetime("should_send_datetime", "When it is planned to be sent; a plan, not an event."),
        _integer("ticket_id", "The ticket it asks about; may be gone."),
        _string("uri", "Path of the survey in the API."),
    ),
)

ENTITIES = (CUSTOMERS, TICKETS, TICKET_MESSAGES, SATISFACTION_SURVEYS)
