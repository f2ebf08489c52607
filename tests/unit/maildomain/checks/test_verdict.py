"""What a domain publishes, judged: routes, MTA-STS, reports, and who may send."""

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from builders.domains import AUTHORITY, DOMAIN, NO_STARTTLS, ders, facts, host, nothing, seen, texts, with_policy
from mailservers.certificates import HOST, Wanted
from mailtls.maildomain.checks.verdict import describe_domain, judge_domain
from mailtls.maildomain.facts import DomainFacts, Mx, Reverse, ServedTls, SpfFacts, StsFault, StsFetch
from mailtls.net.answer import Records
from mailtls.probe.facts import Fault, Phase, Stop
from mailtls.reasons.explanations.domain import DOMAIN as EXPLAINED
from mailtls.reasons.explanations.senders import SENDERS
from mailtls.reasons.reason import Reason, Severity

GOOD = ders(AUTHORITY.issue())
FAIL, WARN = Severity.FAIL, Severity.WARN


def judged(domain: DomainFacts, *probes: ServedTls) -> dict[Reason, Severity]:
    """Judge, and return severities by reason."""
    return {finding.reason: finding.severity for finding in judge_domain(domain, probes)}


def sts(*records: str, fetch: StsFetch | None = None) -> DomainFacts:
    """A domain with these records of MTA-STS, and what fetching its policy gave."""
    return facts(host(), sts_record=texts(f"_mta-sts.{DOMAIN}", *records), sts_policy=fetch)


def test_good_domain_has_no_finding() -> None:
    """Nor has one that publishes nothing about TLS."""
    assert judged(with_policy(), seen(GOOD)) == {}
    assert judged(facts(host()), seen(GOOD)) == {}


def test_domain_without_policy_says_so_in_the_overview() -> None:
    """It is no fault, but worth a line."""
    assert dict(describe_domain(facts(host())))["MTA-STS"] == "not published"
    assert dict(describe_domain(with_policy()))["MTA-STS"] == f"mode enforce for {HOST}, max_age 604800"


def test_domain_without_mail_host_fails() -> None:
    """Even if it has an SPF record."""
    assert judged(facts()) == {Reason.NO_MAIL_HOST: FAIL}


def test_failed_lookup_of_mx_records_is_the_only_word_on_them() -> None:
    """Nobody knows whether there are any."""
    unknown: Records[Mx] = Records(DOMAIN, "MX", failure="no answer in time")
    domain = facts(mx_records=unknown)
    assert judged(domain) == {Reason.DNS_LOOKUP_FAILED: FAIL}


def test_failed_lookup_of_a_text_warns() -> None:
    """Mail flows without it; and nothing is called missing."""
    domain = facts(host(), spf=SpfFacts(texts(DOMAIN, failure="SERVFAIL")))
    assert judged(domain) == {Reason.DNS_LOOKUP_FAILED: WARN}


def test_host_without_address_fails_only_alone() -> None:
    """Beside another one, mail is but late."""
    nowhere = host(name="mx2.example.com", addresses=(), answers=(nothing("mx2.example.com", "A"),))
    assert judged(facts(nowhere)) == {Reason.MX_WITHOUT_ADDRESS: FAIL}
    assert judged(facts(host(), nowhere)) == {Reason.MX_WITHOUT_ADDRESS: WARN}


def test_record_that_nobody_announces_is_missing() -> None:
    """A policy waits on the web; a page that is none does not count."""
    policy = with_policy().sts_policy
    assert judged(sts(fetch=policy)) == {Reason.STS_RECORD_MISSING: WARN}
    assert judged(sts(fetch=StsFetch(body=b"<html>"))) == {}
    assert judged(sts(fetch=StsFetch(StsFault.STATUS, "HTTP status 404"))) == {}


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (("v=STSv1; id=1;", "v=STSv1; id=2;"), Reason.STS_RECORD_MULTIPLE),
        (("v=STSv1; id=2026-08-01;",), Reason.STS_RECORD_INVALID),
        (("v=STSv1",), Reason.STS_RECORD_INVALID),
    ],
)
def test_record_that_senders_ignore_fails(records: tuple[str, ...], reason: Reason) -> None:
    """Whoever wrote it believes to be protected."""
    assert judged(sts(*records, fetch=with_policy().sts_policy)) == {reason: FAIL}


def test_other_texts_beside_the_record_do_not_count() -> None:
    """A wildcard record answers at every name."""
    assert judged(sts("v=spf1 -all", "v=STSv1; id=1", fetch=with_policy().sts_policy)) == {}
    assert judged(sts("v=spf1 -all")) == {}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (StsFault.UNREACHABLE, Reason.STS_FETCH_FAILED),
        (StsFault.STATUS, Reason.STS_FETCH_FAILED),
        (StsFault.TOO_LARGE, Reason.STS_FETCH_FAILED),
        (StsFault.REDIRECT, Reason.STS_REDIRECT),
        (StsFault.CONTENT_TYPE, Reason.STS_CONTENT_TYPE),
        (StsFault.CERTIFICATE, Reason.STS_WEB_PKI_INVALID),
    ],
)
def test_policy_that_cannot_be_fetched_fails(fault: StsFault, reason: Reason) -> None:
    """Each way has a reason of its own."""
    assert judged(sts("v=STSv1; id=1", fetch=StsFetch(fault, "words"))) == {reason: FAIL}


