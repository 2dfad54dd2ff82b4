"""The costs in BigQuery, for the table of docs/bigquery.md; `--write` puts it there.

Each kind of work runs through Dagster, on simulated accounts and into the emulator. A proxy keeps the statements that
are sent, and the rows of their tables at that moment. Google's rules (`bigquery/pricing.py`) then bill each statement
as on an account of the given size, with a year of rows like the simulated ones: rows are multiplied, and batches are
smaller by the same factor, so that a small account sends what a large one would. If a year would have more batches than
can be sent here in a minute, those of some days are multiplied.

The simulated days end today, since a run of a day that is not over sends less than others. For `gorgias_changes`, a
look reads half of today, as it does on average, for each entity whose list has a new head. How often each has one is
counted on an account of that size.
"""

import argparse
import json
import multiprocessing
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from gorgias_assets.account import Account
from gorgias_assets.assets import SweepConfig, build_assets
from gorgias_assets.checks.build import build_checks
from gorgias_assets.entities import CORE
from gorgias_assets.entities.model import ByDate, read_by
from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager
from gorgias_assets.jobs import gorgias_job
from gorgias_assets.metrics.declared import METRICS, TICKET_METRICS
from gorgias_assets.partitions import tags_of_days
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.rows import Listing
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.sensors import changes_sensor
from gorgias_assets.summaries import build_summaries
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.pricing import MEBIBYTE, USD_PER_TEBIBYTE, Stored, billed
from gorgias_assets_tests.bigquery.recorder import Recorder, Statement
from gorgias_assets_tests.documents import REPOSITORY, table

DOCUMENT = REPOSITORY / "docs" / "bigquery.md"
MARKED = re.compile(r"(<!-- bigquery costs -->\n).*?(<!-- /bigquery costs -->)", re.DOTALL)
DAY, YEAR, MONTH = timedelta(days=1), 365, 30
LOOKS_EVERY = timedelta(minutes=5)  # the default of GORGIAS_CHANGES_EVERY
PAGE = 100  # rows, the least that a batch can have
# For accounts of so many tickets a month, simulated ones of so many days, and about so many tickets a day.
SIMULATED = {1_000: (YEAR, 5), 10_000: (60, 10), 100_000: (14, 20)}
DAYS_STORED, TICKETS_A_DAY = 60, 20  # before daily runs: more days than the look-back of surveys
BATCHES_OF = (10_000, 100_000)  # for daily runs; a smaller account's are read in one batch, too
NAMES = [entity.name for entity in CORE]
OF_A_BATCH = re.compile(r"(MERGE|INSERT)\b.*(_staging_|_sweep_position)", re.DOTALL)
TEBIBYTE = 2**40


@dataclass(frozen=True)
class Cost:
    """A number of statements, and the bytes that they are billed for."""

    statements: float = 0
    bytes: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.statements + other.statements, self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.statements * times, self.bytes * times)

    def __str__(self) -> str:
        mebibytes, dollars = self.bytes / MEBIBYTE, self.bytes / TEBIBYTE * USD_PER_TEBIBYTE
        price = f"${dollars:,.2f}" if dollars >= 0.01 else "under $0.01"
        if mebibytes < 1_000:
            return f"{mebibytes:,.0f} MiB, {price}"
        return f"{mebibytes / 1024:,.{1 if mebibytes < 102_400 else 0}f} GiB, {price}"


