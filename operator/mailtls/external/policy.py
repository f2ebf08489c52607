"""The gate for pairs that somebody else wrote: what does not pass stays in the Secret, and goes to no pod.

Each check names one fault, with what to do about it; the first fault wins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailtls.api.spec import Desired
from mailtls.api.status import Stored
from mailtls.hostname import is_named
from mailtls.kube.snapshot import ServingSecret, Source
from mailtls.pki.certificate import Certificate
from mailtls.pki.served_certificate import WITHOUT_ISSUER, ServedCertificate, VerifyError
from mailtls.probe.facts import Verification
from mailtls.reasons.quoting import quote_all
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import CLOCK_SKEW, format_minute

LEFT_WHEN_LATE: Final = 4
"""Issuers renew when a third of the lifetime is left; with less than a quarter left they are late."""
_TEMPORARY: Final = "CN=cert-manager.local"  # who signs what cert-manager puts in while it waits for the real one


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is in the Secret, as the gate looks at it.

    `leaf` and `chain` are what the probe would say of it: the leaf read as a stranger's, and OpenSSL's word on the way
    from it to a root that is trusted here, None where there is no certificate that can be read.
    """

    pair: ServingSecret
    leaf: ServedCertificate | None = None
    chain: Verification | None = None


@dataclass(frozen=True, slots=True)
class GateInput:
    """All that the gate goes by; `accepted` is what passed it last in this Secret, if anything did."""

    desired: Desired
    candidate: Candidate
    accepted: Stored | None
    now: datetime


Check = Callable[[GateInput], Finding | None]


def secret_is_missing(given: GateInput) -> Finding | None:
    """Nobody has written the Secret yet, or somebody deleted it."""
    if given.candidate.pair.exists:
        return None
    name = given.desired.secret_name
    return Finding(
        Reason.SECRET_MISSING,
        f"Secret {name} does not exist: have it written with tls.crt and tls.key, such as by a cert-manager "
        f"Certificate with secretName: {name}, or remove spec.external so that mailtls orders one.",
    )


def secret_is_unreadable(given: GateInput) -> Finding | None:
    """The Secret lacks a certificate or a key, or they cannot be read."""
    pair = given.candidate.pair
    if pair.certificate is not None and pair.key_spki_sha256 is not None:
        return None
    what = (
        "certificate in PEM in tls.crt"
        if pair.certificate is None
        else "private key in PEM, without a password, in tls.key"
    )
    return Finding(
        Reason.SECRET_UNREADABLE,
        f"Secret {given.desired.secret_name}, written by {pair.source.words}, has no readable {what}. "
        f"{pair.source.advice}",
    )


def certificate_has_expired(given: GateInput) -> Finding | None:
    """The certificate is past its last moment: its issuer has not renewed it."""
    certificate, source = given.candidate.pair.certificate, given.candidate.pair.source
    if certificate is None or given.now < certificate.not_after:
        return None
    return Finding(
        Reason.CERTIFICATE_EXPIRED,
        f"The certificate in Secret {given.desired.secret_name} expired at {format_minute(certificate.not_after)}; "
        f"{source.words} has not renewed it. {source.advice}",
    )


def key_is_not_its_own(given: GateInput) -> Finding | None:
    """Certificate and key do not belong together: no server could start with them."""
    pair = given.candidate.pair
    if pair.certificate is None or pair.certificate.spki_sha256 == pair.key_spki_sha256:
        return None
    return Finding(Reason.CERTIFICATE_KEY_MISMATCH, "tls.key is not the key of the certificate in tls.crt.")


def names_are_missing(given: GateInput) -> Finding | None:
    """A name of the spec is not in the certificate, nor under a wildcard in it."""
    certificate = given.candidate.pair.certificate
    if certificate is None:
        return None
    missing = [name for name in given.desired.dns_names if not covers(certificate, name)]
    if not missing:
        return None
    have = quote_all(sorted(certificate.names)) or "no name"
    return Finding(
        Reason.CERTIFICATE_NAMES_MISMATCH,
        f"It is for {have}, and lacks {', '.join(missing)}: have the names added where it is ordered, or remove them "
        "from spec.dnsNames.",
    )


def covers(certificate: Certificate, name: str) -> bool:
    """Whether a certificate is for a name of a spec; one with a wildcard only where it has the same (RFC 9525, 6.3)."""
    return name in certificate.names or (not name.startswith("*.") and is_named(name, tuple(certificate.names)))


def is_not_valid_yet(given: GateInput) -> Finding | None:
    """The certificate begins later than now, by more than clocks differ."""
    certificate = given.candidate.pair.certificate
    if certificate is None or certificate.not_before - CLOCK_SKEW <= given.now:
        return None
    begins = format_minute(certificate.not_before)
    return Finding(Reason.CERTIFICATE_DATES_WRONG, f"It is valid from {begins} on only; check the issuer's clock.")


def is_for_another_purpose(given: GateInput) -> Finding | None:
    """The extended key usage leaves servers out (RFC 5280 section 4.2.1.12)."""
    leaf = given.candidate.leaf
    if leaf is None or leaf.for_servers:
        return None
    return Finding(
        Reason.WRONG_CERTIFICATE_PURPOSE,
        "Its extended key usage does not name serverAuth: order it with usages that include server auth.",
    )


