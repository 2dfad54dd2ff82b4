"""Expirations, descriptions, partitions and required filters of tables, and the view of living rows."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery as google

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.columns import ADDED_COLUMNS, Column, Kind
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.io_managers.from_uri import io_manager_from_uri
from gorgias_assets.warehouse.bigquery.layout import Layout
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import Absences, Covered, Dimension, Saved, Tombstone, WarehouseError
from gorgias_assets.windows import Window
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.faulty import FaultyBigQuery, altered, lost, refused
from gorgias_assets_tests.engines import BigQueryProject, Engine, on_each_warehouse_in_time
from gorgias_assets_tests.warehouse.test_warehouse import (
    COLUMNS,
    FIRST,
    LETTERS,
    NOON,
    SECOND,
    THIRD,
    letter,
    merge,
    read_at,
    stored,
)

PATCH = "PATCH .*/tables/letters[?]"
DAY_MS = 24 * 60 * 60 * 1000
GRAIN = "One row per letter."


class ObservedProject(BigQueryProject):
    """The emulator's project, whose requests a proxy records and can answer itself."""

    def __init__(self, emulator: Emulator, proxy: FaultyBigQuery) -> None:
        super().__init__(emulator)
        self.proxy = proxy

    def io_manager(self, schema: str | None = None, **settings: Any) -> GorgiasBigQueryIOManager:
        return super().io_manager(schema, **{"api_endpoint": self.proxy.api_endpoint} | settings)

    def merging_with(self, **layout: Any) -> BigQueryWarehouse:
        warehouse = self.warehouse()
        return replace(warehouse, layout=replace(warehouse.layout, **layout))

    def changes(self) -> list[Any]:
        """Return the bodies of requests that changed a property of the table, its view or its bookkeeping."""
        return [request.json for request in self.proxy.received("^PATCH ")]


@pytest.fixture
def project(emulator: Emulator) -> Iterator[ObservedProject]:
    with FaultyBigQuery(emulator.api_endpoint) as proxy:
        project = ObservedProject(emulator, proxy)
        yield project
        assert proxy.unused == [], "faults that befell nothing"
        project.clear()


def give_defaults(project: BigQueryProject, days: int) -> None:
    """Create the dataset with a default expiration, as BigQuery's sandbox does."""
    with project.client() as client:
        dataset = google.Dataset(f"{project.project}.post")
        dataset.default_table_expiration_ms = days * DAY_MS
        client.create_dataset(dataset)


def let_expire(project: BigQueryProject, partition_ms: int | None, name: str = "letters") -> None:
    """Give a table's partitions an expiration: the emulator passes on no default for them."""
    with project.client() as client:
        table = client.get_table(f"{project.project}.post.{name}")
        table.time_partitioning = google.TimePartitioning(field="created_datetime", expiration_ms=partition_ms)
        client.update_table(table, ["time_partitioning"])


def partitions_expire_after(project: BigQueryProject, name: str = "letters") -> int | None:
    return project.table("post", name).time_partitioning.expiration_ms


def test_tables_and_views_of_a_dataset_with_a_default_expiration_get_none_before_a_row_is_written(project, caplog):
    give_defaults(project, 60)
    project.warehouse().save_account(LETTERS, "shop")
    merge(project, read_at(FIRST, letter(1)), Saved("march", "{}"))
    names = ("letters", "letters_live", "_sweep_positions_letters", "_accounts_letters")
    assert [project.table("post", name).expires for name in names] == [None] * 4
    requests = [str(request) for request in project.proxy.requests]
    corrected = next(i for i, request in enumerate(requests) if "PATCH" in request and "/tables/letters?" in request)
    assert '"expirationTime": null' in requests[corrected]
    assert corrected < next(i for i, request in enumerate(requests) if "MERGE INTO `local.post.letters`" in request)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(message.partition(":")[0] for message in told) == sorted(f"post.{name}" for name in names)
    day = (datetime.now(UTC) + timedelta(days=60)).date()
    reason = "by its dataset's default or somebody's hand; that was corrected."
    assert f"post.letters: it would be deleted on {day}, {reason}" in told


