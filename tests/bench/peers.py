"""Other people's programs, asked for the same thing as the probe: connect, start TLS, check the certificate.

Each is run as its own documentation says, and costs what the kernel says that it and its children used.
"""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.mailserver import STARTTLS_PORT
from bench.operator_process import cpu_seconds
from mailservers.certificates import HOST
from testbed.console import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAMS = {
    "posttls-finger": "postfix",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "testssl": "testssl.sh",
}
_BLACKBOX_PORT = 9115
_BLACKBOX = """\
modules:
  smtp:
    prober: tcp
    timeout: 10s
    tcp:
      query_response:
      - expect: "^220 "
      - send: "EHLO prober\\r"
      - expect: "^250[ -]STARTTLS"
      - send: "STARTTLS\\r"
      - expect: "^220 "
      - starttls: true
      - send: "EHLO prober\\r"
      - expect: "^250[ -]"
      - send: "QUIT\\r"
      tls_config: {ca_file: "%s", server_name: %s}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one look at a server took, in seconds: of a processor, and by the clock."""

    processor: float
    clock: float


def measured(look: Callable[[], None], times: int, used: Callable[[], float]) -> Cost:
    """Look `times` times in a row, and share what it took among them."""
    began, spent = time.monotonic(), used()
    for _ in range(times):
        look()
    return Cost((used() - spent) / times, (time.monotonic() - began) / times)


def own_seconds() -> float:
    """Processor time that this process used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def children_seconds() -> float:
    """Processor time that ended children, and theirs, used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class BareClient:
    """The least that any client of a STARTTLS port does: its talk, and OpenSSL's verified handshake; blocking."""

    def __init__(self, roots: Path) -> None:
        self._context = ssl.create_default_context(cafile=str(roots))

    def look(self) -> None:
        """Connect, start TLS, read the certificate, and leave."""
        with socket.create_connection(("127.0.0.1", STARTTLS_PORT), 10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for words in (b"", b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n"):
                connection.sendall(words)
                connection.recv(4096)
            with self._context.wrap_socket(connection, server_hostname=HOST) as secured:
                secured.getpeercert(binary_form=True)
                secured.sendall(b"EHLO [127.0.0.1]\r\n")
                secured.recv(4096)
                secured.sendall(b"QUIT\r\n")


def posttls_finger(roots: Path) -> None:
    """Look with Postfix's own tool, which verifies name and chain."""
    _run("posttls-finger", "-c", "-l", "secure", "-F", str(roots), f"[127.0.0.1]:{STARTTLS_PORT}", HOST)


def testssl(_roots: Path) -> None:
    """Look with testssl.sh, at the server's certificate and protocols only."""
    _run("testssl", "--quiet", "--warnings=off", "--color=0", "-p", "-S", "-t", "smtp", f"127.0.0.1:{STARTTLS_PORT}")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    if done.returncode != 0 and command[0] != "testssl":  # testssl's exit code counts what it found
        said = (done.stderr or done.stdout)[-300:].decode(errors="replace")
        raise Trouble(f"{command[0]} did not accept the server: {said}")


@contextmanager
def blackbox(roots: Path) -> Iterator[tuple[Callable[[], None], Callable[[], float]]]:
    """Run the exporter; gives what looks once, and what tells its processor time."""
    settings = roots.with_name("blackbox.yaml")
    settings.write_text(_BLACKBOX % (roots, HOST), encoding="utf-8")
    command = ["prometheus-blackbox-exporter", f"--config.file={settings}",
               f"--web.listen-address=127.0.0.1:{_BLACKBOX_PORT}", "--log.level=error"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(_BLACKBOX_PORT)
        yield _ask_blackbox, lambda: cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _ask_blackbox() -> None:
    query = urllib.parse.urlencode({"module": "smtp", "target": f"127.0.0.1:{STARTTLS_PORT}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{_BLACKBOX_PORT}/probe?{query}", timeout=20) as answer:
        if b"\nprobe_success 1" not in answer.read():
            raise Trouble("the blackbox exporter did not accept the server")


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Trouble(f"nothing listens on port {port} after ten seconds")
