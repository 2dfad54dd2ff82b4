"""A server of access tokens on loopback, and a key that asks it for them.

Clients that take no endpoint, as dagster-gcp's, ask for a token before they send anything to an emulator.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class _Tokens(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep standard error free of a line for each request."""


@contextmanager
def key_of_anybody() -> Iterator[str]:
    """Yield the key of a service account, in base64 as dagster-gcp takes it; its tokens are issued here."""
    with HTTPServer(("127.0.0.1", 0), _Tokens) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            key = new_key(f"http://127.0.0.1:{server.server_port}")
            yield base64.b64encode(json.dumps(key).encode()).decode()
        finally:
            server.shutdown()
            thread.join()


def new_key(issuer: str = "https://oauth2.googleapis.com") -> dict[str, str]:
    """Return a service account's key as Google gives it, but for a service account that does not exist."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "shop",
        "client_email": "dagster@shop.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": private.decode(),
        "token_uri": f"{issuer}/token",
    }
