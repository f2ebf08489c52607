"""HTTP to an ACME server: signed requests, nonces that survive rejection, clocks that differ."""

import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from josepy.errors import DeserializationError
from josepy.interfaces import JSONDeSerializable
from josepy.json_util import decode_b64jose, encode_b64jose
from josepy.jwa import JWASignature
from josepy.jwk import JWK

from mailtls.issuance.acme.breaker import Gate, LeftAlone
from mailtls.issuance.acme.connection import Roots
from mailtls.issuance.acme.messages import problem_from_response
from mailtls.issuance.acme.problem import Refused, cause_of, http_date
from mailtls.issuance.acme.problem_document import Problem
from mailtls.issuance.acme.transport import REQUEST_SECONDS, MakeTransport, Transport
from mailtls.net import tracing
from mailtls.net.addresses import AddressPolicy
from mailtls.net.effects import before_effect, within
from mailtls.times import TOLERATED, Clock, skew

_log = structlog.get_logger(__name__)
OnSkew = Callable[[str, float], None]


class ClockWatch:
    """One for all accounts of a CA; thread-safe.

    `on_skew` is called with its host and how many seconds our clock is ahead.
    """

    def __init__(self, clock: Clock, on_skew: OnSkew = lambda _server, _seconds: None) -> None:
        self._clock, self._on_skew = clock, on_skew
        self._is_wrong = False
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._clock.now()

    def see(self, response: requests.Response, sent_at: datetime) -> None:
        """Take an answer in that has just arrived; one out of a cache is dated by another time."""
        dated_at = http_date(response.headers.get("Date", ""))
        server = urlsplit(response.url).hostname
        if dated_at is None or server is None or "Age" in response.headers:
            return
        ahead = skew(dated_at, sent_at, self._clock.now())
        self._on_skew(server, ahead.total_seconds())
        self._tell(server, ahead)

    def _tell(self, server: str, ahead: timedelta) -> None:
        """Say it once when it begins, and once when it ends."""
        is_wrong = abs(ahead) > TOLERATED
        with self._lock:
            if is_wrong is self._is_wrong:
                return
            self._is_wrong = is_wrong
        seconds = round(ahead.total_seconds())
        if is_wrong:
            _log.warning("set the clock of this node: it is not the CA's", server=server, seconds_ahead=seconds)
        else:
            _log.info("the clock agrees with the CA's again", server=server, seconds_ahead=seconds)


__all__ = ["Network", "OnRequest", "RequestKind", "Roots"]
# Each try has its own nonce: with a CA that rejects one in five, ten rejections in a row do not happen (1 in 10^7).
_NONCE_TRIES = 10
_POOLED = 32  # connections and nonces kept for the next request; more than workers
_LONGEST_NONCE: Final = 1024  # characters
_MAY_SAY_WHY: Final = range(400, 500)
_PLAIN: Final = {"User-Agent": "mailtls acme-python", "Accept": "*/*", "Accept-Encoding": "identity"}
_SIGNED: Final = {**_PLAIN, "Content-Type": "application/jose+json"}  # RFC 8555 section 6.2
OnRequest = Callable[[str, str], None]


class RequestKind(StrEnum):
    """What a request was for: a metric label."""

    DIRECTORY = "directory"
    NEW_NONCE = "new-nonce"
    NEW_ACCOUNT = "new-account"
    ACCOUNT = "account"
    ORDERS = "orders"
    NEW_ORDER = "new-order"
    AUTHORIZATION = "authorization"
    CHALLENGE = "challenge"
    FINALIZE = "finalize"
    ORDER = "order"
    CERTIFICATE = "certificate"
    RENEWAL_INFO = "renewal-info"


