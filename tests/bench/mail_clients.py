"""Clients that use a mail server all the time and count what fails: senders by STARTTLS, IMAP sessions held open."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE: Final = 10.0  # seconds for an answer
_PAUSE: Final = 0.05  # seconds between two deliveries of a sender
_BETWEEN_COMMANDS: Final = 0.5  # seconds between two commands of a session


@dataclass(slots=True)
class Outcome:
    """What was tried so far, and what failed; safe for threads."""

    tried: int = 0
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Exception | None) -> None:
        """Count one more."""
        with self._lock:
            self.tried += 1
            if fault is not None:
                self.faults.append(f"{type(fault).__name__}: {fault}")


@dataclass(frozen=True, slots=True)
class MailService:
    """Where the servers are, under which name, and by which root clients trust them."""

    address: str
    host: str
    root_pem: str

    def trust(self) -> ssl.SSLContext:
        """As a client that enforces TLS: the chain and the name are checked."""
        return ssl.create_default_context(cadata=self.root_pem)

    def deliver(self) -> None:
        """Deliver one message by STARTTLS; raises what smtplib raises, for a deferral as for a refusal."""
        with smtplib.SMTP(self.address, 25, "sender.test", timeout=_PATIENCE) as client:
            client._host = self.host  # type: ignore[attr-defined]
            client.starttls(context=self.trust())
            refused = client.sendmail("a@sender.test", [f"root@{self.host}"], "Subject: test\r\n\r\nA message.\r\n")
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)

    def session(self) -> imaplib.IMAP4_SSL:
        """Open an IMAP connection with TLS from its start."""
        return _Session(self)

    def fingerprint(self, port: int = 465) -> str:
        """SHA-256 of the leaf that a port with TLS from its start serves, whoever issued it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((self.address, port), _PATIENCE) as plain, context.wrap_socket(plain) as secured:
            return sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


class _Session(imaplib.IMAP4_SSL):
    """One to an address that is checked for a name."""

    def __init__(self, service: MailService) -> None:
        self._name = service.host
        super().__init__(service.address, 993, ssl_context=service.trust(), timeout=_PATIENCE)

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        plain = socket.create_connection((self.host, self.port), timeout)
        return self.ssl_context.wrap_socket(plain, server_hostname=self._name)  # type: ignore[no-any-return]


@contextmanager
def delivering(service: MailService, senders: int) -> Iterator[Outcome]:
    """Deliver one message after the other, by so many senders at once."""
    outcome = Outcome()

    def deliver() -> None:
        fault: Exception | None = None
        try:
            service.deliver()
        except (OSError, smtplib.SMTPException) as problem:
            fault = problem
        outcome.add(fault)

    with _repeating(deliver, senders, _PAUSE):
        yield outcome


@contextmanager
def holding(service: MailService, user: str, password: str, sessions: int) -> Iterator[Outcome]:
    """Hold so many IMAP sessions open, with a command now and then; one that is dropped is a fault."""
    outcome = Outcome()
    kept: dict[int, imaplib.IMAP4_SSL] = {}

    def command() -> None:
        number = threading.get_ident()
        fault: Exception | None = None
        try:
            if number not in kept:
                kept[number] = service.session()
                kept[number].login(user, password)
            kept[number].noop()
        except (OSError, imaplib.IMAP4.error) as problem:
            kept.pop(number, None)
            fault = problem
        outcome.add(fault)

    with _repeating(command, sessions, _BETWEEN_COMMANDS):
        yield outcome
    for session in kept.values():
        with suppress(OSError, imaplib.IMAP4.error):
            session.logout()


@contextmanager
def _repeating(act: Callable[[], None], threads: int, pause: float) -> Iterator[None]:
    ended = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            act()
            ended.wait(pause)

    running = [threading.Thread(target=repeat, name="mail-client") for _ in range(threads)]
    for each in running:
        each.start()
    try:
        time.sleep(1.0)  # all of them are at work
        yield
    finally:
        ended.set()
        for each in running:
            each.join()
