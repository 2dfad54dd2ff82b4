"""JSON values to typed columns: values that fit are typed, others are kept in `_extra`, and nothing is lost."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from logging import getLogger
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorgias_assets.api.parsing import loads
from gorgias_assets.columns import Column, Kind
from gorgias_assets.entities import CORE
from gorgias_assets.entities.model import Entity, Whole
from gorgias_assets.loading import load
from gorgias_assets.sweeps.rows import Row, TypedRows, parse_datetime, type_rows
from gorgias_assets.sweeps.snapshot import Snapshot
from gorgias_assets.warehouse.tables import IS_TOUCHED, Table
from gorgias_assets_tests.api.test_client import client_at, http_response, serving
from gorgias_assets_tests.engines import DuckDBFile, Engine, on_each_warehouse_in_time

READ_AT = datetime(2026, 8, 26, 18, 36, 51, 461517, tzinfo=UTC)
COLUMNS = (
    Column("id", Kind.INTEGER, "Id."),
    Column("flag", Kind.BOOLEAN, "A boolean."),
    Column("text", Kind.STRING, "A string."),
    Column("at", Kind.DATETIME, "A datetime."),
    Column("data", Kind.JSON, "JSON."),
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["2026-08-26T18:36:51.461517+00:00", "2026-08-26T18:36:51Z", "0001-01-01T00:00:00+14:00", ""]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=5,
)


def typed(*rows: Row) -> TypedRows:
    return type_rows(rows, COLUMNS, READ_AT)


def only(row: Row) -> Row:
    """Return the only row, as it came out."""
    (out,) = typed(row).table.to_pylist()
    return dict(out)


def extra(row: Row) -> Any:
    text = only(row)["_extra"]
    return None if text is None else json.loads(text)


def exactly(value: object) -> str:
    """Return a text that is equal for the same JSON value only: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-26T18:36:51.461517+00:00", datetime(2026, 8, 26, 18, 36, 51, 461517, tzinfo=UTC)),
        ("2026-08-26T12:30:00+00:00", datetime(2026, 8, 26, 12, 30, tzinfo=UTC)),
        ("2026-08-26T12:30:00.018000+00:00", datetime(2026, 8, 26, 12, 30, 0, 18000, tzinfo=UTC)),
        ("2026-08-26T12:30:00.018", datetime(2026, 8, 26, 12, 30, 0, 18000, tzinfo=UTC)),
        ("2026-08-26T12:30:00", datetime(2026, 8, 26, 12, 30, tzinfo=UTC)),
        ("2026-08-26 12:30:00", datetime(2026, 8, 26, 12, 30, tzinfo=UTC)),
        ("2026-08-26T12:30:00Z", datetime(2026, 8, 26, 12, 30, tzinfo=UTC)),
        ("2026-08-26T12:30:00.5+05:30", datetime(2026, 8, 26, 7, 0, 0, 500000, tzinfo=UTC)),
        ("2026-08-26T23:30:00-04:00", datetime(2026, 8, 27, 3, 30, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_datetime_is_read_as_utc_in_every_form_gorgias_writes(text: str, expected: datetime) -> None:
    moment = parse_datetime(text)
    assert moment == expected
    assert moment.utcoffset() == timedelta(0)
    assert only({"id": 1, "at": text})["at"] == expected
    assert extra({"id": 1, "at": text}) is None


@pytest.mark.parametrize("digits", [7, 9, 12, 30])
@pytest.mark.parametrize("sign", [".", ","])
@pytest.mark.parametrize("offset", ["", "Z", "z", "+00:00", "+0000", " UTC"])
def test_a_fraction_of_more_than_six_digits_is_cut_to_microseconds(digits: int, sign: str, offset: str) -> None:
    text = f"2026-08-26T18:36:51{sign}{'461517' + '9' * (digits - 6)}{offset}"
    assert only({"id": 1, "at": text})["at"] == READ_AT
    assert extra({"id": 1, "at": text}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-26t12:30:00z", "2026-08-26T12:30:00Z"),
        ("  2026-08-26T12:30:00Z\n", "2026-08-26T12:30:00Z"),
        ("2026-08-26 12:30:00 +0200", "2026-08-26T10:30:00Z"),
        ("2026-08-26 12:30:00 UTC", "2026-08-26T12:30:00Z"),
        ("2026-08-26 12:30:00GMT", "2026-08-26T12:30:00Z"),
        ("2026-08-26T12:30", "2026-08-26T12:30:00Z"),
        ("2026-08-26T12", "2026-08-26T12:00:00Z"),
        ("20260826T123000Z", "2026-08-26T12:30:00Z"),
        ("2026-W35-3T12:30", "2026-08-26T12:30:00Z"),
        ("2026-08-26", "2026-08-26T00:00:00Z"),
        ("2026-08-26T12:30:00+05:30:15", "2026-08-26T06:59:45Z"),
        ("2026-08-26T12:30:00\u221205:00", "2026-08-26T17:30:00Z"),
        ("2026-08-26T24:00:00", "2026-08-27T00:00:00Z"),
        ("2026-08-26T24:00", "2026-08-27T00:00:00Z"),
        ("2026-12-31T24:00:00.000+02:00", "2026-12-31T22:00:00Z"),
        ("2026-08-26T12:30:00.1234567+02:00", "2026-08-26T10:30:00.123456Z"),
    ],
)
def test_a_datetime_that_can_mean_one_moment_only_is_read_as_that(text: str, expected: str) -> None:
    assert only({"id": 1, "at": text})["at"] == datetime.fromisoformat(expected)
    assert extra({"id": 1, "at": text}) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "soon",
            "2026-13-01T00:00:00",
            "2026-08-26T24:30:00",
            "2026-08-26T24:00:01",
            "1787769411",
            "2026-08",
        ),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T24:00:00", "9999-12-31T23:00:00-02:00", "0000-01-01T00:00:00"),
        *("10000-01-01T00:00:00", "2026-08-26T23:59:60Z", "2026-08-26T12:30:00+24:00", "2026-08-26T12:30:00.", "Z"),
        *("2026-02-29", "Wed, 26 Aug 2026 18:36:51 GMT", "26/08/2026", "2026-08-26T12:30:00 CEST", "\x00", "9" * 5000),
        f"2026{' ' * 100_000}Z",
    ],
)
def test_what_is_no_datetime_raises_a_value_error_and_is_kept_in_extra(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is datetime's own
        parse_datetime(text)
    assert only({"id": 1, "at": text})["at"] is None
    assert extra({"id": 1, "at": text}) == {"at": text}


def test_a_field_that_is_null_or_missing_is_null_and_nothing_extra() -> None:
    nulls: Row = dict.fromkeys([column.name for column in COLUMNS])
    assert typed({}, nulls).table.to_pylist() == [
        nulls | {"_extracted_at": READ_AT, "_deleted_at": None, "_merged_into": None, "_extra": None} for _ in range(2)
    ]


def test_a_row_knows_when_it_was_read_and_is_alive() -> None:
    row = only({"id": 1})
    assert (row["_extracted_at"], row["_deleted_at"]) == (READ_AT, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", True),
        ("id", 1.0),
        ("id", "1"),
        ("id", 2**63),
        ("id", -(2**63) - 1),
        ("id", []),
        ("flag", 0),
        ("flag", "true"),
        ("text", 5),
        ("text", False),
        ("text", {"error": "Mailbox unavailable"}),
        ("at", 1787769411),
        ("at", {"$date": 0}),
        ("at", True),
    ],
)
def test_a_value_of_another_type_is_kept_in_extra_and_its_column_is_null(field: str, value: object) -> None:
    row = {"id": 7, field: value}
    assert only(row)[field] is None
    assert exactly(extra(row)) == exactly({field: value})


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_an_integer_of_64_bits_keeps_every_digit_beside_nulls_and_misfits(number: int) -> None:
    table = typed({"id": number}, {"id": None}, {"id": "x"}, {}).table
    assert table["id"].to_pylist() == [number, None, None, None]
    assert table["id"].type == pa.int64()


