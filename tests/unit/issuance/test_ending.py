"""How what stands in the way of an order is filed."""

from datetime import timedelta

from builders.contexts import a_context
from builders.stories import staged
from fakes.clock import WallClock
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.ending import Failing
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Finding, Reason


def test_order_that_exists_outlives_a_limit_of_requests() -> None:
    """The CA limits how often it is asked, not the order: to place another one would only ask for more."""
    clock = WallClock()
    retry_at = clock.now() + timedelta(minutes=2)
    limit = AcmeProblem(Finding(Reason.RATE_LIMITED, "Too many requests."), retry_at=retry_at)
    failing = Failing(clock, Metrics())
    going_on = failing.problem(a_context(staged=staged(order_url="https://ca.test/order/1")), limit)
    placed_none = failing.problem(a_context(staged=staged()), limit)
    waits, failed = going_on.issuance.failure, placed_none.issuance.failure
    assert waits is not None
    assert failed is not None
    assert (waits.is_final, failed.is_final) == (False, True)
    assert waits.retry_at is not None
    assert waits.retry_at >= retry_at
    assert going_on.snapshot.status.attempts is None
