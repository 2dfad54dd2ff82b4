"""Google's own analyzer of BigQuery's SQL, which refuses statements that emulators accept.

The analyzer is WebAssembly. A machine compiles it once, which takes half a minute and a gigabyte; from then on it is
there after a second.
"""

import atexit
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from google.cloud import bigquery
from google.cloud.bigquery import LoadJob, QueryJob, SchemaField

# The analyzer's features that BigQuery's reference documents. All others are refused.
FEATURES = """
    ADDITIONAL_STRING_FUNCTIONS ALLOW_DASHES_IN_TABLE_NAME ALLOW_REGEXP_EXTRACT_OPTIONALS ALTER_COLUMN_SET_DATA_TYPE
    ALTER_TABLE_RENAME_COLUMN ALTER_VIEWS_ALTER_COLUMN_SET_OPTIONS ANALYTIC_FUNCTIONS BARE_ARRAY_ACCESS
    BIGNUMERIC_TYPE CASE_STMT CAST_DIFFERENT_ARRAY_TYPES CBRT_FUNCTIONS CIVIL_TIME COLUMN_DEFAULT_VALUE
    CONCAT_MIXED_TYPES CREATE_MATERIALIZED_VIEW_CLUSTER_BY CREATE_MATERIALIZED_VIEW_PARTITION_BY CREATE_SNAPSHOT_TABLE
    CREATE_TABLE_AS_SELECT_COLUMN_LIST CREATE_TABLE_CLONE CREATE_TABLE_CLUSTER_BY CREATE_TABLE_COPY
    CREATE_TABLE_FIELD_ANNOTATIONS CREATE_TABLE_LIKE CREATE_TABLE_NOT_NULL CREATE_TABLE_PARTITION_BY
    CREATE_VIEWS_WITH_COLUMN_OPTIONS CREATE_VIEW_WITH_COLUMN_LIST DATE_ARITHMETICS DATE_TIME_CONSTRUCTORS
    DECIMAL_ALIAS DISABLE_ARRAY_MIN_AND_MAX DISABLE_ARRAY_SUM_AND_AVG DISABLE_FLOAT32 DML_UPDATE_WITH_JOIN
    ENABLE_CONSTANT_EXPRESSION_IN_JSON_PATH ENFORCE_MICROS_MODE_IN_INTERVAL_TYPE EXTENDED_DATE_TIME_SIGNATURES
    FOREIGN_KEYS FORMAT_IN_CAST FOR_IN FOR_SYSTEM_TIME_AS_OF FUNCTION_ARGUMENTS_WITH_DEFAULTS GEOGRAPHY
    GROUPING_BUILTIN GROUPING_SETS GROUP_BY_ALL GROUP_BY_ARRAY GROUP_BY_ROLLUP GROUP_BY_STRUCT HAVING_IN_AGGREGATE
    INTERVAL_TYPE IS_DISTINCT JSON_ARRAY_FUNCTIONS JSON_CONSTRUCTOR_FUNCTIONS JSON_KEYS_FUNCTION
    JSON_LAX_VALUE_EXTRACTION_FUNCTIONS JSON_MUTATOR_FUNCTIONS JSON_QUERY_LAX JSON_TYPE
    JSON_VALUE_EXTRACTION_FUNCTIONS LIKE_ANY_SOME_ALL LIMIT_IN_AGGREGATE NAMED_ARGUMENTS NULLS_FIRST_LAST_IN_ORDER_BY
    NULL_HANDLING_MODIFIER_IN_AGGREGATE NULL_HANDLING_MODIFIER_IN_ANALYTIC NUMERIC_TYPE OMIT_INSERT_COLUMN_LIST
    ORDER_BY_IN_AGGREGATE PARAMETERIZED_TYPES PIPES PIVOT QUALIFY RANGE_TYPE REPEAT ROUND_WITH_ROUNDING_MODE
    SAFE_FUNCTION_CALL SCRIPT_LABEL SELECT_STAR_EXCEPT_REPLACE SINGLE_TABLE_NAME_ARRAY_PATH STRUCT_POSITIONAL_ACCESSOR
    TABLESAMPLE TABLE_VALUED_FUNCTIONS TEMPLATE_FUNCTIONS TIME_BUCKET_FUNCTIONS UNENFORCED_PRIMARY_KEYS UNPIVOT
    WEEK_WITH_WEEKDAY WITH_ON_SUBQUERY WITH_RECURSIVE
"""

