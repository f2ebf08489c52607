"""Looks whether what held an attempt back was mended, and lets it be made then."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import uniform

import structlog

from mailtls.context import Context
from mailtls.controller.step import LookAtReferences, LookAtRoots
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.references import is_mended, judged_anew, lifted, needs_new_account, references, roots_changed
from mailtls.kube.references import References
from mailtls.times import Clock

log = structlog.get_logger()
LOOK_SECONDS = (30, 60)  # between looks, drawn by lot: resources that wait for the same do not look at the same moment


@dataclass(frozen=True, slots=True)
class Mending:
    """Notices that a Secret or ConfigMap was put right, which no watch tells."""

    references: References
    accounts: Accounts
    clock: Clock

    def look(self, context: Context, _step: LookAtReferences) -> Context:
        """Compare with the last look; a change means that the next attempt need not wait."""
        desired = context.desired
        now, named = self.clock.now(), references(desired)
        if needs_new_account(context):
            named = (*named, self.accounts.secrets.secret_of(desired.acme))
        sights = self.references.look(named)
        looked = context.with_issuance(dependencies=sights, dependencies_due_at=_next_look(now))
        if not is_mended(context, sights):
            return looked
        log.info("what the resource refers to was changed, so it is tried at once")
        self.accounts.look_again(desired.acme)
        return lifted(looked, now)

    def look_at_roots(self, context: Context, _step: LookAtRoots) -> Context:
        """Compare the roots to trust with the last look; a change means that all pods are asked at once."""
        if context.desired.probe.trust is None:
            raise AssertionError("roots are in doubt only where some are named")
        (sight,) = self.references.look([context.desired.probe.trust])
        looked = context.with_verification(roots_due_at=_next_look(self.clock.now()))
        if not roots_changed(context, sight):
            return looked.with_verification(roots=sight)
        log.info("the roots to trust were changed, so all pods are asked at once")
        return judged_anew(looked)


def _next_look(now: datetime) -> datetime:
    return now + timedelta(seconds=uniform(*LOOK_SECONDS))  # noqa: S311 - spreads load