def test_an_expiration_of_an_existing_table_is_corrected_once(project, caplog):
    merge(project, read_at(FIRST, letter(1)))
    let_expire(project, 60 * DAY_MS)
    merge(project, read_at(SECOND, letter(2)))
    assert partitions_expire_after(project) is None
    assert project.changes()[-1] == {
        "timePartitioning": {"type": "DAY", "field": "created_datetime", "expirationMs": None}
    }
    assert "post.letters: a partition would end after 60 days, by its dataset's default" in caplog.text
    changes = len(project.changes())
    merge(project, read_at(SECOND, letter(3)))
    assert len(project.changes()) == changes
    assert stored(project).keys() == {1, 2, 3}


def test_the_chosen_expiration_of_partitions_is_that_of_new_and_existing_tables(project):
    warehouse = project.merging_with(partition_expiration_days=400)
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(1)), Saved("march", "{}"))
    assert partitions_expire_after(project) == 400 * DAY_MS
    let_expire(project, None)
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(2)))
    assert partitions_expire_after(project) == 400 * DAY_MS
    assert project.table("post", "_sweep_positions_letters").time_partitioning is None


def keeps_them(table: Any) -> None:
    table["timePartitioning"]["expirationMs"] = str(60 * DAY_MS)


@pytest.mark.parametrize(
    "answer",
    [
        refused(403, "billingNotEnabled", "Billing has not been enabled for this project."),
        refused(400, "invalid", "Partition expiration time must be less than 60 days while in sandbox mode."),
        altered(keeps_them),
    ],
    ids=["refused", "refused as invalid", "ignored"],
)
def test_an_expiration_that_bigquery_s_sandbox_keeps_is_an_error_before_a_row_is_written(project, answer):
    merge(project, read_at(FIRST, letter(1)))
    let_expire(project, 60 * DAY_MS)
    project.proxy.befall(PATCH, answer)
    sentence = (
        r"^post\.letters would lose rows, since a partition would end after 60 days, and BigQuery did not change that: "
        r".* Add one in Google's console, then re-run\.$"
    )
    with pytest.raises(WarehouseError, match=sentence):
        merge(project, read_at(FIRST, letter(2)))
    assert stored(project).keys() == {1}


def test_a_table_that_others_change_at_the_same_time_is_looked_at_again(project):
    merge(project, read_at(FIRST, letter(1)))
    let_expire(project, 60 * DAY_MS)
    project.proxy.befall(PATCH, refused(412, "conditionNotMet", "Precondition check failed."))
    project.proxy.befall(PATCH, lost)  # the repeated request then no longer meets the table it names
    merge(project, read_at(FIRST, letter(2)))
    assert partitions_expire_after(project) is None


def test_a_table_of_frames_gets_no_expiration_and_keeps_one_that_its_owner_gives_it(project):
    give_defaults(project, 60)
    orders = replace(LETTERS, name="orders")
    project.warehouse().replace(orders, pa.table({"n": [1]}), ())
    assert project.table("post", "orders").expires is None
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    with project.client() as client:
        table = client.get_table(f"{project.project}.post.orders")
        table.expires = end
        client.update_table(table, ["expires"])
    project.warehouse().replace(orders, pa.table({"n": [2]}), ())
    assert project.table("post", "orders").expires == end


WIDER = [*COLUMNS, Column("stamp", Kind.STRING, "The stamp on it.")]
REWORDED = [replace(column, description=f"{column.description} In other words.") for column in WIDER]


def comments(engine: Engine) -> dict[str, str | None]:
    """Return the descriptions of the table and its view."""
    if isinstance(engine, BigQueryProject):
        return {name: engine.table("post", name).description for name in ("letters", "letters_live")}
    listed = "SELECT table_name, comment FROM duckdb_tables() UNION ALL SELECT view_name, comment FROM duckdb_views()"
    return dict(engine.query(f"SELECT * FROM ({listed}) WHERE table_name LIKE 'letters%'"))


