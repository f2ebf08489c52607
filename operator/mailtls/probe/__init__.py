"""A library that connects to a mail server as its clients do, and says what is wrong with what it serves.

It speaks SMTP, LMTP, IMAP, POP3 and ManageSieve, by STARTTLS or implicit TLS, and knows nothing of Kubernetes::

    from mailtls.probe import Depth, Expected, Port, Prober, Target, TlsMode, TlsPolicy

    port = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    target = Target("192.0.2.25", port, server_name="mx1.example.com")
    expected = Expected(by_hand=True)  # nothing certain, but what clients accept
    (endpoint,) = Prober().probe([target], expected, Depth.FULL)
    print(endpoint.tls_version, endpoint.served_sha256, endpoint.served_not_after)
    for finding in endpoint.findings:
        print(f"{finding.severity} {finding.reason}: {finding.message}")

`probe` never raises for what a server or the network does: that is a finding. `Prober.examine` hands out the `Facts`
beside each verdict, and `judge` judges such facts again, for other expectations or at another time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailtls.probe.checks.verdict import judge
    from mailtls.probe.conversation import Limits
    from mailtls.probe.facts import Facts
    from mailtls.probe.prober import Prober
    from mailtls.probe.target import (
        Credentials,
        Depth,
        Endpoint,
        Expected,
        Port,
        Protocol,
        Target,
        TlsMode,
        TlsPolicy,
    )
else:
    # Values and checks are used without a connection, and must not wait for the import of OpenSSL.
    _HOMES = {
        "Facts": "facts",
        "Limits": "conversation",
        "Prober": "prober",
        "judge": "checks.verdict",
    }

    def __getattr__(name: str) -> object:
        """Import a public name where it is first used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'target')}"), name)


__all__ = [
    "Credentials",
    "Depth",
    "Endpoint",
    "Expected",
    "Facts",
    "Limits",
    "Port",
    "Prober",
    "Protocol",
    "Target",
    "TlsMode",
    "TlsPolicy",
    "judge",
]
