"""A user's own assets in a DuckDB file: rows replaced, kept and refused, and writers that wait for each other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.entities import SATISFACTION_SURVEYS
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets_tests.engines import DuckDBFile
from gorgias_assets_tests.warehouse.test_frames import (
    DAILY,
    FIRST,
    LETTER,
    SECOND,
    at,
    frame,
    instance,
    load,
    orders,
    run,
    store,
    table,
    types,
)


@pytest.fixture
def engine(tmp_path: Path) -> DuckDBFile:
    return DuckDBFile(tmp_path / "warehouse.duckdb", lock_timeout_seconds=1)


@pytest.fixture
def database(engine: DuckDBFile) -> Path:
    return engine.file


@contextmanager
def held(database: Path, read_only: bool) -> Iterator[int]:
    """Have another process hold the file open; yield its PID."""
    code = (
        f"import duckdb, sys; connection = duckdb.connect({str(database)!r}, read_only={read_only}); "
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        try:
            yield process.pid
        finally:
            process.stdin.close()


@pytest.mark.parametrize(
    ("column", "rows", "settings"),
    [
        ("n INTEGER", {"n": [LETTER]}, {}),
        ("n BOOLEAN", {"n": [LETTER]}, {}),
        ("n TIMESTAMP", {"n": [LETTER]}, {}),
        ("n JSON", {"n": [LETTER]}, {}),
        ("n UUID", {"n": [LETTER]}, {}),
        ("n ENUM ('a')", {"n": [LETTER]}, {}),
        ("n VARCHAR", {"n": [LETTER]}, DAILY | {"metadata": {"partition_expr": "n"}}),
    ],
    ids=["integer", "boolean", "timestamp", "json", "uuid", "enum", "partition_expr"],
)
def test_a_value_that_does_not_fit_is_not_shown(engine, column, rows, settings):
    engine.execute(f"CREATE SCHEMA shop; CREATE TABLE shop.orders ({column})")
    result = store(engine, pd.DataFrame(rows), FIRST if settings else None, raise_on_error=False, **settings)
    assert not result.success
    assert "private letter" not in "\n".join(map(serialize_value, instance().all_logs(result.run_id)))


def test_names_with_quotes_and_dashes_are_kept(engine):
    store(engine, pd.DataFrame({'it\'s "n"': [1], "select": [2], "a-b": [3], "": [4]}).drop(columns=""))
    assert list(types(engine)) == ['it\'s "n"', "select", "a-b"]


@pytest.mark.parametrize("name", ["table", "select", "connection", "_staged_rows"])
def test_an_asset_may_be_named_like_anything_python_or_sql_knows(engine, name):
    for n in (1, 2):
        store(engine, pd.DataFrame({"n": [n]}), key=["shop", name])
    assert engine.query(f'SELECT n FROM shop."{name}"') == [(2,)]


@pytest.mark.parametrize("name", ["daily-orders", 'it"s', "it's"])
def test_a_table_may_have_a_dash_or_a_quote_in_its_name(database, name):
    warehouse = DuckDBWarehouse(str(database), {}, 1)
    for n in (1, 2):
        warehouse.replace(Table("s-" + name, name), pa.table({"n": [n]}), ())
    assert warehouse.read(Table("s-" + name, name), ()).to_pylist() == [{"n": 2}]


def test_capitals_in_a_schema_s_name_make_no_other_schema(database):
    warehouse = DuckDBWarehouse(str(database), {}, 1)
    for n, place in enumerate([Table("Main", "orders"), Table("main", "Orders")]):
        warehouse.replace(place, pa.table({"n": [n]}), ())
    assert warehouse.read(Table("MAIN", "ORDERS"), ()).to_pylist() == [{"n": 1}]
    for n, schema in enumerate(("\u00e9t\u00e9", "\u00c9t\u00e9")):  # of which DuckDB makes two
        warehouse.replace(Table(schema, "orders"), pa.table({"n": [n]}), ())
        assert warehouse.read(Table(schema, "orders"), ()).to_pylist() == [{"n": n}]


@pytest.mark.parametrize(
    "place", [Table("", "orders"), Table("shop", ""), Table("shop", "a\0b"), Table("a\udcff", "orders")], ids=ascii
)
def test_a_name_that_duckdb_cannot_have_is_refused_with_a_sentence(database, place):
    warehouse = DuckDBWarehouse(str(database), {}, 1)
    for use in (lambda: warehouse.replace(place, pa.table({"n": [1]}), ()), lambda: warehouse.counts(place, (), ())):
        with pytest.raises(WarehouseError, match=r"of DuckDB cannot be named .* choose another"):
            use()
        warehouse.replace(Table("shop", "orders"), pa.table({"n": [1]}), ())


@pytest.mark.parametrize("schema", ["temp", "a\0b", ""], ids=ascii)
def test_a_schema_that_duckdb_cannot_have_is_refused_before_there_is_a_file(database, schema):
    """A sweep asks for its position first, and would read Gorgias in vain."""
    with pytest.raises(WarehouseError, match="choose another schema"):
        DuckDBWarehouse(str(database), {}, 1).before(Table(schema, "orders"), "sweep")


@pytest.mark.parametrize("schema", ["memory", "Temp", "system", "information_schema", "PG_CATALOG", "_Attached_File"])
def test_a_schema_named_as_duckdb_names_its_own_is_refused(engine, schema):
    with pytest.raises(dg.Failure, match="choose another schema"):
        store(engine, pd.DataFrame({"n": [1]}), key=[schema, "orders"])


def test_a_schema_may_be_named_as_a_word_of_sql(engine):
    for n in (1, 2):
        store(engine, pd.DataFrame({"n": [n]}), key=["order", "orders"])
    assert engine.query('SELECT n FROM warehouse."order".orders') == [(2,)]


WRITE_THE_EDGES = """
from datetime import UTC, datetime, timedelta, timezone
import pandas as pd, sys, time
from pathlib import Path
from gorgias_assets_tests.engines import DuckDBFile
from gorgias_assets_tests.warehouse.test_frames import DAILY, FIRST, SECOND, store
assert time.tzname[0] == "EST"
for column in ({"utc": True}, {}):
    for _ in range(2):
        for day in (FIRST, SECOND):
            edges = [f"{day}T00:00:00", f"{day}T04:59:59", f"{day}T05:00:00", f"{day}T23:59:59.999999"]
            rows = pd.DataFrame({"day": pd.to_datetime(edges, format="ISO8601", **column)})
            store(DuckDBFile(Path(sys.argv[1 if column else 2])), rows, day, **DAILY)
