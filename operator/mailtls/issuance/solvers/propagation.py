"""How far a TXT record has spread: all servers of its zone are asked, as a CA may ask any of them.

What the rest of the DNS says is asked of the resolvers of this machine (/etc/resolv.conf), by absolute names only.
"""

import copy
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdataclass
import dns.rdatatype
import dns.resolver

from mailtls.net.addresses import AddressPolicy
from mailtls.net.dns_server import (
    DNS_PORT,
    KNOCK_SECONDS,
    Address,
    Ask,
    ask_all,
    gives_a_sign,
    is_authoritative,
    split_server,
)
from mailtls.net.shared_work import Expiring

_SECONDS: Final = 2.0  # for one name and type, all tries included
_SERVERS_SECONDS: Final = 300.0
_SILENCE_SECONDS: Final = 60.0
_MOST_SERVERS: Final = 16  # a zone may list thousands, and the answers of 16 say enough
_MOST_ADDRESSES: Final = 32
_MOST_KNOCKS: Final = 3  # servers that are tried over TCP, too, when all are silent
Conversation = Callable[[float], AbstractContextManager[Ask]]
"""Connects to the server that takes the records, until a monotonic time."""


@dataclass(frozen=True, slots=True)
class Spread:
    """`late` are the servers that answer without the record; `silent` those of a zone of which none can be asked.

    Both name servers for people: `ns1.example.com (192.0.2.1:53)`. With `silent` nothing is known: whoever is asked
    gives no sign over UDP and TCP, as behind a firewall that drops packets to port 53. `dropped_by` is the server that
    took the update where it answers without the record itself, as PowerDNS does where its script forbids the change.
    """

    late: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    dropped_by: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A record's name after all CNAMEs, and the zone that holds it."""

    owner: dns.name.Name
    zone: dns.name.Name


class Names:
    """A resolver that answers nothing rather than late; thread-safe.

    `resolver` None: this machine's own, read when first needed. `port` is the one that name servers listen on.
    """

    def __init__(self, resolver: dns.resolver.Resolver | None = None, port: int = DNS_PORT) -> None:
        self._resolver, self._port = resolver, port
        self._lock = threading.Lock()
        self._until = float("inf")

    def within(self, until: float) -> "Names":
        """Return a resolver that finds nothing more once the monotonic time `until` is reached."""
        bounded = copy.copy(self)
        bounded._until = until  # noqa: SLF001 - a copy of ourselves
        return bounded

    def addresses(self, name: dns.name.Name) -> tuple[Address, ...]:
        """Return all addresses of a name server."""
        kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
        return tuple(Address(rdata.to_text(), self._port) for kind in kinds for rdata in self._ask(name, kind))

    def alias(self, name: dns.name.Name) -> dns.name.Name | None:
        """Return the name that a CNAME at `name` points to."""
        return next((each.target for each in self._ask(name, dns.rdatatype.CNAME)), None)

    def servers(self, zone: dns.name.Name) -> tuple[dns.name.Name, ...]:
        """Return the names of the servers of a zone."""
        return tuple(each.target for each in self._ask(zone, dns.rdatatype.NS))

    def texts(self, name: dns.name.Name) -> frozenset[str]:
        """Return the values of the TXT records at a name; those who answered nothing may have none, or be away."""
        found = (b"".join(each.strings) for each in self._ask(name, dns.rdatatype.TXT))
        return frozenset(text.decode("ascii", "replace") for text in found)

    def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[Any]:
        seconds = min(_SECONDS, self._until - time.monotonic())
        if seconds <= 0:
            return []
        try:
            return list(self._own().resolve(name, kind, search=False, lifetime=seconds))
        except (dns.exception.DNSException, OSError):
            return []

    def _own(self) -> dns.resolver.Resolver:
        with self._lock:
            if self._resolver is None:
                self._resolver = dns.resolver.Resolver()
            return self._resolver


