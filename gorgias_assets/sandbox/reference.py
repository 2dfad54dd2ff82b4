"""Everything that an account of some years has set up: its people, tags, macros, rules, fields, settings.

All of it is older than the events that Gorgias keeps, so that none of it left one. Each secret that Gorgias may hold is
there, and contains `objects.PLANTED`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import ACCOUNT_ID, KINDS, PLANTED

AGE = timedelta(days=900)
LEFT = "2024-11-05T09:00:00.250000+00:00"
MICROSECOND, MINUTE = timedelta(microseconds=1), timedelta(minutes=1)
APP = "68c0ffee00112233445566bb"
ROLES = ("admin", *["agent"] * 2, *["basic-agent"] * 12, *["lite-agent"] * 2, "observer-agent", "internal-agent")
FIRST = ("Alba", "Bela", "Cyril", "Dunja", "Espen", "Fleur", "Gaspar", "Hanne", "Ivo", "Jorun", "Kaja", "Levi")
LAST = ("Amsel", "Birk", "Corvo", "Dahl", "Esker", "Falk", "Gorse", "Heron", "Ilves")
METAS: Sequence[Mapping[str, object]] = (
    {},
    {"sso": None, "profile_picture_url": None, "name_set_via": "agent"},
    {"name_set_via": "email"},
    {"sso": None, "profile_picture_url": None},
)
DEPARTMENTS = {
    "Wholesale": {"emoji": "🏬"},
    "Warehouse": {"emoji": {"id": "package", "name": "Package", "native": "📦", "skin": None, "colons": ":package:"}},
    "Night desk": {},
    "Payments": {"emoji": "💳"},
}
THEMES = {
    "garment": ("coat", "shirt", "dress", "boots", "scarf", "belt", "skirt", "tights", "jumper", "backpack"),
    "country": ("gb", "de", "fr", "es", "pt", "nl", "se", "dk", "it", "us"),
    "season": ("ss23", "aw23", "ss24", "aw24", "ss25", "aw25"),
    "carrier": ("greenvan", "nordpost", "parcel-owl", "citycycle"),
    "payment": ("card", "gift-card", "transfer", "invoice", "instalments", "chargeback"),
    "step": (
        "asked-customer",
        "asked-warehouse",
        "asked-carrier",
        "photo-received",
        "replaced",
        "refunded",
        "escalate",
    ),
    "source": ("landing-page", "newsletter-link", "store", "marketplace", "influencer", "catalogue", "parcel-leaflet"),
}
LANGUAGES = ("en", "en", "en", "de", "fr", None)
INTENTS = ("shipping/status", "refund/status", "exchange/request", "order/cancel", "discount/request", None)
OCCASIONS = ("Ask for a photo", "Apologise", "Say thank you", "Send a voucher", "Explain the wait")
CHECKED = ("ticket.channel", "ticket.subject", "message.body", "ticket.customer.email", "ticket.language")
PROGRAM = {"type": "Program", "sourceType": "script"}
FILTERS = {
    "Mine": "eq(ticket.assignee_user.id, {{current_user.id}}) && eq(ticket.status, 'open')",
    "My teams": "containsAny(ticket.assignee_team.id, {{current_user.team_ids}})",
    "Everything": "",
    "Urgent": "eq(ticket.priority, 'critical')",
    "Waiting for a carrier": "containsAny(ticket.tags.name, ['asked-carrier'])",
    "Unanswered since yesterday": "lt(ticket.last_received_message_datetime, '1d')",
}
SHOPIFY = {"shop_name": "vale-and-quill", "shop_domain": "vale-and-quill.myshopify.com", "currency": "EUR"}
TRIGGERS = ("ticket-created", "ticket-updated", "ticket-message-created", "ticket-self-unsnoozed")
INTEGRATIONS: Mapping[str, Mapping[str, Any]] = {
    "Wholesale mailbox": {"meta": {"address": "wholesale@shop.example", "preferred": True, "verified": True}},
    "Press mailbox": {
        "type": "gmail",
        "meta": {"address": "press@shop.example", "oauth": {"refresh_token": f"1//{PLANTED}", "scope": "mail"}},
    },
    "Vale & Quill": {
        "type": "shopify",
        "meta": {**SHOPIFY, "oauth": {"access_token": f"shpat_{PLANTED}", "scope": "read_orders"}},
    },
    "Warehouse orders": {
        "type": "http",
        "http": {
            "url": f"https://warehouse.example/orders?token={PLANTED}",
            "method": "POST",
            "form": {"api_key": PLANTED},
            "headers": {"Authorization": f"Bearer {PLANTED}", "X-Api-Key": PLANTED},
            "request_content_type": "application/json",
            "response_content_type": "application/json",
            "triggers": dict.fromkeys(TRIGGERS, False),
            "oauth2": {"client_id": "shop", "client_secret": PLANTED},
        },
    },
    "Newsletters": {"type": "klaviyo", "meta": {"api_key": f"pk_{PLANTED}", "sync_status": "done"}},
    "Chat of the outlet": {"type": "gorgias_chat", "meta": {"shop_name": "outlet", "app_id": "41"}},
    "Old hotline": {"type": "phone", "meta": {"phone_number_id": 450, "emoji": None}},
    "Loyalty": {"type": "app", "meta": {"access_token": PLANTED}, "application_id": APP, "managed": True},
}
CHOICES = ("Shipping::Delay::Carrier", "Shipping::Delay::Warehouse", "Shipping::Lost", "Returns::Label", "Other")
FIELDS: Sequence[Mapping[str, Any]] = (
    {"label": "Cause", "managed_type": "contact_reason", "definition": ("text", "dropdown", {"choices": CHOICES})},
    {"label": "Article", "managed_type": "product", "definition": ("text", "dropdown", {"choices": ()})},
    {"label": "Order number", "definition": ("text", "input", {"placeholder": "#12345"}), "required": True},
    {"label": "Refunded", "definition": ("number", "input_number", {"min": "0", "max": 500})},
    {"label": "Photo received", "definition": ("boolean", "dropdown", {"choices": (True, False), "default": False})},
    {"label": "Goodwill", "definition": ("boolean", "dropdown", {}), "requirement_type": "conditional"},
    {"label": "Depot", "definition": ("text", "dropdown", {"choices": ("North", "South")}), "archived": -200},
    {"label": "Campaign", "definition": ("text", "input", {}), "archived": 1},
    {
        "label": "Newsletter",
        "object_type": "Customer",
        "definition": ("boolean", "dropdown", {"choices": (True, False)}),
    },
    {
        "label": "Kind of customer",
        "object_type": "Customer",
        "managed_type": "customer_type",
        "definition": ("text", "dropdown", {"choices": ("Private", "Business::Retail", "Business::Press")}),
    },
    {"label": "Shoe size", "object_type": "Customer", "definition": ("number", "input_number", {"min": 30, "max": 50})},
    {"label": "Old number", "object_type": "Customer", "definition": ("text", "input", {}), "archived": -400},
)
"""Definitions are a data type, a type of input, and the rest; `archived` counts days from now."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "satisfaction-surveys": {"survey_interval": 4, "send_survey_for_email": True, "send_survey_for_chat": False},
    "business-hours": {
        "timezone": "Europe/Lisbon",
        "business_hours": [
            {"days": "1,2,3,4,5", "from_time": "07:00", "to_time": "19:00"},
            {"days": "6", "from_time": "09:00", "to_time": "14:00"},
        ],
    },
    "ticket-assignment": {
        "unassign_on_reply": False,
        "assignment_channels": ["email", "chat"],
        "max_user_chat_ticket": 4,
    },
    "views-ordering": {"views": {"9001": {"display_order": 1}}, "views_top": {}, "views_bottom": {}},
    "access": {
        "signup_mode": "invite",
        "allowed_domains": ["shop.example"],
        "google_sso_enabled": True,
        "custom_sso_providers": {
            "okta": {"client_id": "shop", "client_secret": PLANTED, "server_metadata_url": "https://sso.example"}
        },
    },
    "views-visibility": {"hidden_views": []},
    "auto-merge": {"tickets": {"enabled": True, "merging_window_days": 5}},
    "auto-split": {"email": {"enabled": False, "split_after_days": 30}},
    "default-integration": {"email": 120_044},
    "agent-costs": {"agent_cost_type": "per_ticket", "agent_cost_per_ticket": 3.1, "agent_ticket_per_hour": 9},
}
SCOPES = ("tickets-created", "tickets-closed", "messages-sent", "satisfaction-surveys", "resolution-time", "tags")


