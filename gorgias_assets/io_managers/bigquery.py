"""The IO manager of BigQuery."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import dagster as dg
from google.auth.credentials import AnonymousCredentials, Credentials
from pydantic import Field

from gorgias_assets.api.uri import InvalidUri
from gorgias_assets.io_managers.merging import MergingIOManager
from gorgias_assets.io_managers.place import Place
from gorgias_assets.warehouse.bigquery.credentials import (
    credentials_of_base64,
    credentials_of_file,
    default_credentials,
    impersonated,
)
from gorgias_assets.warehouse.bigquery.layout import Layout
from gorgias_assets.warehouse.bigquery.load_files import LoaderFileFormat
from gorgias_assets.warehouse.bigquery.session import BigQueryDialect
from gorgias_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gorgias_assets.warehouse.tables import WarehouseError

JOB_ID_PREFIX = "gorgias_"
_PROJECT_ID = r"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+:(?![0-9]))?[a-zA-Z0-9][a-zA-Z0-9-]{0,62}"
_PROJECT = re.compile(rf"//({_PROJECT_ID})/?")
_SERVICE_ACCOUNT = r"[a-z0-9-]{1,63}@[a-z0-9.-]{1,200}\.gserviceaccount\.com"
_LABEL = "[a-z][a-z0-9_-]{0,62}:[a-z0-9_-]{0,63}"  # as Google allows, in ASCII
_LEAST_BILLED = 10 * 2**20  # for a statement, and for each of its tables
_PORT = r"(:(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))?"
_HOST = rf"([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[::1\]){_PORT}"
# For each parameter of a URI its form, in words too.
_FORMS = {
    "dataset": (re.compile(r"[A-Za-z0-9_]{1,1024}"), "the name of a dataset, of letters, digits and _"),
    "location": (re.compile(r"[A-Za-z0-9-]{1,63}"), "a location of Google, such as EU or europe-west3"),
    "credentials_path": (  # and not another URI, or the key itself, as JSON or in base64
        re.compile(r"(?![A-Za-z][\w+.-]+:|e[\w+/]{200}|.*(//|:)[^/]*@)[^{}\"%]{1,4096}"),
        "the path of a file",
    ),
    "gcp_credentials": (re.compile(r"[A-Za-z0-9+/_=\s-]+"), "a key in base64"),
    "partition_by": (re.compile("day|month"), "day or month"),
    "partition_expiration_days": (re.compile(r"0*[1-9][0-9]{0,4}"), "a number of days from 1 to 99999"),
    "require_partition_filter": (re.compile("true|false"), "true or false"),
    "billing_project": (re.compile(_PROJECT_ID), "the id of a project"),
    "impersonate": (re.compile(_SERVICE_ACCOUNT), "the address of a service account"),
    "labels": (
        re.compile(rf"{_LABEL}(,{_LABEL}){{0,59}}"),
        "labels such as team:support,tier:bronze, of small letters, digits, - and _",
    ),
    "loader_file_format": (re.compile("|".join(form.value for form in LoaderFileFormat)), "parquet or jsonl"),
    "staging_dataset": (re.compile(r"[A-Za-z0-9_]{1,1024}"), "the name of a dataset, of letters, digits and _"),
    "maximum_bytes_billed": (re.compile(r"0*[1-9][0-9]{0,17}"), "a number of bytes"),
    "api_endpoint": (re.compile(rf"https?://{_HOST}(/[A-Za-z0-9._/-]*)?"), "a URL such as https://<host>"),
    "storage_endpoint": (re.compile(_HOST), "a host, with or without a port"),
}
_ALSO_CALLED = {"credentials_base64": "gcp_credentials"}  # by users of ingestr
_LOOPBACK = re.compile(r"http://(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?/?$")


class GorgiasBigQueryIOManager(dg.ConfigurableIOManagerFactory):
    """Merges sweeps, pandas DataFrames and Arrow tables into BigQuery.

    `bigquery` is a `BigQueryResource` of dagster-gcp that other assets use as well: its project, location and key serve
    wherever the IO manager has none of its own. `gcp_credentials` is a string or an `EnvVar`. Both are resource
    dependencies and no config fields, so that the key is in no snapshot, page or event of the IO manager's.
    """

    bigquery: dg.ResourceDependency[Any] = None  # type: ignore[assignment]  # Dagster types no default
    project: str | None = Field(
        default=None,
        description="The Google Cloud project that holds the tables, and pays for the jobs; by default that of "
        "`bigquery`.",
    )
    dataset: str | None = Field(
        default=None, description="The dataset of the tables; by default the last part of an asset's prefix."
    )
    location: str | None = Field(
        default=None, description="Where a missing dataset is created, EU for example; by default Google's own, US."
    )
    credentials_path: str | None = Field(
        default=None, description="File of a key, instead of application-default credentials."
    )
    gcp_credentials: dg.ResourceDependency[str] = None  # type: ignore[assignment]  # Dagster types no default
    impersonate: str | None = Field(
        default=None, description="Address of a service account to act as, with the credentials as its token creator."
    )
    billing_project: str | None = Field(
        default=None, description="The project in which jobs run and that pays for them; by default `project`."
    )
    maximum_bytes_billed: int | None = Field(
        default=None,
        description="A statement that would be billed for more bytes fails, at no cost; at least 10485760 (10 MB), the "
        "least that Google bills.",
    )
    labels: dict[str, str] | None = Field(
        default=None, description="Labels of each job, besides those of its run, asset and partition."
    )
    staging_dataset: str | None = Field(
        default=None,
        description="The dataset of staging tables, in the same location; by default that of the table.",
    )
    loader_file_format: str = Field(
        default="parquet", description="Format of the files that are loaded: parquet or jsonl."
    )
    partition_by: Literal["day", "month"] = Field(
        default="day",
        description="The length of a new table's partitions; month is for less than about 30,000 tickets a month.",
    )
    partition_expiration_days: int | None = Field(
        default=None,
        gt=0,
        le=99_999,
        description="For how many days BigQuery keeps a partition of a merged table after its day or month; by default "
        "for ever.",
    )
    require_partition_filter: bool = Field(
        default=False,
        description="Let BigQuery refuse queries of merged tables that have no condition on created_datetime. False "
        "leaves tables as they are.",
    )
    api_endpoint: str | None = Field(
        default=None,
        description="URL of a private or regional endpoint of the API, or of an emulator on loopback (http), "
        "which is sent no credentials.",
    )
    storage_endpoint: str | None = Field(
        default=None, description="Host of a private or regional endpoint, or of an emulator, to read frames from."
    )

    def __init__(self, **settings: Any) -> None:
        _check(settings)
        super().__init__(**settings)

    def create_io_manager(self, context: dg.InitResourceContext) -> MergingIOManager:  # noqa: ARG002
        return MergingIOManager(self.warehouse(), self.place())

    def place(self) -> Place:
        """Raises `WarehouseError` if no project is set."""
        return Place(
            "bigquery", BigQueryDialect.types, self.dataset, self._project(), needs_filter=self.require_partition_filter
        )

    def warehouse(self) -> BigQueryWarehouse:
        """Raises `WarehouseError` if there are no credentials, or a setting is not what it must be."""
        return BigQueryWarehouse(
            project=self._project(),
            credentials=self._credentials(),
            location=self.location or self._of_resource("location"),
            billing_project=self.billing_project,
            staging_dataset=self.staging_dataset,
            loader_file_format=LoaderFileFormat(self.loader_file_format),
            labels=self.labels or {},
            warn=dg.get_dagster_logger().warning,
            dataset_description="Gorgias helpdesk, kept by gorgias-assets",
            job_id_prefix=JOB_ID_PREFIX,
            maximum_bytes_billed=self.maximum_bytes_billed,
            api_endpoint=self.api_endpoint,
            storage_endpoint=self.storage_endpoint,
            layout=Layout(self.partition_by, self.partition_expiration_days, self.require_partition_filter),
        )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if name not in ("bigquery", "gcp_credentials"))

    def _project(self) -> str:
        if project := self.project or self._of_resource("project"):
            return project
        raise WarehouseError("BigQuery's tables need a project; set it in the IO manager, or in its BigQueryResource.")

    def _of_resource(self, name: str) -> str | None:
        if self.bigquery is None:
            return None
        try:
            value: str | None = getattr(self.bigquery, name)
        except AttributeError:  # Dagster gives a client in the place of a resource that is configured at launch
            raise WarehouseError(
                "The IO manager's bigquery must be a BigQueryResource of dagster-gcp with its settings, and none that "
                "is configured at launch."
            ) from None
        return value

    def _credentials(self) -> Credentials:
        if self.api_endpoint and not self.api_endpoint.startswith("https://"):
            if not _LOOPBACK.match(self.api_endpoint):
                raise WarehouseError(
                    "BigQuery's api_endpoint must use https; http is for an emulator on loopback only."
                )
            return AnonymousCredentials()
        credentials = self._own_credentials()
        return impersonated(credentials, self.impersonate) if self.impersonate else credentials

    def _own_credentials(self) -> Credentials:
        key = self.gcp_credentials or (None if self.credentials_path else self._of_resource("gcp_credentials"))
        if isinstance(key, dg.EnvVar):
            key = key.get_value() or ""
        if key:
            return credentials_of_base64(key)
        return credentials_of_file(self.credentials_path) if self.credentials_path else default_credentials()


def _check(settings: Mapping[str, Any]) -> None:
    """Raise `WarehouseError` on a setting that BigQuery would refuse in each job. Variables are read later."""
    most = settings.get("maximum_bytes_billed")
    if type(most) is int and most < _LEAST_BILLED:
        raise WarehouseError(
            f"maximum_bytes_billed is {most:,} bytes, but Google bills at least {_LEAST_BILLED:,} (10 MB) for each "
            "statement and table, so all would fail; set it to that or more."
        )
    for name in ("billing_project", "impersonate", "loader_file_format", "staging_dataset"):
        form, must_be = _FORMS[name]
        if type(value := settings.get(name)) is str and not form.fullmatch(value):
            raise WarehouseError(f"BigQuery's {name} must be {must_be}.")
    labels = settings.get("labels")
    form, must_be = _FORMS["labels"]
    given = ",".join(f"{name}:{value}" for name, value in labels.items()) if isinstance(labels, dict) else ""
    if labels and not form.fullmatch(given):
        raise WarehouseError(f"BigQuery's labels must be {must_be}.")


def from_uri(
    scheme: str,  # noqa: ARG001, there is one
    place: str,
    parameters: Sequence[tuple[str, str]],
    schema: str | None,
    default_schema: str,
) -> GorgiasBigQueryIOManager:
    """Return the IO manager of `bigquery://<project>`, with any of its settings as parameters. Raises `InvalidUri`."""
    project = _PROJECT.fullmatch(place)
    if not project:
        raise InvalidUri("The warehouse URI must name one project; expected bigquery://<project>?dataset=<dataset>.")
    settings: dict[str, Any] = {_ALSO_CALLED.get(name, name): value for name, value in parameters}
    if settings.keys() - _FORMS.keys() or len(settings) < len(parameters) or not all(settings.values()):
        raise InvalidUri(
            "The warehouse URI has a parameter that is unknown, empty or repeated; BigQuery's are "
            f"{', '.join(sorted(_FORMS))}."
        )
    settings["dataset"] = schema or settings.get("dataset", default_schema)
    for name, value in settings.items():
        form, must_be = _FORMS[name]
        if not form.fullmatch(value):
            raise InvalidUri(f"The warehouse URI's {name} must be {must_be}.")
    for name in {"maximum_bytes_billed", "partition_expiration_days"} & settings.keys():
        settings[name] = int(settings[name])
    if "require_partition_filter" in settings:
        settings["require_partition_filter"] = settings["require_partition_filter"] == "true"
    if "labels" in settings:
        pairs = [label.split(":") for label in settings["labels"].split(",")]
        settings["labels"] = dict(pairs)
        if len(settings["labels"]) < len(pairs):
            raise InvalidUri("The warehouse URI's labels name one label twice; give it one value.")
    try:
        return GorgiasBigQueryIOManager(project=project[1], **settings)
    except WarehouseError as error:
        raise InvalidUri(str(error)) from None
