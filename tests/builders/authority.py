"""A CA in memory, and the Secrets that cert-manager makes of what it issues."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from mailtls.api.reading.document import Json

DAY = timedelta(days=1)
RECORDED: Final[Json] = json.loads(Path(__file__).with_name("cert_manager.json").read_text(encoding="utf-8"))
"""What the real cert-manager was seen to write."""
SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True)
class Issued:
    """A chain and its key, as PEM, and the SHA-256 of the leaf."""

    chain: str
    key: str
    sha256: str


@dataclass(frozen=True)
class Authority:
    """A root that issues leaves by itself."""

    name: str = "Root of a private CA"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def root_pem(self) -> str:
        """The root, self-signed."""
        builder = _builder(
            self._subject, self._subject, self.key.public_key(), _now() - 1000 * DAY, _now() + 1000 * DAY
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()

    def issue(
        self,
        *names: str,
        begins: datetime | None = None,
        lasts: timedelta = 90 * DAY,
        purposes: Sequence[ObjectIdentifier] = SERVER_AUTH,
    ) -> Issued:
        """Issue a certificate with a new key."""
        key, begins = ec.generate_private_key(ec.SECP256R1()), begins or _now() - timedelta(minutes=1)
        subject = x509.Name([])
        builder = _builder(subject, self._subject, key.public_key(), begins, begins + lasts)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=True
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
        leaf = builder.sign(self.key, SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        return Issued(leaf.public_bytes(Encoding.PEM).decode(), pem, leaf.fingerprint(SHA256()).hex())

    @property
    def _subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])


def cert_manager_secret(
    namespace: str, name: str, issued: Issued, ca_pem: str = "", *, as_it_does: str = "issued"
) -> Json:
    """The Secret as cert-manager applies it: annotations of the Certificate and its issuer, one label, and no owner.

    `as_it_does`: `issued` by the issuer; `temporary`, while it waits for that; `taken over`, where another's pair fits.
    """
    data = {"tls.crt": issued.chain, "tls.key": issued.key} | ({"ca.crt": ca_pem} if ca_pem else {})
    meta = {
        "name": name,
        "namespace": namespace,
        "annotations": dict(RECORDED["annotations"][as_it_does]),
        "labels": dict(RECORDED["labels"]),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": RECORDED["type"],
        "metadata": meta,
        "data": {entry: b64encode(text.encode()).decode() for entry, text in data.items()},
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), begins, ends)
