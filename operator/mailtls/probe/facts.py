"""What one probe saw and received, before anybody judged it: phases, replies, sessions, and extra connections."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from mailtls.probe.target import Endpoint, Expected, Protocol, Target
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


_LIMIT = re.compile(
    r"too many (new |concurrent |simultaneous |open )?(smtp |imap |pop3? |tls )?(connections|sessions|clients)"
    r"|(connection|session)s? (rate )?limit|maximum (number of )?(connections|sessions)",
    re.IGNORECASE,
)
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
        return self.is_refusal and not self.is_transient and not self.is_parting

    @property
    def is_parting(self) -> bool:
        """Whether it shuts down on a client that it had greeted: BYE without a code (RFC 9051 section 7.1.5)."""
        return self.word == "BYE" and self.phase is not Phase.GREETING and self.text[4:5] not in {"[", "("}

    @property
    def is_refusal(self) -> bool:
        """Whether the server says no, for now or for good."""
        return self.word in {"NO", "BAD", "BYE", "-ERR"} if self.word else self.code >= _TRANSIENT

    @property
    def names_a_limit(self) -> bool:
        """Whether the server says no as too many connections are open, by whatever code."""
        return self.is_refusal and _LIMIT.search(self.text) is not None

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


REFUSALS: Final = frozenset({Fault.TLS_REFUSED, Fault.NO_SHARED_VERSION, Fault.CLOSED})


class Question(StrEnum):
    """One extra connection each; the value says what the client did in it."""

    NO_SNI = "no SNI"
    UNKNOWN_SNI = "SNI of an unknown name"
    ECDSA = "ECDSA certificates only"
    RSA = "RSA certificates only"
    TLS_1_0 = "TLS 1.0 only"
    TLS_1_1 = "TLS 1.1 only"
    TLS_1_2 = "TLS 1.2 only"
    TLS_1_3 = "TLS 1.3 only"
    RESUMED_1_2 = "resumption of TLS 1.2"
    RESUMED_1_3 = "resumption of TLS 1.3"


@dataclass(frozen=True, slots=True)
class InjectedCommand:
    """A harmless command that is sent in one piece with STARTTLS, and how the answer begins if it is carried out."""

    command: bytes
    answer_prefix: str


INJECTED_COMMANDS: Final[Mapping[Protocol, InjectedCommand]] = MappingProxyType(
    {
        Protocol.SMTP: InjectedCommand(b"NOOP\r\n", "250"),
        Protocol.LMTP: InjectedCommand(b"NOOP\r\n", "250"),
        Protocol.IMAP: InjectedCommand(b"b1 NOOP\r\n", "b1 OK"),
        Protocol.POP3: InjectedCommand(b"CAPA\r\n", "+OK"),  # NOOP is for those who have logged in (RFC 1939 section 5)
        Protocol.SIEVE: InjectedCommand(b'NOOP "mailtls"\r\n', "OK (TAG"),  # a mere OK ends the capabilities (RFC 5804)
    }
)
Outcome: TypeAlias = Session | Stop


class LoginOutcome(StrEnum):
    """What came of a trial login."""

    ACCEPTED = "Accepted"
    REFUSED = "Refused"
    UNAVAILABLE = "Unavailable"  # for now, whatever the password
    TLS_WANTED = "TlsWanted"  # although TLS is there
    NOT_OFFERED = "NotOffered"  # no way to log in that we know
    UNPROVEN = "Unproven"  # not tried, as the server did not prove who it is
    NOT_REACHED = "NotReached"  # not tried, as the conversation ended before
    INCOMPLETE = "Incomplete"


@dataclass(frozen=True, slots=True)
class Login:
    """One trial login; `said` is why it ended so: of an answer to the credentials the codes alone."""

    outcome: LoginOutcome
    said: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """All answers; a question that is missing was not put, or its answer says nothing (no connection, time-out).

    `weak_ciphers` are families that the server took when offered nothing better. `injected` is what it said unasked
    inside TLS after a command that came in clear, in one piece with STARTTLS (None: not tried). `names` is what the
    other names of the certificate led to, each sent as SNI, and `second_names` the same for clients that accept the
    other type of key alone, where the server has both; `unprobed` are those that were not reached. `cut_short` is how
    the server turned further connections away, if it did.
    """

    answers: Mapping[Question, Outcome] = field(default_factory=dict)
    weak_ciphers: tuple[str, ...] = ()
    injected: str | None = None
    login: Login | None = None
    names: Mapping[str, Outcome] = field(default_factory=dict)
    second_names: Mapping[str, Session] = field(default_factory=dict)
    unprobed: tuple[str, ...] = ()
    cut_short: Stop | None = None

    def session(self, question: Question) -> Session | None:
        """The session that a question led to."""
        answer = self.answers.get(question)
        return answer if isinstance(answer, Session) else None

    def refusal(self, question: Question) -> Stop | None:
        """How the server turned the handshake of a question down; None also where that is not known."""
        answer = self.answers.get(question)
        if not isinstance(answer, Stop) or answer.phase is not Phase.HANDSHAKE or answer.fault not in REFUSALS:
            return None
        return answer


@dataclass(frozen=True, slots=True)
class Clues:
    """What further connections showed of a conversation that ended without a word.

    `tls_first`: a STARTTLS port that sent no greeting answered a ClientHello, `is_mesh` with the certificate of a
    service mesh; `prompted` is what it said in clear text instead, quoted. `wants_proxy_header`: it speaks to who sends
    a header of the PROXY protocol. `takes_short_hello`: TLS works with a short ClientHello of TLS 1.2.
    """

    tls_first: bool = False
    is_mesh: bool = False
    prompted: str = ""
    wants_proxy_header: bool = False
    takes_short_hello: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one probe learned; `stop` is None when the conversation reached its end.

    `inspection` is what a probe of more depth found out besides.
    """

    stop: Stop | None = None
    replies: tuple[Reply, ...] = ()
    session: Session | None = None
    clues: Clues = Clues()
    inspection: Inspection | None = None

    def reply(self, phase: Phase) -> Reply | None:
        """What the server answered in a phase, the last time after XCLIENT; None when it was not reached."""
        return next((reply for reply in reversed(self.replies) if reply.phase is phase), None)

    def stopped(self, *phases: Phase) -> Stop | None:
        """The stop, if it was in one of `phases`."""
        return self.stop if self.stop is not None and self.stop.phase in phases else None


Judge: TypeAlias = Callable[[Target, Expected, Facts, datetime], Endpoint]
