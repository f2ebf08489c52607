"""The reload command of docs/how-to/stalwart.md, run against a server that answers as Stalwart's source does."""

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from contracts.snippets import resources

DONE = {"created": {"r": {"id": "b"}}}
REFUSED = {"notCreated": {"r": {"type": "forbidden"}}}


def command() -> list[str]:
    """The command as it is printed."""
    specs = (found["spec"] for place, found in resources() if place.startswith("stalwart.md:"))
    reloads = (spec["workloads"][0].get("reload") for spec in specs)
    return next(list(reload["command"]) for reload in reloads if reload)


@contextmanager
def stalwart(answer: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Answer each call with this, in one line as serde writes it; gives the address and what was asked."""
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["Authorization"], body))
            said = json.dumps({"methodResponses": [["x:Action/set", answer, "0"]]}, separators=(",", ":")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: Stalwart's reload command was not run")
@pytest.mark.parametrize(("answer", "code"), [(DONE, 0), (REFUSED, 1)])
def test_reload_asks_for_the_certificates_and_fails_when_that_is_refused(
    answer: dict[str, Any], code: int, tmp_path: Path
) -> None:
    """One call with the login of the file; what was answered instead of a reload stands in the message."""
    (tmp_path / "login").write_text("reloader:secret", encoding="utf-8")
    with stalwart(answer) as (address, asked):
        *shell, script = command()
        script = script.replace("127.0.0.1:8080", address).replace(
            "/etc/stalwart-reload/login", str(tmp_path / "login")
        )
        done = subprocess.run([*shell, script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done
    assert ("forbidden" in done.stderr) is (code == 1)
    ((login, body),) = asked
    assert login == f"Basic {b64encode(b'reloader:secret').decode()}"
    method, arguments, _ = body["methodCalls"][0]
    assert (method, arguments["create"]["r"]) == ("x:Action/set", {"@type": "ReloadTlsCertificates"})
