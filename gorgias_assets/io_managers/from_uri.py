"""Choosing a warehouse by its URI."""

from urllib.parse import parse_qsl, urlsplit

import dagster as dg

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.duckdb import GorgiasDuckDBIOManager

DEFAULT_SCHEMA = "gorgias"
EXPECTED_FORMS = (
    "duckdb:///<file>, duckdb:////<absolute path of a file>, md:<database> or bigquery://<project>?dataset=<dataset>"
)
BIGQUERY_PARAMETERS = {
    "dataset",
    "location",
    "credentials_path",
    "gcp_credentials",
    "maximum_bytes_billed",
    "api_endpoint",
    "storage_endpoint",
}


def io_manager_from_uri(uri: str, schema: str | None = None) -> dg.ConfigurableIOManagerFactory:
    """The IO manager for a warehouse: for `duckdb:///<file>` (three slashes relative, four absolute), MotherDuck's
    `md:<database>`, or `bigquery://<project>` with any of `BIGQUERY_PARAMETERS`.

    Tables go to `schema`, else to BigQuery's `dataset`, else to `gorgias`. Raises `InvalidUri`.
    """
    if uri.startswith("md:"):
        if "token=" in uri.lower():
            raise InvalidUri(
                "The warehouse URI has a MotherDuck token in it; set the environment variable motherduck_token instead."
            )
        return GorgiasDuckDBIOManager(database=uri, schema=schema or DEFAULT_SCHEMA)
    if uri.startswith("bigquery://"):
        return _bigquery(uri, schema)
    path = uri.removeprefix("duckdb:///")
    if path in ("", uri):
        raise InvalidUri(f"The warehouse URI names no warehouse known here; expected {EXPECTED_FORMS}.")
    return GorgiasDuckDBIOManager(database=path, schema=schema or DEFAULT_SCHEMA)


def _bigquery(uri: str, schema: str | None) -> dg.ConfigurableIOManagerFactory:
    from gorgias_assets.io_managers.bigquery import GorgiasBigQueryIOManager  # Google's packages take long to load

    parts = urlsplit(uri)
    pairs = parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)
    parameters = dict(pairs)
    if not parts.netloc or parts.path.strip("/") or parts.fragment:
        raise InvalidUri(f"The warehouse URI names no Google Cloud project alone; expected {EXPECTED_FORMS}.")
    if parameters.keys() - BIGQUERY_PARAMETERS or len(parameters) < len(pairs) or not all(parameters.values()):
        raise InvalidUri(
            "The warehouse URI has a parameter that is unknown, empty or there twice; BigQuery's are "
            f"{', '.join(sorted(BIGQUERY_PARAMETERS))}."
        )
    most = parameters.pop("maximum_bytes_billed", None)
    if most is not None and not (most.isascii() and most.isdigit() and int(most)):
        raise InvalidUri("The warehouse URI's maximum_bytes_billed is no number of bytes.")
    dataset = schema or parameters.pop("dataset", DEFAULT_SCHEMA)
    return GorgiasBigQueryIOManager(
        project=parts.netloc,
        maximum_bytes_billed=int(most) if most else None,
        **parameters | {"dataset": dataset},
    )
