"""Failures on the way to Gorgias: which of them last, and what to set against them.

A certificate, a TLS version, a proxy's refusal and a wrong path stay as they are until somebody changes them. An
unknown name may be known again within a minute. Everything else may pass.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies, select_proxy

from gorgias_assets.api.answers import Refused, Unusable
from gorgias_assets.display import shown

_TRUST = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")  # the first that is set holds
_TRUST_ADVICE = "set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to a PEM file with the certificate of who signed it"
_ADDRESS_ADVICE = "correct the domain in the Gorgias URI or GORGIAS_API_URL"
_PROXY_ADVICE = "correct HTTPS_PROXY, or name the host in NO_PROXY to go without a proxy"
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST = 9, 10, (62, 64)  # X509_V_ERR_* of OpenSSL
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the only names that OpenSSL looks for in a folder
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_TLS = re.compile(
    "VERSION|PROTOCOL|HANDSHAKE_FAILURE|HTTP_REQUEST|TOO_SMALL|TOO_WEAK|LEGACY|UNRECOGNIZED_NAME|SHARED|SECURITY|"
    "CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE"
)
_PASSING_TUNNELS = {408, 425, 429}
_LASTING_TUNNELS = {501, 505, 511}
_WRONG_URLS = (
    requests.exceptions.InvalidURL,  # also that of a proxy; the one of the API was checked
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    ValueError,
)


def trusted_certificates(environ: Mapping[str, str] = os.environ) -> str | bool:
    """Return the file or folder of certificates that `SSL_CERT_FILE` or `SSL_CERT_DIR` names; True for the usual ones.

    `REQUESTS_CA_BUNDLE` wins, by requests itself.
    """
    return environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR") or True


def failure_of(error: Exception, api_url: str) -> Refused | Unusable:
    """Return what an exception of a request to `api_url` means: `Refused` with a sentence if it lasts."""
    errors, proxy = list(_chain(error)), _proxy_of(api_url)
    if isinstance(error, _WRONG_URLS):
        return Refused(sentence=_wrong_url(error, proxy))
    is_proxys = proxy is not None and any(isinstance(each, urllib3.exceptions.ProxyError) for each in errors)
    host = f"the proxy {_host_of(proxy)}" if is_proxys else _host_of(api_url)
    if api_url.startswith("https:") and any(_is_about_trust(each) for each in errors) and (fault := _trust_fault()):
        return Refused(sentence=fault)
    for each in errors:
        if sentence := _certificate_fault(each, host) or _tls_fault(each, host) or _tunnel_fault(each, host):
            return Refused(sentence=sentence)
        if isinstance(each, socket.gaierror) and each.errno in _unknown_names():
            advice = _PROXY_ADVICE if is_proxys else f"{_ADDRESS_ADVICE}, or this machine's name server"
            return Unusable(f"the name of {host} is unknown", lasting=f"the name of {host} is unknown; {advice}")
    return Unusable("the connection failed")


def _chain(error: object) -> Iterator[BaseException]:
    """Yield the exception and those inside it: requests and urllib3 keep them as reasons, arguments and causes."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def _certificate_fault(error: BaseException, host: str) -> str:
    if isinstance(error, urllib3.util.ssl_match_hostname.CertificateError):
        code = _OTHER_HOST[0]
    elif isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
    else:
        return ""
    if code in _OTHER_HOST:
        return f"the certificate of {host} is another host's; {_ADDRESS_ADVICE}, or {_PROXY_ADVICE}"
    if code == _EXPIRED:
        return f"the certificate of {host} has expired; check this machine's clock, or have the certificate renewed"
    if code == _NOT_YET_VALID:
        return f"the certificate of {host} is not yet valid; check this machine's clock"
    return f"the certificate of {host} is not trusted; {_TRUST_ADVICE}"


def _tls_fault(error: BaseException, host: str) -> str:
    if not isinstance(error, ssl.SSLError) or not _TLS.search(str(error.reason or "")):
        return ""
    return (
        f"{host} and this machine agree on no version of TLS ({shown(error.reason)}); {_ADDRESS_ADVICE}, or HTTPS_PROXY"
    )


def _tunnel_fault(error: BaseException, host: str) -> str:
    match = _TUNNEL.search(str(error)) if type(error) is OSError else None
    status = int(match[1]) if match else 0
    if status == 407:
        return f"{host} requires a user (status 407); set it in HTTPS_PROXY, as http://<user>:<password>@<host>:<port>"
    if status in _LASTING_TUNNELS or (300 <= status < 500 and status not in _PASSING_TUNNELS):
        return f"{host} refuses to connect (status {status}); have it allow Gorgias, or {_PROXY_ADVICE}"
    return ""


def _wrong_url(error: Exception, proxy: str | None) -> str:
    if proxy is None:
        return f"no request can be made of the URL; {_ADDRESS_ADVICE}"
    if "SOCKS" in str(error):
        return f"the proxy {_host_of(proxy)} is a SOCKS proxy; install requests[socks], or set HTTPS_PROXY to another"
    return "HTTPS_PROXY is no URL of a proxy; set it as http://<host>:<port>"


def _is_about_trust(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or (isinstance(error, OSError) and "certificate bundle" in str(error))


def _trust_fault() -> str:
    """Return what is wrong with the certificates that a variable names; empty if nothing is."""
    name = next((name for name in _TRUST if os.environ.get(name)), None)
    if name is None:
        return ""
    path = Path(os.environ[name])
    advice = "set it to a PEM file of certificates, or to nothing"
    if not path.exists():
        return f"{name} names {shown(path)}, which does not exist; {advice}"
    try:
        if path.is_dir():
            if not any(_HASHED.fullmatch(each.name) for each in path.iterdir()):
                return f"{name} names {shown(path)}, a folder without certificates; {advice}"
        else:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        return f"{name} names {shown(path)}, which holds no certificates that can be read; {advice}"
    return ""


def _proxy_of(api_url: str) -> str | None:
    if not api_url.startswith("https:"):
        return None
    try:
        return select_proxy(api_url, get_environ_proxies(api_url))
    except ValueError:
        return None


def _host_of(url: str | None) -> str:
    """Return the host alone, without the user and password that a proxy's URL may have."""
    try:
        return shown(urlsplit(url or "").hostname or "of HTTPS_PROXY")
    except ValueError:
        return "of HTTPS_PROXY"


def _unknown_names() -> set[int]:
    return {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