class Network:
    """What the acme library's network layer lacks: thread-safe, one for all workers of an account, with an end.

    Addresses that `policy` refuses are not connected to; without one all may be. Nothing is sent while `gate` is shut.
    """

    def __init__(
        self,
        directory_url: str,
        key: JWK,
        alg: JWASignature,
        on_request: OnRequest,
        *,
        roots_pem: str = "",
        watch: ClockWatch | None = None,
        policy: AddressPolicy | None = None,
        gate: Gate | None = None,
        transport: MakeTransport = Transport,
    ) -> None:
        self._on_request, self._key, self._alg, self._watch = on_request, key, alg, watch
        self._pool: deque[bytes] = deque(maxlen=_POOLED)
        self._pool_lock = threading.Lock()
        self._gate = gate or Gate(lambda: datetime.now(UTC))
        self._transport = transport(directory_url, roots_pem, policy=policy, pooled=_POOLED)

    def fetch(self, url: str, kind: RequestKind) -> requests.Response:
        """GET without a signature: the directory and renewal information."""
        return self._checked(self._request("GET", url, kind))

    def send(
        self,
        url: str,
        message: JSONDeSerializable | None,
        kind: RequestKind,
        *,
        account_url: str | None,
        new_nonce_url: str,
    ) -> requests.Response:
        """POST a signed message, or POST-as-GET when it is None (RFC 8555 sections 6.2 and 6.3).

        `account_url` None signs with the key itself, as new-account needs. Raises `Refused` when the CA says no. All
        tries together have the time of one request.
        """
        with within(REQUEST_SECONDS):
            return self._send(url, message, kind, account_url, new_nonce_url)

    def _send(
        self,
        url: str,
        message: JSONDeSerializable | None,
        kind: RequestKind,
        account_url: str | None,
        new_nonce_url: str,
    ) -> requests.Response:
        nonce = self._take_nonce(new_nonce_url)
        for tries_left in reversed(range(_NONCE_TRIES)):
            response = self._request("POST", url, kind, data=self._sign(message, nonce, url, account_url))
            fresh = _nonce_of(response)
            try:
                self._checked(response)
            except Refused as refused:
                if refused.problem.code == "badNonce" and tries_left:
                    # The error's own nonce is the newest there is (RFC 8555 section 6.5).
                    nonce = fresh or self._take_nonce(new_nonce_url)
                    continue
                self._keep(fresh)
                raise
            self._keep(fresh)
            return response
        raise AssertionError  # the last try returned or raised

    def _sign(self, message: JSONDeSerializable | None, nonce: bytes, url: str, account_url: str | None) -> str:
        """Sign in the flattened form (RFC 7515 section 7.2.2) with the header of RFC 8555 section 6.2."""
        header: dict[str, Any] = {"alg": self._alg.name, "nonce": encode_b64jose(nonce), "url": url}
        if account_url is None:
            header["jwk"] = self._key.public_key().to_json()
        else:
            header["kid"] = account_url
        payload = b"" if message is None else message.json_dumps().encode()
        protected, content = encode_b64jose(json.dumps(header).encode()), encode_b64jose(payload)
        signature = self._alg.sign(self._key.key, f"{protected}.{content}".encode())
        return json.dumps({"protected": protected, "payload": content, "signature": encode_b64jose(signature)})

    def _take_nonce(self, new_nonce_url: str) -> bytes:
        with self._pool_lock:
            if self._pool:
                return self._pool.pop()
        response = self._request("HEAD", new_nonce_url, RequestKind.NEW_NONCE)
        if response.status_code in _MAY_SAY_WHY:
            # An answer to HEAD has no words; GET is to give a nonce as well (RFC 8555 section 7.2).
            response = self._request("GET", new_nonce_url, RequestKind.NEW_NONCE)
        self._checked(response)
        if nonce := _nonce_of(response):
            return nonce
        raise Refused(Problem("", "the CA's new-nonce answer has no nonce"), response)

    def _keep(self, nonce: bytes | None) -> None:
        if nonce is not None:
            with self._pool_lock:
                self._pool.append(nonce)

    def _request(self, method: str, url: str, kind: RequestKind, data: str | None = None) -> requests.Response:
        if method == "POST":  # what a CA counts; after the nonce was fetched, which may have taken long
            before_effect()
        with tracing.span(f"acme {kind}", method=method, server=_host(url)) as span:
            try:
                with self._gate.passing(cause_of):
                    response = self._exchange(method, url, data)
            except LeftAlone:
                raise  # nothing was sent
            except requests.RequestException:
                self._on_request(kind.value, "unreachable")
                raise
            span.note(status=response.status_code)
            self._on_request(kind.value, str(response.status_code))
            return response

    def _exchange(self, method: str, url: str, data: str | None) -> requests.Response:
        sent_at = self._watch.now() if self._watch else None
        response = self._transport(method, url, _SIGNED if method == "POST" else _PLAIN, data)
        if self._watch is not None and sent_at is not None:
            self._watch.see(response, sent_at)
        _log.debug("acme.request", method=method, url=url, status=response.status_code)
        return response

    @staticmethod
    def _checked(response: requests.Response) -> requests.Response:
        if response.status_code < requests.codes.multiple_choices:
            return response
        raise Refused(problem_from_response(response), response)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None  # it is refused where it would be sent to


def _nonce_of(response: requests.Response) -> bytes | None:
    try:
        given = response.headers["Replay-Nonce"]
        return decode_b64jose(given) if len(given) <= _LONGEST_NONCE else None
    except (KeyError, ValueError, DeserializationError):
        return None
