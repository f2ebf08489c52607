"""What each check of a mail domain looks at: its records, beside what its hosts serve."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mailtls.model.domain.facts import DomainFacts, MxHost, Records, TlsaRecord
from mailtls.model.probe.endpoint import Target
from mailtls.model.probe.facts import Facts
from mailtls.model.spec import RELAY_PORT


@dataclass(frozen=True, slots=True)
class Service:
    """One port of one host, with its TLSA records and all that probes saw there."""

    host: MxHost
    port: int
    tlsa: Records[TlsaRecord]
    authoritative: tuple[Records[TlsaRecord], ...]
    seen: tuple[Facts, ...]

    @property
    def subject(self) -> str:
        """What a finding about it is about."""
        return f"{self.host.name}:{self.port}"

    @property
    def chains(self) -> tuple[tuple[bytes, ...], ...]:
        """Every chain that was served, each once."""
        return tuple(dict.fromkeys(facts.session.chain for facts in self.seen if facts.session))


@dataclass(frozen=True, slots=True)
class Published:
    """A domain's facts and the probes of its hosts; `now` None leaves dates to the probes."""

    facts: DomainFacts
    seen: tuple[tuple[Target, Facts], ...] = ()
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
        """Yield the ports whose TLSA records were asked for."""
        for host in self.facts.mx:
            for port, tlsa in host.tlsa.items():
                yield Service(host, port, tlsa, host.authoritative.get(port, ()), self.probes(host.name, port))

    def probes(self, host: str, port: int = RELAY_PORT) -> tuple[Facts, ...]:
        """Return what was seen at a port of a host, at all of its addresses."""
        return tuple(facts for target, facts in self.seen if (target.server_name, target.port.port) == (host, port))
