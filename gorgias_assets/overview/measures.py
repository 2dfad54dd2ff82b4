"""The measures of the facts: one definition for every engine, for the table and for the report.

The definitions are those of Gorgias's own statistics if it documents them: "How Metrics are Calculated"
(docs.gorgias.com/en-US/how-metrics-are-calculated-406747) and "Measure ticket quality: Satisfaction"
(docs.gorgias.com/en-US/measure-ticket-quality-satisfaction-6422690). Each measure belongs to the day of its own event:
a ticket that was created on Monday, answered on Tuesday and closed on Friday is counted on three days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from gorgias_assets.columns import Column, Kind, Personal, arrow_schema
from gorgias_assets.entities.model import string
from gorgias_assets.overview.facts import Facts, Names

DIMENSIONS = ("all", "channel", "team", "agent")
TIMES = ("day", "week")


class Grouped:
    """Facts grouped by some of their columns; the column `all` puts all of them into one group.

    `turns` are the rows of the backlog, and `ends` those of the last day, or of that of each time among the columns.
    """

    def __init__(self, facts: Facts, by: list[str]) -> None:
        def grouped(frame: pd.DataFrame) -> Any:
            return frame.assign(all="all").groupby(by)

        self.created, self.closed, self.answered = map(grouped, (facts.created, facts.closed, facts.answered))
        self.sent, self.scored = grouped(facts.sent), grouped(facts.scored)
        (dimension,) = {"all", *DIMENSIONS} & {*by} or {"all"}
        days, times = facts.backlog["day"], [facts.backlog[name] for name in by if name in TIMES]
        is_last = days == (days.groupby(times).transform("max") if times else days.max())
        is_wanted = facts.backlog["dimension"] == dimension
        backlog = facts.backlog.assign(**{dimension: facts.backlog["slice"]})
        self.turns, self.ends = (backlog[rows].groupby(by) for rows in (is_wanted, is_wanted & is_last))


@dataclass(frozen=True)
class Measure:
    """One column. Durations are in seconds, and their names end with that.

    `is_backlog` marks those of `ticket_backlog`, which are null for a time of which it has no day, and `is_end` those
    of the end of a day.
    """

    name: str
    kind: Kind
    definition: str
    of: Callable[[Grouped], pd.Series]
    is_share: bool = False
    is_backlog: bool = False
    is_end: bool = False

    @property
    def is_count(self) -> bool:
        return self.kind is Kind.INTEGER

    @property
    def is_duration(self) -> bool:
        return self.name.endswith("_seconds")

    @property
    def title(self) -> str:
        return self.name.removesuffix("_seconds").replace("_", " ").replace("p90", "90th percentile").capitalize()


def _share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return part by whole; null if the whole is nothing."""
    whole, part = whole.astype(float), part.astype(float)
    return part.reindex(whole.index, fill_value=0.0) / whole


