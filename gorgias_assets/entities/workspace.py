"""The set-up of an account: integrations, saved views, widgets, settings, and the account itself."""

from gorgias_assets.columns import Harmless, Holding, Personal, below
from gorgias_assets.entities.model import Entity, Whole, boolean, integer, json, moment, string
from gorgias_assets.entities.shown import ANYTHING, DECORATION, PERSON, SECRETS

_WIDGET: Holding = dict.fromkeys(("type", "path", "title", "order"))
_TEMPLATE: Holding = {
    **_WIDGET,
    **below("widgets[]", _WIDGET),
    **below("widgets[].widgets[]", _WIDGET),
    **below("widgets[].widgets[].widgets[]", _WIDGET),
}
_API: Holding = {
    **dict.fromkeys(("scope", "measures[]", "dimensions[]", "filters[]", "filters[].member")),
    **dict.fromkeys(("filters[].values", "filters[].values[]")),
}
_LINKS: Holding = {"[]": None, "[].slug": None, "[].url": None}
# By type; all else of the settings may be a secret.
_SETTINGS: Holding = {
    **dict.fromkeys(("agent_cost_type", "agent_cost_per_ticket", "agent_ticket_per_hour")),
    **dict.fromkeys(("tickets.enabled", "tickets.merging_window_days", "email.enabled", "email.split_after_days")),
    **dict.fromkeys(("timezone", "business_hours[].days", "business_hours[].from_time", "business_hours[].to_time")),
    "email": None,  # of default-integration: its id
    "survey_interval": None,
    **dict.fromkeys(f"send_survey_for_{channel}" for channel in ("chat", "email", "contact_form", "help_center")),
    **dict.fromkeys(("unassign_on_reply", "assignment_channels[]", "auto_assign_to_teams")),
    **dict.fromkeys(("max_user_chat_ticket", "max_user_non_chat_ticket")),
    **dict.fromkeys(("hidden_views[]", "views.*.display_order", "views_top.*.display_order")),
    "views_bottom.*.display_order": None,
    **SECRETS,
}

INTEGRATIONS = Entity(
    name="integrations",
    path="/integrations",
    grain="One row per integration: a mailbox, a shop, a phone number, a chat, an app …",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the integration."),
        moment("created_datetime", "When the integration was created."),
        moment("deactivated_datetime", "When the integration was deactivated."),
        json("decoration", "How it looks, a chat's for example.", ANYTHING),
        string("description", "Description of the integration."),
        json(
            "http",
            "Of an HTTP integration nothing is kept, since its URL, headers and form may hold tokens; {} "
            "where there is one.",
            SECRETS,
            Harmless(),
        ),
        moment("locked_datetime", "When the integration was locked."),
        json(
            "meta",
            "Kept are address, of a mailbox, and shop_name, of a shop; all else may hold tokens and is withheld.",
            {"address": Personal.EMAIL, "shop_name": None, **SECRETS},
            Harmless(frozenset({"address", "shop_name"})),
        ),
        string("name", "Name of the integration."),
        string("type", "email, gmail, outlook, shopify, gorgias_chat, phone, http, app … An open list."),
        moment("updated_datetime", "When the integration last changed, also if Gorgias verified a mailbox."),
        json("user", "Who made it: {id}.", {"id": None}),
        string("uri", "Path of the integration in the API."),
        string("application_id", "The app that it belongs to."),
        boolean("managed", "Whether Gorgias manages it."),
        integer("business_hours_id", "Its business hours, if not those of the account."),
    ),
)

SAVED_VIEWS = Entity(
    name="views",
    path="/views",
    grain="One row per saved view of tickets or customers, as the key's user sees them.",
    read=Whole(),
    left_out=("filters_ast",),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the view."),
        string("category", "system or user."),
        moment("created_datetime", "When the view was created."),
        moment("deactivated_datetime", "When it was deactivated, for a tag or an integration that is gone."),
        json("decoration", "How it looks, such as {emoji}.", DECORATION),
        json("fields", "Columns that it shows: [name].", {"[]": None}),
        string("filters", "Its condition. The parse tree of it, filters_ast, is left out.", Personal.BODY),
        string("name", "Name of the view."),
        string("order_by", "The field that it is ordered by."),
        string("order_dir", "asc or desc."),
        string("search", "Text that it searches for.", Personal.BODY),
        json(
            "shared_with_teams",
            "Teams that see it.",
            {"[].id": None, "[].name": None, **below("[].decoration", DECORATION)},
        ),
        json("shared_with_users", "Users who see it.", below("[]", PERSON)),
        integer("section_id", "The section of the menu that it is in."),
        string("slug", "Name in URLs."),
        string("type", "ticket-list or customer-list."),
        string("uri", "Path of the view in the API."),
        string("visibility", "public, shared or private."),
    ),
)

