"""Performs steps: hands each to the part of the world it is for, and files what goes wrong under its chapter."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import structlog

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import Defaults, parse
from mailtls.api.spec import Desired, Key
from mailtls.context import Context
from mailtls.controller.bulkheads import NoPlace
from mailtls.controller.step import (
    AdoptSecret,
    AdvanceOrder,
    CloseLeftovers,
    CloseOrder,
    ConfirmPods,
    FindWays,
    GiveUp,
    KeepCopy,
    LookAtDomains,
    LookAtReferences,
    LookAtRoots,
    LookAtWorkloads,
    OpenOrder,
    ProbePods,
    ProbeWays,
    PutRight,
    ResumeOrder,
    Roll,
    RollBack,
    SaveOrder,
    ScheduleRenewal,
    StageKey,
    Step,
    StoreCertificate,
)
from mailtls.domains.execute import Watching
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.execute import Issuing
from mailtls.issuance.recheck import Mending
from mailtls.issuance.restoring import Restoring
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.kube.journal import resource_of
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Snapshot
from mailtls.net.deadline import within
from mailtls.net.effects import PassEnded
from mailtls.rollout.execute import Rolling
from mailtls.rollout.reload import Interrupted
from mailtls.verification.find_routes import WayFinding

CLEAN_UP_TRIES = 5
CLEAN_UP_WITHIN = timedelta(seconds=40)  # a namespace waits no longer for a CA or DNS server that is gone
CLEAN_UP_PAUSE = 10.0  # seconds
CLEAN_UP_TRY_LASTS = 15.0  # seconds: a CA that drips holds no namespace for longer than one that is gone
TELLING = (AcmeProblem, ChallengeProblem, Unreachable, ApiError, InvalidSpec)
log = structlog.get_logger()
Hand = Callable[[Context, Any], Context]
Entering = Callable[[Desired], AbstractContextManager[None]]


def _anywhere(_desired: Desired) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Performer:
    """The hands of the operator. `may_act` raises when another replica leads."""

    issuing: Issuing
    rolling: Rolling
    mending: Mending
    restoring: Restoring
    ways: WayFinding
    watching: Watching
    secrets: Secrets
    defaults: Defaults
    stopping: Event
    may_act: Callable[[], None]
    _clean_up_tries: dict[Key, int] = field(default_factory=dict)
    _clean_up_began: dict[Key, datetime] = field(default_factory=dict)

    def perform(self, step: Step, context: Context) -> Context:
        """Perform one step and return what is known then; failures of the outside are part of that."""
        if self.stopping.is_set():
            raise Interrupted
        self.may_act()
        hand: Hand = self._hands()[type(step)]
        try:
            with structlog.contextvars.bound_contextvars(step=type(step).__name__):
                return hand(context, step)
        except (AcmeProblem, ChallengeProblem) as problem:
            told = {"reason": problem.finding.reason, "message": problem.finding.message}
            if isinstance(step, CloseOrder):
                log.warning("the order is closed later", **told)
                return self.issuing.failing.not_closed(context, problem)
            log.warning("the certificate has to wait", **told)
            return self.issuing.failing.problem(context, problem)

    def _hands(self) -> dict[type, Hand]:
        return {
            StageKey: self.issuing.stage,
            OpenOrder: self.issuing.open,
            SaveOrder: self.issuing.save,
            ResumeOrder: self.issuing.resume,
            AdvanceOrder: self.issuing.advance,
            GiveUp: self.issuing.give_up,
            StoreCertificate: self.issuing.store,
            RollBack: self.restoring.roll_back,
            AdoptSecret: self.restoring.adopt,
            PutRight: self.restoring.put_right,
            KeepCopy: self.restoring.keep_copy,
            CloseOrder: self.issuing.close,
            CloseLeftovers: self.close_leftovers,
            LookAtReferences: self.mending.look,
            LookAtRoots: self.mending.look_at_roots,
            ScheduleRenewal: self.issuing.schedule,
            LookAtWorkloads: self.rolling.look,
            ProbePods: self.rolling.probe,
            ConfirmPods: self.rolling.confirm,
            FindWays: self.ways.look,
            ProbeWays: self.rolling.probe_ways,
            Roll: self.rolling.roll,
            LookAtDomains: self.watching.look,
        }

    def close_leftovers(self, context: Context, _step: CloseLeftovers) -> Context:
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
            except (PassEnded, Conflict):
                raise
            except NoPlace:
                if self.issuing.clock.now() - began_at < CLEAN_UP_WITHIN:
                    return secret
                log.warning("the clean-up of an order has waited too long for a worker", resource=str(key))
                self.secrets.release(secret)
            except Exception as problem:  # noqa: BLE001 - whatever it is, the Secret must not be held for ever
                told = str(problem) if isinstance(problem, TELLING) else type(problem).__name__
                log.warning("clean-up of an order failed", resource=str(key), tries=tries, error=told)
                if tries < CLEAN_UP_TRIES and self.issuing.clock.now() - began_at < CLEAN_UP_WITHIN:
                    self._clean_up_tries[key] = tries
                    return secret
                self.secrets.release(secret)
        self._clean_up_tries.pop(key, None)
        self._clean_up_began.pop(key, None)
        return None

    def close_orphan(self, secret: Json, entering: Entering = _anywhere) -> None:
        """Close the order of a staged Secret by what its journal remembers of the resource."""
        staged = self.secrets.read_staged(secret)
        if staged is None:  # nonsense, or not ours: nobody is asked to close anything
            self.secrets.release(secret)
            return
        desired = parse(resource_of(secret), replace(self.defaults, allowed_names=()))  # it was allowed once
        gone = Context(desired, Snapshot(staged=staged))
        with entering(desired), within(CLEAN_UP_TRY_LASTS):
            self.issuing.close(gone, CloseOrder())
