"""The emulator's corrections hold, and no server outlives the tests that started it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from gorgias_assets_tests.bigquery.emulator import Emulator, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

START_ONE = """
from gorgias_assets_tests.bigquery.emulator import Emulator

with Emulator() as emulator:
    print(emulator.process_id, flush=True)
    input()
"""


def test_it_merges_safely_parsed_json_within_a_transaction():
    with Emulator() as emulator:
        client = bigquery.Client(
            emulator.project, AnonymousCredentials(), client_options={"api_endpoint": emulator.api_endpoint}
        )
        with client:
            client.create_dataset("shop")
            client.query_and_wait("CREATE TABLE shop.tickets (id INT64, tags JSON)")
            client.query_and_wait("""
                BEGIN TRANSACTION;
                MERGE shop.tickets AS target
                USING (SELECT 1 AS id, '["a"]' AS tags UNION ALL SELECT 2, '[') AS source ON target.id = source.id
                WHEN NOT MATCHED THEN INSERT (id, tags)
                VALUES (id, SAFE.PARSE_JSON(source.tags, wide_number_mode => 'round'));
                COMMIT TRANSACTION;
            """)
            rows = client.query_and_wait("SELECT id, tags FROM shop.tickets ORDER BY id")
            assert [tuple(row) for row in rows] == [(1, ["a"]), (2, None)]


def test_it_ends_when_whoever_started_it_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", START_ONE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(tmp_path)},  # keeps the data that nobody removes
    ) as starter:
        assert starter.stdout is not None
        process_id = int(starter.stdout.readline())
        os.kill(process_id, 0)
        starter.kill()
    for _ in range(600):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the emulator is still there a minute later")
