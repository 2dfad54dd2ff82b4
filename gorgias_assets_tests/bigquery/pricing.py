"""The bytes that BigQuery bills for a statement on demand, reckoned by Google's published rules.

- A query is billed for the columns that it reads, and rounded up to a MB, with at least 10 MB for each table and each
  query; loading is free (cloud.google.com/bigquery/pricing, "On-demand compute pricing" and "Free operations").
- A value has the bytes of its type, null has none
  (cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes).
- UPDATE, DELETE, and a MERGE with either are billed for the columns that they read and, once more, for all columns of
  the partitions that they change, as they were before; INSERT and other MERGEs are billed as a query
  (cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax#on-demand_query_size_calculation).
- A partition is left out if a condition with a literal excludes it
  (cloud.google.com/bigquery/docs/querying-partitioned-tables, and for MERGE
  cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables#pruning_partitions_when_using_a_merge_statement).

Where Google publishes no rule, DML is taken to change all partitions that it scans, clustering to save nothing, and a
column that one statement scans twice to count once, being one of "the columns you select". Google's analyzer finds the
columns of each scan; for it, `*` in a subquery uses all columns.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from google.cloud.bigquery import SchemaField
from google.protobuf.message import Message

from gorgias_assets_tests.bigquery.googlesql import resolved

MEBIBYTE = 2**20
LEAST_BILLED = 10 * MEBIBYTE  # for a table, and for a query
USD_PER_TEBIBYTE = 6.25  # in the US (cloud.google.com/bigquery/pricing), beyond the TiB of a month that is free
BYTES = {"BOOL": 1, "BOOLEAN": 1, "NUMERIC": 16, "BIGNUMERIC": 32} | dict.fromkeys(
    ("INTEGER", "INT64", "FLOAT", "FLOAT64", "TIMESTAMP", "DATETIME", "DATE", "TIME"), 8
)
EPOCH, DAY, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1), timedelta(microseconds=1)
FLIPPED = {
    "greater": "less",
    "greater_or_equal": "less_or_equal",
    "less": "greater",
    "less_or_equal": "greater_or_equal",
}


@dataclass(frozen=True)
class Stored:
    """A table as a statement finds it.

    - `bytes_of`: bytes of a value, by column, on average.
    - `rows`: the number of rows, by day of the column `partitioned_by`; None stands for no day, and for all rows of a
      table without partitions.
    """

    fields: Sequence[SchemaField]
    bytes_of: Mapping[str, float]
    rows: Mapping[date | None, float]
    partitioned_by: str | None = None


def billed(script: str, tables: Mapping[str, Stored]) -> int:
    """Return the bytes that statements are billed for. `tables` are named as in SQL, `local.gorgias.tickets`."""
    statements = resolved(script, {name: table.fields for name, table in tables.items()})
    return sum(_billed(_unwrapped(statement), tables) for statement in statements)


def bytes_in_sql(field: SchemaField) -> str:
    """Return an aggregate of a column: the logical bytes of its values."""
    name, kind = f"`{field.name}`", field.field_type
    if field.mode == "REPEATED" or kind in ("RECORD", "STRUCT"):
        raise ValueError(f"the size of {field.name} is not known here: it is repeated or a struct")
    if kind == "JSON":
        return f"SUM(IF({name} IS NULL, 0, BYTE_LENGTH(TO_JSON_STRING({name}))))"
    if kind in ("STRING", "BYTES"):
        return f"SUM(2 + BYTE_LENGTH({name}))"
    return f"{BYTES[kind]} * COUNT({name})"


def _billed(statement: Any, tables: Mapping[str, Stored]) -> int:
    kind = _kind(statement)
    if kind not in ("Query", "CreateTableAsSelect", "Insert", "Update", "Delete", "Merge"):
        return 0  # DDL, or the bounds of a transaction
    nodes = list(_nodes(statement))
    target = statement.table_scan if kind in ("Insert", "Update", "Delete", "Merge") else None
    conditions = list(_conditions(statement, nodes))
    processed: dict[str, float] = defaultdict(float)
    read: dict[tuple[str, date | None], set[str]] = defaultdict(set)
    for scan in nodes:
        if scan.DESCRIPTOR.name != "ResolvedTableScanProto" or (scan is target and kind == "Insert"):
            continue
        name = scan.table.full_name
        table, columns = tables[name], _columns(scan, statement if scan is target else None)
        days = _days(scan, table, conditions)
        processed[name] += 0  # however little of it is read
        for day in days:
            read[name, day] |= columns
        if scan is target and _is_changing(statement):
            processed[name] += sum(table.rows[day] for day in days) * sum(table.bytes_of.values())
    for (name, day), columns in read.items():
        processed[name] += tables[name].rows[day] * sum(tables[name].bytes_of[column] for column in columns)
    in_all = max(LEAST_BILLED, sum(max(LEAST_BILLED, size) for size in processed.values()))
    return math.ceil(in_all / MEBIBYTE) * MEBIBYTE


def _is_changing(statement: Any) -> bool:
    """Return True if stored rows are updated or deleted."""
    if _kind(statement) != "Merge":
        return True
    return any(_word(clause, "action_type") != "INSERT" for clause in statement.when_clause_list)


def _kind(statement: Message) -> str:
    return statement.DESCRIPTOR.name.removeprefix("Resolved").removesuffix("StmtProto")


def _word(message: Message, field: str) -> str:
    """Return the name of an enumeration's value."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(message, field)].name)


