"""The effects of each change to an account, and the absence of others."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


MINUTE = timedelta(minutes=1)


@pytest.fixture
def mara(account: Account) -> dict[str, Any]:
    return account.create("customers", name="Mara Quill", email="mara@example.com")


@pytest.fixture
def ticket(account: Account, mara: dict[str, Any]) -> dict[str, Any]:
    """Create a ticket of Mara's with one message, processed; the clock is a minute later."""
    created = account.create("tickets", customer={"id": mara["id"]}, subject="Parcel")
    account.create("messages", ticket_id=created["id"], sender={"id": mara["id"]}, body_text="Where is it?")
    account.advance(MINUTE)
    return row(account, "tickets", created["id"])


def row(account: Account, kind: str, row_id: int) -> dict[str, Any]:
    found = account.row(kind, row_id)
    assert found is not None
    return found


def events(account: Account) -> list[tuple[str, int]]:
    return [(event["type"], event["object_id"]) for event in account.rows("events")]


def test_a_new_ticket_is_bumped_again_within_two_seconds(account: Account) -> None:
    fresh = account.create("tickets")
    assert (fresh["updated_datetime"], fresh["language"], fresh["excerpt"]) == (fresh["created_datetime"], None, "")
    account.advance(timedelta(seconds=2))
    settled = row(account, "tickets", fresh["id"])
    assert "2026-03-01T08:00:00.2" < settled["updated_datetime"] < "2026-03-01T08:00:02"
    assert settled["language"] == "en"


def test_an_import_keeps_the_datetimes_it_came_with(account: Account) -> None:
    old = account.create("tickets", created_datetime=MORNING - timedelta(days=900))
    older = account.create("tickets", created_datetime="2020-01-01T00:00:00", updated_datetime="2020-01-02T00:00:00")
    account.advance(MINUTE)
    assert row(account, "tickets", old["id"])["updated_datetime"] > "2026-03-01T08:00:00"
    assert row(account, "tickets", older["id"]) == older
    assert older["updated_datetime"] == "2020-01-02T00:00:00"


def test_a_message_bumps_its_ticket_and_fills_it_in(account: Account, ticket: dict[str, Any]) -> None:
    assert (ticket["messages_count"], ticket["excerpt"]) == (1, "Where is it?")
    account.create("messages", ticket_id=ticket["id"], from_agent=True, body_text="On its way.")
    answered = row(account, "tickets", ticket["id"])
    assert answered["messages_count"] == 2
    assert answered["updated_datetime"] == answered["last_message_datetime"] == "2026-03-01T08:01:00+00:00"
    assert answered["last_received_message_datetime"] == "2026-03-01T08:00:00+00:00"


def test_an_internal_note_is_no_last_message(account: Account, ticket: dict[str, Any]) -> None:
    account.create("messages", ticket_id=ticket["id"], from_agent=True, public=False)
    assert row(account, "tickets", ticket["id"])["last_message_datetime"] == ticket["last_message_datetime"]


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"status": "closed"}, "ticket-closed"),
        ({"subject": "Refund"}, "ticket-subject-updated"),
        ({"assignee_user": {"id": 501100001}}, "ticket-assigned"),
        ({"trashed_datetime": MORNING}, "ticket-trashed"),
        ({"priority": "high"}, "ticket-updated"),
    ],
)
def test_a_changed_ticket_is_bumped(
    account: Account, ticket: dict[str, Any], changes: dict[str, Any], event: str
) -> None:
    account.update("tickets", ticket["id"], **changes)
    assert row(account, "tickets", ticket["id"])["updated_datetime"] == "2026-03-01T08:01:00+00:00"
    assert (event, ticket["id"]) in events(account)
    assert events(account)[-1] == ("ticket-updated", ticket["id"])


def test_tags_bump_when_put_on_and_taken_off_and_not_when_renamed(account: Account, ticket: dict[str, Any]) -> None:
    tag = account.create("tags", name="refund")
    account.update("tickets", ticket["id"], tags=[{"id": tag["id"]}])
    tagged = row(account, "tickets", ticket["id"])
    assert tagged["tags"] == [{"id": tag["id"], "name": "refund", "decoration": {}}]
    account.advance(MINUTE)
    account.update("tags", tag["id"], name="money back")
    renamed = row(account, "tickets", ticket["id"])
    assert renamed["tags"][0]["name"] == "money back"
    assert renamed["updated_datetime"] == tagged["updated_datetime"]
    account.update("tickets", ticket["id"], tags=[])
    assert row(account, "tickets", ticket["id"])["updated_datetime"] > tagged["updated_datetime"]
    assert [kind for kind, _ in events(account) if "tags" in kind] == ["ticket-tags-added", "ticket-tags-removed"]


