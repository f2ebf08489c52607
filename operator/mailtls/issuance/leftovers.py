"""Closes orders that nobody goes on with: of an earlier secretName, or of a resource that is gone."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self

import structlog

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import Defaults, parse
from mailtls.api.spec import Desired, Key
from mailtls.context import Context
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.decide import CloseLeftovers, CloseOrder
from mailtls.issuance.execute import Issuing
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.kube.journal import resource_of
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Snapshot
from mailtls.net.effects import ReconcileEnded, within
from mailtls.stage import Adapters, Executor
from mailtls.step import NoPlace

CLEAN_UP_TRIES: Final = 5
CLEAN_UP_WITHIN: Final = timedelta(seconds=40)  # a namespace waits no longer for a CA or DNS server that is gone
CLEAN_UP_PAUSE: Final = 10.0  # seconds
CLEAN_UP_TRY_LASTS: Final = 15.0  # seconds: a CA that drips holds no namespace for longer than one that is gone
DESCRIBING: Final = (AcmeProblem, ChallengeProblem, Unreachable, ApiError, InvalidSpec)
"""What these exceptions say is fit to be shown."""
log = structlog.get_logger()
Entering = Callable[[Desired], AbstractContextManager[None]]


def _anywhere(_desired: Desired) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Leftovers(Executor):
    """Closes what was left open. `may_act` raises when another replica leads."""

    issuing: Issuing
    secrets: Secrets
    defaults: Defaults
    may_act: Callable[[], None]
    _clean_up_tries: dict[Key, int] = field(default_factory=dict)
    _clean_up_began: dict[Key, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, adapters: Adapters) -> Self:
        """Make one."""
        return cls(Issuing.of(adapters), adapters.secrets, adapters.defaults, adapters.may_act)

    def close(self, context: Context, _step: CloseLeftovers) -> Context:
        """Close what was ordered under an earlier secretName; the resource itself does not wait for it."""
        left = self._close_orphans(context.desired.key, _anywhere, context.desired)
        if left is None:
            return context.with_issuance(leftovers_due_at=None, leftover=None)
        again_at = self.issuing.clock.now() + timedelta(seconds=CLEAN_UP_PAUSE)
        return context.with_issuance(leftovers_due_at=again_at, leftover=self.secrets.read_staged(left))

    def clean_up_after(self, key: Key, entering: Entering = _anywhere) -> float | None:
        """Close the orders a deleted resource left open; return seconds until another try, None when done.

        `entering` is entered for each of them, with what the journal remembers of the resource.
        """
        return None if self._close_orphans(key, entering) is None else CLEAN_UP_PAUSE

    def _close_orphans(self, key: Key, entering: Entering, present: Desired | None = None) -> Json | None:
        """Close the orders that `present` does not go on with; return the Secret of one to be tried again.

        Tried a few times only: a CA or DNS server that is gone for good must not hold a Secret, and with it a
        namespace, for ever.
        """
        for secret in self.secrets.orphans(key, present):
            self.may_act()
            tries = self._clean_up_tries.get(key, 0) + 1
            began_at = self._clean_up_began.setdefault(key, self.issuing.clock.now())
            try:
                self.close_orphan(secret, entering)
            except (ReconcileEnded, Conflict):
                raise
            except NoPlace:
                if self.issuing.clock.now() - began_at < CLEAN_UP_WITHIN:
                    return secret
                log.warning("the clean-up of an order has waited too long for a worker", resource=str(key))
                self._let_go(secret)
            except Exception as problem:  # noqa: BLE001 - whatever it is, the Secret must not be held for ever
                described = str(problem) if isinstance(problem, DESCRIBING) else type(problem).__name__
                log.warning("clean-up of an order failed", resource=str(key), tries=tries, error=described)
                if tries < CLEAN_UP_TRIES and self.issuing.clock.now() - began_at < CLEAN_UP_WITHIN:
                    self._clean_up_tries[key] = tries
                    return secret
                self._let_go(secret)
        self._clean_up_tries.pop(key, None)
        self._clean_up_began.pop(key, None)
        return None

    def _let_go(self, secret: Json) -> None:
        """Release a Secret whose order cannot be closed, where we may still write Secrets; nobody waits for it else."""
        try:
            self.secrets.release(secret)
        except ApiError as refusal:
            if not refusal.is_forbidden:
                raise
            log.warning("the finalizer could not be removed", secret=secret["metadata"]["name"], error=str(refusal))

    def close_orphan(self, secret: Json, entering: Entering = _anywhere) -> None:
        """Close the order of a staged Secret by what its journal remembers of the resource."""
        staged = self.secrets.read_staged(secret)
        if staged is None:  # nonsense, or not ours: nobody is asked to close anything
            self.secrets.release(secret)
            return
        desired = parse(resource_of(secret), replace(self.defaults, allowed_names=()))  # it was allowed once
        serving = self.secrets.recognized(desired, self.secrets.serving(desired), staged)
        # What was stored for the order has no other sign than the order: our copy follows as it is closed.
        stored = serving if serving.is_of_the_order else ServingSecret(exists=False)
        gone = Context(desired, Snapshot(staged=staged, secret=stored))
        with entering(desired), within(CLEAN_UP_TRY_LASTS):
            self.issuing.close(gone, CloseOrder())
