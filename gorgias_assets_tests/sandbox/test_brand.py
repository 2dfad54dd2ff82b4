"""A brand lives in every kind of object: a dashboard can be built on it, and every table of an account fills."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.objects import KINDS

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 14
WEEK_BEGINS = (MONDAY + timedelta(days=DAYS - 7)).isoformat()
Row = dict[str, Any]


def lived(*days: float, seed: int = 1, tickets_per_day: float = 40) -> Account:
    account = Account(now=MONDAY)
    brand = Brand(account, seed=seed, tickets_per_day=tickets_per_day)
    for day in days:
        brand.live(until=MONDAY + timedelta(days=day))
    return account


@pytest.fixture(scope="module")
def account() -> Account:
    return lived(DAYS)


@pytest.fixture(scope="module")
def rows(account: Account) -> dict[str, list[Row]]:
    return {kind: account.rows(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def happened(rows: dict[str, list[Row]]) -> Counter[str]:
    return Counter(event["type"] for event in rows["events"])


def senders(rows: dict[str, list[Row]], role: str) -> set[int]:
    return {user["id"] for user in rows["users"] if user["role"]["name"] == role}


def test_the_same_seed_is_the_same_life_however_time_is_cut() -> None:
    straight, cut = lived(2, tickets_per_day=15), lived(0.3, 1.1, 1.1, 1.999, 2, tickets_per_day=15)
    for kind in KINDS:
        assert straight.rows(kind) == cut.rows(kind), kind


def test_every_kind_has_rows(rows: dict[str, list[Row]]) -> None:
    assert [kind for kind in KINDS if not rows[kind]] == []


def test_customers_write_on_every_channel_and_messages_name_it(rows: dict[str, list[Row]]) -> None:
    channels = Counter(ticket["channel"] for ticket in rows["tickets"])
    assert channels["email"] > channels["chat"] > channels["whatsapp"] > 0
    assert channels.keys() >= {"contact_form", "help-center", "instagram-comment", "phone", "sms"}
    assert {ticket["via"] for ticket in rows["tickets"]} >= {"email", "gorgias_chat", "instagram", "whatsapp"}
    connected = {integration["id"] for integration in rows["integrations"]}
    for message in rows["messages"]:
        assert message["source"] is None or message["source"]["type"] == message["channel"]
        assert message["integration_id"] is None or message["integration_id"] in connected
    assert {ticket["language"] for ticket in rows["tickets"]} >= {"en", "de", "fr", "es"}
    assert {ticket["priority"] for ticket in rows["tickets"]} == {"low", "normal", "high", "critical"}


def test_nights_and_weekends_are_quiet_and_mondays_busy(rows: dict[str, list[Row]]) -> None:
    moments = [datetime.fromisoformat(ticket["created_datetime"]) for ticket in rows["tickets"]]
    hours, days = Counter(moment.hour for moment in moments), Counter(moment.weekday() for moment in moments)
    assert sum(hours[hour] for hour in range(6)) < sum(hours[hour] for hour in range(8, 14)) / 5
    assert days[0] > max(days[5], days[6])
    people = senders(rows, "basic-agent")
    answered = [
        datetime.fromisoformat(message["created_datetime"])
        for message in rows["messages"]
        if message["sender"] and message["sender"]["id"] in people
    ]
    assert answered
    assert all(moment.weekday() < 6 and moment.hour >= 7 for moment in answered)


def test_agents_come_move_and_leave(rows: dict[str, list[Row]], happened: Counter[str]) -> None:
    assert senders(rows, "bot")
    assert senders(rows, "observer-agent")
    assert senders(rows, "lite-agent")
    here = [user for user in rows["users"] if user["created_datetime"] >= MONDAY.isoformat()]
    assert any(user["deactivated_datetime"] for user in here)
    assert any(user["created_datetime"] > (MONDAY + timedelta(days=1)).isoformat() for user in here)
    assert happened["team-updated"] > 5
    assert happened["user-updated"]
    assert happened["user-logged-in"]
    assert all(any(team["members"]) for team in rows["teams"])


def test_tickets_are_assigned_to_teams_and_people_and_moved(rows: dict[str, list[Row]], happened: Counter[str]) -> None:
    assigned = Counter(event["object_id"] for event in rows["events"] if event["type"] == "ticket-assigned")
    assert max(assigned.values()) > 1
    assert happened["ticket-team-assigned"] > happened["ticket-created"] * 0.8
    assert any(message["channel"] == "internal-note" for message in rows["messages"])


def test_people_rules_and_the_ai_agent_reply_apart(rows: dict[str, list[Row]]) -> None:
    replies = [message for message in rows["messages"] if message["from_agent"] and message["public"]]
    ai_agent = next(user["id"] for user in rows["users"] if user["name"] == "AI Agent")
    by_rules = [message for message in replies if message["via"] == "rule"]
    by_ai = [message for message in replies if message["sender"] and message["sender"]["id"] == ai_agent]
    by_people = [message for message in replies if message["via"] in ("helpdesk", "phone")]
    assert len(replies) == len(by_rules) + len(by_ai) + len(by_people)
    assert min(map(len, (by_rules, by_ai, by_people))) > 20
    fired = {rule["id"] for rule in rows["rules"]}
    assert all(message["rule_id"] in fired for message in by_rules)
    tags = Counter(tag["name"] for ticket in rows["tickets"] for tag in ticket["tags"])
    assert all(tags[name] for name in ("ai_answered", "ai_close", "ai_handover", "ai_snooze"))


def test_rules_fire_in_the_context_of_what_they_do(rows: dict[str, list[Row]], happened: Counter[str]) -> None:
    executed = [event for event in rows["events"] if event["type"] == "rule-executed"]
    contexts = Counter(event["context"] for event in rows["events"])
    assert len(executed) > 100
    assert all(contexts[event["context"]] > 1 for event in executed if not event["data"]["failed_actions"])
    assert any(event["data"]["failed_actions"] for event in executed)
    assert all(event["user_id"] is None for event in executed)
    assert happened["rule-updated"]


def test_tags_are_made_renamed_and_merged(rows: dict[str, list[Row]], happened: Counter[str]) -> None:
    assert happened["tag-renamed"]
    assert happened["tag-merged"]
    assert happened["tag-created"]
    assert happened["ticket-tags-added"] > happened["ticket-tags-removed"] > 0
    known = {tag["id"] for tag in rows["tags"]}
    assert {tag["id"] for ticket in rows["tickets"] for tag in ticket["tags"]} <= known


def test_fields_have_values_of_every_type(rows: dict[str, list[Row]]) -> None:
    fields = {str(field["id"]): field["definition"]["data_type"] for field in rows["custom_fields"]}
    types = {"text": str, "number": float, "boolean": bool}
    values = [
        (fields[field], said["value"]) for ticket in rows["tickets"] for field, said in ticket["custom_fields"].items()
    ]
    assert {data_type for data_type, _ in values} == set(types)
    assert any(value is None for _, value in values)
    assert all(value is None or isinstance(value, types[data_type]) for data_type, value in values)
    assert any(isinstance(value, str) and value.count("::") == 2 for _, value in values)
    assert any(customer["custom_fields"] for customer in rows["customers"])


def test_messages_hold_macros_intents_attachments_and_copies(rows: dict[str, list[Row]]) -> None:
    macros = {macro["id"] for macro in rows["macros"]}
    used = {macro["id"] for message in rows["messages"] for macro in message["macros"]}
    assert used
    assert used <= macros
    assert any(message["attachments"] for message in rows["messages"])
    assert any((message["source"] or {}).get("cc") for message in rows["messages"])
    assert any(ticket["summary"] for ticket in rows["tickets"])
    assert any(len(message["intents"]) == 2 for message in rows["messages"])
    assert all(message["intents"] == [] for message in rows["messages"] if message["from_agent"])


def test_conversations_are_reopened_merged_deleted_put_to_sleep_and_thrown_out(
    rows: dict[str, list[Row]], happened: Counter[str]
) -> None:
    for what in ("reopened", "merged", "deleted", "snoozed", "self-unsnoozed", "trashed", "marked-spam"):
        assert happened[f"ticket-{what}"], what
    assert any(ticket["created_datetime"] < "2026-03" for ticket in rows["tickets"]), "imports"
    written = Counter(message["ticket_id"] for message in rows["messages"])
    assert {ticket["id"]: ticket["messages_count"] for ticket in rows["tickets"]} == {
        ticket["id"]: written[ticket["id"]] for ticket in rows["tickets"]
    }


def test_surveys_are_scored_with_comments(rows: dict[str, list[Row]]) -> None:
    scores = Counter(survey["score"] for survey in rows["satisfaction_surveys"])
    assert scores[5] > scores[3] > 0
    assert any(survey["body_text"] for survey in rows["satisfaction_surveys"])
    assert len({survey["ticket_id"] for survey in rows["satisfaction_surveys"]}) == len(rows["satisfaction_surveys"])


def test_jobs_run_and_are_called_off(rows: dict[str, list[Row]]) -> None:
    jobs = [job for job in rows["jobs"] if job["created_datetime"] > MONDAY.isoformat()]
    assert {job["status"] for job in jobs} == {"done", "canceled", "errored"}
    assert {job["type"] for job in jobs} == {"exportTicket", "deleteTicket", "updateTicket", "applyMacro"}


def test_settings_change(happened: Counter[str]) -> None:
    for what in ("view-created", "view-deleted", "account-setting-updated", "widget-updated", "account-updated"):
        assert happened[what], what


def test_calls_ring_and_are_answered_missed_recorded_and_summed_up(rows: dict[str, list[Row]]) -> None:
    calls, recordings = rows["voice_calls"], rows["voice_call_recordings"]
    assert {call["direction"] for call in calls} == {"inbound", "outbound"}
    assert {call["termination_status"] for call in calls} >= {"answered", "missed", "abandoned"}
    assert any(call["has_voicemail"] for call in calls)
    assert any(call["summaries"] for call in calls)
    assert {recording["type"] for recording in recordings} == {"call-recording", "voicemail"}
    assert any(recording["deleted_datetime"] for recording in recordings)
    told = Counter(event["type"] for event in rows["voice_call_events"])
    assert told["incoming-phone-call"] > told["phone-call-answered"] - told["outgoing-phone-call-connected"] > 0
    assert told["missed-phone-call"]
    talks = {ticket["id"] for ticket in rows["tickets"] if ticket["channel"] == "phone"}
    assert len({call["ticket_id"] for call in calls} & talks) > len(talks) / 2


def test_the_last_week_is_worth_a_dashboard(rows: dict[str, list[Row]]) -> None:
    """The demo shows seven days."""
    week = {kind: [row for row in rows[kind] if row["created_datetime"] >= WEEK_BEGINS] for kind in WITH_DATES}
    happened = Counter(event["type"] for event in week["events"])
    assert len({ticket["channel"] for ticket in week["tickets"]}) > 5
    assert min(happened[f"ticket-{what}"] for what in ("reopened", "merged", "unassigned", "team-assigned")) > 0
    assert {message["via"] for message in week["messages"]} >= {"api", "helpdesk", "rule"}
    assert len(week["voice_calls"]) > 10


WITH_DATES = ("tickets", "messages", "events", "voice_calls")
