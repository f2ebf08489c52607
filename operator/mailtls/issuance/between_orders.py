"""What is looked up while no order is open: when to renew (RFC 9773), and whether what held an attempt back is gone."""

from dataclasses import dataclass
from datetime import timedelta
from random import random, uniform
from typing import Final, Self

import structlog

from mailtls.api.spec import Desired
from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.decide import ScheduleRenewal
from mailtls.issuance.order_state import RenewalWindow
from mailtls.issuance.references import RecheckDependencies, dependencies_changed, lifted, needs_new_account, references
from mailtls.issuance.schedule import renewal_schedule, scheduled
from mailtls.kube.references import References, next_recheck_at
from mailtls.rollout import rollback
from mailtls.stage import Adapters, Executor
from mailtls.times import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rechecking(Executor):
    """Notices that a Secret or ConfigMap was put right, which no watch reports."""

    references: References
    accounts: Accounts
    clock: Clock

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.references, adapters.accounts, adapters.clock)

    def recheck(self, context: Context, _step: RecheckDependencies) -> Context:
        """Compare with what was last read; a change means that the next attempt need not wait."""
        desired = context.desired
        now, named = self.clock.now(), references(desired)
        if needs_new_account(context):
            named = (*named, self.accounts.secrets.secret_of(desired.acme))
        versions = self.references.look(named)
        checked = context.with_issuance(dependencies=versions, dependencies_due_at=next_recheck_at(now))
        if not dependencies_changed(context, versions):
            return checked
        log.info("what the resource refers to was changed, so it is tried at once")
        self.accounts.look_again(desired.acme)
        return lifted(checked, now)


WITHOUT_ARI: Final = timedelta(hours=6)  # when to ask for a window again that was not to be had


@dataclass(frozen=True, slots=True)
class Renewing(Executor):
    """Draws when the stored certificate is renewed."""

    accounts: Accounts
    clock: Clock

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(adapters.accounts, adapters.clock)

    def schedule(self, context: Context, _step: ScheduleRenewal) -> Context:
        """Ask for the renewal window, and pick the time; without an answer the lifetime alone decides."""
        certificate = context.snapshot.secret.certificate
        if certificate is None:
            raise AssertionError("only a stored certificate is scheduled")
        desired, secret = context.desired, context.snapshot.secret
        is_the_cas = secret.acme_server == desired.acme.server  # another CA's window is not to be had from it
        window = self._window(desired, certificate.leaf_pem) if desired.renewal.ari and is_the_cas else None
        picked = renewal_schedule(certificate, desired.renewal, window, context.issuance.schedule, random())  # noqa: S311
        again_at = window.check_again_at if window else self.clock.now() + WITHOUT_ARI * uniform(0.8, 1.2)  # noqa: S311
        picked = rollback.held(picked, context)
        context = scheduled(picked, context, self.clock.now(), random())  # noqa: S311 - jitter
        return context.with_issuance(renewal_info_due_at=again_at if desired.renewal.ari else None)

    def _window(self, desired: Desired, leaf_pem: str) -> RenewalWindow | None:
        try:
            return self.accounts.of(desired.acme).renewal_window(leaf_pem)
        except AcmeProblem:
            return None  # the renewal itself will show it, if the CA is away for long
