"""The checks: each passes if all is well, and fails for its own reason, in a sentence and without a value."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.account import Account
from gorgias_assets.checks import audits
from gorgias_assets.checks.audits import Stored
from gorgias_assets.checks.build import build_checks, freshness_keys
from gorgias_assets.checks.verdicts import ERROR, Check, CheckContext, NothingToCheck, Verdict, table_checks
from gorgias_assets.days import newest_materializations, unbroken_days
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity, Parent, Whole
from gorgias_assets.jobs import freshness_job, full_sweep_job, gorgias_job
from gorgias_assets.metadata import began_at
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.engines import Engine, on_each_warehouse

NOW = datetime.now(UTC)
TODAY = datetime.combine(NOW.date(), time(), UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATE_AFTER = timedelta(hours=6, minutes=30)
LETTER = "Dear shop, my private letter"
GORGIAS = Account(CORE, start_date=FIRST_DAY)
CHECKS = build_checks(GORGIAS, late_after=LATE_AFTER)
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def key(days_ago: int) -> str:
    return (TODAY - days_ago * DAY).date().isoformat()


def day(days_ago: int, days: int = 1) -> dict[str, str]:
    """Return the tags of a run of one day, or of several in a row."""
    ends = key(days_ago), key(days_ago - days + 1)
    return dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), ends, strict=True))


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """Serve three tickets of two messages and a survey on each of six days, the last of which has just ended."""
    account = SandboxAccount(now=TODAY - 6 * DAY + 12 * HOUR)
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
    """Materialize and check five of those days in one run of the job."""
    project = Project(shop, tmp_path_factory.mktemp("stored") / "warehouse.duckdb")
    run(project, "gorgias", tags=day(5, days=5))
    return project


@pytest.fixture
def spoilt(stored: Project, tmp_path: Any) -> Project:
    """Return the same, in a file that can be spoilt, and with the same history."""
    copy = Project(stored.sandbox, shutil.copy(stored.database, tmp_path / "warehouse.duckdb"))
    copy.instance = stored.instance
    return copy


def run(project: Project, job: str, **options: Any) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions(
        assets=project.assets,
        asset_checks=CHECKS,
        jobs=[gorgias_job(GORGIAS), full_sweep_job(GORGIAS), freshness_job(GORGIAS, freshness_keys(GORGIAS))],
        resources=project.resources,
    )
    config = {"gorgias_full_sweep": {"ops": {f"gorgias__{e.name}": {"config": {"full": True}} for e in CORE}}}
    return definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance, run_config=QUIET | config.get(job, {}), **options
    )


def check_of(entity: Entity, name: str) -> Check:
    (check,) = [check for check in table_checks(entity, CORE) if check.name == name]
    return check


def judge(project: Project, entity: Entity, name: str, **about: Any) -> Verdict:
    return check_of(entity, name).judge(context_of(project, entity, **about))


def context_of(project: Project, entity: Entity, **about: Any) -> CheckContext:
    warehouse = project.engine.warehouse()
    fields: dict[str, Any] = {
        "account": GORGIAS,
        "tables": {other.name: Stored(warehouse, Table("gorgias", other.name), other) for other in CORE},
        "connect": project.resources["gorgias"].client,
        "instance": project.instance,
        "days": {key(ago): Window(TODAY - ago * DAY, TODAY - (ago - 1) * DAY) for ago in range(5, 0, -1)},
        "now": TODAY + LATE_AFTER,
        "late_after": LATE_AFTER,
    }
    return CheckContext(entity=entity, **fields | about)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = result.get_asset_check_evaluations()
    return {(made.asset_check_key.asset_key.path[-1], made.check_name): made for made in found}


# Through Dagster


def test_a_run_of_the_job_evaluates_every_check_of_every_asset_and_all_pass(stored: Project) -> None:
    (record,) = stored.instance.get_run_records(dg.RunsFilter(job_name="gorgias"), limit=1, ascending=True)
    events = stored.instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    made = [entry.dagster_event.event_specific_data for entry in events]
    assert sorted((one.asset_key.path[-1], one.check_name) for one in made) == sorted(
        (check.asset_key.path[-1], check.name) for step in CHECKS for check in step.check_keys
    )
    assert [(one.asset_key.path[-1], one.check_name, one.description) for one in made if not one.passed] == []


def test_the_sensors_may_leave_the_checks_out_and_an_operator_may_run_one_alone(stored: Project) -> None:
    only = dg.AssetCheckKey(GORGIAS.key_of(TICKETS), "ids_unique")
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(only))
    definitions = dg.Definitions(stored.assets, asset_checks=CHECKS, jobs=[job], resources=stored.resources)
    result = definitions.resolve_job_def("alone").execute_in_process(instance=stored.instance, run_config=QUIET)
    assert list(evaluations(result)) == [("tickets", "ids_unique")]


def test_a_full_sweep_is_complete_when_it_has_come_to_the_end_of_the_list(spoilt: Project) -> None:
    spoilt.instance = dg.DagsterInstance.ephemeral()
    made = evaluations(run(spoilt, "gorgias_full_sweep", partition_key=key(2)))
    assert [made[entity.name, "sweep_complete"].passed for entity in CORE] == [True] * 4


def test_freshness_has_a_job_of_its_own_that_uses_neither_gorgias_nor_the_warehouse(shop: Sandbox, tmp_path) -> None:
    project, requested = Project(shop, tmp_path / "none.duckdb"), len(shop.requests)
    made = evaluations(run(project, "gorgias_freshness"))
    assert sorted(made) == sorted((entity.name, "fresh") for entity in CORE)
    assert not any(one.passed for one in made.values())
    assert len(shop.requests) == requested


def test_checks_without_a_table_or_a_day_report_what_to_materialize(shop: Sandbox, tmp_path) -> None:
    project = Project(shop, tmp_path / "none.duckdb")
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    definitions = dg.Definitions(project.assets, asset_checks=CHECKS, jobs=[job], resources=project.resources)
    result = definitions.resolve_job_def("checks").execute_in_process(instance=project.instance, run_config=QUIET)
    made = evaluations(result)
    found = {name: one.description for (entity, name), one in made.items() if entity == "ticket_messages"}
    assert found.pop("tickets_exist") == "There is nothing to check before gorgias/tickets is materialized."
    assert set(found) == {
        "ids_unique",
        "touches_in_order",
        "sweep_complete",
        "absences_plausible",
        "fields_known",
        "fresh",
        "events_agree",
    }
    assert set(found.values()) == {"There is nothing to check before gorgias/ticket_messages is materialized."}
    assert not any(one.passed for one in made.values())


def test_a_fifth_entity_has_its_checks_by_its_declaration() -> None:
    calls = replace(
        SATISFACTION_SURVEYS, name="calls", creation_event="call-created", parent=Parent("customers", "customer_id")
    )
    made = build_checks(Account([*CORE, calls]), late_after=LATE_AFTER)
    assert {"ids_unique", "customers_exist", "events_agree"} <= names_of(made, "calls")
    alone = build_checks(Account([calls]), late_after=LATE_AFTER)
    assert names_of(alone, "calls") == {*names_of(made, "calls")} - {"customers_exist"}


def shown_in_the_ui(value: Any) -> str | int | list[Mapping[str, Any]]:
    """Return a number, text, or the rows of a table; anything else Dagster hides behind a button."""
    shown = dg.AssetCheckResult(passed=True, metadata={"value": value}).metadata["value"]
    assert isinstance(
        shown, dg.IntMetadataValue | dg.TextMetadataValue | dg.TimestampMetadataValue | dg.TableMetadataValue
    )
    return [record.data for record in shown.records] if isinstance(shown, dg.TableMetadataValue) else shown.value


def names_of(steps: list[dg.AssetChecksDefinition], asset: str) -> set[str]:
    return {check.name for step in steps for check in step.check_keys if check.asset_key.path[-1] == asset}


def test_every_check_is_described_by_what_it_means_and_what_to_do() -> None:
    for step in CHECKS:
        for spec in step.check_specs:
            means, advice = spec.description.split("\n\nIf it fails: ")
            assert means.endswith(".")
            assert advice.endswith(".")


# Of the table

SPOILT = {
    "an id comes twice": (
        CUSTOMERS,
        "ids_unique",
        "INSERT INTO gorgias.customers SELECT * FROM gorgias.customers ORDER BY id LIMIT 2",
        "17 rows: 2 with a repeated id, 0 without an id.",
    ),
    "a row has no id": (
        CUSTOMERS,
        "ids_unique",
        "UPDATE gorgias.customers SET id = NULL WHERE id = (SELECT MIN(id) FROM gorgias.customers)",
        "15 rows: 0 with a repeated id, 1 without an id.",
    ),
    "a change precedes the creation": (
        TICKETS,
        "touches_in_order",
        "UPDATE gorgias.tickets SET updated_datetime = created_datetime - INTERVAL 1 SECOND "
        "WHERE id = (SELECT MIN(id) FROM gorgias.tickets)",
        "updated_datetime precedes the creation in 1 row.",
    ),
    "a message was sent long before its creation": (
        TICKET_MESSAGES,
        "touches_in_order",
        "UPDATE gorgias.ticket_messages SET sent_datetime = created_datetime - INTERVAL 25 HOUR "
        "WHERE id = (SELECT MIN(id) FROM gorgias.ticket_messages)",
        "sent_datetime precedes the creation by more than 1 day in 1 row.",
    ),
    "a survey is scored in the future": (
        SATISFACTION_SURVEYS,
        "touches_in_order",
        "UPDATE gorgias.satisfaction_surveys SET scored_datetime = _extracted_at + INTERVAL 6 MINUTE",
        "scored_datetime lies after the reading in 15 rows.",
    ),
    "fields are unknown": (
        CUSTOMERS,
        "fields_known",
        f"""UPDATE gorgias.customers SET _extra = '{{"loyalty": "{LETTER}", "active": "{LETTER}"}}'""",
        "Undeclared fields: loyalty (15 rows). Values that do not fit their column: active (15 rows).",
    ),
    "unknown fields have names that would forge a line": (
        CUSTOMERS,
        "fields_known",
        r"""UPDATE gorgias.customers SET _extra = '{"\u001b[31m\n2026 \u202e": 1, "%s": 2}'""" % ("x" * 5_000),
        rf"Undeclared fields: \x1b[31m\n2026 \u202e (15 rows), {'x' * 60}… (15 rows).",
    ),
    "a message has lost its ticket": (
        TICKET_MESSAGES,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id = 80550008",
        "2 rows reference 1 ticket that is missing; 0 reference deleted tickets; 0 reference tickets outside the "
        "loaded days.",
    ),
    "many surveys have lost their tickets": (
        SATISFACTION_SURVEYS,
        "tickets_exist",
        "DELETE FROM gorgias.tickets WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 6 OFFSET 3)",
        "6 rows reference 6 tickets that are missing; 0 reference deleted tickets; 0 reference tickets outside the "
        "loaded days.",
    ),
    "messages have stayed when their ticket went": (
        TICKET_MESSAGES,
        "tickets_exist",
        "UPDATE gorgias.tickets SET _deleted_at = now() WHERE id = 80550008",
        "0 rows reference 0 tickets that are missing; 2 reference deleted tickets; 0 reference tickets outside the "
        "loaded days.",
    ),
    "many tickets count too many messages": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 3 "
        "WHERE id IN (SELECT id FROM gorgias.tickets ORDER BY id LIMIT 6)",
        "messages_count differs from the stored ticket_messages in 6 of 15 rows.",
    ),
    "messages are missing": (
        TICKETS,
        "messages_count_agrees",
        "DELETE FROM gorgias.ticket_messages",
        "messages_count differs from the stored ticket_messages in 15 of 15 rows.",
    ),
}


@pytest.mark.parametrize(("entity", "name", "statement", "sentence"), SPOILT.values(), ids=SPOILT)
def test_a_check_fails_for_its_own_reason(spoilt: Project, entity, name, statement, sentence) -> None:
    spoilt.engine.execute(statement)
    context = context_of(spoilt, entity)
    verdicts = {check.name: check.judge(context) for check in table_checks(entity, CORE)}
    verdict = verdicts.pop(name)
    assert (verdict.passed, verdict.description) == (False, sentence)
    shown = [shown_in_the_ui(value) for value in verdict.metadata.values()]
    assert LETTER not in sentence + str(shown)
    assert max((len(rows) for rows in shown if isinstance(rows, list)), default=0) <= 20
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
    "a deleted row had unknown fields": (
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
    "a message has moved to a ticket after the days, and a ticket of the days was imported after both": (
        TICKET_MESSAGES,
        "tickets_exist",
        "UPDATE gorgias.ticket_messages SET ticket_id = 80559000 WHERE ticket_id = 80550008; "
        "INSERT INTO gorgias.tickets SELECT * REPLACE (80559999 AS id) FROM gorgias.tickets WHERE id = 80550008",
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
        "UPDATE gorgias.ticket_messages SET _deleted_at = _extracted_at + INTERVAL 1 HOUR WHERE ticket_id = 80550008",
    ),
    "a message came after its ticket was read": (
        TICKETS,
        "messages_count_agrees",
        "UPDATE gorgias.tickets SET messages_count = 1 WHERE id = 80550008; "
        "UPDATE gorgias.ticket_messages SET created_datetime = _extracted_at + INTERVAL 1 HOUR "
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
def test_a_check_tolerates_what_is_no_fault(spoilt: Project, entity, name, statement) -> None:
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
    assert (verdict.metadata["differing"], verdict.metadata["differing_days"]) == (6, key(5))
    example, *_ = shown_in_the_ui(verdict.metadata["examples"])
    assert example == {"id": 91_000_005, "counted": 9, "least": 0, "most": 0}


def test_at_most_twenty_ids_are_named_and_their_number_is_reported(spoilt: Project) -> None:
    spoilt.engine.execute("INSERT INTO gorgias.ticket_messages SELECT * FROM gorgias.ticket_messages")
    numbers = judge(spoilt, TICKET_MESSAGES, "ids_unique").metadata
    assert (numbers["repeated"], len(numbers["ids"].split(", "))) == (30, 20)


def test_checks_need_the_tables_that_they_read(spoilt: Project) -> None:
    spoilt.engine.execute("DROP VIEW gorgias.tickets_live; DROP TABLE gorgias.tickets")
    with pytest.raises(NothingToCheck, match="before gorgias/tickets is materialized"):
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
    assert audits.stored_among(Stored(warehouse, Table("gorgias", "tickets"), TICKETS), ids) == stored
    assert max(map(len, sent)) < 2**20, "BigQuery takes no statement that is longer"


# Of materializations


def history(project: Project, entity: Entity, *made: tuple[int, Mapping[str, Any]]) -> dg.DagsterInstance:
    """Return an instance with materializations of days ago, each as a real one but for some of its metadata."""
    real = newest_materializations(project.instance, GORGIAS.key_of(entity), [key(2)])[key(2)]
    instance = dg.DagsterInstance.ephemeral()
    for days_ago, changed in made:
        metadata = {name: value for name, value in {**real, **changed}.items() if value is not None}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(GORGIAS.key_of(entity), partition=key(days_ago), metadata=metadata)
        )
    return instance


def read_at(moment: datetime) -> dict[str, Any]:
    return {"began_at": dg.MetadataValue.timestamp(moment)}


def read(required: str | None, *read_to: str | None) -> dict[str, Any]:
    """Return the coverage of the order; none if `read_to` is left out."""
    return {"coverage": {ORDER: dict(zip(("required", "read_to"), (required, *read_to), strict=False))}}


ORDER = "updated_datetime"
EARLY, LATE = "2025-03-09T23:00:00+00:00", "2025-03-10T00:00:00.000001+00:00"
BOTTOM = "2025-03-10T00:00:00+00:00"
INCOMPLETE = {
    "it stopped above its bottom": (read(BOTTOM, LATE), f"down to {LATE}, not below {BOTTOM}"),
    "it stopped at its bottom": (read(BOTTOM, BOTTOM), f"down to {BOTTOM}, not below {BOTTOM}"),
    "an order was not read": (read(BOTTOM), "the list was not read by updated_datetime"),
    "a full sweep did not come to the end": (read(None, EARLY), f"down to {EARLY}, not below its last row"),
    "it has no coverage": ({"coverage": None}, "its metadata lacks began_at or coverage"),
    "it has no beginning": ({"began_at": None}, "its metadata lacks began_at or coverage"),
}


@pytest.mark.parametrize(("changed", "reason"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_materialization_without_evidence_of_a_complete_sweep_is_not_taken_for_one(stored, changed, reason) -> None:
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, {}), (2, changed)) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", days=days, instance=instance)
    assert not verdict.passed
    assert check_of(TICKETS, "sweep_complete").severity is ERROR
    assert verdict.description.startswith(f"{key(2)} may be incomplete: ")
    assert reason in verdict.description


@pytest.mark.parametrize("changed", [read(BOTTOM, EARLY), read(BOTTOM, None)])
def test_the_newest_materialization_of_a_day_decides_whether_it_is_complete(stored, changed) -> None:
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, {"coverage": None}), (2, changed)) as instance:
        assert judge(stored, TICKETS, "sweep_complete", days=days, instance=instance).passed


def test_a_day_of_the_run_that_was_not_materialized_is_named(stored: Project) -> None:
    with history(stored, TICKETS, (5, {}), (2, {}), (1, {})) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", instance=instance)
    assert verdict.description == f"{key(4)} and 1 more of 5 days may be incomplete: it was not materialized."


def test_a_day_that_was_read_before_it_ended_is_complete_up_to_then(stored: Project) -> None:
    noon = TODAY - 2 * DAY + 12 * HOUR
    days = {key(2): Window(TODAY - 2 * DAY, TODAY - DAY)}
    with history(stored, TICKETS, (2, read_at(noon))) as instance:
        verdict = judge(stored, TICKETS, "sweep_complete", days=days, instance=instance)
    assert verdict.passed
    assert f"it is complete up to {noon:%Y-%m-%d %H:%M} UTC, when its reading began" in verdict.description
    assert verdict.metadata["complete_up_to"] == dg.MetadataValue.timestamp(noon)


def test_a_sought_day_shows_that_it_was_read_in_both_orders(tmp_path) -> None:
    account = SandboxAccount(now=datetime(2025, 4, 1, tzinfo=UTC))
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
    assert metadata["coverage"] == {order: {"required": BOTTOM, "read_to": None} for order in moments}
    assert metadata["rows_in_order"] >= 300


def test_a_list_that_was_read_in_pieces_was_read_as_far_down_as_the_lowest_of_them() -> None:
    upper, lower, other = (
        Span(ORDER, None, TODAY),
        Span(ORDER, TODAY, TODAY - DAY),
        Span("created_datetime", None, None),
    )
    upper.reached, lower.reached = TODAY - HOUR, TODAY - DAY - HOUR
    position = Position([upper, lower, other], NOW)
    position.advance(lower, "more", None, is_last=True)
    position = Position.load(position.dump())
    assert position.stops == {ORDER: lower.reached}
    position.advance(upper, "more", None, is_last=True)
    position.advance(other, None, None, is_last=True)
    assert Position.load(position.dump()).stops == {ORDER: lower.reached, "created_datetime": None}
    position.advance(upper, None, None, is_last=True)
    position.advance(lower, "more", None, is_last=True)
    assert position.stops[ORDER] is None


def test_rows_that_have_no_place_in_the_list_s_order_are_counted(project: Project, account: SandboxAccount) -> None:
    for changed in ("2025-03-10T12:00:00+00:00", None):
        account.create("tickets", created_datetime="2025-03-10T12:00:00+00:00", updated_datetime=changed)
    metadata = project.metadata(project.materialize("2025-03-10", select=["tickets"]), TICKETS)
    assert (metadata["rows_in_order"], metadata["rows_without_order"]) == (1, 1)
    days = {"2025-03-10": Window(datetime(2025, 3, 10, tzinfo=UTC), datetime(2025, 3, 11, tzinfo=UTC))}
    verdict = judge(project, TICKETS, "sweep_complete", days=days)
    assert verdict.passed, "they were read, and the list was read on"
    assert verdict.metadata["rows_without_order"] == 1
    assert verdict.description.endswith(
        " The table has 1 living row without updated_datetime; only a full sweep is sure to refresh it."
    )


OVERDUE = f"it has been late since {key(0)} 06:30 UTC."
LISTED = replace(CUSTOMERS, read=Whole())
FRESHNESS = {
    "the one before was read on time": (
        ((2, read_at(TODAY - DAY + HOUR)),),
        f"{key(1)} was not materialized; {OVERDUE}",
    ),
    "one long ago was read on time, and one lately": (
        ((100, read_at(TODAY - 99 * DAY + HOUR)), (2, read_at(TODAY + HOUR))),
        f"{key(1)} was not materialized; {OVERDUE}",
    ),
    "it was read before it had ended": (
        ((1, read_at(TODAY - HOUR)),),
        f"{key(1)} was last read at {key(1)} 23:00 UTC, before it had ended; {OVERDUE}",
    ),
    "only an old day was backfilled": (
        ((1, read_at(TODAY - HOUR)), (5, read_at(TODAY + HOUR))),
        f"{key(1)} was last read at {key(1)} 23:00 UTC, before it had ended; {OVERDUE}",
    ),
}


@pytest.mark.parametrize(("made", "sentence"), FRESHNESS.values(), ids=FRESHNESS)
def test_a_day_is_late_when_it_was_not_read_after_it_had_ended(stored, made, sentence) -> None:
    with history(stored, TICKETS, *made) as instance:
        verdict = judge(stored, TICKETS, "fresh", instance=instance)
    assert (verdict.passed, verdict.description) == (False, sentence)


def test_no_day_is_late_if_only_old_days_were_read(stored: Project) -> None:
    with history(stored, TICKETS, *((ago, read_at(TODAY + HOUR)) for ago in (9, 8, 3))) as instance:
        verdict = judge(stored, TICKETS, "fresh", instance=instance)
        assert (verdict.passed, verdict.description) == (
            True,
            f"No day is due yet; only old days were read, up to {key(3)}. Days are due from the first one that is read "
            "on time.",
        )
        instance.report_runless_asset_event(
            dg.AssetMaterialization(GORGIAS.key_of(TICKETS), partition=key(2), metadata=read_at(TODAY + 6 * HOUR))
        )
        assert not judge(stored, TICKETS, "fresh", instance=instance).passed


def test_a_day_whose_run_has_failed_is_late_though_no_other_was_read(shop: Sandbox, tmp_path: Any) -> None:
    project = Project(shop, tmp_path / "none.duckdb")
    shop.faults.append(Fault(401, path="/api/tickets", times=None))
    project.materialize(key(1), select=["tickets"], raise_on_error=False)
    shop.faults.clear()
    verdict = judge(project, TICKETS, "fresh")
    assert (verdict.passed, verdict.description) == (
        False,
        f"{key(1)} was not materialized, and its last run failed; {OVERDUE}",
    )


def test_a_day_is_not_late_as_long_as_the_daily_run_may_take(stored: Project) -> None:
    with history(stored, TICKETS, (2, read_at(TODAY - DAY + HOUR))) as instance:
        before = judge(stored, TICKETS, "fresh", instance=instance, now=TODAY + LATE_AFTER - timedelta(seconds=1))
        after = judge(stored, TICKETS, "fresh", instance=instance, now=TODAY + LATE_AFTER)
    assert (before.passed, after.passed) == (True, False)


def test_no_day_is_late_that_lies_before_the_first_one_that_was_materialized(stored: Project) -> None:
    with history(stored, TICKETS, (0, read_at(TODAY + HOUR))) as instance:
        verdict = judge(stored, TICKETS, "fresh", instance=instance)
    assert (verdict.passed, verdict.description) == (True, f"No day is due yet; the first one is {key(0)}.")


def test_a_day_that_is_newer_than_the_one_that_is_due_is_fresh(stored: Project) -> None:
    with history(stored, TICKETS, (9, read_at(TODAY)), (1, read_at(TODAY + HOUR))) as instance:
        verdict = judge(stored, TICKETS, "fresh", instance=instance, now=TODAY + HOUR)
    assert (verdict.passed, verdict.description) == (
        True,
        f"{key(1)} was read after it had ended, at {key(0)} 01:00 UTC.",
    )


def test_no_day_is_late_before_the_first_one_has_to_be_there(stored: Project) -> None:
    account = Account(CORE, start_date=key(1))
    with dg.DagsterInstance.ephemeral() as instance:
        verdict = judge(stored, TICKETS, "fresh", instance=instance, account=account, now=TODAY + HOUR)
    assert (verdict.passed, verdict.description) == (True, "No day is due yet.")


@pytest.fixture
def listed(shop: Sandbox, tmp_path) -> Project:
    """Read the customers whole, once."""
    project = Project(shop, tmp_path / "listed.duckdb", [LISTED])
    dg.materialize(project.assets, instance=project.instance, resources=project.resources, run_config=QUIET)
    return project


def test_a_whole_list_is_complete_if_its_newest_reading_reached_its_end(listed: Project) -> None:
    assert judge(listed, LISTED, "sweep_complete").description == "The list was read to its end."
    listed.instance.report_runless_asset_event(dg.AssetMaterialization(GORGIAS.key_of(LISTED)))
    verdict = judge(listed, LISTED, "sweep_complete")
    assert (verdict.passed, verdict.description) == (
        False,
        "The newest reading may be incomplete: its metadata lacks began_at or coverage.",
    )


def test_a_whole_list_is_late_a_day_and_a_run_after_its_newest_reading_began(listed: Project) -> None:
    event = listed.instance.get_latest_materialization_event(GORGIAS.key_of(LISTED))
    began = began_at(event.asset_materialization.metadata)
    late = began + DAY + LATE_AFTER
    passed, failed = (judge(listed, LISTED, "fresh", now=late - ago) for ago in (timedelta(seconds=1), timedelta()))
    read = f"The newest reading began at {began:%Y-%m-%d %H:%M} UTC"
    assert (passed.passed, passed.description) == (True, f"{read}; the next is late from {late:%Y-%m-%d %H:%M} UTC.")
    assert (failed.passed, failed.description) == (
        False,
        f"{read}; the next has been late since {late:%Y-%m-%d %H:%M} UTC.",
    )


def test_rows_may_reference_a_list_that_is_read_whole(listed: Project) -> None:
    listed.engine.execute("CREATE TABLE gorgias.calls AS SELECT * FROM gorgias.customers ORDER BY id LIMIT 5")
    listed.engine.execute("DELETE FROM gorgias.customers WHERE id = (SELECT MIN(id) + 1 FROM gorgias.customers)")
    calls = replace(LISTED, name="calls", parent=Parent("customers", "id", owns=True))
    account = Account([LISTED, calls])
    (check,) = [check for check in table_checks(calls, account.entities) if check.name == "customers_exist"]
    warehouse = listed.engine.warehouse()
    tables = {other.name: Stored(warehouse, Table("gorgias", other.name), other) for other in account.entities}
    assert check.judge(context_of(listed, calls, account=account, tables=tables)).description == (
        "1 row references 1 customer that is missing; 0 reference deleted customers; 0 reference customers outside the "
        "loaded list."
    )


def test_days_count_as_stored_back_to_the_first_gap_and_up_to_when_the_newest_was_read(stored: Project) -> None:
    noon = TODAY - DAY + 12 * HOUR
    with history(stored, TICKETS, (5, {}), (3, {}), (2, {}), (1, read_at(noon))) as instance:
        assert unbroken_days(instance, GORGIAS.key_of(TICKETS)) == Window(TODAY - 3 * DAY, noon)
        assert unbroken_days(instance, GORGIAS.key_of(CUSTOMERS)) is None


def test_nothing_of_a_customer_s_is_in_what_checks_leave_in_dagster(stored: Project) -> None:
    (record,) = stored.instance.get_run_records(dg.RunsFilter(job_name="gorgias"), limit=1, ascending=True)
    kept = "\n".join(serialize_value(entry) for entry in stored.instance.all_logs(record.dagster_run.run_id))
    assert LETTER not in kept
    assert stored.account.api_key not in kept


# On each warehouse

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
FIRST_DAYS = Window(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 12, tzinfo=UTC))


def merge(engine: Engine, entity: Entity, *rows: Row) -> Stored:
    warehouse, table = engine.warehouse(), Table("gorgias", entity.name)
    typed = type_rows(rows, entity.columns, NOON + 3 * HOUR).table
    warehouse.merge(table, entity.columns, typed.append_column("_is_touched", pa.array([True] * len(rows))))
    return Stored(warehouse, table, entity)


@on_each_warehouse
def test_each_warehouse_answers_the_queries_of_checks(engine: Engine) -> None:
    at, early = NOON.isoformat(), (NOON - 25 * HOUR).isoformat()
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
    found = audits.figures(tickets)
    assert (found.rows, found.without_id, found.repeated, found.extra) == (3, 0, 0, 2)
    assert (found.early, found.ahead) == ({"updated_datetime": 1}, {})
    assert audits.ids_touched_out_of_order(messages) == [16]
    assert audits.repeated_ids(tickets) == []
    assert audits.extra_fields(tickets) == {"mood": 1, "status": 1, "new": 1}
    for days in (FIRST_DAYS, None):
        assert audits.orphans(messages, tickets, "ticket_id", days) == {
            "missing": audits.Lost(1, 1, [3]),
            "gone": audits.Lost(1, 1, [2]),
            "beyond": audits.Lost(1, 1, [5]),
        }
    compared = (tickets, messages, TICKET_MESSAGES.parent, FIRST_DAYS)
    assert audits.miscounted(*compared) == {"2025-03-10": audits.Miscounted(2, 2)}
    assert [tuple(row.values()) for row in audits.miscounted_parents(*compared)] == [(4, 5, 1, 1), (1, 1, 2, 2)]
    assert audits.stored_among(tickets, [1, 7]) == {1}
    days = {"first": FIRST_DAYS, "later": Window(FIRST_DAYS.end, FIRST_DAYS.end + DAY)}
    assert audits.created_in(messages, days) == {"first": {11, 12, 13, 14, 15, 16}, "later": set()}
