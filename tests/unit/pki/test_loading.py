"""Keys and certificates of any origin: what is too large is not read, and reading holds no other thread up."""

import base64
import math
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

import mailtls
from builders.pairs import pem_of
from mailservers.certificates import Authority
from mailtls.pki import loading
from mailtls.pki.certificate import KeyMaterial, parse_chain
from mailtls.pki.roots import trusting
from mailtls.pki.served_certificate import read_served

SIGNER = ec.generate_private_key(ec.SECP256R1())
RANDOM = Random(1)
DSA_OID = bytes.fromhex("06072a8648ce380401")
DH_OID = bytes.fromhex("06092a864886f70d010301")


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """A key whose numbers belong together; its factors are no primes, which takes too long to find out."""
    e = 65537
    while True:
        p, q = (RANDOM.getrandbits(bits // 2) | 3 << (bits // 2 - 2) | 1 for _ in range(2))
        order = math.lcm(p - 1, q - 1)
        if math.gcd(e, order) == 1 and math.gcd(p, q) == 1:
            break
    d = pow(e, -1, order)
    public = rsa.RSAPublicNumbers(e, p * q)
    whole = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return whole.private_key(unsafe_skip_rsa_key_validation=True)


def tlv(tag: int, value: bytes) -> bytes:
    """Write one value in DER."""
    size = len(value)
    octets = size.to_bytes((size.bit_length() + 7) // 8 or 1, "big")
    return bytes([tag, size]) + value if size < 128 else bytes([tag, 0x80 | len(octets)]) + octets + value


def integer(number: int) -> bytes:
    """Write a number in DER."""
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def exponent_key(oid: bytes, bits: int) -> bytes:
    """A key of discrete logarithms whose numbers are as large as somebody liked: loading it raises to a power."""
    numbers = [RANDOM.getrandbits(bits) | 1 << (bits - 1) | 1 for _ in range(4)]
    kind = tlv(0x30, oid + tlv(0x30, b"".join(map(integer, numbers[: 3 if oid == DSA_OID else 2]))))
    der = tlv(0x30, integer(0) + kind + tlv(4, integer(numbers[3] >> 1)))
    return b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END PRIVATE KEY-----\n"


def certificate(*extensions: x509.ExtensionType, names: int = 1, key: object = None) -> x509.Certificate:
    """A self-signed certificate of any size."""
    units = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, f"unit {each}") for each in range(names)]
    public = key or SIGNER.public_key()
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    name = x509.Name(units)
    builder = x509.CertificateBuilder(name, name, public, 5, begin, end)  # type: ignore[arg-type]
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(SIGNER, hashes.SHA256())


@cache
def crowded() -> x509.Certificate:
    """As many names as fit into the largest certificate that is read."""
    return certificate(x509.SubjectAlternativeName([x509.DNSName(f"{each}.c") for each in range(8200)]))


def pem(*certificates: x509.Certificate) -> bytes:
    """Write certificates one behind the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def der(each: x509.Certificate) -> bytes:
    """Write one certificate as it is served."""
    return each.public_bytes(Encoding.DER)


RSA = rsa.generate_private_key(65537, 2048)
GOOD_KEYS: dict[str, tuple[loading.PrivateKey, PrivateFormat]] = {
    "RSA": (RSA, PrivateFormat.PKCS8),
    "RSA in its own form": (RSA, PrivateFormat.TraditionalOpenSSL),
    "ECDSA": (ec.generate_private_key(ec.SECP384R1()), PrivateFormat.PKCS8),
    "ECDSA in its own form": (ec.generate_private_key(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
    "RSA of 8192 bits": (rsa_key(8192), PrivateFormat.PKCS8),
}


@pytest.mark.parametrize("kind", GOOD_KEYS)
def test_keys_that_servers_use_are_read(kind: str) -> None:
    """Every form in which a mail server takes its key, with and without parameters and comments before it."""
    key, form = GOOD_KEYS[kind]
    written = b"# made by hand\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    read = loading.private_key(written + pem_of(key, form))
    assert read.public_key() == key.public_key()


REFUSED_KEYS = {
    "nothing": (b"", "no private key"),
    "no PEM": (b"-----BEGIN PRIVATE KEY-----\nbroken!\n-----END PRIVATE KEY-----\n", "broken"),
    "not DER": (b"-----BEGIN PRIVATE KEY-----\nbm90aGluZw==\n-----END PRIVATE KEY-----\n", "not DER"),
    "too many bits": (pem_of(rsa_key(12288)), "12288 bits"),
    "too large": (pem_of(rsa_key(2048)) + b"#" * loading.LARGEST_KEY, "larger than"),
    "encrypted": (
        RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "encrypted",
    ),
    "DSA": (exponent_key(DSA_OID, 20000), "do not use"),
    "Diffie-Hellman": (exponent_key(DH_OID, 10000), "do not use"),
    "DSA in its own form": (
        dsa.generate_private_key(2048).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        ),
        "no private key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_KEYS)
def test_key_that_no_server_uses_is_refused_with_a_sentence(case: str) -> None:
    """Whatever it is, a ValueError says why; nothing else is raised and nothing is computed with it."""
    written, words = REFUSED_KEYS[case]
    with pytest.raises(ValueError, match=words):
        KeyMaterial(written).spki_sha256()


@pytest.mark.parametrize("part", ["d", "dmp1", "dmq1", "iqmp"])
def test_rsa_numbers_that_do_not_belong_together_are_refused(part: str) -> None:
    """A public half that is right beside a private half that is not: the server could not use such a key."""
    numbers = rsa_key(2048).private_numbers()
    names = ("p", "q", "d", "dmp1", "dmq1", "iqmp")
    values = {name: getattr(numbers, name) + (2 if name == part else 0) for name in names}
    key = rsa.RSAPrivateNumbers(**values, public_numbers=numbers.public_numbers)
    written = pem_of(key.private_key(unsafe_skip_rsa_key_validation=True))
    with pytest.raises(ValueError, match="belong together"):
        loading.private_key(written)


def test_chain_keeps_its_order_and_other_blocks_are_passed_over() -> None:
    """A key in the same file, and comments, are no certificates."""
    chain = Authority().issue()
    written = chain.key_pem + b"a comment\n" + chain.chain_pem
    assert tuple(loading.certificates(written)) == chain.chain
    assert parse_chain(written.decode()).sha256 == chain.sha256


REFUSED_CHAINS = {
    "nothing": (b"", loading.CHAIN, "no certificate"),
    "cut off": (pem(certificate())[:200], loading.CHAIN, "PEM"),
    "too many": (pem(*[certificate()] * 17), loading.CHAIN, "more than 16"),
    "too large": (b"#" * loading.BUNDLE.octets + pem(certificate()), loading.BUNDLE, "octets"),
    "too many roots": (pem(*[certificate()] * 1025), loading.BUNDLE, "more than 1024"),
    "one too large": (pem(certificate(names=4000)), loading.BUNDLE, "larger than"),
}


@pytest.mark.parametrize("case", REFUSED_CHAINS)
def test_certificates_that_are_too_many_or_too_large_are_refused(case: str) -> None:
    """The caps hold for chains and for bundles of roots."""
    written, bound, words = REFUSED_CHAINS[case]
    with pytest.raises(ValueError, match=words):
        loading.certificates(written, bound)


def test_served_certificate_that_is_too_large_is_not_read() -> None:
    """A stranger's certificate beyond the cap counts as one that cannot be read."""
    assert read_served(certificate(names=4000).public_bytes(Encoding.DER)) is None
    assert read_served(crowded().public_bytes(Encoding.DER)) is not None


def test_certificate_with_a_key_that_computes_is_not_stored() -> None:
    """A certificate's DSA key is not loaded, however large it is, and the certificate is not one to serve."""
    odd = certificate(key=dsa.generate_private_key(2048).public_key())
    with pytest.raises(ValueError, match="do not use"):
        parse_chain(pem(odd).decode())
    served = read_served(odd.public_bytes(Encoding.DER))
    assert served is not None
    assert served.key_kind == "other"


def test_public_keys_of_both_forms_are_read() -> None:
    """DKIM records hold a SubjectPublicKeyInfo, and some of them RSA's own form."""
    public = RSA.public_key()
    for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1):
        assert loading.public_key(public.public_bytes(Encoding.DER, form)) == public
    with pytest.raises(ValueError, match="larger"):
        loading.public_key(b"\x30" * (loading.LARGEST_PUBLIC_KEY + 1))


