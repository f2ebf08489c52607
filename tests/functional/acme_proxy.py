"""A TLS reverse proxy before Pebble that goes wrong on request: error answers, lost requests, lost replies.

It keeps the Host header, so that Pebble's URLs lead through it and signatures over URLs stay right.
"""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from functional.pebble import Pebble


@dataclass(frozen=True)
class Fault:
    """What happens to one request: an answer of the proxy's own, or (None) a connection cut.

    `after_processing`: Pebble acts on the request first, and its answer is lost.
    """

    status: int | None = None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_processing: bool = False


class Proxy:
    """Passes requests on to Pebble, but for the faults that a test set per path prefix."""

    def __init__(self, pebble: Pebble) -> None:
        self.pebble = pebble
        self.passed: list[str] = []
        self._faults: dict[str, list[Fault]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.folder / "cert.pem", pebble.folder / "key.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def directory_url(self) -> str:
        """Where ACME begins, through the proxy."""
        return f"https://127.0.0.1:{self._server.server_address[1]}/dir"

    def fail(self, path: str, *faults: Fault) -> None:
        """Let the next requests whose path begins with `path` meet these faults, one each."""
        self._faults.setdefault(path, []).extend(faults)

    def fault(self, path: str) -> Fault | None:
        """Take the fault that is due."""
        due = next((faults for prefix, faults in self._faults.items() if path.startswith(prefix) and faults), None)
        return due.pop(0) if due else None

    def serve(self) -> None:
        """Answer until closed."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def proxy_before(pebble: Pebble) -> Iterator[Proxy]:
    """Run a proxy for the block."""
    proxy = Proxy(pebble)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _go(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            fault = proxy.fault(self.path)
            if fault is None or fault.after_processing:
                answer = self._pass_on(body)
            if fault is None:
                self._send(answer.status_code, answer.headers, answer.content)
            elif fault.status is None:
                self.close_connection = True
            else:
                self._send(fault.status, fault.headers, fault.body.encode())

        do_GET = do_HEAD = do_POST = _go  # noqa: N815 - the names that http.server asks for

        def _pass_on(self, body: bytes) -> requests.Response:
            proxy.passed.append(self.path)
            url = f"https://127.0.0.1:{proxy.pebble.port}{self.path}"
            headers = {name: self.headers[name] for name in ("Host", "Content-Type") if name in self.headers}
            with proxy.pebble.trusting() as session:
                return session.request(self.command, url, data=body, headers=headers, timeout=30)

        def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            kept = {"Content-Type", "Location", "Link", "Replay-Nonce", "Retry-After"}
            for name in kept & set(headers):
                self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Stay silent."""

    return Handler