"""


def test_the_time_zone_of_the_process_makes_no_duplicates_at_a_day_s_edges(tmp_path):
    files = [tmp_path / "aware.duckdb", tmp_path / "naive.duckdb"]
    environment = os.environ | {"TZ": "America/New_York"}
    subprocess.run(
        [sys.executable, "-c", WRITE_THE_EDGES, *map(str, files)], check=True, env=environment, capture_output=True
    )
    for file in files:
        assert DuckDBFile(file).query(
            "SELECT count(*), count(DISTINCT day), strftime(min(day), '%Y-%m-%d %H:%M:%S') FROM shop.orders"
        ) == [(8, 8, "2025-03-01 00:00:00")]


def test_an_asset_that_returns_nothing_needs_no_table(engine, database):
    @dg.asset
    def side_effect() -> None: ...

    @dg.asset
    def only_metadata() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": 1})

    assert run([side_effect, only_metadata], engine).success
    assert not database.exists()


def test_the_schema_is_the_asset_s_own_then_the_io_manager_s_then_the_key_s(database):
    one_row = pd.DataFrame({"n": [1]})

    def schema_of(manager_schema: str | None, **settings: Any) -> str:
        result = dg.materialize(
            [orders(one_row, **settings)],
            instance=instance(),
            resources={"io_manager": GorgiasDuckDBIOManager(database=str(database), schema=manager_schema)},
        )
        (event,) = result.get_asset_materialization_events()
        return event.materialization.metadata["dagster/table_name"].value

    assert schema_of("configured", metadata={"schema": "own"}) == "own.orders"
    assert schema_of("configured") == "configured.orders"
    assert schema_of(None) == "shop.orders"
    assert schema_of(None, key=["orders"]) == "public.orders"


def test_a_database_in_memory_is_refused_with_a_sentence():
    with pytest.raises(dg.DagsterResourceFunctionError) as raised:
        store(DuckDBFile(Path(":memory:")), pd.DataFrame({"n": [1]}))
    assert str(raised.value.__cause__) == "A DuckDB in memory is gone when the step ends; name a file."


WRITE_SHOPS = """
import pyarrow as pa, sys
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import Dimension, Table
warehouse = DuckDBWarehouse(sys.argv[1], {}, 60)
sys.stdin.read()
for n in range(15):
    shop = f"{sys.argv[2]}{n}"
    rows = pa.table({"shop": [shop] * 100, "n": list(range(100))})
    warehouse.replace(Table("shop", "orders"), rows, (Dimension(("shop",), (shop,)),))
