"""A snapshot: one reading of a small list as a whole."""

import re
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import pyarrow as pa

from gorgias_assets.api.client import Rejected
from gorgias_assets.entities.model import Whole
from gorgias_assets.sweeps.batches import Pages, Reader
from gorgias_assets.sweeps.rows import type_rows
from gorgias_assets.warehouse.tables import IS_TOUCHED, Covered


class Snapshot(Reader[Whole]):
    """All rows of `entity`. An interrupted snapshot begins anew: it is a few pages long."""

    key = "whole list"

    _fetched: list[tuple[pa.Table, int]] | None = None

    def peek(self) -> str | None:
        """Return why the account lacks the list; None if it has it."""
        try:
            self.fetch()
        except Rejected as error:
            if self.progress.pages == 0 and re.search("status 40[34]", str(error)):
                return str(error)
            raise
        return None

    def fetch(self) -> None:
        """Read all pages into memory."""
        if self._fetched is None:
            self._fetched = list(self._pages(lambda: None))

    @property
    def share_done(self) -> float:
        """0 until all is read: the length of the list is unknown."""
        return float(self.progress.complete)

    def covered(self) -> Covered:
        return Covered("id")

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        order = self.entity.read.order_by.partition(":")[0]
        return {order: dict.fromkeys(("required", "read_to") if self.progress.complete else ("required",))}

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        if self._fetched is not None:
            yield from self._fetched
            return
        progress = self.progress
        with closing(self.connect()) as client:
            for page in client.pages(self.entity.path, order_by=self.entity.read.order_by):
                rows = type_rows(page.rows, self.entity.columns, page.requested_at, self.entity.left_out)
                page.rows.clear()  # frees memory
                progress.count_page(page, rows.table.num_rows)
                progress.rows_touched += rows.table.num_rows
                progress.count_fields(rows)
                on_page()
                flag = pa.repeat(True, rows.table.num_rows)
                yield rows.table.append_column(IS_TOUCHED, flag), page.size
        progress.complete = True
