"""What a dynamic update (RFC 2136) needs: the zone of a record, TSIG keys (RFC 8945), and refusals in plain words.

A record may stand behind CNAMEs (RFC 8555 section 8.4). A key is read out of a Secret: bare base64, or the file that
`tsig-keygen` writes.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig

from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.propagation import Location, Names
from mailtls.net.dns_server import Ask, is_authoritative
from mailtls.reasons.reason import Finding, Reason

_MOST_ALIASES: Final = 8
# Names of the records of mail itself: whoever checks DKIM may reject two at one name (RFC 6376 section 3.6.2.2).
_OF_MAIL: Final = frozenset({b"_domainkey", b"_dmarc", b"_mta-sts", b"_tls", b"_spf", b"_report"})
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
            if not _OF_MAIL.isdisjoint(label.lower() for label in alias.labels):  # whoever ordered may have meant harm
                raise _not_found(f"Point the CNAME at {_text(owner)} elsewhere: {_text(alias)} is for records of mail")
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


_BUSY: Final = frozenset({dns.rcode.SERVFAIL})
_LONGEST_KEY: Final = 4096  # octets of an entry; what tsig-keygen prints for hmac-sha512 has less than 200
# key "mailtls." { algorithm hmac-sha256; secret "..."; };
_FILE: Final = re.compile(r'\s*key\s+"?(?P<name>[^"\s{]+)"?\s*\{(?P<body>[^}]*)\}\s*+;?\s*', re.ASCII)
_SECRET: Final = re.compile(r'\bsecret\s+"?(?P<secret>[A-Za-z0-9+/=]+)"?\s*;', re.ASCII)
_ALGORITHM: Final = re.compile(r'\balgorithm\s+"?(?P<algorithm>[A-Za-z0-9-]+)"?\s*;', re.ASCII)


@dataclass(frozen=True, slots=True)
class Rfc2136:
    """A DNS server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945).

    `server` is host or host:port (default 53). `zone` None: found by walking the SOA records.
    """

    server: str
    tsig_key_name: str
    tsig_secret: DataRef
    tsig_algorithm: str = "hmac-sha256"
    zone: str | None = None
    ttl: int = 60  # seconds

    name = "rfc2136"

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The Secret of the key."""
        return (self.tsig_secret,)


class HiddenKey(dns.tsig.Key):
    """A key that does not show its secret when it is printed, as the library's does."""

    def __repr__(self) -> str:
        return f"<TSIG key {self.name}, {self.algorithm}>"


def tsig_key(settings: Rfc2136, content: bytes) -> dns.tsig.Key:
    """Return the key that `settings` names, with `content` as its secret; no part of it is ever in a message.

    Raises `ChallengeProblem` (CredentialsMissing) that says how the Secret must be written.
    """
    if len(content) > _LONGEST_KEY:
        raise _unusable(settings, f"is larger than {_LONGEST_KEY} octets; write what tsig-keygen prints")
    try:
        text = content.decode("ascii")
        if "{" in text:
            text = _from_file(text, settings)
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise _unusable(settings, "holds no base64; write what tsig-keygen prints between the quotes") from None
    if not secret:
        raise _unusable(settings, "is empty; write what tsig-keygen prints between the quotes")
    return HiddenKey(_absolute(settings.tsig_key_name), secret, _absolute(settings.tsig_algorithm))


def _from_file(text: str, settings: Rfc2136) -> str:
    file = _FILE.fullmatch(text)
    found = _SECRET.search(file["body"]) if file else None
    if file is None or found is None:
        raise _unusable(settings, "is no key file of BIND; write the base64 of the key alone")
    _must_agree("tsigKeyName", settings.tsig_key_name, file["name"], settings)
    algorithm = _ALGORITHM.search(file["body"])
    _must_agree("tsigAlgorithm", settings.tsig_algorithm, algorithm and algorithm["algorithm"], settings)
    return found["secret"]


def _must_agree(field: str, wanted: str, written: str | None, settings: Rfc2136) -> None:
    if written is not None and _absolute(written) != _absolute(wanted):
        raise _unusable(settings, f"is the key file of {written}, but {field} is {wanted}; make them agree")


