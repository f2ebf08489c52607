"""The pure judgement: every way a probe can end has a reason, and names match as RFC 9525 says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mailservers.certificates import DAY, HOST, Authority, Wanted
from mailtls.pki.served_certificate import read_served
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Phase, Reply, Session, Stop, Verification
from mailtls.probe.target import Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason, Severity

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
NOW = datetime.now(UTC)
CHAIN = tuple(certificate.public_bytes(Encoding.DER) for certificate in GOOD.chain)
SESSION = Session(CHAIN, "TLSv1.3", "TLS_AES_256_GCM_SHA384")
EXPECTED = AUTHORITY.expects(GOOD)


def target(tls: TlsMode = TlsMode.START_TLS, policy: TlsPolicy = TlsPolicy.OPPORTUNISTIC) -> Target:
    """Aim somewhere; nothing is dialled here."""
    return Target("192.0.2.25", Port(25, tls, policy), HOST, pod="postfix-0", workload="StatefulSet/postfix")


def reasons(facts: Facts, expected: Expected = EXPECTED, now: datetime = NOW) -> list[Reason]:
    """All reasons of a judgement, in order."""
    return [finding.reason for finding in judge(target(), expected, facts, now).findings]


def verified_as(code: int, depth: int = 0) -> Facts:
    """Facts of a good session on whose chain OpenSSL says `code`."""
    return Facts(session=replace(SESSION, verification=Verification(code, depth, "words")))


def test_everything_in_order_has_no_finding() -> None:
    """A proven certificate and a talk to its end need no words."""
    assert reasons(Facts(session=SESSION)) == []


@pytest.mark.parametrize(
    ("port", "tls", "warned"),
    [
        (465, TlsMode.IMPLICIT, True),
        (587, TlsMode.START_TLS, True),
        (25, TlsMode.START_TLS, False),
        (2525, TlsMode.START_TLS, False),
    ],
)
def test_submission_port_without_any_login_is_warned_of(port: int, tls: TlsMode, warned: bool) -> None:
    """Users log in at 465 and 587 (RFC 8314 section 3.3); elsewhere a relay may know its clients by their addresses."""
    submission = replace(target(), port=Port(port, tls, TlsPolicy.ENFORCED))
    heard = Reply(Phase.CAPABILITIES_IN_TLS, 250, ("mx1", "SIZE 1"))
    found = judge(submission, EXPECTED, Facts(replies=(heard,), session=SESSION), NOW).findings
    assert [(each.reason, each.severity) for each in found] == [(Reason.AUTH_MISSING, Severity.WARN)] * warned
    assert all("known by their addresses" in each.message for each in found)


@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("proven", [False, True])
def test_no_stop_goes_without_a_reason(tls: TlsMode, proven: bool) -> None:
    """However a talk ends early, exactly one check on the talk names it, and it fails unless TLS was proven."""
    for phase, fault, code in product(Phase, Fault, (220, 354, 421, 502, 554)):
        replies = (Reply(phase, code, ("words",)),) if fault is Fault.UNEXPECTED_REPLY else ()
        facts = Facts(Stop(phase, fault, "words"), replies, SESSION if proven else None)
        if not _can_happen(facts, tls):
            continue
        found = judge(target(tls), EXPECTED, facts, NOW).findings
        assert len(found) == 1, (phase, fault, code, found)
        assert proven or found[0].severity is Severity.FAIL


def _can_happen(facts: Facts, tls: TlsMode) -> bool:
    """Whether a phase can end this way: before TLS there is no session, and each fault has its phases."""
    assert facts.stop is not None
    phase, proven = facts.stop.phase, facts.session is not None
    implicit = tls is TlsMode.IMPLICIT
    inside = {Phase.CAPABILITIES_IN_TLS, Phase.GREETING, Phase.XCLIENT} if implicit else {Phase.CAPABILITIES_IN_TLS}
    skipped = {Phase.CAPABILITIES, Phase.STARTTLS} if implicit else set()
    talking = set(Phase) - {Phase.CONNECT, Phase.HANDSHAKE}
    phases = {
        Fault.REFUSED: {Phase.CONNECT},
        Fault.UNREACHABLE: {Phase.CONNECT},
        Fault.TIMED_OUT: set(Phase),
        Fault.CLOSED: set(Phase) - {Phase.CONNECT},
        Fault.UNEXPECTED_REPLY: talking,
        Fault.GARBLED: talking,
        Fault.NOT_OFFERED: {Phase.STARTTLS, Phase.XCLIENT},
        Fault.NOT_TLS: {Phase.HANDSHAKE},
        Fault.TLS_REFUSED: {Phase.HANDSHAKE} | inside,
        Fault.NO_SHARED_VERSION: {Phase.HANDSHAKE},
    }
    return phase in phases[facts.stop.fault] - skipped and proven == (phase in inside)


@pytest.mark.parametrize(
    ("code", "depth", "reason"),
    [
        (9, 1, Reason.CERTIFICATE_NOT_YET_VALID),
        (10, 1, Reason.CERTIFICATE_EXPIRED),
        (18, 0, Reason.SELF_SIGNED),
        (19, 2, Reason.UNTRUSTED_ROOT),
        (20, 1, Reason.UNTRUSTED_ROOT),
        (20, 0, Reason.INCOMPLETE_CHAIN),
        (21, 0, Reason.INCOMPLETE_CHAIN),
        (-1, 0, Reason.UNTRUSTED_ROOT),
        (7, 0, Reason.CHAIN_INVALID),
        (79, 1, Reason.CHAIN_INVALID),
    ],
)
def test_code_of_openssl_has_one_reason(code: int, depth: int, reason: Reason) -> None:
    """Each refusal of the chain is named once."""
    assert reasons(verified_as(code, depth)) == [reason]


def test_first_failing_finding_is_what_to_mend_first() -> None:
    """Of an old and expired certificate the age is the reason: the new one is already stored."""
    old = AUTHORITY.issue(Wanted(valid_from=-90 * DAY, valid_until=-1 * DAY))
    session = replace(SESSION, chain=tuple(each.public_bytes(Encoding.DER) for each in old.chain))
    assert reasons(Facts(session=session)) == [Reason.SERVING_OLD_CERTIFICATE, Reason.CERTIFICATE_EXPIRED]


def test_unreadable_leaf_is_unexpected() -> None:
    """Bytes that are no certificate are said to be that, and nothing raises."""
    facts = Facts(session=replace(SESSION, chain=(b"0\x00",)))
    assert reasons(facts) == [Reason.UNEXPECTED_CERTIFICATE]
    assert judge(target(), EXPECTED, facts, NOW).served_sha256 is None


def test_stored_age_unknown_takes_a_match_of_names_as_old() -> None:
    """Without the stored leaf's age a certificate for the same name counts as an older one."""
    other = Expected("0" * 64, AUTHORITY.roots_pem)
    assert reasons(Facts(session=SESSION), other) == [Reason.SERVING_OLD_CERTIFICATE]


