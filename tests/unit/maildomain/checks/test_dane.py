"""TLSA records against served chains: what a sender with DANE would make of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha512

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from builders.domains import AUTHORITY, DOMAIN, NO_STARTTLS, ders, facts, host, seen, tlsa
from mailservers.certificates import HOST, Authority, Served, Wanted
from mailtls.maildomain.checks.tlsa import flaw, key_of, matches
from mailtls.maildomain.checks.verdict import judge_domain
from mailtls.maildomain.facts import DomainFacts, ServedTls, TlsaRecord
from mailtls.net.answer import Dnssec, Records
from mailtls.reasons.reason import Reason, Severity

GOOD = AUTHORITY.issue()
RSA = AUTHORITY.issue(Wanted(rsa_bits=2048))
OTHER = AUTHORITY.issue()
CHAIN = ders(GOOD)
NOW = datetime.now(UTC)
NEXT = TlsaRecord(3, 1, 1, b"n" * 32)


def spki(certificate: x509.Certificate) -> bytes:
    """The key as cryptography writes it."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def record(usage: int, selector: int, matching_type: int, certificate: x509.Certificate) -> TlsaRecord:
    """Make the record for a certificate, independently of the code under test."""
    data = certificate.public_bytes(Encoding.DER) if selector == 0 else spki(certificate)
    hashed = {0: lambda: data, 1: lambda: sha256(data).digest(), 2: lambda: sha512(data).digest()}[matching_type]()
    return TlsaRecord(usage, selector, matching_type, hashed)


CURRENT = record(3, 1, 1, GOOD.chain[0])


def judged(domain: DomainFacts, *probes: ServedTls, now: datetime | None = None) -> dict[Reason, Severity]:
    """Judge, and return severities by reason."""
    return {finding.reason: finding.severity for finding in judge_domain(domain, probes, now)}


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching_type", [0, 1, 2])
@pytest.mark.parametrize("served", [GOOD, RSA])
def test_leaf_matches_its_own_record_only(served: Served, selector: int, matching_type: int) -> None:
    """Every selector and matching type of usage 3, whatever the names."""
    own = record(3, selector, matching_type, served.chain[0])
    assert matches(own, ders(served), ["other.example"], NOW)
    assert not matches(own, ders(OTHER), [HOST], NOW)
    assert not matches(record(3, selector, matching_type, served.chain[1]), ders(served), [HOST], NOW)


@pytest.mark.parametrize("served", [GOOD, RSA])
def test_key_is_cut_out_as_it_stands(served: Served) -> None:
    """The same octets as a library writes for keys of usual encoding."""
    assert key_of(ders(served)[0]) == spki(served.chain[0])


@given(st.binary(max_size=60) | st.integers(0, len(CHAIN[0]) - 1).map(lambda cut: CHAIN[0][:cut]))
def test_garbage_has_no_key(der: bytes) -> None:
    """Whatever a server calls a certificate."""
    assert key_of(der) in der
    assert not matches(CURRENT, (der,), [HOST], NOW)
    assert not matches(record(2, 0, 1, GOOD.chain[1]), (der, der), [HOST], NOW)


def test_usage_3_ignores_names_and_expiry() -> None:
    """RFC 7671 section 5.1."""
    expired = AUTHORITY.issue(Wanted(names=("x.example",), valid_from=timedelta(-9), valid_until=timedelta(-1)))
    assert matches(record(3, 1, 1, expired.chain[0]), ders(expired), [HOST], NOW)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching_type", [0, 1, 2])
def test_anchor_in_the_chain_matches(selector: int, matching_type: int) -> None:
    """Every selector and matching type of usage 2, for an issuer that is served along."""
    assert matches(record(2, selector, matching_type, GOOD.chain[1]), CHAIN, [HOST], NOW)


@pytest.mark.parametrize(("matching_type", "matched"), [(0, True), (1, False), (2, False)])
@pytest.mark.parametrize("selector", [0, 1])
def test_anchor_that_is_not_served_must_stand_in_the_record(selector: int, matching_type: int, matched: bool) -> None:
    """A hash of what is not served matches nothing (RFC 7672 section 3.1.2); a full one vouches for what is."""
    anchor = record(2, selector, matching_type, GOOD.chain[1])
    assert matches(anchor, CHAIN[:1], [HOST], NOW) is matched
    assert not matches(anchor, ders(Authority().issue())[:1], [HOST], NOW)


@pytest.mark.parametrize(
    "chain", [ders(GOOD)[::-1], (ders(GOOD)[0], ders(Authority().issue())[1]), (ders(GOOD)[0], ders(GOOD)[0])]
)
def test_anchor_that_did_not_issue_the_leaf_does_not_match(chain: tuple[bytes, ...]) -> None:
    """It is not enough that the anchor is sent along."""
    foreign = x509.load_der_x509_certificate(chain[-1])
    assert not matches(record(2, 0, 1, foreign), chain, [HOST], NOW)


