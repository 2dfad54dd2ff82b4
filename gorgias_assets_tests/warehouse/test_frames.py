"""A user's own assets in each warehouse: replacing, keeping, refusing and loading rows."""

import re
import warnings
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gorgias_assets.warehouse.duckdb.types import storable
from gorgias_assets.warehouse.frames import arrow_frame
from gorgias_assets.warehouse.tables import WarehouseError
from gorgias_assets_tests.engines import Engine, cases_on_each_warehouse, on_each_warehouse_in_time

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


@cache
def instance() -> dg.DagsterInstance:
    """Return one for all tests of this file: making one takes as long as a run."""
    return dg.DagsterInstance.ephemeral()


def run(
    assets: list[Any], engine: Engine, day: str | None = None, last: str | None = None, **arguments: Any
) -> dg.ExecuteInProcessResult:
    """Materialize in this process, one partition or a range of them in one run."""
    if last is None:
        arguments["partition_key"] = day
    else:
        arguments["tags"] = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": last}
    return dg.materialize(
        assets,
        instance=instance(),
        resources={"io_manager": engine.io_manager()},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **arguments,
    )


def orders(rows: object, **settings: Any) -> dg.AssetsDefinition:
    """Return the asset `shop/orders`, which returns `rows`, and whose table is `shop.orders`."""

    @dg.asset(**{"key": ["shop", "orders"], **settings})
    def orders() -> Any:
        return rows

    return orders


def store(
    engine: Engine,
    rows: object,
    day: str | None = None,
    last: str | None = None,
    raise_on_error: bool = True,
    **settings: Any,
) -> dg.ExecuteInProcessResult:
    return run([orders(rows, **settings)], engine, day, last, raise_on_error=raise_on_error)


def load(
    engine: Engine,
    wanted: Any = pd.DataFrame,
    day: str | None = None,
    last: str | None = None,
    columns: list[str] | None = None,
    upstream: dict[str, Any] | None = None,
    key: list[str] = ["shop", "orders"],  # noqa: B006, nobody changes it
    **settings: Any,
) -> Any:
    """Return the input of a downstream asset of `shop/orders`."""
    given = []
    metadata = {"columns": columns} if columns else None

    @dg.asset(ins={"rows": dg.AssetIn(key=key, metadata=metadata)}, **settings)
    def reader(rows: wanted) -> None:
        given.append(rows)

    run([orders(None, key=key, **(upstream or {})), reader], engine, day, last, selection=[reader])
    return given[0]


def table(engine: Engine) -> list[tuple[Any, ...]]:
    rows = engine.query("SELECT * FROM shop.orders")
    return sorted(rows, key=lambda row: [(value is None, value) for value in row]) if len(rows) > 1 else rows


def types(engine: Engine) -> dict[str, str]:
    return engine.types("shop", "orders")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def frame(day: str, *numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.to_datetime([day] * len(numbers)), "n": pd.array(numbers, dtype="int64")})


@cases_on_each_warehouse("form", {"pandas": pd.DataFrame, "arrow": pa.table}, bigquery=["arrow"])
def test_rows_without_partitions_replace_the_table(engine, form):
    store(engine, form({"n": [1, 2], "name": ["a", "b"]}))
    store(engine, form({"n": [3], "name": ["c"]}))
    assert table(engine) == [(3, "c")]


@cases_on_each_warehouse("form", {"pandas": frame, "arrow": lambda *of: pa.Table.from_pandas(frame(*of))}, bigquery=[])
def test_a_day_replaces_its_own_rows_and_no_others(engine, form):
    for day, numbers in [(FIRST, [1, 2]), (SECOND, [3]), (THIRD, [4]), (SECOND, [5, 6]), (SECOND, [5, 7])]:
        store(engine, form(day, *numbers), day, **DAILY)
    assert [n for _, n in table(engine)] == [1, 2, 5, 7, 4]


@on_each_warehouse_in_time
def test_a_range_of_days_is_replaced_in_one_run(engine):
    for day, n in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
        store(engine, frame(day, n), day, **DAILY)
    store(engine, pd.concat([frame(SECOND, 20), frame(THIRD, 30)]), SECOND, THIRD, **DAILY)
    assert [n for _, n in table(engine)] == [1, 20, 30]


@on_each_warehouse_in_time
def test_a_static_partition_replaces_its_own_rows(engine):
    for shop, n in (("north", 1), ("o'hara", 2), ("o'hara", 3), ("south", 4)):
        store(engine, pd.DataFrame({"shop": [shop], "n": [n]}), shop, **BY_SHOP)
    assert table(engine) == [("north", 1), ("o'hara", 3), ("south", 4)]


