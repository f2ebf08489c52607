"""A mail client that shares no code with the operator: it says what a port really serves."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Self

from cryptography import x509

PORTS = (25, 465, 587)
TIMEOUT = 5.0
PACE = 0.1  # seconds between connections
AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a pod, and the address at which this client reaches it."""

    pod: str
    port: int
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Served:
    """What one handshake showed."""

    sha256: str
    expires: datetime
    tls_version: str


def look(target: Target) -> Served:
    """Connect as a client that does not care who answers; raises what goes wrong."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = target.address
    if target.port == 465:
        session: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
    else:
        session = smtplib.SMTP(host, port, timeout=TIMEOUT)
        session.starttls(context=context)
    with session:
        return _served(session)


def _served(session: smtplib.SMTP) -> Served:
    channel = session.sock
    if not isinstance(channel, ssl.SSLSocket):
        raise TypeError("the session is not encrypted")
    leaf = channel.getpeercert(binary_form=True) or b""
    expires = x509.load_der_x509_certificate(leaf).not_valid_after_utc.astimezone(UTC)
    return Served(hashlib.sha256(leaf).hexdigest(), expires, channel.version() or "?")


@dataclass
class Stream:
    """A client that connects ten times a second, to every port of every pod in turn, and counts.

    `seen` are the pods that have shown each certificate, once for each handshake.
    """

    targets: list[Target]
    handshakes: int = 0
    failures: list[str] = field(default_factory=list)
    seen: dict[str, list[str]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        targets = cycle(self.targets)
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            while not self._ended.wait(PACE - time.monotonic() % PACE):
                pool.submit(self._knock, next(targets))

    def _knock(self, target: Target) -> None:
        try:
            self.seen.setdefault(look(target).sha256, []).append(target.pod)
            self.handshakes += 1
        except (OSError, smtplib.SMTPException) as error:
            self.failures.append(f"{target.pod}:{target.port}: {error}")