def test_usage_2_wants_a_name_and_good_dates() -> None:
    """RFC 7671 section 5.2; the domain's own name does, too (RFC 7672 section 3.2.3)."""
    expired = AUTHORITY.issue(Wanted(valid_from=timedelta(-9), valid_until=timedelta(-1)))
    assert not matches(record(2, 1, 1, GOOD.chain[1]), CHAIN, ["other.example"], NOW)
    assert matches(record(2, 1, 1, GOOD.chain[1]), CHAIN, ["other.example", HOST], NOW)
    assert not matches(record(2, 1, 1, expired.chain[1]), ders(expired), [HOST], NOW)
    assert matches(record(2, 1, 1, expired.chain[1]), ders(expired), [HOST], None)


@pytest.mark.parametrize(
    ("bad", "port", "usable"),
    [
        (TlsaRecord(0, 1, 1, b"x" * 32), 25, False),
        (TlsaRecord(1, 1, 1, b"x" * 32), 25, False),
        (TlsaRecord(1, 1, 1, b"x" * 32), 993, True),
        (TlsaRecord(4, 1, 1, b"x" * 32), 25, False),
        (TlsaRecord(3, 2, 1, b"x" * 32), 25, False),
        (TlsaRecord(3, 1, 3, b"x" * 32), 25, False),
        (TlsaRecord(3, 1, 1, b"x" * 31), 25, False),
        (TlsaRecord(3, 1, 2, b"x" * 32), 25, False),
        (TlsaRecord(3, 1, 0, b"no key"), 25, False),
        (TlsaRecord(3, 0, 0, CHAIN[0]), 25, True),
    ],
)
def test_record_is_usable_or_not(bad: TlsaRecord, port: int, usable: bool) -> None:
    """Unknown parameters, lengths that are none, and usages 0 and 1 on port 25 (RFC 7672 section 3.1.3)."""
    assert (flaw(bad, port) == "") is usable


def test_current_and_next_key_are_all_it_takes() -> None:
    """The state in which renewals break nothing."""
    assert judged(facts(host(tlsa(CURRENT, NEXT))), seen(CHAIN), now=NOW) == {}


def test_mail_host_without_tlsa_is_fine() -> None:
    """DANE is not a duty."""
    assert judged(facts(host(tlsa())), seen(CHAIN)) == {}


def test_records_for_another_key_are_a_mismatch() -> None:
    """Nothing matches: senders refuse."""
    assert judged(facts(host(tlsa(NEXT, replace(NEXT, data=b"o" * 32)))), seen(CHAIN)) == {
        Reason.TLSA_MISMATCH: Severity.FAIL
    }


def test_one_stale_certificate_of_two_is_a_mismatch() -> None:
    """The RSA certificate was renewed, its record was not."""
    assert Reason.TLSA_MISMATCH in judged(facts(host(tlsa(CURRENT, NEXT))), seen(CHAIN), seen(ders(RSA)))


def test_mismatch_in_an_unsigned_zone_only_warns() -> None:
    """No sender looks at it."""
    found = judged(facts(host(tlsa(NEXT, dnssec=Dnssec.INSECURE))), seen(CHAIN))
    assert found[Reason.TLSA_MISMATCH] is Severity.WARN
    assert found[Reason.TLSA_INSECURE] is Severity.WARN


def test_stale_parameter_set_beside_a_good_one_is_orphaned() -> None:
    """`3 1 2` was forgotten at the last rollover."""
    stale = record(3, 1, 2, OTHER.chain[0])
    found = judge_domain(facts(host(tlsa(CURRENT, NEXT, stale, replace(stale, data=b"o" * 64)))), [seen(CHAIN)])
    assert [(each.reason, each.severity) for each in found] == [(Reason.TLSA_ORPHAN_PARAMETER_SET, Severity.FAIL)]
    assert "3 1 2" in found[0].message


def test_bogus_records_fail() -> None:
    """SERVFAIL makes senders hold the mail back; one finding says it."""
    broken = replace(tlsa(dnssec=Dnssec.BOGUS), failure="SERVFAIL, but an answer when DNSSEC is not checked")
    assert judged(facts(host(broken))) == {Reason.TLSA_BOGUS: Severity.FAIL}


def test_lookup_that_fails_in_a_signed_zone_fails() -> None:
    """Senders wait until they know whether there are records (RFC 7672 section 2.1.1)."""
    broken = replace(tlsa(dnssec=Dnssec.UNKNOWN), failure="no answer in time")
    unsigned = host(broken, answers=(Records(HOST, "A", ("192.0.2.1",), dnssec=Dnssec.INSECURE),))
    assert judged(facts(host(broken))) == {Reason.DNS_LOOKUP_FAILED: Severity.FAIL}
    assert judged(facts(unsigned)) == {Reason.DNS_LOOKUP_FAILED: Severity.WARN}


