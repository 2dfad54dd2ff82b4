"""Tables of one IO manager, loaded by another: Dagster's own of pandas, its resources, and ours.

A day of an IO manager of Dagster's is the rows whose `partition_expr` lies in it. A day of ours, of an asset of
Gorgias, is the rows that were touched in it.
"""

import base64
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster_duckdb import DuckDBResource
from dagster_duckdb_pandas import DuckDBPandasIOManager
from dagster_gcp import BigQueryResource
from dagster_gcp_pandas import BigQueryPandasIOManager

from gorgias_assets.entities import TICKETS
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets_tests.bigquery.tokens import key_of_anybody
from gorgias_assets_tests.conftest import Project
from gorgias_assets_tests.engines import BigQueryProject, DuckDBFile, Engine

# Google's client, of its own reader and writer, which the IO manager of Dagster's calls.
pytestmark = [
    pytest.mark.filterwarnings("ignore:(Loading|Retrieving) DataFrames via:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Loading pandas DataFrame into BigQuery will require pandas-gbq:FutureWarning"),
    pytest.mark.filterwarnings("ignore:BigQuery Storage module not found:UserWarning"),
]

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
DAYS = dg.DailyPartitionsDefinition("2025-03-01", end_date="2025-04-01")
SLICES = {"day": ("2025-03-11", "2025-03-11"), "range": ("2025-03-11", "2025-03-12"), "whole": ()}
CREATED = {"day": [200, 201], "range": [200, 201, 300], "whole": [100, 101, 102, 200, 201, 300]}
TOUCHED = CREATED | {"day": [100, 200, 201], "range": [100, 200, 201, 300]}  # 100 was updated on the 11th

Resources = Mapping[str, Any]
Query = Callable[[str], list[tuple[Any, ...]]]
IDS = [(day, 100 * (day + 1) + i) for day, count in enumerate((3, 2, 1)) for i in range(count)]


@pytest.fixture
def account(account: Account) -> Account:
    """Return an account with the tickets of `IDS`, of three days."""
    account.insert_many(
        "tickets",
        (
            {
                **KINDS["tickets"].blank,
                "id": row_id,
                "created_datetime": NOON + timedelta(days=day),
                "updated_datetime": NOON + timedelta(days=day + (row_id == 100)),
            }
            for day, row_id in IDS
        ),
    )
    return account


