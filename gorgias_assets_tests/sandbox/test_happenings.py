"""The events of an account: what leaves which, whose doing they name, and what leaves none."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import ACCOUNT_ID, EVENTS

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


@pytest.fixture
def ticket(account: Account) -> int:
    """Create a ticket of somebody's, processed, and return its id; the clock is a minute later."""
    created = account.create("tickets", customer={"id": account.create("customers", name="Mara")["id"]})
    account.advance(timedelta(minutes=1))
    return int(created["id"])


def since(account: Account, before: int) -> list[dict[str, Any]]:
    return account.rows("events")[before:]


def happened(account: Account, change: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the types and data of the events of a change."""
    before = account.count("events")
    change()
    return [(event["type"], event["data"]) for event in since(account, before)]


@pytest.mark.parametrize(
    ("changes", "type_", "data"),
    [
        ({"assignee_user": {"id": 501100001}}, "ticket-assigned", {"assignee_user_id": 501100001}),
        ({"assignee_team": {"id": 4101}}, "ticket-team-assigned", {"assignee_team_id": 4101}),
        ({"snooze_datetime": MORNING + timedelta(days=1)}, "ticket-snoozed", None),
        ({"spam": True}, "ticket-marked-spam", None),
        ({"customer": {"id": 3, "name": "Ida"}}, "ticket-customer-updated", ...),
    ],
)
def test_a_ticket_s_change_names_what_changed(
    account: Account, ticket: int, changes: dict[str, Any], type_: str, data: object
) -> None:
    told, updated = happened(account, lambda: account.update("tickets", ticket, **changes))
    assert (told[0], updated) == (type_, ("ticket-updated", None))
    assert data is ... or told[1] == data


def test_what_is_taken_back_has_an_event_of_its_own(account: Account, ticket: int) -> None:
    team = account.create("teams", name="Returns")["id"]
    given = {"assignee_user": {"id": account.owner_id}, "assignee_team": {"id": team}, "spam": True}
    account.update("tickets", ticket, **given, trashed_datetime=MORNING)
    taken = dict.fromkeys([*given, "trashed_datetime"]) | {"spam": False}
    types = [type_ for type_, _ in happened(account, lambda: account.update("tickets", ticket, **taken))]
    assert types == [
        *("ticket-unassigned", "ticket-team-unassigned", "ticket-unmarked-spam", "ticket-untrashed"),
        "ticket-updated",
    ]


def test_tags_are_named_by_their_ids_and_nobody_removes_them_through_the_api(account: Account, ticket: int) -> None:
    one, two = (account.create("tags", name=name)["id"] for name in ("vip", "refund"))
    account.update("tickets", ticket, assignee_user={"id": account.owner_id}, tags=[{"id": one}])
    before = account.count("events")
    account.update("tickets", ticket, tags=[{"id": two}])
    with account.acting(account.owner_id):
        account.update("tickets", ticket, tags=[])
    told = [(event["type"], event["data"], event["user_id"]) for event in since(account, before)]
    assert told == [
        ("ticket-tags-added", {"tags_added": [two]}, account.owner_id),
        ("ticket-tags-removed", {"tags_removed": [one]}, None),
        ("ticket-updated", None, account.owner_id),
        ("ticket-tags-removed", {"tags_removed": [two]}, account.owner_id),
        ("ticket-updated", None, account.owner_id),
    ]


def test_a_rule_acts_as_nobody_and_in_one_context(account: Account, ticket: int) -> None:
    rule = account.create("rules", name="Tag chats", code="Action(…)")
    before = account.count("events")
    failed = [{"action_name": "replyToTicket", "failure_reason": "no mailbox"}]
    with account.executing(rule["id"], ticket, "ticket-message-created", failed):
        account.update("tickets", ticket, status="closed", assignee_user={"id": account.owner_id})
        account.create("messages", ticket_id=ticket, from_agent=True, rule_id=rule["id"])
    told = since(account, before)
    assert [event["type"] for event in told] == [
        *("ticket-closed", "ticket-assigned", "ticket-updated", "ticket-message-created"),
        "rule-executed",
    ]
    assert {event["user_id"] for event in told} == {None}
    assert len({event["context"] for event in told}) == 1
    assert (told[-1]["object_type"], told[-1]["object_id"]) == ("Ticket", ticket)
    assert told[-1]["data"] == {
        "id": rule["id"],
        "name": "Tag chats",
        "slug": "tag-chats",
        "code": "Action(…)",
        "triggering_event_type": "ticket-message-created",
        "failed_actions": failed,
        "type": "user",
    }
    account.update("tickets", ticket, status="open")
    assert account.rows("events")[-1]["context"] != told[-1]["context"]


@pytest.mark.parametrize(
    ("kind", "noun", "leaves"),
    [
        ("users", "user", ("created", "updated", "deleted")),
        ("teams", "team", ("created", "updated", "deleted")),
        ("macros", "macro", ("created", "updated", "deleted")),
        ("rules", "rule", ("created", "updated", "deleted")),
        ("integrations", "integration", ("created", "updated", "deleted")),
        ("views", "view", ("created", "updated", "deleted")),
        ("widgets", "widget", ("created", "updated", "deleted")),
        ("custom_fields", "custom-field", ("created", "updated")),
        ("jobs", "", ()),
        ("voice_calls", "", ()),
        ("metric_cards", "", ()),
    ],
)
def test_what_an_account_is_set_up_with_leaves_events(
    account: Account, kind: str, noun: str, leaves: tuple[str, ...]
) -> None:
    before = account.count("events")
    row_id = account.create(kind, name="Nova")["id"]
    account.update(kind, row_id, name="Vega")
    account.update(kind, row_id, name="Vega")
    account.delete(kind, row_id)
    told = since(account, before)
    assert [(event["type"], event["object_id"]) for event in told] == [(f"{noun}-{what}", row_id) for what in leaves]
    assert {event["user_id"] for event in told} <= {account.owner_id}


@pytest.mark.parametrize(
    ("kind", "fields", "changes", "types"),
    [
        ("tags", {"name": "vip"}, {"name": "VIP"}, ["tag-renamed", "tag-updated"]),
        ("tags", {"name": "vip"}, {"usage": 9}, []),
        ("rules", {"priority": 1}, {"priority": 9}, ["rule-priority-updated", "rule-updated"]),
        ("macros", {}, {"archived_datetime": MORNING}, ["macro-updated"]),
        ("integrations", {}, {"deactivated_datetime": MORNING}, ["integration-deactivated", "integration-updated"]),
        ("views", {}, {"deactivated_datetime": MORNING}, ["view-deactivated", "view-updated"]),
    ],
)
def test_some_changes_leave_more_than_that_something_was_updated(
    account: Account, kind: str, fields: dict[str, Any], changes: dict[str, Any], types: list[str]
) -> None:
    row_id = account.create(kind, **fields)["id"]
    assert happened(account, lambda: account.update(kind, row_id, **changes)) == [(type_, None) for type_ in types]


def test_the_account_has_a_number_in_events_alone(account: Account) -> None:
    account.update("account", ACCOUNT_ID, current_subscription={"status": "canceled"})
    setting = account.create("account_settings", type="auto-merge")["id"]
    account.update("account_settings", setting, data={"tickets": {}})
    told = [(event["type"], event["object_type"], event["object_id"]) for event in account.rows("events")]
    assert told == [
        ("account-updated", "Account", ACCOUNT_ID),
        ("account-setting-created", "AccountSetting", setting),
        ("account-setting-updated", "AccountSetting", setting),
    ]


def test_a_merged_tag_is_gone_from_the_list_and_from_tickets(account: Account, ticket: int, get: Get) -> None:
    source, into, other = (account.create("tags", name=name)["id"] for name in ("present", "gift", "vip"))
    both = account.create("tickets", tags=[{"id": tag} for tag in (into, source, other)])["id"]
    account.update("tickets", ticket, tags=[{"id": source}])
    account.advance(timedelta(minutes=1))
    before = {row["id"]: row["updated_datetime"] for row in account.rows("tickets")}
    assert happened(account, lambda: account.merge("tags", source, into)) == [("tag-merged", None)]
    assert account.rows("events")[-1]["object_id"] == source
    shown = {row["id"]: [tag["id"] for tag in row["tags"]] for row in account.rows("tickets")}
    assert shown == {ticket: [into], both: [into, other]}
    assert before == {row["id"]: row["updated_datetime"] for row in account.rows("tickets")}
    assert get(f"/tags/{source}").status_code == 404
    assert [tag["id"] for tag in get("/tags").json()["data"]] == [other, into]


def test_uses_are_counted_by_the_next_day(account: Account) -> None:
    tag, macro = account.create("tags", name="vip")["id"], account.create("macros", name="Hello")["id"]
    ticket = account.create("tickets", tags=[{"id": tag}])["id"]
    account.create("messages", ticket_id=ticket, macros=[{"id": macro}])
    account.update("tickets", account.create("tickets")["id"], tags=[{"id": tag}])
    account.advance(timedelta(hours=9))
    assert (account.rows("tags")[0]["usage"], account.rows("macros")[0]["usage"]) == (0, 0)
    account.update("tickets", ticket, tags=[])
    account.advance(timedelta(days=1))
    assert (account.rows("tags")[0]["usage"], account.rows("macros")[0]["usage"]) == (1, 1)


def test_a_survey_that_is_sent_or_scored_is_told_of_its_ticket(account: Account, ticket: int) -> None:
    before = account.count("events")
    survey = account.create("satisfaction_surveys", ticket_id=ticket)["id"]
    account.update("satisfaction_surveys", survey, sent_datetime=account.now)
    account.update("satisfaction_surveys", survey, score=5, body_text="Quick", scored_datetime=account.now)
    told = since(account, before)
    assert [(event["type"], event["data"]) for event in told] == [
        ("satisfaction-survey-sent", None),
        ("satisfaction-survey-responded", {"score": 5, "body_text": "Quick"}),
    ]
    assert {(event["object_type"], event["object_id"]) for event in told} == {("Ticket", ticket)}


def test_what_gorgias_does_after_the_fact_is_nobody_s_doing(account: Account) -> None:
    account.create("tickets", assignee_user={"id": account.owner_id})
    account.advance(timedelta(seconds=2))
    told = [(event["type"], event["user_id"]) for event in account.rows("events")]
    assert told == [("ticket-created", account.owner_id), ("ticket-updated", None)]


def test_an_event_may_go_with_no_change_of_a_row(account: Account) -> None:
    account.tell("users", account.owner_id, "logged-in", {"remote_addr": "203.0.113.7"}, account.owner_id)
    event = account.rows("events")[0]
    assert (event["type"], event["object_type"], event["user_id"]) == ("user-logged-in", "User", account.owner_id)


def test_what_is_unnoticed_leaves_no_event(account: Account) -> None:
    with account.unnoticed():
        account.delete("tags", account.create("tags", name="vip")["id"])
    assert account.count("events") == 0
    account.create("tags", name="refund")
    assert account.count("events") == 1


def test_ids_of_events_outgrow_four_bytes(account: Account) -> None:
    account.create("events", id=2**32 - 1, type="user-logged-in")
    account.create("tags", name="vip")
    account.create("tags", name="refund")
    assert EVENTS.first_id < 2**32 < account.rows("events")[-1]["id"]
