"""`make bench`: the time of a typical question to each view of a million parents in a DuckDB file.

Rows come through `Warehouse.merge`, as the project stores them. No two values of a column that is read are alike where
they are not in Gorgias, since DuckDB unnests values that repeat faster.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from gorgias_assets.entities import ENTITIES, VIEWS
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.view import NamedView
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets.warehouse.warehouse import Warehouse
from gorgias_assets_tests.engines import DuckDBFile

PARENTS = 1_000_000
SMALL = {"custom_fields": 40, "teams": 20, "users": 100}  # these are never many
BATCH_ROWS = 100_000
MOST_SECONDS = 2.0
TRIES = 3

# In SQL, of the row's `number`.
_SPREAD = "(number * 7 + k * 13)"
_TAG = f"""'{{"id":' || (7000 + {_SPREAD} % 300) || ',"name":"tag ' || {_SPREAD} % 300
    || '","decoration":{{"color":"#' || number || '"}}}}'"""
_VALUE = f"""'"' || (3000 + {_SPREAD} % 40) || '":{{"id":' || (3000 + {_SPREAD} % 40) || ',"value":'
    || CASE {_SPREAD} % 4 WHEN 0 THEN '' || number % 100 WHEN 1 THEN ['true', 'false'][1 + number % 2]
    WHEN 2 THEN '"note ' || number || '"' ELSE '"Shipping::Delay ' || number % 7 || '"' END || '}}'"""
_LIST = "'[' || array_to_string(list_transform(range({0}), lambda k: {1}), ',') || ']'"
_OBJECT = "'{{' || array_to_string(list_transform(range({0}), lambda k: {1}), ',') || '}}'"
_PERSON = """'{{"id":' || {0} || ',"name":"Jane ' || number || '","email":"jane' || number || '@example.com"}}'"""
_ADDRESS = """'{{"name":"{0} ' || number || '","address":"{0}' || number % {1} || '@example.com"}}'"""
_DATA = {
    "ticket-tags-added": """'{"tags_added":[' || number % 300 || ',' || number % 200 || ']}'""",
    "ticket-tags-removed": """'{"tags_removed":[' || number % 300 || ']}'""",
    "ticket-assigned": """'{"assignee_user_id":' || number % 50 || ',"auto_assigned":true}'""",
    "ticket-team-assigned": """'{"assignee_team_id":' || number % 9 || '}'""",
    "ticket-created": "NULL",
    "ticket-closed": "NULL",
    "ticket-reopened": "NULL",
    "ticket-updated": "NULL",
    "rule-executed": """'{"id":' || number % 80 || ',"name":"rule ' || number % 80 || '","type":"user","code":"if ('
        || number || ') { Action() }","triggering_event_type":"ticket-created","failed_actions":[]}'""",
}
_TYPE = f"{list(_DATA)}[1 + number % {len(_DATA)}]"

VALUES: Mapping[str, Mapping[str, str]] = {
    "tickets": {
        "tags": _LIST.format("number % 5", _TAG),
        "custom_fields": _OBJECT.format("number % 5", _VALUE),
        "customer": _PERSON.format("number // 3"),
        "assignee_user": _PERSON.format("number % 50"),
        "subject": "'Where is parcel ' || number",
    },
    "customers": {"custom_fields": _OBJECT.format("number % 3", _VALUE)},
    "ticket_messages": {
        "ticket_id": "number // 4",
        "from_agent": "number % 2 = 0",
        "sender": _PERSON.format("number % 50"),
        "source": f"""'{{"type":"email","from":' || {_ADDRESS.format("Jane", 10**9)} || ',"to":['
            || {_ADDRESS.format("help", 5)} || '],"cc":[],"extra":{{"include_thread":true}}}}'""",
        "attachments": _LIST.format(
            "number % 2",
            """'{"url":"https://uploads.example.com/' || number || '/photo.png","name":"photo ' || number
            || '.png","size":' || number || ',"content_type":"image/png","public":true,"extra":{}}'""",
        ),
        "intents": _LIST.format(
            "number % 2", """'{"name":"intent/' || number % 24 || '","rejected":null,"is_user_feedback":false}'"""
        ),
        "macros": _LIST.format("number % 2", """'{"id":' || number % 400 || '}'"""),
        "body_text": "repeat('All is well. ', 40)",
    },
    "events": {
        "type": _TYPE,
        "object_type": "'Ticket'",
        "object_id": "number // 8",
        "data": f"CASE {_TYPE} {' '.join(f'WHEN {name!r} THEN {data}' for name, data in _DATA.items())} END",
    },
    "users": {"role": """'{"name":"agent"}'"""},
    "teams": {
        "name": "'Team ' || number",
        "members": _LIST.format("10", """'{"id":' || (number + k) || ',"name":"Agent","email":"a@example.com"}'"""),
    },
    "voice_calls": {
        "summaries": _LIST.format(
            "number % 2",
            """'{"id":' || number || ',"recording_id":' || number || ',"summary":"Call ' || number
            || ' was about a parcel.","created_datetime":"2025-03-05T14:00:00"}'""",
        ),
    },
    "custom_fields": {
        "id": "3000 + number",
        "label": "'Field ' || number",
        "definition": """['{"data_type":"number"}', '{"data_type":"boolean"}', '{"data_type":"text"}',
            '{"data_type":"text","input_settings":{"input_type":"dropdown","choices":[]}}'][1 + number % 4]""",
    },
}

QUESTIONS = {
    "ticket_people": "SELECT assignee_user_id, COUNT(*), COUNT(DISTINCT customer_id) FROM {} GROUP BY 1",
    "ticket_message_people": "SELECT sender_id, COUNT(*) FROM {} WHERE from_agent GROUP BY 1",
    "user_roles": "SELECT role, COUNT(*) FROM {} GROUP BY 1",
    "ticket_tags": "SELECT tag_name, COUNT(*) FROM {} GROUP BY 1",
    "ticket_custom_fields": "SELECT level_1, level_2, COUNT(*) FROM {} WHERE label = 'Field 3' GROUP BY ALL",
    "customer_custom_fields": "SELECT label, AVG(value_number) FROM {} GROUP BY 1",
    "ticket_message_recipients": "SELECT address, COUNT(*) FROM {} WHERE kind = 'to' GROUP BY 1",
    "ticket_message_attachments": "SELECT content_type, COUNT(*), SUM(size) FROM {} GROUP BY 1",
    "ticket_message_intents": "SELECT name, COUNT(*), COUNT_IF(rejected) FROM {} GROUP BY 1",
    "ticket_message_macros": "SELECT macro_id, COUNT(*) FROM {} GROUP BY 1",
    "ticket_tag_changes": "SELECT date_trunc('month', created_datetime), tag_id, change, COUNT(*) FROM {} GROUP BY ALL",
    "ticket_assignments": "SELECT assignee_user_id, COUNT(DISTINCT ticket_id) FROM {} GROUP BY 1",
    "ticket_status_changes": "SELECT created_datetime::DATE, COUNT(*) FROM {} WHERE change = 'reopened' GROUP BY 1",
    "rule_executions": "SELECT rule_name, COUNT(*), SUM(failed_actions) FROM {} GROUP BY 1",
    "team_members": "SELECT user_id, COUNT(*) FROM {} GROUP BY 1",
    "voice_call_summaries": "SELECT call_created_datetime::DATE, COUNT(*), MAX(summary) FROM {} GROUP BY 1",
}


def batches(entity: Entity, rows: int) -> Iterator[pa.Table]:
    """Yield rows of a year, in the order of their creation."""
    declared = {column.name: "NULL" for column in entity.columns} | {"id": "number"}
    if "created_datetime" in declared:
        declared["created_datetime"] = f"TIMESTAMPTZ '2025-01-01' + to_seconds(number * 31536000 // {rows})"
    values = declared | VALUES[entity.name] | {"_extracted_at": "TIMESTAMPTZ '2026-01-02'", IS_TOUCHED: "TRUE"}
    selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for begin in range(0, rows, BATCH_ROWS):
            numbers = f"range({begin}, {min(rows, begin + BATCH_ROWS)}) AS numbers(number)"
            yield connection.sql(f"SELECT {selected} FROM {numbers}").to_arrow_table()


def fill(warehouse: Warehouse, parents: int) -> None:
    for entity in ENTITIES:
        if entity.name in VALUES:
            for batch in batches(entity, SMALL.get(entity.name, parents)):
                warehouse.merge(Table("gorgias", entity.name), entity.columns, batch)
    warehouse.keep_views("gorgias", [NamedView(view, {}).stored_in("gorgias") for view in VIEWS])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parents", type=int, default=PARENTS)
    chosen = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.duckdb"
        fill(DuckDBFile(file).warehouse(), chosen.parents)
        with duckdb.connect(str(file), read_only=True) as connection:
            print(f"{'view':>28}{'parents':>12}{'rows':>12}{'seconds':>9}  question")
            for view in VIEWS:
                name, question = f"gorgias.{view.name}", QUESTIONS[view.name]
                seconds = min(timed(connection, question.format(name)) for _ in range(TRIES))
                ((rows,),) = connection.execute(f"SELECT COUNT(*) FROM {name}").fetchall()
                parents = SMALL.get(view.parent, chosen.parents)
                print(f"{view.name:>28}{parents:>12,}{rows:>12,}{seconds:>9.2f}  {question.format(view.name)}")
                slow += [view.name] * (seconds > MOST_SECONDS)
    return print(f"slower than {MOST_SECONDS:g} s: {', '.join(slow)}") or 1 if slow else 0


def timed(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    started = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