def test_servers_with_different_records_disagree() -> None:
    """One that does not answer is no second opinion."""
    own, other = (replace(tlsa(CURRENT, NEXT), name="ns1 (192.0.2.1)"), replace(tlsa(NEXT), name="ns2 (192.0.2.2)"))
    silent = replace(tlsa(), name="ns3", failure="no answer in time")
    torn = host(tlsa(CURRENT, NEXT), authoritative={25: (own, other, silent)})
    assert judged(facts(torn), seen(CHAIN)) == {Reason.NAMESERVERS_DISAGREE: Severity.FAIL}
    whole = host(tlsa(CURRENT, NEXT), authoritative={25: (own, replace(own, name="ns2"), silent)})
    assert judged(facts(whole), seen(CHAIN)) == {}


def test_signed_host_behind_an_unsigned_mx_record_warns() -> None:
    """An attacker changes the MX record and DANE never comes into play."""
    domain = facts(host(tlsa(CURRENT, NEXT)))
    domain = replace(domain, mx_records=replace(domain.mx_records, dnssec=Dnssec.INSECURE))
    (found,) = judge_domain(domain, [seen(CHAIN)])
    assert (found.reason, found.subject) == (Reason.TLSA_INSECURE, DOMAIN)


def test_unproven_signatures_are_said_once() -> None:
    """However many hosts there are."""
    unknown = host(tlsa(CURRENT, NEXT, dnssec=Dnssec.UNKNOWN))
    found = judge_domain(facts(unknown, replace(unknown, name="mx2.example.com")))
    assert [each.reason for each in found] == [Reason.DNSSEC_UNKNOWN]


def test_usages_of_the_web_are_unusable() -> None:
    """And where no other is left, nothing is verified."""
    web = record(1, 1, 1, GOOD.chain[0])
    (alone,) = judge_domain(facts(host(tlsa(web))), [seen(CHAIN)])
    assert (alone.reason, alone.severity) == (Reason.TLSA_UNUSABLE, Severity.WARN)
    assert "verify nothing" in alone.message
    assert judged(facts(host(tlsa(web, CURRENT, NEXT))), seen(CHAIN)) == {Reason.TLSA_UNUSABLE: Severity.WARN}


def test_issuer_that_is_pinned_warns() -> None:
    """It matches today."""
    pinned = tlsa(record(2, 1, 1, GOOD.chain[1]))
    assert judged(facts(host(pinned)), seen(CHAIN)) == {Reason.TLSA_PINS_ISSUER: Severity.WARN}


@pytest.mark.parametrize("probes", [(), (seen(CHAIN),)])
def test_lonely_record_warns_of_the_next_renewal(probes: tuple[ServedTls, ...]) -> None:
    """Whether or not a probe was made."""
    assert judged(facts(host(tlsa(CURRENT))), *probes) == {Reason.TLSA_NO_NEXT: Severity.WARN}
    (found,) = judge_domain(facts(host(tlsa(CURRENT))), probes)
    assert ("keys in use" in found.message) is bool(probes)


def test_two_records_for_two_keys_in_use_have_no_next() -> None:
    """RSA and ECDSA side by side: both match, none waits."""
    both = tlsa(CURRENT, record(3, 1, 1, RSA.chain[0]))
    assert judged(facts(host(both)), seen(CHAIN), seen(ders(RSA))) == {Reason.TLSA_NO_NEXT: Severity.WARN}


@pytest.mark.parametrize(("ttl", "found"), [(3600, {}), (3601, {Reason.TLSA_TTL_TOO_LONG: Severity.WARN})])
def test_ttl_above_an_hour_warns(ttl: int, found: dict[Reason, Severity]) -> None:
    """At most 3600 seconds."""
    assert judged(facts(host(tlsa(CURRENT, NEXT, ttl=ttl))), seen(CHAIN)) == found


def test_tlsa_without_starttls_fails() -> None:
    """Senders with DANE do not fall back to clear text."""
    found = judged(facts(host(tlsa(CURRENT, NEXT))), seen(stop=NO_STARTTLS))
    assert found == {Reason.STARTTLS_NOT_ADVERTISED: Severity.FAIL}
    assert judged(facts(host(tlsa())), seen(stop=NO_STARTTLS)) == {}


def test_other_port_is_judged_by_its_own_records() -> None:
    """Submission may have a certificate of its own."""
    other = tlsa(record(3, 1, 1, OTHER.chain[0]), NEXT, port=587)
    both = host(tlsa=dict(enumerate((tlsa(CURRENT, NEXT), other))))
    both = replace(both, tlsa={25: tlsa(CURRENT, NEXT), 587: other})
    assert judged(facts(both), seen(CHAIN), seen(ders(OTHER), port=587)) == {}
    assert judged(facts(both), seen(CHAIN), seen(CHAIN, port=587)) == {Reason.TLSA_MISMATCH: Severity.FAIL}


@pytest.mark.parametrize("read", [lambda: seen((b"garbage",)), lambda: seen((b"\x30\x84\xff\xff\xff\xff",))])
def test_certificate_that_cannot_be_read_is_a_mismatch(read: Callable[[], ServedTls]) -> None:
    """It is no certificate that any record is for."""
    assert Reason.TLSA_MISMATCH in judged(facts(host(tlsa(CURRENT, NEXT))), read())
