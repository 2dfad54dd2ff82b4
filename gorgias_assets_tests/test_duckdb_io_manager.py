"""Anybody's own assets in a DuckDB file: what is replaced, what is kept, what is refused, and who waits for whom."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.entities import SATISFACTION_SURVEYS
from gorgias_assets.io_managers.duckdb import DuckDBWarehouse, GorgiasDuckDBIOManager
from gorgias_assets.io_managers.warehouse import Table, WarehouseError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)
    IN_ONE_RUN = dg.BackfillPolicy.single_run()

DAYS = dg.DailyPartitionsDefinition("2025-03-01", timezone="UTC")
SHOPS = dg.StaticPartitionsDefinition(["north", "south", "o'hara"])
DAILY = {"partitions_def": DAYS, "metadata": {"partition_expr": "day"}, "backfill_policy": IN_ONE_RUN}
BY_SHOP = {"partitions_def": SHOPS, "metadata": {"partition_expr": "shop"}, "backfill_policy": IN_ONE_RUN}
BY_DAY_AND_SHOP = {
    "partitions_def": dg.MultiPartitionsDefinition({"day": DAYS, "shop": SHOPS}),
    "metadata": {"partition_expr": {"day": "day", "shop": "shop"}},
    "backfill_policy": IN_ONE_RUN,
}
FIRST, SECOND, THIRD = "2025-03-01", "2025-03-02", "2025-03-03"
LETTER = "Dear shop, my private letter"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@cache
def instance() -> dg.DagsterInstance:
    """One for all tests of this file: making one takes as long as a run."""
    return dg.DagsterInstance.ephemeral()


def run(
    assets: list[Any], database: Path, day: str | None = None, last: str | None = None, **arguments: Any
) -> dg.ExecuteInProcessResult:
    """Materialise in this process, one partition or a range of them in one run."""
    if last is None:
        arguments["partition_key"] = day
    else:
        arguments["tags"] = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": last}
    return dg.materialize(
        assets,
        instance=instance(),
        resources={"io_manager": GorgiasDuckDBIOManager(database=str(database), lock_timeout_seconds=1)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **arguments,
    )


def orders(rows: object, **settings: Any) -> dg.AssetsDefinition:
    """The asset `shop/orders`, which returns `rows`, and whose table is `shop.orders`."""

    @dg.asset(**{"key": ["shop", "orders"], **settings})
    def orders() -> Any:
        return rows

    return orders


def store(
    database: Path,
    rows: object,
    day: str | None = None,
    last: str | None = None,
    raise_on_error: bool = True,
    **settings: Any,
) -> dg.ExecuteInProcessResult:
    return run([orders(rows, **settings)], database, day, last, raise_on_error=raise_on_error)


def load(
    database: Path,
    wanted: Any = pd.DataFrame,
    day: str | None = None,
    last: str | None = None,
    columns: list[str] | None = None,
    upstream: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """What a downstream asset of `shop/orders` is given."""
    given = []
    metadata = {"columns": columns} if columns else None

    @dg.asset(ins={"rows": dg.AssetIn(key=["shop", "orders"], metadata=metadata)}, **settings)
    def reader(rows: wanted) -> None:
        given.append(rows)

    run([orders(None, **(upstream or {})), reader], database, day, last, selection=[reader])
    return given[0]


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def table(database: Path) -> list[tuple[Any, ...]]:
    return query(database, "SELECT * FROM shop.orders ORDER BY ALL")


def types(database: Path) -> dict[str, str]:
    return dict(
        query(database, "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'orders'")
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def frame(day: str, *numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.to_datetime([day] * len(numbers)), "n": pd.array(numbers, dtype="int64")})


@contextmanager
def held(database: Path, read_only: bool) -> Iterator[int]:
    """Another process that has the file open; its PID."""
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


@pytest.mark.parametrize("form", [pd.DataFrame, pa.table], ids=["pandas", "arrow"])
def test_rows_without_partitions_replace_the_table(database, form):
    store(database, form({"n": [1, 2], "name": ["a", "b"]}))
    store(database, form({"n": [3], "name": ["c"]}))
    assert table(database) == [(3, "c")]


@pytest.mark.parametrize("form", [frame, lambda *of: pa.Table.from_pandas(frame(*of))], ids=["pandas", "arrow"])
def test_a_day_replaces_its_own_rows_and_no_others(database, form):
    for day, numbers in [(FIRST, [1, 2]), (SECOND, [3]), (THIRD, [4]), (SECOND, [5, 6]), (SECOND, [5, 7])]:
        store(database, form(day, *numbers), day, **DAILY)
    assert [n for _, n in table(database)] == [1, 2, 5, 7, 4]


def test_a_range_of_days_is_replaced_in_one_run(database):
    for day, n in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
        store(database, frame(day, n), day, **DAILY)
    store(database, pd.concat([frame(SECOND, 20), frame(THIRD, 30)]), SECOND, THIRD, **DAILY)
    assert [n for _, n in table(database)] == [1, 20, 30]


def test_a_static_partition_replaces_its_own_rows(database):
    for shop, n in (("north", 1), ("o'hara", 2), ("o'hara", 3), ("south", 4)):
        store(database, pd.DataFrame({"shop": [shop], "n": [n]}), shop, **BY_SHOP)
    assert table(database) == [("north", 1), ("o'hara", 3), ("south", 4)]


def test_a_partition_of_two_dimensions_replaces_its_own_rows(database):
    for day, shop, n in [(FIRST, "north", 1), (FIRST, "south", 2), (SECOND, "north", 3), (FIRST, "south", 4)]:
        rows = pd.DataFrame({"day": [date.fromisoformat(day)], "shop": [shop], "n": [n]})
        store(database, rows, dg.MultiPartitionKey({"day": day, "shop": shop}), **BY_DAY_AND_SHOP)
    assert [n for _, _, n in table(database)] == [1, 4, 3]


def test_a_range_of_two_dimensions_replaces_that_rectangle(database):
    corners = [(day, shop) for day in (FIRST, SECOND, THIRD) for shop in ("north", "south")]
    for n, (day, shop) in enumerate(corners):
        rows = pd.DataFrame({"day": [date.fromisoformat(day)], "shop": [shop], "n": [n]})
        store(database, rows, dg.MultiPartitionKey({"day": day, "shop": shop}), **BY_DAY_AND_SHOP)
    rows = pd.DataFrame({"day": [date.fromisoformat(SECOND)], "shop": ["north"], "n": [99]})
    store(database, rows, f"{FIRST}|north", f"{SECOND}|north", **BY_DAY_AND_SHOP)
    assert sorted(n for _, _, n in table(database)) == [1, 3, 4, 5, 99]


@pytest.mark.parametrize("expression", [{"day": "day"}, "day"], ids=["one missing", "not by dimension"])
def test_a_partition_expr_that_lacks_a_dimension_is_refused_with_a_sentence(database, expression):
    settings = BY_DAY_AND_SHOP | {"metadata": {"partition_expr": expression}}
    rows = pd.DataFrame({"day": [date(2025, 3, 1)], "shop": ["north"]})
    with pytest.raises(WarehouseError, match="partition_expr"):
        store(database, rows, dg.MultiPartitionKey({"day": FIRST, "shop": "north"}), **settings)


def test_partitions_without_a_partition_expr_are_refused_with_a_sentence(database):
    with pytest.raises(WarehouseError, match="no 'partition_expr' metadata"):
        store(database, frame(FIRST, 1), FIRST, partitions_def=DAYS)


def test_two_writes_of_one_day_leave_one(database):
    for _ in range(3):
        store(database, frame(FIRST, 1, 2), FIRST, **DAILY)
    assert [n for _, n in table(database)] == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(frame(SECOND, 3), id="of another day"),
        pytest.param(pd.concat([frame(FIRST, 3), frame(SECOND, 4)]), id="partly of another day"),
        pytest.param(pd.DataFrame({"day": [pd.NaT], "n": [3]}), id="of no day"),
        pytest.param(frame(FIRST, 3).assign(n=1.7), id="a fraction for an integer"),
        pytest.param(frame(FIRST, 3).assign(n=LETTER), id="text for an integer"),
        pytest.param(frame(FIRST, 3).assign(day="a day in spring"), id="text for a day"),
        pytest.param(frame(FIRST, 3).drop(columns="day"), id="without a day"),
        pytest.param(pd.DataFrame({"day": [at(FIRST)] * 2, "n": [1, "two"]}), id="of two types"),
        pytest.param("three", id="no frame"),
    ],
)
def test_a_write_that_fails_keeps_the_old_rows_and_leaves_no_lock(database, bad):
    store(database, frame(FIRST, 1, 2), FIRST, **DAILY)
    result = store(database, bad, FIRST, raise_on_error=False, **DAILY)
    assert not result.success
    assert [n for _, n in table(database)] == [1, 2]
    store(database, frame(FIRST, 5), FIRST, **DAILY)
    assert [n for _, n in table(database)] == [5]


def test_rows_outside_the_partition_are_counted_and_explained(database):
    with pytest.raises(WarehouseError, match=r"^1 of 2 rows for shop\.orders lie outside the partition"):
        store(database, pd.concat([frame(FIRST, 3), frame(SECOND, 4)]), FIRST, **DAILY)


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
def test_a_value_that_does_not_fit_is_not_shown(database, column, rows, settings):
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"CREATE SCHEMA shop; CREATE TABLE shop.orders ({column})")
    result = run(
        [orders(pd.DataFrame(rows), **settings)],
        database,
        FIRST if settings else None,
        raise_on_error=False,
    )
    assert not result.success
    assert "private letter" not in "\n".join(map(serialize_value, instance().all_logs(result.run_id)))


def test_columns_in_another_order_go_where_they_belong(database):
    store(database, pd.DataFrame({"a": [1], "b": [100]}))
    store(database, pd.DataFrame({"b": [200], "a": [2]}))
    assert query(database, "SELECT a, b FROM shop.orders") == [(2, 200)]


def test_a_new_column_is_added_and_null_in_older_rows(database):
    store(database, frame(FIRST, 1), FIRST, **DAILY)
    store(database, frame(SECOND, 2).assign(note="new"), SECOND, **DAILY)
    assert query(database, "SELECT n, note FROM shop.orders ORDER BY n") == [(1, None), (2, "new")]


def test_a_missing_column_is_null(database):
    store(database, frame(FIRST, 1).assign(note="old"), FIRST, **DAILY)
    store(database, frame(SECOND, 2), SECOND, **DAILY)
    assert query(database, "SELECT n, note FROM shop.orders ORDER BY n") == [(1, "old"), (2, None)]


def test_a_missing_and_a_new_column_do_not_change_places(database):
    store(database, frame(FIRST, 1).assign(old="o"), FIRST, **DAILY)
    store(database, frame(SECOND, 2).assign(new="n"), SECOND, **DAILY)
    assert query(database, "SELECT n, old, new FROM shop.orders ORDER BY n") == [(1, "o", None), (2, None, "n")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2**53 + 1, 1], [1, 2**53 + 1]),
        (["b", "a"], ["a", "b"]),
        ([True], [True]),
        ([1.5], [1.5]),
        ([at("2025-03-01")], [at("2025-03-01")]),
    ],
    ids=["integers", "text", "booleans", "fractions", "moments"],
)
def test_a_column_of_nulls_alone_takes_any_type_later(database, values, expected):
    store(database, pd.DataFrame({"n": [1], "v": pd.Series([None], dtype=object)}))
    store(database, pd.DataFrame({"n": range(len(values)), "v": values}))
    assert sorted(v for _, v in table(database)) == expected


def test_rows_without_a_single_value_are_refused(database):
    with pytest.raises(WarehouseError, match="returned rows without a single value"):
        store(database, pd.DataFrame({"v": pd.Series([None], dtype=object)}))


def test_integers_with_nulls_stay_integers(database):
    large = 2**53 + 1
    store(database, pd.DataFrame({"v": pd.array([1, None, large], dtype="Int64")}))
    assert types(database) == {"v": "BIGINT"}
    assert table(database) == [(1,), (large,), (None,)]
    loaded = load(database)
    assert str(loaded["v"].dtype) == "Int64"
    assert sorted(loaded["v"].dropna()) == [1, large]


def test_unsigned_integers_with_nulls_keep_every_digit(database):
    store(database, pd.DataFrame({"v": pd.array([2**63 + 1, None], dtype="UInt64")}))
    assert sorted(load(database)["v"].dropna().tolist()) == [2**63 + 1]


def test_a_frame_of_whole_floats_fits_an_integer_column(database):
    store(database, pd.DataFrame({"v": [1, 2]}))
    store(database, pd.DataFrame({"v": [3.0, float("nan")]}))
    assert types(database) == {"v": "BIGINT"}
    assert table(database) == [(3,), (None,)]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param([1], [1.7], id="fraction into integer"),
        pytest.param([1.5], [2**53 + 1], id="large integer into float"),
        pytest.param([True], [2], id="two into boolean"),
        pytest.param([date(2025, 3, 1)], [pd.Timestamp("2025-03-01 13:00").to_pydatetime()], id="hour into date"),
        pytest.param([{"a": 1}], [{"a": 1, "b": 2}], id="new field into struct"),
        pytest.param([{"a": 1}], [{"b": 2}], id="other field into struct"),
        pytest.param(pd.array([0.5], dtype="float32"), [0.1], id="double into float"),
        pytest.param(pd.array([1], dtype="int32"), [2**40], id="large integer into small"),
    ],
)
def test_a_value_is_never_changed_to_fit_a_column(database, first, then):
    """Kept as it is, in a wider column for example, or refused: nothing in between."""
    store(database, pd.DataFrame({"v": first}))
    before = table(database)
    wrote = store(database, pd.DataFrame({"v": then}), raise_on_error=False).success
    assert table(database) == ([(value,) for value in then] if wrote else before)


def test_categories_are_text_that_may_change(database):
    store(database, pd.DataFrame({"v": pd.Categorical(["p", "q"])}))
    store(database, pd.DataFrame({"v": pd.Categorical(["r"])}))
    assert table(database) == [("r",)]


@pytest.mark.parametrize("names", [(1, "1"), ("a", "a"), ("a", "A")], ids=["1 and '1'", "a and a", "a and A"])
def test_two_columns_of_one_name_are_refused_rather_than_lost(database, names):
    rows = pd.DataFrame([[1, 2]], columns=pd.Index(names, dtype=object))
    with pytest.raises(WarehouseError, match="name"):
        store(database, rows)


def test_a_column_named_in_other_letters_is_the_same_column(database):
    store(database, pd.DataFrame({"Total": [1]}))
    store(database, pd.DataFrame({"total": [2]}))
    assert table(database) == [(2,)]


@pytest.mark.parametrize("rows", [pd.DataFrame(), pa.table({})], ids=["pandas", "arrow"])
def test_a_frame_without_rows_and_columns_empties_its_partition(database, rows):
    store(database, frame(FIRST, 1), FIRST, **DAILY)
    store(database, frame(SECOND, 2), SECOND, **DAILY)
    store(database, rows, SECOND, **DAILY)
    assert [n for _, n in table(database)] == [1]


def test_an_empty_frame_makes_a_table_that_can_be_loaded_and_filled(database):
    store(database, frame(FIRST), FIRST, **DAILY)
    assert load(database, upstream=DAILY).empty
    store(database, frame(SECOND, 2), SECOND, **DAILY)
    assert types(database)["n"] == "BIGINT"
    store(database, frame(SECOND), SECOND, **DAILY)
    assert table(database) == []


def test_names_with_quotes_and_dashes_are_kept(database):
    store(database, pd.DataFrame({'it\'s "n"': [1], "select": [2], "a-b": [3], "": [4]}).drop(columns=""))
    assert list(types(database)) == ['it\'s "n"', "select", "a-b"]


@pytest.mark.parametrize("name", ["table", "select", "connection", "_gorgias_rows"])
def test_an_asset_may_be_named_like_anything_python_or_sql_knows(database, name):
    for n in (1, 2):
        store(database, pd.DataFrame({"n": [n]}), key=["shop", name])
    assert query(database, f'SELECT n FROM shop."{name}"') == [(2,)]


@pytest.mark.parametrize("name", ["daily-orders", 'it"s', "it's"])
def test_a_table_may_have_a_dash_or_a_quote_in_its_name(database, name):
    warehouse = DuckDBWarehouse(str(database), {}, 1)
    for n in (1, 2):
        warehouse.replace(Table("s-" + name, name), pa.table({"n": [n]}), ())
    assert warehouse.read(Table("s-" + name, name), ()).to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("schema", ["memory", "Temp", "system"])
def test_a_schema_named_as_duckdb_names_its_own_databases_is_refused(database, schema):
    with pytest.raises(WarehouseError, match="choose another schema"):
        store(database, pd.DataFrame({"n": [1]}), key=[schema, "orders"])


def test_a_schema_may_be_named_as_a_word_of_sql(database):
    for n in (1, 2):
        store(database, pd.DataFrame({"n": [n]}), key=["order", "orders"])
    assert query(database, 'SELECT n FROM warehouse."order".orders') == [(2,)]


def test_moments_with_and_without_a_zone_are_the_same_moments(database):
    aware = pd.DataFrame({"day": pd.to_datetime([at(FIRST)], utc=True), "n": [1]})
    elsewhere = pd.DataFrame({"day": pd.DatetimeIndex([at(SECOND)]).tz_convert("Asia/Tokyo"), "n": [2]})
    naive = pd.DataFrame({"day": pd.to_datetime([THIRD]), "n": [3]})
    for day, rows in ((FIRST, aware), (SECOND, elsewhere), (THIRD, naive)) * 2:
        store(database, rows, day, **DAILY)
    assert table(database) == [(at(FIRST), 1), (at(SECOND), 2), (at(THIRD), 3)]


def test_the_edges_of_a_day_belong_to_it_as_a_half_open_interval(database):
    edges = [at(FIRST), at("2025-03-01T23:59:59.999999")]
    store(database, pd.DataFrame({"day": edges}), FIRST, **DAILY)
    with pytest.raises(WarehouseError, match="outside"):
        store(database, pd.DataFrame({"day": [at(SECOND)]}), FIRST, **DAILY)
    store(database, pd.DataFrame({"day": [at(SECOND)]}), SECOND, **DAILY)
    store(database, pd.DataFrame({"day": edges[:1]}), FIRST, **DAILY)
    assert table(database) == [(at(FIRST),), (at(SECOND),)]


def test_days_of_another_zone_are_that_zone_s_days(database):
    madrid = DAILY | {"partitions_def": dg.DailyPartitionsDefinition("2025-03-01", timezone="Europe/Madrid")}
    last_hour = datetime(2025, 3, 30, 21, 59, tzinfo=UTC)  # the day is 23 hours long and ends at 22:00 UTC
    for _ in range(2):
        store(database, pd.DataFrame({"day": [last_hour]}), "2025-03-30", **madrid)
        store(database, pd.DataFrame({"day": [last_hour + timedelta(minutes=1)]}), "2025-03-31", **madrid)
    assert table(database) == [(last_hour,), (last_hour + timedelta(minutes=1),)]


@pytest.mark.parametrize(
    "day", [FIRST, date(2025, 3, 1), "2025-03-01T00:00:00Z", "2025-03-01 02:00:00+02"], ids=["text", "date", "Z", "+02"]
)
def test_a_partition_column_may_be_text_or_a_date(database, day):
    for n in (1, 2):
        store(database, pd.DataFrame({"day": [day], "n": [n]}), FIRST, **DAILY)
    assert [n for _, n in table(database)] == [2]


WRITE_THE_EDGES = """
from datetime import UTC, datetime, timedelta, timezone
import pandas as pd, sys, time
from gorgias_assets_tests.test_duckdb_io_manager import DAILY, FIRST, SECOND, store
assert time.tzname[0] == "EST"
for column in ({"utc": True}, {}):
    for _ in range(2):
        for day in (FIRST, SECOND):
            edges = [f"{day}T00:00:00", f"{day}T04:59:59", f"{day}T05:00:00", f"{day}T23:59:59.999999"]
            rows = pd.DataFrame({"day": pd.to_datetime(edges, format="ISO8601", **column)})
            store(sys.argv[1 if column else 2], rows, day, **DAILY)
