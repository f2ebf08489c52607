"""Services as the Kubernetes API lists them: what they select, and where their ports lead to."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One TCP port of a Service; `target` is where it leads to: the number or the name of a container's port."""

    number: int
    target: int | str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with a selector; a headless one has no `addresses`, for it leads to the pods' own."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...] = ()
    addresses: tuple[str, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are behind it."""
        return bool(self.selector) and self.selector.items() <= labels.items()