def seed_reference(account: Account) -> None:
    """Give an account everything that one of some years has, as of long ago."""
    began = account.now - AGE
    with account.unnoticed():
        plan = {"plan": "pro-monthly", "start_datetime": began + timedelta(days=14), "status": "active"}
        trial = {"trial_start_datetime": began, "trial_end_datetime": began + timedelta(days=7)}
        about = {"current_subscription": plan | trial, "created_datetime": began}
        meta = {"analytics_group_id": f"group-{ACCOUNT_ID}", "company_domain": "shop.example"}
        account.update("account", ACCOUNT_ID, **about, meta=meta)
        for kind, rows in (
            ("users", _people()),
            ("teams", _teams(account)),
            ("tags", _tags()),
            ("macros", _macros(began)),
            ("rules", _rules()),
            ("integrations", _integrations(account)),
            ("custom_fields", _fields(account.now)),
            ("views", _views()),
            ("jobs", _jobs(account, began)),
            ("widgets", _widgets()),
            ("account_settings", _settings()),
            ("metric_cards", _cards()),
        ):
            apart = MICROSECOND if kind in ("tags", "custom_fields") else 7 * MINUTE
            for number, row in enumerate(rows):
                moment = began + timedelta(hours=1) + number * apart
                moments = {"created_datetime": moment} | ({} if kind == "macros" else {"updated_datetime": moment})
                account.create(kind, **_known(kind, moments) | row)


