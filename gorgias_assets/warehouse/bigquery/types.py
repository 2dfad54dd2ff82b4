"""Arrow's types and BigQuery's, and values that BigQuery accepts only in another form."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal, DecimalException
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.cloud.bigquery import SchemaField

from gorgias_assets.display import shown
from gorgias_assets.warehouse.frames import converted
from gorgias_assets.warehouse.tables import WarehouseError

# The names of BigQuery's tables API, and those of its SQL if they differ.
_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
ARROW_TYPES = {
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}
_MOST_NESTED = 500  # levels that a JSON value of BigQuery may have
_DIGITS_OF_WIDE = 19  # that may not fit into 64 bits
# Numbers that a double or an integer of 64 bits may not hold: of many digits, with an exponent, or no numbers at all.
_ODD_NUMBER = r"[0-9.]{17}|[0-9][eE][-+]?[0-9]|NaN|Infinity"


def type_of(field: SchemaField) -> str:
    """Return a column's type in SQL."""
    kind = _SQL_NAMES.get(field.field_type, field.field_type)
    if kind == "STRUCT":
        kind = f"STRUCT<{', '.join(f'`{inner.name}` {type_of(inner)}' for inner in field.fields)}>"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


def arrow_schema(fields: Iterable[SchemaField]) -> pa.Schema:
    """Return the columns' types in Arrow; JSON and other types like text become strings."""
    return pa.schema([(field.name, _arrow_type(field)) for field in fields])


def _arrow_type(field: SchemaField) -> pa.DataType:
    if field.field_type in ("RECORD", "STRUCT"):
        kind = pa.struct([(inner.name, _arrow_type(inner)) for inner in field.fields])
    else:
        kind = ARROW_TYPES.get(_SQL_NAMES.get(field.field_type, field.field_type), pa.string())
    return pa.list_(kind) if field.mode == "REPEATED" else kind


def loadable(rows: pa.Table) -> pa.Table:
    """Return `rows` in the nearest types that BigQuery has. Raises `WarehouseError` if it has none for a column.

    BigQuery has no lists that are null: it stores an empty list instead.
    """
    for position, field in enumerate(rows.schema):
        wanted = _nearest(field.type, field.name)
        refusal = (
            f"Column '{shown(field.name)}' is {field.type}, and not all of its values fit into BigQuery's {wanted}. "
            "Return it as that type."
        )
        rows = rows.set_column(position, field.name, converted(rows[field.name], wanted, refusal))
        if pa.types.is_list(wanted) and pc.list_flatten(rows[field.name]).null_count:
            raise WarehouseError(
                f"Column '{shown(field.name)}' has nulls in its lists, which BigQuery does not hold; leave them "
                "out, or return lists of structs."
            )
    return rows


def fields_of(schema: pa.Schema) -> list[SchemaField]:
    """Return BigQuery's columns for a schema of `loadable` rows."""
    return [_field(field.name, field.type) for field in schema]


def _field(name: str, kind: pa.DataType) -> SchemaField:
    if pa.types.is_list(kind):
        inner = _field(name, kind.value_type)
        return SchemaField(name, inner.field_type, mode="REPEATED", fields=inner.fields)
    if pa.types.is_struct(kind):
        return SchemaField(name, "STRUCT", fields=[_field(inner.name, inner.type) for inner in kind])
    if pa.types.is_decimal(kind):
        return SchemaField(name, "NUMERIC" if _is_numeric(kind) else "BIGNUMERIC")
    return SchemaField(name, next(sql for sql, arrow in ARROW_TYPES.items() if arrow == kind))


def _is_numeric(kind: pa.DataType) -> bool:
    return 0 <= kind.scale <= 9 and kind.precision - kind.scale <= 29


