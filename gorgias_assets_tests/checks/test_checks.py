"""The checks: each one passes where all is well, and fails for its own reason, in a sentence and without a value."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.checks import audits
from gorgias_assets.checks.build import IS_FRESH, LATE_AFTER, build_checks, table_checks
from gorgias_assets.checks.verdicts import NotThere, Subject, Verdict
from gorgias_assets.entities import CUSTOMERS, ENTITIES, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.evidence import newest_materializations, unbroken_days
from gorgias_assets.partitions import daily_partitions
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.schedules import freshness_job, full_sweep_job, gorgias_job
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import Engine, on_each_warehouse

NOW = datetime.now(UTC)
TODAY = datetime.combine(NOW.date(), time(), UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LETTER = "Dear shop, my private letter"
ASSETS = {entity.name: dg.AssetKey(["gorgias", entity.name]) for entity in ENTITIES}
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
each_entity = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)


def key(days_ago: int) -> str:
    return (TODAY - days_ago * DAY).date().isoformat()


def day(days_ago: int, days: int = 1) -> dict[str, str]:
    """Tags of a run of one day, or of several in a row."""
    ends = key(days_ago), key(days_ago - days + 1)
    return dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), ends, strict=True))


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """Three tickets of two messages and a survey on each of six days, the last of which has just ended."""
    account = Account(now=TODAY - 6 * DAY + 12 * HOUR)
    for _ in range(6):
        for _ in range(3):
            customer = account.create("customers", name="Ana")
            ticket = account.create("tickets", customer=customer)
            for _ in range(2):
                account.create("messages", ticket_id=ticket["id"], body_text=LETTER, sent_datetime=account.now)
                account.advance(HOUR)
            account.create("satisfaction_surveys", ticket_id=ticket["id"], sent_datetime=account.now)
        account.advance(18 * HOUR)
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def stored(shop: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Five of those days, materialised and checked in one run of the job."""
    project = Project(shop, tmp_path_factory.mktemp("stored") / "warehouse.duckdb")
    run(project, "gorgias", tags=day(5, days=5))
    return project


@pytest.fixture
def spoilt(stored: Project, tmp_path: Any) -> Project:
    """The same, in a file that can be spoilt, and with the same history."""
    copy = Project(stored.sandbox, shutil.copy(stored.database, tmp_path / "warehouse.duckdb"))
    copy.instance = stored.instance
    return copy


def run(project: Project, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(
        assets=project.assets,
        asset_checks=build_checks(FIRST_DAY),
        jobs=[gorgias_job, full_sweep_job, freshness_job],
        resources=project.resources,
    )
    config = {"gorgias_full_sweep": {"ops": {f"gorgias__{e.name}": {"config": {"full": True}} for e in ENTITIES}}}
    return definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance, run_config=QUIET | config.get(job, {}), **options
    )


def judge(project: Project, entity: Entity, name: str, **about: Any) -> Verdict:
    (check,) = [check for check in table_checks(entity) if check.name == name]
    return check.judge(subject(project, entity, **about))


def subject(project: Project, entity: Entity, days: Mapping[str, Window] | None = None, **about: Any) -> Subject:
    partitions = daily_partitions(FIRST_DAY)
    ended = {key(ago): Window(TODAY - ago * DAY, TODAY - (ago - 1) * DAY) for ago in range(5, 0, -1)}
    fields: dict[str, Any] = {
        "tables": {name: Table("gorgias", name) for name in ASSETS},
        "assets": ASSETS,
        "warehouse": project.engine.warehouse(),
        "connect": project.resources["gorgias"].client,
        "instance": project.instance,
        "partitions": partitions,
        "days": ended if days is None else days,
        "now": TODAY + LATE_AFTER,
        "late_after": LATE_AFTER,
    }
    return Subject(entity, **fields | about)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = result.get_asset_check_evaluations()
    return {(made.asset_check_key.asset_key.path[-1], made.check_name): made for made in found}


# Through Dagster