def test_a_partition_of_two_dimensions_replaces_its_own_rows(engine):
    for day, shop, n in [(FIRST, "north", 1), (FIRST, "south", 2), (SECOND, "north", 3), (FIRST, "south", 4)]:
        rows = pd.DataFrame({"day": [date.fromisoformat(day)], "shop": [shop], "n": [n]})
        store(engine, rows, dg.MultiPartitionKey({"day": day, "shop": shop}), **BY_DAY_AND_SHOP)
    assert [n for _, _, n in table(engine)] == [1, 4, 3]


@on_each_warehouse_in_time
def test_a_range_of_two_dimensions_replaces_that_rectangle(engine):
    corners = [(day, shop) for day in (FIRST, SECOND, THIRD) for shop in ("north", "south")]
    for n, (day, shop) in enumerate(corners):
        rows = pd.DataFrame({"day": [date.fromisoformat(day)], "shop": [shop], "n": [n]})
        store(engine, rows, dg.MultiPartitionKey({"day": day, "shop": shop}), **BY_DAY_AND_SHOP)
    rows = pd.DataFrame({"day": [date.fromisoformat(SECOND)], "shop": ["north"], "n": [99]})
    store(engine, rows, f"{FIRST}|north", f"{SECOND}|north", **BY_DAY_AND_SHOP)
    assert sorted(n for _, _, n in table(engine)) == [1, 3, 4, 5, 99]


@pytest.mark.parametrize("expression", [{"day": "day"}, "day"], ids=["one missing", "not by dimension"])
def test_a_partition_expr_that_lacks_a_dimension_is_refused_with_a_sentence(engine, expression):
    settings = BY_DAY_AND_SHOP | {"metadata": {"partition_expr": expression}}
    rows = pd.DataFrame({"day": [date(2025, 3, 1)], "shop": ["north"]})
    with pytest.raises(dg.Failure, match="partition_expr"):
        store(engine, rows, dg.MultiPartitionKey({"day": FIRST, "shop": "north"}), **settings)


def test_partitions_without_a_partition_expr_are_refused_with_a_sentence(engine):
    with pytest.raises(dg.Failure, match="no 'partition_expr' metadata"):
        store(engine, frame(FIRST, 1), FIRST, partitions_def=DAYS)


@on_each_warehouse_in_time
def test_two_writes_of_one_day_leave_one(engine):
    for _ in range(3):
        store(engine, frame(FIRST, 1, 2), FIRST, **DAILY)
    assert [n for _, n in table(engine)] == [1, 2]


@cases_on_each_warehouse(
    "bad",
    {
        "of another day": frame(SECOND, 3),
        "partly of another day": pd.concat([frame(FIRST, 3), frame(SECOND, 4)]),
        "of no day": pd.DataFrame({"day": [pd.NaT], "n": [3]}),
        "a fraction for an integer": frame(FIRST, 3).assign(n=1.7),
        "text for an integer": frame(FIRST, 3).assign(n=LETTER),
        "text for a day": frame(FIRST, 3).assign(day="a day in spring"),
        "without a day": frame(FIRST, 3).drop(columns="day"),
        "of two types": pd.DataFrame({"day": [at(FIRST)] * 2, "n": [1, "two"]}),
        "no frame": "three",
    },
    bigquery=["partly of another day"],
)
def test_a_write_that_fails_keeps_the_old_rows_and_leaves_no_lock(engine, bad):
    store(engine, frame(FIRST, 1, 2), FIRST, **DAILY)
    result = store(engine, bad, FIRST, raise_on_error=False, **DAILY)
    assert not result.success
    assert [n for _, n in table(engine)] == [1, 2]
    store(engine, frame(FIRST, 5), FIRST, **DAILY)
    assert [n for _, n in table(engine)] == [5]


@on_each_warehouse_in_time
def test_rows_outside_the_partition_are_counted_and_explained(engine):
    with pytest.raises(dg.Failure, match=r"^1 of 2 rows for shop\.orders lie outside the partition"):
        store(engine, pd.concat([frame(FIRST, 3), frame(SECOND, 4)]), FIRST, **DAILY)


@on_each_warehouse_in_time
def test_columns_in_another_order_go_where_they_belong(engine):
    store(engine, pd.DataFrame({"a": [1], "b": [100]}))
    store(engine, pd.DataFrame({"b": [200], "a": [2]}))
    assert engine.query("SELECT a, b FROM shop.orders") == [(2, 200)]


@on_each_warehouse_in_time
def test_a_new_column_is_added_and_null_in_older_rows(engine):
    store(engine, frame(FIRST, 1), FIRST, **DAILY)
    store(engine, frame(SECOND, 2).assign(note="new"), SECOND, **DAILY)
    assert engine.query("SELECT n, note FROM shop.orders ORDER BY n") == [(1, None), (2, "new")]


@on_each_warehouse_in_time
def test_a_missing_column_is_null(engine):
    store(engine, frame(FIRST, 1).assign(note="old"), FIRST, **DAILY)
    store(engine, frame(SECOND, 2), SECOND, **DAILY)
    assert engine.query("SELECT n, note FROM shop.orders ORDER BY n") == [(1, "old"), (2, None)]


