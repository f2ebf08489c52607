"""Checks on TLSA records (RFC 6698, 7671, 7672): does a sender with DANE deliver, now and after the next renewal."""

from collections.abc import Iterator
from typing import Final

from mailtls.maildomain.checks.tlsa import DANE_EE, DANE_TA, association, flaw, key_of, matches
from mailtls.maildomain.facts import Published, Service, TlsaRecord
from mailtls.net.answer import Dnssec
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason, Severity

LONGEST_TTL: Final = 3600  # seconds that a forgotten record goes on hurting
_BEST: Final = TlsaRecord(DANE_EE, 1, 1, b"")  # RFC 7672 section 3.1.1
_SHOWN: Final = 3


def tlsa_is_bogus(published: Published) -> Iterator[Finding]:
    """DNSSEC validation fails: validating senders get SERVFAIL and keep the mail (RFC 7672 section 2.1.1)."""
    for service in published.services():
        if service.tlsa.dnssec is Dnssec.BOGUS:
            yield Finding(
                Reason.TLSA_BOGUS,
                f"DNSSEC validation of {service.tlsa.name} fails, so senders with DANE keep the mail in their queues: "
                "sign the zone again, and compare the DS record at the parent with the zone's keys.",
                evidence=service.tlsa.failure,
                subject=service.subject,
            )


def nameservers_disagree(published: Published) -> Iterator[Finding]:
    """Authoritative servers answer different TLSA records: which one a sender sees is luck."""
    for service in published.services():
        answers = [answer for answer in service.authoritative if not answer.failure]
        if len({frozenset(answer.values) for answer in answers}) > 1:
            answered = "; ".join(f"{answer.name}: {_briefly(answer.values)}" for answer in answers)
            yield Finding(
                Reason.NAMESERVERS_DISAGREE,
                f"The nameservers of {service.tlsa.name} answer different TLSA records: check that each secondary "
                "has the zone's newest serial.",
                evidence=shorten(answered),
                subject=service.subject,
            )


def tlsa_matches_nothing(published: Published) -> Iterator[Finding]:
    """No usable record is for the chain that the port serves: senders with DANE refuse to deliver."""
    for service in published.services():
        for chain in service.chains:
            usable = _usable(service)
            if usable and not any(_matches(published, service, record, chain) for record in usable):
                wanted = TlsaRecord(_BEST.usage, _BEST.selector, _BEST.matching_type, association(_BEST, chain[0]))
                yield Finding(
                    Reason.TLSA_MISMATCH,
                    f"No TLSA record at {service.tlsa.name} matches the certificate that {service.subject} serves: "
                    f"publish «{wanted}» beside the old records, or restore the old key at once.",
                    _unless_ignored(service),
                    evidence=_listed(usable),
                    subject=service.subject,
                )
                break


def parameter_set_is_orphaned(published: Published) -> Iterator[Finding]:
    """One combination of parameters matches nothing; a client may know only that one (RFC 7671 section 8)."""
    for service in published.services():
        for chain in service.chains:
            matched = [record for record in _usable(service) if _matches(published, service, record, chain)]
            orphans = {each.parameters for each in _usable(service)} - {each.parameters for each in matched}
            if matched and orphans:
                yield Finding(
                    Reason.TLSA_ORPHAN_PARAMETER_SET,
                    f"The TLSA records {_joined(orphans)} at {service.tlsa.name} match nothing that {service.subject} "
                    "serves, and some senders use only those: correct or delete them.",
                    _unless_ignored(service),
                    evidence=_listed([each for each in _usable(service) if each.parameters in orphans]),
                    subject=service.subject,
                )
                break


def starttls_is_missing_under_dane(published: Published) -> Iterator[Finding]:
    """TLSA records promise TLS that the port does not offer: senders refuse to deliver (RFC 7672 section 2.2)."""
    for service in published.services():
        offers = [each.instead_of_starttls for each in service.served if each.instead_of_starttls is not None]
        if offers and service.tlsa.values:
            yield Finding(
                Reason.STARTTLS_NOT_ADVERTISED,
                f"{service.tlsa.name} has TLSA records, but {service.subject} does not offer STARTTLS: enable TLS, or "
                "delete the records.",
                _unless_ignored(service),
                evidence=offers[0],
                subject=service.subject,
            )


def tlsa_is_insecure(published: Published) -> Iterator[Finding]:
    """Without DNSSEC senders ignore a TLSA record, and the hosts of an MX record (RFC 7672 section 2.2.1)."""
    services = [service for service in published.services() if service.tlsa.values]
    for service in services:
        if service.tlsa.dnssec is Dnssec.INSECURE:
            yield Finding(
                Reason.TLSA_INSECURE,
                f"{service.tlsa.name} is not signed with DNSSEC, so senders ignore its TLSA records: sign the zone, "
                "and let your registrar add the DS record to the parent zone.",
                Severity.WARN,
                subject=service.subject,
            )
    facts = published.facts
    if facts.mx_records.dnssec is Dnssec.INSECURE and any(each.tlsa.dnssec is Dnssec.SECURE for each in services):
        yield Finding(
            Reason.TLSA_INSECURE,
            f"The MX records of {facts.display_name} are not signed with DNSSEC, so an attacker can lead mail to other "
            "hosts than those that DANE protects: sign the domain's zone, too.",
            Severity.WARN,
            subject=facts.display_name,
        )


