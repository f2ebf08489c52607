"""A server on loopback whose connections are handled by a class, each in a thread of its own, within TLS or not."""

import socketserver
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection, in its own thread."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that leave in the middle: it is what these tests are about."""


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler], pem: bytes | None = None) -> Iterator[int]:
    """Serve until the block ends, with a certificate and its key where there are some; yields the port."""
    with _Server(("127.0.0.1", 0), handler) as server:
        server.context = _context(pem) if pem is not None else None
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server.pem").write_bytes(pem)
        context.load_cert_chain(Path(folder) / "server.pem")
    return context
