"""The command `mailtls` as a user runs it, what stands between it and a server, and an API server for it."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from functional.signed_zones import Child
from mailservers.certificates import HOST

CHILDREN = {"xn--bcher-kva.example": Child(f'@ MX 10 {HOST}.\n@ TXT "v=spf1 mx -all"\n', is_signed=False)}
MX_CHILD = Child("mx1 A 127.0.0.1\n", is_signed=False)


def mailtls(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without any cluster, and without a terminal."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator", "KUBECONFIG": "/nonexistent"}
    command = [sys.executable, "-m", "mailtls", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)


@contextmanager
def at_port_25(behind: tuple[str, int]) -> Iterator[str]:
    """Lead port 25 of an address that nobody else has to a server; gives where, as a user writes it."""
    address = f"127.{behind[1] >> 8}.{behind[1] & 255}.1"  # as unique as the server's own port
    with socket.create_server((address, 25)) as listener:
        threading.Thread(target=_lead, args=(listener, behind), daemon=True).start()
        try:
            yield f"{address}:25"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _lead(listener: socket.socket, behind: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(behind, 60)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while heard := source.recv(65536):
            sink.sendall(heard)
        sink.shutdown(socket.SHUT_RDWR)


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: here, context: {{cluster: it, user: me, namespace: mail}}}}]
current-context: here
"""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HERE = os.environ | {"PYTHONPATH": "operator"}
Reply = tuple[int, Any] | None
"""Status, and JSON or a text; None for no answer at all."""


@dataclass
class ApiServer:
    """How the API server is found, and all requests that it got: method and path."""

    kubeconfig: Path
    requests: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def methods(self) -> set[str]:
        """The methods of all requests."""
        return {method for method, _path in self.requests}

    def command(self, *arguments: str) -> list[str]:
        """What a person types, with this cluster."""
        return [sys.executable, "-m", "mailtls", *arguments, "--kubeconfig", str(self.kubeconfig)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        command = self.command(*arguments)
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=HERE, timeout=180, check=False
        )


@contextmanager
def api_server(folder: Path, reply: Callable[[str], Reply]) -> Iterator[ApiServer]:
    """Run an API server that replies to a path, its query included."""
    folder.mkdir(exist_ok=True)
    found = ApiServer(folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            found.requests.append((self.command, self.path))
            answer = reply(self.path)
            if answer is None:
                found.ended.wait(60)
                return
            status, body = answer
            kind = "text/plain" if isinstance(body, str) else "application/json"
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None:
            pass

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler._answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.kubeconfig.write_text(KUBECONFIG.format(port=server.server_port))
        try:
            yield found
        finally:
            found.ended.set()
            server.shutdown()