def test_closing_and_reopening_keep_the_closed_datetime(account: Account, ticket: dict[str, Any]) -> None:
    account.update("tickets", ticket["id"], status="closed")
    assert row(account, "tickets", ticket["id"])["closed_datetime"] == "2026-03-01T08:01:00+00:00"
    account.update("tickets", ticket["id"], status="open")
    assert row(account, "tickets", ticket["id"])["closed_datetime"] is None
    assert ("ticket-reopened", ticket["id"]) in events(account)


@pytest.mark.parametrize("changes", [{"subject": "Parcel"}, {"custom_fields": {"3": {"id": 3, "value": "x"}}}, {}])
def test_nothing_new_and_custom_fields_do_not_bump_a_ticket(
    account: Account, ticket: dict[str, Any], changes: dict[str, Any]
) -> None:
    before = events(account)
    account.update("tickets", ticket["id"], **changes)
    after = row(account, "tickets", ticket["id"])
    assert after == ticket | changes
    assert events(account) == before


def test_editing_and_deleting_a_message_leave_no_trace_but_the_count(account: Account, ticket: dict[str, Any]) -> None:
    before, message = events(account), account.rows("messages")[0]
    account.update("messages", message["id"], body_text="Rewritten", sent_datetime=MORNING - MINUTE)
    assert account.rows("messages")[0]["sent_datetime"] == "2026-03-01T07:59:00+00:00"
    assert row(account, "tickets", ticket["id"]) == ticket
    account.delete("messages", message["id"])
    assert row(account, "tickets", ticket["id"]) == ticket | {"messages_count": 0, "excerpt": None}
    assert events(account) == before


def test_a_survey_moves_without_a_bump(account: Account, ticket: dict[str, Any]) -> None:
    survey = account.create("satisfaction_surveys", ticket_id=ticket["id"], customer_id=ticket["customer"]["id"])
    account.advance(timedelta(days=9))
    account.update("satisfaction_surveys", survey["id"], score=5, scored_datetime=account.now)
    scored = account.rows("satisfaction_surveys")[0]
    assert (scored["score"], scored["scored_datetime"]) == (5, "2026-03-10T08:01:00+00:00")
    assert scored["created_datetime"] == survey["created_datetime"]
    assert "updated_datetime" not in scored
    assert row(account, "tickets", ticket["id"]) == ticket


def test_a_customer_is_bumped_by_a_new_name_and_by_nothing_else(account: Account, mara: dict[str, Any]) -> None:
    assert mara["updated_datetime"] == "2026-03-01T08:00:00.000010+00:00"
    account.advance(MINUTE)
    account.update("customers", mara["id"], name="Mara Quill", custom_fields={"3": {"id": 3, "value": "VIP"}})
    account.create("tickets", customer={"id": mara["id"]})
    assert row(account, "customers", mara["id"])["updated_datetime"] == mara["updated_datetime"]
    account.update("customers", mara["id"], name="Mara Vale")
    assert row(account, "customers", mara["id"])["updated_datetime"] == "2026-03-01T08:01:00+00:00"


def test_a_renamed_customer_shows_in_old_tickets_and_messages(
    account: Account, mara: dict[str, Any], ticket: dict[str, Any]
) -> None:
    account.update("customers", mara["id"], name="Mara Vale")
    shown = row(account, "tickets", ticket["id"])
    assert shown["customer"]["name"] == account.rows("messages")[0]["sender"]["name"] == "Mara Vale"
    assert shown["updated_datetime"] == ticket["updated_datetime"]


def test_a_join_shows_an_agent_with_a_biography_and_a_team(account: Account) -> None:
    agent = account.create("users", name="Jonas", bio="Returns")
    team = account.create("teams", name="Returns")
    ticket = account.create("tickets", assignee_user={"id": agent["id"]}, assignee_team={"id": team["id"]})
    assert set(ticket["assignee_user"]) == {"id", "email", "name", "firstname", "lastname", "meta", "bio"}
    assert ticket["assignee_team"] == {"id": team["id"], "name": "Returns", "decoration": {}}


