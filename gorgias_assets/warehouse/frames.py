"""Data frames: pandas to Arrow and back, and into a table's columns without changing a value."""

import pandas as pd
import pyarrow as pa

from gorgias_assets.warehouse.tables import Table, WarehouseError


def arrow_frame(frame: pa.Table | pd.DataFrame, asset: str) -> pa.Table:
    """Return the frame without its index, and without columns of nulls alone, since these have no type yet."""
    names = [str(name) for name in (frame.column_names if isinstance(frame, pa.Table) else frame.columns)]
    if len({name.lower() for name in names}) < len(names):
        raise WarehouseError(f"{asset} returned two columns of one name, apart from capitals; rename one.")
    columns = frame.columns if isinstance(frame, pa.Table) else [_column(frame[name]) for name in frame.columns]
    typed = {name: column for name, column in zip(names, columns, strict=True) if not pa.types.is_null(column.type)}
    if len(frame) and not typed:
        raise WarehouseError(f"{asset} returned rows without a single value; return their keys, or no rows.")
    return pa.table(typed)


def _column(values: pd.Series) -> pa.Array:
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise WarehouseError(f"Column {values.name!r} holds values of several types; give it one.") from None


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


def cast_columns(rows: pa.Table, schema: pa.Schema, table: Table) -> pa.Table:
    """Return `rows` in the types that `schema` gives their columns; a column that is not in it keeps its type.

    Raises `WarehouseError` if a value would change.
    """
    for position, name in enumerate(rows.column_names):
        column, wanted = rows[name], schema.field(name).type if name in schema.names else None
        if wanted in (None, column.type):
            continue
        try:
            cast = column.cast(wanted)
            is_same = cast.cast(column.type).equals(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            is_same = False
        if not is_same:
            raise WarehouseError(
                f"Column {name!r} of {table} is {wanted}; values of type {column.type} do not all fit into it. "
                "Return it as that type, or change the table's column."
            ) from None
        rows = rows.set_column(position, name, cast)
    return rows
