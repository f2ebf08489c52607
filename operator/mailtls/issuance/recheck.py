"""Looks whether what held an attempt back was mended, and lets it be made then."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import uniform

import structlog

from mailtls.api.spec import Desired
from mailtls.controller.step import LookAtReferences, LookAtRoots
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.references import is_mended, judged_anew, lifted, needs_new_account, references, roots_changed
from mailtls.kube.references import References
from mailtls.observed import Observed
from mailtls.times import Clock

log = structlog.get_logger()
LOOK_SECONDS = (30, 60)  # between looks, drawn by lot: resources that wait for the same do not look at the same moment


@dataclass(frozen=True, slots=True)
class Mending:
    """Notices that a Secret or ConfigMap was put right, which no watch tells."""

    references: References
    accounts: Accounts
    clock: Clock

    def look(self, desired: Desired, seen: Observed, _step: LookAtReferences) -> Observed:
        """Compare with the last look; a change means that the next attempt need not wait."""
        now, named = self.clock.now(), references(desired)
        if needs_new_account(desired, seen):
            named = (*named, self.accounts.secrets.secret_of(desired.acme))
        sights = self.references.look(named)
        looked = replace(seen, sights=sights, look_again_at=_next_look(now))
        if not is_mended(seen, sights):
            return looked
        log.info("what the resource refers to was changed, so it is tried at once")
        self.accounts.look_again(desired.acme)
        return lifted(looked, now)

    def look_at_roots(self, desired: Desired, seen: Observed, _step: LookAtRoots) -> Observed:
        """Compare the roots to trust with the last look; a change means that all pods are asked at once."""
        if desired.probe.trust is None:
            raise AssertionError("roots are in doubt only where some are named")
        (sight,) = self.references.look([desired.probe.trust])
        looked = replace(seen, look_at_roots_at=_next_look(self.clock.now()))
        if not roots_changed(seen, sight):
            return replace(looked, roots=sight)
        log.info("the roots to trust were changed, so all pods are asked at once")
        return judged_anew(looked)


def _next_look(now: datetime) -> datetime:
    return now + timedelta(seconds=uniform(*LOOK_SECONDS))  # noqa: S311 - spreads load
