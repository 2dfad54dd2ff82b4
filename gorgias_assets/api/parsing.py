r"""JSON from outside and back: one odd value costs itself, not the body that it is in.

- A number of which Python would lose digits, and a word such as `NaN` or `0x1f`, becomes its text: `Unparsed`.
- A string that JSON does not allow becomes its text: `Repaired`. A byte that is not UTF-8 is the escape `\xff` in it;
  control characters and unknown escapes stay as they are.
- Of two fields of one name the last one counts, as for every parser of JSON.

Nothing here recurses, except the standard library's parser, which stops in time. A body with anything else that is no
JSON is refused as a whole: it may lack rows.
"""

import codecs
import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal, DecimalException
from math import isfinite
from typing import Any

import orjson

MOST_NESTED = 250  # levels that are written as JSON: orjson writes 254, and BigQuery holds 500


class Unparsed(str):
    """The text of a value that is no JSON, or a number that Python does not hold with every digit."""

    __slots__ = ()


class Repaired(str):
    """The text of a string that JSON does not allow as it came."""

    __slots__ = ()


_TOKEN = re.compile(rb'[ \t\n\r]*+(?:("(?:[^"\\]++|\\.)*+")|([-+.#\w]++)|([\[{])|([\]}])|([:,])|\Z|(.))', re.DOTALL)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_ODD_WORD = re.compile(r"[-+]?(?:\.?\d.*|nan|inf|infinity)|undefined|none|true|false", re.IGNORECASE | re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_DIGITS_OF_DOUBLES = 15  # that a double keeps
_DIGITS_OF_INTEGERS = sys.int_info.str_digits_check_threshold  # that Python converts whatever its limit is set to
_STRAY_BYTES = "gorgias_assets.stray_bytes"  # the name of what decoding does with them
_ESCAPES = re.compile(r'((?:[^\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))++)|\\')
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def loads(body: bytes) -> Any:
    """Parse JSON. Raise ValueError for anything else. Half a surrogate pair is still in the strings."""
    try:
        return json.loads(body.decode(), parse_float=_decimal, parse_constant=Unparsed)
    except (ValueError, RecursionError):
        return _Reading().read(body.removeprefix(b"\xef\xbb\xbf"))


def dumps(value: Any) -> tuple[str, bool]:
    """Write JSON. Return it, and if it is the value that came; text may stand for something else.

    A value that is nested deeper than `MOST_NESTED` levels becomes a string of its JSON.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode(), True
    except TypeError:  # text for something else, more than 64 bits, half a surrogate pair, or nested too deeply
        pass
    parts, is_same, depth, deepest = [], True, 0, 0
    for part, is_exact in _written(value):
        depth += (part in ("[", "{")) - (part in ("]", "}"))
        deepest = max(depth, deepest)
        is_same = is_same and is_exact
        parts.append(part)
    text = "".join(parts)
    return (json.dumps(text, ensure_ascii=False), False) if deepest > MOST_NESTED else (text, is_same)


def repaired(text: str) -> str:
    r"""Return the text with the escape `\ud83d` for half a surrogate pair, which neither UTF-8 nor a database holds."""
    return _HALF_PAIR.sub(lambda half: rf"\u{ord(half[0]):04x}", text)


class _Reading:
    """A body that is read token by token: its open containers, the name of each one's next value, and the last token.

    After a value the last token is `0`, after a name it is `"`.
    """

    def __init__(self) -> None:
        self._whole: list[Any] = []
        self._open: list[Any] = [self._whole]
        self._name: Any = None
        self._last = b"["

    def read(self, body: bytes) -> Any:
        for token in _TOKEN.finditer(body):
            string, word, opening, closing, sign, rubbish = token.groups()
            if string:
                self._string(string)
            elif word:
                self._add(_value_of(word.decode()))
            elif opening:
                self._begin(opening)
            elif closing:
                self._end(closing)
            elif sign or rubbish:
                self._sign(sign)
        if len(self._open) > 1 or len(self._whole) != 1:
            raise _no_json()
        return self._whole[0]

    def _string(self, string: bytes) -> None:
        if type(self._open[-1]) is dict and self._last in (b"{", b","):
            self._name, self._last = _text_of(string), b'"'
        else:
            self._add(_text_of(string))

    def _add(self, value: Any) -> None:
        container = self._open[-1]
        if type(container) is dict:
            if self._last != b":":
                raise _no_json()
            container[self._name] = value
        elif self._last in (b"[", b",") and not (container is self._whole and container):
            container.append(value)
        else:
            raise _no_json()
        self._last = b"0"

    def _begin(self, bracket: bytes) -> None:
        container: Any = [] if bracket == b"[" else {}
        self._add(container)
        self._open.append(container)
        self._last = bracket

    def _end(self, bracket: bytes) -> None:
        kind, opening = (list, b"[") if bracket == b"]" else (dict, b"{")
        if len(self._open) == 1 or type(self._open.pop()) is not kind or self._last not in (opening, b"0"):
            raise _no_json()
        self._last = b"0"

    def _sign(self, sign: bytes | None) -> None:
        if len(self._open) == 1 or self._last != (b'"' if sign == b":" else b"0") or sign is None:
            raise _no_json()
        self._last = sign


def _no_json() -> ValueError:
    return ValueError("this is no JSON")


def _value_of(word: str) -> Any:
    """Return the value of a word outside strings. Raise ValueError if it looks like none."""
    if word in _WORDS:
        return _WORDS[word]
    if _INTEGER.fullmatch(word):
        return int(word) if len(word) <= _DIGITS_OF_INTEGERS else Unparsed(word)
    if _DECIMAL.fullmatch(word):
        return _decimal(word)
    if _ODD_WORD.fullmatch(word):
        return Unparsed(word)
    raise _no_json()


def _decimal(text: str) -> float | Unparsed:
    """Return the double that is written like this, if there is one."""
    value = float(text)
    if len(text) <= _DIGITS_OF_DOUBLES and text.isascii() and "e" not in text.lower():
        return value
    try:
        is_same = isfinite(value) and Decimal(text) == Decimal(repr(value))
    except DecimalException:  # an exponent of twenty digits
        is_same = False
    return value if is_same else Unparsed(text)


def _text_of(string: bytes) -> str:
    """Return the text of a string, with its quotes, as it stands in a body."""
    try:
        return str(json.loads(string.decode()))
    except ValueError:
        text = string.decode("utf-8", _STRAY_BYTES)
    try:
        return Repaired(json.loads(text, strict=False))
    except ValueError:
        return Repaired(json.loads(_ESCAPES.sub(_with_unknown_doubled, text), strict=False))


def _with_unknown_doubled(escapes: re.Match[str]) -> str:
    return escapes[0] if escapes[1] else r"\\"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Return a stray byte as `\\xff`, as it stands in the JSON of a string, and the place after it."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(rf"\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_STRAY_BYTES, _escaped)


class _Sign(str):
    """Punctuation and names, which are written as they are."""

    __slots__ = ()


def _written(value: Any) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a value's JSON, and for each if it is what came."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is _Sign:
            yield item, True
        elif type(item) is list:
            yield "[", True
            parts = [part for inner in item for part in (_Sign(","), inner)]
            waiting += [_Sign("]"), *parts[:0:-1]]
        elif type(item) is dict:
            yield "{", all(type(name) is str and not _HALF_PAIR.search(name) for name in item)
            parts = [part for name, inner in item.items() for part in (_Sign(","), _Sign(_quoted(name) + ":"), inner)]
            waiting += [_Sign("}"), *parts[:0:-1]]
        elif isinstance(item, str):
            yield _quoted(item), type(item) is str and not _HALF_PAIR.search(item)
        else:
            yield json.dumps(item), True


def _quoted(text: str) -> str:
    return json.dumps(repaired(text), ensure_ascii=False)
