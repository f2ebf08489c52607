"""Checks on MTA-STS (RFC 8461) and TLSRPT (RFC 8460): do senders get the policy, and can they keep it."""

from collections.abc import Iterator
from typing import Final

from mailtls.maildomain.checks.input import Published
from mailtls.maildomain.facts import DomainFacts, ServedTls, StsFault
from mailtls.maildomain.records.mta_sts import (
    ReportInvalid,
    StsInvalid,
    StsMode,
    StsPolicy,
    is_report_record,
    is_sts_record,
    parse_policy,
    parse_record,
    parse_report,
)
from mailtls.pki.served_certificate import read_served
from mailtls.reasons.quoting import quote, quote_all, shorten
from mailtls.reasons.reason import Finding, Reason, Severity

ENFORCE_AGE: Final = 604_800  # a week; less is forgotten over a weekend, and protects nobody
TESTING_AGE: Final = 86_400
_FAULTS: Final = {
    StsFault.UNREACHABLE: Reason.STS_FETCH_FAILED,
    StsFault.STATUS: Reason.STS_FETCH_FAILED,
    StsFault.TOO_LARGE: Reason.STS_FETCH_FAILED,
    StsFault.CERTIFICATE: Reason.STS_WEB_PKI_INVALID,
    StsFault.REDIRECT: Reason.STS_REDIRECT,
    StsFault.CONTENT_TYPE: Reason.STS_CONTENT_TYPE,
}
_ADVICE: Final = {
    Reason.STS_FETCH_FAILED: "let it answer with status 200 over HTTPS",
    Reason.STS_WEB_PKI_INVALID: "give it a certificate of a public CA for that very name",
    Reason.STS_REDIRECT: "serve the policy right there, as senders follow no redirect",
    Reason.STS_CONTENT_TYPE: "serve it as text/plain",
}


def policy_of(facts: DomainFacts) -> StsPolicy | None:
    """Return the policy that senders get, None where they get none."""
    records = _announced(facts)
    try:
        if len(records) == 1 and facts.sts_policy and not facts.sts_policy.fault:
            parse_record(records[0])
            return parse_policy(facts.sts_policy.body)
    except StsInvalid:
        pass
    return None


def sts_record_is_missing(published: Published) -> Iterator[Finding]:
    """There is a policy that nobody looks for, as no TXT record announces it."""
    facts, fetch = published.facts, published.facts.sts_policy
    if facts.sts_record.failure or _announced(facts) or not fetch or fetch.fault or not _is_policy(fetch.body):
        return
    evidence = quote(facts.sts_record.values[0].encode()) if facts.sts_record.values else ""
    yield Finding(
        Reason.STS_RECORD_MISSING,
        f"A policy waits at mta-sts.{facts.domain}, but no TXT record at {facts.sts_record.name} leads senders to it: "
        "publish «v=STSv1; id=1;».",
        Severity.WARN,
        evidence=evidence,
        subject=facts.display_name,
    )


def sts_records_are_many(published: Published) -> Iterator[Finding]:
    """More than one record counts as none (RFC 8461 section 3.1)."""
    found = _announced(published.facts)
    if len(found) > 1:
        yield Finding(
            Reason.STS_RECORD_MULTIPLE,
            f"{published.facts.sts_record.name} has {len(found)} MTA-STS records, so that senders take none: keep one.",
            evidence=quote_all(found),
            subject=published.facts.display_name,
        )


def sts_record_is_invalid(published: Published) -> Iterator[Finding]:
    """The record is not as RFC 8461 section 3.1 writes it down."""
    found = _announced(published.facts)
    if len(found) != 1:
        return
    try:
        parse_record(found[0])
    except StsInvalid as invalid:
        yield Finding(
            Reason.STS_RECORD_INVALID,
            f"The record of MTA-STS at {published.facts.sts_record.name} is ignored by senders: {invalid}.",
            evidence=quote(found[0].encode()),
            subject=published.facts.display_name,
        )


def sts_policy_is_not_fetched(published: Published) -> Iterator[Finding]:
    """The policy is announced, but not to be had as RFC 8461 section 3.3 wants."""
    facts, fetch = published.facts, published.facts.sts_policy
    if not _announced(facts):
        return
    if fetch is not None and fetch.fault is StsFault.NO_ROOTS:
        yield Finding(
            Reason.STS_FETCH_FAILED,
            f"Whether senders can fetch the policy from mta-sts.{facts.domain} is not known: {fetch.detail}",
            Severity.WARN,
            evidence=fetch.detail,
            subject=facts.display_name,
        )
        return
    if fetch is None:
        reason, detail = Reason.STS_FETCH_FAILED, "the name has no address"
    elif fetch.fault:
        reason, detail = _FAULTS[fetch.fault], fetch.detail
    else:
        return
    yield Finding(
        reason,
        f"Senders cannot fetch the policy from mta-sts.{facts.domain} ({detail}): {_ADVICE[reason]}.",
        evidence=detail,
        subject=facts.display_name,
    )


