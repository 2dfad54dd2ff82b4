"""Reading scopes of Gorgias's statistics: those that answer, and why the others do not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dagster as dg

from gorgias_assets.api.client import GorgiasClient, GorgiasError, Page, Rejected, Unavailable
from gorgias_assets.api.statistics import LONGEST_PERIOD, STATISTICS_PATH, Query, number_of, text_of
from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.statistics.scopes import Scope
from gorgias_assets.sweeps.batches import UNAVAILABLE
from gorgias_assets.windows import Window

PATIENCE_SECONDS = 180.0  # for an answer: some scopes were seen to fail each time, and the rest is worth having
_WRONG_KEY = (0, 401)  # and what stands in front of Gorgias: no scope can be read


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an answer to a query of the scope by one of its dimensions.

    - `places`: its values of the dimension's names, in their order: ids and words.
    - `numbers`: its values of the scope's measures, in their order.
    """

    scope: Scope
    dimension: str
    day: str
    places: tuple[str | None, ...]
    numbers: tuple[float | None, ...]


@dataclass
class Answers:
    """The answers of Gorgias.

    - `rows`: those of each scope that was read to the end; `read`: these scopes, with the moment of their first answer.
    - `left_out`: the sentences on the other scopes, by name.
    - `lack`: why the account has no statistics; nothing else was asked for then.
    """

    rows: list[Row] = field(default_factory=list)
    read: dict[str, datetime] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    lack: str | None = None
    calls: int = 0
    waited: float = 0.0

    @property
    def began_at(self) -> datetime:
        return min(self.read.values())

    def metadata(self) -> dict[str, Any]:
        """Return what was read and what it cost, for the newest day of a run."""
        return {
            "api_calls": self.calls,
            "rate_limit_wait_seconds": round(self.waited, 1),
            "scopes_read": len(self.read),
            **({"scopes_left_out": dict(self.left_out)} if self.left_out else {}),
        }


def read_statistics(gorgias: GorgiasResource, scopes: Sequence[Scope], window: Window) -> Answers:
    """Ask for the days of a window. A scope that is refused, or not answered for minutes, is left out.

    The account lacks statistics if the first request is refused with status 403 or 404. Raises `dg.Failure` if the key
    is wrong, if Gorgias answers nothing else either, or if all scopes are left out.
    """
    answers = Answers()
    try:
        connected = gorgias.client()
    except InvalidUri as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    with closing(connected) as client:
        for scope in scopes:
            try:
                _read(client, scope, window, answers)
            except Rejected as refused:
                if refused.status in _WRONG_KEY:
                    raise dg.Failure(str(refused), allow_retries=False) from None
                if refused.status in UNAVAILABLE and not answers.calls and not answers.left_out:
                    answers.lack = (
                        f"Gorgias refuses POST {STATISTICS_PATH} of this account with status {refused.status}: its "
                        "plan may lack it, or the key's user may not read it. The table is left as it is."
                    )
                    return answers
                answers.left_out[scope.name] = f"Gorgias refuses it with status {refused.status}."
            except GorgiasError as error:
                if isinstance(error, Unavailable) and (outage := gorgias.outage()):
                    raise dg.Failure(outage) from None
                reason = error.reason if isinstance(error, Unavailable) else str(error)
                answers.left_out[scope.name] = reason
    if not answers.read:
        raise dg.Failure(f"No statistics were read: {_listed(answers.left_out)}")
    return answers


def note_left_out(context: dg.AssetExecutionContext, answers: Answers) -> None:
    if answers.left_out:
        asset = context.asset_key.to_user_string()
        context.log.warning(f"{asset}: left out, with what is stored of them: {_listed(answers.left_out)}")


def _read(client: GorgiasClient, scope: Scope, window: Window, answers: Answers) -> None:
    """Add all rows of a scope, or none. Raises the client's errors."""
    rows: list[Row] = []
    first: datetime | None = None
    for dimension, names in scope.dimensions.items():
        for part in _parts(window):
            query = Query(scope.name, scope.measures, part, scope.time, names)
            for page in query.pages(client, PATIENCE_SECONDS):
                _count(answers, page)
                first = first or page.requested_at
                rows += [_typed(query, scope, dimension, row) for row in page.rows]
    days = str(window.start.date()), str(window.end.date())
    answers.rows += [row for row in rows if days[0] <= row.day < days[1]]
    if first:
        answers.read[scope.name] = first


def _typed(query: Query, scope: Scope, dimension: str, row: Mapping[str, Any]) -> Row:
    return Row(
        scope,
        dimension,
        query.day_of(row),
        tuple(text_of(row.get(name)) for name in query.dimensions),
        tuple(number_of(row.get(name)) for name in query.measures),
    )


def _count(answers: Answers, page: Page) -> None:
    answers.calls += page.calls
    answers.waited += page.waited


def _parts(window: Window) -> Iterator[Window]:
    start = window.start
    while start < window.end:
        end = min(start + LONGEST_PERIOD, window.end)
        yield Window(start, end)
        start = end


def _listed(left_out: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {why}" for name, why in left_out.items())
