"""The columns of a table: what each holds, and those that this project adds to every table."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Self

import pyarrow as pa


class Kind(Enum):
    """The kind of a column's values. Each warehouse derives its own type from `arrow_type`, the type in Arrow."""

    INTEGER = "integer, 64 bits", pa.int64()
    NUMBER = "number, 64 bits", pa.float64()
    BOOLEAN = "boolean", pa.bool_()
    STRING = "string", pa.string()
    DATETIME = "datetime, UTC, microseconds", pa.timestamp("us", tz="UTC")
    DATE = "date", pa.date32()
    JSON = "JSON text", pa.string()

    arrow_type: pa.DataType

    def __new__(cls, description: str, arrow_type: pa.DataType) -> Self:
        kind = object.__new__(cls)
        kind._value_ = description
        kind.arrow_type = arrow_type
        return kind


@dataclass(frozen=True)
class Harmless:
    """The part that is kept of a JSON column whose values may hold secrets. All else of it lands nowhere.

    - `fields`: the fields of an object that are kept, if they are text, numbers, booleans, or lists of these.
    - `by`, `whole`: a text field of the row, and those of its values for which the column's value is kept as it is.
    """

    fields: frozenset[str] = frozenset()
    by: str = ""
    whole: frozenset[str] = frozenset()


class Personal(Enum):
    """A kind of personal data, by its word in settings, tags and descriptions."""

    NAME = "name"
    EMAIL = "email"
    """An e-mail address, or where a channel has others, a phone number or a handle."""
    PHONE = "phone"
    ADDRESS = "address"
    BODY = "body"
    """Text that a customer or an agent wrote, or that was made of it."""
    IP = "ip"
    SECRET = "secret"  # noqa: S105, the word, and no secret
    """A token, or a link that opens a picture, a file or a recording to whoever has it."""
    UNDECLARED = "undeclared"
    """Anything: no declaration knows it."""


Holding = Mapping[str, Personal | None]
"""The kinds of personal data in a JSON column, by path; None for nothing personal. What no path reaches is undeclared.

A path is relative to the column: `to[].address` is a field of each item of a list. `*` stands for the name of a field
that is an id, and a last `**` for the place itself and all that is in it and has no path of its own.
"""


@dataclass
class Place:
    """A place in the values of a column.

    - `holds`: what a text or a number here holds; None for nothing personal.
    - `fields`, `ids`, `items`: the places below it: of fields by their names, of fields named by an id, of items.
    - `rest`: the place of all else below it.
    """

    holds: Personal | None
    fields: dict[str, "Place"] = field(default_factory=dict)
    ids: "Place | None" = None
    items: "Place | None" = None
    rest: "Place | None" = None

    def below(self, name: str) -> "Place":
        """Return the place of a field."""
        found = self.fields.get(name) or (self.ids if is_id(name) else None) or self.rest
        return found or self

    @property
    def item(self) -> "Place":
        """The place of each item of a list."""
        return self.items or self.rest or self


def is_id(name: str) -> bool:
    """Return if the name of a field is an id."""
    return name.isascii() and name.isdigit()


@dataclass(frozen=True)
class Column:
    """One column of a table.

    - `holds`: what a value holds of a person, None for nothing personal; of a JSON column, that by path.
    - `keeps`: the part that is kept, if values may hold secrets; None for a column without any.
    """

    name: str
    kind: Kind
    description: str
    holds: Personal | Holding | None = field(default=None, hash=False)
    keeps: Harmless | None = None

    @property
    def private(self) -> bool:
        """True if it is kept out of logs and previews, as all JSON is: a customer or an agent may be in it."""
        return self.kind is Kind.JSON or self.holds is not None

    @property
    def paths(self) -> dict[Personal, list[str]]:
        """The kinds that it holds, with the paths of JSON at which it does; none for the value itself."""
        if isinstance(self.holds, Personal):
            return {self.holds: []}
        held = self.holds or {}
        return {kind: paths for kind in Personal if (paths := [path for path, of in held.items() if of is kind])}

    @property
    def comment(self) -> str:
        """The description, with what the column holds, as engines store it."""
        held = "; ".join(f"{kind.value} in {', '.join(paths)}" if paths else kind.value for kind, paths in self._shown)
        return f"{self.description} Holds: {held}." if held else self.description

    @cached_property
    def place(self) -> Place:
        """The place of its values, below which are those of JSON."""
        if self.kind is not Kind.JSON:
            return _alike(None if self.holds is None else Personal(self.holds))
        return _place({"**": self.holds} if isinstance(self.holds, Personal) else self.holds or {})

    def held_at(self, path: str) -> Personal | None:
        """Return what a value at a path of a JSON column holds, or of any other column at the empty path."""
        place = self.place
        for step in steps(path):
            place = place.item if step == _ITEM else place.below(step)
        return place.holds

    @property
    def _shown(self) -> Iterator[tuple[Personal, list[str]]]:
        for kind, paths in self.paths.items():
            yield kind, [] if paths == [_REST] else [path.removesuffix(f".{_REST}") for path in paths]


_ITEM, _REST, _ID = "[]", "**", "*"


def steps(path: str) -> list[str]:
    """Return the steps of a path: names of fields, `[]` for the items of a list, `*` and `**`."""
    return re.findall(r"\[\]|[^.\[\]]+", path)


def below(path: str, holding: Holding) -> Holding:
    """Return the holding of the values at a path as that of the column."""
    return {f"{path}{'' if inner.startswith(_ITEM) else '.'}{inner}": of for inner, of in holding.items()}


def _alike(holds: Personal | None) -> Place:
    """Return a place below which all is as it is itself."""
    return Place(holds)


def _place(holding: Holding) -> Place:
    """Return the place of values that hold this."""
    ends: dict[tuple[str, ...], Personal | None] = {(_REST,): Personal.UNDECLARED}
    ends |= {tuple(steps(path)): of for path, of in holding.items()}
    return _grown(ends, _alike(Personal.UNDECLARED))


def _grown(ends: Mapping[tuple[str, ...], Personal | None], outer: Place) -> Place:
    """Return a place of these paths; `outer` is the place of all that they do not reach."""
    rest = _alike(ends[_REST,]) if (_REST,) in ends else outer
    place = Place(ends.get((), rest.holds), rest=rest)
    firsts = {steps[0]: None for steps in ends if steps and steps != (_REST,)}
    for first in firsts:
        inner = _grown({steps[1:]: of for steps, of in ends.items() if steps[:1] == (first,)}, rest)
        if first == _ITEM:
            place.items = inner
        elif first == _ID:
            place.ids = inner
        else:
            place.fields[first] = inner
    return place


EXTRACTED_AT = "_extracted_at"
DELETED_AT = "_deleted_at"
MERGED_INTO = "_merged_into"
EXTRA = "_extra"

# The columns that this project adds to every table.
ADDED_COLUMNS = (
    Column(EXTRACTED_AT, Kind.DATETIME, "When the request that read this state of the row was sent."),
    Column(DELETED_AT, Kind.DATETIME, "When the row was found to be gone from Gorgias; null while it lives."),
    Column(MERGED_INTO, Kind.INTEGER, "The id that took this row's place, where it is gone because it was merged."),
    Column(
        EXTRA,
        Kind.JSON,
        "Fields that are not declared, or whose value does not fit the declaration.",
        Personal.UNDECLARED,
    ),
)


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([(column.name, column.kind.arrow_type) for column in columns])
