"""BigQuery: a batch of rows is loaded into a staging table, free of charge, and merged by one statement."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
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
from gorgias_assets.warehouse.bigquery.session import BigQueryDialect, BigQuerySession
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class BigQueryWarehouse(Warehouse):
    """Datasets of one project."""

    project: str
    credentials: Credentials = field(repr=False)
    location: str | None = None
    dataset_description: str | None = None
    job_id_prefix: str = ""
    maximum_bytes_billed: int | None = None
    api_endpoint: str | None = None
    storage_endpoint: str | None = None
    layout: Layout = field(default_factory=Layout)
    patience: Patience = field(default_factory=Patience)
    labels: Mapping[str, str] = field(default_factory=dict)
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
        return replace(self, labels={name: _label(value) for name, value in labels.items()}, costs=Bill())

    def bill(self) -> Mapping[str, Any]:
        return {
            "bigquery_bytes_billed": self.costs.bytes_billed,
            "bigquery_slot_seconds": self.costs.slot_milliseconds / 1000,
            "bigquery_jobs": self.costs.jobs,
        }

    def leave_one_of_each_id(self, table: Table) -> None:
        with self._writing(table.schema) as session:
            if session.columns_of(table):
                session.leave_one_of_each_id(table)

    def rows_of(self, table: Table) -> str:
        if not self.layout.require_partition_filter:
            return super().rows_of(table)
        with self._reading_table(table) as session:
            return session.rows_of(table) if session else super().rows_of(table)

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
        if not re.fullmatch(r"\w+", schema, re.ASCII):
            raise WarehouseError(
                f"BigQuery has no dataset named '{shown(schema)}': only letters, digits and _ are allowed."
            )
        if schema.lower() == "information_schema":
            raise WarehouseError("BigQuery has views of its own in information_schema; choose another dataset.")
        options = {"api_endpoint": self.api_endpoint} if self.api_endpoint else None
        try:
            with closing(bigquery.Client(self.project, self.credentials, client_options=options)) as client:
                location = self.locations.get(schema) or self._location_of(client, schema, creates)
                if location is None:
                    yield None
                    return
                self.locations[schema] = location
                jobs = Jobs(
                    client,
                    location,
                    id_prefix=self.job_id_prefix,
                    labels=self.labels,
                    bill=self.costs,
                    maximum_bytes_billed=self.maximum_bytes_billed,
                    patience=self.patience,
                )
                yield BigQuerySession(client, schema, jobs, self._storage, self.patience, self.layout)
        except GOOGLE_ERRORS as error:
            raise fault(error) from None

    def _location_of(self, client: bigquery.Client, schema: str, creates: bool) -> str | None:
        dataset = bigquery.Dataset(bigquery.DatasetReference(self.project, schema))
        dataset.location = self.location
        dataset.description = self.dataset_description
        try:
            found = client.get_dataset(dataset.reference, **self.patience.arguments)
        except NotFound:
            if not creates:
                return None
            with suppress(Conflict):  # with another run, or with a request whose answer was lost
                client.create_dataset(dataset, **self.patience.arguments)
            found = client.get_dataset(dataset.reference, **self.patience.arguments)
        location = found.location or self.location or "US"
        if self.location and location.upper() != self.location.upper():
            raise WarehouseError(
                f"The dataset {schema} of {self.project} is in {location}, not in {self.location}; correct the "
                "location in the warehouse URI, or name another dataset."
            )
        return location

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