def test_a_run_of_the_job_evaluates_every_check_of_every_asset_and_all_pass(stored: Project) -> None:
    (record,) = stored.instance.get_run_records(dg.RunsFilter(job_name="gorgias"), limit=1, ascending=True)
    events = stored.instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    made = [entry.dagster_event.event_specific_data for entry in events]
    assert sorted((one.asset_key.path[-1], one.check_name) for one in made) == sorted(
        (check.asset_key.path[-1], check.name) for step in build_checks() for check in step.check_keys
    )
    assert [(one.asset_key.path[-1], one.check_name, one.description) for one in made if not one.passed] == []


def test_the_sensors_may_leave_the_checks_out_and_an_operator_may_run_one_alone(stored: Project) -> None:
    only = dg.AssetCheckKey(ASSETS["tickets"], "ids_unique")
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(only))
    definitions = dg.Definitions(stored.assets, asset_checks=build_checks(), jobs=[job], resources=stored.resources)
    result = definitions.resolve_job_def("alone").execute_in_process(instance=stored.instance, run_config=QUIET)
    assert list(evaluations(result)) == [("tickets", "ids_unique")]


def test_a_full_sweep_is_complete_when_it_has_come_to_the_end_of_the_list(spoilt: Project) -> None:
    spoilt.instance = dg.DagsterInstance.ephemeral()
    made = evaluations(run(spoilt, "gorgias_full_sweep", partition_key=key(2)))
    assert [made[entity.name, "sweep_complete"].passed for entity in ENTITIES] == [True] * 4


def test_freshness_has_a_job_of_its_own_that_asks_nothing_of_gorgias_or_the_warehouse(shop: Sandbox, tmp_path) -> None:
    project, asked = Project(shop, tmp_path / "none.duckdb"), len(shop.requests)
    made = evaluations(run(project, "gorgias_freshness"))
    assert sorted(made) == sorted((entity.name, "fresh") for entity in ENTITIES)
    assert not any(one.passed for one in made.values())
    assert len(shop.requests) == asked


def test_checks_of_what_is_not_there_yet_say_what_to_materialise_first(shop: Sandbox, tmp_path) -> None:
    project = Project(shop, tmp_path / "none.duckdb")
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    definitions = dg.Definitions(project.assets, asset_checks=build_checks(), jobs=[job], resources=project.resources)
    result = definitions.resolve_job_def("checks").execute_in_process(instance=project.instance, run_config=QUIET)
    told = {name: one.description for (entity, name), one in evaluations(result).items() if entity == "ticket_messages"}
    no_table = "There is no table gorgias.ticket_messages yet; materialise gorgias/ticket_messages first."
    assert {name for name, sentence in told.items() if sentence == no_table} == {
        "ids_unique",
        "touches_in_order",
        "fields_known",
        "tickets_exist",
        "events_agree",
    }
    assert told["sweep_complete"] == "No day of gorgias/ticket_messages has been materialised yet."
    assert not any(one.passed for one in evaluations(result).values())


def test_a_fifth_entity_has_its_checks_by_its_declaration() -> None:
    calls = replace(SATISFACTION_SURVEYS, name="calls", creation_event="call-created", outlives=("customers", "id"))
    made = build_checks(entities=[*ENTITIES, calls])
    names = {check.name for step in made for check in step.check_keys if check.asset_key.path[-1] == "calls"}
    assert {"ids_unique", "customers_exist", "events_agree"} <= names


def test_every_check_tells_an_operator_what_it_means_and_what_to_do() -> None:
    for step in build_checks():
        for spec in step.check_specs:
            means, advice = spec.description.split("\n\nWhen it fails: ")
            assert means.endswith(".")
            assert advice.endswith(".")


# Of the table

