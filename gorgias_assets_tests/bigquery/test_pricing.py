"""The reckoning of bytes billed agrees with a calculation by hand, by Google's rules."""

from datetime import date

import pytest
from google.cloud.bigquery import SchemaField

from gorgias_assets_tests.bigquery.pricing import MEBIBYTE, Stored, billed, bytes_in_sql

FIELDS = [
    SchemaField("id", "INTEGER"),
    SchemaField("created_datetime", "TIMESTAMP"),
    SchemaField("subject", "STRING"),
    SchemaField("tags", "JSON"),
]
BYTES = {"id": 8, "created_datetime": 8, "subject": 30, "tags": 54}
MILLION = MEBIBYTE  # rows, so that bytes of a row are mebibytes of a day
DAYS = {date(2025, 2, 28): MILLION, date(2025, 3, 1): MILLION, date(2025, 3, 2): MILLION, None: MILLION}
TABLES = {
    "local.gorgias.tickets": Stored(FIELDS, BYTES, DAYS, partitioned_by="created_datetime"),
    "local.gorgias._staging_1": Stored(FIELDS, BYTES, {None: 100}),
    "local.gorgias._positions": Stored([SchemaField("position", "STRING")], {"position": 100}, {None: 4}),
    "local.gorgias.notes": Stored([SchemaField("note", "STRING")], {"note": 2.5}, {None: 10 * MILLION}),
}
TICKETS, STAGING, POSITIONS = "`local.gorgias.tickets`", "`local.gorgias._staging_1`", "`local.gorgias._positions`"
FIRST_OF_MARCH = "created_datetime >= TIMESTAMP '2025-03-01 00:00:00+00' AND created_datetime < TIMESTAMP '2025-03-02'"
MERGE = f"MERGE INTO {TICKETS} AS target USING {STAGING} AS source ON target.id = source.id"
INSERT = "WHEN NOT MATCHED THEN INSERT (id, subject) VALUES (source.id, source.subject)"

