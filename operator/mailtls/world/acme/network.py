"""HTTP to an ACME server: signed requests, nonces that survive rejection, errors that keep their response."""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import requests
import structlog
from acme import client
from josepy.errors import DeserializationError
from josepy.interfaces import JSONDeSerializable
from josepy.json_util import decode_b64jose, encode_b64jose
from josepy.jwa import JWASignature
from josepy.jwk import JWK
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from mailtls.model.problem import Problem
from mailtls.world.acme.clock import ClockWatch
from mailtls.world.acme.messages import problem_from_json
from mailtls.world.acme.problem import Refused
from mailtls.world.effects import before_effect

# Each try has its own nonce: with a CA that rejects one in five, ten rejections in a row do not happen (1 in 10^7).
_NONCE_TRIES = 10
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 45.0
_POOLED = 32  # connections and nonces kept for the next request; more than workers

_log = structlog.get_logger(__name__)
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
    REVOKE = "revoke"


class Roots(HTTPAdapter):
    """Trusts only the roots of one PEM bundle; without one what OpenSSL trusts by default, as the probe does."""

    def __init__(self, pem: str, **options: Any) -> None:
        self._context = ssl.create_default_context(cadata=pem or None)
        if pem:
            # Private CAs seldom fill in every extension of RFC 5280, and their bundle may hold an intermediate only.
            self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        super().__init__(**options)

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ARG002 - the bundle alone decides
        cert: Any = None,
    ) -> tuple[Any, Any]:
        """Give every connection this adapter's TLS context (an extension point of requests)."""
        host, tls = super().build_connection_pool_key_attributes(request, verify=True, cert=cert)
        return host, {**tls, "ssl_context": self._context}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Add no other roots (an extension point of requests)."""


class Network(client.ClientNetwork):
    """The acme library's network layer without what it lacks: thread-safe, one for all workers of an account."""

    def __init__(
        self,
        directory_url: str,
        key: JWK,
        alg: JWASignature,
        on_request: OnRequest,
        *,
        roots_pem: str = "",
        watch: ClockWatch | None = None,
    ) -> None:
        super().__init__(key=key, alg=alg, user_agent="mailtls acme-python")
        # The way out is looked up once: requests would read the environment and ~/.netrc again for every request.
        self.session.trust_env = False
        self._proxies = dict(get_environ_proxies(directory_url))
        plain = {**self.session.headers, "User-Agent": self.user_agent}
        signed = {**plain, "Content-Type": self.JOSE_CONTENT_TYPE}
        self._headers = {"GET": plain, "HEAD": plain, "POST": signed}
        self._on_request, self._key, self._alg, self._watch = on_request, key, alg, watch
        self._pool: deque[bytes] = deque(maxlen=_POOLED)
        self._pool_lock = threading.Lock()
        self.session.mount("https://", Roots(roots_pem, pool_maxsize=_POOLED))

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

        `account_url` None signs with the key itself, as new-account needs. Raises `Refused` when the CA says no.
        """
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
        response = self._checked(self._request("HEAD", new_nonce_url, RequestKind.NEW_NONCE))
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
        try:
            response = self._exchange(method, url, data)
        except requests.RequestException:
            self._on_request(kind.value, "unreachable")
            raise
        self._on_request(kind.value, str(response.status_code))
        return response

    def _exchange(self, method: str, url: str, data: str | None) -> requests.Response:
        """Send without what `requests` does for browsers: merging settings costs more than the request itself."""
        request = requests.PreparedRequest()
        request.prepare(method, url, headers=self._headers[method], data=data)
        sent_at = self._watch.now() if self._watch else None
        response = self.session.send(
            request,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            allow_redirects=method == "GET",
            proxies=self._proxies,
        )
        if self._watch is not None and sent_at is not None:
            self._watch.see(response, sent_at)
        response.encoding = "utf-8"  # RFC 8555 section 6.1: all of ACME is JSON or PEM
        _log.debug("acme.request", method=method, url=url, status=response.status_code)
        return response

    @staticmethod
    def _checked(response: requests.Response) -> requests.Response:
        if response.status_code < requests.codes.multiple_choices:
            return response
        raise Refused(problem_from_json(response.text, response.reason or ""), response)


def _nonce_of(response: requests.Response) -> bytes | None:
    try:
        return decode_b64jose(response.headers[client.ClientNetwork.REPLAY_NONCE_HEADER])
    except (KeyError, DeserializationError):
        return None
