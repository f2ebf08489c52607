"""Checks on the dates of the certificate that was served: over, still ahead, over soon, and too far apart."""

from datetime import UTC, datetime, timedelta
from typing import Final

from mailtls.pki.served_certificate import ServedCertificate, VerifyError, describe
from mailtls.probe.checks.input import CheckInput, chain
from mailtls.probe.checks.served_certificate import verification
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.times import format_minute

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
# Baseline Requirements of the CA/Browser Forum, section 6.3.2: for what is issued from when on, newest first.
_OF_PUBLIC_CAS: Final = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47 * _DAY),
    (datetime(2027, 3, 15, tzinfo=UTC), 100 * _DAY),
    (datetime(2026, 3, 15, tzinfo=UTC), 200 * _DAY),
    (datetime(2020, 9, 1, tzinfo=UTC), 398 * _DAY),
    (datetime(2018, 3, 1, tzinfo=UTC), 825 * _DAY),
)
_APPLE: Final = (datetime(2019, 7, 1, tzinfo=UTC), 825 * _DAY)
"""What Apple's devices accept of any CA (its support article 103769)."""


def certificate_is_expired(given: CheckInput) -> Finding | None:
    """The last moment of validity is past, for the leaf or for one above it."""
    leaf, verdict = given.leaf, verification(given)
    if leaf and leaf.not_after < given.now:
        return Finding(
            Reason.CERTIFICATE_EXPIRED,
            f"The served certificate expired at {format_minute(leaf.not_after)}: renew it.",
            evidence=describe(leaf),
        )
    return (
        Finding(
            Reason.CERTIFICATE_EXPIRED,
            f"A certificate above the leaf has expired ({verdict.words}): serve the CA's current chain.",
            evidence=chain(given),
        )
        if verdict.code == VerifyError.EXPIRED and verdict.depth
        else None
    )


def certificate_is_not_yet_valid(given: CheckInput) -> Finding | None:
    """The first moment of validity is ahead, for the leaf or for one above it."""
    leaf, verdict = given.leaf, verification(given)
    if leaf and leaf.not_before > given.now:
        return Finding(
            Reason.CERTIFICATE_NOT_YET_VALID,
            f"The served certificate is valid only from {format_minute(leaf.not_before)} on: check the "
            "clocks of this machine and of the CA.",
            evidence=describe(leaf),
        )
    return (
        Finding(
            Reason.CERTIFICATE_NOT_YET_VALID,
            f"A certificate above the leaf is not valid yet ({verdict.words}): check this machine's clock.",
            evidence=chain(given),
        )
        if verdict.code == VerifyError.NOT_YET_VALID and verdict.depth
        else None
    )


def expiry_is_near(given: CheckInput) -> Finding | None:
    """Less than a third of the lifetime (or of the threshold) is left: a renewal should have happened."""
    leaf, thresholds = given.leaf, given.thresholds
    if leaf is None or not timedelta() <= leaf.not_after - given.now < thresholds.margin(leaf.lifetime):
        return None
    return Finding(
        Reason.CERTIFICATE_EXPIRING_SOON,
        f"The served certificate expires at {format_minute(leaf.not_after)}, with less than {thresholds.words} left: "
        "see why it is not renewed.",
        Severity.WARN,
        evidence=describe(leaf),
    )


def validity_is_too_long(given: CheckInput) -> Finding | None:
    """Longer than a public CA may issue for; of a private one, longer than Apple's mail programs accept.

    Mail servers do not look at it, so a private CA's certificate is judged where users' programs connect alone.
    """
    leaf, verdict = given.leaf, verification(given)
    if leaf is None or leaf.self_issued or verdict.code:
        return None
    if verdict.is_public and leaf.claims_public_rules:
        why = _against_public_rules(leaf)
    else:
        why = _against_apple(leaf) if given.target.port.is_for_users else ""
    if not why:
        return None
    return Finding(
        Reason.CERTIFICATE_VALIDITY_TOO_LONG,
        f"The served certificate is valid for {_days(leaf.lifetime)} days, {why}",
        Severity.WARN,
        evidence=describe(leaf),
    )


def _against_public_rules(leaf: ServedCertificate) -> str:
    """Both ends count, so that exactly as many days are a second too many (RFC 5280 section 4.1.2.5)."""
    since, most = next((rule for rule in _OF_PUBLIC_CAS if leaf.not_before >= rule[0]), (None, timedelta.max))
    if since is None or leaf.lifetime + _SECOND <= most:
        return ""
    return (
        f"while since {since:%Y-%m-%d} a public CA may issue for {most.days} at most: clients may refuse it, and the "
        "CA has to revoke it. Have it issued again."
    )


def _against_apple(leaf: ServedCertificate) -> str:
    since, most = _APPLE
    if leaf.not_before < since or leaf.lifetime <= most:
        return ""
    return (
        f"and Mail on iPhones, iPads and Macs refuses more than {most.days}, of private CAs too: have it issued for a "
        "shorter time."
    )


def _days(lifetime: timedelta) -> int:
    """Whole days, as a part of a day counts as one more."""
    return -(-lifetime // _DAY)
