"""The clear-text and in-TLS talk with a mail server as a state machine without I/O.

Bytes go in by `receive`, bytes to send come out; a hostile server can only make it end with a named `Stop`. Each
protocol is one class of this shape; only SMTP has one yet.
"""

from typing import Final, Protocol

from mailtls.model.facts import Fault, Phase, Reply, Stop, quote, shorten

LINE_LIMIT: Final = 2048  # octets; RFC 5321 section 4.5.3.1.5 allows 512, real servers stretch it
REPLY_LIMIT: Final = 16384  # octets of one reply, all its lines together
CODE_LENGTH: Final = 3


class Dialog(Protocol):
    """A conversation that leads to TLS or takes place in it."""

    phase: Phase
    stop: Stop | None
    finished: bool
    replies: list[Reply]
    surplus: bytes  # came in one piece with the last reply, but behind it

    def begin(self) -> bytes:
        """Return what the client says first, empty when the server speaks first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return bytes to send; once `finished`, nothing is taken any more."""


class Garbled(Exception):
    """The server does not speak the protocol; says what was seen instead."""


class ReplyReader:
    """Cuts a stream into SMTP replies (RFC 5321 section 4.2.1); holds `LINE_LIMIT` + `REPLY_LIMIT` octets at most."""

    def __init__(self) -> None:
        self._pending = b""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes] | None:
        """Return the lines of one whole reply and the bytes behind it, None while more must come."""
        self._pending += data
        while (end := self._pending.find(b"\n")) >= 0:
            line, self._pending = self._pending[:end].removesuffix(b"\r"), self._pending[end + 1 :]
            if self._take(line):
                whole = self._lines, self._pending
                self._pending, self._lines, self._size = b"", [], 0
                return whole
        if len(self._pending) > LINE_LIMIT:
            raise Garbled(f"a line of more than {LINE_LIMIT} octets: {quote(self._pending[:60])}")
        return None

    def _take(self, line: bytes) -> bool:
        """Keep one line; True when it was the last of its reply."""
        self._size += len(line) + 1
        if len(line) > LINE_LIMIT or self._size > REPLY_LIMIT:
            raise Garbled(f"a reply of more than {REPLY_LIMIT} octets: {quote(line[:60])}")
        code, separator = line[:CODE_LENGTH], line[CODE_LENGTH : CODE_LENGTH + 1]
        if len(code) != CODE_LENGTH or not code.isdigit() or separator not in {b"", b" ", b"-"}:
            raise Garbled(quote(line) or "an empty line")
        if self._lines and self._lines[0][:CODE_LENGTH] != code:
            raise Garbled(f"two codes in one reply: {quote(line)}")
        self._lines.append(line)
        return separator != b"-"


class SmtpDialog:
    """Walks through `phases` of an SMTP session; `client_name` is what EHLO gives (RFC 5321 section 4.1.4)."""

    _EXPECTED: Final = {
        Phase.GREETING: 220,
        Phase.CAPABILITIES: 250,
        Phase.STARTTLS: 220,
        Phase.CAPABILITIES_IN_TLS: 250,
    }

    def __init__(self, client_name: str, phases: tuple[Phase, ...]) -> None:
        self.phase = phases[0]
        self.stop: Stop | None = None
        self.finished = False
        self.replies: list[Reply] = []
        self.surplus = b""
        self._ahead = list(phases[1:])
        self._ehlo = f"EHLO {client_name}\r\n".encode("ascii", "replace")
        self._reader = ReplyReader()

    @classmethod
    def before_tls(cls, client_name: str) -> "SmtpDialog":
        """Greeting, EHLO and STARTTLS (RFC 3207 section 4)."""
        return cls(client_name, (Phase.GREETING, Phase.CAPABILITIES, Phase.STARTTLS))

    @classmethod
    def after_starttls(cls, client_name: str) -> "SmtpDialog":
        """EHLO again, as all that was said before TLS is void (RFC 3207 section 4.2)."""
        return cls(client_name, (Phase.CAPABILITIES_IN_TLS,))

    @classmethod
    def inside_tls(cls, client_name: str) -> "SmtpDialog":
        """Greeting and EHLO of a port that began with TLS (RFC 8314 section 3.3)."""
        return cls(client_name, (Phase.GREETING, Phase.CAPABILITIES_IN_TLS))

    def begin(self) -> bytes:
        """Return the first command; empty where the server greets first."""
        return self._command()

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return the next command, empty when there is none (yet)."""
        if self.finished:
            return b""
        try:
            whole = self._reader.feed(data)
        except Garbled as seen:
            return self._end(Fault.GARBLED, str(seen))
        if whole is None:
            return b""
        lines, self.surplus = whole
        return self._answer(lines)

    def _answer(self, lines: list[bytes]) -> bytes:
        code = int(lines[0][:CODE_LENGTH])
        reply = Reply(self.phase, code, tuple(quote(line[CODE_LENGTH + 1 :]) for line in lines))
        self.replies.append(reply)
        if code != self._EXPECTED[self.phase]:
            return self._end(Fault.UNEXPECTED_REPLY, reply.text)
        if self.surplus and self.phase is not Phase.STARTTLS:
            return self._end(Fault.GARBLED, f"the server spoke out of turn: {quote(self.surplus)}")
        if not self._ahead:
            self.finished = True
            return b""
        self.phase = self._ahead.pop(0)
        if self.phase is Phase.STARTTLS and reply.keyword("STARTTLS") is None:
            return self._end(Fault.NOT_OFFERED, shorten(", ".join(reply.lines[1:])))
        return self._command()

    def _command(self) -> bytes:
        if self.phase is Phase.GREETING:
            return b""
        return b"STARTTLS\r\n" if self.phase is Phase.STARTTLS else self._ehlo

    def _end(self, fault: Fault, detail: str) -> bytes:
        self.finished, self.stop = True, Stop(self.phase, fault, shorten(detail))
        return b""
