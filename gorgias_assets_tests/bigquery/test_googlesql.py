"""The analyzer refuses what BigQuery refuses, and accepts what it accepts."""

import io

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client, LoadJobConfig, SchemaField

from gorgias_assets_tests.bigquery.emulator import Emulator, missing
from gorgias_assets_tests.bigquery.googlesql import refusals, sent, tables_of

COLUMNS = [
    SchemaField("id", "INTEGER"),
    SchemaField("subject", "STRING"),
    SchemaField("day", "DATE"),
    SchemaField("tags", "JSON"),
    SchemaField("created_datetime", "TIMESTAMP"),
    SchemaField("channels", "STRING", mode="REPEATED"),
]
TABLES = {"local.gorgias.tickets": COLUMNS, "local.gorgias._staging_0a1b2c3d": COLUMNS}

MERGE = """
    MERGE INTO `local.gorgias.tickets` AS target USING `local.gorgias._staging_0a1b2c3d` AS source
    ON target.id = source.id AND target.created_datetime >= TIMESTAMP '2025-03-01 00:00:00+00'
    WHEN MATCHED AND source.created_datetime >= target.created_datetime THEN UPDATE SET subject = source.subject
    WHEN NOT MATCHED THEN INSERT (id, subject) VALUES (source.id, source.subject)
"""

ACCEPTED = {
    "merge": MERGE,
    "replace": """
        MERGE `local.gorgias.tickets` AS target
        USING (SELECT * FROM `local.gorgias._staging_0a1b2c3d`) AS source ON FALSE
        WHEN NOT MATCHED BY SOURCE AND target.day = '2025-03-01' THEN DELETE
        WHEN NOT MATCHED THEN INSERT ROW
    """,
    "array of structs": """
        UPDATE `local.gorgias.tickets` AS target SET created_datetime = gone.found_at
        FROM UNNEST([STRUCT(1 AS id, TIMESTAMP '2025-03-01' AS found_at), (2, TIMESTAMP '2025-03-02')]) AS gone
        WHERE target.id = gone.id AND 'email' IN UNNEST(target.channels)
    """,
    "JSON or a text": """
        SELECT IF(x IS NULL, NULL, IFNULL(SAFE.PARSE_JSON(x, wide_number_mode => 'round'), TO_JSON(x)))
        FROM (SELECT subject AS x FROM `local.gorgias.tickets`)
    """,
    "newest of each": """
        SELECT * EXCEPT (tags) FROM `local.gorgias.tickets` WHERE TRUE
        QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY created_datetime DESC) = 1
    """,
    "transaction": f"BEGIN TRANSACTION; {MERGE}; DELETE FROM `local.gorgias.tickets` WHERE id = 1; COMMIT TRANSACTION;",
    "table": """
        CREATE TABLE IF NOT EXISTS `local.gorgias.events` (
            id INT64 NOT NULL OPTIONS (description = "It's an id"), created_datetime TIMESTAMP, context JSON
        )
        PARTITION BY DATE(created_datetime) CLUSTER BY id
        OPTIONS (description = 'Events', labels = [('source', 'gorgias')])
    """,
    "column": """
        ALTER TABLE `local.gorgias.tickets` ADD COLUMN IF NOT EXISTS score INT64 OPTIONS (description = 'A score'),
        ADD COLUMN IF NOT EXISTS via STRING
    """,
    "view": "CREATE OR REPLACE VIEW `local.gorgias.open` AS SELECT * FROM `local.gorgias.tickets`",
    "dataset": "CREATE SCHEMA IF NOT EXISTS `local.gorgias` OPTIONS (location = 'EU')",
}

REFUSED = {
    "SELECT nope FROM `local.gorgias.tickets`": "Unrecognized name: nope",
    "SELECT id FROM `local.gorgias.ticket`": "Table not found: `local.gorgias.ticket`",
    "SELECT id FROM `local.gorgias.tickets` WHERE id = '1'": "operator = for argument types: INT64, STRING",
    "SELECT id FROM `local.gorgias.tickets` WHERE subject = TIMESTAMP '2025-03-01'": "types: STRING, TIMESTAMP",
    "SELECT id FROM `local.gorgias.tickets` WHERE day = '2025-03-01 00:00:00'": 'Could not cast literal "2025-03-01',
    "SELECT id FROM `local.gorgias.tickets` WHERE tags = TO_JSON(1)": "Equality is not defined",
    "INSERT INTO `local.gorgias.tickets` (id) VALUES ('1')": "STRING which cannot be inserted into column id",
    "UPDATE `local.gorgias.tickets` SET subject = 'x'": "UPDATE must have a WHERE clause",
    "CREATE VIEW `local.gorgias.open` AS SELECT nope FROM `local.gorgias.tickets`": "Unrecognized name: nope",
    "CREATE TABLE `local.gorgias.events` (id INT64) OPTIONS (describe = 'Events')": "Unknown option: describe",
    "SELECT id FROM `local.gorgias.tickets` WHERE": "Syntax error",
}


@pytest.mark.parametrize("sql", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_it_accepts_what_bigquery_accepts(sql):
    assert refusals([sql], TABLES) == []


@pytest.mark.parametrize(("sql", "reason"), REFUSED.items())
def test_it_refuses_what_bigquery_refuses(sql, reason):
    (refusal,) = refusals([sql], TABLES)
    assert reason in refusal
    assert refusal.endswith(sql)


def test_it_names_the_one_statement_of_a_script_that_is_wrong():
    script = f"BEGIN TRANSACTION;\n{MERGE};\nSELECT nope FROM `local.gorgias.tickets`;\nCOMMIT TRANSACTION;"
    (refusal,) = refusals([script], TABLES)
    assert refusal == "Unrecognized name: nope [at 1:8]\nSELECT nope FROM `local.gorgias.tickets`;"


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_it_judges_what_an_emulator_was_sent_by_tables_that_may_be_gone():
    with (
        Emulator() as emulator,
        Client(
            emulator.project, AnonymousCredentials(), client_options={"api_endpoint": emulator.api_endpoint}
        ) as client,
    ):
        client.create_dataset("gorgias")
        for number in range(2):
            staging = f"local.gorgias._staging_{number:032x}"
            config = LoadJobConfig(schema=[SchemaField("id", "INTEGER")], source_format="NEWLINE_DELIMITED_JSON")
            client.load_table_from_file(io.BytesIO(b'{"id": 1}'), staging, job_config=config).result()
            client.query_and_wait(f"SELECT id FROM `{staging}` WHERE id IN ({number})")
            client.query_and_wait(f"SELECT id FROM `{staging}` WHERE id = {number} AND '{number} letters' != ''")
            client.delete_table(staging)
        client.query_and_wait("CREATE TABLE `local.gorgias.tickets` (id INT64, day DATE)")
        client.query_and_wait("SELECT id FROM `local.gorgias.tickets` WHERE day != '2025-03-01'")
        client.query_and_wait("SELECT id FROM `local.gorgias.tickets` WHERE day != '2025-03-01 00:00:00'")
        jobs = sorted(client.list_jobs(), key=lambda job: job.created)
        statements = sent(jobs)
        assert len(statements) == 5
        (refusal,) = refusals(statements, tables_of(client, jobs))
        assert refusal.endswith("'2025-03-01 00:00:00'")
