"""The registry of solvers: how each is read from the spec and built, and the solvers in use, shared by all resources.

A provider is known here by one entry of `SOLVERS`. Whatever has no entry is an error with a name, never another way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

from mailtls.api.reading.document import Node
from mailtls.api.spec import DataRef, SolverSettings
from mailtls.issuance.solvers import http01, rfc2136
from mailtls.issuance.solvers.base import (
    VISIBLE,
    ChallengeProblem,
    ChallengeResponse,
    Provider,
    Secrets,
    Solver,
    Surroundings,
    Visibility,
)
from mailtls.issuance.solvers.dns01 import hidden_by_delay
from mailtls.net.shared_work import Expiring

_SECRET_SECONDS: Final = 30.0  # a rotated key is taken up that late, or after the first refusal
_SOLVER_SECONDS: Final = 3600.0
_Result = TypeVar("_Result")


class UnknownSolver(LookupError):
    """Settings name a provider that has no entry in the registry: a defect of the program, not of a spec."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The providers that there are."""

    providers: tuple[Provider[Any], ...]

    def with_provider(self, provider: Provider[Any]) -> "Registry":
        """Return a registry that knows one more; raises ValueError where the name is taken."""
        if any(each.name == provider.name for each in self.providers):
            raise ValueError(f"there is a provider {provider.name} already")
        return Registry((*self.providers, provider))

    def read(self, node: Node, namespace: str) -> SolverSettings:
        """Read which provider a solver of the spec names, and its settings; raises `InvalidSpec`."""
        kinds = tuple(dict.fromkeys(each.name.partition(".")[0] for each in self.providers))
        given = [kind for kind in kinds if node.at(kind).is_given]
        if len(given) != 1:
            raise node.refused(f"give exactly one of {' and '.join(kinds)}, and a solver of its own for each")
        settings: SolverSettings = self._provider(node.at(given[0]), given[0]).read(node, namespace)
        return settings

    def build(self, settings: SolverSettings, secrets: Secrets, surroundings: Surroundings) -> Solver:
        """Make the solver of these settings; raises `UnknownSolver` and `ChallengeProblem`."""
        provider = next((each for each in self.providers if each.name == settings.name), None)
        if provider is None:
            raise UnknownSolver(settings.name)
        return provider.build(settings, secrets, surroundings)

    def _provider(self, node: Node, kind: str) -> Provider[Any]:
        """Find the provider by the one field of its name, as `rfc2136` in `dns01`; `http01` is its own provider."""
        known = {each.name.partition(".")[2]: each for each in self.providers if each.name.partition(".")[0] == kind}
        if "" in known:
            return known[""]
        given = [field for field in known if node.at(field).is_given]
        if len(given) == 1:
            return known[given[0]]
        if len(known) == 1:
            raise node.at(next(iter(known))).refused("this must be given")
        raise node.refused(f"give exactly one of {', '.join(known)}")


SOLVERS: Final = Registry((rfc2136.PROVIDER, http01.PROVIDER))


class Solvers:
    """The solvers in use, one set for the whole operator; thread-safe.

    `read_secret` returns one entry of a Secret, and raises what says why it cannot. Solvers are shared by settings and
    secrets, as those of DNS remember where records belong. All methods raise `ChallengeProblem`, and what `read_secret`
    raises.
    """

    def __init__(self, registry: Registry, surroundings: Surroundings, read_secret: Callable[[DataRef], bytes]) -> None:
        self._registry, self._surroundings, self._read_secret = registry, surroundings, read_secret
        self._secrets: Expiring[DataRef, bytes] = Expiring(_SECRET_SECONDS)
        self._solvers: Expiring[tuple[SolverSettings, bytes], Solver] = Expiring(_SOLVER_SECONDS)

    def present(self, settings: SolverSettings, response: ChallengeResponse) -> None:
        """Publish the response; doing it again changes nothing."""
        self._with_solver(settings, lambda solver: solver.present(response))

    def is_visible(
        self, settings: SolverSettings, response: ChallengeResponse, waited: timedelta = timedelta()
    ) -> Visibility:
        """Whether the CA can be asked to validate, or what stands in between.

        `waited` is how long ago the response was published: where nobody looks, time alone decides.
        """
        if settings.self_check:
            return self._with_solver(settings, lambda solver: solver.is_visible(response, waited))
        if settings.delay is None or waited >= settings.delay:
            return VISIBLE
        return Visibility(hidden_by_delay(response.name, settings.delay))

    def clean_up(self, settings: SolverSettings, response: ChallengeResponse) -> None:
        """Remove the response, and no other; success when it is gone already."""
        self._with_solver(settings, lambda solver: solver.clean_up(response))

    def _with_solver(self, settings: SolverSettings, act: Callable[[Solver], _Result]) -> _Result:
        try:
            return act(self._solver(settings))
        except ChallengeProblem:
            for ref in settings.references:
                self._secrets.forget(ref)  # it may be the key that was changed
            raise

    def _solver(self, settings: SolverSettings) -> Solver:
        secrets = {ref: self._secret(ref) for ref in settings.references}
        key = (settings, sha256(b"".join(sha256(each).digest() for each in secrets.values())).digest())
        known = self._solvers.get(key)
        if known is not None:
            return known
        return self._solvers.put(key, self._registry.build(settings, secrets, self._surroundings))

    def _secret(self, ref: DataRef) -> bytes:
        known = self._secrets.get(ref)
        return known if known is not None else self._secrets.put(ref, self._read_secret(ref))
