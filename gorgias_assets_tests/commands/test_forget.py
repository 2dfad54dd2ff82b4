"""Forgetting a person: nothing of them is left, whatever was planted where, and nothing comes back."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from gorgias_assets.account import Account as Deployed
from gorgias_assets.commands.forget import Request, forget
from gorgias_assets.entities import (
    CUSTOMERS,
    EVENTS,
    INTEGRATIONS,
    SATISFACTION_SURVEYS,
    TICKET_MESSAGES,
    TICKETS,
    USERS,
    VIEWS,
    VOICE_CALLS,
)
from gorgias_assets.entities.model import ByFilter, Entity, Unordered, Whole
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.loading import load
from gorgias_assets.privacy.erasing import Person
from gorgias_assets.privacy.forgetting import ERASE, HASH, Forgotten, emails_in, phones_in
from gorgias_assets.privacy.policy import PrivacyKey, plain_email
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Listed, Table, WarehouseError
from gorgias_assets_tests.engines import DuckDBFile, Engine, on_each_warehouse_in_time

KEY = "a-key-of-the-tests-0123456789"
LOG = logging.getLogger("forget")
ENTITIES = (CUSTOMERS, TICKETS, TICKET_MESSAGES, SATISFACTION_SURVEYS, EVENTS, VOICE_CALLS)
BEGIN, NOW = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
DAY = datetime(2025, 3, 12, 9, tzinfo=UTC)

JANE, BOB, AGENT = 501, 502, 7
NAME, ADDRESS, NUMBER = "Jane Zauberfisch", "Jane.Zauberfisch@Example.COM", "+491705550199"
WORDS = (
    b"zauberfisch",
    b"5550199",
    b"555-0199",
    b"555 0199",
    b"pocket watch",
)  # of the person's names, addresses, numbers and letters
SPELLINGS = (
    "jane.zauberfisch@example.com",
    "JANE.ZAUBERFISCH@EXAMPLE.COM",
    "see https://shop.example/?to=jane.zauberfisch%40example.com&x=1",
    "<b>jane.zauberfisch&#64;example.com</b>",
    "jane.zauberfisch=40example.com",
    "'Jane' <mailto:jane.zauberfisch@example.com>",
    "jane.zauberfisch [at] example.com",
    "call +49 (170) 555-0199 after six",
    "0049 170 5550199",
    "jane.zauberfisch@example.com.Thanks",
    "jane.zauberfisch@example.com.pdf",
    "_jane.zauberfisch@example.com_",
    "...jane.zauberfisch@example.com.",
    "请联系jane.zauberfisch@example.com谢谢",
    "jane.zauber\u00adfisch\u200b@example.com",
    "jane%2Ezauberfisch%2540example.com",
    "jane&#46;zauberfisch&amp;#64;example.com",
    '{"note": "Hi\\njane.zauberfisch@example.com"}',
    "\\u003cjane.zauberfisch\\u0040example.com\\u003e",
    "=3Cjane.zauber=\r\nfisch@example.com=3E",
    "jane.zauberfisch<span>@</span>example.com",
    '"jane.zauberfisch"@example.com',
    "0170/555 01 99",
    "+49 (0)170 5550199",
    "tel:%2B49%20170%205550199",
    "+49&nbsp;170&nbsp;5550199",
    "+49 (170) 555\u20130199",
    "\uff0b\uff14\uff19 \uff11\uff17\uff10 \uff15\uff15\uff15\uff10\uff11\uff19\uff19",
)


def person(row_id: int, name: str, email: str) -> dict[str, Any]:
    first, _, last = name.partition(" ")
    return {"id": row_id, "name": name, "firstname": first, "lastname": last, "email": email, "meta": None}


WHO_JANE, WHO_BOB = person(JANE, NAME, f" {ADDRESS} "), person(BOB, "Bob Kept", "bob@kept.example")
WHO_AGENT = person(AGENT, "Ines Vale", "ines.vale@shop.example")


@pytest.fixture(scope="module")
def account() -> Account:
    """Return an account in which a person is everywhere that one may be, and another customer is, too."""
    account = Account(now=NOW)
    when = {"created_datetime": DAY, "updated_datetime": DAY}
    for who in (WHO_JANE, WHO_BOB):
        account.create("customers", **who | {"note": f"{who['name']} likes tea"}, **when)
    account.update(
        "customers", JANE, data={"vip": NAME, NAME: 1}, custom_fields={"9": {"id": 9, "value": "Zauberfisch"}}
    )
    for number, who in ((1, WHO_JANE), (2, WHO_BOB)):
        account.create(
            "tickets",
            id=number,
            customer=who,
            assignee_user=WHO_AGENT,
            subject=f"{who['name']} asks",
            summary={"content": f"{who['name']} asks"},
            meta={"shopper": who["email"]},
            hidden={"owner": {"mail": who["email"]}},
            **when,
        )
        letter = {"ticket_id": number, "created_datetime": DAY, "sent_datetime": DAY}
        source = {
            "type": "email",
            "from": {"name": who["name"], "address": who["email"]},
            "to": [{"address": "a@shop.example"}],
        }
        body = f"My pocket watch is broken. {who['name']}" if who is WHO_JANE else "My clock is broken."
        account.create("messages", sender=who, source=source, body_text=body, body_html=f"<p>{body}</p>", **letter)
        reply = {"from_agent": True, "sender": WHO_AGENT, "receiver": who, "headers": {"To": who["email"]}}
        account.create("messages", body_text=f"> {body}\n\nDear {who['firstname']}!", **reply, **letter)
        account.create(
            "messages", body_text=f"About that: {body}", public=False, from_agent=True, sender=WHO_AGENT, **letter
        )
        account.create("satisfaction_surveys", customer_id=who["id"], body_text=body, **letter)
    account.create(
        "voice_calls", id=1, customer_id=JANE, direction="inbound", phone_number_source=NUMBER, created_datetime=DAY
    )
    for spelling in SPELLINGS:
        account.create(
            "messages", ticket_id=2, sender=WHO_BOB, body_text=f"Kept. {spelling}", **{"created_datetime": DAY}
        )
    copied = {
        "type": "email",
        "from": {"address": "bob@kept.example"},
        "cc": [{"name": NAME, "address": ADDRESS.upper()}],
    }
    account.create(
        "messages",
        id=900,
        ticket_id=2,
        sender=WHO_BOB,
        source=copied,
        body_text="Jane says hello",
        created_datetime=DAY,
    )
    account.tell(
        "tickets",
        1,
        "customer-updated",
        {"old_customer": {"id": BOB, "name": "Bob Kept"}, "new_customer": {"id": JANE, "name": NAME}},
    )
    account.create("integrations", type="email", meta={"address": "a@shop.example"})
    account.advance(timedelta(minutes=1))
    return account


@dataclass
class OfWarehouse:
    """An IO manager's resource, of a warehouse."""

    warehouse: DuckDBWarehouse
    other: Any

    def create_io_manager(self, _: object) -> MergingIOManager:
        return MergingIOManager(self.warehouse, self.other.place())


