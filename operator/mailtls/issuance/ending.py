"""How orders end: what stood in the way is counted and filed, and nothing is taken from under other orders."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import random
from typing import Final

from mailtls.api.state import Failure
from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.order import Fail
from mailtls.issuance.order_state import Status
from mailtls.issuance.policy import with_next_try
from mailtls.issuance.schedule import failed_attempt, failures_in_a_row
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.validation import Validation
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.metrics import Metrics
from mailtls.net.backoff import CHALLENGE, CLOSING, ISSUANCE, TRANSIENT, Backoff
from mailtls.net.shared_work import Busy
from mailtls.reasons.reason import Reason
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
                return  # what was published stays behind: the CA names it to nobody any more
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
        now = self.clock.now()
        failed = failures_in_a_row(context)
        delay = _SOON if is_anothers and failed == 1 else ISSUANCE.after(failed, random())  # noqa: S311 - jitter
        retry_at = None if fail.needs_person else max(now + delay, not_before or now)
        finding = fail.finding if not_before is None else with_next_try(fail.finding, retry_at)
        attempts = failed_attempt(context.desired, failed, finding, now, retry_at)
        self.metrics.retried(ISSUANCE.kind)
        self.metrics.order_ended("failed")
        status = replace(context.snapshot.status, attempts=attempts)
        return context.with_snapshot(status=status).with_issuance(failure=Failure(finding, retry_at, is_final=True))

    def problem(self, context: Context, error: AcmeProblem | ChallengeProblem) -> Context:
        """File what stood in the way: transient trouble waits a little, all else of the CA is a failed attempt.

        A challenge response that was refused costs nothing at the CA, so its order stays open and waits; so does an
        order that exists when the CA limits how often it is read (RFC 8555 section 6.6): another one in its place would
        count as well. Whatever it was, the CA may have received the order by now, so the next reconcile looks before it
        orders.
        """
        context = context.with_issuance(is_fresh_intent=False)
        if isinstance(error, ChallengeProblem) and not error.transient:
            pause = self._pause(CHALLENGE, context)
            refused = Failure(error.finding, self.clock.now() + pause, lasts=True)
            return context.with_issuance(failure=refused, transient_failures=context.issuance.transient_failures + 1)
        if not error.transient and not _goes_on_later(context, error):
            return self.attempt(context, Fail(error.finding, error.needs_person), error.retry_at)
        return context.with_issuance(
            failure=self._soon(context, error, TRANSIENT), transient_failures=context.issuance.transient_failures + 1
        )

    def not_closed(self, context: Context, error: AcmeProblem | ChallengeProblem) -> Context:
        """File what keeps an order from being closed: tried again in a while, and never a failed attempt."""
        return context.with_issuance(
            close_failure=self._soon(context, error, CLOSING),
            transient_failures=context.issuance.transient_failures + 1,
        )

    def _soon(self, context: Context, error: AcmeProblem | ChallengeProblem, backoff: Backoff) -> Failure:
        now = self.clock.now()
        retry_at = max(now + self._pause(backoff, context), error.retry_at or now)
        return Failure(error.finding if error.retry_at is None else with_next_try(error.finding, retry_at), retry_at)

    def _pause(self, backoff: Backoff, context: Context) -> timedelta:
        self.metrics.retried(backoff.kind)
        return backoff.after(context.issuance.transient_failures + 1, random())  # noqa: S311 - jitter


def _goes_on_later(context: Context, error: AcmeProblem | ChallengeProblem) -> bool:
    """Whether there is an order that only has to wait for a limit of requests."""
    staged = context.snapshot.staged
    return staged is not None and staged.order_url is not None and error.finding.reason is Reason.RATE_LIMITED
