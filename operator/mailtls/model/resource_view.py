"""A `MailServerTLS` as a person reads it: what its status says, whatever is missing or odd in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mailtls.model.spec import Key
from mailtls.model.status import Condition, ConditionType, ServedCount, Status, Truth


@dataclass(frozen=True, slots=True)
class EndpointLine:
    """One entry of `status.endpoints`; empty texts where it says nothing.

    `server` is a pod, or what it is beside its name: `Service/postfix`.
    """

    server: str
    port: int
    address: str = ""
    result: str = ""
    reason: str = ""
    message: str = ""
    tls_version: str = ""
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource; `handled` is the last value of each annotation that the operator has handled."""

    key: Key
    host: str = ""
    created_at: datetime | None = None
    generation: int = 0
    is_suspended: bool = False
    status: Status = field(default_factory=Status)
    served: str = ""
    served_count: ServedCount | None = None
    expires_at: datetime | None = None
    renews_at: datetime | None = None
    endpoints: tuple[EndpointLine, ...] = ()
    handled: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether the certificate is proven on every port."""
        ready = self.status.condition(ConditionType.READY)
        return ready is not None and ready.status is Truth.TRUE

    @property
    def obstacle(self) -> Condition | None:
        """The first condition of the story that is not true: the one to read."""
        return next((each for each in self.status.conditions if each.status is not Truth.TRUE), None)