def _known(kind: str, moments: Mapping[str, datetime]) -> dict[str, datetime]:
    blank = KINDS[kind].blank
    return {name: moment for name, moment in moments.items() if name in blank}


def _people() -> Iterator[dict[str, Any]]:
    for number, (role, first, last) in enumerate(zip(ROLES, itertools.cycle(FIRST), itertools.cycle(LAST))):
        yield {
            "name": f"{first} {last}",
            "firstname": first,
            "lastname": last,
            "email": f"{first}.{last}@shop.example".lower(),
            "role": {"name": role},
            "meta": METAS[number % len(METAS)],
            "has_2fa_enabled": number % 3 == 0,
            "country": ("PT", "GB", None)[number % 3],
            "timezone": ("Europe/Lisbon", "Europe/London", None)[number % 3],
            **({"active": False, "deactivated_datetime": LEFT} if number == 9 else {}),
        }
    bot = {"role": {"name": "bot"}, "has_password": False, "lastname": "Bot"}
    yield {**bot, "name": "Loyalty Bot", "firstname": "Loyalty", "email": f"bot@{APP}", "client_id": APP}
    yield {**bot, "name": "Press Bot", "firstname": "Press", "email": "press@shop.example"}


def _teams(account: Account) -> Iterator[dict[str, Any]]:
    users = [user["id"] for user in account.rows("users") if user["role"]["name"] != "bot"]
    for number, (name, decoration) in enumerate(DEPARTMENTS.items()):
        members = [{"id": user} for user in users[number :: len(DEPARTMENTS)]]
        yield {"name": name, "decoration": decoration, "members": members}


def _tags() -> Iterator[dict[str, Any]]:
    names = [f"{theme}-{one}" for theme, ones in THEMES.items() for one in ones]
    for number, name in enumerate([*names, *(f"batch-{number:03}" for number in range(1, 51))]):
        color = {"color": f"#{number * 0x10C9 % 0x1000000:06x}"}
        about = {"description": f"Set by hand: {name}"} if number % 5 == 0 else {}
        yield {"name": name, "decoration": color if number % 3 else {}, "usage": number * 37 % 900, **about}


def _macros(began: datetime) -> Iterator[dict[str, Any]]:
    for number, (garment, occasion) in enumerate(itertools.product(THEMES["garment"], OCCASIONS)):
        text = f"Hello {{{{ticket.customer.firstname}}}}, about your {garment}: {occasion.lower()}."
        answer = {"body_text": text, "body_html": f"<div>{text}</div>"}
        actions = [{"name": "setResponseText", "title": "Add response text", "type": "user", "arguments": answer}]
        if number % 2:
            tags = {"tags": f"garment-{garment},step-asked-customer"}
            actions.append({"name": "addTags", "title": "Add tags", "type": "user", "arguments": tags})
        yield {
            "name": f"{occasion}: {garment}",
            "intent": INTENTS[number % len(INTENTS)],
            "language": LANGUAGES[number % len(LANGUAGES)],
            "usage": number * 53 % 400,
            "actions": actions,
            **({"updated_datetime": began + timedelta(days=300 + number)} if number % 4 == 0 else {}),
            **({"archived_datetime": began + timedelta(days=400 + number)} if number % 9 == 8 else {}),
        }