@on_each_warehouse_in_time
def test_a_missing_and_a_new_column_do_not_change_places(engine):
    store(engine, frame(FIRST, 1).assign(old="o"), FIRST, **DAILY)
    store(engine, frame(SECOND, 2).assign(new="n"), SECOND, **DAILY)
    assert engine.query("SELECT n, old, new FROM shop.orders ORDER BY n") == [(1, "o", None), (2, None, "n")]


@cases_on_each_warehouse(
    "values",
    {
        "integers": [1, 2**53 + 1],
        "text": ["a", "b"],
        "booleans": [True],
        "fractions": [1.5],
        "moments": [at("2025-03-01")],
    },
    bigquery=[],
)
def test_a_column_of_nulls_alone_takes_any_type_later(engine, values):
    store(engine, pd.DataFrame({"n": [1], "v": pd.Series([None], dtype=object)}))
    store(engine, pd.DataFrame({"n": range(len(values)), "v": values}))
    assert [v for _, v in table(engine)] == values


def test_rows_without_a_single_value_are_refused(engine):
    with pytest.raises(dg.Failure, match="returned rows without a single value"):
        store(engine, pd.DataFrame({"v": pd.Series([None], dtype=object)}))


@on_each_warehouse_in_time
def test_integers_with_nulls_stay_integers(engine):
    large = 2**53 + 1
    store(engine, pd.DataFrame({"v": pd.array([1, None, large], dtype="Int64")}))
    assert types(engine) == {"v": engine.integer}
    assert table(engine) == [(1,), (large,), (None,)]
    loaded = load(engine)
    assert str(loaded["v"].dtype) == "Int64"
    assert sorted(loaded["v"].dropna()) == [1, large]


@on_each_warehouse_in_time
def test_unsigned_integers_with_nulls_keep_every_digit(engine):
    store(engine, pd.DataFrame({"v": pd.array([2**63 + 1, None], dtype="UInt64")}))
    assert sorted(load(engine)["v"].dropna().tolist()) == [2**63 + 1]


@on_each_warehouse_in_time
def test_a_frame_of_whole_floats_fits_an_integer_column(engine):
    store(engine, pd.DataFrame({"v": [1, 2]}))
    store(engine, pd.DataFrame({"v": [3.0, float("nan")]}))
    assert types(engine) == {"v": engine.integer}
    assert table(engine) == [(3,), (None,)]


@cases_on_each_warehouse(
    "values",
    {
        "fraction into integer": ([1], [1.7]),
        "large integer into float": ([1.5], [2**53 + 1]),
        "two into boolean": ([True], [2]),
        "hour into date": ([date(2025, 3, 1)], [pd.Timestamp("2025-03-01 13:00").to_pydatetime()]),
        "new field into struct": ([{"a": 1}], [{"a": 1, "b": 2}]),
        "other field into struct": ([{"a": 1}], [{"b": 2}]),
        "double into float": (pd.array([0.5], dtype="float32"), [0.1]),
        "large integer into small": (pd.array([1], dtype="int32"), [2**40]),
    },
    bigquery=["large integer into float"],
)
def test_a_value_is_never_changed_to_fit_a_column(engine, values):
    """A value is kept as it is, in a wider column for example, or refused: nothing in between."""
    first, then = values
    store(engine, pd.DataFrame({"v": first}))
    before = table(engine)
    wrote = store(engine, pd.DataFrame({"v": then}), raise_on_error=False).success
    assert table(engine) == ([(value,) for value in then] if wrote else before)


A_UUID = UUID("12345678-1234-5678-1234-567812345678")
MOMENT = datetime(2025, 3, 1, 12, 30, 0, 123456)  # noqa: DTZ001, without a zone on purpose
AWARE = MOMENT.replace(tzinfo=UTC)
A_DAY, A_TIME, A_SPAN = date(2025, 3, 1), time(1, 2, 3, 4), timedelta(40, 2, 3)


def raw(values: list[Any], kind: pa.DataType, storage: pa.DataType) -> pa.Array:
    """Return integers or bytes as a type that Python has no values of."""
    column = pa.array(values, storage)
    return pa.ExtensionArray.from_storage(kind, column) if isinstance(kind, pa.BaseExtensionType) else column.cast(kind)


