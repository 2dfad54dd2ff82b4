"""Failures on the way, with real certificates, proxies and names: what lasts is said at once, the rest retried."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gorgias_assets.api.budget import Budget
from gorgias_assets.api.client import GorgiasClient, GorgiasError, Rejected, Unavailable
from gorgias_assets.api.uri import GorgiasUri
from gorgias_assets_tests.api.clock import MovedClock
from gorgias_assets_tests.api.test_client import http_response

KEY = "7391840265917"
PASSWORD = "pw-of-the-proxy"
PATIENCE = 600.0
DAY = timedelta(days=1)
ANSWER = b"".join(http_response(b"{}"))
VARIABLES = (
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def listening(speak: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[int]]]:
    """Let `speak` answer each connection. Yield the port, and a list that grows by each connection."""
    connections: list[int] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                connections.append(1)
                with connection, suppress(OSError):
                    speak(connection)

    listener = socket.create_server(("127.0.0.1", 0))
    Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], connections
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def certificate_at(path: Path, host: str = "localhost", begins: timedelta = -DAY, ends: timedelta = DAY) -> Path:
    """Write a certificate for the host that is signed by itself, and its key."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now + begins, now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@contextmanager
def tls_server(certificate: Path, most: ssl.TLSVersion | None = None) -> Iterator[tuple[str, list[int]]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if most:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, most

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured, secured.makefile("rb") as lines:
            list(takewhile(lambda line: line.strip(), lines))
            secured.sendall(ANSWER)

    with listening(speak) as (port, connections):
        yield f"https://localhost:{port}/api", connections


@contextmanager
def proxy(status: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the URL of a proxy that answers each request to connect by this status."""

    def speak(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            list(takewhile(lambda line: line.strip(), lines))
            connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())

    with listening(speak) as (port, connections):
        yield f"http://ana:{PASSWORD}@localhost:{port}", connections


def ping(api_url: str, patience: float = PATIENCE) -> None:
    account = GorgiasUri(domain="mycompany", email="ana@shop.example", api_key=KEY)
    budget = Budget(clock=MovedClock())
    with closing(GorgiasClient(account, api_url=api_url, budget=budget, patience=patience)) as client:
        client.ping()


def refusal_of(api_url: str) -> str:
    return message_of(api_url, Rejected)


def message_of(api_url: str, kind: type[GorgiasError], patience: float = PATIENCE) -> str:
    with pytest.raises(kind) as caught:
        ping(api_url, patience)
    message = str(caught.value)
    assert KEY not in message
    assert PASSWORD not in message
    assert message.endswith(".")
    return message


def test_a_certificate_that_is_not_trusted_is_said_at_once(tmp_path: Path) -> None:
    with tls_server(certificate_at(tmp_path / "server.pem")) as (api_url, connections):
        message = refusal_of(api_url)
    assert "certificate of localhost is not trusted" in message
    assert "REQUESTS_CA_BUNDLE or SSL_CERT_FILE" in message
    assert len(connections) == 1


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_a_variable_names_is_trusted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_at(tmp_path / "server.pem")
    monkeypatch.setenv(name, str(certificate))
    with tls_server(certificate) as (api_url, _):
        ping(api_url)


def test_requests_ca_bundle_wins_over_ssl_cert_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_at(tmp_path / "server.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_at(tmp_path / "other.pem")))
    with tls_server(certificate) as (api_url, _):
        ping(api_url)


@pytest.mark.parametrize(
    ("host", "begins", "ends", "what"),
    [
        ("localhost", -2 * DAY, -DAY, "has expired; check this machine's clock"),
        ("localhost", DAY, 2 * DAY, "is not yet valid; check this machine's clock"),
        ("other.example", -DAY, DAY, "is another host's; correct the domain"),
    ],
)
def test_a_certificate_of_another_time_or_host_is_said_at_once(
    host: str, begins: timedelta, ends: timedelta, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_at(tmp_path / "server.pem", host, begins, ends)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_server(certificate) as (api_url, connections):
        assert f"the certificate of localhost {what}" in refusal_of(api_url)
    assert len(connections) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_a_server_of_an_old_tls_alone_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_at(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_server(certificate, ssl.TLSVersion.TLSv1_1) as (api_url, connections):
        assert "localhost and this machine agree on no version of TLS" in refusal_of(api_url)
    assert len(connections) == 1


def test_a_server_without_tls_is_said_at_once() -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(2**16)
        connection.sendall(ANSWER)

    with listening(speak) as (port, connections):
        assert "agree on no version of TLS" in refusal_of(f"https://localhost:{port}/api")
    assert len(connections) == 1


def test_a_connection_that_ends_in_the_handshake_is_tried_again() -> None:
    with listening(lambda connection: connection.close()) as (port, connections):
        assert "the connection failed" in message_of(f"https://localhost:{port}/api", Unavailable, 20)
    assert len(connections) > 1


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("missing.pem", "which does not exist"),
        ("empty", "a folder without certificates"),
        ("letter.pem", "which holds no certificates that can be read"),
    ],
)
def test_a_wrong_path_of_certificates_is_named_with_its_variable(
    name: str, file: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.pem").write_text("Dear shop\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, file)
    with tls_server(certificate_at(tmp_path / "server.pem")) as (api_url, connections):
        assert f"{name} names {file}, {what}" in refusal_of(api_url)
    assert len(connections) <= 1


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ("407 Proxy Authentication Required", "requires a user (status 407); set it in HTTPS_PROXY"),
        ("403 Forbidden", "refuses to connect (status 403)"),
    ],
)
def test_a_refusal_of_a_proxy_is_said_at_once(status: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(status) as (url, connections):
        monkeypatch.setenv("HTTPS_PROXY", url)
        assert f"the proxy localhost {what}" in refusal_of("https://mycompany.gorgias.com/api")
    assert len(connections) == 1


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable"])
def test_an_outage_behind_a_proxy_is_tried_again(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(status) as (url, connections):
        monkeypatch.setenv("HTTPS_PROXY", url)
        message_of("https://mycompany.gorgias.com/api", Unavailable, 20)
    assert len(connections) > 1


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:/host",
        "https://:3128",
        f"http://ana:{PASSWORD}@host:99999",
        f"http://ana:{PASSWORD}@a b:3",
        "http://[",
        "127.0.0.1:x",
        "odd://host",
        f"socks5://ana:{PASSWORD}@host:1080",
    ],
)
def test_a_wrong_url_of_a_proxy_is_said_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert "HTTPS_PROXY" in refusal_of("https://mycompany.gorgias.com/api")


def test_no_proxy_is_the_way_around_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_at(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", "http://[")
    monkeypatch.setenv("NO_PROXY", "localhost")
    with tls_server(certificate) as (api_url, _):
        ping(api_url)


def test_an_unknown_name_is_said_after_a_minute() -> None:
    assert "the name of something.invalid is unknown; correct the domain" in refusal_of("https://something.invalid/api")


def test_an_unknown_name_may_become_known_within_a_minute() -> None:
    assert "the name of something.invalid is unknown" in message_of("https://something.invalid/api", Unavailable, 20)


def test_an_unknown_name_of_a_proxy_is_told_from_that_of_gorgias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://ana:{PASSWORD}@something.invalid:3128")
    assert "the proxy something.invalid is unknown; correct HTTPS_PROXY" in refusal_of("https://x.gorgias.com/api")
