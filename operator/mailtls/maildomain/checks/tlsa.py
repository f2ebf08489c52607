"""Which certificates a TLSA record matches (RFC 6698 section 2.1, RFC 7671 sections 4 and 5).

By hand, as no library does it: dnspython parses records and compares nothing, OpenSSL compares only while it connects.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256, sha512
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mailtls.maildomain.facts import RELAY_PORT, TlsaRecord
from mailtls.pki import loading
from mailtls.pki.served_certificate import read_served

PKIX_TA, PKIX_EE, DANE_TA, DANE_EE = range(4)  # certificate usages
_CERTIFICATE, _KEY = 0, 1  # selectors
_FULL, _SHA256, _SHA512 = range(3)  # matching types
_OCTETS: Final = {_SHA256: 32, _SHA512: 64}
_LONGEST_PATH: Final = 10
_VERSION_TAG: Final = 0xA0
_BEFORE_KEY: Final = 5  # serial number, signature, issuer, validity, subject (RFC 5280 section 4.1)
_LONG_FORM: Final = 0x80


def flaw(record: TlsaRecord, port: int) -> str:
    """Why clients cannot use a record, in a few words; empty when they can."""
    if record.usage not in range(4) or record.selector not in {_CERTIFICATE, _KEY}:
        return "has parameters that nobody knows"
    if record.matching_type not in {_FULL, _SHA256, _SHA512}:
        return "has a matching type that nobody knows"
    if port == RELAY_PORT and record.usage in {PKIX_TA, PKIX_EE}:
        return f"has usage {record.usage}, which mail servers do not use"  # RFC 7672 section 3.1.3
    wanted = _OCTETS.get(record.matching_type)
    if wanted and len(record.data) != wanted:
        return f"has {len(record.data)} octets instead of {wanted}"
    return "" if wanted or _is_readable(record) else "holds neither a certificate nor a key that can be read"


def matches(record: TlsaRecord, chain: tuple[bytes, ...], names: Iterable[str], now: datetime | None) -> bool:
    """Whether a client that has only this record takes the chain.

    Usage 3 compares the leaf certificate alone, neither names nor dates (RFC 7671 section 5.1); usage 2 needs an anchor
    above it, one of the names, and dates that hold (section 5.2). Usages 0 and 1 leave the rest to the web's roots.
    """
    match record.usage:
        case x if x in {DANE_EE, PKIX_EE}:
            return record.data == association(record, chain[0])
        case x if x == DANE_TA:
            return _is_anchored(record, chain, now) and _is_named(chain[0], names)
    return any(record.data == association(record, der) for der in chain[1:])


def association(record: TlsaRecord, der: bytes) -> bytes:
    """Return what a record with these parameters would hold for a certificate (RFC 6698 section 2.1.4)."""
    data = key_of(der) if record.selector == _KEY else der
    match record.matching_type:
        case x if x == _SHA256:
            return sha256(data).digest()
        case x if x == _SHA512:
            return sha512(data).digest()
    return data


def key_of(der: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo exactly as the certificate has it; empty for what is no certificate.

    Cut out rather than written again: of an odd encoding, only the original octets have the hash that clients see.
    """
    try:
        start, _ = _content(der, 0)
        at, _ = _content(der, start)
        if der[at] == _VERSION_TAG:
            at = _content(der, at)[1]
        for _ in range(_BEFORE_KEY):
            at = _content(der, at)[1]
        return der[at : _content(der, at)[1]]
    except (IndexError, ValueError):
        return b""


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of a DER element begins and ends (X.690 section 8.1.3)."""
    length, start = der[at + 1], at + 2
    if length & _LONG_FORM:
        start += length & ~_LONG_FORM
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise ValueError("an element ends behind its frame")
    return start, start + length


def _is_anchored(record: TlsaRecord, chain: tuple[bytes, ...], now: datetime | None) -> bool:
    """Walk up from the leaf; a digest matches only what is served, a full record vouches for what is below, too."""
    path: list[bytes] = []
    for der in _path(chain):
        path.append(der)
        if now and not _holds(der, now):
            return False
        if (len(path) > 1 and record.data == association(record, der)) or _vouches(record, der):
            return True
    return False


def _path(chain: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield the leaf, its issuer, and so on, as far as they were served and signed each other."""
    current, left = chain[0], list(chain[1:_LONGEST_PATH])
    yield current
    while (issuer := next((der for der in left if _is_issued(current, der)), None)) is not None:
        left.remove(issuer)
        current = issuer
        yield current


def _is_issued(child: bytes, parent: bytes) -> bool:
    try:
        issuer, issued = loading.certificate(parent), loading.certificate(child)
    except Exception:  # noqa: BLE001 - a stranger's certificate: cryptography has no common base for what may be wrong
        return False
    return loading.is_issued(issued, issuer)


def _vouches(record: TlsaRecord, der: bytes) -> bool:
    """Whether the record itself is the issuer, a certificate or a bare key that is not served along."""
    if record.matching_type != _FULL:
        return False
    return _is_issued(der, record.data) if record.selector == _CERTIFICATE else _is_signed_by(der, record.data)


def _is_signed_by(der: bytes, key: bytes) -> bool:
    try:
        certificate, public = loading.certificate(der), loading.public_key(key)
        signed, hashed = certificate.tbs_certificate_bytes, certificate.signature_hash_algorithm
        parameters = certificate.signature_algorithm_parameters
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(certificate.signature, signed, parameters, hashed)  # type: ignore[arg-type]
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(certificate.signature, signed, parameters)  # type: ignore[arg-type]
        else:
            return False
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def _is_readable(record: TlsaRecord) -> bool:
    load = loading.certificate if record.selector == _CERTIFICATE else loading.public_key
    try:
        load(record.data)
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def _is_named(leaf: bytes, names: Iterable[str]) -> bool:
    certificate = read_served(leaf)
    return certificate is not None and any(certificate.names(name) for name in names)


def _holds(der: bytes, now: datetime) -> bool:
    certificate = read_served(der)
    return certificate is not None and certificate.not_before <= now <= certificate.not_after