SPOILT = {
    "an id comes twice": (
        CUSTOMERS,
        "ids_unique",
        "INSERT INTO gorgias.customers SELECT * FROM gorgias.customers ORDER BY id LIMIT 2",
        "17 rows: 2 with the id of another, 0 without one.",
    ),
    "a row has no id": (
        CUSTOMERS,
        "ids_unique",
        "UPDATE gorgias.customers SET id = NULL WHERE id = (SELECT MIN(id) FROM gorgias.customers)",
        "15 rows: 0 with the id of another, 1 without one.",
    ),
    "a change precedes the creation": (
        TICKETS,
        "touches_in_order",
        "UPDATE gorgias.tickets SET updated_datetime = created_datetime - INTERVAL 1 SECOND "
        "WHERE id = (SELECT MIN(id) FROM gorgias.tickets)",
        "1 rows have updated_datetime before their creation.",
    ),
    "a message was sent long before its creation": (
        TICKET_MESSAGES,
        "touches_in_order",
        "UPDATE gorgias.ticket_messages SET sent_datetime = created_datetime - INTERVAL 3 HOUR "
        "WHERE id = (SELECT MIN(id) FROM gorgias.ticket_messages)",
        "1 rows have sent_datetime before their creation by more than 2:00:00.",
    ),
    "a survey is scored in the future": (
        SATISFACTION_SURVEYS,
        "touches_in_order",
        "UPDATE gorgias.satisfaction_surveys SET scored_datetime = _extracted_at + INTERVAL 6 MINUTE",
        "15 rows have scored_datetime after they were read.",
    ),
    "fields are unknown": (
        CUSTOMERS,
        "fields_known",
        f"""UPDATE gorgias.customers SET _extra = '{{"loyalty": "{LETTER}", "active": "{LETTER}"}}'""",
        "Fields that are not declared: loyalty (15 rows). Values that do not fit their column: active (15 rows).",
    ),
    "a message has lost its ticket": (
        TICKET_MESSAGES,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id = 80550008",
        "2 living rows are of 1 tickets that should be stored and are not; 0 of 0 that were deleted; 0 of 0 that are "
        "older or newer than the days of tickets in the table.",
    ),
    "many surveys have lost their tickets": (
        SATISFACTION_SURVEYS,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 6 OFFSET 3)",
        "6 living rows are of 6 tickets that should be stored and are not; 0 of 0 that were deleted; 0 of 0 that are "
        "older or newer than the days of tickets in the table.",
    ),
    "messages have stayed when their ticket went": (
        TICKET_MESSAGES,
        "tickets_exist",
        "UPDATE gorgias.tickets SET _deleted_at = now() WHERE id = 80550008",
        "0 living rows are of 0 tickets that should be stored and are not; 2 of 1 that were deleted; 0 of 0 that are "
        "older or newer than the days of tickets in the table.",
    ),
    "many tickets count too many messages": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 3 "
        "WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 6)",
        "Of 15 tickets whose ticket_messages should all be stored, 6 have another messages_count than there are.",
    ),
    "messages are missing": (
        TICKETS,
        "messages_count_agrees",
        "DELETE FROM gorgias.ticket_messages",
        "Of 15 tickets whose ticket_messages should all be stored, 15 have another messages_count than there are.",
    ),
}


@pytest.mark.parametrize(("entity", "name", "statement", "sentence"), SPOILT.values(), ids=SPOILT)
def test_a_check_fails_for_its_own_reason(spoilt: Project, entity, name, statement, sentence) -> None:
    spoilt.engine.execute(statement)
    judged = subject(spoilt, entity)
    verdicts = {check.name: check.judge(judged) for check in table_checks(entity)}
    verdict = verdicts.pop(name)
    assert (verdict.passed, verdict.description) == (False, sentence)
    told = json.dumps(dict(verdict.metadata))
    assert LETTER not in sentence + told
    assert max(map(len, (value for value in verdict.metadata.values() if isinstance(value, list))), default=0) <= 20
    assert all(other.passed for other in verdicts.values())


