"""Misconfigured servers of LMTP, IMAP, POP3 and ManageSieve, each with the one reason and the words of its protocol."""

import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builders.dialogs import CAPA, CAPABILITY, GOOD, SIEVE
from mailservers.certificates import HOST, Authority, Served
from mailservers.scripted import Act, Script, serving
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Port, Protocol, ProxyProtocol, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason, Severity
from mailtls.reasons.software import Software

AUTHORITY = Authority()
STORED = AUTHORITY.issue()
PATIENT, IMPATIENT = 10.0, 0.8
IN_TLS = {
    Protocol.SMTP: b"250-mx1\r\n250 AUTH PLAIN\r\n",
    Protocol.LMTP: b"250-mx1\r\n250 AUTH PLAIN\r\n",
    Protocol.IMAP: b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na3 OK\r\n",
    Protocol.POP3: b"+OK\r\nSASL PLAIN\r\n.\r\n",
    Protocol.SIEVE: b'"SASL" "PLAIN"\r\nOK\r\n',
}
LMTP, IMAP, POP3, SIEVES = Protocol.LMTP, Protocol.IMAP, Protocol.POP3, Protocol.SIEVE
IMPLICIT = TlsMode.IMPLICIT


def good(protocol: Protocol, **differences: object) -> Script:
    """Script a good server of a protocol that differs in the named ways."""
    greeting, listing, starting = GOOD[protocol].answers
    script = Script(STORED, False, greeting, listing, starting, ehlo_in_tls=IN_TLS[protocol])
    return replace(script, unasked_in_tls=protocol is Protocol.SIEVE, **differences)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Case:
    """A server, its protocol, and the verdict: the failing reason, words said, all warnings."""

    name: str
    protocol: Protocol
    script: Script
    reason: Reason | None = None
    says: str = ""
    warns: tuple[Reason, ...] = ()
    tls: TlsMode = TlsMode.START_TLS
    policy: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    patience: float = PATIENT


def inside(protocol: Protocol, **differences: object) -> Script:
    """Script a good server that begins with TLS; it is asked for its capabilities there."""
    return replace(good(protocol), implicit=True, unasked_in_tls=False, **differences)  # type: ignore[arg-type]


