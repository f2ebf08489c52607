"""One pass over one resource: observe, decide, perform, report - on one screen."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import parse
from mailtls.api.spec import Desired, Key, PlaceKind
from mailtls.api.status_json import read
from mailtls.context import Context
from mailtls.controller.bulkheads import Bulkheads, NoPlace, Visit, Watchdog
from mailtls.controller.deadlines import deadline_of
from mailtls.controller.observe import Observer
from mailtls.controller.perform import Performer
from mailtls.controller.places import outcomes, places_of, silent
from mailtls.controller.plan import next_step
from mailtls.controller.status_writer import Reporter
from mailtls.controller.step import (
    AdvanceOrder,
    CloseOrder,
    LookAtDomains,
    LookAtWorkloads,
    Rest,
    Roll,
    SaveOrder,
    Step,
)
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.kube.interface import ApiError, Conflict, Unreachable, finding_of_refusal, webhook_fails
from mailtls.net.deadline import within
from mailtls.net.effects import PassEnded, ResourceChanged, before_effect, guarded
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import Clock

MOST_STEPS = 2000  # a rollout over hundreds of pods is one pass; a loop is a defect, and ends here
BRIEF = 2.0  # seconds until the next look at an order
LONG = timedelta(seconds=1)
PASS_LASTS = timedelta(seconds=30)  # then a pass ends after its step, and the others have a turn
YOUNG = timedelta(seconds=5)
GETS_ON = (AdvanceOrder, Roll)
"""Steps after which the next pass goes on; one that ended after a mere look at many pods would look for ever."""
log = structlog.get_logger()


class TooManySteps(Exception):
    """A pass that does not come to rest: a defect, reported by the queue's backoff instead of a busy loop."""


