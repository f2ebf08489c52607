"""Servers, middleboxes and meshes that fail in a way which tells the cause: the finding names it, and what to do."""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builders.dialogs import GOOD
from mailservers.certificates import HOST, Authority, Served, Wanted
from mailservers.scripted import PATIENCE, Act, Script, serving
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Expected, Port, Protocol, ProxyProtocol, Route, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason, Severity
from mailtls.reasons.software import Software

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
MESH = AUTHORITY.issue(Wanted(names=(), uris=("spiffe://cluster.local/ns/mail/sa/postfix",)))
SMTP, IMAP, POP3, SIEVE = Protocol.SMTP, Protocol.IMAP, Protocol.POP3, Protocol.SIEVE
IMPLICIT, STARTTLS = TlsMode.IMPLICIT, TlsMode.START_TLS
HEADER_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
IN_ONE_PACKET = 1000  # octets; a ClientHello with ML-KEM has more, one of TLS 1.2 less
WEB = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A server, the reason that fails it, and words that its message must and must not hold."""

    name: str
    script: Script
    reason: Reason
    says: str = ""
    protocol: Protocol = SMTP
    tls: TlsMode = STARTTLS
    patience: float = 10.0
    unsaid: str = "\0"


def script(protocol: Protocol = SMTP, **differences: object) -> Script:
    """Script a good server of a protocol that differs in the named ways."""
    greeting, listing, starting = GOOD[protocol].answers
    return replace(Script(STORED, False, greeting, listing, starting), **differences)  # type: ignore[arg-type]


def once_spoken_to(answer: bytes) -> Callable[[socket.socket], None]:
    """Wait for the client's first bytes, as a mesh does that detects protocols by them."""

    def greet(connection: socket.socket) -> None:
        if connection.recv(4096):
            connection.sendall(answer)

    return greet


def behind_a_balancer(protocol: Protocol, *, closes: bool) -> Callable[[socket.socket], None]:
    """Greet after a header of the PROXY protocol alone; else close, or wait for one."""

    def greet(connection: socket.socket) -> None:
        begins = connection.recv(len(HEADER_V2), socket.MSG_PEEK)
        if begins != HEADER_V2:
            raise OSError if closes else TimeoutError
        header = connection.recv(16)
        connection.recv(int.from_bytes(header[14:16], "big"))
        connection.sendall(GOOD[protocol].answers[0])

    return greet


def postfix_behind_a_balancer(connection: socket.socket) -> None:
    """Say what Postfix says to those that send something else than the header, or nothing in time."""
    if connection.recv(len(HEADER_V2), socket.MSG_PEEK) != HEADER_V2:
        connection.recv(4096)
        connection.sendall(b"421 4.3.0 mx1.example.com Server local error\r\n")
        raise OSError
    behind_a_balancer(SMTP, closes=True)(connection)


def only_short(connection: socket.socket) -> None:
    """A firewall that reads ClientHellos, and drops those that are longer than a packet."""
    if len(connection.recv(4096, socket.MSG_PEEK)) > IN_ONE_PACKET:
        raise OSError


def closing_behind_silence(connection: socket.socket) -> None:
    """Never greet, and close at once when the client speaks."""
    connection.recv(4096)
    raise OSError


def alert(number: int) -> bytes:
    """A fatal alert in place of a ServerHello (RFC 8446 section 6)."""
    return bytes([0x15, 3, 3, 0, 2, 2, number])


