"""A BigQuery that misbehaves as a test wants: a proxy on loopback in front of the emulator's REST API."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


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
