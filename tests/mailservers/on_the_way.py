"""What stands between a client and a mail server: middleboxes before a real Postfix, ports that do not speak.

The option of a case names what its connections meet.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from mailservers import forgetless, stock
from mailservers.case import Case, Table
from mailservers.instance import LOOPBACK, Instance, folder
from mailservers.postfix import missing, postfix
from mailservers.scripted import PATIENCE, Act, Script, accepting, serving
from mailtls.probe.target import Depth, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason

IMPLICIT, ENFORCED = TlsMode.IMPLICIT, TlsPolicy.ENFORCED
CASES = {
    "passes-all": Case(options=("pass",)),
    "refused": Case(options=("refuse",), reason=Reason.CONNECTION_REFUSED, says="Nothing listens"),
    "silent": Case(options=("silent",), reason=Reason.NO_BANNER, says="timed out", patience=1.5),
    "silent-465": Case(
        options=("silent",), tls=IMPLICIT, reason=Reason.TLS_HANDSHAKE_FAILED, says="timed out", patience=1.5
    ),
    "closes-at-once": Case(options=("close",), reason=Reason.NO_BANNER, says="closed"),
    "starttls-stripped": Case(
        options=("strip",), policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="middlebox"
    ),
    "starttls-masked": Case(
        options=("mask",),
        policy=ENFORCED,
        reason=Reason.STARTTLS_MASKED,
        says="XXXXXXXA",
        thread="nabla-c0d3/sslyze#84",
    ),
    "starttls-refused": Case(options=("refuse-starttls",), reason=Reason.STARTTLS_REJECTED, says="502"),
    "text-injected": Case(options=("inject",), reason=Reason.PLAINTEXT_AFTER_STARTTLS, says="250 injected"),
    "injectable": Case(
        options=("forgetless",),
        depth=Depth.DEEP,
        reason=Reason.STARTTLS_COMMAND_INJECTION,
        says="carried out inside TLS",
    ),
    "banner-hidden": Case(options=("hide-banner",)),
    "cut-in-tls": Case(options=("cut",), reason=Reason.TLS_HANDSHAKE_FAILED, says="closed"),
    "drips": Case(options=("drip",), reason=Reason.NO_BANNER, says="timed out", patience=3),
    "drips-in-tls": Case(options=("drip-tls",), reason=Reason.TLS_HANDSHAKE_FAILED, says="timed out", patience=3),
    "endless-line": Case(options=("endless-line",), reason=Reason.PROTOCOL_ERROR, says="octets"),
    "endless-lines": Case(options=("endless-lines",), reason=Reason.PROTOCOL_ERROR, says="octets"),
    "endless-lines-465": Case(
        options=("endless-lines",), tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says="220-"
    ),
}

Rewrite = Callable[[bytes], bytes | None]  # what a server said, as the client is to hear it; None: cut the line


class Slowly(bytes):
    """What the client is to hear an octet a second."""


def unchanged(said: bytes) -> bytes:
    """Pass on what the server said."""
    return said


def stripped(said: bytes) -> bytes:
    """Take STARTTLS off the list."""
    return re.sub(rb"^250-STARTTLS\r\n", b"", said, flags=re.MULTILINE)


def _mask(said: bytes) -> bytes:
    """Do what Cisco's `fixup protocol smtp` is known for."""
    return said.replace(b"250-STARTTLS", b"250-XXXXXXXA")


def _inject(said: bytes) -> bytes:
    return said + b"250 injected\r\n" if said.startswith(b"220 2.0.0 ") else said


def _refuse(said: bytes) -> bytes:
    return b"502 5.5.1 Error: command not implemented\r\n" if said.startswith(b"220 2.0.0 ") else said


def _hide(said: bytes) -> bytes:
    return b"220 ****************\r\n" if said.startswith(b"220 mx") else said


def _cut(said: bytes) -> bytes | None:
    return None if said.startswith(b"\x16") else said


def _drip(said: bytes) -> bytes:
    return Slowly(said)


def _drip_tls(said: bytes) -> bytes:
    return Slowly(said) if said.startswith(b"\x16") else said


def _endless(line: bytes) -> Callable[[socket.socket], None]:
    """Say the same until the client leaves."""

    def say(connection: socket.socket) -> None:
        while True:
            connection.sendall(line * 100)

    return say


_REWRITES: Mapping[str, Rewrite] = {
    "pass": unchanged,
    "strip": stripped,
    "mask": _mask,
    "inject": _inject,
    "refuse-starttls": _refuse,
    "hide-banner": _hide,
    "cut": _cut,
    "drip": _drip,
    "drip-tls": _drip_tls,
}
_SCRIPTS = {
    "silent": Script(greeting=Act.SILENCE),
    "close": Script(greeting=Act.CLOSE),
    "endless-line": Script(greeting=_endless(b"2" * 1000)),
    "endless-lines": Script(greeting=_endless(b"220-more to come\r\n")),
}


@contextmanager
def _refusing() -> Iterator[int]:
    """A port that nobody else can take, and nobody listens on."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


def middlebox(behind: tuple[str, int], rewrites: Callable[[], Rewrite]) -> AbstractContextManager[int]:
    """Pass connections on, changing what the server says: for each connection another rewrite is made."""
    return accepting(lambda client: _pass_on(client, behind, rewrites()))


def _pass_on(client: socket.socket, behind: tuple[str, int], change: Rewrite) -> None:
    with suppress(OSError):
        server = socket.create_connection(behind, PATIENCE)
        threading.Thread(target=_carry, args=(client, server, unchanged), daemon=True).start()
        _carry(server, client, change)


def _carry(source: socket.socket, sink: socket.socket, change: Rewrite) -> None:
    with suppress(OSError):
        while said := source.recv(65536):
            heard = change(said)
            if heard is None:
                break
            for part in _parts(heard):
                sink.sendall(part)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def stripping(behind: tuple[str, int]) -> AbstractContextManager[int]:
    """Put up a middlebox that takes STARTTLS off the list, for tests that bring the server behind it."""
    return middlebox(behind, lambda: stripped)


def _parts(heard: bytes) -> Iterator[bytes]:
    if not isinstance(heard, Slowly):
        yield heard
        return
    for place in range(len(heard)):
        yield heard[place : place + 1]
        time.sleep(1)


@contextmanager
def before_postfix(
    cases: Mapping[str, Case],
    backends: Mapping[str, tuple[str, ...]],
    put_up: Callable[[Case, Path, Callable[[str], tuple[str, int]]], AbstractContextManager[int]],
) -> Iterator[Instance]:
    """Put up what each case names, by `put_up`: it gets the case, a folder, and where a backend of a Postfix is."""
    with postfix(backends) as server, folder("on-the-way") as home, ExitStack() as stack:
        for backend in backends:
            server.certificate(backend, stock.STORED.pem)
        ports = {name: stack.enter_context(put_up(case, home, server.where)) for name, case in cases.items()}
        yield Instance(home, ports)


def _put_up(case: Case, home: Path, where: Callable[[str], tuple[str, int]]) -> AbstractContextManager[int]:
    (kind,) = case.options
    if kind in _SCRIPTS:
        return serving(_SCRIPTS[kind], home)
    if kind in _REWRITES:
        return middlebox(where("behind"), lambda: _REWRITES[kind])
    if kind == "forgetless":
        return forgetless.serving(stock.STORED, home)
    return _refusing()


def serve(cases: Mapping[str, Case]) -> AbstractContextManager[Instance]:
    """Put up all that the cases name, before one Postfix."""
    return before_postfix(cases, {"behind": ()}, _put_up)


ON_THE_WAY = Table("middleboxes", CASES, serve, missing)
