"""The provider `http01` (RFC 8555 section 8.3): the operator itself answers on port 80, behind a Service."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mailtls.api.reading.document import Node
from mailtls.api.spec import HTTP01, DataRef, Place, PlaceKind
from mailtls.hostname import named
from mailtls.issuance.solvers.base import (
    VISIBLE,
    ChallengeResponse,
    Outcome,
    Provider,
    Remark,
    Secrets,
    Stage,
    Surroundings,
    Visibility,
)
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.reasons.reason import Finding, Reason

_HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Http01:
    """A challenge response is a file on port 80. `self_check` fetches it first, as the CA does."""

    self_check: bool = True

    name = "http01"
    challenge_type = HTTP01

    @property
    def delay(self) -> timedelta | None:
        """None: what the operator serves is there at once."""
        return None

    @property
    def references(self) -> tuple[DataRef, ...]:
        """None: nothing is kept elsewhere."""
        return ()

    def __str__(self) -> str:
        return self.name

    def place(self, namespace: str) -> Place | None:
        """Return the self-checks of a namespace, as its names may lead to hosts that are dead."""
        return Place(PlaceKind.HTTP01, namespace) if self.self_check else None


@dataclass(frozen=True, slots=True)
class Http01Solver:
    """Answers the CA's requests for tokens; thread-safe."""

    tokens: Tokens
    check: Http01Check

    def present(self, response: ChallengeResponse) -> None:
        """Answer from now on."""
        self.tokens.present(response.name, response.token, response.key_authorization)

    def clean_up(self, response: ChallengeResponse) -> None:
        """Stop answering; success when it was not there."""
        self.tokens.remove(response.name, response.token)

    def is_visible(self, response: ChallengeResponse, waited: timedelta) -> Visibility:  # noqa: ARG002 - it is no matter of time
        """Fetch the file as the CA does."""
        fault = self.check.fault(response.name, response.token, response.key_authorization)
        return VISIBLE if fault is None else Visibility(_not_reachable(response.name, fault))

    def rehearse(self, name: str, stage: Stage) -> Iterator[Remark]:
        """Connect to port 80 of each address of the name; whether it leads to the operator shows only in an order."""
        addresses, failure = stage.addresses(name)
        name = named(name)
        if not addresses and failure:
            yield Remark(Outcome.UNKNOWN, f"{name} could not be looked up ({failure}), so port 80 was not tried.")
        elif not addresses:
            message = f"{name} has no address, so that no CA finds port 80 of it: add an A or AAAA record."
            yield Remark(Outcome.BAD, message)
        for address in addresses:
            yield _reached(f"Port 80 of {name} at {address}", stage.reach(address, _HTTP_PORT))


def _reached(port: str, fault: str) -> Remark:
    if fault:
        return Remark(Outcome.DOUBTFUL, f"{port} is not reached from here ({fault}); the CA must reach it.")
    return Remark(Outcome.GOOD, f"{port} is reached from here; it must lead to the operator.")


def _not_reachable(name: str, fault: str) -> Finding:
    message = (
        f"Let http://{name}/.well-known/acme-challenge/ reach the operator's HTTP-01 Service on port 80, or turn"
        f" selfCheck off where only the CA can reach it: {fault}."
    )
    return Finding(Reason.HTTP_SELF_CHECK_FAILED, message)


def _read(solver: Node, _namespace: str) -> Http01:
    return Http01(self_check=solver.at("http01").at("selfCheck").flag(default=True))


def _build(_settings: Http01, _secrets: Secrets, surroundings: Surroundings) -> Http01Solver:
    return Http01Solver(surroundings.tokens, surroundings.http_check)


PROVIDER: Final = Provider("http01", page="http-01.md", read=_read, build=_build)
"""The entry of the registry."""
