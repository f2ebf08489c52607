"""What is known of each mail server: its usual ports, and how it gets a new certificate into use."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailtls.probe.target import Port, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.software import Software


@dataclass(frozen=True, slots=True)
class Preset:
    """What a workload may leave out.

    Without `ports` the user must list them. Without `reload` there is no command, and `no_reload` is the sentence
    that says why, and what to set instead; the CRD has the same sentence.
    """

    ports: tuple[Port, ...] = ()
    reload: tuple[str, ...] = ()
    no_reload: str = ""


def _signal(name: str) -> tuple[str, ...]:
    """For servers that run as process 1 of their container. `kill` is the shell's: small images have no other."""
    return ("sh", "-c", f"kill -{name} 1")


_SMTPS: Final = Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED)  # RFC 8314 section 3.3
_MAIL: Final = (
    Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),  # RFC 3207 section 4: other servers may come without
    _SMTPS,
    Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED),
)
_IMAP: Final = Port(143, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.IMAP)
_IMAPS: Final = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)

PRESETS: Final[Mapping[Software, Preset]] = MappingProxyType(
    {
        Software.POSTFIX: Preset(_MAIL, ("postfix", "reload")),
        Software.DOVECOT: Preset((_IMAP, _IMAPS), ("doveadm", "reload")),
        Software.EXIM: Preset(_MAIL, _signal("HUP")),
        Software.HAPROXY: Preset((_SMTPS, _IMAPS), _signal("USR2")),
        Software.OPENSMTPD: Preset(
            _MAIL,
            no_reload="OpenSMTPD reads its certificate only when it starts, so set updateStrategy to Restart, or set"
            " reload.command",
        ),
        Software.GENERIC: Preset(
            no_reload="a generic server's reload command is not known, so set reload.command, or set updateStrategy"
            " to Restart"
        ),
    }
)
