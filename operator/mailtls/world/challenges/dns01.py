"""DNS-01 (RFC 8555 section 8.4) by dynamic updates: a `Zone` over RFC 2136 with TSIG (RFC 8945)."""

from collections.abc import Iterable, Mapping
from itertools import islice
from time import monotonic
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update

from mailtls.model.address_policy import AddressPolicy
from mailtls.model.spec import Rfc2136
from mailtls.model.spread import Spread
from mailtls.world.challenges.dns_key import tsig_key
from mailtls.world.challenges.dns_names import Names
from mailtls.world.challenges.dns_place import Place, Search
from mailtls.world.challenges.dns_refusal import Refusal
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.deadline import end_of
from mailtls.world.dns.server import KNOCK_SECONDS, Address, Ask, DnsServer, ask_all, gives_a_sign
from mailtls.world.effects import before_effect
from mailtls.world.expiring import Expiring

_PLACE_SECONDS: Final = 300.0
_SERVERS_SECONDS: Final = 300.0
_SILENCE_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 25.0  # for all lookups and connections of one call; with what may be under way, 30 at most
_MOST_SERVERS: Final = 16  # a zone may list thousands, and the answers of 16 say enough
_MOST_ADDRESSES: Final = 32
_MOST_KNOCKS: Final = 3  # servers that are tried over TCP, too, when all are silent
_TSIG_ERRORS: Final = (
    dns.tsig.PeerError,
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
)


