"""The operations of a warehouse, on each engine: merging, positions, rows that may be gone, counts."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from gorgias_assets.columns import ADDED_COLUMNS, Column, Kind
from gorgias_assets.sweeps.rows import Row, type_rows
from gorgias_assets.warehouse.bigquery.session import BigQueryDialect, ranges_of
from gorgias_assets.warehouse.dialect import types_of_kinds
from gorgias_assets.warehouse.duckdb.session import DuckDBDialect
from gorgias_assets.warehouse.tables import Absences, Counts, Merged, Saved, Table, Tombstone, WarehouseError
from gorgias_assets.windows import Window
from gorgias_assets_tests.engines import BigQueryProject, Engine, on_each_warehouse, on_each_warehouse_in_time

LETTERS, REPLIES = Table("post", "letters"), Table("post", "replies")
COLUMNS = [
    Column("id", Kind.INTEGER, "The letter's id."),
    Column("created_datetime", Kind.DATETIME, "When it was written."),
    Column("opened_datetime", Kind.DATETIME, "When it was opened."),
    Column("letter_id", Kind.INTEGER, "The letter that it answers."),
    Column("urgent", Kind.BOOLEAN, "True if it is in haste."),
    Column("text", Kind.STRING, 'Its text, in "quotes" and \\ all.'),
    Column("data", Kind.JSON, "What else is known of it."),
]
NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FIRST, SECOND, THIRD = NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR  # moments of reading
EVERYTHING = ("created_datetime", None, None)


def letter(number: int, created: datetime | None = NOON, **fields: Any) -> Row:
    return {"id": number, "created_datetime": created and created.isoformat(), **fields}


def read_at(moment: datetime, *letters: Row, touched: bool = True) -> pa.Table:
    rows = type_rows(letters, COLUMNS, moment).table
    return rows.append_column("_is_touched", pa.array([touched] * len(letters), pa.bool_()))


def merge(engine: Engine, rows: pa.Table, saved: Saved | None = None, table: Table = LETTERS) -> Merged:
    return engine.warehouse().merge(table, COLUMNS, rows, saved)


def stored(engine: Engine, column: str = "text", table: Table = LETTERS) -> dict[int, Any]:
    return dict(engine.query(f"SELECT id, {column} FROM {table}"))


def note(engine: Engine, since: datetime, covered: tuple = EVERYTHING, ids: tuple = (), table: Table = LETTERS) -> None:
    engine.warehouse().note_candidates(table, covered, ids, since, datetime.now(UTC))


def candidates(engine: Engine, limit: int = 10) -> tuple[list[int], int]:
    found = engine.warehouse().candidates(LETTERS, ["id", "letter_id"], limit)
    return [row["id"] for row in found.rows], found.waiting


@on_each_warehouse
def test_the_state_that_was_read_last_stays_whichever_is_merged_last(engine):
    assert merge(engine, read_at(SECOND, letter(1, text="second"), letter(2, text="second"))) == Merged(2, new=2)
    assert merge(engine, read_at(FIRST, letter(1, text="first"), letter(3, text="first"))) == Merged(1, new=1)
    assert merge(engine, read_at(THIRD, letter(2, text="third"))) == Merged(1, new=0)
    assert stored(engine) == {1: "second", 2: "third", 3: "first"}


@on_each_warehouse_in_time
def test_a_row_that_was_only_read_on_the_way_refreshes_a_stored_one_and_adds_none(engine):
    merge(engine, read_at(FIRST, letter(1, text="old")))
    assert merge(engine, read_at(SECOND, letter(1, text="new"), letter(2), touched=False)) == Merged(1, new=0)
    assert stored(engine) == {1: "new"}


@on_each_warehouse
def test_values_come_through_as_they_are(engine):
    texts = ["", "line\nbreak\ttab\\", "\u2028 ' \" ` é 😀", "null", "0", None]
    values: list[Any] = [{}, [], {"a": [1, None, {"b": "é\u2028"}]}, "text", 0, None, False, 1.5, 2**64 - 1, -(2**63)]
    values += [{"id": 2**70}, json_nested(600)]  # of which BigQuery holds text, for its JSON cannot
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), NOON, None]
    rows = [letter(i, text=text) for i, text in enumerate(texts)]
    rows += [letter(100 + i, data=value) for i, value in enumerate(values)]
    rows += [letter(200 + i, moment) for i, moment in enumerate(moments)]
    rows += [letter(2**63 - 1, urgent=True), letter(-1, urgent=False)]
    for _ in range(2):
        merge(engine, read_at(FIRST, *rows))
    assert list(texts) == [stored(engine)[i] for i in range(len(texts))]
    kept = stored(engine, "data")
    for i, value in enumerate(values):
        found = None if kept[100 + i] is None else engine.json(kept[100 + i])
        assert found in (value, json.dumps(value, separators=(",", ":")), {"id": str(2**70)}), i
    created = stored(engine, "created_datetime")
    assert [created[200 + i] for i in range(len(moments))] == moments
    urgent = stored(engine, "urgent")
    assert (urgent[2**63 - 1], urgent[-1], urgent[0]) == (True, False, None)
    assert len(urgent) == len(rows)


def json_nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@on_each_warehouse
def test_a_table_is_made_with_every_column_described_and_a_view_of_living_rows(engine):
    merge(engine, read_at(FIRST))
    described = engine.descriptions("post", "letters")
    assert described == {column.name: column.comment for column in (*COLUMNS, *ADDED_COLUMNS)}
    merge(engine, read_at(FIRST, letter(1, text="a"), letter(2, text="b")))
    engine.warehouse().settle_candidates(LETTERS, [1], [Tombstone(1, SECOND)], {})
    assert engine.query("SELECT id, text FROM post.letters_live") == [(2, "b")]
    names = [column.name for column in (*COLUMNS, *ADDED_COLUMNS)]
    assert list(engine.types("post", "letters_live")) == [n for n in names if n not in ("_deleted_at", "_merged_into")]


@on_each_warehouse
def test_a_column_that_a_table_lacks_is_added_and_a_user_s_own_is_left_alone(engine):
    merge(engine, read_at(FIRST, letter(1, text="old", data={"a": 1})))
    engine.execute(
        "ALTER TABLE post.letters DROP COLUMN text",
        "ALTER TABLE post.letters ADD COLUMN reviewed INT64",
        "UPDATE post.letters SET reviewed = 7 WHERE TRUE",
    )
    merge(engine, read_at(SECOND, letter(1, text="new"), letter(2)))
    assert stored(engine) == {1: "new", 2: None}
    assert stored(engine, "reviewed") == {1: 7, 2: None}


@on_each_warehouse_in_time
def test_a_table_of_other_types_is_refused_with_a_sentence_and_left_alone(engine):
    engine.execute("CREATE SCHEMA post", "CREATE TABLE post.letters AS SELECT 'x' AS id")
    with pytest.raises(WarehouseError, match=r"Column 'id' of post\.letters is \w+, not \w+: this table was made by"):
        merge(engine, read_at(FIRST, letter(1)))
    assert engine.query("SELECT * FROM post.letters") == [("x",)]


@on_each_warehouse_in_time
def test_a_position_is_kept_with_its_rows_until_it_is_forgotten_or_a_day_old(engine):
    warehouse = engine.warehouse()
    assert warehouse.before(LETTERS, "march").position is None
    for position in ('{"spans": 1}', 'it\'s \\ \n"quoted"'):
        merge(engine, read_at(FIRST, letter(1)), Saved("march", position))
        assert warehouse.before(LETTERS, "march").position == position
    merge(engine, read_at(FIRST), Saved("april", "of a batch without a row"))
    merge(engine, read_at(FIRST), Saved("march", "of another table"), table=REPLIES)
    warehouse.forget_position(LETTERS, "march")
    assert warehouse.before(LETTERS, "march").position is None
    assert warehouse.before(LETTERS, "april").position == "of a batch without a row"
    assert warehouse.before(REPLIES, "march").position == "of another table"
    engine.execute("UPDATE post._sweep_positions_letters SET saved_at = TIMESTAMP '2025-03-01 00:00:00' WHERE TRUE")
    assert warehouse.before(LETTERS, "april").position is None


def test_a_position_that_a_wrong_clock_has_saved_in_the_far_future_is_not_kept_for_ever(engine):
    for key in ("march", "april"):
        merge(engine, read_at(FIRST), Saved(key, "of the year 2125"))
    engine.execute("UPDATE post._sweep_positions_letters SET saved_at = TIMESTAMP '2125-03-01 00:00:00'")
    assert engine.warehouse().before(LETTERS, "march").position is None
    engine.warehouse().forget_position(LETTERS, "april")
    assert engine.query("SELECT sweep FROM post._sweep_positions_letters") == []


@on_each_warehouse_in_time
def test_rows_from_the_future_are_pulled_back_and_none_that_others_wrote_while_this_waited(engine):
    warehouse, times = engine.warehouse(), [SECOND, FIRST, SECOND]
    merge(engine, read_at(FIRST, letter(1)))
    merge(engine, read_at(THIRD, letter(2)))
    assert warehouse.pull_back(REPLIES, times.pop, FIRST) == 0, "there is no such table"
    assert warehouse.pull_back(LETTERS, times.pop, FIRST - HOUR) == 1
    assert stored(engine, "_extracted_at") == {1: FIRST, 2: FIRST - HOUR}
    merge(engine, read_at(SECOND, letter(2)))
    waited = [SECOND, FIRST]
    assert warehouse.pull_back(LETTERS, waited.pop, FIRST - HOUR) == 0
    assert stored(engine, "_extracted_at") == {1: FIRST, 2: SECOND}


@on_each_warehouse_in_time
def test_rows_that_were_looked_at_in_vain_never_hold_up_the_others(engine):
    merge(engine, read_at(FIRST, *map(letter, (1, 2, 3))))
    note(engine, SECOND)
    warehouse, later = engine.warehouse(), datetime.now(UTC) + HOUR
    warehouse.settle_candidates(LETTERS, [], [], {}, {1: later, 2: later})
    warehouse.settle_candidates(LETTERS, [], [], {}, {1: later})
    assert candidates(engine) == ([3, 2, 1], 0)
    found = warehouse.candidates(LETTERS, ["id"], 10, later - HOUR)
    assert (found.rows, found.looks, found.waiting) == ([{"id": 3}], {3: 0}, 2)
    assert warehouse.candidates(LETTERS, ["id"], 10, later).looks == {3: 0, 2: 1, 1: 2}


@on_each_warehouse_in_time
def test_rows_of_the_interval_that_were_not_read_again_are_noted_once_and_in_turn(engine):
    old, new = [letter(i, NOON - 9 * DAY) for i in (1, 2)], [letter(i, NOON + DAY) for i in (3, 4, 5)]
    assert candidates(engine) == ([], 0)
    merge(engine, read_at(FIRST, *old, *new))
    assert engine.warehouse().absences(LETTERS, EVERYTHING, FIRST) == Absences(0, 5, 0)
    assert engine.warehouse().absences(LETTERS, EVERYTHING, SECOND) == Absences(5, 5, 5)
    assert engine.warehouse().absences(LETTERS, ("created_datetime", NOON, None), SECOND, [4]) == Absences(4, 3, 2)
    merge(engine, read_at(SECOND, new[0]))
    note(engine, SECOND, ("created_datetime", NOON, NOON + 2 * DAY), ids=(1, 3, 77))
    assert candidates(engine) == ([1, 4, 5], 0)
    assert candidates(engine, limit=1) == ([1], 2)
    note(engine, SECOND)
    assert candidates(engine) == ([1, 4, 5, 2], 0)
    merge(engine, read_at(datetime.now(UTC), old[0]))
    assert candidates(engine) == ([4, 5, 2], 0)
    engine.warehouse().settle_candidates(LETTERS, [4], [], {})
    assert candidates(engine) == ([5, 2], 0)


@on_each_warehouse_in_time
def test_a_row_that_was_read_since_it_was_noted_is_noted_anew_when_it_is_not_read_again(engine):
    merge(engine, read_at(FIRST, letter(1), letter(2)))
    note(engine, SECOND)
    merge(engine, read_at(datetime.now(UTC), letter(1)))
    note(engine, datetime.now(UTC) + HOUR)
    assert candidates(engine) == ([2, 1], 0)


@on_each_warehouse_in_time
def test_rows_that_are_gone_are_marked_with_their_children_unless_they_were_read_later(engine):
    merge(engine, read_at(FIRST, letter(1), letter(2), letter(3, None), letter(4)))
    merge(engine, read_at(THIRD, letter(4)))
    replies = [letter(10 + i, NOON + i * DAY, letter_id=i) for i in (1, 2, 3, 4)]
    merge(engine, read_at(FIRST, *replies, letter(19, letter_id=1)), table=REPLIES)
    merge(engine, read_at(THIRD, letter(19, letter_id=1)), table=REPLIES)
    gone = [Tombstone(1, SECOND), Tombstone(2, SECOND, 4, is_merged=True), Tombstone(3, SECOND), Tombstone(4, SECOND)]
    cascaded = engine.warehouse().settle_candidates(LETTERS, [1, 2, 3, 4], gone, {REPLIES: "letter_id"})
    assert cascaded == 3  # the replies to 1 and 3, and to 4, which looked gone before it was read again
    assert stored(engine, "_deleted_at") == {1: SECOND, 2: SECOND, 3: SECOND, 4: None}
    assert stored(engine, "_merged_into") == {1: None, 2: 4, 3: None, 4: None}
    marked = {row_id for row_id, at in stored(engine, "_deleted_at", REPLIES).items() if at == SECOND}
    assert marked == {11, 13, 14}
    merge(engine, read_at(THIRD, letter(1)))
    assert stored(engine, "_deleted_at")[1] is None, "a row that was read again lives"


@on_each_warehouse_in_time
def test_rows_are_counted_in_each_window_that_they_were_touched_in(engine):
    windows = [Window(NOON - DAY, NOON), Window(NOON, NOON + DAY), Window(NOON + 5 * DAY, NOON + 6 * DAY)]
    fields = ("created_datetime", "opened_datetime")
    assert engine.warehouse().counts(LETTERS, fields, windows) == Counts(0, [0, 0, 0])
    opened = (NOON + 5 * DAY).isoformat()
    rows = [letter(1), letter(2, NOON - HOUR), letter(3, NOON - DAY, opened_datetime=opened), letter(4, NOON + 6 * DAY)]
    merge(engine, read_at(FIRST, *rows, letter(5, opened_datetime=NOON.isoformat()), letter(6, None), letter(7)))
    engine.warehouse().settle_candidates(LETTERS, [7], [Tombstone(7, SECOND)], {})
    assert engine.warehouse().counts(LETTERS, fields, windows) == Counts(7, [2, 2, 1])
    assert engine.warehouse().counts(LETTERS, fields, []) == Counts(7, [])


@on_each_warehouse_in_time
def test_rows_without_an_id_that_somebody_put_in_are_left_alone_and_counted(engine):
    warehouse = engine.warehouse()
    merge(engine, read_at(FIRST, letter(1), letter(2)))
    assert warehouse.after(LETTERS, EVERYTHING, None).without_id == 0
    stamps = "TIMESTAMP '2025-03-10 12:00:00+00:00', TIMESTAMP '2025-03-10 13:00:00+00:00'"
    engine.execute(
        *[f"INSERT INTO post.letters (created_datetime, _extracted_at, text) VALUES ({stamps}, 'mine')"] * 2,
        "INSERT INTO post.letters (_extracted_at, _deleted_at, _merged_into) "
        "VALUES (TIMESTAMP '2025-03-10 13:00:00+00:00', TIMESTAMP '2025-03-10 14:00:00+00:00', 1)",
    )
    for _ in range(2):
        merge(engine, read_at(SECOND, letter(1)))
        warehouse.leave_one_of_each_id(LETTERS)
        assert warehouse.after(LETTERS, EVERYTHING, None).without_id == 3
        note(engine, THIRD)
        warehouse.settle_candidates(LETTERS, [], [Tombstone(2, THIRD, 1, is_merged=True)], {REPLIES: "letter_id"})
    assert engine.query("SELECT id FROM post._gone_candidates_letters") == [(1,)]
    assert warehouse.absences(LETTERS, EVERYTHING, THIRD) == Absences(1, 1, 1)
    assert warehouse.merges(LETTERS, [1], FIRST) == [2, 1]
    assert engine.query("SELECT COUNT(*) FROM post.letters WHERE id IS NULL AND text = 'mine'") == [(2,)]


def test_an_engine_that_lacks_a_type_for_a_kind_fails_when_it_is_imported():
    with pytest.raises(KeyError):
        types_of_kinds({Kind.INTEGER.arrow_type: "BIGINT"}, json="JSON")
    assert DuckDBDialect.types.keys() == BigQueryDialect.types.keys() == set(Kind)


# BigQuery alone: its jobs and tables


def merge_statements(engine: BigQueryProject) -> list[str]:
    return [statement for statement in engine.statements() if statement.startswith("MERGE INTO `local.post.letters`")]


def test_in_bigquery_a_table_is_partitioned_by_day_of_creation_and_clustered_by_id(bigquery):
    merge(bigquery, read_at(FIRST, letter(1)))
    table = bigquery.table("post", "letters")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "created_datetime")
    assert table.clustering_fields == ["id"]


def test_in_bigquery_a_merge_names_the_days_of_its_rows_as_constants(bigquery):
    """No other day is then read; the emulator reads all and reports 0 bytes."""
    days = [NOON, NOON + HOUR, NOON + DAY, NOON - 40 * DAY]
    merge(bigquery, read_at(FIRST, *(letter(i, day) for i, day in enumerate(days))))
    (statement,) = merge_statements(bigquery)
    on, _, _ = statement.partition(" WHEN MATCHED")
    assert on.endswith(
        " AS source ON target.id = source.id AND (target.created_datetime IS NULL"
        " OR target.created_datetime >= TIMESTAMP '2025-01-29 00:00:00+00:00'"
        " AND target.created_datetime < TIMESTAMP '2025-01-30 00:00:00+00:00'"
        " OR target.created_datetime >= TIMESTAMP '2025-03-10 00:00:00+00:00'"
        " AND target.created_datetime < TIMESTAMP '2025-03-12 00:00:00+00:00')"
    )


def test_in_bigquery_the_last_day_of_all_is_not_named_since_it_has_no_end(bigquery):
    for _ in range(2):
        merge(bigquery, read_at(FIRST, letter(1, datetime.max.replace(tzinfo=UTC)), letter(2)))
    assert stored(bigquery) == {1: None, 2: None}


def test_in_bigquery_a_merge_takes_a_number_that_would_be_written_in_other_digits(bigquery):
    """PARSE_JSON('0.818739159369892') is refused by Google's own code, and with it the batch; the emulator takes it."""
    merge(bigquery, read_at(FIRST, letter(1, data={"confidence": 0.818739159369892})))
    (statement,) = merge_statements(bigquery)
    assert "PARSE_JSON(`data`, wide_number_mode=>'round') AS `data`" in statement
    assert stored(bigquery, "data") == {1: {"confidence": 0.818739159369892}}


