"""Performs the steps of an issuance. What is written before what is the whole point of this module.

1. key and CSR are saved, with the intent to order; 2. the order is made, or the one a crash left is found; 3. its URL
is saved; 4. the rest can be read again from the CA at any time. A crash between any two lines costs one pass.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random, uniform
from threading import Event

import structlog

from mailtls.api.spec import Desired, RotationPolicy
from mailtls.controller.step import (
    AdvanceOrder,
    CloseOrder,
    GiveUp,
    OpenOrder,
    ResumeOrder,
    SaveOrder,
    ScheduleRenewal,
    StageKey,
    StoreCertificate,
)
from mailtls.issuance import guard, keys
from mailtls.issuance import storage as store
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.chain import is_anchored
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.ending import Closing, Failing
from mailtls.issuance.order import Download, Fail, Finalize, PollAuthorization, PollOrder, Present, RequestValidation
from mailtls.issuance.order_state import OrderState, RenewalWindow
from mailtls.issuance.schedule import renewal_schedule, renews_in_its_window, scheduled
from mailtls.issuance.validation import Validation
from mailtls.kube.secrets import Secrets
from mailtls.metrics import Metrics
from mailtls.observed import Observed, Staged
from mailtls.pki.certificate import KeyMaterial, parse_chain
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout import rollback
from mailtls.rollout.reload import Interrupted
from mailtls.times import Clock

log = structlog.get_logger()
LONGEST_NAP = timedelta(seconds=0.2)  # a worker waits this long for a CA itself; longer waits are left to the queue
MOST_STUMBLES_AT_CLOSING = 20  # then the responses stay behind: harmless, and better than a journal that never closes
WITHOUT_ARI = timedelta(hours=6)  # when to ask for a window again that was not to be had


@dataclass(frozen=True, slots=True)
class Issuing:
    """Walks orders from intent to Secret."""

    secrets: Secrets
    accounts: Accounts
    validation: Validation
    clock: Clock
    metrics: Metrics
    stopping: Event
    trust_pem: str = ""
    namespaces: tuple[str, ...] = ()  # where resources are; empty: everywhere

    def stage(self, desired: Desired, seen: Observed, step: StageKey) -> Observed:
        """Save a key and its CSR before anything is asked of the CA."""
        key = _next_key(desired, seen)
        staged = Staged(
            spki_sha256=key.spki_sha256(),
            key_algorithm=desired.private_key.algorithm,
            key_size=desired.private_key.size,
            names=desired.dns_names,
            acme_server=desired.acme.server,
            profile=desired.acme.profile,
            is_open=True,
            staged_at=self.clock.now(),
            key=key,
            csr_der=keys.signing_request(key, desired.dns_names, common_name=desired.acme.common_name),
            resource_version=seen.staged.resource_version if seen.staged else "",
            replaces_sha256=seen.secret.certificate.sha256 if seen.secret.certificate else None,
        )
        log.info("a certificate is due", reason=step.due.reason, message=step.due.message)
        saved = self.secrets.stage(desired, staged, seen.resource)
        return replace(
            seen,
            staged=saved,
            order=None,
            presented=frozenset(),
            published=frozenset(),
            chain=None,
            is_fresh_intent=True,
            was_resumed=False,
        )

    def open(self, desired: Desired, seen: Observed, _step: OpenOrder) -> Observed:
        """Order, unless a crash may have left an order behind that can be found."""
        staged = _staged(seen)
        account = self._account(desired, seen)
        if not renews_in_its_window(desired, seen, self.clock.now()):
            account.line.stand(staged.spki_sha256, desired.key.namespace)
        found = None
        if not seen.is_fresh_intent:
            found = account.find_open(staged.names, staged.staged_at, profile=desired.acme.profile)
        order = found or self._new_order(account, desired, seen)
        account.line.leave(staged.spki_sha256)
        self.accounts.uses.note(desired.acme.server, staged.spki_sha256, order)
        return replace(seen, order=order, is_fresh_intent=False)

    def save(self, desired: Desired, seen: Observed, _step: SaveOrder) -> Observed:
        """Save the order's URL: a step of its own, so that the order is not forgotten when the API server is away."""
        staged = replace(_staged(seen), order_url=_order(seen).url)
        return replace(seen, staged=self.secrets.save_order(desired.key, desired.secret_name, staged))

    def _new_order(self, account: Account, desired: Desired, seen: Observed) -> OrderState:
        replaces = None
        certificate = seen.secret.certificate
        if certificate and desired.renewal.ari and seen.secret.acme_server == desired.acme.server:
            replaces = account.replaces_id(certificate.leaf_pem)
        return account.new_order(desired.dns_names, profile=desired.acme.profile, replaces=replaces)

    def resume(self, desired: Desired, seen: Observed, step: ResumeOrder) -> Observed:
        """Read an order of an earlier process again."""
        account = self._account(desired, seen)
        try:
            order = account.resume(step.url)
            self.accounts.uses.note(desired.acme.server, _staged(seen).spki_sha256, order)
            return replace(seen, order=order, presented=frozenset(), published=frozenset(), was_resumed=True)
        except OrderGone:
            # The CA forgot it (they expire); the staged key is as good for the next one.
            saved = self.secrets.save_order(desired.key, desired.secret_name, replace(_staged(seen), order_url=None))
            return replace(seen, staged=saved, order=None, is_fresh_intent=True)

    def advance(self, desired: Desired, seen: Observed, step: AdvanceOrder) -> Observed:
        """Perform one action of the order's state machine, after a short wait; a longer one is left to the queue."""
        not_before = getattr(step.action, "not_before", None)
        if not_before is not None and not_before - self.clock.now() > LONGEST_NAP:
            return replace(seen, wait_until=not_before)
        self._nap(not_before)
        account, order, action = self._account(desired, seen), _order(seen), step.action
        match action:
            case Present():
                return self._present(desired, seen, account, action)
            case RequestValidation():
                order = account.answer(order, action.challenge)
            case PollAuthorization():
                order = account.poll_authorization(order, action.url)
            case Finalize():
                order = account.finalize(order, _staged(seen).csr_der)
            case PollOrder():
                order = account.poll(order)
                self.accounts.uses.note(desired.acme.server, _staged(seen).spki_sha256, order)
            case Download():
                return self._download(desired, seen, account)
            case Fail():
                raise AssertionError("a failure is no action to perform")
        return replace(seen, order=order, stumbles=0)

    def _account(self, desired: Desired, seen: Observed) -> Account:
        """The account to order with; a person who asks for a renewal waits for nothing that a CA asked for before."""
        request = desired.renew_requested
        if request is not None and request != seen.secret.handled_renew:
            self.accounts.asked(desired.acme, desired.key, request)
        return self.accounts.of(desired.acme)

    def _nap(self, until: datetime | None) -> None:
        if until is not None and self.stopping.wait(max(0.0, (until - self.clock.now()).total_seconds())):
            raise Interrupted

    def _present(self, desired: Desired, seen: Observed, account: Account, action: Present) -> Observed:
        shown = self.validation.present(desired, seen, account, action)
        return self.failing.attempt(desired, seen, shown) if isinstance(shown, Fail) else shown

    def _download(self, desired: Desired, seen: Observed, account: Account) -> Observed:
        order = _order(seen)
        offer = account.download(order, desired.acme.preferred_chain)
        try:
            chain = parse_chain(offer.chain_pem)
        except ValueError:
            return self.failing.attempt(desired, seen, Fail(_unreadable()))
        added = chain.names > frozenset(desired.dns_names)
        chain = replace(
            chain,
            roots_offered=offer.roots,
            names_asked=frozenset(desired.dns_names) if added else frozenset(),
            is_anchored=chain.is_leaf_alone and is_anchored(chain.chain_pem, self._roots(desired), self.clock.now()),
        )
        if chain.spki_sha256 != _staged(seen).spki_sha256:
            # An order with the same names that was finalized with another key: somebody else's, or a lost key's.
            return self.failing.attempt(desired, seen, Fail(_another_key()), is_anothers=True)
        return replace(seen, chain=chain)

    def _roots(self, desired: Desired) -> str:
        """Roots to trust besides the system's: the installation's, and those that the resource names."""
        roots = [self.trust_pem, self.accounts.secrets.roots(desired.acme)]
        if desired.probe.trust is not None:
            with suppress(AcmeProblem):  # that they are missing is said where pods are probed
                roots.append(self.accounts.secrets.read(desired.probe.trust).decode(errors="replace"))
        return "\n".join(roots)

    def store(self, desired: Desired, seen: Observed, _step: StoreCertificate) -> Observed:
        """Write the new pair, when every check lets it through."""
        staged, chain = _staged(seen), seen.chain
        if chain is None:
            raise AssertionError("there is a chain before it is stored")
        now = self.clock.now()
        fault = store.fault_of(store.Candidate(chain, staged.spki_sha256), desired, seen, now)
        if fault is not None:
            return self.failing.attempt(desired, replace(seen, chain=None), Fail(fault))
        before = (
            seen.secret if not guard.is_replaced(seen) else replace(seen.secret, certificate=None)
        )  # not to be kept
        secret = self.secrets.store(desired, chain, staged.key, before, staged)
        self.metrics.order_ended("issued", (now - staged.staged_at).total_seconds())
        stored = replace(seen, secret=secret, chain=None, sights=None, look_again_at=None)
        return store.about_another_certificate(store.noted(stored, now))

    def close(self, desired: Desired, seen: Observed, _step: CloseOrder) -> Observed:
        """Remove the responses and let pending authorizations go, then close the journal and save our copy with it."""
        staged = _staged(seen)
        self.accounts.release(desired.acme, staged.spki_sha256)
        if staged.order_url is not None and seen.stumbles < MOST_STUMBLES_AT_CLOSING:
            closing = Closing(self.secrets, self.accounts, self.validation, self.namespaces)
            closing.close(desired, seen, staged.order_url)
        pair = guard.pair_to_copy(seen)
        closed = self.secrets.close_order(desired, staged, pair)
        self.accounts.uses.forget(staged.spki_sha256)
        return replace(
            seen,
            staged=closed,
            copy=pair or seen.copy,
            order=None,
            presented=frozenset(),
            published=frozenset(),
            chain=None,
            presenting_since=None,
            hidden_by=None,
            looks=0,
            wait_until=None,
            stumbles=0,
        )

    def give_up(self, desired: Desired, seen: Observed, step: GiveUp) -> Observed:
        """Remember that the order failed."""
        return self.failing.attempt(desired, seen, step.fail)

    @property
    def failing(self) -> Failing:
        """Files what stood in the way of an order."""
        return Failing(self.clock, self.metrics)

    def schedule(self, desired: Desired, seen: Observed, _step: ScheduleRenewal) -> Observed:
        """Ask for the renewal window, and pick the time; without an answer the lifetime alone decides."""
        certificate = seen.secret.certificate
        if certificate is None:
            raise AssertionError("only a stored certificate is scheduled")
        is_the_cas = seen.secret.acme_server == desired.acme.server  # another CA's window is not to be had from it
        window = self._window(desired, certificate.leaf_pem) if desired.renewal.ari and is_the_cas else None
        picked = renewal_schedule(certificate, desired.renewal, window, seen.schedule, random())  # noqa: S311
        again_at = window.check_again_at if window else self.clock.now() + WITHOUT_ARI * uniform(0.8, 1.2)  # noqa: S311
        picked = rollback.held(picked, desired, seen)
        seen = scheduled(picked, desired, seen, self.clock.now(), random())  # noqa: S311 - jitter
        return replace(seen, ask_ca_again_at=again_at if desired.renewal.ari else None)

    def _window(self, desired: Desired, leaf_pem: str) -> RenewalWindow | None:
        try:
            return self.accounts.of(desired.acme).renewal_window(leaf_pem)
        except AcmeProblem:
            return None  # the renewal itself will tell, if the CA is away for long


def _next_key(desired: Desired, seen: Observed) -> KeyMaterial:
    kept = seen.secret.key
    if (
        desired.private_key.rotation_policy is RotationPolicy.NEVER
        and kept is not None
        and keys.follows(kept, desired.private_key)
    ):
        return kept
    return keys.generate(desired.private_key)


def _staged(seen: Observed) -> Staged:
    if seen.staged is None:
        raise AssertionError("a key is staged before anything is ordered")
    return seen.staged


def _order(seen: Observed) -> OrderState:
    if seen.order is None:
        raise AssertionError("an order is read before it is advanced")
    return seen.order


def _another_key() -> Finding:
    return Finding(
        Reason.CERTIFICATE_KEY_MISMATCH,
        "The order's certificate is for another key than the one kept for it; a new order follows.",
    )


def _unreadable() -> Finding:
    return Finding(
        Reason.CERTIFICATE_CHAIN_BROKEN, "The CA returned a certificate that cannot be read; it was not stored."
    )
