"""Checks on where a domain's mail goes: MX records, hosts and addresses (RFC 5321 section 5.1), and broken lookups."""

from collections import Counter
from collections.abc import Iterator

from mailtls.maildomain.facts import DomainFacts, Mx, MxHost, Published, TlsaRecord
from mailtls.net.answer import Dnssec, Records
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason, Severity


def lookups_fail(published: Published) -> Iterator[Finding]:
    """Lookups without an answer; one finding for all that fail for the same reason."""
    facts = published.facts
    blocking = {(lookup.name, lookup.kind) for lookup in _blocking(facts)}
    failures = [lookup for lookup in facts.failures if not (lookup.kind == "TLSA" and lookup.dnssec is Dnssec.BOGUS)]
    for words in dict.fromkeys(lookup.failure for lookup in failures):
        alike = [lookup for lookup in failures if lookup.failure == words]
        names = ", ".join(dict.fromkeys(f"{lookup.name} {lookup.kind}" for lookup in alike))
        fails = any((lookup.name, lookup.kind) in blocking for lookup in alike)
        yield Finding(
            Reason.DNS_LOOKUP_FAILED,
            f"The DNS does not answer for {shorten(names)} ({words}): check the domain's nameservers and signatures, "
            "and the resolver of this machine.",
            Severity.FAIL if fails else Severity.WARN,
            evidence=words,
            subject=facts.display_name,
        )


def no_host_takes_mail(published: Published) -> Iterator[Finding]:
    """Neither an MX record nor an address (RFC 5321 section 5.1), and no null MX, which would say so on purpose."""
    facts = published.facts
    if not facts.mx_records.failure and not facts.mx_records.values and not facts.mx and not _lookup_failed(facts):
        yield Finding(
            Reason.NO_MAIL_HOST,
            f"{facts.display_name} has neither MX records nor an address, so mail to it comes back: publish an MX "
            "record, or «MX 0 .» if it takes no mail.",
            subject=facts.display_name,
        )


def null_mx_is_not_alone(published: Published) -> Iterator[Finding]:
    """A domain that takes no mail names no hosts for it (RFC 7505 section 3)."""
    facts = published.facts
    if facts.has_null_mx and facts.mx:
        yield Finding(
            Reason.NULL_MX_NOT_ALONE,
            f"{facts.display_name} says that it takes no mail (MX 0 .), but also names hosts for it: delete one or the "
            "other.",
            evidence=", ".join(str(mx) for mx in facts.mx_records.values[:3]),
            subject=facts.display_name,
        )


def mx_is_an_address(published: Published) -> Iterator[Finding]:
    """An MX record holds a name; senders do not connect to an address there (RFC 1035 section 3.3.9)."""
    for host in published.facts.mx:
        if host.is_address:
            yield Finding(
                Reason.MX_IS_ADDRESS,
                f"An MX record of {published.facts.display_name} names the IP address {shorten(host.name)} "
                "instead of a host name: give the host a name with an A or AAAA record, and use that name.",
                subject=published.facts.display_name,
            )


def mx_has_no_address(published: Published) -> Iterator[Finding]:
    """A host that cannot be connected to; fails the domain when it is the only one."""
    facts = published.facts
    nowhere = [host for host in facts.mx if not host.is_address and not host.addresses and not _failed(host)]
    for host in nowhere:
        yield Finding(
            Reason.MX_WITHOUT_ADDRESS,
            f"The MX host {shorten(host.name)} has neither an IPv4 nor an IPv6 address: publish its A or AAAA record, "
            "or delete the MX record.",
            Severity.WARN if any(other.addresses for other in facts.mx) else Severity.FAIL,
            subject=host.name,
        )


def mx_is_an_alias(published: Published) -> Iterator[Finding]:
    """MX records must name hosts with addresses, not CNAMEs (RFC 2181 section 10.3)."""
    for host in published.facts.mx:
        if host.alias and not published.facts.is_implicit_mx:
            yield Finding(
                Reason.MX_IS_ALIAS,
                f"The MX host {host.name} is an alias (CNAME) of {shorten(host.alias)}: use that in the MX record.",
                Severity.WARN,
                subject=host.name,
            )


def mx_is_listed_twice(published: Published) -> Iterator[Finding]:
    """One host in several MX records: the lower preference means nothing."""
    counted = Counter(mx.host for mx in published.facts.mx_records.values)
    twice = [host for host, number in counted.items() if number > 1]
    if twice:
        yield Finding(
            Reason.MX_DUPLICATE,
            f"{published.facts.display_name} names {shorten(', '.join(twice))} in more than one MX record: keep one.",
            Severity.WARN,
            subject=published.facts.display_name,
        )


def mx_is_implicit(published: Published) -> Iterator[Finding]:
    """Without an MX record, mail goes to the domain's own address, which is often a web server's."""
    if published.facts.is_implicit_mx:
        yield Finding(
            Reason.MX_IMPLICIT,
            f"{published.facts.display_name} has no MX record, so mail goes to its own address: publish an MX "
            "record with the name of the mail server.",
            Severity.WARN,
            subject=published.facts.display_name,
        )


def reverse_dns_is_missing(published: Published) -> Iterator[Finding]:
    """An address without a name that leads back to it (RFC 1912 section 2.1): who takes mail mostly sends some, too."""
    for host in published.facts.mx:
        asked = {address: each for address, each in host.reverse.items() if not each.names.failure}
        bare = sorted(address for address, each in asked.items() if not each.confirmed)  # resolvers shuffle answers
        names = sorted(name for address in bare for name in asked[address].names.values)
        if bare:
            has = f"has only {shorten(', '.join(names))}, which does not lead back," if names else "has no name"
            yield Finding(
                Reason.REVERSE_DNS_MISSING,
                f"The address {shorten(', '.join(bare))} of {shorten(host.name)} {has} in the reverse DNS: if mail is "
                "sent from it, have its provider set the PTR record to the name of the host.",
                Severity.WARN,
                subject=host.name,
            )


def _blocking(facts: DomainFacts) -> Iterator[Records[Mx] | Records[str] | Records[TlsaRecord]]:
    """Yield the lookups without which validating senders keep the mail (RFC 7672 section 2.1.1)."""
    yield facts.mx_records
    for host in facts.mx:
        if not host.addresses:
            yield from host.answers
        if any(answer.dnssec is Dnssec.SECURE for answer in host.answers):
            yield from host.tlsa.values()


def _failed(host: MxHost) -> bool:
    return any(answer.failure for answer in host.answers)


def _lookup_failed(facts: DomainFacts) -> bool:
    return any(_failed(host) for host in facts.mx)
