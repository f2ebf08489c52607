"""What may be written into the Secret."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from builders.contexts import a_context
from builders.stories import DAY, NOW, certificate, desired, secret
from mailtls.api.status import Status
from mailtls.issuance.policy import names_differ
from mailtls.issuance.storage import Candidate, chain_leads_elsewhere, fault_of, names_were_added, noted
from mailtls.kube.snapshot import ServingSecret
from mailtls.pki.certificate import LONGEST_NAME, Certificate, parse_chain
from mailtls.reasons.reason import Reason, Severity

KEY = "bb" * 32


def test_good_certificate_is_stored() -> None:
    """Nothing speaks against a certificate that is newer than the stored one."""
    newer = certificate(not_after=NOW + 90 * DAY)
    assert fault_of(Candidate(newer, KEY), a_context(), NOW) is None


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (certificate(spki_sha256="00" * 32), Reason.CERTIFICATE_KEY_MISMATCH),
        (certificate(names=frozenset()), Reason.CERTIFICATE_NAMES_MISMATCH),
        (certificate(names=frozenset({"www.test"})), Reason.CERTIFICATE_NAMES_MISMATCH),
        (certificate(chain_is_ordered=False), Reason.CERTIFICATE_CHAIN_BROKEN),
        (certificate(chain_pem="-----BEGIN CERTIFICATE-----"), Reason.CERTIFICATE_CHAIN_BROKEN),
        (certificate(not_after=NOW), Reason.CERTIFICATE_DATES_WRONG),
        (certificate(not_before=NOW + DAY), Reason.CERTIFICATE_DATES_WRONG),
        (certificate(not_before=NOW - 11 * DAY, not_after=NOW + 79 * DAY), Reason.CERTIFICATE_WORSE),
    ],
)
def test_fault_in_the_offer_is_named(offered: Certificate, reason: Reason) -> None:
    """Each fault is a reason of its own and keeps the stored pair."""
    found = fault_of(Candidate(offered, KEY), a_context(), NOW)
    assert found is not None
    assert found.reason is reason


@pytest.mark.parametrize(
    "have",
    [
        ServingSecret(exists=False),
        secret(acme_server="https://other.test"),
        secret(profile="classic"),
        secret(key_spki_sha256="00" * 32),
        secret(certificate=certificate(names=frozenset({"old.test"}), not_after=NOW + 900 * DAY)),
        secret(certificate=certificate(key_size=384, not_after=NOW + 900 * DAY)),
    ],
)
def test_stored_certificate_that_is_not_wanted_is_replaced(have: ServingSecret) -> None:
    """A later date protects only a certificate that the spec still wants."""
    older = certificate(not_before=NOW - 11 * DAY, not_after=NOW + 79 * DAY)
    assert fault_of(Candidate(older, KEY), a_context(secret=have), NOW) is None


@pytest.mark.parametrize(
    ("preferred", "offered", "words"),
    [
        (None, (), None),
        ("Root A", (), None),
        ("Root C", ("Root A", "Root B"), "(Root A, Root B), or remove it: Root C is none."),
        ("Root B", ("Root A", "Root B"), "the next renewal asks for the one to Root B."),
        ("Root B", (), "The chain leads to Root A;"),
    ],
    ids=["none preferred", "as preferred", "not offered", "offered", "not asked for yet"],
)
def test_chain_to_another_root_is_said_with_those_offered(
    preferred: str | None, offered: tuple[str, ...], words: str | None
) -> None:
    """Whoever prefers a root that the CA does not lead to learns which ones there are, and keeps the certificate."""
    wanted = desired(acme=replace(desired().acme, preferred_chain=preferred))
    found = chain_leads_elsewhere(a_context(wanted, secret=secret(certificate=certificate(roots_offered=offered))))
    assert (found is None) is (words is None)
    if found is not None and words is not None:
        assert (found.reason, found.severity) == (Reason.CHAIN_UNAVAILABLE, Severity.WARN)
        assert words in found.message


def test_chain_of_another_authority_is_no_matter() -> None:
    """What the CA of the spec offers is not known before it was asked."""
    wanted = desired(acme=replace(desired().acme, preferred_chain="Root C"))
    assert chain_leads_elsewhere(a_context(wanted, secret=secret(acme_server="https://other.test"))) is None


def test_newer_certificate_with_a_shorter_life_is_stored() -> None:
    """A CA that revokes, or shortens its lifetimes, wants the new certificate to be served."""
    shorter = certificate(not_before=NOW, not_after=NOW + 6 * DAY)
    assert fault_of(Candidate(shorter, KEY), a_context(), NOW) is None


def test_added_names_and_a_leaf_that_needs_no_issuer_are_no_faults() -> None:
    """The certificate is for the key and for every wanted name, and leads to a root that is trusted."""
    more = certificate(not_after=NOW + 90 * DAY, names=frozenset({"mx.example.test", "www.test"}))
    assert fault_of(Candidate(more, KEY), a_context(), NOW) is None
    alone = certificate(not_after=NOW + 90 * DAY, chain_pem="-----BEGIN CERTIFICATE-----", is_anchored=True)
    assert fault_of(Candidate(alone, KEY), a_context(), NOW) is None


def test_added_names_are_told_for_as_long_as_the_spec_asks_for_the_others() -> None:
    """Another spec brings another certificate, which is then told of."""
    names = frozenset({"mx.example.test", "www.test"})
    have = secret(certificate=certificate(names=names, names_asked=frozenset({"mx.example.test"})))
    found = names_were_added(a_context(secret=have))
    assert found is not None
    assert (found.reason, found.severity) == (Reason.CERTIFICATE_NAMES_ADDED, Severity.WARN)
    assert "www.test" in found.message
    assert names_were_added(a_context(desired(dns_names=tuple(names)), secret=have)) is None
    assert names_differ(a_context(secret=have), NOW) is None
    assert names_differ(a_context(desired(dns_names=tuple(names)), secret=have), NOW) is None
    assert names_differ(a_context(desired(dns_names=("www.test",)), secret=have), NOW) is not None


def test_names_that_a_signer_chose_are_bounded() -> None:
    """Whoever writes the Secret may sign anything, and its status must still fit into the API server."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, f"{n}\u202e" * 8) for n in range(100)]
    issuer, now = x509.Name(attributes), datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("x" * 5_000), x509.DNSName("mx.example.test")])
    builder = x509.CertificateBuilder(issuer, issuer, key.public_key(), 7, now, now).add_extension(
        names, critical=False
    )
    found = parse_chain(builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode())
    assert len(found.issuer) == len(found.root) == LONGEST_NAME
    assert "\u202e" not in found.issuer
    stored = secret(certificate=found)
    due = names_differ(a_context(secret=stored), NOW)
    assert due is not None
    assert len(due.message) < LONGEST_NAME
    assert len(noted(a_context(secret=stored, status=Status()), NOW).snapshot.status.history[0].message) < LONGEST_NAME
