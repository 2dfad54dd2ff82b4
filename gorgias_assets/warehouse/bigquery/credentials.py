"""Google's application-default credentials, those of a file, or a key in base64.

Credentials are passed as an object, never in an environment variable or a file that this package writes.
"""

import base64
import binascii
import json
import warnings
from pathlib import Path
from typing import Any

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from gorgias_assets.warehouse.tables import WarehouseError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def default_credentials() -> Credentials:
    """Return what Google's own tools use here: `gcloud auth application-default login`, a service account, …"""
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except GoogleAuthError:
        raise WarehouseError(
            "There are no Google credentials here; run 'gcloud auth application-default login', or name a key file "
            "by credentials_path in the warehouse URI."
        ) from None


def credentials_of_file(path: str) -> Credentials:
    """Read a service account's key, or a file of gcloud or workload identity federation. Raises `WarehouseError`."""
    try:
        key = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise WarehouseError(
            f"The credentials_path {path} cannot be read ({error.strerror}); correct it in the warehouse URI."
        ) from None
    return _credentials_of(key, f"The file {path}")


def credentials_of_base64(text: str) -> Credentials:
    """Read the content of such a file from base64. Raises `WarehouseError`."""
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise WarehouseError("gcp_credentials is no base64; set it to what 'base64 -w 0 <key file>' prints.") from None
    return _credentials_of(key, "The content of gcp_credentials")


def impersonated(source: Credentials, service_account: str) -> Credentials:
    """Return credentials of a service account that `source` may act as."""
    return impersonated_credentials.Credentials(source, service_account, _SCOPES)


def _credentials_of(key: bytes, source: str) -> Credentials:
    try:
        info: Any = json.loads(key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of keys from strangers; this is the operator's own
            return google.auth.load_credentials_from_dict(info, scopes=_SCOPES)[0]
    except (GoogleAuthError, ValueError, TypeError, AttributeError, KeyError):
        raise WarehouseError(
            f"{source} is no Google credential; download a key of the service account as JSON, or use "
            "'gcloud auth application-default login'."
        ) from None