@pytest.mark.parametrize("step", [1, 2, 3, 50])
def test_in_bigquery_a_merge_names_no_more_than_200_ranges_of_days_which_hold_all_days(step):
    days = {date(2020, 1, 1) + timedelta(days=step * number) for number in range(500)}
    ranges = ranges_of(days)
    assert len(ranges) <= 200
    covered = {
        (window.start + timedelta(days=n)).date() for window in ranges for n in range((window.end - window.start).days)
    }
    assert covered >= days
    assert all(earlier.end < later.start for earlier, later in pairwise(ranges))


def test_in_bigquery_a_row_without_a_day_is_looked_for_on_all_days(bigquery):
    merge(bigquery, read_at(FIRST, letter(1), letter(2)))
    merge(bigquery, read_at(SECOND, letter(1, None, text="unreadable")))
    merge(bigquery, read_at(THIRD, letter(1, NOON - 9 * DAY, text="readable")))
    assert stored(bigquery) == {1: "readable", 2: None}
    assert "target.created_datetime" not in merge_statements(bigquery)[1].partition(" WHEN MATCHED")[0]


def test_in_bigquery_a_row_that_two_runs_have_added_at_once_is_left_once_in_its_newest_state(bigquery):
    """Two merges that only insert can do so at once; the emulator never does, so the test adds the row by hand."""
    rows = read_at(FIRST, letter(1, text="old", data={"a": 1}), letter(2, None), letter(3), letter(4, text="other"))
    merge(bigquery, rows)
    bigquery.execute(
        "ALTER TABLE post.letters ADD COLUMN reviewed INT64",
        "UPDATE post.letters SET reviewed = 7 WHERE id = 3",
        "INSERT INTO post.letters SELECT * FROM post.letters WHERE id < 4",
        "INSERT INTO post.letters SELECT * FROM post.letters WHERE id = 2",
    )
    merge(bigquery, read_at(SECOND, letter(1, NOON + DAY, text="new", data={"a": 2})))
    bigquery.warehouse().leave_one_of_each_id(LETTERS)
    found = bigquery.query("SELECT id, text, JSON_VALUE(data.a), reviewed FROM post.letters ORDER BY id")
    assert found == [(1, "new", "2", None), (2, None, None, None), (3, None, None, 7), (4, "other", None, None)]
    statements = len(bigquery.statements())
    bigquery.warehouse().leave_one_of_each_id(LETTERS)
    assert len(bigquery.statements()) == statements + 1, "one look"


def test_in_bigquery_marks_name_the_days_of_their_rows(bigquery):
    merge(bigquery, read_at(FIRST, letter(1), letter(2, NOON - 9 * DAY)))
    bigquery.warehouse().settle_candidates(LETTERS, [1], [Tombstone(1, SECOND)], {})
    (update,) = [statement for statement in bigquery.statements() if statement.startswith("UPDATE")]
    assert "target.created_datetime >= TIMESTAMP '2025-03-10 00:00:00+00:00'" in update
    assert "2025-03-01" not in update


def test_in_bigquery_a_batch_is_one_load_one_merge_and_one_position_and_leaves_no_staging_table(bigquery):
    merge(bigquery, read_at(FIRST, letter(1)), Saved("march", "{}"))
    load, *queries = [job for job in bigquery.jobs() if job.job_id.startswith("gorgias_")]
    assert (load.job_type, load.source_format, load.write_disposition) == ("load", "PARQUET", "WRITE_TRUNCATE")
    assert [job.statement_type for job in queries] == ["MERGE", "MERGE"]
    assert "_sweep_positions" in queries[1].query
    with bigquery.client() as client:
        names = {table.table_id for table in client.list_tables("post")}
    assert names == {"letters", "letters_live", "_sweep_positions_letters"}
