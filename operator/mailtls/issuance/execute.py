"""Performs the steps of an issuance. What is written before what is the whole point of this module.

1. key and CSR are saved, with the intent to order; 2. the order is made, or the one a crash left is found; 3. its URL
is saved; 4. the rest can be read again from the CA at any time. A crash between any two lines costs one reconcile.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event
from typing import ClassVar, Self

import structlog

from mailtls.api.spec import Desired, RotationPolicy
from mailtls.context import Context
from mailtls.issuance import guard
from mailtls.issuance import storage as store
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.account_secrets import trusted_roots
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.certificates import is_anchored, key_follows, new_key, signing_request
from mailtls.issuance.decide import (
    AdvanceOrder,
    CloseOrder,
    GiveUp,
    OpenOrder,
    ResumeOrder,
    SaveOrder,
    StageKey,
    StoreCertificate,
)
from mailtls.issuance.ending import Closing, Failing
from mailtls.issuance.order import Download, Fail, Finalize, PollAuthorization, PollOrder, Present, RequestValidation
from mailtls.issuance.order_state import OrderState
from mailtls.issuance.schedule import renews_in_its_window
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.validation import Validation
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Staged
from mailtls.metrics import Metrics
from mailtls.net.effects import Interrupted
from mailtls.pki.certificate import KeyMaterial, parse_chain
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.going_back import was_verified
from mailtls.stage import Adapters, Executor
from mailtls.step import Step
from mailtls.times import Clock

log = structlog.get_logger()
LONGEST_NAP = timedelta(seconds=0.2)  # a worker waits this long for a CA itself; longer waits are left to the queue
MOST_FAILURES_AT_CLOSING = 20  # then the responses stay behind: harmless, and better than a journal that never closes


@dataclass(frozen=True, slots=True)
class Issuing(Executor):
    """Walks orders from intent to Secret."""

    problems: ClassVar[tuple[type[Exception], ...]] = (AcmeProblem, ChallengeProblem)
    secrets: Secrets
    accounts: Accounts
    validation: Validation
    clock: Clock
    metrics: Metrics
    stopping: Event
    trust_pem: str = ""
    namespaces: tuple[str, ...] = ()  # where resources are; empty: everywhere

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(
            adapters.secrets,
            adapters.accounts,
            Validation(adapters.solvers, adapters.clock),
            adapters.clock,
            adapters.metrics,
            adapters.stopping,
            adapters.trust_pem,
            adapters.namespaces,
        )

    def failed(self, context: Context, step: Step, problem: Exception) -> Context:
        """File what stood in the way: an order that cannot be closed is another thing than one that cannot go on."""
        if not isinstance(problem, AcmeProblem | ChallengeProblem):
            raise problem
        described = {"reason": problem.finding.reason, "message": problem.finding.message}
        if isinstance(step, CloseOrder):
            log.warning("the order is closed later", **described)
            return self.failing.not_closed(context, problem)
        log.warning("the certificate has to wait", **described)
        return self.failing.problem(context, problem)

    def stage(self, context: Context, step: StageKey) -> Context:
        """Save a key and its CSR before anything is asked of the CA."""
        desired, before = context.desired, context.snapshot.secret.certificate
        key = _next_key(context)
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
            csr_der=signing_request(key, desired.dns_names, common_name=desired.acme.common_name),
            resource_version=context.snapshot.staged.resource_version if context.snapshot.staged else "",
            replaces_sha256=before.sha256 if before else None,
        )
        log.info("a certificate is due", reason=step.due.reason, message=step.due.message)
        saved = self.secrets.stage(desired, staged, context.snapshot.resource)
        about_it = replace(context.issuance.about_another_order(), is_fresh_intent=True)
        return replace(context.with_snapshot(staged=saved), issuance=about_it)

    def open(self, context: Context, _step: OpenOrder) -> Context:
        """Order, unless a crash may have left an order behind that can be found."""
        desired = context.desired
        staged = _staged(context)
        account = self._account(context)
        if not renews_in_its_window(context, self.clock.now()):
            account.order_rate.acquire(staged.spki_sha256, desired.key.namespace)
        found = None
        if not context.issuance.is_fresh_intent:
            found = account.find_open(staged.names, staged.staged_at, profile=desired.acme.profile)
        order = found or self._new_order(account, context)
        account.order_rate.spend(staged.spki_sha256)
        self.accounts.uses.note(desired.acme.server, staged.spki_sha256, order)
        return context.with_issuance(order=order, is_fresh_intent=False)

    def save(self, context: Context, _step: SaveOrder) -> Context:
        """Save the order's URL: a step of its own, so that the order is not forgotten when the API server is away."""
        staged = replace(_staged(context), order_url=_order(context).url)
        return context.with_snapshot(
            staged=self.secrets.save_order(context.desired.key, context.desired.secret_name, staged)
        )

    def _new_order(self, account: Account, context: Context) -> OrderState:
        desired = context.desired
        replaces = None
        certificate = context.snapshot.secret.certificate
        if certificate and desired.renewal.ari and context.snapshot.secret.acme_server == desired.acme.server:
            replaces = account.replaces_id(certificate.leaf_pem)
        return account.new_order(desired.dns_names, profile=desired.acme.profile, replaces=replaces)

    def resume(self, context: Context, step: ResumeOrder) -> Context:
        """Read an order of an earlier process again."""
        desired = context.desired
        account = self._account(context)
        try:
            order = account.resume(step.url)
            self.accounts.uses.note(desired.acme.server, _staged(context).spki_sha256, order)
            return replace(context, issuance=context.issuance.resumed(order))
        except OrderGone:
            # The CA forgot it (they expire); the staged key is as good for the next one.
            saved = self.secrets.save_order(desired.key, desired.secret_name, replace(_staged(context), order_url=None))
            return context.with_snapshot(staged=saved).with_issuance(order=None, is_fresh_intent=True)

    def advance(self, context: Context, step: AdvanceOrder) -> Context:
        """Perform one action of the order's state machine, after a short wait; a longer one is left to the queue."""
        not_before = getattr(step.action, "not_before", None)
        if not_before is not None and not_before - self.clock.now() > LONGEST_NAP:
            return context.with_issuance(wait_until=not_before)
        self._nap(not_before)
        account, order, action = self._account(context), _order(context), step.action
        match action:
            case Present():
                return self._present(context, account, action)
            case RequestValidation():
                order = account.request_validation(order, action.challenge)
            case PollAuthorization():
                order = account.poll_authorization(order, action.url)
            case Finalize():
                order = account.finalize(order, _staged(context).csr_der)
            case PollOrder():
                order = account.poll(order)
                self.accounts.uses.note(context.desired.acme.server, _staged(context).spki_sha256, order)
            case Download():
                return self._download(context, account)
            case Fail():
                raise AssertionError("a failure is no action to perform")
        return context.with_issuance(order=order, transient_failures=0)

    def _account(self, context: Context) -> Account:
        """The account to order with; a person who asks for a renewal waits for nothing that a CA asked for before."""
        desired = context.desired
        request = desired.renew_requested
        if request is not None and request != context.snapshot.secret.handled_renew:
            self.accounts.asked(desired.acme, desired.key, request)
        return self.accounts.of(desired.acme)

    def _nap(self, until: datetime | None) -> None:
        if until is not None and self.stopping.wait(max(0.0, (until - self.clock.now()).total_seconds())):
            raise Interrupted

    def _present(self, context: Context, account: Account, action: Present) -> Context:
        shown = self.validation.present(context, account, action)
        return self.failing.attempt(context, shown) if isinstance(shown, Fail) else shown

    def _download(self, context: Context, account: Account) -> Context:
        desired = context.desired
        order = _order(context)
        offer = account.download(order, desired.acme.preferred_chain)
        try:
            chain = parse_chain(offer.chain_pem)
        except ValueError:
            return self.failing.attempt(context, Fail(_unreadable()))
        added = chain.names > frozenset(desired.dns_names)
        chain = replace(
            chain,
            roots_offered=offer.roots,
            names_asked=frozenset(desired.dns_names) if added else frozenset(),
            is_anchored=chain.is_leaf_alone and is_anchored(chain.chain_pem, self._roots(desired), self.clock.now()),
        )
        if chain.spki_sha256 != _staged(context).spki_sha256:
            # An order with the same names that was finalized with another key: somebody else's, or a lost key's.
            return self.failing.attempt(context, Fail(_another_key()), is_anothers=True)
        return context.with_issuance(chain=chain)

    def _roots(self, desired: Desired) -> str:
        """Roots to trust besides the system's: those of the CA too."""
        secrets = self.accounts.secrets
        roots, _ = trusted_roots(self.trust_pem, desired.probe.trust, secrets.read)  # said where pods are probed
        return f"{roots}\n{secrets.roots(desired.acme)}"

    def store(self, context: Context, _step: StoreCertificate) -> Context:
        """Write the new pair, when every check lets it through."""
        staged, chain = _staged(context), context.issuance.chain
        if chain is None:
            raise AssertionError("there is a chain before it is stored")
        now = self.clock.now()
        fault = store.fault_of(store.Candidate(chain, staged.spki_sha256), context, now)
        if fault is not None:
            return self.failing.attempt(context.with_issuance(chain=None), Fail(fault))
        before = context.snapshot.secret
        is_kept = not before.is_placeholder and not guard.is_replaced(context)
        before = replace(before, certificate=before.certificate if is_kept else None, is_verified=was_verified(context))
        secret = self.secrets.store(context.desired, chain, staged.key, before, staged)
        self.metrics.order_ended("issued", (now - staged.staged_at).total_seconds())
        stored = replace(context.with_snapshot(secret=secret), issuance=context.issuance.stored())
        return store.noted(stored, now).about_another_certificate()

    def close(self, context: Context, _step: CloseOrder) -> Context:
        """Remove the responses and let pending authorizations go, then close the journal and save our copy with it."""
        staged = _staged(context)
        self.accounts.release(context.desired.acme, staged.spki_sha256)
        if staged.order_url is not None and context.issuance.transient_failures < MOST_FAILURES_AT_CLOSING:
            Closing(self.secrets, self.accounts, self.validation, self.namespaces).close(context, staged.order_url)
        pair = guard.pair_to_copy(context)
        closed = self.secrets.close_order(context.desired, staged, pair)
        self.accounts.uses.forget(staged.spki_sha256)
        context = context.with_snapshot(staged=closed, copy=pair or context.snapshot.copy)
        return replace(context, issuance=context.issuance.closed())

    def give_up(self, context: Context, step: GiveUp) -> Context:
        """Remember that the order failed."""
        return self.failing.attempt(context, step.fail)

    @property
    def failing(self) -> Failing:
        """Files what stood in the way of an order."""
        return Failing(self.clock, self.metrics)


def _next_key(context: Context) -> KeyMaterial:
    desired, secret = context.desired, context.snapshot.secret
    kept = secret.key if not secret.is_placeholder else None
    if (
        desired.private_key.rotation_policy is RotationPolicy.NEVER
        and kept is not None
        and key_follows(kept, desired.private_key)
    ):
        return kept
    return new_key(desired.private_key)


def _staged(context: Context) -> Staged:
    if context.snapshot.staged is None:
        raise AssertionError("a key is staged before anything is ordered")
    return context.snapshot.staged


def _order(context: Context) -> OrderState:
    if context.issuance.order is None:
        raise AssertionError("an order is read before it is advanced")
    return context.issuance.order


def _another_key() -> Finding:
    return Finding(
        Reason.CERTIFICATE_KEY_MISMATCH,
        "The order's certificate is for another key than the one kept for it; a new order follows.",
    )


def _unreadable() -> Finding:
    return Finding(
        Reason.CERTIFICATE_CHAIN_BROKEN, "The CA returned a certificate that cannot be read; it was not stored."
    )
