"""The check that compares a table with Gorgias's events: they name every row as it is created.

It costs a call per 100 events. It tolerates differences without a fault: rows that were deleted before they were read,
and imported messages, since they are created in the past.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from gorgias_assets.api.client import GorgiasClient, GorgiasError, Rejected
from gorgias_assets.api.events import EVENTS_KEPT, event_pages, is_id
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.checks.audits import MOST_IDS, SETTLING, created_in, stored_among, tolerated
from gorgias_assets.checks.verdicts import CheckContext, Verdict, check, count_of
from gorgias_assets.metadata import began_at
from gorgias_assets.windows import Window

MOST_DAYS = 7  # that one run compares, the newest


@dataclass(frozen=True)
class Compared:
    """One day: the ids that events name, and the ids of stored rows that were created on it.

    - `missing`: named, but stored on no day, neither living nor gone; `unnamed`: stored, but not named.
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

    def numbers(self) -> dict[str, object]:
        counts = {"events": len(self.named), "stored": len(self.stored)}
        return counts | {"missing": sorted(self.missing)[:MOST_IDS], "unnamed": sorted(self.unnamed)[:MOST_IDS]}


@check(
    "events_agree",
    "The table has the rows whose creation Gorgias's events report, but for a few, on each of the run's days, at most "
    f"the newest {MOST_DAYS}.",
    "Materialize the days that it names again. Rows that still differ were deleted before they were read, or were "
    "imported: their events are of the day of the import, and their creation lies before; a full sweep reads them.",
)
def events_agree(context: CheckContext) -> Verdict:
    """Return an error of Gorgias's as a failed check: an outage does not fail a run whose rows are stored."""
    stored, windows = context.stored, _windows(context)
    if not windows:
        return Verdict(True, "No day can be compared: Gorgias keeps events for 12 months.")
    try:
        with closing(context.connect()) as client:
            named = {day: _named(client, context.entity.creation_event, window) for day, window in windows.items()}
    except Rejected as error:
        return Verdict(False, f"Events cannot be read, so nothing was compared. {error}")
    except (GorgiasError, InvalidUri) as error:
        return Verdict(False, f"Nothing was compared. {error}")
    created = created_in(stored, windows)
    unseen = {row_id for day, ids in named.items() for row_id in ids - created[day]}
    lacking = unseen - stored_among(stored, unseen)
    return _verdict({day: Compared(ids, created[day], ids & lacking) for day, ids in named.items()})


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


def _named(client: GorgiasClient, kind: str, window: Window) -> frozenset[int]:
    rows = (event for page in event_pages(client, [kind], window) for event in page.rows)
    return frozenset(filter(is_id, (event.get("object_id") for event in rows)))


def _verdict(days: Mapping[str, Compared]) -> Verdict:
    differing = [_difference(day, compared) for day, compared in days.items() if compared.differs]
    events, rows = (sum(len(getattr(compared, ids)) for compared in days.values()) for ids in ("named", "stored"))
    difference = f"different: {', '.join(differing)}" if differing else "no notable difference"
    text = f"{count_of(len(days), 'day')} with {count_of(events, 'event')} and {count_of(rows, 'row')}; {difference}."
    return Verdict(not differing, text, {day: compared.numbers() for day, compared in days.items()})


def _difference(day: str, compared: Compared) -> str:
    return f"{day} ({count_of(len(compared.missing), 'row')} missing, {len(compared.unnamed):,} without an event)"
