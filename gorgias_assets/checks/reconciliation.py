"""The check that compares a table with Gorgias's events: they name every row as it is created.

It costs a call per 100 events, and a few more for each day that differs. Rows that events name as deleted or merged are
not missing. Further differences are no fault if they are few: Gorgias reports no deletion of a single message, and
imported ones are created in the past.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from math import ceil
from typing import Any

from gorgias_assets.api.client import HELP_PATIENCE_SECONDS, GorgiasClient, GorgiasError, Rejected
from gorgias_assets.api.events import EVENTS_KEPT, event_pages, ids_in, is_id
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.checks.audits import MOST_IDS, SETTLING, Stored, created_in, stored_among, tolerated
from gorgias_assets.checks.verdicts import CheckContext, Verdict, check, count_of
from gorgias_assets.entities.model import Entity
from gorgias_assets.metadata import began_at
from gorgias_assets.windows import Window

MOST_DAYS = 7  # that one run compares, the newest
MOST_PAGES_SINCE = 20  # of events after the end of a day that differs, the newest


@dataclass(frozen=True)
class Told:
    """The rows that events name: as created, with the context of each event, and as gone; owners that are gone."""

    created: Mapping[int, object]
    gone: frozenset[int]
    owners_gone: frozenset[int]


@dataclass(frozen=True)
class Compared:
    """One day: the ids that events name, and the ids of stored rows that were created on it.

    - `lacking`: named, but stored on no day, neither living nor gone; `missing`: of these, not named as gone either.
    - `unnamed`: stored, but not named.
    - `orphaned`: how many more may be missing, below owners that were created on the day and are gone.
    """

    named: frozenset[int]
    stored: frozenset[int]
    lacking: frozenset[int]
    gone: frozenset[int]
    orphaned: int = 0

    @property
    def missing(self) -> frozenset[int]:
        return self.lacking - self.gone

    @property
    def unnamed(self) -> frozenset[int]:
        return self.stored - self.named

    @property
    def differs(self) -> bool:
        most = tolerated(len(self.named))
        return len(self.missing) > most + self.orphaned or len(self.unnamed) > most

    def numbers(self) -> dict[str, object]:
        counts = {"events": len(self.named), "stored": len(self.stored)}
        deleted = len(self.lacking & self.gone)
        return {
            **counts,
            **({"deleted": deleted} if deleted else {}),
            "missing": sorted(self.missing)[:MOST_IDS],
            "unnamed": sorted(self.unnamed)[:MOST_IDS],
        }


@check(
    "events_agree",
    "The table has the rows whose creation Gorgias's events report, but for a few, on each of the run's days, at most "
    f"the newest {MOST_DAYS}.",
    "Materialize the days that it names again. Messages that still differ were deleted one by one, or were "
    "imported: their events are of the day of the import, and their creation lies before; a full sweep reads them.",
)
def events_agree(context: CheckContext) -> Verdict:
    """Return an error of Gorgias's as a failed check: an outage does not fail a run whose rows are stored."""
    stored, windows = context.stored, _windows(context)
    if not windows:
        return Verdict(True, "No day can be compared: Gorgias keeps events for 12 months.")
    try:
        with closing(context.connect()) as client:
            events = _Events(client, context.entity, _owner(context))
            told = {day: events.of(window) for day, window in windows.items()}
            days = _compared(stored, windows, told)
            for day in [day for day, compared in days.items() if compared.differs]:
                until = began_at(context.materializations[day]) or windows[day].end
                days[day] = events.explain(days[day], told[day], windows[day], until)
    except Rejected as error:
        return Verdict(False, f"Events cannot be read, so nothing was compared. {error}")
    except (GorgiasError, InvalidUri) as error:
        return Verdict(False, f"Nothing was compared. {error}")
    return _verdict(days)


