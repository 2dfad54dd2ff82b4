"""Every kind of object in an account, by the fields of its list.

Those of a single object are not always the same (see `endpoints`).
"""

from dataclasses import dataclass, field
from datetime import timedelta

from gorgias_assets.sandbox.kinds import (
    ALWAYS,
    BY_CHANGE,
    BY_CREATION,
    BY_NAME,
    Filter,
    Kind,
    among,
    equal,
    is_set,
    nulls,
    one_of,
    padded,
    part_of,
    several,
    truth,
    whole,
)
from gorgias_assets.sandbox.moments import microseconds

VIEW_CONDITIONS = {
    "Inbox": "json_extract(body, '$.status') = 'open'",
    "Unassigned": "json_extract(body, '$.status') = 'open' AND assignee_user IS NULL",
    "All": "1",
    "Snoozed": "json_extract(body, '$.snooze_datetime') IS NOT NULL",
    "Closed": "json_extract(body, '$.status') = 'closed'",
    "Trash": "json_extract(body, '$.trashed_datetime') IS NOT NULL",
    "Spam": "json_extract(body, '$.spam')",
}
"""The system views of every account, by name."""

FIRST_VIEW, ACCOUNT_ID = 9001, 220_001
PLANTED = "planted-2f9c61d0"
"""A part of every secret in the account, by which a test finds what leaked."""


def view_condition() -> str:
    cases = (f"WHEN {number} THEN {sql}" for number, sql in enumerate(VIEW_CONDITIONS.values(), FIRST_VIEW))
    return f"CASE ? {' '.join(cases)} ELSE 0 END"


CUSTOMERS = Kind(
    name="customers",
    uri="",
    first_id=501_200_001,
    blank=nulls("external_id email name language timezone created_datetime updated_datetime meta data note")
    | {"active": True, "firstname": "", "lastname": "", "custom_fields": {}},
    orders=BY_CHANGE,
    filters={
        **equal("email"),
        **equal("external_id"),
        **equal("name"),
        **equal("language"),
        **equal("timezone"),
    },
    silent=frozenset({"custom_fields"}),
    noun="customer",
)

TICKETS = Kind(
    name="tickets",
    uri="/api/tickets/{id}/",
    first_id=80_550_001,
    blank=nulls(
        "external_id language customer assignee_user assignee_team subject summary meta created_datetime "
        "opened_datetime last_received_message_datetime last_message_datetime updated_datetime "
        "closed_datetime snooze_datetime trashed_datetime"
    )
    | {
        "status": "open",
        "priority": "normal",
        "channel": "email",
        "via": "email",
        "from_agent": False,
        "excerpt": "",
        "integrations": [],
        "tags": [],
        "messages_count": 0,
        "is_unread": True,
        "spam": False,
        "last_sent_message_not_delivered": False,
        "custom_fields": {},
    },
    joins={"customer": "person", "assignee_user": "agent", "assignee_team": "team", "tags": "tag"},
    orders=BY_CHANGE,
    filters={
        "customer_id": Filter("customer = ?", whole),
        **equal("external_id"),
        **among("ticket_ids", "id"),
        "trashed": Filter("(? OR json_extract(body, '$.trashed_datetime') IS NULL)", truth),
        "view_id": Filter(view_condition(), whole),
    },
    silent=frozenset({"custom_fields", "messages_count", "excerpt"}),
    noun="ticket",
    counts_rows=True,
)

OF_TICKET = {"ticket_id": Filter("ticket_id = ?", whole)}

MESSAGES = Kind(
    name="messages",
    uri="/api/tickets/{ticket_id}/messages/{id}/",
    first_id=210_900_001,
    blank=nulls(
        "message_id ticket_id external_id source sender receiver auth_customer_identity integration_id rule_id "
        "subject body_text body_html stripped_text stripped_html stripped_signature headers actions meta "
        "created_datetime processed_datetime sent_datetime failed_datetime deleted_datetime opened_datetime "
        "last_sending_error replied_by replied_to"
    )
    | {
        "public": True,
        "channel": "email",
        "via": "email",
        "from_agent": False,
        "imported": False,
        "intents": [],
        "attachments": [],
        "macros": [],
        "is_retriable": True,
    },
    joins={"sender": "person", "receiver": "person"},
    columns=("ticket_id",),
    filters=OF_TICKET,
    noun="ticket-message",
    untold=frozenset({"updated", "deleted"}),
)

