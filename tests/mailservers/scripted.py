"""Mail servers on loopback that do exactly what a script says, mostly wrong things."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from mailservers.certificates import HOST, Served

PATIENCE = 20  # seconds after which a test server gives up a connection


TAG = b"{tag}"  # in what an IMAP server says: the tag of the command
_STARTTLS = re.compile(rb"(?i)(\S+ )?(STARTTLS|STLS)\r?\n")
_FAREWELL = re.compile(rb"(?im)^(\S+ )?(QUIT|LOGOUT)\r?\n")


class Act(Enum):
    """What a server does instead of an answer."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"


Step: TypeAlias = bytes | Act | Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Script:
    """One server's behaviour; `served` None: it has no TLS. Each step is what it says, or does, at that point."""

    served: Served | None = None
    implicit: bool = False
    greeting: Step = b"220 mx1.example.com ESMTP\r\n"
    ehlo: Step = b"250-mx1.example.com\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n"
    starttls: Step = b"220 2.0.0 Ready to start TLS\r\n"
    handshake: Step = b""
    ehlo_in_tls: Step = b"250-mx1.example.com\r\n250 SIZE 10240000\r\n"
    ciphers: str = "DEFAULT:@SECLEVEL=0"
    version: ssl.TLSVersion | None = None
    demands_client_certificate: bool = False
    unasked_in_tls: bool = False  # the capabilities come by themselves after STARTTLS, as in ManageSieve


class _Over(Exception):
    """The script ends the connection here."""


@contextmanager
def serving(script: Script, directory: Path) -> Iterator[int]:
    """Run a scripted server; yields its port."""
    context = _context(script, directory)
    with accepting(lambda connection: _serve(connection, script, context)) as port:
        yield port


@contextmanager
def accepting(take: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on a port of loopback until the block ends, each with a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, take), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def _accept(listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.settimeout(PATIENCE)
        threading.Thread(target=take, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket, script: Script, context: ssl.SSLContext | None) -> None:
    with connection, suppress(OSError, _Over):
        if script.implicit and context:
            with context.wrap_socket(connection, server_side=True) as secured:
                _do(secured, script.greeting)
                _inside_tls(secured, script)
            return
        _do(connection, script.greeting)
        command = _hear(connection)
        if not _STARTTLS.match(command):  # some clients do not ask what is offered
            _do(connection, script.ehlo, command)
            command = _hear(connection)
        _do(connection, script.starttls, command)
        if isinstance(script.handshake, bytes) and script.handshake:
            _hear(connection)  # else the answer could travel in one segment with the 220
        _do(connection, script.handshake)
        if context:
            with context.wrap_socket(connection, server_side=True) as secured:
                _inside_tls(secured, script)


def _inside_tls(connection: socket.socket, script: Script) -> None:
    command = b"" if script.unasked_in_tls else _hear(connection)
    _do(connection, script.ehlo_in_tls, command)
    if not _FAREWELL.search(command):
        command = _hear(connection)
    if _FAREWELL.search(command) and isinstance(connection, ssl.SSLSocket):
        connection.unwrap()


def _do(connection: socket.socket, step: Step, command: bytes = b"") -> None:
    if callable(step):
        step(connection)
    elif isinstance(step, bytes):
        connection.sendall(step.replace(TAG, command.partition(b" ")[0]))
    elif step is Act.SILENCE:
        while connection.recv(4096):
            pass
        raise _Over
    else:
        if step is Act.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        raise _Over


def _hear(connection: socket.socket) -> bytes:
    """Wait for a command; a client that closes ends the script."""
    command = connection.recv(4096)
    if not command:
        raise _Over
    return command


def _context(script: Script, directory: Path) -> ssl.SSLContext | None:
    if script.served is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(script.ciphers)
    if script.version:
        context.minimum_version = context.maximum_version = script.version
    if script.demands_client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    file = directory / f"{HOST}-{script.served.sha256[:8]}.pem"
    file.write_bytes(script.served.pem)
    context.load_cert_chain(file)
    return context
