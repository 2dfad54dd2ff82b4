"""The HTTP in front of an account: authentication, the bucket, faults, and a log of the requests."""

import base64
import contextlib
import gzip
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.bucket import Bucket
from gorgias_assets.sandbox.endpoints import Answer, answer
from gorgias_assets.sandbox.faults import HTML, Faults, refusal
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.statistics import PATH as STATISTICS
from gorgias_assets.sandbox.statistics import answer_statistics

CALL_LIMIT = "X-Gorgias-Account-Api-Call-Limit"
UNLIMITED = "1/100000"
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
COOKIE = "session=of-no-use; Path=/"
MISDIRECTED = Answer(421, b"This host is not served here.", content_type="text/plain")


@dataclass
class Request:
    """A request, in order of arrival. `status` is 0 until it is answered, and stays 0 if the connection was reset."""

    method: str
    path: str
    query: str
    headers: Message = field(default_factory=Message, repr=False)
    body: bytes = field(default=b"", repr=False)
    started: float = field(default_factory=time.monotonic)
    status: int = 0

    @property
    def cookie(self) -> str | None:
        """Return the cookies that the client sent back."""
        return self.headers["Cookie"]

    @property
    def params(self) -> dict[str, str]:
        """Return the parameters; one that was sent several times is joined with commas."""
        sent: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            sent[name] = f"{sent[name]},{value}" if name in sent else value
        return sent


class Sandbox:
    """A server of an account, on a free port of loopback for as long as the `with` block lasts.

    A `shop` makes the account follow real time: it lives on to the present before each request. Without one, time moves
    only when a caller moves it. `after_page` is called when a page has been read and before it is sent, with no lock
    held: the next page shows its changes, and this one does not.

    - `clock_offset`: how far the `Date` of answers lies after the account's time.
    - `certificate`: a PEM file of a certificate and its key, to serve HTTPS.

    Only requests to its own host are answered: no name of somebody else's leads a browser to it.
    """

    def __init__(
        self,
        account: Account,
        bucket: Bucket | None = None,
        shop: Life | None = None,
        port: int = 0,
        gzip: bool = True,
        latency: float = 0.0,
        unknown_domain: bool = False,
        clock_offset: timedelta = timedelta(0),
        certificate: Path | None = None,
    ) -> None:
        self.account, self.bucket, self.shop = account, bucket, shop
        self.gzip, self.latency, self.unknown_domain = gzip, latency, unknown_domain
        self.clock_offset, self.certificate = clock_offset, certificate
        self.requests: list[Request] = []
        self.faults = Faults()
        self.after_page: Callable[[Request], object] | None = None
        self._credentials = "Basic " + base64.b64encode(f"{account.email}:{account.api_key}".encode()).decode()
        self._server = Server(self, port)

    @property
    def api_url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/api"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def now(self) -> datetime:
        """Return the time as answers give it."""
        return self.account.now + self.clock_offset

    @property
    def uri(self) -> str:
        key, email = quote(self.account.api_key, safe=""), quote(self.account.email, safe="")
        return f"gorgias://{self.account.domain}?api_key={key}&email={email}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def respond(self, request: Request, headers: Message) -> Answer:
        """Return the answer, after everything that can come between it and the request."""
        self.requests.append(request)
        due = self._answered(request, headers) if self._is_own(headers.get_all("Host", [])) else MISDIRECTED
        request.status = due.status
        return due

    def _is_own(self, hosts: list[str]) -> bool:
        usual = 443 if self.certificate else 80
        named = {f"{name}:{self.port}" for name in OWN_NAMES} | (set(OWN_NAMES) if self.port == usual else set())
        return len(hosts) == 1 and hosts[0].strip().lower() in named

    def _answered(self, request: Request, headers: Message) -> Answer:
        name = CALL_LIMIT.lower() if len(self.requests) % 2 else CALL_LIMIT
        if self.shop:
            self.shop.live(until=datetime.now(UTC))
        due = self.faults.befall(self._due(request, headers), request.path, request.params)
        if self.after_page and due.is_page:
            self.after_page(request)
        if not self.unknown_domain:
            due = replace(due, headers={name: self._calls(), **due.headers})
        packs = self.gzip and "gzip" in headers.get("Accept-Encoding", "")
        if packs and due.body and not due.bare and not due.headers.keys() & {"Content-Encoding", "Transfer-Encoding"}:
            due = replace(due, body=gzip.compress(due.body, 1), headers={**due.headers, "Content-Encoding": "gzip"})
        return due

    def _due(self, request: Request, headers: Message) -> Answer:
        if self.unknown_domain:
            return Answer(404, HTML, content_type="text/html")
        if self.bucket and not self.bucket.take():
            return replace(refusal(429), headers={"Retry-after": str(self.bucket.retry_after)})
        if headers.get("Authorization") != self._credentials:
            return refusal(401)
        if request.method == "POST" and request.path.rstrip("/") == STATISTICS:
            return answer_statistics(self.account, request.query, request.body)
        if request.method != "GET":
            return refusal(405)
        return answer(self.account, request.path, request.query)

    def _calls(self) -> str:
        return f"{self.bucket.used}/{self.bucket.limit}" if self.bucket else UNLIMITED


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Connection)
        if sandbox.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sandbox.certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        """Bind without http.server's look-up of a name, which can take seconds."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        opened, address = super().get_request()
        self._open.add(opened)
        return opened, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close the connections that clients keep alive; they would outlive the server otherwise."""
        for opened in self._open.copy():
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """One connection of a client, kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def respond(self) -> None:
        url = urlsplit(self.path)
        request = Request(self.command, url.path, url.query, self.headers, self._body())
        due = self.server.sandbox.respond(request, self.headers)
        time.sleep(due.delay + self.server.sandbox.latency)
        has_its_length = not due.bare and not due.headers.keys() & {"Content-Length", "Transfer-Encoding"}
        self.close_connection |= self.command not in ("GET", "POST") or due.sent < 1 or not has_its_length
        if due.status == 0:
            self._reset()
            return
        self.wfile.write((b"" if due.bare else self._head(due)) + due.body[: int(len(due.body) * due.sent)])

    def _body(self) -> bytes:
        """Read the body of a POST, without which the connection cannot be used again."""
        length = self.headers.get("Content-Length", "") if self.command == "POST" else ""
        return self.rfile.read(int(length)) if length.isdigit() else b""

    def _head(self, due: Answer) -> bytes:
        interim = [] if due.interim is None else [status_line(due.interim), ""]
        date = format_datetime(self.server.sandbox.now, usegmt=True)
        length = None if due.status == 204 else len(due.body)
        headers = {"Date": date, "Content-Type": due.content_type, "Content-Length": length, "Set-Cookie": COOKIE}
        lines = [f"{name}: {value}" for name, value in {**headers, **due.headers}.items() if value is not None]
        return "\r\n".join([*interim, status_line(due.status), *lines, "", ""]).encode()

    do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815, http.server's names

    def log_message(self, *_: Any) -> None:
        """Write nothing to stderr: the log is `Sandbox.requests`."""

    def _reset(self) -> None:
        """Close without lingering, so that the client sees a reset and not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        self.close_connection = True


def status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"
