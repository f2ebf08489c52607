"""How every message describes a certificate."""

import re
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


def test_empty_subject_is_left_out() -> None:
    """Certificates of short life name nobody there (RFC 5280 section 4.1.2.6): the names are in an extension."""
    leaf = CA.issue(Wanted(common_name="")).chain[0]
    assert not leaf.subject
    assert re.search(r" UTC, issued by CN=", describe(read_served(leaf.public_bytes(Encoding.DER))))


def test_certificate_that_cannot_be_read_is_described_as_that() -> None:
    """A server may send anything."""
    assert describe(read_served(b"garbage")) == "a certificate that cannot be read"
