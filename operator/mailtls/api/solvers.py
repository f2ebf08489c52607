"""Which solver is responsible for which name: the one with the longest matching zone, the first among equals."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Final

from mailtls.api.spec import DNS01, Acme, DataRef, Desired, Place, SolverSpec

_WILDCARD: Final = "*."
_NO_MATCH: Final = -1


def choose(acme: Acme, name: str) -> SolverSpec | None:
    """Return the solver for `name` as ordered (`*.` included), None where none is responsible.

    A solver without zones matches every name, after all that name a zone. A wildcard is validated by DNS only
    (RFC 8555 section 7.1.3 leaves it to the CA, and none takes HTTP-01 for one), so other solvers do not match it.
    """
    matches = ((_length_of_match(solver, name), solver) for solver in acme.solvers)
    length, chosen = max(matches, key=lambda match: match[0], default=(_NO_MATCH, None))
    return chosen if length > _NO_MATCH else None


def longest_delay(acme: Acme) -> timedelta:
    """Return the longest time that a solver is set to wait after it has published a response."""
    return max(filter(None, (each.settings.delay for each in acme.solvers)), default=timedelta())


def challenge_type_of(acme: Acme) -> Callable[[str], str | None]:
    """Return a function from a name as ordered to its challenge type, None where no solver is responsible."""

    def type_of(name: str) -> str | None:
        solver = choose(acme, name)
        return solver.settings.challenge_type if solver else None

    return type_of


def references_of(acme: Acme) -> tuple[DataRef, ...]:
    """Return the entries of Secrets and ConfigMaps that the solvers read."""
    return tuple(ref for solver in acme.solvers for ref in solver.settings.references)


def places_of_names(desired: Desired, names: Iterable[str]) -> Iterator[Place]:
    """Yield what challenge responses for these names wait on, by the solver responsible for each."""
    for name in names:
        solver = choose(desired.acme, name)
        place = solver.settings.place(desired.key.namespace) if solver else None
        if place is not None:
            yield place


def _length_of_match(solver: SolverSpec, name: str) -> int:
    if name.startswith(_WILDCARD) and solver.settings.challenge_type != DNS01:
        return _NO_MATCH
    if not solver.dns_zones:
        return 0
    host = name.removeprefix(_WILDCARD).lower()
    return max((len(zone) for zone in solver.dns_zones if _lies_in(host, zone.lower())), default=_NO_MATCH)


def _lies_in(host: str, zone: str) -> bool:
    return host == zone or host.endswith(f".{zone}")
