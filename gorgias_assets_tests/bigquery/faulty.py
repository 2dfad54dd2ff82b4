"""A BigQuery that misbehaves as a test wants: a proxy on loopback in front of the emulator's REST API.

Another one grants permissions as Google does, over REST and for read sessions over gRPC.
"""

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import grpc


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, status: int, content: Any) -> Self:
        return cls(status, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(content).encode())


class Request:
    """A client's request, and BigQuery's answer, which is requested at most once."""

    def __init__(self, upstream: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self._upstream = upstream
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body.decode(errors='replace')}"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def answer(self) -> Answer:
        connection = http.client.HTTPConnection(self._upstream)
        kept = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
        try:
            connection.request(self.method, self.path, self.body or None, kept)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()


# The answer to a request; None breaks the connection.
Fault = Callable[[Request], Answer | None]


def refused(status: int, reason: str, message: str = "Please try again.") -> Fault:
    """Answer with Google's error."""
    errors = [{"reason": reason, "message": message, "domain": "global"}]
    return lambda _: Answer.of(status, {"error": {"code": status, "message": message, "errors": errors}})


def cut_off(request: Request) -> None:
    """Break the connection before the request arrives."""


def lost(request: Request) -> None:
    """Let the request have its effect, but break the connection before the answer arrives."""
    assert request.answer.status < 500


def hung(request: Request, until: float = 10) -> None:  # noqa: ARG001
    """Send nothing for so many seconds."""
    threading.Event().wait(until)


def altered(change: Callable[[Any], object]) -> Fault:
    """Return BigQuery's answer with a change to its JSON."""

    def fault(request: Request) -> Answer:
        content = json.loads(request.answer.body)
        change(content)
        return Answer.of(request.answer.status, content)

    return fault


def ended(reason: str, message: str = "It failed.") -> Fault:
    """Return a query job that has ended in an error without any effect; BigQuery does not know it."""
    error = {"reason": reason, "message": message}
    status = {"state": "DONE", "errorResult": error, "errors": [error]}
    return lambda request: Answer.of(200, request.json | {"status": status, "statistics": {"query": {}}})


class FaultyBigQuery:
    """A proxy that passes requests on while it is entered, except those that `befall` names."""

    def __init__(self, api_endpoint: str) -> None:
        self._upstream = urlsplit(api_endpoint).netloc
        self._faults: list[tuple[re.Pattern[str], Fault, list[None] | None]] = []
        self._lock = threading.Lock()
        self.requests: list[Request] = []

    def befall(self, requests: str, fault: Fault, times: int | None = 1) -> None:
        """Befall the next `times` requests, or all, in whose method, path and body the pattern is found."""
        self._faults.append((re.compile(requests, re.DOTALL), fault, None if times is None else [None] * times))

    def recover(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def received(self, requests: str) -> list[Request]:
        """Return the requests so far in which the pattern is found."""
        return [request for request in self.requests if re.search(requests, str(request), re.DOTALL)]

    @property
    def unused(self) -> list[str]:
        """Return the patterns of faults that have not befallen as many requests as they should."""
        return [pattern.pattern for pattern, _, left in self._faults if left]

    @property
    def api_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> Answer | None:
        with self._lock:
            self.requests.append(request)
            fault = self._fault_of(str(request))
        return fault(request) if fault else request.answer

    def _fault_of(self, request: str) -> Fault | None:
        for pattern, fault, left in self._faults:
            if (left is None or left) and pattern.search(request):
                if left:
                    left.pop()
                return fault
        return None

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):  # of a client that waited no longer
                    super().handle_one_request()

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = proxy.answer(Request(proxy._upstream, self.command, self.path, dict(self.headers), body))
                if answer is None:
                    self.close_connection = True
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


