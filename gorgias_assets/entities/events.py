"""Events: what happened to which object, and who did it."""

from datetime import timedelta

from gorgias_assets.entities.model import ByFilter, Entity, integer, json, moment, string

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
        json("data", "Details by type, such as {assignee_user_id} or {tags_added: [id]}; null for most types."),
        integer("object_id", "The object that it happened to; may be gone."),
        string("object_type", "Kind of that object: Ticket, TicketMessage, Customer, Tag, User, Rule … An open list."),
        string("type", "What happened: ticket-created, ticket-assigned, rule-executed … An open list."),
        integer("user_id", "Who did it; null for rules, the system, customers, and some calls of the API."),
        string("uri", "Path of the event in the API."),
    ),
)