"""


def test_the_time_zone_of_the_process_makes_no_duplicates_at_a_day_s_edges(tmp_path):
    files = [tmp_path / "aware.duckdb", tmp_path / "naive.duckdb"]
    environment = os.environ | {"TZ": "America/New_York"}
    subprocess.run(
        [sys.executable, "-c", WRITE_THE_EDGES, *map(str, files)], check=True, env=environment, capture_output=True
    )
    for file in files:
        assert query(
            file, "SELECT count(*), count(DISTINCT day), strftime(min(day), '%Y-%m-%d %H:%M:%S') FROM shop.orders"
        ) == [(8, 8, "2025-03-01 00:00:00")]


def test_loading_gives_a_day_a_range_or_all(database):
    for day, n in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
        store(database, frame(day, n), day, **DAILY)
    assert load(database, day=SECOND, upstream=DAILY, partitions_def=DAYS)["n"].tolist() == [2]
    some = load(database, day=SECOND, last=THIRD, upstream=DAILY, partitions_def=DAYS, backfill_policy=IN_ONE_RUN)
    assert sorted(some["n"]) == [2, 3]
    assert sorted(load(database, upstream=DAILY)["n"]) == [1, 2, 3]


def test_loading_gives_a_static_partition_and_one_of_two_dimensions(database):
    rows = pd.DataFrame({"day": [date(2025, 3, 1)], "shop": ["o'hara"], "n": [1]})
    key = dg.MultiPartitionKey({"day": FIRST, "shop": "o'hara"})
    store(database, rows, key, **BY_DAY_AND_SHOP)
    both = {"upstream": BY_DAY_AND_SHOP, "partitions_def": BY_DAY_AND_SHOP["partitions_def"]}
    assert load(database, day=key, **both)["n"].tolist() == [1]
    other = dg.MultiPartitionKey({"day": FIRST, "shop": "north"})
    assert load(database, day=other, **both).empty


def test_loading_as_arrow_gives_an_arrow_table(database):
    store(database, pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "at": [at(FIRST)] * 2}))
    loaded = load(database, pa.Table)
    assert isinstance(loaded, pa.Table)
    assert loaded.schema.field("n").type == pa.int64()
    assert loaded.schema.field("at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("wanted", [pd.DataFrame, Any])
def test_loading_without_an_annotation_gives_pandas(database, wanted):
    store(database, pd.DataFrame({"flag": pd.array([True, None], dtype="boolean"), "text": ["a", None]}))
    loaded = load(database, wanted)
    assert str(loaded["flag"].dtype) == "boolean"
    assert loaded["text"].tolist() == ["a", None]


def test_loading_as_something_else_is_refused_with_a_sentence(database):
    store(database, pd.DataFrame({"n": [1]}))
    with pytest.raises(WarehouseError, match="as a pandas DataFrame or an Arrow table, not as"):
        load(database, dict)


def test_loading_reads_only_the_columns_asked_for_and_in_that_order(database):
    store(database, pd.DataFrame({"a": [1], "b": [2], "c d": [3]}))
    assert load(database, columns=["c d", "a"]).to_dict("records") == [{"c d": 3, "a": 1}]


def test_loading_a_column_that_is_not_there_names_it(database):
    store(database, pd.DataFrame({"a": [1]}))
    with pytest.raises(Exception, match="missing_column"):
        load(database, columns=["missing_column"])


@pytest.mark.parametrize("other", [False, True], ids=["no file", "no table"])
def test_loading_a_table_that_is_not_there_says_so(database, other):
    if other:
        store(database, pd.DataFrame({"n": [1]}), key=["shop", "others"])
    with pytest.raises(WarehouseError, match=r"There is no table shop\.orders .*materialise its asset first"):
        load(database)


def test_an_asset_may_be_built_on_its_own_day_before(database):
    """On the first day there is no day before, and so nothing to load."""
    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        key=["shop", "orders"], ins={"before": dg.AssetIn(key=["shop", "orders"], partition_mapping=before)}, **DAILY
    )
    def running_total(context: dg.AssetExecutionContext, before: Any) -> pd.DataFrame:
        total = 0 if before is None or before.empty else before["n"].max()
        return frame(context.partition_key, total + 1)

    for day in (FIRST, SECOND, SECOND, THIRD):
        run([running_total], database, day)
    assert [n for _, n in table(database)] == [1, 2, 3]


def test_an_asset_that_returns_nothing_needs_no_table(database):
    @dg.asset
    def side_effect() -> None: ...

    @dg.asset
    def told() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": 1})

    assert run([side_effect, told], database).success
    assert not database.exists()


def test_a_replaced_day_says_what_it_wrote_and_where(database):
    store(database, frame(FIRST, 1, 2), FIRST, **DAILY)
    result = store(database, frame(SECOND, 3), SECOND, **DAILY)
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata == {
        "dagster/table_name": "shop.orders",
        "dagster/row_count": 3,
        "dagster/partition_row_count": 1,
        "rows_written": 1,
    }


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
        run([orders(pd.DataFrame({"n": [1]}))], Path(":memory:"))
    assert str(raised.value.__cause__) == "A DuckDB in memory is gone when the step ends; name a file."


WRITE_SHOPS = """
import pyarrow as pa, sys
from gorgias_assets.io_managers.duckdb import DuckDBWarehouse
from gorgias_assets.io_managers.warehouse import Dimension, Table
warehouse = DuckDBWarehouse(sys.argv[1], {}, 60)
sys.stdin.read()
for n in range(15):
    shop = f"{sys.argv[2]}{n}"
    rows = pa.table({"shop": [shop] * 100, "n": list(range(100))})
    warehouse.replace(Table("shop", "orders"), rows, (Dimension(("shop",), (shop,)),))
