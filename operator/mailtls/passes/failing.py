"""Files what stood in the way of an order: a failed attempt is counted, a transient failure waits a little."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random, uniform
from typing import Final

from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.lifecycle.issue import with_next_try
from mailtls.lifecycle.order import Fail
from mailtls.lifecycle.schedule import next_attempt_after, next_presentation_after
from mailtls.model.observed import Failure, Observed
from mailtls.model.spec import Desired
from mailtls.model.status import Attempts
from mailtls.world.acme.problem import AcmeProblem
from mailtls.world.metrics import Metrics
from mailtls.world.ports import Clock

_SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Failing:
    """Says what failed and when the next attempt is, in what is observed of the resource."""

    clock: Clock
    metrics: Metrics

    def attempt(
        self,
        desired: Desired,
        seen: Observed,
        fail: Fail,
        not_before: datetime | None = None,
        *,
        is_anothers: bool = False,
    ) -> Observed:
        """Count a failed attempt, and say when the next is: soon where another one took the order (`is_anothers`)."""
        now = self.clock.now()
        before = seen.status.attempts
        is_same = before is not None and before.observed_generation == desired.generation
        failed = before.failed + 1 if before and is_same else 1
        delay = _SOON if is_anothers and failed == 1 else next_attempt_after(failed, random())  # noqa: S311 - jitter
        retry_at = None if fail.needs_person else max(now + delay, not_before or now)
        finding = fail.finding if not_before is None else with_next_try(fail.finding, retry_at)
        attempts = Attempts(
            failed=failed,
            reason=finding.reason,
            message=finding.message,
            last_failure_at=now,
            next_attempt_at=retry_at,
            observed_generation=desired.generation,
            observed_renew=desired.renew_requested,
        )
        self.metrics.order_ended("failed")
        status = replace(seen.status, attempts=attempts)
        return replace(seen, status=status, issue_failure=Failure(finding, retry_at, is_final=True))

    def problem(self, desired: Desired, seen: Observed, error: AcmeProblem | ChallengeProblem) -> Observed:
        """File what stood in the way: transient trouble waits a little, all else of the CA is a failed attempt.

        A challenge response that was refused costs nothing at the CA, so its order stays open and waits. Whatever it
        was, the CA may have received the order by now, so the next pass looks before it orders.
        """
        seen = replace(seen, is_fresh_intent=False)
        if isinstance(error, ChallengeProblem) and not error.transient:
            pause = next_presentation_after(seen.stumbles + 1, random())  # noqa: S311 - jitter
            refused = Failure(error.finding, self.clock.now() + pause, lasts=True)
            return replace(seen, issue_failure=refused, stumbles=seen.stumbles + 1)
        if not error.transient:
            return self.attempt(desired, seen, Fail(error.finding, error.needs_person), error.retry_at)
        return replace(seen, issue_failure=self._soon(seen, error), stumbles=seen.stumbles + 1)

    def not_closed(self, seen: Observed, error: AcmeProblem | ChallengeProblem) -> Observed:
        """File what keeps an order from being closed: tried again in a while, and never a failed attempt."""
        return replace(seen, close_failure=self._soon(seen, error), stumbles=seen.stumbles + 1)

    def _soon(self, seen: Observed, error: AcmeProblem | ChallengeProblem) -> Failure:
        now = self.clock.now()
        pause = timedelta(seconds=min(2**seen.stumbles, 60) * uniform(0.8, 1.2))  # noqa: S311 - jitter
        retry_at = max(now + pause, error.retry_at or now)
        return Failure(error.finding if error.retry_at is None else with_next_try(error.finding, retry_at), retry_at)