def test_one_misfit_moves_neither_its_neighbours_nor_its_other_fields() -> None:
    at = "2026-08-26T18:36:51.461517+00:00"
    out = typed(
        {"id": 1, "at": at, "text": "a", "flag": True, "data": [1]},
        {"id": 2, "at": "soon", "text": 5, "flag": "no", "data": {"b": 2}},
        {"id": 3, "at": None, "text": "c", "flag": False, "data": 3},
    )
    table = out.table
    assert table["id"].to_pylist() == [1, 2, 3]
    assert table["at"].to_pylist() == [READ_AT, None, None]
    assert table["text"].to_pylist() == ["a", None, "c"]
    assert table["flag"].to_pylist() == [True, None, False]
    assert [json.loads(text) for text in table["data"].to_pylist()] == [[1], {"b": 2}, 3]
    assert [text and json.loads(text) for text in table["_extra"].to_pylist()] == [
        None,
        {"at": "soon", "text": 5, "flag": "no"},
        None,
    ]
    assert out.extra_fields == Counter(at=1, text=1, flag=1)


def test_unknown_fields_are_kept_in_extra_and_counted_even_when_null() -> None:
    out = typed({"id": 1, "sentiment": {"score": 0.5}, "mood": None}, {"id": 2}, {"id": 3, "mood": "glad"})
    assert [text and json.loads(text) for text in out.table["_extra"].to_pylist()] == [
        {"sentiment": {"score": 0.5}, "mood": None},
        None,
        {"mood": "glad"},
    ]
    assert out.extra_fields == Counter(sentiment=1, mood=2)