"""


def test_two_processes_that_write_at_once_both_succeed(engine, database):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_SHOPS, str(database), name], stdin=subprocess.PIPE)
        for name in ("a", "b")
    ]
    for writer in writers:
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert engine.query("SELECT count(*), count(DISTINCT shop) FROM shop.orders") == [(3000, 30)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_another_process_holds_is_waited_for_and_its_holder_named(engine, database, read_only):
    store(engine, pd.DataFrame({"n": [1]}))
    with held(database, read_only) as pid:
        started = datetime.now(UTC)
        with pytest.raises(WarehouseError) as raised:
            store(engine, pd.DataFrame({"n": [2]}))
        assert timedelta(seconds=0.5) < datetime.now(UTC) - started < timedelta(seconds=4)
    message = str(raised.value)
    assert f"process {pid} " in message
    assert "python" in message
    assert str(database) in message
    store(engine, pd.DataFrame({"n": [3]}))
    assert table(engine) == [(3,)]


def test_a_reader_elsewhere_does_not_keep_from_loading(engine, database):
    store(engine, pd.DataFrame({"n": [1]}))
    with held(database, read_only=True):
        assert load(engine)["n"].tolist() == [1]


def test_a_connection_of_this_very_process_is_waited_for_and_reported(engine, database):
    store(engine, pd.DataFrame({"n": [1]}))
    with duckdb.connect(str(database)), pytest.raises(WarehouseError, match="a connection of this process"):
        store(engine, pd.DataFrame({"n": [2]}))
    store(engine, pd.DataFrame({"n": [3]}))
    assert table(engine) == [(3,)]


def test_after_a_failed_write_the_file_is_free_for_another_process(engine, database):
    store(engine, frame(FIRST, 1), FIRST, **DAILY)
    assert not store(engine, frame(SECOND, 1), FIRST, raise_on_error=False, **DAILY).success
    with held(database, read_only=False):
        pass


def test_what_a_killed_process_committed_is_loaded(engine, database):
    code = (
        "import os, pyarrow as pa\n"
        "from gorgias_assets.io_managers.duckdb import DuckDBWarehouse\n"
        f"warehouse = DuckDBWarehouse({str(database)!r}, {{}}, 5)\n"
        "with warehouse._connection(read_only=False) as connection:\n"
        "    connection.execute('CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT 1 AS n')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert load(engine)["n"].tolist() == [1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        store(DuckDBFile(tmp_path / "nowhere" / "warehouse.duckdb"), pd.DataFrame({"n": [1]}))


def test_a_table_of_another_type_is_refused_with_a_sentence_and_left_alone(project, account):
    account.create("satisfaction_surveys", created_datetime=at("2025-03-10"))
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("CREATE SCHEMA gorgias; CREATE TABLE gorgias.satisfaction_surveys AS SELECT 'x' AS id")
    with pytest.raises(dg.Failure, match=r"Column 'id' of gorgias\.satisfaction_surveys is VARCHAR, not BIGINT"):
        project.materialize("2025-03-10", select=["satisfaction_surveys"])
    assert project.query("SELECT * FROM gorgias.satisfaction_surveys") == [("x",)]


def test_a_column_that_an_older_table_lacks_is_added_and_one_of_a_user_s_own_is_kept(project, account):
    row = account.create("satisfaction_surveys", created_datetime=at("2025-03-10"), score=4)
    project.materialize("2025-03-10", select=["satisfaction_surveys"])
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("ALTER TABLE gorgias.satisfaction_surveys DROP COLUMN score")
        connection.execute("ALTER TABLE gorgias.satisfaction_surveys ADD COLUMN reviewed VARCHAR DEFAULT 'by Ines'")
    project.materialize("2025-03-10", select=["satisfaction_surveys"])
    assert project.table(SATISFACTION_SURVEYS)[row["id"]]["score"] == 4
    assert project.query("SELECT reviewed FROM gorgias.satisfaction_surveys") == [("by Ines",)]
    ((comment,),) = project.query(
        "SELECT comment FROM duckdb_columns() WHERE column_name = 'score' AND table_name = 'satisfaction_surveys'"
    )
    assert comment == "1 to 5; null until answered."


def test_a_sweep_of_somebody_s_own_asset_without_partitions_is_merged(project, account):
    row = account.create("satisfaction_surveys", created_datetime=at("2025-03-10"))

    @dg.asset(key=["gorgias", "march"], required_resource_keys={"gorgias"})
    def march(context: dg.AssetExecutionContext) -> Any:
        return context.resources.gorgias.sweep(SATISFACTION_SURVEYS, at("2025-03-01"), at("2025-04-01"))

    assert dg.materialize([march], resources=project.resources).success
    assert project.query("SELECT id FROM gorgias.march") == [(row["id"],)]


def test_a_sweep_of_hourly_or_monthly_partitions_is_merged(project, account):
    row = account.create("satisfaction_surveys", created_datetime=at("2025-03-10T12:30:00"))
    for name, partitions, key in (
        ("hours", dg.HourlyPartitionsDefinition("2025-03-01-00:00", timezone="UTC"), "2025-03-10-12:00"),
        ("months", dg.MonthlyPartitionsDefinition("2025-03-01", timezone="UTC"), "2025-03-01"),
    ):

        @dg.asset(key=["gorgias", name], required_resource_keys={"gorgias"}, partitions_def=partitions)
        def swept(context: dg.AssetExecutionContext) -> Any:
            return context.resources.gorgias.sweep(SATISFACTION_SURVEYS, *context.partition_time_window)

        result = dg.materialize([swept], resources=project.resources, partition_key=key)
        (event,) = result.get_asset_materialization_events()
        assert event.materialization.metadata["dagster/partition_row_count"].value == 1, name
        assert project.query(f"SELECT id FROM gorgias.{name}") == [(row["id"],)]


def test_a_new_file_compresses_long_texts_and_an_old_one_keeps_its_format(tmp_path):
    duckdb.connect(str(tmp_path / "old.duckdb")).close()
    words = ["parcel", "refund", "size", "broken"]
    letters = pa.table({"text": [" ".join(Random(number).choices(words, k=5_000)) for number in range(20)]})
    compressions = {}
    for name in ("old", "new"):
        DuckDBWarehouse(str(tmp_path / f"{name}.duckdb"), {}, 5).replace(Table("shop", "letters"), letters, ())
        segments = "FROM pragma_storage_info('shop.letters') WHERE segment_type = 'VARCHAR'"
        compressions[name] = DuckDBFile(tmp_path / f"{name}.duckdb").query(f"SELECT DISTINCT compression {segments}")
    assert compressions == {"old": [("Uncompressed",)], "new": [("ZSTD",)]}
    assert (tmp_path / "new.duckdb").stat().st_size < (tmp_path / "old.duckdb").stat().st_size


def test_a_home_folder_in_the_path_is_the_user_s(database, monkeypatch):
    monkeypatch.setenv("HOME", str(database.parent))
    warehouse = DuckDBWarehouse("~/home.duckdb", {}, 1)
    warehouse.replace(Table("shop", "orders"), pa.table({"n": [1]}), ())
    assert warehouse.read(Table("shop", "orders"), ()).to_pylist() == [{"n": 1}]
    assert (database.parent / "home.duckdb").exists()


def test_a_home_folder_that_nobody_has_is_refused_with_a_sentence():
    with pytest.raises(WarehouseError, match="home folder that ~ in the warehouse URI stands for is unknown"):
        DuckDBWarehouse("~nobody-of-this-name/home.duckdb", {}, 1)


def test_a_name_that_is_too_long_or_a_link_to_itself_is_refused_at_once_and_shown_short(database):
    database.symlink_to(database)
    for path in (database, database.parent / ("corrupt" * 50)):
        with pytest.raises(WarehouseError, match="has too long a name, or is a link to itself") as raised:
            DuckDBWarehouse(str(path), {}, 1).replace(Table("shop", "orders"), pa.table({"n": [1]}), ())
        assert len(str(raised.value)) < 400
        assert not raised.value.passes


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be opened"), (b"id,name\n1,Ines\n" * 1000, "is no DuckDB file")],
    ids=["no folder", "no database"],
)
def test_a_file_that_cannot_be_opened_is_named_with_what_to_correct(database, content, sentence):
    path = database.parent / "folder" / "shop.duckdb"
    if content:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(WarehouseError, match=rf"shop\.duckdb {sentence}; correct the warehouse URI"):
        DuckDBWarehouse(str(path), {}, 1).replace(Table("shop", "orders"), pa.table({"n": [1]}), ())


@pytest.mark.parametrize(("is_held", "attempts"), [(False, 1), (True, 2)], ids=["no database", "open elsewhere"])
def test_a_write_is_tried_again_only_if_that_can_help(database, is_held, attempts):
    engine = DuckDBFile(database, lock_timeout_seconds=0.1)
    if not is_held:
        database.write_bytes(b"id,name\n1,Ines\n" * 1000)
    settings = {"retry_policy": dg.RetryPolicy(max_retries=1)}
    with duckdb.connect(str(database)) if is_held else nullcontext():
        result = store(engine, pd.DataFrame({"n": [1]}), raise_on_error=False, **settings)
    events = [event.event_type for event in result.all_events]
    assert not result.success
    assert events.count(dg.DagsterEventType.STEP_UP_FOR_RETRY) == attempts - 1