def described(columns: list[Column], but: tuple[str, ...] = ()) -> dict[str, str]:
    return {column.name: column.comment for column in (*columns, *ADDED_COLUMNS) if column.name not in but}


@on_each_warehouse_in_time
def test_a_table_and_its_view_follow_the_declaration(engine):
    warehouse, hidden = engine.warehouse(), ("_deleted_at", "_merged_into")
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(1), letter(2)), description=GRAIN)
    assert comments(engine) == {
        "letters": GRAIN,
        "letters_live": "Rows of letters that are not gone. One row per letter.",
    }
    warehouse.merge(LETTERS, WIDER, read_at(SECOND, letter(1)), description=GRAIN)
    warehouse.settle_candidates(LETTERS, [2], [Tombstone(2, SECOND)], {})
    assert engine.query("SELECT id, stamp FROM post.letters_live") == [(1, None)]
    assert engine.descriptions("post", "letters_live") == described(WIDER, hidden)
    warehouse.merge(LETTERS, REWORDED, read_at(SECOND), description="One row per letter or card.")
    assert engine.descriptions("post", "letters") == described(REWORDED)
    assert engine.descriptions("post", "letters_live") == described(REWORDED, hidden)
    assert comments(engine) == {
        "letters": "One row per letter or card.",
        "letters_live": "Rows of letters that are not gone. One row per letter or card.",
    }


@on_each_warehouse_in_time
@pytest.mark.parametrize("kind", ["VIEW", "TABLE"])
def test_a_view_or_table_of_somebody_s_own_under_the_view_s_name_is_left_alone(engine, kind):
    engine.execute("CREATE SCHEMA post", f"CREATE {kind} post.letters_live AS SELECT 7 AS id, 'mine' AS text")
    for columns in (COLUMNS, WIDER, REWORDED):
        engine.warehouse().merge(LETTERS, columns, read_at(FIRST, letter(1)), description=GRAIN)
    assert engine.query("SELECT id, text FROM post.letters_live") == [(7, "mine")]
    assert set(engine.descriptions("post", "letters_live").values()) == {None}
    assert comments(engine)["letters_live"] is None


@on_each_warehouse_in_time
def test_a_description_of_a_user_s_own_column_is_left_alone(engine):
    merge(engine, read_at(FIRST, letter(1)))
    engine.execute("ALTER TABLE post.letters ADD COLUMN reviewed INT64")
    if isinstance(engine, BigQueryProject):
        engine.execute("ALTER TABLE post.letters ALTER COLUMN reviewed SET OPTIONS (description = 'Mine.')")
    else:
        engine.execute("COMMENT ON COLUMN post.letters.reviewed IS 'Mine.'")
    engine.warehouse().merge(LETTERS, REWORDED, read_at(SECOND, letter(1)))
    assert engine.descriptions("post", "letters") == described(REWORDED) | {"reviewed": "Mine."}


def without_the_new_column(view: Any) -> None:
    view["schema"]["fields"] = [field for field in view["schema"]["fields"] if field["name"] != "stamp"]


def test_in_bigquery_a_view_is_replaced_when_a_column_was_added_and_nothing_is_sent_when_nothing_differs(project):
    """The emulator shows a view with its table's columns, BigQuery with those of the moment it was created at."""
    project.warehouse().merge(LETTERS, COLUMNS, read_at(FIRST), description=GRAIN)
    project.proxy.befall("GET .*/tables/letters_live[?]", altered(without_the_new_column))
    for columns in (WIDER, WIDER, REWORDED, REWORDED):
        changed = len(project.changes())
        project.warehouse().merge(LETTERS, columns, read_at(FIRST), description=GRAIN)
    assert len(project.changes()) == changed
    replaced = [statement for statement in project.statements() if statement.startswith("CREATE OR REPLACE VIEW")]
    assert replaced == [
        "CREATE OR REPLACE VIEW `local.post.letters_live` AS SELECT * EXCEPT (_deleted_at, _merged_into) "
        "FROM `local.post.letters` WHERE _deleted_at IS NULL"
    ]
    assert comments(project)["letters_live"] == "Rows of letters that are not gone. One row per letter."
    assert project.descriptions("post", "letters_live") == described(REWORDED, ("_deleted_at", "_merged_into"))


