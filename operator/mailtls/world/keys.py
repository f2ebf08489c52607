"""Make private keys and certificate signing requests (RFC 2986)."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mailtls.model.certificate import KeyMaterial
from mailtls.model.loading import private_key
from mailtls.model.spec import KeyAlgorithm, PrivateKeyPolicy

CURVES = {256: ec.SECP256R1, 384: ec.SECP384R1}


def generate(policy: PrivateKeyPolicy) -> KeyMaterial:
    """Draw a new private key, in PKCS #8 PEM, which every mail server reads."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if policy.algorithm is KeyAlgorithm.ECDSA:
        key = ec.generate_private_key(CURVES[policy.size]())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=policy.size)
    return KeyMaterial(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def follows(key: KeyMaterial, policy: PrivateKeyPolicy) -> bool:
    """Whether a key that is already there is what the policy would draw."""
    private = private_key(key.pem)
    wanted = {KeyAlgorithm.ECDSA: ec.EllipticCurvePrivateKey, KeyAlgorithm.RSA: rsa.RSAPrivateKey}[policy.algorithm]
    return isinstance(private, wanted) and getattr(private, "key_size", 0) == policy.size


def signing_request(key: KeyMaterial, names: Sequence[str]) -> bytes:
    """The CSR in DER: no subject, the names as DNS-IDs, as the CAs of the web want it (RFC 8555 section 7.4)."""
    private = private_key(key.pem)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("only ECDSA and RSA keys sign requests")
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.add_extension(alternative, critical=True).sign(private, SHA256()).public_bytes(Encoding.DER)
