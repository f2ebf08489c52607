"""An ACME server (RFC 8555) without a network: it reads signed requests, validates, and signs real certificates."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fakes.simulation.runtime import Runtime

URL: Final = "https://ca.test"
DIRECTORY: Final = f"{URL}/directory"
LIFETIME: Final = timedelta(days=90)
ORDER_LASTS: Final = timedelta(days=7)
OPEN: Final = frozenset({"pending", "ready", "processing"})
ROOT_KEY: Final = ec.generate_private_key(ec.SECP256R1())

Looks = Callable[[str, str, str], bool]


@dataclass
class Authorization:
    """The proof for one name of one account."""

    number: int
    account: str
    name: str
    token: str
    status: str = "pending"


@dataclass
class Order:
    """One order, from when it is asked for until its end; `at` is in seconds of the simulation."""

    number: int
    account: str
    names: tuple[str, ...]
    authorizations: list[Authorization]
    at: float
    status: str = "pending"
    chain_pem: str = ""
    spki: bytes = b""

    @property
    def is_open(self) -> bool:
        """Whether it can still become a certificate."""
        return self.status in OPEN


@dataclass
class Ca:
    """`shows` says whether a response (challenge type, name, token or TXT value) can be seen by now.

    `before` may fail a request or delay it. It returns what takes the place of the answer once the request has had its
    effect. `issued` is called with each certificate, `ordered` with each order.
    """

    runtime: Runtime
    shows: Looks
    before: Callable[[str, str], Exception | tuple[int, str] | None] = lambda _kind, _url: None
    accounts: dict[str, str] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    authorizations: list[Authorization] = field(default_factory=list)
    ordered: Callable[[Order], None] = lambda _order: None
    issued: Callable[[Order], None] = lambda _order: None
    validation_takes: float = 1.0
    signs_for_another_root: bool = False  # the next certificate only
    refused: set[int] = field(default_factory=set)  # serial numbers of certificates that no client trusts
    unseen: list[str] = field(default_factory=list)
    _nonces: set[str] = field(default_factory=set)
    _made: int = 0

    def __post_init__(self) -> None:
        """Make the root."""
        self._root = self._sign("Simulated root", ROOT_KEY.public_key(), (), timedelta(days=3650))

    def exchange(
        self, method: str, url: str, _headers: Mapping[str, str], data: str | None = None
    ) -> requests.Response:
        """Answer a request, as the transport of the ACME client does."""
        kind = url.removeprefix(URL).split("/")[1]
        instead = self.before(kind, f"{url} {self._names(kind, url, data)}")
        if isinstance(instead, tuple):
            return self._problem(url, *instead)
        answer = self._answer(method, kind, url, data)
        if instead is not None:
            raise instead
        return answer

    @property
    def root_pem(self) -> str:
        """What clients trust."""
        return self._root.public_bytes(Encoding.PEM).decode()

    def supply(self, names: tuple[str, ...], *, is_refused: bool) -> tuple[str, str]:
        """Issue a certificate to somebody else: the chain and its key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(names[0], key.public_key(), names, LIFETIME)
        if is_refused:
            self.refused.add(leaf.serial_number)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return self._chain(leaf), pem

    def open_orders(self, names: tuple[str, ...] | None = None) -> list[Order]:
        """Return those that can still become a certificate."""
        return [each for each in self.orders if each.is_open and names in {None, each.names}]

    def _names(self, kind: str, url: str, data: str | None) -> str:
        """Say which names a request is about."""
        last = url.rsplit("/", 1)[1]
        if kind in {"authorization", "http-01", "dns-01"} and last.isdigit():
            return self.authorizations[int(last)].name
        if kind in {"order", "finalize", "certificate"} and last.isdigit():
            return " ".join(self.orders[int(last)].names)
        _, payload = self._read(data) if data else ({}, {})
        return " ".join(each["value"] for each in (payload or {}).get("identifiers", ()))

    def _answer(self, method: str, kind: str, url: str, data: str | None) -> requests.Response:
        if kind == "directory":
            paths = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order", "revokeCert": "revoke"}
            return self._response(url, 200, {name: f"{URL}/{path}" for name, path in paths.items()} | {"meta": {}})
        if kind == "nonce" or data is None:
            return self._response(url, 200, {})
        protected, payload = self._read(data)
        if method != "POST" or protected["url"] != url:
            return self._problem(url, 400, "malformed")
        if protected["nonce"] not in self._nonces:
            return self._problem(url, 400, "badNonce")
        self._nonces.discard(protected["nonce"])
        return self._signed(kind, url, protected, payload)

    def _signed(self, kind: str, url: str, protected: Any, payload: Any) -> requests.Response:
        if kind == "account" and "jwk" in protected:
            return self._register(url, json.dumps(protected["jwk"], sort_keys=True))
        account, last = protected.get("kid"), url.rsplit("/", 1)[1]
        if account not in self.accounts.values():
            return self._problem(url, 400, "accountDoesNotExist")
        if not last.isdigit():
            return self._new_order(url, account, payload)
        answers: dict[str, Callable[[str, int, Any], requests.Response]] = {
            "account": lambda url, number, _: self._response(url, 200, {"orders": f"{URL}/orders/{number}"}),
            "orders": lambda url, _number, _: self._list(url, account),
            "order": lambda url, number, _: self._show_order(url, self._update(self.orders[number])),
            "authorization": self._authorization,
            "http-01": self._challenge,
            "dns-01": self._challenge,
            "finalize": self._finalize,
            "certificate": lambda url, number, _: self._response(url, 200, self.orders[number].chain_pem),
        }
        return answers[kind](url, int(last), payload)

    def _register(self, url: str, key: str) -> requests.Response:
        known = key in self.accounts
        self.accounts.setdefault(key, f"{URL}/account/{len(self.accounts) + 1}")
        return self._response(url, 200 if known else 201, {"status": "valid"}, Location=self.accounts[key])

    def _list(self, url: str, account: str) -> requests.Response:
        own = [f"{URL}/order/{each.number}" for each in self.orders if each.account == account]
        return self._response(url, 200, {"orders": own})

    def _new_order(self, url: str, account: str, payload: Any) -> requests.Response:
        names = tuple(each["value"] for each in payload["identifiers"])
        order = Order(len(self.orders), account, names, [], self.runtime.monotonic())
        order.authorizations = [self._authorization_for(account, name) for name in names]
        self.orders.append(order)
        self.ordered(order)
        self._update(order)
        return self._show_order(url, order, 201)

    def _authorization_for(self, account: str, name: str) -> Authorization:
        for known in self.authorizations:
            if (known.account, known.name, known.status) == (account, name, "valid"):
                return known
        number = len(self.authorizations)
        token = _encoded(sha256(f"token {number}".encode()).digest())
        self.authorizations.append(Authorization(number, account, name, token))
        return self.authorizations[-1]

    def _update(self, order: Order) -> Order:
        states = {each.status for each in order.authorizations}
        if order.status == "pending":
            if states == {"valid"}:
                order.status = "ready"
            elif states & {"invalid", "deactivated"}:
                order.status = "invalid"
        if order.is_open and self.runtime.monotonic() > order.at + ORDER_LASTS.total_seconds():
            order.status = "invalid"
        return order

    def _show_order(self, url: str, order: Order, status: int = 200) -> requests.Response:
        body: dict[str, Any] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": name} for name in order.names],
            "authorizations": [f"{URL}/authorization/{each.number}" for each in order.authorizations],
            "finalize": f"{URL}/finalize/{order.number}",
        }
        if order.status == "valid":
            body["certificate"] = f"{URL}/certificate/{order.number}"
        return self._response(url, status, body, Location=f"{URL}/order/{order.number}")

    def _authorization(self, url: str, number: int, payload: Any) -> requests.Response:
        found = self.authorizations[number]
        if payload and payload.get("status") == "deactivated":
            found.status = "deactivated"
            for order in self.orders:
                self._update(order)
        challenge = {"token": found.token, "status": "pending"}
        shown = "pending" if found.status == "processing" else found.status
        body = {
            "status": shown,
            "identifier": {"type": "dns", "value": found.name},
            "challenges": [
                challenge | {"type": kind, "url": f"{URL}/{kind}/{found.number}"} for kind in ("http-01", "dns-01")
            ],
        }
        return self._response(url, 200, body)

    def _challenge(self, url: str, number: int, _payload: Any) -> requests.Response:
        found = self.authorizations[number]
        if found.status not in {"pending", "processing"}:
            return self._problem(url, 400, "malformed")
        if found.status == "pending":
            found.status = "processing"
            self.runtime.spawn(lambda: self._validate(found), f"validates {found.name}", "ca")
        body = {"type": url.split("/")[-2], "url": url, "token": found.token, "status": "processing"}
        return self._response(url, 200, body)

    def _validate(self, found: Authorization) -> None:
        self.runtime.sleep(self.validation_takes)
        if found.status != "processing":
            return
        seen = self.shows("http-01", found.name, found.token)
        seen = seen or self.shows("dns-01", found.name, self._record(found))
        found.status = "valid" if seen else "invalid"
        if not seen:
            self.unseen.append(found.name)
        for order in self.orders:
            self._update(order)

    def _record(self, of: Authorization) -> str:
        """The TXT value of the challenge (RFC 8555 section 8.4), by the account key's thumbprint (RFC 7638)."""
        key = next(json.loads(key) for key, url in self.accounts.items() if url == of.account)
        thumbprint = {name: key[name] for name in ("crv", "kty", "x", "y")}
        digest = sha256(json.dumps(thumbprint, separators=(",", ":")).encode()).digest()
        return _encoded(sha256(f"{of.token}.{_encoded(digest)}".encode()).digest())

    def _finalize(self, url: str, number: int, payload: Any) -> requests.Response:
        order = self._update(self.orders[number])
        if order.status != "ready":
            return self._problem(url, 403, "orderNotReady")
        request = x509.load_der_x509_csr(_decoded(payload["csr"]))
        leaf = self._sign(order.names[0], request.public_key(), order.names, LIFETIME)
        if self.signs_for_another_root:
            self.refused.add(leaf.serial_number)
        self.signs_for_another_root = False
        order.spki = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        order.chain_pem = self._chain(leaf)
        order.status = "valid"
        self.issued(order)
        return self._show_order(url, order)

    def _chain(self, leaf: x509.Certificate) -> str:
        return "".join(each.public_bytes(Encoding.PEM).decode() for each in (leaf, self._root))

    def _sign(self, name: str, key: Any, names: tuple[str, ...], lasts: timedelta) -> x509.Certificate:
        self._made += 1
        now = self.runtime.now()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Simulated root")])
        builder = x509.CertificateBuilder(issuer, subject, key, 1000 + self._made)
        builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + lasts)
        if names:
            others = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(others, critical=False)
        else:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(ROOT_KEY, SHA256())

    def _read(self, data: str) -> tuple[Any, Any]:
        whole = json.loads(data)
        payload = _decoded(whole["payload"])
        return json.loads(_decoded(whole["protected"])), json.loads(payload) if payload else None

    def _problem(self, url: str, status: int, code: str) -> requests.Response:
        body = {"type": f"urn:ietf:params:acme:error:{code}", "detail": f"simulated {code}"}
        extra = {"Retry-After": "120"} if code == "rateLimited" else {}
        return self._response(url, status, body, **{"Content-Type": "application/problem+json"}, **extra)

    def _response(self, url: str, status: int, body: Any, **headers: str) -> requests.Response:
        self._made += 1
        nonce = _encoded(f"nonce{self._made:07}".encode())
        self._nonces.add(nonce)
        made = requests.Response()
        made.status_code, made.url, made.encoding = status, url, "utf-8"
        made._content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        made.headers.update({"Content-Type": "application/json", "Replay-Nonce": nonce} | headers)
        return made


def _encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
