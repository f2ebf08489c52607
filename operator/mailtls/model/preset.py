"""What is known of mail servers: the ports they listen on and the command that makes them read a new certificate."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from mailtls.model.spec import Port, TlsMode, TlsPolicy


class Server(StrEnum):
    """Mail servers that `workloads[].server` can name; `GENERIC` is any other."""

    POSTFIX = "postfix"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class Preset:
    """Fills what a workload leaves out; an empty tuple means that the user must say it."""

    reload: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()


PRESETS: Mapping[Server, Preset] = MappingProxyType(
    {
        Server.POSTFIX: Preset(
            reload=("postfix", "reload"),
            ports=(
                Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),  # RFC 3207 section 4: strangers may come without
                Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED),  # RFC 8314 section 3.3
                Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED),
            ),
        ),
        Server.GENERIC: Preset(),
    }
)


def default_policy(port: int, tls: TlsMode) -> TlsPolicy:
    """What a port must be where nobody says: only port 25 may take plain text, as strangers knock there."""
    takes_plain_text = port == 25 and tls is TlsMode.START_TLS  # noqa: PLR2004 - SMTP's own port
    return TlsPolicy.OPPORTUNISTIC if takes_plain_text else TlsPolicy.ENFORCED
