"""Drives orders as the operator does: ask for the next action, perform it, wait where told."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from functional.operator_core import HERE, leading, roots_file
from functional.pebble import Pebble
from mailtls.api.spec import Acme
from mailtls.controller.composition import compose
from mailtls.controller.parts import Edges, Parts
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.order import (
    Action,
    Download,
    Fail,
    Finalize,
    PollAuthorization,
    PollOrder,
    Present,
    RequestValidation,
    next_action,
)
from mailtls.issuance.order_state import OrderState
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.metrics import Metrics
from mailtls.settings import Settings


class Recorded(Metrics):
    """Remembers what is counted of the CA."""

    def __init__(self, requests: Counter[tuple[str, str]], skews: list[tuple[str, float]]) -> None:
        super().__init__()
        self._requests, self._skews = requests, skews

    def acme_request(self, request: str, code: int | str) -> None:
        """Count it by kind and code."""
        self._requests.update([(request, str(code))])

    def clock_skew(self, server: str, seconds: float) -> None:
        """Note it."""
        self._skews.append((server, seconds))


@dataclass
class Client:
    """An operator's ACME side with everything around it; `requests` counts by kind and code."""

    pebble: Pebble
    cluster: FakeCluster = field(default_factory=FakeCluster)
    clock: WallClock = field(default_factory=WallClock)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    server: str = ""  # another URL than Pebble's own
    skews: list[tuple[str, float]] = field(default_factory=list)  # by how much our clock was ahead, answer by answer

    def __post_init__(self) -> None:
        self.accounts = self.restarted()

    @property
    def acme(self) -> Acme:
        """The authority that resources name."""
        return Acme(server=self.server or self.pebble.directory_url, email="postmaster@example.com", solvers=())

    @property
    def account(self) -> Account:
        """The account for it."""
        return self.accounts.of(self.acme)

    def restarted(self) -> Accounts:
        """Return what a new process would make: nothing but the cluster survives."""
        settings = Settings(
            "mailtls-system",
            "mailtls-0",
            acme_server=self.acme.server,
            acme_ca_bundle_file=roots_file(self, self.pebble.roots_pem),
            allowed_networks=HERE,
        )
        metrics, edges = Recorded(self.requests, self.skews), Edges(clock=self.clock)
        parts = Parts(settings, self.cluster, metrics, leading(), Tokens(), Claims(), Event(), edges=edges)
        self.accounts = compose(parts).accounts
        return self.accounts

    def request_count(self) -> int:
        """Return how many requests the CA got."""
        return sum(self.requests.values())


def csr_for(names: Sequence[str]) -> bytes:
    """Make a certificate request in DER with a new key."""
    sans = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(sans, critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Issuance:
    """One order on its way, and the actions taken; `wait_at_least` gives the CA time to decide before each poll."""

    account: Account
    order: OrderState
    csr: bytes
    clock: WallClock
    challenge_type: str | None = "dns-01"
    present: Callable[[Present], None] = lambda _present: None
    wait_at_least: float = 0.0
    presented: frozenset[str] = frozenset()
    actions: list[Action] = field(default_factory=list)

    def run(self) -> str | Fail:
        """Go on to the chain in PEM, or to the failure."""
        while True:
            action = self.next()
            if isinstance(action, Download):
                return self.account.download(self.order).chain_pem
            if isinstance(action, Fail):
                return action
            self.perform(action)

    def next(self) -> Action:
        """Decide, and note it."""
        action = next_action(
            self.order, self.presented, lambda _name: self.challenge_type, self.clock.now(), self.order.identifiers
        )
        self.actions.append(action)
        return action

    def perform(self, action: Action) -> None:
        """Do one action."""
        match action:
            case Present(proofs):
                self.present(action)
                self.presented |= {proof.challenge.url for proof in proofs}
            case RequestValidation(challenge):
                self.order = self.account.request_validation(self.order, challenge)
            case PollAuthorization(url, not_before):
                self._wait(not_before)
                self.order = self.account.poll_authorization(self.order, url)
            case Finalize(not_before):
                self._wait(not_before)
                self.order = self.account.finalize(self.order, self.csr)
            case PollOrder(not_before):
                self._wait(not_before)
                self.order = self.account.poll(self.order)

    def _wait(self, not_before: datetime | None) -> None:
        if not_before is not None:
            due = (not_before - self.clock.now()).total_seconds()
            time.sleep(max(due, self.wait_at_least, 0.0))


def issue(client: Client, names: Sequence[str], *, replaces: str | None = None, wait_at_least: float = 0.0) -> str:
    """Order and fetch a certificate for `names`; fail the test when the CA refuses."""
    account = client.account
    order = account.new_order(names, replaces=replaces)
    result = Issuance(account, order, csr_for(names), client.clock, wait_at_least=wait_at_least).run()
    assert isinstance(result, str), result
    return result
