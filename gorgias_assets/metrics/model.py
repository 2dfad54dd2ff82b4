"""The declaration of a table of metrics: what it is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A table that is made of other tables.

    - `name`: the asset is `<account>/<name>`.
    - `grain`: the meaning of one row, as a sentence, and what is more to say.
    - `needs`: the names of the entities and metrics without which there is no such table.
    - `uses`: those whose rows are used as well if they are chosen; what depends on them is null otherwise.
    - `day`: the column that tells the day of a row.
    - `group`: the asset's group is `<account>_<group>`, or that of the core.
    """

    name: str
    grain: str
    needs: tuple[str, ...]
    uses: tuple[str, ...] = ()
    day: str = "day"
    group: str = "metrics"

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of all tables that it may be made of."""
        return (*self.needs, *self.uses)
