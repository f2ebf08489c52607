"""Lets a pair serve that was not just issued: the one before, where every check lets it, or one that is adopted."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

import structlog

from mailtls.api.reading.acme import STAGING
from mailtls.api.spec import DataRef, Desired
from mailtls.context import Context
from mailtls.issuance import guard
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.certificates import is_trusted
from mailtls.issuance.guard import RestoreSecret, SaveCopy
from mailtls.issuance.storage import AdoptSecret, adoption_noted
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Hold, ServingSecret
from mailtls.metrics import Metrics
from mailtls.net.backoff import REFUSED_CERTIFICATE
from mailtls.reasons.reason import Finding
from mailtls.rollout import going_back, rollback
from mailtls.rollout.going_back import GoBack
from mailtls.rollout.rollback import RollBack
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Restoring(Executor):
    """Puts previous pairs back, and takes Secrets over; `read` returns an entry of a Secret or ConfigMap."""

    pairs: PreviousPairs
    secrets: Secrets
    clock: Clock
    metrics: Metrics
    read: Callable[[DataRef], bytes]
    trust_pem: str = ""

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(
            PreviousPairs(adapters.cluster, adapters.secrets.seal),
            adapters.secrets,
            adapters.clock,
            adapters.metrics,
            adapters.accounts.secrets.read,
            adapters.trust_pem,
        )

    def adopt(self, context: Context, _step: AdoptSecret) -> Context:
        """Take the Secret over; nothing of what pods serve changes."""
        desired = context.desired
        found = context.snapshot.secret
        if found.certificate is None:
            raise AssertionError("what is adopted can serve")
        pair = replace(found, adopted=found.certificate.sha256, acme_server=None, profile=None, hold=None)
        staged = self.secrets.keep_copy(desired, pair, context.snapshot.staged)
        taken = self.secrets.serve(desired, pair, found)
        log.info("the Secret was taken over, as its annotation asks", secret=desired.secret_name)
        return adoption_noted(context.with_snapshot(secret=taken, staged=staged, copy=taken), self.clock.now())

    def restore(self, context: Context, _step: RestoreSecret) -> Context:
        """Put back what was stored, or labels alone; pods that read something else meanwhile are found by a probe."""
        desired = context.desired
        pair, was_replaced = guard.restored(context), guard.is_replaced(context)
        known = guard.noted(context, self.clock.now()) if was_replaced else context
        secret = self.secrets.serve(desired, pair, context.snapshot.secret)
        if not was_replaced:
            log.info("the Secret has its labels and annotations again", secret=desired.secret_name)
            return context.with_snapshot(secret=secret)
        log.warning("the Secret was put right", secret=desired.secret_name, writer=context.snapshot.secret.writer)
        return known.with_snapshot(secret=secret, copy=secret).about_another_certificate()

    def save_copy(self, context: Context, _step: SaveCopy) -> Context:
        """Save a copy of what serves, to put the Secret right from."""
        staged = self.secrets.keep_copy(context.desired, context.snapshot.secret, context.snapshot.staged)
        return context.with_snapshot(staged=staged, copy=context.snapshot.secret)

    def roll_back(self, context: Context, _step: RollBack) -> Context:
        """Exchange the two pairs, or say why not; either way the request is handled."""
        desired, secret = context.desired, context.snapshot.secret
        pair, now = self.pairs.read(desired, secret), self.clock.now()
        fault = rollback.fault_of(pair, context, now)
        if fault is not None:
            log.warning("not rolled back", message=fault.message)
            handled = self.pairs.refuse(desired, secret)
            return rollback.refused(context.with_snapshot(secret=handled), fault, now)
        if pair is None or pair.certificate is None:
            raise AssertionError("what is not there has a fault")
        taken = self._exchanged(context, pair, rollback.hold_for(pair.certificate, desired, now))
        self.metrics.rolled_back("request")
        log.info("rolled back", serial=pair.certificate.serial_number)
        return rollback.noted(taken, now).about_another_certificate()

    def go_back(self, context: Context, step: GoBack) -> Context:
        """Exchange the two pairs, which says in the same write what failed; or remember why that cannot be."""
        desired, now = context.desired, self.clock.now()
        pair = self.pairs.read(desired, context.snapshot.secret)
        fault = (
            rollback.fault_of(pair, context, now) or going_back.unfit(pair, context) or self._untrusted(pair, context)
        )
        if fault is not None:
            log.warning("not rolled back", message=fault.message)
            return context.with_rollout(no_way_back=fault)
        if pair is None:
            raise AssertionError("what is not there has a fault")
        taken = self._exchanged(context, pair, going_back.hold_after(pair, context, step.why, now))
        self.metrics.rolled_back("failure")
        self.metrics.retried(REFUSED_CERTIFICATE.kind)
        self.metrics.rollout_ended("failed")
        log.warning("rolled back", message=step.why)
        return going_back.noted(taken, now).about_another_certificate()

    def _exchanged(self, context: Context, pair: ServingSecret, hold: Hold) -> Context:
        desired = context.desired
        serving = replace(context.snapshot.secret, is_verified=going_back.was_verified(context))
        goal = self.pairs.to_serve(desired, serving, pair, hold)
        staged = self.secrets.keep_copy(desired, goal, context.snapshot.staged)
        restored = self.pairs.exchange(desired, serving, pair, hold)
        return context.with_snapshot(secret=restored, staged=staged, copy=restored)

    def _untrusted(self, pair: ServingSecret | None, context: Context) -> Finding | None:
        """Say that no client would trust it now: what was proven once may have lost its root since."""
        if pair is None or pair.certificate is None:
            return None
        roots, is_trial = self._roots(context.desired), context.desired.acme.server == STAGING
        is_good = is_trusted(pair.certificate.chain_pem, roots, self.clock.now(), trusts_staging=is_trial)
        return None if is_good else going_back.untrusted(context)

    def _roots(self, desired: Desired) -> str:
        roots = [self.trust_pem]
        if desired.probe.trust is not None:
            with suppress(AcmeProblem):  # that they are missing is said where pods are probed
                roots.append(self.read(desired.probe.trust).decode(errors="replace"))
        return "\n".join(roots)