@pytest.mark.parametrize(("setting", "kind"), [({}, "DAY"), ({"partition_by": "month"}, "MONTH")])
def test_a_new_table_is_partitioned_as_set_and_an_existing_one_is_left(project, setting, kind):
    warehouse = project.merging_with(**setting)
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(1)))
    other = project.merging_with(partition_by="day" if setting else "month")
    other.merge(LETTERS, COLUMNS, read_at(SECOND, letter(1, text="new")))
    partitioning = project.table("post", "letters").time_partitioning
    assert (partitioning.type_, partitioning.field) == (kind, "created_datetime")
    assert stored(project) == {1: "new"}


def test_in_partitions_of_months_rows_are_found_and_marked_on_each_of_their_days(project):
    warehouse = project.merging_with(partition_by="month")
    days = {n: NOON + timedelta(days=20 * n) for n in range(4)}
    for read, text in ((FIRST, "old"), (SECOND, "new")):
        warehouse.merge(LETTERS, COLUMNS, read_at(read, *(letter(n, day, text=text) for n, day in days.items())))
    warehouse.settle_candidates(LETTERS, [1, 3], [Tombstone(n, THIRD) for n in (1, 3)], {})
    assert stored(project) == dict.fromkeys(days, "new")
    assert stored(project, "_deleted_at") == {0: None, 1: THIRD, 2: None, 3: THIRD}
    (update,) = [statement for statement in project.statements() if statement.startswith("UPDATE")]
    assert "target.created_datetime >= TIMESTAMP '2025-03-30 00:00:00+00:00'" in update


def test_a_merged_table_requires_a_filter_if_that_is_set_and_keeps_it_if_not(project):
    project.merging_with(require_partition_filter=True).merge(LETTERS, COLUMNS, read_at(FIRST), Saved("march", "{}"))
    assert {"requirePartitionFilter": True} in project.changes()
    for _ in range(2):
        project.warehouse().merge(LETTERS, COLUMNS, read_at(FIRST))
        assert project.table("post", "letters").require_partition_filter
    assert not project.table("post", "_sweep_positions_letters").require_partition_filter
    assert project.query("SELECT * FROM post.letters_live") == []
    merge(project, read_at(FIRST), table=replace(LETTERS, name="replies"))
    assert not project.table("post", "replies").require_partition_filter


def requires_a_filter(table: Any) -> None:
    table["requirePartitionFilter"] = True


