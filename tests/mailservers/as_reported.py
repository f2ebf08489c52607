"""What users of other programs met and wrote down in those programs' lists of issues, played again.

A middlebox before a real Postfix says what their servers said; where the dialog is IMAP's, a script does.
"""

import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path

from mailservers import stock
from mailservers.case import Case, Table
from mailservers.instance import Instance
from mailservers.on_the_way import Rewrite, before_postfix, middlebox, stripped, unchanged
from mailservers.postfix import missing
from mailservers.scripted import Act, Script, serving
from mailtls.probe.target import Depth, Protocol, TlsPolicy
from mailtls.reasons.reason import Reason

PLAIN, POLICED, MODERN = "plain", "policed", "modern"
_MOST_AT_ONCE, _WITHIN = 4, 10.0  # connections that the busy server takes, and the seconds that it counts
BACKENDS: Mapping[str, tuple[str, ...]] = {
    PLAIN: (),
    # What many have against spammers: a client must greet with a whole host name, at once.
    POLICED: (
        "smtpd_helo_required=yes",
        "smtpd_helo_restrictions=reject_invalid_helo_hostname,reject_non_fqdn_helo_hostname",
        "smtpd_delay_reject=no",
        "mynetworks=",
    ),
    MODERN: ("smtpd_tls_protocols=>=TLSv1.2",),
}
CASES = {
    "greeting-in-two-lines": Case(options=("two-lines",), thread="microsoft/referencesource#123"),
    "starttls-in-lower-case": Case(options=("lower-case",), policy=TlsPolicy.ENFORCED, thread="curl/curl#18588"),
    "starttls-in-the-last-line": Case(options=("last",), policy=TlsPolicy.ENFORCED, thread="zetacomponents/Mail#52"),
    "starttls-in-the-first-line": Case(
        options=("first",),
        policy=TlsPolicy.ENFORCED,
        reason=Reason.STARTTLS_NOT_ADVERTISED,
        thread="EFForg/starttls-backend#107",
    ),
    "answer-in-other-words": Case(options=("other-words",), thread="iSECPartners/sslyze#48"),
    "answer-in-two-lines": Case(options=("two-lines-at-last",), thread="iSECPartners/sslyze#48"),
    "greeting-in-two-pieces": Case(options=("two-pieces",), thread="postalserver/postal#3599"),
    "codes-without-words": Case(options=("codes-alone",), thread="Alinto/sope#68"),
    "ehlo-refused-for-its-argument": Case(
        options=("invalid-ehlo",), reason=Reason.CLIENT_NAME_REFUSED, says="501", thread="corecode/dma#87"
    ),
    "agrees-and-closes": Case(
        options=("no-certificate",),
        reason=Reason.TLS_HANDSHAKE_FAILED,
        says="closed",
        thread="stalwartlabs/stalwart#135",
    ),
    "agrees-and-speaks-in-clear": Case(
        options=("in-clear",),
        reason=Reason.PLAINTEXT_AFTER_STARTTLS,
        says="500 5.5.1",
        thread="bbottema/simple-java-mail#655",
    ),
    "every-other-time": Case(
        options=("every-other-time", MODERN),
        policy=TlsPolicy.ENFORCED,
        depth=Depth.FULL,
        reason=Reason.STARTTLS_NOT_ADVERTISED,
        thread="testssl/testssl.sh#2090",
    ),
    "few-at-once": Case(options=("few-at-once",), thread="testssl/testssl.sh#2089"),
    "busy-inside-tls": Case(
        options=("busy-in-tls",), warns=(Reason.SERVER_BUSY,), thread="internetstandards/Internet.nl#400"
    ),
    "refusal-in-another-script": Case(
        options=("other-script",), reason=Reason.PROBE_DENIED, says="550", thread="internetstandards/Internet.nl#797"
    ),
    "whole-host-name": Case(options=("pass", POLICED), thread="passbolt/passbolt_docker#132"),
    "imap-starttls-at-the-end": Case(
        options=("imap-last",), protocol=Protocol.IMAP, policy=TlsPolicy.ENFORCED, thread="testssl/testssl.sh#1212"
    ),
    "imap-starttls-in-lower-case": Case(
        options=("imap-lower-case",), protocol=Protocol.IMAP, policy=TlsPolicy.ENFORCED, thread="curl/curl#19089"
    ),
    "imap-starttls-not-listed": Case(
        options=("imap-not-listed",),
        protocol=Protocol.IMAP,
        policy=TlsPolicy.ENFORCED,
        reason=Reason.STARTTLS_NOT_ADVERTISED,
        thread="grommunio/gromox#3",
    ),
    "imap-capabilities-unasked": Case(
        options=("imap-unasked",), protocol=Protocol.IMAP, policy=TlsPolicy.ENFORCED, thread="emersion/go-imap#285"
    ),
    "imap-bye-again-and-again": Case(
        options=("imap-bye",),
        protocol=Protocol.IMAP,
        reason=Reason.SERVER_BUSY,
        says="Autologout",
        thread="jstedfast/MailKit#938",
    ),
    "sieve-starttls-at-the-end": Case(options=("sieve-last",), protocol=Protocol.SIEVE, thread="tonioo/sievelib#33"),
    "sieve-with-tls-at-once": Case(
        options=("sieve-implicit",),
        protocol=Protocol.SIEVE,
        reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT,
        says="4190 is a STARTTLS port",
        patience=3,
        thread="thsmi/sieve#400",
    ),
}


