"""A web server over HTTPS that answers each path with raw octets of a test's making."""

import socketserver
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from fakes.listening import listening
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

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().split(b" ")[1].decode()
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            answer = answers[path]
            with suppress(OSError):
                answer(self) if callable(answer) else self.wfile.write(answer)

    with listening(Handler, certificate.pem) as port:
        yield port
