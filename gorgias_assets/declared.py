"""The declaration of an entity in Dagster's words: the schema of its table, its kinds, and the version of its code."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import dagster as dg

from gorgias_assets.columns import ADDED_COLUMNS, EXTRACTED_AT, Column
from gorgias_assets.entities.model import ByDate, Entity, Whole
from gorgias_assets.entities.view import View

PERSONAL_DATA = "pii"  # the tag of a column, here and in dbt
HOLDS = "gorgias/holds"  # the tag of what that is, such as `email, name`
NEVER_NULL = frozenset({"id", EXTRACTED_AT})
UNIQUE = "id"
GORGIAS = "gorgias"


def of_definition(entity: Entity[Any], table_name: str, storage: str) -> dict[str, Any]:
    """Return the metadata that an asset has before it is materialized. `storage` is `duckdb` or `bigquery`."""
    return {
        "dagster/table_name": table_name,
        "dagster/storage_kind": storage,
        "dagster/column_schema": column_schema(entity.columns),
    }


def of_view(view: View, table_name: str = "", storage: str = "") -> dict[str, Any]:
    """Return the metadata of a view's asset, with its place in the warehouse if that is known."""
    place = {"dagster/table_name": table_name, "dagster/storage_kind": storage} if table_name else {}
    return place | {"dagster/column_schema": plain_schema(view.columns)}


def kinds(storage: str) -> set[str]:
    """Return the kinds of an asset. Dagster has icons for the warehouses, and shows the others as text."""
    return {GORGIAS, storage}


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Return the schema of a merged table: the declared columns, and those that this project adds.

    `id` is declared as unique, since rows are merged by it. In BigQuery a row that two runs insert at once is there
    twice until the later of them ends.
    """
    return dg.TableSchema([_column(column) for column in (*columns, *ADDED_COLUMNS)])


def plain_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Return the schema of the declared columns alone, as a view has them, or a table whose days are replaced."""
    return dg.TableSchema([_column(column) for column in columns])


def _column(column: Column) -> dg.TableColumn:
    return dg.TableColumn(
        column.name,
        column.kind.value,
        column.description,
        dg.TableColumnConstraints(nullable=column.name not in NEVER_NULL, unique=column.name == UNIQUE),
        {**({PERSONAL_DATA: ""} if column.private else {}), **({HOLDS: holds(column)} if column.paths else {})},
    )


def holds(column: Column) -> str:
    """Return what a column holds of a person, in words with commas between."""
    return ", ".join(kind.value for kind in column.paths)


def code_version(entity: Entity[Any]) -> str:
    """Return a version that changes with the rows and columns of the table, and not with their descriptions.

    Fields of the declaration that only say how to look for rows, such as a look-back, leave it as it is: a new version
    marks every partition as outdated.
    """
    read = entity.read
    rows = [read.passes, read.id_from] if isinstance(read, Whole) else read.touch_fields
    order = [read.order] if isinstance(read, ByDate) else []
    columns = [(column.name, column.kind.name, *_kept(column)) for column in entity.columns]
    declared = json.dumps([entity.path, type(read).__name__, [*order, *rows], columns, *entity.left_out])
    return sha256(declared.encode()).hexdigest()[:12]


def _kept(column: Column) -> list[object]:
    keeps = column.keeps
    return [sorted(keeps.fields), keeps.by, sorted(keeps.whole)] if keeps else []
