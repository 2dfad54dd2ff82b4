"""The lists of what an account is set up with, and of its calls: their shapes, orders, filters and refusals."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.kinds import Kind
from gorgias_assets.sandbox.objects import ACCOUNT_ID, KINDS, PLANTED, REFERENCE, VOICE
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.server import Sandbox

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]
ALIVE = [kind for kind in (*REFERENCE, *VOICE) if kind.has_id and kind.has_pages]
NEEDED = {"custom_fields": {"object_type": "Ticket"}}


def path(kind: Kind) -> str:
    return f"/{kind.list_path}"


def names(get: Get, of: str, **params: Any) -> list[str]:
    answer = get(of, **params, limit=100)
    assert answer.status_code == 200, answer.text
    return [row.get("name") or row["label"] for row in answer.json()["data"]]


def ids(get: Get, of: str, **params: Any) -> list[int]:
    return [row["id"] for row in get(of, **params).json()["data"]]


@pytest.mark.parametrize("kind", ALIVE, ids=lambda kind: kind.name)
def test_a_row_is_listed_and_has_a_path_until_it_is_deleted(account: Account, get: Get, kind: Kind) -> None:
    row = account.create(kind.name, name="Nova")
    account.update(kind.name, row["id"], name="Vega")
    shown = get(path(kind), **NEEDED.get(kind.name, {})).json()["data"]
    assert [one["name"] for one in shown if one["id"] == row["id"]] == ["Vega"]
    assert get(f"{path(kind)}/{row['id']}").json()["name"] == "Vega"
    account.delete(kind.name, row["id"])
    is_soft = kind.name == "voice_call_recordings"
    assert get(f"{path(kind)}/{row['id']}").status_code == (200 if is_soft else 404)
    assert (row["id"] in ids(get, path(kind), **NEEDED.get(kind.name, {}))) is is_soft


def test_keys_come_in_the_order_of_two_serializers(get: Get) -> None:
    with_totals = {"tickets", "users", "integrations", "views", "custom_fields", "tags"}
    for kind in (kind for kind in KINDS.values() if kind.has_pages):
        body = get(path(kind), **NEEDED.get(kind.name, {})).json()
        about = ["object", "uri"]
        keys = [*about, "data", "meta"] if kind.name in with_totals else ["data", *about, "meta"]
        assert list(body) == keys, kind.name
        assert ("total_resources" in body["meta"]) is (kind.name in with_totals)
    assert list(get("/account/settings").json()) == list(get("/metric-cards").json()) == ["data"]


@pytest.mark.parametrize(
    ("of", "params"),
    [
        ("/users", {"order_by": "updated_datetime:desc"}),
        ("/users", {"order_by": "role:desc"}),
        ("/tags", {"order_by": "usage:asc"}),
        ("/tags", {"order_by": "usage:asc,name:desc"}),
        ("/views", {"order_by": "name:asc"}),
        ("/rules", {"order_by": "created_datetime"}),
        ("/macros", {"order_by": "archived_datetime:desc"}),
        ("/custom-fields", {"object_type": "Ticket", "order_by": "created_datetime:desc"}),
        ("/phone/voice-calls", {"order_by": "created_datetime:desc"}),
        ("/phone/voice-call-events", {"order_by": "created_datetime:desc"}),
        ("/custom-fields", {}),
        ("/custom-fields", {"object_type": "Message"}),
        ("/views", {"category": "mine"}),
        ("/events", {"object_type": "Message"}),
        ("/account/settings", {"limit": 30}),
        ("/account", {"limit": 30}),
    ],
)
def test_what_a_list_does_not_take_is_a_400(get: Get, of: str, params: dict[str, Any]) -> None:
    assert get(of, **params).status_code == 400


def test_events_may_need_an_object_id_and_may_take_a_bare_order(account: Account, get: Get) -> None:
    sent = {"object_type": "Ticket"}
    assert get("/events", **sent).status_code == 200
    account.habits.needs["events"] = {"object_type": "object_id"}
    assert [get("/events", **sent).status_code, get("/events", **sent, object_id=3).status_code] == [400, 200]
    assert get("/events", order_by="created_datetime").status_code == 400
    account.habits.bare_orders.add("events")
    assert get("/events", order_by="created_datetime").status_code == 200


def test_tags_are_ordered_by_use_and_found_by_a_part_of_the_name(account: Account, get: Get) -> None:
    for name, usage in (("vip", 7), ("refund", 40), ("gift", 7)):
        account.create("tags", name=name, usage=usage)
    assert names(get, "/tags", order_by="usage:desc,name:desc") == ["refund", "vip", "gift"]
    assert names(get, "/tags", order_by="usage:asc,name:asc") == ["gift", "vip", "refund"]
    assert names(get, "/tags", order_by="name") == ["gift", "refund", "vip"]
    assert names(get, "/tags", search="FUN") == ["refund"]
    following = get("/tags", order_by="usage:desc,name:desc", limit=2).json()["meta"]["next_cursor"]
    assert names(get, "/tags", order_by="usage:desc,name:desc", cursor=following) == ["gift"]


def test_macros_show_the_archived_ones_alone_or_all_at_the_account_s_habit(account: Account, get: Get) -> None:
    hello = account.create("macros", name="Hello", language="en", usage=3)
    account.create("macros", name="Hallo", language="de", archived_datetime=MORNING)
    assert hello["updated_datetime"] is None
    assert names(get, "/macros") == ["Hello"] == names(get, "/macros", archived="false")
    assert names(get, "/macros", archived="true") == ["Hallo"] == names(get, "/macros", archived="true", languages="de")
    account.habits.assumes["macros"].clear()
    assert names(get, "/macros") == ["Hallo", "Hello"]
    assert names(get, "/macros", order_by="usage:desc") == ["Hello", "Hallo"]
    account.update("macros", hello["id"], name="Hi")
    assert names(get, "/macros", order_by="updated_datetime:asc") == ["Hallo", "Hi"]


def test_custom_fields_are_of_one_type_and_archived_ones_among_them(account: Account, get: Get) -> None:
    for number, (label, of) in enumerate((("Reason", "Ticket"), ("Product", "Ticket"), ("Tier", "Customer"))):
        account.create("custom_fields", label=label, object_type=of, priority=number * 9)
    account.create("custom_fields", label="Old", priority=1, deactivated_datetime=MORNING + timedelta(hours=1))
    assert names(get, "/custom-fields", object_type="Ticket") == ["Product", "Old", "Reason"]
    assert names(get, "/custom-fields", object_type="Ticket", archived="true") == ["Old"]
    assert names(get, "/custom-fields", object_type="Ticket", order_by="priority:asc", archived="false") == [
        "Reason",
        "Product",
    ]
    assert names(get, "/custom-fields", object_type="Customer") == ["Tier"]


def test_views_are_newest_first_and_of_a_category(account: Account, get: Get) -> None:
    account.create("views", name="Mine", category="user")
    assert names(get, "/views")[0] == "Mine"
    assert names(get, "/views", category="user") == ["Mine"]
    assert "Inbox" in names(get, "/views", category="system")


def test_one_rule_lacks_what_the_list_shows(account: Account, get: Get) -> None:
    rule = account.create("rules", name="Tag chats", code="…")
    assert rule["updated_datetime"] == "2026-03-01T08:00:00.000004+00:00"
    assert set(rule) - set(get(f"/rules/{rule['id']}").json()) == {"settings", "type"}


def test_a_user_has_an_absolute_uri_and_a_team_shows_its_members_as_they_are(account: Account, get: Get) -> None:
    user = account.create("users", name="Jonas", email="jonas@shop.example")
    team = account.create("teams", name="Returns", members=[{"id": user["id"]}, {"id": account.owner_id}])
    assert user["uri"] == f"https://sandbox.gorgias.com/api/users/{user['id']}/"
    account.update("users", user["id"], name="Jonas Weiss")
    shown = get(f"/teams/{team['id']}").json()["members"]
    assert shown[0] == {"id": user["id"], "name": "Jonas Weiss", "email": "jonas@shop.example", "meta": {}}
    account.delete("users", user["id"])
    assert [member["id"] for member in get(f"/teams/{team['id']}").json()["members"]] == [account.owner_id]


def test_the_account_has_no_id_and_its_settings_have_no_pages(account: Account, get: Get) -> None:
    setting = account.create("account_settings", type="auto-merge", data={"tickets": {"enabled": True}})
    account.create("account_settings", type="access")
    account.update("account", ACCOUNT_ID, current_subscription={"plan": "pro", "status": "active"})
    about = get("/account").json()
    assert list(about) == [
        *("created_datetime", "current_subscription", "deactivated_datetime", "domain"),
        *("meta", "settings", "status"),
    ]
    assert (about["domain"], about["status"], len(about["settings"])) == ("sandbox", {"status": "active"}, 2)
    assert about["current_subscription"]["plan"] == "pro"
    assert get("/account/settings", type="auto-merge").json() == {"data": [setting]}
    assert set(setting) == {"id", "type", "data"}


def test_metric_cards_have_a_slug_and_no_id(account: Account, get: Get) -> None:
    account.create("metric_cards", slug="tickets-created", title="Tickets created")
    account.create("metric_cards", slug="old-tickets", title="Old", status="deprecated")
    shown = get("/metric-cards").json()["data"]
    assert [card["slug"] for card in shown] == ["tickets-created"]
    assert "id" not in shown[0]
    assert len(get("/metric-cards", include="deprecated").json()["data"]) == 2
    assert get("/metric-cards/old-tickets").json()["title"] == "Old"
    assert get("/metric-cards/none").status_code == 404


def test_a_job_goes_on_by_itself_and_is_cancelled_if_that_is_soon_enough(account: Account, get: Get) -> None:
    job, other = (account.create("jobs", type="exportTicket")["id"] for _ in range(2))
    account.advance(timedelta(seconds=1))
    shown = {row["id"]: row for row in get("/jobs").json()["data"]}
    assert (shown[job]["status"], shown[job]["ended_datetime"]) == ("running", None)
    account.update("jobs", other, status="cancel_requested", cancel_requested_datetime=account.now)
    account.advance(timedelta(minutes=1))
    assert ids(get, "/jobs", status="done") == [job]
    cancelled = get(f"/jobs/{other}").json()
    assert (cancelled["status"], cancelled["cancelled_datetime"]) == ("canceled", "2026-03-01T08:00:02.106000+00:00")
    assert get(f"/jobs/{job}").json()["started_datetime"] == "2026-03-01T08:00:00.106000+00:00"


def test_calls_come_in_the_order_that_the_account_is_told(account: Account, get: Get) -> None:
    calls = [account.create("voice_calls", created_datetime=MORNING + timedelta(hours=n))["id"] for n in range(40)]
    assert ids(get, "/phone/voice-calls", limit=100) == calls[::-1]
    account.habits.assumes["voice_calls"]["order_by"] = "created_datetime:asc"
    assert ids(get, "/phone/voice-calls", limit=100) == calls
    account.habits.assumes["voice_calls"]["order_by"] = "shuffled:asc"
    first = get("/phone/voice-calls").json()
    second = get("/phone/voice-calls", cursor=first["meta"]["next_cursor"]).json()
    shuffled = [row["id"] for row in first["data"] + second["data"]]
    assert (sorted(shuffled), shuffled not in (calls, calls[::-1])) == (calls, True)


def test_a_call_has_events_and_a_recording_that_stays_when_it_is_deleted(account: Account, get: Get) -> None:
    call, other = (account.create("voice_calls", ticket_id=n)["id"] for n in (7, 8))
    events = [
        account.create("voice_call_events", call_id=one, type="phone-call-ringing") for one in (call, call, other)
    ]
    recording = account.create("voice_call_recordings", call_id=call, duration=9)
    account.delete("voice_call_recordings", recording["id"])
    assert ids(get, "/phone/voice-calls", ticket_id=7) == [call]
    assert ids(get, "/phone/voice-call-events", call_id=call) == [event["id"] for event in events[:2]]
    assert {json.dumps(event["meta"]) for event in events} == {"{}", '"{}"'}
    shown = get("/phone/voice-call-recordings").json()["data"][0]
    assert shown["deleted_datetime"] == "2026-03-01T08:00:00+00:00"
    assert shown["deleted_by_user_id"] == account.owner_id


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_without_the_feature_refuses_its_lists(sandbox: Sandbox, get: Get, status: int) -> None:
    sandbox.faults.append(Fault(status, path="/api/phone/*", times=None))
    paths = ("/phone/voice-calls", "/phone/voice-call-events", "/phone/voice-call-recordings", "/users")
    assert [get(one).status_code for one in paths] == [status] * 3 + [200]


@pytest.mark.parametrize("of", ["/users", "/tags", "/custom-fields?object_type=Ticket"])
def test_an_empty_page_leads_to_the_rows_that_were_due_in_any_order(
    account: Account, sandbox: Sandbox, get: Get, of: str
) -> None:
    seed_reference(account)
    due = get(of).json()["data"]
    sandbox.faults.append(Fault("empty_page"))
    page = get(of).json()
    assert page["data"] == []
    assert get(of, cursor=page["meta"]["next_cursor"]).json()["data"] == due


def test_values_and_tags_have_lists_of_their_own(account: Account, get: Get) -> None:
    field = account.create("custom_fields", label="Reason", deactivated_datetime=MORNING)
    tag = account.create("tags", name="vip")
    value = {str(field["id"]): {"id": field["id"], "value": "A::B"}}
    customer = account.create("customers", custom_fields=value)["id"]
    ticket = account.create("tickets", custom_fields=value, tags=[{"id": tag["id"]}])["id"]
    assert get(f"/tickets/{ticket}/tags").json() == {"data": [tag]}
    row = {"field": field, "prediction": None, "value": "A::B"}
    assert get(f"/tickets/{ticket}/custom-fields").json() == {"data": [row]}
    shown = get(f"/customers/{customer}/custom-fields").json()["data"]
    assert [set(one) for one in shown] == [{"field", "value"}]
    assert "requirement_type" not in shown[0]["field"]


def test_an_account_of_some_years_is_set_up_and_left_no_events(account: Account) -> None:
    seed_reference(account)
    assert account.count("events") == 0
    sizes = {kind.name: account.count(kind.name) for kind in REFERENCE}
    assert 10 <= sizes["users"] <= 80
    assert (sizes["tags"], sizes["macros"], sizes["rules"]) == (100, 50, 20)
    assert all(sizes.values())
    bots = [user for user in account.rows("users") if user["role"]["name"] == "bot"]
    assert [bool(bot["client_id"]) for bot in bots] == [True, False]
    assert any(row["deactivated_datetime"] > "2026-03-01T08" for row in fields(account) if row["deactivated_datetime"])
    assert {(row["object_type"], row["definition"]["data_type"]) for row in fields(account)} == {
        (of, kind) for of in ("Ticket", "Customer") for kind in ("text", "number", "boolean")
    }
    assert [] in [row["definition"]["input_settings"].get("choices") for row in fields(account)]
    assert [view for view in account.rows("views") if "{{current_user.id}}" in view["filters"]]


def fields(account: Account) -> list[dict[str, Any]]:
    return account.rows("custom_fields")


def test_secrets_are_planted_where_gorgias_may_hold_some(account: Account, get: Get) -> None:
    seed_reference(account)
    holders = {name for name in KINDS if PLANTED in json.dumps(account.rows(name))}
    assert holders == {"integrations", "account_settings"}
    assert PLANTED in get("/account").text
    assert {
        row["type"] for row in account.rows("integrations") if PLANTED in json.dumps([row["http"], row["meta"]])
    } == {*("http", "gmail", "shopify", "klaviyo", "app")}
    assert [row["type"] for row in account.rows("account_settings") if PLANTED in json.dumps(row)] == ["access"]
