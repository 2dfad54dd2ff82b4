"""A user's own assets in each warehouse: replacing, keeping, refusing and loading rows."""

import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from gorgias_assets.warehouse.tables import WarehouseError
from gorgias_assets_tests.engines import Engine, cases_on_each_warehouse, on_each_warehouse, on_each_warehouse_in_time

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
    **settings: Any,
) -> Any:
    """Return the input of a downstream asset of `shop/orders`."""
    given = []
    metadata = {"columns": columns} if columns else None

    @dg.asset(ins={"rows": dg.AssetIn(key=["shop", "orders"], metadata=metadata)}, **settings)
    def reader(rows: wanted) -> None:
        given.append(rows)

    run([orders(None, **(upstream or {})), reader], engine, day, last, selection=[reader])
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


@cases_on_each_warehouse(
    "form", {"pandas": frame, "arrow": lambda *of: pa.Table.from_pandas(frame(*of))}, bigquery=["pandas"]
)
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
    with pytest.raises(WarehouseError, match="partition_expr"):
        store(engine, rows, dg.MultiPartitionKey({"day": FIRST, "shop": "north"}), **settings)


def test_partitions_without_a_partition_expr_are_refused_with_a_sentence(engine):
    with pytest.raises(WarehouseError, match="no 'partition_expr' metadata"):
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
    with pytest.raises(WarehouseError, match=r"^1 of 2 rows for shop\.orders lie outside the partition"):
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


@on_each_warehouse
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
    bigquery=["integers"],
)
def test_a_column_of_nulls_alone_takes_any_type_later(engine, values):
    store(engine, pd.DataFrame({"n": [1], "v": pd.Series([None], dtype=object)}))
    store(engine, pd.DataFrame({"n": range(len(values)), "v": values}))
    assert [v for _, v in table(engine)] == values


def test_rows_without_a_single_value_are_refused(engine):
    with pytest.raises(WarehouseError, match="returned rows without a single value"):
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
    bigquery=["large integer into float", "new field into struct"],
)
def test_a_value_is_never_changed_to_fit_a_column(engine, values):
    """A value is kept as it is, in a wider column for example, or refused: nothing in between."""
    first, then = values
    store(engine, pd.DataFrame({"v": first}))
    before = table(engine)
    wrote = store(engine, pd.DataFrame({"v": then}), raise_on_error=False).success
    assert table(engine) == ([(value,) for value in then] if wrote else before)


@on_each_warehouse_in_time
def test_categories_are_text_that_may_change(engine):
    store(engine, pd.DataFrame({"v": pd.Categorical(["p", "q"])}))
    store(engine, pd.DataFrame({"v": pd.Categorical(["r"])}))
    assert table(engine) == [("r",)]


@pytest.mark.parametrize("names", [(1, "1"), ("a", "a"), ("a", "A")], ids=["1 and '1'", "a and a", "a and A"])
def test_two_columns_of_one_name_are_refused_rather_than_lost(engine, names):
    rows = pd.DataFrame([[1, 2]], columns=pd.Index(names, dtype=object))
    with pytest.raises(WarehouseError, match="name"):
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
    with pytest.raises(WarehouseError, match="outside"):
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
    bigquery=["+02"],
)
def test_a_partition_column_may_be_text_or_a_date(engine, day):
    for n in (1, 2):
        store(engine, pd.DataFrame({"day": [day], "n": [n]}), FIRST, **DAILY)
    assert [n for _, n in table(engine)] == [2]


@on_each_warehouse
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
    with pytest.raises(WarehouseError, match="as a pandas DataFrame or an Arrow table, not as"):
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


@cases_on_each_warehouse("other", {"no schema": False, "no table": True}, bigquery=["no schema", "no table"])
def test_loading_a_table_that_does_not_exist_is_reported_as_missing(engine, other):
    if other:
        store(engine, pd.DataFrame({"n": [1]}), key=["shop", "others"])
    with pytest.raises(WarehouseError, match=r"There is no table shop\.orders .*materialize its asset first"):
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
