"""What the operator asks of a probe, as Protocols."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from mailtls.probe.facts import Facts
from mailtls.probe.target import Depth, Endpoint, Expected, Target


class Prober(Protocol):
    """Connects to mail servers as a client would."""

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Probe all targets concurrently; never raises for what a server does."""


class Examiner(Protocol):
    """Connects to mail servers, and hands out what it saw beside its verdict."""

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Probe all targets concurrently, answer in their order; never raises for what a server does."""
