"""The IO manager of a DuckDB file, or of MotherDuck."""

from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBIOManager
from pydantic import Field

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse


class GorgiasDuckDBIOManager(DuckDBIOManager):
    """Merges sweeps, pandas DataFrames and Arrow tables into a DuckDB file, or into MotherDuck (`md:`).

    It has the settings of dagster-duckdb's IO managers.
    """

    lock_timeout_seconds: float = Field(
        default=300, gt=0, description="How long to wait while another process has the file open."
    )

    @staticmethod
    def type_handlers() -> list[Any]:
        return []

    def create_io_manager(  # type: ignore[override]  # an IO manager, but none that deletes first
        self,
        context: dg.InitResourceContext,  # noqa: ARG002
    ) -> MergingIOManager:
        return MergingIOManager(self.warehouse(), self.schema_)

    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(
            self.database, self.connection_config, self.lock_timeout_seconds, dg.get_dagster_logger().info
        )


def from_uri(uri: str, schema: str | None, default_schema: str) -> GorgiasDuckDBIOManager:
    """Return the IO manager of `duckdb:///<file>` or `md:<database>`. Raises `InvalidUri`."""
    if uri.startswith("md:") and "token=" in uri.lower():
        raise InvalidUri(
            "The warehouse URI contains a MotherDuck token; set the environment variable motherduck_token instead."
        )
    database = uri.removeprefix("duckdb:///")
    if not database or database.startswith("duckdb:"):
        raise InvalidUri("The warehouse URI names no file; expected duckdb:///<file> or duckdb:////<absolute path>.")
    return GorgiasDuckDBIOManager(database=database, schema=schema or default_schema)
