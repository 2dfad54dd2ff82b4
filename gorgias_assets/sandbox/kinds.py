"""The shape of a declaration in `objects`: a kind's default fields, the orders and filters of its list, its events."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

BY_CREATION = {"created_datetime": "created"}
BY_CHANGE = {**BY_CREATION, "updated_datetime": "updated"}
BY_NAME = {**BY_CREATION, "name": "coalesce(json_extract(body, '$.name'), '')"}
ALWAYS = "? IS NOT NULL"
"""The condition of a parameter that is taken and changes nothing here."""


@dataclass(frozen=True)
class Filter:
    """A query parameter of a list: a condition on the one value that `read` makes of the texts sent (or ValueError)."""

    condition: str
    read: Callable[[Sequence[str]], object] = lambda sent: sent[-1]
    is_required: bool = False


def whole(sent: Sequence[str]) -> int:
    number = int(sent[-1])
    if abs(number) >= 2**63:
        raise ValueError("Not a valid integer.")
    return number


def truth(sent: Sequence[str]) -> bool:
    if sent[-1].lower() not in ("true", "false"):
        raise ValueError("not a boolean")
    return sent[-1].lower() == "true"


def several(sent: Sequence[str]) -> str:
    return json.dumps([whole([value]) if value.isdigit() else value for value in sent])


def one_of(*choices: str) -> Callable[[Sequence[str]], str]:
    def read(sent: Sequence[str]) -> str:
        if sent[-1] not in choices:
            raise ValueError("Not a valid choice.")
        return sent[-1]

    return read


def equal(name: str, read: Callable[[Sequence[str]], object] = lambda sent: sent[-1]) -> dict[str, Filter]:
    return {name: Filter(f"json_extract(body, '$.{name}') = ?", read)}


def among(parameter: str, value: str) -> dict[str, Filter]:
    return {parameter: Filter(f"{value} IN (SELECT value FROM json_each(?))", several)}


def is_set(parameter: str, name: str) -> dict[str, Filter]:
    return {parameter: Filter(f"(json_extract(body, '$.{name}') IS NOT NULL) = ?", truth)}


def part_of(parameter: str, *names: str) -> dict[str, Filter]:
    text = " || ' ' || ".join(f"coalesce(json_extract(body, '$.{name}'), '')" for name in names)
    return {parameter: Filter(f"{text} LIKE '%' || ? || '%'")}


def padded(name: str) -> str:
    """Return a number as a text of the same order, which a cursor can carry."""
    return f"printf('%012d', coalesce(json_extract(body, '$.{name}'), 0))"


def key_of(shown: str | int | None) -> str:
    """Return the text that rows are ordered by in a list whose order is of no datetime."""
    return f"{shown:012}" if isinstance(shown, int) else shown or ""


def nulls(names: str) -> dict[str, object]:
    return dict.fromkeys(names.split())


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    - `uri`: empty if the list shows none.
    - `blank`: the default of each field.
    - `odd`: other defaults of each second row.
    - `path`: its list; made of the name if empty.
    - `joins`: the fields that show another object as it is now (see `rows.JOINS`).
    - `columns`: integers worth an index.
    - `takes_order`: False if the list refuses `order_by`.
    - `assumes`: the parameters that count as sent if they are not.
    - `silent`: a change of only these fields leaves `updated_datetime` as it was, and no event.
    - `noun`: its name in events, if it has any.
    - `untold`: what leaves no event although it has a noun.
    - `counts_rows`: True if its pages have `total_resources`, which is always null.
    - `has_pages`: False if one answer holds all rows and nothing else.
    - `has_id`: False if no id is shown.
    """

    name: str
    uri: str
    first_id: int
    blank: Mapping[str, object]
    odd: Mapping[str, object] = field(default_factory=dict)
    path: str = ""
    joins: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    orders: Mapping[str, str] = field(default_factory=lambda: BY_CREATION)
    order: str = "created_datetime:desc"
    takes_order: bool = True
    filters: Mapping[str, Filter] = field(default_factory=dict)
    assumes: Mapping[str, str] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    noun: str | None = None
    untold: frozenset[str] = frozenset()
    counts_rows: bool = False
    has_pages: bool = True
    has_id: bool = True

    def blank_of(self, row_id: int) -> Mapping[str, object]:
        return {"id": row_id, **self.blank, **(self.odd if row_id % 2 else {})}

    @property
    def list_path(self) -> str:
        return self.path or self.name.replace("_", "-")

    @property
    def object_type(self) -> str | None:
        return self.noun and self.noun.title().replace("-", "")

    @property
    def has_updates(self) -> bool:
        return "updated_datetime" in self.blank
