"""What a probe and a server say to each other: phases, replies and sessions, bounded in size and safe to print."""

from dataclasses import dataclass
from enum import StrEnum

from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import shorten


class Phase(StrEnum):
    """The steps of a probe; a STARTTLS port walks them in this order, an implicit one shakes hands first."""

    CONNECT = "the connection"
    GREETING = "the greeting"
    CAPABILITIES = "the capabilities"
    XCLIENT = "XCLIENT"
    STARTTLS = "STARTTLS"
    HANDSHAKE = "the TLS handshake"
    CAPABILITIES_IN_TLS = "the capabilities inside TLS"


class Fault(StrEnum):
    """How a phase ended early. Coarse on purpose: finer shades differ between Python and OpenSSL releases."""

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


_TRANSIENT, _PERMANENT = 400, 500  # RFC 5321 section 4.2.1
_TRANSIENT_CODES = frozenset(  # RFC 5530 section 3, RFC 3206 section 4, RFC 2449 section 8, RFC 5804 section 1.3
    {"UNAVAILABLE", "INUSE", "LIMIT", "SYS/TEMP", "IN-USE", "LOGIN-DELAY", "TRYLATER"}
)
_ITS_OWN_NAMES = {  # of what SMTP calls STARTTLS and AUTH
    Protocol.POP3: {"STARTTLS": "STLS", "AUTH": "SASL"},  # RFC 2595 section 4, RFC 5034 section 3
    Protocol.SIEVE: {"AUTH": "SASL"},  # RFC 5804 section 1.7
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the server; `lines` are quoted and carry no code or word of agreement.

    SMTP and LMTP answer by `code` (RFC 5321 section 4.2); the others by `word`, such as OK or -ERR, and have code 0.
    A list of capabilities has one in each line.
    """

    phase: Phase
    code: int
    lines: tuple[str, ...]
    word: str = ""
    protocol: Protocol = Protocol.SMTP

    @property
    def text(self) -> str:
        """The reply on one line, cut to a readable length."""
        return shorten(f"{self.word or self.code} {' / '.join(self.lines)}".rstrip())

    @property
    def is_transient(self) -> bool:
        """Whether the server says no for now: 4xx, or a response code that means it."""
        if not self.word:
            return _TRANSIENT <= self.code < _PERMANENT
        hint = self.lines[0].partition(" ")[0].strip("[]()").upper() if self.lines else ""
        return self.is_refusal and hint in _TRANSIENT_CODES

    @property
    def is_permanent(self) -> bool:
        """Whether the server says no for good."""
        return self.is_refusal and not self.is_transient

    @property
    def is_refusal(self) -> bool:
        """Whether the server says no, for now or for good."""
        return self.word in {"NO", "BAD", "BYE", "-ERR"} if self.word else self.code >= _TRANSIENT

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What a list of capabilities holds, as it was sent."""
        speaks_smtp = self.protocol in {Protocol.SMTP, Protocol.LMTP}
        return self.lines[1:] if speaks_smtp else self.lines  # the first line names the host (RFC 5321 section 4.1.1.1)

    def keyword(self, name: str) -> str | None:
        """Parameters of a capability by SMTP's name for it (STARTTLS, AUTH), None when it is not listed."""
        wanted = _ITS_OWN_NAMES.get(self.protocol, {}).get(name, name)
        found = [parameters for word, parameters in map(_capability, self.capabilities) if word == wanted]
        return " ".join(found) if found else None

    @property
    def logins(self) -> str | None:
        """The ways to log in that are offered: SASL mechanisms and a protocol's own command; None without any."""
        ways = [self.keyword("AUTH") or ""]
        if self.protocol is Protocol.IMAP and self.keyword("LOGINDISABLED") is None:  # RFC 9051 section 6.2.3
            ways.append("LOGIN")
        if self.protocol is Protocol.POP3 and self.keyword("USER") is not None:  # RFC 2449 section 6.3
            ways.append("USER")
        if self.protocol in {Protocol.SMTP, Protocol.LMTP}:  # the keyword alone offers something
            return self.keyword("AUTH")
        return " ".join(way for way in ways if way) or None


def _capability(line: str) -> tuple[str, str]:
    """Split into name and parameters; `AUTH=LOGIN` is IMAP's form, and old but alive in SMTP; Sieve quotes both."""
    word, _, parameters = line.replace('"', "").replace("=", " ", 1).partition(" ")
    return word.upper(), parameters


@dataclass(frozen=True, slots=True)
class Verification:
    """OpenSSL's word on the chain: `code` 0 is good (X509_V_OK), `depth` 0 is the leaf.

    `is_trial`: the chain is trusted, but the root is one of Let's Encrypt's staging CA. `is_public`: it leads to
    a root of the system, as strangers have them, and not only to one that was trusted beside these.
    """

    code: int = 0
    depth: int = 0
    words: str = ""
    is_trial: bool = False
    is_public: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """What the handshake agreed on; `chain` is DER as served, leaf first, never empty."""

    chain: tuple[bytes, ...]
    tls_version: str
    cipher: str
    verification: Verification = Verification()