"""


def test_two_processes_that_write_at_once_both_succeed(database):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_SHOPS, str(database), name], stdin=subprocess.PIPE)
        for name in ("a", "b")
    ]
    for writer in writers:
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert query(database, "SELECT count(*), count(DISTINCT shop) FROM shop.orders") == [(3000, 30)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_another_process_holds_is_waited_for_and_its_holder_named(database, read_only):
    store(database, pd.DataFrame({"n": [1]}))
    with held(database, read_only) as pid:
        started = datetime.now(UTC)
        with pytest.raises(WarehouseError) as raised:
            store(database, pd.DataFrame({"n": [2]}))
        assert timedelta(seconds=0.5) < datetime.now(UTC) - started < timedelta(seconds=4)
    message = str(raised.value)
    assert f"process {pid} " in message
    assert "python" in message
    assert str(database) in message
    store(database, pd.DataFrame({"n": [3]}))
    assert table(database) == [(3,)]


def test_a_reader_elsewhere_does_not_keep_from_loading(database):
    store(database, pd.DataFrame({"n": [1]}))
    with held(database, read_only=True):
        assert load(database)["n"].tolist() == [1]


def test_a_connection_of_this_very_process_is_waited_for_and_said_to_be_so(database):
    store(database, pd.DataFrame({"n": [1]}))
    with duckdb.connect(str(database)), pytest.raises(WarehouseError, match="a connection of this process"):
        store(database, pd.DataFrame({"n": [2]}))
    store(database, pd.DataFrame({"n": [3]}))
    assert table(database) == [(3,)]


def test_after_a_failed_write_the_file_is_free_for_another_process(database):
    store(database, frame(FIRST, 1), FIRST, **DAILY)
    assert not store(database, frame(SECOND, 1), FIRST, raise_on_error=False, **DAILY).success
    with held(database, read_only=False):
        pass


def test_what_a_killed_process_committed_is_loaded(database):
    code = (
        "import os, pyarrow as pa\n"
        "from gorgias_assets.io_managers.duckdb import DuckDBWarehouse\n"
        f"warehouse = DuckDBWarehouse({str(database)!r}, {{}}, 5)\n"
        "with warehouse._connection(read_only=False) as connection:\n"
        "    connection.execute('CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT 1 AS n')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert load(database)["n"].tolist() == [1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        store(tmp_path / "nowhere" / "warehouse.duckdb", pd.DataFrame({"n": [1]}))


def test_a_table_of_another_type_is_refused_with_a_sentence_and_left_alone(project, account):
    account.create("satisfaction_surveys", created_datetime=at("2025-03-10"))
    with duckdb.connect(str(project.database)) as connection:
        connection.execute("CREATE SCHEMA gorgias; CREATE TABLE gorgias.satisfaction_surveys AS SELECT 'x' AS id")
    with pytest.raises(WarehouseError, match=r"Column 'id' of gorgias\.satisfaction_surveys is VARCHAR, not BIGINT"):
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


def test_rows_come_back_as_they_were_from_a_zone_that_is_no_utc(database):
    moment = datetime(2025, 3, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store(database, pa.table({"at": pa.array([moment], pa.timestamp("us", tz="Asia/Kolkata"))}))
    assert load(database)["at"].tolist() == [pd.Timestamp(moment)]


def test_a_home_folder_in_the_path_is_the_user_s(database, monkeypatch):
    monkeypatch.setenv("HOME", str(database.parent))
    warehouse = DuckDBWarehouse("~/home.duckdb", {}, 1)
    warehouse.replace(Table("shop", "orders"), pa.table({"n": [1]}), ())
    assert warehouse.read(Table("shop", "orders"), ()).to_pylist() == [{"n": 1}]
    assert (database.parent / "home.duckdb").exists()


@pytest.mark.parametrize("content", [None, b"id,name\n1,Ines\n" * 1000], ids=["no folder", "no database"])
def test_a_file_that_cannot_be_opened_is_named_with_what_to_correct(database, content):
    path = database.parent / "folder" / "shop.duckdb"
    if content:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(WarehouseError, match=r"shop\.duckdb cannot be opened; correct the warehouse URI"):
        DuckDBWarehouse(str(path), {}, 1).replace(Table("shop", "orders"), pa.table({"n": [1]}), ())
