"""POP3 as far as a probe goes (RFC 1939, RFC 2449, RFC 2595)."""

from collections.abc import Sequence
from typing import Final

from mailtls.probe.facts import Phase, Reply
from mailtls.probe.protocols.dialog import Garbled
from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import quote

_COMMANDS: Final = {
    Phase.GREETING: b"",
    Phase.CAPABILITIES: b"CAPA\r\n",
    Phase.STARTTLS: b"STLS\r\n",
    Phase.CAPABILITIES_IN_TLS: b"CAPA\r\n",
}
_LISTS: Final = frozenset({Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS})
_GOOD, _BAD = "+OK", "-ERR"


class Pop3Grammar:
    """Answers are one line, a good one to CAPA is a list that ends in a dot."""

    line_limit = 2048  # RFC 2449 section 4 allows 512, as SMTP does
    unsolicited = b""

    def command(self, phase: Phase) -> bytes:
        """Return the command of a phase; the server greets first (RFC 1939 section 4)."""
        return _COMMANDS[phase]

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the answer has come, with its list where there is one (RFC 1939 section 3)."""
        first = _word(lines[0])
        if first not in {_GOOD, _BAD}:
            raise Garbled(quote(lines[0]) or "an empty line")
        return first == _BAD or phase not in _LISTS or lines[-1] == b"."

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read the indicator and the text or the list (RFC 2449 section 5)."""
        word, _, text = lines[0].partition(b" ")
        listed = phase in _LISTS and _word(lines[0]) == _GOOD
        texts = tuple(quote(line.removeprefix(b".")) for line in lines[1:-1]) if listed else (quote(text),)
        return Reply(phase, 0, texts, quote(word.upper()), Protocol.POP3)

    def accepts(self, reply: Reply) -> bool:
        """Whether the server agrees."""
        return reply.word == _GOOD


def _word(line: bytes) -> str:
    return line.partition(b" ")[0].upper().decode("ascii", "replace")
