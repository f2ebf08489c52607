"""One ACME account's conversation with its CA: directory, registration, signed requests, waits the CA asked for."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar

import requests
import structlog
from acme import messages
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy import jwa, jwk
from josepy.errors import DeserializationError
from josepy.interfaces import JSONDeSerializable

from mailtls.issuance.acme import problem as acme_problem
from mailtls.issuance.acme.breaker import Gate
from mailtls.issuance.acme.directory import checked_directory
from mailtls.issuance.acme.messages import json_of
from mailtls.issuance.acme.network import ClockWatch, Network, OnRequest, RequestKind
from mailtls.issuance.acme.problem import AcmeProblem, Refused
from mailtls.issuance.acme.problem_document import Problem, Stage
from mailtls.issuance.acme.transport import MakeTransport, Transport, location_of
from mailtls.net.addresses import AddressPolicy
from mailtls.net.shared_work import Busy, SharedWork
from mailtls.pki.loading import private_key
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import Clock

T = TypeVar("T")
_log = structlog.get_logger(__name__)
# Directories change seldom, but profiles and terms do (RFC 8555 section 7.1.1 names no lifetime).
_DIRECTORY_LASTS = timedelta(days=1)
_LARGEST_DIRECTORY = 64 * 1024  # octets; it is kept with each account, and that of a large CA takes two thousand
_PATIENCE = 2.0  # seconds that a worker waits for what another one asks; then the queue takes the resource back
_STAGES = {
    RequestKind.NEW_ACCOUNT: Stage.ACCOUNT,
    RequestKind.ACCOUNT: Stage.ACCOUNT,
    RequestKind.CHALLENGE: Stage.CHALLENGE,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the client is at a CA; `url` is the account's, None before the first registration.

    `binding` is the key id and base64url HMAC key of an external account (RFC 8555 section 7.3.4).
    """

    directory_url: str
    key_pem: bytes = field(repr=False)
    email: str | None = None
    binding: tuple[str, str] | None = field(default=None, repr=False)
    url: str | None = field(default=None, compare=False)  # learnt on the way: no other identity


