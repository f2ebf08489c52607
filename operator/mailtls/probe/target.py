"""Thresholds of a probe: when an expiry is near, and what users demand beyond what the RFCs do.

What is probed: one port of a pod, a Service or an address from outside, by which route and how deep.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, TypeAlias

from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.reasons.software import Software
from mailtls.times import format_duration, parse_duration

Margin: TypeAlias = timedelta | float  # a time, or a share of the lifetime
_SHARE: Final = re.compile(r"[1-9][0-9]?%")
_A_THIRD: Final = 1 / 3
_LEAST, _MOST = timedelta(hours=1), timedelta(hours=8760)


class TlsVersion(StrEnum):
    """Versions of TLS that may be demanded."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class RsaBits(IntEnum):
    """Sizes of an RSA key that may be demanded."""

    BITS_2048 = 2048
    BITS_3072 = 3072
    BITS_4096 = 4096


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the probe holds servers against.

    `expiring_soon` is how much of a certificate's life must be left, else it is warned of. The minima are demands: what
    falls short of one that is given fails; without it, what the RFCs advise against is warned of.
    """

    expiring_soon: Margin = _A_THIRD
    minimum_tls: TlsVersion | None = None
    minimum_rsa_bits: RsaBits | None = None

    def margin(self, lifetime: timedelta) -> timedelta:
        """How much time a certificate of this lifetime must have left."""
        return self.expiring_soon if isinstance(self.expiring_soon, timedelta) else lifetime * self.expiring_soon

    def overruled(self, by: "PortThresholds | None") -> "Thresholds":
        """What holds at a port that has thresholds of its own: each that it names, and these for the rest."""
        own = {name: value for name, value in asdict(by).items() if value is not None} if by else {}
        return replace(self, **own)

    @property
    def words(self) -> str:
        """The margin as people say it: `a third of its lifetime`, `10% of its lifetime`, `240h`."""
        if isinstance(self.expiring_soon, timedelta):
            return format_duration(self.expiring_soon)
        share = "a third" if self.expiring_soon == _A_THIRD else f"{self.expiring_soon:.0%}"
        return f"{share} of its lifetime"


@dataclass(frozen=True, slots=True)
class PortThresholds:
    """What one port is held against in place of the resource's thresholds; None: as the resource says."""

    expiring_soon: Margin | None = None
    minimum_tls: TlsVersion | None = None
    minimum_rsa_bits: RsaBits | None = None


def parse_margin(text: str) -> Margin:
    """Read a share such as `33%`, or a duration such as `240h`; raises ValueError with the sentence to show."""
    if _SHARE.fullmatch(text):
        return int(text.removesuffix("%")) / 100
    try:
        margin = parse_duration(text)
    except ValueError:
        raise ValueError("write a share of the lifetime such as 33%, or a duration such as 240h") from None
    if not _LEAST <= margin <= _MOST:
        raise ValueError(f"write a duration from {format_duration(_LEAST)} to {format_duration(_MOST)}")
    return margin


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom to log in as; raises ValueError for what no protocol could carry on one line."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.username or any(mark in self.username + self.password for mark in "\r\n\0"):
            raise ValueError("give a user name, and leave line breaks and NUL out of it and of the password")


class Depth(StrEnum):
    """`QUICK` holds one conversation, `FULL` also checks what other clients would meet, `DEEP` tries more.

    The operator uses `QUICK` after each pod, `FULL` after a rollout and on the interval, and `DEEP` on demand or by
    schedule, as a server may resent it.
    """

    QUICK = "Quick"
    FULL = "Full"
    DEEP = "Deep"

    def reaches(self, other: "Depth") -> bool:
        """Whether this is at least as thorough as `other`."""
        depths = list(Depth)
        return depths.index(self) >= depths.index(other)


class Route(StrEnum):
    """How a client comes to a server: to a pod's own address, by a Service, or from outside by the public name."""

    PODS = "Pods"
    SERVICE = "Service"
    PUBLIC = "Public"


SUBMISSION_PORTS: Final = frozenset({465, 587})  # RFC 8314 section 3.3
RELAY_PORT: Final = 25  # takes mail from strangers (RFC 5321 section 4.5.4.2), also where DANE demands TLS of them


class Protocol(StrEnum):
    """Application protocol spoken before or inside TLS."""

    SMTP = "smtp"
    LMTP = "lmtp"
    IMAP = "imap"
    POP3 = "pop3"
    SIEVE = "sieve"


class TlsMode(StrEnum):
    """`START_TLS` begins in clear text (RFC 3207), `IMPLICIT` with the handshake (RFC 8314)."""

    START_TLS = "StartTLS"
    IMPLICIT = "Implicit"


