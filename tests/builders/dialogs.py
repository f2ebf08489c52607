"""How a good server of each protocol answers, and the dialogs that a probe holds with it."""

from dataclasses import dataclass

from mailtls.probe.facts import Phase, Reply, Stop
from mailtls.probe.protocols.dialog import Dialog
from mailtls.probe.protocols.grammars import Stage, dialog_for
from mailtls.probe.target import Port, Protocol, TlsMode, TlsPolicy

NAME = "[192.0.2.1]"
EHLO = b"250-mx1.example.com\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"
CAPABILITY = b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=LOGIN\r\na1 OK done\r\n"
CAPA = b"+OK list follows\r\nTOP\r\nSASL PLAIN LOGIN\r\nSTLS\r\n.\r\n"
SIEVE = b'"IMPLEMENTATION" "Pigeonhole"\r\n"SASL" "PLAIN LOGIN"\r\n"STARTTLS"\r\nOK "ready"\r\n'


@dataclass(frozen=True, slots=True)
class Speech:
    """What a client says in a protocol until TLS begins, what a good server answers, and how the client leaves."""

    commands: tuple[bytes, ...]
    answers: tuple[bytes, ...]


GOOD = {
    Protocol.SMTP: Speech(
        (b"EHLO [192.0.2.1]\r\n", b"STARTTLS\r\n"), (b"220 mx1.example.com ESMTP\r\n", EHLO, b"220 go\r\n")
    ),
    Protocol.LMTP: Speech((b"LHLO [192.0.2.1]\r\n", b"STARTTLS\r\n"), (b"220 mx1 LMTP\r\n", EHLO, b"220 go\r\n")),
    Protocol.IMAP: Speech(
        (b"a1 CAPABILITY\r\n", b"a2 STARTTLS\r\n"), (b"* OK ready\r\n", CAPABILITY, b"a2 OK begin TLS\r\n")
    ),
    Protocol.POP3: Speech((b"CAPA\r\n", b"STLS\r\n"), (b"+OK ready\r\n", CAPA, b"+OK begin TLS\r\n")),
    Protocol.SIEVE: Speech((b"CAPABILITY\r\n", b"STARTTLS\r\n"), (SIEVE, SIEVE, b'OK "begin TLS"\r\n')),
}
PHASES = (Phase.GREETING, Phase.CAPABILITIES, Phase.STARTTLS)


def begin(protocol: Protocol, stage: Stage = Stage.BEFORE_TLS, claimed: str | None = None) -> Dialog:
    """Make a dialog of one protocol."""
    tls = TlsMode.IMPLICIT if stage is Stage.INSIDE_TLS else TlsMode.START_TLS
    return dialog_for(Port(1, tls, TlsPolicy.ENFORCED, protocol, xclient_address=claimed), stage, NAME)


def talk(dialog: Dialog, answers: tuple[bytes, ...], size: int = 0) -> list[bytes]:
    """Let a server answer, each time cut into pieces of `size`; return all that the client said."""
    said = [dialog.begin()]
    for answer in answers:
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)] if size else [answer]
        said += [dialog.receive(piece) for piece in pieces]
    return [words for words in said if words]


def outcome(dialog: Dialog) -> tuple[bool, Stop | None, list[Reply], bytes]:
    """All that is left of a dialog when it is over."""
    return dialog.finished, dialog.stop, dialog.replies, dialog.surplus
