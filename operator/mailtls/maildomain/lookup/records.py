"""The lookups for a mail domain, the hosts that take its mail, and how many records of each kind are kept.

dnspython parses MX, TLSA and CAA; only what the checks need of them is kept, as frozen values.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import dns.reversename

from mailtls.maildomain.facts import Mx, MxHost, Reverse, TlsaRecord
from mailtls.maildomain.name import address_of
from mailtls.maildomain.records.caa import CaaRecord
from mailtls.net.addresses import MOST_ADDRESSES, FindAddresses, Found
from mailtls.net.answer import Records
from mailtls.net.dns_server import Address
from mailtls.net.resolver import Resolver, ResolverSettings
from mailtls.reasons.quoting import quote

MOST_HOSTS: Final = 50
_MOST_TEXTS: Final = 200  # the apex of a large company holds dozens of validation texts of other services
_LONGEST_TEXT: Final = 8192
_MOST_TLSA: Final = 50
_MOST_CAA: Final = 50
_MOST_NAMES: Final = 5  # of an address; more than one is unusual
_MOST_REVERSED: Final = 20  # addresses of all hosts together
_MOST_SERVERS: Final = 8  # of a zone; more stand behind few names


class Lookup:
    """Looks up one domain within one limit of time; thread-safe."""

    def __init__(self, settings: ResolverSettings) -> None:
        self._resolver = Resolver(settings)
        self._port = settings.authoritative_port

    def texts(self, name: str) -> Records[str]:
        """Return the TXT records of a name, the strings of each joined (RFC 7208 section 3.3)."""
        return self._resolver.ask(name, "TXT", _joined, _MOST_TEXTS)

    def exists(self, name: str, kind: str) -> bool | None:
        """Whether a name has records of a kind; None when nobody answered."""
        answer = self._resolver.ask(name, kind, str, 1)
        return None if answer.failure else bool(answer.values)

    def mx(self, domain: str) -> Records[Mx]:
        """Return the MX records, in order of preference."""
        return self._resolver.ask(domain, "MX", _mx, MOST_HOSTS)

    def addresses(self, host: str) -> tuple[Records[str], Records[str]]:
        """Return the answers for IPv4 and IPv6."""
        return self.address(host, "A"), self.address(host, "AAAA")

    def address(self, host: str, kind: str) -> Records[str]:
        """Return the addresses of one family."""
        return self._resolver.ask(host, kind, _address, MOST_ADDRESSES)

    def reverse(self, address: str) -> Reverse:
        """Return the names of an address, and which of them have it for an address (RFC 8601 section 3)."""
        pointer = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        names = self._resolver.ask(pointer, "PTR", _target, _MOST_NAMES)
        kind = "AAAA" if ":" in address else "A"
        forward = {name: self.address(name, kind) for name in names.values}
        confirmed = tuple(name for name, found in forward.items() if address in found.values)
        failure = next((found.failure for found in forward.values() if found.failure), "")
        return Reverse(names if confirmed or not failure else replace(names, failure=failure), confirmed)

    def tlsa(self, name: str) -> Records[TlsaRecord]:
        """Return the TLSA records of a name."""
        return self._resolver.ask(name, "TLSA", _tlsa, _MOST_TLSA)

    def zone(self, name: str) -> str | None:
        """Return the zone that holds a name."""
        return self._resolver.zone(name)

    def servers(self, zone: str) -> tuple[tuple[str, Address], ...]:
        """Return name and address of the servers of a zone; of each the first address of each family."""
        names = self._resolver.ask(zone, "NS", _target, _MOST_SERVERS).values
        found = ((name, answer) for name in names for answer in self.addresses(name))
        return tuple((name, Address(answer.values[0], self._port)) for name, answer in found if answer.values)

    def tlsa_at(self, server: Address, name: str) -> Records[TlsaRecord]:
        """Return what one authoritative server answers."""
        return self._resolver.ask_directly(server, name, "TLSA", _tlsa, _MOST_TLSA)

    def seconds_left(self) -> float:
        """Return the rest of the time for everything."""
        return self._resolver.seconds_left()


def caa_of(resolver: Resolver, name: str) -> Records[CaaRecord]:
    """Climb towards the root until there are records; a question without an answer ends the climb."""
    labels = name.removeprefix("*.").split(".")
    answer: Records[CaaRecord] = Records(name, "CAA")
    for depth in range(len(labels)):
        answer = resolver.ask(".".join(labels[depth:]), "CAA", _caa, _MOST_CAA)
        if answer.values or answer.failure:
            break
    return answer


def by_resolver(lookup: Lookup) -> FindAddresses:
    """Use the resolver that the user named, and nothing else."""

    def find(host: str) -> Found:
        answers = lookup.addresses(host)
        addresses = tuple(address for answer in answers for address in answer.values)
        failure = next((answer.failure for answer in answers if answer.failure), "")
        return Found(addresses, "" if addresses else failure)

    return find


def _joined(rdata: Any) -> str:
    return b"".join(rdata.strings)[:_LONGEST_TEXT].decode("utf-8", "replace")


def _mx(rdata: Any) -> Mx:
    return Mx(rdata.preference, _name(rdata.exchange))


def _target(rdata: Any) -> str:
    return _name(rdata.target)


def _address(rdata: Any) -> str:
    return str(rdata.address)


def _tlsa(rdata: Any) -> TlsaRecord:
    return TlsaRecord(rdata.usage, rdata.selector, rdata.mtype, bytes(rdata.cert))


def _caa(rdata: Any) -> CaaRecord:
    return CaaRecord(int(rdata.flags), quote(rdata.tag).lower(), quote(rdata.value))


def _name(name: Any) -> str:
    """Write a name without its last dot, the root as nothing."""
    return str(name.to_text()).rstrip(".").lower()


_KINDS: Final = ("A", "AAAA")
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class HostsFound:
    """The MX records as published, and the hosts in the order in which senders try them."""

    records: Records[Mx]
    hosts: tuple[MxHost, ...]
    has_null_mx: bool
    is_implicit: bool


@dataclass(frozen=True, slots=True)
class _Service:
    """One port of one host, and what the DNS says about it."""

    host: str
    port: int
    tlsa: Records[TlsaRecord]
    authoritative: tuple[Records[TlsaRecord], ...] = ()


class MailHosts:
    """Looks up hosts: all lookups of one kind at once, because each kind depends on the one before it."""

    def __init__(self, lookup: Lookup, pool: ThreadPoolExecutor) -> None:
        self._lookup, self._pool = lookup, pool

    def of(self, domain: str, ports: Sequence[int]) -> HostsFound:
        """Return the hosts of a domain, with TLSA records for `ports`."""
        records = self._lookup.mx(domain)
        named: dict[str, Mx] = {}
        for mx in sorted(records.values, key=lambda mx: mx.preference):
            named.setdefault(mx.host, mx)
        has_null_mx = named.pop("", None) is not None  # RFC 7505 section 3
        is_bare = not records.values and not records.failure
        hosts = self._all(self._host, [Mx(0, domain)] if is_bare else list(named.values()))
        takes_mail = not is_bare or any(host.addresses for host in hosts)
        complete = self._with_reverse(self._with_tlsa(hosts, ports)) if takes_mail else ()
        return HostsFound(records, complete, has_null_mx, is_bare and takes_mail)

    def _host(self, mx: Mx) -> MxHost:
        if address_of(mx.host):
            return MxHost(mx.host, mx.preference, is_address=True)
        answers = tuple(self._lookup.address(mx.host, kind) for kind in _KINDS)
        addresses = tuple(address for answer in answers for address in answer.values)
        alias = next((answer.alias for answer in answers if answer.alias), "")
        return MxHost(mx.host, mx.preference, addresses, alias=alias, answers=answers)

    def _with_tlsa(self, hosts: list[MxHost], ports: Sequence[int]) -> tuple[MxHost, ...]:
        ports_of_hosts = [(host, port) for host in hosts if host.addresses for port in dict.fromkeys(ports)]
        services = self._compared(self._all(self._service, ports_of_hosts))
        return tuple(_with(host, [each for each in services if each.host == host.name]) for host in hosts)

    def _with_reverse(self, hosts: tuple[MxHost, ...]) -> tuple[MxHost, ...]:
        """Look the addresses up that others can see; inside a network, hosts have addresses that no receiver meets."""
        public = [each for host in hosts for each in host.addresses if ipaddress.ip_address(each).is_global]
        known = list(dict.fromkeys(public))[:_MOST_REVERSED]
        found = dict(zip(known, self._all(self._lookup.reverse, known), strict=True))
        return tuple(
            replace(host, reverse={each: found[each] for each in host.addresses if each in found}) for host in hosts
        )

    def _service(self, port_of_host: tuple[MxHost, int]) -> _Service:
        """Look up the end of an alias first, then the name itself (RFC 7672 section 2.2.2)."""
        host, port = port_of_host
        names = [f"_{port}._tcp.{name}" for name in (host.alias, host.name) if name]
        answers = (self._lookup.tlsa(name) for name in names)
        first = next(answers)
        found = first if first.values or first.failure else next(answers, first)
        return _Service(host.name, port, found)

    def _compared(self, services: list[_Service]) -> list[_Service]:
        """Query all authoritative servers; a sender may get the answer of any of them."""
        zones = self._all(lambda each: None if each.tlsa.failure else self._lookup.zone(_end(each.tlsa)), services)
        distinct = [zone for zone in dict.fromkeys(zones) if zone is not None]
        servers = dict(zip(distinct, self._all(self._lookup.servers, distinct), strict=True))
        queries = [
            (each, server) for each, zone in zip(services, zones, strict=True) for server in servers.get(zone or "", ())
        ]
        answers = self._all(lambda pair: self._at(*pair), queries)
        answered = list(zip(queries, answers, strict=True))
        return [replace(each, authoritative=tuple(a for (who, _), a in answered if who is each)) for each in services]

    def _at(self, service: _Service, server: tuple[str, Address]) -> Records[TlsaRecord]:
        name, address = server
        answer = self._lookup.tlsa_at(address, _end(service.tlsa))
        return replace(answer, name=f"{name} ({address.host})")

    def _all(self, work: Callable[[_Given], _Result], given: Iterable[_Given]) -> list[_Result]:
        """Do the same for each at once; the work itself must not wait for the pool."""
        begun: list[Future[_Result]] = [self._pool.submit(work, each) for each in given]
        return [each.result() for each in begun]


def _end(answer: Records[TlsaRecord]) -> str:
    return answer.alias or answer.name


def _with(host: MxHost, services: list[_Service]) -> MxHost:
    return replace(
        host,
        tlsa={each.port: each.tlsa for each in services},
        authoritative={each.port: each.authoritative for each in services},
    )
