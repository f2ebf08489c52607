"""The DNS and the pods, as the look at the mail domains sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailtls.maildomain.facts import DomainFacts, MailDomain
from mailtls.probe.facts import Facts, Session
from mailtls.probe.target import Endpoint, Expected, Target


@dataclass
class Dns:
    """Answers with facts made before; `trouble` is raised, as a defect would be."""

    found: Sequence[DomainFacts]
    trouble: Exception | None = None
    asked: list[MailDomain] = field(default_factory=list)

    def read_all(self, domains: Sequence[MailDomain]) -> Sequence[DomainFacts]:
        """Return the facts."""
        self.asked.extend(domains)
        if self.trouble is not None:
            raise self.trouble
        return self.found


@dataclass
class Pods:
    """Every pod serves one chain."""

    chain: tuple[bytes, ...]
    asked: list[Target] = field(default_factory=list)

    def examine(self, targets: Iterable[Target], _expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Show the chain at each target."""
        asked = list(targets)
        self.asked.extend(asked)
        saw = Facts(session=Session(self.chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384") if self.chain else None)
        return [(Endpoint(each, datetime.now(UTC)), saw) for each in asked]