# Two values of each type, and how they come back if not as they are.
TYPES: dict[str, tuple[Any, list[Any] | None]] = {
    "category": (pd.Categorical(["a", None]), None),
    "category of integers": (pd.Categorical([2**53 + 1, 5]), None),
    "category of fractions": (pd.Categorical([1.5, 2.5]), None),
    "category with an unused level": (pd.Categorical(["a", "b"], categories=["c", "b", "a"]), None),
    "category of moments": (pd.Categorical(pd.to_datetime([AWARE, AWARE + A_SPAN])), None),
    "category of uuids": (pd.Categorical([A_UUID, None]), [str(A_UUID), None]),
    "timedelta": (pd.array([A_SPAN, None], dtype="timedelta64[ns]"), None),
    "timedelta below zero": (pd.array([-timedelta(microseconds=1), A_SPAN], dtype="timedelta64[us]"), None),
    "timedelta objects": (pd.Series([A_SPAN, None], dtype=object), None),
    "uuid objects": (pd.Series([A_UUID, None], dtype=object), [str(A_UUID), None]),
    "datetime64[s]": (pd.array(["2025-03-01", "9999-12-31"], dtype="datetime64[s]"), None),
    "datetime64[ms]": (pd.array(["2025-03-01", None], dtype="datetime64[ms]"), None),
    "nanoseconds": (pd.to_datetime(["2025-03-01T12:30:00.123456789", None]), None),
    "UTC": (pd.to_datetime([AWARE, None]), None),
    "Tokyo": (pd.to_datetime([AWARE, None]).tz_convert("Asia/Tokyo"), None),
    "moments of two zones": (
        pd.Series([AWARE, AWARE.astimezone(timezone(timedelta(hours=9)))], dtype=object),
        [AWARE, AWARE],
    ),
    "sparse": (pd.arrays.SparseArray([0, 7]), None),
    "Int8": (pd.array([1, None], dtype="Int8"), None),
    "UInt64": (pd.array([2**64 - 1, None], dtype="UInt64"), None),
    "boolean": (pd.array([True, None], dtype="boolean"), None),
    "string": (pd.array(["a", None], dtype="string"), None),
    "Arrow string": (pd.array(["a", None], dtype="string[pyarrow]"), None),
    "Arrow duration": (pd.array([A_SPAN, None], dtype=pd.ArrowDtype(pa.duration("us"))), None),
    "floats": ([float("nan"), -1.5], None),
    "infinite": ([float("inf"), float("-inf")], None),
    "numpy float16": (np.array([0.5, 1.5], dtype="float16"), None),
    "bytes": (pd.Series([b"\x00\xff", None], dtype=object), None),
    "dates": (pd.Series([A_DAY, None], dtype=object), None),
    "times": (pd.Series([A_TIME, None], dtype=object), None),
    "decimals": (pd.Series([Decimal("1.10"), Decimal("2.345")], dtype=object), None),
    "lists": (pd.Series([[1, None], None], dtype=object), None),
    "lists of large integers": (pd.Series([[2**53 + 1, None], []], dtype=object), None),
    "empty lists": (pd.Series([[], []], dtype=object), None),
    "arrays": (pd.Series([np.array([1, 2]), None], dtype=object), [[1, 2], None]),
    "dicts": (
        pd.Series([{"a": 2**53 + 1}, {"b": "x"}], dtype=object),
        [{"a": 2**53 + 1, "b": None}, {"a": None, "b": "x"}],
    ),
    "offsets": (pd.Series([pd.DateOffset(months=1, days=2, nanoseconds=0), None], dtype=object), None),
    **{f"Arrow {kind}": (pa.array([1, None], kind), None) for kind in (pa.int8(), pa.int16(), pa.int32())},
    **{f"Arrow {kind}": (pa.array([250, None], kind), None) for kind in (pa.uint8(), pa.uint16(), pa.uint32())},
    "Arrow int64": (pa.array([2**63 - 1, None], pa.int64()), None),
    "Arrow uint64": (pa.array([2**64 - 1, None], pa.uint64()), None),
    **{f"Arrow {kind}": (pa.array([0.5, None], kind), None) for kind in (pa.float16(), pa.float32(), pa.float64())},
    "Arrow NaN": (pa.array([float("nan"), float("inf")], pa.float32()), None),
    **{f"Arrow {kind}": (pa.array(["a\0" * 20, None], kind), None) for kind in (pa.large_string(), pa.string_view())},
    **{
        f"Arrow {kind}": (pa.array([b"\x00\xff\x01", None], kind), None)
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3))
    },
    "Arrow date32": (pa.array([date.min, date.max], pa.date32()), None),
    "Arrow date64": (pa.array([A_DAY, None], pa.date64()), None),
    "Arrow time32[s]": (pa.array([time(1, 2, 3), None], pa.time32("s")), None),
    "Arrow time64[us]": (pa.array([time.max, None], pa.time64("us")), None),
    "Arrow time64[ns]": (pa.array([A_TIME, None], pa.time64("ns")), None),
    "Arrow timestamp[us]": (pa.array([MOMENT.replace(year=1), MOMENT.replace(year=9999)], pa.timestamp("us")), None),
    "Arrow timestamp[s], UTC": (raw([0, None], pa.timestamp("s", "UTC"), pa.int64()), [at("1970-01-01"), None]),
    "Arrow timestamp[ns], +05:30": (pa.array([AWARE, None], pa.timestamp("ns", "+05:30")), None),
    **{
        f"Arrow duration[{unit}]": (pa.array([timedelta(40), None], pa.duration(unit)), None)
        for unit in ("s", "ms", "ns")
    },
    "Arrow decimal256": (pa.array([Decimal("1.10"), None], pa.decimal256(50, 2)), None),
    "Arrow decimal of thousands": (pa.array([Decimal("1E+4"), None], pa.decimal128(5, -2)), None),
    "Arrow dictionary": (pa.array([5, None], pa.dictionary(pa.int8(), pa.int64())), None),
    "Arrow runs": (pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["a", None])), None),
    "Arrow fixed list": (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), None),
    "Arrow large list": (pa.array([["a"], []], pa.large_list(pa.string())), None),
    "Arrow list view": (pa.array([[1], None], pa.list_view(pa.int64())), None),
    "Arrow list of moments": (pa.array([[AWARE], None], pa.list_(pa.timestamp("ns", "UTC"))), None),
    "Arrow list of dictionaries": (pa.array([["a"], None], pa.list_(pa.dictionary(pa.int8(), pa.string()))), None),
    "Arrow list of halves": (pa.array([[0.5, float("inf")], None], pa.list_(pa.float16())), None),
    "Arrow struct": (pa.array([{"a": 1, "b": None}, None], pa.struct({"a": pa.int8(), "b": pa.string()})), None),
    "Arrow struct with nothing in a field": (pa.array([{"a": None, "b": 1}, None]), None),
    "Arrow map": (pa.array([[("a", 1), ("b", None)], None], pa.map_(pa.string(), pa.int64())), None),
    "Arrow uuid": (raw([A_UUID.bytes, None], pa.uuid(), pa.binary(16)), [str(A_UUID), None]),
    "Arrow json": (raw(['{"a":1}', None], pa.json_(), pa.string()), ['{"a":1}', None]),
    "Arrow bool8": (raw([1, None], pa.bool8(), pa.int8()), [True, None]),
}
IN_BIGQUERY = (
    *("category", "category of integers", "category with an unused level", "category of moments", "UTC", "Tokyo"),
    *("sparse", "Int8", "boolean", "Arrow string", "numpy float16", "dates", "times", "Arrow string_view"),
    *("Arrow date64", "Arrow time64[ns]", "Arrow timestamp[ns], +05:30", "Arrow dictionary", "Arrow runs"),
)


