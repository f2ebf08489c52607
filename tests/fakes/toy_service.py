"""The service behind `builders.toy_provider`: TXT records over HTTP, for whoever shows the token."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-token-of-the-toy"


@dataclass
class ToyService:
    """The records by name, and where it listens; `on_change` is told each name and its values."""

    records: dict[str, set[str]] = field(default_factory=dict)
    url: str = ""
    on_change: Callable[[str, set[str]], None] = lambda _name, _values: None

    def answer(self, method: str, path: str, authorization: str) -> tuple[int, str]:
        """Do what a request says."""
        if authorization != f"Bearer {TOKEN}":
            return 403, ""
        name, _, value = path.strip("/").partition("/")
        values = self.records.setdefault(name, set())
        if method == "PUT":
            values.add(value)
        if method == "DELETE":
            values.discard(value)
        self.on_change(name, values)
        return 200, " ".join(values)


@contextmanager
def running(service: ToyService) -> Iterator[ToyService]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = service.answer(self.command, self.path, self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_DELETE = do_GET  # noqa: N815 - the names are those of http.server

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
