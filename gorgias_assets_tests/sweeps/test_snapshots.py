"""Lists that are read whole: in passes, without pages, into memory first."""

from pathlib import Path

import pytest

from gorgias_assets.api.client import GorgiasError
from gorgias_assets.entities import ACCOUNT, ACCOUNT_SETTINGS, CUSTOM_FIELDS, MACROS, METRIC_CARDS, TAGS, USERS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.sweeps.reading import DAY, FIRST, Room, insert


@pytest.fixture
def account() -> Account:
    account = Account(now=FIRST)
    seed_reference(account)
    return account


@pytest.fixture
def room(sandbox: Sandbox, tmp_path: Path) -> Room:
    return Room(sandbox, tmp_path / "warehouse.duckdb")


def more_tags(account: Account) -> None:
    """Have more than a page of them."""
    insert(account, "tags", [FIRST - DAY] * 5, 9_000_000)


@pytest.mark.parametrize("entity", [MACROS, CUSTOM_FIELDS], ids=lambda entity: entity.name)
def test_a_list_in_passes_is_read_as_a_whole(room, entity):
    room.load(room.gorgias.snapshot(entity))
    assert room.stored(entity) == room.project.live_rows(entity)
    field = "archived_datetime" if entity is MACROS else "object_type"
    assert len({row[field] for row in room.stored(entity).values()}) > 1
    assert room.calls(entity) == 2


def test_a_row_that_comes_in_two_passes_is_merged_once_as_it_was_last(room):
    (macro, *_) = [row["id"] for row in room.account.rows("macros") if row["archived_datetime"] is None]
    room.sandbox.after_page = lambda _: room.account.update("macros", macro, archived_datetime=FIRST)
    loaded = room.load(room.gorgias.snapshot(MACROS))
    assert room.stored(MACROS)[macro]["archived_datetime"] == FIRST
    assert loaded.merged.rows == len(room.account.rows("macros"))


def test_an_object_by_itself_has_an_id_made_of_its_name_that_stays(room):
    for _ in range(2):
        room.load(room.gorgias.snapshot(ACCOUNT))
        room.account.advance(DAY)
    ((row_id, domain, status),) = room.query("SELECT id, domain, status ->> 'status' FROM gorgias.account")
    assert (row_id, domain, status) == (6_617_664_969_068_780_459, "sandbox", "active")
    assert room.calls(ACCOUNT) == 2


@pytest.mark.parametrize("entity", [ACCOUNT_SETTINGS, METRIC_CARDS], ids=lambda entity: entity.name)
def test_a_list_without_pages_is_one_call_and_none_of_its_rows_is_looked_for(room, entity):
    room.load(room.gorgias.snapshot(entity))
    (row_id, *_) = [row["id"] for row in room.account.rows(entity.name)]
    stored = len(room.account.rows(entity.name))
    room.account.delete(entity.name, row_id)
    room.load(room.gorgias.snapshot(entity))
    assert room.query(f"SELECT count(*), count(_deleted_at) FROM gorgias.{entity.name}") == [(stored, 0)]
    assert len(room.sandbox.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":1}],"meta":{"next_cursor":"more"}}',
        b'{"data":[{"id":"1"}]}',
        b'{"data":[{"type":"access"}]}',
        b'{"data":null}',
        b"[[]]",
        b"7",
    ],
)
def test_an_answer_that_is_no_whole_list_is_not_taken_for_one(room, body):
    room.sandbox.faults.append(Fault(200, times=None, body=body))
    with pytest.raises(GorgiasError, match="GET /account/settings: the answer is no whole list of rows with ids"):
        room.gorgias.snapshot(ACCOUNT_SETTINGS).fetch()


def test_a_list_that_was_fetched_is_loaded_without_a_request(room):
    more_tags(room.account)
    reading = room.gorgias.snapshot(TAGS)
    assert reading.peek() is None
    reading.fetch()
    calls = room.calls(TAGS)
    room.load(reading)
    assert len(room.sandbox.requests) == calls == reading.progress.calls == 2
    assert room.stored(TAGS) == room.project.live_rows(TAGS)


def test_a_page_that_fails_leaves_a_fetched_list_and_its_table_alone(room):
    more_tags(room.account)
    room.sandbox.faults.append(Fault(403, path="/api/tags", skip=1, times=None))
    with pytest.raises(GorgiasError):
        room.gorgias.snapshot(TAGS).fetch()
    assert not room.file.exists()


def test_a_row_is_gone_once_its_own_path_says_so(room):
    room.load(room.gorgias.snapshot(USERS))
    (user, *_) = [row["id"] for row in room.account.rows("users")[5:]]
    room.account.delete("users", user)
    room.load(room.gorgias.snapshot(USERS))
    assert room.query("SELECT id FROM gorgias.users WHERE _deleted_at IS NOT NULL") == [(user,)]
    assert room.sandbox.requests[-1].path == f"/api/users/{user}"
