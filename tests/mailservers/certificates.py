"""A small certificate authority that also makes every kind of certificate a server should not serve."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailtls.probe.target import Expected

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

HOST = "mx1.example.com"
DAY = timedelta(days=1)
_RSA_SHA256 = bytes.fromhex("2a864886f70d01010b")  # the signature algorithms as they stand in a certificate
_RSA_SHA1 = bytes.fromhex("2a864886f70d010105")


@dataclass(frozen=True, slots=True)
class Served:
    """What a server is given: certificates leaf first, and the leaf's key."""

    chain: tuple[x509.Certificate, ...]
    key: Key

    @property
    def pem(self) -> bytes:
        """Key and chain in one file, as `ssl` and Postfix read them."""
        return self.key_pem + self.chain_pem

    @property
    def key_pem(self) -> bytes:
        """The private key alone."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def chain_pem(self) -> bytes:
        """The chain alone."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    @property
    def sha256(self) -> str:
        """Fingerprint of the leaf."""
        return sha256(self.chain[0].public_bytes(Encoding.DER)).hexdigest()

    def without_intermediate(self) -> "Served":
        """The leaf alone, as many an administrator installs it."""
        return Served(self.chain[:1], self.key)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a leaf should be like; the default is a good one."""

    names: tuple[str, ...] = (HOST,)
    common_name: str = HOST
    valid_from: timedelta = -1 * DAY  # relative to now
    valid_until: timedelta = 89 * DAY
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    rsa_bits: int = 0  # 0: ECDSA P-256
    self_signed: bool = False
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    policy: str = ""  # an object identifier


class Authority:
    """A root and an intermediate that issue on demand."""

    def __init__(self, name: str = "Test Root") -> None:
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        root_name, own_name = _name(name), _name(f"{name} Intermediate")
        self.root = _authority(root_name, self._root_key, root_name, self._root_key)
        self.intermediate = _authority(own_name, self._key, root_name, self._root_key)

    @property
    def roots_pem(self) -> str:
        """The root, to be trusted."""
        return self.root.public_bytes(Encoding.PEM).decode()

    @property
    def bundle_pem(self) -> str:
        """Intermediate and root, as some CAs hand them out."""
        return self.intermediate.public_bytes(Encoding.PEM).decode() + self.roots_pem

    def issue(self, wanted: Wanted | None = None) -> Served:
        """Make a leaf with its chain."""
        wanted = wanted or Wanted()
        key: Key = (
            rsa.generate_private_key(65537, wanted.rsa_bits)
            if wanted.rsa_bits
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = _name(wanted.common_name)
        signer, issuer = (key, subject) if wanted.self_signed else (self._key, self.intermediate.subject)
        builder = _builder(subject, key.public_key(), issuer, wanted)
        builder = builder.add_extension(x509.ExtendedKeyUsage([wanted.usage]), critical=False)
        if wanted.policy:
            policy = x509.PolicyInformation(x509.ObjectIdentifier(wanted.policy), None)
            builder = builder.add_extension(x509.CertificatePolicies([policy]), critical=False)
        if names := _names(wanted):
            is_only_name = not wanted.common_name  # then it is critical (RFC 5280 section 4.2.1.6)
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=is_only_name)
        leaf = builder.sign(signer, hashes.SHA256())
        return Served((leaf,) if wanted.self_signed else (leaf, self.intermediate), key)

    def cross_signed_by_the_past(self) -> x509.Certificate:
        """The root, signed by another one that has expired: DST Root CA X3 stood over Let's Encrypt's like that."""
        name, key = _name("Expired Root"), ec.generate_private_key(ec.SECP256R1())
        wanted = Wanted(valid_from=-3650 * DAY, valid_until=-10 * DAY)
        builder = _builder(self.root.subject, self._root_key.public_key(), name, wanted)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(key, hashes.SHA256())

    def issue_with_sha1(self) -> Served:
        """Make a leaf signed as nobody should any more: no library does it, so a good one is signed again."""
        signer = rsa.generate_private_key(65537, 2048)
        name = _name("Test SHA-1 Intermediate")
        intermediate = _authority(name, signer, self.root.subject, self._root_key)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(HOST), key.public_key(), name, Wanted())
        names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
        good = builder.add_extension(names, critical=False).sign(signer, hashes.SHA256())
        asked = good.tbs_certificate_bytes.replace(_RSA_SHA256, _RSA_SHA1)
        signature = signer.sign(asked, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
        whole = good.public_bytes(Encoding.DER).replace(_RSA_SHA256, _RSA_SHA1)
        leaf = x509.load_der_x509_certificate(whole.replace(good.signature, signature))
        return Served((leaf, intermediate), key)

    def expects(self, served: Served) -> Expected:
        """What a probe should expect where `served` is the stored certificate."""
        return Expected(served.sha256, self.roots_pem, served.chain[0].not_valid_before_utc)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _names(wanted: Wanted) -> list[x509.GeneralName]:
    addresses = [x509.IPAddress(ip_address(address)) for address in wanted.addresses]
    uris = [x509.UniformResourceIdentifier(uri) for uri in wanted.uris]
    return [*(x509.DNSName(name) for name in wanted.names), *addresses, *uris]


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, issuer: x509.Name, wanted: Wanted
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now + wanted.valid_from)
        .not_valid_after(now + wanted.valid_until)
    )


def _authority(subject: x509.Name, key: Key, issuer: x509.Name, signer: Key) -> x509.Certificate:
    builder = _builder(subject, key.public_key(), issuer, Wanted(valid_from=-365 * DAY, valid_until=3650 * DAY))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(signer, hashes.SHA256())
