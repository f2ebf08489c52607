"""A web server over HTTPS that answers each path with raw octets of a test's making."""

import socketserver
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mailservers.certificates import Served

Answer = bytes | Callable[[socketserver.StreamRequestHandler], None]


def page(body: str | bytes, content_type: str = "text/plain; charset=utf-8", status: str = "200 OK") -> bytes:
    """Make a whole answer."""
    raw = body if isinstance(body, bytes) else body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


@contextmanager
def serving(certificate: Served, answers: Mapping[str, Answer]) -> Iterator[int]:
    """Serve with a certificate until the block ends; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server.pem").write_bytes(certificate.pem)
        context.load_cert_chain(Path(folder) / "server.pem")

    class Handler(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def handle(self) -> None:
            path = self.rfile.readline().split(b" ")[1].decode()
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            answer = answers[path]
            with suppress(OSError):
                answer(self) if callable(answer) else self.wfile.write(answer)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that leave in the middle: it is what these tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()
