"""Lets a pair serve that was not just issued: the one before, where every check lets it, or one that is adopted."""

from dataclasses import dataclass, replace

import structlog

from mailtls.lifecycle import adoption, rollback, store
from mailtls.lifecycle.step import AdoptSecret, RollBack
from mailtls.model.observed import Observed
from mailtls.model.spec import Desired
from mailtls.world.cluster.previous import PreviousPairs
from mailtls.world.cluster.secrets import Secrets
from mailtls.world.ports import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Restoring:
    """Puts previous pairs back, and takes Secrets over."""

    pairs: PreviousPairs
    secrets: Secrets
    clock: Clock

    def adopt(self, desired: Desired, seen: Observed, _step: AdoptSecret) -> Observed:
        """Take the Secret over; nothing of what pods serve changes."""
        taken = self.secrets.adopt(desired, seen.secret)
        log.info("the Secret was taken over, as its annotation asks", secret=desired.secret_name)
        return adoption.noted(replace(seen, secret=taken), self.clock.now())

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
        restored = self.pairs.exchange(desired, seen.secret, pair, hold)
        log.info("rolled back", serial=pair.certificate.serial_number)
        return store.about_another_certificate(rollback.noted(replace(seen, secret=restored), now))
