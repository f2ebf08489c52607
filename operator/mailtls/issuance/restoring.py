"""Lets a pair serve that was not just issued: the one before, where every check lets it, or one that is adopted."""

from dataclasses import dataclass, replace

import structlog

from mailtls.api.spec import Desired
from mailtls.controller.step import AdoptSecret, KeepCopy, PutRight, RollBack
from mailtls.issuance import adoption, guard
from mailtls.issuance import storage as store
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.secrets import Secrets
from mailtls.observed import Observed
from mailtls.rollout import rollback
from mailtls.times import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Restoring:
    """Puts previous pairs back, and takes Secrets over."""

    pairs: PreviousPairs
    secrets: Secrets
    clock: Clock

    def adopt(self, desired: Desired, seen: Observed, _step: AdoptSecret) -> Observed:
        """Take the Secret over; nothing of what pods serve changes."""
        found = seen.secret
        if found.certificate is None:
            raise AssertionError("what is adopted can serve")
        pair = replace(found, adopted=found.certificate.sha256, acme_server=None, profile=None, hold=None)
        staged = self.secrets.keep_copy(desired, pair, seen.staged)
        taken = self.secrets.serve(desired, pair, found)
        log.info("the Secret was taken over, as its annotation asks", secret=desired.secret_name)
        return adoption.noted(replace(seen, secret=taken, staged=staged, copy=taken), self.clock.now())

    def put_right(self, desired: Desired, seen: Observed, _step: PutRight) -> Observed:
        """Put back what was stored, or labels alone; pods that read something else meanwhile are found by a probe."""
        pair, was_replaced = guard.restored(seen), guard.is_replaced(seen)
        told = guard.noted(desired, seen, self.clock.now()) if was_replaced else seen
        secret = self.secrets.serve(desired, pair, seen.secret)
        if not was_replaced:
            log.info("the Secret has its labels and annotations again", secret=desired.secret_name)
            return replace(seen, secret=secret)
        log.warning("the Secret was put right", secret=desired.secret_name, writer=seen.secret.writer)
        return store.about_another_certificate(replace(told, secret=secret, copy=secret))

    def keep_copy(self, desired: Desired, seen: Observed, _step: KeepCopy) -> Observed:
        """Save a copy of what serves, to put the Secret right from."""
        staged = self.secrets.keep_copy(desired, seen.secret, seen.staged)
        return replace(seen, staged=staged, copy=seen.secret)

    def roll_back(self, desired: Desired, seen: Observed, _step: RollBack) -> Observed:
        """Exchange the two pairs, or say why not; either way the wish is heeded."""
        pair, now = self.pairs.read(desired, seen.secret), self.clock.now()
        fault = rollback.fault_of(pair, desired, seen, now)
        if fault is not None:
            log.warning("not rolled back", message=fault.message)
            handled = self.pairs.refuse(desired, seen.secret)
            return rollback.refused(replace(seen, secret=handled), fault, now)
        if pair is None or pair.certificate is None:
            raise AssertionError("what is not there has a fault")
        hold = rollback.hold_for(pair.certificate, desired, now)
        goal = self.pairs.to_serve(desired, seen.secret, pair, hold)
        staged = self.secrets.keep_copy(desired, goal, seen.staged)
        restored = self.pairs.exchange(desired, seen.secret, pair, hold)
        log.info("rolled back", serial=pair.certificate.serial_number)
        return store.about_another_certificate(
            rollback.noted(replace(seen, secret=restored, staged=staged, copy=restored), now)
        )
