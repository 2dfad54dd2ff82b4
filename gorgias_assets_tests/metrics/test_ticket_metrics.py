"""The metrics of tickets: each is what the simulated account's history says, in whatever order it was read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gorgias_assets.assets import build_assets
from gorgias_assets.entities import ENTITIES
from gorgias_assets.metrics.declared import TICKET_METRICS
from gorgias_assets.metrics.ticket_metrics import columns_of
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.summaries import build_summaries
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import on_each_warehouse_in_time
from gorgias_assets_tests.metrics.oracle import Oracle

DAY = timedelta(days=1)
OPENED, NOW = (datetime(2025, 3, day, tzinfo=UTC) for day in (27, 31))  # over a weekend on which the clocks change
HOLIDAYS, FIELD = ["2025-03-28"], "Contact reason"
READ = [entity for entity in ENTITIES if entity.name in TICKET_METRICS.reads]
NAME = TICKET_METRICS.name


def with_metrics(project: Project, **settings: Any) -> Project:
    project.deployed = replace(project.deployed, metrics=[TICKET_METRICS])
    project.assets = [*build_assets(project.deployed), *build_summaries(project.deployed, **settings)]
    return project


@pytest.fixture
def account() -> Account:
    return Account(now=OPENED)


@pytest.fixture
def project(sandbox, engine) -> Project:
    return with_metrics(Project(sandbox, engine, READ), holidays=HOLIDAYS, fields=[FIELD])


def metrics(project: Project, *fields: str) -> dict[int, dict[str, Any]]:
    """Return the stored rows by id, those of tickets that are gone included."""
    names = [column.name for column in columns_of(fields)]
    rows = project.query(f"SELECT {', '.join(names)} FROM gorgias.ticket_metrics")
    assert len(rows) == len({row[0] for row in rows}), "a ticket is in the table twice"
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}


def assert_known(project: Project, oracle: Oracle) -> None:
    stored, known = metrics(project, *[oracle.field] * bool(oracle.field)), oracle.metrics()
    assert known.keys() <= stored.keys()
    for ticket, wanted in known.items():
        found = {name: value for name, value in stored[ticket].items() if name != "_inputs"}
        assert found.keys() == wanted.keys()
        wrong = {name: (found[name], wanted[name]) for name in wanted if not alike(found[name], wanted[name])}
        assert not wrong, ticket


def alike(found: Any, wanted: Any) -> bool:
    return found == (pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted)


def add_what_is_rare(account: Account) -> None:
    """Have a ticket that an agent began, one in the trash, an old one that goes on, and replies of all kinds."""
    agent, rule, now = account.rows("users")[-1]["id"], account.rows("rules")[0]["id"], account.now
    chat = next(row["id"] for row in account.rows("integrations") if row["type"] == "gorgias_chat")
    begun, trashed, old, full, first = (
        account.create("tickets", created_datetime=created, **about)["id"]
        for created, about in (
            (now, {"from_agent": True}),
            (now, {"spam": True}),
            (now - 90 * DAY, {}),
            (now, {"language": "de"}),
            (now, {}),
        )
    )

    def write(ticket: int, minutes: float, is_reply: bool, **about: Any) -> None:
        of_agent = {"from_agent": True, "via": "helpdesk", "sender": {"id": agent}} if is_reply else {}
        moment = now + timedelta(minutes=minutes)
        account.create("messages", ticket_id=ticket, created_datetime=moment, **of_agent | about)

    write(begun, 0, True)
    write(begun, 5, False)
    write(begun, 6, True)
    account.update("tickets", trashed, trashed_datetime=now, status="closed")
    write(old, -60 * 24 * 90, False)
    write(old, 1, True)
    write(first, 1, True)
    write(first, 2, False)
    write(first, 3, True)
    write(full, 0, False, channel="chat", integration_id=chat)
    write(full, 1, True, via="rule", rule_id=rule)
    write(full, 2, True, rule_id=rule)
    write(full, 3, True, via="email")
    write(full, 4, True, public=False, channel="internal-note")
    write(full, 5, True, imported=True)
    write(full, 6, True, failed_datetime=now)
    write(full, 7, True, failed_datetime=now, sent_datetime=now)
    write(full, 8, True)
    for score in (2, 5, None):
        scored = score and now + timedelta(minutes=score)
        account.create("satisfaction_surveys", ticket_id=full, customer_id=1, score=score, scored_datetime=scored)


@on_each_warehouse_in_time
def test_each_measure_is_what_the_account_s_history_says(project, account):
    brand = Brand(account, seed=5, tickets_per_day=6)
    brand.live(NOW - 2 * DAY)
    add_what_is_rare(account)
    brand.live(NOW)
    account.advance(timedelta(minutes=1))
    project.materialize(str(OPENED.date()), str((NOW - DAY).date()))
    oracle = Oracle(account, Window(OPENED, NOW), HOLIDAYS, FIELD)
    known = oracle.metrics().values()
    several = {name: len({row[name] for row in known}) for row in known for name in row}
    assert [name for name, values in several.items() if values < 2] == [], "the history shows too little"
    assert_known(project, oracle)
    last = project.materialize(str(OPENED.date()), select=[NAME])
    (made,) = last.asset_materializations_for_node(f"gorgias__{NAME}")
    assert made.metadata["rows_merged"].value == 0, "nothing is outdated"