def sts_policy_is_invalid(published: Published) -> Iterator[Finding]:
    """The policy is fetched and not understood (RFC 8461 section 3.2)."""
    facts, fetch = published.facts, published.facts.sts_policy
    if not _announced(facts) or fetch is None or fetch.fault:
        return
    try:
        parse_policy(fetch.body)
    except StsInvalid as invalid:
        yield Finding(
            Reason.STS_POLICY_INVALID,
            f"Senders do not understand the policy at mta-sts.{facts.domain}: {invalid}.",
            evidence=quote(fetch.body[:100]),
            subject=facts.display_name,
        )


def mx_is_not_listed(published: Published) -> Iterator[Finding]:
    """A host of the MX records that the policy does not allow (RFC 8461 section 4.1)."""
    policy = policy_of(published.facts)
    if policy is None or policy.mode is StsMode.NONE:
        return
    for host in published.facts.mx:
        if not policy.lists(host.name):
            yield Finding(
                Reason.STS_MX_NOT_LISTED,
                f"The policy of MTA-STS does not list the MX host {shorten(host.name)}, so that senders "
                f"{_consequence(policy)}: add the line «mx: {shorten(host.name)}».",
                _severity(policy),
                evidence=shorten(", ".join(policy.mx)),
                subject=host.name,
            )


def sts_would_fail(published: Published) -> Iterator[Finding]:
    """A host does not serve what the policy promises: TLS with a certificate of the web's roots for its name."""
    policy = policy_of(published.facts)
    if policy is None or policy.mode is StsMode.NONE:
        return
    for host in published.facts.mx:
        faults = [words for served in published.served(host.name) if (words := _fault(served))]
        if faults:
            yield Finding(
                Reason.STS_WOULD_FAIL,
                f"The policy of MTA-STS wants verified TLS, but {host.name} fails it ({faults[0]}), so that senders "
                f"{_consequence(policy)}: repair its TLS, or set the policy to testing meanwhile.",
                _severity(policy),
                evidence=faults[0],
                subject=f"{host.name}:25",
            )


def max_age_is_short(published: Published) -> Iterator[Finding]:
    """A policy that is soon forgotten protects little (RFC 8461 section 3.2 speaks of weeks)."""
    policy = policy_of(published.facts)
    least = {StsMode.ENFORCE: ENFORCE_AGE, StsMode.TESTING: TESTING_AGE}.get(policy.mode, 0) if policy else 0
    if policy and policy.max_age < least:
        yield Finding(
            Reason.STS_MAX_AGE_SHORT,
            f"Senders forget the policy after {policy.max_age} seconds: set max_age to {least} or more in mode "
            f"{policy.mode}.",
            Severity.WARN,
            subject=published.facts.display_name,
        )


def report_record_is_missing(published: Published) -> Iterator[Finding]:
    """TLS is promised, but nobody is told when it fails."""
    facts = published.facts
    promises = policy_of(facts) is not None or any(host.tlsa[port].values for host in facts.mx for port in host.tlsa)
    if promises and not facts.tlsrpt.failure and not _reports(facts):
        yield Finding(
            Reason.TLS_REPORT_MISSING,
            f"{facts.display_name} promises TLS, but no sender reports where it fails: publish a TXT record at "
            f"{facts.tlsrpt.name} such as «v=TLSRPTv1; rua=mailto:tls-reports@{facts.domain}».",
            Severity.WARN,
            subject=facts.display_name,
        )


def report_records_are_many(published: Published) -> Iterator[Finding]:
    """More than one record counts as none (RFC 8460 section 3)."""
    found = _reports(published.facts)
    if len(found) > 1:
        yield Finding(
            Reason.TLS_REPORT_MULTIPLE,
            f"{published.facts.tlsrpt.name} has {len(found)} TLSRPT records, so that senders report nothing: keep one.",
            Severity.WARN,
            evidence=quote_all(found),
            subject=published.facts.display_name,
        )


def report_record_is_invalid(published: Published) -> Iterator[Finding]:
    """The record is not as RFC 8460 section 3 writes it down."""
    found = _reports(published.facts)
    if len(found) != 1:
        return
    try:
        parse_report(found[0])
    except ReportInvalid as invalid:
        yield Finding(
            Reason.TLS_REPORT_INVALID,
            f"The record of TLSRPT at {published.facts.tlsrpt.name} is ignored by senders: {invalid}.",
            Severity.WARN,
            evidence=quote(found[0].encode()),
            subject=published.facts.display_name,
        )


def _announced(facts: DomainFacts) -> list[str]:
    return [text for text in facts.sts_record.values if is_sts_record(text)]


def _reports(facts: DomainFacts) -> list[str]:
    return [text for text in facts.tlsrpt.values if is_report_record(text)]


def _is_policy(body: bytes) -> bool:
    try:
        parse_policy(body)
    except StsInvalid:
        return False
    return True


def _severity(policy: StsPolicy) -> Severity:
    return Severity.FAIL if policy.mode is StsMode.ENFORCE else Severity.WARN


def _consequence(policy: StsPolicy) -> str:
    return (
        "do not deliver to it" if policy.mode is StsMode.ENFORCE else "report it, and would not deliver once enforced"
    )


def _fault(served: ServedTls) -> str:
    """Why a sender would refuse what a host serves (RFC 8461 section 4.2); empty when it would not, or saw nothing."""
    if served.trouble or not served.chain:
        return served.trouble
    leaf = read_served(served.chain[0])
    return "" if leaf and leaf.names(served.host) else "its certificate is not for that name"