def _rules() -> Iterator[dict[str, Any]]:
    for number, (checked, country) in enumerate(itertools.product(CHECKED, THEMES["country"][:4])):
        lines = [
            f"if (containsAny({checked}, ['{country}', '{garment}'])) {{ Action('addTags', {{ tags: '{garment}' }}) }}"
            for garment in THEMES["garment"][: 2 + number % 4]
        ]
        yield {
            "name": f"Country {country} by {checked}",
            "code": "\n".join(lines),
            "code_ast": {**PROGRAM, "body": [_parsed(line, text) for line, text in enumerate(lines, 1)]},
            "event_types": (None, "ticket-created", "ticket-created,ticket-message-created")[number % 3],
            "priority": 100 - number,
            "type": "system" if number == 7 else "user",
            **({"deactivated_datetime": LEFT} if number % 6 == 5 else {}),
        }


def _parsed(line: int, text: str) -> dict[str, Any]:
    """Return something like a parse tree of a line, many times its size."""
    words = [
        {
            "type": "Identifier",
            "name": word,
            "range": [column, column + len(word)],
            "loc": {"start": {"line": line, "column": column}, "end": {"line": line, "column": column + len(word)}},
        }
        for column, word in enumerate(text.split())
    ]
    return {"type": "ExpressionStatement", "expression": {"type": "CallExpression", "arguments": words}}


def _integrations(account: Account) -> Iterator[dict[str, Any]]:
    for number, (name, about) in enumerate(INTEGRATIONS.items()):
        yield {"name": name, "user": {"id": account.owner_id}, **about} | (
            {"deactivated_datetime": LEFT} if number == 6 else {}
        )


def _fields(now: datetime) -> Iterator[dict[str, Any]]:
    for number, given in enumerate(FIELDS):
        field = dict(given)
        data_type, input_type, rest = field.pop("definition")
        days = field.pop("archived", None)
        yield {
            **field,
            "priority": len(FIELDS) - number,
            "definition": {"data_type": data_type, "input_settings": {"input_type": input_type, **rest}},
            "deactivated_datetime": None if days is None else now + timedelta(days=days),
        }


def _views() -> Iterator[dict[str, Any]]:
    for number, (name, filters) in enumerate(FILTERS.items()):
        yield {
            "name": name,
            "slug": "-".join(name.lower().split()),
            "category": "user",
            "fields": ["details", "tags", "customer", "last_message"],
            "filters": filters,
            "filters_ast": {**PROGRAM, "body": [filters]},
            "visibility": ("public", "shared", "private")[number % 3],
            "shared_with_teams": [{"id": 4101}] if number % 3 == 1 else [],
        }


def _jobs(account: Account, began: datetime) -> Iterator[dict[str, Any]]:
    by = {"user_id": account.owner_id, "started_datetime": began + timedelta(hours=2)}
    ended = began + timedelta(hours=3)
    closing = {"view_id": 9001, "updates": {"status": "closed"}}
    yield {**by, "status": "done", "params": closing, "ended_datetime": ended}
    yield {**by, "status": "done", "params": closing, "ended_datetime": ended, "cancel_requested_datetime": ended}
    yield {**by, "status": "canceled", "type": "exportTicket", "cancelled_datetime": ended}
    yield {**by, "status": "errored", "type": "applyMacro", "failed_datetime": ended, "params": {"ticket_ids": [1, 2]}}


def _widgets() -> Iterator[dict[str, Any]]:
    for number, kind in enumerate(("shopify", "http", "klaviyo", "customer_external_data", "custom", "standalone")):
        card = {"type": "card", "path": kind, "title": kind.title(), "widgets": []}
        context = ("ticket", "customer")[number % 2]
        yield {"type": kind, "context": context, "order": number, "template": {"type": "wrapper", "widgets": [card]}}


def _settings() -> Iterator[dict[str, Any]]:
    for kind, data in SETTINGS.items():
        yield {"type": kind, "data": data}


def _cards() -> Iterator[dict[str, Any]]:
    for scope, measure in itertools.product(SCOPES, ("total", "median", "share")):
        slug = f"{measure}-{scope}"
        yield {
            "slug": slug,
            "category": scope.partition("-")[0],
            "title": slug.replace("-", " ").capitalize(),
            "status": "deprecated" if measure == "share" else "published",
            "definition_revised_at": "2026-01-15",
            "public": {
                "definition": f"The {measure} of {scope}.",
                "formula": f"{measure}({scope})",
                "computation_logic": [],
            },
            "api": {"scope": scope, "measures": [measure], "dimensions": ["agentId"], "filters": []},
        }
