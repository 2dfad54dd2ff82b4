"""Events: what happened to which object, and who did it."""

from datetime import timedelta

from gorgias_assets.columns import EXTRACTED_AT, Holding, Personal, below
from gorgias_assets.entities.model import ByFilter, Entity, boolean, integer, json, moment, string
from gorgias_assets.entities.view import Items, Length, Nested, One, Origin, Rows, Sql, Stored, View, read_at

_CUSTOMER: Holding = {"id": None, "name": Personal.NAME}
_DATA: Holding = {
    **dict.fromkeys(("assignee_user_id", "assignee_team_id", "auto_assigned", "tags_added[]", "tags_removed[]")),
    "new_subject": Personal.BODY,
    "old_subject": Personal.BODY,
    "reasons[]": None,
    **below("old_customer", _CUSTOMER),
    **below("new_customer", _CUSTOMER),
    **dict.fromkeys(("split_from_ticket.id", "split_from_ticket.closed_datetime", "after_days")),
    **dict.fromkeys(("split_into_ticket.id", "first_unseen_id", "last_unseen_id")),
    "score": None,
    "body_text": Personal.BODY,
    **dict.fromkeys(("id", "name", "slug", "type", "triggering_event_type")),  # of a rule
    "code": Personal.BODY,
    "failed_actions[].action_name": None,
    "failed_actions[].failure_reason": Personal.BODY,
    **dict.fromkeys(("action_name", "action_id", "action_label", "app_id", "integration_id", "status")),
    "payload.**": Personal.UNDECLARED,
    "msg": Personal.BODY,
    **dict.fromkeys(("source_customer_id", "source_ticket_id")),
    "remote_addr": Personal.IP,
    "login_type": None,
}

EVENTS = Entity(
    name="events",
    path="/events",
    grain="One row per event: something that happened to one object. Events never change.",
    read=ByFilter(kept=timedelta(days=365)),  # developers.gorgias.com/changelog, 2026-02-25
    group="events",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the event."),
        string("context", "Shared by the events of one chain of causes: a rule's firing and all that it did."),
        moment("created_datetime", "When it happened."),
        json("data", "Details by type, such as {assignee_user_id} or {tags_added: [id]}; null for most types.", _DATA),
        integer("object_id", "The object that it happened to; may be gone."),
        string("object_type", "Kind of that object: Ticket, TicketMessage, Customer, Tag, User, Rule … An open list."),
        string("type", "What happened: ticket-created, ticket-assigned, rule-executed … An open list."),
        integer("user_id", "Who did it; null for rules, the system, customers, and some calls of the API."),
        string("uri", "Path of the event in the API."),
    ),
)

_EVENT = {integer("event_id", "The event."): Stored("id")}
_TICKET = {integer("ticket_id", "The ticket; may be gone."): Stored("object_id")}
_WHEN = {moment("created_datetime", "When it happened."): Stored("created_datetime")}
_BY = {
    integer("user_id", "Who did it; null for rules, the system, customers, and some calls of the API."): Stored(
        "user_id"
    ),
    string("context", "Shared by the events of one chain of causes."): Stored("context"),
    read_at("event"): Stored(EXTRACTED_AT),
}
_CHANGES: tuple[str, ...] = (
    "created",
    "closed",
    "reopened",
    "snoozed",
    "self-unsnoozed",
    "marked-spam",
    "unmarked-spam",
)
_CHANGES += ("trashed", "untrashed", "merged", "deleted")

TICKET_TAG_CHANGES = View(
    name="ticket_tag_changes",
    grain="One row per event and tag that was added to a ticket or removed from it.",
    parent=EVENTS.name,
    nested={"added": Items("data", "tags_added"), "removed": Items("data", "tags_removed")},
    where="type IN ('ticket-tags-added', 'ticket-tags-removed')",
    needs=("tag_id",),
    values={
        **_EVENT,
        **_TICKET,
        integer("tag_id", "The tag; may be gone."): Nested(),
        string("change", "added or removed."): Origin(),
        **_WHEN,
        **_BY,
    },
)

TICKET_ASSIGNMENTS = View(
    name="ticket_assignments",
    grain="One row per event that gave a ticket to a user or a team, or to nobody.",
    parent=EVENTS.name,
    nested=One("data"),
    where="type IN ('ticket-assigned', 'ticket-unassigned', 'ticket-team-assigned', 'ticket-team-unassigned')",
    values={
        **_EVENT,
        **_TICKET,
        string("assignee", "user or team: which of the two changed."): Sql(
            "CASE WHEN {type} LIKE 'ticket-team-%' THEN 'team' ELSE 'user' END", type=Stored("type")
        ),
        integer("assignee_user_id", "The user in charge from then on; null for nobody."): Nested("assignee_user_id"),
        integer("assignee_team_id", "The team in charge from then on; null for none."): Nested("assignee_team_id"),
        boolean("is_automatic", "Whether Gorgias assigned the ticket by itself."): Nested("auto_assigned"),
        **_WHEN,
        **_BY,
    },
)

TICKET_STATUS_CHANGES = View(
    name="ticket_status_changes",
    grain="One row per event that changed the state of a ticket: created, closed, reopened, snoozed, merged …",
    parent=EVENTS.name,
    nested=Rows(),
    where="type IN ({})".format(", ".join(f"'ticket-{change}'" for change in _CHANGES)),
    values={
        **_EVENT,
        **_TICKET,
        string("change", f"{', '.join(_CHANGES)}."): Sql("SUBSTR({type}, LENGTH('ticket-') + 1)", type=Stored("type")),
        **_WHEN,
        **_BY,
    },
)

RULE_EXECUTIONS = View(
    name="rule_executions",
    grain="One row per event in which a rule fired.",
    parent=EVENTS.name,
    nested=One("data"),
    where="type = 'rule-executed'",
    values={
        **_EVENT,
        integer("rule_id", "The rule; may be gone."): Nested("id"),
        string("rule_name", "Name of the rule at that time."): Nested("name"),
        string("rule_type", "user, or one of Gorgias's own kinds."): Nested("type"),
        integer("ticket_id", "The ticket that it fired on; may be gone."): Sql(
            "CASE WHEN {kind} = 'Ticket' THEN {id} END", kind=Stored("object_type"), id=Stored("object_id")
        ),
        string("triggering_event_type", "What made it fire, such as ticket-created."): Nested("triggering_event_type"),
        integer("failed_actions", "Number of its actions that failed."): Length("failed_actions"),
        **_WHEN,
        **_BY,
    },
)
