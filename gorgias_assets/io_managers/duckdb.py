"""The IO manager of a DuckDB file, or of MotherDuck."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import dagster as dg
from dagster_duckdb import DuckDBIOManager
from pydantic import Field

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.place import Place
from gorgias_assets.warehouse.duckdb.session import DuckDBDialect, check_name
from gorgias_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from gorgias_assets.warehouse.tables import WarehouseError

_SECRET = re.compile(  # a parameter in the place of a name; or a user
    r"([?&;:,\s][\w-]*(token|passw(or)?d|pwd|secret|key|credentials?)|motherduck_token)\s*[=:]|(//|:)[^/]*@",
    re.IGNORECASE,
)
_NESTED_SCHEME = re.compile(r"\s*([A-Za-z][\w+.-]+|):")  # of two letters or more: Windows has drives of one
_PARAMETER = re.compile(r"\?[^/]*=")
_MOTHERDUCK_NAME = re.compile(r"([\w-][\w /-]*)?")  # no dot, which a token has


class GorgiasDuckDBIOManager(DuckDBIOManager):
    """Merges sweeps, pandas DataFrames and Arrow tables into a DuckDB file, or into MotherDuck (`md:`).

    It has the settings of dagster-duckdb's IO managers.
    """

    lock_timeout_seconds: float = Field(
        default=300, gt=0, description="How long to wait while another process has the file open."
    )

    def __init__(self, **settings: Any) -> None:
        _refuse_secrets(settings.get("database"), settings.get("connection_config"))
        super().__init__(**settings)

    @staticmethod
    def type_handlers() -> list[Any]:
        return []

    def create_io_manager(  # type: ignore[override]  # an IO manager, but none that deletes first
        self,
        context: dg.InitResourceContext,  # noqa: ARG002
    ) -> MergingIOManager:
        return MergingIOManager(self.warehouse(), self.place())

    def place(self) -> Place:
        return Place("duckdb", DuckDBDialect.types, self.schema_)

    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(
            self.database, self.connection_config, self.lock_timeout_seconds, dg.get_dagster_logger().info
        )


def _refuse_secrets(database: object, connection_config: object) -> None:
    """Raise `InvalidUri` on a secret, which Dagster would keep with the settings, and show on the resource's page."""
    texts = [f"?{name}=" for name in connection_config] if isinstance(connection_config, dict) else []
    if isinstance(database, str) and not isinstance(database, dg.EnvVar):  # of which Dagster keeps the name alone
        texts.append(database)
    if any(map(_may_hold_a_secret, texts)):
        raise InvalidUri(
            "The settings of GorgiasDuckDBIOManager contain a token or a password, which Dagster would show; set the "
            "environment variable motherduck_token instead, or a secret of DuckDB's own."
        )


def from_uri(
    scheme: str, place: str, parameters: Sequence[tuple[str, str]], schema: str | None, default_schema: str
) -> GorgiasDuckDBIOManager:
    """Return the IO manager of `duckdb:///<file>` or `md:<database>`. Raises `InvalidUri`."""
    if any(map(_may_hold_a_secret, [place, *(f"?{name}={text}" for name, text in parameters)])):
        raise InvalidUri(
            "The warehouse URI contains a token or a password; set the environment variable motherduck_token instead."
        )
    if parameters:
        raise InvalidUri(
            "The warehouse URI has parameters, of which DuckDB takes none here; a ? in a file's name must be written "
            "%3F. Settings of DuckDB are the connection_config of GorgiasDuckDBIOManager."
        )
    return GorgiasDuckDBIOManager(
        database=_motherduck(place) if scheme == "md" else _file(place), schema=_schema(schema or default_schema)
    )


def _file(place: str) -> str:
    file = place.removeprefix("///")
    if file == place or not file.strip("/ "):
        raise InvalidUri("The warehouse URI names no file; expected duckdb:///<file> or duckdb:////<absolute path>.")
    if _NESTED_SCHEME.match(file) or _PARAMETER.search(_plain(file)):
        raise InvalidUri(
            "The warehouse URI names no file, but another URI after duckdb:///; expected duckdb:///<file>, or "
            "md:<database> for MotherDuck."
        )
    return file


def _motherduck(place: str) -> str:
    if not _MOTHERDUCK_NAME.fullmatch(place):
        raise InvalidUri("The warehouse URI names no database of MotherDuck; expected md:<database>.")
    return f"md:{place}"


def _schema(name: str) -> str:
    try:
        check_name("schema", name)
    except WarehouseError as error:
        raise InvalidUri(str(error)) from None
    return name


def _may_hold_a_secret(text: str) -> bool:
    return bool(_SECRET.search(_plain(text)))


def _plain(text: str) -> str:
    """Return a text that may be encoded any number of times, or be in unusual letters, in plain ones."""
    while (decoded := unicodedata.normalize("NFKC", unquote(text))) != text:
        text = decoded
    return text
