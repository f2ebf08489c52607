"""An SMTP server with the fault of CVE-2011-0411: what came in clear behind STARTTLS is carried out inside TLS."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mailservers.certificates import Served

_REPLIES = {b"EHLO": b"250-mx1.example.com\r\n250 STARTTLS\r\n", b"NOOP": b"250 2.0.0 Ok\r\n", b"QUIT": b"221 bye\r\n"}
_IN_TLS = {b"EHLO": b"250 mx1.example.com\r\n"}


class _Forgetless(socketserver.BaseRequestHandler):
    """One connection, with one buffer for all of it: that is the fault."""

    context: ssl.SSLContext

    def handle(self) -> None:
        """Greet, then obey line by line."""
        self.request.settimeout(20)
        self.request.sendall(b"220 mx1.example.com ESMTP\r\n")
        pending = b""
        with suppress(OSError):
            while True:
                while b"\n" not in pending:
                    if not (received := self.request.recv(4096)):
                        return
                    pending += received
                line, _, pending = pending.partition(b"\n")
                self._obey(line[:8].upper())

    def _obey(self, command: bytes) -> None:
        if command == b"STARTTLS":
            self.request.sendall(b"220 2.0.0 Ready to start TLS\r\n")
            self.request = self.context.wrap_socket(self.request, server_side=True)
        else:
            secured = isinstance(self.request, ssl.SSLSocket)
            replies = _REPLIES | _IN_TLS if secured else _REPLIES
            self.request.sendall(replies.get(command[:4], b"502 5.5.1 unknown\r\n"))


@contextmanager
def serving(served: Served, folder: Path) -> Iterator[int]:
    """Run one on a port of loopback."""
    file = folder / "forgetless.pem"
    file.write_bytes(served.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    handler = type("Handler", (_Forgetless,), {"context": context})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