CASES = [
    *(Case(f"good {protocol}", protocol, good(protocol)) for protocol in Protocol),
    *(Case(f"good implicit {protocol}", protocol, inside(protocol), tls=IMPLICIT) for protocol in Protocol),
    *(
        Case(f"silent {each}", each, good(each, greeting=Act.SILENCE), Reason.NO_BANNER, "PROXY", patience=IMPATIENT)
        for each in Protocol
    ),
    *(
        Case(
            f"injects into {each}",
            each,
            good(each, starttls=GOOD[each].answers[2] + b"x\r\n"),
            Reason.PLAINTEXT_AFTER_STARTTLS,
        )
        for each in Protocol
    ),
    *(Case(f"closes {each}", each, good(each, ehlo=Act.CLOSE), Reason.PROTOCOL_ERROR, "capabil") for each in Protocol),
    *(
        Case(
            f"TLS first for {each}",
            each,
            inside(each),
            Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
            "Implicit",
            patience=IMPATIENT,
        )
        for each in Protocol
    ),
    *(
        Case(f"clear {each} on an implicit port", each, good(each), Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, tls=IMPLICIT)
        for each in Protocol
    ),
    *(
        Case(f"dies inside {each}", each, good(each, ehlo_in_tls=Act.CLOSE), Reason.EHLO_AFTER_TLS_FAILED)
        for each in Protocol
    ),
    Case("LMTP hides STARTTLS", LMTP, good(LMTP, ehlo=b"250 mx1\r\n"), Reason.STARTTLS_NOT_ADVERTISED, "LHLO"),
    Case("LMTP port is SMTP", LMTP, good(LMTP, ehlo=b"500 what\r\n"), Reason.PROTOCOL_ERROR, "SMTP and not LMTP"),
    Case(
        "implicit LMTP port is SMTP",
        LMTP,
        inside(LMTP, ehlo_in_tls=b"502 5.5.1 what\r\n"),
        Reason.PROTOCOL_ERROR,
        "SMTP and not LMTP",
        tls=IMPLICIT,
    ),
    Case("PREAUTH", IMAP, good(IMAP, greeting=b"* PREAUTH hi\r\n"), Reason.IMAP_PREAUTH_BLOCKS_STARTTLS, "PREAUTH hi"),
    Case("PREAUTH in TLS", IMAP, inside(IMAP, greeting=b"* PREAUTH hi\r\n"), tls=IMPLICIT),
    Case("IMAP says BYE", IMAP, good(IMAP, greeting=b"* BYE no\r\n"), Reason.PROBE_DENIED, "BYE no"),
    Case("IMAP shuts down", IMAP, good(IMAP, ehlo=b"* BYE shutting down\r\n"), Reason.SERVER_BUSY, "shutting"),
    Case("IMAP shuts down later", IMAP, good(IMAP, starttls=b"* BYE shutting down\r\n"), Reason.SERVER_BUSY, "put off"),
    Case(
        "IMAP says BYE for good",
        IMAP,
        good(IMAP, ehlo=b"* BYE [PRIVACYREQUIRED] x\r\n"),
        Reason.PROBE_DENIED,
        "PRIVACY",
    ),
    Case("IMAP is down", IMAP, good(IMAP, greeting=b"* BYE [UNAVAILABLE] x\r\n"), Reason.SERVER_BUSY, "x"),
    Case(
        "IMAP without STARTTLS",
        IMAP,
        good(IMAP, ehlo=b"* CAPABILITY IMAP4rev1 ID\r\na1 OK\r\n"),
        Reason.STARTTLS_NOT_ADVERTISED,
        "IMAP4rev1, ID",
    ),
    Case("IMAP refuses", IMAP, good(IMAP, starttls=b"a2 BAD no TLS\r\n"), Reason.STARTTLS_REJECTED, "BAD no TLS"),
    Case("IMAP fails", IMAP, good(IMAP, starttls=b"a2 NO [UNAVAILABLE] key\r\n"), Reason.STARTTLS_UNAVAILABLE, "key"),
    Case("IMAP port is POP3", IMAP, good(POP3), Reason.PROTOCOL_ERROR, "an IMAP server"),
    Case(
        "IMAP offers STARTTLS again",
        IMAP,
        good(IMAP, ehlo_in_tls=CAPABILITY.replace(b"a1", b"a3")),
        warns=(Reason.STARTTLS_READVERTISED,),
    ),
    Case(
        "IMAP takes passwords in clear",
        IMAP,
        good(IMAP),
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
        policy=TlsPolicy.ENFORCED,
    ),
    Case(
        "IMAP takes none in clear",
        IMAP,
        good(IMAP, ehlo=b"* CAPABILITY STARTTLS LOGINDISABLED\r\na1 OK\r\n"),
        policy=TlsPolicy.ENFORCED,
    ),
    Case("POP3 without STLS", POP3, good(POP3, ehlo=b"+OK\r\nTOP\r\n.\r\n"), Reason.STARTTLS_NOT_ADVERTISED, "TOP"),
    Case("POP3 without CAPA", POP3, good(POP3, ehlo=b"-ERR what\r\n"), Reason.STARTTLS_NOT_ADVERTISED, "-ERR what"),
    Case("POP3 refuses", POP3, good(POP3, starttls=b"-ERR no\r\n"), Reason.STARTTLS_REJECTED, "STLS"),
    Case("POP3 fails", POP3, good(POP3, starttls=b"-ERR [SYS/TEMP] key\r\n"), Reason.STARTTLS_UNAVAILABLE, "key"),
    Case(
        "POP3 offers STLS again", POP3, good(POP3, ehlo_in_tls=CAPA), warns=(Reason.STARTTLS_READVERTISED,), says="STLS"
    ),
    Case(
        "POP3 loses its logins",
        POP3,
        good(POP3, ehlo_in_tls=b"+OK\r\nTOP\r\n.\r\n"),
        Reason.AUTH_MISSING,
        "auth_mechanisms",
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
        policy=TlsPolicy.ENFORCED,
    ),
    Case(
        "IMAP offers no login",
        IMAP,
        inside(IMAP, ehlo_in_tls=b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na3 OK\r\n"),
        warns=(Reason.AUTH_MISSING,),
        tls=IMPLICIT,
        policy=TlsPolicy.ENFORCED,
    ),
    Case(
        "LMTP offers no login",
        LMTP,
        good(LMTP, ehlo=b"250-mx1\r\n250 STARTTLS\r\n", ehlo_in_tls=b"250 mx1\r\n"),
        policy=TlsPolicy.ENFORCED,
    ),
    Case("Sieve says BYE", SIEVES, good(SIEVES, greeting=b'BYE "no"\r\n'), Reason.PROBE_DENIED, "no"),
    Case(
        "Sieve without STARTTLS",
        SIEVES,
        good(SIEVES, ehlo=b'"SASL" "PLAIN"\r\nOK\r\n'),
        Reason.STARTTLS_NOT_ADVERTISED,
        "PLAIN",
    ),
    Case("Sieve refuses", SIEVES, good(SIEVES, starttls=b'NO "off"\r\n'), Reason.STARTTLS_REJECTED, "off"),
    Case("Sieve offers STARTTLS again", SIEVES, good(SIEVES, ehlo_in_tls=SIEVE), warns=(Reason.STARTTLS_READVERTISED,)),
    Case("SMTP port is IMAP", Protocol.SMTP, good(IMAP), Reason.PROTOCOL_ERROR, "an SMTP server"),
]


def probe(port: Port, patience: float = PATIENT, overall: float = 2 * PATIENT) -> Endpoint:
    """Probe one scripted server."""
    target = Target("127.0.0.1", port, HOST, pod="mail-0", workload="StatefulSet/mail", software=Software.DOVECOT)
    limits = Limits(connect=PATIENT, dialog=patience, handshake=patience, overall=overall)
    return Prober(limits).probe([target], AUTHORITY.expects(STORED))[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.name))
