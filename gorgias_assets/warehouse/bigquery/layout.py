"""The layout of tables in BigQuery: partitions, expirations, descriptions, and filters that readers must give.

A new table inherits the default expirations of its dataset, and a request that creates one cannot decline them
(cloud.google.com/bigquery/docs/reference/rest/v2/datasets). So they are removed once it is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from google.cloud import bigquery

PARTITIONED_BY = "created_datetime"
_MILLISECONDS_A_DAY = 86_400_000


@dataclass(frozen=True)
class Layout:
    """The settings of merged tables.

    - `partition_by`: the length of a partition of a new table; an existing table keeps its own.
    - `partition_expiration_days`: for how long a partition is kept after its day or month; None is for ever.
    - `require_partition_filter`: True if readers must name partitions; False leaves a table as it is.
    """

    partition_by: Literal["day", "month"] = "day"
    partition_expiration_days: int | None = None
    require_partition_filter: bool = False

    def expiration_of(self, table: bigquery.Table) -> str:
        """Return the expiration that the table has and should not have, in words; empty if there is none."""
        if table.expires:
            return f"it would be deleted on {table.expires:%Y-%m-%d}"
        found, wanted = _expiration_days(table), self._expiration_days(table)
        if found == wanted:
            return ""
        return (
            "its partitions would be kept for ever" if found is None else f"a partition would end after {found:g} days"
        )

    def correct_expiration(self, table: bigquery.Table) -> list[str]:
        """Give the table the expiration that it should have, and return the names of the changed properties."""
        changed = []
        if table.expires:
            table.expires = None
            changed.append("expires")
        if _expiration_days(table) != (days := self._expiration_days(table)):
            partitioning = table.time_partitioning
            partitioning.expiration_ms = None if days is None else days * _MILLISECONDS_A_DAY
            table.time_partitioning = partitioning
            changed.append("time_partitioning")
        return changed

    def correct_filter(self, table: bigquery.Table) -> list[str]:
        if not self.require_partition_filter or table.require_partition_filter or not is_partitioned(table):
            return []
        table.require_partition_filter = True
        return ["require_partition_filter"]

    def _expiration_days(self, table: bigquery.Table) -> int | None:
        return self.partition_expiration_days if is_partitioned(table) else None


def is_partitioned(table: bigquery.Table) -> bool:
    return bool(table.time_partitioning and table.time_partitioning.field == PARTITIONED_BY)


def correct_descriptions(table: bigquery.Table, columns: Mapping[str, str], description: str) -> list[str]:
    """Give the table and those of its columns their descriptions, and return the names of the changed properties.

    An empty description leaves the table's as it is.
    """
    changed = []
    if description and table.description != description:
        table.description = description
        changed.append("description")
    if any(columns.get(field.name, field.description) != field.description for field in table.schema):
        table.schema = [_described(field, columns.get(field.name, field.description)) for field in table.schema]
        changed.append("schema")
    return changed


def _described(field: bigquery.SchemaField, description: str | None) -> bigquery.SchemaField:
    return bigquery.SchemaField.from_api_repr(field.to_api_repr() | {"description": description})


def _expiration_days(table: bigquery.Table) -> float | None:
    milliseconds = table.time_partitioning and table.time_partitioning.expiration_ms
    return milliseconds / _MILLISECONDS_A_DAY if milliseconds else None