SURVEYS = Kind(
    name="satisfaction_surveys",
    uri="/api/satisfaction-surveys/{id}/",
    first_id=6_650_001,
    blank=nulls(
        "body_text created_datetime customer_id meta score scored_datetime sent_datetime should_send_datetime ticket_id"
    ),
    columns=("ticket_id",),
    filters=OF_TICKET,
    noun="satisfaction-survey",
    untold=frozenset({"created", "updated", "deleted"}),
)

OBJECT_TYPES = (
    *("Account", "AccountSetting", "Macro", "Tag", "Customer", "Team", "View", "Widget", "CustomField"),
    *("CustomFieldCondition", "User", "TicketMessage", "Ticket", "Rule", "Integration", "SatisfactionSurvey"),
)
"""The types of object that events can be filtered by; there are more in rows."""

EVENTS = Kind(
    name="events",
    uri="/api/events/{id}/",
    first_id=4_294_960_001,
    blank=nulls("context created_datetime data object_id object_type type user_id"),
    filters={
        **equal("object_type", one_of(*OBJECT_TYPES)),
        **equal("object_id", whole),
        **among("types", "json_extract(body, '$.type')"),
        **among("user_ids", "json_extract(body, '$.user_id')"),
        **{
            f"created_datetime[{name}]": Filter(f"created {sign} ?", lambda sent: microseconds(sent[-1]))
            for name, sign in {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}.items()
        },
    },
)

USERS = Kind(
    name="users",
    uri="https://{domain}.gorgias.com/api/users/{id}/",
    first_id=501_100_001,
    blank=nulls("bio created_datetime country deactivated_datetime email external_id name timezone updated_datetime")
    | {
        "active": True,
        "firstname": "",
        "lastname": "",
        "has_password": True,
        "has_2fa_enabled": False,
        "language": "en",
        "meta": {},
        "role": {"name": "agent"},
        "client_id": None,
    },
    orders={
        **BY_NAME,
        "email": "coalesce(json_extract(body, '$.email'), '')",
        "role.name": "coalesce(json_extract(body, '$.role.name'), '')",
    },
    order="name:asc",
    filters={
        **equal("email"),
        **equal("external_id"),
        **among("roles", "json_extract(body, '$.role.name')"),
        **part_of("search", "name", "email"),
        "available_first": Filter(ALWAYS, truth),
    },
    noun="user",
    counts_rows=True,
)

TEAMS = Kind(
    name="teams",
    uri="/api/teams/{id}/",
    first_id=4101,
    blank={"name": None, "description": None, "decoration": {}, "members": [], "created_datetime": None},
    joins={"members": "member"},
    orders=BY_NAME,
    noun="team",
)

TAGS = Kind(
    name="tags",
    uri="/api/tags/{id}/",
    first_id=1_700_301,
    blank={**nulls("decoration description name created_datetime deleted_datetime"), "usage": 0},
    orders={**BY_NAME, "usage,name": f"{padded('usage')} || coalesce(json_extract(body, '$.name'), '')"},
    filters=part_of("search", "name"),
    silent=frozenset({"usage"}),
    noun="tag",
    counts_rows=True,
)

MACROS = Kind(
    name="macros",
    uri="/api/macros/{id}/",
    first_id=374_901,
    blank=nulls("external_id name intent language created_datetime updated_datetime archived_datetime")
    | {"usage": 0, "actions": []},
    orders={
        **BY_NAME,
        "updated_datetime": "coalesce(updated, 0)",
        "usage": padded("usage"),
        "relevance": padded("usage"),
        "language": "coalesce(json_extract(body, '$.language'), '')",
    },
    filters={
        **part_of("search", "name"),
        **among("languages", "json_extract(body, '$.language')"),
        "tags": Filter(
            "EXISTS (SELECT 1 FROM json_each(?) WHERE instr(json_extract(body, '$.actions'), value))", several
        ),
        **is_set("archived", "archived_datetime"),
        **{name: Filter(ALWAYS, whole) for name in ("ticket_id", "message_id", "number_predictions")},
    },
    assumes={"archived": "false"},
    silent=frozenset({"usage"}),
    noun="macro",
)

