"""One pass over one resource: observe, decide, perform, report - on one screen."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from mailtls.lifecycle.plan import next_step
from mailtls.lifecycle.step import LookAtWorkloads, Rest, Roll, Step
from mailtls.model.observed import Observed
from mailtls.model.spec import Desired, Key
from mailtls.passes.observe import Observer
from mailtls.passes.perform import Performer
from mailtls.passes.reporting import Reporter
from mailtls.world.document import InvalidSpec
from mailtls.world.ports import Clock, Json
from mailtls.world.spec import parse
from mailtls.world.status import read

MOST_STEPS = 2000  # a rollout over hundreds of pods is one pass; a loop is a defect, and ends here
BRIEF = 2.0  # seconds until the next look at an order
LONG = timedelta(seconds=2)
YOUNG = timedelta(seconds=5)
log = structlog.get_logger()


class TooManySteps(Exception):
    """A pass that does not come to rest: a defect, reported by the queue's backoff instead of a busy loop."""


class Reconciler:
    """What the work queue calls with a key; returns in how many seconds to come back, None for never."""

    def __init__(self, observer: Observer, performer: Performer, reporter: Reporter, clock: Clock) -> None:
        self._observer, self._performer, self._reporter, self._clock = observer, performer, reporter, clock

    def __call__(self, key: Key) -> float | None:
        """Bring one resource as far as it goes now."""
        resource = self._observer.resource(key)
        if resource is None:
            return self._farewell(key)
        try:
            desired = parse(resource, self._observer.defaults)
        except InvalidSpec as invalid:
            self._reporter.refuse(resource, invalid.finding)
            return None
        with structlog.contextvars.bound_contextvars(resource=str(key)):
            return self._pass(desired, resource)

    def _pass(self, desired: Desired, resource: Json) -> float | None:
        seen = self._observer.observe(desired, resource)
        told_at = self._clock.now()
        try:
            for _ in range(MOST_STEPS):
                step = next_step(desired, seen, self._clock.now())
                if isinstance(step, Rest):
                    break
                log.debug("step", step=type(step).__name__)
                if _is_worth_telling(step, seen, self._clock.now() - told_at):
                    seen, told_at = self._report(desired, seen), self._clock.now()
                seen = self._performer.perform(step, desired, seen)
            else:
                raise TooManySteps(str(desired.key))
        finally:
            self._observer.remember(desired, seen)
        delay = self._seconds_until(step.until)
        if not self._is_brief(seen, delay):
            self._observer.remember(desired, self._report(desired, seen))
        return delay

    def _report(self, desired: Desired, seen: Observed) -> Observed:
        """Tell what is known, and go on from what was told."""
        told = self._reporter.report(desired, seen)
        return replace(seen, resource=told, status=read(told["status"]), issued=None)

    def _is_brief(self, seen: Observed, delay: float | None) -> bool:
        """Whether an order was only just begun and is soon looked at again: not worth a write of the status."""
        if seen.order is None or seen.staged is None or delay is None:
            return False
        return delay <= BRIEF and self._clock.now() - seen.staged.staged_at < YOUNG

    def _seconds_until(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (at - self._clock.now()).total_seconds())

    def _farewell(self, key: Key) -> float | None:
        """The resource is gone: clean up what its open order left, then forget it."""
        delay = self._performer.clean_up_after(key)
        if delay is None:
            self._observer.forget(key)
            self._reporter.forget(key)
        return delay


def _is_worth_telling(step: Step, seen: Observed, silence: timedelta) -> bool:
    """Whether users should learn of it in mid-pass: a certificate before its rollout, and a rollout that takes long."""
    return (isinstance(step, LookAtWorkloads) and bool(seen.issued)) or (isinstance(step, Roll) and silence > LONG)
