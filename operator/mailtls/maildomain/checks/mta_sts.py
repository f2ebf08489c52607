"""Checks on MTA-STS (RFC 8461) and TLSRPT (RFC 8460): can senders get the policy, and do the hosts follow it."""

from collections.abc import Iterator
from typing import Final

from mailtls.maildomain.facts import DomainFacts, Published, ServedTls, StsFault
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

ENFORCE_AGE: Final = 604_800  # a week: senders forget less over a weekend
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
    Reason.STS_WEB_PKI_INVALID: "give it a certificate from a public CA for exactly this name",
    Reason.STS_REDIRECT: "serve the policy at this address, because senders follow no redirect",
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
    """No TXT record announces the policy, so no sender looks for it."""
    facts, fetch = published.facts, published.facts.sts_policy
    if facts.sts_record.failure or _announced(facts) or not fetch or fetch.fault or not _is_policy(fetch.body):
        return
    evidence = quote(facts.sts_record.values[0].encode()) if facts.sts_record.values else ""
    yield Finding(
        Reason.STS_RECORD_MISSING,
        f"mta-sts.{facts.domain} serves a policy, but no TXT record at {facts.sts_record.name} announces it: publish "
        "«v=STSv1; id=1;».",
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
            f"{published.facts.sts_record.name} has {len(found)} MTA-STS records, and senders then use none: keep one.",
            evidence=quote_all(found),
            subject=published.facts.display_name,
        )


def sts_record_is_invalid(published: Published) -> Iterator[Finding]:
    """The record breaks the syntax of RFC 8461 section 3.1."""
    found = _announced(published.facts)
    if len(found) != 1:
        return
    try:
        parse_record(found[0])
    except StsInvalid as invalid:
        yield Finding(
            Reason.STS_RECORD_INVALID,
            f"Senders ignore the MTA-STS record at {published.facts.sts_record.name}: {invalid}.",
            evidence=quote(found[0].encode()),
            subject=published.facts.display_name,
        )


def sts_policy_is_not_fetched(published: Published) -> Iterator[Finding]:
    """The policy is announced, but cannot be fetched as RFC 8461 section 3.3 requires."""
    facts, fetch = published.facts, published.facts.sts_policy
    if not _announced(facts):
        return
    if fetch is not None and fetch.fault is StsFault.NO_ROOTS:
        yield Finding(
            Reason.STS_FETCH_FAILED,
            f"It is unknown whether senders can fetch the policy from mta-sts.{facts.domain}: {fetch.detail}",
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
    """The policy breaks the syntax of RFC 8461 section 3.2."""
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
                f"The MTA-STS policy does not list the MX host {shorten(host.name)}, so senders "
                f"{_consequence(policy)}: add the line «mx: {shorten(host.name)}».",
                _severity(policy),
                evidence=shorten(", ".join(policy.mx)),
                subject=host.name,
            )


def sts_would_fail(published: Published) -> Iterator[Finding]:
    """A host does not serve what the policy promises: TLS with a certificate from a public CA for its name."""
    policy = policy_of(published.facts)
    if policy is None or policy.mode is StsMode.NONE:
        return
    for host in published.facts.mx:
        faults = [words for served in published.served(host.name) if (words := _fault(served))]
        if faults:
            yield Finding(
                Reason.STS_WOULD_FAIL,
                f"The MTA-STS policy requires verified TLS, but {host.name} does not provide it ({faults[0]}), so "
                f"senders {_consequence(policy)}: repair its TLS, and set the policy to testing until then.",
                _severity(policy),
                evidence=faults[0],
                subject=f"{host.name}:25",
            )


def max_age_is_short(published: Published) -> Iterator[Finding]:
    """A policy with a short life protects little (RFC 8461 section 3.2 recommends weeks)."""
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
    """The domain promises TLS, but gets no reports when it fails."""
    facts = published.facts
    promises = policy_of(facts) is not None or any(host.tlsa[port].values for host in facts.mx for port in host.tlsa)
    if promises and not facts.tlsrpt.failure and not _reports(facts):
        yield Finding(
            Reason.TLS_REPORT_MISSING,
            f"{facts.display_name} promises TLS, but does not say where senders can report failures: publish a TXT "
            f"record at {facts.tlsrpt.name} such as «v=TLSRPTv1; rua=mailto:tls-reports@{facts.domain}».",
            Severity.WARN,
            subject=facts.display_name,
        )


def report_records_are_many(published: Published) -> Iterator[Finding]:
    """More than one record counts as none (RFC 8460 section 3)."""
    found = _reports(published.facts)
    if len(found) > 1:
        yield Finding(
            Reason.TLS_REPORT_MULTIPLE,
            f"{published.facts.tlsrpt.name} has {len(found)} TLSRPT records, and senders then report nothing: "
            "keep one.",
            Severity.WARN,
            evidence=quote_all(found),
            subject=published.facts.display_name,
        )


def report_record_is_invalid(published: Published) -> Iterator[Finding]:
    """The record breaks the syntax of RFC 8460 section 3."""
    found = _reports(published.facts)
    if len(found) != 1:
        return
    try:
        parse_report(found[0])
    except ReportInvalid as invalid:
        yield Finding(
            Reason.TLS_REPORT_INVALID,
            f"Senders ignore the TLSRPT record at {published.facts.tlsrpt.name}: {invalid}.",
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
        "do not deliver to it"
        if policy.mode is StsMode.ENFORCE
        else "report it, and in mode enforce do not deliver to it"
    )


def _fault(served: ServedTls) -> str:
    """Why a sender would refuse what a host serves (RFC 8461 section 4.2); empty when none is known."""
    if served.trouble or not served.chain:
        return served.trouble
    leaf = read_served(served.chain[0])
    return "" if leaf and leaf.names(served.host) else "its certificate is not for that name"
