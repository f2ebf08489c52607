"""Lets a pair serve that was not just issued: the one before, where every check lets it, or one that is adopted."""

from dataclasses import dataclass, replace
from typing import Self

import structlog

from mailtls.context import Context
from mailtls.issuance import adoption, guard
from mailtls.issuance.adoption import AdoptSecret
from mailtls.issuance.guard import RestoreSecret, SaveCopy
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.secrets import Secrets
from mailtls.rollout import rollback
from mailtls.rollout.rollback import RollBack
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Restoring(Executor):
    """Puts previous pairs back, and takes Secrets over."""

    pairs: PreviousPairs
    secrets: Secrets
    clock: Clock

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(PreviousPairs(adapters.cluster, adapters.secrets.seal), adapters.secrets, adapters.clock)

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
        return adoption.noted(context.with_snapshot(secret=taken, staged=staged, copy=taken), self.clock.now())

    def restore(self, context: Context, _step: RestoreSecret) -> Context:
        """Put back what was stored, or labels alone; pods that read something else meanwhile are found by a probe."""
        desired = context.desired
        pair, was_replaced = guard.restored(context), guard.is_replaced(context)
        told = guard.noted(context, self.clock.now()) if was_replaced else context
        secret = self.secrets.serve(desired, pair, context.snapshot.secret)
        if not was_replaced:
            log.info("the Secret has its labels and annotations again", secret=desired.secret_name)
            return context.with_snapshot(secret=secret)
        log.warning("the Secret was put right", secret=desired.secret_name, writer=context.snapshot.secret.writer)
        return told.with_snapshot(secret=secret, copy=secret).about_another_certificate()

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
        hold = rollback.hold_for(pair.certificate, desired, now)
        goal = self.pairs.to_serve(desired, secret, pair, hold)
        staged = self.secrets.keep_copy(desired, goal, context.snapshot.staged)
        restored = self.pairs.exchange(desired, secret, pair, hold)
        log.info("rolled back", serial=pair.certificate.serial_number)
        taken = context.with_snapshot(secret=restored, staged=staged, copy=restored)
        return rollback.noted(taken, now).about_another_certificate()
