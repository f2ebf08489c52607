"""A small SMTP server on loopback that works, but for what a test breaks: TLS, the command buffer, AUTH."""

import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from OpenSSL import SSL

from mailservers.certificates import Served
from mailservers.scripted import Act

PATIENCE = 20  # seconds after which a connection is given up


@dataclass(frozen=True, slots=True)
class Mailbox:
    """How the server behaves behind its TLS settings; `heard` collects what came inside TLS."""

    context: ssl.SSLContext | SSL.Context
    keeps_plaintext: bool = False  # carries out inside TLS what came in clear behind STARTTLS
    refuses_pipelining: bool = False
    auth: str = "PLAIN LOGIN"  # the mechanisms offered inside TLS
    auth_reply: bytes = b""  # instead of a verdict on the password
    at_auth: Act | None = None  # what it does instead of an answer to AUTH
    users: Mapping[str, str] = field(default_factory=dict)
    heard: list[bytes] = field(default_factory=list)


def tls_context(directory: Path, *pairs: Served, ciphers: str = "DEFAULT:@SECLEVEL=0") -> ssl.SSLContext:
    """Settings of a server that has a certificate of each pair's key type."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    for pair in pairs:
        file = directory / f"{pair.sha256[:8]}.pem"
        file.write_bytes(pair.pem)
        context.load_cert_chain(file)
    return context


@contextmanager
def mailbox(behaviour: Mailbox) -> Iterator[int]:
    """Run the server; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, behaviour), daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(PATIENCE)


def _accept(listener: socket.socket, behaviour: Mailbox) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, behaviour), daemon=True).start()


def _serve(connection: socket.socket, behaviour: Mailbox) -> None:
    with connection, suppress(OSError, SSL.Error, EOFError):
        plain = _Lines(connection)
        connection.sendall(b"220 mx1.example.com ESMTP\r\n")
        while (line := plain.line().upper()) != b"STARTTLS":
            connection.sendall(
                b"250-mx1.example.com\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"250 OK\r\n"
            )
        if plain.pending and behaviour.refuses_pipelining:
            connection.sendall(b"503 5.5.0 Improper command pipelining\r\n")
            return
        connection.sendall(b"220 2.0.0 Ready\r\n")
        secured = _secured(connection, behaviour.context)
        inside = _Lines(secured, plain.pending if behaviour.keeps_plaintext else b"")
        _talk(inside, secured, behaviour)


def _talk(inside: "_Lines", secured: ssl.SSLSocket | SSL.Connection, behaviour: Mailbox) -> None:
    while True:
        line = inside.line()
        behaviour.heard.append(line)
        verb, _, rest = line.partition(b" ")
        if verb.upper() == b"QUIT":
            return
        if verb.upper() == b"AUTH" and behaviour.at_auth is Act.CLOSE:
            return
        if verb.upper() == b"AUTH" and behaviour.at_auth is Act.SILENCE:
            continue
        if verb.upper() == b"AUTH":
            secured.sendall(_verdict(inside, secured, rest, behaviour))
        elif verb.upper() == b"EHLO" and behaviour.auth:
            secured.sendall(b"250-mx1.example.com\r\n250 AUTH " + behaviour.auth.encode() + b"\r\n")
        else:
            secured.sendall(b"250 2.0.0 OK\r\n")


def _verdict(inside: "_Lines", secured: ssl.SSLSocket | SSL.Connection, rest: bytes, behaviour: Mailbox) -> bytes:
    mechanism, _, initial = rest.partition(b" ")
    if mechanism.upper() == b"PLAIN":
        _, user, password = b64decode(initial).split(b"\0")
    else:
        answers = []
        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
            secured.sendall(prompt)
            answers.append(b64decode(inside.line()))
        user, password = answers
    right = behaviour.users.get(user.decode()) == password.decode()
    return behaviour.auth_reply or (b"235 2.7.0 OK\r\n" if right else b"535 5.7.8 Not " + password + b"\r\n")


def _secured(connection: socket.socket, context: ssl.SSLContext | SSL.Context) -> ssl.SSLSocket | SSL.Connection:
    if isinstance(context, ssl.SSLContext):
        return context.wrap_socket(connection, server_side=True)
    secured = SSL.Connection(context, connection)
    secured.set_accept_state()
    secured.do_handshake()
    return secured


class _Lines:
    """Commands of a client, with what came behind them in the same segment."""

    def __init__(self, source: socket.socket | SSL.Connection, pending: bytes = b"") -> None:
        self._source, self.pending = source, pending

    def line(self) -> bytes:
        while b"\n" not in self.pending:
            more = self._source.recv(4096)
            if not more:
                raise EOFError
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        return line.removesuffix(b"\r")
