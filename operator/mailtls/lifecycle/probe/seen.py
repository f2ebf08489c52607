"""What each check of a probe looks at."""

from dataclasses import dataclass
from datetime import datetime

from mailtls.lifecycle.probe.idiom import Idiom, idiom_of
from mailtls.lifecycle.probe.terms import BY_HAND, IN_CLUSTER, Terms
from mailtls.model.probe.endpoint import Expected, Target
from mailtls.model.probe.facts import Facts
from mailtls.model.probe.served import ServedCertificate, read_served
from mailtls.model.probe.talk import Phase
from mailtls.model.probe.threshold import Thresholds
from mailtls.model.quoting import shorten
from mailtls.model.spec import TlsMode, TlsPolicy


@dataclass(frozen=True, slots=True)
class Seen:
    """One probe's facts beside what was asked for; `chain` is empty when no certificate could be read."""

    target: Target
    expected: Expected
    facts: Facts
    now: datetime
    chain: tuple[ServedCertificate, ...] = ()

    @classmethod
    def of(cls, target: Target, expected: Expected, facts: Facts, now: datetime) -> "Seen":
        """Read the served chain; an unreadable certificate behind the leaf is left to OpenSSL's verdict."""
        served = [read_served(der) for der in facts.session.chain] if facts.session else []
        readable = served[:1] != [None]
        chain = tuple(certificate for certificate in served if certificate) if readable else ()
        return cls(target, expected, facts, now, chain)

    @property
    def leaf(self) -> ServedCertificate | None:
        """The certificate that the server calls its own."""
        return self.chain[0] if self.chain else None

    @property
    def port(self) -> int:
        """The port knocked at."""
        return self.target.port.port

    @property
    def thresholds(self) -> Thresholds:
        """What the server is held against at this port."""
        return self.expected.thresholds.overruled(self.target.port.thresholds)

    @property
    def idiom(self) -> Idiom:
        """How the port's protocol says things."""
        return idiom_of(self.target.port.protocol)

    @property
    def terms(self) -> Terms:
        """What to call the things to change."""
        return BY_HAND if self.expected.by_hand else IN_CLUSTER

    @property
    def implicit(self) -> bool:
        """Whether TLS comes first on this port."""
        return self.target.port.tls_mode is TlsMode.IMPLICIT

    @property
    def enforced(self) -> bool:
        """Whether clients must not do without TLS here."""
        return self.target.port.tls_policy is TlsPolicy.ENFORCED

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the server lists inside TLS, sorted; empty where it was not asked."""
        reply = self.facts.reply(Phase.CAPABILITIES_IN_TLS)
        return tuple(sorted({line.upper() for line in reply.capabilities})) if reply else ()

    @property
    def logins(self) -> str:
        """The ways to log in that are offered inside TLS, quoted; empty where there are none, or nobody asked."""
        reply = self.facts.reply(Phase.CAPABILITIES_IN_TLS)
        return shorten((reply.logins if reply else None) or "")

    def keyword(self, phase: Phase, name: str) -> str | None:
        """Parameters of a capability in a phase, None when it was not listed or not reached."""
        reply = self.facts.reply(phase)
        return reply.keyword(name) if reply else None
