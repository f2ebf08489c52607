"""One reconcile of one resource: observe, decide, perform one step, observe again, report."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import parse
from mailtls.api.spec import Desired, Key, PlaceKind
from mailtls.api.status import ConditionType
from mailtls.api.status_json import read
from mailtls.context import Context
from mailtls.controller.bulkheads import Bulkheads, ReconcilePermits, Watchdog
from mailtls.controller.compartments import outcomes, silent
from mailtls.controller.observe import Observer
from mailtls.controller.status_writer import Reporter
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.decide import CloseOrder
from mailtls.issuance.leftovers import Leftovers
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.kube.interface import ApiError, Conflict, Unreachable, finding_of_refusal, webhook_fails
from mailtls.net import tracing
from mailtls.net.effects import ReconcileEnded, ResourceChanged, before_effect, guarded, within
from mailtls.reasons.reason import Finding, Reason
from mailtls.stage import Decision, Plan
from mailtls.step import NoPlace, Rest
from mailtls.times import Clock

MOST_STEPS = 2000  # a rollout over hundreds of pods is one reconcile; a loop is a defect, and ends here
BRIEF = 2.0  # seconds until the next look at an order
LONG = timedelta(seconds=1)
RECONCILE_LASTS = timedelta(seconds=30)  # then a reconcile ends after its step, and the others have a turn
YOUNG = timedelta(seconds=5)
log = structlog.get_logger()


class TooManySteps(Exception):
    """A reconcile that does not come to rest: a defect, reported by the queue's backoff instead of a busy loop."""