@pytest.fixture
def resources(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    """Yield the resources of one warehouse: our IO manager, Dagster's own, and Dagster's client."""
    if isinstance(engine, DuckDBFile):
        database = str(engine.file)
        yield {
            "ours": engine.io_manager(),
            "stock": DuckDBPandasIOManager(database=database),
            "client": DuckDBResource(database=database),
        }
        return
    assert isinstance(engine, BigQueryProject)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", engine.emulator.api_endpoint)
    with key_of_anybody() as key:
        file = tmp_path / "key.json"
        file.write_bytes(base64.b64decode(key))
        # In one run, dagster-gcp takes no `gcp_credentials` of two resources.
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield {
            "ours": engine.io_manager(),
            "stock": BigQueryPandasIOManager(project=engine.project),
            "client": BigQueryResource(project=engine.project),
        }


@contextmanager
def querying(client: Any) -> Iterator[Query]:
    """Yield a function that runs a statement, for a resource of Dagster's for either engine."""
    if isinstance(client, DuckDBResource):
        with client.get_connection() as connection:
            yield lambda sql: connection.execute(sql).fetchall()
    else:
        with client.get_client() as connection:
            yield lambda sql: [row.values() for row in connection.query_and_wait(sql)]


def moments(context: dg.AssetExecutionContext) -> tuple[str, str]:
    window = context.partition_time_window
    return f"TIMESTAMP '{window.start:%Y-%m-%d %H:%M:%S}'", f"TIMESTAMP '{window.end:%Y-%m-%d %H:%M:%S}'"


def orders_of(window: Any) -> pd.DataFrame:
    """Return the rows that were created in the window."""
    found = [(row_id, NOON + timedelta(days=day)) for day, row_id in IDS]
    frame = pd.DataFrame(found, columns=["id", "created_at"])
    return frame[frame["created_at"].between(window.start, window.end, inclusive="left")]


def orders(store: str, resources: Resources) -> dg.AssetsDefinition:
    """Return somebody's own asset by day, which IO manager `store`, or SQL of its own, stores."""
    options: dict[str, Any] = {
        "key": ["shop", "orders"],
        "partitions_def": DAYS,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "metadata": {"partition_expr": "created_at"},
    }
    if store != "client":

        @dg.asset(**options, io_manager_key=store)
        def stored(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return orders_of(context.partition_time_window)

        return stored

    kind = type(resources["client"])
    integer, moment = ("BIGINT", "TIMESTAMPTZ") if kind is DuckDBResource else ("INT64", "TIMESTAMP")

    @dg.asset(**options)
    def written(context: dg.AssetExecutionContext, client: kind) -> None:
        start, end = moments(context)
        rows = orders_of(context.partition_time_window)
        values = ", ".join(f"({row.id}, TIMESTAMP '{row.created_at:%Y-%m-%d %H:%M:%S}')" for row in rows.itertuples())
        with querying(client) as query:
            query("CREATE SCHEMA IF NOT EXISTS shop")
            query(f"CREATE TABLE IF NOT EXISTS shop.orders (id {integer}, created_at {moment})")
            query(f"DELETE FROM shop.orders WHERE created_at >= {start} AND created_at < {end}")
            query(f"INSERT INTO shop.orders (id, created_at) VALUES {values}")

    return written


def reader(
    load: str, asset: dg.AssetsDefinition, created: str, found: list[int], resources: Resources, whole: bool
) -> dg.AssetsDefinition:
    """Return an asset that puts the ids of its partitions of another asset, or of all, into `found`."""
    by_day = (
        {} if whole else {"partitions_def": asset.partitions_def, "backfill_policy": dg.BackfillPolicy.single_run()}
    )
    if load != "client":

        @dg.asset(**by_day, ins={"rows": dg.AssetIn(asset.key, input_manager_key=load)}, io_manager_key=load)
        def loaded(rows: pd.DataFrame) -> None:
            found.extend(rows.rename(columns=str.lower)["id"])

        return loaded

    kind = type(resources["client"])

    @dg.asset(**by_day, deps=[asset])
    def queried(context: dg.AssetExecutionContext, client: kind) -> None:
        start, end = ("", "") if whole else moments(context)
        condition = "" if whole else f" WHERE {created} >= {start} AND {created} < {end}"
        with querying(client) as query:
            found.extend(row_id for (row_id,) in query(f"SELECT id FROM {'.'.join(asset.key.path)}{condition}"))

    return queried


def materialize(asset: dg.AssetsDefinition, others: list[Any], resources: Resources, days: tuple[str, ...]) -> None:
    tags = {f"dagster/asset_partition_range_{end}": day for end, day in zip(("start", "end"), days, strict=False)}
    console = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    assert dg.materialize(
        [asset, *others], selection=[asset.key], resources=dict(resources), tags=tags, run_config=console
    ).success


@contextmanager
def without_storage_api() -> Iterator[None]:
    """Let Google's client read over REST, as it does where dagster-gcp-pandas alone is installed.

    With the package of the Storage API it would read from Google's own host, whatever the emulator's is.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "google.cloud.bigquery_storage", None)
        patch.delattr("google.cloud.bigquery_storage")
        yield


def ids_loaded(load: str, asset: dg.AssetsDefinition, created: str, resources: Resources) -> dict[str, list[int]]:
    """Return the ids of a day, a range and the whole table, as one IO manager or client loads them."""
    loaded = {}
    for name, days in SLICES.items():
        found: list[int] = []
        with without_storage_api() if load == "stock" else nullcontext():
            materialize(reader(load, asset, created, found, resources, whole=not days), [asset], resources, days)
        loaded[name] = sorted(found)
    return loaded


def pairs(*quick: tuple[str, str, str]) -> pytest.MarkDecorator:
    """Parametrize by engine, and by who stores and who loads; those that are not named are for `make soak`."""
    params = [
        pytest.param(engine, store, load, marks=() if (engine, store, load) in quick else pytest.mark.soak)
        for engine in ("duckdb", "bigquery")
        for store in ("ours", "stock", "client")
        for load in ("ours", "stock", "client")
    ]
    return pytest.mark.parametrize(("engine", "store", "load"), params, indirect=["engine"])


@pairs(("duckdb", "ours", "stock"), ("duckdb", "stock", "ours"))
def test_somebody_s_own_asset_is_the_same_whoever_stores_and_whoever_loads_it(store, load, resources):
    asset = orders(store, resources)
    materialize(asset, [], resources, ("2025-03-10", "2025-03-12"))
    materialize(asset, [], resources, ("2025-03-11", "2025-03-11"))  # again, in the place of its rows
    assert ids_loaded(load, asset, "created_at", resources) == CREATED


@pytest.mark.parametrize(
    ("engine", "load", "expected"),
    [
        pytest.param("duckdb", "stock", CREATED),
        pytest.param("duckdb", "client", CREATED, marks=pytest.mark.soak),
        pytest.param("duckdb", "ours", TOUCHED),
        pytest.param("bigquery", "stock", CREATED, marks=pytest.mark.soak),
        pytest.param("bigquery", "client", CREATED, marks=pytest.mark.soak),
        pytest.param("bigquery", "ours", TOUCHED, marks=pytest.mark.soak),
    ],
    indirect=["engine"],
)
def test_a_day_of_tickets_is_those_created_in_it_to_dagster_s_own_and_those_touched_in_it_to_ours(
    sandbox, engine, resources, load, expected
):
    project = Project(sandbox, engine, entities=[TICKETS])
    project.materialize("2025-03-10", "2025-03-12")
    (tickets,) = project.assets
    assert ids_loaded(load, tickets, "created_datetime", resources | project.resources) == expected


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("bigquery", marks=pytest.mark.soak)], indirect=True)
def test_the_two_take_turns_in_storing_a_table_and_no_row_is_there_twice(engine, resources):
    for store, days in (("ours", ("2025-03-10", "2025-03-11")), ("stock", ("2025-03-11", "2025-03-12"))) * 2:
        materialize(orders(store, resources), [], resources, days)
    assert engine.query("SELECT id FROM shop.orders ORDER BY id") == [(row_id,) for _, row_id in IDS]