def same(one: Any, other: Any) -> bool:
    """Return if a value came back: a null as any null, and all others as equal ones."""
    if isinstance(one, list | dict | np.ndarray) or isinstance(other, list | dict):
        return bool(one == other)
    return bool(one == other) if not pd.isna(one) and not pd.isna(other) else bool(pd.isna(one) and pd.isna(other))


@on_each_warehouse_in_time
def test_a_frame_is_stored_twice_and_comes_back_equal_whatever_its_types_are(engine):
    names = IN_BIGQUERY if engine.integer == "INT64" else tuple(TYPES)
    columns = {f"v{number}": TYPES[name] for number, name in enumerate(names)}
    of_arrow = {name: values for name, (values, _) in columns.items() if isinstance(values, pa.Array)}
    of_pandas = {name: pd.Series(values) for name, (values, _) in columns.items() if name not in of_arrow}
    came: dict[str, list[Any]] = {}
    for key, rows in ("of_arrow", pa.table(of_arrow)), ("of_pandas", pd.DataFrame(of_pandas)):
        for _ in range(2):
            store(engine, rows, key=["shop", key])
        came |= {name: column.tolist() for name, column in load(engine, key=["shop", key]).items()}
    for name, (values, expected) in columns.items():
        given = values.to_pylist() if isinstance(values, pa.Array) else of_pandas[name].tolist()
        assert len(came[name]) == len(given) == 2
        assert all(map(same, came[name], expected or given)), (names[int(name[1:])], came[name])


