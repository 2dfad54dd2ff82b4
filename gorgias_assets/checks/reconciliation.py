"""The check that compares a table with Gorgias's events: they name every row as it is created.

It costs a call per 100 events, and a few more for each day that differs. Rows that events name as deleted or merged are
not missing. Further differences are no fault if they are few: Gorgias reports no deletion of a single message, and
imported ones are created in the past.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, islice
from math import ceil
from typing import Any

from gorgias_assets.api.client import GorgiasError, Rejected
from gorgias_assets.api.events import Event, ids_in, is_id
from gorgias_assets.api.events import events as events_of
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.checks.audits import MOST_IDS, SETTLING, Stored, created_in, stored_among, tolerated
from gorgias_assets.checks.verdicts import CheckContext, Verdict, check, count_of, listed, table
from gorgias_assets.entities.events import EVENTS
from gorgias_assets.entities.model import Entity
from gorgias_assets.metadata import began_at
from gorgias_assets.windows import Window

MOST_DAYS = 7  # that one run compares, the newest
MOST_PAGES_SINCE = 20  # of events after the end of a day that differs, the newest
MOST_PAGES_OF_OWNERS = 20  # of events of a type on such a day, the newest


@dataclass(frozen=True)
class Told:
    """The rows that events name: as created, with the context of each event, and as gone; owners that are gone."""

    created: Mapping[int, str | None]
    gone: frozenset[int]
    owners_gone: frozenset[int]


@dataclass(frozen=True)
class Compared:
    """One day: the ids that events name, and the ids of stored rows that were created on it.

    - `lacking`: named, but stored on no day, neither living nor gone; `missing`: of these, not named as gone either.
    - `unnamed`: stored, but not named.
    - `orphaned`: how many more may be missing, below owners that something happened to on the day and that are gone.
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

    def numbers(self) -> dict[str, int]:
        return {
            "events": len(self.named),
            "stored": len(self.stored),
            "deleted": len(self.lacking & self.gone),
            "missing": len(self.missing),
            "without_event": len(self.unnamed),
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
        has_begun = any(window.start >= context.now - EVENTS.read.kept for window in context.days.values())
        why = "today has just begun" if has_begun else "Gorgias keeps events for 12 months"
        return Verdict(True, f"No day can be compared: {why}.")
    try:
        with closing(context.connect()) as client:
            events = _Events(partial(events_of, client, held=context.held_events), context.entity, _owner(context))
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

    def __init__(
        self,
        events: Callable[[Sequence[str], Window], Iterator[Sequence[Event]]],
        entity: Entity[Any],
        owner: Entity[Any] | None,
    ) -> None:
        self._events = events
        self._creation = entity.creation_event
        self._gone = {*entity.gone_events, entity.creation_event.removesuffix("created") + "deleted"}
        self._owner_gone = set(owner.gone_events) if owner else set[str]()
        self._owner_alive = (
            [owner.creation_event, owner.creation_event.removesuffix("created") + "updated"] if owner else []
        )

    def of(self, window: Window) -> Told:
        return self._told([self._creation, *self._gone, *self._owner_gone], window)

    def explain(self, compared: Compared, told: Told, window: Window, until: datetime) -> Compared:
        """Take what was deleted after the window and before the day was read, and what was deleted with its owner.

        Gorgias creates a row and changes its owner for one cause, which their events share. Rows without a common cause
        cannot be told from the rest: each owner may have had as many as the day's owners have on average, or as many as
        it has events, since a new row updates it. Owners that were created on the day explain most, and are requested
        first; updates are many.
        """
        later = self._told([*self._gone, *self._owner_gone], Window(window.end, until)) if until > window.end else None
        explained = compared = replace(compared, gone=told.gone | later.gone if later else told.gone)
        owners_gone = told.owners_gone | later.owners_gone if later else told.owners_gone
        causes = defaultdict[int, list[str | None]](list)
        for kind in self._owner_alive if owners_gone else ():
            if not explained.differs:
                break
            for owner, cause in self._causes(kind, window):
                causes[owner].append(cause)
            explained = _without_orphans(compared, told, causes, owners_gone)
        return explained

    def _causes(self, kind: str, window: Window) -> Iterator[tuple[int, str | None]]:
        """Yield the owners that events of a type name, with the contexts of these events."""
        for event in chain.from_iterable(islice(self._events([kind], window), MOST_PAGES_OF_OWNERS)):
            if is_id(named := event.get("object_id")):
                yield named, _cause(event)

    def _told(self, types: Sequence[str], window: Window) -> Told:
        pages = self._events(types, window)
        created: dict[int, str | None] = {}
        gone: dict[bool, set[int]] = {True: set(), False: set()}  # by whether they are owners
        for page in pages if self._creation in types else islice(pages, MOST_PAGES_SINCE):
            for event in page:
                kind, named = event["type"], event.get("object_id")
                if kind in self._gone | self._owner_gone:
                    gone[kind in self._owner_gone] |= _gone_ids(event)
                elif is_id(named):
                    created[named] = _cause(event)
        return Told(created, frozenset(gone[False]), frozenset(gone[True]))


def _without_orphans(
    compared: Compared, told: Told, causes: Mapping[int, Sequence[str | None]], owners_gone: frozenset[int]
) -> Compared:
    """Take the rows that share a cause with an owner that is gone, and allow for its other ones."""
    lost = causes.keys() & owners_gone
    theirs = {cause for owner in lost for cause in causes[owner] if cause}
    below = {row for row in compared.lacking if told.created.get(row) in theirs}
    each = ceil(len(told.created) / len(causes)) if causes else 0
    most = sum(max(each, len(causes[owner])) for owner in lost)
    orphaned = max(0, most - len(below - compared.gone))
    return replace(compared, gone=compared.gone | below, orphaned=orphaned)


def _cause(event: Mapping[str, Any]) -> str | None:
    context = event.get("context")
    return context if isinstance(context, str) else None


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
    oldest = context.now - EVENTS.read.kept
    ends = {key: _end(context.days[key], begun[key]) for key in newest if context.days[key].start >= oldest}
    return {key: Window(start, end) for key, end in ends.items() if end > (start := context.days[key].start)}


def _end(day: Window, began: datetime) -> datetime:
    return day.end if began >= day.end else began - SETTLING


def _verdict(days: Mapping[str, Compared]) -> Verdict:
    differing = [_difference(day, compared) for day, compared in days.items() if compared.differs]
    numbers = {day: compared.numbers() for day, compared in days.items()}
    events, rows = (sum(found[name] for found in numbers.values()) for name in ("events", "stored"))
    difference = f"different: {', '.join(differing)}" if differing else "no notable difference"
    text = f"{count_of(len(days), 'day')} with {count_of(events, 'event')} and {count_of(rows, 'row')}; {difference}."
    by_day = table({"day": day, **found} for day, found in numbers.items())
    ids = {
        "missing_ids": [one.missing for one in days.values()],
        "without_event_ids": [one.unnamed for one in days.values()],
    }
    some = {name: listed(sorted(frozenset().union(*sets))[:MOST_IDS]) for name, sets in ids.items() if any(sets)}
    return Verdict(not differing, text, {"events": events, "stored": rows, "days": by_day, **some})


def _difference(day: str, compared: Compared) -> str:
    return f"{day} ({count_of(len(compared.missing), 'row')} missing, {len(compared.unnamed):,} without an event)"
