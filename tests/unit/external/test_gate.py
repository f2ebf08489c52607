"""The gate for pairs of others: what is wrong with one is named, with what to do, and what is right passes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.stories import DAY, NOW, certificate, desired, secret
from mailtls.api.spec import Renewal
from mailtls.api.status import Stored
from mailtls.external.policy import Candidate, GateInput, late_at, lateness, next_check_at, refusal
from mailtls.kube.snapshot import ServingSecret, Source
from mailtls.pki.served_certificate import ServedCertificate
from mailtls.probe.facts import Verification
from mailtls.reasons.reason import Reason

CERT_MANAGER = Source("cert-manager (Certificate mx)", "See why: kubectl describe certificate mx.")
LEAF = ServedCertificate(
    sha256="aa" * 32,
    subject="CN=mx",
    issuer="CN=Test",
    dns_names=("mx.example.test",),
    ip_addresses=(),
    not_before=NOW - DAY,
    not_after=NOW + DAY,
    self_issued=False,
    key_kind="ECDSA",
    key_bits=256,
    signature_hash="sha256",
    for_servers=True,
)
ACCEPTED = Stored("mx-tls", "uid-2", "dd" * 32, NOW - 40 * DAY, NOW + 50 * DAY)


def pair(**changes: Any) -> ServingSecret:
    """A pair of cert-manager's whose certificate is bent this way."""
    return secret(certificate=certificate(**changes), source=CERT_MANAGER)


def given(candidate: Candidate | None = None, accepted: Stored | None = ACCEPTED, **wanted: Any) -> GateInput:
    """All is well, but for these."""
    return GateInput(
        desired(is_external=True, **wanted), candidate or Candidate(pair(), LEAF, Verification()), accepted, NOW
    )


def fault(candidate: Candidate, accepted: Stored | None = ACCEPTED, **wanted: Any) -> str:
    """Say for what a candidate is refused, who wrote it being named."""
    found = refusal(given(candidate, accepted, **wanted))
    assert found is not None
    assert found.reason is Reason.CANDIDATE_REFUSED
    assert "Secret mx-tls, written by cert-manager (Certificate mx), goes to no pod: " in found.message
    return found.message.partition("goes to no pod: ")[2]


@pytest.mark.parametrize("accepted", [None, ACCEPTED, replace(ACCEPTED, sha256="aa" * 32)])
def test_good_renewal_passes(accepted: Stored | None) -> None:
    """A pair that belongs together, for the names, valid, trusted and newer is let through; so is the same again."""
    assert refusal(given(accepted=accepted)) is None


def test_missing_secret_names_who_may_write_it() -> None:
    """Without a Secret there is a way to go on for each: have it written, or order here."""
    found = refusal(given(Candidate(ServingSecret(exists=False))))
    assert found is not None
    assert found.reason is Reason.SECRET_MISSING
    assert "cert-manager Certificate with secretName: mx-tls" in found.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"certificate": None}, "certificate in PEM in tls.crt"), ({"key_spki_sha256": None}, "tls.key")],
)
def test_unreadable_secret_says_which_half_is(changes: dict[str, Any], words: str) -> None:
    """What cannot be read is named by its entry, with its writer and where to look."""
    found = refusal(given(Candidate(replace(pair(), **changes))))
    assert found is not None
    assert found.reason is Reason.SECRET_UNREADABLE
    assert words in found.message
    assert found.message.endswith(CERT_MANAGER.advice)


def test_expired_certificate_names_the_issuer_that_is_late() -> None:
    """An expired certificate has its own reason, and says whose work was not done."""
    found = refusal(given(Candidate(pair(not_after=NOW), LEAF, Verification())))
    assert found is not None
    assert found.reason is Reason.CERTIFICATE_EXPIRED
    assert "cert-manager (Certificate mx) has not renewed it" in found.message


def test_key_of_another_certificate_is_refused() -> None:
    """No server could start with them."""
    other = replace(pair(), key_spki_sha256="ee" * 32)
    assert fault(Candidate(other, LEAF, Verification())).startswith("CertificateKeyMismatch: tls.key is not the key")


def test_missing_name_is_refused_and_named() -> None:
    """The names that are there and the one that is not are both said."""
    words = fault(Candidate(pair(names=frozenset({"www.example.test"})), LEAF, Verification()))
    assert words.startswith("CertificateNamesMismatch")
    assert "lacks mx.example.test" in words


@pytest.mark.parametrize(
    ("names", "wanted", "passes"),
    [
        ({"*.example.test"}, ("mx.example.test",), True),
        ({"*.example.test"}, ("a.mx.example.test",), False),
        ({"mx.example.test"}, ("mx.example.test", "*.example.test"), False),
        ({"mx.example.test", "*.example.test"}, ("mx.example.test", "*.example.test"), True),
    ],
)
def test_wildcard_counts_for_one_label(names: set[str], wanted: tuple[str, ...], passes: bool) -> None:
    """A certificate for a wildcard is for each name right below it, and a wanted wildcard must be there itself."""
    found = refusal(given(Candidate(pair(names=frozenset(names)), LEAF, Verification()), dns_names=wanted))
    assert (found is None) is passes


