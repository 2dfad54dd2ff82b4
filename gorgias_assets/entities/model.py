"""The shape of a declaration: one kind of Gorgias object, how it is read, and what its columns are.

Columns are those of the *list* form of each object, as recorded from a live account on 2026-08-26
(NangoHQ/integration-templates, integrations/gorgias/tests). The form of a single GET differs and is not used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from gorgias_assets.columns import Column, Harmless, Holding, Kind, Personal


@dataclass(frozen=True)
class ByDate:
    """A list that can be ordered by a date: its partitions are days, read newest first.

    - `order`: the datetime field that the list is read by.
    - `touch_fields`: the datetimes at which something happened to a row. Together with `look_back` they define a
      partition: a row belongs to a window if any of them lies in it.
    - `look_back`: how far before a window `order` may lie for a row that was touched in the window. Zero if every
      touch moves the order field.
    - `look_ahead`: how far after a window `creation_order` may lie for a row that was touched in the window, if the
      list is read in that order alone.
    - `creation_order`: the datetime field, among those that the list can be ordered by, that never moves. If it is
      not `order`, an old window is reached without what is newer only by reading the list in both orders.
    """

    order: str
    touch_fields: tuple[str, ...]
    look_back: timedelta
    look_ahead: timedelta = timedelta(0)
    creation_order: str = "created_datetime"


@dataclass(frozen=True)
class ByFilter:
    """A list with a filter for time: its partitions are days, exactly the rows created in them. No row is ever gone.

    - `field`: the datetime that the filter and the order are of. It never moves.
    - `kept`: how long Gorgias keeps a row. A day that is older is left alone.
    """

    kept: timedelta
    field: str = "created_datetime"

    @property
    def touch_fields(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class Unordered:
    """A list with a date and no documented order: its partitions are days. No row is ever gone by absence.

    The order is observed: reading stops early only while it has been newest first on every page.

    - `field`: the datetime that decides to which day a row belongs. It never moves.
    """

    field: str = "created_datetime"

    @property
    def touch_fields(self) -> tuple[str, ...]:
        return (self.field,)


@dataclass(frozen=True)
class Whole:
    """A small list that is read whole: one snapshot a run, without partitions.

    - `order_by`: the order its pages are requested in, `<field>:asc` or `<field>:desc`; empty if it takes none.
    - `passes`: the parameters of each reading of the list, if several show all rows only together.
    - `has_pages`: False if one answer holds everything, and the list takes no parameters of pages.
    - `id_from`: the text field that `id` is made of, if Gorgias gives the rows no id.
    """

    order_by: str = "created_datetime:desc"
    passes: tuple[tuple[tuple[str, str], ...], ...] = ((),)
    has_pages: bool = True
    id_from: str = ""


Daily = ByDate | ByFilter | Unordered

WayT = TypeVar("WayT", bound=Daily | Whole, covariant=True)


@dataclass(frozen=True)
class Parent:
    """The entity that this one's rows belong to.

    - `name`, `field`: the parent entity, and the field that holds its id.
    - `owns`: a row has its path below `/<name>/<id>`, moves when the parent is merged, and is gone when the parent is
      deleted. Otherwise it may outlive its parent.
    - `counted_by`: the field of the parent that counts these rows.
    """

    name: str
    field: str
    owns: bool = False
    counted_by: str = ""


@dataclass(frozen=True)
class Entity(Generic[WayT]):
    """One kind of Gorgias object.

    - `name`: the asset is `<account>/<name>`, the table `<schema>.<name>`.
    - `path`: its list, below the API's base URL.
    - `grain`: the meaning of one row, as a sentence for the asset's description.
    - `read`: the way its list is read.
    - `columns`: the declared fields, `id` first.
    - `parent`: the entity that its rows belong to.
    - `gone_events`: types of events that name rows which were deleted or merged into another.
    - `kin`: a JSON field with an `id`; rows of one `id` there may be merged into each other.
    - `creation_event`: the type of the events that name rows as they are created.
    - `left_out`: fields of the list that are not stored, since they repeat others at length.
    - `group`: the asset's group is `<account>_<group>`; that of the core is `<account>`.
    - `is_optional`: an account may lack it, for its plan or its key's role. A first answer of 403 or 404 skips it.
    """

    name: str
    path: str
    grain: str
    read: WayT
    columns: tuple[Column, ...]
    parent: Parent | None = None
    gone_events: tuple[str, ...] = ()
    kin: str = ""
    creation_event: str = ""
    left_out: tuple[str, ...] = ()
    group: str = ""
    is_optional: bool = False

    @property
    def object_path(self) -> str:
        """The path of one row, with the row's fields that it takes in braces."""
        below = f"/{self.parent.name}/{{{self.parent.field}}}" if self.parent and self.parent.owns else ""
        return f"{below}{self.path}/{{id}}"

    @property
    def object_fields(self) -> list[str]:
        """The fields that `object_path` takes."""
        return ["id", self.parent.field] if self.parent and self.parent.owns else ["id"]


def read_by(way: type[WayT], entities: Iterable[Entity[Any]]) -> list[Entity[WayT]]:
    return [cast("Entity[WayT]", entity) for entity in entities if isinstance(entity.read, way)]


def integer(name: str, description: str) -> Column:
    return Column(name, Kind.INTEGER, description)


def number(name: str, description: str, holds: Personal | None = None) -> Column:
    return Column(name, Kind.NUMBER, description, holds)


def boolean(name: str, description: str, holds: Personal | None = None) -> Column:
    return Column(name, Kind.BOOLEAN, description, holds)


def string(name: str, description: str, holds: Personal | None = None) -> Column:
    return Column(name, Kind.STRING, description, holds)


def moment(name: str, description: str) -> Column:
    return Column(name, Kind.DATETIME, description)


def json(name: str, description: str, holds: Personal | Holding, keeps: Harmless | None = None) -> Column:
    return Column(name, Kind.JSON, description, holds, keeps)
