"""What decisions may ask of the world: one Protocol per part, so that tests can stand a fake behind each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from mailtls.maildomain.facts import DomainFacts, MailDomain
from mailtls.probe.facts import Facts
from mailtls.probe.target import Depth, Endpoint, Expected, Target

Json = dict[str, Any]


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the time in UTC, with time zone."""


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status, `reason` the Status object's reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def is_missing(self) -> bool:
        """404: the object, or what it would stand in, does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_forbidden(self) -> bool:
        """403: RBAC, or an admission rule, does not let us."""
        return self.status == HTTPStatus.FORBIDDEN


class Conflict(ApiError):
    """409: somebody else wrote first, or the object exists already; observe again."""


class Unreachable(Exception):
    """The API server, the CA or a DNS server did not answer; trying again later is right."""


@dataclass(frozen=True, slots=True)
class Executed:
    """What a command in a pod said; `exit_code` None when it did not end in time."""

    exit_code: int | None
    stdout: str
    stderr: str


class Cluster(Protocol):
    """The Kubernetes API, as raw JSON over URL paths (`/api/v1/namespaces/x/secrets/y`)."""

    def get(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all items, following continue tokens."""

    def create(self, path: str, body: Json) -> Json:
        """POST; raises `Conflict` when it exists."""

    def replace(self, path: str, body: Json) -> Json:
        """PUT; raises `Conflict` when the resourceVersion in `body` is not the newest."""

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply with the one field manager `mailtls`, taking conflicts of fields over.

        Raises `Conflict` when `body` names a stale resourceVersion; an object that is missing is made all the same.
        """

    def merge(self, path: str, body: Json) -> Json:
        """JSON merge patch (RFC 7386); raises `Conflict` when `body` names a stale resourceVersion."""

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete; success when it is gone already."""

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run a command in a container, as `kubectl exec` does; `timeout` in seconds."""


class Prober(Protocol):
    """Connects to mail servers as a client would."""

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Probe all targets concurrently; never raises for what a server does."""


class Examiner(Protocol):
    """Connects to mail servers, and hands out what it saw beside its verdict."""

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Probe all targets concurrently, answer in their order; never raises for what a server does."""


class Domains(Protocol):
    """Looks up what mail domains publish."""

    def read_all(self, domains: Sequence[MailDomain]) -> Sequence[DomainFacts]:
        """Look all up within one limit of time, answer in their order; never raises for what the DNS does."""


Labels = Mapping[str, str]