def _nearest(kind: pa.DataType, name: str) -> pa.DataType:
    is_ = pa.types
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return _nearest(kind.value_type, name)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        inner = _nearest(kind.value_type, name)
        if is_.is_list(inner):
            raise WarehouseError(
                f"Column '{shown(name)}' holds lists of lists, which BigQuery has no type for; return lists of structs."
            )
        return pa.list_(inner)
    if is_.is_struct(kind):
        return pa.struct([(field.name, _nearest(field.type, name)) for field in kind])
    if is_.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if is_.is_decimal(kind):
        return kind
    found = next((arrow for applies, arrow in _NEAREST if applies(kind)), None)
    if found is None:
        raise WarehouseError(
            f"Column '{shown(name)}' is {kind}, which BigQuery has no type for; return it as another type."
        )
    return found


_NEAREST: Sequence[tuple[Any, pa.DataType]] = (
    (pa.types.is_boolean, pa.bool_()),
    (pa.types.is_uint64, pa.decimal128(20, 0)),
    (pa.types.is_integer, pa.int64()),
    (pa.types.is_floating, pa.float64()),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (lambda kind: kind in (pa.string(), pa.large_string(), pa.string_view()), pa.string()),
    (lambda kind: kind in (pa.binary(), pa.large_binary(), pa.binary_view()), pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)


def storable_json(rows: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return `rows` with text inside each JSON value for what BigQuery would change or refuse, and for nothing else.

    BigQuery changes integers beyond 64 bits, and numbers of more digits than a double has; it refuses numbers beyond a
    double (docs: PARSE_JSON, wide_number_mode): these become strings of their digits. It refuses more than 500 levels
    (docs: JSON data type), and with them the whole batch: what is deeper becomes a string of its JSON.
    """
    for name in names:
        if name not in rows.column_names:
            continue
        column = rows[name]
        suspicious = _may_be_refused(column)
        if pc.any(suspicious).as_py():
            pairs = zip(column.to_pylist(), suspicious.to_pylist(), strict=True)
            texts = [_storable_text(text) if is_suspicious else text for text, is_suspicious in pairs]
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(texts, pa.string()))
    return rows


def _may_be_refused(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    opening = pc.add(pc.count_substring(texts, "["), pc.count_substring(texts, "{"))
    return pc.or_(pc.match_substring_regex(texts, _ODD_NUMBER), pc.greater(opening, _MOST_NESTED))


def _storable_text(text: str) -> str:
    """Return the JSON text as it is if nothing in it must become text, or if it is no JSON."""
    odd: list[str] = []

    def as_text(number: str) -> str:
        odd.append(number)
        return number

    def integer(digits: str) -> int | str:
        fits = len(digits) <= _DIGITS_OF_WIDE + 2 and -(2**63) <= int(digits) < 2**64
        return int(digits) if fits else as_text(digits)

    def fraction(digits: str) -> float | str:
        return value if isfinite(value := float(digits)) and _is_same(value, digits) else as_text(digits)

    try:
        value = json.loads(text, parse_int=integer, parse_float=fraction, parse_constant=as_text)
        is_changed = _flatten(value) or odd
        return json.dumps(value) if is_changed else text
    except RecursionError:
        return json.dumps(text)
    except ValueError:  # BigQuery refuses it with an error
        return text


def _is_same(value: float, digits: str) -> bool:
    try:
        return Decimal(digits) == Decimal(repr(value))
    except DecimalException:  # an exponent of twenty digits
        return False


def _flatten(value: Any) -> bool:
    """Put text for what is nested too deeply, in place, and return True if there was any."""
    waiting, is_changed = [(value, 1)], False
    while waiting:
        outer, level = waiting.pop()
        places = outer.items() if isinstance(outer, dict) else enumerate(outer) if isinstance(outer, list) else ()
        for place, inner in list(places):
            if not isinstance(inner, dict | list):
                continue
            if level == _MOST_NESTED:
                outer[place], is_changed = json.dumps(inner), True
            else:
                waiting.append((inner, level + 1))
    return is_changed
