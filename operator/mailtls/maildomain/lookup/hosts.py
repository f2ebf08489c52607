"""Finds the hosts that take a domain's mail (RFC 5321 section 5.1), and the TLSA records of their ports."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from mailtls.maildomain.facts import Mx, MxHost, TlsaRecord
from mailtls.maildomain.lookup.records import Lookup
from mailtls.maildomain.name import address_of
from mailtls.net.answer import Records
from mailtls.net.dns_server import Address

_KINDS: Final = ("A", "AAAA")
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Found:
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

    def of(self, domain: str, ports: Sequence[int]) -> Found:
        """Return the hosts of a domain, with TLSA records for `ports`."""
        records = self._lookup.mx(domain)
        named: dict[str, Mx] = {}
        for mx in sorted(records.values, key=lambda mx: mx.preference):
            named.setdefault(mx.host, mx)
        has_null_mx = named.pop("", None) is not None  # RFC 7505 section 3
        is_bare = not records.values and not records.failure
        hosts = self._all(self._host, [Mx(0, domain)] if is_bare else list(named.values()))
        takes_mail = not is_bare or any(host.addresses for host in hosts)
        complete = self._with_tlsa(hosts, ports) if takes_mail else ()
        return Found(records, complete, has_null_mx, is_bare and takes_mail)

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
