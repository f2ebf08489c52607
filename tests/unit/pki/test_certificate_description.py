"""How every message describes a certificate."""

from datetime import timedelta

from cryptography.hazmat.primitives.serialization import Encoding

from mailservers.certificates import Authority, Wanted
from mailtls.pki.served_certificate import describe, read_served

CA = Authority("A CA")


def test_description_has_fingerprint_validity_subject_and_issuer() -> None:
    """Evidence shows the whole fingerprint, a sentence the first digits of it."""
    wanted = Wanted(common_name="mx1.example.com", valid_from=timedelta(-9), valid_until=timedelta(days=9))
    leaf = CA.issue(wanted).chain[0]
    served = read_served(leaf.public_bytes(Encoding.DER))
    assert served is not None
    first, last = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
    rest = f", valid {first} to {last}, subject {served.subject}, issued by {served.issuer}"
    assert describe(served) == f"SHA-256 {served.sha256}{rest}"
    assert describe(served, digits=16) == f"SHA-256 {served.sha256[:16]}…{rest}"


def test_certificate_that_cannot_be_read_is_described_as_that() -> None:
    """A server may send anything."""
    assert describe(read_served(b"garbage")) == "a certificate that cannot be read"
