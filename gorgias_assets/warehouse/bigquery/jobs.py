"""Running jobs in BigQuery: each once, again only where that can help, and with a bill.

A request that fails is made again, since each of them may be: a job's id is chosen here, so that a job which was
started by a request whose answer was lost is found by its id instead of being run twice
(cloud.google.com/bigquery/docs/running-jobs). A job that has ended in an error is run again, under another id, where
Google says that this can help (cloud.google.com/bigquery/docs/error-messages).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import sleep
from typing import IO, Any
from uuid import uuid4

import requests
import tenacity
from google.api_core import exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery

# All that Google's client raises.
GOOGLE_ERRORS = (GoogleAPICallError, exceptions.RetryError, GoogleAuthError, requests.RequestException)

_OUTAGES = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
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
# Several statements that change one table at the same time; their reasons are those of lasting errors.
_CROWDED = ("due to concurrent update", "Too many DML statements outstanding")
_CREDENTIALS = "Google does not accept the credentials; renew them, or name others by credentials_path."
_CROWD = "Too many statements change one table at the same time; run fewer at once, then run this again."
_OUTAGE = (
    "BigQuery could not be reached, or failed each time; check the network and Google's status page, then run this "
    "again. What was merged before is kept."
)
_MEANINGS = {
    "accessDenied": "Google refused access to BigQuery; grant these credentials the roles BigQuery Job User on the "
    "project, BigQuery Data Editor on the dataset, and to read frames also BigQuery Read Session User.",
    "accessNotConfigured": "The project does not use BigQuery's API; enable it in Google's console.",
    "billingNotEnabled": "The project has no billing account, without which BigQuery changes no table; give it one in "
    "Google's console.",
    "bytesBilledLimitExceeded": "A statement would be billed for more than maximum_bytes_billed, and so was not run; "
    "raise that in the warehouse URI, or materialise fewer days at once.",
    "invalid": "BigQuery does not take a column or a value that it was given; name columns in letters, digits and "
    "underscores, and compare their types with the table's.",
    "invalidQuery": "BigQuery cannot run a statement; correct the columns or the partition_expr that it is about.",
    "notFound": "BigQuery does not have what it was asked for; correct the project and the dataset in the warehouse "
    "URI.",
    "quotaExceeded": "A quota of BigQuery's is used up; wait until it is free again, a day at most, or ask for more in "
    "Google's console.",
    "stopped": "Somebody has cancelled the job; run this again.",
}
# What BigQuery says before it reads a row, and so without a value of one.
_HARMLESS = (
    "Access Denied:",
    "No matching signature",
    "Not found:",
    "Query exceeded limit",
    "Quota exceeded:",
    "Syntax error",
    "Unrecognized name",
)
_FIRST_LOOK, _LOOKS_EVERY = 0.1, 5.0  # seconds after which a job that runs is looked at, at first and at most


@dataclass
class Bill:
    """What jobs have cost: their ids, the bytes that Google bills, and milliseconds of slots."""

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
    """For how many seconds what failed is tried again, and within how many a single request must be answered."""

    seconds: float = 600
    answer_seconds: float = 120

    @property
    def retry(self) -> Retry:
        return Retry(_is_passing, initial=0.25, maximum=60, timeout=self.seconds)

    @property
    def arguments(self) -> dict[str, Any]:
        """What methods of Google's client are told; by themselves they retry ten minutes and wait for ever."""
        return {"retry": self.retry, "timeout": self.answer_seconds}


