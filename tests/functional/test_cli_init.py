"""`mailtls init` as a program, in a terminal and without one, against an API server that notes what is asked of it."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import kube

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: it, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: here, context: {{cluster: it, user: me, namespace: mail}}}}]
current-context: here
"""
POSTFIX = kube.workload(spec={"containers": [{"name": "postfix", "image": "registry.example.com/postfix:3.10"}]})
HERE = os.environ | {"PYTHONPATH": "operator"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass
class Api:
    """The server's kubeconfig, and the methods of all requests."""

    kubeconfig: Path
    methods: list[str] = field(default_factory=list)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """One StatefulSet of Postfix, in a cluster that has nothing else."""
    found = Api(tmp_path / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            found.methods.append(self.command)
            is_list = self.path.partition("?")[0].endswith("s")
            items: list[Any] = [POSTFIX] if "/statefulsets" in self.path else []
            body = json.dumps({"metadata": {}, "items": items} if is_list else {"message": "not found"}).encode()
            self.send_response(200 if is_list else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler._answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.kubeconfig.write_text(KUBECONFIG.format(port=server.server_port))
        yield found
        server.shutdown()


def command(api: Api, *arguments: str) -> list[str]:
    """What a person types."""
    options = ["--no-preflight", "--resolver", "127.0.0.1:1", "--kubeconfig", str(api.kubeconfig)]
    return [sys.executable, "-m", "mailtls", "init", *arguments, *options]


def test_in_a_terminal_it_asks_and_prints_what_can_be_piped(api: Api) -> None:
    """Questions go to standard error and answers come from the terminal, so that the manifest can go into a file."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            command(api), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=HERE
        ) as running:
            os.write(ours, b"mx1.example.com, mail.example.com\npostmaster@example.com\n")
            printed, said = running.communicate(timeout=120)
    finally:
        os.close(ours)
        os.close(theirs)
    assert running.returncode == 0, said
    values, resource, pods = yaml.safe_load_all(printed)
    assert values["acme"]["email"] == "postmaster@example.com"
    assert resource["spec"]["dnsNames"] == ["mx1.example.com", "mail.example.com"]
    assert resource["spec"]["workloads"] == [{"kind": "StatefulSet", "name": "postfix", "preset": "postfix"}]
    assert pods["spec"]["template"]["spec"]["volumes"] == [{"name": "mail-tls", "secret": {"secretName": "mx-tls"}}]
    assert "StatefulSet/postfix has mail servers: postfix in container postfix." in said
    assert set(api.methods) == {"GET"}


def test_without_a_terminal_it_asks_nothing(api: Api) -> None:
    """In a pipe only options count: without a name it says which option is missing, and prints nothing."""
    done = subprocess.run(
        command(api), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=HERE, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Write --dns-name" in done.stderr
