"""What a peer looks like that is dead: its packets are dropped, or it answers a byte a second."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BYTE_AGAIN = 1.0  # seconds
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Listen with a queue that is full: the kernel drops what comes then, as a firewall does."""
    with ExitStack() as kept:
        listener = kept.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(0)
        for _ in range(4):
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield


@contextmanager
def dripping(port: int, certificate: Path, key: Path) -> Iterator[None]:
    """Serve HTTPS whose every answer comes one byte a second, without an end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("0.0.0.0", port), backlog=64) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, context), name="dripping", daemon=True)
        accepting.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection, which closing does not
            accepting.join()


def _accept(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # closed at the end
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_drip, args=(connection, context), daemon=True).start()


def _drip(connection: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as speaking:
        speaking.recv(4096)
        speaking.sendall(_HEAD)
        while True:
            speaking.sendall(b" ")
            time.sleep(_BYTE_AGAIN)
