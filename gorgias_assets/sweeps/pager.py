"""The list of an entity as a sweep reads it: in order, from wherever a span stands, whatever becomes of its cursors.

A span ends at the first page that shows that nothing older can belong to it. That is right only while the list keeps
its order, which is verified on every page and from one to the next.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from threading import RLock

from gorgias_assets.api.client import CursorRefused, GorgiasClient, Page, Untrusted, endless
from gorgias_assets.entities.model import Entity
from gorgias_assets.sweeps.position import Position, Span
from gorgias_assets.sweeps.progress import Progress
from gorgias_assets.sweeps.rows import moments
from gorgias_assets.sweeps.seek import Sought, seek

MICROSECOND = timedelta(microseconds=1)


class EntityList:
    """Answers to the readers of one sweep, each of which brings a client of its own.

    `lock` is held to change what they share, the sweep's position and progress; `can_seek` until a seek is refused;
    `oldest` is the order field of the list's last row, by order, where it is known.
    """

    def __init__(self, entity: Entity, position: Position, progress: Progress, can_seek: bool) -> None:
        self.can_seek = can_seek
        self.oldest: dict[str, datetime] = {}
        self.lock = RLock()
        self._entity = entity
        self._position = position
        self._progress = progress

    def pages(
        self, client: GorgiasClient, span: Span, first: Page | None = None
    ) -> Iterator[tuple[Page, list[datetime]]]:
        """Pages from where the span stands, or from `first`, to the list's end, with their rows' order field.

        A cursor that is refused costs calls, and no rows. Raises `Untrusted` where the list is not in order, or has no
        end, and the client's errors.
        """
        page, reached = first or self._first(client, span), None
        seen: set[str] = set()
        refused_at: datetime | None = None
        while True:
            keys = moments(page.rows, span.order)
            if any(older < newer for older, newer in pairwise([reached, *keys] if reached else keys)):
                raise Untrusted(
                    f"GET {self._entity.path}: rows are not in the order of {span.order}, newest first, so rows "
                    "could be missed. Nothing was lost; try again, and report it if it stays."
                )
            with self.lock:
                self._progress.rows_in_order += len(keys)
                self._progress.rows_without_order += len(page.rows) - len(keys)
            reached = keys[-1] if keys else reached
            yield page, keys
            if page.next_cursor is None:
                return
            if page.next_cursor in seen:
                raise endless(self._entity.path)
            seen.add(page.next_cursor)
            try:
                page = self._ask(client, f"{span.order}:desc", page.next_cursor)
            except CursorRefused:
                if reached is None or (refused_at is not None and reached >= refused_at):
                    raise
                refused_at = reached
                page, from_newest = self._reach(client, span, reached + MICROSECOND)
                reached = None if from_newest else reached
                seen.clear()

    def _first(self, client: GorgiasClient, span: Span) -> Page:
        """The page at which the span's reading begins or goes on."""
        if span.cursor is not None:
            try:
                page = self._ask(client, f"{span.order}:desc", span.cursor)
            except CursorRefused:
                pass
            else:
                if self._continues(client, span, page):
                    return page
        moment = span.reached + MICROSECOND if span.reached else span.top
        return self._reach(client, span, moment)[0] if moment else self._newest(client, span)

    def _continues(self, client: GorgiasClient, span: Span, page: Page) -> bool:
        """Whether the answer to an old cursor begins where that stood."""
        if span.reached is None:
            return False
        if page.rows:
            return max(moments(page.rows, span.order), default=span.reached) <= span.reached
        return page.next_cursor is not None or self.find_oldest(client, span.order) >= span.reached

    def find_oldest(self, client: GorgiasClient, order: str) -> datetime:
        """The order field of the list's last row; the end of time where it has none, and its beginning in doubt."""
        page = self._ask(client, f"{order}:asc", None)
        keys = moments(page.rows, order)
        if not keys and (page.rows or page.next_cursor is not None):
            return datetime.min.replace(tzinfo=UTC)
        with self.lock:
            return self.oldest.setdefault(order, min(keys, default=datetime.max.replace(tzinfo=UTC)))

    def _reach(self, client: GorgiasClient, span: Span, moment: datetime) -> tuple[Page, bool]:
        """The page at which the rows begin that are older than `moment`, else the newest, and which of them it is."""
        sought = self.seek(client, span.order, moment)
        return (sought.page, False) if sought else (self._newest(client, span), True)

    def _newest(self, client: GorgiasClient, span: Span) -> Page:
        if span.bottom is None:
            self.find_oldest(client, span.order)
        page = self._ask(client, f"{span.order}:desc", None)
        with self.lock:
            span.top = None
            self._progress.newest = self._progress.newest or next(iter(moments(page.rows, span.order)), None)
        return page

    def seek(self, client: GorgiasClient, order: str, moment: datetime) -> Sought | None:
        """Reach the rows older than `moment`; None on any doubt, after which nothing is sought any more."""
        if not self.can_seek:
            return None
        sought = seek(partial(self._ask, client), order, moment)
        with self.lock:
            if sought is None:
                self.can_seek = False
                self._progress.seek = "refused, walked"
                return None
            self._progress.seek = "used"
            if sought.oldest:
                self.oldest[order] = sought.oldest
        return sought

    def _ask(self, client: GorgiasClient, order_by: str, cursor: str | None) -> Page:
        try:
            page = client.page(self._entity.path, order_by=order_by, cursor=cursor)
        except CursorRefused as refused:
            with self.lock:
                self._progress.calls += refused.calls
                self._progress.retries += refused.calls - 1
            raise
        with self.lock:
            self._position.first_answer_at = self._position.first_answer_at or page.answered_at
            self._progress.pages += 1
            self._progress.rows_read += len(page.rows)
            self._progress.count(page)
        return page