def names_by(resolvers: Iterable[str]) -> Names:
    """Ask these resolvers (addresses, with a port where it is not 53) instead of the machine's own."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(*split_server(each)) for each in resolvers]
    return Names(resolver)


class Propagation:
    """Looks where records have arrived; thread-safe, and best shared: it remembers servers, and who is silent.

    Servers at addresses that `policy` refuses are not asked. `primary`, where there is one, is the server that takes
    the records, called `label`: it is asked for the zone's servers first, and has the last word when none of them can
    be asked (a hidden primary, placeholder names, a firewall). Raises what `primary` raises.
    """

    def __init__(
        self, names: Names, policy: AddressPolicy | None = None, primary: Conversation | None = None, label: str = ""
    ) -> None:
        self._names, self._policy, self._primary, self._label = names, policy, primary, label
        self._servers: Expiring[dns.name.Name, Mapping[Address, str]] = Expiring(_SERVERS_SECONDS)
        self._silent: Expiring[Address, bool] = Expiring(_SILENCE_SECONDS)
        self._blocked: Expiring[dns.name.Name, bool] = Expiring(_SILENCE_SECONDS)

    def forget(self, zone: dns.name.Name) -> None:
        """Look for the servers of a zone anew the next time."""
        self._servers.forget(zone)

    def spread(self, location: Location, value: str, until: float) -> Spread:
        """Look where `value` has arrived, until a monotonic time.

        All addresses of the zone's name servers are asked, without any cache. Servers that are silent, or not
        authoritative, are left out, as a CA's resolver does. Where time-outs over UDP and TCP speak for a firewall,
        that is said.
        """
        query = dns.message.make_query(location.owner, dns.rdatatype.TXT, flags=0, use_edns=0)
        servers = self._servers_of(location.zone, until)
        answers = {each: found for each, found in self._ask(query, servers).items() if is_authoritative(found)}
        is_blocked = not answers and self._is_blocked(location.zone, query, servers, until)
        late = tuple(servers[each] for each in _without(value, location.owner, answers))
        if answers and not late:
            return Spread()
        if self._primary is not None:
            with self._primary(until) as ask:
                answer = ask(query)
            if value not in _values(location.owner, answer):
                # One that takes updates, and refuses to be asked, has not dropped anything.
                return Spread(late or (self._label,), dropped_by=self._label if is_authoritative(answer) else "")
        return Spread(late, tuple(servers.values()) if is_blocked else ())

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
            if time.monotonic() + KNOCK_SECONDS > until:
                return False  # not known: the time of this step is over
            signs.append(gives_a_sign(query, server))
        return self._blocked.put(zone, bool(signs) and not any(signs))

    def _servers_of(self, zone: dns.name.Name, until: float) -> Mapping[Address, str]:
        """The addresses to ask, each with the server's name and address for people."""
        known = self._servers.get(zone)
        if known is not None:
            return known
        names, servers = self._names.within(until), self._names_of_servers(zone, until)
        found = (
            (address, server)
            for server in servers[:_MOST_SERVERS]
            for address in names.addresses(server)
            if self._policy is None or self._policy.refusal(*address) is None
        )
        labels = {
            each: f"{name.to_text(omit_final_dot=True)} ({each})" for each, name in islice(found, _MOST_ADDRESSES)
        }
        return self._servers.put(zone, labels)

    def _names_of_servers(self, zone: dns.name.Name, until: float) -> tuple[dns.name.Name, ...]:
        if self._primary is not None:
            with self._primary(until) as ask:
                answer = ask(dns.message.make_query(zone, dns.rdatatype.NS, flags=0))
            found = answer.get_rrset(answer.answer, zone, dns.rdataclass.IN, dns.rdatatype.NS)
            if found is not None and is_authoritative(answer):
                return tuple(each.target for each in found)
        return self._names.within(until).servers(zone)


def _without(value: str, owner: dns.name.Name, answers: Mapping[Address, dns.message.Message]) -> tuple[Address, ...]:
    return tuple(address for address, answer in answers.items() if value not in _values(owner, answer))


def _values(owner: dns.name.Name, answer: dns.message.Message) -> frozenset[str]:
    """Read the TXT records; the strings of one record belong together (RFC 7208 section 3.3 says it best)."""
    found = answer.get_rrset(answer.answer, owner, dns.rdataclass.IN, dns.rdatatype.TXT)
    texts = (b"".join(each.strings) for each in found or ())
    return frozenset(text.decode("ascii", "replace") for text in texts)
