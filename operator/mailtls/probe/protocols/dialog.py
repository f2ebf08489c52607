"""The dialog with a server of any protocol, as a state machine without I/O.

Bytes go in by `receive`, bytes to send come out; a hostile server can only make it end with a named `Stop`.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from mailtls.probe.facts import Fault, Phase, Reply, Stop
from mailtls.reasons.quoting import QUOTE_LIMIT, quote, shorten

REPLY_LIMIT: Final = 16384  # octets of one reply, all its lines together


class Garbled(Exception):
    """The server does not speak the protocol; says what was seen instead."""


class LineReader:
    """Lines end in LF, the CR before it is dropped; holds `line_limit` octets and one chunk at most."""

    def __init__(self, line_limit: int) -> None:
        self._limit = line_limit
        self._pending = b""
        self._size = 0  # of the reply so far

    @property
    def pending(self) -> bytes:
        """What came behind the last whole line, as far as it is worth quoting."""
        return self._pending[:QUOTE_LIMIT]

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        self._pending += data

    def line(self) -> bytes | None:
        """Return the next whole line, None while its end is missing; raises `Garbled` beyond the caps."""
        end = self._pending.find(b"\n")
        if max(end, 0) > self._limit or (end < 0 and len(self._pending) > self._limit):
            raise Garbled(f"a line of more than {self._limit} octets: {quote(self._pending[:60])}")
        if end < 0:
            return None
        line, self._pending = self._pending[:end].removesuffix(b"\r"), self._pending[end + 1 :]
        self._size += len(line) + 1
        if self._size > REPLY_LIMIT:
            raise Garbled(f"a reply of more than {REPLY_LIMIT} octets: {quote(line[:60])}")
        return line

    def rest(self) -> bytes:
        """Take what stands behind the last line of a reply, and begin a new reply."""
        rest, self._pending, self._size = self._pending, b"", 0
        return rest


class Grammar(Protocol):
    """The commands and replies of one protocol; serves one dialog."""

    line_limit: int  # octets of one line of the server
    unsolicited: bytes  # how a line begins that the server may send at any time; empty where there is none

    def command(self, phase: Phase) -> bytes:
        """Return what the client says in a phase, empty where the server speaks unasked."""

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the last of `lines` ends the reply; called once per line. Raises `Garbled`."""

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read a whole reply."""

    def accepts(self, reply: Reply) -> bool:
        """Whether the reply leads on to the next phase."""


_MUST_BE_OFFERED: Final = {Phase.STARTTLS: "STARTTLS", Phase.XCLIENT: "XCLIENT"}


class Dialog:
    """A conversation that leads to TLS or takes place in it: one phase after the other, each with one reply.

    `surplus` is what came in one piece with the last reply, but behind it. Once `finished`, nothing is taken any more.
    """

    def __init__(self, grammar: Grammar, phases: tuple[Phase, ...]) -> None:
        self.phase = phases[0]
        self.stop: Stop | None = None
        self.finished = False
        self.replies: list[Reply] = []
        self.surplus = b""
        self._ahead = list(phases[1:])
        self._grammar = grammar
        self._reader = LineReader(grammar.line_limit)
        self._lines: list[bytes] = []

    def begin(self) -> bytes:
        """Return the first command; empty where the server greets first."""
        return self._grammar.command(self.phase)

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the server, return the next command, empty when there is none (yet)."""
        if self.finished:
            return b""
        self._reader.feed(data)
        try:
            whole = self._listen()
        except Garbled as seen:
            return self._end(Fault.GARBLED, str(seen))
        return self._answer() if whole else b""

    @property
    def partial_reply(self) -> str:
        """How an unfinished reply began, quoted; empty where nothing came."""
        return quote(self._lines[0] if self._lines else self._reader.pending)

    def _listen(self) -> bool:
        """Take lines until the reply is whole; False while more must come."""
        while (line := self._reader.line()) is not None:
            self._lines.append(line)
            if self._grammar.is_whole(self.phase, self._lines):
                self.surplus = self._reader.rest()
                return True
        return False

    def _answer(self) -> bytes:
        reply, self._lines = self._grammar.reply(self.phase, self._lines), []
        self.replies.append(reply)
        if not self._grammar.accepts(reply):
            return self._end(Fault.UNEXPECTED_REPLY, reply.text)
        if self.surplus and self.phase is not Phase.STARTTLS:
            if not self._is_unsolicited(self.surplus):
                return self._end(Fault.GARBLED, f"the server spoke out of turn: {quote(self.surplus)}")
            self._reader.feed(self.surplus)
        if not self._ahead:
            self.finished = True
            return b""
        return self._go_on(reply)

    def _is_unsolicited(self, data: bytes) -> bool:
        return bool(self._grammar.unsolicited) and data.startswith(self._grammar.unsolicited)

    def _go_on(self, reply: Reply) -> bytes:
        self.phase = self._ahead.pop(0)
        if self.phase in _MUST_BE_OFFERED and reply.keyword(_MUST_BE_OFFERED[self.phase]) is None:
            return self._end(Fault.NOT_OFFERED, ", ".join(reply.capabilities))
        return self._grammar.command(self.phase)

    def _end(self, fault: Fault, detail: str) -> bytes:
        self.finished, self.stop = True, Stop(self.phase, fault, shorten(detail))
        self._lines = []
        return b""
