"""Asks the resolvers of this machine (/etc/resolv.conf) what the rest of the DNS says; absolute names only."""

import copy
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from mailtls.world.dns.server import DNS_PORT, Address, split_server

_SECONDS: Final = 2.0  # for one name and type, all tries included


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
