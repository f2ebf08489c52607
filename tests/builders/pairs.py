"""Keys, certificates and Secrets as tests of the Secrets need them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mailtls.api.spec import PrivateKeyPolicy
from mailtls.issuance.certificates import new_key, signing_request
from mailtls.kube.snapshot import Staged
from mailtls.pki import loading
from mailtls.pki.certificate import Certificate, KeyAlgorithm, KeyMaterial, parse_chain

RESOURCE: dict[str, Any] = {
    "metadata": {
        "name": "mx",
        "namespace": "mail",
        "uid": "uid-1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"dnsNames": ["mx.example.test"], "secretName": "mx-tls"},
}


def self_signed(key: KeyMaterial, name: str = "mx.example.test") -> Certificate:
    """A real certificate for a real key."""
    private: Any = load_pem_private_key(key.pem, None)
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=90))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
    return parse_chain(builder.sign(private, SHA256()).public_bytes(Encoding.PEM).decode())


def fresh(key: KeyMaterial | None = None) -> Staged:
    """A key that is about to be staged."""
    key = key or new_key(PrivateKeyPolicy())
    return Staged(
        spki_sha256=key.spki_sha256(),
        key_algorithm=KeyAlgorithm.ECDSA,
        key_size=256,
        names=("mx.example.test",),
        acme_server="https://ca.test/directory",
        profile=None,
        is_open=True,
        staged_at=datetime.now(UTC),
        key=key,
        csr_der=signing_request(key, ["mx.example.test"]),
        resource_version="",
    )


def pem_of(key: loading.PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """Write a private key."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption())