FORGIVEN = {
    "a message was sent seconds before its creation": (
        TICKET_MESSAGES,
        "touches_in_order",
        "UPDATE gorgias.ticket_messages SET sent_datetime = created_datetime - INTERVAL 90 MINUTE",
    ),
    "Gorgias's clock is a little ahead": (
        TICKETS,
        "touches_in_order",
        "UPDATE gorgias.tickets SET updated_datetime = _extracted_at + INTERVAL 4 MINUTE",
    ),
    "what is gone had unknown fields": (
        TICKETS,
        "fields_known",
        """UPDATE gorgias.tickets SET _extra = '{"new": 1}', _deleted_at = now()""",
    ),
    "a message that is gone has lost its ticket": (
        TICKET_MESSAGES,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id = 80550008; "
        "UPDATE gorgias.ticket_messages SET _deleted_at = now() WHERE ticket_id = 80550008",
    ),
    "a survey has outlived a ticket that was deleted": (
        SATISFACTION_SURVEYS,
        "tickets_exist",
        "UPDATE gorgias.tickets SET _deleted_at = now() WHERE id = 80550008",
    ),
    "a few surveys are of tickets that were deleted before they were read": (
        SATISFACTION_SURVEYS,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 5 OFFSET 3)",
    ),
    "a ticket is older than the days that are stored": (
        TICKET_MESSAGES,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id = (SELECT MIN(id) FROM gorgias.tickets)",
    ),
    "a message lies in a ticket that was merged into another": (
        TICKET_MESSAGES,
        "tickets_exist",
        "UPDATE gorgias.tickets SET _deleted_at = now(), _merged_into = 80550009 WHERE id = 80550008",
    ),
    "the survivor of a merge counts the messages of both": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET _deleted_at = now(), _merged_into = 80550009 WHERE id = 80550008; "
        "UPDATE gorgias.tickets SET messages_count = 4 WHERE id = 80550009",
    ),
    "a message was found to be gone after its ticket was read": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.ticket_messages SET _deleted_at = now() WHERE ticket_id = 80550008",
    ),
    "a message came after its ticket was read": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 1 WHERE id = 80550008; "
        "UPDATE gorgias.ticket_messages SET created_datetime = now() "
        "WHERE id = (SELECT MAX(id) FROM gorgias.ticket_messages WHERE ticket_id = 80550008)",
    ),
    "a ticket has changed just before it was read": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 9, _extracted_at = updated_datetime + INTERVAL 9 MINUTE "
        "WHERE id = 80550008",
    ),
    "a ticket is of a day before the messages that are stored": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 9, created_datetime = created_datetime - INTERVAL 30 DAY "
        "WHERE id = 80550008",
    ),
}


@pytest.mark.parametrize(("entity", "name", "statement"), FORGIVEN.values(), ids=FORGIVEN)
def test_a_check_forgives_what_is_no_fault(spoilt: Project, entity, name, statement) -> None:
    spoilt.engine.execute(statement)
    verdict = judge(spoilt, entity, name)
    assert verdict.passed, verdict
    assert not verdict.metadata.get("differing"), verdict


def test_a_few_tickets_may_count_messages_of_older_ones_that_were_merged_into_them(spoilt: Project) -> None:
    spoilt.engine.execute(
        "UPDATE gorgias.tickets SET messages_count = 9 WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 5)"
    )
    verdict = judge(spoilt, TICKETS, "messages_count_agrees")
    assert (verdict.passed, verdict.metadata["differing"]) == (True, 5)


def test_a_day_whose_messages_are_missing_is_noticed_among_many_others(spoilt: Project) -> None:
    more = (
        "INSERT INTO gorgias.tickets SELECT * EXCLUDE (number) REPLACE ({} + number AS id, {} AS messages_count) FROM ("
    )
    more += "FROM gorgias.tickets ORDER BY created_datetime {} LIMIT 1), range({}) AS numbers(number)"
    spoilt.engine.execute(more.format(90_000_000, 0, "DESC", 400), more.format(91_000_000, 9, "ASC", 6))
    verdict = judge(spoilt, TICKETS, "messages_count_agrees")
    assert not verdict.passed
    assert (verdict.metadata["differing"], verdict.metadata["notable_days"]) == (6, [key(5)])
    assert verdict.metadata["examples"][0] == {"id": 91_000_005, "told": 9, "least": 0, "most": 0}


def test_at_most_twenty_ids_are_named_and_how_many_there_are_is_told(spoilt: Project) -> None:
    spoilt.engine.execute("INSERT INTO gorgias.ticket_messages SELECT * FROM gorgias.ticket_messages")
    told = judge(spoilt, TICKET_MESSAGES, "ids_unique").metadata
    assert (told["rows_repeated"], len(told["ids"])) == (30, 20)


def test_checks_need_the_tables_beside_their_own(spoilt: Project) -> None:
    spoilt.engine.execute("DROP VIEW gorgias.tickets_live; DROP TABLE gorgias.tickets")
    with pytest.raises(NotThere, match=r"There is no table gorgias\.tickets yet; materialise gorgias/tickets first\."):
        judge(spoilt, SATISFACTION_SURVEYS, "tickets_exist")


