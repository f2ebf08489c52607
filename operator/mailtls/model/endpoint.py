"""What one port of one pod serves, as a mail client saw it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailtls.model.reason import Finding, Severity
from mailtls.model.spec import Port


class Depth(StrEnum):
    """How thorough a probe is.

    `QUICK` holds one conversation, after each pod; `FULL` also asks what else a client may meet, after a rollout and on
    the interval; `DEEP` also tries what a server may resent, on demand.
    """

    QUICK = "quick"
    FULL = "full"
    DEEP = "deep"


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to knock: an address and port, dialled as a client of `server_name` would.

    Outside of Kubernetes `pod` is the host's name and `workload` is empty.
    """

    pod: str
    workload: str  # "StatefulSet/postfix"
    address: str
    port: Port
    server_name: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be served: the stored leaf, and the roots (PEM) that clients trust besides the system's.

    `leaf_sha256` None: no certificate is stored anywhere, any that clients accept will do. `not_before` of the stored
    leaf, where given, tells an older certificate from a foreign one.
    """

    leaf_sha256: str | None = None  # hex of the DER leaf
    extra_roots_pem: str = ""
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The verdict on one target; `findings` are ordered, the first failing one is the reason.

    `served_sha256` and `served_not_after` are None when no certificate was seen. Times are UTC.
    """

    target: Target
    checked_at: datetime
    findings: tuple[Finding, ...] = ()
    served_sha256: str | None = None
    served_not_after: datetime | None = None
    tls_version: str | None = None
    cipher: str | None = None

    @property
    def failure(self) -> Finding | None:
        """The first finding that fails the endpoint, None when what is served is what should be."""
        return next((found for found in self.findings if found.severity is Severity.FAIL), None)
