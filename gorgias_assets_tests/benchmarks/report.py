"""`make bench`: the time and memory that the report takes, and the size of its page, of made-up tickets."""

import argparse
import gzip
import resource
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from gorgias_assets.overview.facts import Facts
from gorgias_assets.overview.page import page_of
from gorgias_assets.overview.weeks import Weeks, weeks_until

WINDOW = weeks_until(datetime(2025, 3, 31, tzinfo=UTC))
DAYS = pd.date_range(WINDOW.start, WINDOW.end, freq="D", inclusive="left", unit="us")
CHANNELS = ["email", "chat", "phone", "contact_form", "whatsapp", "help-center", "instagram-comment", "sms"]


def facts_of(tickets: int, agents: int) -> Facts:
    """Return facts of tickets of which nearly all were closed and answered, and a fifth scored."""
    chance = np.random.default_rng(1)

    def frame(rows: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "day": DAYS[chance.integers(0, len(DAYS), rows)],
                "channel": chance.choice(CHANNELS, rows),
                "team": chance.integers(1, 9, rows).astype(str),
                "agent": chance.integers(1, agents + 1, rows).astype(str),
            }
        )

    def timed(rows: pd.DataFrame, mean: float, spread: float) -> pd.DataFrame:
        seconds = chance.lognormal(mean, spread, len(rows))
        return rows.assign(seconds=seconds, business_seconds=seconds / 3)

    closed, answered, scored = frame(tickets), frame(tickets), frame(tickets // 5)
    scores = chance.integers(1, 6, len(scored))
    slices = [
        ("all", "all"),
        *(("channel", name) for name in CHANNELS),
        *(("agent", str(n + 1)) for n in range(agents)),
    ]
    backlog = pd.DataFrame(
        [(day, *one, *chance.integers(0, 90, 3)) for day in DAYS for one in slices],
        columns=["day", "dimension", "slice", "tickets_reopened", "open_tickets", "waiting_for_agent"],
    )
    return Facts(
        created=frame(tickets),
        closed=closed.assign(
            seconds=chance.lognormal(10.5, 1.2, tickets),
            business_seconds=chance.lognormal(9.5, 1.2, tickets),
            messages=chance.poisson(4, tickets),
        ),
        answered=answered.assign(
            seconds=chance.lognormal(8.3, 0.7, tickets), business_seconds=chance.lognormal(7.9, 0.7, tickets)
        ),
        sent=frame(tickets // 2),
        scored=scored.assign(score=scores, is_satisfied=scores >= 4),
        backlog=backlog,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickets", type=int, default=300_000)
    parser.add_argument("--agents", type=int, default=50)
    options = parser.parse_args()
    facts = facts_of(options.tickets, options.agents)
    names = {"agent": {str(agent): f"Agent {agent}" for agent in range(1, options.agents + 1)}}
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    page = page_of(Weeks.of(facts, names, DAYS, DAYS)).encode()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{options.tickets:,} tickets in 13 weeks, {len(CHANNELS)} channels, {options.agents} agents:")
    print(f"{seconds:.1f} s, {(after - before) / 1024:.0f} MB more at the peak")
    print(f"a page of {len(page) / 1000:,.0f} KB, {len(gzip.compress(page)) / 1000:,.0f} KB compressed")


if __name__ == "__main__":
    main()