# The names that OPTIONS(…) of a dataset, table, view or column may use here, with the types of the REST API.
OPTIONS = {
    "description": {"type": "STRING"},
    "expiration_timestamp": {"type": "TIMESTAMP"},
    "friendly_name": {"type": "STRING"},
    "labels": {
        "type": "ARRAY",
        "arrayType": {"type": "STRUCT", "structTypes": [{"type": {"type": "STRING"}}, {"type": {"type": "STRING"}}]},
    },
    "location": {"type": "STRING"},
    "partition_expiration_days": {"type": "FLOAT64"},
    "require_partition_filter": {"type": "BOOL"},
}

KINDS = {"BOOLEAN": "BOOL", "FLOAT": "DOUBLE", "FLOAT64": "DOUBLE", "INTEGER": "INT64", "RECORD": "STRUCT"}

QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
HEX_ID = re.compile(r"[0-9a-f]{8,}")


def sent(jobs: Iterable[Any]) -> list[str]:
    """Return the newest successful statement of each shape, of these jobs from the oldest to the newest."""
    statements = [job.query for job in jobs if isinstance(job, QueryJob) and not job.error_result]
    return list({_shape(statement): statement for statement in statements}.values())


def tables_of(client: bigquery.Client, jobs: Iterable[Any]) -> dict[str, list[SchemaField]]:
    """Return the columns of all tables and views, and of the removed ones into which these jobs loaded files."""
    loaded = {str(job.destination): list(job.schema) for job in jobs if isinstance(job, LoadJob) and job.schema}
    listed = [item for dataset in client.list_datasets() for item in client.list_tables(dataset.reference)]
    there = [client.get_table(item) for item in listed]
    return loaded | {str(table.reference): list(table.schema) for table in there}


def refusals(statements: Iterable[str], tables: Mapping[str, Sequence[SchemaField]]) -> list[str]:
    """Return the analyzer's message and the statement, for each statement that it refuses.

    `tables` are the columns by the name that stands between backticks, like `local.gorgias.tickets`.
    """
    with _catalogue(tables) as catalogue:
        return [refusal for statement in statements for refusal in _refusals(statement, catalogue)]


def resolved(script: str, tables: Mapping[str, Sequence[SchemaField]]) -> list[Any]:
    """Return the analyzer's resolved form of each statement, whose scans have the columns that it needs, and no other.

    Raises its `ServerError` if it refuses one.
    """
    with _catalogue(tables) as catalogue:
        return [_call("Analyze", _analysis(part, catalogue)).resolved_statement for part in _parts(script)]


def _shape(statement: str) -> str:
    """Return a statement without its values: texts are removed, but a text that looks like a date still does."""
    sql = re.sub(r"\d", "0", HEX_ID.sub("0", statement))
    sql = QUOTED.sub(lambda text: "''" if re.search("[^-0-9T Z:.+'\"]", text[0]) else text[0], sql)
    return re.sub("0+", "0", sql)


def _refusals(statement: str, catalogue: int) -> Iterator[str]:
    from zetasql.core.exceptions import ServerError

    part = statement
    try:
        for part in _parts(statement):
            try:
                _call("Analyze", _analysis(part, catalogue))
            except ServerError as refusal:
                yield f"{_message(refusal)}\n{part}"
    except ServerError as refusal:
        yield f"{_message(refusal)}\n{statement}"


def _parts(script: str) -> Iterator[str]:
    """Yield the statements of a script, parsed but not yet analyzed."""
    from zetasql import types

    text, position = script.encode(), 0
    while text[position:].strip():
        location = types.ParseResumeLocation(input=script, byte_position=position)
        request = types.ExtractTableNamesFromNextStatementRequest(parse_resume_location=location, options=_language())
        end = _call("ExtractTableNamesFromNextStatement", request).resume_byte_position
        yield text[position:end].decode().strip()
        position = end