def _imap(capabilities: bytes) -> Script:
    return Script(
        stock.STORED,
        greeting=b"* OK ready\r\n",
        ehlo=b"* CAPABILITY IMAP4rev1 " + capabilities + b"\r\n{tag} OK completed\r\n",
        starttls=b"{tag} OK begin TLS negotiation now\r\n",
        ehlo_in_tls=b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK completed\r\n",
    )


def _two_pieces(connection: socket.socket) -> None:
    connection.sendall(b"220 mx1.example.com ESMTP")
    time.sleep(0.5)
    connection.sendall(b"\r\n")


def _imap_unasked(connection: socket.socket) -> None:
    connection.sendall(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
    tag, _, command = connection.recv(4096).partition(b" ")
    connection.sendall(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tag + b" OK completed\r\n")
    if command.startswith(b"LOGOUT") and isinstance(connection, ssl.SSLSocket):
        connection.unwrap()


def _bye(connection: socket.socket) -> None:
    connection.sendall(b"* BYE Autologout; idle for too long\r\n" * 6)
    connection.shutdown(socket.SHUT_WR)


_CYRUS = b'"IMPLEMENTATION" "Cyrus timsieved v2.4.8"\r\n"SASL" "PLAIN LOGIN"\r\n"SIEVE" "fileinto reject"\r\n'
_SIEVE = Script(
    stock.STORED,
    greeting=_CYRUS + b'"STARTTLS"\r\nOK\r\n',
    ehlo=_CYRUS + b'"STARTTLS"\r\nOK\r\n',
    starttls=b'OK "Begin TLS negotiation now"\r\n',
    ehlo_in_tls=_CYRUS + b"OK\r\n",
    unasked_in_tls=True,
)
_SCRIPTS = {
    "two-pieces": Script(stock.STORED, greeting=_two_pieces),
    "invalid-ehlo": Script(ehlo=b"501 Syntactically invalid EHLO argument(s)\r\n"),
    "no-certificate": Script(starttls=b"220 2.0.0 Ready to start TLS.\r\n", handshake=Act.CLOSE),
    "in-clear": Script(handshake=b"500 5.5.1 Command unrecognized\r\n"),
    "busy-in-tls": Script(stock.STORED, ehlo_in_tls=b"421 4.7.0 mx1.example.com Error: too many new TLS sessions\r\n"),
    "other-script": Script(greeting="550 black ip. (\u53d1\u4fe1IP\u88ab\u7981\u6b62)\r\n".encode("gb18030")),
    "imap-last": _imap(b"LOGINDISABLED IDLE STARTTLS"),
    "imap-lower-case": _imap(b"starttls logindisabled idle"),
    "imap-not-listed": _imap(b"LOGINDISABLED IDLE"),
    "imap-unasked": replace(_imap(b"LOGINDISABLED STARTTLS"), ehlo_in_tls=_imap_unasked, unasked_in_tls=True),
    "imap-bye": replace(_imap(b""), ehlo=_bye),
    "sieve-last": _SIEVE,
    "sieve-implicit": replace(_SIEVE, implicit=True),
}


def _two_lines(said: bytes) -> bytes:
    return said.replace(b"220 mx1.example.com ", b"220-mx1.example.com ESMTP, please wait\r\n220 mx1.example.com ")


def _lower_case(said: bytes) -> bytes:
    return said.lower() if said.startswith(b"250-") else said


def _last(said: bytes) -> bytes:
    moved = stripped(said)
    return (
        said if moved == said else re.sub(rb"^250 (.*)\r\n", rb"250-\1\r\n250 STARTTLS\r\n", moved, flags=re.MULTILINE)
    )


def _first(said: bytes) -> bytes:
    moved = stripped(said)
    return said if moved == said else re.sub(rb"\A250-.*\r\n", b"250-STARTTLS\r\n", moved)


def _other_words(said: bytes) -> bytes:
    return b"220 Go ahead\r\n" if said.startswith(b"220 2.0.0 ") else said


def _two_lines_at_last(said: bytes) -> bytes:
    return b"220-Go\r\n220 ahead\r\n" if said.startswith(b"220 2.0.0 ") else said


def _codes_alone(said: bytes) -> bytes:
    return b"220\r\n" if said.startswith(b"220 ") else said


def _busy(said: bytes) -> bytes | None:
    return b"421 4.7.0 mx1.example.com Error: too many connections from you\r\n" if said.startswith(b"220") else None


def _every_other_time() -> Callable[[], Rewrite]:
    numbers = count()
    return lambda: stripped if next(numbers) % 2 else unchanged


def _few_at_once() -> Callable[[], Rewrite]:
    """Take some connections, and refuse the others until it was quiet for a while."""
    recent: deque[float] = deque()
    lock = threading.Lock()

    def choose() -> Rewrite:
        with lock:
            while recent and recent[0] < time.monotonic() - _WITHIN:
                recent.popleft()
            recent.append(time.monotonic())
            return unchanged if len(recent) <= _MOST_AT_ONCE else _busy

    return choose


_REWRITES: Mapping[str, Rewrite] = {
    "pass": unchanged,
    "two-lines": _two_lines,
    "lower-case": _lower_case,
    "last": _last,
    "first": _first,
    "other-words": _other_words,
    "codes-alone": _codes_alone,
    "two-lines-at-last": _two_lines_at_last,
}
_CHANGING: Mapping[str, Callable[[], Callable[[], Rewrite]]] = {
    "every-other-time": _every_other_time,
    "few-at-once": _few_at_once,
}


def _put_up(case: Case, home: Path, where: Callable[[str], tuple[str, int]]) -> AbstractContextManager[int]:
    kind, backend = (*case.options, PLAIN)[:2]
    if kind in _SCRIPTS:
        return serving(_SCRIPTS[kind], home)
    return middlebox(where(backend), _CHANGING[kind]() if kind in _CHANGING else lambda: _REWRITES[kind])


def serve(cases: Mapping[str, Case]) -> AbstractContextManager[Instance]:
    """Put up all that the cases name, before one Postfix."""
    return before_postfix(cases, BACKENDS, _put_up)


AS_REPORTED = Table("as in issue reports", CASES, serve, missing)
