"""The IO manager of a warehouse's URI."""

from importlib import import_module

import dagster as dg

from gorgias_assets.api.uri import InvalidUri

DEFAULT_SCHEMA = "gorgias"
# For each scheme the module of the IO manager, whose function `from_uri` makes it, and the URI's form.
_ENGINES = {
    "duckdb": ("duckdb", "duckdb:///<file>, duckdb:////<absolute path of a file>"),
    "md": ("duckdb", "md:<database>"),
    "bigquery": ("bigquery", "bigquery://<project>?dataset=<dataset>"),
}
EXPECTED_FORMS = " or ".join(form for _, form in _ENGINES.values())


def io_manager_from_uri(uri: str, schema: str | None = None) -> dg.ConfigurableIOManagerFactory:
    """Return the IO manager for a warehouse's URI in one of `EXPECTED_FORMS`.

    Tables go to `schema`, else to the URI's `dataset` for BigQuery, else to `DEFAULT_SCHEMA`. Raises `InvalidUri`.
    """
    scheme, _, _ = uri.partition(":")
    if scheme not in _ENGINES:
        raise InvalidUri(f"The warehouse URI names no known warehouse; expected {EXPECTED_FORMS}.")
    module, _ = _ENGINES[scheme]
    engine = import_module(f"gorgias_assets.io_managers.{module}")  # late: Google's packages take long to load
    io_manager: dg.ConfigurableIOManagerFactory = engine.from_uri(uri, schema, DEFAULT_SCHEMA)
    return io_manager
