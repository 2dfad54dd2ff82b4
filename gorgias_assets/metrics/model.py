"""The declaration of a table of metrics: what it is made of."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Metric:
    """A table that is made of entities' tables.

    - `name`: the asset is `<account>/<name>`.
    - `needs`: the names of the entities without which there is no such table.
    - `uses`: those whose rows are used as well if they are chosen; what depends on them is null otherwise.
    """

    name: str
    needs: tuple[str, ...]
    uses: tuple[str, ...] = ()

    group: ClassVar[str] = "metrics"

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of all entities that it may be made of."""
        return (*self.needs, *self.uses)
