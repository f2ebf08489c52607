"""The input of each check of a mail domain: its records, and what its hosts serve."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mailtls.maildomain.facts import RELAY_PORT, DomainFacts, MxHost, ServedTls, TlsaRecord
from mailtls.net.answer import Records


@dataclass(frozen=True, slots=True)
class Service:
    """One port of one host, with its TLSA records and all that it served."""

    host: MxHost
    port: int
    tlsa: Records[TlsaRecord]
    authoritative: tuple[Records[TlsaRecord], ...]
    served: tuple[ServedTls, ...]

    @property
    def subject(self) -> str:
        """What a finding about it is about."""
        return f"{self.host.name}:{self.port}"

    @property
    def chains(self) -> tuple[tuple[bytes, ...], ...]:
        """Every chain that was served, each once."""
        return tuple(dict.fromkeys(each.chain for each in self.served if each.chain))


@dataclass(frozen=True, slots=True)
class Published:
    """A domain's facts and what its hosts serve; `now` None: the dates of certificates are not checked."""

    facts: DomainFacts
    all_served: tuple[ServedTls, ...] = ()
    now: datetime | None = None

    @property
    def takes_mail(self) -> bool:
        """Whether there is any host for the domain's mail."""
        return bool(self.facts.mx)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all, so that one finding says enough."""
        facts = self.facts
        return not (facts.mx or facts.mx_records.values or facts.spf.records.values)

    def services(self) -> Iterator[Service]:
        """Yield the ports whose TLSA records were looked up."""
        for host in self.facts.mx:
            for port, tlsa in host.tlsa.items():
                yield Service(host, port, tlsa, host.authoritative.get(port, ()), self.served(host.name, port))

    def served(self, host: str, port: int = RELAY_PORT) -> tuple[ServedTls, ...]:
        """Return what a port of a host served, at all of its addresses."""
        return tuple(each for each in self.all_served if (each.host, each.port) == (host, port))
