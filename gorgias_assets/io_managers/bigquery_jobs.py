"""Running jobs in BigQuery: each once, again only where that can help, and with a bill.

A job's id is chosen here. When a connection breaks, the job that may have started is looked up by its id instead of
being run twice (cloud.google.com/bigquery/docs/running-jobs). A job that has ended in an error is run again, under
another id, where Google says that this can help (cloud.google.com/bigquery/docs/error-messages).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import uuid4

import requests
import tenacity
from google.api_core.exceptions import Conflict, Forbidden, GoogleAPICallError, NotFound, RetryError, ServerError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import bigquery

# All that Google's client raises.
GOOGLE_ERRORS = (GoogleAPICallError, GoogleAuthError, RetryError, requests.RequestException)

_BROKEN = (requests.ConnectionError, requests.Timeout, ServerError, RetryError, TransportError)
_PASSING_REASONS = {
    "backendError",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "tableUnavailable",
}
# Several statements that change one table at the same time; their reasons are those of lasting errors.
_CROWDED = ("due to concurrent update", "Too many DML statements outstanding")
# What BigQuery says of a statement before it reads a row, and so without a value of one.
_HARMLESS = ("Unrecognized name", "Syntax error", "No matching signature", "Query exceeded limit", "Not found:")


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


class Jobs:
    """Jobs of one client in one location. A job is tried again for so many seconds of `patience`.

    What they raise is among `GOOGLE_ERRORS`.
    """

    def __init__(
        self,
        client: bigquery.Client,
        location: str,
        *,
        labels: Mapping[str, str],
        bill: Bill,
        maximum_bytes_billed: int | None,
        patience: float,
    ) -> None:
        self._client = client
        self._location = location
        self._labels = dict(labels)
        self._bill = bill
        self._maximum_bytes_billed = maximum_bytes_billed
        self._patience = patience

    def query(self, statement: str) -> tuple[bigquery.QueryJob, Any]:
        """Run a statement to its end; the job and its rows."""
        config = bigquery.QueryJobConfig(labels=self._labels, use_query_cache=False)
        if self._maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self._maximum_bytes_billed
        return self._run(
            lambda job_id: self._client.query(
                statement, job_config=config, job_id=job_id, location=self._location, job_retry=None
            )
        )

    def load(self, file: IO[bytes], size: int, table: str, schema: list[bigquery.SchemaField]) -> None:
        """Load a Parquet file into a table, in the place of what it holds. Loading is free of charge."""
        config = bigquery.LoadJobConfig(
            labels=self._labels,
            schema=schema,
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        )
        config.parquet_options = bigquery.format_options.ParquetOptions()
        config.parquet_options.enable_list_inference = True
        self._run(
            lambda job_id: self._client.load_table_from_file(
                file, table, rewind=True, size=size, job_id=job_id, job_config=config, location=self._location
            )
        )

    def _run(self, start: Callable[[str], Any]) -> tuple[Any, Any]:
        """Start a job, wait for its end, and start another where it ended in an error that passes."""
        job_id, job, ended, result = _new_id(), None, None, None
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_passing),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=60),
            stop=tenacity.stop_after_delay(self._patience),
            reraise=True,
        ):
            with attempt:
                job = job or self._started(start, job_id)
                try:
                    result = job.result()
                finally:
                    if job.state == "DONE":
                        self._bill.add(job)
                        ended, job, job_id = job, None, _new_id()
        return ended, result

    def _started(self, start: Callable[[str], Any], job_id: str) -> Any:
        """The job of this id, which an attempt may have started whose answer was lost."""
        try:
            return start(job_id)
        except (Conflict, *_BROKEN) as error:
            try:
                return self._client.get_job(job_id, location=self._location)
            except NotFound:
                raise error from None


def meaning(error: Exception) -> str:
    """One sentence on what is wrong, one on what to do; BigQuery's own words only where they hold no row's value."""
    reason = _reason(error)
    if isinstance(error, GoogleAuthError):
        return "Google does not accept the credentials; renew them, or name others by credentials_path."
    if isinstance(error, Forbidden) and reason == "accessDenied":
        return (
            "Google refused access to BigQuery; grant these credentials the roles BigQuery Job User on the project and "
            "BigQuery Data Editor on the dataset."
        )
    if isinstance(error, GoogleAPICallError):
        said = error.message if str(error.message).startswith(_HARMLESS) else ""
        return f"BigQuery refused what it was asked ({reason or type(error).__name__}). {said}".rstrip()
    return "BigQuery could not be reached; check the network, then run this again."


def _new_id() -> str:
    return f"gorgias_{uuid4().hex}"


def _is_passing(error: BaseException) -> bool:
    return (
        isinstance(error, _BROKEN)
        or _reason(error) in _PASSING_REASONS
        or (isinstance(error, GoogleAPICallError) and any(words in str(error) for words in _CROWDED))
    )


def _reason(error: BaseException) -> str:
    details = error.errors if isinstance(error, GoogleAPICallError) else ()
    return str(next((detail.get("reason", "") for detail in details if isinstance(detail, dict)), ""))
