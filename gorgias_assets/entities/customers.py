"""Customers."""

from datetime import timedelta

from gorgias_assets.columns import EXTRACTED_AT, Personal
from gorgias_assets.entities.model import ByDate, Entity, boolean, integer, json, moment, string
from gorgias_assets.entities.shown import ABOUT_PERSON, ANYTHING, VALUES
from gorgias_assets.entities.sorting import values_of_custom_fields
from gorgias_assets.entities.view import Stored, read_at

CUSTOMERS = Entity(
    name="customers",
    path="/customers",
    grain="One row per customer of the helpdesk.",
    read=ByDate(
        order="updated_datetime",
        touch_fields=("created_datetime", "updated_datetime"),
        look_back=timedelta(0),
    ),
    gone_events=("customer-deleted", "customer-merged"),
    columns=(
        integer("id", "Gorgias's id of the customer; agents' ids come from the same sequence."),
        string("external_id", "Id of the customer in the shop's own system."),
        boolean("active", "Whether the customer is active."),
        string("email", "Primary e-mail address; one customer per address.", Personal.EMAIL),
        string("name", "Full name.", Personal.NAME),
        string("firstname", "First name; empty when unknown.", Personal.NAME),
        string("lastname", "Last name; empty when unknown.", Personal.NAME),
        string("language", "Language, ISO 639-1."),
        string("timezone", "IANA time zone."),
        moment("created_datetime", "When the customer was created."),
        moment(
            "updated_datetime",
            "When the customer's own fields last changed. Custom field values, merges and new tickets do not move it.",
        ),
        json("meta", "Where the name came from, profile picture and the like.", ABOUT_PERSON),
        json("data", "Arbitrary data that the shop attached to the customer.", ANYTHING),
        string("note", "Agents' note about the customer.", Personal.BODY),
        json("custom_fields", "Custom field values by field id: {id: {id, value}}.", VALUES),
    ),
)

CUSTOMER_CUSTOM_FIELDS = values_of_custom_fields(
    "customer_custom_fields",
    "One row per customer and custom field with a value, as of the reading: a new value does not move the customer.",
    CUSTOMERS.name,
    before={integer("customer_id", "The customer."): Stored("id")},
    after={
        moment("customer_created_datetime", "When the customer was created."): Stored("created_datetime"),
        read_at("customer"): Stored(EXTRACTED_AT),
    },
)