REFUSED: dict[str, tuple[Any, str]] = {
    "period": (pd.period_range("2026-09", periods=2, freq="M"), "pandas.period, of which only int64 would be stored"),
    "interval": (pd.IntervalIndex.from_breaks([0, 1, 2]), "return a column for each end, or text"),
    "category of intervals": (pd.cut([1, 5], [0, 2, 6]), "return a column for each end, or text"),
    "nanoseconds in UTC": (pd.to_datetime(["2025-03-01T00:00:00.123456789Z"] * 2), "would change a value"),
    "nanoseconds in objects": (
        pd.Series([pd.Timestamp("2025-03-01T00:00:00.123456789"), None], dtype=object),
        "keep only a part",
    ),
    "nanoseconds of a span": (pd.to_timedelta([1, 2], unit="ns"), "would change a value"),
    "a span of 300 years": (pa.array([timedelta(110_000), None], pa.duration("s")), "would change a value"),
    "nanoseconds of a time": (raw([1001, None], pa.time64("ns"), pa.int64()), "would change a value"),
    "nanoseconds in lists": (
        pa.array([[pd.Timestamp("2025-03-01T00:00:00.123456789Z")], None], pa.list_(pa.timestamp("ns", "UTC"))),
        "would change a value",
    ),
    "nanoseconds of an interval": (pa.array([pa.MonthDayNano([1, 2, 3]), None]), "finer than DuckDB's microseconds"),
    "45 digits": (pd.Series([Decimal("1" * 45), None], dtype=object), "would change a value"),
    "complex": (pd.Series([1j, 2j]), "Arrow has no type for"),
    "integers of 70 bits": (pd.Series([2**70, 1], dtype=object), "or of one that Arrow lacks"),
    "text and numbers": (pd.Series([1, "a"], dtype=object), "several types"),
    "text and bytes": (pd.Series(["a", b"b"], dtype=object), "keep only a part"),
    "moments and dates": (pd.Series([A_DAY, MOMENT], dtype=object), "keep only a part"),
    "moments with and without a zone": (pd.Series([MOMENT, AWARE], dtype=object), "keep only a part"),
    "times of a zone": (pd.Series([time(1, tzinfo=UTC), None], dtype=object), "keep only a part"),
    "half a surrogate pair": (pd.Series(["\ud83d", "a"], dtype=object), "half a surrogate pair"),
    "dicts without fields": (pd.Series([{}, {}], dtype=object), "structs without fields"),
    "fields of one name": (pa.array([None, None], pa.struct({"a": pa.int8(), "A": pa.int8()})), "of one name"),
    "union": (
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
        "several types",
    ),
    "another's extension": (
        raw([1, 2], pa.opaque(pa.int64(), "thing", "vendor"), pa.int64()),
        "arrow.opaque, of which",
    ),
}


def test_a_refusal_shows_names_of_columns_and_of_their_fields_on_one_line_and_short():
    """A column may be named by rows, as after a pivot."""
    spans = pa.array([1], pa.duration("ns"))
    hostile = pa.StructArray.from_arrays([spans], names=["\x1b[31m\n\u202e\0" + "x" * 5_000])
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    for name, values in {"c\x1b\n\u202e\0": hostile, "d\x1b\n\u202e": union, "y" * 5_000: union}.items():
        with pytest.raises(WarehouseError) as caught:
            storable(pa.table({name: values}))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= 1_001
        assert "x" * 1_000 not in str(caught.value)
        assert "y" * 61 not in str(caught.value)


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_duckdb_would_change_is_refused_with_a_sentence(values, sentence):
    rows = pa.table({"v": values}) if isinstance(values, pa.Array) else pd.DataFrame({"v": values})
    with pytest.raises(WarehouseError, match=rf"^Column 'v' [^\n]*{re.escape(sentence)}[^\n]*\.$"):
        storable(arrow_frame(rows, "shop/orders"))


def test_a_value_that_only_duckdb_can_refuse_keeps_the_old_rows_and_is_not_quoted(engine):
    kind = pa.map_(pa.string(), pa.int64())
    store(engine, pa.table({"v": pa.array([[("a", 1)]], kind)}))
    with pytest.raises(dg.Failure, match="DuckDB refused to convert a value") as caught:
        store(engine, pa.table({"v": pa.array([[(LETTER, 1), (LETTER, 2)]], kind)}))
    assert LETTER not in str(caught.value)
    assert len(engine.query("SELECT * FROM shop.orders")) == 1


@on_each_warehouse_in_time
def test_fractions_without_a_value_fit_a_wider_column(engine):
    store(engine, pa.table({"v": pa.array([1.5], pa.float64())}))
    store(engine, pa.table({"v": pa.array([float("nan"), 0.5], pa.float32())}))
    assert sorted(load(engine)["v"].fillna(0)) == [0, 0.5]


def test_lists_that_are_all_empty_fit_a_column_of_lists(engine):
    store(engine, pd.DataFrame({"v": [["a"], []]}))
    store(engine, pd.DataFrame({"v": [[], []]}))
    assert (types(engine), table(engine)) == ({"v": "VARCHAR[]"}, [([],), ([],)])


@on_each_warehouse_in_time
def test_categories_are_text_that_may_change(engine):
    store(engine, pd.DataFrame({"v": pd.Categorical(["p", "q"])}))
    store(engine, pd.DataFrame({"v": pd.Categorical(["r"])}))
    assert table(engine) == [("r",)]


@pytest.mark.parametrize("names", [(1, "1"), ("a", "a"), ("a", "A")], ids=["1 and '1'", "a and a", "a and A"])
def test_two_columns_of_one_name_are_refused_rather_than_lost(engine, names):
    rows = pd.DataFrame([[1, 2]], columns=pd.Index(names, dtype=object))
    with pytest.raises(dg.Failure, match="name"):
        store(engine, rows)


