"""What one port serves, as a mail client saw it: of a pod, of a Service, or at a public address."""

from dataclasses import dataclass, field
from datetime import datetime

from mailtls.model.probe.credentials import Credentials
from mailtls.model.probe.depth import Depth
from mailtls.model.probe.threshold import Thresholds
from mailtls.model.probe.way import Way
from mailtls.model.reason import Finding, Reason, Severity
from mailtls.model.spec import Port

__all__ = ["Depth", "Endpoint", "Expected", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to knock: an address and port, dialled as a client of `server_name` would.

    `address` is a literal, as a name with many addresses is as many targets; it is empty where a way was looked for in
    vain. `pod` names the server. By the `way` of a Service that is the Service, from outside and without Kubernetes the
    host, whose `workload` is empty. `run` is the pod's: what a container said before it restarted is no evidence on
    what it says since.
    """

    pod: str
    workload: str  # "StatefulSet/postfix"
    address: str
    port: Port
    server_name: str
    run: str = ""
    way: Way = Way.PODS

    @property
    def label(self) -> str:
        """One word for the server: `postfix-0`, `Service/postfix` or `Public/mx1.example.com`."""
        return self.pod if self.way is Way.PODS else f"{self.way}/{self.pod}".rstrip("/")

    @property
    def where(self) -> str:
        """Server and port; by all ways but the pods' own with the address, for there are no others to tell it."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        at = f" at {address}" if address and self.way is not Way.PODS else ""
        return f"{self.label}{at}:{self.port.port}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be served: the stored leaf, and the roots (PEM) that clients trust besides the system's.

    `leaf_sha256` None: no certificate is stored anywhere, any that clients accept will do. `not_before` of the stored
    leaf, where given, tells an older certificate from a foreign one. `login`, where given, is tried by full and deep
    probes. `trusts_staging`: the roots of Let's Encrypt's staging authority are trusted too, with a warning. `by_hand`:
    somebody reads the findings who runs no operator. `names`: all that the stored certificate is for; full and deep
    probes ask for each of them by SNI, of which the target's own is one.
    """

    leaf_sha256: str | None = None  # hex of the DER leaf
    extra_roots_pem: str = ""
    not_before: datetime | None = None
    login: Credentials | None = field(default=None, repr=False)
    trusts_staging: bool = False
    by_hand: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The verdict on one target; `findings` are ordered, the first failing one is the reason.

    `served_sha256` and `served_not_after` are None when no certificate was seen. `second_sha256` is of a certificate
    beside the stored one that clients accept: whether it may be there is for those to say who know what else is stored.
    `named_sha256` are such certificates too, by the `subject` of the findings on the names that they are served under.
    Times are UTC.
    """

    target: Target
    checked_at: datetime
    findings: tuple[Finding, ...] = ()
    served_sha256: str | None = None
    served_not_after: datetime | None = None
    tls_version: str | None = None
    cipher: str | None = None
    capabilities: tuple[str, ...] = ()  # keywords inside TLS, sorted
    second_sha256: str | None = None
    named_sha256: tuple[tuple[str, str], ...] = ()

    @property
    def failure(self) -> Finding | None:
        """The first finding that fails the endpoint, None when what is served is what should be."""
        return next((found for found in self.findings if found.severity is Severity.FAIL), None)

    @property
    def is_blocked(self) -> bool:
        """Whether nobody could look from here, which says nothing about the server."""
        return any(found.reason is Reason.PORT_BLOCKED for found in self.findings)