def test_a_field_with_the_name_of_a_column_of_this_project_does_not_replace_it() -> None:
    row = {"id": 1, "_extracted_at": "x", "_deleted_at": "2020-01-01T00:00:00", "_extra": {"a": 1}}
    out = only(row)
    assert (out["_extracted_at"], out["_deleted_at"]) == (READ_AT, None)
    assert json.loads(out["_extra"]) == {name: row[name] for name in ("_extracted_at", "_deleted_at", "_extra")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "👩‍👩‍👧 Größe 38½ 日本",
        "\"quoted\" 'and' \\ back",
        "a\x00b",
        "line\r\nline\u2028",
        "ﷺ" * 350_000,
        "x" * 2**20,
    ],
    ids=["empty", "space", "emoji", "quotes", "nul", "lines", "1 MB of three-byte letters", "1 MB"],
)
def test_a_text_comes_through_as_it_is(text: str) -> None:
    row = only({"id": 1, "text": text, "data": {text: [text]}, "unknown": text})
    assert row["text"] == text
    assert json.loads(row["data"]) == {text: [text]}
    assert json.loads(row["_extra"]) == {"unknown": text}


@pytest.mark.parametrize("value", [{}, [], {"a": {"b": [1, None, {"c": "é"}]}}, False, 0, "", "text", 2**64 - 1, 1e300])
def test_nested_json_round_trips(value: object) -> None:
    assert exactly(json.loads(only({"id": 1, "data": value})["data"])) == exactly(value)


@pytest.mark.parametrize("field", ["text", "data", "at", "unknown"])
def test_a_lone_surrogate_costs_neither_the_row_nor_its_neighbours(field: str) -> None:
    table = typed({"id": 1}, {"id": 2, field: "cut \ud83d", "flag": True}, {"id": 3}).table
    assert table["id"].to_pylist() == [1, 2, 3]
    assert table["flag"].to_pylist() == [None, True, None]
    assert "cut" in str(table.slice(1, 1).to_pylist())


ODD = {
    "NaN": (b"NaN", "NaN"),
    "-Infinity": (b"-Infinity", "-Infinity"),
    "1e400": (b"1e400", "1e400"),
    "1e-400": (b"1e-400", "1e-400"),
    "digits": (b"0.12345678901234567890123", "0.12345678901234567890123"),
    "4,301 digits": (b"9" * 4301, "9" * 4301),
    "1,000 levels": (b"[" * 1000 + b"]" * 1000, "[" * 1000 + "]" * 1000),
    "10,000 levels": (b"[" * 10_000 + b"]" * 10_000, "[" * 10_000 + "]" * 10_000),
}


