"""Batches: rows that are merged together, with the position behind them; and the base of all that read them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Self

import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.api.client import GorgiasClient, GorgiasError, Page, Rejected
from gorgias_assets.api.events import Held
from gorgias_assets.api.page_size import PAGE_ROWS
from gorgias_assets.entities.model import Entity, WayT
from gorgias_assets.entities.view import NamedView
from gorgias_assets.privacy.door import Door
from gorgias_assets.privacy.policy import Screen
from gorgias_assets.sweeps.deletions import Named
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.rows import TypedRows, newest_by_id, type_rows
from gorgias_assets.warehouse.tables import IS_TOUCHED, Covered
from gorgias_assets.windows import Window

BATCH_ROWS = 10_000
BATCH_BYTES = 24 * 2**20  # of bodies; bounds memory if bodies are long
UNAVAILABLE = (403, 404)  # for an account whose plan or key lacks an optional entity

_NEVER = datetime.max.replace(tzinfo=UTC)  # no row is read then

Pages = Generator[tuple[pa.Table, int], Any, None]


@dataclass(frozen=True)
class Batch:
    """Rows to merge, each id once in the state that was read last, in the order they were read.

    - `rows`: typed columns, the added ones and `_is_touched`: a row that was not touched in the window refreshes a
      stored row, and is never added.
    - `position`: where the reading stands once these are merged, for `resume`; empty if it cannot resume.
    """

    rows: pa.Table
    position: str


@dataclass(frozen=True)
class Expects:
    """The expectations of a reading of the table that it is loaded into.

    - `account`: the domain of the account whose rows it holds; None if any will do.
    - `rewrite`: what was stored under another privacy policy is rewritten once all is read.
    - `account_changed`: the rows of an account with another name belong to this one from now on.
    - `believe_absence`: rows may be gone, even if unusually many are missing.
    """

    account: str | None = None
    account_changed: bool = False
    believe_absence: bool = False
    rewrite: bool = False


class Reader(ABC, Generic[WayT]):
    """One reading of `entity`, by any way. Lazy: nothing is requested before `peek()`, or `batches()` is iterated.

    - `connect` makes a client of the account; each thread that reads has one of its own.
    - `expects`: what the table it is loaded into should be like.
    - `events`: the table of the account's events, in the same schema; empty if it has none.
    - `owned`: the tables whose rows are gone with a deleted row of this one, with their field that holds its id.
    - `door`: the rules that its rows pass before they are stored.
    - `views`: the views that read the table, which are kept as declared once rows are in it.
    - `key`: the name under which a position is saved; readings of one key may resume from each other's positions.
    """

    key: str
    window: Window | None = None
    remark = ""  # a sentence for the log, once all is read
    is_part = False  # True if it leaves what is gone, and what it has not read, to another reading
    resumed_from: datetime | None = None

    def __init__(
        self,
        entity: Entity[WayT],
        connect: Callable[[], GorgiasClient],
        *,
        max_lookups: int = 500,
        owned: Mapping[str, str] = MappingProxyType({}),
        events: str = "",
        expects: Expects | None = None,
    ) -> None:
        self.entity = entity
        self.connect = connect
        self.max_lookups = max_lookups
        self.owned = owned
        self.events = events
        self.expects = expects or Expects()
        self.views: Sequence[NamedView] = ()
        self.door = Door()
        self.progress = Progress()
        self._peeked: Page | None = None

    def keeping(self, views: Sequence[NamedView]) -> Self:
        """Return the reader, with these views."""
        self.views = views
        return self

    def behind(self, door: Door) -> Self:
        """Return the reader, whose rows pass this door."""
        self.door = door
        return self

    @cached_property
    def screen(self) -> Screen | None:
        """The privacy policy for its rows; None without one."""
        return self.door.screen.of(self.entity.name) if self.door.screen else None

    @property
    def finds_gone(self) -> bool:
        """True if a stored row that it should have read and has not may be gone."""
        return True

    @property
    def began_at(self) -> datetime | None:
        """The second before which a complete reading has read all that happened, by Gorgias's clock.

        It is of this attempt, also if that resumed; None before the first answer.
        """
        return self.progress.complete_to

    @property
    def started_at(self) -> datetime | None:
        """The moment when the first attempt sent its first request, by Gorgias's clock; None before its answer."""
        return self.progress.first_requested_at

    @property
    @abstractmethod
    def share_done(self) -> float:
        """The share that has been read, from 0 to 1."""

    def resume(self, position: str) -> bool:  # noqa: ARG002, for readers that resume
        """Continue from a position of an earlier attempt. Return False, and begin anew, if that is impossible."""
        return False

    def peek(self) -> str | None:
        """Request the first page now, and keep it. Return None, or in a sentence why there is nothing to read.

        That is so if Gorgias refuses the first page of an optional entity with status 403 or 404. Raises the client's
        other errors.
        """
        if self._peeked is None:
            try:
                with closing(self.connect()) as client:
                    page = self._first_page(client)
            except Rejected as refused:
                if not self.entity.is_optional or refused.status not in UNAVAILABLE:
                    raise
                return (
                    f"Gorgias refuses GET {self.entity.path} of this account with status {refused.status}: its plan "
                    "may lack it, or the key's user may not read it. The table is left as it is."
                )
            self.progress.count(page)
            self._peeked = replace(page, calls=0, waited=0.0)
        return None

    def batches(
        self, rows: int = BATCH_ROWS, size: int = BATCH_BYTES, on_page: Callable[[], object] = lambda: None
    ) -> Iterator[Batch]:
        """Yield the rows in batches of whole pages, of at most `rows` rows or about `size` bytes of bodies.

        There is at least one batch; the last is short or empty. After a `GorgiasError`, which is raised again, the rows
        read before it are a batch as well. `on_page` is called after each page, with `progress` up to date.
        """
        held: list[pa.Table] = []
        weight = 0
        with closing(self._pages(on_page)) as pages:
            try:
                for table, bytes_read in pages:
                    held.append(table)
                    weight += bytes_read
                    if weight >= size or sum(part.num_rows for part in held) + PAGE_ROWS > rows:
                        batch, held, weight = self._batch(held), [], 0
                        del table
                        yield batch
                        del batch
            except GorgiasError:
                yield self._batch(held)
                raise
            yield self._batch(held)

    @abstractmethod
    def covered(self) -> Covered:
        """Return where a complete reading has read every living row. A field that moves may have left it since."""

    @property
    @abstractmethod
    def coverage(self) -> dict[str, dict[str, datetime | None]]:
        """For each order that is needed: the moment it is `required` to read below, and the one it has `read_to`.

        None is the list's end; `read_to` is missing if the list was not read in that order.
        """

    def named_gone(self, client: GorgiasClient, held: Held | None = None) -> Named:  # noqa: ARG002, for those that use events
        """Return the rows that events name as gone; none if reading every living row shows what is gone.

        Events that are `held` are not requested.
        """
        return Named()

    def looks_due_by(self, now: datetime) -> datetime | None:
        """Return the moment until which looks for missing rows are due; None if all are."""
        return now

    @abstractmethod
    def _first_page(self, client: GorgiasClient) -> Page:
        """Request the page with which a reading begins that does not resume."""

    def _take_peeked(self) -> Page | None:
        """Return the first page if it was requested already, once."""
        page, self._peeked = self._peeked, None
        return page

    def _typed(self, page: Page) -> TypedRows:
        """Type and count the page's rows; the parsed ones are freed."""
        rows = type_rows(page.rows, self.entity.columns, page.requested_at, self.entity.left_out, self.screen)
        page.rows.clear()
        self.progress.count_page(page, rows.table.num_rows)
        self.progress.count_fields(rows)
        return rows

    def _flagged(self, rows: TypedRows, touched: pa.Array) -> pa.Table:
        """Return the rows with their flag `_is_touched`, counted."""
        self.progress.rows_touched += pc.sum(touched).as_py() or 0
        return rows.table.append_column(IS_TOUCHED, touched)

    @abstractmethod
    def _pages(self, on_page: Callable[[], object]) -> Pages:
        """Yield the rows of each page, and the bytes of its body."""

    def _batch(self, held: Sequence[pa.Table]) -> Batch:
        no_rows = type_rows([], self.entity.columns, _NEVER).table
        none = no_rows.append_column(IS_TOUCHED, pa.array([], pa.bool_()))
        return Batch(newest_by_id(pa.concat_tables([none, *held])), self._saved_position())

    def _saved_position(self) -> str:
        return ""
