"""Finds where a challenge's record belongs: behind CNAMEs (RFC 8555 section 8.4), and in which zone."""

from dataclasses import dataclass
from typing import Final

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.propagation import Location, Names
from mailtls.net.dns_server import Ask, is_authoritative
from mailtls.reasons.reason import Finding, Reason

_MOST_ALIASES: Final = 8
_SIBLING: Final = "_mailtls-wildcard-check"  # no name that anybody has


@dataclass(frozen=True, slots=True)
class Search:
    """Asks the server that takes the updates, and where that one is not authoritative, the rest of the DNS.

    `zone` is the one that the user named, None: it is found by its SOA record.
    """

    server: str
    ask: Ask
    names: Names
    zone: dns.name.Name | None

    def locate(self, name: dns.name.Name) -> Location:
        """Return where a TXT record for `name` belongs; raises `ChallengeProblem` (ZoneNotFound, DnsUnreachable)."""
        owner = name
        for _ in range(_MOST_ALIASES):
            answer = self._answer(owner, dns.rdatatype.CNAME)
            alias = self._alias(owner, answer)
            if alias is None:
                return Location(owner, self._zone(owner, answer))
            owner = alias
        raise _not_found(
            f"Repair the CNAMEs at {_text(name)}: there are more than {_MOST_ALIASES} in a row, or a circle"
        )

    def _alias(self, owner: dns.name.Name, answer: dns.message.Message) -> dns.name.Name | None:
        if not is_authoritative(answer):
            return self.names.alias(owner)
        target = _target(owner, answer)
        if target is None or target == self._target_of_sibling(owner):
            return None
        return target

    def _target_of_sibling(self, owner: dns.name.Name) -> dns.name.Name | None:
        """Return where a name that nobody made points to.

        A wildcard such as `*.example.com CNAME web.example.com` answers for `_acme-challenge.example.com` as well, but
        was not meant for it, and ends to answer when a record of that name is added (RFC 4592 section 2.2.1).
        """
        sibling = dns.name.Name((_SIBLING.encode(), *owner.labels[1:]))
        return _target(sibling, self._answer(sibling, dns.rdatatype.CNAME))

    def _zone(self, owner: dns.name.Name, answer: dns.message.Message) -> dns.name.Name:
        if self.zone is not None:
            if owner.is_subdomain(self.zone):
                return self.zone
            raise _not_found(f"Name the zone of {_text(owner)}, or none at all: it does not lie in {_text(self.zone)}")
        if not is_authoritative(answer):
            raise _not_found(self._why_not_authoritative(owner, answer))
        return _zone_of_answer(owner, answer) or self._walk(owner)

    def _walk(self, owner: dns.name.Name) -> dns.name.Name:
        """Ask each name on the way to the root for its SOA record."""
        name = owner
        while name != dns.name.root:
            found = _zone_of_answer(owner, self._answer(name, dns.rdatatype.SOA))
            if found is not None:
                return found
            name = name.parent()
        raise _not_found(self._why_not_authoritative(owner, None))

    def _answer(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        answer = self.ask(dns.message.make_query(name, kind, flags=0))
        if answer.rcode() == dns.rcode.SERVFAIL:
            message = f"Look into the log of the DNS server {self.server}: it fails to answer for {_text(name)}."
            raise ChallengeProblem(Finding(Reason.DNS_UNREACHABLE, message), transient=True)
        return answer

    def _why_not_authoritative(self, owner: dns.name.Name, answer: dns.message.Message | None) -> str:
        referral = _first(answer.authority, dns.rdatatype.NS) if answer else None
        if referral is not None and referral.name != dns.name.root:
            elsewhere = ", ".join(sorted(_text(each.target) for each in referral))
            return (
                f"Name a server of the zone {_text(referral.name)} ({elsewhere}) to update {_text(owner)}:"
                f" {self.server} delegates that zone away"
            )
        return f"Name the primary DNS server of {_text(owner)}: {self.server} is not authoritative for it"


def _target(owner: dns.name.Name, answer: dns.message.Message) -> dns.name.Name | None:
    found = answer.get_rrset(answer.answer, owner, dns.rdataclass.IN, dns.rdatatype.CNAME)
    return found[0].target if found and is_authoritative(answer) else None


def _zone_of_answer(owner: dns.name.Name, answer: dns.message.Message) -> dns.name.Name | None:
    """Read the zone from an SOA record, asked for or sent with "no such record" (RFC 2308 section 3)."""
    if not is_authoritative(answer) or _first(answer.answer, dns.rdatatype.CNAME) is not None:
        return None  # after a CNAME the SOA record may be that of another zone
    found = _first([*answer.answer, *answer.authority], dns.rdatatype.SOA)
    if found is None or found.name == dns.name.root or not owner.is_subdomain(found.name):
        return None  # a server of the root zone says "no such name" about names that are simply elsewhere
    return found.name


def _first(section: list[dns.rrset.RRset], kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    return next((each for each in section if each.rdtype == kind), None)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _not_found(message: str) -> ChallengeProblem:
    return ChallengeProblem(Finding(Reason.ZONE_NOT_FOUND, f"{message}."), transient=False)
