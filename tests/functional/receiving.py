"""A small HTTP server on loopback that takes what others post to it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def receiving(take: Callable[[str, Message, bytes], bool]) -> Iterator[int]:
    """Give `take` the path, the headers and the body of each POST; yields the port.

    The answer is 200; there is none where `take` returns False.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if take(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
