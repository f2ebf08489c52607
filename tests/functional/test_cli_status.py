"""`mailtls status` as a program, on a terminal and in a pipe, against an API server that answers one list."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builders.resources import PORT, resource

COLUMNS = 60
LONG_WORDS = "The name server ns1.a-rather-long-provider-name.example.net never had the record " * 3
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: here, context: {{cluster: it, user: me, namespace: mail}}}}]
current-context: here
"""


def wide_resource() -> dict[str, Any]:
    """Long names, long messages and two ports: more than a terminal is wide."""
    history = [{"time": "2026-11-20T00:00:00Z", "event": "Issued", "message": LONG_WORDS}]
    ports = [{**PORT, "pod": "postfix-with-a-long-name-0", "address": "2001:db8:1234:5678::1", "message": LONG_WORDS}]
    made = resource("Verified", endpoints=ports, history=history)
    made["metadata"]["name"] = "the-mail-server-of-the-whole-department"
    made["spec"]["dnsNames"] = ["incoming.mail.department.example.com"]
    return made


class ApiServer(BaseHTTPRequestHandler):
    """Knows one resource, by itself and in a list."""

    def do_GET(self) -> None:
        """Answer."""
        one = wide_resource()
        is_one = one["metadata"]["name"] in self.path
        body = json.dumps(one if is_one else {"metadata": {}, "items": [one]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A way to that server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path_factory.mktemp("status") / "kubeconfig"
        file.write_text(KUBECONFIG.format(port=server.server_port))
        yield file
        server.shutdown()


def command(kubeconfig: Path, *arguments: str) -> list[str]:
    """What a person types."""
    return [sys.executable, "-m", "mailtls", "status", *arguments, "--kubeconfig", str(kubeconfig)]


def on_a_terminal(kubeconfig: Path, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command(kubeconfig, *arguments), stdout=theirs, env=environment) as program:
        os.close(theirs)
        shown = b""
        try:
            while more := os.read(ours, 4096):
                shown += more
        except OSError:  # how a terminal says that nobody writes any more
            pass
        os.close(ours)
    assert program.returncode == 1
    return shown.decode().splitlines()


@pytest.mark.parametrize("name", ["", "the-mail-server-of-the-whole-department"])
def test_status_fits_the_terminal(name: str, kubeconfig: Path) -> None:
    """The list and the story alike."""
    lines = on_a_terminal(kubeconfig, *filter(None, [name]))
    assert lines[0].startswith("NAME")
    assert max(map(len, lines)) <= COLUMNS


def test_pipe_gets_whole_lines_and_programs_get_json(kubeconfig: Path) -> None:
    """Nothing is cut where no terminal is."""
    listed = subprocess.run(command(kubeconfig), capture_output=True, text=True, check=False)
    assert "incoming.mail.department.example.com" in listed.stdout
    told = subprocess.run(command(kubeconfig, "--json"), capture_output=True, text=True, check=False)
    read = json.loads(told.stdout)
    assert told.returncode == 1
    assert [each["host"] for each in read["resources"]] == ["incoming.mail.department.example.com"]