RULES = Kind(
    name="rules",
    uri="/api/rules/{id}/",
    first_id=120_901,
    blank=nulls("created_datetime updated_datetime deactivated_datetime description event_types settings name")
    | {"code": "", "code_ast": {"type": "Program", "sourceType": "script", "body": []}, "priority": 1, "type": "user"},
    noun="rule",
)

INTEGRATIONS = Kind(
    name="integrations",
    uri="/api/integrations/{id}/",
    first_id=120_043,
    blank=nulls(
        "created_datetime deactivated_datetime decoration description http locked_datetime name "
        "updated_datetime user application_id business_hours_id"
    )
    | {"meta": {}, "type": "email", "managed": False},
    filters=equal("type"),
    noun="integration",
    counts_rows=True,
)

VIEWS = Kind(
    name="views",
    uri="/api/views/{id}/",
    first_id=FIRST_VIEW,
    blank=nulls("created_datetime deactivated_datetime decoration name search section_id slug")
    | {
        "category": "system",
        "type": "ticket-list",
        "visibility": "public",
        "fields": [],
        "filters": "",
        "filters_ast": {"type": "Program", "sourceType": "script", "body": []},
        "order_by": "updated_datetime",
        "order_dir": "desc",
        "shared_with_teams": [],
        "shared_with_users": [],
    },
    filters=equal("category", one_of("system", "user")),
    noun="view",
    counts_rows=True,
)

CUSTOM_FIELDS = Kind(
    name="custom_fields",
    uri="",
    first_id=300_001,
    blank=nulls("external_id label description managed_type created_datetime updated_datetime deactivated_datetime")
    | {
        "object_type": "Ticket",
        "priority": 0,
        "required": False,
        "requirement_type": "visible",
        "definition": {"data_type": "text", "input_settings": {"input_type": "input"}},
    },
    orders={"priority": padded("priority")},
    order="priority:desc",
    filters={
        "object_type": Filter("json_extract(body, '$.object_type') = ?", one_of("Ticket", "Customer"), True),
        **part_of("search", "label"),
        **is_set("archived", "deactivated_datetime"),
    },
    noun="custom-field",
    untold=frozenset({"deleted"}),
    counts_rows=True,
)

JOBS = Kind(
    name="jobs",
    uri="/api/jobs/{id}/",
    first_id=1_551_901,
    blank=nulls(
        "cancel_requested_datetime cancelled_datetime created_datetime ended_datetime failed_datetime locked_datetime "
        "meta scheduled_datetime started_datetime user_id"
    )
    | {"info": {}, "params": {}, "status": "pending", "type": "updateTicket"},
    filters={**equal("status"), **equal("type")},
)

WIDGETS = Kind(
    name="widgets",
    uri="/api/widgets/{id}/",
    first_id=66_001,
    blank=nulls("created_datetime deactivated_datetime integration_id app_id updated_datetime")
    | {"context": "ticket", "order": 0, "template": {"type": "wrapper", "widgets": []}, "type": "custom"},
    orders={**BY_CREATION, "order": padded("order")},
    filters={**equal("integration_id", whole), **equal("app_id")},
    noun="widget",
)

ACCOUNT = Kind(
    name="account",
    uri="",
    first_id=ACCOUNT_ID,
    blank={
        "created_datetime": None,
        "current_subscription": {"plan": None, "start_datetime": None, "status": "active"}
        | nulls("trial_start_datetime trial_end_datetime"),
        "deactivated_datetime": None,
        "domain": None,
        "meta": {"analytics_group_id": f"group-{ACCOUNT_ID}", "company_domain": None},
        "settings": [],
        "status": {"status": "active"},
    },
    noun="account",
    has_pages=False,
    has_id=False,
)

ACCOUNT_SETTINGS = Kind(
    name="account_settings",
    uri="",
    first_id=8_801,
    blank={"type": None, "data": {}},
    path="account/settings",
    orders={"id": "id"},
    order="id:asc",
    takes_order=False,
    filters=equal("type"),
    noun="account-setting",
    untold=frozenset({"deleted"}),
    has_pages=False,
)

METRIC_CARDS = Kind(
    name="metric_cards",
    uri="",
    first_id=1,
    blank=nulls("slug category title definition_revised_at api")
    | {
        "status": "published",
        "public": {"definition": "", "formula": "", "computation_logic": []},
        **{name: [] for name in ("aliases", "related", "replaces", "used_in_reports")},
    },
    orders={"id": "id"},
    order="id:asc",
    takes_order=False,
    filters={
        **equal("category"),
        **equal("status"),
        **part_of("q", "title", "slug"),
        "include": Filter("(? = 'deprecated' OR json_extract(body, '$.status') <> 'deprecated')"),
    },
    assumes={"include": ""},
    has_pages=False,
    has_id=False,
)

