"""Judges what a mail domain publishes, and whether its hosts serve that: an ordered tuple of checks."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from mailtls.maildomain.checks import dane, mail_route, mta_sts, sender_policy
from mailtls.maildomain.checks.mta_sts import policy_of
from mailtls.maildomain.facts import DomainFacts, MxHost, Published, ServedTls
from mailtls.maildomain.records.mta_sts import StsMode
from mailtls.net.answer import Dnssec
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
