"""Where a preflight looks, what it reads there, and the lines that it prints."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.spec import DataRef
from mailtls.issuance.acme.account_secrets import AccountSecrets
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.interface import Cluster
from mailtls.kube.rights import Installation
from mailtls.net.resolver import ResolverSettings


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


def read_entry(place: Place, ref: DataRef) -> bytes:
    """Return the entry; raises `ChallengeProblem` (CredentialsMissing), and what the `Cluster` raises."""
    if place.cluster is None:
        raise ValueError("There is no cluster to read it from.")
    try:
        return AccountSecrets(place.cluster, ref.namespace, {}).read(ref)
    except AcmeProblem as problem:
        raise ChallengeProblem(problem.finding, transient=True) from None
