"""Who asks BigQuery: Google's application-default credentials, a file's, or a key in base64.

Credentials are passed as an object, never through an environment variable or a file of this project's.
"""

import base64
import binascii
import json
import warnings
from pathlib import Path
from typing import Any

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from gorgias_assets.warehouse.tables import WarehouseError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def default_credentials() -> Credentials:
    """What Google's own tools would use here: `gcloud auth application-default login`, a service account, …"""
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except GoogleAuthError:
        raise WarehouseError(
            "There are no Google credentials here; run 'gcloud auth application-default login', or name a key file "
            "by credentials_path in the warehouse URI."
        ) from None


def credentials_of_file(path: str) -> Credentials:
    """A service account's key, or what gcloud or a workload identity federation has written.

    Raises `WarehouseError`.
    """
    try:
        text = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise WarehouseError(
            f"The credentials_path {path} cannot be read ({error.strerror}); correct it in the warehouse URI."
        ) from None
    return _credentials_of(text, f"The file {path}")


def credentials_of_base64(text: str) -> Credentials:
    """The same file's content in base64, as dagster-gcp takes it. Raises `WarehouseError`."""
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise WarehouseError("gcp_credentials is no base64; set it to what 'base64 -w 0 <key file>' prints.") from None
    return _credentials_of(key, "What gcp_credentials holds")


def _credentials_of(text: bytes, where: str) -> Credentials:
    try:
        info: Any = json.loads(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for keys of strangers; this one is the operator's
            return google.auth.load_credentials_from_dict(info, scopes=_SCOPES)[0]
    except (GoogleAuthError, ValueError, TypeError, AttributeError, KeyError):
        raise WarehouseError(
            f"{where} is no Google credential; download a key of the service account as JSON, or use "
            "'gcloud auth application-default login'."
        ) from None