def test_many_ids_are_looked_for_in_statements_that_no_engine_refuses(spoilt: Project) -> None:
    sent: list[str] = []

    class Listening(type(spoilt.engine.warehouse())):
        def query(self, schema: str, query: str) -> pa.Table:
            sent.append(query)
            return super().query(schema, query)

    warehouse = spoilt.engine.warehouse()
    warehouse.__class__ = Listening
    stored = {row_id for (row_id,) in spoilt.query("SELECT id FROM gorgias.tickets")}
    ids = range(min(stored) - 60_000, max(stored) + 60_000)
    assert audits.stored_among(warehouse, Table("gorgias", "tickets"), ids) == stored
    assert max(map(len, sent)) < 2**20, "BigQuery takes no statement that is longer"


# Of materialisations


def history(project: Project, entity: Entity, *made: tuple[int, Mapping[str, Any]]) -> dg.DagsterInstance:
    """An instance with materialisations of days ago, each as a real one but for some of its metadata."""
    real = newest_materializations(project.instance, ASSETS[entity.name], [key(2)])[key(2)]
    instance = dg.DagsterInstance.ephemeral()
    for days_ago, changed in made:
        metadata = {name: value for name, value in {**real, **changed}.items() if value is not None}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(ASSETS[entity.name], partition=key(days_ago), metadata=metadata)
        )
    return instance


def read_at(moment: datetime) -> dict[str, Any]:
    return {"began_at": dg.MetadataValue.timestamp(moment)}


def stopped(reached: str, bottom: str) -> dict[str, Any]:
    return {"stopped": {ORDER: {"read_down_to": reached, "had_to_get_below": bottom}}}


ORDER = "updated_datetime"
EARLY, LATE = "2025-03-09T23:00:00+00:00", "2025-03-10T00:00:00.000001+00:00"
BOTTOM = "2025-03-10T00:00:00+00:00"
INCOMPLETE = {
    "it stopped above its bottom": (stopped(LATE, BOTTOM), "had to get below 2025-03-10T00:00:00+00:00, and its last"),
    "it stopped at its bottom": (stopped(BOTTOM, BOTTOM), "had to get below 2025-03-10T00:00:00+00:00, and its last"),
    "an order was not read": (stopped("not read", BOTTOM), "and its last row was not read"),
    "a full sweep did not come to the end": (stopped(EARLY, "the list's end"), "had to get below the list's end"),
    "rows had no order": ({"rows_without_order": 3}, "3 rows had no place in the list's order"),
    "it says nothing of its stop": ({"stopped": None}, "it does not say when it began"),
    "it says nothing of its order": ({"rows_without_order": None}, "it does not say when it began"),
    "it does not say when it began": ({"began_at": None}, "it does not say when it began"),
}


@pytest.mark.parametrize(("changed", "reason"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_materialisation_without_evidence_of_a_complete_sweep_is_not_taken_for_one(stored, changed, reason) -> None:
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, {}), (2, changed)) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", days=days, instance=instance)
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.ERROR
    assert verdict.description.startswith(f"{key(2)} is not known to be complete: ")
    assert reason in verdict.description


@pytest.mark.parametrize("changed", [stopped(EARLY, BOTTOM), stopped("the list's end", BOTTOM)])
def test_the_newest_materialisation_of_a_day_decides_whether_it_is_complete(stored, changed) -> None:
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, {"stopped": None}), (2, changed)) as instance:
        assert judge(stored, TICKETS, "sweep_complete", days=days, instance=instance).passed


def test_a_day_of_the_run_that_was_not_materialised_is_named(stored: Project) -> None:
    with history(stored, TICKETS, (5, {}), (2, {}), (1, {})) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", instance=instance)
    assert verdict.description == (
        f"{key(4)} is not known to be complete, and 1 more of 5 days: it has not been materialised."
    )


def test_a_day_that_was_read_before_it_ended_is_complete_up_to_then(stored: Project) -> None:
    noon = TODAY - 2 * DAY + 12 * HOUR
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, read_at(noon))) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", days=days, instance=instance)
    assert verdict.passed
    assert f"It is complete up to {noon.isoformat()}, when it was read" in verdict.description


