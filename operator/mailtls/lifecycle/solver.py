"""Which solver proves which name: the one with the longest matching zone, the first among equals."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mailtls.model.spec import Acme, Dns01, Solver

DNS01: Final = "dns-01"  # RFC 8555 section 8.4
HTTP01: Final = "http-01"  # RFC 8555 section 8.3
_WILDCARD: Final = "*."
_NO_MATCH: Final = -1


def choose(acme: Acme, name: str) -> Solver | None:
    """Return the solver for `name` as ordered (`*.` included), None where none is responsible.

    A solver without zones matches every name, after all that name a zone. A wildcard is proven by DNS only
    (RFC 8555 section 7.1.3 leaves it to the CA, and none takes HTTP-01 for one), so other solvers do not match it.
    """
    matches = ((_length_of_match(solver, name), solver) for solver in acme.solvers)
    length, chosen = max(matches, key=lambda match: match[0], default=(_NO_MATCH, None))
    return chosen if length > _NO_MATCH else None


def longest_delay(acme: Acme) -> timedelta:
    """Return the longest time that a solver is told to wait after it has published a record."""
    delays = (each.challenge.delay for each in acme.solvers if isinstance(each.challenge, Dns01))
    return max(filter(None, delays), default=timedelta())


def challenge_type(solver: Solver) -> str:
    """Return the challenge that a solver answers, as the CA calls it."""
    return DNS01 if isinstance(solver.challenge, Dns01) else HTTP01


def challenge_type_of(acme: Acme) -> Callable[[str], str | None]:
    """Return a function from a name as ordered to its challenge type, None where no solver is responsible."""

    def type_of(name: str) -> str | None:
        solver = choose(acme, name)
        return challenge_type(solver) if solver else None

    return type_of


def _length_of_match(solver: Solver, name: str) -> int:
    if name.startswith(_WILDCARD) and not isinstance(solver.challenge, Dns01):
        return _NO_MATCH
    if not solver.dns_zones:
        return 0
    host = name.removeprefix(_WILDCARD).lower()
    return max((len(zone) for zone in solver.dns_zones if _lies_in(host, zone.lower())), default=_NO_MATCH)


def _lies_in(host: str, zone: str) -> bool:
    return host == zone or host.endswith(f".{zone}")