class Reconciler:
    """What the work queue calls with a key; returns in how many seconds to come back, None for never."""

    def __init__(
        self,
        observer: Observer,
        plan: Plan,
        reporter: Reporter,
        clock: Clock,
        bulkheads: Bulkheads | None = None,
    ) -> None:
        self._observer, self._plan, self._reporter, self._clock = observer, plan, reporter, clock
        self._bulkheads = bulkheads or Bulkheads(workers=4)
        self.watchdog = Watchdog()

    def __call__(self, key: Key) -> float | None:
        """Bring one resource as far as it goes now."""
        with (
            tracing.span("reconcile", namespace=key.namespace, resource=key.name) as span,
            self._bulkheads.reconciling(key) as permits,
        ):
            delay = self._guarded(key, permits)
            span.note(next_seconds=delay)
            return delay

    def _guarded(self, key: Key, permits: ReconcilePermits) -> float | None:
        paused = self._observer.paused(key)
        resource = paused.snapshot.resource if paused else self._resource(key)
        if resource is None:
            return self._clean_up(key, permits)
        try:
            desired = parse(resource, self._observer.defaults)
        except InvalidSpec as invalid:
            self._reporter.refuse(resource, invalid.finding)
            return None
        with structlog.contextvars.bound_contextvars(resource=str(key)):
            try:
                tracing.note(uid=desired.uid, generation=desired.generation)
                with tracing.span("observe"):
                    context = self._observer.resume(paused) if paused else self._observer.observe(desired, resource)
                return self._reconcile(context, permits)
            except Exception as error:
                self._report_failure(error, key)
                raise

    def _resource(self, key: Key) -> Json | None:
        try:
            return self._observer.resource(key)
        except ApiError as refused:
            self._reporter.unreadable(key, finding_of_refusal(refused))
            raise

    def _reconcile(self, context: Context, permits: ReconcilePermits) -> float | None:
        """Take one step after the other; one that lasted long ends the reconcile where the next one can go on."""
        reported_at = begun_at = self._clock.now()
        is_rolling, waits = False, False
        try:
            for _ in range(MOST_STEPS):
                now = self._clock.now()
                decision = self._plan.next(context, now)
                if isinstance(decision, Rest):
                    break
                step = decision.step
                log.debug("next", step=step.name)
                silence = self._clock.now() - reported_at if is_rolling else LONG
                if step.is_reported_before(context, silence):
                    context, reported_at = self._report(context, now), self._clock.now()
                is_rolling = is_rolling or step.is_rollout
                context = self._in_its_places(decision, context, permits)
                if step.gets_on and self._clock.now() - begun_at > RECONCILE_LASTS:
                    context = self._report(context, self._clock.now())
                    return 0.0
            else:
                raise TooManySteps(str(context.desired.key))
        except ResourceChanged:
            log.info("the reconcile ends: the resource was changed")
            return 0.0
        except NoPlace as full:
            log.debug("the reconcile ends: too many wait on the same", places=str(full))
            waits = True
            return self._wait_for_turn(context)
        finally:
            # What else cut it short may have done so after the CA had received an order.
            self._observer.remember(context if waits else context.with_issuance(is_fresh_intent=False))
        return self._rest(decision, context, now)

    def _rest(self, rest: Rest, context: Context, now: datetime) -> float | None:
        """Report what is known at the end, and say when to come back."""
        delay = None if rest.until is None else max(0.0, (rest.until - self._clock.now()).total_seconds())
        if not self._is_brief(context, delay):
            context = self._report(context, now)
        self._observer.remember(context, is_paused=_waits_for_the_ca(context))
        return delay

    def _in_its_places(self, decision: Decision, context: Context, permits: ReconcilePermits) -> Context:
        """Perform a step that has its places, and note who answered; raises `NoPlace`."""
        step, desired = decision.step, context.desired
        places = frozenset(step.places(desired))
        with (
            permits.permit(places) as permit,
            within(step.deadline.seconds),
            self.watchdog.watch(step, desired),
        ):
            try:
                context = self._execute(decision, context)
            except Unreachable:
                permit.outcomes = {place: False for place in places if place.kind is PlaceKind.OBJECTS}
                raise
            permit.outcomes = outcomes(step, places, context, self._bulkheads.seconds_since(permit))
            return context

    def _wait_for_turn(self, context: Context) -> float | None:
        """End a reconcile that has to wait for its turn; what is new is reported, as is one that says nothing yet."""
        issuance = context.issuance
        if context.snapshot.status.conditions and not issuance.issued and not issuance.refused:
            return None
        made_at = datetime.fromisoformat(context.snapshot.resource["metadata"]["creationTimestamp"])
        if not issuance.issued and self._clock.now() - made_at < YOUNG:
            return YOUNG.total_seconds()
        self._report(context, self._clock.now())
        return None

    def _execute(self, decision: Decision, context: Context) -> Context:
        """Perform a step while what a user decided stands; what was done is written down whatever was decided since."""
        if decision.step.is_record:
            return self._plan.execute(decision, context)
        with guarded(partial(self._observer.require_unchanged, context.desired.key, context.snapshot.resource)):
            before_effect()
            return self._plan.execute(decision, context)

    def _report(self, context: Context, now: datetime) -> Context:
        """Report what is known, and go on from what was written."""
        with tracing.span("report"):
            written = self._reporter.report(context, now)
        status = read(written["status"])
        ready = status.condition(ConditionType.READY)
        if ready is not None:
            tracing.note(ready=str(ready.status), reason=str(ready.reason))
        return context.reported(written, status)

    def _report_failure(self, error: Exception, key: Key) -> None:
        """Say in the status what cut a reconcile short, where a person should know; the queue logs and repeats it."""
        finding = finding_of(error)
        if finding is None:
            return
        try:
            resource = self._observer.resource(key)
            if resource is not None:
                self._reporter.cut_short(resource, finding)
        except (ApiError, Unreachable) as lost:
            log.warning("the failure could not be reported", error=str(lost))

    def _is_brief(self, context: Context, delay: float | None) -> bool:
        """Whether an order was only just begun and soon goes on: not worth a write of the status."""
        if context.issuance.order is None or context.snapshot.staged is None or delay is None:
            return False
        return delay <= BRIEF and self._clock.now() - context.snapshot.staged.staged_at < YOUNG

    def _clean_up(self, key: Key, permits: ReconcilePermits) -> float | None:
        """The resource is gone: clean up what its open order left, then forget it."""

        @contextmanager
        def entering(desired: Desired) -> Iterator[None]:
            places = frozenset(CloseOrder().places(desired))
            with permits.permit(places) as permit:
                try:
                    yield
                except (AcmeProblem, ChallengeProblem) as problem:
                    permit.outcomes = silent(places, {problem.finding.reason})
                    raise

        delay = self._plan.executor(Leftovers).clean_up_after(key, entering)
        if delay is None:
            self._bulkheads.forget(key)
            self._observer.forget(key)
            self._reporter.forget(key)
        return delay


def _waits_for_the_ca(context: Context) -> bool:
    """Whether the next reconcile has only to go on with an order that nothing stands in the way of."""
    issuance = context.issuance
    failures = (issuance.failure, issuance.close_failure, context.rollout.failure)
    return issuance.order is not None and not any(failures)


def finding_of(error: Exception) -> Finding | None:
    """What to say of an exception that ended a reconcile, None where the next one repairs it; of a defect its name."""
    if isinstance(error, Unreachable):
        return webhook_fails(str(error))
    if isinstance(error, Conflict | ReconcileEnded):
        return None
    if not isinstance(error, ApiError):
        name = type(error).__name__
        return Finding(
            Reason.INTERNAL_ERROR, f"A defect of the operator: {name} ended the reconcile; its log says more."
        )
    if error.is_missing:
        return None  # what was looked at is gone: observe again
    return finding_of_refusal(error)