def test_misconfigured_server_gets_its_reason(case: Case, tmp_path: Path) -> None:
    """Each server earns exactly the failing reason and the warnings of its row, in words that help."""
    with serving(case.script, tmp_path) as number:
        endpoint = probe(Port(number, case.tls, case.policy, case.protocol), case.patience)
    failure = endpoint.failure
    assert (failure.reason if failure else None) == case.reason, endpoint.findings
    assert failure is None or case.says in failure.message
    assert tuple(found.reason for found in endpoint.findings if found.severity is Severity.WARN) == case.warns
    assert all(found.message.isprintable() and len(found.message) < 900 for found in endpoint.findings)
    if case.protocol not in {Protocol.SMTP, Protocol.LMTP}:
        assert not [found for found in endpoint.findings if "smtpd_" in found.message or "EHLO" in found.message]


@pytest.mark.parametrize(
    ("version", "header"),
    [
        (ProxyProtocol.V1, rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n"),
        (ProxyProtocol.V2, rb"(?s)\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01...."),
    ],
)
def test_header_of_the_proxy_protocol_comes_before_all_else(
    version: ProxyProtocol, header: bytes, tmp_path: Path
) -> None:
    """The header is the first that the server hears, on its own, and the greeting follows."""
    heard: list[bytes] = []

    def greet(connection: socket.socket) -> None:
        heard.append(connection.recv(108))
        connection.sendall(b"* OK ready\r\n")

    with serving(good(IMAP, greeting=greet), tmp_path) as number:
        port = Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, IMAP, version)
        assert probe(port).findings == ()
    assert re.fullmatch(header, heard[0])


def test_chain_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    """A Certificate message of 150 KB ends the handshake with a name: OpenSSL takes 100 KB."""
    size = len(STORED.chain_pem) * 3 // 4
    huge = Served((STORED.chain[0], *[STORED.chain[1]] * (300_000 // size)), STORED.key)
    with serving(Script(huge), tmp_path) as number:
        endpoint = probe(Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC))
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.TLS_HANDSHAKE_FAILED
    assert "excessive message size" in endpoint.failure.message


@pytest.mark.parametrize("protocol", list(Protocol))
def test_server_that_drips_ends_at_the_overall_limit(protocol: Protocol, tmp_path: Path) -> None:
    """One byte a second keeps no probe beyond its deadline, however long a phase may take."""

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            for byte in GOOD[protocol].answers[0] * 20:
                connection.sendall(bytes([byte]))
                time.sleep(1)

    with serving(good(protocol, greeting=drip), tmp_path) as number:
        began = time.monotonic()
        endpoint = probe(Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, protocol), 60, 1.5)
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.NO_BANNER
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("protocol", [LMTP, IMAP, POP3, SIEVES])
def test_endless_list_is_cut_off(protocol: Protocol, tmp_path: Path) -> None:
    """A list of capabilities without end is garbled, not collected."""
    line = {LMTP: b"250-x\r\n", IMAP: b"* CAPABILITY x\r\n", POP3: b"x\r\n", SIEVES: b'"x" "y"\r\n'}[protocol]

    def flood(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"+OK\r\n" if protocol is POP3 else b"")
            while True:
                connection.sendall(line * 100)

    with serving(good(protocol, ehlo=flood), tmp_path) as number:
        endpoint = probe(Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC, protocol))
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.PROTOCOL_ERROR
    assert "octets" in endpoint.failure.message


def test_closed_port_of_pop3_speaks_of_dovecot() -> None:
    """A closed port names nobody: the fix goes by the preset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    endpoint = probe(Port(number, TlsMode.START_TLS, TlsPolicy.ENFORCED, POP3))
    assert endpoint.failure is not None
    assert "Dovecot" in endpoint.failure.message
