"""Jobs in BigQuery, with a bill: each runs once, and again only if that can help.

A failed request is repeated. A job's id is chosen before the request, so a job whose answer was lost is found by its id
and not run twice (cloud.google.com/bigquery/docs/running-jobs). Google's client does that for queries, but not for
loads. A job that ended in an error is run again, under another id, if Google's documentation says that this can help
(cloud.google.com/bigquery/docs/error-messages).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from time import sleep
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa
import tenacity
from google.api_core import exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.cloud import bigquery
from requests.exceptions import ChunkedEncodingError, RequestException, SSLError, Timeout
from requests.exceptions import ConnectionError as NoConnection

from gorgias_assets.warehouse.bigquery import limits
from gorgias_assets.warehouse.bigquery.load_files import LoaderFileFormat
from gorgias_assets.warehouse.tables import WarehouseError

# All that Google's client raises.
GOOGLE_ERRORS = (GoogleAPICallError, exceptions.RetryError, GoogleAuthError, RequestException)

_OUTAGES = (
    NoConnection,
    Timeout,
    ChunkedEncodingError,
    TransportError,
    exceptions.TooManyRequests,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.ServiceUnavailable,
    exceptions.GatewayTimeout,
)
_PASSING_REASONS = {
    "backendError",
    "badGateway",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "tableUnavailable",
}
# Messages if several statements change one table at the same time. Their reasons are those of lasting errors.
_CROWDED = ("due to concurrent update", "Too many DML statements outstanding")
_CREDENTIALS = "Google rejected the credentials; renew them, or name others by credentials_path."
_CROWD = "Too many statements change one table at the same time; run fewer at once, then re-run."
_OUTAGE = (
    "BigQuery could not be reached, or failed each time; check the network and Google's status page, then re-run. "
    "Merged rows are kept."
)
_MEANINGS = {
    "accessDenied": "Google refused access to BigQuery; grant these credentials the roles BigQuery Job User on the "
    "project that pays, and BigQuery Data Editor on the dataset.",
    "accessNotConfigured": "BigQuery's API is off in the project; enable it in Google's console.",
    "billingNotEnabled": "The project has no billing account, which BigQuery needs to change tables; add one in "
    "Google's console.",
    "bytesBilledLimitExceeded": "A statement was not run, since it would be billed for more than maximum_bytes_billed; "
    "raise that in the warehouse URI, or materialize fewer days at once.",
    "invalid": "BigQuery rejected a column or a value; name columns in letters, digits and underscores, and compare "
    "their types with the table's.",
    "invalidQuery": "BigQuery cannot run a statement; correct the columns or the partition_expr in it.",
    "notFound": "BigQuery did not find something; correct the project and the dataset in the warehouse URI.",
    "quotaExceeded": "A quota of BigQuery is used up; wait until it is free again, a day at most, or request more in "
    "Google's console.",
    "stopped": "Somebody cancelled the job; re-run.",
}
# Advice on refused access, by what Google's message names.
_REFUSALS = {
    "row access polic": "The table has row-level security, and changing it takes access to all rows; grant these "
    "credentials a row access policy with FILTER USING (TRUE).",
    "policy tag": "A column has a policy tag; grant these credentials the role Fine-Grained Reader for it.",
    "VPC Service Controls": "A perimeter of VPC Service Controls refused access to BigQuery; let this project in, or "
    "set api_endpoint and storage_endpoint to restricted endpoints.",
    "bigquery.jobs.create": "Google refused to run a job; grant these credentials the role BigQuery Job User on the "
    "project that pays.",
    "bigquery.datasets.create": "Google refused to create the dataset; create it by 'bq mk', or grant these "
    "credentials the role BigQuery User on the project.",
    "bigquery.readsessions": "Google refused a read session; grant these credentials the role BigQuery Read Session "
    "User on the project that pays.",
    "bigquery.datasets.": "Google refused access to the dataset; grant these credentials the role BigQuery Data "
    "Editor on it.",
    "bigquery.tables.": "Google refused access to a table; grant these credentials the role BigQuery Data Editor on "
    "the dataset.",
    "permission to query table": "Google refused access to a table; grant these credentials the role BigQuery Data "
    "Editor on the dataset.",
}
_IMPERSONATION = (
    "Google refused to impersonate the service account; grant the role Service Account Token Creator on it to these "
    "credentials, and correct impersonate in the warehouse URI."
)
_PASSING_MEANINGS = ("quotaExceeded", "stopped")  # some quotas are per minute
# The beginnings of messages from before BigQuery reads a row, which hold no row's value.
_HARMLESS = (
    "Access Denied:",
    "Already Exists:",
    "Billing has not been enabled",
    "Cannot query over table",
    "Column name",
    "Exceeded rate limits:",
    "Function not found:",
    "No matching signature",
    "Not found:",
    "Query column",
    "Query exceeded limit",
    "Quota exceeded:",
    "Request is prohibited by organization's policy",
    "Resources exceeded during query execution",
    "Syntax error",
    "The query is too large",
    "UPDATE/MERGE must match at most one source row",
    "Unrecognized name",
    "VPC Service Controls:",
    "Value has type",
)
_MOST_SHOWN = 500  # letters of a message
_FIRST_LOOK, _LOOKS_EVERY = 0.1, 5.0  # seconds between looks at a running job, at first and at most


@dataclass
class Bill:
    """The costs of jobs: their ids, the bytes that Google bills, and milliseconds of slots."""

    jobs: list[str] = field(default_factory=list)
    bytes_billed: int = 0
    slot_milliseconds: int = 0

    def add(self, job: Any) -> None:
        self.jobs.append(job.job_id)
        if isinstance(job, bigquery.QueryJob):
            self.bytes_billed += job.total_bytes_billed or 0
            self.slot_milliseconds += job.slot_millis or 0


@dataclass(frozen=True)
class Patience:
    """For how many seconds a failure is retried, and within how many a single request must be answered."""

    seconds: float = 600
    answer_seconds: float = 120

    @property
    def retry(self) -> Retry:
        return Retry(_is_passing, initial=0.25, maximum=60, timeout=self.seconds)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments for methods of Google's client, whose own defaults retry for ten minutes and wait for ever."""
        return {"retry": self.retry, "timeout": self.answer_seconds}


