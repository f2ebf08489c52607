"""Certificates of an authority that the operator never asks: what a person, or another tool, puts into a Secret."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

ISSUER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody's own authority")])
DAY = dt.timedelta(days=1)


def issued(names: Sequence[str], *, days_old: int = 1, days_left: int = 89) -> dict[str, bytes]:
    """What a TLS Secret holds: a chain of a leaf and its issuer, and the leaf's key."""
    root, key, now = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
        dt.datetime.now(dt.UTC),
    )
    begun, ends = now - days_old * DAY, now + days_left * DAY
    basic = x509.BasicConstraints(ca=True, path_length=None)
    issuer = _builder(ISSUER, root, begun, ends).add_extension(basic, critical=True).sign(root, hashes.SHA256())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    leaf = (
        _builder(x509.Name([]), key, begun, ends).add_extension(alternatives, critical=True).sign(root, hashes.SHA256())
    )
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, issuer))
    return {"tls.crt": chain, "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())}


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, begun: dt.datetime, ends: dt.datetime
) -> x509.CertificateBuilder:
    serial = x509.random_serial_number()
    return x509.CertificateBuilder(ISSUER, subject, key.public_key(), serial, begun, ends)