@pytest.mark.parametrize(("odd", "text"), ODD.values(), ids=ODD.keys())
def test_a_value_that_json_cannot_hold_is_text_inside_a_json_column_and_in_extra_elsewhere(
    odd: bytes, text: str
) -> None:
    """The row's other fields, and the other rows, are as they are without it."""
    usual = b'{"id": 1, "flag": true, "text": "a", "data": {"b": [1.5]}}'
    odd_row = b'{"id": 2, "flag": %s, "text": %s, "at": %s, "data": %s, "unknown": %s}' % ((odd,) * 5)
    out = typed(*loads(b"[" + usual + b"," + odd_row + b"," + usual + b"]"))
    first, second, third = out.table.to_pylist()
    assert first == third == only(json.loads(usual))
    assert (second["id"], second["flag"], second["text"], second["at"]) == (2, None, None, None)
    assert json.loads(second["data"]) == text
    assert json.loads(second["_extra"]) == dict.fromkeys(["flag", "text", "at", "unknown"], text)
    assert out.extra_fields == Counter(flag=1, text=1, at=1, unknown=1, data=1)


def test_only_the_odd_leaf_of_a_json_column_becomes_text() -> None:
    (row,) = loads(b'[{"id": 1, "data": {"a": [1, NaN, {"b": "caf\xe9"}], "c": 340434188193726041712}}]')
    out = typed(row)
    assert json.loads(out.table["data"][0].as_py()) == {"a": [1, "NaN", {"b": r"caf\xe9"}], "c": 340434188193726041712}
    assert out.extra_fields == Counter(data=1)


@pytest.mark.parametrize(
    ("string", "kept"),
    [(b"caf\xe9", r"caf\xe9"), (rb"cut \ud83d", r"cut \ud83d"), (b"a\x01b", "a\x01b"), (rb"C:\Users", r"C:\Users")],
    ids=["stray byte", "half a pair", "control character", "unknown escape"],
)
def test_a_string_that_json_does_not_allow_stays_in_its_column_and_is_counted(string: bytes, kept: str) -> None:
    out = typed(*loads(b'[{"id": 1, "text": "a"}, {"id": 2, "text": "%s", "at": "%s"}]' % (string, string)))
    assert out.table["text"].to_pylist() == ["a", kept]
    assert json.loads(out.table["_extra"][1].as_py()) == {"at": kept}
    assert out.extra_fields == Counter(text=1, at=1)


def test_the_name_of_a_field_may_be_odd_and_long() -> None:
    name = b"n" * 100_000
    (row,) = loads(b'[{"id": 1, "caf\xe9": 1, "\\ud83d": 2, "%s": 3, "data": {"\xe9": 4}}]' % name)
    out = typed(row)
    assert json.loads(out.table["_extra"][0].as_py()) == {r"caf\xe9": 1, r"\ud83d": 2, name.decode(): 3}
    assert json.loads(out.table["data"][0].as_py()) == {r"\xe9": 4}
    assert out.extra_fields.keys() == {r"caf\xe9", r"\ud83d", name.decode(), "data"}


def test_of_an_integer_column_nothing_becomes_null_without_a_word() -> None:
    (row,) = loads(b'[{"id": 1.0, "flag": 12345678901234567890.5, "at": 1e2, "text": 9223372036854775808}]')
    assert exactly(extra(row)) == exactly({"at": 100.0, "flag": "12345678901234567890.5", "id": 1.0, "text": 2**63})


