"""JSON from outside: an odd value becomes text, everything beside it stays as it is, and half a body is no body."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorgias_assets.api.answers import Answer, Presence, Unusable, read_list, read_presence
from gorgias_assets.api.parsing import MOST_NESTED, Repaired, Unparsed, dumps, loads

STRAY = b'"\xff"'  # a string that leaves the whole body to the reading token by token
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=8,
)

UNPARSED = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "nan": "nan",
    "-inf": "-inf",
    "undefined": "undefined",
    "None": "None",
    "True": "True",
    "0x1F": "0x1F",
    "007": "007",
    "+5": "+5",
    ".5": ".5",
    "5.": "5.",
    "1.#INF": "1.#INF",
    "2026-08-26": "2026-08-26",
    "more than a double holds": "1e400",
    "less than a double holds": "1e-400",
    "an exponent of twenty digits": "0e99999999999999999999",
    "more digits than a double": "0.12345678901234567890123",
    "a double's own digits": "0.1000000000000000055511151231257827",
    "a large decimal": "12345678901234567890.5",
    "4,301 digits": "9" * 4301,
    "100,000 digits": "-" + "7" * 100_000,
}
PARSED = ["0", "-0", "1.0", "1.50", "12e3", "1E5", "-1.5e-300", "0.30000000000000004", "1e22", "9" * 600, str(2**64)]
REPAIRED = {
    "a stray byte": (b"caf\xe9", r"caf\xe9"),
    "half a letter": (b"\xf0\x9f\x91", r"\xf0\x9f\x91"),
    "a surrogate in UTF-8": (b"\xed\xa0\xbd", r"\xed\xa0\xbd"),
    "a control character": (b"a\x01\n\tb", "a\x01\n\tb"),
    "an unknown escape": (rb"C:\Users \x41 \u12 \n \\x", "C:\\Users \\x41 \\u12 \n \\x"),
    "an escape and a stray byte": (b'\\\\\xff\\"', '\\\\xff"'),
}


def answer(body: bytes, status: int = 200) -> Answer:
    return Answer(status, body, None, None, 0.0)


def page(*rows: bytes) -> bytes:
    return b'{"data": [' + b", ".join(rows) + b'], "meta": {"next_cursor": null, "prev_cursor": null}}'


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("word", UNPARSED.values(), ids=UNPARSED.keys())
def test_a_value_that_python_does_not_hold_is_its_text_and_its_neighbours_are_untouched(word: str) -> None:
    for beside in (b'"usual"', STRAY):
        before, value, after, _ = loads(b'[1.5, %s, {"a": [%s]}, %s]' % (word.encode(), word.encode(), beside))
        assert (before, value, after) == (1.5, word, {"a": [word]})
        assert type(value) is type(after["a"][0]) is Unparsed
        assert dumps({"a": value}) == (json.dumps({"a": word}, separators=(",", ":")), False)


@pytest.mark.parametrize("word", PARSED, ids=lambda word: word[:30])
def test_a_number_that_python_holds_stays_a_number_with_every_digit(word: str) -> None:
    for beside in (b'"usual"', STRAY):
        value, _ = loads(b"[%s, %s]" % (word.encode(), beside))
        assert (type(value), value) == (type(json.loads(word)), json.loads(word))
        text, is_same = dumps(value)
        assert is_same
        assert json.loads(text) == value


@pytest.mark.parametrize(("raw", "text"), REPAIRED.values(), ids=REPAIRED.keys())
def test_a_string_that_json_does_not_allow_keeps_its_text_with_escapes_for_stray_bytes(raw: bytes, text: str) -> None:
    before, value, after = loads(b'["a", "' + raw + b'", {"b": 1}]')
    assert (before, value, after) == ("a", text, {"b": 1})
    assert (type(before), type(value)) == (str, Repaired)
    assert json.loads(dumps([value])[0]) == [text]
    assert not dumps([value])[1]


def test_half_a_surrogate_pair_is_written_as_the_text_of_its_escape() -> None:
    text, is_same = dumps(loads(rb'{"a": "cut \ud83d", "\ude00": "\ud83d\ude00"}'))
    assert json.loads(text) == {"a": r"cut \ud83d", r"\ude00": "😀"}
    assert not is_same


@pytest.mark.parametrize(
    ("of", "depth"),
    [("lists", MOST_NESTED + 10), ("objects", 1_000), ("lists", 1_000), ("lists", 100_000), ("objects", 20_000)],
)
def test_what_is_nested_too_deeply_is_written_as_a_string_of_its_json(of: str, depth: int) -> None:
    body = nested(depth) if of == "lists" else b'{"a":' * depth + b"1" + b"}" * depth
    beside, value = loads(b"[1, " + body + b"]")
    assert beside == 1
    text, is_same = dumps(value)
    assert (json.loads(text), is_same) == (body.decode(), False)


def test_what_is_nested_as_deeply_as_warehouses_hold_stays_json() -> None:
    assert dumps(loads(nested(MOST_NESTED))) == (nested(MOST_NESTED).decode(), True)


def test_of_two_fields_of_one_name_the_last_one_counts() -> None:
    assert loads(b'{"a": 1, "a": 2}') == loads(b'\xef\xbb\xbf{"a": 1, "a": 2}') == {"a": 2}
    assert loads(b'[{"a": NaN, "a": 2}, ' + STRAY + b"]")[0] == {"a": 2}


@given(value=JSON_VALUES)
@settings(max_examples=100, deadline=None)
def test_json_without_anything_odd_is_read_the_same_token_by_token_and_written_as_it_was(value: Any) -> None:
    for indent in (None, 1):
        body = json.dumps(value, ensure_ascii=False, indent=indent).encode()
        assert repr(loads(body)) == repr(loads(b"[" + STRAY + b"," + body + b"]")[1]) == repr(value)
    text, is_same = dumps(value)
    assert repr(json.loads(text)) == repr(value)
    assert is_same


@given(value=JSON_VALUES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_part_of_a_body_is_never_taken_for_the_whole(value: Any, data: st.DataObject) -> None:
    body = b"[" + STRAY + b"," + json.dumps(value).encode() + b"]"
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ValueError, match="no JSON"):
        loads(body[:cut])


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            " ",
            "[1,]",
            '{"a":1,}',
            '{"a" 1}',
            "[1 2]",
            '["a""b"]',
            "[]]",
            "[}",
            "{]",
            "1 2",
            '{"a"}',
            '{"a":}',
            "[:]",
        ),
        *("[,1]", '["a":1]', "{,}", "{:1}", '{"a"::1}', "{1:2}", '{"a":1 "b":2}', ",", ":", "<html>", "tru", "[1] x"),
        *('{"a":1:2}', '{"a":"b":1}', "'a'", '["a', "[1][2]", "{[]}", "{{}}", "[1;2]", "[@]"),
    ],
)
def test_what_is_no_json_is_refused_as_a_whole(body: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        loads(body.encode())
    with pytest.raises(Unusable):
        read_list(answer(body.encode()))


@pytest.mark.parametrize(
    "odd", [b"NaN", b'"\xff"', b"9" * 4301, nested(10_000)], ids=lambda odd: odd[:9].decode("latin1")
)
def test_an_odd_value_of_one_row_leaves_the_page_a_page_and_the_object_alive(odd: bytes) -> None:
    row = b'{"id": 2, "odd": ' + odd + b"}"
    rows = read_list(answer(page(b'{"id": 1}', row, b'{"id": 3}')))["rows"]
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert read_presence(answer(row))["presence"] is Presence.ALIVE
    assert read_presence(answer(b'{"error": {"msg": ' + odd + b"}}", 404))["presence"] is Presence.GONE


@pytest.mark.parametrize("row_id", ["NaN", "1.0", "9" * 4301, "1e2", '"1"'], ids=lambda text: text[:9])
def test_a_row_without_an_id_that_is_an_integer_is_no_row_to_store(row_id: str) -> None:
    with pytest.raises(Unusable, match="no list of rows with ids"):
        read_list(answer(page(b'{"id": 1}', b'{"id": ' + row_id.encode() + b"}")))