class Reconciler:
    """What the work queue calls with a key; returns in how many seconds to come back, None for never."""

    def __init__(
        self,
        observer: Observer,
        performer: Performer,
        reporter: Reporter,
        clock: Clock,
        bulkheads: Bulkheads | None = None,
    ) -> None:
        self._observer, self._performer, self._reporter, self._clock = observer, performer, reporter, clock
        self._bulkheads = bulkheads or Bulkheads(workers=4)
        self.watchdog = Watchdog()

    def __call__(self, key: Key) -> float | None:
        """Bring one resource as far as it goes now."""
        with self._bulkheads.visiting(key) as visit:
            return self._visit(key, visit)

    def _visit(self, key: Key, visit: Visit) -> float | None:
        paused = self._observer.paused(key)
        resource = paused.snapshot.resource if paused else self._resource(key)
        if resource is None:
            return self._farewell(key, visit)
        try:
            desired = parse(resource, self._observer.defaults)
        except InvalidSpec as invalid:
            self._reporter.refuse(resource, invalid.finding)
            return None
        with structlog.contextvars.bound_contextvars(resource=str(key)):
            try:
                return self._pass(desired, resource, paused, visit)
            except Exception as error:
                self._tell_of(error, key)
                raise

    def _resource(self, key: Key) -> Json | None:
        try:
            return self._observer.resource(key)
        except ApiError as refused:
            self._reporter.unreadable(key, finding_of_refusal(refused))
            raise

    def _pass(self, desired: Desired, resource: Json, paused: Context | None, visit: Visit) -> float | None:
        observer = self._observer
        context = observer.resume(paused) if paused else observer.observe(desired, resource)
        told_at = begun_at = self._clock.now()
        has_rolled = False
        stands_in_line = False
        try:
            for _ in range(MOST_STEPS):
                step = next_step(context, self._clock.now())
                if isinstance(step, Rest):
                    break
                log.debug("next", step=type(step).__name__)
                silence = self._clock.now() - told_at if has_rolled else LONG
                if _is_worth_telling(step, context, silence):
                    context, told_at = self._report(context), self._clock.now()
                has_rolled = has_rolled or isinstance(step, Roll)
                context = self._errand(step, context, visit)
                if isinstance(step, GETS_ON) and self._clock.now() - begun_at > PASS_LASTS:
                    context = self._report(context)
                    return 0.0
            else:
                raise TooManySteps(str(desired.key))
        except ResourceChanged:
            log.info("the pass ends: the resource was changed", step=type(step).__name__)
            return 0.0
        except NoPlace as full:
            log.debug("the pass ends: too many wait on the same", places=str(full))
            stands_in_line = True
            return self._stand_in_line(context)
        finally:
            # What else cut the pass short may have done so after the CA had heard of an order.
            observer.remember(context if stands_in_line else context.with_issuance(is_fresh_intent=False))
        delay = self._seconds_until(step.until)
        if not self._is_brief(context, delay):
            context = self._report(context)
        observer.remember(context, is_paused=_waits_for_the_ca(context))
        return delay

    def _errand(self, step: Step, context: Context, visit: Visit) -> Context:
        """Perform a step that has its places, and note who answered; raises `NoPlace`."""
        places, seconds = places_of(step, context.desired), deadline_of(step)
        with visit.errand(places) as errand, within(seconds), self.watchdog.watch(step, context.desired):
            try:
                context = self._perform(step, context)
            except Unreachable:
                errand.outcomes = {place: False for place in places if place.kind is PlaceKind.OBJECTS}
                raise
            errand.outcomes = outcomes(step, places, context, self._bulkheads.seconds_since(errand))
            return context

    def _stand_in_line(self, context: Context) -> float | None:
        """End a pass that has to wait for its turn; news is told, and so is one who was told of nothing for a while."""
        issuance = context.issuance
        if context.snapshot.status.conditions and not issuance.issued and not issuance.refused:
            return None
        made_at = datetime.fromisoformat(context.snapshot.resource["metadata"]["creationTimestamp"])
        if not issuance.issued and self._clock.now() - made_at < YOUNG:
            return YOUNG.total_seconds()
        self._report(context)
        return None

    def _perform(self, step: Step, context: Context) -> Context:
        """Perform a step while what a user decided stands; what was done is written down whatever was decided since."""
        if isinstance(step, SaveOrder):
            return self._performer.perform(step, context)
        with guarded(partial(self._observer.require_unchanged, context.desired.key, context.snapshot.resource)):
            before_effect()
            return self._performer.perform(step, context)

    def _report(self, context: Context) -> Context:
        """Tell what is known, and go on from what was told."""
        told = self._reporter.report(context)
        return context.reported(told, read(told["status"]))

    def _tell_of(self, error: Exception, key: Key) -> None:
        """Say in the status what cut a pass short, where a person should know; the queue logs it and tries again."""
        finding = finding_of(error)
        if finding is None:
            return
        try:
            resource = self._observer.resource(key)
            if resource is not None:
                self._reporter.cut_short(resource, finding)
        except (ApiError, Unreachable) as lost:
            log.warning("the failure could not be told", error=str(lost))

    def _is_brief(self, context: Context, delay: float | None) -> bool:
        """Whether an order was only just begun and is soon looked at again: not worth a write of the status."""
        if context.issuance.order is None or context.snapshot.staged is None or delay is None:
            return False
        return delay <= BRIEF and self._clock.now() - context.snapshot.staged.staged_at < YOUNG

    def _seconds_until(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (at - self._clock.now()).total_seconds())

    def _farewell(self, key: Key, visit: Visit) -> float | None:
        """The resource is gone: clean up what its open order left, then forget it."""

        @contextmanager
        def entering(desired: Desired) -> Iterator[None]:
            places = places_of(CloseOrder(), desired)
            with visit.errand(places) as errand:
                try:
                    yield
                except (AcmeProblem, ChallengeProblem) as problem:
                    errand.outcomes = silent(places, {problem.finding.reason})
                    raise

        delay = self._performer.clean_up_after(key, entering)
        if delay is None:
            self._bulkheads.forget(key)
            self._observer.forget(key)
            self._reporter.forget(key)
        return delay


def _waits_for_the_ca(context: Context) -> bool:
    """Whether the next pass has only to go on with an order that nothing stands in the way of."""
    issuance = context.issuance
    failures = (issuance.failure, issuance.close_failure, context.rollout.failure)
    return issuance.order is not None and not any(failures)


def finding_of(error: Exception) -> Finding | None:
    """What to tell of an exception that ended a pass, None where the next pass mends it; of a defect only its name."""
    if isinstance(error, Unreachable):
        return webhook_fails(str(error))
    if isinstance(error, Conflict | PassEnded):
        return None
    if not isinstance(error, ApiError):
        name = type(error).__name__
        return Finding(Reason.INTERNAL_ERROR, f"A defect of the operator ended the pass: {name}; its log says more.")
    if error.is_missing:
        return None  # what was looked at is gone: observe again
    return finding_of_refusal(error)


def _is_worth_telling(step: Step, context: Context, silence: timedelta) -> bool:
    """Whether users should learn of it in mid-pass: a certificate before its rollout, the first pod, those that follow.

    The first pod may take long itself, and of a rollout that is quick not every pod is told. And all that is
    known of TLS, before domains are looked at that may keep us waiting.
    """
    if isinstance(step, LookAtDomains):
        return True
    return (isinstance(step, LookAtWorkloads) and bool(context.issuance.issued)) or (
        isinstance(step, Roll) and silence >= LONG
    )
