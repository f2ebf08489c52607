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


def _reads_at_start(name: str) -> str:
    return f"{name} reads its certificate only when it starts, so set updateStrategy to Restart, or set reload.command"


_SMTPS: Final = Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED)  # RFC 8314 section 3.3
_SUBMISSION: Final = Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED)
_MAIL: Final = (
    Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),  # RFC 3207 section 4: other servers may come without
    _SMTPS,
    _SUBMISSION,
)
_IMAP: Final = Port(143, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.IMAP)
_IMAPS: Final = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)

# A table of certificates by name holds their contents: it has to be made anew, or the old ones are served.
_POSTFIX: Final = (
    "for map in $({ postconf -hx tls_server_sni_maps; postconf -hPx '*/*/tls_server_sni_maps'; } 2>/dev/null); do "
    'case $map in hash:*|btree:*|cdb:*|lmdb:*) postmap -F "${map%,}" || exit;; esac; done; postfix reload'
)

PRESETS: Final[Mapping[Software, Preset]] = MappingProxyType(
    {
        Software.POSTFIX: Preset(_MAIL, ("sh", "-c", _POSTFIX)),
        Software.DOVECOT: Preset((_IMAP, _IMAPS), ("doveadm", "reload")),
        Software.EXIM: Preset(_MAIL, _signal("HUP")),
        Software.HAPROXY: Preset((_SMTPS, _IMAPS), _signal("USR2")),
        Software.NGINX: Preset((_SMTPS, _SUBMISSION, _IMAP, _IMAPS), ("sh", "-c", "nginx -t -q && nginx -s reload")),
        Software.SENDMAIL: Preset(_MAIL, _signal("HUP")),
        Software.CYRUS: Preset((_IMAPS,), _signal("HUP")),  # since 3.10 it has no STARTTLS unless it is configured
        Software.COURIER: Preset(
            (*_MAIL, _IMAP, _IMAPS),
            no_reload="Courier reads its certificate for each connection, so set updateStrategy to None, or set"
            " reload.command",
        ),
        Software.OPENSMTPD: Preset(_MAIL, no_reload=_reads_at_start("OpenSMTPD")),
        Software.CHASQUID: Preset(_MAIL, no_reload=_reads_at_start("chasquid")),
        Software.MADDY: Preset((*_MAIL, _IMAP, _IMAPS), _signal("USR2")),
        Software.MOX: Preset((*_MAIL, _IMAP, _IMAPS), no_reload=_reads_at_start("mox")),
        Software.GENERIC: Preset(
            no_reload="a generic server's reload command is not known, so set reload.command, or set updateStrategy"
            " to Restart"
        ),
    }
)
