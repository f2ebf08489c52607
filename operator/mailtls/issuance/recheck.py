"""Rechecks what may hold an attempt back, and lets it be made once that was put right."""

from dataclasses import dataclass
from typing import Self

import structlog

from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.references import RecheckDependencies, dependencies_changed, lifted, needs_new_account, references
from mailtls.kube.references import References, next_recheck_at
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