@dataclass(frozen=True)
class Scale:
    """An account `times` as large as a simulated one that has `days` days since `start`."""

    times: float
    start: datetime
    days: int

    def cost(self, statements: Sequence[Statement], is_of_a_year: bool = False) -> Cost:
        """Return the cost of statements; if they are to be a year's, those of batches are multiplied."""
        found = Cost()
        for statement in statements:
            tables = {name: self._enlarged(name, stored) for name, stored in statement.tables.items()}
            is_repeated = is_of_a_year and OF_A_BATCH.match(statement.text)
            found += Cost(1, billed(statement.text, tables)) * (YEAR / self.days if is_repeated else 1)
        return found

    def _enlarged(self, name: str, stored: Stored) -> Stored:
        """Return a table with a year's rows of the account. Bookkeeping and rows by day are few at any size."""
        is_staging = "_staging_" in name
        if not is_staging and name.rpartition(".")[2] not in (*NAMES, TICKET_METRICS.name):
            return stored
        rows = {day: count * self.times for day, count in stored.rows.items()}
        return replace(stored, rows=rows | dict(self._earlier(rows)))

    def _earlier(self, rows: Mapping[date | None, float]) -> Iterator[tuple[date, float]]:
        """Yield the days again, as often as they fit into the year that ends with them."""
        for back in range(self.days, YEAR, self.days):
            for known, count in rows.items():
                if known and known >= (self.start + max(0, self.days + back - YEAR) * DAY).date():
                    yield known - timedelta(days=back), count


@dataclass(frozen=True)
class BatchesWarehouse(BigQueryWarehouse):
    """A warehouse with batches of another size."""

    batch_rows: int = BigQueryWarehouse.batch_rows
    batch_bytes: int = BigQueryWarehouse.batch_bytes


class BatchesIOManager(GorgiasBigQueryIOManager):
    """An IO manager with batches that are smaller by a factor, in whole pages."""

    smaller: float = 1

    def warehouse(self) -> BigQueryWarehouse:
        made = super().warehouse()
        known = {one.name: getattr(made, one.name) for one in fields(made)}
        pages = max(1, round(made.batch_rows / self.smaller / PAGE))
        return BatchesWarehouse(**known, batch_rows=pages * PAGE, batch_bytes=round(made.batch_bytes / self.smaller))


class Helpdesk:
    """A simulated account since `start`, and Dagster's definitions of it, with an asset downstream."""

    def __init__(self, sandbox: Sandbox, recorder: Recorder, tickets_a_day: float, reports: str) -> None:
        self.account = sandbox.account
        self.start = sandbox.account.now
        self.shop = Shop(sandbox.account, tickets_per_day=tickets_a_day)
        made_of = Account(CORE, start_date=self.start.date().isoformat(), metrics=METRICS, reports=reports)

        @dg.asset(partitions_def=made_of.partitions, ins={"messages": dg.AssetIn(key=["gorgias", "ticket_messages"])})
        def downstream(messages: pd.DataFrame) -> None:
            assert len(messages)

        checks = build_checks(made_of, late_after=timedelta(hours=6))
        self._assets = [*build_assets(made_of), *build_summaries(made_of), *checks, downstream]
        self._instance = dg.DagsterInstance.ephemeral()
        self._recorder = recorder
        self._gorgias = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url)
        self._io_manager = BatchesIOManager(
            project=recorder.emulator.project,
            dataset="gorgias",
            api_endpoint=recorder.api_endpoint,
            storage_endpoint=recorder.emulator.storage_endpoint,
        )

    def day(self, number: int) -> date:
        return (self.start + number * DAY).date()

    def live(self, days: float) -> None:
        """Let so many days since the start have gone by."""
        self.shop.live(self.start + days * DAY)

    def larger(self, tickets_a_month: int) -> float:
        """Return how many times as large an account of so many tickets is."""
        days = (self.account.now - self.start) / DAY
        return tickets_a_month / (self.account.count("tickets") / days * MONTH)

    def sent(
        self,
        selection: dg.AssetSelection,
        first: date,
        last: date | None = None,
        *,
        smaller: float = 1,
        ops: Mapping[str, Any] | None = None,
    ) -> list[Statement]:
        """Materialize days, with batches that are smaller by a factor, and return the statements."""
        self._recorder.taken()
        quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        io_manager = self._io_manager.model_copy(update={"smaller": smaller})
        dg.materialize(
            self._assets,
            selection=selection,
            instance=self._instance,
            resources={"gorgias": self._gorgias, "io_manager": io_manager},
            tags=tags_of_days(first.isoformat(), (last or first).isoformat()),
            run_config={**quiet, "ops": ops or {}},
        )
        return self._recorder.taken()

    def close(self) -> None:
        self._instance.dispose()


