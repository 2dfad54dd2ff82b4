"""The recorder keeps what is sent to the emulator, with the tables as they were before."""

from datetime import date

from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from gorgias_assets_tests.bigquery.recorder import Recorder

TICKETS = "`local.gorgias.tickets`"


def test_a_statement_is_kept_with_the_rows_that_it_found(bigquery):
    bigquery.execute(
        "CREATE SCHEMA `local.gorgias`",
        f"CREATE TABLE {TICKETS} (subject STRING, created_at TIMESTAMP) PARTITION BY DATE(created_at)",
        f"INSERT INTO {TICKETS} (subject, created_at) VALUES ('abcd', TIMESTAMP '2025-03-01'), (NULL, NULL)",
    )
    insert = f"INSERT INTO {TICKETS} (created_at) VALUES (TIMESTAMP '2025-03-01 09:00:00')"
    count = f"SELECT COUNT(*) FROM {TICKETS}"
    with Recorder(bigquery.emulator) as recorder:
        endpoint = {"api_endpoint": recorder.api_endpoint}
        with Client("local", AnonymousCredentials(), client_options=endpoint) as client:
            client.query(insert).result()
            assert [tuple(row) for row in client.query_and_wait(count)] == [(3,)]
        inserted, counted = recorder.taken()
        assert recorder.taken() == []
    assert [inserted.text, counted.text] == [insert, count]
    before, after = inserted.tables["local.gorgias.tickets"], counted.tables["local.gorgias.tickets"]
    assert before.rows == {date(2025, 3, 1): 1, None: 1}
    assert after.rows == {date(2025, 3, 1): 2, None: 1}
    assert before.partitioned_by == "created_at"
    assert before.bytes_of == {"subject": (2 + 4) / 2, "created_at": 8 / 2}