ALERTS = {
    40: "no cipher, curve or key type",
    80: "cannot use its certificate or key file is loaded: set securityContext.fsGroup",
    112: f"no certificate for {HOST}, and no default one",
    120: "a load balancer for HTTP answers",
    50: "does not understand clients of today",
}
CASES = [
    # a mesh or a proxy between
    *(
        Case(
            f"{each} greeting held back",
            script(each, greeting=once_spoken_to(GOOD[each].answers[0])),
            Reason.GREETING_HELD_BACK,
            "appProtocol: tcp",
            each,
            patience=0.8,
        )
        for each in (SMTP, Protocol.LMTP, IMAP, POP3, SIEVE)
    ),
    Case(
        "speaks too early for postscreen",
        script(greeting=once_spoken_to(b"554 5.5.1 you spoke too early\r\n")),
        Reason.NO_BANNER,
        "raise `timeout` of this port",
        patience=0.8,
    ),
    Case(
        "greeting of postscreen alone",
        script(greeting=lambda peer: (peer.sendall(b"220-mx1 ESMTP\r\n"), peer.recv(1))),
        Reason.NO_BANNER,
        "as postscreen does",
        patience=0.8,
    ),
    Case(
        "web server when spoken to",
        script(greeting=once_spoken_to(WEB)),
        Reason.PROTOCOL_ERROR,
        "speaks HTTP («HTTP/1.1 400 Bad Request»)",
        patience=0.8,
    ),
    Case("web server unasked", script(greeting=WEB), Reason.PROTOCOL_ERROR, "speaks HTTP («HTTP/1.1 400"),
    Case(
        "web server on 465",
        script(served=None, greeting=once_spoken_to(WEB)),
        Reason.PROTOCOL_ERROR,
        "HTTP",
        tls=IMPLICIT,
    ),
    Case(
        "TLS of a mesh on 25",
        Script(MESH, implicit=True),
        Reason.MESH_INTERFERES,
        "spiffe://",
        patience=0.8,
        unsaid="tlsMode",
    ),
    Case(
        "TLS of a mesh on 465", Script(MESH, implicit=True), Reason.MESH_INTERFERES, "excludeInboundPorts", tls=IMPLICIT
    ),
    Case(
        "TLS ended before nothing",
        script(implicit=True, greeting=Act.CLOSE),
        Reason.NO_BANNER,
        "no mail server behind it that answers",
        tls=IMPLICIT,
    ),
    Case("closes without a word", script(greeting=Act.CLOSE), Reason.NO_BANNER, "has no server behind it"),
    Case("closes when spoken to", script(greeting=closing_behind_silence), Reason.NO_BANNER, "hangs", patience=0.8),
    *(
        Case(
            f"{each} wants a PROXY header and {'closes' if closes else 'waits'}",
            script(each, greeting=behind_a_balancer(each, closes=closes)),
            Reason.PROXY_HEADER_MISSING,
            "set `proxyProtocol` of this port to v2",
            each,
            patience=0.8,
        )
        for each in (SMTP, IMAP, POP3)
        for closes in (True, False)
    ),
    Case(
        "Postfix behind a balancer",
        script(greeting=postfix_behind_a_balancer),
        Reason.PROXY_HEADER_MISSING,
        "smtpd_upstream_proxy_protocol",
        patience=0.8,
    ),
    Case(
        "masks STARTTLS",
        script(ehlo=b"250-mx1\r\n250-SIZE\r\n250 XXXXXXXA\r\n"),
        Reason.STARTTLS_MASKED,
        "«XXXXXXXA»",
    ),
    Case(
        "hides EHLO",
        script(greeting=b"220 ************************2002****\r\n", ehlo=b"500 5.5.1 what?\r\n"),
        Reason.STARTTLS_MASKED,
        "no inspect esmtp",
    ),
    # what servers demand
    Case(
        "alert of Go without a client certificate",
        script(handshake=alert(42)),
        Reason.CLIENT_CERTIFICATE_REQUIRED,
        "bad certificate",
    ),
    Case(
        "words of Postfix without a client certificate",
        script(ehlo_in_tls=b"421 4.7.1 Error: No client certificate presented\r\n"),
        Reason.CLIENT_CERTIFICATE_REQUIRED,
        "No client certificate presented",
    ),
    Case("takes no long ClientHello", script(handshake=only_short), Reason.CLIENT_HELLO_REFUSED, "ML-KEM"),
    *(
        Case(
            f"refuses the name by {said[:3].decode()}",
            script(ehlo=said),
            Reason.CLIENT_NAME_REFUSED,
            "probe.clientName",
        )
        for said in (
            b"501 5.5.4 Invalid domain name\r\n",
            b"504 5.5.2 <[127.0.0.1]>: Helo command rejected: need fully-qualified hostname\r\n",
            b"550 5.7.1 <[127.0.0.1]>: Helo command rejected: Access denied\r\n",
            b"450 4.7.1 <[127.0.0.1]>: Helo command rejected: Host not found\r\n",
        )
    ),
    Case(
        "refuses the name inside TLS",
        script(ehlo_in_tls=b"501 Syntactically invalid EHLO argument(s)\r\n"),
        Reason.CLIENT_NAME_REFUSED,
        "Syntactically invalid",
    ),
    Case(
        "wants a PTR record for now",
        script(ehlo=b"450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]\r\n"),
        Reason.PROBE_DENIED,
        "PTR",
        unsaid="clientName",
    ),
    Case(
        "wants a PTR record",
        script(ehlo=b"550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]\r\n"),
        Reason.PROBE_DENIED,
        "PTR",
        unsaid="clientName",
    ),
    Case(
        "wants a PTR record by code",
        script(greeting=b"550 5.7.25 The address has no name\r\n"),
        Reason.PROBE_DENIED,
        "PTR",
    ),
    Case(
        "wants TLS before it lists it",
        script(ehlo=b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
        Reason.STARTTLS_NOT_ADVERTISED,
        "wants TLS and does not list it",
        unsaid="allow",
    ),
    # limits
    Case(
        "limit of IMAP", script(IMAP, greeting=b"* BYE Too many connections\r\n"), Reason.SERVER_BUSY, "raise it", IMAP
    ),
    Case(
        "limit of POP3",
        script(POP3, greeting=b"-ERR Connection limit reached\r\n"),
        Reason.SERVER_BUSY,
        "raise it",
        POP3,
    ),
    Case(
        "limit by 554",
        script(greeting=b"554 5.7.1 Too many concurrent SMTP connections\r\n"),
        Reason.SERVER_BUSY,
        "limit",
    ),
    Case("greylists at EHLO", script(ehlo=b"451 4.7.1 Greylisted, try again\r\n"), Reason.SERVER_BUSY, "(greylisting)"),
    Case(
        "limits TLS sessions",
        script(starttls=b"454 4.7.0 Error: too many new TLS sessions from 127.0.0.1\r\n"),
        Reason.SERVER_BUSY,
        "is put off",
        unsaid="key",
    ),
    Case("closes at STARTTLS by 421", script(starttls=b"421 4.3.2 closing\r\n"), Reason.SERVER_BUSY, "put off"),
    # files that cannot be read
    Case(
        "Postfix cannot read its key",
        script(starttls=b"454 4.7.0 TLS not available due to local problem\r\n"),
        Reason.STARTTLS_UNAVAILABLE,
        "may not read them (then set securityContext.fsGroup",
    ),
    Case("handshake is closed", script(handshake=Act.CLOSE), Reason.TLS_HANDSHAKE_FAILED, "defaultMode"),
    Case(
        "handshake is closed on 465",
        Script(greeting=closing_behind_silence),
        Reason.TLS_HANDSHAKE_FAILED,
        "cannot read its certificate or key file (then set securityContext.fsGroup",
        tls=IMPLICIT,
    ),
    *(
        Case(f"alert {number}", script(handshake=alert(number)), Reason.TLS_HANDSHAKE_FAILED, words)
        for number, words in ALERTS.items()
    ),
    # other
    Case(
        "Sieve that does not list inside TLS",
        script(SIEVE, ehlo_in_tls=Act.SILENCE),
        Reason.EHLO_AFTER_TLS_FAILED,
        "RFC 5804 section 2.2",
        SIEVE,
        patience=0.8,
    ),
]


def probe(port: Port, case: Case) -> Endpoint:
    """Probe one scripted server, of which any certificate will do that clients accept."""
    target = Target("127.0.0.1", port, HOST, pod="mail-0", workload="StatefulSet/mail", software=Software.POSTFIX)
    limits = Limits(connect=PATIENCE, dialog=case.patience, handshake=case.patience, overall=PATIENCE)
    stored: Served = case.script.served or STORED
    return Prober(limits).probe([target], Expected(stored.sha256, AUTHORITY.roots_pem))[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.name))
