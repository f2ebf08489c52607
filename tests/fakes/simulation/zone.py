"""A DNS provider of a simulated world: records are seen a little after they were written, and outlive the operator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fakes.simulation.runtime import Runtime
from mailtls.api.reading.document import Node
from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem, Provider, Secrets, Surroundings
from mailtls.issuance.solvers.dns01 import Dns01, Dns01Solver, dns01_settings
from mailtls.issuance.solvers.propagation import Spread
from mailtls.net.effects import before_effect
from mailtls.reasons.reason import Finding, Reason

SPREADS_IN: Final = 3.0  # seconds
SERVER: Final = "dns.test"


@dataclass(frozen=True, slots=True)
class Simulated:
    """Settings of the provider; there is nothing to set."""

    server: str = SERVER

    name = "simulated"

    @property
    def references(self) -> tuple[DataRef, ...]:
        """No Secret."""
        return ()


@dataclass
class DnsZone:
    """TXT records and since when each is there; `before` may fail or delay a request."""

    runtime: Runtime
    before: Callable[[str], None]
    records: dict[tuple[str, str], float] = field(default_factory=dict)

    def present(self, name: str, value: str) -> None:
        """Add a value."""
        self.before(f"present {name}")
        before_effect()
        self.records.setdefault((name, value), self.runtime.monotonic())

    def remove(self, name: str, value: str) -> None:
        """Remove a value."""
        self.before(f"remove {name}")
        before_effect()
        self.records.pop((name, value), None)

    def spread(self, name: str, value: str) -> Spread:
        """Say whether all servers have it."""
        self.before(f"look {name}")
        return Spread() if self.shows(name, value) else Spread(late=(SERVER,))

    def rehearse(self, name: str) -> str:
        """Say that all is well."""
        return f"{SERVER} takes {name}."

    def shows(self, name: str, value: str) -> bool:
        """Whether the value can be seen."""
        since = self.records.get((name, value))
        return since is not None and self.runtime.monotonic() >= since + SPREADS_IN

    @property
    def provider(self) -> Provider[Dns01[Simulated]]:
        """Its entry in the registry of solvers."""

        def read(solver: Node, _namespace: str) -> Dns01[Simulated]:
            return dns01_settings(solver.at("dns01"), Simulated())

        def build(settings: Dns01[Simulated], _secrets: Secrets, _surroundings: Surroundings) -> Dns01Solver:
            return Dns01Solver(settings, self)

        return Provider("dns01.simulated", page="", read=read, build=build)


def failure(kind: str) -> ChallengeProblem:
    """What a DNS server that is away, or refuses, amounts to."""
    reason = Reason.DNS_UPDATE_REFUSED if kind == "refused" else Reason.DNS_UNREACHABLE
    return ChallengeProblem(Finding(reason, f"simulated {kind}"), transient=kind != "refused")