class Session:
    """Thread-safe; registers when first needed, and again once when the CA forgot the account."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        on_request: OnRequest,
        *,
        roots_pem: str = "",
        on_registered: Callable[[str], None] = lambda _url: None,
        watch: ClockWatch | None = None,
        policy: AddressPolicy | None = None,
        gate: Gate | None = None,
        new_account: str = acme_problem.NEW_ACCOUNT,
        transport: MakeTransport = Transport,
    ) -> None:
        self.key, alg = account_key(identity.key_pem)
        self._identity, self._clock, self._on_registered = identity, clock, on_registered
        self._gate, self._new_account = gate or Gate(clock.now), new_account
        self._network = Network(
            identity.directory_url,
            self.key,
            alg,
            on_request,
            roots_pem=roots_pem,
            watch=watch,
            policy=policy,
            gate=self._gate,
            transport=transport,
        )
        self._roots_pem = roots_pem
        self._lock = threading.Lock()  # never held while the CA is asked
        self._shared = SharedWork()
        self._account_url = identity.url
        self._directory: messages.Directory | None = None
        self._directory_read_at: datetime | None = None
        self._waits: dict[RequestKind | None, AcmeProblem] = {}

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._clock.now()

    @property
    def account_url(self) -> str:
        """The account's URL; registers when there is none yet."""
        known = self._account_url
        return known if known is not None else self._share(RequestKind.NEW_ACCOUNT, self._register)

    def directory(self, *, refresh: bool = False) -> messages.Directory:
        """Return the CA's directory, read again once a day; an old one serves while the CA is away, or is asked."""
        known, read_at = self._directory, self._directory_read_at
        is_young = read_at is not None and self.now() - read_at <= _DIRECTORY_LASTS
        if known is not None and is_young and not refresh:
            return known
        try:
            return self._share(RequestKind.DIRECTORY, self._read_directory, 0.0 if known and not refresh else None)
        except AcmeProblem:
            if known is None:
                raise
            return known

    def hurry(self) -> None:
        """Wait no longer for what the CA asked to be waited for: a person asks, or something was corrected."""
        with self._lock:
            self._waits.clear()
        self._gate.hurry()

    def _share(self, kind: RequestKind, ask: Callable[[], T], patience: float | None = None) -> T:
        try:
            return self._shared.do(kind, ask, _PATIENCE if patience is None else patience)
        except Busy:
            raise acme_problem.busy(self._identity.directory_url) from None

    def orders_url(self) -> str | None:
        """Return where the account lists its orders (RFC 8555 section 7.1.2.1), None where the CA has no list."""
        body = self.json(self.post(RequestKind.ACCOUNT, self.account_url))
        orders = body.get("orders")
        return str(orders) if orders else None

    def location(self, response: requests.Response) -> str | None:
        """Return where what was asked for is, None where the answer does not say; raises `AcmeProblem`."""
        try:
            return location_of(response)
        except requests.RequestException as error:
            raise acme_problem.from_broken_connection(error, str(response.url)) from error

    def get(self, kind: RequestKind, url: str) -> requests.Response:
        """GET unsigned; raises `AcmeProblem`."""
        try:
            return self._network.fetch(url, kind)
        except Refused as refused:
            raise self.problem(kind, refused) from refused
        except requests.RequestException as error:
            raise acme_problem.from_broken_connection(error, url, self._roots_pem) from error

    def post(self, kind: RequestKind, url: str, message: JSONDeSerializable | None = None) -> requests.Response:
        """POST signed by the account (None: POST-as-GET); raises `AcmeProblem`."""
        try:
            return self.post_raw(kind, url, message)
        except Refused as refused:
            raise self.problem(kind, refused) from refused

    def post_raw(self, kind: RequestKind, url: str, message: JSONDeSerializable | None = None) -> requests.Response:
        """Do what `post` does, but let `Refused` through, for callers that know a way on."""
        account_url = self.account_url
        self._refuse_while_waiting(kind)
        try:
            return self._send(kind, url, message, account_url)
        except Refused as refused:
            if refused.problem.code != "accountDoesNotExist":
                raise
        return self._send(kind, url, message, self._register_again(account_url))

    def problem(self, kind: RequestKind, refused: Refused) -> AcmeProblem:
        """Translate a refusal that `post_raw` let through."""
        return acme_problem.from_refusal(refused, _STAGES.get(kind, Stage.ORDER), self.now(), self._new_account)

    def json(self, response: requests.Response) -> dict[str, Any]:
        """Return the answer's JSON object; raises `AcmeProblem` for anything else."""
        body = json_of(response.text)
        if not isinstance(body, dict):
            raise acme_problem.not_acme(self._identity.directory_url)
        return body

    def _send(
        self,
        kind: RequestKind,
        url: str,
        message: JSONDeSerializable | None,
        account_url: str | None,
    ) -> requests.Response:
        new_nonce_url = self.directory()["newNonce"]
        try:
            return self._network.send(url, message, kind, account_url=account_url, new_nonce_url=new_nonce_url)
        except Refused as refused:
            self._remember_wait(kind, refused)
            raise
        except requests.RequestException as error:
            raise acme_problem.from_broken_connection(error, url, self._roots_pem) from error

    def _read_directory(self) -> messages.Directory:
        url, now = self._identity.directory_url, self.now()
        response = self.get(RequestKind.DIRECTORY, url)
        body = self.json(response)
        if len(response.content) > _LARGEST_DIRECTORY:
            raise acme_problem.not_acme(url)
        if not all(isinstance(body.get(name), str) for name in ("newNonce", "newAccount", "newOrder")):
            raise acme_problem.not_acme(url)
        try:
            found = checked_directory(body)
        except requests.RequestException as error:
            raise acme_problem.from_broken_connection(error, url) from error
        except (DeserializationError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise acme_problem.not_acme(url) from error
        self._directory, self._directory_read_at = found, now
        return found

    def _register_again(self, lost_url: str) -> str:
        with self._lock:
            if self._account_url == lost_url:  # else another thread was here first
                _log.warning("account.lost", directory=self._identity.directory_url, account=lost_url)
                self._account_url = None
        return self.account_url

    def _register(self) -> str:
        if self._account_url is not None:
            return self._account_url  # another thread has just made it
        kind, url = RequestKind.NEW_ACCOUNT, self.directory()["newAccount"]
        self._refuse_while_waiting(kind)
        try:
            # Idempotent: a key that has an account gets that account's URL (RFC 8555 section 7.3.1).
            response = self._send(kind, url, self._registration(), None)
        except Refused as refused:
            raise self.problem(kind, refused) from refused
        account_url, body = self.location(response), self.json(response)
        if not account_url:
            raise acme_problem.not_acme(self._identity.directory_url)
        if body.get("status", "valid") != "valid":
            message = f"{self._new_account}: the CA says that {account_url} is {shorten(str(body['status']))}."
            raise AcmeProblem(Finding(Reason.ACCOUNT_REJECTED, message), needs_person=True)
        self._on_registered(account_url)
        self._account_url = account_url
        return account_url

    def _registration(self) -> messages.NewRegistration:
        binding = None
        if self._identity.binding is not None:
            key_id, hmac_key = self._identity.binding
            try:
                binding = messages.ExternalAccountBinding.from_data(
                    self.key.public_key(), key_id, hmac_key, self.directory()
                )
            except (DeserializationError, ValueError) as error:
                message = "Store the external account's HMAC key as the CA gave it: base64url, without line breaks."
                finding = Finding(Reason.EXTERNAL_ACCOUNT_REQUIRED, message)
                raise AcmeProblem(finding, needs_person=True) from error
        return messages.NewRegistration.from_data(
            email=self._identity.email,
            external_account_binding=binding,
            terms_of_service_agreed=True,
        )

    def _remember_wait(self, kind: RequestKind, refused: Refused) -> None:
        scope: RequestKind | None = kind
        if refused.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            scope = None  # overloaded: all requests of the account wait (RFC 8555 section 6.6)
        elif not _counts_for_account(refused.problem):
            return
        problem = self.problem(kind, refused)
        if problem.retry_at is not None:
            with self._lock:
                self._waits[scope] = problem

    def _refuse_while_waiting(self, kind: RequestKind) -> None:
        with self._lock:
            for scope in (kind, None):
                problem = self._waits.get(scope)
                if problem is None or problem.retry_at is None:
                    continue
                if self.now() < problem.retry_at:
                    raise AcmeProblem(problem.finding, retry_at=problem.retry_at, transient=problem.transient)
                del self._waits[scope]


def _counts_for_account(problem: Problem) -> bool:
    # Most limits are for one name or domain: they must not stop the account's other orders.
    return problem.code == "rateLimited" and ("from this account" in problem.detail or "from this IP" in problem.detail)


def account_key(pem: bytes) -> tuple[jwk.JWK, jwa.JWASignature]:
    """Load an account's private key and its JWS algorithm; raises ValueError for a kind that ACME has no use for."""
    key = private_key(pem)
    if isinstance(key, rsa.RSAPrivateKey):
        return jwk.JWKRSA(key=key), jwa.RS256
    algorithms = {256: jwa.ES256, 384: jwa.ES384, 521: jwa.ES512}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in algorithms:
        return jwk.JWKEC(key=key), algorithms[key.curve.key_size]
    raise ValueError("an account key is RSA or ECDSA on P-256, P-384 or P-521")
