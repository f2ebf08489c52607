"""The one place where keys and certificates are read, whoever they come from: a tenant's Secret, a CA, a stranger.

What holds the interpreter's lock while it computes stops every thread: the lease is lost, the process starts anew and
reads the same key again. So what is read is bounded before it is parsed (bytes, blocks, kind of key) and no kind is
parsed whose mere loading computes with numbers as large as somebody likes (DSA and Diffie-Hellman raise to a power).

RSA keys are loaded without cryptography's validation, which tests both factors for being prime with the lock held: half
a second for 4096 bits, and minutes for what still fits into a Secret. What goes wrong in practice, numbers that do not
belong together, is found by multiplying them. That key and certificate belong together is for the caller to compare, by
their public halves. A key whose factors are no primes harms nobody but the server that was given it.

All functions raise ValueError, with a sentence, for what is too large and for what cannot be read.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
_Read = TypeVar("_Read")
LARGEST_KEY: Final = 16 * 1024  # octets of PEM; RSA of 8192 bits takes 6.4 KiB
MOST_RSA_BITS: Final = 8192  # public CAs sign keys up to 4096
LARGEST_CERTIFICATE: Final = 64 * 1024  # octets of DER; a thousand long names take half of it
LARGEST_PUBLIC_KEY: Final = 8 * 1024  # octets of DER


@dataclass(frozen=True, slots=True)
class Bound:
    """How much PEM is read: octets, and certificates."""

    octets: int
    certificates: int


CHAIN: Final = Bound(octets=256 * 1024, certificates=16)
BUNDLE: Final = Bound(octets=1024 * 1024, certificates=1024)  # what fits into a ConfigMap; Mozilla's has 150 roots
# The kinds of keys, as certificates name them and as they stand in DER: RSA, EC, Ed25519, Ed448 (RFC 3279, RFC 8410).
_KINDS: Final = {
    "1.2.840.113549.1.1.1": bytes.fromhex("2a864886f70d010101"),
    "1.2.840.10045.2.1": bytes.fromhex("2a8648ce3d0201"),
    "1.3.101.112": bytes.fromhex("2b6570"),
    "1.3.101.113": bytes.fromhex("2b6571"),
}
_STRANGE_KEY: Final = "the key is of a kind that mail servers do not use (RSA, ECDSA and EdDSA are read)"
_SEQUENCE, _INTEGER, _OID = 0x30, 0x02, 0x06
_LONG: Final = 0x80
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*)-----END \1-----")
_BEGIN: Final = b"-----BEGIN "
_CERTIFICATE_LABELS: Final = (b"CERTIFICATE-----", b"X509 CERTIFICATE-----")
_KEY_LABELS: Final = {b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"}


def private_key(pem: bytes) -> PrivateKey:
    """Read a private key in PEM (PKCS #8, PKCS #1 or SEC 1), without a password."""
    if len(pem) > LARGEST_KEY:
        raise ValueError(f"the private key is larger than {LARGEST_KEY} octets")
    if b"ENCRYPTED" in pem:
        raise ValueError("the private key is encrypted")
    block = next((each for each in _BLOCK.finditer(pem) if each[1].endswith(b"PRIVATE KEY")), None)
    if block is None or block[1] not in _KEY_LABELS:
        raise ValueError("there is no private key in PEM (PKCS #8, PKCS #1 or SEC 1)")
    if block[1] == b"PRIVATE KEY":
        _check_kind(_base64(block[2]))
    key = _within(lambda: load_pem_private_key(block[0] + b"\n", None, unsafe_skip_rsa_key_validation=True))
    if isinstance(key, rsa.RSAPrivateKey):
        _check_rsa(key)
    if not isinstance(key, PrivateKey):
        raise ValueError(_STRANGE_KEY)  # noqa: TRY004 - what was read, and not what was passed
    return key


def certificates(pem: bytes, bound: Bound = CHAIN) -> list[x509.Certificate]:
    """Read all certificates of a PEM text, in their order; other blocks are passed over. There is at least one."""
    if len(pem) > bound.octets:
        raise ValueError(f"the certificates take more than {bound.octets} octets")
    blocks = list(_certificate_blocks(pem))
    if len(blocks) > bound.certificates:
        raise ValueError(f"there are more than {bound.certificates} certificates")
    if not blocks:
        raise ValueError("there is no certificate in PEM")
    return [_one(block) for block in blocks]


def certificate(der: bytes) -> x509.Certificate:
    """Read a certificate in DER."""
    if len(der) > LARGEST_CERTIFICATE:
        raise ValueError(f"the certificate is larger than {LARGEST_CERTIFICATE} octets")
    return _within(lambda: x509.load_der_x509_certificate(der))


def public_key(der: bytes) -> PublicKeyTypes:
    """Read a public key in DER: a SubjectPublicKeyInfo, or RSA's own form (PKCS #1), as some DKIM records hold it."""
    if len(der) > LARGEST_PUBLIC_KEY:
        raise ValueError(f"the public key is larger than {LARGEST_PUBLIC_KEY} octets")
    outer = _Der(der).enter(_SEQUENCE)
    if not outer.begins_with(_INTEGER):
        _known(outer.enter(_SEQUENCE).take(_OID))
    return _within(lambda: load_der_public_key(der))


def public_key_of(certificate: x509.Certificate) -> PublicKeyTypes:
    """The public key of a certificate, of a kind that servers use."""
    if certificate.public_key_algorithm_oid.dotted_string not in _KINDS:
        raise ValueError(_STRANGE_KEY)
    return _within(certificate.public_key)


def is_issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether a certificate was signed by the key of another, under its name; False where that is not known."""
    try:
        public_key_of(parent)
        child.verify_directly_issued_by(parent)
    except Exception:  # noqa: BLE001 - any failure to verify, and cryptography has several, means: no
        return False
    return True


def _certificate_blocks(pem: bytes) -> Iterator[bytes]:
    for part in pem.split(_BEGIN)[1:]:
        if part.startswith(_CERTIFICATE_LABELS):
            if len(part) > LARGEST_CERTIFICATE * 3 // 2:  # base64 and its line breaks
                raise ValueError(f"a certificate is larger than {LARGEST_CERTIFICATE} octets")
            yield _BEGIN + part


def _one(block: bytes) -> x509.Certificate:
    return _within(lambda: x509.load_pem_x509_certificate(block))


def _within(read: Callable[[], _Read]) -> _Read:
    """Read; cryptography has more kinds of errors for what cannot be read than one."""
    try:
        return read()
    except TypeError as error:  # what it says of a key under a password
        raise ValueError("the private key is encrypted") from error
    except UnsupportedAlgorithm as error:
        raise ValueError("it is of an unknown kind") from error
    except (InternalError, OverflowError) as error:
        raise ValueError("it cannot be read") from error


def _check_rsa(key: rsa.RSAPrivateKey) -> None:
    """What takes no time: the numbers belong together, whatever they are."""
    if key.key_size > MOST_RSA_BITS:
        raise ValueError(f"the RSA key has {key.key_size} bits, and more than {MOST_RSA_BITS} are not read")
    whole = _within(key.private_numbers)
    p, q, public = whole.p, whole.q, whole.public_numbers
    belongs = min(p, q) > 1 and p * q == public.n
    belongs = belongs and (public.e * whole.d - 1) % (p - 1) == 0 and (public.e * whole.d - 1) % (q - 1) == 0
    belongs = belongs and (whole.dmp1 - whole.d) % (p - 1) == 0 and (whole.dmq1 - whole.d) % (q - 1) == 0
    if not belongs or (whole.iqmp * q - 1) % p:
        raise ValueError("the numbers of the RSA key do not belong together")


def _check_kind(der: bytes) -> None:
    outer = _Der(der).enter(_SEQUENCE)
    outer.take(_INTEGER)
    _known(outer.enter(_SEQUENCE).take(_OID))


def _known(oid: bytes) -> None:
    if oid not in _KINDS.values():
        raise ValueError(_STRANGE_KEY)


def _base64(text: bytes) -> bytes:
    try:
        return b64decode(b"".join(text.split()), validate=True)
    except Base64Error:
        raise ValueError("the PEM of the private key is broken") from None


class _Der:
    """Just enough of DER (X.690 section 8.1) to see of what kind a key is before anything computes with it."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def begins_with(self, tag: int) -> bool:
        """Whether the next value has this tag."""
        return self._left[:1] == bytes([tag])

    def enter(self, tag: int) -> "_Der":
        """Take a value and read it."""
        return _Der(self.take(tag))

    def take(self, tag: int) -> bytes:
        """Take the next value, which must have this tag."""
        if len(self._left) < 2 or self._left[0] != tag:  # noqa: PLR2004 - tag and length
            raise ValueError("the key is not DER")
        start, length = 2, self._left[1]
        if length >= _LONG:
            start += length - _LONG
            length = int.from_bytes(self._left[2:start], "big")
        value, self._left = self._left[start : start + length], self._left[start + length :]
        return value
