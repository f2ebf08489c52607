"""ManageSieve as far as a probe goes (RFC 5804)."""

import re
from collections.abc import Sequence
from typing import Final

from mailtls.probe.facts import Phase, Reply
from mailtls.probe.protocols.dialog import Garbled
from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import quote

_COMMANDS: Final = {
    Phase.GREETING: b"",
    Phase.CAPABILITIES: b"CAPABILITY\r\n",
    Phase.STARTTLS: b"STARTTLS\r\n",
}
_LITERAL: Final = re.compile(rb"\{(\d{1,6})\+?\}$")  # RFC 5804 section 4: a string by its length, on the next lines
_ENDS: Final = frozenset({"OK", "NO", "BYE"})


class SieveGrammar:
    """A reply is any number of capability lines and a last one with OK, NO or BYE.

    `unsolicited` says that the capabilities come by themselves, as they do after STARTTLS (RFC 5804 section 2.2).
    """

    line_limit = 8192  # the line "SIEVE" names every extension of the language
    unsolicited = b""

    def __init__(self, *, unsolicited: bool) -> None:
        self._asks_in_tls = b"" if unsolicited else b"CAPABILITY\r\n"
        self._missing = -1  # octets of a literal that are still to come; -1 outside of one
        self._end: int | None = None  # the place of the line with the verdict

    def command(self, phase: Phase) -> bytes:
        """Return the command of a phase; the server greets with its capabilities (RFC 5804 section 1.7)."""
        return self._asks_in_tls if phase is Phase.CAPABILITIES_IN_TLS else _COMMANDS[phase]

    def is_whole(self, _phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the line with the verdict has come (RFC 5804 section 1.2)."""
        line = lines[-1]
        if self._missing < 0:
            if len(lines) == 1:
                self._end = None
            if _word(line) in _ENDS:
                self._end = len(lines) - 1
            elif not line.startswith((b'"', b"{")):  # a quoted string or a literal
                raise Garbled(quote(line) or "an empty line")
        elif self._missing > len(line):
            self._missing -= len(line) + 2  # the line's end belongs to the literal
            return False
        literal = _LITERAL.search(line)
        self._missing = int(literal[1]) if literal else -1
        return self._end is not None and self._missing < 0

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read the verdict and the capabilities, or the verdict's text where there are none."""
        last = self._end or 0
        word, _, text = lines[last].partition(b" ")
        capabilities = tuple(quote(line) for line in lines[:last])
        explained = quote(b" ".join([text, *lines[last + 1 :]]))
        return Reply(phase, 0, capabilities or (explained,), _word(word), Protocol.SIEVE)

    def accepts(self, reply: Reply) -> bool:
        """Whether the server agrees."""
        return reply.word == "OK"


def _word(line: bytes) -> str:
    return line.partition(b" ")[0].upper().decode("ascii", "replace")