def test_a_sought_day_shows_that_it_was_read_in_both_orders(tmp_path) -> None:
    account = Account(now=datetime(2025, 4, 1, tzinfo=UTC))
    moments = ("created_datetime", "updated_datetime")
    for first, count, moment in (
        (1, 150, datetime(2025, 3, 10, tzinfo=UTC)),
        (1000, 3000, datetime(2025, 3, 20, tzinfo=UTC)),
    ):
        account.insert_many(
            "tickets",
            (
                {"id": first + i} | dict.fromkeys(moments, (moment + timedelta(seconds=i)).isoformat())
                for i in range(count)
            ),
        )
    with Sandbox(account) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        metadata = project.metadata(project.materialize("2025-03-10", select=["tickets"]), TICKETS)
    assert metadata["seek"] == "used"
    assert metadata["stopped"] == {
        order: {"read_down_to": "the list's end", "had_to_get_below": "2025-03-10T00:00:00+00:00"} for order in moments
    }
    assert metadata["rows_in_order"] >= 300


def test_a_list_that_was_read_in_pieces_was_read_as_far_down_as_the_lowest_of_them() -> None:
    upper, lower, other = (
        Span(ORDER, None, TODAY),
        Span(ORDER, TODAY, TODAY - DAY),
        Span("created_datetime", None, None),
    )
    upper.reached, lower.reached = TODAY - HOUR, TODAY - DAY - HOUR
    position = Position(NOW, [upper, lower, other])
    position.leave(lower, at_end=False)
    position = Position.load(position.dump())
    assert position.stops == {ORDER: lower.reached}
    position.leave(upper, at_end=False)
    position.leave(other, at_end=True)
    assert Position.load(position.dump()).stops == {ORDER: lower.reached, "created_datetime": None}
    position.leave(upper, at_end=True)
    position.leave(lower, at_end=False)
    assert position.stops[ORDER] is None


def test_rows_that_have_no_place_in_the_list_s_order_are_counted(project: Project, account: Account) -> None:
    for changed in ("2025-03-10T12:00:00+00:00", None):
        account.create("tickets", created_datetime="2025-03-10T12:00:00+00:00", updated_datetime=changed)
    metadata = project.metadata(project.materialize("2025-03-10", select=["tickets"]), TICKETS)
    assert (metadata["rows_in_order"], metadata["rows_without_order"]) == (1, 1)


FRESHNESS = {
    "it was never read": ((), f"{key(1)} has not been materialised; it is late since {key(0)} 06:30 UTC."),
    "it was read before it had ended": (
        ((1, read_at(TODAY - HOUR)),),
        f"{key(1)} was last read at {key(1)} 23:00 UTC, before it had ended; it is late since {key(0)} 06:30 UTC.",
    ),
    "only an old day was backfilled": (
        ((1, read_at(TODAY - HOUR)), (5, read_at(TODAY + HOUR))),
        f"{key(1)} was last read at {key(1)} 23:00 UTC, before it had ended; it is late since {key(0)} 06:30 UTC.",
    ),
}


@pytest.mark.parametrize(("made", "sentence"), FRESHNESS.values(), ids=FRESHNESS)
def test_a_day_is_late_when_it_was_not_read_after_it_had_ended(stored, made, sentence) -> None:
    with history(stored, TICKETS, *made) as instance:
        verdict = judge(stored, TICKETS, IS_FRESH.name, instance=instance)
    assert (verdict.passed, verdict.description) == (False, sentence)


def test_a_day_is_not_late_as_long_as_the_daily_run_may_take(stored: Project) -> None:
    with history(stored, TICKETS, (2, read_at(TODAY - DAY + HOUR))) as instance:
        before = judge(stored, TICKETS, IS_FRESH.name, instance=instance, now=TODAY + LATE_AFTER - timedelta(seconds=1))
        after = judge(stored, TICKETS, IS_FRESH.name, instance=instance, now=TODAY + LATE_AFTER)
    assert (before.passed, after.passed) == (True, False)


def test_no_day_is_late_that_lies_before_the_first_one_that_was_materialised(stored: Project) -> None:
    with history(stored, TICKETS, (1, read_at(TODAY + HOUR))) as instance:
        verdict = judge(stored, TICKETS, IS_FRESH.name, instance=instance, now=TODAY + HOUR)
    assert (verdict.passed, verdict.description) == (True, f"No day has to be there yet; the first one is {key(1)}.")