# In MiB: bytes of the read columns times the read days, and what is changed; 10 for a small table.
CASES = {
    "columns": (f"SELECT id, subject FROM {TICKETS}", 4 * (8 + 30)),
    "all columns": (f"SELECT * FROM {TICKETS}", 4 * 100),
    "columns of a condition": (f"SELECT id FROM {TICKETS} WHERE subject != ''", 4 * (8 + 30)),
    "a count": (f"SELECT COUNT(*) FROM {TICKETS}", 10),
    "a small table": (f"SELECT * FROM {POSITIONS}", 10),
    "two tables": (f"SELECT id FROM {TICKETS} CROSS JOIN {POSITIONS}", 4 * 8 + 10),
    "a table twice": (f"SELECT one.id FROM {TICKETS} AS one JOIN {TICKETS} AS other ON one.id = other.id", 4 * 8),
    "rounded up": ("SELECT note FROM `local.gorgias.notes` UNION ALL SELECT note FROM `local.gorgias.notes`", 25),
    "no table": ("SELECT 1", 10),
    "one day": (f"SELECT id FROM {TICKETS} WHERE {FIRST_OF_MARCH}", 8 + 8),
    "one day of a subquery": (
        f"SELECT id FROM (SELECT id, created_datetime FROM {TICKETS}) WHERE {FIRST_OF_MARCH}",
        8 + 8,
    ),
    "one day or none": (f"SELECT tags FROM {TICKETS} WHERE created_datetime IS NULL OR {FIRST_OF_MARCH}", 2 * (8 + 54)),
    "from a day on": (f"SELECT id FROM {TICKETS} WHERE TIMESTAMP '2025-03-01 09:00:00' < created_datetime", 2 * 16),
    "up to a day": (f"SELECT id FROM {TICKETS} WHERE created_datetime < TIMESTAMP '2025-03-01'", 8 + 8),
    "up to a moment": (f"SELECT id FROM {TICKETS} WHERE created_datetime <= TIMESTAMP '2025-03-01'", 2 * 16),
    "between": (
        f"SELECT id FROM {TICKETS} WHERE created_datetime BETWEEN TIMESTAMP '2025-03-01' AND TIMESTAMP '2025-03-02'",
        2 * 16,
    ),
    "a day or anything": (f"SELECT id FROM {TICKETS} WHERE ({FIRST_OF_MARCH}) OR id = 1", 4 * 16),
    "a day and anything": (f"SELECT id FROM {TICKETS} WHERE {FIRST_OF_MARCH} AND subject = ''", 8 + 8 + 30),
    "a day that a query finds": (
        f"SELECT id FROM {TICKETS} WHERE created_datetime = (SELECT MAX(created_datetime) FROM {TICKETS})",
        4 * 16,
    ),
    "no rows of a relation without any": (
        f"SELECT id FROM {TICKETS} UNION ALL SELECT id FROM (SELECT 1 AS id) WHERE FALSE",
        4 * 8,
    ),
    "a merge that only inserts": (f"{MERGE} {INSERT}", 4 * 8 + 10),
    "a merge": (f"{MERGE} WHEN MATCHED THEN UPDATE SET subject = source.subject {INSERT}", 4 * 8 + 4 * 100 + 10),
    "a merge into a day": (
        f"{MERGE} AND target.{FIRST_OF_MARCH.replace('AND ', 'AND target.')} "
        f"WHEN MATCHED THEN UPDATE SET subject = source.subject {INSERT}",
        16 + 100 + 10,
    ),
    "a day replaced": (
        f"MERGE INTO {TICKETS} AS target USING {STAGING} AS source ON FALSE "
        f"WHEN NOT MATCHED BY SOURCE AND {FIRST_OF_MARCH.replace('created', 'target.created')} THEN DELETE {INSERT}",
        8 + 100 + 10,
    ),
    "an update": (f"UPDATE {TICKETS} SET subject = '' WHERE id = 1", 4 * 8 + 4 * 100),
    "an update of a day": (f"UPDATE {TICKETS} SET subject = '' WHERE id = 1 AND {FIRST_OF_MARCH}", 16 + 100),
    "a deletion": (f"DELETE FROM {TICKETS} WHERE {FIRST_OF_MARCH}", 8 + 100),
    "values inserted": (f"INSERT INTO {TICKETS} (id) VALUES (1)", 10),
    "rows inserted": (f"INSERT INTO {POSITIONS} (position) SELECT subject FROM {TICKETS}", 4 * 30),
    "a view": (f"CREATE OR REPLACE VIEW `local.gorgias.open` AS SELECT * FROM {TICKETS}", 0),
    "two statements": (f"SELECT id FROM {TICKETS}; SELECT tags FROM {TICKETS}", 4 * 8 + 4 * 54),
}


@pytest.mark.parametrize(("sql", "mebibytes"), CASES.values(), ids=CASES.keys())
def test_a_statement_is_billed_as_calculated_by_hand(sql, mebibytes):
    assert billed(sql, TABLES) == mebibytes * MEBIBYTE


def test_values_have_the_sizes_that_google_documents(bigquery):
    bigquery.execute(
        "CREATE SCHEMA `local.gorgias`",
        "CREATE TABLE `local.gorgias.tickets` "
        "(id INT64, spam BOOL, score FLOAT64, at TIMESTAMP, name STRING, tags JSON)",
        "INSERT INTO `local.gorgias.tickets` (id, spam, score, at, name, tags) "
        "VALUES (7, TRUE, 0.5, TIMESTAMP '2025-03-01', 'Größe', JSON '{\"a\": [\"ß\", null]}')",
        "INSERT INTO `local.gorgias.tickets` (id) VALUES (8)",
    )
    sizes = [bytes_in_sql(column) for column in bigquery.table("gorgias", "tickets").schema]
    (measured,) = bigquery.query(f"SELECT {', '.join(sizes)} FROM `local.gorgias.tickets`")
    assert measured == (2 * 8, 1, 8, 8, 2 + 7, len('{"a":["ß",null]}'.encode()))
