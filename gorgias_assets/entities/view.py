"""The shape of a view: what is nested in an entity's rows, or what its rows mean, as a relation with typed columns.

A view is declared beside its parent and is one query for every engine: the points on which these differ are words of
`Dialect`. It has no row of a parent that is gone, and a value of another shape than expected is null.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, Column, Kind
from gorgias_assets.warehouse.dialect import KEY, POSITION, Dialect
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.warehouse.views import StoredView

_PARENT = "parent"  # the alias of the parent's rows, with what is nested in them
_ORIGIN = "_origin"


class Source(ABC):
    """The values of a column of a view."""

    @abstractmethod
    def expression(self, dialect: Dialect, kind: Kind) -> str:
        """Return the SQL of the values, in a column of this kind."""

    def fields(self, kind: Kind) -> dict[str, Kind]:  # noqa: ARG002, for those that read some
        """Return the fields of the nested object that it reads: those that it needs as JSON, and others as text."""
        return {}


@dataclass(frozen=True)
class Stored(Source):
    """A column of the parent."""

    name: str

    def expression(self, dialect: Dialect, kind: Kind) -> str:  # noqa: ARG002, others need it
        return f"{_PARENT}.{dialect.quoted(self.name)}"


@dataclass(frozen=True)
class At(Source):
    """The value at a path of a JSON column of the parent; null if it is not of the kind.

    - `kind`: that of the values, if it is not the column's.
    """

    column: str
    path: str
    kind: Kind | None = None

    def expression(self, dialect: Dialect, kind: Kind) -> str:
        found = dialect.text_at(f"{_PARENT}.{dialect.quoted(self.column)}", self.path)
        return dialect.typed(found, self.kind or kind)


@dataclass(frozen=True)
class Nested(Source):
    """A field of the nested object, or without a name the nested value itself; null if it is not of the kind.

    - `kind`: that of the values, if it is not the column's.
    """

    name: str = ""
    kind: Kind | None = None

    def expression(self, dialect: Dialect, kind: Kind) -> str:
        kind = self.kind or kind
        found = dialect.field_of(_PARENT, self.name)
        return found if kind is Kind.JSON else dialect.typed(found, kind)

    def fields(self, kind: Kind) -> dict[str, Kind]:
        wanted = Kind.JSON if (self.kind or kind) is Kind.JSON else Kind.STRING
        return {self.name: wanted} if self.name else {}


@dataclass(frozen=True)
class Length(Source):
    """The number of items of a list in the nested object."""

    name: str

    def expression(self, dialect: Dialect, kind: Kind) -> str:  # noqa: ARG002, others need it
        return dialect.length_of(dialect.field_of(_PARENT, self.name))

    def fields(self, kind: Kind) -> dict[str, Kind]:  # noqa: ARG002, others need it
        return {self.name: Kind.JSON}


@dataclass(frozen=True)
class Position(Source):
    """The place of an item in its list, from 1."""

    def expression(self, dialect: Dialect, kind: Kind) -> str:  # noqa: ARG002, others need it
        return f"{_PARENT}.{POSITION}"


@dataclass(frozen=True)
class Name(Source):
    """The name of an entry of an object."""

    def expression(self, dialect: Dialect, kind: Kind) -> str:
        return dialect.typed(f"{_PARENT}.{KEY}", kind)


@dataclass(frozen=True)
class Part(Source):
    """A part of a text between separators, the first of which is 1."""

    whole: Source
    separator: str
    number: int

    def expression(self, dialect: Dialect, kind: Kind) -> str:
        return dialect.part_of(self.whole.expression(dialect, kind), self.separator, self.number)

    def fields(self, kind: Kind) -> dict[str, Kind]:
        return self.whole.fields(kind)


class Sql(Source):
    """An expression of other values, by their names in braces. All engines understand the rest of it."""

    def __init__(self, template: str, **values: Source) -> None:
        self._template = template
        self._values = values

    def expression(self, dialect: Dialect, kind: Kind) -> str:
        named = {name: value.expression(dialect, kind) for name, value in self._values.items()}
        return self._template.format(**named)

    def fields(self, kind: Kind) -> dict[str, Kind]:
        return {name: wanted for value in self._values.values() for name, wanted in value.fields(kind).items()}


@dataclass(frozen=True)
class Origin(Source):
    """The place that a row comes from: its name in `View.nested`, which has several."""

    def expression(self, dialect: Dialect, kind: Kind) -> str:  # noqa: ARG002, others need it
        return f"{_PARENT}.{_ORIGIN}"


class Nesting(ABC):
    """Where in a column of the parent there are nested values."""

    @abstractmethod
    def relation(self, dialect: Dialect, rows: str, fields: Mapping[str, Kind], counted: bool) -> str:
        """Return the parent's `rows` with these fields of what is nested in them, for `Dialect.field_of`."""


@dataclass(frozen=True)
class Items(Nesting):
    """The items of the list at a path of a JSON column: a row for each."""

    column: str
    path: str = ""

    def relation(self, dialect: Dialect, rows: str, fields: Mapping[str, Kind], counted: bool) -> str:
        return dialect.with_items(rows, self.column, self.path, fields, counted)


