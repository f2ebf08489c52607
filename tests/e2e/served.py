"""Sees what a mail server serves with nothing but the standard library: the test's own proof, not the operator's."""

from __future__ import annotations

import socket
import ssl
from hashlib import sha256

IMPLICIT = 465
_IMAPS = 993
_PATIENCE = 60.0


def served_fingerprint(address: str, port: int, name: str, roots_pem: str) -> str:
    """SHA-256 of the leaf that a port serves; raises `ssl.SSLError` unless its chain and name are right."""
    trust = ssl.create_default_context(cadata=roots_pem)
    with socket.create_connection((address, port), _PATIENCE) as connection:
        if port not in {IMPLICIT, _IMAPS}:
            _start_tls(connection)
        with trust.wrap_socket(connection, server_hostname=name) as secured:
            return sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def _start_tls(connection: socket.socket) -> None:
    """Speak SMTP until the server is ready for TLS (RFC 3207)."""
    with connection.makefile("rb") as replies:
        for command, code in ((b"", b"220"), (b"EHLO probe.test\r\n", b"250"), (b"STARTTLS\r\n", b"220")):
            connection.sendall(command)
            line = replies.readline()
            while line[3:4] == b"-":
                line = replies.readline()
            assert line.startswith(code), line
