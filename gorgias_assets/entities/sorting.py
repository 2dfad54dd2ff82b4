"""The sorting of tickets and customers: tags, and the custom fields whose values they carry."""

from collections.abc import Mapping

from gorgias_assets.columns import Column, Holding, Kind, Personal
from gorgias_assets.entities.model import Entity, Whole, boolean, integer, json, moment, number, string
from gorgias_assets.entities.shown import DECORATION
from gorgias_assets.entities.view import Entries, Join, Name, Nested, Part, Source, Sql, View

TAGS = Entity(
    name="tags",
    path="/tags",
    grain="One row per tag.",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the tag."),
        json("decoration", "Color: {color}.", DECORATION),
        string("description", "Description, up to 1,024 characters."),
        string("name", "Name, unique in the account; capital letters count."),
        integer("usage", "Number of uses, maintained by Gorgias with a delay."),
        string("uri", "Path of the tag in the API."),
        moment("created_datetime", "When the tag was created."),
        moment("deleted_datetime", "Null in every list: a deleted or merged tag is no longer listed."),
    ),
)

_DEFINITION: Holding = {
    "data_type": None,
    **dict.fromkeys(f"input_settings.{name}" for name in ("input_type", "choices[]", "default", "placeholder")),
    **dict.fromkeys(("input_settings.min", "input_settings.max")),
}

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
        json(
            "definition",
            "Kind and choices: {data_type, input_settings}; levels of a choice are split by '::'.",
            _DEFINITION,
        ),
        moment("created_datetime", "When the field was created."),
        moment("updated_datetime", "When the field last changed, also if Gorgias extended its choices."),
        moment("deactivated_datetime", "When the field was archived; may lie in the future. Its values stay."),
    ),
)

_VALUE = Nested("value")
_OF_FIELD = Join(
    CUSTOM_FIELDS.name,
    key=Name(),
    columns={
        "label": "label",
        "managed_type": "managed_type",
        "data_type": "definition.data_type",
        "input_type": "definition.input_settings.input_type",
    },
)


def values_of_custom_fields(
    name: str, grain: str, parent: str, before: Mapping[Column, Source], after: Mapping[Column, Source]
) -> View:
    """Return the view of the values in the parent's `custom_fields`, with columns of the parent before and after."""
    return View(
        name=name,
        grain=grain,
        parent=parent,
        nested=Entries("custom_fields"),
        join=_OF_FIELD,
        needs=("value_text", "value_number", "value_boolean"),
        values={
            **before,
            integer("field_id", "The custom field."): Name(),
            string("label", "Name of the field as it is now."): Sql("custom_fields.label"),
            string("managed_type", "Purpose of a field that Gorgias manages."): Sql("custom_fields.managed_type"),
            string("value_text", "The value of a text field, or one that does not fit the field.", Personal.BODY): Sql(
                "CASE WHEN custom_fields.data_type = 'number' AND {number} IS NOT NULL "
                "OR custom_fields.data_type = 'boolean' AND {boolean} IS NOT NULL THEN NULL ELSE {text} END",
                text=_VALUE,
                number=Nested("value", Kind.NUMBER),
                boolean=Nested("value", Kind.BOOLEAN),
            ),
            number("value_number", "The value of a number field.", Personal.BODY): _value_of("number"),
            boolean("value_boolean", "The value of a yes-no field.", Personal.BODY): _value_of("boolean"),
            **{
                string(f"level_{level}", f"Level {level} of a choice; levels are split at '::'.", Personal.BODY): Sql(
                    "CASE WHEN custom_fields.data_type = 'text' AND custom_fields.input_type = 'dropdown' "
                    "THEN {level} END",
                    level=Part(_VALUE, "::", level),
                )
                for level in (1, 2, 3)
            },
            **after,
        },
    )


def _value_of(data_type: str) -> Source:
    return Sql(f"CASE WHEN custom_fields.data_type = '{data_type}' THEN {{value}} END", value=_VALUE)