def chain_is_out_of_order(given: GateInput) -> Finding | None:
    """A certificate is not signed by the one behind it, which servers send as it is (RFC 8446 section 4.4.2)."""
    certificate = given.candidate.pair.certificate
    if certificate is None or certificate.chain_is_ordered:
        return None
    return Finding(
        Reason.CERTIFICATE_CHAIN_BROKEN,
        "tls.crt does not hold the leaf first and each issuer right behind what it signed: put them in this order.",
    )


def chain_is_untrusted(given: GateInput) -> Finding | None:
    """The chain leads to no root that is trusted here: the system's, the installation's, or those of probe.trust."""
    chain, certificate = given.candidate.chain, given.candidate.pair.certificate
    if certificate is None or chain is None or chain.code == 0:
        return None
    trust = "name its root by spec.probe.trust, or in the Helm values by trust"
    if chain.code == VerifyError.SELF_SIGNED:
        words = f"It is self-signed, such as one that stands in until the first is issued: wait for that, or {trust}."
        return Finding(Reason.SELF_SIGNED, words)
    if _TEMPORARY in certificate.issuer:
        words = "It is cert-manager's temporary certificate, which no mail client trusts: the real one is waited for."
        return Finding(Reason.SELF_SIGNED, words)
    if chain.code in WITHOUT_ISSUER and chain.depth == 0:
        words = f"The certificate of its issuer is neither in tls.crt nor trusted: store the full chain, or {trust}."
        return Finding(Reason.INCOMPLETE_CHAIN, words)
    if chain.code == VerifyError.EXPIRED:
        return Finding(
            Reason.CERTIFICATE_EXPIRED, "A certificate above the leaf has expired: store the CA's current chain."
        )
    return Finding(Reason.UNTRUSTED_ROOT, f"Its chain is not trusted here ({chain.words}): {trust}.")


def is_a_trial_over_a_trusted_one(given: GateInput) -> Finding | None:
    """A certificate of Let's Encrypt's staging CA is in the place of one that mail clients trust."""
    chain, accepted = given.candidate.chain, given.accepted
    if chain is None or not chain.is_trial or accepted is None or accepted.is_trial:
        return None
    return Finding(
        Reason.STAGING_CERTIFICATE,
        "It is of Let's Encrypt's staging CA, which mail clients do not trust, and the one before is trusted: have it "
        "ordered from the real one.",
    )


def is_older(given: GateInput) -> Finding | None:
    """It was issued before the one that passed last, which is still valid: a backup that was restored, say."""
    certificate, accepted, pair = given.candidate.pair.certificate, given.accepted, given.candidate.pair
    if certificate is None or accepted is None or accepted.sha256 == certificate.sha256 or pair.is_vouched_for:
        return None
    if accepted.not_before is None or accepted.not_after is None or given.now >= accepted.not_after:
        return None
    if certificate.not_before >= accepted.not_before:
        return None
    return Finding(
        Reason.CERTIFICATE_WORSE,
        f"It was issued at {format_minute(certificate.not_before)}, before the one that serves: have a new one issued, "
        f"or, to go back on purpose, set the Secret's annotation mailtls.dev/adopt to {certificate.sha256}.",
    )


SOURCE_CHECKS: Final[tuple[Check, ...]] = (secret_is_missing, secret_is_unreadable, certificate_has_expired)
"""What has a reason of its own in the conditions."""
CHECKS: Final[tuple[Check, ...]] = (
    key_is_not_its_own,
    names_are_missing,
    is_not_valid_yet,
    is_for_another_purpose,
    chain_is_out_of_order,
    chain_is_untrusted,
    is_a_trial_over_a_trusted_one,
    is_older,
)


def refusal(given: GateInput) -> Finding | None:
    """Say why what is in the Secret goes to no pod; None where it may."""
    if (found := next((found for check in SOURCE_CHECKS if (found := check(given))), None)) is not None:
        return found
    fault = next((found for check in CHECKS if (found := check(given))), None)
    return _refused(given, fault) if fault is not None else None


def _refused(given: GateInput, fault: Finding) -> Finding:
    certificate, source = given.candidate.pair.certificate, given.candidate.pair.source
    which = f"Certificate {certificate.serial_number}" if certificate is not None else "What"
    return Finding(
        Reason.CANDIDATE_REFUSED,
        f"{which} in Secret {given.desired.secret_name}, written by {source.words}, goes to no pod: {fault.reason}: "
        f"{fault.message}",
    )


def late_at(certificate: Certificate, desired: Desired) -> datetime:
    """Return when whoever renews the certificate should have done so at the latest."""
    before = desired.renewal.before or (certificate.not_after - certificate.not_before) / LEFT_WHEN_LATE
    return certificate.not_after - before


def lateness(certificate: Certificate, source: Source, desired: Desired, now: datetime) -> Finding | None:
    """Say that the issuer has not renewed a certificate that is near its end; None where there is time."""
    if now < late_at(certificate, desired):
        return None
    return Finding(
        Reason.RENEWAL_MISSING,
        f"The certificate expires at {format_minute(certificate.not_after)}, and {source.words} has not renewed it. "
        f"{source.advice}",
    )


def next_check_at(certificate: Certificate, now: datetime) -> datetime | None:
    """Return when time alone may have the gate say something else; None: never again."""
    times = (certificate.not_before - CLOCK_SKEW, certificate.not_after)
    return min((at for at in times if at > now), default=None)