ALL = dg.AssetSelection.groups("gorgias", "gorgias_metrics")  # with checks, as in the job of that name
OF_METRICS = {metric.name: dg.AssetSelection.assets(["gorgias", metric.name]) for metric in METRICS}
ENTITIES_CHECKED = ALL - dg.AssetSelection.assets(*(["gorgias", metric.name] for metric in METRICS))
ENTITIES_ALONE = dg.AssetSelection.assets(*(["gorgias", name] for name in NAMES))
FULL = dg.RunConfig(ops={f"gorgias__{name}": SweepConfig(full=True) for name in NAMES}).to_config_dict()["ops"]


@contextmanager
def helpdesk(tickets_a_day: float, days: int) -> Iterator[Helpdesk]:
    """Yield a helpdesk that was opened so many days before today."""
    account = SandboxAccount(now=midnight() - days * DAY)
    with (
        tempfile.TemporaryDirectory() as reports,
        Sandbox(account, gzip=False) as sandbox,
        Emulator() as emulator,
        Recorder(emulator) as recorder,
    ):
        made = Helpdesk(sandbox, recorder, tickets_a_day, reports)
        try:
            yield made
        finally:
            made.close()


def midnight() -> datetime:
    """Return today's first moment."""
    return datetime.combine(datetime.now(UTC).date(), time(), UTC)


def costs_of_a_year(tickets: int) -> dict[str, Cost]:
    """Return the costs of a backfill and of a full sweep."""
    days, tickets_a_day = SIMULATED[tickets]
    with helpdesk(tickets_a_day, days) as desk:
        desk.live(days)
        scale = Scale(desk.larger(tickets), desk.start, days)
        filled = desk.sent(ENTITIES_ALONE, desk.day(0), desk.day(days - 1), smaller=scale.times)
        swept = desk.sent(ALL, desk.day(days - 1), smaller=scale.times, ops=FULL)
    return {"backfill": scale.cost(filled, True), "sweep": scale.cost(swept, True)}


def costs_of_days() -> tuple[dict[int, dict[str, Cost]], float]:
    """Return the costs of daily runs, looks and downstream loads by the size of the account, and a message's bytes."""
    today = DAYS_STORED + len(BATCHES_OF)
    with helpdesk(TICKETS_A_DAY, today) as desk:
        desk.live(DAYS_STORED)
        desk.sent(ENTITIES_ALONE, desk.day(0), desk.day(DAYS_STORED - 1))
        sent = {}
        for number, batches_of in enumerate(BATCHES_OF, DAYS_STORED):
            desk.live(number + 1 / 2)
            desk.account.delete("tickets", _ticket_of(desk.account, desk.day(number - 2)))
            desk.live(number + 1)
            works = {"entities": ENTITIES_CHECKED, **OF_METRICS}
            sent[batches_of] = {
                work: desk.sent(selection, desk.day(number), smaller=desk.larger(batches_of))
                for work, selection in works.items()
            }
        desk.live(today + 1 / 2)
        ops = config_of_looks()
        looks = {
            name: desk.sent(
                dg.AssetSelection.assets(["gorgias", name]).without_checks(),
                desk.day(today),
                ops={op: config for op, config in ops.items() if op == f"gorgias__{name}"},
            )
            for name in NAMES
        }
        loaded = desk.sent(dg.AssetSelection.assets("downstream"), desk.day(today - 5))
        scales = {tickets: Scale(desk.larger(tickets), desk.start, today) for tickets in SIMULATED}
    found = {}
    for tickets, scale in scales.items():
        requests = requests_a_day(tickets)
        of_works = {work: scale.cost(statements) for work, statements in sent[max(tickets, BATCHES_OF[0])].items()}
        found[tickets] = {
            **of_works,
            "daily": sum(of_works.values(), Cost()),
            "changes": sum((scale.cost(looks[name]) * requests[name] * MONTH for name in NAMES), Cost()),
            "load": scale.cost(loaded),
        }
    (messages,) = loaded[-1].tables.values()
    return found, sum(messages.bytes_of.values())


