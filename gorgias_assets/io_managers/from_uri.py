"""The IO manager of a warehouse's URI.

A part of the URI goes into an IO manager, and so into Dagster's snapshots and pages, only if it has the form of what it
is to be. Nothing else of the URI is kept or shown.
"""

import re
import unicodedata
from importlib import import_module
from urllib.parse import unquote

import dagster as dg

from gorgias_assets.api.uri import InvalidUri

DEFAULT_SCHEMA = "gorgias"
# For each scheme the module of the IO manager, whose function `from_uri` makes it, and the URI's form.
_ENGINES = {
    "duckdb": ("duckdb", "duckdb:///<file>, duckdb:////<absolute path of a file>"),
    "md": ("duckdb", "md:<database>"),
    "bigquery": ("bigquery", "bigquery://<project>?dataset=<dataset>"),
}
_LOAD_FILES = ("bigquery",)
EXPECTED_FORMS = " or ".join(form for _, form in _ENGINES.values())
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def io_manager_from_uri(
    uri: str,
    schema: str | None = None,
    *,
    default_schema: str = DEFAULT_SCHEMA,
    loader_file_format: str | None = None,
) -> dg.ConfigurableIOManagerFactory:
    """Return the IO manager for a warehouse's URI in one of `EXPECTED_FORMS`.

    White space around the URI does not count, and %XX is decoded. Tables go to `schema`, else to the URI's `dataset`
    for BigQuery, else to `default_schema`. A `loader_file_format` is taken as the URI's parameter of that name, if the
    warehouse loads files. Raises `InvalidUri`.
    """
    scheme, colon, rest = uri.strip().partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in _ENGINES:
        raise InvalidUri(f"The warehouse URI names no known warehouse; expected {EXPECTED_FORMS}.")
    place, question, query = rest.partition("?")
    if "#" in rest:
        raise InvalidUri("The warehouse URI has a # in it, which must be written %23.")
    parameters = [tuple(map(_decoded, part.partition("=")[::2])) for part in query.split("&")] if question else []
    if loader_file_format and scheme in _LOAD_FILES:
        parameters.append(("loader_file_format", loader_file_format))
    module, _ = _ENGINES[scheme]
    engine = import_module(f"gorgias_assets.io_managers.{module}")  # late: Google's packages take long to load
    io_manager: dg.ConfigurableIOManagerFactory = engine.from_uri(
        scheme, _decoded(place), parameters, schema, default_schema
    )
    return io_manager


def _decoded(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise InvalidUri("The warehouse URI has a % in it that encodes nothing; it must be written %25.")
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise InvalidUri("The warehouse URI has bytes in it that are not UTF-8.") from None
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in decoded):
        raise InvalidUri("The warehouse URI has a line end or a control character in it.")
    return decoded