def longest_silence(work: Callable[[], object]) -> float:
    """How long another thread stands still at most while `work` is done, in seconds; the best of five tries counts."""
    return min(_silence(work) for _ in range(5))


def _silence(work: Callable[[], object]) -> float:
    ticks, over = [time.monotonic()], threading.Event()

    def tick() -> None:
        while not over.is_set():
            time.sleep(0.0005)
            ticks.append(time.monotonic())

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        work()
    finally:
        over.set()
        ticking.join()
    return max(after - before for before, after in pairwise(ticks))


def refused(written: bytes) -> None:
    """Read what is refused."""
    with pytest.raises(ValueError, match="do not use"):
        loading.private_key(written)


LARGEST: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
    "an RSA key of 8192 bits": (lambda: pem_of(rsa_key(8192)), lambda written: KeyMaterial(written).spki_sha256()),
    "a key of DSA with large numbers": (lambda: exponent_key(DSA_OID, 20000), refused),
    "a chain full of names": (lambda: pem(crowded(), crowded()), lambda written: parse_chain(written.decode())),
    "a served certificate full of names": (lambda: der(crowded()), read_served.__wrapped__),
    "a served certificate with a long name": (lambda: der(certificate(names=2000)), read_served.__wrapped__),
    "a thousand roots": (
        lambda: pem(*[certificate()] * 1024),
        lambda written: loading.certificates(written, loading.BUNDLE),
    ),
    "a thousand roots to trust": (
        lambda: pem(*[certificate()] * 1024),
        lambda written: trusting(written.decode()),
    ),
}