MEASURES = (
    Measure(
        "tickets_created",
        Kind.INTEGER,
        "Tickets created on the day, excluding spam, trashed and deleted tickets.",
        lambda by: by.created.size(),
    ),
    Measure(
        "tickets_closed",
        Kind.INTEGER,
        "Tickets last closed on the day and still closed when it was materialized. A ticket that is closed again later "
        "counts on the later day, and no longer on this one once this one is materialized again.",
        lambda by: by.closed.size(),
    ),
    Measure(
        "tickets_reopened",
        Kind.INTEGER,
        "Reopenings on the day, as `ticket_backlog` counts them.",
        lambda by: by.turns["tickets_reopened"].sum(),
        is_backlog=True,
    ),
    Measure(
        "open_tickets",
        Kind.INTEGER,
        "Tickets open at the end of the day, or of the last of several days, as `ticket_backlog` counts them.",
        lambda by: by.ends["open_tickets"].sum(),
        is_backlog=True,
        is_end=True,
    ),
    Measure(
        "waiting_for_agent",
        Kind.INTEGER,
        "Those of the open tickets whose last public message is the customer's.",
        lambda by: by.ends["waiting_for_agent"].sum(),
        is_backlog=True,
        is_end=True,
    ),
    Measure(
        "first_responses",
        Kind.INTEGER,
        "Tickets that an agent first replied to on the day, publicly and from the helpdesk. Replies by rules, imported "
        "replies, replies that failed to be sent, replies from outside the helpdesk, and tickets that an agent began "
        "do not count.",
        lambda by: by.answered.size(),
    ),
    Measure(
        "first_response_median_seconds",
        Kind.NUMBER,
        "Median time from the customer's first message to this first response, nights included.",
        lambda by: by.answered["seconds"].median(),
    ),
    Measure(
        "first_response_p90_seconds",
        Kind.NUMBER,
        "90th percentile of the same time: nine in ten are shorter. Interpolated linearly.",
        lambda by: by.answered["seconds"].quantile(0.9),
    ),
    Measure(
        "first_response_business_median_seconds",
        Kind.NUMBER,
        "Median of the same time in the account's business hours; null if it has none.",
        lambda by: by.answered["business_seconds"].median(),
    ),
    Measure(
        "resolution_median_seconds",
        Kind.NUMBER,
        "Median time from the customer's first message to the last closing, of the tickets closed on the day.",
        lambda by: by.closed["seconds"].median(),
    ),
    Measure(
        "resolution_p90_seconds",
        Kind.NUMBER,
        "90th percentile of the same time, interpolated linearly.",
        lambda by: by.closed["seconds"].quantile(0.9),
    ),
    Measure(
        "resolution_business_median_seconds",
        Kind.NUMBER,
        "Median of the same time in business hours.",
        lambda by: by.closed["business_seconds"].median(),
    ),
    Measure(
        "messages_per_ticket",
        Kind.NUMBER,
        "Average number of messages, from the customer and from the shop, in the tickets closed on the day. Internal "
        "notes do not count.",
        lambda by: by.closed["messages"].mean(),
    ),
    Measure("surveys_sent", Kind.INTEGER, "Satisfaction surveys sent on the day.", lambda by: by.sent.size()),
    Measure(
        "surveys_scored",
        Kind.INTEGER,
        "Satisfaction surveys answered on the day, no matter when they were sent.",
        lambda by: by.scored.size(),
    ),
    Measure(
        "satisfaction_score",
        Kind.NUMBER,
        "Share of the surveys answered on the day that have a score of 4 or 5, from 0 to 1.",
        lambda by: by.scored["is_satisfied"].mean(),
        is_share=True,
    ),
    Measure(
        "average_score",
        Kind.NUMBER,
        "Average score of the surveys answered on the day, from 1 to 5.",
        lambda by: by.scored["score"].mean(),
    ),
    Measure(
        "answer_rate",
        Kind.NUMBER,
        "Surveys answered on the day, divided by surveys sent on the day. Answers come days later, so one day's rate "
        "means little and may exceed 1: for several days, divide the sums.",
        lambda by: _share(by.scored.size(), by.sent.size()),
        is_share=True,
    ),
)

KEYS = (
    Column("day", Kind.DATE, "The day, in UTC."),
    string("dimension", "The kind of slice: all, channel, team or agent."),
    string("slice", "The channel, or the id of the team or agent; all for the whole helpdesk."),
    string("label", "The slice's name for people: the channel, or the name of the team or agent.", Personal.NAME),
)
COUNTS = [measure.name for measure in MEASURES if measure.is_count]
COLUMNS = (*KEYS, *(Column(measure.name, measure.kind, measure.definition) for measure in MEASURES))
SCHEMA = arrow_schema(COLUMNS)


def measured(facts: Facts, by: list[str], index: pd.Index | None = None) -> pd.DataFrame:
    """Return every measure, for each combination of the columns that has a fact, or for those of `index`."""
    grouped = Grouped(facts, by)
    frame = pd.DataFrame({measure.name: measure.of(grouped) for measure in MEASURES}, index)
    is_told = _is_told(facts, frame.index)
    frame = frame.astype("float64").fillna(dict.fromkeys(COUNTS, 0))
    untold = {measure.name: frame[measure.name].where(is_told) for measure in MEASURES if measure.is_backlog}
    return frame.assign(**untold)


def _is_told(facts: Facts, index: pd.Index) -> Any:
    """Return for each row of the index if the backlog has a day of its time; without times, if it has any."""
    times = [name for name in index.names if name in TIMES]
    told = facts.backlog
    return index.get_level_values(times[0]).isin(told[times[0]]) if times else [not told.empty] * len(index)


def overview_rows(facts: Facts, names: Names, days: pd.DatetimeIndex) -> pa.Table:
    """Return the table's rows of these days. Each day has its row of all, of zeros if nothing happened."""
    return pa.concat_tables(_rows_of(dimension, facts.on(days), names, days) for dimension in DIMENSIONS)


def _rows_of(dimension: str, facts: Facts, names: Names, days: pd.DatetimeIndex) -> pa.Table:
    every_day = pd.MultiIndex.from_product([days, ["all"]], names=["day", "all"]) if dimension == "all" else None
    rows = measured(facts, ["day", dimension], every_day).reset_index(names=["day", "slice"])
    named = names.get(dimension, {})
    label = rows["slice"].map(lambda one: named.get(one, one))
    rows = rows.assign(day=rows["day"].dt.date, dimension=dimension, label=label)
    return pa.Table.from_pandas(rows, SCHEMA, preserve_index=False)