class Rfc2136Zone:
    """Publishes TXT records at the server that `settings` names; thread-safe, and best shared: it remembers zones.

    Servers at addresses that `policy` refuses are not asked. Names are absolute, with or without the last dot. Every
    method raises `ProofProblem`: DnsUnreachable (transient), AddressRefused, DnsUpdateRefused, ZoneNotFound; the
    constructor CredentialsMissing, when `secret` is no TSIG key.
    """

    def __init__(
        self, settings: Rfc2136, secret: bytes, names: Names | None = None, policy: AddressPolicy | None = None
    ) -> None:
        self._settings, self._names, self._policy = settings, names or Names(), policy
        self._key = tsig_key(settings, secret)
        self._server = DnsServer(settings.server, policy)
        self._zone = dns.name.from_text(settings.zone) if settings.zone else None
        self._places: Expiring[dns.name.Name, Place] = Expiring(_PLACE_SECONDS)
        self._authorities: Expiring[dns.name.Name, Mapping[Address, str]] = Expiring(_SERVERS_SECONDS)
        self._silent: Expiring[Address, bool] = Expiring(_SILENCE_SECONDS)
        self._blocked: Expiring[dns.name.Name, bool] = Expiring(_SILENCE_SECONDS)

    def present(self, name: str, value: str) -> None:
        """Add `value` to the TXT set at `name`, or where a CNAME there points; adding it again changes nothing."""
        owner, until = dns.name.from_text(name), _deadline()
        with self._server.conversation(until) as ask:
            place = self._place(owner, ask, until)
            update = self._update(place)
            update.add(place.owner, self._settings.ttl, _txt(value))
            self._send(owner, place, update, ask)

    def remove(self, name: str, value: str) -> None:
        """Remove only `value`: other certificates may prove the same name now (RFC 2136 section 2.5.4)."""
        owner, until = dns.name.from_text(name), _deadline()
        with self._server.conversation(until) as ask:
            place = self._place(owner, ask, until)
            update = self._update(place)
            update.delete(place.owner, _txt(value))
            self._send(owner, place, update, ask)
        self._places.forget(owner)  # the next order looks where a CNAME leads then: this one may have failed by it
        if place.owner != owner:
            self._authorities.forget(place.zone)

    def rehearse(self, name: str) -> str:
        """Find the zone of a record, and have an update taken there that changes nothing; return the zone.

        It has no records at all, so that the server checks the signature and, as BIND does, who may update the zone
        (RFC 2136 section 3.3), but not what the key may change in it.
        """
        owner, until = dns.name.from_text(name), _deadline()
        with self._server.conversation(until) as ask:
            place = self._place(owner, ask, until)
            self._send(owner, place, self._update(place), ask)
            return place.zone.to_text(omit_final_dot=True)

    def is_visible(self, name: str, value: str) -> bool:
        """Whether all authoritative servers that answer have `value`, or none can be asked."""
        return not self.spread(name, value).late

    def spread(self, name: str, value: str) -> Spread:
        """Look where `value` has arrived.

        All addresses of the zone's name servers are asked, without any cache. Servers that are silent, or not
        authoritative, are left out, as a CA's resolver does. When no name server can be asked from here (a hidden
        primary, placeholder names, a firewall), the server that took the update has the last word; where time-outs
        over UDP and TCP speak for a firewall, that is told.
        """
        until = _deadline()
        place = self._known_place(dns.name.from_text(name), until)
        query = dns.message.make_query(place.owner, dns.rdatatype.TXT, flags=0, use_edns=0)
        servers = self._authorities_of(place.zone, until)
        answers = {each: found for each, found in self._ask(query, servers).items() if _is_authoritative(found)}
        is_blocked = not answers and self._is_blocked(place.zone, query, servers, until)
        if answers:
            return Spread(late=tuple(servers[each] for each in _without(value, place.owner, answers)))
        with self._server.conversation(until) as ask:
            late = () if value in _values(place.owner, ask(query)) else (self._settings.server,)
        return Spread(late, tuple(servers.values()) if is_blocked and not late else ())

    def _ask(self, query: dns.message.Message, servers: Iterable[Address]) -> Mapping[Address, dns.message.Message]:
        asked = tuple(each for each in servers if not self._silent.get(each))
        answers = ask_all(query, asked)
        for silent in set(asked) - answers.keys():
            self._silent.put(silent, True)
        return answers

    def _is_blocked(
        self, zone: dns.name.Name, query: dns.message.Message, servers: Iterable[Address], until: float
    ) -> bool:
        """Whether what is sent to the servers vanishes; who refuses, or says anything, is not behind a firewall."""
        known = self._blocked.get(zone)
        if known is not None:
            return known
        signs = []
        for server in islice(servers, _MOST_KNOCKS):
            if monotonic() + KNOCK_SECONDS > until:
                return False  # not known: the time of this step is over
            signs.append(gives_a_sign(query, server))
        return self._blocked.put(zone, bool(signs) and not any(signs))

    def _known_place(self, owner: dns.name.Name, until: float) -> Place:
        known = self._places.get(owner)
        if known is not None:
            return known
        with self._server.conversation(until) as ask:
            return self._place(owner, ask, until)

    def _place(self, owner: dns.name.Name, ask: Ask, until: float) -> Place:
        known = self._places.get(owner)
        if known is not None:
            return known
        search = Search(self._settings.server, ask, self._names.within(until), self._zone)
        return self._places.put(owner, search.place_of(owner))

    def _update(self, place: Place) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(place.zone, keyring=self._key)

    def _send(self, name: dns.name.Name, place: Place, update: dns.update.UpdateMessage, ask: Ask) -> None:
        try:
            self._judge(place, update, ask)
        except ProofProblem:
            self._places.forget(name)  # zones and CNAMEs may have moved
            raise

    def _judge(self, place: Place, update: dns.update.UpdateMessage, ask: Ask) -> None:
        refusal = Refusal(self._settings, place)
        before_effect()  # after the lookups that found the zone, which may have taken long
        try:
            answer = ask(update)
        except _TSIG_ERRORS as error:
            raise refusal.by_signature(error) from None
        if answer.rcode() != dns.rcode.NOERROR:
            raise refusal.by_rcode(answer.rcode())
        if not answer.had_tsig:
            raise refusal.unsigned()

    def _authorities_of(self, zone: dns.name.Name, until: float) -> Mapping[Address, str]:
        """The addresses to ask, each with the server's name and address for people."""
        known = self._authorities.get(zone)
        if known is not None:
            return known
        names, servers = self._names.within(until), self._servers_of(zone, until)
        found = (
            (address, server)
            for server in servers[:_MOST_SERVERS]
            for address in names.addresses(server)
            if self._policy is None or self._policy.refusal(address.host) is None
        )
        labels = {
            each: f"{name.to_text(omit_final_dot=True)} ({each})" for each, name in islice(found, _MOST_ADDRESSES)
        }
        return self._authorities.put(zone, labels)

    def _servers_of(self, zone: dns.name.Name, until: float) -> tuple[dns.name.Name, ...]:
        with self._server.conversation(until) as ask:
            answer = ask(dns.message.make_query(zone, dns.rdatatype.NS, flags=0))
        found = answer.get_rrset(answer.answer, zone, dns.rdataclass.IN, dns.rdatatype.NS)
        if found is None or not _is_authoritative(answer):
            return self._names.within(until).servers(zone)
        return tuple(each.target for each in found)


def _deadline() -> float:
    return end_of(_STEP_SECONDS)


def _txt(value: str) -> dns.rdata.Rdata:
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value.encode("ascii")])


def _is_authoritative(answer: dns.message.Message) -> bool:
    return bool(answer.flags & dns.flags.AA) and answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}


def _without(value: str, owner: dns.name.Name, answers: Mapping[Address, dns.message.Message]) -> tuple[Address, ...]:
    return tuple(address for address, answer in answers.items() if value not in _values(owner, answer))


def _values(owner: dns.name.Name, answer: dns.message.Message) -> frozenset[str]:
    """Read the TXT records; the strings of one record belong together (RFC 7208 section 3.3 says it best)."""
    found = answer.get_rrset(answer.answer, owner, dns.rdataclass.IN, dns.rdatatype.TXT)
    texts = (b"".join(each.strings) for each in found or ())
    return frozenset(text.decode("ascii", "replace") for text in texts)
