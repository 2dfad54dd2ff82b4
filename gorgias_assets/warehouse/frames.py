"""Data frames: pandas to Arrow and back, and into a table's columns without changing a value."""

from collections.abc import Callable, Collection
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gorgias_assets.display import shown
from gorgias_assets.warehouse.tables import Table, WarehouseError

NULLABLE_TYPES = {
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
_ARROW_ERRORS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
_KEPT_EXTENSIONS = ("arrow.uuid", "arrow.json", "arrow.bool8")  # an engine has the first two, or refuses them
_INSTEAD_OF = {"pandas.period": "dates or text", "pandas.interval": "a column for each end, or text"}


def arrow_frame(frame: pa.Table | pd.DataFrame, asset: str) -> pa.Table:
    """Return the frame without its index, and without columns of nulls alone, since these have no type yet.

    Encodings are undone: of categories and runs stay the values. Raises `WarehouseError` if Arrow would change a value.
    """
    names = [str(name) for name in (frame.column_names if isinstance(frame, pa.Table) else frame.columns)]
    if len({name.lower() for name in names}) < len(names):
        raise WarehouseError(f"{asset} returned two columns of one name, apart from capitals; rename one.")
    columns = frame.columns if isinstance(frame, pa.Table) else [_column(frame[name]) for name in frame.columns]
    decoded = {name: _decoded(column, name) for name, column in zip(names, columns, strict=True)}
    typed = {name: column for name, column in decoded.items() if not pa.types.is_null(column.type)}
    if len(frame) and not typed:
        raise WarehouseError(f"{asset} returned rows without a single value; return their keys, or no rows.")
    return pa.table(typed)


def pandas_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as pandas: integers and booleans stay what they are beside nulls.

    Durations are timedeltas. Lists, structs and maps are Python's own, since NumPy would turn their integers beside
    nulls into floats.
    """
    rows = _with_timedeltas(rows)
    nested = [field.name for field in rows.schema if pa.types.is_nested(field.type)]
    frame: pd.DataFrame = rows.drop_columns(nested).to_pandas(types_mapper=NULLABLE_TYPES.get)
    for name in nested:
        frame[name] = pd.Series(rows[name].to_pylist(), index=frame.index, dtype=object)
    return frame.reindex(columns=rows.column_names)


def plain_rows(rows: pa.Table) -> pa.Table:
    """Return rows that an engine answered in the types that they were stored with: JSON is text."""
    for position, field in enumerate(rows.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in rows[field.name].chunks], field.type.storage_type)
            rows = rows.set_column(position, field.name, column)
    return rows


def cast_columns(rows: pa.Table, schema: pa.Schema, table: Table, as_they_are: Collection[str] = ()) -> pa.Table:
    """Return `rows` in the types that `schema` gives their columns.

    A column that is not in it, or one of `as_they_are`, keeps its type. Raises `WarehouseError` if a value would
    change.
    """
    for position, name in enumerate(rows.column_names):
        if name not in schema.names or name in as_they_are:
            continue
        wanted, column = schema.field(name).type, rows[name]
        refusal = (
            f"Column '{shown(name)}' of {table} is {wanted}; values of type {column.type} do not all fit into it. "
            "Return it as that type, or change the table's column."
        )
        rows = rows.set_column(position, name, converted(column, wanted, refusal))
    return rows


def converted(column: pa.ChunkedArray, wanted: pa.DataType, refusal: str) -> pa.ChunkedArray:
    """Return the column as `wanted`. Raise `WarehouseError` if a value would change."""
    if column.type == wanted:
        return column
    try:
        cast = column.cast(wanted)
    except _ARROW_ERRORS:
        raise WarehouseError(refusal) from None
    if not _is_same(cast, column):
        raise WarehouseError(refusal)
    return cast


def with_inner_types(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type of structs, lists or maps with other types inside; any other type as it is."""
    is_ = pa.types
    if is_.is_map(kind):
        changed = pa.map_(change(kind.key_type), change(kind.item_type))
    elif is_.is_struct(kind):
        changed = pa.struct([field.with_type(change(field.type)) for field in kind])
    elif is_.is_fixed_size_list(kind):
        changed = pa.list_(change(kind.value_type), kind.list_size)
    elif is_.is_list(kind):
        changed = pa.list_(change(kind.value_type))
    elif is_.is_large_list(kind):
        changed = pa.large_list(change(kind.value_type))
    else:
        return kind
    return kind if changed == kind else changed


def _is_same(cast: pa.ChunkedArray, column: pa.ChunkedArray) -> bool:
    try:
        if cast.cast(column.type).equals(column):
            return True
    except _ARROW_ERRORS:
        pass
    return repr(cast.to_pylist()) == repr(column.to_pylist())  # NaN equals itself here


def _column(values: pd.Series) -> pa.Array | pa.ChunkedArray:
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype) and not len(kind.categories):
        return pa.nulls(len(values))
    if isinstance(kind, pd.SparseDtype):
        values = pd.Series(values.to_numpy(), name=values.name)
    try:
        column = pa.Array.from_pandas(values)
    except UnicodeEncodeError:
        raise WarehouseError(f"Column '{shown(values.name)}' holds half a surrogate pair, which is no text.") from None
    except pa.ArrowNotImplementedError:
        raise WarehouseError(f"Column '{shown(values.name)}' is {kind}, which Arrow has no type for.") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise WarehouseError(
            f"Column '{shown(values.name)}' holds values of several types, or of one that Arrow lacks; give it one."
        ) from None
    if pd.api.types.is_object_dtype(kind) and not pa.types.is_nested(column.type):
        _check_unchanged(values, column)
    return column


