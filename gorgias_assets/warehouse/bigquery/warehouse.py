"""BigQuery: a batch of rows is loaded into a staging table, free of charge, and merged by one statement."""

import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import grpc
from google.api_core.exceptions import Conflict, NotFound
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import bigquery
from google.cloud.bigquery_storage import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from gorgias_assets.display import shown
from gorgias_assets.warehouse.bigquery.jobs import GOOGLE_ERRORS, Bill, Jobs, Patience, fault
from gorgias_assets.warehouse.bigquery.layout import Layout
from gorgias_assets.warehouse.bigquery.load_files import LoaderFileFormat
from gorgias_assets.warehouse.bigquery.session import BigQueryDialect, BigQuerySession
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse

_FAIL_SAFE = timedelta(days=7)  # cloud.google.com/bigquery/docs/time-travel
_MOST_IDS_SHOWN = 100  # of jobs; all have the run's labels

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BigQueryWarehouse(Warehouse):
    """Datasets of one project."""

    project: str
    credentials: Credentials = field(repr=False)
    location: str | None = None
    billing_project: str | None = None  # else `project` pays, too
    staging_dataset: str | None = None  # else that of the table
    loader_file_format: LoaderFileFormat = LoaderFileFormat.PARQUET
    dataset_description: str | None = None
    job_id_prefix: str = ""
    maximum_bytes_billed: int | None = None
    api_endpoint: str | None = None
    storage_endpoint: str | None = None
    layout: Layout = field(default_factory=Layout)
    patience: Patience = field(default_factory=Patience)
    labels: Mapping[str, str] = field(default_factory=dict)
    warn: Callable[[str], object] = _log.warning
    costs: Bill = field(default_factory=Bill)
    locations: dict[str, str] = field(default_factory=dict)  # of datasets that are known to exist

    # A merge is billed for the days it touches whatever its size, and BigQuery limits a table's jobs a day; in memory a
    # batch takes a few times the bytes of its bodies.
    batch_rows = 20_000
    batch_bytes = 64 * 2**20
    may_store_copies = True

    def __str__(self) -> str:
        return f"the project {self.project}"

    @property
    def dialect(self) -> BigQueryDialect:
        return BigQueryDialect(self.project)

    def billed_to(self, labels: Mapping[str, str]) -> Self:
        return replace(self.labelled(labels), costs=Bill())

    def labelled(self, labels: Mapping[str, str]) -> Self:
        return replace(self, labels={**self.labels, **{name: _label(value) for name, value in labels.items()}})

    def bill(self) -> Mapping[str, Any]:
        return {
            "bigquery_bytes_billed": self.costs.bytes_billed,
            "bigquery_slot_seconds": self.costs.slot_milliseconds / 1000,
            "bigquery_jobs": len(self.costs.jobs),
        }

    def jobs_billed(self) -> Mapping[str, Any]:
        ids = self.costs.jobs[:_MOST_IDS_SHOWN]
        return {"bigquery_job_ids": ids} if ids else {}

    def command_for(self, table: Table) -> str:
        return shlex.join(["bq", "query", "--use_legacy_sql=false", f"SELECT * FROM {self.rows_of(table)} LIMIT 10"])

    def leave_one_of_each_id(self, table: Table) -> None:
        with self._writing(table.schema) as session:
            if session.columns_of(table):
                session.leave_one_of_each_id(table)

    def rows_of(self, table: Table) -> str:
        if not self.layout.require_partition_filter:
            return super().rows_of(table)
        with self._reading_table(table) as session:
            return session.rows_of(table) if session else super().rows_of(table)

    def expunge(self, schema: str) -> str:
        """Nothing is removed at once: BigQuery keeps what was changed for its time travel, and then its fail-safe."""
        now = datetime.now(UTC)
        with self._writing(schema) as session:
            hours = session.time_travel_hours()
        readable, there = now + timedelta(hours=hours), now + timedelta(hours=hours) + _FAIL_SAFE
        return (
            f"Time travel shows the rows as they were before to whoever may read {schema} until "
            f"{readable:%Y-%m-%d %H:%M} UTC ({hours} hours), and the tables that staged them. Google's fail-safe holds "
            f"them until {there:%Y-%m-%d %H:%M} UTC, for Google's support alone. For the next time, this shortens it: "
            f"ALTER SCHEMA {self.dialect.quoted(f'{self.project}.{schema}')} SET OPTIONS (max_time_travel_hours = 48)."
        )

    @contextmanager
    def _writing(self, schema: str) -> Iterator[BigQuerySession]:
        with self._session(schema, creates=True) as session:
            assert session is not None  # its dataset exists by now
            yield session

    def _reading(self, schema: str) -> AbstractContextManager[BigQuerySession | None]:
        return self._session(schema, creates=False)

    @contextmanager
    def _session(self, schema: str, creates: bool) -> Iterator[BigQuerySession | None]:
        """Yield a session in the dataset's location. A missing dataset is created, or else None is yielded."""
        dataset, payer = self._dataset(schema), self.billing_project or self.project
        staging = self._dataset(self.staging_dataset or schema)
        options = {"api_endpoint": self.api_endpoint} if self.api_endpoint else None
        try:
            with closing(bigquery.Client(payer, self.credentials, client_options=options)) as client:
                location = self._location_of(client, dataset, self.location, creates)
                if location is None:
                    yield None
                    return
                if creates:
                    self._location_of(client, staging, location, creates)
                jobs = Jobs(
                    client,
                    location,
                    id_prefix=self.job_id_prefix,
                    labels=self.labels,
                    bill=self.costs,
                    maximum_bytes_billed=self.maximum_bytes_billed,
                    loader_file_format=self.loader_file_format,
                    patience=self.patience,
                )
                yield BigQuerySession(
                    client, dataset, staging, jobs, self._storage, self.patience, self.layout, self.warn
                )
        except GOOGLE_ERRORS as error:
            raise fault(error) from None

    def _dataset(self, name: str) -> bigquery.DatasetReference:
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise WarehouseError(
                f"BigQuery has no dataset named '{shown(name)}': only letters, digits and _ are allowed."
            )
        if name.lower() == "information_schema":
            raise WarehouseError("BigQuery has views of its own in information_schema; choose another dataset.")
        return bigquery.DatasetReference(self.project, name)

    def _location_of(
        self, client: bigquery.Client, dataset: bigquery.DatasetReference, wanted: str | None, creates: bool
    ) -> str | None:
        """Return where the dataset is, in `wanted` if that is set. A missing one is created, or else None returned."""
        name = dataset.dataset_id
        if name not in self.locations:
            found = self._found(client, dataset, wanted, creates)
            if found is None:
                return None
            self.locations[name] = found.location or wanted or "US"
        location = self.locations[name]
        if wanted and location.upper() != wanted.upper():
            raise WarehouseError(
                f"The dataset {name} of {self.project} is in {location}, not in {wanted}; correct the location in the "
                "warehouse URI, or name another dataset."
            )
        return location

    def _found(
        self, client: bigquery.Client, reference: bigquery.DatasetReference, wanted: str | None, creates: bool
    ) -> bigquery.Dataset | None:
        with suppress(NotFound):
            return client.get_dataset(reference, **self.patience.arguments)
        if not creates:
            return None
        dataset = bigquery.Dataset(reference)
        dataset.location, dataset.description = wanted, self.dataset_description
        with suppress(Conflict):  # with another run, or with a request whose answer was lost
            client.create_dataset(dataset, **self.patience.arguments)
        found = client.get_dataset(reference, **self.patience.arguments)
        if not wanted:
            self.warn(
                f"Created the dataset {reference.dataset_id} of {self.project} in {found.location or 'US'}, Google's "
                "default, since no location is set. A dataset cannot be moved: to have it elsewhere, in the EU for "
                "example, delete it now and set the location in the warehouse URI."
            )
        return found

    @contextmanager
    def _storage(self) -> Iterator[Any]:
        """Yield the client that reads rows; None for an emulator without a Storage API."""
        is_emulator = isinstance(self.credentials, AnonymousCredentials)
        if is_emulator and not self.storage_endpoint:
            yield None
        elif is_emulator:
            with grpc.insecure_channel(self.storage_endpoint) as channel:
                yield BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        else:
            options = {"api_endpoint": self.storage_endpoint} if self.storage_endpoint else None
            with BigQueryReadClient(credentials=self.credentials, client_options=options) as client:
                yield client


def _label(value: str) -> str:
    """Return `value` as Google allows labels: up to 63 small letters, digits, dashes and underscores."""
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:63]
