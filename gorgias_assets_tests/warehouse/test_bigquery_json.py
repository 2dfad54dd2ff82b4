"""JSON in BigQuery: only what its JSON cannot hold becomes text, and what is beside it stays what it is."""

import json

import pyarrow as pa
import pytest

from gorgias_assets.warehouse.bigquery.types import storable_json
from gorgias_assets_tests.warehouse.test_warehouse import FIRST, letter, merge, read_at

WIDE = "12345678901234567890123"


def storable(text: str | None) -> str | None:
    return storable_json(pa.table({"data": pa.array([text, "{}"], pa.string())}), ["data"])["data"].to_pylist()[0]


def levels(number: int, inner: str = "1") -> str:
    return "[" * number + inner + "]" * number


@pytest.mark.parametrize(
    ("text", "stored"),
    {
        "an integer": (f'{{"order":7,"phone":{WIDE}}}', {"order": 7, "phone": WIDE}),
        "a negative one": (f'{{"order":7,"phone":-{WIDE}}}', {"order": 7, "phone": f"-{WIDE}"}),
        "in arrays and objects": (f'[1,{{"a":[{WIDE},2.5]}}]', [1, {"a": [WIDE, 2.5]}]),
        "alone": (WIDE, WIDE),
        "5,000 digits": (f'{{"order":7,"x":{"9" * 5000}}}', {"order": 7, "x": "9" * 5000}),
        "beyond a double": ('{"order":7,"x":1e400,"y":-1E+999}', {"order": 7, "x": "1e400", "y": "-1E+999"}),
        "an endless exponent": ('{"x":1e99999999999999999999,"y":1}', {"x": "1e99999999999999999999", "y": 1}),
        "digits of a fraction": ('{"x":0.1234567890123456789,"y":0.5}', {"x": "0.1234567890123456789", "y": 0.5}),
        "no numbers": ('{"x":NaN,"y":[-Infinity],"z":1}', {"x": "NaN", "y": ["-Infinity"], "z": 1}),
        "two of a name": (f'{{"a":1,"a":2,"x":{WIDE}}}', {"a": 2, "x": WIDE}),
    }.values(),
)  # fmt: skip
def test_a_number_that_json_of_bigquery_cannot_hold_alone_becomes_text(text, stored):
    found = storable(text)
    assert found is not None
    assert json.loads(found, parse_constant=pytest.fail) == stored


@pytest.mark.parametrize(
    "text",
    [
        None,
        "null",
        f'"{WIDE}"',
        '{"x":18446744073709551615,"y":-9223372036854775808}',
        '{"x":1e22,"y":5e-324,"z":1.7976931348623157e+308, "s":"a1e999 NaN"}',
        '{"x":0.818739159369892}',
        levels(500),
        f'{{"many":[{",".join(["{}"] * 600)}]}}',
        f'no JSON {{{WIDE}',
    ],
)  # fmt: skip
def test_json_that_bigquery_holds_is_left_as_it_is(text):
    assert storable(text) == text


@pytest.mark.parametrize("deeper", [1, 100])
def test_what_is_nested_beyond_500_levels_alone_becomes_text(deeper):
    found = storable(f'{{"order":7,"deep":{levels(499 + deeper, WIDE)}}}')
    assert found is not None
    value = json.loads(found)
    assert value["order"] == 7
    inner, depth = value["deep"], 1
    while isinstance(inner, list):
        (inner,), depth = inner, depth + 1
    assert (depth, inner) == (500, levels(deeper, f'"{WIDE}"'))


def test_json_that_is_nested_deeper_than_python_reads_becomes_text_as_a_whole():
    text = levels(100_000)
    assert json.loads(storable(text) or "") == text


def test_the_fields_beside_a_wide_number_can_be_read_in_bigquery(bigquery):
    merge(bigquery, read_at(FIRST, letter(1, data={"order": 7, "phones": [{"phone": int(WIDE)}]})))
    found = bigquery.query(
        "SELECT JSON_TYPE(data), JSON_VALUE(data, '$.order'), JSON_VALUE(data, '$.phones[0].phone') FROM post.letters"
    )
    assert found == [("object", "7", WIDE)]
