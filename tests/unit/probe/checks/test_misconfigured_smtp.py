"""Misconfigured mail servers, each with the one reason a postmaster should read."""

import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from mailservers.certificates import DAY, HOST, Authority, Served, Wanted
from mailservers.scripted import Act, Script, serving
from mailtls.probe.checks.input import EVIDENCE_LIMIT
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason, Severity
from mailtls.reasons.software import Software

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")  # a server of the past is what is wanted
AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
OLDER = AUTHORITY.issue(Wanted(valid_from=-30 * DAY, valid_until=60 * DAY))
PATIENT, IMPATIENT = 10.0, 0.8  # seconds per phase; long enough for a busy machine, short where silence is the case
HELLO_REQUEST = b"\x16\x03\x03\x00\x04\x00\x00\x00\x00"  # a client must ignore it (RFC 5246 section 7.4.1.1)
AUTH = b"250-mx1.example.com\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A server, what the Secret holds, and the verdict: the first failing reason, all warnings, words said."""

    name: str
    script: Script
    reason: Reason | None = None
    says: str = ""
    warns: tuple[Reason, ...] = ()
    stored: Served | None = None  # None: what the server serves
    tls: TlsMode = TlsMode.START_TLS
    policy: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    trust: str | None = None  # None: the authority's root
    patience: float = PATIENT


def drip(connection: socket.socket) -> None:
    """Send a greeting that never ends, one byte at a time."""
    with suppress(OSError):
        while True:
            connection.sendall(b"2")
            time.sleep(0.05)


def tar(connection: socket.socket) -> None:
    """Keep a client waiting by lines of a greeting that never ends."""
    with suppress(OSError):
        while True:
            connection.sendall(b"220-wait\r\n")
            time.sleep(0.05)


