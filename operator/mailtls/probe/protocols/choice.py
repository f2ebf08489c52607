"""Picks the dialog for a port, by what is spoken there and how far TLS is."""

from enum import Enum
from typing import Final

from mailtls.probe.facts import Phase
from mailtls.probe.protocols.dialog import Dialog, Grammar
from mailtls.probe.protocols.imap import ImapGrammar
from mailtls.probe.protocols.pop3 import Pop3Grammar
from mailtls.probe.protocols.sieve import SieveGrammar
from mailtls.probe.protocols.smtp import SmtpGrammar
from mailtls.probe.target import Port, Protocol


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