def test_policy_host_without_address_fails() -> None:
    """The name was forgotten."""
    assert judged(sts("v=STSv1; id=1")) == {Reason.STS_FETCH_FAILED: FAIL}


def test_policy_that_cannot_be_read_fails() -> None:
    """It came, but senders do not understand it."""
    assert judged(sts("v=STSv1; id=1", fetch=StsFetch(body=b"mode: enforce"))) == {Reason.STS_POLICY_INVALID: FAIL}


@pytest.mark.parametrize(("mode", "found"), [("enforce", FAIL), ("testing", WARN)])
def test_host_that_is_not_listed_is_named(mode: str, found: Severity) -> None:
    """Senders do not deliver to it, or would not."""
    assert judged(with_policy(mode=mode, mx="mx9.example.com")) == {Reason.STS_MX_NOT_LISTED: found}


def test_policy_of_mode_none_asks_for_nothing() -> None:
    """It is how a policy is taken back."""
    assert judged(with_policy(mode="none", mx="mx9.example.com", age=60), seen(GOOD, code=10)) == {}


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (seen(stop=NO_STARTTLS), "STARTTLS: not offered"),
        (seen(stop=Stop(Phase.HANDSHAKE, Fault.TLS_REFUSED)), "the TLS handshake: TLS error"),
        (seen(GOOD, code=10), "certificate has expired"),
        (seen(ders(AUTHORITY.issue(Wanted(names=("x.example",))))), "not for that name"),
        (seen((b"garbage",)), "not for that name"),
        (seen(GOOD, is_public=False), "not of a public CA"),
    ],
)
@pytest.mark.parametrize(("mode", "severity"), [("enforce", FAIL), ("testing", WARN)])
def test_host_whose_tls_breaks_the_promise_is_named(
    probe: ServedTls, words: str, mode: str, severity: Severity
) -> None:
    """What senders will do stands in the message."""
    (found,) = judge_domain(with_policy(mode=mode), [probe])
    assert (found.reason, found.severity, found.subject) == (Reason.STS_WOULD_FAIL, severity, f"{HOST}:25")
    assert words in found.message
    assert "deliver" in found.message


def test_host_that_was_not_reached_breaks_no_promise() -> None:
    """A firewall near the prober says nothing about TLS."""
    assert judged(with_policy(), seen(stop=Stop(Phase.CONNECT, Fault.TIMED_OUT))) == {}


@pytest.mark.parametrize(("mode", "age", "short"), [("enforce", 604_799, True), ("testing", 86_400, False)])
def test_policy_that_is_soon_forgotten_warns(mode: str, age: int, short: bool) -> None:
    """A week when enforced, a day while testing."""
    assert (Reason.STS_MAX_AGE_SHORT in judged(with_policy(mode=mode, age=age))) is short


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ((), Reason.TLS_REPORT_MISSING),
        (("v=TLSRPTv1; rua=mailto:a@b.example",) * 2, Reason.TLS_REPORT_MULTIPLE),
        (("v=TLSRPTv1; rua=a@b.example",), Reason.TLS_REPORT_INVALID),
    ],
)
def test_report_record_is_judged(records: tuple[str, ...], reason: Reason) -> None:
    """Only a domain that promises TLS is asked to have one."""
    domain = replace(with_policy(), tlsrpt=texts(f"_smtp._tls.{DOMAIN}", *records))
    assert judged(domain) == {reason: WARN}
    assert judged(replace(facts(host()), tlsrpt=texts(f"_smtp._tls.{DOMAIN}"))) == {}


@pytest.mark.parametrize(
    ("spf", "reason"),
    [
        (SpfFacts(texts(DOMAIN, "other=1")), Reason.SPF_MISSING),
        (SpfFacts(texts(DOMAIN, "v=spf1 -all", "v=spf1 mx -all")), Reason.SPF_MULTIPLE),
        (SpfFacts(texts(DOMAIN, "v=spf1 ipv4:192.0.2.1 -all")), Reason.SPF_INVALID),
        (SpfFacts(texts(DOMAIN, "v=spf1 include:x.example -all"), 1, 0, ("x.example has none",)), Reason.SPF_INVALID),
        (SpfFacts(texts(DOMAIN, "v=spf1 +all")), Reason.SPF_ALLOWS_ALL),
        (SpfFacts(texts(DOMAIN, "v=spf1 mx all")), Reason.SPF_ALLOWS_ALL),
        (SpfFacts(texts(DOMAIN, "v=spf1 mx -all"), 11), Reason.SPF_TOO_MANY_LOOKUPS),
        (SpfFacts(texts(DOMAIN, "v=spf1 mx -all"), 5, 3), Reason.SPF_VOID_LOOKUPS),
    ],
)
def test_fault_of_spf_only_warns(spf: SpfFacts, reason: Reason) -> None:
    """It gates no TLS."""
    assert judged(facts(host(), spf=spf)) == {reason: WARN}


