"""Certificates of an authority that nobody else trusts, made when a test asks for one."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Signed:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """An authority whose certificate is the PEM file `path` in `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._own = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC) + DAY)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._own.certificate.public_bytes(Encoding.PEM))

    def server(self, *hosts: str, expires_in: timedelta = DAY) -> Path:
        """Return a new PEM file of a server's certificate and key, by default for the hosts of loopback."""
        names = [_name(host) for host in hosts or ("127.0.0.1", "localhost")]
        signed = self._signed(x509.Name([]), datetime.now(UTC) + expires_in, names)
        path = self._folder / f"{self._name}-{signed.certificate.serial_number}.pem"
        private = signed.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(signed.certificate.public_bytes(Encoding.PEM) + private)
        return path

    def _signed(self, subject: x509.Name, expires: datetime, names: list[x509.GeneralName] | None = None) -> Signed:
        """Return a new key and its certificate: a server's if it has names, else the authority's own."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._own if names else None
        issuer_key = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder(issuer.certificate.subject if issuer else subject, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(datetime.now(UTC), expires) - DAY)
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(_uses(signs_others=issuer is None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return Signed(builder.sign(issuer_key, hashes.SHA256()), key)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _uses(signs_others: bool) -> x509.KeyUsage:
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs_others, crl_sign=signs_others, **unused)