def test_certificate_of_tomorrow_is_refused_until_then() -> None:
    """Its first moment is said, and when the gate is to be asked again; an hour ahead is a clock that differs."""
    early = certificate(not_before=NOW + DAY)
    assert fault(Candidate(pair(not_before=NOW + DAY), LEAF, Verification())).startswith("CertificateDatesWrong")
    assert next_check_at(early, NOW) == NOW + DAY - timedelta(hours=1)
    assert refusal(given(Candidate(pair(not_before=NOW + timedelta(minutes=59)), LEAF, Verification()))) is None


def test_certificate_for_clients_alone_is_refused() -> None:
    """Mail clients turn down a server with a certificate that is not for servers."""
    assert fault(Candidate(pair(), replace(LEAF, for_servers=False), Verification())).startswith(
        "WrongCertificatePurpose"
    )


def test_chain_out_of_order_is_refused() -> None:
    """Servers send what is in tls.crt as it is."""
    assert fault(Candidate(pair(chain_is_ordered=False), LEAF, Verification())).startswith("CertificateChainBroken")


@pytest.mark.parametrize(
    ("verification", "words"),
    [
        (Verification(18, 0, "self-signed certificate"), "SelfSigned: It is self-signed"),
        (
            Verification(20, 0, "unable to get local issuer certificate"),
            "IncompleteChain: The certificate of its issuer",
        ),
        (
            Verification(2, 1, "unable to get issuer certificate"),
            "UntrustedRoot: Its chain is not trusted here (unable",
        ),
        (Verification(10, 1, "certificate has expired"), "CertificateExpired: A certificate above the leaf"),
    ],
)
def test_chain_that_is_not_trusted_is_refused(verification: Verification, words: str) -> None:
    """Why the way to a root fails is told apart, and roots can be named."""
    assert fault(Candidate(pair(), LEAF, verification)).startswith(words)


def test_temporary_certificate_of_cert_manager_is_called_by_its_name() -> None:
    """What cert-manager puts in while it waits for the real one is waited for."""
    words = fault(Candidate(pair(issuer="CN=cert-manager.local"), LEAF, Verification(20, 0, "unable")))
    assert "cert-manager's temporary certificate" in words


@pytest.mark.parametrize(
    ("accepted", "passes"), [(ACCEPTED, False), (replace(ACCEPTED, is_trial=True), True), (None, True)]
)
def test_staging_certificate_passes_only_where_no_trusted_one_was(accepted: Stored | None, passes: bool) -> None:
    """One may begin with Let's Encrypt's staging CA, and not go back to it."""
    trial = given(Candidate(pair(), LEAF, Verification(is_trial=True)), accepted)
    found = refusal(trial)
    assert (found is None) is passes
    if found is not None:
        assert "StagingCertificate" in found.message


def test_older_certificate_is_refused_unless_a_person_names_it() -> None:
    """A backup that was restored is no renewal; who means it sets the annotation that the message tells."""
    older = pair(not_before=NOW - 60 * DAY)
    words = fault(Candidate(older, LEAF, Verification()))
    assert f"mailtls.dev/adopt to {'aa' * 32}" in words
    assert refusal(given(Candidate(replace(older, is_vouched_for=True), LEAF, Verification()))) is None


@pytest.mark.parametrize("accepted", [replace(ACCEPTED, not_after=NOW), replace(ACCEPTED, not_before=None)])
def test_older_certificate_passes_where_nothing_better_serves(accepted: Stored) -> None:
    """An older one is better than one that has expired, or of which nothing is known."""
    assert refusal(given(Candidate(pair(not_before=NOW - 60 * DAY), LEAF, Verification()), accepted)) is None


def test_issuer_is_late_with_a_quarter_of_the_lifetime_left() -> None:
    """Issuers renew with a third left; when a quarter is, the one that did not is named, with where to look."""
    fresh, wanted = certificate(not_before=NOW - 60 * DAY, not_after=NOW + 30 * DAY), desired(is_external=True)
    assert late_at(fresh, wanted) == NOW + 7.5 * DAY
    assert lateness(fresh, CERT_MANAGER, wanted, NOW) is None
    found = lateness(fresh, CERT_MANAGER, wanted, NOW + 8 * DAY)
    assert found is not None
    assert found.reason is Reason.RENEWAL_MISSING
    assert found.message.endswith(
        "cert-manager (Certificate mx) has not renewed it. See why: kubectl describe certificate mx."
    )


def test_time_of_renewal_may_be_set() -> None:
    """Where spec.renewal.before says when a renewal is expected, that counts."""
    wanted = desired(is_external=True, renewal=Renewal(before=40 * DAY))
    assert lateness(certificate(not_after=NOW + 41 * DAY), CERT_MANAGER, wanted, NOW) is None
    assert lateness(certificate(not_after=NOW + 40 * DAY), CERT_MANAGER, wanted, NOW) is not None
