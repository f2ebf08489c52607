"""IMAP as far as a probe goes (RFC 9051, RFC 3501)."""

from collections.abc import Sequence
from typing import Final

from mailtls.probe.facts import Phase, Reply
from mailtls.probe.protocols.dialog import Garbled
from mailtls.probe.target import Protocol
from mailtls.reasons.quoting import quote

_UNTAGGED: Final = b"*"
_TAGS: Final = {Phase.CAPABILITIES: b"a1", Phase.STARTTLS: b"a2", Phase.CAPABILITIES_IN_TLS: b"a3"}
_VERBS: Final = {
    Phase.CAPABILITIES: b"CAPABILITY",
    Phase.STARTTLS: b"STARTTLS",
    Phase.CAPABILITIES_IN_TLS: b"CAPABILITY",
}


class ImapGrammar:
    """`in_clear` says that STARTTLS is still ahead, which a server that greets by PREAUTH makes impossible."""

    line_limit = 8192  # what RFC 7162 section 4 has each side ready for
    unsolicited = b"* CAPABILITY "  # RFC 9051 section 7: clients accept untagged data at any time

    def __init__(self, *, in_clear: bool) -> None:
        self._greetings = {"OK"} if in_clear else {"OK", "PREAUTH"}

    def command(self, phase: Phase) -> bytes:
        """Return the tagged command of a phase; the server greets first (RFC 9051 section 7.1.4)."""
        return b"" if phase is Phase.GREETING else _TAGS[phase] + b" " + _VERBS[phase] + b"\r\n"

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the tagged line has come; a greeting is untagged, and BYE ends all (RFC 9051 section 7.1.5)."""
        tag, _, text = lines[-1].partition(b" ")
        word = _word(text)
        if phase is Phase.GREETING:
            if tag != _UNTAGGED or word not in {"OK", "PREAUTH", "BYE"}:
                raise Garbled(quote(lines[-1]) or "an empty line")
            return True
        if tag == _UNTAGGED:
            return word == "BYE"
        if tag != _TAGS[phase] or word not in {"OK", "NO", "BAD"}:
            raise Garbled(quote(lines[-1]) or "an empty line")
        return True

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read the last line's word, and the capabilities where the phase lists them."""
        _, _, last = lines[-1].partition(b" ")
        word, _, text = last.partition(b" ")
        texts: tuple[str, ...] = (quote(text),)
        if phase in {Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS} and _word(last) == "OK":
            texts = tuple(quote(name) for line in lines[:-1] for name in _capabilities(line))
        return Reply(phase, 0, texts, quote(word.upper()), Protocol.IMAP)

    def accepts(self, reply: Reply) -> bool:
        """Whether the server agrees."""
        return reply.word in (self._greetings if reply.phase is Phase.GREETING else {"OK"})


def _word(text: bytes) -> str:
    return text.partition(b" ")[0].upper().decode("ascii", "replace")


def _capabilities(line: bytes) -> list[bytes]:
    """Names in a line `* CAPABILITY ...`, none in any other (RFC 9051 section 7.2.2)."""
    words = line.split()
    return words[2:] if [word.upper() for word in words[:2]] == [_UNTAGGED, b"CAPABILITY"] else []
