"""What one probe found out, before it is judged: by the conversation and by extra connections."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from mailtls.probe.replies import Fault, Phase, Reply, Session, Stop
from mailtls.probe.target import Endpoint, Expected, Protocol, Target

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
    other names of the certificate led to, each sent as SNI; `unprobed` are those that were not reached.
    """

    answers: Mapping[Question, Outcome] = field(default_factory=dict)
    weak_ciphers: tuple[str, ...] = ()
    injected: str | None = None
    login: Login | None = None
    names: Mapping[str, Outcome] = field(default_factory=dict)
    unprobed: tuple[str, ...] = ()

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
class Facts:
    """Everything one probe learned; `stop` is None when the conversation reached its end.

    `tls_first` says that a STARTTLS port which sent no greeting answered a ClientHello. `inspection` is what a probe
    of more depth found out besides.
    """

    stop: Stop | None = None
    replies: tuple[Reply, ...] = ()
    session: Session | None = None
    tls_first: bool = False
    inspection: Inspection | None = None

    def reply(self, phase: Phase) -> Reply | None:
        """What the server answered in a phase, the last time after XCLIENT; None when it was not reached."""
        return next((reply for reply in reversed(self.replies) if reply.phase is phase), None)

    def stopped(self, *phases: Phase) -> Stop | None:
        """The stop, if it was in one of `phases`."""
        return self.stop if self.stop is not None and self.stop.phase in phases else None


Judge: TypeAlias = Callable[[Target, Expected, Facts, datetime], Endpoint]