def test_no_day_is_late_before_the_first_one_has_to_be_there(stored: Project) -> None:
    start = daily_partitions(key(1))
    with dg.DagsterInstance.ephemeral() as instance:
        verdict = judge(stored, TICKETS, IS_FRESH.name, instance=instance, partitions=start, now=TODAY + HOUR)
    assert (verdict.passed, verdict.description) == (True, "No day has to be there yet.")


def test_days_count_as_stored_back_to_the_first_gap_and_up_to_when_the_newest_was_read(stored: Project) -> None:
    noon = TODAY - DAY + 12 * HOUR
    with history(stored, TICKETS, (5, {}), (3, {}), (2, {}), (1, read_at(noon))) as instance:
        assert unbroken_days(instance, ASSETS["tickets"]) == Window(TODAY - 3 * DAY, noon)
        assert unbroken_days(instance, ASSETS["customers"]) is None


def test_nothing_of_a_customer_s_is_in_what_checks_leave_in_dagster(stored: Project) -> None:
    (record,) = stored.instance.get_run_records(dg.RunsFilter(job_name="gorgias"), limit=1, ascending=True)
    told = "\n".join(serialize_value(entry) for entry in stored.instance.all_logs(record.dagster_run.run_id))
    assert LETTER not in told
    assert stored.account.api_key not in told


# On each warehouse

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
FIRST_DAYS = Window(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 12, tzinfo=UTC))


def merge(engine: Engine, entity: Entity, *rows: Row) -> Table:
    table = Table("gorgias", entity.name)
    typed = type_rows(rows, entity.columns, NOON + 3 * HOUR).table
    engine.warehouse().merge(table, entity.columns, typed.append_column("_is_touched", pa.array([True] * len(rows))))
    return table


@on_each_warehouse
def test_each_warehouse_answers_what_checks_ask(engine: Engine) -> None:
    at, early = NOON.isoformat(), (NOON - 3 * HOUR).isoformat()
    moments = {"created_datetime": at, "updated_datetime": at}
    tickets = merge(
        engine,
        TICKETS,
        {"id": 1, "messages_count": 1, **moments, "mood": LETTER, "status": 7},
        {"id": 2, "messages_count": 1, **moments, "gone": 1},
        {"id": 4, "messages_count": 5, **moments, "updated_datetime": early, "new": None},
    )
    messages = merge(
        engine,
        TICKET_MESSAGES,
        *({"id": 10 + ticket, "ticket_id": ticket, "created_datetime": at} for ticket in (1, 2, 3, 4, 5)),
        {"id": 16, "ticket_id": 1, "created_datetime": at, "sent_datetime": early},
    )
    engine.execute("UPDATE gorgias.tickets SET _deleted_at = _extracted_at WHERE id = 2")
    asked = engine.warehouse()
    found = audits.figures(asked, tickets, TICKETS)
    assert (found.rows, found.without_id, found.repeated, found.extra) == (3, 0, 0, 2)
    assert (found.early, found.ahead) == ({"updated_datetime": 1}, {})
    assert audits.ids_with_touches_amiss(asked, messages, TICKET_MESSAGES) == [16]
    assert audits.repeated_ids(asked, tickets) == []
    assert audits.extra_fields(asked, tickets) == {"mood": 1, "status": 1, "new": 1}
    orphans = audits.orphans(asked, messages, "ticket_id", tickets, TICKETS, FIRST_DAYS)
    assert orphans.missing == audits.Lost(1, 1, [3])
    assert orphans.gone == audits.Lost(1, 1, [2])
    assert orphans.beyond == audits.Lost(1, 1, [5])
    counted = (asked, tickets, TICKETS, messages, TICKET_MESSAGES, FIRST_DAYS)
    assert audits.miscounted(*counted) == {"2025-03-10": audits.Miscounted(2, 2)}
    assert [tuple(row.values()) for row in audits.miscounted_parents(*counted)] == [(4, 5, 1, 1), (1, 1, 2, 2)]
    assert audits.stored_among(asked, tickets, [1, 7]) == {1}
    days = {"first": FIRST_DAYS, "later": Window(FIRST_DAYS.end, FIRST_DAYS.end + DAY)}
    created = audits.created_in(asked, messages, TICKET_MESSAGES, days)
    assert created == {"first": {11, 12, 13, 14, 15, 16}, "later": set()}
