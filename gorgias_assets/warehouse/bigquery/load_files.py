"""Files of rows for BigQuery's load jobs, in the formats that it loads free of charge."""

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet
from google.cloud.bigquery import SourceFormat

_ROWS_ENCODED = 4_096  # at a time, which bounds memory


class LoaderFileFormat(Enum):
    """A file's format, by its name in settings."""

    PARQUET = "parquet"
    JSONL = "jsonl"

    @property
    def source_format(self) -> str:
        return str(SourceFormat.PARQUET if self is LoaderFileFormat.PARQUET else SourceFormat.NEWLINE_DELIMITED_JSON)

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        """Write `loadable` rows to the file."""
        if self is LoaderFileFormat.PARQUET:
            pyarrow.parquet.write_table(rows, file, row_group_size=_ROWS_ENCODED)
            return
        lists = [field.name for field in rows.schema if pa.types.is_list(field.type)]
        for batch in rows.to_batches(_ROWS_ENCODED):
            for row in batch.to_pylist():
                for name in lists:
                    row[name] = row[name] or []  # BigQuery has no list that is null
                file.write(json.dumps(_encoded(row), ensure_ascii=False).encode() + b"\n")


def _encoded(value: Any) -> Any:
    """Return a value as BigQuery reads it (cloud.google.com/bigquery/docs/loading-data-cloud-storage-json)."""
    match value:
        case Mapping():
            return {name: _encoded(inner) for name, inner in value.items()}
        case list():
            return [_encoded(inner) for inner in value]
        case bytes():
            return b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case float() if not math.isfinite(value):
            return str(value).replace("inf", "Infinity").replace("nan", "NaN")
        case _:
            return value
