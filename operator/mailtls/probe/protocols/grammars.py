"""Each protocol as far as a probe goes, a class each, and which one is spoken on a port."""

import re
from collections.abc import Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Final

from mailtls.probe.facts import Phase, Reply
from mailtls.probe.protocols.dialog import Dialog, Garbled, Grammar
from mailtls.probe.target import Port, Protocol
from mailtls.reasons.quoting import quote

CODE_LENGTH: Final = 3


class SmtpGrammar:
    """`client_name` is what EHLO and LHLO give (RFC 5321 section 4.1.4), `xclient_address` what XCLIENT claims."""

    line_limit = 2048  # RFC 5321 section 4.5.3.1.5 allows 512, real servers stretch it
    unsolicited = b""

    _EXPECTED: Final = {
        Phase.GREETING: 220,
        Phase.CAPABILITIES: 250,
        Phase.XCLIENT: 220,  # in place of a second greeting (Postfix XCLIENT_README)
        Phase.STARTTLS: 220,
        Phase.CAPABILITIES_IN_TLS: 250,
    }

    def __init__(self, client_name: str, protocol: Protocol, xclient_address: str | None = None) -> None:
        self._protocol = protocol
        hello = f"{'LHLO' if protocol is Protocol.LMTP else 'EHLO'} {client_name}\r\n".encode("ascii", "replace")
        self._commands = {
            Phase.GREETING: b"",
            Phase.CAPABILITIES: hello,
            Phase.XCLIENT: _xclient(xclient_address) if xclient_address else b"",
            Phase.STARTTLS: b"STARTTLS\r\n",
            Phase.CAPABILITIES_IN_TLS: hello,
        }

    def command(self, phase: Phase) -> bytes:
        """Return the command of a phase; the server greets first (RFC 5321 section 3.1)."""
        return self._commands[phase]

    def is_whole(self, _phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether no hyphen follows the code (RFC 5321 section 4.2.1)."""
        line = lines[-1]
        code, separator = line[:CODE_LENGTH], line[CODE_LENGTH : CODE_LENGTH + 1]
        if len(code) != CODE_LENGTH or not code.isdigit() or separator not in {b"", b" ", b"-"}:
            raise Garbled(quote(line) or "an empty line")
        if lines[0][:CODE_LENGTH] != code:
            raise Garbled(f"two codes in one reply: {quote(line)}")
        return separator != b"-"

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read code and texts."""
        texts = tuple(quote(line[CODE_LENGTH + 1 :]) for line in lines)
        return Reply(phase, int(lines[0][:CODE_LENGTH]), texts, protocol=self._protocol)

    def accepts(self, reply: Reply) -> bool:
        """Whether the code is the phase's one good code."""
        return reply.code == self._EXPECTED[reply.phase]


def _xclient(address: str) -> bytes:
    """Claim to come from `address`, without a name (Postfix XCLIENT_README: IPv6 addresses have a prefix)."""
    prefix = "IPV6:" if ip_address(address).version == 6 else ""  # noqa: PLR2004 - the version's number
    return f"XCLIENT NAME=[UNAVAILABLE] ADDR={prefix}{address}\r\n".encode()


_IMAP_UNTAGGED: Final = b"*"
_IMAP_TAGS: Final = {Phase.CAPABILITIES: b"a1", Phase.STARTTLS: b"a2", Phase.CAPABILITIES_IN_TLS: b"a3"}
_IMAP_VERBS: Final = {
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
        return b"" if phase is Phase.GREETING else _IMAP_TAGS[phase] + b" " + _IMAP_VERBS[phase] + b"\r\n"

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the tagged line has come; a greeting is untagged, and BYE ends all (RFC 9051 section 7.1.5)."""
        tag, _, text = lines[-1].partition(b" ")
        word = _word(text)
        if phase is Phase.GREETING:
            if tag != _IMAP_UNTAGGED or word not in {"OK", "PREAUTH", "BYE"}:
                raise Garbled(quote(lines[-1]) or "an empty line")
            return True
        if tag == _IMAP_UNTAGGED:
            return word == "BYE"
        if tag != _IMAP_TAGS[phase] or word not in {"OK", "NO", "BAD"}:
            raise Garbled(quote(lines[-1]) or "an empty line")
        return True

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read the last line's word, and the capabilities where the phase lists them."""
        _, _, last = lines[-1].partition(b" ")
        word, _, text = last.partition(b" ")
        texts: tuple[str, ...] = (quote(text),)
        if phase in {Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS} and _word(last) == "OK":
            texts = tuple(quote(name) for line in lines[:-1] for name in _imap_capabilities(line))
        return Reply(phase, 0, texts, quote(word.upper()), Protocol.IMAP)

    def accepts(self, reply: Reply) -> bool:
        """Whether the server agrees."""
        return reply.word in (self._greetings if reply.phase is Phase.GREETING else {"OK"})


def _word(line: bytes) -> str:
    return line.partition(b" ")[0].upper().decode("ascii", "replace")


def _imap_capabilities(line: bytes) -> list[bytes]:
    """Names in a line `* CAPABILITY ...`, none in any other (RFC 9051 section 7.2.2)."""
    words = line.split()
    return words[2:] if [word.upper() for word in words[:2]] == [_IMAP_UNTAGGED, b"CAPABILITY"] else []


_POP3_COMMANDS: Final = {
    Phase.GREETING: b"",
    Phase.CAPABILITIES: b"CAPA\r\n",
    Phase.STARTTLS: b"STLS\r\n",
    Phase.CAPABILITIES_IN_TLS: b"CAPA\r\n",
}
_POP3_LISTS: Final = frozenset({Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS})
_POP3_GOOD, _POP3_BAD = "+OK", "-ERR"


class Pop3Grammar:
    """Answers are one line, a good one to CAPA is a list that ends in a dot."""

    line_limit = 2048  # RFC 2449 section 4 allows 512, as SMTP does
    unsolicited = b""

    def command(self, phase: Phase) -> bytes:
        """Return the command of a phase; the server greets first (RFC 1939 section 4)."""
        return _POP3_COMMANDS[phase]

    def is_whole(self, phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the answer has come, with its list where there is one (RFC 1939 section 3)."""
        first = _word(lines[0])
        if first not in {_POP3_GOOD, _POP3_BAD}:
            raise Garbled(quote(lines[0]) or "an empty line")
        return first == _POP3_BAD or phase not in _POP3_LISTS or lines[-1] == b"."

    def reply(self, phase: Phase, lines: Sequence[bytes]) -> Reply:
        """Read the indicator and the text or the list (RFC 2449 section 5)."""
        word, _, text = lines[0].partition(b" ")
        listed = phase in _POP3_LISTS and _word(lines[0]) == _POP3_GOOD
        texts = tuple(quote(line.removeprefix(b".")) for line in lines[1:-1]) if listed else (quote(text),)
        return Reply(phase, 0, texts, quote(word.upper()), Protocol.POP3)

    def accepts(self, reply: Reply) -> bool:
        """Whether the server agrees."""
        return reply.word == _POP3_GOOD


_SIEVE_COMMANDS: Final = {
    Phase.GREETING: b"",
    Phase.CAPABILITIES: b"CAPABILITY\r\n",
    Phase.STARTTLS: b"STARTTLS\r\n",
}
_SIEVE_LITERAL: Final = re.compile(
    rb"\{(\d{1,6})\+?\}$"
)  # RFC 5804 section 4: a string by its length, on the next lines
_SIEVE_ENDS: Final = frozenset({"OK", "NO", "BYE"})


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
        return self._asks_in_tls if phase is Phase.CAPABILITIES_IN_TLS else _SIEVE_COMMANDS[phase]

    def is_whole(self, _phase: Phase, lines: Sequence[bytes]) -> bool:
        """Whether the line with the verdict has come (RFC 5804 section 1.2)."""
        line = lines[-1]
        if self._missing < 0:
            if len(lines) == 1:
                self._end = None
            if _word(line) in _SIEVE_ENDS:
                self._end = len(lines) - 1
            elif not line.startswith((b'"', b"{")):  # a quoted string or a literal
                raise Garbled(quote(line) or "an empty line")
        elif self._missing > len(line):
            self._missing -= len(line) + 2  # the line's end belongs to the literal
            return False
        literal = _SIEVE_LITERAL.search(line)
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


class Stage(Enum):
    """Where in a connection a dialog takes place; each stage has its phases.

    All that was said before TLS is void in it (RFC 3207 section 4.2), so the capabilities are listed again.
    """

    BEFORE_TLS = (Phase.GREETING, Phase.CAPABILITIES, Phase.STARTTLS)
    AFTER_STARTTLS = (Phase.CAPABILITIES_IN_TLS,)
    INSIDE_TLS = (Phase.GREETING, Phase.CAPABILITIES_IN_TLS)  # a port that began with TLS (RFC 8314 section 3.3)


_FAREWELLS: Final = {
    Protocol.SMTP: b"QUIT\r\n",
    Protocol.LMTP: b"QUIT\r\n",
    Protocol.IMAP: b"a9 LOGOUT\r\n",
    Protocol.POP3: b"QUIT\r\n",
    Protocol.SIEVE: b"LOGOUT\r\n",
}


def dialog_for(port: Port, stage: Stage, client_name: str) -> Dialog:
    """Make the dialog of one stage; `client_name` is how a client of SMTP introduces itself."""
    return Dialog(_grammar(port, stage, client_name), _phases(port, stage))


def farewell(protocol: Protocol) -> bytes:
    """Return the command that ends a session, so that the server's log shows no lost connection."""
    return _FAREWELLS[protocol]


def _grammar(port: Port, stage: Stage, client_name: str) -> Grammar:
    if port.protocol is Protocol.IMAP:
        return ImapGrammar(in_clear=stage is Stage.BEFORE_TLS)
    if port.protocol is Protocol.POP3:
        return Pop3Grammar()
    if port.protocol is Protocol.SIEVE:
        return SieveGrammar(unsolicited=stage is Stage.AFTER_STARTTLS)
    return SmtpGrammar(client_name, port.protocol, port.xclient_address)


def _phases(port: Port, stage: Stage) -> tuple[Phase, ...]:
    """Claim another address once the server has listed XCLIENT; then it forgets what was said, and lists again."""
    phases: list[Phase] = []
    for phase in stage.value:
        phases.append(phase)
        first_list = phase in {Phase.CAPABILITIES, Phase.CAPABILITIES_IN_TLS} and stage is not Stage.AFTER_STARTTLS
        if port.xclient_address and first_list:
            phases += [Phase.XCLIENT, phase]
    return tuple(phases)
