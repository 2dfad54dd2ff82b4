"""The declarations: their fields are Gorgias's, and the rows of a living account fit them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets.columns import Kind
from gorgias_assets.entities import CORE, CUSTOMERS, ENTITIES, JOBS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import ByDate, Daily, Entity, Whole
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.sweeps.rows import type_rows

FIELDS = {
    "customers": """
        id external_id active email name firstname lastname language timezone created_datetime updated_datetime meta
        data note custom_fields""",
    "tickets": """
        id uri external_id language status priority channel via from_agent customer assignee_user assignee_team subject
        summary excerpt integrations meta tags messages_count is_unread spam created_datetime opened_datetime
        last_received_message_datetime last_message_datetime last_sent_message_not_delivered updated_datetime
        closed_datetime snooze_datetime trashed_datetime custom_fields""",
    "ticket_messages": """
        id uri message_id ticket_id external_id public channel via source sender auth_customer_identity integration_id
        intents rule_id from_agent receiver subject body_text body_html stripped_text stripped_html stripped_signature
        headers attachments actions macros meta created_datetime processed_datetime sent_datetime failed_datetime
        deleted_datetime opened_datetime last_sending_error is_retriable imported replied_by replied_to""",
    "satisfaction_surveys": """
        id body_text created_datetime customer_id meta score scored_datetime sent_datetime should_send_datetime
        ticket_id uri""",
}
each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
each_of_the_core = pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    account = Account(now=datetime(2026, 2, 1, tzinfo=UTC))
    Shop(account, seed=3, tickets_per_day=25).live(until=datetime(2026, 2, 15, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        yield sandbox


def rows_of(sandbox: Sandbox, entity: Entity) -> list[dict[str, Any]]:
    uri = GorgiasUri.parse(sandbox.uri)
    with closing(GorgiasClient(uri, api_url=sandbox.api_url, budget=Budget(), patience=20)) as client:
        return [row for page in client.pages(entity.path, order_by=f"{entity.read.order}:desc") for row in page.rows]


@each_of_the_core
def test_the_columns_are_the_fields_of_the_list(entity: Entity) -> None:
    assert sorted(column.name for column in entity.columns) == sorted(FIELDS[entity.name].split())


@each_entity
def test_the_columns_are_the_fields_of_the_simulated_account(entity: Entity) -> None:
    """Both follow the same facts, each on its own."""
    (kind,) = (kind for kind in KINDS.values() if f"/{kind.list_path}" == entity.path)
    shown = {"id", *kind.blank, *(["uri"] if kind.uri else [])}
    assert {column.name for column in entity.columns} | set(entity.left_out) == shown
    assert (kind.has_pages, kind.has_id) == (_has_pages(entity), not _id_from(entity))


def _has_pages(entity: Entity) -> bool:
    return entity.read.has_pages if isinstance(entity.read, Whole) else True


def _id_from(entity: Entity) -> str:
    return entity.read.id_from if isinstance(entity.read, Whole) else ""


@pytest.mark.parametrize(
    ("entity", "path", "order", "touch_fields", "days"),
    [
        (CUSTOMERS, "/customers", "updated_datetime", "created updated", 0),
        (TICKETS, "/tickets", "updated_datetime", "created updated", 0),
        (TICKET_MESSAGES, "/messages", "created_datetime", "created sent failed deleted opened", 3),
        (SATISFACTION_SURVEYS, "/satisfaction-surveys", "created_datetime", "created sent scored", 45),
        (JOBS, "/jobs", "created_datetime", "created started ended failed cancel_requested cancelled", 3),
    ],
    ids=lambda value: value.name if isinstance(value, Entity) else None,
)
def test_an_entity_is_read_by_its_order_and_touched_by_its_touch_fields(
    entity: Entity, path: str, order: str, touch_fields: str, days: int
) -> None:
    assert (entity.path, entity.read.order, entity.read.look_back) == (path, order, timedelta(days=days))
    assert entity.read.touch_fields == tuple(f"{name}_datetime" for name in touch_fields.split())


@each_entity
def test_an_entity_describes_itself_and_every_column(entity: Entity) -> None:
    assert entity.grain.startswith("One row per ")
    for text in (entity.grain, *(column.description for column in entity.columns)):
        assert len(text) > 5
        assert text.endswith((".", "…"))
        assert "\n" not in text


@each_entity
def test_a_declaration_is_consistent_in_itself(entity: Entity) -> None:
    kinds = {column.name: column.kind for column in entity.columns}
    assert len(kinds) == len(entity.columns)
    assert entity.columns[0].name == "id"
    assert kinds["id"] is Kind.INTEGER
    assert {column.kind for column in entity.columns if column.keeps} <= {Kind.JSON}
    assert not kinds.keys() & set(entity.left_out)
    match entity.read:
        case ByDate():
            assert entity.read.order in entity.read.touch_fields
        case Whole():
            order, _, direction = entity.read.order_by.partition(":")
            assert (order in kinds, direction) == ((True, "desc") if entity.read.has_pages else (False, ""))
            assert not entity.read.id_from or kinds[entity.read.id_from] is Kind.STRING
    assert {kinds[name] for name in _touch_fields(entity)} <= {Kind.DATETIME}
    assert [name for name, kind in kinds.items() if name.endswith("_datetime") != (kind is Kind.DATETIME)] == []
    assert [name for name in kinds if name.startswith("_")] == []


@each_entity
def test_what_people_wrote_or_are_known_by_is_private(entity: Entity) -> None:
    known = "email name firstname lastname note subject excerpt body_text body_html stripped_text stripped_html "
    known += "stripped_signature"
    private = {column.name for column in entity.columns if column.private}
    is_of_people = entity in CORE or entity.name == "users"
    assert {column.name for column in entity.columns if is_of_people and column.name in known.split()} <= private
    assert {column.name for column in entity.columns if column.kind is Kind.JSON} <= private
    assert not private & {"id", *_touch_fields(entity)}


def _touch_fields(entity: Entity) -> tuple[str, ...]:
    return entity.read.touch_fields if isinstance(entity.read, Daily) else ()


def test_a_core_is_read_from_every_account_and_the_others_where_they_are() -> None:
    assert [entity.name for entity in ENTITIES[: len(CORE)]] == [entity.name for entity in CORE]
    assert {entity.is_optional for entity in CORE} == {False}
    assert {(entity.group, entity.is_optional) for entity in ENTITIES[len(CORE) :]} == {
        ("events", True),
        ("reference", True),
        ("voice", True),
    }
    assert len({entity.name for entity in ENTITIES}) == len({entity.path for entity in ENTITIES}) == len(ENTITIES)


@each_of_the_core
def test_what_a_living_account_sends_is_declared_and_fits(sandbox: Sandbox, entity: Entity) -> None:
    rows = rows_of(sandbox, entity)
    assert len(rows) > 20
    declared = {column.name for column in entity.columns}
    assert {name for row in rows for name in row} == declared
    assert type_rows(rows, entity.columns, datetime.now(UTC)).extra_fields == {}
