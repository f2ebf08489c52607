"""What is known of mail servers: their ports, their reload command, and how their greetings tell them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mailtls.probe.target import RELAY_PORT, Port, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.software import Software


@dataclass(frozen=True, slots=True)
class Preset:
    """Fills what a workload leaves out; an empty tuple means that the user must say it, or that there is nothing."""

    reload: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()


_MAIL = (
    Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),  # RFC 3207 section 4: strangers may come without
    Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED),  # RFC 8314 section 3.3
    Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED),
)
_IMAPS = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)
PRESETS: Mapping[Software, Preset] = MappingProxyType(
    {
        Software.POSTFIX: Preset(reload=("postfix", "reload"), ports=_MAIL),
        Software.DOVECOT: Preset(
            reload=("doveadm", "reload"),
            ports=(Port(143, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.IMAP), _IMAPS),
        ),
        # Both run as process 1 of their container. `kill` is the shell's own, as small images have no other.
        Software.EXIM: Preset(reload=("sh", "-c", "kill -HUP 1"), ports=_MAIL),
        Software.HAPROXY: Preset(
            reload=("sh", "-c", "kill -USR2 1"), ports=(Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED), _IMAPS)
        ),
        Software.OPENSMTPD: Preset(ports=_MAIL),  # reads its certificate at its start alone: only a restart helps
        Software.GENERIC: Preset(),
    }
)


def default_policy(port: int, tls: TlsMode) -> TlsPolicy:
    """What a port must be where nobody says: only port 25 may take plain text, as strangers knock there."""
    takes_plain_text = port == RELAY_PORT and tls is TlsMode.START_TLS
    return TlsPolicy.OPPORTUNISTIC if takes_plain_text else TlsPolicy.ENFORCED