WIDGETS = Entity(
    name="widgets",
    path="/widgets",
    grain="One row per widget: a part of the sidebar beside a ticket or a customer.",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the widget."),
        string("context", "Where it is shown: ticket, customer or user."),
        moment("created_datetime", "When the widget was created."),
        moment("deactivated_datetime", "When the widget was deactivated."),
        integer("integration_id", "The integration whose data it shows."),
        string("app_id", "The app whose data it shows."),
        integer("order", "Its place in the sidebar."),
        json("template", "Its layout: {type, widgets}.", _TEMPLATE),
        string("type", "Where its data comes from: shopify, http, custom …"),
        moment("updated_datetime", "When the widget last changed."),
        string("uri", "Path of the widget in the API."),
    ),
)

ACCOUNT = Entity(
    name="account",
    path="/account",
    grain="One row per account: the one whose tables these are.",
    read=Whole(order_by="", has_pages=False, id_from="domain"),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Made of the domain, since Gorgias gives the account no id: 63 bits of its SHA-256."),
        moment("created_datetime", "When the account was created."),
        json(
            "current_subscription",
            "Plan: {plan, start_datetime, status, trial_start_datetime, trial_end_datetime}.",
            dict.fromkeys(("plan", "start_datetime", "status", "trial_start_datetime", "trial_end_datetime")),
        ),
        moment("deactivated_datetime", "When the account was deactivated."),
        string("domain", "The subdomain of gorgias.com."),
        json("meta", "The company's domain and the like.", {"analytics_group_id": None, "company_domain": None}),
        json("settings", "Nothing is kept, since it repeats account_settings, secrets included.", SECRETS, Harmless()),
        json("status", "State: {status}.", {"status": None}),
    ),
)

ACCOUNT_SETTINGS = Entity(
    name="account_settings",
    path="/account/settings",
    grain="One row per group of the account's settings, such as its business hours.",
    read=Whole(order_by="", has_pages=False),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the settings."),
        string("type", "business-hours, satisfaction-surveys, auto-merge, ticket-assignment …"),
        json(
            "data",
            "The settings, by type. Those of access, which may hold secrets, and of types that are not known are "
            "withheld.",
            _SETTINGS,
            Harmless(
                by="type",
                whole=frozenset(
                    {
                        "agent-costs",
                        "auto-merge",
                        "auto-split",
                        "business-hours",
                        "default-integration",
                        "satisfaction-surveys",
                        "ticket-assignment",
                        "views-ordering",
                        "views-visibility",
                    }
                ),
            ),
        ),
    ),
)

METRIC_CARDS = Entity(
    name="metric_cards",
    path="/metric-cards",
    grain="One row per metric of Gorgias's statistics: its definition and formula.",
    read=Whole(order_by="", passes=((("include", "deprecated"),),), has_pages=False, id_from="slug"),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Made of the slug, since Gorgias gives metrics no id: 63 bits of its SHA-256."),
        string("slug", "Name in URLs."),
        string("category", "Category of the metric."),
        string("title", "Name of the metric."),
        string("status", "published or deprecated."),
        string("definition_revised_at", "When its definition was last revised."),
        json(
            "public",
            "Definition: {definition, formula, computation_logic}.",
            {"definition": None, "formula": None, "computation_logic[]": None},
        ),
        json("api", "How the API calculates it: {scope, measures, dimensions, filters}.", _API),
        json("aliases", "Other names.", _LINKS),
        json("related", "Related metrics: [{slug, url}].", _LINKS),
        json("replaces", "Metrics that it replaces: [{slug, url}].", _LINKS),
        json("used_in_reports", "Reports that show it.", _LINKS),
    ),
)