def test_whoever_is_unknown_is_shown_as_given_and_whoever_is_deleted_as_null(
    account: Account, mara: dict[str, Any], ticket: dict[str, Any]
) -> None:
    stranger = {"id": 3, "name": "Nobody"}
    assert account.create("messages", sender=stranger)["sender"] == stranger
    account.delete("customers", mara["id"])
    assert row(account, "tickets", ticket["id"])["customer"] is None
    assert events(account)[-1] == ("customer-deleted", mara["id"])


def test_deleting_a_ticket_takes_its_messages_and_leaves_its_survey(
    account: Account, ticket: dict[str, Any], get: Get
) -> None:
    account.create("satisfaction_surveys", ticket_id=ticket["id"])
    account.delete("tickets", ticket["id"])
    assert account.rows("tickets") == account.rows("messages") == []
    assert account.rows("satisfaction_surveys")[0]["ticket_id"] == ticket["id"]
    assert events(account)[-1] == ("ticket-deleted", ticket["id"])
    assert get(f"/tickets/{ticket['id']}").status_code == 404


def test_merging_customers_redirects_and_moves_what_the_source_wrote(
    account: Account, mara: dict[str, Any], ticket: dict[str, Any], get: Get
) -> None:
    ida = account.create("customers", name="Ida")
    account.advance(MINUTE)
    account.merge("customers", mara["id"], ida["id"])
    assert account.rows("customers") == [ida]
    assert row(account, "tickets", ticket["id"])["customer"]["name"] == "Ida"
    assert account.rows("messages")[0]["sender"]["id"] == ida["id"]
    assert events(account)[-2:] == [("customer-deleted", mara["id"]), ("customer-merged", ida["id"])]
    assert account.rows("events")[-1]["data"] == {"source_customer_id": mara["id"]}
    answer = get(f"/customers/{mara['id']}")
    assert (answer.status_code, answer.text) == (301, "")
    assert answer.headers["Location"] == f"/api/customers/{ida['id']}"


def test_merging_tickets_moves_the_messages_and_bumps_the_survivor(
    account: Account, ticket: dict[str, Any], get: Get
) -> None:
    other = account.create("tickets")
    account.advance(MINUTE)
    account.merge("tickets", ticket["id"], other["id"])
    survivor, message = row(account, "tickets", other["id"]), account.rows("messages")[0]
    assert (survivor["messages_count"], survivor["updated_datetime"]) == (1, "2026-03-01T08:02:00+00:00")
    assert message["uri"] == f"/api/tickets/{other['id']}/messages/{message['id']}/"
    assert message["ticket_id"] == other["id"]
    answer = get(f"/tickets/{ticket['id']}/messages")
    assert (answer.status_code, answer.headers["Location"]) == (301, f"/api/tickets/{other['id']}/messages")


def test_events_of_one_cause_share_a_context(account: Account, ticket: dict[str, Any]) -> None:
    account.update("tickets", ticket["id"], status="closed", subject="Done")
    closed, subject, updated = account.rows("events")[-3:]
    assert (closed["type"], subject["type"], updated["type"]) == (
        "ticket-closed",
        "ticket-subject-updated",
        "ticket-updated",
    )
    assert closed["context"] == subject["context"] == updated["context"] != account.rows("events")[-4]["context"]
    assert (subject["data"], updated["data"], closed["object_type"]) == ({"new_subject": "Done"}, None, "Ticket")


def test_the_clock_does_not_go_back(account: Account) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        account.now = MORNING - MINUTE


def test_changing_what_was_returned_changes_nothing_stored(account: Account, ticket: dict[str, Any]) -> None:
    fetched = row(account, "tickets", ticket["id"])
    fetched["custom_fields"]["3"] = {"id": 3, "value": "x"}
    assert row(account, "tickets", ticket["id"])["custom_fields"] == {}
    account.update("tickets", ticket["id"], custom_fields=fetched["custom_fields"])
    assert row(account, "tickets", ticket["id"])["custom_fields"] == {"3": {"id": 3, "value": "x"}}
