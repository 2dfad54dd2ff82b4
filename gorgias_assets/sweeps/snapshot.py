"""A snapshot: one reading of a small list as a whole."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from hashlib import sha256

import pyarrow as pa

from gorgias_assets.api.client import GorgiasClient, Page
from gorgias_assets.entities.model import Whole
from gorgias_assets.sweeps.batches import Pages, Reader
from gorgias_assets.warehouse.tables import Covered

_BITS = 63  # of an id that is made of a text


class Snapshot(Reader[Whole]):
    """All rows of `entity`. An interrupted snapshot begins anew: it is a few pages long.

    A list that comes in several passes may show a row in two of them; it is merged in the state that was read last. A
    list without pages has no paths of single rows, so none of its rows is looked for.
    """

    key = "whole list"
    _fetched: list[tuple[pa.Table, int]] | None = None

    @property
    def finds_gone(self) -> bool:
        return self.entity.read.has_pages

    @property
    def share_done(self) -> float:
        """0 until all is read: the length of the list is unknown."""
        return float(self.progress.complete)

    def fetch(self) -> None:
        """Read the whole list into memory now; `batches()` requests nothing after that. Raises the client's errors."""
        self._fetched = list(self._read())

    def covered(self) -> Covered:
        return Covered("id")

    @property
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        order = self.entity.read.order_by.partition(":")[0] or "id"
        return {order: dict.fromkeys(("required", "read_to") if self.progress.complete else ("required",))}

    def _pages(self, on_page: Callable[[], object]) -> Pages:
        for page in self._read() if self._fetched is None else self._fetched:
            on_page()
            yield page

    def _read(self) -> Iterator[tuple[pa.Table, int]]:
        with closing(self.connect()) as client:
            for filters in self.entity.read.passes:
                for page in self._pass(client, filters):
                    rows = self._typed(self._with_ids(page))
                    yield self._flagged(rows, pa.repeat(True, rows.table.num_rows)), page.size
        self.progress.complete = True

    def _pass(self, client: GorgiasClient, filters: tuple[tuple[str, str], ...]) -> Iterator[Page]:
        read, peeked = self.entity.read, self._take_peeked()
        if not read.has_pages:
            return iter([peeked or client.whole(self.entity.path, filters=filters, key=self._key)])
        return client.pages(self.entity.path, order_by=read.order_by, filters=filters, key=self._key, first=peeked)

    def _first_page(self, client: GorgiasClient) -> Page:
        read, path = self.entity.read, self.entity.path
        if not read.has_pages:
            return client.whole(path, filters=read.passes[0], key=self._key)
        return client.page(path, order_by=read.order_by, filters=read.passes[0], key=self._key)

    @property
    def _key(self) -> str:
        return self.entity.read.id_from or "id"

    def _with_ids(self, page: Page) -> Page:
        """Give the rows ids, if Gorgias gives them none."""
        if self.entity.read.id_from:
            for row in page.rows:
                row["id"] = id_of(row[self._key])
        return page


def id_of(name: str) -> int:
    """Return the same positive integer for a text at any time: bits of its SHA-256."""
    return int.from_bytes(sha256(name.encode(errors="surrogatepass")).digest()[:8]) >> (64 - _BITS)