def _columns(scan: Any, changing: Message | None) -> set[str]:
    """Return the columns that a scan reads; of the table that a statement changes, not those that are only assigned."""
    named = {column.column_id: column.name for column in scan.parent.column_list}
    if changing is None:
        return set(named.values())
    return {named[column] for column in _references(changing) if column in named}


def _references(message: Message) -> Iterator[int]:
    """Yield the ids of the columns whose values are used, which an assignment's target is not."""
    if message.DESCRIPTOR.name == "ResolvedColumnRefProto":
        yield message.column.column_id  # type: ignore[attr-defined]  # zetasql types no subclass
    for field, value in message.ListFields():
        if (message.DESCRIPTOR.name, field.name) != ("ResolvedUpdateItemProto", "target"):
            for inner in _messages(value):
                yield from _references(inner)


def _conditions(statement: Any, nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield the conditions that a row must meet to be of any effect, where they are about it."""
    for node in nodes:
        if node.DESCRIPTOR.name == "ResolvedFilterScanProto":
            condition = _unwrapped(node.filter_expr)
            if condition.DESCRIPTOR.name != "ResolvedLiteralProto":  # FALSE is about the rows of its own scan alone
                yield condition
        if node.DESCRIPTOR.name == "ResolvedJoinScanProto" and _word(node, "join_type") == "INNER":
            yield from map(_unwrapped, [node.join_expr] if node.HasField("join_expr") else [])
    if _kind(statement) in ("Update", "Delete"):
        yield _unwrapped(statement.where_expr)
    if _kind(statement) == "Merge":
        yield _AnyOf(list(_parts_of(statement)))


@dataclass(frozen=True)
class _AnyOf:
    """Met by rows that meet any of the conditions; every row meets None."""

    conditions: Sequence[Any]


def _parts_of(merge: Any) -> Iterator[Any]:
    """Yield the conditions by which rows of the target have a part in a MERGE."""
    yield _unwrapped(merge.merge_expr)
    for clause in merge.when_clause_list:
        if _word(clause, "match_type") == "NOT_MATCHED_BY_SOURCE":
            yield _unwrapped(clause.match_expr) if clause.HasField("match_expr") else None


def _days(scan: Any, table: Stored, conditions: Sequence[Any]) -> list[date | None]:
    """Return the partitions that a scan reads."""
    if table.partitioned_by is None:
        return list(table.rows)
    ids = [column.column_id for column in scan.parent.column_list if column.name == table.partitioned_by]
    return [day for day in table.rows if not ids or all(_may_hold(one, ids[0], day) for one in conditions)]


def _may_hold(condition: Any, column: int, day: date | None) -> bool:
    """Return False if no row whose column lies on the day meets the condition, by the literals in it."""
    if isinstance(condition, _AnyOf):
        return any(one is None or _may_hold(one, column, day) for one in condition.conditions)
    kind = condition.DESCRIPTOR.name
    if kind == "ResolvedLiteralProto":
        return condition.value.value.WhichOneof("value") != "bool_value" or condition.value.value.bool_value
    if kind != "ResolvedFunctionCallProto":
        return True
    function = condition.parent.function.name.removeprefix("ZetaSQL:$")
    arguments = [_unwrapped(argument) for argument in condition.parent.argument_list]
    if function in ("and", "or"):
        return (all if function == "and" else any)(_may_hold(one, column, day) for one in arguments)
    if function == "is_null" and _is_column(arguments[0], column):
        return day is None
    return not arguments or _may_lie(day, *_bounds(function, arguments, column))


def _bounds(function: str, arguments: Sequence[Any], column: int) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last moment of the column that a comparison with literals allows; None is unbounded."""
    first, *others = arguments
    if len(others) == 1 and _is_column(others[0], column):
        first, others, function = others[0], [first], FLIPPED.get(function, function)
    moments = [moment for moment in map(_moment, others) if moment]
    if not _is_column(first, column) or not moments or len(moments) < len(others):
        return None, None
    match function:
        case "between" | "equal" | "in":
            return min(moments), max(moments)
        case "greater" | "greater_or_equal":
            return moments[0] + (MICROSECOND if function == "greater" else timedelta()), None
        case "less" | "less_or_equal":
            return None, moments[0] - (MICROSECOND if function == "less" else timedelta())
    return None, None


def _may_lie(day: date | None, first: datetime | None, last: datetime | None) -> bool:
    if first is None and last is None:
        return True
    if day is None:
        return False  # a comparison with null is not true
    start = datetime.combine(day, time(), UTC)
    return not (first and start + DAY <= first) and not (last and last < start)


def _is_column(expression: Message, column: int) -> bool:
    is_reference = expression.DESCRIPTOR.name == "ResolvedColumnRefProto"
    return is_reference and expression.column.column_id == column  # type: ignore[attr-defined]  # zetasql types no subclass


def _moment(expression: Any) -> datetime | None:
    """Return the moment of a literal; None of anything else."""
    if expression.DESCRIPTOR.name != "ResolvedLiteralProto":
        return None
    value = expression.value.value
    if value.WhichOneof("value") == "timestamp_value":
        return EPOCH + timedelta(
            seconds=value.timestamp_value.seconds, microseconds=value.timestamp_value.nanos // 1000
        )
    return EPOCH + timedelta(days=value.date_value) if value.WhichOneof("value") == "date_value" else None


def _nodes(message: Message) -> Iterator[Message]:
    yield message
    for _, value in message.ListFields():
        for inner in _messages(value):
            yield from _nodes(inner)


def _messages(value: Any) -> Iterator[Message]:
    if isinstance(value, Message):
        yield value
    elif not isinstance(value, str | bytes | int | float):
        yield from (item for item in value if isinstance(item, Message))


def _unwrapped(message: Message) -> Any:
    """Return the node in the messages that stand for "any expression" or "any statement"."""
    while message.DESCRIPTOR.name.startswith("AnyResolved") or message.DESCRIPTOR.name.endswith("BaseProto"):
        if message.DESCRIPTOR.name.endswith("BaseProto") and not message.DESCRIPTOR.oneofs:
            break
        ((_, message),) = message.ListFields()
    return message
