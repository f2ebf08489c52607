"""NCSC's bands of keys, and where people and programs read them."""

import json

import pytest

from builders.surveys import good, survey, text
from mailservers.certificates import Authority, Wanted
from mailtls.cli.output.machine import json_report
from mailtls.pki.served_certificate import KeyBand, key_band


@pytest.mark.parametrize(
    ("kind", "bits", "band"),
    [
        ("RSA", 1024, KeyBand.BAD),
        ("RSA", 2047, KeyBand.BAD),
        ("RSA", 2048, KeyBand.PHASE_OUT),
        ("RSA", 3071, KeyBand.PHASE_OUT),
        ("RSA", 3072, KeyBand.GOOD),
        ("RSA", 4096, KeyBand.GOOD),
        ("ECDSA", 192, KeyBand.BAD),
        ("ECDSA", 224, KeyBand.PHASE_OUT),
        ("ECDSA", 256, KeyBand.GOOD),
        ("other", 0, None),
    ],
)
def test_key_is_in_its_band(kind: str, bits: int, band: KeyBand | None) -> None:
    """The edges of each band; nothing is said of kinds that cannot be weighed."""
    assert key_band(kind, bits) is band


def test_reports_show_a_key_to_be_phased_out_without_a_warning() -> None:
    """An RSA key of 2048 bits is shown for what it is, and all is well with it."""
    served = Authority().issue(Wanted(names=("mx1.example.com",), rsa_bits=2048))
    found = survey(endpoints=(good(served),))
    assert found.findings == ()
    assert "     key           RSA 2048, phase out (NCSC)\n" in text(found)
    chain = json.loads(json_report(found))["endpoints"][0]["chain"]
    assert [each["keyBand"] for each in chain] == ["phase out", "good"]