UNORDERED = {**BY_CREATION, "shuffled": "printf('%010d', id * 2654435761 % 4294967296)"}
"""The orders that a list of calls may come in. It takes none."""

VOICE_CALLS = Kind(
    name="voice_calls",
    uri="",
    first_id=88_001,
    blank=nulls(
        "integration_id ticket_id phone_number_id external_id phone_number_source phone_number_destination "
        "country_source country_destination duration started_datetime created_datetime updated_datetime "
        "initiated_by_agent_id last_answered_by_agent_id last_rang_agent_id last_monitoring_agent_id customer_id "
        "termination_status queue_id status_in_queue answered_by_external_number answered_by_external_customer_id"
    )
    | {
        "provider": "twilio",
        "status": "initiated",
        "direction": "inbound",
        "has_voicemail": False,
        "has_call_recording": False,
        "summaries": [],
        "monitoring_status": "none",
    },
    path="phone/voice-calls",
    columns=("ticket_id",),
    orders=UNORDERED,
    takes_order=False,
    filters=OF_TICKET,
)

OF_CALL = {"call_id": Filter("call_id = ?", whole)}

VOICE_CALL_EVENTS = Kind(
    name="voice_call_events",
    uri="",
    first_id=990_001,
    blank=nulls("type call_id user_id customer_id created_datetime") | {"account_id": ACCOUNT_ID, "meta": {}},
    odd={"meta": "{}"},
    path="phone/voice-call-events",
    columns=("call_id",),
    orders=UNORDERED,
    order="created_datetime:asc",
    takes_order=False,
    filters=OF_CALL,
)

VOICE_CALL_RECORDINGS = Kind(
    name="voice_call_recordings",
    uri="",
    first_id=77_001,
    blank=nulls(
        "call_id external_id url duration created_datetime deleted_datetime deleted_by_user_id error_code "
        "transcription_status"
    )
    | {"type": "call-recording"},
    path="phone/voice-call-recordings",
    columns=("call_id",),
    orders=UNORDERED,
    takes_order=False,
    filters=OF_CALL,
)

CORE = (CUSTOMERS, TICKETS, MESSAGES, SURVEYS)
REFERENCE = (
    *(USERS, TEAMS, TAGS, MACROS, RULES, INTEGRATIONS, VIEWS, CUSTOM_FIELDS, JOBS, WIDGETS),
    *(ACCOUNT, ACCOUNT_SETTINGS, METRIC_CARDS),
)
VOICE = (VOICE_CALLS, VOICE_CALL_EVENTS, VOICE_CALL_RECORDINGS)
KINDS = {kind.name: kind for kind in (*CORE, EVENTS, *REFERENCE, *VOICE)}


@dataclass
class Habits:
    """The answers of lists where Gorgias is not documented, or known to differ. A test changes them.

    - `assumes`: by kind, the parameters that count as sent if they are not; `order_by` too, also of a list that takes
      none: `habits.assumes["voice_calls"]["order_by"] = "shuffled:asc"`.
    - `bare_orders`: the kinds whose `order_by` may lack a direction.
    - `needs`: by kind, the parameters that are refused without another one.
    - `answers_within`: the time of a first response that an SLA promises for each ticket; None without an SLA.
    - `statistics_lag`: how far statistics are behind the rows.
    - `broken_scopes`: the statuses of errors, by the scopes that answer them each time.
    - `names_steps`: True if statistics name the day of a row `createdDatetime.day`, and not `createdDatetime`.
    """

    assumes: dict[str, dict[str, str]] = field(
        default_factory=lambda: {kind.name: dict(kind.assumes) for kind in KINDS.values()}
    )
    bare_orders: set[str] = field(default_factory=lambda: {"tags", "macros"})
    needs: dict[str, dict[str, str]] = field(default_factory=dict)
    answers_within: timedelta | None = None
    statistics_lag: timedelta = timedelta(minutes=5)
    broken_scopes: dict[str, int] = field(default_factory=dict)
    names_steps: bool = False
