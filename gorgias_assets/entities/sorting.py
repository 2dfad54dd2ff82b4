"""The sorting of tickets and customers: tags, and the custom fields whose values they carry."""

from gorgias_assets.entities.model import Entity, Whole, boolean, integer, json, moment, string

TAGS = Entity(
    name="tags",
    path="/tags",
    grain="One row per tag.",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the tag."),
        json("decoration", "Color: {color}."),
        string("description", "Description, up to 1,024 characters."),
        string("name", "Name, unique in the account; capital letters count."),
        integer("usage", "Number of uses, maintained by Gorgias with a delay."),
        string("uri", "Path of the tag in the API."),
        moment("created_datetime", "When the tag was created."),
        moment("deleted_datetime", "Null in every list: a deleted or merged tag is no longer listed."),
    ),
)

CUSTOM_FIELDS = Entity(
    name="custom_fields",
    path="/custom-fields",
    grain="One row per custom field of tickets or customers, archived fields included.",
    read=Whole(
        order_by="priority:desc",
        passes=((("object_type", "Ticket"),), (("object_type", "Customer"),)),
    ),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the field: the key of its values in tickets and customers."),
        string("external_id", "Id of the field in another system."),
        string("object_type", "Ticket or Customer: which of them have values of it."),
        string("label", "Name of the field as agents see it; it can change."),
        string("description", "Description, up to 1,024 characters."),
        integer("priority", "Place among the fields, the highest first."),
        boolean("required", "Whether a value is required; requirement_type says more."),
        string("requirement_type", "visible, conditional or required."),
        string("managed_type", "Purpose of a field that Gorgias manages: contact_reason, ai_intent, call_status …"),
        json("definition", "Kind and choices: {data_type, input_settings}; levels of a choice are split by '::'."),
        moment("created_datetime", "When the field was created."),
        moment("updated_datetime", "When the field last changed, also if Gorgias extended its choices."),
        moment("deactivated_datetime", "When the field was archived; may lie in the future. Its values stay."),
    ),
)
