"""The costs of a small account are enlarged to those of a large one with a year of rows."""

from datetime import UTC, date, datetime, timedelta

from google.cloud.bigquery import SchemaField

from gorgias_assets_tests.benchmarks.bigquery_costs import Cost, Scale
from gorgias_assets_tests.bigquery.pricing import MEBIBYTE, Stored
from gorgias_assets_tests.bigquery.recorder import Statement

START = datetime(2025, 1, 1, tzinfo=UTC)
FIRST = START.date()
FIELDS = [SchemaField("id", "INTEGER"), SchemaField("created_datetime", "TIMESTAMP")]
BYTES = {"id": 8.0, "created_datetime": 8.0}
TICKETS = Stored(FIELDS, BYTES, {FIRST + timedelta(days=n): MEBIBYTE for n in range(73)}, "created_datetime")
STAGING = Stored(FIELDS, BYTES, {None: 2 * MEBIBYTE})
TABLES = {"local.gorgias.tickets": TICKETS, "local.gorgias._staging_1": STAGING}
READ = Statement("SELECT id FROM `local.gorgias.tickets`", TABLES)
MERGE = Statement(
    "MERGE INTO `local.gorgias.tickets` AS target USING `local.gorgias._staging_1` AS source "
    f"ON target.id = source.id AND target.created_datetime < TIMESTAMP '{date(2025, 1, 2)}' "
    f"AND target.created_datetime >= TIMESTAMP '{FIRST}' WHEN NOT MATCHED THEN INSERT (id) VALUES (source.id)",
    TABLES,
)


def test_a_query_of_all_rows_reads_a_year_of_them():
    assert Scale(times=3, start=START, days=73).cost([READ]) == Cost(1, 3 * 365 * 8 * MEBIBYTE)


def test_a_merge_reads_its_batch_and_its_days_and_is_repeated_for_a_year():
    of_one = 3 * 16 * MEBIBYTE + 3 * 2 * 8 * MEBIBYTE
    scale = Scale(times=3, start=START, days=73)
    assert scale.cost([MERGE, MERGE]) == Cost(2, 2 * of_one)
    assert scale.cost([MERGE, READ], is_of_a_year=True) == Cost(5 + 1, 5 * of_one + 3 * 365 * 8 * MEBIBYTE)


def test_a_cost_is_shown_with_its_price():
    assert str(Cost(1, 20 * MEBIBYTE)) == "20 MiB, under $0.01"
    assert str(Cost(1, 2.5 * 1024 * MEBIBYTE)) == "2.5 GiB, $0.02"
    assert str(Cost(1, 2 * 1024**2 * MEBIBYTE)) == "2,048 GiB, $12.50"