class _Events:
    """The events of an entity, and those of its owner that name rows which are gone with it."""

    def __init__(self, client: GorgiasClient, entity: Entity[Any], owner: Entity[Any] | None) -> None:
        self._client = client
        self._creation = entity.creation_event
        self._gone = {*entity.gone_events, entity.creation_event.removesuffix("created") + "deleted"}
        self._owner = owner
        self._owner_gone = set(owner.gone_events) if owner else set[str]()

    def of(self, window: Window) -> Told:
        return self._told([self._creation, *self._gone, *self._owner_gone], window)

    def explain(self, compared: Compared, told: Told, window: Window, until: datetime) -> Compared:
        """Take what was deleted after the window and before the day was read, and what was deleted with its owner.

        Gorgias creates an owner and its first row for one cause, which their events share. Other rows of the owner
        cannot be told from the rest: each owner may have had as many as the day's owners have on average.
        """
        later = self._told([*self._gone, *self._owner_gone], Window(window.end, until)) if until > window.end else None
        gone = told.gone | later.gone if later else told.gone
        if self._owner is None:
            return replace(compared, gone=gone)
        owners = self._told([self._owner.creation_event], window).created
        lost = owners.keys() & (told.owners_gone | later.owners_gone if later else told.owners_gone)
        causes = {owners[owner]: owner for owner in lost if owners[owner]}
        below = {row: causes[why] for row in compared.lacking if (why := told.created.get(row)) in causes}
        each = ceil(len(told.created) / len(owners)) if owners else 0
        orphaned = max(0, each * len(lost) - len(below.keys() - gone))
        return replace(compared, gone=gone | below.keys(), orphaned=orphaned)

    def _told(self, types: Sequence[str], window: Window) -> Told:
        pages = event_pages(self._client, types, window, patience=HELP_PATIENCE_SECONDS)
        created: dict[int, object] = {}
        gone: dict[bool, set[int]] = {True: set(), False: set()}  # by whether they are owners
        for page in pages if self._creation in types else islice(pages, MOST_PAGES_SINCE):
            for event in page.rows:
                kind, named = event["type"], event.get("object_id")
                if kind in self._gone | self._owner_gone:
                    gone[kind in self._owner_gone] |= _gone_ids(event)
                elif is_id(named):
                    context = event.get("context")
                    created[named] = context if isinstance(context, str) else None
        return Told(created, frozenset(gone[False]), frozenset(gone[True]))


def _gone_ids(event: Mapping[str, Any]) -> set[int]:
    """Return the ids of rows that an event names as gone: a merge names them in its data, and else its object."""
    in_data = set() if event["type"].endswith("-deleted") else ids_in(event.get("data"))
    return in_data or {named for named in [event.get("object_id")] if is_id(named)}


def _owner(context: CheckContext) -> Entity[Any] | None:
    """Return the entity whose rows take those of this one with them."""
    parent = context.entity.parent
    owners = (other for other in context.account.entities if parent and parent.owns and other.name == parent.name)
    return next(owners, None)


def _compared(stored: Stored, windows: Mapping[str, Window], told: Mapping[str, Told]) -> dict[str, Compared]:
    created = created_in(stored, windows)
    unseen = {row_id for day, events in told.items() for row_id in events.created.keys() - created[day]}
    lacking = unseen - stored_among(stored, unseen)
    return {
        day: Compared(frozenset(events.created), created[day], frozenset(lacking & events.created.keys()), events.gone)
        for day, events in told.items()
    }


def _windows(context: CheckContext) -> dict[str, Window]:
    """Return the newest days, each as far as its events can be in the table. Raises `NothingToCheck`."""
    begun = {key: began for key, metadata in context.materializations.items() if (began := began_at(metadata))}
    newest = [key for key in context.days if key in begun][-MOST_DAYS:]
    if not newest:
        raise context.nothing_of(context.entity)
    oldest = context.now - EVENTS_KEPT
    ends = {key: _end(context.days[key], begun[key]) for key in newest if context.days[key].start >= oldest}
    return {key: Window(start, end) for key, end in ends.items() if end > (start := context.days[key].start)}


def _end(day: Window, began: datetime) -> datetime:
    return day.end if began >= day.end else began - SETTLING


def _verdict(days: Mapping[str, Compared]) -> Verdict:
    differing = [_difference(day, compared) for day, compared in days.items() if compared.differs]
    events, rows = (sum(len(getattr(compared, ids)) for compared in days.values()) for ids in ("named", "stored"))
    difference = f"different: {', '.join(differing)}" if differing else "no notable difference"
    text = f"{count_of(len(days), 'day')} with {count_of(events, 'event')} and {count_of(rows, 'row')}; {difference}."
    return Verdict(not differing, text, {day: compared.numbers() for day, compared in days.items()})


def _difference(day: str, compared: Compared) -> str:
    return f"{day} ({count_of(len(compared.missing), 'row')} missing, {len(compared.unnamed):,} without an event)"