@dataclass
class Desk:
    """An account, a warehouse and a folder of reports."""

    sandbox: Sandbox
    engine: Engine
    folder: Path
    key: str | None = KEY
    privacy: dict[str, str] = field(default_factory=dict)
    entities: tuple[Entity[Any], ...] = ENTITIES
    warehouse: DuckDBWarehouse | None = None
    deployed: Deployed = field(init=False)

    def __post_init__(self) -> None:
        self.deployed = replace(Deployed(self.entities, views=VIEWS), reports=str(self.folder / "reports" / "gorgias"))

    def read(self, full: bool = False) -> None:
        """Read everything, once more if it was read before."""
        window = (BEGIN, self.sandbox.account.now)
        for entity in self.entities:
            if isinstance(entity.read, Whole):
                reader: Any = self.gorgias.snapshot(entity)
                reader.fetch()
            elif isinstance(entity.read, ByFilter):
                reader = self.gorgias.filtered(entity, *window)
            elif isinstance(entity.read, Unordered):
                reader = self.gorgias.unordered(entity, *window, full=full)
            else:
                reader = self.gorgias.sweep(entity, *window, full=full)
            load(reader, self.io_manager.warehouse(), Table("gorgias", entity.name), LOG)

    def forget(self, given: str, action: str = ERASE, dry: bool = False, agreed: bool = True) -> int:
        io_manager = self.io_manager
        resources = {
            "gorgias": self.gorgias,
            "io_manager": OfWarehouse(self.warehouse, io_manager) if self.warehouse else io_manager,
        }
        return forget(Request(given, action, dry, lambda: agreed), self.deployed, resources)

    @property
    def gorgias(self) -> GorgiasResource:
        return GorgiasResource(
            uri=self.sandbox.uri, api_url=self.sandbox.api_url, privacy_key=self.key or "", privacy=self.privacy
        )

    @property
    def io_manager(self) -> Any:
        plain = {"connection_config": {"force_compression": "uncompressed"}}  # so that a search of bytes finds them
        return self.engine.io_manager("gorgias", **plain if isinstance(self.engine, DuckDBFile) else {})

    def found(self) -> list[str]:
        """Return where something of the person is: in a table, or in the bytes of a file."""
        return [*self.in_tables(), *self.in_files()]

    def in_tables(self) -> Iterator[str]:
        with self.io_manager.warehouse().reading("gorgias") as session:
            for table in session.tables_in("gorgias"):
                rows = session.arrow(f"SELECT * FROM {session.rows_of(table)}").to_pylist()
                text = json.dumps(rows, default=str, ensure_ascii=False).casefold().encode()
                yield from (f"{word!r} in {table}" for word in WORDS if word in text)

    def in_files(self) -> Iterator[str]:
        for file in self.folder.rglob("*"):
            content = file.read_bytes().lower() if file.is_file() else b""
            yield from (f"{word!r} in {file.name}" for word in WORDS if word in content)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.query(sql)


