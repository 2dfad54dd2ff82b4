"""BigQuery's dialect, and jobs that change and read its tables.

Each statement is a job of its own. A transaction would be cancelled as soon as another run changes the same table,
while a single statement is queued (cloud.google.com/bigquery/docs/transactions#transaction_concurrency). So rows are
merged by one statement, and the position is saved by the next. After a crash between them a batch is read again.

Statements that only insert rows do not conflict
(cloud.google.com/bigquery/docs/data-manipulation-language#dml_statement_conflicts), so two runs may insert the same new
row. The run that ends last removes the copies.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, ClassVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import tenacity
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, PermissionDenied, PreconditionFailed
from google.cloud import bigquery

from gorgias_assets.columns import DELETED_AT, EXTRACTED_AT, MERGED_INTO, Column, Kind
from gorgias_assets.warehouse.bigquery import limits
from gorgias_assets.warehouse.bigquery.jobs import GOOGLE_ERRORS, Jobs, Patience, needs_billing
from gorgias_assets.warehouse.bigquery.layout import PARTITIONED_BY, Layout, correct_descriptions, is_partitioned
from gorgias_assets.warehouse.bigquery.types import (
    ARROW_TYPES,
    arrow_schema,
    fields_of,
    loadable,
    storable_json,
    type_of,
)
from gorgias_assets.warehouse.dialect import ITEM, KEY, POSITION, Dialect, types_of_kinds
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import Merged, Slice, Table, WarehouseError
from gorgias_assets.windows import Window

STAGING_KEPT = timedelta(days=1)
# By itself PARSE_JSON refuses a number that BigQuery would write in other digits, such as 0.818739159369892 and one in
# a few thousand other fractions. Rounding keeps these, and changes integers beyond 64 bits: see `storable_json`.
_ROUNDED = "PARSE_JSON({}, wide_number_mode=>'round')"
# A condition that all rows meet, and that BigQuery takes for a filter, since both sides are about that column alone
# (github.com/dbt-labs/dbt-bigquery/pull/986).
_ANYWHERE = f"({{0}}{PARTITIONED_BY} IS NULL OR {{0}}{PARTITIONED_BY} IS NOT NULL)"
_TIME_TRAVEL_HOURS = 168  # if the dataset sets none (cloud.google.com/bigquery/docs/time-travel)
_MOST_RANGES = 200  # of days that one statement names
_ROWS_ANSWERED = 10_000  # that a page holds at most
_DENIED = (
    "Google refused a read session, so these rows are read page by page, which is slower; to read them faster, grant "
    "these credentials the role BigQuery Read Session User on the project that pays."
)
_JSON, _OFFSET, _FIELD = "_json", "_offset", "_field"  # columns within a relation that JSON is unnested to
_MOST_UPDATES = 10  # of a table's properties, while other runs change them as well


def _items(expression: str) -> str:
    return f"JSON_QUERY_ARRAY(CASE WHEN JSON_TYPE({expression}) = 'array' THEN {expression} END)"


class BigQueryDialect(Dialect):
    types: ClassVar = types_of_kinds({arrow: name for name, arrow in ARROW_TYPES.items()}, json="JSON")
    text_type = "STRING"
    moment_type = "TIMESTAMP"
    unix_micros = "UNIX_MICROS"

    def __init__(self, project: str) -> None:
        self._project = project

    def quoted(self, identifier: str) -> str:
        return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"

    def literal(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # GoogleSQL knows all the escapes of JSON's strings

    def name_of(self, table: Table) -> str:
        return self.quoted(f"{self._project}.{table.schema}.{table.name}")

    def in_window(self, expression: str, window: Window, column_type: str) -> str:
        """Compare a partition column without a cast, so that BigQuery reads only the window's partitions."""
        if column_type == "TIMESTAMP":
            return self.within(expression, [window])
        start, end = window.start.replace(tzinfo=None), window.end.replace(tzinfo=None)
        if column_type == "DATETIME":
            return f"{expression} >= DATETIME '{start}' AND {expression} < DATETIME '{end}'"
        if column_type == "DATE" and start.time() == end.time() == time():
            return f"{expression} >= DATE '{start:%Y-%m-%d}' AND {expression} < DATE '{end:%Y-%m-%d}'"
        return super().in_window(expression, window, column_type)

    def json_text(self, expression: str, field: str) -> str:
        return f"JSON_VALUE({expression}, {self.literal(f'$.{field}')})"

    def json_keys(self, expression: str, name: str) -> str:
        return f"UNNEST(JSON_KEYS({expression}, 1)) AS {name}"

    def text_at(self, expression: str, path: str) -> str:
        found = self._json_at(expression, path)
        nested = f"JSON_TYPE({found}) IN ('object', 'array') THEN TO_JSON_STRING({found})"
        return f"CASE WHEN {nested} ELSE JSON_VALUE({found}) END"

    def length_of(self, expression: str) -> str:
        return f"ARRAY_LENGTH({_items(expression)})"

    def with_object(self, rows: str, column: str, path: str, fields: Mapping[str, Kind]) -> str:
        found = self._json_at(f"parents.{self.quoted(column)}", path)
        return f"(SELECT *, {self._struct(found, fields)} AS {ITEM} FROM {rows} AS parents)"

    def with_items(self, rows: str, column: str, path: str, fields: Mapping[str, Kind], counted: bool = False) -> str:
        items = _items(self._json_at(f"parents.{self.quoted(column)}", path))
        offset = f" WITH OFFSET AS {_OFFSET}" * counted
        return (
            f"(SELECT parents.*, {self._struct(_JSON, fields)} AS {ITEM}{f', {_OFFSET} + 1 AS {POSITION}' * counted} "
            f"FROM {rows} AS parents CROSS JOIN UNNEST({items}) AS {_JSON}{offset})"
        )

    def with_entries(self, rows: str, column: str, fields: Mapping[str, Kind]) -> str:
        name, found = f"TRIM({_FIELD}, '\"')", f"parents.{self.quoted(column)}"  # it may be quoted, as in a path
        return (
            f"(SELECT parents.*, {name} AS {KEY}, {self._struct(f'{found}[{name}]', fields)} AS {ITEM} "
            f"FROM {rows} AS parents CROSS JOIN UNNEST(JSON_KEYS({found}, 1)) AS {_FIELD})"
        )

    def tried(self, text: str, kind: Kind) -> str:
        return f"SAFE_CAST({text} AS {self.types[kind]})"

    def matches(self, text: str, pattern: str) -> str:
        return f"REGEXP_CONTAINS({text}, {pattern})"

    def part_of(self, text: str, separator: str, number: int) -> str:
        return f"NULLIF(SPLIT({text}, {self.literal(separator)})[SAFE_ORDINAL({number})], '')"

    def _struct(self, item: str, fields: Mapping[str, Kind]) -> str:
        """Return a struct of these fields of a JSON object; without any the JSON value itself, as text."""
        values = [
            f"{self._json_at(item, name) if kind is Kind.JSON else self.text_at(item, name)} AS {self.quoted(name)}"
            for name, kind in fields.items()
        ]
        return f"STRUCT({', '.join(values)})" if values else self.text_at(item, "")

    def _json_at(self, expression: str, path: str) -> str:
        return f"JSON_QUERY({expression}, {self.literal(f'$.{path}')})" if path else expression

    def days_between(self, begins: str, ends: str, name: str) -> str:
        return f"UNNEST(GENERATE_DATE_ARRAY(CAST({begins} AS DATE), CAST({ends} AS DATE))) AS {name}"

    def inline(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        first, *others = rows
        named = ", ".join(f"{value} AS {column}" for value, column in zip(first, columns, strict=True))
        values = [f"STRUCT({named})", *(f"({', '.join(row)})" for row in others)]
        return f"UNNEST([{', '.join(values)}]) AS {name}"


class BigQuerySession(Session):
    """Jobs in one dataset's location, and requests about its tables."""

    most_ids = limits.IDS_OF_A_STATEMENT
    most_rows = limits.ROWS_OF_A_STATEMENT

    def __init__(
        self,
        client: bigquery.Client,
        dataset: bigquery.DatasetReference,
        staging: bigquery.DatasetReference,
        jobs: Jobs,
        storage: Callable[[], AbstractContextManager[Any]],
        patience: Patience,
        layout: Layout,
        warn: Callable[[str], object],
    ) -> None:
        self.dialect: BigQueryDialect = BigQueryDialect(dataset.project)
        self._client = client
        self._dataset = dataset
        self._staging = staging
        self._jobs = jobs
        self._storage = storage
        self._patience = patience.arguments
        self._layout = layout
        self._warn = warn
        self._tables: dict[str, bigquery.Table] = {}  # as they are known to be

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        job = self._jobs.query(statement)
        if job.num_dml_affected_rows is not None:
            return [(job.num_dml_affected_rows,)]
        return [row.values() for row in job.result(_ROWS_ANSWERED, **self._patience)]

    def arrow(self, query: str) -> pa.Table:
        """Return the rows. An answer of one page needs no read session, which takes a permission of its own.

        Google's client requests a session also for one row if no page's size is given, and for none. If a session is
        denied, the rows are read page by page.
        """
        job = self._jobs.query(query)
        rows = job.result(_ROWS_ANSWERED, **self._patience)
        if not rows.total_rows:
            return rows.to_arrow(create_bqstorage_client=False)
        try:
            with self._storage() as storage:
                return rows.to_arrow(bqstorage_client=storage, create_bqstorage_client=False)
        except PermissionDenied:
            self._warn(_DENIED)
        return job.result(_ROWS_ANSWERED, **self._patience).to_arrow(create_bqstorage_client=False)

    def columns_of(self, table: Table) -> dict[str, str]:
        try:
            return {field.name: type_of(field) for field in self._existing(table.name).schema}
        except NotFound:
            return {}

    def condition(self, table: Table, where: Slice) -> str:
        return self.dialect.condition(where, self.columns_of(table))

    def narrowed(self, table: Table, where: Slice) -> str:
        """Name the days of creation of the slice's rows, if its own windows are of other columns.

        BigQuery reads all partitions for a condition of other columns: here of these columns alone, to find the days.
        """
        condition = self.condition(table, where)
        is_by_day = any(dimension.expressions == (PARTITIONED_BY,) for dimension in where)
        is_pruned = is_partitioned(self._existing(table.name)) and self.columns_of(table)[PARTITIONED_BY] == "TIMESTAMP"
        if not where or is_by_day or not is_pruned:
            return condition
        days = self._days_of(table, condition)
        return f"({condition}){self._created_on(table, days, '')}"

    def schema_of(self, table: Table) -> pa.Schema:
        return arrow_schema(self._existing(table.name).schema)

    def create(self, table: Table, columns: Sequence[Column]) -> None:
        schema = [
            bigquery.SchemaField(column.name, self.dialect.types[column.kind], description=column.comment)
            for column in columns
        ]
        self._create(table.name, schema, partitioned_by=PARTITIONED_BY)

    def create_filled(self, table: Table, columns: Sequence[Column], source: str) -> None:
        if not source:
            self.create(table, columns)
            return
        declared = ", ".join(map(self._declared, columns))
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.dialect.name_of(table)} ({declared}) AS SELECT * FROM {source}")
        self._tables.pop(table.name, None)

    def keep_as_declared(self, table: Table, columns: Sequence[Column], description: str) -> None:
        self._correct_expiration(table, self._layout)
        self._correct_descriptions(table, columns, description)
        self._update(table, self._layout.correct_filter)

    def add(self, table: Table, columns: Sequence[Column]) -> None:
        self._alter(table, [self._declared(column) for column in columns])

    def _declared(self, column: Column) -> str:
        dialect = self.dialect
        return f"{dialect.quoted(column.name)} {dialect.types[column.kind]} {self._description(column)}"

    def _description(self, column: Column) -> str:
        return f"OPTIONS(description={self.dialect.literal(column.comment)})"

    def ensure_view_of_living(self, table: Table, columns: Sequence[Column], description: str) -> None:
        """Replace the view if a column was added: BigQuery fixes the columns of SELECT * when a view is created."""
        view = Table(table.schema, f"{table.name}_live")
        plain = (
            f"SELECT * EXCEPT ({DELETED_AT}, {MERGED_INTO}) FROM {self.dialect.name_of(table)} "
            f"WHERE {DELETED_AT} IS NULL"
        )
        filtered = f"{plain} AND {_ANYWHERE.format('')}"
        query = filtered if _needs_filter(self._existing(table.name)) else plain
        if not self.columns_of(view):
            created = bigquery.Table(self._reference(view.name))
            created.view_query = query
            self._ensure(created)
        found, types = self._existing(view.name), self.columns_of(table)
        if found.view_query not in (plain, filtered):
            return
        shown = {name: types[name] for name in types if name not in (DELETED_AT, MERGED_INTO)}
        if found.view_query != query or self.columns_of(view) != shown:
            self.execute(f"CREATE OR REPLACE VIEW {self.dialect.name_of(view)} AS {query}")
            self._tables.pop(view.name)
        self._correct_expiration(view, Layout())
        self._correct_descriptions(view, columns, description)

    def query_of(self, view: Table) -> str | None:
        try:
            query: str | None = self._existing(view.name).view_query
        except NotFound:
            return None
        return query

    def replace_view(self, view: Table, columns: Sequence[Column], description: str, query: str) -> None:
        described = ", ".join(f"{self.dialect.quoted(column.name)} {self._description(column)}" for column in columns)
        self.execute(
            f"CREATE OR REPLACE VIEW {self.dialect.name_of(view)} ({described}) "
            f"OPTIONS(description={self.dialect.literal(description)}) AS {query}"
        )
        self._tables.pop(view.name, None)
        self._correct_expiration(view, Layout())

    def merge(self, table: Table, rows: pa.Table) -> Merged:
        found = self._existing(table.name)
        json_columns = [field.name for field in found.schema if field.field_type == "JSON"]
        with self.staged(storable_json(rows, json_columns)) as staged:
            source = f"(SELECT {self._selected(rows.column_names, found.schema, _ROUNDED)} FROM {staged})"
            statement = self.dialect.merge(table, source, rows.column_names, self._pruning(table, rows))
            job = self._jobs.query(statement)
        changed, new = job.num_dml_affected_rows or 0, job.dml_stats.inserted_row_count if job.dml_stats else 0
        return Merged(changed, new)

    @contextmanager
    def staged(self, rows: pa.Table) -> Iterator[str]:
        rows = loadable(rows)
        staging = bigquery.Table(self._staging.table(f"_staging_{uuid4().hex}"), fields_of(rows.schema))
        staging.expires = datetime.now(UTC) + STAGING_KEPT  # in case this process cannot delete it
        self._ensure(staging)
        try:
            self._jobs.load(rows, staging.reference, staging.schema)
            yield self.dialect.name_of(Table(staging.dataset_id, staging.table_id))
        except BaseException:  # also of a cancelled run; it is raised again
            with suppress(*GOOGLE_ERRORS):  # the table expires
                self._client.delete_table(staging, **self._patience | {"retry": None})
            raise
        self._client.delete_table(staging, not_found_ok=True, **self._patience)

    @contextmanager
    def confidential(self, text: str) -> Iterator[str]:
        """Yield a question to a staging table: BigQuery keeps statements, with their parameters, for 180 days.

        See cloud.google.com/bigquery/docs/information-schema-jobs.
        """
        with self.staged(pa.table({"text": [text]})) as source:
            yield f"(SELECT MAX(text) FROM {source})"

    def time_travel_hours(self) -> int:
        """Return for how long the dataset's tables can be read as they were before."""
        found = self._client.get_dataset(self._dataset, **self._patience)
        return int(found.max_time_travel_hours or _TIME_TRAVEL_HOURS)

    def tables_in(self, schema: str) -> list[Table]:
        found = self._client.list_tables(bigquery.DatasetReference(self._dataset.project, schema), **self._patience)
        return sorted((Table(schema, one.table_id) for one in found if one.table_type == "TABLE"), key=str)

    def storable(self, rows: pa.Table) -> pa.Table:
        return loadable(rows)

    def types_of(self, rows: pa.Table) -> dict[str, str]:
        return {field.name: type_of(field) for field in fields_of(rows.schema)}

    def widen(self, table: Table, rows: pa.Table, existing: Mapping[str, str], partitioned_by: str | None) -> None:
        fields = fields_of(rows.schema)
        if not existing:
            self._create(table.name, fields, partitioned_by)
            self._correct_expiration(table, Layout())
        elif lacking := [field for field in fields if field.name not in existing]:
            self._alter(table, [f"{self.dialect.quoted(field.name)} {type_of(field)}" for field in lacking])

    def overwrite(self, table: Table, source: str, names: Sequence[str], condition: str) -> None:
        """Replace the rows by one statement: it is atomic, and waits for others that change the table.

        Two statements that find nothing to delete do not wait. A new partition that two runs write at once is stored
        twice until it is written again.
        """
        schema = self._existing(table.name).schema
        columns = ", ".join(map(self.dialect.quoted, names))
        self.execute(
            f"MERGE INTO {self.dialect.name_of(table)} AS target "
            f"USING (SELECT {self._selected(names, schema)} FROM {source}) AS source ON FALSE "
            f"WHEN NOT MATCHED BY SOURCE AND ({condition}) THEN DELETE "
            f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({columns})"
        )

    def leave_one_of_each_id(self, table: Table) -> None:
        """Keep the copy that was read last. The copies may differ in their day of creation."""
        name, stored = self.dialect.name_of(table), self.rows_of(table)
        repeated = f"SELECT id FROM {stored} WHERE id IS NOT NULL GROUP BY id HAVING COUNT(*) > 1 LIMIT {self.most_ids}"
        while ids := [row_id for (row_id,) in self.execute(repeated)]:
            among = self.dialect.among("id", ids)
            self.execute(
                f"MERGE INTO {name} AS target USING (SELECT * FROM {stored} WHERE {among} "
                f"QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY {EXTRACTED_AT} DESC) = 1) AS source ON FALSE "
                f"WHEN NOT MATCHED BY SOURCE AND {among}{self.everything(table, 'target')} THEN DELETE "
                "WHEN NOT MATCHED BY TARGET THEN INSERT ROW"
            )

    def rows_of(self, table: Table) -> str:
        name = self.dialect.name_of(table)
        found = self._existing(table.name)
        return f"(SELECT * FROM {name} WHERE {_ANYWHERE.format('')})" if _needs_filter(found) else name

    def everything(self, table: Table, alias: str) -> str:
        return f" AND {_ANYWHERE.format(f'{alias}.')}" if _needs_filter(self._existing(table.name)) else ""

    def pruning_of(self, table: Table, field: str, ids: Collection[int]) -> str:
        found = self._existing(table.name)
        if not is_partitioned(found):
            return ""
        with self.naming(ids) as among:
            return self._created_on(table, self._days_of(table, among(self.dialect.quoted(field))))

    def parts(self, rows: pa.Table) -> list[pa.Table]:
        """Return parts of no more days of creation than a job may change partitions."""
        if PARTITIONED_BY not in rows.column_names or rows.num_rows <= limits.PARTITIONS_OF_A_JOB:
            return [rows]
        ordered = rows.sort_by(PARTITIONED_BY)
        days = ordered[PARTITIONED_BY].cast(pa.date32(), safe=False).to_pylist()
        firsts = [0, *(number for number in range(1, len(days)) if days[number] != days[number - 1])]
        starts = firsts[:: limits.PARTITIONS_OF_A_JOB]
        return [ordered.slice(start, end - start) for start, end in pairwise([*starts, len(days)])]

    def _days_of(self, table: Table, condition: str) -> set[date]:
        """Return the days on which the rows that meet the condition were created, by a query of narrow columns."""
        days = self.execute(
            f"SELECT DISTINCT TIMESTAMP_TRUNC({PARTITIONED_BY}, DAY) FROM {self.rows_of(table)} WHERE {condition}"
        )
        return {day.date() for (day,) in days if day is not None}

    def _pruning(self, table: Table, rows: pa.Table) -> str:
        """Return the condition of the days on which `rows` were created, so that BigQuery reads only these.

        Stored rows without a day are included, since their creation may have been unreadable before.
        """
        if not is_partitioned(self._existing(table.name)):
            return ""
        if rows[PARTITIONED_BY].null_count:
            return self.everything(table, "target")
        days = pc.unique(rows[PARTITIONED_BY].cast(pa.date32(), safe=False))
        return self._created_on(table, set(days.to_pylist()))

    def _created_on(self, table: Table, days: Collection[date], alias: str = "target.") -> str:
        if date.max in days:  # a window of this day would end beyond the last datetime
            return self.everything(table, "target") if alias else ""
        column = f"{alias}{PARTITIONED_BY}"
        return f" AND ({column} IS NULL OR {self.dialect.within(column, ranges_of(days))})"

    def _selected(
        self, names: Sequence[str], schema: Sequence[bigquery.SchemaField], parsing: str = "PARSE_JSON({})"
    ) -> str:
        """Return columns of a staging table, converted to the types of the target table."""
        types = {field.name: type_of(field) for field in schema}
        return ", ".join(
            f"{parsing.format(quoted)} AS {quoted}" if types.get(name) == "JSON" else quoted
            for name, quoted in ((name, self.dialect.quoted(name)) for name in names)
        )

    def _create(self, name: str, schema: Sequence[bigquery.SchemaField], partitioned_by: str | None) -> None:
        table = bigquery.Table(self._reference(name), schema)
        types = {field.name: type_of(field) for field in schema}
        if partitioned_by and types.get(partitioned_by) in ("TIMESTAMP", "DATETIME", "DATE"):
            table.time_partitioning = bigquery.TimePartitioning(self._layout.partition_by.upper(), partitioned_by)
        if types.get("id") == "INT64":
            table.clustering_fields = ["id"]
        self._ensure(table)
        self._tables.pop(name, None)

    def _ensure(self, table: bigquery.Table) -> None:
        """Create the table, unless there is one of its name: perhaps this one, from a request whose answer was lost."""
        with suppress(Conflict):
            self._client.create_table(table, **self._patience)

    def _alter(self, table: Table, columns: Sequence[str]) -> None:
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in columns)
        self.execute(f"ALTER TABLE {self.dialect.name_of(table)} {added}")
        self._tables.pop(table.name, None)

    def _correct_descriptions(self, table: Table, columns: Sequence[Column], description: str) -> None:
        declared = {column.name: column.comment for column in columns}
        self._update(table, lambda found: correct_descriptions(found, declared, description))

    def _correct_expiration(self, table: Table, layout: Layout) -> None:
        """Raise `WarehouseError` if BigQuery keeps another: with an error or silently, as long as billing is off."""
        expiration = layout.expiration_of(self._existing(table.name))
        if not expiration:
            return
        try:
            self._update(table, layout.correct_expiration)
        except GoogleAPICallError as error:
            if not needs_billing(error):
                raise
        if layout.expiration_of(self._existing(table.name)):
            raise WarehouseError(
                f"{table} would lose rows, since {expiration}, and BigQuery did not change that: it does so only for a "
                "project with a billing account. Add one in Google's console, then re-run."
            )
        self._warn(f"{table}: {expiration}, by its dataset's default or somebody's hand; that was corrected.")

    def _update(self, table: Table, change: Callable[[bigquery.Table], list[str]]) -> None:
        """Change the properties that `change` names, if it names any, of what no other run has changed meanwhile."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PreconditionFailed),
            wait=tenacity.wait_random(0, 1),
            stop=tenacity.stop_after_attempt(_MOST_UPDATES),
            reraise=True,
        )
        again(self._update_once, table.name, change)

    def _update_once(self, name: str, change: Callable[[bigquery.Table], list[str]]) -> None:
        table = bigquery.Table.from_api_repr(self._existing(name).to_api_repr())
        changed = change(table)
        if changed:
            self._tables.pop(name)
            self._tables[name] = self._client.update_table(table, changed, **self._patience)

    def _existing(self, name: str) -> bigquery.Table:
        if name not in self._tables:
            self._tables[name] = self._client.get_table(self._reference(name), **self._patience)
        return self._tables[name]

    def _reference(self, name: str) -> bigquery.TableReference:
        return self._dataset.table(name)


def _needs_filter(table: bigquery.Table) -> bool:
    return bool(table.require_partition_filter) and is_partitioned(table)


def ranges_of(days: Collection[date]) -> list[Window]:
    """Return at most `_MOST_RANGES` windows, in order, that hold the days and as few others as possible."""
    gap = 1
    while len(ranges := _joined(days, gap)) > _MOST_RANGES:
        gap *= 2
    return ranges


def _joined(days: Collection[date], gap: int) -> list[Window]:
    """Return the days in windows that are `gap` days or more apart."""
    windows: list[Window] = []
    for day in sorted(days):
        start = datetime.combine(day, time(), UTC)
        if windows and start - windows[-1].end < timedelta(days=gap):
            start = windows.pop().start
        windows.append(Window(start, datetime.combine(day, time(), UTC) + timedelta(days=1)))
    return windows