def test_last_third_of_lifetime_warns_and_expiry_fails() -> None:
    """The edges: one second before the last third nothing, in it a warning, after the end a failure."""
    leaf = GOOD.chain[0]
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    third = end - (end - start) / 3
    second = timedelta(seconds=1)
    assert reasons(Facts(session=SESSION), now=third - second) == []
    assert reasons(Facts(session=SESSION), now=third + second) == [Reason.CERTIFICATE_EXPIRING_SOON]
    assert reasons(Facts(session=SESSION), now=end + second) == [Reason.CERTIFICATE_EXPIRED]
    assert reasons(Facts(session=SESSION), now=start - second) == [Reason.CERTIFICATE_NOT_YET_VALID]


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-RC4-SHA", "DES-CBC3-SHA", "NULL-SHA256"])
def test_weak_cipher_warns(cipher: str) -> None:
    """A cipher that is given up is named."""
    (found,) = judge(target(), EXPECTED, Facts(session=replace(SESSION, cipher=cipher)), NOW).findings
    assert (found.reason, found.severity) == (Reason.WEAK_CRYPTO, Severity.WARN)
    assert cipher in found.message


def test_sha1_signature_warns() -> None:
    """A leaf signed over SHA-1 is named weak; libraries no longer sign so, hence the changed octets."""
    served = AUTHORITY.issue(Wanted(rsa_bits=2048, self_signed=True)).chain[0].public_bytes(Encoding.DER)
    of_another = served.replace(HOST.encode(), b"mx0.example.com", 1)  # the issuer: a root may sign itself as it likes
    sha1 = of_another.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    expected = Expected(sha256(sha1).hexdigest())
    (found,) = judge(target(), expected, Facts(session=replace(SESSION, chain=(sha1,))), NOW).findings
    assert (found.reason, found.severity) == (Reason.WEAK_CRYPTO, Severity.WARN)
    assert "sha1" in found.message


@pytest.mark.parametrize(
    ("names", "host", "match"),
    [
        (("mx1.example.com",), "mx1.example.com", True),
        (("MX1.Example.COM",), "mx1.example.com", True),
        (("mx1.example.com",), "MX1.example.com.", True),
        (("*.example.com",), "mx1.example.com", True),
        (("*.example.com",), "a.mx1.example.com", False),
        (("*.example.com",), "example.com", False),
        (("m*.example.com",), "mx1.example.com", False),
        (("mx1.*.com",), "mx1.example.com", False),
        (("example.com",), "mx1.example.com", False),
        (("*",), "localhost", False),
        ((), "mx1.example.com", False),
    ],
)
def test_name_matches_as_rfc_9525_says(names: tuple[str, ...], host: str, match: bool) -> None:
    """DNS-IDs only; case does not matter; a wildcard stands for the whole first label and for one label."""
    served = read_served(AUTHORITY.issue(Wanted(names=names)).chain[0].public_bytes(Encoding.DER))
    assert served is not None
    assert served.names(host) is match


@given(st.integers(0, len(CHAIN[0]) - 1), st.integers(0, 255))
def test_corrupted_certificate_never_raises(position: int, byte: int) -> None:
    """A leaf with any one byte changed is judged, not crashed on, and never taken for the stored one."""
    forged = CHAIN[0][:position] + bytes([byte]) + CHAIN[0][position + 1 :]
    found = reasons(Facts(session=replace(SESSION, chain=(forged, *CHAIN[1:]))))
    assert bool(found) == (forged != CHAIN[0])
