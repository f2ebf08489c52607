"""How orders end: what stood in the way is counted and filed, and nothing is taken from under other orders."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import random, uniform
from typing import Final

from mailtls.api.state import Failure
from mailtls.api.status import Attempts
from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.order import Fail
from mailtls.issuance.order_state import Status
from mailtls.issuance.policy import with_next_try
from mailtls.issuance.schedule import next_attempt_after, next_presentation_after
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.validation import Validation
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.metrics import Metrics
from mailtls.net.shared_work import Busy
from mailtls.times import Clock


@dataclass(frozen=True, slots=True)
class Closing:
    """`namespaces` are those that resources may be in; empty: all."""

    secrets: Secrets
    accounts: Accounts
    validation: Validation
    namespaces: tuple[str, ...] = ()

    def close(self, context: Context, url: str) -> None:
        """Remove the responses of an order that is over, and let go of what is pending and nobody else uses."""
        issuance = context.issuance
        staged = context.snapshot.staged
        if staged is None:
            raise AssertionError("there is no order without a staged key")
        account = self.accounts.of(context.desired.acme)
        try:
            order = account.load(issuance.order or account.resume(url))
        except OrderGone:
            return
        except AcmeProblem as problem:
            if problem.transient or problem.retry_at is not None:
                raise
            if issuance.order is None:
                return  # what was published stays behind: the CA tells nobody of it any more
            order = issuance.order
        server, user = context.desired.acme.server, staged.spki_sha256
        in_use = partial(self.accounts.uses.others, server, user)
        self.validation.clean_up(context, account, order, in_use)
        if any(each.status == Status.PENDING for each in order.authorizations) and self._knows_all_others(server, user):
            account.deactivate(order, in_use())

    def _knows_all_others(self, server: str, user: str) -> bool:
        """Whether it is known what the open orders of others use; if not, nothing is taken from under them.

        What is not sealed is nobody's order: else any tenant could plant one that is never known.
        """
        try:
            orders = self.secrets.open_orders(self.namespaces)
        except (ApiError, Unreachable, Busy):
            return False
        return all(self.accounts.uses.knows(key) for key, where in orders if where == server and key != user)


_SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Failing:
    """Says what failed and when the next attempt is, in what is observed of the resource."""

    clock: Clock
    metrics: Metrics

    def attempt(
        self,
        context: Context,
        fail: Fail,
        not_before: datetime | None = None,
        *,
        is_anothers: bool = False,
    ) -> Context:
        """Count a failed attempt, and say when the next is: soon where another one took the order (`is_anothers`)."""
        desired = context.desired
        now = self.clock.now()
        before = context.snapshot.status.attempts
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
        status = replace(context.snapshot.status, attempts=attempts)
        return context.with_snapshot(status=status).with_issuance(failure=Failure(finding, retry_at, is_final=True))

    def problem(self, context: Context, error: AcmeProblem | ChallengeProblem) -> Context:
        """File what stood in the way: transient trouble waits a little, all else of the CA is a failed attempt.

        A challenge response that was refused costs nothing at the CA, so its order stays open and waits. Whatever it
        was, the CA may have received the order by now, so the next pass looks before it orders.
        """
        context = context.with_issuance(is_fresh_intent=False)
        if isinstance(error, ChallengeProblem) and not error.transient:
            pause = next_presentation_after(context.issuance.transient_failures + 1, random())  # noqa: S311 - jitter
            refused = Failure(error.finding, self.clock.now() + pause, lasts=True)
            return context.with_issuance(failure=refused, transient_failures=context.issuance.transient_failures + 1)
        if not error.transient:
            return self.attempt(context, Fail(error.finding, error.needs_person), error.retry_at)
        return context.with_issuance(
            failure=self._soon(context, error), transient_failures=context.issuance.transient_failures + 1
        )

    def not_closed(self, context: Context, error: AcmeProblem | ChallengeProblem) -> Context:
        """File what keeps an order from being closed: tried again in a while, and never a failed attempt."""
        return context.with_issuance(
            close_failure=self._soon(context, error), transient_failures=context.issuance.transient_failures + 1
        )

    def _soon(self, context: Context, error: AcmeProblem | ChallengeProblem) -> Failure:
        now = self.clock.now()
        pause = timedelta(seconds=min(2**context.issuance.transient_failures, 60) * uniform(0.8, 1.2))  # noqa: S311 - jitter
        retry_at = max(now + pause, error.retry_at or now)
        return Failure(error.finding if error.retry_at is None else with_next_try(error.finding, retry_at), retry_at)
