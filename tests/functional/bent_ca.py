"""A small real CA that issues, with the habits of CAs in the wild: Pebble has none of them.

It hands pending orders and valid authorizations of an account out again, as Let's Encrypt does. Signatures of requests
are not checked.
"""

import base64
import hashlib
import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from builders.hostile_ca import CA, HostileCa, answer, hostile_ca, refusal


@dataclass
class Proof:
    """An authorization."""

    name: str
    account: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    status: str = "pending"
    problem: dict[str, Any] | None = None


@dataclass
class Order:
    """An order."""

    names: list[str]
    account: str
    proofs: list[int]
    chain: bytes = b""


@dataclass
class BentCa(HostileCa):
    """`one_tier`: the root issues. `added` names go into each certificate. `refuse` says no to a path, or not.

    `proves` decides about a name and token when the client asks for it; `wait` is the Retry-After of polls.
    """

    one_tier: bool = False
    leaf_alone: bool = False  # the intermediate is kept back
    added: tuple[str, ...] = ()
    refuse: Callable[[str], bytes | None] = lambda _path: None
    proves: Callable[[str, str], dict[str, Any] | None] = lambda _name, _token: None
    wait: str = ""
    plain: bool = False  # authorizations are said to be at http
    slow: bool = False  # authorizations stay pending until told otherwise
    accounts_made: dict[str, str] = field(default_factory=dict)
    proofs: dict[int, Proof] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate(self.key, "Root", self.key.public_key(), is_ca=True)
        self.lower_key = ec.generate_private_key(ec.SECP256R1())
        self.lower = self._certificate(self.key, "Lower", self.lower_key.public_key(), is_ca=True)

    @property
    def roots_pem(self) -> str:
        """The roots of its HTTPS, and of what it issues."""
        return CA.roots_pem + self.root.public_bytes(Encoding.PEM).decode()

    def fine(self, path: str, body: bytes = b"") -> bytes:
        """Answer as this CA does."""
        if (refused := self.refuse(path)) is not None:
            return refused
        if not body:
            return super().fine(path)
        posted = json.loads(body)
        header = json.loads(_decoded(posted["protected"]))
        payload = json.loads(_decoded(posted["payload"])) if posted["payload"] else None
        return self._act(path, header, payload)

    def status(self, order: Order) -> str:
        """Say how an order stands."""
        states = {self.proofs[each].status for each in order.proofs}
        if order.chain:
            return "valid"
        return "ready" if states == {"valid"} else "invalid" if states - {"valid", "pending"} else "pending"

    def _act(  # noqa: PLR0911 - a server is a list of its answers
        self, path: str, header: dict[str, Any], payload: dict[str, Any] | None
    ) -> bytes:
        if path == "/account":
            thumb = hashlib.sha256(json.dumps(header["jwk"], sort_keys=True).encode()).hexdigest()
            url = self.accounts_made.setdefault(thumb, f"{self.url}/account/{len(self.accounts_made) + 1}")
            return answer({"status": "valid"}, "201 Created", Location=url)
        if path == "/order" and payload is not None:
            number = self._ordered([each["value"] for each in payload["identifiers"]], header["kid"])
            return answer(self._order(number), "201 Created", Location=f"{self.url}/order/{number}")
        kind, number = path.split("/")[1], int(path.split("/")[2])
        waits = {"Retry-After": self.wait} if self.wait else {}
        headers = {name.replace("-", "_"): value for name, value in waits.items()}
        if kind == "account":
            return answer({"status": "valid"})
        if kind == "order":
            return answer(self._order(number), **headers)
        if kind == "proof":
            if payload and payload.get("status") == "deactivated":
                self.proofs[number].status = "deactivated"
            return answer(self._proof(number), **headers)
        if kind == "challenge":
            self._look(self.proofs[number])
            return answer(self._challenge(number))
        if kind == "finalize" and payload is not None:
            return self._finalize(number, payload)
        return answer(self.orders[number].chain, kind="application/pem-certificate-chain")

    def _ordered(self, names: list[str], account: str) -> int:
        for number, order in self.orders.items():
            is_same = order.account == account and sorted(order.names) == sorted(names)
            if is_same and self.status(order) in {"pending", "ready"}:
                return number
        order = Order(names, account, [self._proof_for(name, account) for name in names])
        number = next(self.numbers)
        self.orders[number] = order
        return number

    def _proof_for(self, name: str, account: str) -> int:
        for number, proof in self.proofs.items():
            if (proof.name, proof.account) == (name, account) and proof.status in {"valid", "pending"}:
                return number
        number = next(self.numbers)
        self.proofs[number] = Proof(name, account)
        return number

    def _look(self, proof: Proof) -> None:
        if not self.slow:
            proof.problem = self.proves(proof.name, proof.token)
            proof.status = "invalid" if proof.problem else "valid"

    def _order(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        body = {
            "status": self.status(order),
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [
                f"{self.url if not self.plain else 'http://localhost'}/proof/{each}" for each in order.proofs
            ],
            "finalize": f"{self.url}/finalize/{number}",
        }
        return body | ({"certificate": f"{self.url}/certificate/{number}"} if order.chain else {})

    def _proof(self, number: int) -> dict[str, Any]:
        proof = self.proofs[number]
        identifier = {"type": "dns", "value": proof.name}
        return {"identifier": identifier, "status": proof.status, "challenges": [self._challenge(number)]}

    def _challenge(self, number: int) -> dict[str, Any]:
        proof = self.proofs[number]
        url = f"{self.url}/challenge/{number}"
        body = {"type": "http-01", "url": url, "token": proof.token, "status": proof.status}
        return body | ({"error": proof.problem} if proof.problem else {})

    def _finalize(self, number: int, payload: dict[str, Any]) -> bytes:
        order = self.orders[number]
        if self.status(order) != "ready":
            return refusal("orderNotReady")
        public = x509.load_der_x509_csr(_decoded(payload["csr"])).public_key()
        signer = self.key if self.one_tier else self.lower_key
        leaf = self._certificate(signer, "", public, names=[*order.names, *self.added])  # type: ignore[arg-type]
        chain = [leaf] if self.one_tier or self.leaf_alone else [leaf, self.lower]
        order.chain = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
        return answer(self._order(number))

    def _certificate(
        self,
        signer: ec.EllipticCurvePrivateKey,
        name: str,
        public: ec.EllipticCurvePublicKey,
        *,
        is_ca: bool = False,
        names: list[str] | None = None,
    ) -> x509.Certificate:
        issuer = "Root" if signer is self.key else "Lower"
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(_named(issuer), _named(name), public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=89))
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternative, critical=not name)
        return builder.sign(signer, hashes.SHA256())


@contextmanager
def bent_ca(**habits: Any) -> Iterator[BentCa]:
    """Serve until the block ends."""
    with hostile_ca(BentCa(**habits)) as running:
        assert isinstance(running, BentCa)
        yield running


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
