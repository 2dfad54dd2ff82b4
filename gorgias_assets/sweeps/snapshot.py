"""A snapshot: one reading of a small list as a whole."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from gorgias_assets.api.client import GorgiasClient
from gorgias_assets.entities.model import Entity, Whole
from gorgias_assets.sweeps.batches import BATCH_BYTES, BATCH_ROWS, Batch, Pages, batched
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.rows import type_rows
from gorgias_assets.warehouse.tables import IS_TOUCHED, Covered


class Snapshot:
    """All rows of `entity`. An interrupted snapshot begins anew: it is a few pages long.

    Lazy: nothing is requested before `batches()` is iterated. The arguments are those of a `Sweep`.
    """

    key = "whole list"
    window = None
    resumed_from = None

    def __init__(
        self,
        entity: Entity[Whole],
        connect: Callable[[], GorgiasClient],
        *,
        max_lookups: int = 500,
        owned: Sequence[Entity[Any]] = (),
    ) -> None:
        self.entity = entity
        self.connect = connect
        self.max_lookups = max_lookups
        self.owned = owned
        self.progress = Progress()
        self.began_at = self.started_at = datetime.now(UTC)

    @property
    def share_done(self) -> float:
        """0 until all is read: the length of the list is unknown."""
        return float(self.progress.complete)

    def resume(self, position: str) -> bool:  # noqa: ARG002, a snapshot saves none
        return False

    def batches(
        self, rows: int = BATCH_ROWS, size: int = BATCH_BYTES, on_page: Callable[[], object] = lambda: None
    ) -> Iterator[Batch]:
        """Yield typed rows, as `batched` does. `on_page` is called after each page, with `progress` up to date."""
        yield from batched(self._pages(on_page), self.entity.columns, str, rows, size)

    def covered(self) -> Covered:
        """Return that every living row was read."""
        return Covered("id")

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        """The list's end, by the order of its pages; see `Sweep.coverage`."""
        order = self.entity.read.order_by.partition(":")[0]
        return {order: dict.fromkeys(("required", "read_to") if self.progress.complete else ("required",))}

    def named_gone(self, client: GorgiasClient) -> set[int]:  # noqa: ARG002, the list itself shows it
        return set()

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        progress = self.progress
        with closing(self.connect()) as client:
            for page in client.pages(self.entity.path, order_by=self.entity.read.order_by):
                rows = type_rows(page.rows, self.entity.columns, page.requested_at)
                progress.count_page(page, len(page.rows))
                progress.rows_touched += len(page.rows)
                progress.extra_fields += rows.extra_fields
                on_page()
                flag = pa.repeat(True, len(page.rows))
                yield rows.table.append_column(IS_TOUCHED, flag), page.size
        progress.complete = True