def test_finding_names_the_cause(case: Case, tmp_path: Path) -> None:
    """Each server earns the one reason that leads to its cause, with a fix to try in its message."""
    with serving(case.script, tmp_path) as number:
        endpoint = probe(Port(number, case.tls, TlsPolicy.ENFORCED, case.protocol), case)
    failure = endpoint.failure
    assert failure is not None
    assert failure.reason == case.reason, endpoint.findings
    assert case.says in failure.message, failure.message
    assert case.unsaid not in failure.message
    assert all(found.message.isprintable() and len(found.message) < 900 for found in endpoint.findings)


def test_port_that_wants_a_header_is_named_by_hand_too(tmp_path: Path) -> None:
    """Who reads the report runs no operator, and is told of the command line's option."""
    with serving(script(greeting=behind_a_balancer(SMTP, closes=True)), tmp_path) as number:
        port = Port(number, STARTTLS, TlsPolicy.OPPORTUNISTIC)
        expected = Expected(extra_roots_pem=AUTHORITY.roots_pem, by_hand=True)
        (endpoint,) = Prober(Limits(dialog=1)).probe([Target("127.0.0.1", port, HOST)], expected)
        assert endpoint.failure is not None
        assert "--proxy-protocol" in endpoint.failure.message
        port = replace(port, proxy_protocol=ProxyProtocol.V2)
        (endpoint,) = Prober(Limits(dialog=1)).probe([Target("127.0.0.1", port, HOST)], expected)
        assert endpoint.failure is None


