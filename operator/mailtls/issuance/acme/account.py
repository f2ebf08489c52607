"""An ACME account that orders certificates (RFC 8555); each method is one small step, none of them waits."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import requests
from acme import challenges, messages
from cryptography import x509
from josepy.errors import DeserializationError
from josepy.json_util import encode_b64jose

from mailtls.issuance.acme import messages as acme_messages
from mailtls.issuance.acme import orders as acme_orders
from mailtls.issuance.acme import problem as acme_problem
from mailtls.issuance.acme.directory import refuse_unknown_profile
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.order_rate import OrderRateLimiter
from mailtls.issuance.acme.orders import Listing
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone, Refused
from mailtls.issuance.acme.session import Session
from mailtls.issuance.certificates import Offer, chain_of, choose, ends_in, links
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState, RenewalWindow, Status
from mailtls.pki.loading import certificates
from mailtls.reasons.reason import Finding, Reason

_MOST_CHAINS = 16  # that a CA offers besides its default; each may take a quarter of a megabyte
_RESPONSES = 1024  # of as many challenges the response is kept, for each is used several times
# What CAs say when the certificate to be replaced is not one they can replace (RFC 9773 section 5 names the first).
_REPLACES_REFUSED = frozenset({"alreadyReplaced", "malformed", "unauthorized", "serverInternal"})


class Account:
    """Thread-safe; one for all resources that share a CA and an account key.

    `order_rate` is where orders wait for the CA's limit: the caller acquires a token before it orders. Every method
    raises `AcmeProblem` when the CA or the way to it does not cooperate.
    """

    def __init__(self, session: Session, order_rate: OrderRateLimiter | None = None) -> None:
        self._session = session
        self.order_rate = order_rate or OrderRateLimiter(None, session.now)
        self._listing = Listing(session)
        self._key_authorizations = lru_cache(_RESPONSES)(self._key_authorization)

    @property
    def url(self) -> str:
        """The account's URL, as CAA records bind to it (RFC 8657); registers when there is none yet."""
        return self._session.account_url

    def hurry(self) -> None:
        """Wait no longer for what the CA asked to be waited for: a person asks, or something was corrected."""
        self._session.hurry()

    # challenge responses

    def key_authorization(self, token: str) -> str:
        """Return the content of an HTTP-01 response (RFC 8555 section 8.1)."""
        return self._key_authorizations(token)

    def dns01_value(self, token: str) -> str:
        """Return the TXT value of a DNS-01 response (RFC 8555 section 8.4)."""
        digest = hashlib.sha256(self.key_authorization(token).encode()).digest()
        return str(encode_b64jose(digest))

    # orders

    def new_order(self, names: Sequence[str], *, profile: str | None = None, replaces: str | None = None) -> OrderState:
        """Order a certificate for `names`; the caller saves the URL before anything else.

        `replaces` is the `replaces_id` of the certificate to be renewed; where the CA refuses just that, the order is
        made without it. A CA may hand out an older order of the same names.
        """
        refuse_unknown_profile(profile, self._profiles)
        response = self._post_new_order(names, profile, replaces)
        url = self._session.location(response)
        if not url:
            raise acme_problem.not_acme(response.url)
        order = OrderState(url)
        # The order exists: whatever is wrong with the answer, its URL must not be lost.
        with suppress(AcmeProblem):
            order = replace(self._read_order(order, response), polls=0)
        if order.identifiers and not order.is_for(names):
            message = f"The CA made an order for {', '.join(order.identifiers)} instead of {', '.join(names)}: {url}."
            raise AcmeProblem(Finding(Reason.ORDER_REJECTED, message))
        return order

    def resume(self, url: str, *, requested: frozenset[str] = frozenset()) -> OrderState:
        """Read an order, and its authorizations where they matter; raises `OrderGone` when the CA does not know it.

        `requested` holds the URLs of challenges whose validation was requested before; without it that is done once
        more for some, which CAs allow.
        """
        order = self.poll(OrderState(url, requested=requested))
        return self.load(order) if order.status in {Status.PENDING, Status.INVALID} else order

    def load(self, order: OrderState) -> OrderState:
        """Read all authorizations of which only the URL is known."""
        for authorization in order.authorizations:
            if authorization.status == Status.UNREAD:
                order = self.poll_authorization(order, authorization.url)
        return order

    def poll(self, order: OrderState) -> OrderState:
        """Read the order; raises `OrderGone` when the CA does not know it."""
        try:
            response = self._session.post_raw(RequestKind.ORDER, order.url)
        except Refused as refused:
            is_missing = refused.response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}
            if is_missing and not acme_problem.is_account_gone(refused):
                raise OrderGone(order.url) from refused
            raise self._session.problem(RequestKind.ORDER, refused) from refused
        return self._read_order(order, response)

    def poll_authorization(self, order: OrderState, url: str) -> OrderState:
        """Read one of the order's authorizations; one that the CA forgot becomes `expired`."""
        authorization = next(each for each in order.authorizations if each.url == url)
        try:
            response = self._session.post_raw(RequestKind.AUTHORIZATION, url)
        except Refused as refused:
            if refused.response.status_code != HTTPStatus.NOT_FOUND:
                raise self._session.problem(RequestKind.AUTHORIZATION, refused) from refused
            return order.with_authorization(replace(authorization, status="expired"))
        now = self._session.now()
        with self._acme(response) as body:
            retry_at = acme_problem.retry_after(response, now, acme_problem.LONGEST_POLL_WAIT)
            return order.with_authorization(acme_messages.read_authorization(authorization, body, retry_at, now))

    def request_validation(self, order: OrderState, challenge: ChallengeState) -> OrderState:
        """Ask the CA to validate a challenge, whose response is visible by now (RFC 8555 section 7.5.1)."""
        authorization = next(each for each in order.authorizations if challenge in each.challenges)
        order = replace(order, requested=order.requested | {challenge.url})
        message = self._http01(challenge.token).response(self._session.key)
        try:
            response = self._session.post_raw(RequestKind.CHALLENGE, challenge.url, message)
        except Refused as refused:
            return self._requested_before(order, authorization, challenge, refused)
        now = self._session.now()
        with self._acme(response) as body:
            seen = acme_messages.read_challenge(body)
            states = tuple(seen if each == challenge else each for each in authorization.challenges)
            retry_at = acme_problem.retry_after(response, now, acme_problem.LONGEST_POLL_WAIT)
            return order.with_authorization(
                replace(authorization, challenges=states, retry_at=retry_at, read_at=now, polls=0)
            )

    def finalize(self, order: OrderState, csr_der: bytes) -> OrderState:
        """Send the certificate request (RFC 8555 section 7.4); an order that is not ready is read again."""
        message = messages.CertificateRequest(csr=x509.load_der_x509_csr(csr_der))
        tried = replace(order, finalize_tries=order.finalize_tries + 1)
        try:
            response = self._session.post_raw(RequestKind.FINALIZE, order.finalize_url, message)
        except Refused as refused:
            if refused.problem.code == "orderNotReady":
                return self.poll(tried)
            raise self._session.problem(RequestKind.FINALIZE, refused) from refused
        return replace(self._read_order(tried, response), polls=0)

    def download(self, order: OrderState, preferred_chain: str | None = None) -> Offer:
        """Return the certificate with its chain in PEM, leaf first (RFC 8555 section 7.4.2).

        Of the chains offered it is the one that leads to the root of this common name; where none does, the CA's
        default, with the roots that there are.
        """
        response = self._session.post(RequestKind.CERTIFICATE, str(order.certificate_url))
        default = chain_of(response)
        if preferred_chain is None or ends_in(default, preferred_chain):
            return Offer(default)
        urls = links(response, "alternate")[:_MOST_CHAINS]
        alternates = [chain_of(self._session.post(RequestKind.CERTIFICATE, url)) for url in urls]
        return choose([default, *alternates], preferred_chain)

    def deactivate(self, order: OrderState, spared: Collection[str] = ()) -> bool:
        """Give pending authorizations back, so that they do not count against limits; True when none is left.

        Valid ones stay, for the next order may use them, and so do `spared` ones, whose URLs another order uses. Never
        raises: what is left expires by itself.
        """
        try:
            pending = [each for each in self.load(order).authorizations if each.status == Status.PENDING]
        except AcmeProblem:
            return False
        pending = [each for each in pending if each.url not in spared]
        left = [each for each in pending if not self._deactivate(each.url)]
        return not left

    def find_open(
        self,
        names: Sequence[str],
        not_before: datetime,
        *,
        profile: str | None = None,
        include_valid: bool = False,
    ) -> OrderState | None:
        """Look through the account's orders for one of exactly `names` that is still open (RFC 8555 section 7.1.2.1).

        This finds the order whose URL a crash kept from being saved. Orders that expired by `not_before` do not count,
        nor do those of another profile. With `include_valid` an issued one is second best: the caller must compare its
        certificate's key with its own. None where the CA keeps no list; such CAs (Let's Encrypt) hand the same pending
        order out again.
        """
        valid = None
        for order in self._listing.orders_for(names, self._listed):
            if not order.is_for(names) or not order.may_be(not_before, profile):
                continue
            if order.is_open:
                return self.load(order)
            if order.status == Status.VALID:
                valid = valid or order
        return valid if include_valid else None

    # renewal and revocation

    def replaces_id(self, certificate_pem: str) -> str | None:
        """Name a certificate for `new_order(replaces=...)`; None when the CA has no renewal information."""
        leaf = certificates(certificate_pem.encode())[0]
        return acme_orders.certificate_id(leaf) if acme_orders.renewal_info_url(self._session, leaf) else None

    def renewal_window(self, certificate_pem: str) -> RenewalWindow | None:
        """Ask when to renew a certificate of this CA; None when it does not say, or after expiry.

        Raises a transient `AcmeProblem`, with `retry_at`, for an answer that is none.
        """
        return acme_orders.renewal_window(self._session, certificates(certificate_pem.encode())[0])

    def _post_new_order(self, names: Sequence[str], profile: str | None, replaces: str | None) -> requests.Response:
        url = self._session.directory()["newOrder"]
        try:
            return self._session.post_raw(
                RequestKind.NEW_ORDER, url, acme_messages.new_order_message(names, profile, replaces)
            )
        except Refused as refused:
            if replaces is None or refused.problem.code not in _REPLACES_REFUSED:
                raise self._session.problem(RequestKind.NEW_ORDER, refused) from refused
        return self._post_new_order(names, profile, None)

    def _profiles(self, refresh: bool) -> Collection[str]:
        return self._session.directory(refresh=refresh)["meta"].profiles or ()

    def _read_order(self, order: OrderState, response: requests.Response) -> OrderState:
        now = self._session.now()
        with self._acme(response) as body:
            return acme_messages.read_order(
                order, body, acme_problem.retry_after(response, now, acme_problem.LONGEST_POLL_WAIT), now
            )

    @contextmanager
    def _acme(self, response: requests.Response) -> Iterator[dict[str, Any]]:
        """Give the answer's JSON; what has another shape than ACME's is no answer."""
        try:
            yield self._session.json(response)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise acme_problem.not_acme(response.url) from error

    def _requested_before(
        self, order: OrderState, authorization: AuthorizationState, challenge: ChallengeState, refused: Refused
    ) -> OrderState:
        # A crash between the request and saving it: the CA refuses, because it validates the challenge already.
        problem = self._session.problem(RequestKind.CHALLENGE, refused)
        if problem.transient or problem.retry_at:
            raise problem from refused
        order = self.poll_authorization(order, authorization.url)
        now = next(each for each in order.authorizations if each.url == authorization.url)
        offered = next((each for each in now.challenges if each.url == challenge.url), None)
        if now.status == Status.PENDING and offered is not None and offered.status == Status.PENDING:
            raise problem from refused
        return order

    def _deactivate(self, url: str) -> bool:
        try:
            self._session.post(RequestKind.AUTHORIZATION, url, messages.UpdateAuthorization(status="deactivated"))
        except AcmeProblem:
            return False
        return True

    def _listed(self, url: str) -> OrderState:
        return replace(self.poll(OrderState(url)), polls=0)

    def _key_authorization(self, token: str) -> str:
        return str(self._http01(token).key_authorization(self._session.key))

    def _http01(self, token: str) -> challenges.HTTP01:
        # Of DNS-01 the key authorization and the request are the same.
        try:
            return challenges.HTTP01.from_json({"type": "http-01", "token": token})
        except DeserializationError as error:
            raise acme_problem.not_acme(self._session.account_url) from error
