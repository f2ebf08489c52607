"""Servers with the fault of CVE-2011-0411: what came in clear behind STARTTLS is carried out inside TLS."""

import socketserver
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fakes.listening import listening
from mailservers import stock
from mailservers.case import Case, Table
from mailservers.certificates import Served
from mailservers.instance import Instance, folder
from mailtls.probe.target import Depth, Protocol
from mailtls.reasons.reason import Reason


@dataclass(frozen=True, slots=True)
class Tongue:
    """One protocol as far as a probe speaks it; `replies` are by tag, by verb, and by whether TLS is there."""

    greeting: bytes
    starts: bytes
    agrees: bytes
    reply: Callable[[bytes, bytes, bool], bytes]  # to a tag (IMAP's), a verb, and inside TLS
    in_tls: bytes = b""  # what comes unasked inside TLS
    has_tags: bool = False


def _smtp(_tag: bytes, verb: bytes, in_tls: bool) -> bytes:
    listed = b"250-mx1.example.com\r\n250 SIZE\r\n" if in_tls else b"250-mx1.example.com\r\n250 STARTTLS\r\n"
    return {b"EHLO": listed, b"NOOP": b"250 2.0.0 Ok\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"502 5.5.1 unknown\r\n")


def _imap(tag: bytes, verb: bytes, in_tls: bool) -> bytes:
    names = b"IMAP4rev1" if in_tls else b"IMAP4rev1 STARTTLS LOGINDISABLED"
    listed = b"* CAPABILITY " + names + b"\r\n" if verb == b"CAPABILITY" else b""
    return listed + tag + b" OK done\r\n"


def _pop3(_tag: bytes, verb: bytes, in_tls: bool) -> bytes:
    listed = b"+OK\r\nUIDL\r\n.\r\n" if in_tls else b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n"
    return listed if verb == b"CAPA" else b"+OK bye\r\n" if verb == b"QUIT" else b"-ERR unknown\r\n"


_SIEVE_IN_TLS = b'"IMPLEMENTATION" "forgetless"\r\n"SASL" ""\r\nOK "TLS is there."\r\n'
_SIEVE_IN_CLEAR = b'"IMPLEMENTATION" "forgetless"\r\n"SASL" ""\r\n"STARTTLS"\r\nOK "Welcome."\r\n'


def _sieve(_tag: bytes, verb: bytes, in_tls: bool) -> bytes:
    listed = _SIEVE_IN_TLS if in_tls else _SIEVE_IN_CLEAR
    return {b"CAPABILITY": listed, b"NOOP": b'OK (TAG "mailtls") "Done."\r\n'}.get(verb, b'OK "Bye."\r\n')


TONGUES: Mapping[Protocol, Tongue] = {
    Protocol.SMTP: Tongue(b"220 mx1.example.com ESMTP\r\n", b"STARTTLS", b"220 2.0.0 Ready to start TLS\r\n", _smtp),
    Protocol.IMAP: Tongue(b"* OK ready\r\n", b"STARTTLS", b"a2 OK begin\r\n", _imap, has_tags=True),
    Protocol.POP3: Tongue(b"+OK ready\r\n", b"STLS", b"+OK begin\r\n", _pop3),
    Protocol.SIEVE: Tongue(_SIEVE_IN_CLEAR, b"STARTTLS", b'OK "Begin."\r\n', _sieve, in_tls=_SIEVE_IN_TLS),
}


class _Forgetless(socketserver.BaseRequestHandler):
    """One connection, with one buffer for all of it: that is the fault."""

    context: ssl.SSLContext
    tongue: Tongue

    def handle(self) -> None:
        """Greet, then obey line by line."""
        self.request.settimeout(20)
        self.request.sendall(self.tongue.greeting)
        pending = b""
        with suppress(OSError):
            while True:
                while b"\n" not in pending:
                    if not (received := self.request.recv(4096)):
                        return
                    pending += received
                line, _, pending = pending.partition(b"\n")
                self._obey(line.upper().split() or [b""])

    def _obey(self, words: list[bytes]) -> None:
        tag, verb = words[:2] if self.tongue.has_tags else (b"", words[0])
        if verb == self.tongue.starts:
            self.request.sendall(self.tongue.agrees)
            self.request = self.context.wrap_socket(self.request, server_side=True)
            self.request.sendall(self.tongue.in_tls)
        else:
            in_tls = isinstance(self.request, ssl.SSLSocket)
            self.request.sendall(self.tongue.reply(tag.lower(), verb, in_tls))


@contextmanager
def serving(served: Served, home: Path, protocol: Protocol = Protocol.SMTP) -> Iterator[int]:
    """Run one on a port of loopback."""
    file = home / f"forgetless-{protocol}.pem"
    file.write_bytes(served.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    handler = type("Handler", (_Forgetless,), {"context": context, "tongue": TONGUES[protocol]})
    with listening(handler) as port:
        yield port


CASES = {
    str(protocol): Case(
        protocol=protocol,
        depth=Depth.DEEP,
        reason=Reason.STARTTLS_COMMAND_INJECTION,
        says="carried out inside TLS",
    )
    for protocol in TONGUES
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run one for each case."""
    with folder("forgetless") as home, ExitStack() as stack:
        yield Instance(
            home,
            {name: stack.enter_context(serving(stock.STORED, home, case.protocol)) for name, case in cases.items()},
        )


INJECTABLE = Table("injectable", CASES, serve, lambda: "")
