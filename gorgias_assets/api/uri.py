"""The account's address and credentials, from one URI.

`gorgias://<domain>?api_key=<api-key>&email=<email>`. The key leaves this module only inside a request's Authorization
header: it has no repr and appears in no error.
"""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

EXPECTED_FORM = "gorgias://<domain>?api_key=<api-key>&email=<email>"
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.gorgias\.com)?", re.ASCII | re.IGNORECASE)
_API_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?"
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,254}}$)({_LABEL}\.)*{_LABEL}\.?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class InvalidUri(ValueError):
    """A URI that cannot be used; one sentence that names the mistake and the expected form, never a value."""


@dataclass(frozen=True)
class GorgiasUri:
    """A Gorgias account: its subdomain of gorgias.com, a user's e-mail and that user's API key."""

    domain: str
    email: str
    api_key: str = field(repr=False)

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read `gorgias://<domain>?api_key=<api-key>&email=<email>`.

        Values are percent-decoded, except that `+` stays a plus sign (as in `ana+shop@example.com`); the order of the
        parameters is free; `<domain>.gorgias.com` is accepted for `<domain>`; blanks and line ends around the URI are
        dropped. Raise `InvalidUri`.
        """
        uri = uri.strip()
        if _CONTROL.search(uri):
            raise _invalid("has a control character or a byte that is not UTF-8")
        parts = _split(uri)
        if parts.netloc.lower() in ("", ".gorgias.com"):
            raise _invalid("has no domain")
        if "#" in uri:
            raise _invalid("has a # in it, which must be written %23")
        domain = _DOMAIN.fullmatch(parts.netloc)
        if not domain or parts.path.strip("/"):
            raise _invalid("must name the account by its subdomain of gorgias.com alone, such as 'mycompany'")
        parameters = _parameters(parts.query)
        return cls(domain=domain[1].lower(), email=parameters["email"], api_key=parameters["api_key"])

    @property
    def api_url(self) -> str:
        """The base URL of the account's REST API, without a slash at the end."""
        return f"https://{self.domain}.gorgias.com/api"


def check_api_url(api_url: str) -> str:
    """Return `api_url` without a slash at the end.

    Raise `InvalidUri` if the key could be read on the way there, or if no request can ever be made of it.
    """
    match = _API_URL.fullmatch(api_url)
    if not match or not _is_port(match["port"]) or not _is_host(match["host"]):
        raise InvalidUri("The Gorgias API URL must look like https://<host>/api, without user, query or fragment.")
    if match["scheme"] == "http" and not _is_loopback(match["host"].strip("[]")):
        raise InvalidUri("The Gorgias API URL must use https; plain http is for a simulated account on loopback only.")
    return api_url.rstrip("/")


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise _invalid("is malformed") from None
    if parts.scheme != "gorgias":
        raise _invalid("must begin with gorgias://")
    return parts


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise _invalid("has bytes that are not UTF-8, or too many parameters") from None
    parameters = dict(pairs)
    if parameters.keys() - {"api_key", "email"}:
        raise _invalid("has a parameter other than api_key and email")
    if any(_CONTROL.search(value) for value in parameters.values()):
        raise _invalid("has a control character in a value")
    if len(pairs) != len(parameters):
        raise _invalid("has a parameter twice")
    for name in ("api_key", "email"):
        if not parameters.get(name, "").strip():
            raise _invalid(f"has no {name}")
    if "@" not in parameters["email"] or ":" in parameters["email"]:
        raise _invalid("has an email that is not an e-mail address")
    return parameters


def _invalid(mistake: str) -> InvalidUri:
    return InvalidUri(f"The Gorgias URI {mistake}; expected {EXPECTED_FORM}.")


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) < 2**16


def _is_host(host: str) -> bool:
    """Return if the host can exist: an address, or a name whose labels are of 1 to 63 letters."""
    if not host.startswith("[") and not host.rstrip(".").rpartition(".")[2].isdigit():
        return _NAME.fullmatch(host) is not None
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