def flood(line: bytes) -> Callable[[socket.socket], None]:
    """Send the same line without end."""

    def send(connection: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection.sendall(line * 100)

    return send


def flood_after_hello(connection: socket.socket) -> None:
    """Answer the ClientHello with what a client must ignore, faster than it can."""
    connection.recv(4096)
    flood(HELLO_REQUEST)(connection)


def inject_late(connection: socket.socket) -> None:
    """Speak plain text once the ClientHello is on its way."""
    time.sleep(0.1)
    connection.sendall(b"250 late\r\n")


def leaf(**options: object) -> Served:
    """Issue a leaf that differs from a good one in the named ways."""
    return AUTHORITY.issue(replace(Wanted(), **options))  # type: ignore[arg-type]


def good(**differences: object) -> Script:
    """Script a good server that differs in the named ways."""
    return replace(Script(served=GOOD), **differences)  # type: ignore[arg-type]


IMPLICIT = TlsMode.IMPLICIT
ENFORCED = TlsPolicy.ENFORCED
SILENT = re.compile(r"silent|closes|resets|flood of hello|no greeting")  # cases in which nothing was said
EXPIRED = leaf(valid_from=-90 * DAY, valid_until=-1 * DAY)

CASES = [
    # what should be
    Case("good STARTTLS", good()),
    Case("good implicit", good(implicit=True), tls=IMPLICIT),
    Case("multi-line greeting", good(greeting=b"220-wait\r\n220 mx1.example.com\r\n")),
    Case("lines ended by LF alone", good(greeting=b"220 mx1\n", ehlo=b"250-mx1\n250 STARTTLS\n")),
    Case("starttls in lower case", good(ehlo=b"250-mx1\r\n250 starttls\r\n")),
    Case("wildcard", Script(served=leaf(names=("*.example.com",)))),
    Case("TLS 1.2 only", good(version=ssl.TLSVersion.TLSv1_2)),
    Case(
        "greylisted inside TLS",
        good(implicit=True, greeting=b"421 busy\r\n"),
        warns=(Reason.SERVER_BUSY,),
        tls=IMPLICIT,
    ),
    # before TLS
    Case(
        "greets 421", good(greeting=b"421 4.3.2 too many connections\r\n"), Reason.SERVER_BUSY, "too many connections"
    ),
    Case("greets 554", good(greeting=b"554 5.7.1 go away\r\n"), Reason.PROBE_DENIED, "554 5.7.1 go away"),
    Case("EHLO turned away", good(ehlo=b"550 5.7.1 not you\r\n"), Reason.PROBE_DENIED, "not you"),
    Case("EHLO unknown", good(ehlo=b"502 5.5.1 what?\r\n"), Reason.STARTTLS_NOT_ADVERTISED, "502"),
    Case("silent port", good(greeting=Act.SILENCE, served=None), Reason.NO_BANNER, "timed out", patience=IMPATIENT),
    Case("closes at once", good(greeting=Act.CLOSE, served=None), Reason.NO_BANNER, "closed"),
    Case("resets at once", good(greeting=Act.RESET, served=None), Reason.NO_BANNER, "closed"),
    Case("endless greeting line", good(greeting=flood(b"2" * 1000)), Reason.PROTOCOL_ERROR, "octets"),
    Case("endless greeting reply", good(greeting=flood(b"220-more\r\n")), Reason.PROTOCOL_ERROR, "octets"),
    Case("greeting drips", good(greeting=drip), Reason.NO_BANNER, "timed out", patience=IMPATIENT),
    Case(
        "greeting of a tarpit",
        good(greeting=tar),
        Reason.NO_BANNER,
        "does not finish its greeting (timed out: 220-wait)",
        patience=IMPATIENT,
    ),
    Case(
        "NULs in the greeting",
        good(greeting=b"220 \x00\x1b[31m\r\n", ehlo=b"\x00\x00\r\n"),
        Reason.PROTOCOL_ERROR,
        r"\x00",
    ),
    Case("speaks SSH", good(greeting=b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.PROTOCOL_ERROR, "SSH-2.0"),
    Case("speaks POP3", good(greeting=b"+OK ready\r\n"), Reason.PROTOCOL_ERROR, "+OK"),
    Case("greets twice", good(greeting=b"220 a\r\n220 b\r\n"), Reason.PROTOCOL_ERROR, "out of turn"),
    Case("greets 250", good(greeting=b"250 hello\r\n"), Reason.PROTOCOL_ERROR, "250 hello"),
    Case("closes at EHLO", good(ehlo=Act.CLOSE), Reason.PROTOCOL_ERROR, "EHLO"),
    Case("silent at EHLO", good(ehlo=Act.SILENCE), Reason.PROTOCOL_ERROR, "timed out", patience=IMPATIENT),
    Case("two codes in one reply", good(ehlo=b"250-a\r\n550 b\r\n"), Reason.PROTOCOL_ERROR, "two codes"),
    Case(
        "STARTTLS off",
        good(ehlo=b"250-mx1\r\n250-SIZE\r\n250 8BITMIME\r\n"),
        Reason.STARTTLS_NOT_ADVERTISED,
        "8BITMIME",
    ),
    Case(
        "STARTTLS 454",
        good(starttls=b"454 4.7.0 TLS not available due to local problem\r\n"),
        Reason.STARTTLS_UNAVAILABLE,
        "local problem",
    ),
    Case("STARTTLS 502", good(starttls=b"502 5.5.1 not implemented\r\n"), Reason.STARTTLS_REJECTED, "502"),
    Case("closes at STARTTLS", good(starttls=Act.CLOSE), Reason.PROTOCOL_ERROR, "STARTTLS"),
    Case(
        "TLS first on a STARTTLS port",
        good(implicit=True),
        Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
        "Implicit",
        patience=IMPATIENT,
    ),
    Case("plain text on an implicit port", good(), Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, "220 mx1", tls=IMPLICIT),
    # between STARTTLS and TLS
    Case(
        "injected in one segment",
        good(starttls=b"220 go\r\n250 injected\r\n"),
        Reason.PLAINTEXT_AFTER_STARTTLS,
        "250 injected",
    ),
    Case("injected after the ClientHello", good(handshake=inject_late), Reason.PLAINTEXT_AFTER_STARTTLS, "250 late"),
    Case(
        "gives TLS up in clear text",
        good(handshake=b"454 4.7.0 TLS not available\r\n"),
        Reason.STARTTLS_UNAVAILABLE,
        "given up («454 4.7.0 TLS not available»)",
    ),
    Case("closes at the handshake", good(handshake=Act.CLOSE), Reason.TLS_HANDSHAKE_FAILED, "closed"),
    Case("resets at the handshake", good(handshake=Act.RESET), Reason.TLS_HANDSHAKE_FAILED, "closed"),
    Case(
        "silent at the handshake",
        good(handshake=Act.SILENCE),
        Reason.TLS_HANDSHAKE_FAILED,
        "timed out",
        patience=IMPATIENT,
    ),
    Case(
        "alert at the handshake",
        good(handshake=b"\x15\x03\x03\x00\x02\x02\x28"),
        Reason.TLS_HANDSHAKE_FAILED,
        "handshake failure",
    ),
    Case("version alert", good(handshake=b"\x15\x03\x01\x00\x02\x02\x46"), Reason.NO_SHARED_TLS_VERSION, "1.2"),
    Case("TLS 1.1 only", good(version=ssl.TLSVersion.TLSv1_1), Reason.NO_SHARED_TLS_VERSION, "1.2"),
    Case(
        "flood of hello requests",
        good(handshake=flood_after_hello),
        Reason.TLS_HANDSHAKE_FAILED,
        "timed out",
        patience=IMPATIENT,
    ),
    Case("garbage record", good(handshake=b"\x16\x03\x03\xff\xff" + b"x" * 500), Reason.TLS_HANDSHAKE_FAILED),
    # the certificate
    Case("older certificate", Script(served=OLDER), Reason.SERVING_OLD_CERTIFICATE, "reload", stored=GOOD),
    Case(
        "newer certificate",
        Script(served=leaf(valid_from=-DAY / 2)),
        Reason.UNEXPECTED_CERTIFICATE,
        "chain_files",
        stored=GOOD,
    ),
    Case(
        "certificate of another host",
        Script(served=leaf(names=("other.example.net",))),
        Reason.UNEXPECTED_CERTIFICATE,
        stored=GOOD,
    ),
    Case("expired", Script(served=EXPIRED), Reason.CERTIFICATE_EXPIRED, "renew"),
    Case("not yet valid", Script(served=leaf(valid_from=DAY)), Reason.CERTIFICATE_NOT_YET_VALID, "clock"),
    Case("self-signed", Script(served=leaf(self_signed=True)), Reason.SELF_SIGNED, "trust"),
    Case("unknown root", good(), Reason.UNTRUSTED_ROOT, "Test Root", trust=""),
    Case(
        "unknown root sent along",
        Script(served=Served((*GOOD.chain, AUTHORITY.root), GOOD.key)),
        Reason.UNTRUSTED_ROOT,
        "Test Root",
        trust="",
    ),
    Case("bundle is no PEM", good(), Reason.UNTRUSTED_ROOT, "cannot be read", trust="-----BEGIN CERTIFICATE-----\nx"),
    Case(
        "missing intermediate",
        Script(served=GOOD.without_intermediate()),
        Reason.INCOMPLETE_CHAIN,
        "Test Root Intermediate",
    ),
    Case(
        "missing intermediate, bundled",
        Script(served=GOOD.without_intermediate()),
        Reason.INCOMPLETE_CHAIN,
        trust=AUTHORITY.bundle_pem,
    ),
    Case(
        "wrong order",
        Script(served=Served((GOOD.chain[0], AUTHORITY.root, AUTHORITY.intermediate), GOOD.key)),
        warns=(Reason.CHAIN_OUT_OF_ORDER,),
    ),
    Case("root sent too", Script(served=Served((*GOOD.chain, AUTHORITY.root), GOOD.key))),
    Case("wrong name", Script(served=leaf(names=("mail.example.com",))), Reason.HOSTNAME_MISMATCH, "mail.example.com"),
    Case("common name only", Script(served=leaf(names=())), Reason.HOSTNAME_MISMATCH, "common name does not count"),
    Case("wildcard one label up", Script(served=leaf(names=("*.com",))), Reason.HOSTNAME_MISMATCH),
    Case(
        "client certificate",
        Script(served=leaf(usage=ExtendedKeyUsageOID.CLIENT_AUTH)),
        Reason.WRONG_CERTIFICATE_PURPOSE,
        "serverAuth",
    ),
    Case(
        "expires soon",
        Script(served=leaf(valid_from=-80 * DAY, valid_until=10 * DAY)),
        warns=(Reason.CERTIFICATE_EXPIRING_SOON,),
    ),
    Case("weak key", Script(served=leaf(rsa_bits=1024)), warns=(Reason.WEAK_CRYPTO,)),
    # inside TLS
    Case("closes after the handshake", good(ehlo_in_tls=Act.CLOSE), Reason.EHLO_AFTER_TLS_FAILED, "closed"),
    Case(
        "silent after the handshake",
        good(ehlo_in_tls=Act.SILENCE),
        Reason.EHLO_AFTER_TLS_FAILED,
        "timed out",
        patience=IMPATIENT,
    ),
    Case("EHLO refused inside TLS", good(ehlo_in_tls=b"503 5.5.1 no\r\n"), Reason.EHLO_AFTER_TLS_FAILED, "503"),
    Case(
        "busy inside TLS",
        good(ehlo_in_tls=b"421 4.7.0 too many new TLS sessions\r\n"),
        warns=(Reason.SERVER_BUSY,),
    ),
    Case("garbage inside TLS", good(ehlo_in_tls=b"\x00" * 9000), Reason.EHLO_AFTER_TLS_FAILED, r"\x00"),
    Case("endless reply inside TLS", good(ehlo_in_tls=flood(b"250-x\r\n")), Reason.EHLO_AFTER_TLS_FAILED, "octets"),
    Case(
        "demands a client certificate",
        good(demands_client_certificate=True),
        Reason.CLIENT_CERTIFICATE_REQUIRED,
        "alert certificate required",
    ),
    Case(
        "no greeting inside TLS",
        good(implicit=True, greeting=Act.SILENCE),
        Reason.NO_BANNER,
        tls=IMPLICIT,
        patience=IMPATIENT,
    ),
    Case(
        "STARTTLS inside TLS", good(ehlo_in_tls=b"250-mx1\r\n250 STARTTLS\r\n"), warns=(Reason.STARTTLS_READVERTISED,)
    ),
    Case(
        "AUTH in clear, enforced",
        good(ehlo=AUTH, ehlo_in_tls=b"250-mx1\r\n250 AUTH PLAIN\r\n"),
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
        policy=ENFORCED,
    ),
    Case("AUTH in clear, opportunistic", good(ehlo=AUTH)),
    Case(
        "AUTH lost inside TLS",
        good(ehlo=AUTH),
        Reason.AUTH_MISSING,
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
        policy=ENFORCED,
    ),
    Case("AUTH nowhere, at a port of any number", good(), policy=ENFORCED),
    Case("AUTH nowhere, opportunistic", good()),
]


def probe(port: int, case: Case) -> Endpoint:
    """Probe one scripted server as the case wants it."""
    target = Target(
        "127.0.0.1",
        Port(port, case.tls, case.policy),
        HOST,
        pod="postfix-0",
        workload="StatefulSet/postfix",
        software=Software.POSTFIX,
    )
    stored = case.stored or case.script.served or GOOD
    trust = AUTHORITY.roots_pem if case.trust is None else case.trust
    expected = Expected(stored.sha256, trust, stored.chain[0].not_valid_before_utc)
    limits = Limits(connect=PATIENT, dialog=case.patience, handshake=case.patience, overall=2 * PATIENT)
    return Prober(limits).probe([target], expected)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.name))
def test_misconfigured_server_gets_its_reason(case: Case, tmp_path: Path) -> None:
    """Each server earns exactly the failing reason and the warnings of its row, in words that help."""
    with serving(case.script, tmp_path) as port:
        endpoint = probe(port, case)
    failure = endpoint.failure
    assert (failure.reason if failure else None) == case.reason, endpoint.findings
    assert failure is None or case.says in failure.message
    assert tuple(found.reason for found in endpoint.findings if found.severity is Severity.WARN) == case.warns
    assert all(found.message.isprintable() and len(found.message) < 900 for found in endpoint.findings)
    assert all(found.evidence or SILENT.search(case.name) for found in endpoint.findings), endpoint.findings
    assert all(found.evidence.isprintable() and len(found.evidence) <= EVIDENCE_LIMIT for found in endpoint.findings)
