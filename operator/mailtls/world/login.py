"""A trial login as a state machine without I/O: PLAIN where it is offered, else the protocol's own way.

Only for use inside TLS, with a server that has proven who it is. A server may repeat what it heard: the answer that is
kept never holds the password.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from mailtls.model.credentials import Credentials
from mailtls.model.facts import Reply, quote
from mailtls.model.inspection import Login, LoginOutcome
from mailtls.model.spec import Protocol
from mailtls.world.dialogs.lines import Garbled, LineReader

_LINE_LIMIT: Final = 8192
_TAG: Final = "l1"
_CODE_LENGTH: Final = 3
_MAIL: Final = frozenset({Protocol.SMTP, Protocol.LMTP})
_VERDICTS: Final[Mapping[Protocol, Mapping[str, LoginOutcome | None]]] = MappingProxyType(
    {  # by how a line begins, the first that fits; None: go on
        Protocol.SMTP: {  # RFC 4954 section 6
            "334": None,
            "235": LoginOutcome.ACCEPTED,
            "530": LoginOutcome.TLS_WANTED,
            "538": LoginOutcome.TLS_WANTED,
            "": LoginOutcome.REFUSED,
        },
        Protocol.IMAP: {  # RFC 9051 section 6.2, RFC 5530 section 3
            "+": None,
            f"{_TAG} OK": LoginOutcome.ACCEPTED,
            f"{_TAG} NO [PRIVACYREQUIRED]": LoginOutcome.TLS_WANTED,
            _TAG: LoginOutcome.REFUSED,
            "* BYE": LoginOutcome.REFUSED,
        },
        Protocol.POP3: {"+": None, "-ERR": LoginOutcome.REFUSED},  # RFC 1939 section 7, RFC 5034 section 4
        Protocol.SIEVE: {  # RFC 5804 section 2.1
            "OK": LoginOutcome.ACCEPTED,
            "NO (ENCRYPT-NEEDED)": LoginOutcome.TLS_WANTED,
            "NO": LoginOutcome.REFUSED,
            "BYE": LoginOutcome.REFUSED,
        },
    }
)


class LoginDialog:
    """Feeds the server one line after the other and stops at its verdict."""

    def __init__(self, protocol: Protocol, credentials: Credentials, listed: Reply | None) -> None:
        self._protocol, self._credentials = protocol, credentials
        self._steps = _steps(protocol, credentials, listed)
        self._reader = LineReader(_LINE_LIMIT)
        self.result: Login | None = None

    def begin(self) -> bytes:
        """Return the first command; empty where no way to log in is offered, and then there is a result at once."""
        return self._next(LoginOutcome.NOT_OFFERED, "")

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return bytes to send; once there is a result, nothing is taken any more."""
        self._reader.feed(data)
        try:
            while self.result is None and (line := self._reader.line()) is not None:
                if answer := self._answer(line):
                    return answer
        except Garbled as seen:
            self.result = Login(LoginOutcome.BROKEN_OFF, str(seen).partition(":")[0])  # the quotation may cut a secret
        return b""

    def _answer(self, line: bytes) -> bytes:
        text, said = line.decode("ascii", "replace").upper(), quote(self._withheld(line))
        if self._protocol in _MAIL and line[_CODE_LENGTH : _CODE_LENGTH + 1] == b"-":
            return b""
        for beginning, outcome in _VERDICTS[self._protocol].items():
            if text.startswith(beginning.upper()):
                if outcome is None:
                    return self._next(_at_the_end(self._protocol, text), said)
                self.result = Login(outcome, said)
                return b""
        return b""  # untagged, or a capability: the verdict is still to come

    def _next(self, otherwise: LoginOutcome, said: str) -> bytes:
        step = next(self._steps, b"")
        if not step:
            self.result = Login(otherwise, said)
        return step

    def _withheld(self, line: bytes) -> bytes:
        """Take the password out before the line is made printable and cut, which would leave parts of it."""
        password = self._credentials.password
        for secret in (_plain(self._credentials), _base64(password), _quoted(password)[1:-1], password):
            line = line.replace(secret.encode(), b"(withheld)") if secret else line
        return line


def _at_the_end(protocol: Protocol, text: str) -> LoginOutcome:
    """What it means to be asked for more when all was said: only POP3 agrees by the word that asks, too."""
    agrees = protocol is Protocol.POP3 and text.startswith("+OK")
    return LoginOutcome.ACCEPTED if agrees else LoginOutcome.BROKEN_OFF


def _steps(protocol: Protocol, whom: Credentials, listed: Reply | None) -> Iterator[bytes]:
    """What to send, each when the server wants more; nothing where it offers no way that we know."""
    ways = frozenset((listed.logins or "").upper().split()) if listed else frozenset()
    lines = _WAYS[protocol](ways, whom)
    return (line.encode() + b"\r\n" for line in lines)


def _smtp(ways: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in ways:
        return (f"AUTH PLAIN {_plain(whom)}",)
    return ("AUTH LOGIN", _base64(whom.username), _base64(whom.password)) if "LOGIN" in ways else ()


def _imap(ways: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in ways:
        return f"{_TAG} AUTHENTICATE PLAIN", _plain(whom)
    return (f"{_TAG} LOGIN {_quoted(whom.username)} {_quoted(whom.password)}",) if "LOGIN" in ways else ()


def _pop3(ways: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in ways:
        return "AUTH PLAIN", _plain(whom)
    return (f"USER {whom.username}", f"PASS {whom.password}") if "USER" in ways else ()


def _sieve(ways: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    return (f'AUTHENTICATE "PLAIN" "{_plain(whom)}"',) if "PLAIN" in ways else ()


_WAYS: Final = MappingProxyType(
    {Protocol.SMTP: _smtp, Protocol.IMAP: _imap, Protocol.POP3: _pop3, Protocol.SIEVE: _sieve}
)


def can_log_in(protocol: Protocol) -> bool:
    """Whether people log in by this protocol; nobody does by LMTP."""
    return protocol in _WAYS


def _plain(whom: Credentials) -> str:
    """The one message of SASL PLAIN (RFC 4616 section 2)."""
    return _base64(f"\0{whom.username}\0{whom.password}")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _quoted(text: str) -> str:
    """An IMAP quoted string (RFC 9051 section 4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