def _absolute(text: str) -> dns.name.Name:
    return dns.name.from_text(text)  # relative to the root, and compared without case


def _unusable(settings: Rfc2136, fault: str) -> ChallengeProblem:
    ref = settings.tsig_secret
    message = f"The entry {ref.key} of the {ref.kind} {ref.namespace}/{ref.name} {fault}."
    return ChallengeProblem(Finding(Reason.CREDENTIALS_MISSING, message), transient=True)  # until a person corrects it


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused update: who was asked with which key, and where the record should have gone."""

    settings: Rfc2136
    location: Location

    def by_rcode(self, rcode: dns.rcode.Rcode) -> ChallengeProblem:
        """Translate the answer's code."""
        if rcode in _BUSY:
            cause = f"Look into the log of the DNS server {self.settings.server}: it failed to update zone {self._zone}"
            return ChallengeProblem(Finding(Reason.DNS_UNREACHABLE, f"{cause}."), transient=True)
        return self._refused(f"{self._fix(rcode)} (the server answered {dns.rcode.to_text(rcode)})")

    def by_signature(self, error: dns.exception.DNSException) -> ChallengeProblem:
        """Translate what TSIG says; a wrong key and a wrong algorithm look alike to a server."""
        match error:
            case dns.tsig.PeerBadKey() | dns.tsig.BadKey() | dns.tsig.BadAlgorithm():
                fix = f"no key {self._key} with algorithm {self.settings.tsig_algorithm} is known there (BADKEY)"
                return self._refused(f"Make tsigKeyName and tsigAlgorithm those of {self.settings.server}: {fix}")
            case dns.tsig.PeerBadTime() | dns.tsig.BadTime():
                fix = f"set the clocks of this cluster's nodes and of {self.settings.server}"
                return self._refused(f"The times differ by more than five minutes, so {fix} (BADTIME)")
        ref = self.settings.tsig_secret
        fix = f"put the secret that {self.settings.server} has for the key {self._key} into"
        code = "BADTRUNC" if isinstance(error, dns.tsig.PeerBadTruncation) else "BADSIG"
        return self._refused(
            f"The signature does not match, so {fix} the {ref.kind} {ref.name}, entry {ref.key} ({code})"
        )

    def unsigned(self) -> ChallengeProblem:
        """Translate a success that nobody signed: anybody on the way can have sent it."""
        return self._refused(
            f"Let {self.settings.server} verify the key {self._key}: it answered without a signature,"
            " so nothing shows that the update was made"
        )

    def _fix(self, rcode: dns.rcode.Rcode) -> str:
        owner, zone, server = self.location.owner, self._zone, self.settings.server
        match rcode:
            case dns.rcode.NOTAUTH:  # of Knot DNS, whatever does not fit: the key, its secret, or what it may change
                return (
                    f"Name a primary DNS server of the zone {zone}, or, where {server} is Knot DNS, make the key"
                    f" {self._key} and an acl of the zone allow TXT records at {owner}"
                )
            case dns.rcode.NOTZONE:
                return f"Name the zone that holds {owner}: {server} says it is not {zone}"
            case dns.rcode.NOTIMP | dns.rcode.FORMERR:
                return f"Use a DNS server that takes dynamic updates (RFC 2136): {server} does not"
        policy = f"update-policy {{ grant {self._key} name {owner} TXT; }};"
        return (
            f"Let the key {self._key} change the TXT records of {owner} in the zone {zone} on {server}: in BIND,"
            f" {policy} in PowerDNS, TSIG-ALLOW-DNSUPDATE, which refuses a wrong secret or algorithm so, too"
        )

    @property
    def _key(self) -> str:
        return self.settings.tsig_key_name

    @property
    def _zone(self) -> str:
        return self.location.zone.to_text(omit_final_dot=True)

    @staticmethod
    def _refused(message: str) -> ChallengeProblem:
        return ChallengeProblem(Finding(Reason.DNS_UPDATE_REFUSED, f"{message}."), transient=False)