@cache
def usual_silence() -> float:
    """How long the library's own way to load a common key (RSA 3072) holds the others up on this machine."""
    written = pem_of(rsa.generate_private_key(65537, 3072))
    return longest_silence(lambda: load_pem_private_key(written, None))


@pytest.mark.parametrize("what", LARGEST)
def test_other_threads_go_on_while_the_largest_is_read(what: str) -> None:
    """Counted in ticks of another thread: a small part of the silence that one validated key of 3072 bits costs.

    That is some 300 ms where these tests are written, and the pauses here are below 15 ms.
    """
    write, read = LARGEST[what]
    written = write()
    assert longest_silence(lambda: read(written)) < usual_silence() / 4


RAW = re.compile(r"\b(load_(pem|der)_(private_key|public_key|x509_certificates?|parameters)|load_ssh_\w+)\b")
OWN = Path(mailtls.__file__).parent


def test_nobody_else_calls_the_raw_loaders() -> None:
    """There is one place where keys and certificates are parsed, so that its bounds hold for all of them."""
    callers = {str(file.relative_to(OWN)) for file in OWN.rglob("*.py") if RAW.search(file.read_text(encoding="utf-8"))}
    assert callers == {"pki/loading.py"}


def test_bundles_are_trusted_in_one_place() -> None:
    """A bundle given to OpenSSL as a whole (`cadata`) is loaded with the interpreter's lock held."""
    files = {str(each.relative_to(OWN)) for each in OWN.rglob("*.py") if "cadata=" in each.read_text(encoding="utf-8")}
    assert files == {"pki/roots.py"}