def test_spf_at_the_limits_is_fine() -> None:
    """Ten lookups, two of them in vain."""
    assert judged(facts(host(), spf=SpfFacts(texts(DOMAIN, "v=spf1 mx ~all"), 10, 2))) == {}


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ((), Reason.DMARC_MISSING),
        (("v=DMARC1; p=none", "v=DMARC1; p=reject"), Reason.DMARC_MULTIPLE),
        (("v=DMARC1; p=all",), Reason.DMARC_INVALID),
    ],
)
def test_fault_of_dmarc_only_warns(records: tuple[str, ...], reason: Reason) -> None:
    """It gates no TLS."""
    assert judged(facts(host(), dmarc=(texts(f"_dmarc.{DOMAIN}", *records), texts("_dmarc.com")))) == {reason: WARN}


@pytest.mark.parametrize(
    ("parents", "chosen"),
    [
        (("v=DMARC1; p=none", "v=DMARC1; p=reject", ""), "p2"),
        (("v=DMARC1; p=none; psd=n", "v=DMARC1; p=reject", ""), "p1"),
        (("v=DMARC1; p=none", "v=DMARC1; p=reject; psd=y", ""), "p1"),
        (("", "", "v=DMARC1; p=reject; psd=y"), "p3"),
        (("", "broken", "v=DMARC1; p=reject"), "p3"),
    ],
)
def test_dmarc_of_the_organizational_domain_applies(parents: tuple[str, ...], chosen: str) -> None:
    """RFC 9989 section 4.10: the fewest labels, unless a record marks the border."""
    walk = (texts(f"_dmarc.{DOMAIN}"), *(texts(f"p{n}", *([text] * bool(text))) for n, text in enumerate(parents, 1)))
    assert dict(describe_domain(facts(host(), dmarc=walk)))["DMARC"].endswith(f", from {chosen}")


def test_key_of_dkim_is_judged() -> None:
    """Missing, broken, revoked and weak ones, each for its selector."""
    weak = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - it is to be found weak
    encoded = base64.b64encode(weak.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    keys = {"a": (), "b": ("v=DKIM1; p=AAAA",), "c": ("v=DKIM1; p=",), "d": (f"k=rsa; p={encoded}",)}
    dkim = {name: texts(f"{name}._domainkey.{DOMAIN}", *records) for name, records in keys.items()}
    assert judged(facts(host(), dkim=dkim)) == {
        Reason.DKIM_MISSING: WARN,
        Reason.DKIM_INVALID: WARN,
        Reason.DKIM_REVOKED: WARN,
        Reason.DKIM_KEY_WEAK: WARN,
    }


@pytest.mark.parametrize(
    ("flags", "found"),
    [("t=y", {Reason.DKIM_TESTING: WARN}), ("t=s:y", {Reason.DKIM_TESTING: WARN}), ("t=s", {}), ("n=y", {})],
)
def test_dkim_key_in_testing_mode_warns(flags: str, found: dict[Reason, Severity]) -> None:
    """RFC 6376 section 3.6.1: t=y asks receivers to treat signed mail as unsigned; t=s is about subdomains."""
    record = f"v=DKIM1; k=ed25519; {flags}; p={base64.b64encode(b'k' * 32).decode()}"
    assert judged(facts(host(), dkim={"a": texts(f"a._domainkey.{DOMAIN}", record)})) == found


@pytest.mark.parametrize(
    ("names", "confirmed", "failure", "found"),
    [
        (("mx1.example.com",), ("mx1.example.com",), "", {}),
        (("host7.provider.example",), ("host7.provider.example",), "", {}),
        ((), (), "", {Reason.REVERSE_DNS_MISSING: WARN}),
        (("host7.provider.example",), (), "", {Reason.REVERSE_DNS_MISSING: WARN}),
        ((), (), "SERVFAIL", {}),
    ],
)
def test_address_needs_a_name_that_leads_back(
    names: tuple[str, ...], confirmed: tuple[str, ...], failure: str, found: dict[Reason, Severity]
) -> None:
    """Whichever name that is; where the DNS does not answer, nothing is known."""
    answer = Records("1.2.0.192.in-addr.arpa", "PTR", names, failure=failure)
    assert judged(facts(host(reverse={"192.0.2.1": Reverse(answer, confirmed)}))) == found


def test_failing_findings_come_first() -> None:
    """The first line is what to repair first."""
    domain = replace(with_policy(mx="mx9.example.com", age=60), spf=SpfFacts(texts(DOMAIN)))
    assert [found.severity for found in judge_domain(domain)] == [FAIL, WARN, WARN]


def test_explanations_of_senders_speak_of_spam() -> None:
    """It is what the user searches for."""
    assert all("spam" in told.symptom for told in SENDERS.values())
    assert Reason.TLSA_MISMATCH in EXPLAINED