class Jobs:
    """Jobs of one client in one location. What they raise is among `GOOGLE_ERRORS`."""

    def __init__(
        self,
        client: bigquery.Client,
        location: str,
        *,
        labels: Mapping[str, str],
        bill: Bill,
        maximum_bytes_billed: int | None,
        patience: Patience,
    ) -> None:
        self._client = client
        self._location = location
        self._labels = dict(labels)
        self._bill = bill
        self._maximum_bytes_billed = maximum_bytes_billed
        self._patience = patience

    def query(self, statement: str) -> bigquery.QueryJob:
        """Run a statement to its end."""
        config = bigquery.QueryJobConfig(labels=self._labels, use_query_cache=False)
        if self._maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self._maximum_bytes_billed
        job: bigquery.QueryJob = self._run(
            lambda job_id: self._client.query(
                statement,
                job_config=config,
                job_id=job_id,
                location=self._location,
                job_retry=None,
                **self._patience.arguments,
            )
        )
        return job

    def load(self, file: IO[bytes], size: int, table: bigquery.TableReference, schema: list[Any]) -> None:
        """Load a Parquet file into a table, in the place of what it holds. Loading is free of charge."""
        config = bigquery.LoadJobConfig(
            labels=self._labels,
            schema=schema,
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        )
        config.parquet_options = bigquery.format_options.ParquetOptions()
        config.parquet_options.enable_list_inference = True
        upload = self._patience.retry(self._client.load_table_from_file)
        self._run(
            lambda job_id: upload(
                file,
                table,
                rewind=True,
                size=size,
                num_retries=0,  # of Google's own, which know of no rate limits
                job_id=job_id,
                job_config=config,
                location=self._location,
                timeout=self._patience.answer_seconds,
            )
        )

    def _run(self, start: Callable[[str], Any]) -> Any:
        """Run a job to its end, and another where it has ended in an error that passes; raise one that stays."""
        again = tenacity.Retrying(
            retry=tenacity.retry_if_result(_has_failed_for_now),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=60),
            stop=tenacity.stop_before_delay(self._patience.seconds),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        job = again(self._run_once, start)
        if job.error_result:
            raise job.exception()
        return job

    def _run_once(self, start: Callable[[str], Any]) -> Any:
        """A job that has ended, in an error or not.

        It is not waited for by its results: an error in the answer to that can be the job's or the request's.
        """
        job, seconds = self._started(start, f"gorgias_{uuid4().hex}"), _FIRST_LOOK
        while not job.done(**self._patience.arguments):
            sleep(seconds)
            seconds = min(1.5 * seconds, _LOOKS_EVERY)
        self._bill.add(job)
        return job

    def _started(self, start: Callable[[str], Any], job_id: str) -> Any:
        """The job of this id, which may have been started by a request whose answer was lost."""
        try:
            return start(job_id)
        except exceptions.Conflict:
            # What has just been started is not always found at once (github.com/googleapis/python-bigquery/issues/2134)
            return self._client.get_job(
                job_id,
                location=self._location,
                retry=self._patience.retry.with_predicate(_is_passing_or_not_found),
                timeout=self._patience.answer_seconds,
            )


def meaning(error: BaseException | None) -> str:
    """One sentence on what is wrong and what to do; BigQuery's own words only where they hold no row's value."""
    if isinstance(error, exceptions.RetryError):
        error = error.cause
    reason, said = _told(error)
    if isinstance(error, exceptions.Unauthorized) or (isinstance(error, GoogleAuthError) and not _is_passing(error)):
        return _CREDENTIALS
    if _is_crowded(said):
        return _CROWD
    if not isinstance(error, GoogleAPICallError) or reason in _PASSING_REASONS or (not reason and _is_passing(error)):
        return _OUTAGE
    what = _MEANINGS.get(reason, f"BigQuery refused what it was asked ({reason or type(error).__name__}).")
    return f"{what} BigQuery says: {said}" if said.startswith(_HARMLESS) else what


def _has_failed_for_now(job: Any) -> bool:
    error = job.error_result or {}
    return error.get("reason") in _PASSING_REASONS or _is_crowded(error.get("message", ""))


def _is_crowded(said: str) -> bool:
    return any(words in said for words in _CROWDED)


def _is_passing(error: BaseException) -> bool:
    """Whether a request that has failed may be answered later."""
    if isinstance(error, requests.exceptions.SSLError):
        return False
    is_told_so = isinstance(error, GoogleAuthError) and error.retryable
    return is_told_so or isinstance(error, _OUTAGES) or _told(error)[0] in _PASSING_REASONS


def _is_passing_or_not_found(error: BaseException) -> bool:
    return isinstance(error, exceptions.NotFound) or _is_passing(error)


def _told(error: BaseException | None) -> tuple[str, str]:
    """The reason and the message in Google's error, each empty where there is none; gRPC has classes for reasons."""
    details = error.errors if isinstance(error, GoogleAPICallError) else ()
    first = next((detail for detail in details if isinstance(detail, dict)), {})
    reason = first.get("reason") or ("accessDenied" if isinstance(error, exceptions.PermissionDenied) else "")
    return str(reason), str(first.get("message", ""))
