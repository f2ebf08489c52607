"""One way to set a mail server up, mostly wrong, how it is dialled, and what a probe must say of it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from mailservers.certificates import HOST, Served
from mailservers.instance import Instance
from mailservers.stock import AUTHORITY, STORED
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import (
    Credentials,
    Depth,
    Endpoint,
    Expected,
    Port,
    Protocol,
    ProxyProtocol,
    Target,
    TlsMode,
    TlsPolicy,
)
from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software

PATIENT, IMPATIENT = 30.0, 1.5  # seconds per phase; long enough for a busy machine, short where silence is the case


@dataclass(frozen=True, slots=True)
class Case:
    """A service of a server and the verdict on it.

    `options` are the server's own words. `thread` is where users of another program met it, `owner/repository#number`.
    `reason` is the one that fails the endpoint, None when it is as it should be;
    `says` must be in its message; `warns` are the warnings, where no reason fails: all of them.
    """

    served: tuple[Served, ...] = (STORED,)
    options: tuple[str, ...] = ()
    reason: Reason | None = None
    says: str = ""
    warns: tuple[Reason, ...] = ()
    protocol: Protocol = Protocol.SMTP
    tls: TlsMode = TlsMode.START_TLS
    policy: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    depth: Depth = Depth.QUICK
    stored: Served | None = None  # what the Secret holds; None: there is no Secret, as for any tool run by hand
    login: Credentials | None = None
    proxy: ProxyProtocol = ProxyProtocol.NONE
    xclient: str | None = None
    patience: float = PATIENT
    thread: str = ""

    @property
    def pem(self) -> bytes:
        """Keys and chains in one file."""
        return b"".join(served.pem for served in self.served)


@dataclass(frozen=True, slots=True)
class Table:
    """All cases of one server: `serve` runs them together, `missing` says why it cannot, empty when it can."""

    server: str
    cases: Mapping[str, Case]
    serve: Callable[[Mapping[str, Case]], AbstractContextManager[Instance]]
    missing: Callable[[], str]


def probe(case: Case, where: tuple[str, int], software: Software | None = None) -> Endpoint:
    """Probe one service as its case wants it, as a port of a preset where there is one for it."""
    port = Port(where[1], case.tls, case.policy, case.protocol, case.proxy, case.xclient)
    target = Target(where[0], port, HOST, pod="mx-0", workload="StatefulSet/mx", software=software)
    patience = case.patience
    limits = Limits(connect=patience, dialog=patience, handshake=patience, overall=3 * patience)
    stored = AUTHORITY.expects(case.stored) if case.stored else Expected(extra_roots_pem=AUTHORITY.roots_pem)
    expected = replace(stored, login=case.login)
    return Prober(limits).probe([target], expected, case.depth)[0]
