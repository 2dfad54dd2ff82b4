"""Objects that Gorgias shows inside others, and what these hold of a person."""

from gorgias_assets.columns import Holding, Personal, below

ANYTHING: Holding = {"**": Personal.UNDECLARED}

ABOUT_PERSON: Holding = {
    "name_set_via": None,
    "profile_picture_url": Personal.SECRET,
    "last_phone_call_ended_at": None,
    "sso.**": Personal.UNDECLARED,
}
"""The `meta` of customers and users."""

PERSON: Holding = {
    "id": None,
    "email": Personal.EMAIL,
    "name": Personal.NAME,
    "firstname": Personal.NAME,
    "lastname": Personal.NAME,
    "bio": Personal.BODY,
    **below("meta", ABOUT_PERSON),
}
"""A customer or a user."""

CONTACT: Holding = {"name": Personal.NAME, "address": Personal.EMAIL}
SOURCE: Holding = {
    "type": None,
    **below("from", CONTACT),
    **below("to[]", CONTACT),
    **below("cc[]", CONTACT),
    **below("bcc[]", CONTACT),
    "extra.include_thread": None,
}
"""The `source` of a message: its addresses."""

OTHER_MESSAGE: Holding = {
    "integration_id": None,
    "message_id": None,
    "created_datetime": None,
    "body_text": Personal.BODY,
    **below("source", SOURCE),
    **below("customer", PERSON),
    **below("user", PERSON),
}
"""The message on a social channel that one replies to or is replied by."""

ACTION: Holding = {
    "name": None,
    "title": None,
    "type": None,
    "status": None,
    "description": None,
    "arguments.body_text": Personal.BODY,
    "arguments.body_html": Personal.BODY,
    "arguments.subject": Personal.BODY,
    "arguments.tags": None,
}
"""An action of a macro."""

DECORATION: Holding = {
    **dict.fromkeys(("color", "emoji")),
    **dict.fromkeys(f"emoji.{name}" for name in ("id", "name", "native", "skin", "colons", "unified")),
}
"""A color or an emoji."""

VALUES: Holding = {"*.id": None, "*.value": Personal.BODY}
"""Values of custom fields by the fields' ids."""

SECRETS: Holding = {"**": Personal.SECRET}
"""The part that is withheld of a column that may hold secrets."""
