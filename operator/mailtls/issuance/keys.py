"""Make private keys and certificate signing requests (RFC 2986)."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtls.api.spec import PrivateKeyPolicy
from mailtls.pki.certificate import KeyAlgorithm, KeyMaterial
from mailtls.pki.loading import private_key

LONGEST_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name
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
