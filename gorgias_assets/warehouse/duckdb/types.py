"""Arrow's types that DuckDB lacks, or takes without keeping every value."""

import pyarrow as pa

from gorgias_assets.display import shown
from gorgias_assets.warehouse.frames import converted, with_inner_types
from gorgias_assets.warehouse.tables import WarehouseError

_MOST_DIGITS = 38  # of a decimal


def storable(rows: pa.Table) -> pa.Table:
    """Return `rows` in types of which DuckDB keeps every value. Raise `WarehouseError` if it would change one."""
    for position, field in enumerate(rows.schema):
        wanted = _nearest(field.type, field.name)
        refusal = (
            f"Column '{shown(field.name)}' is {field.type}, and DuckDB holds {wanted}, which would change a value; "
        )
        refusal += "return it as that type."
        column = converted(rows[field.name], wanted, refusal)
        converted(column, _as_exported(wanted), refusal)
        if pa.types.is_interval(wanted) and any(span and span.nanoseconds % 1000 for span in column.to_pylist()):
            raise WarehouseError(
                f"Column '{shown(field.name)}' has intervals finer than DuckDB's microseconds; round them."
            )
        rows = rows.set_column(position, field.name, column)
    return rows


def _nearest(kind: pa.DataType, name: str) -> pa.DataType:
    is_ = pa.types
    if is_.is_union(kind):
        raise WarehouseError(f"Column '{shown(name)}' holds values of several types; give it one.")
    if is_.is_struct(kind) and len({field.name.lower() for field in kind}) < max(kind.num_fields, 1):
        raise WarehouseError(
            f"Column '{shown(name)}' holds structs without fields, or with two of one name apart from capitals; DuckDB "
            "has no type for them."
        )
    if is_.is_timestamp(kind):
        return pa.timestamp("us", kind.tz) if kind.tz else kind
    if is_.is_decimal(kind):
        return _decimal(kind)
    found = next((nearest for applies, nearest in _NEAREST if applies(kind)), None)
    return found or with_inner_types(kind, lambda inner: _nearest(inner, name))


def _decimal(kind: pa.DataType) -> pa.DataType:
    """Return a decimal of as many digits as DuckDB holds, if it holds fewer."""
    digits, scale = kind.precision - min(kind.scale, 0), max(kind.scale, 0)
    if digits == kind.precision <= _MOST_DIGITS and not pa.types.is_decimal256(kind):
        return kind
    return pa.decimal128(min(digits, _MOST_DIGITS), min(scale, _MOST_DIGITS))


def _as_exported(kind: pa.DataType) -> pa.DataType:
    """Return the type with nanoseconds in its durations, as DuckDB returns them."""
    return pa.duration("ns") if pa.types.is_duration(kind) else with_inner_types(kind, _as_exported)


_NEAREST = (
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time64, pa.time64("us")),
    (pa.types.is_duration, pa.duration("us")),
)
