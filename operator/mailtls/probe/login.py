"""A trial login as a state machine without I/O: PLAIN where it is offered, else the protocol's own command.

Only for use inside TLS, with a server that has shown who it is. A server may repeat what it was sent, changed as it
likes: of an answer to a password only the codes are kept.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from mailtls.probe.facts import Login, LoginOutcome, Phase, Reply
from mailtls.probe.protocols.dialog import Garbled, LineReader
from mailtls.probe.target import Credentials, Protocol

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
            "4": LoginOutcome.REFUSED,
            "5": LoginOutcome.REFUSED,
            "": LoginOutcome.INCOMPLETE,
        },
        Protocol.IMAP: {  # RFC 9051 section 6.2, RFC 5530 section 3
            "+": None,
            f"{_TAG} OK": LoginOutcome.ACCEPTED,
            f"{_TAG} NO [PRIVACYREQUIRED]": LoginOutcome.TLS_WANTED,
            _TAG: LoginOutcome.REFUSED,
            "* BYE": LoginOutcome.REFUSED,
        },
        Protocol.POP3: {  # RFC 1939 section 7, RFC 5034 section 4
            "+": None,
            "-ERR [IN-USE]": LoginOutcome.ACCEPTED,  # "the authentication was successful" (RFC 2449 section 8.1.1)
            "-ERR": LoginOutcome.REFUSED,
        },
        Protocol.SIEVE: {  # RFC 5804 section 2.1
            "OK": LoginOutcome.ACCEPTED,
            "NO (ENCRYPT-NEEDED)": LoginOutcome.TLS_WANTED,
            "NO": LoginOutcome.REFUSED,
            "BYE": LoginOutcome.REFUSED,
        },
    }
)
_STATUS: Final = re.compile(rf"\d{{3}}|(?:{_TAG.upper()} |\* )?(OK|NO|BAD|BYE)\b|-ERR|\+OK|\+")
_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")  # RFC 3463 section 2
_RESPONSE_CODE: Final = re.compile(r"[\[(]([A-Z/-]+)[ \])]")
_KNOWN_CODES: Final = frozenset(
    {"UNAVAILABLE", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED"}  # RFC 5530 section 3
    | {"CONTACTADMIN", "NOPERM", "INUSE", "SERVERBUG", "CLIENTBUG", "LIMIT", "ALERT"}
    | {"SYS/TEMP", "SYS/PERM", "AUTH", "IN-USE", "LOGIN-DELAY"}  # RFC 3206 section 4, RFC 2449 section 8
    | {"AUTH-TOO-WEAK", "ENCRYPT-NEEDED", "TRYLATER"}  # RFC 5804 section 1.3
)


class LoginDialog:
    """Feeds the server one line after the other and stops at its verdict."""

    def __init__(self, protocol: Protocol, credentials: Credentials, listed: Reply | None) -> None:
        self._protocol, self._credentials = protocol, credentials
        self._steps = _steps(protocol, credentials, listed)
        self._reader = LineReader(_LINE_LIMIT)
        self.result: Login | None = None

    def begin(self) -> bytes:
        """Return the first command; empty where no known mechanism is offered, and then there is a result at once."""
        return self._next(LoginOutcome.NOT_OFFERED, "")

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return bytes to send; once there is a result, nothing is taken any more."""
        self._reader.feed(data)
        try:
            while self.result is None and (line := self._reader.line()) is not None:
                if answer := self._answer(line):
                    return answer
        except Garbled as seen:
            self.result = Login(LoginOutcome.INCOMPLETE, str(seen).partition(":")[0])  # without the quotation
        return b""

    def _answer(self, line: bytes) -> bytes:
        text, reply = line.decode("ascii", "replace").upper(), _reply(line, self._protocol)
        if self._protocol in _MAIL and line[_CODE_LENGTH : _CODE_LENGTH + 1] == b"-":
            return b""
        for beginning, outcome in _VERDICTS[self._protocol].items():
            if text.startswith(beginning.upper()):
                if outcome is None:
                    return self._next(_at_the_end(self._protocol, text), reply.text)
                is_for_now = outcome is LoginOutcome.REFUSED and reply.is_transient
                self.result = Login(LoginOutcome.UNAVAILABLE if is_for_now else outcome, reply.text)
                return b""
        return b""  # untagged, or a capability: the verdict is still to come

    def _next(self, otherwise: LoginOutcome, said: str) -> bytes:
        step = next(self._steps, b"")
        if not step:
            self.result = Login(otherwise, said)
        return step


def _reply(line: bytes, protocol: Protocol) -> Reply:
    """Read the codes of an answer, and none of its words."""
    text = line.decode("ascii", "replace").upper()
    found = _STATUS.match(text)
    status, rest = (found[1] or found[0], text[found.end() :].lstrip(" -")) if found else ("", "")
    if status.isdigit():
        code = _ENHANCED.match(rest)
        return Reply(Phase.CAPABILITIES_IN_TLS, int(status), (code[0],) if code else ())
    code = _RESPONSE_CODE.match(rest)
    lines = (f"[{code[1]}]",) if code and code[1] in _KNOWN_CODES else ()
    return Reply(Phase.CAPABILITIES_IN_TLS, 0, lines, status or "no reply of the protocol", protocol)


def _at_the_end(protocol: Protocol, text: str) -> LoginOutcome:
    """What it means when the server wants more after all was sent: POP3 agrees by the same word."""
    agrees = protocol is Protocol.POP3 and text.startswith("+OK")
    return LoginOutcome.ACCEPTED if agrees else LoginOutcome.INCOMPLETE


def _steps(protocol: Protocol, whom: Credentials, listed: Reply | None) -> Iterator[bytes]:
    """What to send, each when the server wants more; nothing where it offers no mechanism that we know."""
    mechanisms = frozenset((listed.logins or "").upper().split()) if listed else frozenset()
    lines = _COMMANDS[protocol](mechanisms, whom)
    return (line.encode() + b"\r\n" for line in lines)


def _smtp(mechanisms: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in mechanisms:
        return (f"AUTH PLAIN {_plain(whom)}",)
    return ("AUTH LOGIN", _base64(whom.username), _base64(whom.password)) if "LOGIN" in mechanisms else ()


def _imap(mechanisms: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in mechanisms:
        return f"{_TAG} AUTHENTICATE PLAIN", _plain(whom)
    return (f"{_TAG} LOGIN {_quoted(whom.username)} {_quoted(whom.password)}",) if "LOGIN" in mechanisms else ()


def _pop3(mechanisms: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    if "PLAIN" in mechanisms:
        return "AUTH PLAIN", _plain(whom)
    return (f"USER {whom.username}", f"PASS {whom.password}") if "USER" in mechanisms else ()


def _sieve(mechanisms: frozenset[str], whom: Credentials) -> tuple[str, ...]:
    return (f'AUTHENTICATE "PLAIN" "{_plain(whom)}"',) if "PLAIN" in mechanisms else ()


_COMMANDS: Final = MappingProxyType(
    {Protocol.SMTP: _smtp, Protocol.IMAP: _imap, Protocol.POP3: _pop3, Protocol.SIEVE: _sieve}
)


def _plain(whom: Credentials) -> str:
    """The one message of SASL PLAIN (RFC 4616 section 2)."""
    return _base64(f"\0{whom.username}\0{whom.password}")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _quoted(text: str) -> str:
    """An IMAP quoted string (RFC 9051 section 4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