def _ticket_of(account: SandboxAccount, created_on: date) -> int:
    rows = account.rows("tickets")
    return next(int(row["id"]) for row in rows if row["created_datetime"].startswith(created_on.isoformat()))


def config_of_looks() -> Mapping[str, Any]:
    """Return the configuration that the sensor gives to the runs of its looks."""
    account = SandboxAccount(now=datetime.now(UTC))
    ticket = account.create("tickets", customer=account.create("customers", name="Ana"))
    account.create("messages", ticket_id=ticket["id"])
    account.create("satisfaction_surveys", ticket_id=ticket["id"])
    made_of = Account(CORE, start_date=account.now.date().isoformat())
    sensor, job = changes_sensor(made_of, LOOKS_EVERY), gorgias_job(made_of)
    with Sandbox(account) as sandbox, dg.DagsterInstance.ephemeral() as instance:
        resources = {
            "gorgias": GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url),
            "io_manager": dg.InMemoryIOManager(),
        }
        defs = dg.Definitions(assets=build_assets(made_of), jobs=[job], sensors=[sensor], resources=resources)
        with dg.build_sensor_context(
            instance=instance,
            repository_def=defs.get_repository_def(),
            sensor_name=sensor.name,
            resources={"gorgias": resources["gorgias"]},
        ) as context:
            (request,) = sensor.evaluate_tick(context).run_requests or []
    ops: Mapping[str, Any] = request.run_config["ops"]
    assert ops.keys() == {f"gorgias__{name}" for name in NAMES}
    return ops


def requests_a_day(tickets: int) -> Counter[str]:
    """Return how many of a day's looks find a new head, by entity, on an account of so many tickets a month."""
    account, requests, heads = SandboxAccount(now=midnight()), Counter[str](), dict[str, tuple[Any, Any]]()
    shop, opened = Shop(account, tickets_per_day=tickets / MONTH), account.now
    for look in range(DAY // LOOKS_EVERY):
        shop.live(opened + DAY / 8 + look * LOOKS_EVERY)
        for entity in read_by(ByDate, CORE):
            kind = entity.path.removeprefix("/").replace("-", "_")
            for row in account.page(kind, Listing(entity.read.order, True, limit=1)).rows:
                head = (shown := json.loads(row))[entity.read.order], shown["id"]
                requests[entity.name] += heads.get(entity.name) != head
                heads[entity.name] = head
    return requests


LABELS = {
    "daily": "a daily run of the four assets, with checks, metrics and overview",
    **{metric.name: f"of these, `{metric.name}`" for metric in METRICS},
    "month": "daily runs in a month",
    "changes": f"the runs of `gorgias_changes`, if it looks every {LOOKS_EVERY.seconds // 60} minutes, in a month",
    "backfill": "a year's backfill of the four assets, with checks",
    "sweep": "a full sweep, with checks, metrics and overview",
    "load": "loading a day of `ticket_messages` into an asset downstream",
}


def costs() -> str:
    """Return the table in Markdown."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        of_days = pool.submit(costs_of_days)
        of_a_year = {tickets: pool.submit(costs_of_a_year, tickets) for tickets in SIMULATED}
        found, size = of_days.result()
    for tickets, of_one in found.items():
        of_one |= of_a_year[tickets].result()
        of_one["month"] = of_one["daily"] * MONTH
    heading = [
        f"bytes billed and their price, by tickets a month ({size / 1000:.1f} KB a message)",
        *(f"{tickets:,}" for tickets in SIMULATED),
    ]
    counts = ["statements of a daily run", *(f"{found[tickets]['daily'].statements:.0f}" for tickets in SIMULATED)]
    rows = [[label, *(found[tickets][work] for tickets in SIMULATED)] for work, label in LABELS.items()]
    return table(heading, [counts, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets_tests.benchmarks.bigquery_costs")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.relative_to(REPOSITORY)}")
    chosen = parser.parse_args()
    made = costs()
    print(made, end="")
    if chosen.write:
        DOCUMENT.write_text(MARKED.sub(lambda marks: f"{marks[1]}{made}{marks[2]}", DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
