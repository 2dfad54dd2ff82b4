"""Choosing a warehouse by its URI: one line here for each engine."""

import dagster as dg

from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager
from gorgias_assets.uri import InvalidUri

EXPECTED_FORMS = "duckdb:///<file>, duckdb:////<absolute path of a file> or md:<database>"


def io_manager_from_uri(uri: str, schema: str | None) -> dg.ConfigurableIOManagerFactory:
    """The IO manager for `duckdb:///<file>` (three slashes relative, four absolute) or MotherDuck's `md:<database>`.

    Raises `InvalidUri`.
    """
    if uri.startswith("md:"):
        if "token=" in uri.lower():
            raise InvalidUri(
                "The warehouse URI has a MotherDuck token in it; set the environment variable motherduck_token instead."
            )
        return GorgiasDuckDBIOManager(database=uri, schema=schema)
    path = uri.removeprefix("duckdb:///")
    if path in ("", uri):
        raise InvalidUri(f"The warehouse URI names no warehouse known here; expected {EXPECTED_FORMS}.")
    return GorgiasDuckDBIOManager(database=path, schema=schema)