def _check_unchanged(values: pd.Series, column: pa.Array | pa.ChunkedArray) -> None:
    """Raise `WarehouseError` if Arrow changed a value, such as a moment among dates, or one finer than microseconds."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) == 1 and not kinds.isdisjoint({str, int, float, bool, bytes}):
        return
    if pa.types.is_interval(column.type):  # an offset equals no interval
        return
    for before, after in zip(values, column.to_pylist(), strict=True):
        if after is not None and before != after and before == before:  # NaT and NaN differ from themselves
            raise WarehouseError(
                f"Column '{shown(values.name)}' holds values of which {column.type} would keep only a part; return it "
                "as one type that holds them all."
            )


def _decoded(column: pa.ChunkedArray | pa.Array, name: str) -> pa.ChunkedArray:
    """Return the column without an encoding. Raise `WarehouseError` for a type that means more than its values."""
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        return _decoded(pc.run_end_decode(column), name)
    if pa.types.is_dictionary(kind):
        _check_kept(kind.value_type, name)
        return _decoded(column.cast(kind.value_type), name)
    _check_kept(kind, name)
    is_bool8 = isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.bool8"
    return column.cast(pa.bool_()) if is_bool8 else column


def _check_kept(kind: pa.DataType, name: str) -> None:
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name not in _KEPT_EXTENSIONS:
        instead = _INSTEAD_OF.get(kind.extension_name, "these, if they say all")
        raise WarehouseError(
            f"Column '{shown(name)}' is {kind.extension_name}, of which only {kind.storage_type} would be stored; "
            f"return {instead}."
        )


def _with_timedeltas(rows: pa.Table) -> pa.Table:
    """Return intervals without months and days as durations."""
    for position, field in enumerate(rows.schema):
        if pa.types.is_interval(field.type):
            spans: list[Any] = rows[field.name].to_pylist()
            if not any(span is not None and (span.months or span.days) for span in spans):
                durations = [None if span is None else span.nanoseconds // 1000 for span in spans]
                rows = rows.set_column(position, field.name, pa.array(durations, pa.int64()).cast(pa.duration("us")))
    return rows
