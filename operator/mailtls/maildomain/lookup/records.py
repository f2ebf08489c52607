"""The lookups for a mail domain, and how many records of each kind are kept.

dnspython parses MX, TLSA and CAA; only what the checks need of them is kept, as frozen values.
"""

from typing import Any, Final

from mailtls.maildomain.facts import Mx, TlsaRecord
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
