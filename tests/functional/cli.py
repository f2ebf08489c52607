"""The command `mailtls` as a user runs it, and what stands between it and a server."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from functional.signed_zones import Child
from mailservers.certificates import HOST

CHILDREN = {"xn--bcher-kva.example": Child(f'@ MX 10 {HOST}.\n@ TXT "v=spf1 mx -all"\n', is_signed=False)}
MX_CHILD = Child("mx1 A 127.0.0.1\n", is_signed=False)


def mailtls(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without any cluster, and without a terminal."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "operator", "KUBECONFIG": "/nonexistent"}
    command = [sys.executable, "-m", "mailtls", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


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
            server = socket.create_connection(behind, 10)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while heard := source.recv(65536):
            sink.sendall(heard)
        sink.shutdown(socket.SHUT_RDWR)
