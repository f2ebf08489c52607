"""Certificates and keys as the decisions see them: facts of the leaf, never key material in a repr."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailtls.pki import loading
from mailtls.reasons.quoting import printable, shorten

LONGEST_NAME: Final = 500
"""Characters that are kept of a name that whoever signed the certificate has chosen: it goes into the status."""


class KeyAlgorithm(StrEnum):
    """Public key algorithms a CA of the web signs."""

    ECDSA = "ECDSA"
    RSA = "RSA"


class KeyMaterial:
    """A private key in PEM; prints as nothing so that no log, event or traceback can carry it."""

    __slots__ = ("pem",)

    def __init__(self, pem: bytes) -> None:
        self.pem = pem

    def __repr__(self) -> str:
        return "<private key>"

    def spki_sha256(self) -> str:
        """Hash of the public half (RFC 7469); raises ValueError when this is no usable private key."""
        return spki_sha256(self.public_key())

    def public_key(self) -> PublicKeyTypes:
        """Return the public half; raises ValueError when this is no usable private key."""
        return loading.private_key(self.pem).public_key()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain in PEM, leaf first, and the facts of its leaf; hashes in lower-case hex, times in UTC.

    `root` is the common name of the root that the chain leads to; `roots_offered` holds those that the CA had to offer
    where it was asked for another one. `names_asked` holds the names that were ordered, where the CA added some.
    `is_anchored` where the leaf alone leads to a root that is trusted here.
    """

    chain_pem: str
    serial_number: str
    sha256: str
    spki_sha256: str
    issuer: str
    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    key_algorithm: KeyAlgorithm | None
    key_size: int
    chain_is_ordered: bool
    self_signed: bool
    root: str = ""
    roots_offered: tuple[str, ...] = ()
    names_asked: frozenset[str] = frozenset()
    is_anchored: bool = False

    @property
    def is_leaf_alone(self) -> bool:
        """Whether the chain is one certificate."""
        return self.chain_pem.count("BEGIN CERTIFICATE") == 1

    @property
    def leaf_pem(self) -> str:
        """The leaf alone."""
        end = "-----END CERTIFICATE-----\n"
        return self.chain_pem.split(end, 1)[0] + end


def parse_chain(chain_pem: str) -> Certificate:
    """Read a PEM chain, leaf first; raises ValueError when there is no certificate or one cannot be read."""
    try:
        return _read(chain_pem, loading.certificates(chain_pem.encode()))
    except (UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError("the certificate holds what cannot be read") from error


def _read(chain_pem: str, chain: Sequence[x509.Certificate]) -> Certificate:
    leaf, key = chain[0], loading.public_key_of(chain[0])
    return Certificate(
        chain_pem=chain_pem,
        serial_number=shorten(format(leaf.serial_number, "x"), LONGEST_NAME),
        sha256=sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
        spki_sha256=spki_sha256(key),
        issuer=shorten(printable(leaf.issuer.rfc4514_string()), LONGEST_NAME),
        names=_dns_names(leaf),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        key_algorithm=key_algorithm(key),
        key_size=key_size(key),
        chain_is_ordered=_is_ordered(chain),
        self_signed=leaf.issuer == leaf.subject,
        root=root_of(chain),
    )


def root_of(chain: Sequence[x509.Certificate]) -> str:
    """The common name of the root that a chain leads to, which CAs leave out; the whole name where it has none."""
    issuer = chain[-1].issuer
    names = issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return shorten(printable(str(names[0].value) if names else issuer.rfc4514_string()), LONGEST_NAME)


def spki_sha256(key: PublicKeyTypes) -> str:
    """Hash of the SubjectPublicKeyInfo, as TLSA `3 1 1` names it (RFC 6698)."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _dns_names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(printable(name.lower()) for name in names.get_values_for_type(x509.DNSName))


def key_algorithm(key: PublicKeyTypes) -> KeyAlgorithm | None:
    """The algorithm of a key, None where it is one that no policy can name."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyAlgorithm.ECDSA
    return KeyAlgorithm.RSA if isinstance(key, rsa.RSAPublicKey) else None


def key_size(key: PublicKeyTypes) -> int:
    """The size of a key in bits, 0 where it has none."""
    return int(getattr(key, "key_size", 0))


def _is_ordered(chain: Sequence[x509.Certificate]) -> bool:
    """Whether each certificate is signed by the one behind it, as TLS wants chains (RFC 8446 section 4.4.2)."""
    return all(loading.is_issued(child, parent) for child, parent in pairwise(chain))
