"""The shape of a declaration: one kind of Gorgias object, how it is read, and what its columns are.

Columns are those of the *list* form of each object, as recorded from a live account on 2026-08-26
(NangoHQ/integration-templates, integrations/gorgias/tests); the form of a single GET differs and is not used.
"""

from dataclasses import dataclass
from datetime import timedelta

from gorgias_assets.columns import Column, Kind


@dataclass(frozen=True)
class Entity:
    """One kind of Gorgias object and how it is read.

    - `name`: the asset is `gorgias/<name>`, the table `<schema>.<name>`.
    - `path`: its list, below the API's base URL.
    - `grain`: what one row is, as a sentence for the asset's description.
    - `order`: the datetime field that the list is read by, newest first.
    - `touch_fields`: the datetimes at which something happened to a row. Together with `look_back` they define a
      partition: a row belongs to a window if any of them lies in it.
    - `look_back`: how far before a window `order` may lie for a row that was touched in the window. Zero where every
      touch moves the order field.
    - `columns`: the declared fields, `id` first.
    - `creation_order`: the datetime field, among those that the list can be ordered by, that never moves. Where it is
      not `order`, a window is reached without what is newer only by reading it in both orders.
    - `look_ahead`: how far after a window `creation_order` may lie for a row that was touched in the window, where it
      is read alone.
    - `below`: what stands before `path` in the path of one row, with the fields of the row that it takes.
    - `gone_events`: types of events that name rows which were deleted or merged into another.
    - `goes_with`: the entity whose deletion takes this one's rows along, and the field that holds its id.
    - `outlives`: the entity that this one's rows are about and may outlive, and the field that holds its id.
    - `counted_by`: the field of the entity it goes with that counts this one's rows.
    - `creation_event`: the type of the events that name rows as they are created.
    """

    name: str
    path: str
    grain: str
    order: str
    touch_fields: tuple[str, ...]
    look_back: timedelta
    columns: tuple[Column, ...]
    creation_order: str = "created_datetime"
    look_ahead: timedelta = timedelta(0)
    below: str = ""
    gone_events: tuple[str, ...] = ()
    goes_with: tuple[str, str] | None = None
    outlives: tuple[str, str] | None = None
    counted_by: str = ""
    creation_event: str = ""

    @property
    def object_path(self) -> str:
        """Where one row is, with the fields of the row that it takes in braces."""
        return f"{self.below}{self.path}/{{id}}"


def integer(name: str, description: str) -> Column:
    return Column(name, Kind.INTEGER, description)


def boolean(name: str, description: str) -> Column:
    return Column(name, Kind.BOOLEAN, description)


def string(name: str, description: str, private: bool = False) -> Column:
    return Column(name, Kind.STRING, description, private)


def moment(name: str, description: str) -> Column:
    return Column(name, Kind.DATETIME, description)


def json(name: str, description: str) -> Column:
    return Column(name, Kind.JSON, description, private=True)