class Jobs:
    """Jobs of one client in one location. A job that failed raises `WarehouseError`, a request `GOOGLE_ERRORS`."""

    def __init__(
        self,
        client: bigquery.Client,
        location: str,
        *,
        id_prefix: str,
        labels: Mapping[str, str],
        bill: Bill,
        maximum_bytes_billed: int | None,
        loader_file_format: LoaderFileFormat,
        patience: Patience,
    ) -> None:
        self._client = client
        self._location = location
        self._id_prefix = id_prefix
        self._labels = dict(labels)
        self._bill = bill
        self._maximum_bytes_billed = maximum_bytes_billed
        self._loader_file_format = loader_file_format
        self._patience = patience

    def query(self, statement: str) -> bigquery.QueryJob:
        """Run a statement to its end."""
        limits.check_statement(statement)
        config = bigquery.QueryJobConfig(labels=self._labels, use_query_cache=False)
        if self._maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self._maximum_bytes_billed
        job: bigquery.QueryJob = self._run(
            lambda: self._client.query(
                statement,
                job_config=config,
                job_id_prefix=self._id_prefix,
                location=self._location,
                job_retry=None,
                **self._patience.arguments,
            )
        )
        return job

    def load(self, rows: pa.Table, table: bigquery.TableReference, schema: list[Any]) -> None:
        """Replace the rows of a table. Loading is free of charge."""
        with TemporaryFile() as file:
            self._loader_file_format.write(rows, file)
            self._load(file, file.tell(), table, schema)

    def _load(self, file: IO[bytes], size: int, table: bigquery.TableReference, schema: list[Any]) -> None:
        config = bigquery.LoadJobConfig(
            labels=self._labels,
            schema=schema,
            source_format=self._loader_file_format.source_format,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        )
        if self._loader_file_format is LoaderFileFormat.PARQUET:
            config.parquet_options = bigquery.format_options.ParquetOptions()
            config.parquet_options.enable_list_inference = True
        upload = self._patience.retry(self._client.load_table_from_file)

        def start() -> Any:
            job_id = f"{self._id_prefix}{uuid4()}"
            try:
                return upload(
                    file,
                    table,
                    rewind=True,
                    size=size,
                    num_retries=0,  # Google's own retries do not cover rate limits
                    job_id=job_id,
                    job_config=config,
                    location=self._location,
                    timeout=self._patience.answer_seconds,
                )
            except exceptions.Conflict:  # the answer to an earlier upload was lost
                return self._started(job_id)

        self._run(start)

    def _run(self, start: Callable[[], Any]) -> Any:
        """Run a job to its end, and another if it ended in a passing error. Raise `WarehouseError` if it has failed."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_result(_has_failed_for_now),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=60),
            stop=tenacity.stop_before_delay(self._patience.seconds),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        job = again(self._run_once, start)
        if job.error_result:
            raise fault(job.exception(), job)
        return job

    def _run_once(self, start: Callable[[], Any]) -> Any:
        """Start a job and return it when it has ended, in an error or not.

        It is not waited for by requesting its results: an error in their answer can be the job's or the request's.
        """
        job, seconds = start(), _FIRST_LOOK
        while not job.done(**self._patience.arguments):
            sleep(seconds)
            seconds = min(1.5 * seconds, _LOOKS_EVERY)
        self._bill.add(job)
        return job

    def _started(self, job_id: str) -> Any:
        """Return a job that was just started. It is not always found at once.

        See github.com/googleapis/python-bigquery/issues/2134.
        """
        return self._client.get_job(
            job_id,
            location=self._location,
            retry=self._patience.retry.with_predicate(_is_passing_or_not_found),
            timeout=self._patience.answer_seconds,
        )


def fault(error: BaseException | None, job: Any = None) -> WarehouseError:
    """Return an error on what is wrong and what to do, with a link to the job that failed, if it was one.

    BigQuery's own message is in it only if that holds no row's value. A cause that is not known may pass.
    """
    if isinstance(error, exceptions.RetryError):
        error = error.cause
    reason, message = _reason_and_message(error)
    sentence, passes = _verdict(error, reason, message)
    parts = [sentence]
    if isinstance(error, GoogleAPICallError) and reason:
        parts.append(f"Google's reason: {reason}.")
    if message.startswith(_HARMLESS):
        parts.append(f"Google's message: {message.splitlines()[0][:_MOST_SHOWN]}")
    if job is not None:
        parts.append(f"Job {job.job_id}: {_page_of(job)}")
    return WarehouseError(" ".join(parts), passes=passes)


def _verdict(error: BaseException | None, reason: str, message: str) -> tuple[str, bool]:
    """Return the sentence on an error, and if it may pass."""
    if isinstance(error, RefreshError) and "impersonated credentials" in str(error):
        return _IMPERSONATION, False
    if isinstance(error, exceptions.Unauthorized) or (isinstance(error, GoogleAuthError) and not _is_passing(error)):
        return _CREDENTIALS, False
    if _is_crowded(message):
        return _CROWD, True
    if not isinstance(error, GoogleAPICallError) or reason in _PASSING_REASONS or (not reason and _is_passing(error)):
        return _OUTAGE, not isinstance(error, SSLError)
    if reason == "accessDenied":
        advice = (advice for named, advice in _REFUSALS.items() if named in message)
        return next(advice, _MEANINGS[reason]), False
    if reason in _MEANINGS:
        return _MEANINGS[reason], reason in _PASSING_MEANINGS
    return f"BigQuery rejected a request{'' if reason else f' ({type(error).__name__})'}.", True


def _page_of(job: Any) -> str:
    """Return the address of the job's page in Google's console."""
    return (
        f"https://console.cloud.google.com/bigquery?project={job.project}"
        f"&j=bq:{job.location}:{job.job_id}&page=queryresults"
    )


def needs_billing(error: GoogleAPICallError) -> bool:
    """Return True if BigQuery refused a request because the project has no billing account."""
    reason, message = _reason_and_message(error)
    return reason == "billingNotEnabled" or "sandbox mode" in message


def _has_failed_for_now(job: Any) -> bool:
    error = job.error_result or {}
    return error.get("reason") in _PASSING_REASONS or _is_crowded(error.get("message", ""))


def _is_crowded(message: str) -> bool:
    return any(text in message for text in _CROWDED)


def _is_passing(error: BaseException) -> bool:
    """Return True if a failed request may succeed later."""
    if isinstance(error, SSLError):
        return False
    if isinstance(error, GoogleAuthError) and error.retryable:
        return True
    return isinstance(error, _OUTAGES) or _reason_and_message(error)[0] in _PASSING_REASONS


def _is_passing_or_not_found(error: BaseException) -> bool:
    return isinstance(error, exceptions.NotFound) or _is_passing(error)


def _reason_and_message(error: BaseException | None) -> tuple[str, str]:
    """Return the reason and the message in Google's error, each empty if missing. gRPC has classes for reasons."""
    details = error.errors if isinstance(error, GoogleAPICallError) else ()
    first = next((detail for detail in details if isinstance(detail, dict)), {})
    reason = first.get("reason") or ("accessDenied" if isinstance(error, exceptions.PermissionDenied) else "")
    return str(reason), str(first.get("message", ""))
