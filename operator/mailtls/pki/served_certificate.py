"""A certificate as a stranger served it, read without trust: nothing in it can raise or flood a message.

How good its key is follows the bands of the Dutch NCSC's guidelines for TLS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mailtls.hostname import address_in, is_named
from mailtls.pki import loading
from mailtls.reasons.quoting import quote
from mailtls.times import format_minute

_Read = TypeVar("_Read")


class VerifyError(IntEnum):
    """What OpenSSL says of a chain: its X509_V_ERR_* that have a sentence of their own here."""

    ISSUER_MISSING = 2
    NOT_YET_VALID = 9
    EXPIRED = 10
    SELF_SIGNED = 18
    SELF_SIGNED_IN_CHAIN = 19
    ISSUER_NOT_FOUND = 20
    LEAF_ALONE = 21


WITHOUT_ISSUER: Final = frozenset({VerifyError.ISSUER_MISSING, VerifyError.ISSUER_NOT_FOUND, VerifyError.LEAF_ALONE})
WITHOUT_ROOT: Final = WITHOUT_ISSUER | {VerifyError.SELF_SIGNED_IN_CHAIN}
"""Of chains that lead to no root that is trusted here."""

_PUBLIC_RULES: Final = "2.23.140.1."  # reserved policy identifiers (Baseline Requirements section 7.1.6.1)


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """One certificate of a served chain; times in UTC, names lower-case, `key_bits` 0 for a key we cannot weigh."""

    sha256: str
    subject: str
    issuer: str
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    self_issued: bool
    key_kind: str  # "RSA", "ECDSA" or "other"
    key_bits: int
    signature_hash: str  # "sha256"; empty where the algorithm has none of its own (Ed25519)
    for_servers: bool  # no extended key usage, or one with serverAuth (RFC 5280 section 4.2.1.12)
    claims_public_rules: bool = False  # a policy of the CA/Browser Forum, as public CAs must state one
    is_of_a_workload: bool = False  # a SPIFFE ID and no DNS name: the sidecar of a service mesh ends TLS

    @property
    def identities(self) -> tuple[str, ...]:
        """All that the certificate is for: names, then addresses."""
        return self.dns_names + self.ip_addresses

    @property
    def lifetime(self) -> timedelta:
        """From the first to the last moment of validity."""
        return self.not_after - self.not_before

    def names(self, host: str) -> bool:
        """Whether a DNS-ID matches `host`: RFC 9525 section 6.3, no common name, a wildcard is one whole label.

        An address is matched by an IP-ID, and by nothing else (RFC 9525 section 6.4).
        """
        if address := address_in(host):
            return address in self.ip_addresses
        return is_named(host, self.dns_names)


def describe(served: ServedCertificate | None, *, digits: int = 64) -> str:
    """Describe a certificate, None being one that cannot be read; `digits` of its SHA-256 are shown, of 64."""
    if served is None:
        return "a certificate that cannot be read"
    fingerprint = served.sha256 if digits >= len(served.sha256) else f"{served.sha256[:digits]}…"
    validity = f"valid {format_minute(served.not_before)} to {format_minute(served.not_after)}"
    subject = f", subject {served.subject}" if served.subject else ""  # RFC 5280 allows an empty one
    return f"SHA-256 {fingerprint}, {validity}{subject}, issued by {served.issuer}"


@lru_cache(maxsize=16)  # pods of one workload serve one chain
def read_served(der: bytes) -> ServedCertificate | None:
    """Read a DER certificate, None when its frame cannot be read; odd extensions count as absent."""
    return _or_else(lambda: _read(der), None)


def _read(der: bytes) -> ServedCertificate:
    certificate = loading.certificate(der)
    kind, bits = _or_else(lambda: _key(certificate), ("other", 0))
    return ServedCertificate(
        sha256=sha256(der).hexdigest(),
        subject=quote(certificate.subject.rfc4514_string().encode()),
        issuer=quote(certificate.issuer.rfc4514_string().encode()),
        dns_names=_or_else(lambda: _dns_names(certificate), ()),
        ip_addresses=_or_else(lambda: _ip_addresses(certificate), ()),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        self_issued=certificate.issuer == certificate.subject,
        key_kind=kind,
        key_bits=bits,
        signature_hash=_or_else(lambda: _signature_hash(certificate), ""),
        for_servers=_or_else(lambda: _for_servers(certificate), True),
        claims_public_rules=_or_else(lambda: _claims_public_rules(certificate), False),
        is_of_a_workload=_or_else(lambda: _is_of_a_workload(certificate), False),
    )


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName))


def _ip_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))


def _claims_public_rules(certificate: x509.Certificate) -> bool:
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    return any(policy.policy_identifier.dotted_string.startswith(_PUBLIC_RULES) for policy in policies)


def _is_of_a_workload(certificate: x509.Certificate) -> bool:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return any(uri.startswith("spiffe://") for uri in uris) and not names.get_values_for_type(x509.DNSName)


def _key(certificate: x509.Certificate) -> tuple[str, int]:
    key = loading.public_key_of(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    return ("ECDSA", key.key_size) if isinstance(key, ec.EllipticCurvePublicKey) else ("other", 0)


def _signature_hash(certificate: x509.Certificate) -> str:
    algorithm = certificate.signature_hash_algorithm
    return algorithm.name if algorithm else ""


def _for_servers(certificate: x509.Certificate) -> bool:
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return bool({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes))


def _or_else(read: Callable[[], _Read], otherwise: _Read) -> _Read:
    """Read a part of a hostile certificate: cryptography has no common base for what may be wrong in it."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - see above; what cannot be read is not there
        return otherwise


class KeyBand(StrEnum):
    """`PHASE_OUT` is still safe, and should go with the next change."""

    GOOD = "good"
    PHASE_OUT = "phase out"
    BAD = "bad"


_LEAST: Final = {"RSA": (3072, 2048), "ECDSA": (256, 224)}  # bits that are good, that are to be phased out


def key_band(kind: str, bits: int) -> KeyBand | None:
    """Return the band of a key, None for kinds that have none."""
    if kind not in _LEAST:
        return None
    good, bearable = _LEAST[kind]
    return KeyBand.GOOD if bits >= good else KeyBand.PHASE_OUT if bits >= bearable else KeyBand.BAD