@pytest.mark.soak
def test_each_statement_names_the_partitions_of_a_table_that_requires_it(project):
    """The emulator would take no condition outside WHERE. So only this project believes that the table requires one."""
    project.proxy.befall("GET .*/tables/(letters|replies)[?]", altered(requires_a_filter), times=None)
    warehouse, replies = project.merging_with(require_partition_filter=True), replace(LETTERS, name="replies")
    last_day = datetime.max.replace(tzinfo=UTC)
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, *map(letter, (1, 2, 3)), letter(4, last_day)), Saved("all", "{}"))
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(5, None)))
    warehouse.merge(replies, COLUMNS, read_at(FIRST, letter(9, letter_id=1), letter(8, last_day, letter_id=2)))
    project.execute("INSERT INTO post.letters SELECT * FROM post.letters WHERE id = 2 AND created_datetime IS NOT NULL")
    assert warehouse.before(LETTERS, "all").newest == FIRST
    assert warehouse.after(LETTERS, Covered("id"), SECOND).copies == 1
    warehouse.leave_one_of_each_id(LETTERS)
    assert warehouse.pull_back(LETTERS, lambda: FIRST - timedelta(hours=1), FIRST) == 5
    everything = ("created_datetime", None, None)
    assert warehouse.absences(LETTERS, everything, SECOND) == Absences(5, 4, 4)
    warehouse.note_candidates(LETTERS, everything, [], SECOND, THIRD)
    assert len(warehouse.candidates(LETTERS, ["id"], 10).rows) == 4
    gone = [Tombstone(1, THIRD), Tombstone(2, THIRD), Tombstone(4, THIRD)]
    assert warehouse.settle_candidates(LETTERS, [1, 2, 4], gone, {replies: "letter_id"}, {3: THIRD}) == 2
    assert warehouse.merges(LETTERS, [1], FIRST) == []
    assert warehouse.kin(LETTERS, "data", [3], SECOND, 10) == []
    windows = (Window(NOON, NOON + timedelta(days=1)),)
    assert warehouse.counts(LETTERS, ("created_datetime", "opened_datetime"), windows).touched == [1]
    assert warehouse.read(LETTERS, (Dimension(("opened_datetime", "created_datetime"), windows),)).num_rows == 3
    counted = f"SELECT COUNT(*) AS n FROM {warehouse.rows_of(LETTERS)} AS letters"
    assert warehouse.query("post", counted).to_pylist() == [{"n": 5}]
    statements = [job.query for job in project.jobs() if job.job_id.startswith("gorgias_") and job.job_type == "query"]
    of_data = [statement for statement in statements if "`local.post.letters`" in statement or ".replies`" in statement]
    assert len(of_data) > 15
    for statement in of_data:
        names = len(re.findall(r"`local\.post\.(letters|replies)`", statement))
        filters = len(re.findall(r"created_datetime IS NULL OR [a-z.]*created_datetime (IS|>=)", statement))
        assert filters >= names, statement


def test_statements_have_no_further_condition_if_the_table_requires_none(project):
    warehouse = project.warehouse()
    warehouse.merge(LETTERS, COLUMNS, read_at(FIRST, letter(1, None)))
    warehouse.leave_one_of_each_id(LETTERS)
    assert warehouse.rows_of(LETTERS) == "`local.post.letters`"
    assert not [statement for statement in project.statements() if "IS NOT NULL)" in statement]


URI = "bigquery://my-project?api_endpoint=http://localhost:9050"


def test_the_settings_of_the_layout_are_parameters_of_the_uri():
    parameters = "&partition_by=month&partition_expiration_days=400&require_partition_filter=true"
    manager = io_manager_from_uri(URI + parameters)
    assert isinstance(manager, GorgiasBigQueryIOManager)
    assert manager.warehouse().layout == Layout("month", 400, require_partition_filter=True)
    unset = io_manager_from_uri(f"{URI}&require_partition_filter=false")
    assert isinstance(unset, GorgiasBigQueryIOManager)
    assert unset.warehouse().layout == Layout("day", None, require_partition_filter=False)


@pytest.mark.parametrize(
    ("parameter", "must_be"),
    [
        ("partition_by=week", "partition_by must be day or month."),
        ("partition_by=MONTH", "partition_by must be day or month."),
        ("partition_expiration_days=0", "partition_expiration_days must be a number of days from 1 to 99999."),
        ("partition_expiration_days=1.5", "partition_expiration_days must be a number of days from 1 to 99999."),
        ("partition_expiration_days=100000", "partition_expiration_days must be a number of days from 1 to 99999."),
        ("require_partition_filter=yes", "require_partition_filter must be true or false."),
    ],
)
def test_a_setting_of_the_layout_that_is_no_such_value_is_refused_with_a_sentence(parameter, must_be):
    with pytest.raises(InvalidUri) as caught:
        io_manager_from_uri(f"{URI}&{parameter}")
    assert str(caught.value) == f"The warehouse URI's {must_be}"