# The permissions of roles, as far as they matter here (cloud.google.com/bigquery/docs/access-control).
_READ_SESSIONS = {"bigquery.readsessions.create", "bigquery.readsessions.getData"}
ROLES = {
    "BigQuery Job User": {"bigquery.jobs.create"},
    "BigQuery Data Editor": {
        "bigquery.datasets.get",
        *(
            f"bigquery.tables.{action}"
            for action in ("create", "delete", "get", "getData", "list", "update", "updateData")
        ),
    },
    "BigQuery Read Session User": _READ_SESSIONS,
    "BigQuery User": {"bigquery.jobs.create", "bigquery.datasets.create", "bigquery.datasets.get", *_READ_SESSIONS},
}
# The permissions that requests need, by method, path and body. Whoever has created a job may get it and its results.
_PROJECT = "/bigquery/v2/projects/[^/]+"
_JOB = rf'POST {_PROJECT}/jobs[?].*"query": "'
_NEEDED = {
    rf"GET {_PROJECT}/datasets/\w+[?]": {"bigquery.datasets.get"},
    rf"POST {_PROJECT}/datasets[?]": {"bigquery.datasets.create"},
    rf"GET {_PROJECT}/datasets/\w+/tables/": {"bigquery.tables.get"},
    rf"POST {_PROJECT}/datasets/\w+/tables[?]": {"bigquery.tables.create"},
    rf'POST {_PROJECT}/datasets/\w+/tables[?].*"view":': {"bigquery.tables.getData"},
    rf"PATCH {_PROJECT}/datasets/\w+/tables/": {"bigquery.tables.get", "bigquery.tables.update"},
    rf"DELETE {_PROJECT}/datasets/\w+/tables/": {"bigquery.tables.delete"},
    rf"GET {_PROJECT}/(jobs|queries)/gorgias_": set(),
    "POST /upload/": {
        "bigquery.jobs.create",
        "bigquery.tables.create",
        "bigquery.tables.update",
        "bigquery.tables.updateData",
    },
    "PUT /upload/": set(),
    rf"{_JOB}(SELECT|WITH) ": {"bigquery.jobs.create", "bigquery.tables.getData"},
    rf"{_JOB}(MERGE|UPDATE|DELETE|INSERT) ": {
        "bigquery.jobs.create",
        "bigquery.tables.getData",
        "bigquery.tables.updateData",
    },
    rf"{_JOB}CREATE OR REPLACE VIEW ": {
        "bigquery.jobs.create",
        "bigquery.tables.create",
        "bigquery.tables.getData",
        "bigquery.tables.update",
    },
    rf"{_JOB}ALTER TABLE ": {"bigquery.jobs.create", "bigquery.tables.get", "bigquery.tables.update"},
    "/CreateReadSession": {"bigquery.readsessions.create", "bigquery.tables.getData"},
    "/ReadRows": {"bigquery.readsessions.getData"},
}


def permissions_for(request: str) -> set[str]:
    """Return Google's permissions for a request; of one that is not listed, none that anybody has."""
    found = [permissions for pattern, permissions in _NEEDED.items() if re.match(pattern, request, re.DOTALL)]
    return set().union(*found) if found else {f"a permission that is not listed, for {request[:200]}"}


class GuardedBigQuery(FaultyBigQuery):
    """A proxy that refuses each request for which a permission is not granted, and notes all that are needed."""

    def __init__(self, api_endpoint: str, storage_endpoint: str, granted: Collection[str]) -> None:
        super().__init__(api_endpoint)
        self._storage = storage_endpoint
        self.granted = set(granted)
        self.needed: set[str] = set()
        self.read_sessions = 0

    def answer(self, request: Request) -> Answer | None:
        denied = self.denied(str(request))
        return refused(403, "accessDenied", denied)(request) if denied else super().answer(request)

    def denied(self, request: str) -> str:
        """Return Google's message on a permission that is missing, or nothing."""
        needed = permissions_for(request)
        self.needed |= needed
        missing = sorted(needed - self.granted)
        return f"Access Denied: Project local: User does not have {missing[0]} permission." if missing else ""

    @property
    def storage_endpoint(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(self._storage)
        self._grpc = grpc.server(ThreadPoolExecutor(4), handlers=[_Storage(self, self._channel)])
        self._port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        return super().__enter__()

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._grpc.stop(None).wait()
        self._channel.close()
        super().__exit__(error_type, error, traceback)


class _Storage(grpc.GenericRpcHandler):
    """The Storage API behind a `GuardedBigQuery`. Messages are passed on as bytes."""

    def __init__(self, guard: GuardedBigQuery, channel: grpc.Channel) -> None:
        self._guard = guard
        self._channel = channel

    def service(self, call: Any) -> Any:
        if call.method.endswith("/CreateReadSession"):
            return grpc.unary_unary_rpc_method_handler(self._session(call.method))
        return grpc.unary_stream_rpc_method_handler(self._rows(call.method))

    def _session(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self._guard.read_sessions += 1
            self._refuse(method, context)
            answer: bytes = self._channel.unary_unary(method)(request)
            return answer

        return handle

    def _rows(self, method: str) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        def handle(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self._refuse(method, context)
            yield from self._channel.unary_stream(method)(request)

        return handle

    def _refuse(self, method: str, context: grpc.ServicerContext) -> None:
        if denied := self._guard.denied(method[method.rindex("/") :]):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, denied)