@dataclass(frozen=True)
class Entries(Nesting):
    """The values of the fields of the object in a JSON column: a row for each."""

    column: str

    def relation(self, dialect: Dialect, rows: str, fields: Mapping[str, Kind], counted: bool) -> str:  # noqa: ARG002, others need it
        return dialect.with_entries(rows, self.column, fields)


@dataclass(frozen=True)
class One(Nesting):
    """The object at a path of a JSON column: a row for each of the parent, also without one."""

    column: str
    path: str = ""

    def relation(self, dialect: Dialect, rows: str, fields: Mapping[str, Kind], counted: bool) -> str:
        found = dialect.with_object(rows, self.column, self.path, fields)
        return f"(SELECT *, 1 AS {POSITION} FROM {found} AS found)" if counted else found


@dataclass(frozen=True)
class Rows(Nesting):
    """The rows of the parent themselves."""

    def relation(self, dialect: Dialect, rows: str, fields: Mapping[str, Kind], counted: bool) -> str:  # noqa: ARG002, others need it
        return rows


@dataclass(frozen=True)
class Join:
    """A small entity whose rows say more of what is nested, those that are gone included.

    - `entity`: its name, which is also the alias of `columns` in `Sql`.
    - `key`: the value that is the `id` of its row.
    - `columns`: its columns by their names in `Sql`, or with dots the path of a text in a JSON column.
    """

    entity: str
    key: Source
    columns: Mapping[str, str]

    def clause(self, dialect: Dialect, rows: str) -> str:
        selected = ", ".join(f"{self._column(dialect, path)} AS {name}" for name, path in self.columns.items())
        key = self.key.expression(dialect, Kind.INTEGER)
        return f" LEFT JOIN (SELECT id, {selected} FROM {rows} AS joined) AS {self.entity} ON {self.entity}.id = {key}"

    def _column(self, dialect: Dialect, path: str) -> str:
        name, _, within = path.partition(".")
        column = f"joined.{dialect.quoted(name)}"
        return dialect.text_at(column, within) if within else column


@dataclass(frozen=True, eq=False)
class View:
    """A relation of what is nested in an entity's rows, or of what these mean.

    - `name`: the asset is `<account>/<name>`, the view `<schema>.<name>`.
    - `grain`: the meaning of one row, as a sentence for the asset's description.
    - `parent`: the name of the entity.
    - `nested`: where the rows come from: one place, or several by their names.
    - `values`: the columns, and the source of each one's values.
    - `where`: a condition on the parent's columns, which all engines understand.
    - `needs`: columns of which a row has at least one, or it is left out.
    - `join`: an entity that says more of a row.
    """

    name: str
    grain: str
    parent: str
    nested: Nesting | Mapping[str, Nesting]
    values: Mapping[Column, Source]
    where: str = ""
    needs: tuple[str, ...] = ()
    join: Join | None = None

    group: ClassVar[str] = "views"

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(self.values)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the entities that it reads, the parent first."""
        return (self.parent, self.join.entity) if self.join else (self.parent,)

    def query(self, dialect: Dialect, rows: Mapping[str, str]) -> str:
        """Return the query of the view, given the relation of each entity that it reads."""
        places = self.nested if isinstance(self.nested, Mapping) else {"": self.nested}
        found = " UNION ALL ".join(self._select(dialect, rows, name, place) for name, place in places.items())
        if not self.needs:
            return found
        needed = " OR ".join(f"{name} IS NOT NULL" for name in self.needs)
        return f"SELECT * FROM ({found}) AS found WHERE {needed}"

    def _select(self, dialect: Dialect, rows: Mapping[str, str], name: str, place: Nesting) -> str:
        condition = f"{DELETED_AT} IS NULL" + (f" AND {self.where}" if self.where else "")
        living = f"(SELECT * FROM {rows[self.parent]} AS stored WHERE {condition})"
        fields = {of: kind for column, source in self.values.items() for of, kind in source.fields(column.kind).items()}
        relation = place.relation(dialect, living, fields, counted=Position() in self.values.values())
        if name:
            relation = f"(SELECT *, {dialect.literal(name)} AS {_ORIGIN} FROM {relation} AS placed)"
        selected = ", ".join(
            f"{source.expression(dialect, column.kind)} AS {dialect.quoted(column.name)}"
            for column, source in self.values.items()
        )
        joined = self.join.clause(dialect, rows[self.join.entity]) if self.join else ""
        return f"SELECT {selected} FROM {relation} AS {_PARENT}{joined}"


@dataclass(frozen=True)
class NamedView:
    """A view as an account has it.

    - `names`: the names of its table and of those that it reads, as far as they are not those of the declarations.
    """

    view: View
    names: Mapping[str, str]

    def stored_in(self, schema: str) -> StoredView:
        """Return the view for the warehouse. All that it reads is in the same schema."""

        def table(name: str) -> Table:
            return Table(schema, self.names.get(name, name))

        view = self.view
        return StoredView(
            table(view.name), {name: table(name) for name in view.reads}, view.columns, view.grain, view.query
        )


def read_at(what: str) -> Column:
    """Return the last column of a view: the moment at which its parent, `what`, was read."""
    return Column(EXTRACTED_AT, Kind.DATETIME, f"When the request that read this state of the {what} was sent.")