@pytest.fixture(scope="module")
def sandbox(account: Account) -> Iterator[Sandbox]:
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def read_once(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file into which everything was read."""
    folder = tmp_path_factory.mktemp("read")
    file = folder / "warehouse.duckdb"
    Desk(sandbox, DuckDBFile(file), folder).read()
    return file.read_bytes()


@pytest.fixture
def desk(sandbox: Sandbox, engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    """Return a desk on a warehouse into which everything was read."""
    desk = Desk(sandbox, engine, tmp_path)
    if isinstance(engine, DuckDBFile):
        engine.file.write_bytes(request.getfixturevalue("read_once"))
    else:
        desk.entities = (CUSTOMERS, TICKETS, TICKET_MESSAGES, VOICE_CALLS)  # each takes its time there
        desk.__post_init__()
        desk.read()
    assert len(desk.found()) > len(WORDS)
    return desk


@on_each_warehouse_in_time
def test_nothing_of_a_person_is_left_anywhere_and_neither_a_replay_nor_a_full_sweep_brings_it_back(desk: Desk) -> None:
    rows = {entity: desk.query(f"SELECT COUNT(*) FROM gorgias.{entity.name}") for entity in desk.entities}
    assert desk.forget("jane.zauberfisch@example.com") == 0
    assert desk.found() == []
    desk.read()
    desk.read(full=True)
    assert desk.found() == []
    assert {entity: desk.query(f"SELECT COUNT(*) FROM gorgias.{entity.name}") for entity in desk.entities} == rows
    ((name, note),) = desk.query(f"SELECT name, note FROM gorgias.customers WHERE id = {BOB}")
    assert (name, note) == ("Bob Kept", "Bob Kept likes tea")
    ((customer, agent),) = desk.query("SELECT customer, assignee_user FROM gorgias.tickets WHERE id = 1")
    assert desk.engine.json(customer)["id"] == JANE
    assert desk.engine.json(agent)["name"] == "Ines Vale"
    ((kept,),) = desk.query("SELECT COUNT(*) FROM gorgias.ticket_messages WHERE body_text LIKE '%My clock is broken%'")
    assert kept == 3


def test_what_is_shown_is_counted_by_table_and_nothing_changes_unless_somebody_agrees(desk: Desk, capsys) -> None:
    before = (desk.folder / "warehouse.duckdb").read_bytes()
    assert desk.forget(str(JANE), dry=True) == 0
    shown = capsys.readouterr().out
    with pytest.raises(click.Abort):
        desk.forget(str(JANE), agreed=False)
    assert (desk.folder / "warehouse.duckdb").read_bytes() == before
    assert "gorgias.tickets                                    1" in shown
    assert shown.endswith("Nothing was changed.\n")
    assert not any(word.decode() in shown.casefold() for word in WORDS)
    assert desk.forget("nobody@example.com") == 0
    assert capsys.readouterr().out.endswith("Nothing is stored of this person.\n")


def test_a_protocol_names_nobody_and_reports_with_the_person_are_removed(desk: Desk) -> None:
    reports = Path(desk.deployed.reports)
    reports.mkdir(parents=True)
    (reports / "overview-2025-03-12.html").write_text(f"<td>{NAME}</td>")
    (reports / ".overview-x2f").write_text(f"<td>{ADDRESS}</td>")
    (reports / "overview-2025-03-13.html").write_text("<td>Ines Vale</td>")
    desk.engine.execute(f"CREATE TABLE gorgias.of_somebody AS SELECT '{ADDRESS}' AS mail")
    desk.forget(str(JANE))
    (protocol,) = reports.glob("forgotten-*.json")
    assert protocol.stat().st_mode & 0o777 == 0o600
    told = json.loads(protocol.read_text())
    assert not any(word.decode() in json.dumps(told).casefold() for word in WORDS)
    assert told["rows_changed"]["gorgias.customers"] == told["rows_found"]["gorgias.customers"] == 1
    assert (told["reports_removed"], told["rows_left"]) == (2, 0)
    assert told["rows_in_other_tables"] == {"gorgias.of_somebody": 1}
    assert [file.name for file in reports.glob("*.html")] == ["overview-2025-03-13.html"]


def test_somebody_who_is_no_customer_and_was_only_in_copy_is_forgotten(desk: Desk) -> None:
    """A mention is found in whatever spelling, and the customer whose letter it was stays."""
    desk.engine.execute(
        'UPDATE gorgias.ticket_messages SET source = \'{"cc": [{"address": "Carla@Elsewhere.example"}]}\', '
        "body_text = 'write to carla%40elsewhere%2Eexample' WHERE id = 900"
    )
    assert desk.forget("carla@elsewhere.example.") == 0
    assert desk.query("SELECT source, body_text FROM gorgias.ticket_messages WHERE id = 900") == [
        ('{"cc":[{"address":null}]}', None)
    ]
    ((kept,),) = desk.query("SELECT COUNT(*) FROM gorgias.ticket_messages WHERE body_text LIKE 'Kept.%'")
    assert kept == len(SPELLINGS)


def test_hashes_stand_for_names_and_addresses_and_join_across_tables(desk: Desk) -> None:
    desk.forget(ADDRESS, HASH)
    assert desk.found() == []
    desk.read(full=True)
    assert desk.found() == []
    ((email, name),) = desk.query(f"SELECT email, name FROM gorgias.customers WHERE id = {JANE}")
    assert email == PrivacyKey(KEY).hashed("jane.zauberfisch@example.com")
    found = desk.query("SELECT customer ->> 'email', customer ->> 'name' FROM gorgias.tickets WHERE id = 1")
    assert found == [(email, name)]


@pytest.mark.soak
def test_what_came_of_somebody_on_the_list_since_is_erased_by_their_address(desk: Desk) -> None:
    desk.forget(ADDRESS)
    desk.engine.execute("UPDATE gorgias.ticket_messages SET body_text = 'A pocket watch' WHERE ticket_id = 1")
    desk.engine.execute(
        "UPDATE gorgias.satisfaction_surveys SET customer_id = NULL, ticket_id = NULL, body_text = 'A pocket watch', "
        f'_extra = \'{{"customer_id": "{JANE}"}}\' WHERE customer_id = {JANE}'
    )
    assert desk.found()
    desk.forget(ADDRESS.upper())
    assert desk.found() == []


@pytest.mark.soak
def test_the_command_for_somebody_else_completes_one_that_was_interrupted_and_takes_a_long_list(desk: Desk) -> None:
    desk.warehouse = Mortal(str(desk.folder / "warehouse.duckdb"), 2)
    with pytest.raises(Killed):
        desk.forget(ADDRESS)
    desk.warehouse = None
    long_list = Person(emails={f"{number}@many.example" for number in range(1_000)})
    entries = long_list.entries(PrivacyKey(KEY), ERASE)
    desk.io_manager.warehouse().put_on_list("gorgias", entries, NOW)
    desk.forget("bob@kept.example")
    assert desk.found() == []
    assert sum(len(some.emails) for some in long_list.parts()) == 1_000


@pytest.mark.soak
def test_a_person_is_found_and_forgotten_where_a_policy_has_stored_hashes(sandbox: Sandbox, tmp_path: Path) -> None:
    desk = Desk(sandbox, DuckDBFile(tmp_path / "warehouse.duckdb"), tmp_path)
    desk.privacy = {"email": "hash", "phone": "hash", "name": "hash", "body": "drop", "undeclared": "hash"}
    desk.read()
    hashed = PrivacyKey(KEY).hashed("jane.zauberfisch@example.com")

    def with_hash() -> int:
        return sum(
            count
            for table, column in (("customers", "email"), ("tickets", "customer"), ("ticket_messages", "source"))
            for (count,) in desk.query(
                f"SELECT COUNT(*) FROM gorgias.{table} WHERE {column}::VARCHAR LIKE '%{hashed}%'"
            )
        )

    before = with_hash()
    assert before > 3
    desk.forget(ADDRESS)
    assert with_hash() == 0
    desk.read(full=True)
    assert with_hash() == 0
    assert desk.found() == []


@pytest.mark.soak
def test_an_agent_or_the_shop_is_not_forgotten(desk: Desk) -> None:
    desk.entities = (USERS, INTEGRATIONS)
    desk.read()
    desk.entities = (*ENTITIES, *desk.entities)
    desk.__post_init__()
    agent = desk.sandbox.account.owner_id
    for given in ("ines.vale@shop.example", "A@shop.example", str(agent)):
        with pytest.raises(WarehouseError, match=r"no customer's\.$"):
            desk.forget(given)
    desk.forget(ADDRESS)
    ((kept,),) = desk.query(
        "SELECT COUNT(*) FROM gorgias.ticket_messages WHERE source::VARCHAR LIKE '%a@shop.example%'"
    )
    assert kept == 1, "the shop's address, in the other customer's letter"


def test_without_the_key_of_the_list_nothing_is_stored(desk: Desk) -> None:
    desk.key = None
    with pytest.raises(WarehouseError, match=r"^GORGIAS_PRIVACY_KEY is not set\."):
        desk.forget(ADDRESS)
    desk.key = KEY
    desk.forget(ADDRESS)
    for key, sentence in (
        (None, "set GORGIAS_PRIVACY_KEY to the key"),
        ("another-key-0123456789", "is not the key that"),
    ):
        desk.key = key
        with pytest.raises(WarehouseError, match=sentence):
            desk.read()
    assert desk.found() == []


class Killed(BaseException):
    """Nothing of this project catches it."""


class Mortal(DuckDBWarehouse):
    """A DuckDB file whose process dies right before, or right after, one of its writes."""

    def __init__(self, file: str, lives: int) -> None:
        super().__init__(file, {"force_compression": "uncompressed"}, 20)
        self.lives = lives

    def put_on_list(self, *arguments: Any) -> None:
        self._live(super().put_on_list, *arguments)

    def update(self, *arguments: Any) -> Any:
        return self._live(super().update, *arguments)

    def expunge(self, schema: str) -> str:
        return str(self._live(super().expunge, schema))

    def note_erased(self, *arguments: Any) -> None:
        self._live(super().note_erased, *arguments)

    def _live(self, write: Callable[..., Any], *arguments: Any) -> Any:
        self._step()
        done = write(*arguments)
        self._step()
        return done

    def _step(self) -> None:
        self.lives -= 1
        if not self.lives:
            raise Killed


@pytest.mark.soak
def test_a_command_that_was_killed_at_any_write_is_completed_by_the_next_one(desk: Desk, tmp_path: Path) -> None:
    original, file = (tmp_path / "warehouse.duckdb").read_bytes(), tmp_path / "warehouse.duckdb"
    lives, done = 1, False
    while not done:
        file.write_bytes(original)
        desk.warehouse = Mortal(str(file), lives)
        try:
            desk.forget(ADDRESS)
            done = True
        except Killed:
            lives += 1
        desk.warehouse = None
        desk.forget(str(JANE))
        assert desk.found() == [], f"killed at step {lives}"
    assert lives > 15


def test_rows_are_read_while_nobody_is_on_the_list_without_a_look_at_them() -> None:
    assert Forgotten.of([], None) is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_address_or_a_number_is_found_in_any_spelling(spelling: str) -> None:
    found = emails_in(f"before {spelling}, after") | phones_in(f"before {spelling}, after")
    known = Person(emails={"jane.zauberfisch@example.com"}, phones={"491705550199"})
    assert found & {*known.emails, *known.numbers}
    with duckdb.connect() as connection:
        pattern = known.pattern(PrivacyKey(KEY))
        assert connection.execute("SELECT regexp_matches(?, ?)", [spelling, pattern]).fetchone() == (True,)


def test_an_address_with_other_letters_is_the_same_in_punycode() -> None:
    spellings = (
        "J\u00fcrgen@M\u00fcller.example",
        "j\u00fcrgen@xn--mller-kva.example",
        "ju\u0308rgen@mu\u0308ller.example.",
    )
    assert {plain_email(spelling) for spelling in spellings} == {"j\u00fcrgen@m\u00fcller.example"}
    assert all("j\u00fcrgen@m\u00fcller.example" in emails_in(f"<{spelling}>") for spelling in spellings)


def test_the_address_or_number_of_somebody_else_is_not_taken_for_the_person_s() -> None:
    person = Person(emails={"jane@example.com"}, phones={"491705550199"})
    forgotten = Forgotten.of(person.entries(PrivacyKey(KEY), ERASE), PrivacyKey(KEY))
    assert forgotten
    others = ("jane@example.com.br", "mary-jane@example.com", "mary.jane@example.com", "jane@example.community")
    numbers = ("order 91705550198", "+49 170 55501990", "0170 555", "2025-03-01 170 555")
    assert [text for text in (*others, *numbers) if forgotten.of_text(text)] == []
    assert forgotten.of_address("jane@example.com.pdf") is None


@pytest.mark.parametrize("given", ["Jane Zauberfisch", "@", "+49 170 5550199"])
def test_what_is_neither_an_address_nor_an_id_is_refused(desk: Desk, given: str) -> None:
    with pytest.raises(WarehouseError, match=r"^This is neither an e-mail address nor a customer's id"):
        desk.forget(given)


def test_a_long_text_without_an_address_is_no_burden() -> None:
    key = PrivacyKey(KEY)
    entries = [Listed("key", key.check, ERASE), Listed("email", key.hashed("jane@example.com"), ERASE)]
    forgotten = Forgotten.of(entries, key)
    assert forgotten
    assert forgotten.of_text("A" * 1_000_000 + "@" * 1_000) is None
    assert forgotten.of_text("A" * 1_000_000 + " jane@example.com") == ERASE


def test_a_key_is_long_and_in_no_representation() -> None:
    assert repr(PrivacyKey(KEY)) == "PrivacyKey()"
    with pytest.raises(ValueError, match=r"16 letters or more"):
        PrivacyKey("short")


@pytest.mark.soak
def test_after_the_command_no_file_of_a_deployment_has_a_byte_of_the_person(sandbox: Sandbox, tmp_path: Path) -> None:
    """Search the warehouse, Dagster's storage, its logs, reports and temporary files, after a replay, too."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    shutil.copy(Path(__file__).parents[2] / "deploy" / "dagster.yaml", home)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GORGIAS_", "WAREHOUSE_"))}
    settings = {
        **kept,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "TMPDIR": str(temporary),
        "GORGIAS_URI": sandbox.uri,
        "GORGIAS_API_URL": sandbox.api_url,
        "GORGIAS_START_DATE": "2025-03-01",
        "GORGIAS_PRIVACY_KEY": KEY,
        "GORGIAS_REPORTS": str(tmp_path / "reports"),
        "WAREHOUSE_URI": f"duckdb:///{tmp_path}/warehouse.duckdb",
    }

    def run(*words: str, given: str = "") -> str:
        command = [sys.executable, "-m", "gorgias_assets", *words]
        done = subprocess.run(command, env=settings, cwd=tmp_path, input=given, capture_output=True, text=True)
        (tmp_path / f"{words[0]}.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    desk = Desk(sandbox, DuckDBFile(tmp_path / "warehouse.duckdb"), tmp_path)
    run("backfill", "2025-03-10", "2025-03-14")
    assert len(list(desk.in_tables())) > len(WORDS)
    printed = run("forget", "--yes", "-", given=f"{ADDRESS}\n")
    assert "no byte of it holds what was erased" in printed
    assert desk.found() == []
    run("backfill", "2025-03-10", "2025-03-14")
    assert desk.found() == []
    assert len(list(home.rglob("*.db"))) > 1
    assert [*temporary.iterdir()] == []