def dnssec_is_unknown(published: Published) -> Iterator[Finding]:
    """There are TLSA records, but no trusted resolver said whether they are signed."""
    unproven = [each for each in published.services() if each.tlsa.values and each.tlsa.dnssec is Dnssec.UNKNOWN]
    if unproven:
        yield Finding(
            Reason.DNSSEC_UNKNOWN,
            f"It is unknown whether the TLSA records of {published.facts.display_name} are signed, because no trusted "
            "resolver validated them: run a validating resolver on this machine (unbound, BIND), or name one that you "
            "trust.",
            Severity.WARN,
            evidence=_joined({each.tlsa.name for each in unproven}),
            subject=published.facts.display_name,
        )


def tlsa_is_unusable(published: Published) -> Iterator[Finding]:
    """Records that senders skip; where none is left, they encrypt and verify nothing (RFC 7672 section 2.2)."""
    for service in published.services():
        flaws = [(record, words) for record in service.tlsa.values if (words := flaw(record, service.port))]
        if flaws:
            record, words = flaws[0]
            alone = "" if _usable(service) else ", and there is no other, so senders verify nothing"
            yield Finding(
                Reason.TLSA_UNUSABLE,
                f"The TLSA record «{shorten(str(record))}» at {service.tlsa.name} {words}{alone}: publish 3 1 1.",
                Severity.WARN,
                evidence=_listed([each for each, _ in flaws]),
                subject=service.subject,
            )


def tlsa_pins_an_issuer(published: Published) -> Iterator[Finding]:
    """Usage 2 names a CA's key, and the CA changes it at will."""
    for service in published.services():
        pins = [record for record in _usable(service) if record.usage == DANE_TA]
        if pins:
            yield Finding(
                Reason.TLSA_PINS_ISSUER,
                f"The TLSA record {pins[0].parameters} at {service.tlsa.name} is for an issuer's certificate, and a "
                "public CA changes that without notice (Let's Encrypt picks one at random): publish 3 1 1.",
                Severity.WARN,
                evidence=_listed(pins),
                subject=service.subject,
            )


def next_key_is_not_published(published: Published) -> Iterator[Finding]:
    """No record is for the next key: the next renewal with a new key breaks mail (RFC 7672 section 4)."""
    for service in published.services():
        own = [record for record in _usable(service) if record.usage == DANE_EE]
        sets = [[each for each in own if each.parameters == name] for name in dict.fromkeys(r.parameters for r in own)]
        if any(_has_no_spare(published, service, members) for members in sets):
            yield Finding(
                Reason.TLSA_NO_NEXT,
                f"All TLSA records at {service.tlsa.name} are for {_keys(service)}, so a renewal with a new key "
                "breaks mail: publish the next key's hash before it is used, or keep the key at renewals.",
                Severity.WARN,
                evidence=_listed(own),
                subject=service.subject,
            )


def ttl_is_too_long(published: Published) -> Iterator[Finding]:
    """A long TTL is how long a mistake lasts."""
    for service in published.services():
        ttl = max(answer.ttl for answer in (service.tlsa, *service.authoritative))  # caches give what is left of it
        if service.tlsa.values and ttl > LONGEST_TTL:
            yield Finding(
                Reason.TLSA_TTL_TOO_LONG,
                f"Resolvers may keep the TLSA records at {service.tlsa.name} for {ttl} seconds, and a mistake in them "
                f"lasts as long: set a TTL of at most {LONGEST_TTL}.",
                Severity.WARN,
                subject=service.subject,
            )


def _usable(service: Service) -> list[TlsaRecord]:
    return [record for record in service.tlsa.values if not flaw(record, service.port)]


def _matches(published: Published, service: Service, record: TlsaRecord, chain: tuple[bytes, ...]) -> bool:
    names = (service.host.name, service.host.alias, published.facts.domain)  # RFC 7672 section 3.2.3
    return bool(key_of(chain[0])) and matches(record, chain, [name for name in names if name], published.now)


def _has_no_spare(published: Published, service: Service, members: list[TlsaRecord]) -> bool:
    if not service.chains:
        return len(members) == 1
    return all(any(_matches(published, service, each, chain) for chain in service.chains) for each in members)


def _keys(service: Service) -> str:
    return "keys in use" if service.chains else "one key, and no server was seen to use it"


def _unless_ignored(service: Service) -> Severity:
    """Records that are not signed are ignored by senders: wrong ones hurt nobody yet."""
    return Severity.WARN if service.tlsa.dnssec is Dnssec.INSECURE else Severity.FAIL


def _listed(records: tuple[TlsaRecord, ...] | list[TlsaRecord]) -> str:
    more = f" and {len(records) - _SHOWN} more" if len(records) > _SHOWN else ""
    return ", ".join(str(record) for record in records[:_SHOWN]) + more if records else "none"


def _briefly(records: tuple[TlsaRecord, ...]) -> str:
    """List with the first octets of each record: that is enough to compare the servers' answers side by side."""
    return ", ".join(f"{record.parameters} {record.data.hex()[:8]}…" for record in records[:_SHOWN]) or "none"


def _joined(words: set[str]) -> str:
    return ", ".join(sorted(words))
