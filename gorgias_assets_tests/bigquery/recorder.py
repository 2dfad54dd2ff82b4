"""A proxy before the emulator that keeps each statement, and its tables as the statement found them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from types import TracebackType

from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from gorgias_assets_tests.bigquery.emulator import Emulator
from gorgias_assets_tests.bigquery.faulty import Answer, FaultyBigQuery, Request
from gorgias_assets_tests.bigquery.pricing import Stored, bytes_in_sql

NAMED = re.compile(r"`([\w-]+\.\w+\.\w+)`")


@dataclass(frozen=True)
class Statement:
    text: str
    tables: Mapping[str, Stored]


class Recorder(FaultyBigQuery):
    """Serves while it is entered."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator.api_endpoint)
        self.emulator = emulator
        self._client = bigquery.Client(
            emulator.project, AnonymousCredentials(), client_options={"api_endpoint": emulator.api_endpoint}
        )
        self._known: dict[str, Stored] = {}
        self._statements: list[Statement] = []

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(error_type, error, traceback)
        self._client.close()

    def taken(self) -> list[Statement]:
        """Return the statements since the last call."""
        statements, self._statements = self._statements, []
        return statements

    def answer(self, request: Request) -> Answer | None:
        for text in _statements_of(request):
            names = dict.fromkeys(NAMED.findall(text))
            tables = {name: stored for name in names if (stored := self._stored(name))}
            self._statements.append(Statement(text, tables))
            if not text.startswith(("SELECT", "WITH")):
                for name in names:
                    self._known.pop(name, None)
        return super().answer(request)

    def _stored(self, name: str) -> Stored | None:
        """Return a table as it is now; None if there is none."""
        if name not in self._known:
            try:
                table = self._client.get_table(name)
            except NotFound:
                return None
            self._known[name] = self._measured(name, table)
        return self._known[name]

    def _measured(self, name: str, table: bigquery.Table) -> Stored:
        column = table.time_partitioning.field if table.time_partitioning else None
        sizes = ", ".join(bytes_in_sql(field) for field in table.schema)
        day = f"DATE({column})" if column else "CAST(NULL AS DATE)"
        found = self._client.query_and_wait(f"SELECT {day}, COUNT(*), {sizes} FROM `{name}` GROUP BY 1")
        rows: dict[date | None, float] = {}
        total = [0.0] * len(table.schema)
        for of_day, count, *summed in (row.values() for row in found):
            rows[of_day] = count
            total = [before + (more or 0) for before, more in zip(total, summed, strict=True)]
        in_all = max(1, sum(rows.values()))
        averages = {field.name: size / in_all for field, size in zip(table.schema, total, strict=True)}
        return Stored(table.schema, averages, rows, column)


def _statements_of(request: Request) -> Iterator[str]:
    """Yield the statement that a request sends, if it does."""
    if request.method != "POST" or not request.path.split("?")[0].endswith(("/jobs", "/queries")):
        return
    if "/upload/" in request.path:
        return
    content = request.json
    query = content.get("configuration", {}).get("query", {}).get("query") or content.get("query")
    if query:
        yield query
