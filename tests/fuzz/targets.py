"""What is fuzzed: each takes any bytes, and raises only where the code under test broke a promise."""

from collections.abc import Callable
from typing import Final

from mailtls.pki.served_certificate import read_served
from mailtls.probe.protocols.dialog import REPLY_LIMIT
from mailtls.probe.protocols.grammars import Stage, dialog_for
from mailtls.probe.target import Port, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.quoting import QUOTE_LIMIT

_PROTOCOLS: Final = tuple(Protocol)
_STAGES: Final = tuple(Stage)
_COMMAND_LIMIT: Final = 100  # octets; no server makes the client say more


def dialog(data: bytes) -> None:
    """Hold a dialog: the first octet picks protocol and stage, the second how the rest is cut into segments."""
    if len(data) < 2:
        return
    protocol, stage = _PROTOCOLS[data[0] % len(_PROTOCOLS)], _STAGES[data[0] // 16 % len(_STAGES)]
    claimed = "192.0.2.1" if data[0] & 8 and protocol is Protocol.SMTP else None
    port = Port(1, TlsMode.START_TLS, TlsPolicy.ENFORCED, protocol, xclient_address=claimed)
    held, size = dialog_for(port, stage, "[192.0.2.1]"), data[1] + 1
    said = held.begin()
    for start in range(2, len(data), size):
        said += held.receive(data[start : start + size])
    assert len(said) <= _COMMAND_LIMIT
    for reply in held.replies:
        assert sum(len(line) for line in reply.lines) <= 4 * REPLY_LIMIT
        assert all(line.isprintable() and len(line) <= QUOTE_LIMIT for line in reply.lines)
        assert len(reply.text) <= QUOTE_LIMIT
        reply.keyword("STARTTLS")
        assert reply.logins is None or reply.logins.isprintable()


def certificate(data: bytes) -> None:
    """Read a served certificate: never raises, and what is shown of it stays short."""
    read = read_served.__wrapped__(data)
    if read is not None:
        assert len(read.subject) <= QUOTE_LIMIT
        assert len(read.issuer) <= QUOTE_LIMIT
        read.names("mx1.example.com")


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"dialog": dialog, "certificate": certificate}