@on_each_warehouse_in_time
def test_a_column_named_in_other_letters_is_the_same_column(engine):
    store(engine, pd.DataFrame({"Total": [1]}))
    store(engine, pd.DataFrame({"total": [2]}))
    assert table(engine) == [(2,)]


@cases_on_each_warehouse("rows", {"pandas": pd.DataFrame(), "arrow": pa.table({})}, bigquery=[])
def test_a_frame_without_rows_and_columns_empties_its_partition(engine, rows):
    store(engine, frame(FIRST, 1), FIRST, **DAILY)
    store(engine, frame(SECOND, 2), SECOND, **DAILY)
    store(engine, rows, SECOND, **DAILY)
    assert [n for _, n in table(engine)] == [1]


@on_each_warehouse_in_time
def test_an_empty_frame_makes_a_table_that_can_be_loaded_and_filled(engine):
    store(engine, frame(FIRST), FIRST, **DAILY)
    assert load(engine, upstream=DAILY).empty
    store(engine, frame(SECOND, 2), SECOND, **DAILY)
    assert types(engine)["n"] == engine.integer
    store(engine, frame(SECOND), SECOND, **DAILY)
    assert table(engine) == []


@on_each_warehouse_in_time
def test_moments_with_and_without_a_zone_are_the_same_moments(engine):
    aware = pd.DataFrame({"day": pd.to_datetime([at(FIRST)], utc=True), "n": [1]})
    elsewhere = pd.DataFrame({"day": pd.DatetimeIndex([at(SECOND)]).tz_convert("Asia/Tokyo"), "n": [2]})
    naive = pd.DataFrame({"day": pd.to_datetime([THIRD]), "n": [3]})
    for day, rows in ((FIRST, aware), (SECOND, elsewhere), (THIRD, naive)) * 2:
        store(engine, rows, day, **DAILY)
    assert table(engine) == [(at(FIRST), 1), (at(SECOND), 2), (at(THIRD), 3)]


@on_each_warehouse_in_time
def test_the_edges_of_a_day_belong_to_it_as_a_half_open_interval(engine):
    edges = [at(FIRST), at("2025-03-01T23:59:59.999999")]
    store(engine, pd.DataFrame({"day": edges}), FIRST, **DAILY)
    with pytest.raises(dg.Failure, match="outside"):
        store(engine, pd.DataFrame({"day": [at(SECOND)]}), FIRST, **DAILY)
    store(engine, pd.DataFrame({"day": [at(SECOND)]}), SECOND, **DAILY)
    store(engine, pd.DataFrame({"day": edges[:1]}), FIRST, **DAILY)
    assert table(engine) == [(at(FIRST),), (at(SECOND),)]


@on_each_warehouse_in_time
def test_days_of_another_zone_are_that_zone_s_days(engine):
    madrid = DAILY | {"partitions_def": dg.DailyPartitionsDefinition("2025-03-01", timezone="Europe/Madrid")}
    last_hour = datetime(2025, 3, 30, 21, 59, tzinfo=UTC)  # the day is 23 hours long and ends at 22:00 UTC
    for _ in range(2):
        store(engine, pd.DataFrame({"day": [last_hour]}), "2025-03-30", **madrid)
        store(engine, pd.DataFrame({"day": [last_hour + timedelta(minutes=1)]}), "2025-03-31", **madrid)
    assert table(engine) == [(last_hour,), (last_hour + timedelta(minutes=1),)]


@cases_on_each_warehouse(
    "day",
    {"text": FIRST, "date": date(2025, 3, 1), "Z": "2025-03-01T00:00:00Z", "+02": "2025-03-01 02:00:00+02"},
    bigquery=[],
)
def test_a_partition_column_may_be_text_or_a_date(engine, day):
    for n in (1, 2):
        store(engine, pd.DataFrame({"day": [day], "n": [n]}), FIRST, **DAILY)
    assert [n for _, n in table(engine)] == [2]


@on_each_warehouse_in_time
def test_loading_gives_a_day_a_range_or_all(engine):
    for day, n in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
        store(engine, frame(day, n), day, **DAILY)
    assert load(engine, day=SECOND, upstream=DAILY, partitions_def=DAYS)["n"].tolist() == [2]
    some = load(engine, day=SECOND, last=THIRD, upstream=DAILY, partitions_def=DAYS, backfill_policy=IN_ONE_RUN)
    assert sorted(some["n"]) == [2, 3]
    assert sorted(load(engine, upstream=DAILY)["n"]) == [1, 2, 3]


@on_each_warehouse_in_time
def test_loading_gives_a_static_partition_and_one_of_two_dimensions(engine):
    rows = pd.DataFrame({"day": [date(2025, 3, 1)], "shop": ["o'hara"], "n": [1]})
    key = dg.MultiPartitionKey({"day": FIRST, "shop": "o'hara"})
    store(engine, rows, key, **BY_DAY_AND_SHOP)
    both = {"upstream": BY_DAY_AND_SHOP, "partitions_def": BY_DAY_AND_SHOP["partitions_def"]}
    assert load(engine, day=key, **both)["n"].tolist() == [1]
    other = dg.MultiPartitionKey({"day": FIRST, "shop": "north"})
    assert load(engine, day=other, **both).empty


