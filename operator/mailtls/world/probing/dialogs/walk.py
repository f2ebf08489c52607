"""Leads a server of any protocol through the phases of a dialog."""

from typing import Final

from mailtls.model.probe.talk import Fault, Phase, Reply, Stop
from mailtls.model.quoting import quote, shorten
from mailtls.world.probing.dialogs.dialog import Grammar
from mailtls.world.probing.dialogs.lines import Garbled, LineReader

_MUST_BE_OFFERED: Final = {Phase.STARTTLS: "STARTTLS", Phase.XCLIENT: "XCLIENT"}


class Walk:
    """Implements `Dialog`: one phase after the other, each with one reply that must be as its grammar wants it."""

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
    def heard(self) -> str:
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
            return self._end(Fault.GARBLED, f"the server spoke out of turn: {quote(self.surplus)}")
        if not self._ahead:
            self.finished = True
            return b""
        return self._go_on(reply)

    def _go_on(self, reply: Reply) -> bytes:
        self.phase = self._ahead.pop(0)
        if self.phase in _MUST_BE_OFFERED and reply.keyword(_MUST_BE_OFFERED[self.phase]) is None:
            return self._end(Fault.NOT_OFFERED, ", ".join(reply.capabilities))
        return self._grammar.command(self.phase)

    def _end(self, fault: Fault, detail: str) -> bytes:
        self.finished, self.stop = True, Stop(self.phase, fault, shorten(detail))
        self._lines = []
        return b""
