"""The privacy policy: planted people, in any place and spelling, are in no byte of what is written."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.build import build_definitions
from gorgias_assets.checks.build import build_checks
from gorgias_assets.columns import EXTRA, Column, Kind, Personal, steps
from gorgias_assets.commands.ingest import Request, ingest
from gorgias_assets.component import GorgiasComponent
from gorgias_assets.entities import (
    ACCOUNT,
    CORE,
    CUSTOMERS,
    ENTITIES,
    EVENTS,
    METRIC_CARDS,
    TICKET_MESSAGES,
    TICKETS,
    USERS,
)
from gorgias_assets.entities.model import Entity, string
from gorgias_assets.entities.model import json as json_column
from gorgias_assets.entities.tickets import TICKET_MESSAGE_RECIPIENTS
from gorgias_assets.metadata import OUTDATED
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.privacy.policy import Policy, PrivacyError, PrivacyKey, Screen, key_of
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.settings import Settings
from gorgias_assets.summaries import build_summaries
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.tables import Table
from gorgias_assets_tests.conftest import Project, _kind
from gorgias_assets_tests.engines import DuckDBFile, on_each_warehouse_in_time

SECRET = "a secret of the shop's own"
DAY = "2025-03-10"
MOMENT = "2025-03-10T09:00:00.000001+00:00"
NOW = datetime(2025, 3, 31, 12, tzinfo=UTC)
MIXED = {"name": "hash", "email": "hash", "phone": "last4", "address": "drop", "body": "drop", "ip": "drop"}
MIXED |= {"secret": "drop"}
LEFT_ALONE = {"name": "keep"}  # but what is undeclared
POLICIES = {
    "mixed": MIXED,
    "dropped": {kind.value: "drop" for kind in Personal},
    "hashed": {kind.value: "hash" for kind in Personal},
}

PERSON = (
    string("email", "E-mail.", Personal.EMAIL),
    string("name", "Name.", Personal.NAME),
    string("phone", "Phone.", Personal.PHONE),
    string("note", "Note.", Personal.BODY),
    string("status", "State."),
)
PLANTED = {
    Personal.NAME: "Zephyrine Quillfeather",
    Personal.EMAIL: "Zephyrine.Q@planted.example",
    Personal.PHONE: "+1 (555) 017-3921",
    Personal.ADDRESS: "17 Planted Lane",
    Personal.BODY: "Dear shop, my planted letter",
    Personal.IP: "203.0.113.77",
    Personal.SECRET: "https://planted.example/secret-link",
    Personal.UNDECLARED: "planted, whatever it is",
}
NEEDLES = ("zephyrine", "quillfeather", "@planted", "017-3921", "5550173921", "planted lane", "planted letter")
NEEDLES += ("203.0.113.77", "secret-link", "planted, whatever")


def screen(policy: Mapping[str, str], *, stored: bool = False) -> Screen:
    made = Policy.of(policy)
    assert made
    return Screen(made, PrivacyKey(SECRET), stored=stored)


def typed(columns: tuple[Column, ...], row: Row, **policy: str) -> Row:
    """Return what is stored of a row, with JSON decoded and nulls left out."""
    stored = type_rows([row], columns, NOW, screen=screen(policy)).table.to_pylist()[0]
    is_json = {EXTRA, *(column.name for column in columns if column.kind is Kind.JSON)}
    return {
        name: json.loads(value) if name in is_json else value
        for name, value in stored.items()
        if value is not None and name != "_extracted_at"
    }


def hashed(plain: str) -> str:
    return PrivacyKey(SECRET).hashed(plain)


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        (
            "email",
            ["mara@example.com", " Mara@Example.COM ", "Mara Quill <MARA@example.com>", "mailto:mara@example.com"],
        ),
        ("name", ["mara quill", "Mara  Quill", "MARA\tQUILL ", "\uff2dara Quill"]),
        ("phone", ["15550100199", "+1 555 010-0199", "001 (555) 0100199", "tel:+15550100199"]),
    ],
)
def test_each_spelling_of_a_value_has_the_same_hash(name: str, spellings: list[str]) -> None:
    assert {typed(PERSON, {name: spelling}, **{name: "hash"})[name] for spelling in spellings} == {hashed(spellings[0])}


def test_each_kind_is_kept_dropped_hashed_or_cut_as_the_policy_says() -> None:
    row = {"email": "mara@example.com", "name": "Mara", "phone": "+15550100199", "note": "Dear shop", "status": "open"}
    assert typed(PERSON, row, email="hash", phone="last4", body="drop") == {
        "email": hashed("mara@example.com"),
        "name": "Mara",
        "phone": "0199",
        "status": "open",
    }
    assert typed(PERSON, {"phone": "0199"}, phone="last4") == {}  # that would be all of it
    assert typed(PERSON, {"email": "+1 555 010 0199", "phone": "a@b.example"}, email="drop", phone="last4") == {
        "email": "0199"
    }


def test_an_address_or_a_number_in_the_place_of_a_name_is_none_that_is_kept() -> None:
    kept = typed(PERSON, {"name": "mara@example.com"}, email="hash")
    assert kept == {"name": hashed("mara@example.com")}
    assert typed(PERSON, {"name": "+1 555 010 0199", "firstname": "x"}, phone="last4", undeclared="drop") == {
        "name": "0199"
    }
    assert typed(PERSON, {"name": "mara@example.com"}, name="drop") == {}
    assert typed(PERSON, {"name": "Mara"}, email="drop") == {"name": "Mara"}
    assert typed(PERSON, {"email": "Mara <mara@example.com>"}, name="drop") == {"email": "mara@example.com"}


def test_without_a_policy_nothing_is_done_and_an_empty_text_has_no_hash() -> None:
    rows = [{"email": "mara@example.com"}]
    assert Policy.of({}) is None
    assert type_rows(rows, PERSON, NOW).table["email"].to_pylist() == ["mara@example.com"]
    assert screen(LEFT_ALONE).apply(PERSON, rows) is rows
    assert typed(PERSON, {"email": "", "name": ""}, email="hash", name="hash") == {"email": "", "name": ""}


SHOWN = (
    json_column(
        "sender",
        "Sender.",
        {"id": None, "email": Personal.EMAIL, "to[].name": Personal.NAME, "data.**": Personal.UNDECLARED},
    ),
)


def test_json_is_reduced_by_path_and_loses_what_is_undeclared_with_its_name() -> None:
    sender = {
        "id": 7,
        "email": "mara@example.com",
        "to": [{"name": "Mara"}, {"name": None, "nick": "Mimi"}, "Mara"],
        "data": {"mara@example.com": {"a": 1}},
        "mara@example.com": None,
        "nick": "Mimi",
        "is_new": True,
    }
    found = type_rows([{"sender": sender}], SHOWN, NOW, screen=screen({"email": "hash", "name": "hash"}))
    assert json.loads(found.table["sender"][0].as_py()) == {
        "id": 7,
        "email": hashed("mara@example.com"),
        "to": [{"name": hashed("mara")}, {"name": None}],
        "data": None,
    }
    assert found.withheld == {"sender": 1}
    kept = typed(SHOWN, {"sender": sender}, email="drop", undeclared="keep")["sender"]
    assert kept == sender | {"email": None}
    left = typed(SHOWN, {"sender": sender}, email="drop", undeclared="hash")["sender"]
    assert left["id"] == 7
    assert left["email"] is None
    assert left["data"] == hashed('{"mara@example.com":{"a":1}}')
    assert left[hashed("nick")] == hashed("Mimi")
    assert "Mimi" not in json.dumps(left)
    assert "mara@" not in json.dumps(left)


@pytest.mark.parametrize("value", [["mara@example.com"], {"mara@example.com": 1}, {"email": {"x": "mara@example.com"}}])
def test_a_value_of_the_wrong_type_is_treated_as_undeclared(value: Any) -> None:
    found = type_rows([{"email": value, "nick": "Mara"}], PERSON, NOW, screen=screen({"email": "hash"}))
    assert (found.table["email"][0].as_py(), found.table[EXTRA][0].as_py()) == (None, None)
    assert (found.withheld, found.extra_fields) == ({"email": 1, "nick": 1}, {})
    kept = typed(PERSON, {"email": value, "nick": "Mara"}, email="hash", undeclared="keep")
    assert kept[EXTRA].keys() == {"email", "nick"}
    assert "mara@" not in json.dumps(kept)  # it is as strict as the column
    assert typed(PERSON, {"status": value}, undeclared="hash", name="keep")[EXTRA].keys() == {"status"}
    assert "mara@" not in json.dumps(typed(SHOWN, {"sender": {"email": value}}, email="hash"))


def test_a_column_may_be_an_exception_for_all_that_is_declared_in_it() -> None:
    policy = {"email": "hash", "sorts.sender": "keep", "sorts.email": "drop", "name": "drop"}
    columns = (*PERSON, *SHOWN)
    row = {"email": "a@b.example", "name": "Mara", "sender": {"email": "a@b.example", "nick": "Mimi"}}

    def stored(entity: str) -> Row:
        rows = type_rows([row], columns, NOW, screen=screen(policy).of(entity)).table.to_pylist()
        return {name: rows[0][name] for name in ("email", "name", "sender")}

    assert stored("sorts") == {"email": None, "name": None, "sender": '{"email":"a@b.example"}'}
    assert stored("others")["email"] == hashed("a@b.example")
    with pytest.raises(ValueError, match=r"^privacy names ticket\.tags, and there is no such column"):
        build_definitions(privacy="email:drop,tickets.custom_fields:keep,ticket.tags:drop")


def test_numbers_are_reduced_like_texts_and_truth_is_none() -> None:
    column = (json_column("field", "Field.", {"value": Personal.BODY}),)
    assert typed(column, {"field": {"value": 15550100199}}, body="hash") == {"field": {"value": hashed("15550100199")}}
    assert typed(column, {"field": {"value": True}}, body="hash") == {"field": {"value": True}}
    assert typed(column, {"field": {"value": True}}, body="drop") == {"field": {"value": None}}
    assert typed(column, {"field": "Mara"}, body="keep") == {}


def test_rows_that_are_stored_already_pass_it_again_without_a_change() -> None:
    row = {"email": "mara@example.com", "phone": "+15550100199", "name": "Mara", "note": "Dear shop"}
    policy = {"email": "hash", "phone": "last4", "body": "drop"}
    (once,) = screen(policy).apply(PERSON, [row])
    assert list(screen(policy, stored=True).apply(PERSON, [once])) == [once]


def test_the_key_is_asked_for_only_if_something_is_hashed_and_is_never_shown() -> None:
    dropping, hashing = Policy.of({"body": "drop"}), Policy.of({"email": "hash", "name": "hash"})
    assert dropping
    assert hashing
    assert key_of(dropping, "") is None
    with pytest.raises(PrivacyError, match=r"hashes name, email; set SHOP_KEY to a secret of 16 letters or more"):
        key_of(hashing, " ", "SHOP_KEY")
    with pytest.raises(PrivacyError, match="GORGIAS_PRIVACY_KEY must have 16 letters or more"):
        key_of(hashing, "short")
    resource = GorgiasResource(uri="gorgias://a?api_key=b&email=c", privacy={"email": "hash"}, privacy_key=SECRET)
    door = resource.door()
    assert SECRET not in f"{resource!r}{door!r}{vars(door.screen)!r}{resource._resolved_config_dict!r}"


def test_another_policy_or_another_key_has_another_mark() -> None:
    marks = {
        Policy(actions).mark(PrivacyKey(key))
        for actions in (screen(POLICIES["hashed"]).policy.actions, screen(POLICIES["dropped"]).policy.actions)
        for key in (SECRET, SECRET * 2)
    }
    assert len(marks) == 3  # what is dropped needs no key


@pytest.mark.parametrize(
    "text", ["email:scramble", "nose:hash", "email", "email:hash,email:drop", "undeclared:last4", 7]
)
def test_a_setting_that_is_no_policy_is_refused_in_a_sentence(text: object) -> None:
    with pytest.raises(
        ValueError, match=r"^privacy must be kinds of personal data, each with keep, drop, hash or last4"
    ):
        Settings.of(privacy=text)


def test_a_setting_is_a_mapping_or_text_of_pairs() -> None:
    text = Settings.from_environment({"GORGIAS_PRIVACY": "email:hash, body:drop"})
    assert text.privacy == Settings.of(privacy={"email": "hash", "body": "drop"}).privacy


def test_a_component_takes_a_policy_and_the_name_of_the_variable_of_its_key() -> None:
    settings = GorgiasComponent(privacy={"email": "hash"}, privacy_key_env="SHOP_KEY").settings
    assert settings.privacy == {"email": "hash"}
    assert isinstance(settings.privacy_key, dg.EnvVar)
    assert settings.privacy_key.env_var_name == "SHOP_KEY"


def planted(entity: Entity[Any]) -> Row:
    """Return a row with a person in each place that may hold one, and in places where nobody expects any."""
    row: Row = {"nickname": PLANTED[Personal.NAME], "more": {PLANTED[Personal.EMAIL]: [PLANTED[Personal.UNDECLARED]]}}
    for column in entity.columns:
        if column.kind is Kind.STRING and isinstance(column.holds, Personal):
            row[column.name] = PLANTED[column.holds]
        elif column.kind is Kind.JSON:
            row[column.name] = nested(column)
    return row


def nested(column: Column) -> Any:
    value: Row = {"id": 900}
    is_list = isinstance(column.holds, dict) and any(path.startswith("[]") for path in column.holds)
    holding = column.holds if isinstance(column.holds, dict) else {}
    for path, holds in holding.items():
        words = [word for word in steps(path) if word != "**"]
        if holds is not None:
            put(value, words[1:] if is_list else words, PLANTED[holds])
    odd = {PLANTED[Personal.EMAIL].lower(): PLANTED[Personal.UNDECLARED], "alias": PLANTED[Personal.NAME].upper()}
    return [value | odd] if is_list else value | odd


def put(into: Any, words: list[str], text: str) -> None:
    """Put a text at a path, and make the objects and lists on the way."""
    for number, word in enumerate(words):
        is_last, next_is_item = number == len(words) - 1, words[number + 1 : number + 2] == ["[]"]
        new: Any = text if is_last else [] if next_is_item else {}
        if isinstance(into, list):
            into.append(new)
            into = into[-1]
        else:
            name = word.replace("*", "300201")
            if is_last or not isinstance(into.get(name), dict | list):
                into[name] = new
            into = into[name]


def plant(account: Account, entity: Entity[Any], **fields: Any) -> None:
    """Put rows of planted people into the account, one with values of the wrong type."""
    kind = _kind(entity)
    blank = KINDS[kind].blank
    moments = {name: MOMENT for name in ("created_datetime", "updated_datetime") if name in blank}
    wrong = {
        column.name: {"text": PLANTED[column.holds]} if isinstance(column.holds, Personal) else PLANTED[Personal.NAME]
        for column in entity.columns
        if column.kind is Kind.JSON or isinstance(column.holds, Personal)
    }
    rows = [planted(entity), wrong, {"id": 0}]
    account.insert_many(
        kind, ({**blank, **row, **moments, **fields, "id": number} for number, row in enumerate(rows, 1))
    )


def protected(project: Project, policy: Mapping[str, str]) -> Project:
    """Let the project's runs have this policy."""
    sandbox = project.sandbox
    project.resources["gorgias"] = GorgiasResource(
        uri=sandbox.uri, api_url=sandbox.api_url, privacy=dict(policy), privacy_key=SECRET, patience_minutes=0.1
    )
    return project