def test_a_page_with_an_odd_value_is_loaded_by_one_call_and_the_log_names_its_field(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entity = Entity("tags", "/tags", "One row per tag.", Whole(), COLUMNS)
    page = b'{"data": [{"id": 1}, {"id": 2, "data": NaN}, {"id": 3, "text": "%s"}], "meta": {"next_cursor": null}}'
    engine = DuckDBFile(tmp_path / "warehouse.duckdb")
    with serving(http_response(page % b"caf\xe9")) as (api_url, received), client_at(api_url) as client:
        load(Snapshot(entity, lambda: client), engine.warehouse(), Table("shop", "tags"), getLogger("load"))
    assert len(received) == 1
    assert engine.query("SELECT id, text, data FROM shop.tags ORDER BY id") == [
        (1, None, None),
        (2, None, '"NaN"'),
        (3, r"caf\xe9", None),
    ]
    assert "or as text in their own column: data (1 rows), text (1 rows)." in caplog.text


@on_each_warehouse_in_time
def test_every_odd_value_of_a_page_is_stored_by_a_warehouse_that_can_query_it(engine: Engine) -> None:
    """Rows that are merged together fail together if the warehouse cannot hold one of them."""
    odd = [odd for odd, _ in ODD.values()] + [b'"caf\xe9"', rb'"\ud83d"', b'"a\x00\x01b"', b"[" * 250 + b"]" * 250]
    odd += [b'{"x": 340434188193726041712}', b"5"]
    rows = loads(
        b"[" + b",".join(b'{"id": %d, "data": %s, "unknown": %s}' % (i, v, v) for i, v in enumerate(odd)) + b"]"
    )
    table = typed(*rows).table
    table = table.append_column(IS_TOUCHED, pa.repeat(True, len(rows)))
    merged = engine.warehouse().merge(Table("shop", "odd"), COLUMNS, table)
    assert merged.new == len(odd)
    stored = engine.query("SELECT data, _extra FROM shop.odd ORDER BY id")
    assert [engine.json(extra)["unknown"] for _, extra in stored] == [engine.json(data) for data, _ in stored]
    as_text = [text for _, text in ODD.values()]
    assert [engine.json(data) for data, _ in stored[: len(ODD)]] == as_text


@pytest.mark.parametrize("field", ["id", "data", "unknown"])
def test_an_integer_of_more_than_64_bits_is_kept_with_every_digit(field: str) -> None:
    assert str(10**21 + 7) in str(only({"id": 1, field: 10**21 + 7}))


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("field", ["text", "data", "unknown"])
def test_json_nested_as_deep_as_it_can_be_read_is_kept(field: str) -> None:
    assert "bottom" in str(only({"id": 1, field: nested(400)}))


def test_no_rows_make_an_empty_table_of_the_same_schema() -> None:
    out = typed()
    assert out.table.num_rows == 0
    assert out.table.schema == typed({"id": 1, "text": 5, "new": 1}).table.schema
    assert not out.extra_fields


def test_the_schema_is_the_declared_columns_and_then_the_added_ones() -> None:
    moment = pa.timestamp("us", tz="UTC")
    assert typed({}).table.schema == pa.schema(
        [
            ("id", pa.int64()),
            ("flag", pa.bool_()),
            ("text", pa.string()),
            ("at", moment),
            ("data", pa.string()),
            ("_extracted_at", moment),
            ("_deleted_at", moment),
            ("_merged_into", pa.int64()),
            ("_extra", pa.string()),
        ]
    )


def rows_of(entity: Entity) -> st.SearchStrategy[list[Row]]:
    names = st.sampled_from([column.name for column in entity.columns]) | st.text(max_size=5)
    return st.lists(st.dictionaries(names, JSON_VALUES, max_size=8), max_size=4)


@pytest.mark.parametrize("entity", CORE, ids=lambda entity: entity.name)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_value_of_every_row_is_found_again_in_its_column_or_in_extra(entity: Entity, data: st.DataObject) -> None:
    rows = data.draw(rows_of(entity))
    kinds = {column.name: column.kind for column in entity.columns}
    out = type_rows(rows, entity.columns, READ_AT)
    assert out.table.num_rows == len(rows)
    kept_in_extra: Counter[str] = Counter()
    for row, columns in zip(rows, out.table.to_pylist(), strict=True):
        extras = json.loads(columns["_extra"] or "{}")
        kept_in_extra.update(extras.keys())
        for name, value in row.items():
            if name in extras:
                assert exactly(extras[name]) == exactly(value)
                assert name not in kinds or columns[name] is None
            elif value is None:
                assert columns[name] is None
            elif kinds[name] is Kind.DATETIME:
                moment = datetime.fromisoformat(value)
                assert columns[name] == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            elif kinds[name] is Kind.JSON:
                assert exactly(json.loads(columns[name])) == exactly(value)
            else:
                assert exactly(columns[name]) == exactly(value)
    assert out.extra_fields == kept_in_extra