class TlsPolicy(StrEnum):
    """What a port must be: `OPPORTUNISTIC` may also take plain text, `ENFORCED` must not do without TLS."""

    OPPORTUNISTIC = "Opportunistic"
    ENFORCED = "Enforced"


class ProxyProtocol(StrEnum):
    """The version of the PROXY protocol that a port expects before all else, `NONE` for a port that does not."""

    NONE = "None"
    V1 = "V1"
    V2 = "V2"


@dataclass(frozen=True, slots=True)
class Port:
    """One port of every pod of a workload that must serve the certificate.

    `xclient_address`, on ports of SMTP and LMTP only, is whom the probe claims to be by Postfix' XCLIENT. `thresholds`
    are those of this port in place of the resource's. `timeout` is how long one conversation may take; None: the usual.
    """

    port: int
    tls_mode: TlsMode
    tls_policy: TlsPolicy
    protocol: Protocol = Protocol.SMTP
    proxy_protocol: ProxyProtocol = ProxyProtocol.NONE
    xclient_address: str | None = None
    thresholds: PortThresholds | None = None
    timeout: timedelta | None = None

    @property
    def is_for_users(self) -> bool:
        """Whether people log in here: nobody does by LMTP, nor where strangers bring mail, whoever demands TLS."""
        return self.tls_policy is TlsPolicy.ENFORCED and self.port != RELAY_PORT and self.protocol is not Protocol.LMTP

    @property
    def has_to_offer_logins(self) -> bool:
        """Whether it is for users by its number or protocol; at any other port a relay may know its clients."""
        return self.is_for_users and (self.protocol is not Protocol.SMTP or self.port in SUBMISSION_PORTS)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and how: an address and port, dialled as a client of `server_name` would.

    `address` is a literal, as a name with many addresses is as many targets; it is empty where none was found.
    `server_name` is sent as SNI, and the certificate must be for it.

    The rest names the server in messages and comparisons. `pod` is its own name: a pod's, a Service's, or the host's
    from outside, as `route` says. Targets of one `workload` should serve the same; it is empty outside a cluster.
    `run` names the processes: what a container said before it restarted is no evidence on what it says since.
    `software` is what should answer there; advice goes by it where the server does not name itself.
    """

    address: str
    port: Port
    server_name: str
    pod: str = ""
    workload: str = ""  # "StatefulSet/postfix"
    run: str = ""
    route: Route = Route.PODS
    software: Software | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """One word for the server: `postfix-0`, `Service/postfix` or `Public/mx1.example.com`."""
        return self.pod or self.server_name if self.route is Route.PODS else f"{self.route}/{self.pod}".rstrip("/")

    @property
    def where(self) -> str:
        """Server and port; on every route but the pods' own with the address, which nothing else shows."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        at = f" at {address}" if address and self.route is not Route.PODS else ""
        return f"{self.label}{at}:{self.port.port}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be served: the stored leaf, and the roots (PEM) that clients trust besides the system's.

    `leaf_sha256` None: no certificate is stored anywhere, any that clients accept will do. `not_before` of the stored
    leaf, where given, distinguishes an older certificate from a foreign one. `login`, where given, is tried by full and
    deep probes. `trusts_staging`: the roots of Let's Encrypt's staging CA are trusted too, with a warning. `by_hand`:
    somebody reads the findings who runs no operator. `names`: all that the stored certificate is for, the target's
    own among them; full and deep probes send each of them as SNI. `client_name` is what SMTP and LMTP servers are
    greeted with; empty: the address that the connection comes from.
    """

    leaf_sha256: str | None = None  # hex of the DER leaf
    extra_roots_pem: str = ""
    not_before: datetime | None = None
    login: Credentials | None = field(default=None, repr=False)
    trusts_staging: bool = False
    by_hand: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    names: tuple[str, ...] = ()
    client_name: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The verdict on one target; `findings` are ordered, the first failing one is the reason.

    `served_sha256` and `served_not_after` are None when no certificate was seen. `second_sha256` is of a certificate
    beside the stored one that clients accept: whether it may be there is for those to say who know what else is stored.
    `named_sha256` are such certificates too, by the `subject` of the findings on the names that they are served under.
    `showed_sha256` is the leaf that the same processes showed at an earlier probe, where this one saw none.
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
    showed_sha256: str | None = None

    @property
    def failure(self) -> Finding | None:
        """The first finding that fails the endpoint, None when what is served is what should be."""
        return next(iter(self.failures), None)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """All findings that fail the endpoint."""
        return tuple(found for found in self.findings if found.severity is Severity.FAIL)

    @property
    def is_unknown(self) -> bool:
        """Whether nobody reached the server from here, or tried to, which says nothing about it."""
        return any(found.reason in _UNKNOWN for found in self.findings)


_UNKNOWN: Final = frozenset({Reason.PORT_BLOCKED, Reason.TOO_MANY_ENDPOINTS})
