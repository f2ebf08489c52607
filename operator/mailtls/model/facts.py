"""What one probe saw and heard, before anybody judged it: plain values, bounded in size, safe to print."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from mailtls.model.endpoint import Endpoint, Expected, Target

QUOTE_LIMIT = 200  # characters; a message of a condition stays readable, and Kubernetes caps events at 1024


class Phase(StrEnum):
    """The steps of a probe; a STARTTLS port walks them in this order, an implicit one shakes hands first."""

    CONNECT = "the connection"
    GREETING = "the greeting"
    CAPABILITIES = "the capabilities (EHLO)"
    STARTTLS = "STARTTLS"
    HANDSHAKE = "the TLS handshake"
    CAPABILITIES_IN_TLS = "the capabilities inside TLS (EHLO)"


class Fault(StrEnum):
    """How a phase ended early. Coarse on purpose: finer shades differ between Python and OpenSSL releases."""

    UNRESOLVED = "name not resolved"
    REFUSED = "connection refused"
    UNREACHABLE = "network unreachable"
    TIMED_OUT = "timed out"
    CLOSED = "connection closed"
    UNEXPECTED_REPLY = "unexpected reply"
    GARBLED = "not the protocol"
    NOT_OFFERED = "not offered"
    NOT_TLS = "not TLS"
    TLS_REFUSED = "TLS error"
    NO_SHARED_VERSION = "no shared TLS version"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where and how a probe ended early; `detail` is what the peer or the system said, quoted and bounded."""

    phase: Phase
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the server (RFC 5321 section 4.2); `lines` are quoted and carry no reply code."""

    phase: Phase
    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reply on one line, cut to a readable length."""
        return shorten(f"{self.code} {' / '.join(self.lines)}".rstrip())

    def keyword(self, name: str) -> str | None:
        """Parameters of an EHLO keyword (RFC 5321 section 4.1.1.1), None when it is not listed."""
        for line in self.lines[1:]:
            word, _, parameters = line.replace("=", " ", 1).partition(" ")  # `AUTH=LOGIN` is old but alive
            if word.upper() == name:
                return parameters
        return None


@dataclass(frozen=True, slots=True)
class Verification:
    """OpenSSL's word on the chain: `code` 0 is good (X509_V_OK), `depth` 0 is the leaf."""

    code: int = 0
    depth: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What the handshake agreed on; `chain` is DER as served, leaf first, never empty."""

    chain: tuple[bytes, ...]
    tls_version: str
    cipher: str
    verification: Verification = Verification()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one probe learned; `stop` is None when the conversation reached its end.

    `tls_first` says that a STARTTLS port which sent no greeting answered a ClientHello.
    """

    stop: Stop | None = None
    replies: tuple[Reply, ...] = ()
    session: Session | None = None
    tls_first: bool = False

    def reply(self, phase: Phase) -> Reply | None:
        """What the server answered in a phase, None when it was not reached."""
        return next((reply for reply in self.replies if reply.phase is phase), None)

    def stopped(self, *phases: Phase) -> Stop | None:
        """The stop, if it was in one of `phases`."""
        return self.stop if self.stop is not None and self.stop.phase in phases else None


Judge: TypeAlias = Callable[[Target, Expected, Facts, datetime], Endpoint]


def quote(data: bytes) -> str:
    r"""Text that is safe in logs, terminals and JSON: printable ASCII stays, all else becomes \xNN."""
    data = data.rstrip(b"\r\n")
    if data.isascii() and (text := data.decode()).isprintable():
        return shorten(text)
    return shorten("".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:QUOTE_LIMIT]))  # noqa: PLR2004


def shorten(text: str) -> str:
    """Cut a text to `QUOTE_LIMIT` characters."""
    return text if len(text) <= QUOTE_LIMIT else text[: QUOTE_LIMIT - 1] + "…"
