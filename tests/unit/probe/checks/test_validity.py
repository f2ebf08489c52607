"""How long a certificate may be valid: by the rules of public CAs, and by what Apple's devices accept of any."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mailservers.certificates import DAY, HOST, Authority, Served, Wanted
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Inspection, Session, Verification
from mailtls.probe.target import Port, Protocol, Target, Thresholds, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason, Severity

AUTHORITY = Authority()
PUBLIC = "2.23.140.1.2.1"  # domain-validated, of the CA/Browser Forum
PRIVATE = "1.3.6.1.4.1.32473.1"
SECOND = timedelta(seconds=1)
MX = Port(25, TlsMode.START_TLS, TlsPolicy.ENFORCED)
LMTP = Port(24, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.LMTP)
IMAPS = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)


def issued(on: str, lifetime: timedelta, policy: str = "", *, self_signed: bool = False) -> Served:
    """Make a certificate that is valid from a day on, for so long by its two dates."""
    begin = datetime.fromisoformat(f"{on}T00:00:00+00:00") - datetime.now(UTC)
    return AUTHORITY.issue(
        Wanted(valid_from=begin, valid_until=begin + lifetime, policy=policy, self_signed=self_signed)
    )


def session(served: Served, *, is_public: bool, code: int = 0) -> Session:
    """Serve it to a client that found this of its chain."""
    chain = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    verdict = Verification(code, 0, "", is_public=is_public)
    return Session(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384", verdict)


def too_long(served: Served, port: Port = IMAPS, *, is_public: bool = False, code: int = 0) -> list[Finding]:
    """What is said of how long it is valid, on its second day."""
    now = served.chain[0].not_valid_before_utc + DAY
    facts = Facts(session=session(served, is_public=is_public, code=code))
    findings = judge(Target("192.0.2.25", port, HOST, pod="mx-0"), AUTHORITY.expects(served), facts, now).findings
    return [each for each in findings if each.reason is Reason.CERTIFICATE_VALIDITY_TOO_LONG]


@pytest.mark.parametrize(
    ("on", "days"),
    [
        ("2018-03-01", 825),
        ("2020-08-31", 825),
        ("2020-09-01", 398),
        ("2026-03-14", 398),
        ("2026-03-15", 200),
        ("2027-03-14", 200),
        ("2027-03-15", 100),
        ("2029-03-14", 100),
        ("2029-03-15", 47),
    ],
)
def test_public_certificate_is_held_against_the_rule_of_its_first_day(on: str, days: int) -> None:
    """The last second counts: dates that lie whole days apart are one second too many, at port 25 too."""
    assert not too_long(issued(on, days * DAY - SECOND, PUBLIC), MX, is_public=True)
    (found,) = too_long(issued(on, days * DAY, PUBLIC), MX, is_public=True)
    assert found.severity is Severity.WARN
    assert f"for {days} at most" in found.message


def test_certificate_from_before_the_rules_is_left_alone() -> None:
    """Three years were allowed then."""
    assert not too_long(issued("2018-02-28", 1095 * DAY, PUBLIC), MX, is_public=True)


@pytest.mark.parametrize(("policy", "is_public"), [("", True), (PRIVATE, True), (PUBLIC, False)])
def test_ca_of_a_company_is_no_public_one(policy: str, is_public: bool) -> None:
    """Its root may be in the system's store, but its certificates claim no public rules; or it only claims them."""
    served = issued("2026-11-01", 700 * DAY, policy)
    assert not too_long(served, IMAPS, is_public=is_public)
    assert not too_long(served, MX, is_public=is_public)


def test_private_certificate_for_years_is_warned_of_where_users_come() -> None:
    """Apple's devices accept 825 days by the two dates; mail servers do not look at that."""
    assert not too_long(issued("2026-11-01", 825 * DAY))
    served = issued("2026-11-01", 825 * DAY + SECOND)
    (found,) = too_long(served)
    assert found.severity is Severity.WARN
    assert "valid for 826 days" in found.message
    assert "825" in found.message
    assert not too_long(served, MX)
    assert not too_long(served, LMTP)
    assert not too_long(issued("2019-06-30", 3650 * DAY))


def test_self_signed_or_untrusted_certificate_has_no_lifetime_to_speak_of() -> None:
    """A self-signed one that is trusted is pinned, as by DANE-EE; what nobody trusts has a graver fault."""
    assert not too_long(issued("2026-11-01", 3650 * DAY, self_signed=True))
    assert not too_long(issued("2026-11-01", 3650 * DAY), code=20)


def test_certificate_for_all_time_is_judged_like_any_other() -> None:
    """Whatever dates a server shows, no sum of them leaves the calendar."""
    served = issued("2026-11-01", datetime(9999, 12, 30, tzinfo=UTC) - datetime(2026, 11, 1, tzinfo=UTC))
    leaf = served.chain[0]
    facts = Facts(session=session(served, is_public=False))
    expected = replace(AUTHORITY.expects(served), thresholds=Thresholds(0.99))
    for now in (leaf.not_valid_before_utc + DAY, leaf.not_valid_after_utc - DAY):
        findings = judge(Target("192.0.2.25", IMAPS, HOST), expected, facts, now).findings
        assert Reason.CERTIFICATE_VALIDITY_TOO_LONG in {each.reason for each in findings}


def test_certificate_under_another_name_is_judged_too() -> None:
    """A second name may have a certificate of its own, from somewhere else."""
    first, second = AUTHORITY.issue(), issued("2026-11-01", 900 * DAY)
    facts = Facts(
        session=session(first, is_public=False),
        inspection=Inspection(names={HOST.upper(): session(second, is_public=False)}),
    )
    expected = replace(AUTHORITY.expects(first), leaf_sha256=None)
    findings = judge(Target("192.0.2.25", IMAPS, HOST), expected, facts, datetime.now(UTC)).findings
    assert [each.reason for each in findings] == [Reason.CERTIFICATE_VALIDITY_TOO_LONG]
    assert HOST.upper() in findings[0].subject
