"""Satisfaction surveys."""

from datetime import timedelta

from gorgias_assets.columns import Personal
from gorgias_assets.entities.model import ByDate, Entity, Parent, integer, json, moment, string
from gorgias_assets.entities.shown import ANYTHING

SATISFACTION_SURVEYS = Entity(
    name="satisfaction_surveys",
    path="/satisfaction-surveys",
    grain="One row per satisfaction survey; at most one per ticket, and it may outlive its ticket.",
    read=ByDate(
        order="created_datetime",
        touch_fields=("created_datetime", "sent_datetime", "scored_datetime"),
        look_back=timedelta(days=45),
        look_ahead=timedelta(days=1),  # a recorded survey was sent 118 minutes before its creation
    ),
    parent=Parent("tickets", "ticket_id"),
    columns=(
        integer("id", "Gorgias's id of the survey."),
        string("body_text", "The customer's comment, up to 1,000 characters.", Personal.BODY),
        moment("created_datetime", "When the survey was created."),
        integer("customer_id", "The customer asked; may be gone."),
        json("meta", "Arbitrary data attached to the survey.", ANYTHING),
        integer("score", "1 to 5; null until answered."),
        moment("scored_datetime", "When it was answered, days after created_datetime as a rule."),
        moment("sent_datetime", "When it was sent, hours after created_datetime as a rule."),
        moment("should_send_datetime", "When it is planned to be sent; a plan, not an event."),
        integer("ticket_id", "The ticket it asks about; may be gone."),
        string("uri", "Path of the survey in the API."),
    ),
)
