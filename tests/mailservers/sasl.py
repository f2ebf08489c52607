"""Who a mail server asks about passwords: the server's side of Dovecot's authentication protocol, for one user."""

import base64
import socketserver
from contextlib import AbstractContextManager

from fakes.listening import listening

USER, PASSWORD = "probe@example.com", "not a secret"
# https://doc.dovecot.org/developer_manual/design/auth_protocol/ (version 1.1)
_HANDSHAKE = b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"


class _Asked(socketserver.StreamRequestHandler):
    """One mail server's connection."""

    def handle(self) -> None:
        """Introduce ourselves, then answer each request."""
        self.wfile.write(_HANDSHAKE)
        for line in self.rfile:
            command, *words = line.decode().rstrip("\n").split("\t")
            if command == "AUTH":
                self.wfile.write(_answer(words).encode())


def _answer(words: list[str]) -> str:
    given = next((word.removeprefix("resp=") for word in words if word.startswith("resp=")), "")
    right = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    return f"OK\t{words[0]}\tuser={USER}\n" if given == right else f"FAIL\t{words[0]}\tuser={USER}\n"


def serving() -> AbstractContextManager[int]:
    """Answer on a port of loopback."""
    return listening(_Asked)