def _analysis(sql: str, catalogue: int) -> Any:
    from zetasql import types

    allowed = types.AllowedHintsAndOptions(
        disallow_unknown_options=True,
        disallow_duplicate_option_names=True,
        option=[types.AllowedHintsAndOptions.Option(name=name, type=_type(of)) for name, of in OPTIONS.items()],
    )
    options = types.AnalyzerOptions(
        language_options=_language(),
        error_message_mode=types.ErrorMessageMode.ERROR_MESSAGE_ONE_LINE,
        prune_unused_columns=True,
        default_timezone="UTC",
        allowed_hints_and_options=allowed,
    )
    return types.AnalyzeRequest(options=options, registered_catalog_id=catalogue, sql_statement=sql)


@contextmanager
def _catalogue(tables: Mapping[str, Sequence[SchemaField]]) -> Iterator[int]:
    from zetasql import types

    catalog = types.SimpleCatalog(
        name="bigquery",
        table=[
            types.SimpleTable(
                name=name,
                column=[types.SimpleColumn(name=field.name, type=_type(_described(field))) for field in fields],
            )
            for name, fields in tables.items()
        ],
        builtin_function_options=types.ZetaSQLBuiltinFunctionOptions(language_options=_language()),
    )
    number = _call("RegisterCatalog", types.RegisterCatalogRequest(simple_catalog=catalog)).registered_id
    try:
        yield number
    finally:
        _call("UnregisterCatalog", types.UnregisterRequest(registered_id=number))


def _described(field: SchemaField) -> dict[str, Any]:
    """Return a column's type in the form that the REST API gives to types."""
    described: dict[str, Any] = {"type": field.field_type}
    if field.fields:
        described["structTypes"] = [{"name": inner.name, "type": _described(inner)} for inner in field.fields]
    return {"type": "ARRAY", "arrayType": described} if field.mode == "REPEATED" else described


def _type(described: Mapping[str, Any]) -> Any:
    from zetasql import types

    name = KINDS.get(described["type"], described["type"])
    array = struct = None
    if name == "ARRAY":
        array = types.ArrayType(element_type=_type(described["arrayType"]))
    if name == "STRUCT":
        fields = [
            types.StructField(field_name=inner.get("name", ""), field_type=_type(inner["type"]))
            for inner in described["structTypes"]
        ]
        struct = types.StructType(field=fields)
    return types.Type(type_kind=types.TypeKind[f"TYPE_{name}"], array_type=array, struct_type=struct)


@cache
def _language() -> Any:
    """Return BigQuery's features. Names resolve as by default: "strict" would forbid an unqualified one."""
    from zetasql import types

    return types.LanguageOptions(
        product_mode=types.ProductMode.PRODUCT_EXTERNAL,
        name_resolution_mode=types.NameResolutionMode.NAME_RESOLUTION_DEFAULT,
        enabled_language_features=[types.LanguageFeature[f"FEATURE_{name}"] for name in FEATURES.split()],
    )


def _message(refusal: Any) -> str:
    return refusal.raw_error.partition("Message: ")[2]


def _call(method: str, request: Any) -> Any:
    from google.protobuf.empty_pb2 import Empty
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2

    answers = {"RegisterCatalog": "RegisterResponse"}
    answer = getattr(local_service_pb2, answers.get(method, f"{method}Response"), Empty)
    return _analyzer().call_grpc_func(f"ZetaSqlLocalService_{method}", request.to_proto(), answer)


@cache
def _analyzer() -> Any:
    """Return a `WasmClient()` that is compiled once per machine and not once per process."""
    from wasmtime import Config, Engine, Linker, Module, Store, WasiConfig
    from zetasql.core.wasm_client import WasmClient, get_tzinfo_dir
    from zetasql.wasi import get_wasm_path

    config = Config()
    config.cache = True
    config.shared_memory = True
    engine = Engine(config)
    system = WasiConfig()
    system.inherit_stderr()
    system.preopen_dir(get_tzinfo_dir(), "/usr/share/zoneinfo")
    linker = Linker(engine)
    linker.define_wasi()
    client = object.__new__(WasmClient)
    client.store = Store(engine)
    client.store.set_wasi(system)
    client.exports = linker.instantiate(client.store, Module.from_file(engine, get_wasm_path())).exports(client.store)
    client.exports["_initialize"](client.store)
    client.memory = client.exports["memory"]
    atexit.register(_analyzer.cache_clear)  # its parts do not survive the end of the interpreter quietly
    return client


if __name__ == "__main__":
    _analyzer()  # compiled for this machine, so that no test has to wait for it
