"""A DNS provider that nobody has: all that a new one needs in code is in this one module."""

from dataclasses import dataclass
from typing import Final

import requests

from mailtls.api.reading.acme import data_ref
from mailtls.api.reading.document import Node
from mailtls.api.spec import DataRef
from mailtls.issuance.solvers.base import ChallengeProblem, Provider, Secrets, Surroundings
from mailtls.issuance.solvers.dns01 import Dns01, Dns01Solver, dns01_settings
from mailtls.issuance.solvers.propagation import Spread
from mailtls.reasons.reason import Finding, Reason

_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Toy:
    """A service that keeps TXT records, at the URL `server`, for whoever knows the token."""

    server: str
    token: DataRef

    name = "toy"

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The Secret of the token."""
        return (self.token,)


@dataclass(frozen=True, slots=True)
class ToyRecords:
    """TXT records at the service."""

    settings: Toy
    token: str

    def present(self, name: str, value: str) -> None:
        """Add a value."""
        self._call("PUT", f"{name}/{value}")

    def remove(self, name: str, value: str) -> None:
        """Remove a value."""
        self._call("DELETE", f"{name}/{value}")

    def spread(self, name: str, value: str) -> Spread:
        """Ask the service, which has one server only."""
        return Spread() if value in self._call("GET", name).split() else Spread(late=(self.settings.server,))

    def rehearse(self, name: str) -> str:
        """Show the token."""
        self._call("GET", name)
        return f"{self.settings.server} knows the token."

    def _call(self, method: str, path: str) -> str:
        try:
            answer = requests.request(method, f"{self.settings.server}/{path}", headers=self._headers, timeout=_SECONDS)
        except requests.RequestException:
            message = f"Let the operator reach {self.settings.server}."
            raise ChallengeProblem(Finding(Reason.DNS_UNREACHABLE, message), transient=True) from None
        if not answer.ok:
            message = f"Put the token of {self.settings.server} into the Secret {self.settings.token.name}."
            raise ChallengeProblem(Finding(Reason.DNS_UPDATE_REFUSED, message), transient=False)
        return answer.text

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def _read(solver: Node, namespace: str) -> Dns01[Toy]:
    node = solver.at("dns01").at("toy")
    return dns01_settings(solver.at("dns01"), Toy(node.at("server").text(), data_ref(node.at("tokenRef"), namespace)))


def _build(settings: Dns01[Toy], secrets: Secrets, _surroundings: Surroundings) -> Dns01Solver:
    return Dns01Solver(settings, ToyRecords(settings.provider, secrets[settings.provider.token].decode()))


PROVIDER: Final = Provider("dns01.toy", page="toy.md", read=_read, build=_build)
