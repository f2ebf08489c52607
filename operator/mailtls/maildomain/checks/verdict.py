"""Judges what a mail domain publishes and whether its hosts serve that, and says in a few lines what it publishes."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from mailtls.maildomain.checks import dane, mail_route, mta_sts, sender_policy
from mailtls.maildomain.checks.mta_sts import policy_of
from mailtls.maildomain.checks.sender_policy import dmarc_policy
from mailtls.maildomain.facts import DomainFacts, MxHost, Published, ServedTls
from mailtls.maildomain.records.mta_sts import ReportInvalid, StsMode, parse_report
from mailtls.maildomain.records.spf import is_spf_record
from mailtls.net.answer import Dnssec
from mailtls.reasons.quoting import quote, shorten
from mailtls.reasons.reason import Finding, Severity

Check: TypeAlias = Callable[[Published], Iterator[Finding]]
CHECKS: Final[tuple[Check, ...]] = (
    mail_route.lookups_fail,
    mail_route.no_host_takes_mail,
    mail_route.null_mx_is_not_alone,
    mail_route.mx_is_an_address,
    mail_route.mx_has_no_address,
    dane.tlsa_is_bogus,
    dane.nameservers_disagree,
    dane.tlsa_matches_nothing,
    dane.parameter_set_is_orphaned,
    dane.starttls_is_missing_under_dane,
    mta_sts.sts_records_are_many,
    mta_sts.sts_record_is_invalid,
    mta_sts.sts_policy_is_not_fetched,
    mta_sts.sts_policy_is_invalid,
    mta_sts.mx_is_not_listed,
    mta_sts.sts_would_fail,
    mail_route.mx_is_an_alias,
    mail_route.mx_is_listed_twice,
    mail_route.mx_is_implicit,
    dane.tlsa_is_insecure,
    dane.dnssec_is_unknown,
    dane.tlsa_is_unusable,
    dane.tlsa_pins_an_issuer,
    dane.next_key_is_not_published,
    dane.ttl_is_too_long,
    mta_sts.sts_record_is_missing,
    mta_sts.max_age_is_short,
    mta_sts.report_record_is_missing,
    mta_sts.report_records_are_many,
    mta_sts.report_record_is_invalid,
    sender_policy.spf_is_missing,
    sender_policy.spf_records_are_many,
    sender_policy.spf_is_invalid,
    sender_policy.spf_allows_everybody,
    sender_policy.spf_has_too_many_lookups,
    sender_policy.spf_has_void_lookups,
    sender_policy.dmarc_is_missing,
    sender_policy.dmarc_records_are_many,
    sender_policy.dmarc_is_invalid,
    sender_policy.dkim_keys_are_bad,
    mail_route.reverse_dns_is_missing,
)


def judge_domain(
    facts: DomainFacts, served: Sequence[ServedTls] = (), now: datetime | None = None
) -> tuple[Finding, ...]:
    """Return all findings, those that fail first; `served` is what its hosts serve.

    `now` lets TLSA records of usage 2 be held against the dates of the certificates; without it, they are left out.
    """
    published = Published(facts, tuple(served), now)
    found = [finding for check in CHECKS for finding in check(published)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.FAIL))


def is_tls_demanded(facts: DomainFacts, host: str, port: int) -> bool:
    """Whether senders demand TLS of a host's port: by DANE (RFC 7672 section 2.2) or MTA-STS (RFC 8461 section 5)."""
    return any(each.name == host and _has_secure_tlsa(each, port) for each in facts.mx) or _is_enforced(facts, host)


def _has_secure_tlsa(host: MxHost, port: int) -> bool:
    found = host.tlsa.get(port)
    return found is not None and bool(found.values) and found.dnssec is Dnssec.SECURE


def _is_enforced(facts: DomainFacts, host: str) -> bool:
    policy = policy_of(facts)
    return policy is not None and policy.mode is StsMode.ENFORCE and policy.lists(host)


Line = tuple[str, str]


def describe_domain(facts: DomainFacts) -> tuple[Line, ...]:
    """Return pairs of a topic (MX, DANE, MTA-STS, TLSRPT, SPF, DMARC, DKIM) and what there is of it."""
    return (
        *_hosts(facts),
        *_dane(facts),
        ("MTA-STS", _sts(facts)),
        ("TLSRPT", _reports(facts)),
        ("SPF", _spf(facts)),
        ("DMARC", _dmarc(facts)),
        *(("DKIM", f"{selector}: {_first(answer.values)}") for selector, answer in facts.dkim.items()),
    )


def _hosts(facts: DomainFacts) -> Iterator[Line]:
    if facts.has_null_mx and not facts.mx:
        yield "MX", "takes no mail, and says so (MX 0 .)"
    elif not facts.mx:
        yield "MX", f"could not be looked up ({facts.mx_records.failure})" if facts.mx_records.failure else "none"
    for host in facts.mx:
        preference = "no MX record;" if facts.is_implicit_mx else str(host.preference)
        yield "MX", f"{preference} {shorten(host.name)} ({', '.join(host.addresses) or 'no address'})"
    if facts.mx_records.left_out:
        yield "MX", f"{facts.mx_records.left_out} more, which are not checked"


def _dane(facts: DomainFacts) -> Iterator[Line]:
    found = [(host, port, records) for host in facts.mx for port, records in host.tlsa.items() if records.values]
    if not found:
        yield "DANE", "no TLSA records"
    for host, port, records in found:
        parameters = ", ".join(dict.fromkeys(record.parameters for record in records.values))
        yield "DANE", f"{host.name}:{port}: {len(records.values)} TLSA ({parameters}), DNSSEC {records.dnssec}"


def _sts(facts: DomainFacts) -> str:
    policy = policy_of(facts)
    if policy:
        return f"mode {policy.mode} for {shorten(', '.join(policy.mx)) or 'no host'}, max_age {policy.max_age}"
    return "no policy that senders can use" if facts.sts_record.values or facts.sts_record.failure else "not published"


def _reports(facts: DomainFacts) -> str:
    for text in facts.tlsrpt.values:
        try:
            return f"reports go to {shorten(', '.join(parse_report(text)))}"
        except ReportInvalid:
            continue
    return "not published"


def _spf(facts: DomainFacts) -> str:
    found = [text for text in facts.spf.records.values if is_spf_record(text)]
    return f"{_first(found)} ({facts.spf.lookups} lookups)" if found else "not published"


def _dmarc(facts: DomainFacts) -> str:
    found = dmarc_policy(facts)
    if found is None:
        return "no record that receivers can use"
    name, record = found
    is_own = name == f"_dmarc.{facts.domain}"
    return f"policy {record.policy}" if is_own else f"policy {record.subdomain_policy}, from {name}"


def _first(texts: tuple[str, ...] | list[str]) -> str:
    return quote(texts[0].encode()) if texts else "no record"
