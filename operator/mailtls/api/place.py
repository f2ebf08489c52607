"""What a step may have to wait on, and which may be dead without a word."""

from dataclasses import dataclass
from enum import StrEnum


class PlaceKind(StrEnum):
    """What sort of thing is waited on."""

    CA = "CA"
    DNS = "DNS server"
    RESOLVER = "resolvers"
    HTTP01 = "HTTP-01 self-checks"
    PODS = "pods"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True)
class Place:
    """One thing to wait on: a CA's host, a DNS server, or by `name` a namespace whose pods or objects are meant."""

    kind: PlaceKind
    name: str = ""

    @property
    def differs_by_resource(self) -> bool:
        """Whether one resource's part of it may be well while another's is dead."""
        return self.kind in {PlaceKind.PODS, PlaceKind.HTTP01}

    @property
    def is_narrow(self) -> bool:
        """Whether it is limited even while it answers: a look at domains costs many lookups at once."""
        return self.kind is PlaceKind.RESOLVER

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()