def test_balancer_that_sends_no_header_is_blamed_from_outside(tmp_path: Path) -> None:
    """Clients on the internet send none: whoever stands before the server has to."""
    with serving(script(greeting=behind_a_balancer(SMTP, closes=True)), tmp_path) as number:
        port = Port(number, STARTTLS, TlsPolicy.OPPORTUNISTIC)
        target = Target("127.0.0.1", port, HOST, pod=HOST, route=Route.PUBLIC)
        (endpoint,) = Prober(Limits(dialog=1)).probe([target], AUTHORITY.expects(STORED))
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.PROXY_HEADER_MISSING
    assert "let the load balancer in front send one" in endpoint.failure.message


def test_masked_starttls_is_a_warning_where_strangers_may_come_in_clear(tmp_path: Path) -> None:
    """Nothing promises TLS there (RFC 3207 section 4)."""
    with serving(script(ehlo=b"250-mx1\r\n250 XXXXXXXA\r\n"), tmp_path) as number:
        port = Port(number, STARTTLS, TlsPolicy.OPPORTUNISTIC)
        (endpoint,) = Prober().probe([Target("127.0.0.1", port, HOST)], Expected())
    assert [(each.reason, each.severity) for each in endpoint.findings] == [(Reason.STARTTLS_MASKED, Severity.WARN)]


def test_good_server_is_asked_once(tmp_path: Path) -> None:
    """What helps to name a cause costs those nothing who have no fault."""
    heard = list[bytes]()

    def greet(connection: socket.socket) -> None:
        heard.append(b"")
        connection.sendall(GOOD[SMTP].answers[0])

    with serving(script(greeting=greet), tmp_path) as number:
        assert probe(Port(number, STARTTLS, TlsPolicy.OPPORTUNISTIC), CASES[0]).failure is None
    assert len(heard) == 1
