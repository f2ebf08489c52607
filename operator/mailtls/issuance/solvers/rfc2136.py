"""The DNS provider `rfc2136`: dynamic updates with TSIG (RFC 2136, RFC 8945) of BIND, Knot DNS, PowerDNS."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update

from mailtls.api.reading.acme import data_ref
from mailtls.api.reading.document import Node
from mailtls.hostname import zone_name
from mailtls.issuance.solvers.base import ChallengeProblem, Provider, Secrets, Surroundings
from mailtls.issuance.solvers.dns01 import Dns01, Dns01Solver, dns01_settings
from mailtls.issuance.solvers.dns_update import Refusal, Rfc2136, Search, tsig_key
from mailtls.issuance.solvers.propagation import Location, Names, Propagation, Spread
from mailtls.net.addresses import AddressPolicy
from mailtls.net.dns_server import DNS_PORT, Ask, DnsProblem, DnsServer
from mailtls.net.effects import before_effect, end_of
from mailtls.net.shared_work import Expiring

HIGHEST_PORT: Final = 65535
TSIG_ALGORITHMS: Final = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_DNS_SERVER: Final = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_LOCATION_SECONDS: Final = 300.0
_STEP_SECONDS: Final = 25.0  # for all lookups and connections of one call; with what may be under way, 30 at most
_TSIG_ERRORS: Final = (
    dns.tsig.PeerError,
    dns.tsig.BadTime,
    dns.tsig.BadSignature,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
)


class Rfc2136Records:
    """TXT records at the server that `settings` names; thread-safe, and best shared: it remembers zones.

    Servers at addresses that `policy` refuses are not asked. Names are absolute, with or without the last dot. Every
    method raises `ChallengeProblem`: DnsUnreachable (transient), AddressRefused, DnsUpdateRefused, ZoneNotFound; the
    constructor CredentialsMissing, when `secret` is no TSIG key.
    """

    def __init__(
        self, settings: Rfc2136, secret: bytes, names: Names | None = None, policy: AddressPolicy | None = None
    ) -> None:
        self._settings, self._names = settings, names or Names()
        self._key = tsig_key(settings, secret)
        self._server = DnsServer(settings.server, policy)
        self._zone = dns.name.from_text(settings.zone) if settings.zone else None
        self._locations: Expiring[dns.name.Name, Location] = Expiring(_LOCATION_SECONDS)
        self._propagation = Propagation(self._names, policy, self._conversation, settings.server)

    def present(self, name: str, value: str) -> None:
        """Add `value` to the TXT set at `name`, or where a CNAME there points; adding it again changes nothing."""
        owner, until = dns.name.from_text(name), _deadline()
        with self._conversation(until) as ask:
            location = self._location(owner, ask, until)
            update = self._update(location)
            update.add(location.owner, self._settings.ttl, _txt(value))
            self._send(owner, location, update, ask)

    def remove(self, name: str, value: str) -> None:
        """Remove only `value`: other certificates may have the same name validated now (RFC 2136 section 2.5.4)."""
        owner, until = dns.name.from_text(name), _deadline()
        with self._conversation(until) as ask:
            location = self._location(owner, ask, until)
            update = self._update(location)
            update.delete(location.owner, _txt(value))
            self._send(owner, location, update, ask)
        self._locations.forget(owner)  # the next order looks where a CNAME leads then: this one may have failed by it
        if location.owner != owner:
            self._propagation.forget(location.zone)

    def rehearse(self, name: str) -> str:
        """Find the zone of a record, and have an update taken there that changes nothing; say so.

        It has no records at all, so that the server checks the signature and, as BIND does, who may update the zone
        (RFC 2136 section 3.3), but not what the key may change in it.
        """
        owner, until = dns.name.from_text(name), _deadline()
        with self._conversation(until) as ask:
            location = self._location(owner, ask, until)
            self._send(owner, location, self._update(location), ask)
        zone = location.zone.to_text(omit_final_dot=True)
        return f"{self._settings.server} takes updates of zone {zone} signed with {self._settings.tsig_key_name}."

    def spread(self, name: str, value: str) -> Spread:
        """Look where `value` has arrived; the server that took the update has the last word where none can be asked."""
        until = _deadline()
        location = self._known_location(dns.name.from_text(name), until)
        return self._propagation.spread(location, value, until)

    @contextmanager
    def _conversation(self, until: float) -> Iterator[Ask]:
        try:
            with self._server.conversation(until) as ask:
                yield ask
        except DnsProblem as problem:
            raise ChallengeProblem(problem.finding, problem.transient) from None

    def _known_location(self, owner: dns.name.Name, until: float) -> Location:
        known = self._locations.get(owner)
        if known is not None:
            return known
        with self._conversation(until) as ask:
            return self._location(owner, ask, until)

    def _location(self, owner: dns.name.Name, ask: Ask, until: float) -> Location:
        known = self._locations.get(owner)
        if known is not None:
            return known
        search = Search(self._settings.server, ask, self._names.within(until), self._zone)
        return self._locations.put(owner, search.locate(owner))

    def _update(self, location: Location) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(location.zone, keyring=self._key)

    def _send(self, name: dns.name.Name, location: Location, update: dns.update.UpdateMessage, ask: Ask) -> None:
        try:
            self._judge(location, update, ask)
        except (ChallengeProblem, DnsProblem):
            self._locations.forget(name)  # zones and CNAMEs may have moved
            raise

    def _judge(self, location: Location, update: dns.update.UpdateMessage, ask: Ask) -> None:
        refusal = Refusal(self._settings, location)
        before_effect()  # after the lookups that found the zone, which may have taken long
        try:
            answer = ask(update)
        except _TSIG_ERRORS as error:
            raise refusal.by_signature(error) from None
        if answer.rcode() != dns.rcode.NOERROR:
            raise refusal.by_rcode(answer.rcode())
        if not answer.had_tsig:
            raise refusal.unsigned()


def _deadline() -> float:
    return end_of(_STEP_SECONDS)


def _txt(value: str) -> dns.rdata.Rdata:
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value.encode("ascii")])


def _read(solver: Node, namespace: str) -> Dns01[Rfc2136]:
    return dns01_settings(solver.at("dns01"), _provider(solver.at("dns01").at("rfc2136"), namespace))


def _provider(node: Node, namespace: str) -> Rfc2136:
    zone, algorithm, ttl = node.at("zone"), node.at("tsigAlgorithm"), node.at("ttl")
    required = Rfc2136(
        server=node.at("server").read(_dns_server, 261),
        tsig_key_name=node.at("tsigKeyName").matching(_KEY_NAME, "write the key's name as the DNS server has it"),
        tsig_secret=data_ref(node.at("tsigSecretRef"), namespace),
        zone=zone.read(zone_name) if zone.is_given else None,
    )
    return replace(
        required,
        tsig_algorithm=algorithm.read(_tsig_algorithm) if algorithm.is_given else required.tsig_algorithm,
        ttl=ttl.whole(1, 3600) if ttl.is_given else required.ttl,
    )


def _dns_server(text: str) -> str:
    match = _DNS_SERVER.fullmatch(text)
    if match is None or not 0 < int(match["port"] or DNS_PORT) <= HIGHEST_PORT:
        raise ValueError(
            "write host or host:port, such as ns1.example.com:53;"
            " write an IPv6 address in brackets, such as [2001:db8::53]:53"
        )
    return text


def _tsig_algorithm(text: str) -> str:
    if text not in TSIG_ALGORITHMS:
        raise ValueError(f"write one of {', '.join(TSIG_ALGORITHMS)}")
    return text


def _build(settings: Dns01[Rfc2136], secrets: Secrets, surroundings: Surroundings) -> Dns01Solver:
    provider = settings.provider
    records = Rfc2136Records(provider, secrets[provider.tsig_secret], surroundings.names, surroundings.policy)
    return Dns01Solver(settings, records, surroundings.resolvers)


PROVIDER: Final = Provider("dns01.rfc2136", page="dns-01.md", read=_read, build=_build)
"""The entry of the registry."""
