"""Comparing a table with what Gorgias itself tells of days: its events name every row as it is created.

It costs a call per 100 events. What can be missing without a fault is tolerated: rows that were deleted before they
were read, and imported messages, since they are created in the past.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from gorgias_assets.api.client import GorgiasClient, GorgiasError, Rejected
from gorgias_assets.api.events import EVENTS_KEPT, event_pages, is_id
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.checks.audits import MOST_IDS, SETTLING, created_in, stored_among, tolerated
from gorgias_assets.checks.verdicts import NotThere, Subject, Verdict
from gorgias_assets.evidence import began_at
from gorgias_assets.windows import Window

MOST_DAYS = 7  # that one run compares, the newest


@dataclass(frozen=True)
class Compared:
    """One day: the ids that events name, those of stored rows created on it, and how the two differ.

    - `missing`: named, and not stored at all, be it on another day or as gone; `unnamed`: stored, and not named.
    """

    named: frozenset[int]
    stored: frozenset[int]
    missing: frozenset[int]

    @property
    def unnamed(self) -> frozenset[int]:
        return self.stored - self.named

    @property
    def differs(self) -> bool:
        return max(len(self.missing), len(self.unnamed)) > tolerated(len(self.named))

    def told(self) -> dict[str, object]:
        counts = {"events": len(self.named), "stored": len(self.stored)}
        return counts | {"missing": sorted(self.missing)[:MOST_IDS], "unnamed": sorted(self.unnamed)[:MOST_IDS]}


def events_agree(subject: Subject) -> Verdict:
    """Any error of Gorgias's becomes a sentence, so that its outage does not fail a run whose rows are stored."""
    table, windows = subject.table, _windows(subject)
    if not windows:
        return Verdict(True, "None of the days can be compared: events are kept for 12 months.")
    try:
        with closing(subject.connect()) as client:
            named = {day: _named(client, subject.entity.creation_event, window) for day, window in windows.items()}
    except Rejected as error:
        return Verdict(False, f"Events cannot be read, so nothing was compared. {error}")
    except (GorgiasError, InvalidUri) as error:
        return Verdict(False, f"Nothing was compared. {error}")
    stored = created_in(subject.warehouse, table, subject.entity, windows)
    unseen = {row_id for day, ids in named.items() for row_id in ids - stored[day]}
    lacking = unseen - stored_among(subject.warehouse, table, unseen)
    return _verdict({day: Compared(ids, stored[day], ids & lacking) for day, ids in named.items()})


def _windows(subject: Subject) -> dict[str, Window]:
    """The newest of the days, each as far as its events can be in the table. Raises `NotThere`."""
    begun = {key: began_at(metadata) for key, metadata in subject.materializations.items()}
    newest = [key for key in subject.days if begun.get(key)][-MOST_DAYS:]
    if not newest:
        raise NotThere(f"No day of {subject.asset.to_user_string()} has been materialised yet.")
    oldest = subject.now - EVENTS_KEPT
    ends = {key: _end(subject.days[key], begun[key]) for key in newest if subject.days[key].start >= oldest}
    return {key: Window(subject.days[key].start, end) for key, end in ends.items() if end > subject.days[key].start}


def _end(day: Window, began: datetime | None) -> datetime:
    return day.end if began is None or began >= day.end else began - SETTLING


def _named(client: GorgiasClient, kind: str, window: Window) -> frozenset[int]:
    rows = (event for page in event_pages(client, [kind], window) for event in page.rows)
    return frozenset(filter(is_id, (event.get("object_id") for event in rows)))


def _verdict(days: Mapping[str, Compared]) -> Verdict:
    differing = [day for day, compared in days.items() if compared.differs]
    events, rows = (sum(map(len, of)) for of in ([c.named for c in days.values()], [c.stored for c in days.values()]))
    which = f": {', '.join(_difference(day, days[day]) for day in differing)}." if differing else " notably."
    said = f"Of {len(days)} days with {events:,} events and {rows:,} rows, {len(differing)} differ{which}"
    return Verdict(not differing, said, metadata={day: compared.told() for day, compared in days.items()})


def _difference(day: str, compared: Compared) -> str:
    return f"{day} ({len(compared.missing):,} rows are not stored, {len(compared.unnamed):,} have no event)"
