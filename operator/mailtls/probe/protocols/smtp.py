"""SMTP (RFC 5321) and LMTP (RFC 2033), which differs by its greeting alone as far as a probe goes."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from mailtls.probe.facts import Phase, Reply
from mailtls.probe.protocols.dialog import Garbled
from mailtls.probe.target import Protocol
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
