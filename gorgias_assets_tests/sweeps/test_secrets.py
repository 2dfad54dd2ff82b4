"""Secrets that Gorgias may hold: they are in no table, log or file, whatever form they come in."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gorgias_assets.entities import ACCOUNT, ACCOUNT_SETTINGS, INTEGRATIONS, JOBS, RULES
from gorgias_assets.entities.model import Entity
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import PLANTED
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.rows import Row, TypedRows, type_rows
from gorgias_assets_tests.sweeps.reading import DAY, FIRST, Room

READ_AT = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "sk-of-nobody"


@pytest.fixture
def account() -> Account:
    account = Account(now=FIRST)
    seed_reference(account)
    link = {"url": f"https://files.example/export?signature={PLANTED}"}
    account.create("jobs", type="exportTicket", info=link, params=link | {"view_id": 7, "ticket_ids": [1, 2]})
    account.create("integrations", type="new", meta=PLANTED, credentials={"token": PLANTED}, name={"key": PLANTED})
    account.create("account_settings", type="a-new-one", data={"key": PLANTED})
    account.update("account", account.rows("account")[0]["id"], billing={"key": PLANTED})
    return account


def test_no_byte_of_a_planted_secret_leaves_the_typing_of_rows(sandbox: Sandbox, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG, logger="reading")
    room = Room(sandbox, tmp_path / "warehouse.duckdb")
    for entity in (INTEGRATIONS, ACCOUNT, ACCOUNT_SETTINGS):
        room.load(room.gorgias.snapshot(entity))
    room.load(room.gorgias.sweep(JOBS, FIRST, FIRST + DAY))
    tables = [name for (name,) in room.query("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
    assert len(tables) > 4
    for table in tables:
        assert PLANTED not in str(room.query(f"SELECT * FROM gorgias.{table}"))
    assert PLANTED not in caplog.text
    assert PLANTED.encode() not in room.file.read_bytes()

    kept = dict(
        room.query("SELECT name, meta FROM gorgias.integrations WHERE name IN ('Press mailbox', 'Vale & Quill')")
    )
    assert {name: json.loads(meta) for name, meta in kept.items()} == {
        "Press mailbox": {"address": "press@shop.example"},
        "Vale & Quill": {"shop_name": "vale-and-quill"},
    }
    ((http,),) = room.query("SELECT http FROM gorgias.integrations WHERE type = 'http'")
    assert http == "{}"
    settings = dict(room.query("SELECT type, data FROM gorgias.account_settings"))
    assert json.loads(settings["auto-merge"]) == {"tickets": {"enabled": True, "merging_window_days": 5}}
    assert settings["access"] == settings["a-new-one"] == "{}"
    ((params, info),) = room.query("SELECT params, info FROM gorgias.jobs WHERE type = 'exportTicket'")
    assert (json.loads(params), info) == ({"view_id": 7, "ticket_ids": [1, 2]}, "{}")
    said = [record.message for record in caplog.records if "is withheld" in record.message]
    assert len(said) == 4
    assert said[0] == (
        "integrations: what may hold a secret, or is undeclared under a privacy policy, is withheld: credentials "
        "(1 rows), http (1 rows), meta (8 rows), name (1 rows)."
    )


def typed(entity: Entity[Any], row: Row) -> TypedRows:
    return type_rows([{"id": 1, **row}], entity.columns, READ_AT, entity.left_out)


FORMS: dict[str, tuple[Entity[Any], Row]] = {
    "text": (INTEGRATIONS, {"meta": SECRET}),
    "a list": (INTEGRATIONS, {"http": [{"address": SECRET}]}),
    "an object under a name that is kept": (INTEGRATIONS, {"meta": {"address": {"token": SECRET}}}),
    "a list of objects under a name that is kept": (INTEGRATIONS, {"meta": {"address": [[SECRET]]}}),
    "a name that is nearly kept": (INTEGRATIONS, {"meta": {"Address": SECRET, "address ": SECRET}}),
    "a field that is not declared": (INTEGRATIONS, {"oauth2": {"secret": SECRET}}),
    "a column of another kind": (INTEGRATIONS, {"name": {"secret": SECRET}, "business_hours_id": SECRET}),
    "a moment": (INTEGRATIONS, {"locked_datetime": SECRET}),
    "a type that is not known": (ACCOUNT_SETTINGS, {"type": "sso", "data": {"client_secret": SECRET}}),
    "a type that is no text": (ACCOUNT_SETTINGS, {"type": ["auto-merge"], "data": {"client_secret": SECRET}}),
    "no type": (ACCOUNT_SETTINGS, {"data": SECRET}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_in_any_other_form_is_withheld_and_counted_by_its_field(form: str) -> None:
    entity, row = FORMS[form]
    out = typed(entity, row)
    assert SECRET not in str(out.table.to_pylist())
    assert SECRET not in str((out.extra_fields, out.withheld, out.unfit))
    assert out.withheld.keys() == row.keys() - ({"type"} if isinstance(row.get("type"), str) else set())
    assert not out.extra_fields


def test_what_holds_no_secret_is_kept_and_not_counted() -> None:
    meta = {"address": "help@shop.example", "shop_name": None}
    out = typed(INTEGRATIONS, {"meta": meta, "http": None, "decoration": {"emoji": "x"}})
    assert json.loads(out.table["meta"][0].as_py()) == meta
    assert not out.withheld
    assert not typed(ACCOUNT_SETTINGS, {"type": "auto-split", "data": {"email": {"enabled": True}}}).withheld


def test_a_field_that_repeats_another_is_left_out_without_a_word() -> None:
    out = typed(RULES, {"code": "x", "code_ast": {"type": "Program"}})
    assert "Program" not in str(out.table.to_pylist())
    assert not out.extra_fields
    assert not out.withheld
