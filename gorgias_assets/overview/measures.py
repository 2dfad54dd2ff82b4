"""What is measured of the facts, and by what: one definition for every engine, for the table and for the report.

The definitions are those of Gorgias's own statistics where it documents them: "How Metrics are Calculated"
(docs.gorgias.com/en-US/how-metrics-are-calculated-406747) and "Measure ticket quality: Satisfaction"
(docs.gorgias.com/en-US/measure-ticket-quality-satisfaction-6422690). Each measure belongs to the day of its own event:
a ticket that was created on Monday, answered on Tuesday and closed on Friday is counted on three days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from gorgias_assets.overview.facts import Facts

DIMENSIONS = ("all", "channel", "agent")


class Grouped:
    """Facts by some of their columns, `all` being one that is the same for all of them."""

    def __init__(self, facts: Facts, by: list[str]) -> None:
        def grouped(frame: pd.DataFrame) -> Any:
            return frame.assign(all="all").groupby(by)

        self.created, self.closed, self.answered = map(grouped, (facts.created, facts.closed, facts.answered))
        self.sent, self.scored = grouped(facts.sent), grouped(facts.scored)


@dataclass(frozen=True)
class Measure:
    """One column. Durations are in seconds, as their names say."""

    name: str
    type: pa.DataType
    definition: str
    of: Callable[[Grouped], pd.Series]
    is_share: bool = False

    @property
    def is_duration(self) -> bool:
        return self.name.endswith("_seconds")

    @property
    def title(self) -> str:
        return self.name.removesuffix("_seconds").replace("_", " ").replace("p90", "90th percentile").capitalize()


def _share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Null where the whole is nothing."""
    whole, part = whole.astype(float), part.astype(float)
    return part.reindex(whole.index, fill_value=0.0) / whole


MEASURES = (
    Measure(
        "tickets_created",
        pa.int64(),
        "Tickets created on the day, but for spam, the trash and deleted ones.",
        lambda by: by.created.size(),
    ),
    Measure(
        "tickets_closed",
        pa.int64(),
        "Tickets last closed on the day and not open again when it was materialised. One that is closed again later "
        "counts on that day, and no longer on this one once it is materialised again.",
        lambda by: by.closed.size(),
    ),
    Measure(
        "first_responses",
        pa.int64(),
        "Tickets that an agent first replied to on the day, in public and from the helpdesk: replies by rules, from "
        "outside and imported ones do not count, nor do tickets that an agent began.",
        lambda by: by.answered.size(),
    ),
    Measure(
        "first_response_median_seconds",
        pa.float64(),
        "Median time of these first responses, from the customer's first message to the reply, nights included.",
        lambda by: by.answered["seconds"].median(),
    ),
    Measure(
        "first_response_p90_seconds",
        pa.float64(),
        "90th percentile of the same: nine in ten were answered sooner; interpolated between neighbours.",
        lambda by: by.answered["seconds"].quantile(0.9),
    ),
    Measure(
        "resolution_median_seconds",
        pa.float64(),
        "Median time from the customer's first message to the last closing, of the tickets closed on the day.",
        lambda by: by.closed["seconds"].median(),
    ),
    Measure(
        "resolution_p90_seconds",
        pa.float64(),
        "90th percentile of the same, interpolated between neighbours.",
        lambda by: by.closed["seconds"].quantile(0.9),
    ),
    Measure(
        "messages_per_ticket",
        pa.float64(),
        "Average number of messages, of the customer and of the shop, in the tickets closed on the day; internal notes "
        "are left out.",
        lambda by: by.closed["messages"].mean(),
    ),
    Measure(
        "surveys_sent",
        pa.int64(),
        "Satisfaction surveys sent on the day.",
        lambda by: by.sent.size(),
    ),
    Measure(
        "surveys_scored",
        pa.int64(),
        "Satisfaction surveys answered on the day, whenever they were sent.",
        lambda by: by.scored.size(),
    ),
    Measure(
        "satisfaction_score",
        pa.float64(),
        "Share of the surveys answered on the day that have a score of 4 or 5, from 0 to 1.",
        lambda by: by.scored["is_satisfied"].mean(),
        is_share=True,
    ),
    Measure(
        "average_score",
        pa.float64(),
        "Average score of the surveys answered on the day, from 1 to 5.",
        lambda by: by.scored["score"].mean(),
    ),
    Measure(
        "answer_rate",
        pa.float64(),
        "Surveys answered on the day per survey sent on the day. Answers come days later, so that one day says little "
        "and may exceed 1: over several days, divide the sums.",
        lambda by: _share(by.scored.size(), by.sent.size()),
        is_share=True,
    ),
)

KEYS = {
    "day": (pa.date32(), "The day, in UTC."),
    "dimension": (pa.string(), "What the row is of: all, one channel, or one agent."),
    "slice": (pa.string(), "The channel, or the agent's id; all, if the row is of all."),
    "label": (pa.string(), "The slice for people: the agent's name, the channel."),
}
COUNTS = [measure.name for measure in MEASURES if measure.type == pa.int64()]
SCHEMA = pa.schema(
    [(name, kind) for name, (kind, _) in KEYS.items()] + [(measure.name, measure.type) for measure in MEASURES]
)
COLUMNS = dg.TableSchema(
    [dg.TableColumn(name, str(kind), definition) for name, (kind, definition) in KEYS.items()]
    + [dg.TableColumn(measure.name, str(measure.type), measure.definition) for measure in MEASURES]
)


def measured(facts: Facts, by: list[str], index: pd.Index | None = None) -> pd.DataFrame:
    """Every measure, for each combination of the columns in which something happened, or for those of `index`."""
    grouped = Grouped(facts, by)
    frame = pd.DataFrame({measure.name: measure.of(grouped) for measure in MEASURES})
    if index is not None:
        frame = frame.reindex(index)
    return frame.fillna(dict.fromkeys(COUNTS, 0)).astype({m.name: m.type.to_pandas_dtype() for m in MEASURES})


def overview_rows(facts: Facts, names: dict[str, str], days: pd.DatetimeIndex) -> pa.Table:
    """The table's rows of these days; each has at least its row of all, be it of zeros."""
    return pa.concat_tables(_rows_of(dimension, facts.on(days), names, days) for dimension in DIMENSIONS)


def _rows_of(dimension: str, facts: Facts, names: dict[str, str], days: pd.DatetimeIndex) -> pa.Table:
    every_day = pd.MultiIndex.from_product([days, ["all"]], names=["day", "all"]) if dimension == "all" else None
    rows = measured(facts, ["day", dimension], every_day).reset_index(names=["day", "slice"])
    label = rows["slice"].map(lambda agent: names.get(agent, agent)) if dimension == "agent" else rows["slice"]
    rows = rows.assign(day=rows["day"].dt.date, dimension=dimension, label=label)
    return pa.Table.from_pandas(rows, SCHEMA, preserve_index=False)
