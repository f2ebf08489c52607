"""An ACME server over real HTTPS whose every answer a test decides, octet by octet."""

import json
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from fakes.listening import listening
from mailservers.certificates import Authority, Wanted
from mailtls.api.spec import Acme, PrivateKeyPolicy
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.session import Identity, Session
from mailtls.issuance.certificates import new_key
from mailtls.net.addresses import AddressPolicy

PROBLEM = "application/problem+json"
CA = Authority("Root of a hostile CA")
Answer = bytes | Callable[[socketserver.StreamRequestHandler], None]


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    body: bytes


def answer(body: Any = b"", status: str = "200 OK", *, kind: str = "application/json", **headers: str) -> bytes:
    """Make a whole answer; a nonce is always there."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": kind, "Replay-Nonce": "AAAA", "Content-Length": str(len(raw)), "Connection": "close"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + raw


def refusal(code: str, detail: str = "no", status: str = "403 Forbidden", **headers: str) -> bytes:
    """Make a problem document (RFC 8555 section 6.7)."""
    return answer({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}, status, kind=PROBLEM, **headers)


@dataclass
class HostileCa:
    """`answers` by path come before what a good CA would say; `requests` are those that arrived whole."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    directory: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where all its URLs begin."""
        return f"https://localhost:{self.port}"

    @property
    def directory_url(self) -> str:
        """Where ACME begins."""
        return f"{self.url}/directory"

    def fine(self, path: str, body: bytes = b"") -> bytes:
        """Answer as a good CA does; `body` is what was posted."""
        if path == "/directory":
            names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order", "revokeCert": "revoke"}
            urls = {name: f"{self.url}/{where}" for name, where in names.items()}
            return answer(urls | {"meta": {}} | self.directory)
        if path == "/account":
            return answer({"status": "valid"}, "201 Created", Location=f"{self.url}/account/1")
        return answer()

    def session(self, **options: Any) -> Session:
        """Talk to it as a new account."""
        identity = Identity(self.directory_url, new_key(PrivateKeyPolicy()).pem)
        return Session(identity, WallClock(), lambda *_: None, roots_pem=CA.roots_pem, **options)

    def account(self, **options: Any) -> Account:
        """Order from it as a new account."""
        return Account(self.session(**options))

    @property
    def acme(self) -> Acme:
        """The authority that resources name."""
        return Acme(server=self.directory_url, email=None, solvers=())

    def accounts(self, clock: WallClock | None = None, policy: AddressPolicy | None = None) -> Accounts:
        """Make the accounts of one operator."""
        return Accounts(
            FakeCluster(),
            "mailtls-system",
            clock or WallClock(),
            lambda *_: None,
            default_server=self.directory_url,
            default_ca_bundle_pem=CA.roots_pem,
            policy=policy,
        )


@contextmanager
def hostile_ca(given: HostileCa | None = None) -> Iterator[HostileCa]:
    """Serve until the block ends."""
    ca = given or HostileCa()
    wanted = Wanted(names=("localhost",), common_name="localhost")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, ValueError):
                method, path, _ = self.rfile.readline().decode().split(" ")
                length = 0
                while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = self.rfile.read(length)
                if len(body) < length:
                    return
                ca.requests.append(Request(method, path, body))
                said = ca.answers.get(path) or ca.fine(path, body)
                said(self) if callable(said) else self.wfile.write(said)

    with listening(Handler, CA.issue(wanted).pem) as ca.port:
        yield ca