def found_in(folder: Path) -> dict[str, list[str]]:
    """Return the needles that are in the bytes of the files of a folder, by file."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and file.stat().st_size:
            text = file.read_bytes().lower()
            if there := [needle for needle in NEEDLES if needle.encode() in text]:
                found[file.name] = there
    return found


def written(sandbox: Sandbox, folder: Path, entities: list[Entity[Any]], policy: Mapping[str, str]) -> None:
    """Run everything into a file in the folder, with Dagster's storage beside it, and move all of it to disk."""
    project = protected(Project(sandbox, folder / "warehouse.duckdb", entities), policy)
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        for entity in entities:
            plant(sandbox.account, entity)
        dg.materialize(project.assets, instance=instance, resources=project.resources, partition_key=DAY)
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("CHECKPOINT")


ALL = [entity for entity in ENTITIES if entity not in (ACCOUNT, METRIC_CARDS)]  # those two are made of texts


@pytest.fixture
def old() -> Iterator[Sandbox]:
    """Yield an account whose events of that day are kept."""
    with Sandbox(Account(now=datetime(2025, 4, 1, tzinfo=UTC))) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("policy", "entities"),
    [
        pytest.param(MIXED, [TICKET_MESSAGES], id="mixed, of messages"),
        *(pytest.param(policy, ALL, id=name, marks=pytest.mark.soak) for name, policy in POLICIES.items()),
    ],
)
def test_a_planted_person_is_in_no_byte_that_is_written(
    old: Sandbox,
    tmp_path: Path,
    policy: dict[str, str],
    entities: list[Entity[Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        written(old, tmp_path, entities, policy)
    printed = capfd.readouterr()
    said = f"{caplog.text}{printed.out}{printed.err}".lower()
    assert found_in(tmp_path) == {}
    assert [needle for needle in NEEDLES if needle in said] == []
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        for entity in entities:
            assert connection.execute(f"SELECT count(*) >= 3 FROM gorgias.{entity.name}").fetchone() == (True,)


@pytest.mark.soak
def test_the_search_finds_the_person_if_nothing_is_reduced(old: Sandbox, tmp_path: Path) -> None:
    written(old, tmp_path, ALL, {})
    found = found_in(tmp_path)["warehouse.duckdb"]
    assert [needle for needle in NEEDLES if needle not in found] == ["5550173921", "planted lane"]  # in no column


CHANGES = [
    pytest.param({}, MIXED, id="none, then mixed"),
    pytest.param({"email": "hash"}, POLICIES["dropped"], id="hashed, then dropped", marks=pytest.mark.soak),
    pytest.param({"email": "keep"}, POLICIES["hashed"], id="kept, then hashed", marks=pytest.mark.soak),
]


@on_each_warehouse_in_time
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_full_sweep_rewrites_what_was_stored_under_another_policy(
    project: Project, account: Account, before: dict[str, str], after: dict[str, str]
) -> None:
    plant(account, TICKETS)
    project = protected(project, before)
    project.materialize(DAY, select=["tickets"])
    account.delete("tickets", 1)  # only what is stored has it
    protected(project, after)
    result = project.materialize(DAY, select=["tickets"])
    assert project.metadata(result, TICKETS)[OUTDATED] is True
    said = [entry.message for entry in project.log(result) if "another privacy policy" in entry.message]
    assert [message.partition("; ")[2] for message in said] == ["run a full sweep, which rewrites them."]
    assert left_in(project, TICKETS)
    result = project.materialize(DAY, select=["tickets"], full=True, rewrite=True)
    assert OUTDATED not in project.metadata(result, TICKETS)
    assert left_in(project, TICKETS) == []
    assert project.query("SELECT id, _deleted_at IS NULL FROM gorgias.tickets ORDER BY id") == [
        (1, False),
        (2, True),
        (3, True),
    ]
    once = project.query("SELECT id, customer, subject, _extracted_at FROM gorgias.tickets WHERE id = 1")
    result = project.materialize(DAY, select=["tickets"])
    assert OUTDATED not in project.metadata(result, TICKETS)
    assert project.query("SELECT id, customer, subject, _extracted_at FROM gorgias.tickets WHERE id = 1") == once


def left_in(project: Project, entity: Entity[Any]) -> list[str]:
    """Return the needles that are in the rows of an entity's table."""
    text = str(project.query(f"SELECT * FROM gorgias.{entity.name}")).lower()
    return [needle for needle in NEEDLES if needle in text]


def test_events_that_gorgias_no_longer_keeps_are_rewritten_where_they_are(old: Sandbox, tmp_path: Path) -> None:
    plant(old.account, EVENTS)
    project = Project(old, tmp_path / "warehouse.duckdb", [EVENTS])
    project.materialize(DAY)
    old.account.now += timedelta(days=400)
    protected(project, MIXED)
    project.materialize("2026-05-01", rewrite=True)
    assert left_in(project, EVENTS) == []
    assert project.query("SELECT count(*) FROM gorgias.events") == [(3,)]


def test_a_check_fails_until_a_full_sweep(project: Project, account: Account) -> None:
    project.deployed = replace(project.deployed, has_policy=True)
    account.create("customers", email=PLANTED[Personal.EMAIL])
    project.materialize("2025-03-31", select=["customers"])
    protected(project, MIXED)

    def verdict(**config: bool) -> dg.AssetCheckEvaluation:
        project.materialize("2025-03-31", select=["customers"], **config)
        checks = build_checks(project.deployed, late_after=timedelta(0))
        result = dg.materialize(
            [*project.assets, *checks],
            selection=dg.AssetSelection.checks(dg.AssetCheckKey(project.deployed.key_of(CUSTOMERS), "policy_kept")),
            instance=project.instance,
            resources=project.resources,
        )
        (found,) = result.get_asset_check_evaluations()
        return found

    outdated = verdict()
    assert (outdated.passed, outdated.description) == (
        False,
        "Rows are stored under another privacy policy; run the full sweep job, which rewrites them.",
    )
    assert verdict(full=True, rewrite=True).passed


def test_a_run_without_the_key_that_its_policy_needs_fails_before_it_reads(project: Project, account: Account) -> None:
    account.create("customers", email=PLANTED[Personal.EMAIL])
    protected(project, MIXED)
    project.resources["gorgias"] = GorgiasResource(
        uri=project.sandbox.uri, api_url=project.sandbox.api_url, privacy=MIXED, privacy_key=dg.EnvVar("NO_SUCH_KEY")
    )
    result = project.materialize(DAY, select=["customers"], raise_on_error=False)
    assert not result.success
    failed = " ".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)
    assert "The setting privacy hashes name, email; set NO_SUCH_KEY to a secret of 16 letters or more" in failed
    assert project.sandbox.requests == []


def test_ingest_keeps_the_policy_of_the_environment(
    sandbox: Sandbox,
    account: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    plant(account, TICKETS)
    monkeypatch.setenv("GORGIAS_PRIVACY_KEY", SECRET)
    settings = Settings.of(privacy=MIXED, api_url=sandbox.api_url)
    request = Request(TICKETS, Table("gorgias", "tickets"))
    file = tmp_path / "warehouse.duckdb"
    assert ingest(request, sandbox.uri, f"duckdb:///{file}", settings, [TICKETS]) == 0
    assert found_in(tmp_path) == {}
    assert DuckDBFile(file).query("SELECT policy FROM gorgias._accounts_tickets") == [
        (screen(MIXED).mark,),
    ]
    monkeypatch.delenv("GORGIAS_PRIVACY_KEY")
    assert ingest(request, sandbox.uri, f"duckdb:///{file}", settings, [TICKETS]) == 1
    assert "set GORGIAS_PRIVACY_KEY to a secret" in capfd.readouterr().err


def test_tables_are_joined_by_the_hashes_of_an_address(sandbox: Sandbox, account: Account, tmp_path: Path) -> None:
    project = protected(
        Project(sandbox, tmp_path / "warehouse.duckdb", [CUSTOMERS, TICKET_MESSAGES], [TICKET_MESSAGE_RECIPIENTS]),
        {"email": "hash"},
    )
    account.create("customers", email="Mara@A.example", name="Mara")
    sender = {"name": "Mara Quill", "address": "mara@a.example "}
    ticket = account.create("tickets")
    account.create("messages", ticket_id=ticket["id"], source={"type": "email", "from": sender}, body_text="Dear shop")
    project.materialize("2025-04-01")
    assert project.query(
        "SELECT customers.name, recipients.name FROM gorgias.customers "
        "JOIN gorgias.ticket_message_recipients AS recipients ON recipients.address = customers.email"
    ) == [("Mara", "Mara Quill")]


@pytest.mark.soak
def test_metrics_follow_a_full_sweep_that_has_rewritten_names(project: Project, account: Account) -> None:
    project.deployed = replace(project.deployed, entities=[*CORE, USERS], metrics=[TICKET_METRICS])
    project.assets = [*build_assets(project.deployed), *build_summaries(project.deployed)]
    agent = account.create("users", name=PLANTED[Personal.NAME], email="a@b.example")
    tickets = [account.create("tickets", assignee_user={"id": agent["id"]})["id"] for _ in range(2)]
    for ticket in tickets:
        account.create("messages", ticket_id=ticket, body_text="Dear shop")
    names = "SELECT assignee_user_name FROM gorgias.ticket_metrics"
    project.materialize("2025-04-01")
    assert project.query(names) == [(PLANTED[Personal.NAME],)] * 2
    account.delete("tickets", tickets[0])
    protected(project, MIXED)
    project.materialize("2025-04-01", select=[entity.name for entity in CORE], full=True, rewrite=True)
    project.materialize("2025-04-01", select=["ticket_metrics"])
    assert project.query(names) == [(hashed("zephyrine quillfeather"),)] * 2
