"""What a certificate is ordered with, and what comes of it.

Private keys and signing requests (RFC 2986); chains as a CA hands them out (RFC 8555 section 7.4.2), and leaves that
need none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urljoin

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import crypto
from requests.utils import parse_header_links

from mailtls.api.spec import PrivateKeyPolicy
from mailtls.issuance.acme.problem import not_acme
from mailtls.pki import loading
from mailtls.pki.certificate import KeyAlgorithm, KeyMaterial, root_of
from mailtls.pki.loading import certificates, private_key
from mailtls.probe.tls.handshake import TrustStore

LONGEST_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name
CURVES = {256: ec.SECP256R1, 384: ec.SECP384R1}


def new_key(policy: PrivateKeyPolicy) -> KeyMaterial:
    """Draw a new private key, in PKCS #8 PEM, which every mail server reads."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if policy.algorithm is KeyAlgorithm.ECDSA:
        key = ec.generate_private_key(CURVES[policy.size]())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=policy.size)
    return KeyMaterial(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def key_follows(key: KeyMaterial, policy: PrivateKeyPolicy) -> bool:
    """Whether a key that is already there is what the policy would draw."""
    private = private_key(key.pem)
    wanted = {KeyAlgorithm.ECDSA: ec.EllipticCurvePrivateKey, KeyAlgorithm.RSA: rsa.RSAPrivateKey}[policy.algorithm]
    return isinstance(private, wanted) and getattr(private, "key_size", 0) == policy.size


def signing_request(key: KeyMaterial, names: Sequence[str], *, common_name: bool = False) -> bytes:
    """The CSR in DER: no subject, the names as DNS-IDs, as the CAs of the web want it (RFC 8555 section 7.4).

    `common_name`: the subject holds the first of the names that fits into one, for private authorities that want it.
    """
    private = private_key(key.pem)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("only ECDSA and RSA keys sign requests")
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    short = [name for name in names if len(name) <= LONGEST_COMMON_NAME] if common_name else []
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in short[:1]])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    is_alone = not short  # RFC 5280 section 4.2.1.6: without a subject the names must be understood
    return request.add_extension(alternative, critical=is_alone).sign(private, SHA256()).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Offer:
    """The chain that was chosen; `roots` are the common names of all roots offered, where they had to be read."""

    chain_pem: str
    roots: tuple[str, ...] = ()


def choose(chains: Sequence[str], preferred: str) -> Offer:
    """Take the first chain that leads to the preferred root; where none does, the first of all, which is the default.

    Only then all chains were read, so that their roots are known.
    """
    found = next((chain for chain in chains if ends_in(chain, preferred)), None)
    if found is not None:
        return Offer(found)
    roots = (root_of(certificates(chain.encode())) for chain in chains)
    return Offer(chains[0], tuple(dict.fromkeys(roots)))


def clean_chain(pem: str) -> str:
    """Return only the certificates of an answer, each as PEM: nothing else may slip into a Secret.

    RFC 8555 section 11.4 asks clients to check this. Raises ValueError when there is no certificate.
    """
    found = certificates(pem.encode())
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in found)


def chain_of(response: requests.Response) -> str:
    """Return the clean chain of an answer; raises `AcmeProblem` where it holds none."""
    try:
        return clean_chain(response.text)
    except ValueError as error:
        raise not_acme(response.url) from error


def ends_in(chain_pem: str, common_name: str) -> bool:
    """Whether a chain leads to the root of this common name: the issuer of its last certificate."""
    last = certificates(chain_pem.encode())[-1]
    issuers = last.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return any(attribute.value == common_name for attribute in issuers)


def links(response: requests.Response, relation: str) -> list[str]:
    """Return the URLs that an answer's Link headers give for a relation (RFC 8288); there may be several."""
    found = parse_header_links(response.headers.get("Link", ""))
    urls = (str(link.get("url", "")) for link in found if link.get("rel") == relation)
    return [whole for url in urls if (whole := _joined(response.url, url))]


def _joined(base: str | None, url: str) -> str:
    """Make a relative reference whole (RFC 8288 section 3.2); empty for what is no URL."""
    try:
        return urljoin(base or "", url)
    except ValueError:
        return ""


def is_anchored(leaf_pem: str, roots_pem: str, now: datetime) -> bool:
    """Whether a root that is trusted by default, or one of `roots_pem`, signed the leaf itself."""
    try:
        (_,) = loading.certificates(leaf_pem.encode())
    except ValueError:
        return False
    return is_trusted(leaf_pem, roots_pem, now)


def is_trusted(chain_pem: str, roots_pem: str, now: datetime, *, trusts_staging: bool = False) -> bool:
    """Whether the chain leads to a root that is trusted by default, or to one of `roots_pem`."""
    try:
        chain = loading.certificates(chain_pem.encode())
        served = [crypto.X509.from_cryptography(each) for each in chain]
        der = tuple(each.public_bytes(Encoding.DER) for each in chain)
        found = TrustStore(roots_pem, now, trusts_staging=trusts_staging).verify(der, served)
    except ValueError:
        return False
    return found.code == 0