@on_each_warehouse_in_time
def test_loading_as_arrow_gives_an_arrow_table(engine):
    store(engine, pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "at": [at(FIRST)] * 2}))
    loaded = load(engine, pa.Table)
    assert isinstance(loaded, pa.Table)
    assert loaded.schema.field("n").type == pa.int64()
    assert loaded.schema.field("at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("wanted", [pd.DataFrame, Any])
def test_loading_without_an_annotation_gives_pandas(engine, wanted):
    store(engine, pd.DataFrame({"flag": pd.array([True, None], dtype="boolean"), "text": ["a", None]}))
    loaded = load(engine, wanted)
    assert str(loaded["flag"].dtype) == "boolean"
    assert loaded["text"].tolist() == ["a", None]


def test_loading_as_something_else_is_refused_with_a_sentence(engine):
    store(engine, pd.DataFrame({"n": [1]}))
    with pytest.raises(dg.Failure, match="as a pandas DataFrame or an Arrow table, not as"):
        load(engine, dict)


@on_each_warehouse_in_time
def test_loading_reads_only_the_requested_columns_and_in_that_order(engine):
    store(engine, pd.DataFrame({"a": [1], "b": [2], "c d": [3]}))
    assert load(engine, columns=["c d", "a"]).to_dict("records") == [{"c d": 3, "a": 1}]


@on_each_warehouse_in_time
def test_loading_a_column_that_is_not_there_names_it(engine):
    store(engine, pd.DataFrame({"a": [1]}))
    with pytest.raises(Exception, match="missing_column"):
        load(engine, columns=["missing_column"])


@on_each_warehouse_in_time
def test_an_asset_may_be_built_on_its_own_day_before(engine):
    """On the first day there is no day before, and so nothing to load."""
    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        key=["shop", "orders"], ins={"before": dg.AssetIn(key=["shop", "orders"], partition_mapping=before)}, **DAILY
    )
    def running_total(context: dg.AssetExecutionContext, before: Any) -> pd.DataFrame:
        total = 0 if before is None or before.empty else before["n"].max()
        return frame(context.partition_key, total + 1)

    for day in (FIRST, SECOND, SECOND, THIRD):
        run([running_total], engine, day)
    assert [n for _, n in table(engine)] == [1, 2, 3]


@on_each_warehouse_in_time
def test_a_replaced_day_reports_what_it_wrote_and_where(engine):
    store(engine, frame(FIRST, 1, 2), FIRST, **DAILY)
    result = store(engine, frame(SECOND, 3), SECOND, **DAILY)
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert {name: value for name, value in metadata.items() if not name.startswith("bigquery_")} == {
        "dagster/table_name": "shop.orders",
        "dagster/row_count": 3,
        "dagster/partition_row_count": 1,
        "rows_written": 1,
    }


@on_each_warehouse_in_time
def test_rows_come_back_as_they_were_from_a_zone_that_is_no_utc(engine):
    moment = datetime(2025, 3, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store(engine, pa.table({"at": pa.array([moment], pa.timestamp("us", tz="Asia/Kolkata"))}))
    assert load(engine)["at"].tolist() == [pd.Timestamp(moment)]


@cases_on_each_warehouse("other", {"no schema": False, "no table": True}, bigquery=["no table"])
def test_loading_a_table_that_does_not_exist_is_reported_as_missing(engine, other):
    if other:
        store(engine, pd.DataFrame({"n": [1]}), key=["shop", "others"])
    with pytest.raises(dg.Failure, match=r"There is no table shop\.orders .*materialize its asset first"):
        load(engine)


@pytest.mark.parametrize(
    ("day", "literal"),
    [
        (date(2025, 3, 1), "DATE '2025-03-01'"),
        (datetime.fromisoformat(FIRST), "DATETIME '2025-03-01 00:00:00'"),
        (at(FIRST), "TIMESTAMP '2025-03-01 00:00:00+00:00'"),
    ],
    ids=["date", "datetime", "timestamp"],
)
def test_in_bigquery_a_table_of_days_is_partitioned_by_them_and_a_day_is_compared_without_a_cast(
    bigquery, day, literal
):
    """BigQuery then reads only the partition that is written."""
    for n in (1, 2):
        store(bigquery, pd.DataFrame({"day": [day], "n": [n]}), FIRST, **DAILY)
    assert [n for _, n in table(bigquery)] == [2]
    assert bigquery.table("shop", "orders").time_partitioning.field == "day"
    overwrite = [statement for statement in bigquery.statements() if statement.startswith("MERGE")][-1]
    assert f"WHEN NOT MATCHED BY SOURCE AND ((day >= {literal} AND day < " in overwrite
