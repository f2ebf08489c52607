"""Where a preflight looks: a cluster or none, the operator in it, and the resolver to ask."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.world.cluster.installation import Installation
from mailtls.world.dns.resolver import ResolverSettings
from mailtls.world.ports import Cluster, Json
from mailtls.world.reading.spec import Defaults


class RehearsingCluster(Cluster, Protocol):
    """A cluster that can also say what it would answer."""

    def rehearse(self, path: str, body: Json) -> Json:
        """Server-side apply as a dry run; raises what `apply` does."""


@dataclass(frozen=True, slots=True)
class Place:
    """Everything around a resource. `cluster` None: nobody asked for one. `may_write` allows a trial record in DNS.

    `hidden` says why the operator could not be looked for, and what to do; empty where it could.
    """

    now: datetime
    cluster: RehearsingCluster | None = None
    installation: Installation | None = None
    defaults: Defaults = field(default_factory=lambda: Defaults(SOLVERS))
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    may_write: bool = False
    hidden: str = ""
